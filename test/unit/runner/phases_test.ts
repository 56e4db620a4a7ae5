/** The count of a phase: nothing looked at, nothing passed. Plane: control. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, expect, test } from "vitest"
import { RUN_SECONDS_MAX } from "../../limits.ts"
import type { CommandEnd } from "../../runner/command.ts"
import { type Count, countBadBoots, countScene, countTests, PHASES } from "../../runner/phases.ts"

const folder = mkdtempSync(join(tmpdir(), "mandala-phases-"))
const report = join(folder, "report.json")
afterAll(() => rmSync(folder, { recursive: true }))

const exited: CommandEnd = { code: 0, output: "", seconds: 1, end: "exited" }

function countReport(numbers: object, end: Partial<CommandEnd> = {}): Count {
  const whole = { numPassedTests: 0, numFailedTests: 0, numPendingTests: 0, numTodoTests: 0, ...numbers }
  writeFileSync(report, JSON.stringify(whole))
  return countTests({ ...exited, ...end }, report)
}

test("each test counts", () => {
  expect(countReport({ numPassedTests: 7, numPendingTests: 2 })).toMatchObject({ passed: 7, failed: 0, skipped: 2 })
  expect(countReport({ numPassedTests: 7, numFailedTests: 2 }, { code: 1 })).toMatchObject({ passed: 7, failed: 2 })
})

test("a run of no tests has failed", () => {
  expect(countReport({})).toMatchObject({ passed: 0, failed: 1 })
})

test("what breaks outside a test is a failure", () => {
  expect(countReport({ numPassedTests: 7 }, { code: 1 })).toMatchObject({ passed: 7, failed: 1 })
  expect(countReport({ numPassedTests: 7 }, { end: "late" })).toMatchObject({ passed: 7, failed: 1 })
})

test.each(["", "{", "[]", "null", '{"numPassedTests": "7"}'])("a report of %j is a failure", (text) => {
  writeFileSync(report, text)
  expect(countTests(exited, report)).toMatchObject({ passed: 0, failed: 1 })
})

test("no report is a failure", () => {
  expect(countTests(exited, join(folder, "none.json"))).toMatchObject({ passed: 0, failed: 1 })
})

test.each(PHASES.filter((phase) => phase.isCheck))("$name fails when it says nothing, or fails", (phase) => {
  expect(phase.count(exited, join(folder, "none.json"))).toMatchObject({ passed: 0, failed: 1 })
  expect(phase.count({ ...exited, code: 1 }, join(folder, "none.json"))).toMatchObject({ passed: 0, failed: 1 })
})

test.each([
  ["types", "/somewhere/appliance/types/ring.ts\n/somewhere/node_modules/typescript/lib/lib.es2024.d.ts\n"],
  ["format", "Checked 1 file in 38ms. No fixes applied.\n"],
  ["lint", "Found 0 warnings and 0 errors.\nFinished in 772ms on 1 files with 157 rules using 2 threads.\n"],
  ["dead_code", "Name  size   min\n---  ---  ---\nparseFile                      1    0.12\n"],
])("%s passes on what its tool really prints", (name, output) => {
  const phase = PHASES.find((one) => one.name === name)
  expect(phase?.count({ ...exited, output }, "")).toMatchObject({ passed: 1, failed: 0, visited: 1 })
  expect(phase?.count({ ...exited, output: output.replaceAll("1 file", "0 file") }, "").passed).toBe(
    output.includes("1 file") ? 0 : 1,
  )
})

test("the scene passes only when every write of at least a thousand was read back", () => {
  const kept = { writes_acknowledged: 1_000, reads_verified: 3_000, reads_failed: 0, wrong_answers: 0 }
  const count = (change: object, end: Partial<CommandEnd> = {}): Count => {
    writeFileSync(report, JSON.stringify({ ...kept, ...change }))
    return countScene({ ...exited, ...end }, report)
  }
  expect(count({})).toMatchObject({ passed: 1, failed: 0, visited: 3_000 })
  const failures = [{ writes_acknowledged: 999 }, { reads_verified: 999 }, { reads_failed: 1 }, { wrong_answers: 1 }]
  for (const change of failures) {
    expect(count(change)).toMatchObject({ passed: 0, failed: 1 })
  }
  expect(count({}, { code: 1 })).toMatchObject({ passed: 0, failed: 1 })
  expect(countScene(exited, join(folder, "none.json"))).toMatchObject({ passed: 0, failed: 1 })
})

test("bad boots pass only when every machine halted as it should", () => {
  writeFileSync(report, JSON.stringify({ cases_passed: 2 }))
  expect(countBadBoots(exited, report)).toMatchObject({ passed: 1, failed: 0, visited: 2 })
  expect(countBadBoots({ ...exited, code: 1 }, report)).toMatchObject({ passed: 0, failed: 1 })
  writeFileSync(report, JSON.stringify({ cases_passed: 1 }))
  expect(countBadBoots(exited, report)).toMatchObject({ passed: 0, failed: 1 })
  expect(countBadBoots(exited, join(folder, "none.json"))).toMatchObject({ passed: 0, failed: 1 })
})

test("no phase may take longer than the whole", () => {
  expect(Math.max(...PHASES.map((phase) => phase.secondsMax))).toBeLessThan(RUN_SECONDS_MAX)
})
