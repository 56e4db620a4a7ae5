/** What the inner modules may not import, brought from Node: digest, checksum, chance and time. Plane: control. */
import { createHash, hash, randomFillSync } from "node:crypto"
import { crc32 } from "node:zlib"
import type { ChecksumFunction } from "../replication/wire.ts"
import { assert } from "../types/assert.ts"
import { crc32 as ownCrc32 } from "../types/checksum.ts"
import type { DigestFunction, RandomU32 } from "../types/contracts.ts"

const DIGEST_DIGITS = 32
const RANDOM_WORDS = 256

/** Up to so many bytes are copied behind their prefix and hashed in one call: no Hash object, and no garbage of one. */
const DIGEST_COPIED_BYTES_MAX = 4 * 1024
const DIGEST_PREFIX_BYTES_MAX = 1024
const scratch = Buffer.alloc(DIGEST_PREFIX_BYTES_MAX + DIGEST_COPIED_BYTES_MAX)

/** The first 128 bits of SHA-256. */
export const sha256Digest: DigestFunction = (prefix, bytes, start, end) => {
  assert(start >= 0 && start <= end && end <= bytes.length, "digest: range outside the buffer")
  const piece = bytes.subarray(start, end)
  return digestOf(prefix, piece).slice(0, DIGEST_DIGITS)
}

function digestOf(prefix: string, piece: Uint8Array): string {
  if (prefix === "") {
    return hash("sha256", piece, "hex")
  }
  // A character is three bytes of UTF-8 at most.
  if (piece.length <= DIGEST_COPIED_BYTES_MAX && prefix.length * 3 <= DIGEST_PREFIX_BYTES_MAX) {
    const prefixBytes = scratch.write(prefix, 0, "utf8")
    scratch.set(piece, prefixBytes)
    return hash("sha256", scratch.subarray(0, prefixBytes + piece.length), "hex")
  }
  return createHash("sha256").update(prefix).update(piece).digest("hex")
}

/** Up to so many bytes our own function is faster than the way into zlib and back. */
const CHECKSUM_OWN_BYTES_MAX = 256

/** CRC-32: zlib's is the same function as ours, and up to five times as fast over long pieces. */
export const zlibChecksum: ChecksumFunction = (bytes, start, end) =>
  end - start <= CHECKSUM_OWN_BYTES_MAX ? ownCrc32(bytes, start, end) : crc32(bytes.subarray(start, end))

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
