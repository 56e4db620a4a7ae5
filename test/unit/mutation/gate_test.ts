/** The mutation gate itself: every patch applies once, and a gap in the table is a fault. Plane: control. */
import { readFileSync } from "node:fs"
import { resolve } from "node:path"
import { describe, expect, test } from "vitest"
import type { Verdict } from "../../mutation/catchers.ts"
import { findFaults, type Row, UNMUTATED } from "../../mutation/gate.ts"
import { EQUIVALENTS, MUTANTS } from "../../mutation/mutants.ts"
import { applyMutant, describePatchError } from "../../mutation/tree.ts"

const ROOT = resolve(import.meta.dirname, "../../..")

function verdict(outcome: Verdict["outcome"]): Verdict {
  return { outcome, work: "", seconds: 1, output: "" }
}

function row(mutant: string, verdicts: Row["verdicts"], problem?: string): Row {
  return { mutant, what: "", isOfCheckpoints: false, verdicts, problem }
}

describe("patches", () => {
  test.each([...MUTANTS, ...EQUIVALENTS])("$name applies, one patch after the other", (mutant) => {
    const texts = new Map<string, string>()
    for (const { file, find, replace } of mutant.patches) {
      const text = texts.get(file) ?? readFileSync(resolve(ROOT, file), "utf8")
      expect(text.split(find).length - 1, `${mutant.name}: ${find}`).toBe(1)
      texts.set(
        file,
        text.replace(find, () => replace),
      )
    }
  })

  test("one that does not is named with its file", () => {
    const stale = { name: "stale", what: "", patches: [{ file: "package.json", find: "\u0000", replace: "" }] } as const
    const applied = applyMutant(ROOT, { ...stale, quick: "scripted" })
    expect(applied.ok ? "" : describePatchError(applied.error)).toMatch(
      /stale: its text occurs 0 times in package.json/,
    )
  })

  test("names are unique", () => {
    const names = [...MUTANTS, ...EQUIVALENTS].map((mutant) => mutant.name)
    expect(new Set(names).size).toBe(names.length)
  })
})

describe("the gate", () => {
  const caught = { scripted: verdict("caught"), hold_back: verdict("caught") }
  const green = row(UNMUTATED, { scripted: verdict("missed"), hold_back: verdict("missed") })

  test("holds when each is caught and the code as it is is green", () => {
    expect(findFaults([green, row("a", caught)], true)).toEqual([])
  })

  test("falls for a mutant that nobody caught, a catcher that broke, a patch that is stale, and a red code", () => {
    expect(findFaults([row("a", { scripted: verdict("missed") })], false)).toEqual(["a: nobody caught it"])
    expect(findFaults([row("a", { scripted: verdict("broken") })], false)[0]).toMatch(/could not be run/)
    expect(findFaults([row("a", {}, "stale")], false)).toEqual(["stale"])
    expect(findFaults([row(UNMUTATED, caught)], false)).toEqual(["the unmutated code is not green"])
  })

  test("falls when the adversary alone catches fewer than half", () => {
    const scripted = { scripted: verdict("caught"), hold_back: verdict("missed") }
    const rows = [green, row("a", caught), row("b", scripted), row("c", scripted)]
    expect(findFaults(rows, true)[0]).toMatch(/caught 1 of 3/)
    expect(findFaults(rows, false)).toEqual([])
  })

  test("asks the adversary for nothing that only a flipped bit shows", () => {
    const byFlips = { hold_back: verdict("missed"), memory_faults: verdict("caught") }
    const rows = [green, row("a", caught), { ...row("b", byFlips), isOfCheckpoints: true }]
    expect(findFaults([...rows, { ...row("c", byFlips), isOfCheckpoints: true }], true)).toEqual([])
  })
})
