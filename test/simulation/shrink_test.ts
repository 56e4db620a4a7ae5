/** Looking for the shortest failing prefix, on runs that are made up. */
import { expect, test } from "vitest"
import { SHRINK_RUNS_MAX } from "./limits.ts"
import { shrink } from "./shrink.ts"
import { type SimulationResult, simulate } from "./simulate.ts"

const run = simulate({ seed: 1, mode: "hold_back", eventsMax: 0 })

function resultOf(events: number, fails: boolean): SimulationResult {
  return { ...run, events, failure: fails ? "made up" : undefined }
}

test("the smallest cut is found when every larger one fails too", () => {
  let runs = 0
  const shortest = shrink(resultOf(100_000, true), (events) => {
    runs += 1
    return resultOf(events, events >= 777)
  })
  expect(shortest.events).toBe(777)
  expect(runs).toBeLessThanOrEqual(SHRINK_RUNS_MAX)
})

test("a smaller cut that fails beside larger ones that do not is looked for as well", () => {
  const shortest = shrink(resultOf(60_000, true), (events) => resultOf(events, events >= 50_000 || events === 25_000))
  expect(shortest.events).toBeLessThanOrEqual(50_000)
  expect(shortest.failure).toBe("made up")
})

test("when no cut fails the run itself is the answer", () => {
  const failing = resultOf(1_000, true)
  expect(shrink(failing, (events) => resultOf(events, false))).toBe(failing)
})
