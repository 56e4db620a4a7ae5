/** The ring against an array that is cut to its capacity. Plane: control. */
import fc from "fast-check"
import { expect, test } from "vitest"
import { Ring } from "../../../appliance/types/ring.ts"

const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("add" as const), item: fc.integer() }) },
  { weight: 5, arbitrary: fc.record({ kind: fc.constant("take" as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("clear" as const) }) },
)

test("any sequence of steps leaves what an array would hold", () => {
  const property = fc.property(
    fc.integer({ min: 1, max: 8 }),
    fc.array(step, { maxLength: 200 }),
    (capacity, steps) => {
      const ring = new Ring<number>(capacity)
      let model: number[] = []
      for (const one of steps) {
        if (one.kind === "clear") {
          ring.clear()
          model = []
        } else if (one.kind === "take") {
          expect(ring.take()).toBe(model.shift())
        } else if (!ring.isFull()) {
          ring.add(one.item)
          model.push(one.item)
        }
        expect(ring.count).toBe(model.length)
        expect(ring.isFull()).toBe(model.length === capacity)
        expect(ring.isEmpty()).toBe(model.length === 0)
        expect(ring.peek()).toBe(model[0])
        expect(model.map((_, index) => ring.at(index))).toEqual(model)
      }
    },
  )
  fc.assert(property, { numRuns: 1000 })
})
