/**
 * Reads the integers that clients write as text, as strictly as Redis's string2ll: an optional minus, no plus, no
 * leading zero, no blanks, within 64 signed bits. The value is left in halves, so nothing is allocated. Plane: data.
 */
import { MINUS, ZERO } from "./characters.ts"

const U32 = 0x1_0000_0000
/** Digits that surely fit a safe integer. */
const SAFE_DIGITS = 15
/** "9223372036854775807" has 19 digits. */
const DIGITS_MAX = 19
/** 2^63 - 1 and 2^63 in halves. */
const HIGH_MAX = 0x7fff_ffff
const HIGH_MIN_MAGNITUDE = 0x8000_0000

/** One number, read into by readInteger. `high` is signed, `low` unsigned. */
export type IntegerHalves = { high: number; low: number }

/** False: `buffer[start, start + bytes)` is no such integer, and `into` is unchanged. */
export function readInteger(buffer: Buffer, start: number, bytes: number, into: IntegerHalves): boolean {
  const isNegative = bytes > 0 && buffer[start] === MINUS
  const first = isNegative ? start + 1 : start
  const digits = isNegative ? bytes - 1 : bytes
  if (digits < 1 || digits > DIGITS_MAX || (buffer[first] === ZERO && (digits > 1 || isNegative))) {
    return false
  }
  let high = 0
  let low = 0
  for (let index = first; index < first + digits; index += 1) {
    const digit = (buffer[index] ?? 0) - ZERO
    if (digit < 0 || digit > 9) {
      return false
    }
    // low stays below 2^32 * 10 + 10, high below 2^32 * 10: both exact.
    low = low * 10 + digit
    const carry = Math.floor(low / U32)
    low -= carry * U32
    high = high * 10 + carry
  }
  if (digits > SAFE_DIGITS) {
    const isMinimum = isNegative && high === HIGH_MIN_MAGNITUDE && low === 0
    if (high > HIGH_MAX && !isMinimum) {
      return false
    }
  }
  into.high = high
  into.low = low
  if (isNegative) {
    negate(into)
  }
  return true
}

/** The two's complement. The smallest number is its own: ask isMinimum() first where that matters. */
export function negate(value: IntegerHalves): void {
  const low = value.low === 0 ? 0 : U32 - value.low
  const high = ~value.high + (value.low === 0 ? 1 : 0)
  value.low = low
  value.high = high | 0
}

/** -2^63, which has no positive. */
export function isMinimum(value: IntegerHalves): boolean {
  return value.high === -HIGH_MIN_MAGNITUDE && value.low === 0
}

/** The number itself where it is a safe integer, else NaN. */
export function toSafeInteger(value: IntegerHalves): number {
  const number = value.high * U32 + value.low
  return Number.isSafeInteger(number) ? number : Number.NaN
}
