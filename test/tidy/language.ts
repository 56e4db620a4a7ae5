/** What the language offers and this code doesn't use. Plane: control. */
import { posix } from "node:path"
import { type CallExpression, Visitor } from "oxc-parser"
import { type Source, type Violation, violation } from "./source.ts"

const RULE = "language"
const RESULT_RULE = "dropped result"

/** Tools that demand a default export. */
const DEFAULT_EXPORTS = ["test/vitest.config.ts"]
/** Comments that switch the compiler or a checker off; the last two may, with a reason. */
const COMPILER_OFF = /@ts-(ignore|expect-error|nocheck)\b/
const CHECKER_OFF = /\b(biome-ignore|oxlint-disable)[\w-]*/
const CHECKER_OFF_WITH_REASON = /\bbiome-ignore [\w/]+: \S|\boxlint-disable[\w-]* [\w/-]+ -- \S/

/** No `any`, no `!`, no cast without a comment that proves it, no default export, no compiler switched off. */
export function checkLanguage(source: Source): Violation[] {
  const violations: Violation[] = []
  const add = (offset: number, what: string): void => {
    violations.push(violation(RULE, source, offset, what))
  }
  new Visitor({
    TSAnyKeyword: (node) => add(node.start, "any"),
    TSNonNullExpression: (node) => add(node.start, "a non-null assertion"),
    TSAsExpression: (node) => {
      const isConst = source.text.slice(node.typeAnnotation.start, node.typeAnnotation.end) === "const"
      if (!isConst && !isExplained(source, node.start) && !isExplained(source, node.typeAnnotation.start)) {
        add(node.start, "a cast without a comment that proves it, on its line or the one before")
      }
    },
    TSTypeAssertion: (node) => add(node.start, "a cast in angle brackets"),
    TSEnumDeclaration: (node) => add(node.start, "an enum"),
    ExportDefaultDeclaration: (node) => {
      if (!DEFAULT_EXPORTS.includes(source.path)) {
        add(node.start, "a default export")
      }
    },
  }).visit(source.program)
  for (const comment of source.comments) {
    if (COMPILER_OFF.test(comment.value)) {
      add(comment.start, "the compiler switched off")
    }
    if (CHECKER_OFF.test(comment.value) && !CHECKER_OFF_WITH_REASON.test(comment.value)) {
      add(comment.start, "a checker switched off without a reason")
    }
  }
  return violations
}

export type ResultFunctions = {
  /** `path#name` of each. */
  readonly functions: ReadonlySet<string>
  readonly methods: ReadonlySet<string>
}

/** The functions and the names of methods whose declared type is a Result or a promise of one. */
export function resultFunctions(sources: readonly Source[]): ResultFunctions {
  const functions = new Set<string>()
  const methods = new Set<string>()
  for (const source of sources) {
    const isResult = (type: { readonly start: number; readonly end: number } | null): boolean => {
      return type !== null && /^:\s*(Promise<)?Result</.test(source.text.slice(type.start, type.end))
    }
    new Visitor({
      FunctionDeclaration: (node) => {
        if (node.id !== null && isResult(node.returnType ?? null)) {
          functions.add(`${source.path}#${node.id.name}`)
        }
      },
      VariableDeclarator: (node) => {
        const { id, init } = node
        const isFunction = init?.type === "ArrowFunctionExpression" || init?.type === "FunctionExpression"
        if (isFunction && id.type === "Identifier" && isResult(init.returnType ?? null)) {
          functions.add(`${source.path}#${id.name}`)
        }
      },
      MethodDefinition: (node) => {
        const { key } = node
        if (
          (key.type === "Identifier" || key.type === "PrivateIdentifier") &&
          isResult(node.value.returnType ?? null)
        ) {
          methods.add(key.name)
        }
      },
      TSMethodSignature: (node) => {
        if (node.key.type === "Identifier" && isResult(node.returnType ?? null)) {
          methods.add(node.key.name)
        }
      },
    }).visit(source.program)
  }
  return { functions, methods }
}

/**
 * Calls whose Result nobody looks at; `void call()` with a comment that says why is the way to not look. The syntax
 * tree has no types: methods are told by name alone, and a Result that travels through a callback is not seen.
 */
export function checkResults(source: Source, results: ResultFunctions): Violation[] {
  const violations: Violation[] = []
  const homes = importedNames(source)
  const judge = (call: CallExpression): void => {
    const { callee } = call
    let name: string | undefined
    if (callee.type === "Identifier") {
      const home = homes.get(callee.name) ?? `${source.path}#${callee.name}`
      name = results.functions.has(home) ? callee.name : undefined
    } else if (callee.type === "MemberExpression" && !callee.computed) {
      name = results.methods.has(callee.property.name) ? callee.property.name : undefined
    }
    if (name !== undefined) {
      violations.push(violation(RESULT_RULE, source, call.start, `the Result of ${name}() is dropped`))
    }
  }
  new Visitor({
    ExpressionStatement: (node) => {
      let expression = node.expression
      if (expression.type === "UnaryExpression" && expression.operator === "void") {
        if (isExplained(source, expression.start)) {
          return
        }
        expression = expression.argument
      }
      while (expression.type === "AwaitExpression" || expression.type === "ParenthesizedExpression") {
        expression = expression.type === "AwaitExpression" ? expression.argument : expression.expression
      }
      if (expression.type === "CallExpression") {
        judge(expression)
      }
    },
  }).visit(source.program)
  return violations
}

/** For each name that the file imports from another of ours, that file's path and the name there. */
function importedNames(source: Source): Map<string, string> {
  const homes = new Map<string, string>()
  new Visitor({
    ImportDeclaration: (node) => {
      for (const specifier of node.specifiers) {
        if (specifier.type === "ImportSpecifier" && specifier.imported.type === "Identifier") {
          const path = posix.join(posix.dirname(source.path), node.source.value)
          homes.set(specifier.local.name, `${path}#${specifier.imported.name}`)
        }
      }
    },
  }).visit(source.program)
  return homes
}

/** Whether there is a comment on the line of `offset` or the line before. */
function isExplained(source: Source, offset: number): boolean {
  const lines = source.text.split("\n")
  const index = source.text.slice(0, offset).split("\n").length - 1
  const here = lines[index] ?? ""
  const before = (lines[index - 1] ?? "").trim()
  return here.includes("// ") || before.startsWith("//") || before.startsWith("*") || before.endsWith("*/")
}
