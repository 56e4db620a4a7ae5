/** Each file says its plane, and the data plane allocates nothing per operation. Plane: control. */
import { Visitor } from "oxc-parser"
import { placeOf } from "./imports.ts"
import { type Source, type Violation, violation } from "./source.ts"

const HEADER_RULE = "header"
const DATA_RULE = "data plane"

/** What runs once is no operation: functions of data-plane files that run at load or at startup only. */
export type Exemption = { readonly path: string; readonly function: string; readonly why: string }

/** The plane that a file's first comment names. */
export function planeOf(source: Source): "data" | "control" | undefined {
  const first = source.comments.find((comment) => comment.type === "Block")
  // A file that runs as a program starts with its interpreter's line, which the parser takes for a comment.
  const start = source.text.startsWith("#!") ? source.text.indexOf("\n") + 1 : 0
  if (first === undefined || first.start !== start) {
    return undefined
  }
  const plane = /\bPlane: (data|control)\b/.exec(first.value)?.[1]
  return plane === "data" || plane === "control" ? plane : undefined
}

export function hasPlane(path: string): boolean {
  return placeOf(path) !== undefined && placeOf(path) !== "test"
}

export function checkHeader(source: Source): Violation[] {
  if (planeOf(source) !== undefined) {
    return []
  }
  const what = 'the file opens with a comment that says what it is and says "Plane: data." or "Plane: control."'
  return [violation(HEADER_RULE, source, 0, what)]
}

/** `function` is the innermost named function around it; "" at the top of the file. */
export type DataViolation = Violation & { readonly function: string }

/**
 * In functions of the data plane: no closure, spread, subarray, template string with values, `new` or JSON; nowhere in
 * the file async. A constructor and the top of a file run once, so they may allocate.
 */
export function findDataViolations(source: Source): DataViolation[] {
  if (planeOf(source) !== "data") {
    return []
  }
  const violations: DataViolation[] = []
  // The functions around the current node, outermost first.
  const functions: { readonly name: string; readonly isOnce: boolean }[] = []
  const names = new Map<number, { readonly name: string; readonly isOnce: boolean }>()
  const thrown = new Set<number>()

  const add = (offset: number, what: string): void => {
    const name = functions.findLast((one) => one.name !== "")?.name ?? ""
    violations.push({ ...violation(DATA_RULE, source, offset, what), function: name })
  }
  const addInOperation = (offset: number, what: string): void => {
    const isOnce = functions.length === 0 || functions.some((one) => one.isOnce)
    if (!isOnce) {
      add(offset, what)
    }
  }
  const enter = (node: { readonly start: number; readonly async: boolean }, name: string): void => {
    if (node.async) {
      add(node.start, "an async function")
    }
    addInOperation(node.start, "a closure")
    functions.push(names.get(node.start) ?? { name, isOnce: false })
  }
  const leave = (): void => void functions.pop()

  new Visitor({
    MethodDefinition: (node) => {
      const name = node.key.type === "Identifier" || node.key.type === "PrivateIdentifier" ? node.key.name : ""
      names.set(node.value.start, { name, isOnce: node.kind === "constructor" })
    },
    VariableDeclarator: (node) => {
      if (node.init !== null && node.id.type === "Identifier") {
        names.set(node.init.start, { name: node.id.name, isOnce: false })
      }
    },
    FunctionDeclaration: (node) => enter(node, node.id?.name ?? ""),
    "FunctionDeclaration:exit": leave,
    FunctionExpression: (node) => enter(node, node.id?.name ?? ""),
    "FunctionExpression:exit": leave,
    ArrowFunctionExpression: (node) => enter(node, ""),
    "ArrowFunctionExpression:exit": leave,
    AwaitExpression: (node) => add(node.start, "await"),
    SpreadElement: (node) => addInOperation(node.start, "a spread"),
    TemplateLiteral: (node) => {
      if (node.expressions.length > 0 && !thrown.has(node.start)) {
        addInOperation(node.start, "a template string")
      }
    },
    // What is thrown ends the process: its cost is of no interest.
    ThrowStatement: (node) => {
      thrown.add(node.argument.start)
      if (node.argument.type === "NewExpression") {
        for (const argument of node.argument.arguments) {
          thrown.add(argument.start)
        }
      }
    },
    NewExpression: (node) => {
      if (!thrown.has(node.start)) {
        addInOperation(node.start, "new")
      }
    },
    MemberExpression: (node) => {
      if (node.object.type === "Identifier" && node.object.name === "JSON") {
        addInOperation(node.start, "JSON")
      }
    },
    CallExpression: (node) => {
      const { callee } = node
      if (callee.type === "MemberExpression" && "name" in callee.property && callee.property.name === "subarray") {
        addInOperation(node.start, "subarray()")
      }
    },
  }).visit(source.program)
  return violations
}

/** What is left when the exemptions are taken away, and the exemptions that excuse nothing any more. */
export function checkDataPlane(
  sources: readonly Source[],
  exemptions: readonly Exemption[],
): { readonly violations: DataViolation[]; readonly unused: Exemption[] } {
  const found = sources.flatMap(findDataViolations)
  const excuses = (one: Exemption, other: DataViolation): boolean => {
    return one.path === other.path && one.function === other.function
  }
  return {
    violations: found.filter((one) => !exemptions.some((exemption) => excuses(exemption, one))),
    unused: exemptions.filter((exemption) => !found.some((one) => excuses(exemption, one))),
  }
}
