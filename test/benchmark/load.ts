/** What a load has done in a stretch of time, however it came to the cluster. Plane: control. */
import { setTimeout as sleep } from "node:timers/promises"
import { WARM_UP_SHARE } from "./limits.ts"
import type { Latencies } from "./statistics.ts"

export type Load = {
  /** Operations answered since the load began. */
  readonly answered: () => number
  readonly latencies: Latencies
  /** Why the load cannot go on; undefined while it can. */
  readonly failure: () => string | undefined
}

export type Stretch = {
  readonly ops: number
  readonly ops_per_second: number
  /** Milliseconds from sending to the answer; of a pipeline or batch, all of it. */
  readonly p50: number
  readonly p99: number
}

/** Lets the load run, warm first, and counts. */
export async function measureStretch(load: Load, seconds: number, warmUpShare = WARM_UP_SHARE): Promise<Stretch> {
  await sleep(seconds * warmUpShare * 1_000)
  load.latencies.reset()
  const before = load.answered()
  const startedAt = performance.now()
  await sleep(seconds * 1_000)
  const ops = load.answered() - before
  const elapsed = (performance.now() - startedAt) / 1_000
  const failure = load.failure()
  if (failure !== undefined) {
    throw new Error(`the load failed: ${failure}`)
  }
  return { ops, ops_per_second: ops / elapsed, p50: load.latencies.at(50), p99: load.latencies.at(99) }
}
