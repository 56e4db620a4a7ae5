/** Our CRC-32 against zlib's, which other people wrote. Plane: control. */
import { crc32 as zlibCRC32 } from "node:zlib"
import fc from "fast-check"
import { expect, test } from "vitest"
import { AssertionError } from "../../../appliance/types/assert.ts"
import { crc32 } from "../../../appliance/types/checksum.ts"

test("equals zlib's over any bytes", () => {
  const property = fc.property(fc.uint8Array({ maxLength: 4096 }), (bytes) => {
    expect(crc32(bytes, 0, bytes.length)).toBe(zlibCRC32(bytes))
  })
  fc.assert(property, { numRuns: 2000 })
})

test("continues from any place, and reads only the range", () => {
  const property = fc.property(
    fc.uint8Array({ maxLength: 512 }),
    fc.nat({ max: 512 }),
    fc.nat({ max: 512 }),
    (bytes, a, b) => {
      const start = Math.min(a, b, bytes.length)
      const end = Math.min(Math.max(a, b), bytes.length)
      const head = crc32(bytes, 0, start)
      expect(crc32(bytes, start, end, head)).toBe(crc32(bytes, 0, end))
      expect(crc32(bytes, start, end)).toBe(zlibCRC32(bytes.subarray(start, end)))
    },
  )
  fc.assert(property, { numRuns: 2000 })
})

test("a flipped bit is always found", () => {
  const property = fc.property(fc.uint8Array({ minLength: 1, maxLength: 512 }), fc.nat(), (bytes, place) => {
    const bit = place % (bytes.length * 8)
    const before = crc32(bytes, 0, bytes.length)
    const flipped = Uint8Array.from(bytes, (byte, index) => (index === bit >>> 3 ? byte ^ (1 << (bit & 7)) : byte))
    expect(crc32(flipped, 0, flipped.length)).not.toBe(before)
  })
  fc.assert(property, { numRuns: 2000 })
})

test("the check value of the polynomial's catalogue", () => {
  const bytes = new TextEncoder().encode("123456789")
  expect(crc32(bytes, 0, bytes.length)).toBe(0xcbf4_3926)
})

test.each([
  [-1, 0],
  [0, 4],
  [2, 1],
])("a range of %d to %d outside three bytes is a bug of the caller", (start, end) => {
  expect(() => crc32(new Uint8Array(3), start, end)).toThrow(AssertionError)
})
