/** Redis's patterns for keys: `*`, `?`, `[a-z]`, `[^a]`, and a backslash before what stands for itself. Plane: data. */
import { BACKSLASH, MINUS, STAR } from "./characters.ts"

const QUESTION = 63
const OPEN = 91
const CLOSE = 93
const CARET = 94

/**
 * Whether `text[textStart, textEnd)` fits the pattern. Of several stars only the last is ever taken back, so the work
 * is at most the product of both lengths.
 */
export function isMatch(
  pattern: Buffer,
  patternStart: number,
  patternEnd: number,
  text: Buffer,
  textStart: number,
  textEnd: number,
): boolean {
  if (textStart === textEnd && patternEnd > patternStart) {
    // As Redis: of all patterns that could, only the single star means the empty key too.
    return patternEnd === patternStart + 1 && pattern[patternStart] === STAR
  }
  let at = patternStart
  let place = textStart
  let star = -1
  let starPlace = textStart
  while (place < textEnd) {
    if (at < patternEnd && pattern[at] === STAR) {
      star = at
      starPlace = place
      at += 1
    } else if (at < patternEnd && isOne(pattern, at, patternEnd, text[place] ?? 0)) {
      at = elementEnd(pattern, at, patternEnd)
      place += 1
    } else if (star >= 0) {
      starPlace += 1
      place = starPlace
      at = star + 1
    } else {
      return false
    }
  }
  while (at < patternEnd && pattern[at] === STAR) {
    at += 1
  }
  return at === patternEnd
}

/** Where the element at `at` ends. A set without its end ends with the pattern. */
function elementEnd(pattern: Buffer, at: number, end: number): number {
  const first = pattern[at]
  if (first === BACKSLASH && at + 1 < end) {
    return at + 2
  }
  if (first !== OPEN) {
    return at + 1
  }
  let place = pattern[at + 1] === CARET && at + 1 < end ? at + 2 : at + 1
  while (place < end && pattern[place] !== CLOSE) {
    place = memberEnd(pattern, place, end)
  }
  return Math.min(place + 1, end)
}

/** Of a set: an escaped byte, a range or a byte. */
function memberEnd(pattern: Buffer, at: number, end: number): number {
  if (pattern[at] === BACKSLASH && at + 1 < end) {
    return at + 2
  }
  return at + 2 < end && pattern[at + 1] === MINUS ? at + 3 : at + 1
}

function isOne(pattern: Buffer, at: number, end: number, byte: number): boolean {
  const first = pattern[at] ?? 0
  if (first === QUESTION) {
    return true
  }
  if (first === BACKSLASH && at + 1 < end) {
    return pattern[at + 1] === byte
  }
  if (first !== OPEN) {
    return first === byte
  }
  const isNot = at + 1 < end && pattern[at + 1] === CARET
  let place = isNot ? at + 2 : at + 1
  let isIn = false
  while (place < end && pattern[place] !== CLOSE) {
    isIn = isIn || isMember(pattern, place, end, byte)
    place = memberEnd(pattern, place, end)
  }
  return isIn !== isNot
}

function isMember(pattern: Buffer, at: number, end: number, byte: number): boolean {
  const first = pattern[at] ?? 0
  if (first === BACKSLASH && at + 1 < end) {
    return pattern[at + 1] === byte
  }
  if (at + 2 < end && pattern[at + 1] === MINUS) {
    const last = pattern[at + 2] ?? 0
    return byte >= Math.min(first, last) && byte <= Math.max(first, last)
  }
  return first === byte
}
