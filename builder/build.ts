/**
 * Builds the image: kernel, init.img, base.img and the manifest that describes them. It owns the order of the steps, the
 * key that tells whether anything changed, and the swap that makes a new image appear whole or not at all.
 * Plane: control.
 */
import { delimiter, join } from "node:path"
import { constants, gzipSync, zstdCompress } from "node:zlib"
import { assert } from "../appliance/types/assert.ts"
import { CPIO_BLOCK_BYTES, type CpioFile, encodeCpio } from "../appliance/types/cpio.ts"
import { err, ok, type Result } from "../appliance/types/result.ts"
import { bundle } from "./bundle.ts"
import { ownerOf } from "./debian.ts"
import type { BuildError } from "./errors.ts"
import {
  exists,
  freeBytes,
  listNames,
  makeDirectory,
  move,
  readBytes,
  remove,
  resolvePath,
  sha256,
  writeBytes,
} from "./files.ts"
import { readImage } from "./image_files.ts"
import { compileInit, type InitSources, readInitSources } from "./init_program.ts"
import { type Kernel, type KernelChoice, type KernelSource, parseKernelChoice, resolveKernel, takeKernel } from "./kernel.ts"
import { BUILDER_LIMITS, RAM_NEEDS, ramNeedBytes } from "./limits.ts"
import {
  type Compression,
  encodeManifest,
  type ImageFile,
  type ImageInput,
  type ImageManifest,
  MANIFEST_SCHEMA,
  OUTPUT_NAMES,
} from "./manifest.ts"
import { encodeModuleTable } from "./modules.ts"
import { encodeNeed } from "./need.ts"
import { findLibraries, type Library, NODE_PACKAGE, type NodeBinary, readNode, stripNode } from "./node_files.ts"
import type { BuildProgressPort, BuildStep } from "./progress.ts"
import { type RunOptions, runAny } from "./shell.ts"

export type BuildOptions = {
  /** Where the image goes; replaced as a whole. */
  readonly outDir: string
  /** `fast` is zstd -3 (half a second), `small` is zstd -19 (most of a minute). */
  readonly compression: Compression
  readonly progress: BuildProgressPort
  /** Fetched and unpacked packages; by default `cache` beside `outDir`. */
  readonly cacheDir?: string
  /** The repository; by default the one that this file is in. */
  readonly root?: string
  /** The program, relative to `root`. */
  readonly entry?: string
  readonly signal?: AbortSignal
}

export const ENTRY_DEFAULT = "appliance/main.ts"
const BUNDLE_PATH = "app/mandala.cjs"
const NODE_PATH = "bin/node"
const SENTINEL_PATH = "base.complete"
const TOOLS = ["musl-gcc", "strip"] as const

const ZSTD_LEVEL: { readonly [Name in Compression]: number } = { fast: 3, small: 19 }
const GZIP_LEVEL = 9

/** All that decides the outputs. */
type Inputs = {
  readonly choice: KernelChoice
  readonly kernelSource: KernelSource
  readonly node: NodeBinary
  readonly libraries: readonly Library[]
  readonly initSources: InitSources
  readonly tools: readonly ImageInput[]
  readonly bundle: Uint8Array
  readonly list: readonly ImageInput[]
  readonly key: string
}

type Context = {
  readonly root: string
  readonly entry: string
  readonly cache: string
  readonly compression: Compression
  readonly run: RunOptions
  readonly step: <T>(
    step: BuildStep,
    detail: string,
    work: () => Promise<Result<T, BuildError>>,
    done?: (value: T) => string,
  ) => Promise<Result<T, BuildError>>
}

/** Builds what `options` says, or finds that the image there is already that. */
export async function buildImage(options: BuildOptions): Promise<Result<ImageManifest, BuildError>> {
  const startedAt = performance.now()
  const built = await buildOrReuse(options, startedAt)
  if (!built.ok) {
    options.progress({ kind: "failed" })
  }
  return built
}

