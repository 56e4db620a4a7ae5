/**
 * What looks for a mutant: the scripts, the exhaustive search, the adversary, chance, and for what growing machines
 * need the tests of growth; each a process of its own.
 * Plane: control.
 */
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { assert } from "../../appliance/types/assert.ts"
import { type CommandEnd, runCommand } from "../runner/command.ts"
import {
  EXHAUSTIVE_SECONDS,
  GRACE_SECONDS,
  HOLD_BACK_SECONDS_MAX,
  HOLD_BACK_SEEDS,
  MEMORY_FAULTS_SECONDS_MAX,
  MEMORY_FAULTS_SEEDS,
  SCRIPTED_SECONDS_MAX,
  SEARCH_GRACE_SECONDS,
  SWARM_SECONDS_MAX,
  SWARM_SEEDS,
} from "./limits.ts"

export type CatcherName = "scripted" | "exhaustive" | "hold_back" | "swarm" | "memory_faults" | "growth"

/** `broken`: it could not be run, which says nothing about the mutant. */
export type Verdict = {
  readonly outcome: "caught" | "missed" | "broken"
  /** How much work it was: scripts, states or seeds. */
  readonly work: string
  readonly seconds: number
  readonly output: string
}

export type Catcher = {
  readonly name: CatcherName
  readonly title: string
  readonly look: (tree: string, stop: AbortSignal) => Promise<Verdict>
}

export const CATCHERS: readonly Catcher[] = [
  { name: "scripted", title: "scripts", look: scripted },
  { name: "exhaustive", title: "exhaustive", look: exhaustive },
  { name: "hold_back", title: "hold-back", look: (tree, stop) => random("hold_back", tree, stop) },
  { name: "swarm", title: "swarm", look: (tree, stop) => random("swarm", tree, stop) },
  { name: "memory_faults", title: "memory faults", look: (tree, stop) => random("memory_faults", tree, stop) },
  { name: "growth", title: "growth", look: growth },
]

/** Only what the scripts mean: a wording that a mutant changes is no defect. */
function scripted(tree: string, stop: AbortSignal): Promise<Verdict> {
  return tests(tree, stop, ["--testNamePattern=is safe|goes as scripted", "test/interaction/"])
}

/** An epoch with larger limits, by script and by chance: no other catcher has a machine that grows. */
function growth(tree: string, stop: AbortSignal): Promise<Verdict> {
  return tests(tree, stop, ["test/unit/replication/growth_test.ts", "test/simulation/growth_test.ts"])
}

async function tests(tree: string, stop: AbortSignal, which: readonly string[]): Promise<Verdict> {
  const report = join(tree, "tests.json")
  const args = [
    "node_modules/vitest/vitest.mjs",
    "run",
    "--config=test/vitest.config.ts",
    "--update=none",
    "--reporter=json",
    `--outputFile.json=${report}`,
    ...which,
  ]
  const end = await run(tree, args, SCRIPTED_SECONDS_MAX, stop)
  const counts = readCounts(report, ["numFailedTests", "numPassedTests"])
  const [failed, passed] = counts ?? []
  if (failed === undefined || passed === undefined || failed + passed === 0) {
    // A mutant that hangs is caught: the scripts are bounded by themselves.
    return verdict(end, end.end === "late" ? "caught" : "broken", "no report")
  }
  return verdict(end, failed > 0 ? "caught" : "missed", failed > 0 ? `${failed} red` : `${passed} green`)
}

async function exhaustive(tree: string, stop: AbortSignal): Promise<Verdict> {
  const args = ["test/exhaustive/main.ts", "--seconds-max", String(EXHAUSTIVE_SECONDS), "-o", "json"]
  const end = await run(tree, args, EXHAUSTIVE_SECONDS + SEARCH_GRACE_SECONDS, stop)
  const [states] = numbersIn(end.output, ["states"])
  const isEnded = end.end === "exited" && (end.code === 0 || end.code === 1 || end.code === 3)
  if (!isEnded || states === undefined) {
    return verdict(end, "broken", "no report")
  }
  return verdict(end, end.code === 1 ? "caught" : "missed", `${states} states`)
}

/** Each way to simulate: its options, its seeds, and how long it may take. */
const SIMULATIONS = {
  hold_back: { options: ["--mode", "hold_back"], seeds: HOLD_BACK_SEEDS, secondsMax: HOLD_BACK_SECONDS_MAX },
  swarm: { options: ["--mode", "swarm"], seeds: SWARM_SEEDS, secondsMax: SWARM_SECONDS_MAX },
  memory_faults: { options: ["--memory-faults"], seeds: MEMORY_FAULTS_SEEDS, secondsMax: MEMORY_FAULTS_SECONDS_MAX },
} as const

async function random(name: keyof typeof SIMULATIONS, tree: string, stop: AbortSignal): Promise<Verdict> {
  const { options, seeds, secondsMax } = SIMULATIONS[name]
  const args = ["test/simulation/main.ts", "--seeds", `1..${seeds}`, ...options, "--jobs", "1", "-o", "json"]
  const end = await run(tree, args, secondsMax, stop)
  if (end.end === "late") {
    return verdict(end, "missed", "out of time")
  }
  const [run_] = numbersIn(end.output, ["seeds"])
  const failed = /"failed":\s*\[\s*[^\]\s]/.test(end.output)
  if (end.end !== "exited" || run_ === undefined) {
    return verdict(end, "broken", "no report")
  }
  return verdict(end, failed ? "caught" : "missed", failed ? `seed ${firstFailed(end.output)}` : `${run_} seeds`)
}

function firstFailed(output: string): string {
  return /"failed":\s*\[\s*(?:\{\s*"seed":\s*)?(\d+)/.exec(output)?.[1] ?? "?"
}

function run(tree: string, args: readonly string[], secondsMax: number, stop: AbortSignal): Promise<CommandEnd> {
  assert(existsSync(join(tree, "appliance")), "mutation: a catcher runs in a tree")
  return runCommand({ file: process.execPath, args, secondsMax, cwd: tree, stop, graceSeconds: GRACE_SECONDS })
}

function verdict(end: CommandEnd, outcome: Verdict["outcome"], work: string): Verdict {
  return { outcome, work, seconds: end.seconds, output: end.output }
}

function readCounts(path: string, names: readonly string[]): (number | undefined)[] | undefined {
  return existsSync(path) ? numbersIn(readFileSync(path, "utf8"), names) : undefined
}

/** Numbers by name in a JSON text, wherever they stand: a report may follow lines of talk. */
function numbersIn(text: string, names: readonly string[]): (number | undefined)[] {
  return names.map((name) => {
    const found = new RegExp(`"${name}":\\s*(\\d+)`).exec(text)?.[1]
    return found === undefined ? undefined : Number(found)
  })
}
