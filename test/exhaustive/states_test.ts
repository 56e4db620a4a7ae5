import { describe, expect, test } from "vitest"
import { decodeAction, encodeAction } from "./action.ts"
import { LetterSet } from "./letter_set.ts"
import { type State, States } from "./states.ts"

const BUDGET = { crashes: 2, heartbeats: 1, retries: 7 }

function state(letters: readonly number[], locals: readonly number[] = [5, 6, 7]): State {
  const set = new LetterSet()
  for (const letter of letters) {
    set.add(letter)
  }
  return { locals, history: 3, budget: BUDGET, letters: set }
}

describe("states", () => {
  test("a state comes back as it was, and how it was reached", () => {
    const states = new States(3)
    expect(states.add(state([]), 0, 0)).toBe(true)
    expect(states.add(state([1, 33, 70], [1, 2, 3]), 0, 9)).toBe(true)
    const back = states.at(1)
    expect([back.locals, back.history, back.budget]).toEqual([[1, 2, 3], 3, BUDGET])
    expect(back.letters.lettersIn(state([1, 2, 33, 70]).letters)).toEqual([1, 33, 70])
    expect([states.parent(1), states.action(1)]).toEqual([0, 9])
  })

  test("the same state is not added twice", () => {
    const states = new States(3)
    expect(states.add(state([1, 2]), 0, 0)).toBe(true)
    expect(states.add(state([2, 1]), 0, 0)).toBe(false)
    expect(states.count).toBe(1)
  })

  test("one with fewer letters under way is covered, before and after", () => {
    const states = new States(3)
    expect(states.add(state([1, 40]), 0, 0)).toBe(true)
    expect(states.add(state([40]), 0, 0)).toBe(false)
    expect(states.add(state([1, 2, 40, 99]), 0, 0)).toBe(true)
    expect([states.isDominated(0), states.isDominated(1), states.dominated]).toEqual([true, false, 1])
    expect(states.add(state([1, 40]), 0, 0)).toBe(false)
  })

  test("neither covers the other when each has a letter that the other lacks, or anything else differs", () => {
    const states = new States(3)
    for (const other of [state([1]), state([2]), state([99]), state([1, 2, 99], [5, 6, 8])]) {
      expect(states.add(other, 0, 0)).toBe(true)
    }
    expect(states.add({ ...state([1]), history: 4 }, 0, 0)).toBe(true)
    expect(states.add({ ...state([1]), budget: { ...BUDGET, crashes: 1 } }, 0, 0)).toBe(true)
    expect(states.dominated).toBe(0)
  })

  test("more states than it first has room for", () => {
    const states = new States(3)
    const count = 40_000
    for (let index = 0; index < count; index += 1) {
      expect(states.add(state([index % 500], [index, 1, 2]), Math.max(index - 1, 0), index)).toBe(true)
    }
    expect(states.count).toBe(count)
    for (const index of [0, 16_384, count - 1]) {
      expect(states.at(index).locals).toEqual([index, 1, 2])
      expect(states.action(index)).toBe(index)
    }
  })
})

test.each([
  { kind: "deliver", letter: 123_456, choice: 1 },
  { kind: "pass", slot: 4, jump: 3, choice: 3 },
  { kind: "request", slot: 2, request: 4, choice: 0 },
  { kind: "reboot", slot: 4, choice: 0 },
] as const)("an action has a number: $kind", (action) => {
  expect(decodeAction(encodeAction(action))).toEqual(action)
})