async function buildOrReuse(options: BuildOptions, startedAt: number): Promise<Result<ImageManifest, BuildError>> {
  const context = makeContext(options)
  const parent = join(options.outDir, "..")
  for (const directory of [parent, context.cache]) {
    const made = await makeDirectory(directory)
    if (!made.ok) {
      return made
    }
    const swept = await removePartials(directory)
    if (!swept.ok) {
      return swept
    }
  }
  const inputs = await readInputs(context)
  if (!inputs.ok) {
    return inputs
  }
  const present = await readImage(options.outDir)
  if (present.ok && present.value.manifest.key === inputs.value.key) {
    options.progress({ kind: "unchanged", ms: performance.now() - startedAt })
    return ok(present.value.manifest)
  }
  const free = await freeBytes(parent)
  if (!free.ok) {
    return free
  }
  if (free.value < BUILDER_LIMITS.disk_bytes_min) {
    return err({ kind: "disk_full", path: parent })
  }
  const image = await assembleImage(context, inputs.value)
  if (!image.ok) {
    return image
  }
  const written = await context.step(
    "write",
    options.outDir,
    () => writeImage(options.outDir, image.value, context.run.signal),
    () => `${options.outDir}, ${image.value.manifest.outputs.map((file) => `${file.path} ${file.bytes}`).join(", ")}`,
  )
  return written.ok ? ok(image.value.manifest) : written
}

function makeContext(options: BuildOptions): Context {
  const run = { signal: options.signal ?? new AbortController().signal }
  return {
    root: options.root ?? join(import.meta.dirname, ".."),
    entry: options.entry ?? ENTRY_DEFAULT,
    cache: options.cacheDir ?? join(options.outDir, "..", "cache"),
    compression: options.compression,
    run,
    step: async (step, detail, work, done) => {
      if (run.signal.aborted) {
        return err({ kind: "interrupted" })
      }
      const startedAt = performance.now()
      options.progress({ kind: "started", step, detail })
      const result = await work()
      if (result.ok) {
        const ms = performance.now() - startedAt
        options.progress({ kind: "finished", step, detail: done?.(result.value) ?? detail, ms })
      }
      return result
    },
  }
}

/** A build that was killed leaves its partial files; whose process is gone is nobody's. */
async function removePartials(directory: string): Promise<Result<void, BuildError>> {
  const names = await listNames(directory)
  if (!names.ok) {
    return names
  }
  for (const name of names.value) {
    const owner = /\.partial-([0-9]+)$/.exec(name)?.[1]
    if (owner === undefined || (Number(owner) !== process.pid && isAlive(Number(owner)))) {
      continue
    }
    const removed = await remove(join(directory, name))
    if (!removed.ok) {
      return removed
    }
  }
  return ok(undefined)
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (cause) {
    // EPERM: it lives and belongs to somebody else.
    return cause instanceof Error && "code" in cause && cause.code === "EPERM"
  }
}

async function readInputs(context: Context): Promise<Result<Inputs, BuildError>> {
  const bundled = await context.step(
    "bundle",
    context.entry,
    () => bundleProgram(context),
    (bytes) => `${context.entry}, ${bytes.length} bytes`,
  )
  if (!bundled.ok) {
    return bundled
  }
  return context.step("inputs", "what goes in", () => readOtherInputs(context, bundled.value), describeInputs)
}

async function bundleProgram(context: Context): Promise<Result<Uint8Array, BuildError>> {
  const prologue = await readBytes(join(context.root, "images/base/prologue.cjs"))
  return prologue.ok
    ? bundle({ root: context.root, entry: context.entry, prologue: prologue.value.toString("utf8") })
    : prologue
}

function describeInputs(inputs: Inputs): string {
  const kernel = inputs.kernelSource.packages.map((one) => `${one.name} ${one.version}`).join(", ")
  return `${kernel}, ${NODE_PACKAGE} ${inputs.node.version}`
}

