/**
 * What the simulation brings for SHA-256: two multiplying lanes and zlib's CRC over the body. It tells apart what
 * chance would not make equal, ten times as fast; nobody in a simulation forges a collision. Plane: control.
 */
import { crc32 } from "node:zlib"
import type { DigestFunction } from "../../appliance/types/contracts.ts"

const HEX: readonly string[] = Array.from({ length: 65_536 }, (_, value) => value.toString(16).padStart(4, "0"))

export const simulatedDigest: DigestFunction = (prefix, bytes, start, end) => {
  let a = 0xdead_beef ^ (end - start)
  let b = 0x41c6_ce57
  for (let index = 0; index < prefix.length; index += 1) {
    const code = prefix.charCodeAt(index)
    a = Math.imul(a ^ code, 2_654_435_761)
    b = Math.imul(b ^ code, 1_597_334_677)
  }
  if (end > start) {
    const body = crc32(bytes.subarray(start, end))
    a = Math.imul(a ^ body, 2_654_435_761)
    b = Math.imul(b ^ body, 1_597_334_677)
  }
  const first = Math.imul(a ^ (a >>> 16), 2_246_822_507) ^ Math.imul(b ^ (b >>> 13), 3_266_489_909)
  const second = Math.imul(b ^ (b >>> 16), 2_246_822_507) ^ Math.imul(a ^ (a >>> 13), 3_266_489_909)
  return hexOf(first) + hexOf(second) + hexOf(a) + hexOf(b)
}

export function hexOf(word: number): string {
  return (HEX[word >>> 16] ?? "") + (HEX[word & 0xffff] ?? "")
}
