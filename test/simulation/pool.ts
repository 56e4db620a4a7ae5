/** Runs many seeds on several threads; the order in which they end decides nothing. Plane: control. */
import { Worker } from "node:worker_threads"
import type { SimulationResult } from "./simulate.ts"
import type { Mode } from "./setup.ts"

/** Of a mixed run: every third seed is the adversary's. */
export type SeedMode = Mode | "mixed"
const HOLD_BACK_EVERY = 3

export function modeOf(seed: number, mode: SeedMode): Mode {
  if (mode !== "mixed") {
    return mode
  }
  return seed % HOLD_BACK_EVERY === 0 ? "hold_back" : "swarm"
}

export type PoolOptions = {
  readonly first: number
  readonly last: number
  readonly mode: SeedMode
  readonly jobs: number
  readonly voters?: number | undefined
  readonly memoryFaults?: boolean | undefined
  /** Called for each as it ends. */
  readonly onResult?: (result: SimulationResult, done: number) => void
}

/** All results in the order of their seeds; after a failure no further seed is begun. */
export async function runSeeds(options: PoolOptions): Promise<SimulationResult[]> {
  const results: SimulationResult[] = []
  let next = options.first
  let hasFailed = false
  const runOne = (): Promise<void> => {
    const worker = new Worker(new URL("./worker.ts", import.meta.url))
    return new Promise((resolve, reject) => {
      const feed = (): void => {
        if (next > options.last || hasFailed) {
          resolve(worker.terminate().then(() => undefined))
          return
        }
        const { voters, memoryFaults } = options
        worker.postMessage({ seed: next, mode: modeOf(next, options.mode), voters, memoryFaults })
        next += 1
      }
      worker.on("error", reject)
      worker.on("message", (result: SimulationResult) => {
        results.push(result)
        hasFailed ||= result.failure !== undefined
        options.onResult?.(result, results.length)
        feed()
      })
      feed()
    })
  }
  await Promise.all(Array.from({ length: options.jobs }, runOne))
  return results.sort((a, b) => a.seed - b.seed)
}
