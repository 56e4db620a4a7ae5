/** The figures of a run, as JSON and as text. Plane: control. */
import { checkLinearizable, type Operation } from "../checkers/linearizability.ts"
import { callText } from "../checkers/register.ts"
import type { Process } from "./cluster.ts"
import type { History, Recorded } from "./history.ts"
import { EXCERPT_OPERATIONS, KEY_CONFIGURATIONS_MAX, RSS_SETTLED_MS } from "./limits.ts"
import { percentile } from "./measures.ts"
import type { StageResult } from "./stage.ts"

const MIB = 1024 * 1024
const MS_PER_SECOND = 1_000
const MS_PER_MINUTE = 60_000

export type Checked = {
  readonly keys: number
  readonly operations: number
  readonly decided: number
  readonly configurations: number
  readonly violations: readonly string[]
  /** Of each violation, what was going on with the key just then. */
  readonly excerpts: readonly string[]
}

export type StageReport = {
  readonly voters: number
  readonly minutes: number
  readonly episodes: number
  readonly faults: Readonly<Record<string, number>>
  readonly ops: {
    readonly ok: number
    readonly rejected: number
    readonly unknown: number
    readonly per_second: number
  }
  readonly refusals: Readonly<Record<string, number>>
  readonly unavailable_ms_max: Readonly<Record<string, number>>
  readonly failovers: { readonly count: number; readonly p50_ms: number | null; readonly p99_ms: number | null }
  readonly failovers_in_faulty_network: {
    readonly count: number
    readonly p50_ms: number | null
    readonly p99_ms: number | null
  }
  readonly recoveries: { readonly count: number; readonly p50_ms: number | null; readonly p99_ms: number | null }
  readonly histories: Omit<Checked, "violations" | "excerpts">
  readonly flood: Readonly<Record<string, number>>
  readonly relay: Readonly<Record<string, number>>
  /** By the processes' own counters, summed over all of them. */
  readonly refused_by_processes: Readonly<Record<string, number>>
  readonly processes: { readonly started: number; readonly ended_by_themselves: number; readonly exit_codes: number[] }
  readonly rss: {
    readonly age_s: number
    readonly first_mib: number
    readonly last_mib: number
    readonly max_mib: number
  }
  readonly copies_read: number
  readonly records_compared: number
  readonly problems: readonly string[]
}

export type Report = {
  readonly seed: number
  readonly is_ok: boolean
  readonly stages: readonly StageReport[]
}

export function checkHistories(history: History): Checked {
  const violations: string[] = []
  const excerpts: string[] = []
  let operations = 0
  let decided = 0
  let configurations = 0
  for (const key of history.keys()) {
    const recorded = history.of(key)
    const verdict = checkLinearizable(recorded, KEY_CONFIGURATIONS_MAX)
    operations += recorded.length
    configurations += verdict.configurations
    switch (verdict.kind) {
      case "linearizable":
        decided += 1
        break
      case "not_linearizable":
        decided += 1
        violations.push(`${key} is not linearizable: no order explains ${JSON.stringify(verdict.operation)}`)
        excerpts.push(excerpt(key, recorded, verdict.operation))
        break
      case "undecided":
        violations.push(`${key} with ${recorded.length} operations is not decided: ${verdict.reason}`)
    }
  }
  return { keys: history.keys().length, operations, decided, configurations, violations, excerpts }
}

/** The operations that were called last before the answer that nothing explains. */
function excerpt(key: string, recorded: readonly Recorded[], unexplained: Operation): string {
  const end = unexplained.answered_at ?? unexplained.called_at
  const before = recorded.filter(({ called_at }) => called_at <= end).sort((a, b) => a.called_at - b.called_at)
  const lines = before.slice(-EXCERPT_OPERATIONS).map((operation) => {
    const { client, call, called_at, answered_at, answer } = operation
    const mark = operation === unexplained ? ">" : " "
    const times = `${called_at.toFixed(2)} to ${answered_at?.toFixed(2) ?? "unknown"}`
    return `${mark} client ${client}, ${times}: ${callText(call)} -> ${answer ?? "nil"}`
  })
  return `${key}\n${lines.join("\n")}\n`
}

