/** What a machine says of its quorum: alarms at once, an outage after a grace, one line a change. Plane: control. */
import { beforeEach, expect, test } from "vitest"
import { QuorumWatch, type QuorumSight } from "../../../appliance/orchestration/quorum_watch.ts"

const GRACE_MS = 750
const WELL: QuorumSight = {
  voters: 3,
  live: 3,
  copies: 3,
  isStandbyMissing: false,
  isMemoryDisputed: false,
  isMember: true,
}

let lines: string[] = []
let watch: QuorumWatch

beforeEach(() => {
  lines = []
  const say =
    (level: string) =>
    (_: unknown, text?: string): void => {
      lines.push(`${level} ${text}`)
    }
  watch = new QuorumWatch({ graceMs: GRACE_MS, log: { warn: say("warn"), info: say("info") } })
})

const kinds = (): string[] => watch.alarms().map(({ kind }) => kind)

test("the margin falls to 0, below, and comes back: an alarm each, and one line a change", () => {
  for (let now = 0; now < 5_000; now += 10) {
    watch.observe(now, WELL)
  }
  expect([watch.margin, kinds(), watch.outage, lines]).toEqual([1, [], undefined, []])
  for (let now = 5_000; now < 10_000; now += 10) {
    watch.observe(now, { ...WELL, live: 2, copies: 2 })
  }
  expect([watch.margin, kinds(), watch.outage]).toEqual([0, ["quorum_margin_0"], undefined])
  expect(lines).toEqual(["warn quorum_margin_0"])
  expect(watch.alarms()[0]?.text).toBe("quorum margin 0: 2 of 3 voters live; the loss of one more stops the cluster")
  for (let now = 10_000; now < 10_000 + GRACE_MS; now += 10) {
    watch.observe(now, { ...WELL, live: 1, copies: 1 })
    expect(watch.outage).toBeUndefined()
  }
  expect([watch.margin, kinds()]).toEqual([-1, ["quorum_lost", "copies_1"]])
  watch.observe(10_000 + GRACE_MS, { ...WELL, live: 1, copies: 1 })
  expect(watch.outage).toEqual({
    kind: "quorum_lost",
    text: "1 of 3 voters hold the state and are within reach, 2 are needed",
  })
  expect(lines).toEqual(["warn quorum_margin_0", "warn quorum_lost"])
  watch.observe(11_000, { ...WELL, live: 2, copies: 2 })
  expect(watch.outage).toBeUndefined()
  for (let now = 11_010; now < 13_000; now += 10) {
    watch.observe(now, now < 12_000 ? { ...WELL, live: 2, copies: 2 } : WELL)
  }
  expect(lines).toEqual(["warn quorum_margin_0", "warn quorum_lost", "warn quorum_margin_0", "info quorum_safe"])
})

test("a link that breaks and comes back is no outage", () => {
  watch.observe(0, WELL)
  for (let now = 10; now < 100_000; now += 10) {
    watch.observe(now, now % 800 < 700 ? { ...WELL, live: 1 } : WELL)
    expect(watch.outage).toBeUndefined()
  }
  expect(lines).toEqual([])
})

test("who has just become a member waits to hear the others say that they are", () => {
  const blank: QuorumSight = { ...WELL, live: 0, copies: 0, isMember: false }
  for (let now = 0; now <= 5_000; now += 10) {
    watch.observe(now, blank)
  }
  // A blank machine passes requests on: without voters within reach it can tell at once.
  expect(watch.outage?.kind).toBe("quorum_lost")
  expect(lines).toEqual([])
  watch.observe(5_010, { ...WELL, live: 1, copies: 1 })
  expect(watch.outage).toBeUndefined()
  watch.observe(5_020, WELL)
  expect([watch.outage, kinds()]).toEqual([undefined, []])
})

test("one voter: the margin is 0 and there is one copy, both said; a silent standby is an outage at once", () => {
  const one: QuorumSight = {
    voters: 1,
    live: 1,
    copies: 1,
    isStandbyMissing: false,
    isMemoryDisputed: false,
    isMember: true,
  }
  watch.observe(0, one)
  expect([watch.margin, kinds(), watch.outage]).toEqual([0, ["quorum_margin_0", "copies_1"], undefined])
  watch.observe(10, { ...one, copies: 2 })
  expect(kinds()).toEqual(["quorum_margin_0"])
  watch.observe(20, { ...one, isStandbyMissing: true })
  expect(watch.outage?.kind).toBe("standby_missing")
  expect(kinds()).toEqual(["quorum_margin_0", "standby_missing", "copies_1"])
})

test("memories that differ are an outage at once, with what to do", () => {
  watch.observe(0, { ...WELL, live: 2, copies: 2, isMemoryDisputed: true })
  expect(watch.outage?.kind).toBe("memory_disputed")
  expect(kinds()).toEqual(["quorum_margin_0", "memory_disputed"])
  watch.observe(10, WELL)
  expect(watch.outage).toBeUndefined()
})
