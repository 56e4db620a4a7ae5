/**
 * `npm run chaos`: real processes, real faults, and a check of every answer. Exit code 0 only when all histories are
 * linearizable, every process that should live lives, and all copies agree. Plane: control.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { MINUTES_DEFAULT, MINUTES_MAX, SEED_MAX, STAGE_MINUTES_MAX } from "./limits.ts"
import { checkHistories, type Report, reportText, type StageReport, stageReport } from "./report.ts"
import { runStage } from "./stage.ts"

const USAGE = `usage: npm run chaos -- [--minutes N] [--voters 3|5|both] [--seed N] [-o json]

Starts clusters of real processes on loopback, kills, stops, cuts and slows them by a schedule that follows from the
seed, while clients work and record; then checks that every history is linearizable and every copy holds it.

  --minutes N      how long, up to ${MINUTES_MAX} (${MINUTES_DEFAULT}); fractions are allowed
  --voters V       3, 5, or half of the time each (both)
  --seed N         the schedule and the clients' commands; printed with every report
  -o json          the report as JSON

  npm run chaos -- --minutes 10
  npm run chaos -- --minutes 2 --voters 3 --seed 7 -o json

Progress goes to stderr. What failed leaves a directory with logs and history, and says where.
exit codes: 0 all held, 1 something did not, 2 usage`

const EXIT_FAILED = 1
const EXIT_USAGE = 2
const EXIT_SIGNALLED = 130
const MS_PER_MINUTE = 60_000

type Options = {
  readonly minutes: number
  readonly voters: readonly number[]
  readonly seed: number
  readonly isJSON: boolean
}

process.exitCode = await main()

async function main(): Promise<number> {
  const options = readOptions(process.argv.slice(2))
  if (options === "help" || options === "usage") {
    const isHelp = options === "help"
    ;(isHelp ? process.stdout : process.stderr).write(`${USAGE}\n`)
    return isHelp ? 0 : EXIT_USAGE
  }
  const interruption = new AbortController()
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => interruption.abort())
  }
  const directory = mkdtempSync(join(tmpdir(), "mandala-chaos-"))
  const stages: StageReport[] = []
  const minutes = stageMinutes(options)
  for (const [index, stage] of minutes.entries()) {
    const isWell = stages.every(({ problems }) => problems.length === 0)
    if (isWell && !interruption.signal.aborted) {
      stages.push(await runOne({ ...stage, index, directory, seed: options.seed, signal: interruption.signal }))
    }
  }
  if (interruption.signal.aborted) {
    rmSync(directory, { recursive: true, force: true })
    process.stderr.write("interrupted: no report\n")
    return EXIT_SIGNALLED
  }
  const isOk = stages.length > 0 && stages.every((stage) => isGood(stage))
  const report: Report = { seed: options.seed, is_ok: isOk, stages }
  process.stdout.write(options.isJSON ? `${JSON.stringify(report, undefined, 2)}\n` : reportText(report))
  if (!isOk) {
    writeFileSync(join(directory, "report.json"), JSON.stringify(report, undefined, 2))
    process.stderr.write(`logs and histories are in ${directory}\n`)
    return EXIT_FAILED
  }
  rmSync(directory, { recursive: true, force: true })
  return 0
}

/** A run that acknowledged nothing, checked nothing or did nothing to the cluster has shown nothing. */
function isGood(stage: StageReport): boolean {
  const { ops, histories, episodes, problems } = stage
  const isDecided = histories.keys > 0 && histories.decided === histories.keys
  return problems.length === 0 && ops.ok > 0 && episodes > 0 && isDecided
}

async function runOne(stage: {
  readonly voters: number
  readonly minutes: number
  readonly index: number
  readonly directory: string
  readonly seed: number
  readonly signal: AbortSignal
}): Promise<StageReport> {
  const { voters, minutes, index, signal } = stage
  const directory = join(stage.directory, `stage_${index}_voters_${voters}`)
  const seed = (stage.seed + index) % (SEED_MAX + 1)
  const progress = (line: string): void => {
    process.stderr.write(`${line}\n`)
  }
  const milliseconds = minutes * MS_PER_MINUTE
  const result = await runStage({ voters, seed, milliseconds, firstKind: 0, directory, signal, progress })
  progress(`checking ${result.history.keys().length} histories`)
  const checked = checkHistories(result.history)
  const report = stageReport(result, checked)
  if (report.problems.length > 0) {
    writeFileSync(join(directory, "violations.txt"), checked.excerpts.join("\n"))
    result.history.write(join(directory, "history.jsonl"))
  }
  return report
}

/** Half of the time for each number of voters, in stages that are short enough to be checked. */
function stageMinutes(options: Options): { readonly voters: number; readonly minutes: number }[] {
  const share = options.minutes / options.voters.length
  const rounds = Math.ceil(share / STAGE_MINUTES_MAX)
  return Array.from({ length: rounds }).flatMap(() =>
    options.voters.map((voters) => ({ voters, minutes: share / rounds })),
  )
}

function readOptions(args: readonly string[]): Options | "help" | "usage" {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        minutes: { type: "string", default: String(MINUTES_DEFAULT) },
        voters: { type: "string", default: "both" },
        seed: { type: "string" },
        output: { type: "string", short: "o", default: "text" },
        help: { type: "boolean", default: false },
      },
    })
    if (values.help) {
      return "help"
    }
    const minutes = Number(values.minutes)
    const seed = values.seed === undefined ? Date.now() % 1_000_000 : Number(values.seed)
    const voters = new Map([
      ["3", [3]],
      ["5", [5]],
      ["both", [3, 5]],
    ]).get(values.voters)
    const isSound =
      minutes > 0 &&
      minutes <= MINUTES_MAX &&
      Number.isInteger(seed) &&
      seed >= 0 &&
      seed <= SEED_MAX &&
      ["text", "json"].includes(values.output)
    return isSound && voters !== undefined ? { minutes, voters, seed, isJSON: values.output === "json" } : "usage"
  } catch {
    // parseArgs throws on an option that it does not know.
    return "usage"
  }
}
