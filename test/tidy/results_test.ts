/** Errors are values, and a value that nobody looks at is an error lost. Plane: control. */
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, expect, test } from "vitest"
import { checkResults, type ResultCheck } from "./results.ts"
import { describe, ROOT } from "./source.ts"

test("no Result is dropped", () => {
  const { violations, callsVisited } = checkResults(ROOT, join(ROOT, "tsconfig.json"))
  expect(callsVisited).toBeGreaterThan(0)
  expect(describe(violations)).toEqual([])
})

const folder = mkdtempSync(join(tmpdir(), "mandala-results-"))
afterAll(() => rmSync(folder, { recursive: true }))

/** A project of one file, with functions and methods that return Results, and `statement` at its end. */
function checkStatement(statement: string): ResultCheck {
  cpSync(join(ROOT, "appliance/types/result.ts"), join(folder, "result.ts"))
  const text = `import { type Result, ok } from "./result.ts"
    function save(): Result<void, string> { return ok(undefined) }
    async function saveLater() { return save() }
    function inferred() { return ok(1) }
    class Disk { write(): Result<void, string> { return save() } }
    const disk = new Disk()
    function stop(): void {}
    ${statement}\n`
  writeFileSync(join(folder, "bait.ts"), text)
  const options = { strict: true, noEmit: true, module: "nodenext", target: "es2024", types: [] }
  const config = { compilerOptions: { ...options, allowImportingTsExtensions: true }, files: ["bait.ts"] }
  writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(config))
  return checkResults(folder, join(folder, "tsconfig.json"))
}

test.each([
  "save()",
  "await saveLater()",
  "saveLater()",
  "void saveLater()",
  "void (await saveLater())",
  "inferred()",
  "disk.write()",
  "function f() { save() }",
])("the bait is caught: %s", (statement) => {
  expect(checkStatement(statement).violations).toHaveLength(1)
})

test.each([
  "const saved = save(); if (!saved.ok) { stop() }",
  "stop()",
  "// It may be gone already.\nvoid save()",
  "void save() // It may be gone already.",
])("what is looked at, or says why not, is no violation: %s", (statement) => {
  expect(checkStatement(statement).violations).toEqual([])
})