async function readOtherInputs(context: Context, bundleBytes: Uint8Array): Promise<Result<Inputs, BuildError>> {
  const choicePath = join(context.root, "images/base/kernel.json")
  const choiceText = await readBytes(choicePath)
  if (!choiceText.ok) {
    return choiceText
  }
  const choice = parseKernelChoice(choiceText.value.toString("utf8"), choicePath)
  if (!choice.ok) {
    return choice
  }
  const tools = await readTools(context)
  if (!tools.ok) {
    return tools
  }
  const kernelSource = await resolveKernel(choice.value, context.run)
  if (!kernelSource.ok) {
    return kernelSource
  }
  const node = await readNode(context.root)
  if (!node.ok) {
    return node
  }
  const libraries = await findLibraries(node.value, context.run)
  if (!libraries.ok) {
    return libraries
  }
  const initSources = await readInitSources(join(context.root, "images/base/init"))
  if (!initSources.ok) {
    return initSources
  }
  const builderHash = await hashOwnSources()
  if (!builderHash.ok) {
    return builderHash
  }
  const list: ImageInput[] = [
    ...kernelSource.value.packages.map(
      (one): ImageInput => ({
        kind: "debian_package",
        name: one.name,
        version: one.version,
        file: `${one.name}.deb`,
        sha256: one.sha256,
      }),
    ),
    ...libraries.value.map(
      (one): ImageInput => ({
        kind: "debian_package",
        name: one.packageName,
        version: one.packageVersion,
        file: one.path,
        sha256: one.sha256,
      }),
    ),
    {
      kind: "npm_package",
      name: NODE_PACKAGE,
      version: node.value.version,
      file: NODE_PATH,
      sha256: node.value.sha256,
    },
    { kind: "bundle", name: context.entry, version: "", file: BUNDLE_PATH, sha256: sha256(bundleBytes) },
    { kind: "source", name: "images/base/init", version: "", file: "init", sha256: initSources.value.sha256 },
    {
      kind: "source",
      name: "images/base/kernel.json",
      version: "",
      file: "kernel.json",
      sha256: sha256(choiceText.value),
    },
    { kind: "source", name: "builder", version: "", file: "builder/*.ts", sha256: builderHash.value },
    ...tools.value,
  ]
  const key = sha256(JSON.stringify([MANIFEST_SCHEMA, context.compression, RAM_NEEDS, list]))
  return ok({
    choice: choice.value,
    kernelSource: kernelSource.value,
    node: node.value,
    libraries: libraries.value,
    initSources: initSources.value,
    tools: tools.value,
    bundle: bundleBytes,
    list,
    key,
  })
}

/** The programs whose output goes into the image: their versions decide its bytes as much as the sources do. */
async function readTools(context: Context): Promise<Result<ImageInput[], BuildError>> {
  const tools: ImageInput[] = []
  for (const tool of TOOLS) {
    const asked = await runAny(tool, ["--version"], context.run)
    if (!asked.ok) {
      return asked
    }
    const path = await findTool(tool)
    if (path === undefined) {
      return err({ kind: "tool_missing", tool })
    }
    const real = await resolvePath(path)
    if (!real.ok) {
      return real
    }
    const bytes = await readBytes(real.value)
    if (!bytes.ok) {
      return bytes
    }
    const owner = await ownerOf([...new Set([path, real.value])], context.run)
    if (!owner.ok) {
      return owner
    }
    const version = [owner.value?.name ?? "unpackaged", owner.value?.version ?? "unknown"].join(" ")
    const banner = asked.value.stdout.split("\n")[0] ?? ""
    tools.push({ kind: "tool", name: tool, version: `${version}, ${banner}`, file: path, sha256: sha256(bytes.value) })
  }
  return ok(tools)
}

async function findTool(tool: string): Promise<string | undefined> {
  for (const directory of (process.env["PATH"] ?? "").split(delimiter)) {
    const path = join(directory, tool)
    if (directory !== "" && (await exists(path))) {
      return path
    }
  }
  return undefined
}

