/** Inner modules are closed and synchronous: time, chance, memory and network come in by ports. Plane: control. */
import { Visitor } from "oxc-parser"
import { INNER_LAYERS, placeOf } from "./imports.ts"
import { type Source, type Violation, violation } from "./source.ts"

const RULE = "inner modules"

/** Globals through which the world would come in. `Math.random` is judged apart: the rest of Math is pure. */
const FORBIDDEN_GLOBALS = [
  "Atomics",
  "Buffer",
  "console",
  "crypto",
  "Date",
  "fetch",
  "globalThis",
  "Intl",
  "performance",
  "process",
  "Promise",
  "queueMicrotask",
  "setImmediate",
  "setInterval",
  "setTimeout",
  "Temporal",
  "WebSocket",
]

/** The only file that may throw: a broken invariant of ours. */
const THROWS = "appliance/types/assert.ts"

export function isInner(path: string): boolean {
  const place = placeOf(path)
  return place !== undefined && INNER_LAYERS.includes(place)
}

export function checkInner(source: Source): Violation[] {
  const violations: Violation[] = []
  const add = (offset: number, what: string): void => {
    violations.push(violation(RULE, source, offset, what))
  }
  const noAsync = (node: { readonly async: boolean; readonly start: number }): void => {
    if (node.async) {
      add(node.start, "an async function")
    }
  }
  // Names after a dot or before a colon are not the global of that name.
  const named = new Set<number>()
  new Visitor({
    FunctionDeclaration: noAsync,
    FunctionExpression: noAsync,
    ArrowFunctionExpression: noAsync,
    AwaitExpression: (node) => add(node.start, "await"),
    ThrowStatement: (node) => {
      if (source.path !== THROWS) {
        add(node.start, "throw")
      }
    },
    TryStatement: (node) => add(node.start, "try"),
    Property: (node) => {
      if (!node.computed && !node.shorthand) {
        named.add(node.key.start)
      }
    },
    TSPropertySignature: (node) => void named.add(node.key.start),
    MemberExpression: (node) => {
      if (node.computed || node.property.type !== "Identifier") {
        return
      }
      named.add(node.property.start)
      if (node.object.type === "Identifier" && node.object.name === "Math" && node.property.name === "random") {
        add(node.start, "Math.random")
      }
    },
    Identifier: (node) => {
      if (FORBIDDEN_GLOBALS.includes(node.name) && !named.has(node.start)) {
        add(node.start, node.name)
      }
    },
  }).visit(source.program)
  return violations
}
