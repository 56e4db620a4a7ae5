/**
 * Crash vectors (Michael, Ports, Sharma and Szekeres, DISC'17, Algorithm 1): what a replica knows of everybody's
 * crashes.
 *
 * An entry is an incarnation (u32 on the wire, at most INCARNATION_MAX) and a nonce (u32) in one safe integer, so that
 * comparing numbers compares the pair lexicographically: two twins that got the same incarnation stay two (rule 1).
 * Incarnation 0 is a blank process that is no member yet; such an entry is never merged. Plane: control.
 */
import { assert } from "../types/assert.ts"
import { INCARNATION_MAX, STANDBYS_MAX, VOTERS_MAX } from "../types/limits.ts"
import type { CrashVector } from "./message.ts"

const U32 = 0x1_0000_0000

export function makeEntry(incarnation: number, nonce: number): number {
  assert(incarnation >= 0 && incarnation <= INCARNATION_MAX, "crash vector: incarnation out of range")
  assert(nonce >= 0 && nonce < U32, "crash vector: nonce out of range")
  return incarnation * U32 + nonce
}

export function nonceOf(entry: number): number {
  return entry % U32
}

export function incarnationOf(entry: number): number {
  return Math.floor(entry / U32)
}

/** The entry of `slot`. */
export function entryAt(cv: CrashVector, slot: number): number {
  const entry = cv[slot]
  assert(entry !== undefined, "crash vector: slot out of range")
  return entry
}

/** All zeros, one entry a slot. */
export function blankVector(slots: number): CrashVector {
  assert(slots >= 1 && slots <= VOTERS_MAX + STANDBYS_MAX, "crash vector: number of slots out of range")
  return new Array<number>(slots).fill(0)
}

/** A copy of `cv` with the entry of `slot` replaced. */
export function withEntry(cv: CrashVector, slot: number, entry: number): CrashVector {
  assert(slot >= 0 && slot < cv.length, "crash vector: slot out of range")
  const copy = cv.slice()
  copy[slot] = entry
  return copy
}

/** True when `theirs` knows a later incarnation of `slot` than `mine`; a blank entry is no knowledge. */
export function knowsLater(theirs: CrashVector, mine: CrashVector, slot: number): boolean {
  const entry = entryAt(theirs, slot)
  return incarnationOf(entry) > 0 && entry > entryAt(mine, slot)
}
