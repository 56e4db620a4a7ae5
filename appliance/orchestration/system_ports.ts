/** What the inner modules may not import, brought from Node: digest, checksum, chance and time. Plane: control. */
import { createHash, hash, randomFillSync } from "node:crypto"
import { crc32 } from "node:zlib"
import type { ChecksumFunction } from "../replication/wire.ts"
import { assert } from "../types/assert.ts"
import type { DigestFunction, RandomU32 } from "../types/contracts.ts"

const DIGEST_DIGITS = 32
const RANDOM_WORDS = 256

/** The first 128 bits of SHA-256. */
export const sha256Digest: DigestFunction = (prefix, bytes, start, end) => {
  assert(start >= 0 && start <= end && end <= bytes.length, "digest: range outside the buffer")
  const piece = bytes.subarray(start, end)
  const digest =
    prefix === "" ? hash("sha256", piece, "hex") : createHash("sha256").update(prefix).update(piece).digest("hex")
  return digest.slice(0, DIGEST_DIGITS)
}

/** zlib's CRC-32: the same function as types/checksum.ts, about ten times as fast. */
export const zlibChecksum: ChecksumFunction = (bytes, start, end) => crc32(bytes.subarray(start, end))

/** Chance from the operating system, fetched in batches. */
export function systemRandom(): RandomU32 {
  const words = new Uint32Array(RANDOM_WORDS)
  let used = RANDOM_WORDS
  return () => {
    if (used === RANDOM_WORDS) {
      randomFillSync(words)
      used = 0
    }
    const word = words[used]
    assert(word !== undefined, "random: a word is left")
    used += 1
    return word
  }
}

/** Whole milliseconds that only rise. */
export function monotonicMs(): number {
  return Math.floor(performance.now())
}
