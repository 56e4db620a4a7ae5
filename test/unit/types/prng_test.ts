/** The generator's numbers are fixed for good: a simulation's seed must mean the same tomorrow. Plane: control. */
import { expect, test } from "vitest"
import { AssertionError } from "../../../appliance/types/assert.ts"
import { PRNG } from "../../../appliance/types/prng.ts"

test("seed 42 gives these numbers", () => {
  const random = new PRNG(42)
  expect([random.u32(), random.u32(), random.u32(), random.u32()]).toEqual([
    2_837_322_924, 544_945_897, 479_756_282, 3_500_138_142,
  ])
})

test("every bucket of a die is hit about as often", () => {
  const random = new PRNG(7)
  const buckets = new Array<number>(6).fill(0)
  for (let roll = 0; roll < 60_000; roll += 1) {
    const side = random.below(6)
    buckets[side] = (buckets[side] ?? 0) + 1
  }
  // 10,000 expected, standard deviation 91: five of them.
  expect(buckets.every((count) => count > 9_545 && count < 10_455)).toBe(true)
})

test.each([-1, 1.5, Number.NaN, 2 ** 53])("a seed of %d is a bug of the caller", (seed) => {
  expect(() => new PRNG(seed)).toThrow(AssertionError)
})

test.each([0, -1, 1.5, 2 ** 32 + 1])("a bound of %d is a bug of the caller", (bound) => {
  expect(() => new PRNG(1).below(bound)).toThrow(AssertionError)
})
