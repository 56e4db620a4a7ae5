/** Static memory: named, counted, and closed by seal(). Plane: control. */
import { expect, test } from "vitest"
import { AssertionError } from "../../../appliance/types/assert.ts"
import { StaticMemory } from "../../../appliance/types/static_memory.ts"

test("gives zeroed buffers of their own and keeps the ledger", () => {
  const memory = new StaticMemory()
  const a = memory.allocate("arena", 16)
  const b = memory.allocate("log", 8)
  expect([a.length, a.byteOffset, a.buffer.byteLength]).toEqual([16, 0, 16])
  expect(a.buffer).not.toBe(b.buffer)
  expect([...b]).toEqual([0, 0, 0, 0, 0, 0, 0, 0])
  expect(memory.table()).toEqual([
    { name: "arena", bytes: 16 },
    { name: "log", bytes: 8 },
  ])
  expect(memory.bytesTotal).toBe(24)
})

test("allocating after seal() is a bug of the caller", () => {
  const memory = new StaticMemory()
  memory.allocate("arena", 16)
  expect(memory.sealed).toBe(false)
  memory.seal()
  expect(memory.sealed).toBe(true)
  expect(() => memory.allocate("late", 1)).toThrow(AssertionError)
  expect(() => memory.seal()).toThrow(AssertionError)
  expect(memory.bytesTotal).toBe(16)
})

test("two buffers of one name are a bug of the caller", () => {
  const memory = new StaticMemory()
  memory.allocate("arena", 1)
  expect(() => memory.allocate("arena", 1)).toThrow(AssertionError)
})

test.each([0, -1, 1.5, Number.NaN])("a size of %d is a bug of the caller", (bytes) => {
  expect(() => new StaticMemory().allocate("arena", bytes)).toThrow(AssertionError)
})

test("the ledger itself is bounded", () => {
  const memory = new StaticMemory()
  for (let index = 0; index < 256; index += 1) {
    memory.allocate(`buffer ${index}`, 1)
  }
  expect(() => memory.allocate("one more", 1)).toThrow(AssertionError)
})
