/**
 * The kernel of each flavour: a package of Debian's (or Ubuntu's), of which the image takes the kernel itself and the
 * few modules that images/FLAVOUR/kernel.json names, or one compiled from Debian's source. Nothing is installed on
 * the host. Plane: control.
 */
import { gunzipSync, zstdDecompressSync } from "node:zlib"
import { err, ok, type Result } from "../appliance/types/result.ts"
import { type DebianPackage, fetchPackage, showPackage, unpackPackage } from "./debian.ts"
import type { BuildError } from "./errors.ts"
import { discard, exists, listFilesBelow, makeDirectory, move, readBytes, sha256, writeBytes } from "./files.ts"
import { compileKernel, type KernelBuild, releaseOf } from "./kernel_build.ts"
import { BUILDER_LIMITS } from "./limits.ts"
import type { LockedInput } from "./lock.ts"
import { type KernelModule, moduleName, readModuleInfo } from "./modules.ts"
import { type RunOptions, run } from "./shell.ts"

/** images/FLAVOUR/kernel.json. */
export type KernelChoice = {
  /** Tried in order; the first that apt knows is taken. */
  readonly packages: readonly string[]
  readonly modules_required: readonly string[]
  readonly modules_wanted: readonly string[]
}

/** What will go in: the kernel's package and, where the distribution splits them, the one with its modules. */
export type KernelSource = {
  readonly release: string
  readonly packages: readonly DebianPackage[]
  /** Where the package is a kernel's source: how it is configured. */
  readonly build?: KernelBuild
}

export type Kernel = {
  readonly release: string
  readonly image: Uint8Array
  readonly modules: readonly KernelModule[]
  readonly builtin: readonly string[]
  readonly absent: readonly string[]
}

export function parseKernelChoice(text: string, path: string): Result<KernelChoice, BuildError> {
  const value = parseJSON(text)
  const fields = ["packages", "modules_required", "modules_wanted"] as const
  if (typeof value !== "object" || value === null) {
    return err({ kind: "input_invalid", path, detail: "not a JSON object" })
  }
  const lists = new Map<string, unknown>(Object.entries(value))
  for (const field of fields) {
    const list = lists.get(field)
    if (!Array.isArray(list) || !list.every((name) => typeof name === "string" && /^[A-Za-z0-9_.+-]+$/.test(name))) {
      return err({ kind: "input_invalid", path, detail: `${field} is no list of names` })
    }
  }
  // Proof: the loop above has looked at each of the three fields.
  return ok(value as KernelChoice)
}

function parseJSON(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    // Not JSON: null is no object, and the caller says so.
    return null
  }
}

/** The kernel's packages as they are locked; none when apt can no longer give one of them. */
async function showLocked(
  locked: readonly LockedInput[],
  options: RunOptions,
): Promise<Result<readonly DebianPackage[], BuildError>> {
  const packages: DebianPackage[] = []
  for (const wanted of locked.filter((one) => one.kind === "debian_package" && one.name.startsWith("linux-"))) {
    const shown = await showPackage(wanted.name, options, wanted.version)
    if (!shown.ok) {
      return shown
    }
    if (shown.value === undefined || shown.value.sha256 !== wanted.sha256) {
      return ok([])
    }
    packages.push(shown.value)
  }
  return ok(packages)
}

/** Which packages apt would give now. The metapackage names the kernel's release. */
export async function resolveKernel(
  choice: KernelChoice,
  locked: readonly LockedInput[],
  options: RunOptions,
): Promise<Result<KernelSource, BuildError>> {
  const packages = await showLocked(locked, options)
  if (!packages.ok) {
    return packages
  }
  const lockedImage = packages.value.find((one) => one.name.startsWith("linux-image-"))
  if (lockedImage !== undefined) {
    return ok({ release: lockedImage.name.slice("linux-image-".length), packages: packages.value })
  }
  for (const name of choice.packages) {
    const meta = await showPackage(name, options)
    if (!meta.ok) {
      return meta
    }
    const imageName = meta.value?.depends.find((dependency) => /^linux-image-[0-9]/.test(dependency))
    if (imageName === undefined) {
      continue
    }
    const image = await showPackage(imageName, options)
    if (!image.ok) {
      return image
    }
    if (image.value === undefined) {
      return err({ kind: "package_unavailable", package: imageName })
    }
    const modulesName = image.value.depends.find((dependency) => /^linux-modules-[0-9]/.test(dependency))
    const release = imageName.slice("linux-image-".length)
    if (modulesName === undefined) {
      return ok({ release, packages: [image.value] })
    }
    const modules = await showPackage(modulesName, options)
    if (!modules.ok) {
      return modules
    }
    return modules.value === undefined
      ? err({ kind: "package_unavailable", package: modulesName })
      : ok({ release, packages: [image.value, modules.value] })
  }
  return err({ kind: "package_unavailable", package: choice.packages.join(" or ") })
}

