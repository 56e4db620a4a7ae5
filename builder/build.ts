/**
 * Builds the image: kernel, init.img, base.img and the manifest that describes them. It owns the order of the steps,
 * the reuse of an image that nothing changed in, and the swap by which a new one appears whole or not at all.
 * Plane: control.
 */
import { join, resolve } from "node:path"
import { err, ok, type Result } from "../appliance/types/result.ts"
import { compressBase, describeFile, packBase, packInit, ZSTD_LEVEL } from "./archives.ts"
import { bundle } from "./bundle.ts"
import type { BuildError } from "./errors.ts"
import { discard, exists, freeBytes, listNames, makeDirectory, move, remove, writeBytes } from "./files.ts"
import { readImage } from "./image_files.ts"
import { compileInit } from "./init_program.ts"
import { type InputContext, type Inputs, readInputs } from "./inputs.ts"
import { takeKernel } from "./kernel.ts"
import { BUILDER_LIMITS, ramNeedBytes } from "./limits.ts"
import { type LockMode, updateLock } from "./lock.ts"
import {
  type Compression,
  encodeManifest,
  type Flavour,
  type Form,
  type ImageManifest,
  MANIFEST_SCHEMA,
  OUTPUT_NAMES,
} from "./manifest.ts"
import { NODE_PACKAGE, stripNode } from "./node_files.ts"
import type { BuildProgressPort, BuildStep } from "./progress.ts"
import { encodeSBOM } from "./sbom.ts"
import { assembleUKI, takeStub, UKI_NAME, type UKIContent } from "./uki.ts"

