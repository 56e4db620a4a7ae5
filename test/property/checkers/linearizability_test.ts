/**
 * The checker against histories that are linearizable because they were made that way, against the same with one answer
 * spoilt, and against a search that tries every order. Plane: control.
 */
import { expect, test } from "vitest"
import { PRNG } from "../../../appliance/types/prng.ts"
import { checkLinearizable, type Operation } from "../../checkers/linearizability.ts"
import { applyCall, type RegisterCall, type RegisterState } from "../../checkers/register.ts"

const HISTORIES = 100
const OPERATIONS = 120
const CLIENTS = 6
const SMALL_HISTORIES = 6_000
const SMALL_OPERATIONS_MAX = 6

function randomCall(random: PRNG, values: number): RegisterCall {
  const value = String(random.below(values))
  const calls: RegisterCall[] = [
    { kind: "get" },
    { kind: "get" },
    { kind: "set", value },
    { kind: "set_absent", value },
    { kind: "set_present", value },
    { kind: "swap", value },
    { kind: "incr" },
    { kind: "incr" },
    { kind: "del" },
  ]
  return calls[random.below(calls.length)] ?? { kind: "get" }
}

type Timed = {
  readonly call: RegisterCall
  readonly called: number
  readonly effect: number
  readonly answered: number
}

/** Clients that do one operation after the other; each takes effect at a moment of its own, some are never answered. */
function linearizableHistory(random: PRNG): { operations: Operation[]; end: RegisterState } {
  const timed: Timed[] = []
  for (let client = 0; client < CLIENTS; client += 1) {
    let now = random.below(50)
    for (let count = 0; count < OPERATIONS / CLIENTS; count += 1) {
      const called = now + random.below(20)
      const isUnknown = random.chance(1, 8)
      // An unknown one may happen long after, or never.
      const late = random.chance(1, 3) ? Number.POSITIVE_INFINITY : called + random.below(2_000)
      const effect = isUnknown ? late : called + random.below(40)
      const answered = isUnknown ? Number.POSITIVE_INFINITY : effect + random.below(40)
      timed.push({ call: randomCall(random, 1_000), called, effect, answered })
      now = isUnknown ? called + random.below(80) : answered
    }
  }
  timed.sort((a, b) => a.effect - b.effect)
  let state: RegisterState
  const operations = timed.map(({ call, called, effect, answered }): Operation => {
    if (effect === Number.POSITIVE_INFINITY) {
      return { call, called_at: called, answered_at: undefined, answer: null }
    }
    const step = applyCall(state, call)
    state = step.state
    const answeredAt = answered === Number.POSITIVE_INFINITY ? undefined : answered
    return { call, called_at: called, answered_at: answeredAt, answer: step.answer }
  })
  return { operations, end: state }
}

const LATE = 1_000_000

test("what was made linearizable is found so", () => {
  const random = new PRNG(1)
  for (let count = 0; count < HISTORIES; count += 1) {
    const { operations, end } = linearizableHistory(random)
    const last: Operation = { call: { kind: "get" }, called_at: LATE, answered_at: LATE + 1, answer: end ?? null }
    expect(checkLinearizable([...operations, last]).kind, `history ${count}`).toBe("linearizable")
  }
})

test("with a stale read, a lost write or an INCR that counted twice it is not", () => {
  const random = new PRNG(2)
  for (let count = 0; count < HISTORIES; count += 1) {
    const { operations } = linearizableHistory(random)
    const at = (offset: number, call: RegisterCall, answer: string): Operation => {
      return { call, called_at: LATE + 10 * offset, answered_at: LATE + 10 * offset + 5, answer }
    }
    // Values that nothing else writes, so that no unknown operation explains them.
    const first = at(0, { kind: "set", value: "first" }, "OK")
    const second = at(1, { kind: "set", value: "second" }, "OK")
    expect(checkLinearizable([...operations, first, second, at(2, { kind: "get" }, "first")]).kind).toBe(
      "not_linearizable",
    )
    const swapped = at(2, { kind: "swap", value: "third" }, "first")
    expect(checkLinearizable([...operations, first, second, swapped]).kind).toBe("not_linearizable")
    const known = operations.filter(({ answered_at }) => answered_at !== undefined)
    const started = at(0, { kind: "set", value: "5000" }, "OK")
    const doubled = [started, at(1, { kind: "incr" }, "5001"), at(2, { kind: "incr" }, "5003")]
    expect(checkLinearizable([...known.slice(0, 10), ...doubled]).kind).not.toBe("linearizable")
  }
})

/** Every order of every choice of unknown operations. */
function isExplainable(operations: readonly Operation[], state: RegisterState, left: number): boolean {
  const all = operations.map((operation, index) => ({ operation, index }))
  const open = all.filter(({ index }) => (left & (1 << index)) !== 0)
  if (open.every(({ operation }) => operation.answered_at === undefined)) {
    return true
  }
  const firstAnswer = Math.min(...open.map(({ operation }) => operation.answered_at ?? Number.POSITIVE_INFINITY))
  return open.some(({ operation, index }) => {
    if (operation.called_at > firstAnswer) {
      return false
    }
    const step = applyCall(state, operation.call)
    const isFitting = operation.answered_at === undefined || step.answer === operation.answer
    return isFitting && isExplainable(operations, step.state, left & ~(1 << index))
  })
}

test("on small histories with any answers it says what a search of all orders says", () => {
  const random = new PRNG(3)
  const counts = { linearizable: 0, not_linearizable: 0, undecided: 0 }
  for (let count = 0; count < SMALL_HISTORIES; count += 1) {
    const size = 1 + random.below(SMALL_OPERATIONS_MAX)
    const operations: Operation[] = []
    for (let index = 0; index < size; index += 1) {
      const call = randomCall(random, 2)
      const calledAt = random.below(12)
      const answeredAt = random.chance(1, 4) ? undefined : calledAt + 1 + random.below(8)
      // Answers that fit some state of two or three values.
      const states: RegisterState[] = [undefined, "0", "1", "2"]
      const { answer } = applyCall(states[random.below(states.length)], call)
      operations.push({ call, called_at: calledAt, answered_at: answeredAt, answer })
    }
    const expected = isExplainable(operations, undefined, (1 << size) - 1) ? "linearizable" : "not_linearizable"
    const { kind } = checkLinearizable(operations)
    expect(kind, JSON.stringify(operations)).toBe(expected)
    counts[kind] += 1
  }
  // Both verdicts were met often.
  expect(Math.min(counts.linearizable, counts.not_linearizable)).toBeGreaterThan(SMALL_HISTORIES / 10)
})
