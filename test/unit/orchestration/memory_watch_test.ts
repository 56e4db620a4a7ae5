/** What a machine says of a memory fault: where, which table, how many of how many; once each. Plane: control. */
import { beforeEach, expect, test } from "vitest"
import { LINE_COLUMNS_MAX } from "../../../appliance/cli/limits.ts"
import { MemoryWatch } from "../../../appliance/orchestration/memory_watch.ts"
import { arenaBytes, arenaTables, PAGE_BYTES } from "../../../appliance/state_machine/arena.ts"
import { CLUSTER_SIZES, limitsForSize } from "../../../appliance/types/cluster_sizes.ts"
import { CLUSTER_LIMITS } from "../../../appliance/types/limits.ts"

let lines: unknown[] = []
let watch: MemoryWatch

beforeEach(() => {
  lines = []
  watch = makeWatch(CLUSTER_LIMITS)
})

function makeWatch(limits: typeof CLUSTER_LIMITS): MemoryWatch {
  const log = { error: (fields: unknown, text?: string) => lines.push({ text, fields }) }
  return new MemoryWatch({ machine: "m2", slot: 2, limits, pageBytes: PAGE_BYTES, faultsMax: 3, log })
}

test("nothing to say while there is no fault", () => {
  watch.observe(0, undefined)
  expect([watch.alarms(), watch.last, lines]).toEqual([[], undefined, []])
})

test("a page with its bytes and its table, once", () => {
  const page = (arenaTables(CLUSTER_LIMITS).find(({ name }) => name === "kv slabs")?.start ?? 0) / PAGE_BYTES + 1
  const where = { page, byte_first: page * PAGE_BYTES, byte_last: page * PAGE_BYTES + 4_095, table: "kv slabs" }
  for (let tick = 0; tick < 10; tick += 1) {
    watch.observe(1, { kind: "page", page, at: 5 })
  }
  const fields = { machine: "m2", slot: 2, kind: "page", ...where, count: 1, count_max: 3 }
  expect(lines).toEqual([{ text: "memory_fault", fields }])
  expect(watch.last).toEqual({ kind: "page", ...where })
  const bytes = `${where.byte_first} to ${where.byte_last}`
  expect(watch.alarms()).toEqual([
    {
      kind: "memory_fault",
      text:
        `memory fault 1 of 3: page ${page} (kv slabs, arena bytes ${bytes}) changed by itself; ` +
        "test this machine's memory, at 3 it leaves",
    },
  ])
})

test("a root names no page; the count goes on", () => {
  watch.observe(1, { kind: "page", page: 0, at: 5 })
  expect(watch.last?.table).toBe("header")
  watch.observe(2, { kind: "root", page: 0, at: 9 })
  expect(watch.last).toEqual({ kind: "root", page: null, byte_first: null, byte_last: null, table: null })
  expect(watch.alarms()[0]?.text).toMatch(/^memory fault 2 of 3: a checkpoint here was not the majority's; /)
  expect(lines).toHaveLength(2)
})

test("every page of every size has a table, and no text is longer than a line of the status", () => {
  for (const size of CLUSTER_SIZES) {
    const limits = limitsForSize(size)
    const pages = arenaBytes(limits) / PAGE_BYTES
    const one = makeWatch(limits)
    for (let count = 1; count <= 100; count += 1) {
      one.observe(count, { kind: "page", page: Math.floor(((pages - 1) * count) / 100), at: 0 })
      expect(one.alarms()[0]?.text.length).toBeLessThanOrEqual(LINE_COLUMNS_MAX)
    }
    expect(one.last?.byte_last).toBe(arenaBytes(limits) - 1)
  }
})
