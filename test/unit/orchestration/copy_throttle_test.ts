/** Who copies this machine's state waits for whom it serves, and never for ever. Plane: control. */
import { expect, test } from "vitest"
import { type Ask, CopyThrottle } from "../../../appliance/orchestration/copy_throttle.ts"

const ASK: Ask = {
  type: "get_checkpoint",
  from: 1,
  epoch: 0,
  cv: [],
  nonce: 1,
  part: "pages",
  index: 0,
  mask_low: 1,
  mask_high: 0,
}

function makeThrottle(): CopyThrottle {
  return new CopyThrottle({ asksMax: 4, piecesPerTick: 2, busyOps: 10, windowMs: 100 })
}

/** Indexes that are given in this turn. */
function taken(throttle: CopyThrottle): number[] {
  const indexes: number[] = []
  for (let ask = throttle.take(); ask !== undefined; ask = throttle.take()) {
    indexes.push(ask.index)
  }
  return indexes
}

test("while nobody is served everything is given at once", () => {
  const throttle = makeThrottle()
  for (let at = 0; at < 1_000; at += 10) {
    throttle.tick(at, 1)
    for (let index = 0; index < 100; index += 1) {
      expect(throttle.admits(ASK)).toBe(true)
    }
  }
  expect(throttle.isBusy).toBe(false)
})

test("while clients are served so many a tick, in their order; more than the room is dropped", () => {
  const throttle = makeThrottle()
  throttle.tick(0, 0)
  throttle.tick(100, 10)
  expect(throttle.isBusy).toBe(true)
  const admitted = Array.from({ length: 8 }, (_, index) => throttle.admits({ ...ASK, index }))
  expect(admitted).toEqual([true, true, false, false, false, false, false, false])
  expect(taken(throttle)).toEqual([])
  throttle.tick(110, 20)
  expect(taken(throttle)).toEqual([2, 3])
  // What waits goes first.
  expect(throttle.admits({ ...ASK, index: 9 })).toBe(false)
  throttle.tick(120, 30)
  expect(taken(throttle)).toEqual([4, 5])
  throttle.tick(130, 40)
  expect(taken(throttle)).toEqual([9])
  expect(throttle.admits(ASK)).toBe(true)
})

test("when the load ends what waits is given at once", () => {
  const throttle = makeThrottle()
  throttle.tick(0, 0)
  throttle.tick(100, 50)
  for (let index = 0; index < 6; index += 1) {
    throttle.admits({ ...ASK, index })
  }
  throttle.tick(200, 51)
  expect(throttle.isBusy).toBe(false)
  expect(taken(throttle)).toEqual([2, 3, 4, 5])
})
