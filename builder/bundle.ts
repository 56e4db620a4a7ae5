/** Turns the program into one file that the image runs. The only file that imports esbuild. Plane: control. */
import { join } from "node:path"
import { build } from "esbuild"
import { err, ok, type Result } from "../appliance/types/result.ts"
import type { BuildError } from "./errors.ts"
import { readBytes } from "./files.ts"
import { BUILDER_LIMITS } from "./limits.ts"
import type { BundledPackage } from "./sbom.ts"

/**
 * What stays out of the image: the builder is loaded lazily by the composition root and never there (an image does not
 * build images), and with it the tools that it drives.
 */
const EXTERNAL = ["zx", "esbuild", "*/builder/build.ts", "*/builder/progress.ts"]

/**
 * The first lines of the bundle. An ES module, because the composition root awaits at its top; packages that are
 * CommonJS inside ask for `require`, which such a module does not have.
 *
 * /init starts Node while the network card still negotiates, because Node takes a second to start on a slow machine.
 * Here it waits until /init has written who it is on the network. /init halts the machine when the network never comes,
 * so this loop needs no end of its own. It declares nothing outside of its block: esbuild does not know of it.
 */
const PROLOGUE = `import { createRequire as __createRequire } from "node:module"
const require = __createRequire(import.meta.url)
if (process.env.MANDALA_NETWORK !== undefined) {
  const { existsSync } = process.getBuiltinModule("node:fs")
  const sleeper = new Int32Array(new SharedArrayBuffer(4))
  while (!existsSync(process.env.MANDALA_NETWORK)) {
    Atomics.wait(sleeper, 0, 0, 5)
  }
}
`

/** `entry` is relative to `root`. */
export type Program = { readonly root: string; readonly entry: string }

export type Bundle = { readonly bytes: Uint8Array; readonly packages: readonly BundledPackage[] }

/** The same sources give the same bytes. */
export async function bundle(program: Program): Promise<Result<Bundle, BuildError>> {
  const built = await runEsbuild(program)
  if (!built.ok) {
    return built
  }
  const packages: BundledPackage[] = []
  for (const name of packageNames(built.value.sources)) {
    const read = await readPackage(program.root, name)
    if (!read.ok) {
      return read
    }
    packages.push(read.value)
  }
  return ok({ bytes: built.value.bytes, packages })
}

/** "node_modules/@scope/name/lib/x.js" is of "@scope/name". */
function packageNames(sources: readonly string[]): string[] {
  const names = sources.map((path) => /(?:^|\/)node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1])
  return [...new Set(names.filter((name) => name !== undefined))].sort().slice(0, BUILDER_LIMITS.bundled_packages_max)
}

async function readPackage(root: string, name: string): Promise<Result<BundledPackage, BuildError>> {
  const path = join(root, "node_modules", name, "package.json")
  const bytes = await readBytes(path)
  if (!bytes.ok) {
    return bytes
  }
  const text = bytes.value.toString("utf8")
  const version = /"version":\s*"([^"]+)"/.exec(text)?.[1]
  const license = /"license":\s*"([^"]+)"/.exec(text)?.[1]
  return version === undefined || license === undefined
    ? err({ kind: "input_invalid", path, detail: "it names no version or no licence" })
    : ok({ name, version, license })
}

type Built = { readonly bytes: Uint8Array; readonly sources: readonly string[] }

async function runEsbuild(program: Program): Promise<Result<Built, BuildError>> {
  try {
    const result = await build({
      absWorkingDir: program.root,
      entryPoints: [program.entry],
      outfile: "mandala.mjs",
      bundle: true,
      write: false,
      platform: "node",
      target: "node24",
      format: "esm",
      charset: "utf8",
      legalComments: "none",
      sourcemap: false,
      external: EXTERNAL,
      banner: { js: PROLOGUE },
      metafile: true,
      logLevel: "silent",
    })
    const file = result.outputFiles[0]
    return file === undefined
      ? err({ kind: "bundle_failed", detail: "no output" })
      : ok({ bytes: file.contents, sources: usedSources(result.metafile.outputs) })
  } catch (cause) {
    return err({ kind: "bundle_failed", detail: firstMessage(cause) })
  }
}

/** Of all that esbuild read, what it did not shake off. */
function usedSources(
  outputs: Readonly<Record<string, { inputs: Record<string, { bytesInOutput: number }> }>>,
): string[] {
  return Object.values(outputs).flatMap((output) =>
    Object.entries(output.inputs)
      .filter(([, used]) => used.bytesInOutput > 0)
      .map(([path]) => path),
  )
}

function firstMessage(cause: unknown): string {
  const text = cause instanceof Error ? cause.message : String(cause)
  const line = text.split("\n").find((candidate) => candidate.includes("ERROR")) ?? text
  return line.slice(0, BUILDER_LIMITS.detail_chars_max)
}
