/** What `npm run bench:state` is asked, writes and reports; nothing is measured here. Plane: control. */
import { expect, test } from "vitest"
import { bodiesOf, keyOf } from "../../benchmark/state/fill.ts"
import { KEY_BYTES, STATE_CASES } from "../../benchmark/state/limits.ts"
import { MEASUREMENTS, readOptions, USAGE } from "../../benchmark/state/options.ts"
import { Figures, makeReport, tableOfReport } from "../../benchmark/report.ts"
import { arenaBytes } from "../../../appliance/state_machine/arena.ts"
import { createStateMachine } from "../../../appliance/state_machine/state_machine.ts"
import { limitsForSize } from "../../../appliance/types/cluster_sizes.ts"
import { CLUSTER_LIMITS } from "../../../appliance/types/limits.ts"

test("options: defaults, and a name, size, number, checkout or folder that is none", () => {
  expect(readOptions([])).toMatchObject({ ok: true, value: { only: MEASUREMENTS, states: STATE_CASES, isJSON: false } })
  expect(readOptions(["--only", "scrub,memory", "--state", "64MiB", "--out", "table.md", "-o", "json"])).toMatchObject({
    ok: true,
    value: { only: ["scrub", "memory"], states: [{ name: "64 MiB" }], isJSON: true },
  })
  expect(readOptions(["--help"])).toMatchObject({ ok: true, value: "help" })
  const wrong = [
    ["--only", "everything"],
    ["--state", "2GiB"],
    ["--seconds", "0"],
    ["--rounds", "1.5"],
    ["--against", "/nowhere"],
    ["--out", "/nowhere/table.md"],
    ["-o", "xml"],
    ["--fast"],
  ]
  for (const args of wrong) {
    expect(readOptions(args).ok).toBe(false)
  }
})

test("the help shows two examples", () => {
  expect(USAGE.match(/^ {2}npm run bench:state/gm)).toHaveLength(2)
})

test("filling writes every key once, in well-formed batches", () => {
  const keys = 1_000
  const machine = createStateMachine({ limits: CLUSTER_LIMITS, arena: new Uint8Array(arenaBytes(CLUSTER_LIMITS)) })
  const next = bodiesOf({ keys, valueBytes: 100 }, 300)
  let bytes = 0
  for (let body = next(); body !== undefined; body = next()) {
    expect(machine.isValidBatch(body, 0, body.length)).toBe(true)
    bytes += body.length
  }
  expect(bytes).toBe(keys * (16 + KEY_BYTES + 100))
  expect(keyOf(7)).toHaveLength(KEY_BYTES)
})

test("each state fits the size that it is measured with, as keys and as bytes", () => {
  for (const { bytes, size } of STATE_CASES) {
    const limits = limitsForSize(size)
    expect(bytes / 1_024).toBeLessThanOrEqual(limits.kv_entries_max)
    expect(bytes * 1.25).toBeLessThanOrEqual(limits.kv_slab_bytes)
  }
})

test("the table: a row a figure, and a case's name once", () => {
  const figures = new Figures()
  figures.add("scrub", "share", 0.004)
  figures.add("scrub: round", "s", 2.57, { at_most: 5 })
  figures.add("memory", "ratio", 1.46)
  const table = tableOfReport(makeReport("state", figures.all()))
  expect(table).toContain("| scrub |  | 0.4 % |\n|  | round | 2.57 s (<= 5.00 s met) |\n| memory |  | 1.46 x |\n")
})
