/** The replica's clock: exact while the process runs, patient after it stood still. Plane: control. */
import { expect, test } from "vitest"
import { SlewedClock } from "../../../appliance/orchestration/slewed_clock.ts"

test("real time in short steps, one short step for a long stall, and back to real time", () => {
  const clock = new SlewedClock({ start: 1_000, stepMsMax: 50, slewDivisor: 8 })
  expect(clock.advance(1_010)).toBe(1_010)
  expect(clock.advance(1_010)).toBe(1_010)
  expect(clock.advance(1_055)).toBe(1_055)
  expect(clock.advance(1_655)).toBe(1_105)
  let real = 1_655
  let before = clock.now
  for (let tick = 0; tick < 400; tick += 1) {
    real += 10
    const now = clock.advance(real)
    expect(now - before).toBeLessThanOrEqual(12)
    before = now
  }
  expect(clock.now).toBe(real)
})
