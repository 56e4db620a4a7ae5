/**
 * `npm run simulate -- --seed N | --seeds A..B [--trace]`: runs seeds, prints what they reached, stops at a failure.
 * Plane: control.
 */
import { parseArgs } from "node:util"
import { type SimulationResult, simulate } from "./cluster.ts"

const USAGE = `usage: npm run simulate -- --seed N [--trace]
       npm run simulate -- --seeds A..B

  npm run simulate -- --seeds 1..200     two hundred runs, medians at the end
  npm run simulate -- --seed 17 --trace  one run, every event printed`

process.exitCode = main()

function main(): number {
  const { values } = parseArgs({
    options: {
      seed: { type: "string" },
      seeds: { type: "string" },
      trace: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  })
  const range = /^(\d{1,9})\.\.(\d{1,9})$/.exec(values.seeds ?? `${values.seed ?? ""}..${values.seed ?? ""}`)
  if (values.help || range === null) {
    process.stdout.write(`${USAGE}\n`)
    return values.help ? 0 : 2
  }
  return runSeeds(Number(range[1]), Number(range[2]), values.trace)
}

function runSeeds(first: number, last: number, trace: boolean): number {
  const results: SimulationResult[] = []
  const startedAt = performance.now()
  for (let seed = first; seed <= last; seed += 1) {
    const result = simulate(trace ? { seed, trace: (line) => process.stdout.write(`${line}\n`) } : { seed })
    results.push(result)
    if (result.failure !== undefined) {
      process.stdout.write(
        `seed ${seed} failed (${result.voters} voters, ${result.virtual_ms} ms): ${result.failure}\n`,
      )
      return 1
    }
    if (results.length % 100 === 0) {
      process.stderr.write(`${results.length} seeds, ${Math.round((performance.now() - startedAt) / 1000)} s\n`)
    }
  }
  const seconds = (performance.now() - startedAt) / 1000
  const median = (pick: (result: SimulationResult) => number): number =>
    results.map(pick).sort((a, b) => a - b)[Math.floor(results.length / 2)] ?? 0
  process.stdout.write(
    `${results.length} seeds in ${seconds.toFixed(1)} s without a failure; medians a seed: ` +
      `${median((r) => r.commits)} commits, ${median((r) => r.crashes)} crashes, ` +
      `${median((r) => r.view_changes)} view changes, ${median((r) => r.recoveries)} recoveries, ` +
      `${median((r) => r.checkpoints)} checkpoints, ${median((r) => r.reads)} reads, ` +
      `${median((r) => r.events)} events\n`,
  )
  return 0
}
