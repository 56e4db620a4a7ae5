/** The ring: first in, first out, never more than its capacity. Plane: control. */
import { expect, test } from "vitest"
import { AssertionError } from "../../../appliance/types/assert.ts"
import { Ring } from "../../../appliance/types/ring.ts"

test("takes items in the order they were added, across the wrap", () => {
  const ring = new Ring<string>(3)
  ring.add("a")
  ring.add("b")
  expect(ring.take()).toBe("a")
  ring.add("c")
  ring.add("d")
  expect(ring.isFull()).toBe(true)
  expect([ring.at(0), ring.at(1), ring.at(2)]).toEqual(["b", "c", "d"])
  expect([ring.take(), ring.take(), ring.take(), ring.take()]).toEqual(["b", "c", "d", undefined])
  expect(ring.isEmpty()).toBe(true)
})

test("peek leaves the oldest in place", () => {
  const ring = new Ring<number>(2)
  expect(ring.peek()).toBeUndefined()
  ring.add(1)
  ring.add(2)
  expect(ring.peek()).toBe(1)
  expect(ring.count).toBe(2)
})

test("adding to a full ring is a bug of the caller", () => {
  const ring = new Ring<number>(1)
  ring.add(1)
  expect(() => ring.add(2)).toThrow(AssertionError)
  expect(ring.take()).toBe(1)
})

test("an index outside is a bug of the caller", () => {
  const ring = new Ring<number>(2)
  ring.add(1)
  expect(() => ring.at(1)).toThrow(AssertionError)
  expect(() => ring.at(-1)).toThrow(AssertionError)
})

test("a cleared ring is empty and keeps its capacity", () => {
  const ring = new Ring<number>(2)
  ring.add(1)
  ring.add(2)
  ring.clear()
  expect([ring.count, ring.capacity, ring.peek()]).toEqual([0, 2, undefined])
  ring.add(3)
  expect(ring.take()).toBe(3)
})

test.each([0, -1, 1.5, Number.NaN])("a capacity of %d is a bug of the caller", (capacity) => {
  expect(() => new Ring(capacity)).toThrow(AssertionError)
})
