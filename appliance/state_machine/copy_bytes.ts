/** Copies between buffers without making a view of the piece, four bytes a step. Plane: data. */
import { assert } from "../types/assert.ts"

const WORD_BYTES = 4

/** The two pieces must not overlap. */
export function copyBytes(from: DataView, fromStart: number, to: DataView, toStart: number, bytes: number): void {
  assert(fromStart + bytes <= from.byteLength && toStart + bytes <= to.byteLength, "copy: both pieces lie in buffers")
  let at = 0
  for (; at + WORD_BYTES <= bytes; at += WORD_BYTES) {
    to.setUint32(toStart + at, from.getUint32(fromStart + at, true), true)
  }
  for (; at < bytes; at += 1) {
    to.setUint8(toStart + at, from.getUint8(fromStart + at))
  }
}
