import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { LetterSet } from "./letter_set.ts"

const LETTERS = fc.array(fc.nat({ max: 200 }))

function setOf(letters: readonly number[]): LetterSet {
  const set = new LetterSet()
  for (const letter of letters) {
    set.add(letter)
  }
  return set
}

function sorted(letters: Iterable<number>): number[] {
  return [...new Set(letters)].sort((a, b) => a - b)
}

describe("letter set", () => {
  test("holds what was added and not removed", () => {
    fc.assert(
      fc.property(LETTERS, LETTERS, (added, removed) => {
        const set = setOf(added)
        for (const letter of removed) {
          set.remove(letter)
        }
        const left = added.filter((letter) => !removed.includes(letter))
        expect(set.lettersIn(setOf(added))).toEqual(sorted(left))
        expect(added.every((letter) => set.has(letter) === left.includes(letter))).toBe(true)
      }),
    )
  })

  test("the letters of two sets", () => {
    fc.assert(
      fc.property(LETTERS, LETTERS, (a, b) => {
        expect(setOf(a).lettersIn(setOf(b))).toEqual(sorted(a.filter((letter) => b.includes(letter))))
      }),
    )
  })

  test("a copy goes its own way", () => {
    const set = setOf([1, 40])
    const copy = set.copy()
    copy.add(2)
    set.remove(40)
    expect([set.lettersIn(setOf([1, 2, 40])), copy.lettersIn(setOf([1, 2, 40]))]).toEqual([[1], [1, 2, 40]])
  })
})
