/** The generator: the same seed gives the same numbers, within their bounds. Plane: control. */
import fc from "fast-check"
import { expect, test } from "vitest"
import { PRNG } from "../../../appliance/types/prng.ts"

const seeds = fc.nat({ max: Number.MAX_SAFE_INTEGER })

test("the same seed gives the same sequence", () => {
  const property = fc.property(seeds, (seed) => {
    const a = new PRNG(seed)
    const b = new PRNG(seed)
    for (let round = 0; round < 50; round += 1) {
      expect(a.u32()).toBe(b.u32())
    }
  })
  fc.assert(property)
})

test("seeds that differ by one, or above 32 bits only, give other sequences", () => {
  const first = (seed: number): number[] => {
    const random = new PRNG(seed)
    return [random.u32(), random.u32(), random.u32(), random.u32()]
  }
  const property = fc.property(fc.nat({ max: 2 ** 32 }), (seed) => {
    expect(first(seed)).not.toEqual(first(seed + 1))
    expect(first(seed)).not.toEqual(first(seed + 2 ** 32))
  })
  fc.assert(property)
})

test("numbers stay in their bounds", () => {
  const bound = fc.integer({ min: 1, max: 2 ** 32 })
  const property = fc.property(seeds, bound, fc.integer({ min: -1000, max: 1000 }), (seed, max, from) => {
    const random = new PRNG(seed)
    for (let round = 0; round < 50; round += 1) {
      const u32 = random.u32()
      expect(Number.isInteger(u32) && u32 >= 0 && u32 <= 0xffff_ffff).toBe(true)
      const below = random.below(max)
      expect(Number.isInteger(below) && below >= 0 && below < max).toBe(true)
      const between = random.between(from, from + 10)
      expect(between >= from && between <= from + 10).toBe(true)
      expect(random.chance(0, 7)).toBe(false)
      expect(random.chance(7, 7)).toBe(true)
    }
  })
  fc.assert(property)
})
