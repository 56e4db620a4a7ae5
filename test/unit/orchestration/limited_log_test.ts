/** One line a kind in a while, with the number of those kept back. Plane: control. */
import { pino } from "pino"
import { expect, test } from "vitest"
import { LimitedLog } from "../../../appliance/orchestration/limited_log.ts"

test("repeats are counted, not written; kinds are bounded", () => {
  const lines: string[] = []
  const log = new LimitedLog(pino({}, { write: (line: string) => lines.push(line) }), { repeatMs: 100, kindsMax: 2 })
  for (let now = 0; now < 100; now += 1) {
    log.warn("a", now, { slot: 1 })
  }
  expect(lines.length).toBe(1)
  log.warn("a", 100, {})
  expect(JSON.parse(lines[1] ?? "")).toMatchObject({ level: 40, msg: "a", kept_back: 99 })
  log.warn("b", 100, {})
  log.warn("c", 100, {})
  expect(lines.length).toBe(3)
})