export function stageReport(result: StageResult, checked: Checked): StageReport {
  const { history, measures, cluster } = result
  const { violations, excerpts: _, ...histories } = checked
  return {
    voters: result.voters,
    minutes: round(result.milliseconds / MS_PER_MINUTE),
    episodes: result.episodes,
    faults: Object.fromEntries(measures.faults),
    ops: {
      ...history.counts,
      per_second: Math.round(history.counts.ok / (result.milliseconds / MS_PER_SECOND)),
    },
    refusals: Object.fromEntries(history.refusals),
    unavailable_ms_max: Object.fromEntries([...measures.unavailableMs].map(([kind, ms]) => [kind, Math.round(ms)])),
    failovers: spread(measures.failoversMs),
    failovers_in_faulty_network: spread(measures.failoversInFaultsMs),
    recoveries: spread(measures.recoveriesMs),
    histories,
    flood: { ...result.flood },
    relay: { ...cluster.relay.counters },
    refused_by_processes: refusals(cluster.all),
    processes: {
      started: cluster.all.length,
      ended_by_themselves: cluster.selfEnds.length,
      exit_codes: cluster.exitCodes.map((code) => code ?? -1),
    },
    rss: growth(cluster.all),
    copies_read: result.copiesRead,
    records_compared: result.recordsCompared,
    problems: [...result.problems, ...violations],
  }
}

function spread(values: readonly number[]): StageReport["failovers"] {
  return { count: values.length, p50_ms: percentile(values, 0.5), p99_ms: percentile(values, 0.99) }
}

/** Of the process that lived longest, from when it had grown into its buffers. */
function growth(processes: readonly Process[]): StageReport["rss"] {
  const oldest = [...processes].sort((a, b) => (b.rss.at(-1)?.age_ms ?? 0) - (a.rss.at(-1)?.age_ms ?? 0))[0]
  const samples = oldest?.rss ?? []
  const settled = samples.filter(({ age_ms }) => age_ms >= RSS_SETTLED_MS)
  const [first] = settled.length > 0 ? settled : samples
  const last = samples.at(-1)
  const mib = (bytes: number | undefined): number => Math.round((bytes ?? 0) / MIB)
  return {
    age_s: Math.round((last?.age_ms ?? 0) / MS_PER_SECOND),
    first_mib: mib(first?.bytes),
    last_mib: mib(last?.bytes),
    max_mib: mib(Math.max(0, ...samples.map(({ bytes }) => bytes))),
  }
}

const REFUSED = /^mandala_(frames_refused|hellos_refused|hellos_declined)_total\{kind="(\w+)"\} ([1-9]\d*)$/gm

/** As each process last said before it ended. */
function refusals(processes: readonly Process[]): Record<string, number> {
  const sums: Record<string, number> = {}
  for (const { metrics } of processes) {
    for (const [, what = "", kind = "", count = "0"] of metrics.matchAll(REFUSED)) {
      const name = `${what}.${kind}`
      sums[name] = (sums[name] ?? 0) + Number(count)
    }
  }
  return sums
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}

export function reportText(report: Report): string {
  const lines: string[] = []
  for (const stage of report.stages) {
    const { ops, histories, failovers, failovers_in_faulty_network: others, recoveries, rss } = stage
    lines.push(
      `${stage.voters} voters, ${stage.minutes} min, ${stage.episodes} episodes`,
      `  faults          ${pairs(stage.faults)}`,
      `  operations      ${ops.ok} ok, ${ops.rejected} rejected, ${ops.unknown} unknown; ${ops.per_second}/s`,
      `  not ok          ${pairs(stage.refusals)}`,
      `  no write for    ${pairs(stage.unavailable_ms_max)} ms at most`,
      `  failover        ${failovers.count}: p50 ${failovers.p50_ms} ms, p99 ${failovers.p99_ms} ms`,
      `    faulty links  ${others.count}: p50 ${others.p50_ms} ms, p99 ${others.p99_ms} ms`,
      `  recovery        ${recoveries.count}: p50 ${recoveries.p50_ms} ms, p99 ${recoveries.p99_ms} ms`,
      `  histories       ${histories.keys} keys, ${histories.operations} operations, ${histories.decided} decided`,
      `  copies          ${stage.copies_read} of ${stage.voters} read, ${stage.records_compared} records of each`,
      `  thousand        ${pairs(stage.flood)}`,
      `  relay           ${pairs(stage.relay)}`,
      `  refused         ${pairs(stage.refused_by_processes)}`,
      `  processes       ${stage.processes.started} started, ${stage.processes.ended_by_themselves} ended alone`,
      `  memory          ${rss.first_mib} to ${rss.last_mib} MiB, at most ${rss.max_mib}, in ${rss.age_s} s`,
      ...stage.problems.map((problem) => `  FAILED          ${problem}`),
    )
  }
  lines.push(`seed ${report.seed}: ${report.is_ok ? "all linearizable, all copies agree" : "FAILED"}`)
  return `${lines.join("\n")}\n`
}

function pairs(counts: Readonly<Record<string, number>>): string {
  const texts = Object.entries(counts).map(([name, count]) => `${name} ${count}`)
  return texts.length === 0 ? "none" : texts.join(", ")
}
