/** The scope that every run of the tests exhausts, and proof that the search finds what is there to be found. */
import { spawnSync } from "node:child_process"
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, describe, expect, test } from "vitest"
import { GATES } from "./gate.ts"
import { CHECKPOINT_NEVER } from "./limits.ts"
import type { Scope, SearchResult } from "./scope.ts"
import { search } from "./search.ts"

const ROOT = join(import.meta.dirname, "../..")
const SCOPE: Scope = {
  voters: 3,
  crashes: 1,
  ops: 1,
  views: 1,
  heartbeats: 0,
  retries: 0,
  checkpoint_ops: CHECKPOINT_NEVER,
}
const STATES_MAX = 2_000_000
const SECONDS_MAX = 200
const MEGABYTES_MAX = 3_000

function searched(scope: Scope): SearchResult {
  return search({
    scope,
    statesMax: STATES_MAX,
    depthMax: Number.MAX_SAFE_INTEGER,
    secondsMax: SECONDS_MAX,
    megabytesMax: MEGABYTES_MAX,
    now: () => performance.now(),
    megabytes: () => process.memoryUsage.rss() / 1_000_000,
  })
}

describe("the production replica", () => {
  test.each(GATES)("$name: exhausted", { timeout: 300_000 }, ({ scope }) => {
    const result = searched(scope)
    expect([result.violation, result.trace]).toEqual([undefined, []])
    expect(result.outcome).toBe("exhausted")
    const { committed, view_changed: changed, recovered_after_commit: recovered } = result.reached
    expect([committed > 500, changed > 500, recovered > 100]).toEqual([true, scope.views > 0, scope.crashes > 0])
    expect(result.reached.certified > 500).toBe(scope.checkpoint_ops < CHECKPOINT_NEVER)
  })

  test("a bound ends a search, which then has not exhausted anything", () => {
    const result = search({
      scope: SCOPE,
      statesMax: 500,
      depthMax: Number.MAX_SAFE_INTEGER,
      secondsMax: SECONDS_MAX,
      megabytesMax: MEGABYTES_MAX,
      now: () => performance.now(),
      megabytes: () => 1,
    })
    expect([result.outcome, result.violation]).toEqual(["bounded", undefined])
  })

  test("twice the same", () => {
    const scope = { ...SCOPE, crashes: 0 }
    expect({ ...searched(scope), seconds: 0 }).toEqual({ ...searched(scope), seconds: 0 })
  })
})

type Patch = { readonly path: string; readonly from: string; readonly to: string }

const REPLICA = "appliance/replication/replica.ts"
const HELD = "appliance/replication/held_replies.ts"
/** Rule 7 taken out: what an earlier incarnation said counts, on arrival and where it is held. */
const NO_CRASH_VECTORS: readonly Patch[] = [
  { path: REPLICA, from: "if (!isBlank && entry < entryAt(this.#cv, message.from)) {", to: "if (entry < 0) {" },
  { path: HELD, from: "if (held === undefined || entryAt(held.cv, slot) >= entry) {", to: "if (entry >= 0) {" },
]
const NO_ASSERTION: Patch = {
  path: HELD,
  from: "assert(entryAt(a.cv, b.from) <= entryAt(b.cv, b.from), ",
  to: "assert(entryAt(a.cv, b.from) >= 0, ",
}

const folder = mkdtempSync(join(tmpdir(), "mandala-exhaustive-"))
afterAll(() => rmSync(folder, { recursive: true }))

/** Searches a copy of this tree with another source, as `npm run exhaustive` would. */
function searchPatched(
  name: string,
  patches: readonly Patch[],
  args: readonly string[] = [],
): { readonly code: number | null; readonly report: string } {
  const tree = join(folder, name)
  for (const path of ["appliance/types", "appliance/replication", "appliance/state_machine", "test/exhaustive"]) {
    cpSync(join(ROOT, path), join(tree, path), { recursive: true })
  }
  writeFileSync(join(tree, "package.json"), '{ "type": "module" }')
  for (const { path, from, to } of patches) {
    const source = readFileSync(join(tree, path), "utf8")
    expect(source.split(from).length, `${path} holds once: ${from}`).toBe(2)
    writeFileSync(join(tree, path), source.replace(from, to))
  }
  const ended = spawnSync(
    process.execPath,
    [join(tree, "test/exhaustive/main.ts"), "--seconds-max", "100", "-o", "json", ...args],
    {
      encoding: "utf8",
      timeout: 120_000,
    },
  )
  return { code: ended.status, report: ended.stdout }
}

describe("the search bites", () => {
  test("without crash vectors an acknowledged write is lost after one crash", { timeout: 130_000 }, () => {
    const { code, report } = searchPatched("lost", [...NO_CRASH_VECTORS, NO_ASSERTION])
    expect(code).toBe(1)
    expect(report).toContain("op 1, committed in view 0, is missing at machine 1 in view 1")
    expect(report).toContain("loses its memory")
  })

  test("the production assertion sees it before the write is lost", { timeout: 130_000 }, () => {
    const { code, report } = searchPatched("asserted", NO_CRASH_VECTORS)
    expect(code).toBe(1)
    expect(report).toContain("quorum is not crash-consistent")
  })

  test("a primary that commits alone", { timeout: 130_000 }, () => {
    const { code, report } = searchPatched("alone", [
      { path: REPLICA, from: "value > best && reached >= this.#faults + 1", to: "value > best && reached >= 1" },
    ])
    expect(code).toBe(1)
    expect(report).toContain("is held by too few")
  })

  test("a checkpoint that is told to be certified with another root", { timeout: 130_000 }, () => {
    const { code, report } = searchPatched(
      "root",
      [
        {
          path: REPLICA,
          from: "this.#sayCheckpoint(this.certifiedOp, this.certifiedRoot, true)",
          to: 'this.#sayCheckpoint(this.certifiedOp, "another", true)',
        },
      ],
      ["--crashes", "0", "--views", "0", "--heartbeats", "1", "--checkpoint-ops", "1"],
    )
    expect(code).toBe(1)
    expect(report).toMatch(/machine \d goes by another root of op 2 than another machine/)
  })
})

describe("the command", () => {
  test.each([
    [["--help"], 0, "npm run exhaustive -- --crashes 2"],
    [["--voters", "4"], 2, "--voters is 3 or 5"],
    [["--crashes", "many"], 2, "--crashes is a number from 0 to 7"],
    [["-o", "xml"], 2, "-o is json or text"],
    [["--crash", "1"], 2, "Unknown option"],
    [["--states-max", "10"], 3, "not exhausted"],
    [["--crashes", "0", "--views", "0"], 0, "exhausted"],
  ])("%j exits %i", { timeout: 30_000 }, (args, code, says) => {
    const ended = spawnSync(process.execPath, [join(ROOT, "test/exhaustive/main.ts"), ...args], { encoding: "utf8" })
    expect(ended.status).toBe(code)
    expect(code === 2 ? ended.stderr : ended.stdout).toContain(says)
  })
})
