/**
 * The shortest failing prefix: all that happens is a function of the seed, so the phase with faults is cut after fewer
 * and fewer events, as long as the run still fails. Bounded, and not monotonic: a cut may hide the failure and a
 * smaller one show it again. Plane: control.
 */
import { SHRINK_RUNS_MAX } from "./limits.ts"
import type { SimulationResult } from "./simulate.ts"

/** Parts of what is left that are tried once halving finds no more. */
const DESCENT_PARTS = 6

/**
 * The failing run of the smallest cut that was found, with the cut as its `events`; `failing` itself when no cut fails.
 * `run` repeats the seed with its faults cut after an event.
 */
export function shrink(failing: SimulationResult, run: (eventsMax: number) => SimulationResult): SimulationResult {
  let best = failing
  let runs = 0
  const fails = (eventsMax: number): boolean => {
    runs += 1
    const result = run(eventsMax)
    if (result.failure === undefined) {
      return false
    }
    best = { ...result, events: eventsMax }
    return true
  }
  let low = 0
  while (best.events - low > 1 && runs < SHRINK_RUNS_MAX) {
    const middle = Math.floor((low + best.events) / 2)
    if (!fails(middle)) {
      low = middle
    }
  }
  for (let part = 1; part < DESCENT_PARTS && runs < SHRINK_RUNS_MAX; part += 1) {
    fails(Math.floor((best.events * part) / DESCENT_PARTS))
  }
  return best
}
