/** The bounded simulation of every test run: seeds from a base that moves with nothing, so a failure repeats. */
import { describe, expect, test } from "vitest"
import { reportOf } from "./report.ts"
import { runSeeds } from "./pool.ts"
import { simulate } from "./simulate.ts"

const JOBS = 2
const SWARM_SEEDS = 60

describe("simulation", () => {
  test("swarm: no seed fails, all count, every fault is reached", { timeout: 240_000 }, async () => {
    const results = await runSeeds({ first: 1, last: SWARM_SEEDS, mode: "swarm", jobs: JOBS })
    const report = reportOf(results, 1)
    for (const result of results) {
      expect(result.failure, `npm run simulate -- --seed ${result.seed} --mode swarm`).toBeUndefined()
    }
    expect(results.length).toBe(SWARM_SEEDS)
    expect(report.not_counted.length).toBeLessThan(SWARM_SEEDS / 10)
  })

  test("one seed gives one run, event by event", { timeout: 60_000 }, () => {
    for (const seed of [3, 5]) {
      const first = simulate({ seed, mode: "swarm" })
      const second = simulate({ seed, mode: "swarm" })
      expect(first.events).toBeGreaterThan(10_000)
      expect(second).toEqual(first)
    }
  })
})
