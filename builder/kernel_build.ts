/**
 * The `diskless` kernel: Debian's source, configured by images/diskless/kernel.config and nothing else, compiled so
 * that neither the time, the place nor the person is in its bytes. Plane: control.
 */
import { availableParallelism } from "node:os"
import { err, ok, type Result } from "../appliance/types/result.ts"
import type { BuildError } from "./errors.ts"
import { listFilesBelow, makeDirectory, readBytes, sha256, writeBytes } from "./files.ts"
import { type RunOptions, run } from "./shell.ts"

/** Lines of Kconfig, and the hash of all besides the source that decides the kernel's bytes. */
export type KernelBuild = { readonly config: string; readonly key: string }

const LOCAL_VERSION = "-diskless"

/** What the kernel would else take from the machine that compiles it. */
const ENVIRONMENT = [
  "KBUILD_BUILD_USER=mandala",
  "KBUILD_BUILD_HOST=mandala",
  "KBUILD_BUILD_VERSION=1",
  "KBUILD_BUILD_TIMESTAMP=@0",
]

/** `tools` are the versions of the programs that compile. */
export function describeKernelBuild(config: string, tools: readonly string[]): KernelBuild {
  return { config, key: sha256(JSON.stringify([config, ENVIRONMENT, tools])) }
}

/** "6.1.192-2" is Debian's second package of 6.1.192. */
export function releaseOf(version: string): string {
  return `${version.replace(/^[0-9]+:/, "").replace(/-[^-]*$/, "")}${LOCAL_VERSION}`
}

/** Compiles the source unpacked from its package; leaves `kernel`, `config` and an empty list of modules in `kept`. */
export async function compileKernel(
  build: KernelBuild,
  paths: { readonly release: string; readonly unpacked: string; readonly kept: string },
  options: RunOptions,
): Promise<Result<void, BuildError>> {
  const tree = `${paths.unpacked}/tree`
  const unpacked = await unpackSource(paths.unpacked, tree, options)
  if (!unpacked.ok) {
    return unpacked
  }
  const configured = await configure(build.config, tree, options)
  if (!configured.ok) {
    return configured
  }
  const jobs = `-j${availableParallelism()}`
  const made = await run("nice", ["make", "-s", jobs, ...ENVIRONMENT, "bzImage"], { ...options, directory: tree })
  if (!made.ok) {
    return made
  }
  const release = await readBytes(`${tree}/include/config/kernel.release`)
  if (!release.ok) {
    return release
  }
  if (release.value.toString("utf8").trim() !== paths.release) {
    const detail = `it calls itself ${release.value.toString("utf8").trim()}, not ${paths.release}`
    return err({ kind: "input_invalid", path: "the kernel's source", detail })
  }
  return keep(tree, configured.value, paths.kept)
}

async function unpackSource(directory: string, tree: string, options: RunOptions): Promise<Result<void, BuildError>> {
  const files = await listFilesBelow(`${directory}/usr/src`)
  if (!files.ok) {
    return files
  }
  const archive = files.value.find((path) => /^linux-source-[0-9.]+\.tar\.xz$/.test(path))
  if (archive === undefined) {
    return err({ kind: "input_invalid", path: `${directory}/usr/src`, detail: "there is no source of a kernel in it" })
  }
  const made = await makeDirectory(tree)
  if (!made.ok) {
    return made
  }
  const parameters = ["-xf", `${directory}/usr/src/${archive}`, "-C", tree, "--strip-components=1"]
  const unpacked = await run("tar", parameters, options)
  return unpacked.ok ? ok(undefined) : unpacked
}

/** The whole configuration: what was asked for on top of nothing, once it is certain that all of it came true. */
async function configure(config: string, tree: string, options: RunOptions): Promise<Result<string, BuildError>> {
  const asked = `${tree}/asked.config`
  const written = await writeBytes(asked, config)
  if (!written.ok) {
    return written
  }
  const parameters = ["-s", `KCONFIG_ALLCONFIG=${asked}`, ...ENVIRONMENT, "allnoconfig"]
  const made = await run("make", parameters, { ...options, directory: tree })
  if (!made.ok) {
    return made
  }
  const whole = await readBytes(`${tree}/.config`)
  if (!whole.ok) {
    return whole
  }
  const unmet = findUnmet(config, whole.value.toString("utf8"))
  return unmet === undefined
    ? ok(whole.value.toString("utf8"))
    : err({ kind: "input_invalid", path: "images/diskless/kernel.config", detail: `the kernel has no ${unmet}` })
}

/** Kconfig drops in silence what it does not know or what depends on something that is off. */
export function findUnmet(asked: string, whole: string): string | undefined {
  const lines = new Set(whole.split("\n"))
  const isOn = (name: string): boolean => whole.includes(`\n${name}=`)
  return asked.split("\n").find((line) => {
    const off = /^# (CONFIG_\w+) is not set$/.exec(line)?.[1]
    return off === undefined ? line.startsWith("CONFIG_") && !lines.has(line) : isOn(off)
  })
}

async function keep(tree: string, config: string, kept: string): Promise<Result<void, BuildError>> {
  const kernel = await readBytes(`${tree}/arch/x86/boot/bzImage`)
  if (!kernel.ok) {
    return kernel
  }
  const files = [
    ["kernel", kernel.value],
    ["config", config],
    ["builtin", "\n"],
  ] as const
  for (const [name, bytes] of files) {
    const written = await writeBytes(`${kept}/${name}`, bytes)
    if (!written.ok) {
      return written
    }
  }
  return ok(undefined)
}
