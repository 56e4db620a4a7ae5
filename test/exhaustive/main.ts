/** `npm run exhaustive`: searches a scope, prints what came of it, and of a violation the way to it. Plane: control. */
import { parseArgs } from "node:util"
import { err, ok, type Result } from "../../appliance/types/result.ts"
import { GATES } from "./gate.ts"
import {
  BUDGET_MAX,
  CHECKPOINT_NEVER,
  MEGABYTES_DEFAULT,
  OPS_MAX,
  SECONDS_DEFAULT,
  STATES_DEFAULT,
  STATES_MAX,
  VIEWS_MAX,
} from "./limits.ts"
import type { Progress, Scope, SearchOptions, SearchResult } from "./scope.ts"
import { search } from "./search.ts"

const USAGE = `usage: npm run exhaustive -- [options]

Every schedule of a small cluster that has just formed, on the production replica: messages lost, repeated, reordered,
held back across a crash; clocks that run ahead; machines that lose their memory.

  --voters 3|5        machines (3)
  --crashes N         each followed by a boot; never more than f machines down or recovering (1)
  --ops N             writes of one client (1)
  --views N           the highest view that may be entered (1)
  --heartbeats N      heartbeats beyond the one that begins a view (0)
  --retries N         new attempts of a recovery, another donor (0)
  --checkpoint-ops N  a checkpoint is due after so many ops (${CHECKPOINT_NEVER}: never)
  --states-max N      stop at so many states (${STATES_DEFAULT})
  --depth-max N       stop at so many steps
  --seconds-max N     stop after so long (${SECONDS_DEFAULT})
  --megabytes-max N   stop when the process holds so much (${MEGABYTES_DEFAULT})
  --gate              the scopes of npm test, one after the other, until one is violated
  -o json             the report as JSON; with --gate an array of them

  npm run exhaustive -- --gate
  npm run exhaustive -- --crashes 2 --seconds-max 3600 -o json

exit codes: 0 exhausted and nothing violated, 1 a violation, 2 usage,
            3 nothing violated until a bound ended the search`

const USAGE_EXIT = 2
const BOUNDED_EXIT = 3
const MEGABYTE = 1_000_000

/** Name, value without the option, least and most. */
const NUMBERS = [
  ["voters", 3, 3, 5],
  ["crashes", 1, 0, BUDGET_MAX],
  ["ops", 1, 0, OPS_MAX],
  ["views", 1, 0, VIEWS_MAX],
  ["heartbeats", 0, 0, BUDGET_MAX],
  ["retries", 0, 0, BUDGET_MAX],
  ["checkpoint-ops", CHECKPOINT_NEVER, 1, CHECKPOINT_NEVER],
  ["states-max", STATES_DEFAULT, 1, STATES_MAX],
  ["depth-max", Number.MAX_SAFE_INTEGER, 1, Number.MAX_SAFE_INTEGER],
  ["seconds-max", SECONDS_DEFAULT, 1, Number.MAX_SAFE_INTEGER],
  ["megabytes-max", MEGABYTES_DEFAULT, 1, Number.MAX_SAFE_INTEGER],
] as const

type Arguments = {
  /** Searched in this order, until one is violated. */
  readonly scopes: readonly Scope[]
  readonly bounds: Omit<SearchOptions, "scope">
  readonly isGate: boolean
  readonly isJSON: boolean
}

process.exitCode = main(process.argv.slice(2))

function main(args: readonly string[]): number {
  if (args.includes("--help") || args.includes("-h")) {
    process.stdout.write(`${USAGE}\n`)
    return 0
  }
  const parsed = parse(args)
  if (!parsed.ok) {
    process.stderr.write(`${parsed.error}\n\n${USAGE}\n`)
    return USAGE_EXIT
  }
  const { scopes, bounds, isGate, isJSON } = parsed.value
  const reports: (SearchResult & { readonly scope: Scope; readonly megabytes: number })[] = []
  for (const scope of scopes) {
    if (isGate) {
      process.stderr.write(`${nameOf(scope)}\n`)
    }
    const result = search({ ...bounds, scope })
    reports.push({ ...result, scope, megabytes: Math.round(megabytes()) })
    if (!isJSON) {
      process.stdout.write(`${isGate ? `${nameOf(scope)}:\n` : ""}${textOf(result)}\n`)
    }
    if (result.outcome === "violation") {
      break
    }
  }
  if (isJSON) {
    process.stdout.write(`${JSON.stringify(isGate ? reports : reports[0], undefined, 2)}\n`)
  }
  return exitOf(reports)
}

