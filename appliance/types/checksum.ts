/**
 * CRC-32 (IEEE 802.3, reflected polynomial 0xEDB88320), the same function as zlib's: frames and stored values carry it.
 * It detects accidents; it is not a digest and no identity (REPLICATION.md: CRC is not a safe hash-chain identity).
 * Plane: data.
 */
import { assert } from "./assert.ts"

const TABLE = makeTable()

function makeTable(): Uint32Array {
  const table = new Uint32Array(256)
  for (let index = 0; index < 256; index += 1) {
    let value = index
    for (let bit = 0; bit < 8; bit += 1) {
      value = (value & 1) === 1 ? (value >>> 1) ^ 0xedb8_8320 : value >>> 1
    }
    table[index] = value >>> 0
  }
  return table
}

/** The checksum of `bytes[start, end)`, an unsigned 32-bit number. `previous` continues an earlier one. */
export function crc32(bytes: Uint8Array, start: number, end: number, previous = 0): number {
  assert(start >= 0 && start <= end && end <= bytes.length, "crc32: range outside the buffer")
  let value = ~previous >>> 0
  for (let index = start; index < end; index += 1) {
    value = (value >>> 8) ^ (TABLE[(value ^ (bytes[index] ?? 0)) & 0xff] ?? 0)
  }
  return ~value >>> 0
}
