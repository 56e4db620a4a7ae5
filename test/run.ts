/** Runs the whole suite in phases and says what passed: `npm test`. Plane: control. */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { parseArgs } from "node:util"
import type { Result } from "../appliance/types/result.ts"
import { err, ok } from "../appliance/types/result.ts"
import { CHECKS_AT_ONCE, HEARTBEAT_SECONDS, RUN_SECONDS_MAX } from "./limits.ts"
import { runCommand } from "./runner/command.ts"
import { type Count, PHASES, type Phase, SCENE_REPORT } from "./runner/phases.ts"

const USAGE = `usage: npm test -- [--only PHASE[,PHASE…]] [--list]

Runs the phases of the suite, cheap ones first; prints a line for each that passed and the whole output of each that
failed; ends with "N passed, N failed". Exit code 0 when nothing failed.

  npm test                          everything
  npm test -- --only types,unit     the compiler and the unit tests

  --only   phases to run, by the names that --list prints
  --list   print the phases with their time limits
  --help   print this
`

type Options =
  | { readonly kind: "help" }
  | { readonly kind: "list" }
  | { readonly kind: "run"; readonly phases: Phase[] }

const ROOT = resolve(import.meta.dirname, "..")
const started = performance.now()

async function main(): Promise<number> {
  const options = readOptions(process.argv.slice(2))
  if (!options.ok) {
    process.stderr.write(`test/run.ts: ${options.error}\n`)
    return 2
  }
  if (options.value.kind === "help") {
    process.stdout.write(USAGE)
    return 0
  }
  if (options.value.kind === "list") {
    for (const phase of PHASES) {
      print(`${phase.name.padEnd(11)} ${String(phase.secondsMax).padStart(4)} s  ${phase.what}`)
    }
    return 0
  }
  return await runPhases(options.value.phases)
}

function readOptions(args: string[]): Result<Options, string> {
  const values = parseOptions(args)
  if (!values.ok) {
    return values
  }
  if (values.value.help === true) {
    return ok({ kind: "help" })
  }
  if (values.value.list === true) {
    return ok({ kind: "list" })
  }
  const names = values.value.only?.split(",") ?? PHASES.map((phase) => phase.name)
  const unknown = names.find((name) => !PHASES.some((phase) => phase.name === name))
  if (unknown !== undefined) {
    return err(`there is no phase ${unknown}; --list prints them`)
  }
  return ok({ kind: "run", phases: PHASES.filter((phase) => names.includes(phase.name)) })
}

function parseOptions(args: string[]): Result<{ only?: string; list?: boolean; help?: boolean }, string> {
  try {
    const options = { only: { type: "string" }, list: { type: "boolean" }, help: { type: "boolean" } } as const
    return ok(parseArgs({ args, options }).values)
  } catch (error) {
    return err(error instanceof Error ? error.message : String(error))
  }
}

async function runPhases(phases: readonly Phase[]): Promise<number> {
  const stop = new AbortController()
  const onSignal = (signal: NodeJS.Signals): void => {
    print(`${signal}: ending what runs`)
    stop.abort()
  }
  process.on("SIGINT", onSignal)
  process.on("SIGTERM", onSignal)
  process.on("SIGHUP", onSignal)
  // Whoever read us has gone (`npm test | head`): what runs must not stay behind.
  process.stdout.on("error", () => stop.abort())

  const reports = mkdtempSync(join(tmpdir(), "mandala-test-"))
  const counts: Count[] = []
  const checks = phases.filter((phase) => phase.isCheck)
  const run = async (queue: Phase[]): Promise<void> => {
    for (let phase = queue.shift(); phase !== undefined && !stop.signal.aborted; phase = queue.shift()) {
      counts.push(await runPhase(phase, { reports, stop: stop.signal }))
    }
  }
  await Promise.all(Array.from({ length: CHECKS_AT_ONCE }, () => run(checks)))
  // These measure time or use both cores: one by one.
  await run(phases.filter((phase) => !phase.isCheck))
  rmSync(reports, { recursive: true, force: true })

  let passed = 0
  // A phase that was not reached has not passed.
  let failed = phases.length - counts.length
  for (const count of counts) {
    passed += count.passed
    failed += count.failed
  }
  print(`${passed} passed, ${failed} failed`)
  return failed === 0 && passed > 0 ? 0 : 1
}

type RunContext = { readonly reports: string; readonly stop: AbortSignal }

async function runPhase(phase: Phase, context: RunContext): Promise<Count> {
  const secondsLeft = RUN_SECONDS_MAX - secondsSince(started)
  const secondsMax = Math.max(1, Math.min(phase.secondsMax, secondsLeft))
  const report = reportPath(phase, context.reports)
  const since = performance.now()
  const heartbeat = setInterval(() => print(line(phase, "…", since, "")), HEARTBEAT_SECONDS * 1000)
  const end = await runCommand({
    file: process.execPath,
    args: phase.args(report),
    secondsMax,
    cwd: ROOT,
    stop: context.stop,
  })
  clearInterval(heartbeat)

  const count = phase.count(end, report)
  const skipped = count.skipped === 0 ? "" : `, ${count.skipped} skipped`
  const visited = `${count.visited} ${count.unit}${skipped}`
  if (count.failed === 0) {
    print(line(phase, "ok", since, visited))
    return count
  }
  process.stdout.write(end.output.endsWith("\n") ? end.output : `${end.output}\n`)
  const why = {
    late: `not done within ${secondsMax.toFixed(0)} s, killed`,
    stopped: "stopped",
    not_started: "did not start",
    exited: `exit code ${end.code ?? "none"}`,
  }[end.end]
  print(line(phase, "FAILED", since, `${visited}, ${count.failed} failed, ${why}`))
  return count
}

/** A path on which no earlier run has left a report. */
function reportPath(phase: Phase, reports: string): string {
  if (phase.name !== "scene") {
    return join(reports, `${phase.name}.json`)
  }
  const path = join(ROOT, SCENE_REPORT)
  mkdirSync(join(path, ".."), { recursive: true })
  rmSync(path, { force: true })
  return path
}

function line(phase: Phase, state: string, since: number, detail: string): string {
  const elapsed = `${secondsSince(since).toFixed(1)} s`
  return `${phase.name.padEnd(11)} ${state.padEnd(6)} ${elapsed.padStart(8)}  ${detail}`.trimEnd()
}

function secondsSince(since: number): number {
  return (performance.now() - since) / 1000
}

function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

process.exitCode = await main()