/** A builder that changed may build something else of the same inputs. */
async function hashOwnSources(): Promise<Result<string, BuildError>> {
  const names = await listNames(import.meta.dirname)
  if (!names.ok) {
    return names
  }
  const sources = names.value.filter((name) => name.endsWith(".ts"))
  assert(sources.length > 0, "build: the builder finds its own sources")
  const hashes: string[] = []
  for (const path of [...sources, "../appliance/types/cpio.ts"]) {
    const bytes = await readBytes(join(import.meta.dirname, path))
    if (!bytes.ok) {
      return bytes
    }
    hashes.push(`${path} ${sha256(bytes.value)}`)
  }
  return ok(sha256(hashes.join("\n")))
}

type AssembledImage = { readonly manifest: ImageManifest; readonly outputs: readonly Uint8Array[] }

async function assembleImage(context: Context, inputs: Inputs): Promise<Result<AssembledImage, BuildError>> {
  const kernel = await context.step(
    "kernel",
    `fetching and unpacking ${inputs.kernelSource.packages[0]?.name ?? ""}`,
    () => takeKernel(inputs.kernelSource, inputs.choice, context.cache, context.run),
    (value) => `${value.release}, ${value.modules.length} modules`,
  )
  if (!kernel.ok) {
    return kernel
  }
  const stripVersion = inputs.tools.find((tool) => tool.name === "strip")?.version ?? ""
  const node = await context.step(
    "node",
    "removing its symbols",
    () => stripNode(inputs.node, stripVersion, context.cache, context.run),
    (bytes) => `${inputs.node.bytes.length} bytes, ${bytes.length} without symbols`,
  )
  if (!node.ok) {
    return node
  }
  const init = await context.step(
    "init",
    "compiling",
    () => compileInit(inputs.initSources, context.cache, context.run),
    (bytes) => `${bytes.length} bytes`,
  )
  if (!init.ok) {
    return init
  }
  const base = packBase(kernel.value, inputs, node.value)
  if (!base.ok) {
    return base
  }
  const compressed = await context.step(
    "archive",
    `zstd -${ZSTD_LEVEL[context.compression]} of ${base.value.archive.length} bytes`,
    () => compressBase(base.value.archive, context.compression),
    (bytes) => `zstd -${ZSTD_LEVEL[context.compression]}, ${base.value.archive.length} bytes to ${bytes.length}`,
  )
  if (!compressed.ok) {
    return compressed
  }
  const sizes = { compressedBytes: compressed.value.length, unpackedBytes: base.value.archive.length }
  const firstArchive = packInit(init.value, base.value, ramNeedBytes(sizes))
  if (!firstArchive.ok) {
    return firstArchive
  }
  const outputs = [kernel.value.image, firstArchive.value, compressed.value]
  const manifest: ImageManifest = {
    schema: MANIFEST_SCHEMA,
    key: inputs.key,
    image_id: base.value.imageID,
    flavour: "stock",
    compression: context.compression,
    kernel_release: kernel.value.release,
    ram_need_bytes: ramNeedBytes(sizes),
    unpacked_bytes: sizes.unpackedBytes,
    inputs: inputs.list,
    outputs: OUTPUT_NAMES.map((name, index) => describeFile(name, outputs[index] ?? new Uint8Array(0))),
    base_files: base.value.files,
    modules: {
      loadable: kernel.value.modules.map((module) => module.name),
      builtin: kernel.value.builtin,
      absent: kernel.value.absent,
    },
  }
  return ok({ manifest, outputs })
}

type PackedBase = { readonly archive: Uint8Array; readonly imageID: string; readonly files: readonly ImageFile[] }

/**
 * The base archive. Small files come first: of an archive that arrives short, /init may still have the modules with
 * which to say so. The sentinel comes last: where it is, everything is.
 */