function exitOf(reports: readonly SearchResult[]): number {
  if (reports.some((report) => report.outcome === "violation")) {
    return 1
  }
  return reports.every((report) => report.outcome === "exhausted") ? 0 : BOUNDED_EXIT
}

function nameOf(scope: Scope): string {
  return GATES.find((gate) => gate.scope === scope)?.name ?? ""
}

function parse(args: readonly string[]): Result<Arguments, string> {
  const given = valuesOf(args)
  if (!given.ok) {
    return given
  }
  const numbers = new Map<string, number>()
  for (const [name, fallback, min, max] of NUMBERS) {
    const text = given.value.get(name) ?? String(fallback)
    const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN
    if (!(value >= min && value <= max)) {
      return err(`--${name} is a number from ${min} to ${max}`)
    }
    numbers.set(name, value)
  }
  const at = (name: (typeof NUMBERS)[number][0]): number => numbers.get(name) ?? 0
  if (at("voters") % 2 === 0) {
    return err("--voters is 3 or 5")
  }
  const output = given.value.get("output") ?? "text"
  if (output !== "text" && output !== "json") {
    return err("-o is json or text")
  }
  const isGate = given.value.has("gate")
  const scope: Scope = {
    voters: at("voters"),
    crashes: at("crashes"),
    ops: at("ops"),
    views: at("views"),
    heartbeats: at("heartbeats"),
    retries: at("retries"),
    checkpoint_ops: at("checkpoint-ops"),
  }
  const bounds = {
    statesMax: at("states-max"),
    depthMax: at("depth-max"),
    secondsMax: at("seconds-max"),
    megabytesMax: at("megabytes-max"),
    now: () => performance.now(),
    megabytes,
    progress: (progress: Progress) => void process.stderr.write(`${progressOf(progress)}\n`),
  }
  const scopes = isGate ? GATES.map((gate) => gate.scope) : [scope]
  return ok({ scopes, bounds, isGate, isJSON: output === "json" })
}

function valuesOf(args: readonly string[]): Result<ReadonlyMap<string, string>, string> {
  try {
    const numbers = NUMBERS.map(([name]) => [name, { type: "string" }] as const)
    const { values } = parseArgs({
      args: [...args],
      options: {
        ...Object.fromEntries(numbers),
        output: { type: "string", short: "o" },
        gate: { type: "boolean" },
      },
    })
    return ok(new Map(Object.entries(values).map(([name, value]) => [name, String(value)])))
  } catch (error) {
    return err(error instanceof Error ? error.message : String(error))
  }
}

function megabytes(): number {
  return process.memoryUsage.rss() / MEGABYTE
}

function progressOf(progress: Progress): string {
  const { depth, states, waiting, local_states: locals, letters, seconds } = progress
  return (
    `depth ${depth}: ${states} states, ${waiting} waiting, ${Math.round(states / Math.max(seconds, 1))}/s; ` +
    `${locals} of single replicas, ${letters} messages; ${Math.round(megabytes())} MB, ${Math.round(seconds)} s`
  )
}

function textOf(result: SearchResult): string {
  const { reached } = result
  const end = {
    exhausted: "exhausted: no schedule of this scope violates anything",
    bounded: "not exhausted: a bound ended the search; nothing was violated until then",
    violation: `violated: ${result.violation ?? ""}`,
  }[result.outcome]
  return [
    ...result.trace,
    `${result.states} states (${result.dominated} covered by others), ${result.transitions} steps, ` +
      `depth ${result.depth}, ${result.seconds.toFixed(1)} s`,
    `${result.local_states} states of single replicas, ${result.letters} messages, ` +
      `${result.executions} events run on the production replica`,
    `states with a commit: ${reached.committed}, with a later view: ${reached.view_changed}, with a recovered ` +
      `machine: ${reached.recovered}, with a recovery after a commit: ${reached.recovered_after_commit}, with a ` +
      `commit in a later view: ${reached.committed_in_later_view}, with a certified checkpoint: ` +
      `${reached.certified}, with one that was copied: ${reached.copied}`,
    end,
  ].join("\n")
}