/** The source that apt would give now; the metapackage names its series. */
export async function resolveKernelSource(
  choice: KernelChoice,
  locked: readonly LockedInput[],
  build: KernelBuild,
  options: RunOptions,
): Promise<Result<KernelSource, BuildError>> {
  const packages = await showLocked(locked, options)
  if (!packages.ok) {
    return packages
  }
  const lockedSource = packages.value[0]
  if (lockedSource !== undefined) {
    return ok({ release: releaseOf(lockedSource.version), packages: [lockedSource], build })
  }
  for (const name of choice.packages) {
    const meta = await showPackage(name, options)
    if (!meta.ok) {
      return meta
    }
    const sourceName = meta.value?.depends.find((dependency) => /^linux-source-[0-9]/.test(dependency))
    if (sourceName === undefined) {
      continue
    }
    const source = await showPackage(sourceName, options)
    if (!source.ok) {
      return source
    }
    return source.value === undefined
      ? err({ kind: "package_unavailable", package: sourceName })
      : ok({ release: releaseOf(source.value.version), packages: [source.value], build })
  }
  return err({ kind: "package_unavailable", package: choice.packages.join(" or ") })
}

/** The kernel's bytes and modules, from `cache` when this kernel was unpacked before. */
export async function takeKernel(
  source: KernelSource,
  choice: KernelChoice,
  cache: string,
  options: RunOptions,
): Promise<Result<Kernel, BuildError>> {
  const key = sha256(JSON.stringify([source.packages.map((one) => one.sha256), choice, source.build?.key])).slice(0, 16)
  const directory = `${cache}/kernel-${key}`
  if (!(await exists(directory))) {
    const filled = await fillCache(source, choice, { cache, directory }, options)
    if (!filled.ok) {
      return filled
    }
  }
  return readKernel(source, choice, directory)
}

/** Unpacks the packages beside, keeps what the image takes, and renames it into place. */
async function fillCache(
  source: KernelSource,
  choice: KernelChoice,
  paths: { readonly cache: string; readonly directory: string },
  options: RunOptions,
): Promise<Result<void, BuildError>> {
  const unpacked = `${paths.cache}/unpack.partial-${process.pid}`
  const kept = `${paths.cache}/keep.partial-${process.pid}`
  const filled = await unpackAndKeep(source, choice, { cache: paths.cache, unpacked, kept }, options)
  const moved = filled.ok ? await move(kept, paths.directory) : filled
  await discard(unpacked)
  await discard(kept)
  return moved
}

async function unpackAndKeep(
  source: KernelSource,
  choice: KernelChoice,
  paths: { readonly cache: string; readonly unpacked: string; readonly kept: string },
  options: RunOptions,
): Promise<Result<void, BuildError>> {
  const made = await makeDirectory(`${paths.kept}/modules`)
  if (!made.ok) {
    return made
  }
  for (const one of source.packages) {
    const archive = await fetchPackage(one, paths.cache, options)
    if (!archive.ok) {
      return archive
    }
    const unpacked = await unpackPackage(archive.value, paths.unpacked, options)
    if (!unpacked.ok) {
      return unpacked
    }
  }
  if (source.build !== undefined) {
    return compileKernel(source.build, { release: source.release, ...paths }, options)
  }
  const files = await listFilesBelow(paths.unpacked)
  if (!files.ok) {
    return files
  }
  const imagePath = `boot/vmlinuz-${source.release}`
  const keptImage = await copy(`${paths.unpacked}/${imagePath}`, `${paths.kept}/kernel`)
  if (!keptImage.ok) {
    return keptImage
  }
  const builtinPath = files.value.find((path) => path.endsWith(`/modules/${source.release}/modules.builtin`))
  const builtin = builtinPath === undefined ? ok(Buffer.alloc(0)) : await readBytes(`${paths.unpacked}/${builtinPath}`)
  if (!builtin.ok) {
    return builtin
  }
  const builtinNames = builtin.value.toString("utf8").split("\n").filter(Boolean).map(moduleName)
  const written = await writeBytes(`${paths.kept}/builtin`, `${builtinNames.sort().join("\n")}\n`)
  if (!written.ok) {
    return written
  }
  const moduleFiles = new Map(
    files.value.filter((path) => /\.ko(\.(xz|zst|gz))?$/.test(path)).map((path) => [moduleName(path), path]),
  )
  return keepModules([...choice.modules_required, ...choice.modules_wanted], moduleFiles, paths, options)
}

