/** The ports that take one way for short pieces and another for long ones: both give the same. Plane: control. */
import { createHash, randomBytes } from "node:crypto"
import { crc32 } from "node:zlib"
import { expect, test } from "vitest"
import { sha256Digest, zlibChecksum } from "../../../appliance/orchestration/system_ports.ts"

const LENGTHS = [0, 1, 64, 255, 256, 257, 4_095, 4_096, 4_097, 200_000]
const PREFIXES = ["", "1.2.3", "\u00e4\u20ac\u{1f600}", "a".repeat(341), "a".repeat(342), "\u20ac".repeat(400)]

test("a digest is the first half of SHA-256 over prefix and bytes, whatever their lengths", () => {
  const bytes = randomBytes(300_000)
  for (const length of LENGTHS) {
    for (const prefix of PREFIXES) {
      const expected = createHash("sha256")
        .update(prefix)
        .update(bytes.subarray(7, 7 + length))
        .digest("hex")
      expect(sha256Digest(prefix, bytes, 7, 7 + length)).toBe(expected.slice(0, 32))
    }
  }
})

test("a checksum is zlib's CRC-32, whatever the length", () => {
  const bytes = randomBytes(300_000)
  for (const length of LENGTHS) {
    expect(zlibChecksum(bytes, 3, 3 + length)).toBe(crc32(bytes.subarray(3, 3 + length)))
  }
})
