/**
 * `npm run bench:state`: measures what the state in memory costs, in rounds, and prints what came of it.
 * Plane: control.
 */
import { writeFileSync } from "node:fs"
import { resolve } from "node:path"
import { Figures, makeReport, tableOfReport, textOfReport } from "../report.ts"
import { measureMemory, measureStartup } from "./memory.ts"
import { type Measurement, type Options, readOptions, USAGE } from "./options.ts"
import { measureCheckpoints, measureScrub } from "./pages_cost.ts"
import { measureRejoin } from "./rejoin.ts"

const ROOT = resolve(import.meta.dirname, "../../..")
const EXIT_FAILED = 1
const EXIT_USAGE = 2
/** A round in which the primary changed is measured again: somebody else used the machine. */
const ATTEMPTS_MAX = 3

type Side = { readonly label: string; readonly checkout: string }
type Run = { readonly options: Options; readonly figures: Figures; readonly side: Side }

function progress(text: string): void {
  process.stderr.write(`${(performance.now() / 1_000).toFixed(0).padStart(5)} s  ${text}\n`)
}

const MEASURE: Readonly<Record<Measurement, (run: Run) => Promise<void>>> = {
  rejoin: async ({ options, figures, side }) => {
    for (const state of options.states) {
      await measureRejoin({ ...side, state, seconds: options.seconds, figures, progress })
    }
  },
  checkpoints: ({ options, figures, side }) => measureCheckpoints({ ...side, seconds: options.seconds, figures }),
  scrub: ({ options, figures, side }) => measureScrub({ ...side, seconds: options.seconds, figures }),
  memory: ({ options, figures, side }) => measureMemory({ ...side, redis: options.redis, figures, progress }),
  startup: ({ figures, side }) => measureStartup({ ...side, figures }),
}

async function measureRound(run: Run, name: Measurement, round: number): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    // What a round that failed half-way has measured counts for nothing.
    const figures = new Figures()
    progress(`round ${round + 1} of ${run.options.rounds}: ${run.side.label}${name}`)
    try {
      await MEASURE[name]({ ...run, figures })
      run.figures.addAll(figures)
      return
    } catch (error) {
      if (attempt >= ATTEMPTS_MAX) {
        throw error
      }
      progress(`measured again, since ${error instanceof Error ? error.message : String(error)}`)
    }
  }
}

async function main(): Promise<number> {
  const read = readOptions(process.argv.slice(2))
  if (!read.ok) {
    process.stderr.write(`bench:state: ${read.error}\n`)
    return EXIT_USAGE
  }
  if (read.value === "help") {
    process.stdout.write(USAGE)
    return 0
  }
  const options = read.value
  const sides: Side[] = [{ label: "", checkout: ROOT }]
  if (options.against !== undefined) {
    sides.push({ label: "against ", checkout: options.against })
  }
  const figures = new Figures()
  for (let round = 0; round < options.rounds; round += 1) {
    for (const name of options.only) {
      for (const side of sides) {
        await measureRound({ options, figures, side }, name, round)
      }
    }
  }
  const report = makeReport("state", figures.all())
  if (options.out !== undefined) {
    writeFileSync(options.out, tableOfReport(report))
  }
  process.stdout.write(options.isJSON ? `${JSON.stringify(report, undefined, 2)}\n` : `${textOfReport(report)}\n`)
  return 0
}

process.exitCode = await main().catch((error: unknown) => {
  process.stderr.write(`bench:state: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`)
  return EXIT_FAILED
})
