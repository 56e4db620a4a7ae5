/** Wall time: set once, then moved by small steps only; the configuration's bytes beside it. Plane: control. */
import { expect, test } from "vitest"
import { arenaBytes } from "../../../appliance/state_machine/arena.ts"
import { type ArenaStateMachine, createStateMachine } from "../../../appliance/state_machine/state_machine.ts"
import { Operation, WALL_CLOCK_STEP_MS_MAX } from "../../../appliance/types/contracts.ts"
import { SIMULATED_LIMITS } from "../../simulation/limits.ts"

const YEAR_2026 = 1_796_000_000_000
const YEAR_2099 = 4_070_908_800_000

function machine(): ArenaStateMachine {
  return createStateMachine({ limits: SIMULATED_LIMITS, arena: new Uint8Array(arenaBytes(SIMULATED_LIMITS)) })
}

function apply(to: ArenaStateMachine, operation: Operation, timestamp: number, body: Uint8Array): void {
  const op = to.commit() + 1
  const reply = new Uint8Array(SIMULATED_LIMITS.read_reply_bytes_max)
  to.apply({ op, timestamp, operation, session: 0, request: 0 }, body, 0, body.length, reply)
}

function word(wallMs: number): Uint8Array {
  const body = new Uint8Array(8)
  new DataView(body.buffer).setBigUint64(0, BigInt(wallMs), true)
  return body
}

test("the first word sets the offset, a later one moves it by a step at most", () => {
  const state = machine()
  expect(state.wallOffset()).toBeUndefined()
  apply(state, Operation.wall_clock, 1_000, word(YEAR_2026))
  expect(state.wallOffset()).toBe(YEAR_2026 - 1_000)
  apply(state, Operation.wall_clock, 2_000, word(YEAR_2026 + 1_100))
  expect(state.wallOffset()).toBe(YEAR_2026 - 900)
  apply(state, Operation.wall_clock, 3_000, word(YEAR_2099))
  expect(state.wallOffset()).toBe(YEAR_2026 - 900 + WALL_CLOCK_STEP_MS_MAX)
  apply(state, Operation.wall_clock, 4_000, word(0))
  expect(state.wallOffset()).toBe(YEAR_2026 - 900)
})

test("a clock before 1970 plus cluster time is taken as none", () => {
  const state = machine()
  apply(state, Operation.wall_clock, 5_000, word(1))
  expect(state.wallOffset()).toBe(0)
})

test("a shorter configuration leaves nothing of a longer one", () => {
  const [one, other] = [machine(), machine()]
  apply(one, Operation.reconfigure, 1, new Uint8Array(64).fill(9))
  apply(one, Operation.reconfigure, 2, new Uint8Array(20).fill(7))
  apply(other, Operation.pulse, 1, new Uint8Array(0))
  apply(other, Operation.reconfigure, 2, new Uint8Array(20).fill(7))
  expect(one.configuration()).toEqual(new Uint8Array(20).fill(7))
  expect(Buffer.compare(one.arena, other.arena)).toBe(0)
})
