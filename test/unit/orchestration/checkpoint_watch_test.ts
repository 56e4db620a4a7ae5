/** What a machine says when checkpoints don't become certified: after a while, what to do, once. Plane: control. */
import { beforeEach, expect, test } from "vitest"
import { LINE_COLUMNS_MAX } from "../../../appliance/cli/limits.ts"
import { type CheckpointSight, CheckpointWatch } from "../../../appliance/orchestration/checkpoint_watch.ts"

const OVERDUE_MS = 10_000
const FULL_MS = 2_000
const WELL: CheckpointSight = { certifiedOp: 40, latestOp: 40, isDisputed: false, isRingFull: false, isMember: true }

let lines: string[] = []
let watch: CheckpointWatch

beforeEach(() => {
  lines = []
  const say =
    (level: string) =>
    (_: unknown, text?: string): void => {
      lines.push(`${level} ${text}`)
    }
  const log = { warn: say("warn"), info: say("info") }
  watch = new CheckpointWatch({ overdueMs: OVERDUE_MS, fullMs: FULL_MS, log })
})

/** The same sight from `start` to `end`. */
function observe(start: number, end: number, sight: CheckpointSight): void {
  for (let now = start; now <= end; now += 10) {
    watch.observe(now, sight)
  }
}

test("one certified after the other: an age, and nothing to say", () => {
  expect(watch.ageMs(0)).toBeNull()
  for (let op = 1; op <= 20; op += 1) {
    observe(op * 9_000, op * 9_000 + 8_990, { ...WELL, certifiedOp: op - 1, latestOp: op })
  }
  expect(watch.alarms()).toEqual([])
  expect(watch.ageMs(20 * 9_000 + 500)).toBe(500)
  observe(200_000, 300_000, { ...WELL, certifiedOp: 20, latestOp: 20 })
  expect([watch.alarms(), lines]).toEqual([[], []])
  expect(watch.ageMs(300_000)).toBe(100_000)
})

test("one that is not certified is an alarm after a while, though later ones are made, until one is", () => {
  const late = { ...WELL, latestOp: 50 }
  observe(0, OVERDUE_MS - 10, late)
  expect(watch.alarms()).toEqual([])
  observe(OVERDUE_MS, OVERDUE_MS + 5_000, { ...late, latestOp: 90 })
  expect(watch.alarms()).toEqual([
    {
      kind: "checkpoint_overdue",
      text:
        "no checkpoint certified for 15 s, writes will stop when the log is full; " +
        "too few voters report one: bring them back",
    },
  ])
  observe(15_010, 15_010, { ...WELL, certifiedOp: 90, latestOp: 90 })
  expect([watch.alarms(), lines]).toEqual([[], ["warn checkpoint_overdue", "info checkpoint_in_time"]])
})

test("a full log is said sooner; for a moment it is nothing", () => {
  const full = { ...WELL, latestOp: 50, isRingFull: true, isDisputed: true }
  for (let now = 0; now < 60_000; now += 10) {
    watch.observe(now, now % 1_000 < 900 ? full : WELL)
    expect(watch.alarms()).toEqual([])
  }
  observe(60_000, 60_000 + FULL_MS, full)
  expect(watch.alarms()[0]?.text).toBe(
    "no checkpoint certified for 2 s, writes wait, the log is full; " +
      "voters differ (members): switch the one that you doubt off and on",
  )
  expect(lines).toEqual(["warn checkpoint_overdue"])
})

test("who is no member, or copies, can't tell", () => {
  observe(0, 60_000, { ...WELL, latestOp: 50, isRingFull: true, isMember: false })
  expect([watch.alarms(), lines]).toEqual([[], []])
  // And begins to count when it can.
  observe(60_010, 60_000 + OVERDUE_MS, { ...WELL, latestOp: 50 })
  expect(watch.alarms()).toEqual([])
})

test("no text is longer than a line of the status", () => {
  for (const isRingFull of [true, false]) {
    for (const isDisputed of [true, false]) {
      const hours = 99 * 3_600_000
      observe(0, OVERDUE_MS, { ...WELL, certifiedOp: 1, latestOp: 50, isRingFull, isDisputed })
      watch.observe(hours, { ...WELL, certifiedOp: 1, latestOp: 50, isRingFull, isDisputed })
      expect(watch.alarms()[0]?.text.length).toBeLessThanOrEqual(LINE_COLUMNS_MAX)
      watch.observe(hours, WELL)
    }
  }
})
