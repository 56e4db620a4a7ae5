/**
 * CRC-32 (IEEE 802.3, reflected polynomial 0xEDB88320), the same function as zlib's: frames and stored values carry it.
 * It detects accidents; it is not a digest and no identity (REPLICATION.md: CRC is not a safe hash-chain identity).
 * Plane: data.
 */
import { assert } from "./assert.ts"

/** Eight tables: the byte's own, and those of a byte that so many zeros follow; eight bytes then cost one step. */
const STEP = 8
const TABLE = makeTable()

function makeTable(): Uint32Array {
  const table = new Uint32Array(256 * STEP)
  for (let index = 0; index < 256; index += 1) {
    let value = index
    for (let bit = 0; bit < 8; bit += 1) {
      value = (value & 1) === 1 ? (value >>> 1) ^ 0xedb8_8320 : value >>> 1
    }
    table[index] = value >>> 0
  }
  for (let index = 256; index < table.length; index += 1) {
    const before = table[index - 256] ?? 0
    table[index] = (before >>> 8) ^ (table[before & 0xff] ?? 0)
  }
  return table
}

/** The checksum of `bytes[start, end)`, an unsigned 32-bit number. `previous` continues an earlier one. */
export function crc32(bytes: Uint8Array, start: number, end: number, previous = 0): number {
  assert(start >= 0 && start <= end && end <= bytes.length, "crc32: range outside the buffer")
  let value = ~previous
  let at = start
  for (; at + STEP <= end; at += STEP) {
    const low =
      value ^ (byte(bytes, at) | (byte(bytes, at + 1) << 8) | (byte(bytes, at + 2) << 16) | (byte(bytes, at + 3) << 24))
    value =
      entry(7, low & 0xff) ^
      entry(6, (low >>> 8) & 0xff) ^
      entry(5, (low >>> 16) & 0xff) ^
      entry(4, low >>> 24) ^
      entry(3, byte(bytes, at + 4)) ^
      entry(2, byte(bytes, at + 5)) ^
      entry(1, byte(bytes, at + 6)) ^
      entry(0, byte(bytes, at + 7))
  }
  for (; at < end; at += 1) {
    value = (value >>> 8) ^ entry(0, (value ^ byte(bytes, at)) & 0xff)
  }
  return ~value >>> 0
}

function byte(bytes: Uint8Array, at: number): number {
  return bytes[at] ?? 0
}

function entry(table: number, index: number): number {
  return TABLE[table * 256 + index] ?? 0
}