function packBase(kernel: Kernel, inputs: Inputs, nodeBytes: Uint8Array): Result<PackedBase, BuildError> {
  const table = encodeModuleTable(kernel.modules)
  if (!table.ok) {
    return table
  }
  const content: CpioFile[] = [
    { path: "modules/table", mode: 0o444, bytes: new TextEncoder().encode(table.value) },
    ...kernel.modules.map((module) => ({ path: `modules/${module.name}.ko`, mode: 0o444, bytes: module.bytes })),
    { path: BUNDLE_PATH, mode: 0o444, bytes: inputs.bundle },
    ...inputs.libraries.map((library) => ({ path: library.path, mode: 0o555, bytes: library.bytes })),
    { path: NODE_PATH, mode: 0o555, bytes: nodeBytes },
  ]
  const files = content.map((file) => describeFile(file.path, file.bytes))
  const imageID = sha256(
    content.map((file, index) => `${file.path} ${file.mode} ${files[index]?.sha256 ?? ""}`).join("\n"),
  )
  const sentinel = { path: SENTINEL_PATH, mode: 0o444, bytes: new TextEncoder().encode(`${imageID}\n`) }
  return ok({ archive: encodeCpio([...content, sentinel]), imageID, files })
}

function packInit(init: Uint8Array, base: PackedBase, ramNeed: number): Result<Uint8Array, BuildError> {
  const need = encodeNeed({ ramNeedBytes: ramNeed, imageID: base.imageID, sentinel: SENTINEL_PATH, files: base.files })
  if (!need.ok) {
    return need
  }
  const archive = encodeCpio([
    { path: "init", mode: 0o555, bytes: init },
    { path: "need-manifest", mode: 0o444, bytes: new TextEncoder().encode(need.value) },
  ])
  const packed = padToBlock(gzipSync(archive, { level: GZIP_LEVEL }))
  const maximum = BUILDER_LIMITS.init_image_bytes_max
  return packed.length > maximum
    ? err({ kind: "limit_exceeded", limit: "init_image_bytes_max", maximum, found: packed.length })
    : ok(packed)
}

/** With the frame's checksum, which the kernel verifies: that is how a machine knows that no bit flipped on the way. */
function compressBase(archive: Uint8Array, compression: Compression): Promise<Result<Uint8Array, BuildError>> {
  const params = {
    [constants.ZSTD_c_compressionLevel]: ZSTD_LEVEL[compression],
    [constants.ZSTD_c_checksumFlag]: 1,
  }
  return new Promise((resolve) => {
    zstdCompress(archive, { params }, (error, bytes) => {
      resolve(
        error === null
          ? ok(padToBlock(bytes))
          : err({ kind: "tool_failed", tool: "zstd (node:zlib)", detail: error.message }),
      )
    })
  })
}

/** Zeros between archives are skipped by the kernel; a loader that concatenates must not leave it misaligned. */
function padToBlock(bytes: Uint8Array): Uint8Array {
  const padded = new Uint8Array(Math.ceil(bytes.length / CPIO_BLOCK_BYTES) * CPIO_BLOCK_BYTES)
  padded.set(bytes)
  return padded
}

function describeFile(path: string, bytes: Uint8Array): ImageFile {
  return { path, bytes: bytes.length, sha256: sha256(bytes) }
}

/** Writes beside, then swaps: whoever looks finds the old image or the new one. */
async function writeImage(outDir: string, image: AssembledImage, signal: AbortSignal): Promise<Result<void, BuildError>> {
  const partial = `${outDir}.partial-${process.pid}`
  const old = `${outDir}.old.partial-${process.pid}`
  const filled = await fillDirectory(partial, image)
  if (!filled.ok || signal.aborted) {
    await remove(partial)
    return filled.ok ? err({ kind: "interrupted" }) : filled
  }
  const hadOld = await exists(outDir)
  const away = hadOld ? await move(outDir, old) : ok(undefined)
  const moved = away.ok ? await move(partial, outDir) : away
  if (!moved.ok) {
    if (hadOld && away.ok) {
      await move(old, outDir)
    }
    await remove(partial)
    return moved
  }
  return remove(old)
}

async function fillDirectory(directory: string, image: AssembledImage): Promise<Result<void, BuildError>> {
  const made = await makeDirectory(directory)
  if (!made.ok) {
    return made
  }
  for (const [index, name] of OUTPUT_NAMES.entries()) {
    const written = await writeBytes(join(directory, name), image.outputs[index] ?? new Uint8Array(0))
    if (!written.ok) {
      return written
    }
  }
  return writeBytes(join(directory, "manifest.json"), encodeManifest(image.manifest))
}
