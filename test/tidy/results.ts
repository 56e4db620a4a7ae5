/** Calls whose Result nobody looks at, found with the compiler's own types. Plane: control. */
import { relative } from "node:path"
import type { Node } from "typescript/unstable/ast"
import {
  isAwaitExpression,
  isCallExpression,
  isExpressionStatement,
  isParenthesizedExpression,
  isVoidExpression,
} from "typescript/unstable/ast/is"
import { API } from "typescript/unstable/sync"
import { assert } from "../../appliance/types/assert.ts"
import { isExplained } from "./language.ts"
import type { Violation } from "./source.ts"

const RULE = "dropped result"

/** As the compiler prints the type of such a call. */
const RESULT = /^(Promise<)?(Result|Ok|Err)</

export type ResultCheck = { readonly violations: readonly Violation[]; readonly callsVisited: number }

/**
 * Judges every statement of the project at `configPath` that is a call. The way not to look at a Result is `void
 * call()` with a comment, there or on the line before, that says why.
 */
export function checkResults(root: string, configPath: string): ResultCheck {
  const compiler = new API({ cwd: root })
  const [project] = compiler.updateSnapshot({ openProjects: [configPath] }).getProjects()
  assert(project !== undefined, "tidy: the compiler opens the project")
  const violations: Violation[] = []
  let callsVisited = 0
  for (const name of project.program.getSourceFileNames()) {
    const file = name.includes("/node_modules/") ? undefined : project.program.getSourceFile(name)
    if (file === undefined) {
      continue
    }
    const calls = callStatementsOf(file, file.text)
    callsVisited += calls.length
    for (const call of calls) {
      const type = project.checker.getTypeAtLocation(call)
      const text = type === undefined ? "" : project.checker.typeToString(type)
      if (RESULT.test(text)) {
        const line = file.text.slice(0, call.getStart()).split("\n").length
        violations.push({ rule: RULE, path: relative(root, name), line, what: `nobody looks at this ${text}` })
      }
    }
  }
  compiler.close()
  return { violations, callsVisited }
}

/** The calls that are a statement of their own, but for those that say in a comment why their value is dropped. */
function callStatementsOf(file: Node, text: string): Node[] {
  const calls: Node[] = []
  const visit = (node: Node): void => {
    if (isExpressionStatement(node)) {
      let { expression } = node
      const isDropExplained = isVoidExpression(expression) && isExplained(text, node.getStart())
      while (isAwaitExpression(expression) || isVoidExpression(expression) || isParenthesizedExpression(expression)) {
        expression = expression.expression
      }
      if (isCallExpression(expression) && !isDropExplained) {
        calls.push(expression)
      }
    }
    node.forEachChild(visit)
  }
  visit(file)
  return calls
}
