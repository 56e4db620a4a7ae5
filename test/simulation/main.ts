/**
 * `npm run simulate`: runs seeds, prints what they reached, and of the first failure the shortest failing prefix.
 * Plane: control.
 */
import { execFileSync } from "node:child_process"
import { parseArgs } from "node:util"
import { JOBS_DEFAULT, JOBS_MAX, PROGRESS_MS } from "./limits.ts"
import { modeOf, runSeeds, type SeedMode } from "./pool.ts"
import { reportOf, textOf } from "./report.ts"
import { shrink } from "./shrink.ts"
import { type SimulationOptions, type SimulationResult, simulate } from "./simulate.ts"

const USAGE = `usage: npm run simulate -- --seed N [--events K] [--trace] [options]
       npm run simulate -- --seeds A..B [--jobs J] [options]

  --mode swarm|hold_back|mixed   chance, an adversary that holds messages back, or both (mixed)
  --memory-faults                bits flip in the memory of one machine at a time
  --voters 1|3|5|7               instead of what each seed draws
  --events K                     the phase with faults ends at event K
  --trace                        every event, one a line
  --jobs J                       threads (2)
  --no-shrink                    of a failure, do not look for the shortest failing prefix
  -o json                        the report as JSON

  npm run simulate -- --seeds 1..200             two hundred runs, medians at the end
  npm run simulate -- --seed 17 --mode swarm --trace
  npm run simulate -- --memory-faults --seeds 1..2000

exit codes: 0 no failure, 1 a seed failed or none counts, 2 usage`

const MODES: readonly SeedMode[] = ["swarm", "hold_back", "mixed"]

type Arguments = {
  readonly first: number
  readonly last: number
  readonly mode: SeedMode
  readonly voters: number | undefined
  readonly eventsMax: number | undefined
  readonly trace: boolean
  readonly jobs: number
  readonly json: boolean
  readonly shrinks: boolean
  readonly memoryFaults: boolean
}

process.exitCode = await main()

async function main(): Promise<number> {
  const parsed = parse(process.argv.slice(2))
  if (parsed === "help" || parsed === "usage") {
    process.stdout.write(`${USAGE}\n`)
    return parsed === "help" ? 0 : 2
  }
  const isOne = parsed.first === parsed.last
  const startedAt = performance.now()
  const results = isOne ? [runOne(parsed)] : await runMany(parsed)
  const seconds = (performance.now() - startedAt) / 1000
  const report = reportOf(results, seconds)
  const failed = results.find((result) => result.failure !== undefined)
  const failure = failed === undefined ? undefined : explain(failed, parsed)
  process.stdout.write(parsed.json ? `${JSON.stringify({ ...report, failure }, undefined, 2)}\n` : textOf(report))
  if (failure !== undefined) {
    process.stderr.write(`${failure.text}\n`)
    return 1
  }
  if (report.counted === 0 && parsed.eventsMax === undefined) {
    process.stderr.write("no seed counts: this run shows nothing\n")
    return 1
  }
  return 0
}