export type BuildOptions = {
  /** Where the image goes; replaced as a whole. */
  readonly outDir: string
  readonly flavour: Flavour
  /** By default `pxe`. */
  readonly form?: Form
  /** By default `prefer`. */
  readonly lock?: LockMode
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

const SBOM_NAME = "sbom.json"
const ENTRY_DEFAULT = "appliance/main.ts"
type Context = InputContext & {
  readonly cache: string
  readonly step: <T>(
    step: BuildStep,
    detail: string,
    work: () => Promise<Result<T, BuildError>>,
    done?: (value: T) => string,
  ) => Promise<Result<T, BuildError>>
}

/** Builds what `options` says, or finds that the image there is already that. */
export async function buildImage(asked: BuildOptions): Promise<Result<ImageManifest, BuildError>> {
  // Absolute, because tools run in directories of their own.
  const options = { ...asked, outDir: resolve(asked.outDir) }
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
  const inputs = await gatherInputs(context)
  if (!inputs.ok) {
    return inputs
  }
  for (const difference of describeUnlocked(inputs.value)) {
    options.progress({ kind: "note", text: `not as locked: ${difference}` })
  }
  const built = await buildUnlessPresent(options, context, inputs.value, startedAt)
  if (!built.ok || context.lock !== "update") {
    return built
  }
  const updated = await updateLock(context.root, context.flavour, inputs.value.list)
  return updated.ok ? built : updated
}

function describeUnlocked(inputs: Inputs): string[] {
  return inputs.unlocked.map((one) => `${one.name}: ${one.found}, not ${one.locked}`)
}

async function buildUnlessPresent(
  options: BuildOptions,
  context: Context,
  inputs: Inputs,
  startedAt: number,
): Promise<Result<ImageManifest, BuildError>> {
  const parent = join(options.outDir, "..")
  const present = await readImage(options.outDir)
  if (present.ok && present.value.manifest.key === inputs.key) {
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
  const image = await assembleImage(context, inputs)
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
    flavour: options.flavour,
    form: options.form ?? "pxe",
    lock: options.lock ?? "prefer",
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

async function gatherInputs(context: Context): Promise<Result<Inputs, BuildError>> {
  const bundled = await context.step(
    "bundle",
    context.entry,
    () => bundle(context),
    (value) => `${context.entry}, ${value.bytes.length} bytes`,
  )
  if (!bundled.ok) {
    return bundled
  }
  return context.step("inputs", "what goes in", () => readInputs(context, bundled.value), describeInputs)
}

function describeInputs(inputs: Inputs): string {
  const kernel = inputs.kernelSource.packages.map((one) => `${one.name} ${one.version}`).join(", ")
  return `${kernel}, ${NODE_PACKAGE} ${inputs.node.version}`
}

function describeKernelWork(inputs: Inputs): string {
  const name = inputs.kernelSource.packages[0]?.name ?? ""
  return inputs.kernelSource.build === undefined
    ? `fetching and unpacking ${name}`
    : `compiling ${name}, unless it was compiled before (9 minutes of processor time)`
}

type AssembledImage = {
  readonly manifest: ImageManifest
  readonly outputs: readonly Uint8Array[]
  readonly sbom: Uint8Array
  readonly uki: Uint8Array | undefined
}

async function assembleImage(context: Context, inputs: Inputs): Promise<Result<AssembledImage, BuildError>> {
  const kernel = await context.step(
    "kernel",
    describeKernelWork(inputs),
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
  const base = packBase({
    modules: kernel.value.modules,
    libraries: inputs.libraries,
    bundle: inputs.bundle,
    node: node.value,
  })
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
  const uki = await makeUKI(context, inputs, { kernel: kernel.value.image, archives: outputs.slice(1) })
  if (!uki.ok) {
    return uki
  }
  const sbom = new TextEncoder().encode(encodeSBOM({ ...inputs, flavour: context.flavour, inputs: inputs.list }))
  const manifest: ImageManifest = {
    schema: MANIFEST_SCHEMA,
    key: inputs.key,
    image_id: base.value.imageID,
    flavour: context.flavour,
    compression: context.compression,
    kernel_release: kernel.value.release,
    ram_need_bytes: ramNeedBytes(sizes),
    unpacked_bytes: sizes.unpackedBytes,
    inputs: inputs.list,
    unlocked: describeUnlocked(inputs),
    sbom: describeFile(SBOM_NAME, sbom),
    programs: uki.value === undefined ? [] : [describeFile(UKI_NAME, uki.value)],
    outputs: OUTPUT_NAMES.map((name, index) => describeFile(name, outputs[index] ?? new Uint8Array(0))),
    base_files: base.value.files,
    modules: {
      loadable: kernel.value.modules.map((module) => module.name),
      builtin: kernel.value.builtin,
      absent: kernel.value.absent,
    },
  }
  return ok({ manifest, outputs, sbom, uki: uki.value })
}

async function makeUKI(
  context: Context,
  inputs: Inputs,
  content: UKIContent,
): Promise<Result<Uint8Array | undefined, BuildError>> {
  if (inputs.stubSource === undefined) {
    return ok(undefined)
  }
  const stub = await takeStub(inputs.stubSource, context.cache, context.run)
  return stub.ok ? assembleUKI(stub.value, content) : stub
}

/** Writes beside, then swaps: whoever looks finds the old image or the new one. */
async function writeImage(
  outDir: string,
  image: AssembledImage,
  signal: AbortSignal,
): Promise<Result<void, BuildError>> {
  const partial = `${outDir}.partial-${process.pid}`
  const old = `${outDir}.old.partial-${process.pid}`
  const filled = await fillDirectory(partial, image)
  if (!filled.ok || signal.aborted) {
    await discard(partial)
    return filled.ok ? err({ kind: "interrupted" }) : filled
  }
  const hadOld = await exists(outDir)
  const away = hadOld ? await move(outDir, old) : ok(undefined)
  const moved = away.ok ? await move(partial, outDir) : away
  if (!moved.ok) {
    await discard(partial)
    const back = hadOld && away.ok ? await move(old, outDir) : ok(undefined)
    return back.ok ? moved : back
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
  if (image.uki !== undefined) {
    const written = await writeBytes(join(directory, UKI_NAME), image.uki)
    if (!written.ok) {
      return written
    }
  }
  const listed = await writeBytes(join(directory, SBOM_NAME), image.sbom)
  if (!listed.ok) {
    return listed
  }
  return writeBytes(join(directory, "manifest.json"), encodeManifest(image.manifest))
}