/** The modules asked for and all that they depend on, decompressed. Those that the package lacks are left out. */
async function keepModules(
  names: readonly string[],
  moduleFiles: ReadonlyMap<string, string>,
  paths: { readonly unpacked: string; readonly kept: string },
  options: RunOptions,
): Promise<Result<void, BuildError>> {
  const queue = [...names]
  const done = new Set<string>()
  for (let index = 0; index < queue.length; index += 1) {
    const name = queue[index] ?? ""
    const path = moduleFiles.get(name)
    if (path === undefined || done.has(name)) {
      continue
    }
    done.add(name)
    if (done.size > BUILDER_LIMITS.modules_max) {
      const maximum = BUILDER_LIMITS.modules_max
      return err({ kind: "limit_exceeded", limit: "modules_max", maximum, found: done.size })
    }
    const bytes = await readModule(`${paths.unpacked}/${path}`, options)
    if (!bytes.ok) {
      return bytes
    }
    const info = readModuleInfo(bytes.value)
    if (!info.ok) {
      return err({ kind: "input_invalid", path, detail: info.error.kind })
    }
    queue.push(...info.value.depends, ...info.value.softDepends)
    const written = await writeBytes(`${paths.kept}/modules/${name}.ko`, bytes.value)
    if (!written.ok) {
      return written
    }
  }
  return ok(undefined)
}

/** Debian 12 ships modules as they are, Debian 13 as .xz, Ubuntu as .zst. */
async function readModule(path: string, options: RunOptions): Promise<Result<Uint8Array, BuildError>> {
  if (path.endsWith(".xz")) {
    const unpacked = await run("xz", ["--decompress", path], options)
    return unpacked.ok ? readBytes(path.slice(0, -".xz".length)) : unpacked
  }
  const bytes = await readBytes(path)
  if (!bytes.ok || path.endsWith(".ko")) {
    return bytes
  }
  try {
    return ok(path.endsWith(".zst") ? zstdDecompressSync(bytes.value) : gunzipSync(bytes.value))
  } catch {
    return err({ kind: "input_invalid", path, detail: "it cannot be decompressed" })
  }
}

async function readKernel(
  source: KernelSource,
  choice: KernelChoice,
  directory: string,
): Promise<Result<Kernel, BuildError>> {
  const image = await readBytes(`${directory}/kernel`)
  if (!image.ok) {
    return image
  }
  const builtinText = await readBytes(`${directory}/builtin`)
  if (!builtinText.ok) {
    return builtinText
  }
  const files = await listFilesBelow(`${directory}/modules`)
  if (!files.ok) {
    return files
  }
  const modules: KernelModule[] = []
  for (const file of files.value) {
    const bytes = await readBytes(`${directory}/modules/${file}`)
    if (!bytes.ok) {
      return bytes
    }
    const info = readModuleInfo(bytes.value)
    if (!info.ok) {
      return err({ kind: "input_invalid", path: `${directory}/modules/${file}`, detail: info.error.kind })
    }
    modules.push({ name: moduleName(file), bytes: bytes.value, info: info.value })
  }
  const builtinNames = new Set(builtinText.value.toString("utf8").split("\n"))
  const loadable = new Set(modules.map((module) => module.name))
  const asked = [...choice.modules_required, ...choice.modules_wanted]
  const builtin = asked.filter((name) => builtinNames.has(name))
  const absent = asked.filter((name) => !builtinNames.has(name) && !loadable.has(name))
  const missing = choice.modules_required.find((name) => absent.includes(name))
  if (missing !== undefined) {
    return err({ kind: "module_missing", module: missing, package: source.packages.at(-1)?.name ?? "" })
  }
  return ok({ release: source.release, image: image.value, modules, builtin, absent })
}

async function copy(from: string, to: string): Promise<Result<void, BuildError>> {
  const bytes = await readBytes(from)
  return bytes.ok ? writeBytes(to, bytes.value) : bytes
}
