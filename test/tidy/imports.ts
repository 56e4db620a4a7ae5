/** Who may import whom: dependencies flow one way (README.md, Map). Plane: control. */
import { posix } from "node:path"
import { Visitor } from "oxc-parser"
import { type Source, type Violation, violation } from "./source.ts"

const RULE = "imports"

/** The appliance's modules; each imports only what is before it. */
export const LAYERS = [
  "types",
  "replication",
  "state_machine",
  "keys",
  "archive",
  "orchestration",
  "gateway",
  "cli",
  "main",
] as const
/** Modules that know no clock, no socket and no Node: they import nothing but the layers before them. */
export const INNER_LAYERS: readonly Place[] = ["types", "replication", "state_machine"]

export type Place = (typeof LAYERS)[number] | "pxe" | "builder" | "test"

/** Packages that one file of one place wraps, so that leaving them stays a change of one file. */
export const WRAPPED_PACKAGES: readonly { readonly name: string; readonly place: Place }[] = [
  { name: "zx", place: "builder" },
  { name: "esbuild", place: "builder" },
  { name: "@peculiar/x509", place: "keys" },
  { name: "reflect-metadata", place: "keys" },
]

export type Import = { readonly specifier: string; readonly offset: number }

/** The module that a file belongs to, or undefined for a file in a place that no rule knows. */
export function placeOf(path: string): Place | undefined {
  const [top, next, ...rest] = path.split("/")
  if (top === "pxe" || top === "builder" || top === "test") {
    return top
  }
  if (top !== "appliance" || next === undefined) {
    return undefined
  }
  if (rest.length === 0) {
    return next === "main.ts" ? "main" : undefined
  }
  return LAYERS.find((layer) => layer === next && layer !== "main")
}

function mayImport(from: Place, to: Place): boolean {
  if (from === to || from === "test") {
    return true
  }
  if (to === "test") {
    return false
  }
  if (from === "pxe" || from === "builder") {
    return to === "types"
  }
  if (from === "main") {
    return true
  }
  const toLayer = LAYERS.findIndex((layer) => layer === to)
  return toLayer !== -1 && toLayer < LAYERS.findIndex((layer) => layer === from)
}

/** Every way a module can name another, types included. A specifier of "" is one that only running could tell. */
function importsOf(source: Source): Import[] {
  const imports: Import[] = []
  const add = (specifier: string, offset: number): void => {
    imports.push({ specifier, offset })
  }
  new Visitor({
    ImportDeclaration: (node) => add(node.source.value, node.start),
    ExportAllDeclaration: (node) => add(node.source.value, node.start),
    ExportNamedDeclaration: (node) => {
      if (node.source !== null) {
        add(node.source.value, node.start)
      }
    },
    ImportExpression: (node) => add(literalOf(node.source), node.start),
    TSImportType: (node) => add(node.source.value, node.start),
    CallExpression: (node) => {
      if (node.callee.type === "Identifier" && node.callee.name === "require") {
        add(literalOf(node.arguments[0]), node.start)
      }
    },
  }).visit(source.program)
  return imports
}

function literalOf(node: { readonly type: string } | undefined): string {
  return node !== undefined && "value" in node && typeof node.value === "string" ? node.value : ""
}

export function checkImports(source: Source): Violation[] {
  const from = placeOf(source.path)
  if (from === undefined) {
    return [violation(RULE, source, 0, "a file in a place that no module has")]
  }
  const violations: Violation[] = []
  for (const { specifier, offset } of importsOf(source)) {
    const problem = problemOf({ source, from, specifier })
    if (problem !== undefined) {
      violations.push(violation(RULE, source, offset, problem))
    }
  }
  return violations
}

type ImportCase = { readonly source: Source; readonly from: Place; readonly specifier: string }

function problemOf({ source, from, specifier }: ImportCase): string | undefined {
  if (specifier === "") {
    return from === "test" ? undefined : "imports something that is known only at run time"
  }
  if (!specifier.startsWith(".")) {
    return INNER_LAYERS.includes(from) ? `${from} is an inner module and imports ${specifier}` : undefined
  }
  if (!/\.(ts|mjs)$/.test(specifier)) {
    return `${specifier} is imported without its extension`
  }
  const target = posix.join(posix.dirname(source.path), specifier)
  const to = placeOf(target)
  if (to === undefined) {
    return `imports ${target}, which is in no module`
  }
  return mayImport(from, to) ? undefined : `${from} imports ${to}: ${target}`
}

/** The files that import `name` or one of its entry points. */
export function importersOf(sources: readonly Source[], name: string): string[] {
  const isOurs = ({ specifier }: Import): boolean => specifier === name || specifier.startsWith(`${name}/`)
  return sources.filter((source) => importsOf(source).some(isOurs)).map((source) => source.path)
}
