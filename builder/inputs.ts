/** Gathers all that decides an image's bytes, with versions and hashes, and makes a key of it. Plane: control. */
import { delimiter, join } from "node:path"
import { assert } from "../appliance/types/assert.ts"
import { err, ok, type Result } from "../appliance/types/result.ts"
import { BUNDLE_PATH, NODE_PATH } from "./archives.ts"
import type { Bundle } from "./bundle.ts"
import { type DebianPackage, ownerOf } from "./debian.ts"
import type { BuildError } from "./errors.ts"
import { exists, listNames, readBytes, resolvePath, sha256 } from "./files.ts"
import { type InitSources, readInitSources } from "./init_program.ts"
import {
  type KernelChoice,
  type KernelSource,
  parseKernelChoice,
  resolveKernel,
  resolveKernelSource,
} from "./kernel.ts"
import { describeKernelBuild } from "./kernel_build.ts"
import { RAM_NEEDS } from "./limits.ts"
import { compareWithLock, type LockDifference, type LockedInput, type LockMode, readLock } from "./lock.ts"
import { type Compression, type Flavour, type Form, type ImageInput, MANIFEST_SCHEMA } from "./manifest.ts"
import { findLibraries, type Library, NODE_PACKAGE, type NodeBinary, readNode } from "./node_files.ts"
import type { BundledPackage } from "./sbom.ts"
import { type RunOptions, runAny } from "./shell.ts"
import { resolveStub, STUB_PACKAGE } from "./uki.ts"

const TOOLS = ["musl-gcc", "strip"] as const
/** What besides compiles a kernel of our own. Their package versions decide its bytes. */
const KERNEL_TOOLS = ["gcc", "ld", "make", "flex", "bison"] as const
/** Looked for before minutes go by: what a kernel's Makefile stumbles over late. */
const KERNEL_PROGRAMS = ["bc", "tar", "xz", "nice"] as const

/** objtool, which the defences against speculation need, reads objects with it. */
const LIBELF_HEADER = "/usr/include/libelf.h"

/** Where to look. */
export type InputContext = {
  readonly root: string
  /** The program, relative to `root`. */
  readonly entry: string
  readonly flavour: Flavour
  readonly form: Form
  readonly lock: LockMode
  readonly compression: Compression
  readonly run: RunOptions
}

/** All that decides the outputs. */
export type Inputs = {
  readonly choice: KernelChoice
  readonly kernelSource: KernelSource
  /** Of the EFI stub, where the form is `uki`. */
  readonly stubSource: DebianPackage | undefined
  readonly node: NodeBinary
  readonly libraries: readonly Library[]
  readonly initSources: InitSources
  readonly tools: readonly ImageInput[]
  readonly bundle: Uint8Array
  readonly bundled: readonly BundledPackage[]
  /** What is not as it is locked. */
  readonly unlocked: readonly LockDifference[]
  readonly list: readonly ImageInput[]
  readonly key: string
}

export async function readInputs(context: InputContext, bundled: Bundle): Promise<Result<Inputs, BuildError>> {
  const choiceName = `images/${context.flavour}/kernel.json`
  const choicePath = join(context.root, choiceName)
  const choiceText = await readBytes(choicePath)
  if (!choiceText.ok) {
    return choiceText
  }
  const choice = parseKernelChoice(choiceText.value.toString("utf8"), choicePath)
  if (!choice.ok) {
    return choice
  }
  const lock = await readLock(context.root)
  if (!lock.ok) {
    return lock
  }
  // One lock for both forms: what only the other takes is no difference.
  const locked = (lock.value.get(context.flavour) ?? []).filter(
    (one) => context.form === "uki" || one.name !== STUB_PACKAGE,
  )
  // To move the lock is to take what is there now.
  const preferred = context.lock === "update" ? [] : locked
  const tools = await readTools(context.flavour === "diskless" ? [...TOOLS, ...KERNEL_TOOLS] : TOOLS, context)
  if (!tools.ok) {
    return tools
  }
  const kernelSource =
    context.flavour === "diskless"
      ? await readKernelSource(choice.value, preferred, tools.value, context)
      : await resolveKernel(choice.value, preferred, context.run)
  if (!kernelSource.ok) {
    return kernelSource
  }
  const stubVersion = preferred.find((one) => one.name === STUB_PACKAGE)?.version
  const stubSource = context.form === "uki" ? await resolveStub(stubVersion, context.run) : ok(undefined)
  if (!stubSource.ok) {
    return stubSource
  }
  const packages = [...kernelSource.value.packages, ...(stubSource.value === undefined ? [] : [stubSource.value])]
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
    ...packages.map(
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
    { kind: "bundle", name: context.entry, version: "", file: BUNDLE_PATH, sha256: sha256(bundled.bytes) },
    { kind: "source", name: "images/base/init", version: "", file: "init", sha256: initSources.value.sha256 },
    {
      kind: "source",
      name: choiceName,
      version: "",
      file: "kernel.json",
      sha256: sha256(choiceText.value),
    },
    ...describeConfig(kernelSource.value),
    { kind: "source", name: "builder", version: "", file: "builder/*.ts", sha256: builderHash.value },
    ...tools.value,
  ]
  const unlocked = context.lock === "update" ? [] : compareWithLock(locked, list)
  if (context.lock === "frozen" && unlocked[0] !== undefined) {
    return err({ kind: "lock_differs", ...unlocked[0] })
  }
  const key = sha256(
    JSON.stringify([MANIFEST_SCHEMA, context.flavour, context.form, context.compression, RAM_NEEDS, list, unlocked]),
  )
  return ok({
    choice: choice.value,
    kernelSource: kernelSource.value,
    stubSource: stubSource.value,
    node: node.value,
    libraries: libraries.value,
    initSources: initSources.value,
    tools: tools.value,
    bundle: bundled.bytes,
    bundled: bundled.packages,
    unlocked,
    list,
    key,
  })
}

const CONFIG_NAME = "images/diskless/kernel.config"

/** The source of the kernel with its configuration, once all that compiles it is there. */
async function readKernelSource(
  choice: KernelChoice,
  locked: readonly LockedInput[],
  tools: readonly ImageInput[],
  context: InputContext,
): Promise<Result<KernelSource, BuildError>> {
  for (const tool of KERNEL_PROGRAMS) {
    if ((await findTool(tool)) === undefined) {
      return err({ kind: "tool_missing", tool })
    }
  }
  if (!(await exists(LIBELF_HEADER))) {
    const advice = 'run "sudo apt-get install libelf-dev"'
    return err({ kind: "input_missing", path: LIBELF_HEADER, advice })
  }
  const config = await readBytes(join(context.root, CONFIG_NAME))
  if (!config.ok) {
    return config
  }
  const versions = tools.map((tool) => `${tool.name} ${tool.version}`)
  const build = describeKernelBuild(config.value.toString("utf8"), versions)
  return resolveKernelSource(choice, locked, build, context.run)
}

function describeConfig(source: KernelSource): ImageInput[] {
  return source.build === undefined
    ? []
    : [{ kind: "source", name: CONFIG_NAME, version: "", file: ".config", sha256: sha256(source.build.config) }]
}

/** The programs whose output goes into the image: their versions decide its bytes as much as the sources do. */
async function readTools(names: readonly string[], context: InputContext): Promise<Result<ImageInput[], BuildError>> {
  const tools: ImageInput[] = []
  for (const tool of names) {
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
