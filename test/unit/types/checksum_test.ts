/** Our CRC-32 and zlib's are one function, whatever the length and wherever it is continued. Plane: control. */
import { randomBytes } from "node:crypto"
import { crc32 as zlibCrc32 } from "node:zlib"
import { expect, test } from "vitest"
import { crc32 } from "../../../appliance/types/checksum.ts"

const LENGTH_MAX = 70

test("agrees with zlib from every offset and for every length", () => {
  const bytes = randomBytes(LENGTH_MAX)
  for (let start = 0; start <= LENGTH_MAX; start += 1) {
    for (let end = start; end <= LENGTH_MAX; end += 1) {
      expect(crc32(bytes, start, end)).toBe(zlibCrc32(bytes.subarray(start, end)))
    }
  }
})

test("continues an earlier checksum", () => {
  const bytes = randomBytes(LENGTH_MAX)
  const whole = crc32(bytes, 0, LENGTH_MAX)
  for (let middle = 0; middle <= LENGTH_MAX; middle += 1) {
    expect(crc32(bytes, middle, LENGTH_MAX, crc32(bytes, 0, middle))).toBe(whole)
  }
})
