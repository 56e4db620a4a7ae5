/** Medians and percentiles of what was measured. Plane: control. */
import { createHistogram, type RecordableHistogram } from "node:perf_hooks"
import { assert } from "../../appliance/types/assert.ts"

export function median(values: readonly number[]): number {
  return percentile(values, 50)
}

/** The nearest rank: always a value that was measured. */
export function percentile(values: readonly number[], percent: number): number {
  assert(values.length > 0, "statistics: something was measured")
  assert(percent > 0 && percent <= 100, "statistics: a percentile is of a hundred")
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.ceil((percent / 100) * sorted.length) - 1] ?? 0
}

/** A minute, in nanoseconds: nothing that is measured takes longer. */
const LATENCY_MAX = 60_000_000_000

/** Latencies of one run, in a fixed amount of memory. */
export class Latencies {
  readonly #histogram: RecordableHistogram = createHistogram({ lowest: 1, highest: LATENCY_MAX, figures: 3 })

  /** Milliseconds. */
  add(ms: number): void {
    this.#histogram.record(Math.min(LATENCY_MAX, Math.max(1, Math.round(ms * 1e6))))
  }

  reset(): void {
    this.#histogram.reset()
  }

  get count(): number {
    return this.#histogram.count
  }

  /** Milliseconds. */
  at(percent: number): number {
    return this.#histogram.count === 0 ? 0 : this.#histogram.percentile(percent) / 1e6
  }
}
