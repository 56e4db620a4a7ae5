/** Kernel modules: what a module says of itself, and the table by which /init loads them. Plane: control. */
import { err, ok, type Result } from "../appliance/types/result.ts"
import { type ELFError, readSection } from "./elf.ts"
import type { BuildError } from "./errors.ts"
import { BUILDER_LIMITS } from "./limits.ts"

export type ModuleInfo = {
  /** Loaded first: `depends`, and what a soft dependency asks for before. */
  readonly depends: readonly string[]
  readonly softDepends: readonly string[]
  /** Patterns of the hardware that it drives. */
  readonly aliases: readonly string[]
}

export type KernelModule = { readonly name: string; readonly bytes: Uint8Array; readonly info: ModuleInfo }

/** File names have '-' or '_', the kernel only '_'. */
export function moduleName(path: string): string {
  const file = path.slice(path.lastIndexOf("/") + 1)
  return file.replace(/\.ko(\.(xz|zst|gz))?$/, "").replaceAll("-", "_")
}

/** `.modinfo` is a list of "key=value", each ended by a NUL. */
export function readModuleInfo(file: Uint8Array): Result<ModuleInfo, ELFError> {
  const section = readSection(file, ".modinfo")
  if (!section.ok) {
    return section
  }
  const depends: string[] = []
  const softDepends: string[] = []
  const aliases: string[] = []
  for (const line of new TextDecoder("latin1").decode(section.value).split("\0")) {
    const equals = line.indexOf("=")
    const key = line.slice(0, Math.max(0, equals))
    const value = line.slice(equals + 1)
    if (key === "depends") {
      depends.push(...value.split(",").filter((name) => name !== ""))
    } else if (key === "softdep") {
      softDepends.push(...softDependenciesBefore(value))
    } else if (key === "alias" && /^(pci|virtio|cpu):[^ ]+$/.test(value)) {
      aliases.push(value)
    }
  }
  const normalize = (names: readonly string[]): string[] => names.map((name) => name.replaceAll("-", "_"))
  return ok({ depends: normalize(depends), softDepends: normalize(softDepends), aliases: aliases.sort() })
}

/** "pre: a b post: c" gives a and b. */
function softDependenciesBefore(value: string): string[] {
  const names: string[] = []
  let before = false
  for (const word of value.split(" ")) {
    if (word.endsWith(":")) {
      before = word === "pre:"
    } else if (before && word !== "") {
      names.push(word)
    }
  }
  return names
}

/** One line a module, dependencies by name, then one line for each kind of hardware. */
export function encodeModuleTable(modules: readonly KernelModule[]): Result<string, BuildError> {
  const present = new Set(modules.map((module) => module.name))
  const lines: string[] = []
  let aliases = 0
  for (const { name, info } of modules) {
    const depends = [...info.softDepends, ...info.depends].filter((dependency) => present.has(dependency))
    lines.push(`module ${name} ${depends.length === 0 ? "-" : depends.join(",")}`)
  }
  for (const { name, info } of modules) {
    aliases += info.aliases.length
    lines.push(...info.aliases.map((alias) => `alias ${alias} ${name}`))
  }
  const text = `${lines.join("\n")}\n`
  const bounds = [
    ["modules_max", modules.length],
    ["module_aliases_max", aliases],
    ["module_table_bytes_max", text.length],
    ["module_depth_max", depthOf(modules)],
  ] as const
  for (const [limit, found] of bounds) {
    if (found > BUILDER_LIMITS[limit]) {
      return err({ kind: "limit_exceeded", limit, maximum: BUILDER_LIMITS[limit], found })
    }
  }
  return ok(text)
}

/** The longest chain of dependencies. A cycle counts as deeper than any limit. */
function depthOf(modules: readonly KernelModule[]): number {
  const byName = new Map(modules.map((module) => [module.name, module]))
  const depth = (name: string, above: number): number => {
    const module = byName.get(name)
    if (module === undefined || above > BUILDER_LIMITS.module_depth_max) {
      return above
    }
    const below = [...module.info.softDepends, ...module.info.depends]
    return Math.max(above + 1, ...below.map((dependency) => depth(dependency, above + 1)))
  }
  return Math.max(0, ...modules.map((module) => depth(module.name, 0)))
}