function parse(args: readonly string[]): Arguments | "help" | "usage" {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        seed: { type: "string" },
        seeds: { type: "string" },
        mode: { type: "string", default: "mixed" },
        voters: { type: "string" },
        events: { type: "string" },
        trace: { type: "boolean", default: false },
        "memory-faults": { type: "boolean", default: false },
        "no-shrink": { type: "boolean", default: false },
        jobs: { type: "string", default: String(JOBS_DEFAULT) },
        output: { type: "string", short: "o", default: "text" },
        help: { type: "boolean", default: false },
      },
    })
    if (values.help) {
      return "help"
    }
    const range = /^(\d{1,9})\.\.(\d{1,9})$/.exec(values.seeds ?? `${values.seed ?? ""}..${values.seed ?? ""}`)
    const mode = MODES.find((known) => known === values.mode)
    const first = Number(range?.[1])
    const last = Number(range?.[2])
    const jobs = Number(values.jobs)
    const eventsMax = values.events === undefined ? undefined : Number(values.events)
    const voters = values.voters === undefined ? undefined : Number(values.voters)
    const isSound =
      range !== null &&
      mode !== undefined &&
      first <= last &&
      Number.isInteger(jobs) &&
      jobs >= 1 &&
      jobs <= JOBS_MAX &&
      (eventsMax === undefined || (Number.isInteger(eventsMax) && eventsMax >= 0)) &&
      (voters === undefined || [1, 3, 5, 7].includes(voters)) &&
      ["text", "json"].includes(values.output) &&
      (first === last || (!values.trace && eventsMax === undefined))
    if (!isSound) {
      return "usage"
    }
    return {
      first,
      last,
      mode,
      voters,
      eventsMax,
      trace: values.trace,
      jobs,
      json: values.output === "json",
      shrinks: !values["no-shrink"],
      memoryFaults: values["memory-faults"],
    }
  } catch {
    // parseArgs throws on an option that it does not know.
    return "usage"
  }
}

function optionsOf(seed: number, args: Arguments): SimulationOptions {
  const { voters, eventsMax, memoryFaults } = args
  return { seed, mode: modeOf(seed, args.mode), voters, eventsMax, memoryFaults }
}

function runOne(args: Arguments): SimulationResult {
  const options = optionsOf(args.first, args)
  const trace = (line: string): void => {
    process.stdout.write(`${line}\n`)
  }
  return simulate(args.trace ? { ...options, trace } : options)
}

async function runMany(args: Arguments): Promise<SimulationResult[]> {
  const startedAt = performance.now()
  const total = args.last - args.first + 1
  let saidAt = startedAt
  return await runSeeds({
    ...args,
    onResult: (_, done) => {
      const now = performance.now()
      if (now - saidAt >= PROGRESS_MS) {
        saidAt = now
        process.stderr.write(`${done} of ${total} seeds, ${Math.round((now - startedAt) / 1000)} s\n`)
      }
    },
  })
}

type Failure = {
  readonly seed: number
  readonly mode: string
  readonly commit: string
  readonly failure: string
  readonly events: number
  readonly replay: string
  readonly text: string
}

/** The seed, the commit, and the shortest prefix that was found to fail. */
function explain(failed: SimulationResult, args: Arguments): Failure {
  process.stderr.write(`seed ${failed.seed} failed\n`)
  const { seed, mode } = failed
  const options = optionsOf(seed, args)
  const shortest = args.shrinks ? shrink(failed, (eventsMax) => simulate({ ...options, eventsMax })) : failed
  const voters = args.voters === undefined ? "" : ` --voters ${args.voters}`
  const faulty = args.memoryFaults ? " --memory-faults" : ""
  const which = `--seed ${seed} --mode ${mode}${voters}${faulty} --events ${shortest.events}`
  const replay = `npm run simulate -- ${which} --trace`
  const commit = gitCommit()
  const lines = [
    `seed ${seed} failed at commit ${commit}, ${mode}, ${failed.voters} voters, at event ${failed.events}:`,
    failed.stack ?? failed.failure ?? "",
    `shortest failing prefix: ${shortest.events} events: ${shortest.failure ?? ""}`,
    `  ${replay}`,
  ]
  return {
    seed,
    mode,
    commit,
    failure: failed.failure ?? "",
    events: shortest.events,
    replay,
    text: lines.join("\n"),
  }
}

function gitCommit(): string {
  try {
    const head = execFileSync("git", ["rev-parse", "--short", "HEAD"], { encoding: "utf8", stdio: "pipe" }).trim()
    const changes = execFileSync("git", ["status", "--porcelain"], { encoding: "utf8", stdio: "pipe" }).trim()
    return changes === "" ? head : `${head} with changes`
  } catch {
    // Outside a repository the seed alone must do.
    return "unknown"
  }
}
