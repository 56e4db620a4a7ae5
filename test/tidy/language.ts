/** What the language offers and this code doesn't use. Plane: control. */
import { Visitor } from "oxc-parser"
import { type Source, type Violation, violation } from "./source.ts"

const RULE = "language"

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
      if (!isConst && !isExplained(source.text, node.start) && !isExplained(source.text, node.typeAnnotation.start)) {
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

/** Whether there is a comment on the line of `offset` or the line before. */
export function isExplained(text: string, offset: number): boolean {
  const lines = text.split("\n")
  const index = text.slice(0, offset).split("\n").length - 1
  const here = lines[index] ?? ""
  const before = (lines[index - 1] ?? "").trim()
  return here.includes("// ") || before.startsWith("//") || before.startsWith("*") || before.endsWith("*/")
}
