/** The ring against a plain list of frames: nothing is lost, reordered or overwritten. Plane: control. */
import { expect, test } from "vitest"
import { SendRing } from "../../../appliance/orchestration/send_ring.ts"
import { PRNG } from "../../../appliance/types/prng.ts"

test("a frame goes to the front when it doesn't fit behind, and waits when it fits nowhere", () => {
  const ring = new SendRing(new Uint8Array(10))
  expect(ring.isEmpty()).toBe(true)
  expect(ring.place(11)).toBe(-1)
  ring.commit(ring.place(4), 4)
  ring.commit(ring.place(4), 4)
  expect(ring.place(3)).toBe(-1)
  ring.consume(4)
  expect([ring.start, ring.end]).toEqual([4, 8])
  // Four bytes are free in front; filling all of them would make the ring look empty.
  expect(ring.place(4)).toBe(-1)
  expect(ring.place(3)).toBe(0)
  ring.commit(0, 3)
  expect([ring.start, ring.end]).toEqual([4, 8])
  ring.consume(8)
  expect([ring.start, ring.end]).toEqual([0, 3])
  ring.consume(3)
  expect(ring.isEmpty()).toBe(true)
  expect(ring.place(10)).toBe(0)
})

test("random frames come out as they went in", () => {
  for (let seed = 1; seed <= 200; seed += 1) {
    const random = new PRNG(seed)
    const ring = new SendRing(new Uint8Array(random.between(20, 100)))
    const wanted: number[] = []
    const found: number[] = []
    let counter = 0
    let writing = -1
    for (let step = 0; step < 500; step += 1) {
      const bytes = random.between(1, 15)
      const offset = ring.place(bytes)
      if (offset >= 0 && random.chance(2, 3)) {
        for (let index = 0; index < bytes; index += 1) {
          counter = (counter + 1) & 0xff
          ring.bytes[offset + index] = counter
          wanted.push(counter)
        }
        ring.commit(offset, bytes)
      }
      if (writing < 0 && !ring.isEmpty()) {
        writing = ring.end
      } else if (writing >= 0 && random.chance(1, 2)) {
        found.push(...ring.bytes.subarray(ring.start, writing))
        ring.consume(writing)
        writing = -1
      }
    }
    expect(wanted.slice(0, found.length), `seed ${seed}`).toEqual(found)
    expect(wanted.length - found.length).toBeLessThanOrEqual(ring.bytes.length)
    expect(found.length).toBeGreaterThan(100)
  }
})
