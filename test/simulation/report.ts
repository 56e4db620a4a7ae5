/** What a run of many seeds says of itself: medians, faults, and which seeds do not count. Plane: control. */
import type { FaultTotals } from "./memory_faults.ts"
import type { SimulationResult } from "./simulate.ts"

export type Report = {
  readonly seeds: number
  readonly counted: number
  /** Seeds that did not reach what rule 36 asks of them. */
  readonly not_counted: readonly number[]
  readonly failed: readonly number[]
  readonly majority_lost: number
  readonly primary_out_of_reach: number
  readonly only_copy_wrong: number
  readonly nobody_can_tell: number
  readonly seconds: number
  readonly events_per_second: number
  readonly medians: Readonly<Record<string, number>>
  readonly faults: Readonly<Record<string, number>>
  /** How flipped bits ended, and how long those that were found stayed; undefined in a run without. */
  readonly memory: Readonly<Record<string, number>> | undefined
}

const MEDIANS = [
  "virtual_ms",
  "events",
  "commits",
  "crashes",
  "view_changes",
  "recoveries",
  "checkpoints",
  "epochs",
  "stale_messages",
  "reads",
  "unknown",
] as const

export function reportOf(results: readonly SimulationResult[], seconds: number): Report {
  const faults: Record<string, number> = {}
  for (const result of results) {
    for (const [name, count] of Object.entries(result.faults)) {
      const fault = name.startsWith("core of") ? "core" : name
      faults[fault] = (faults[fault] ?? 0) + count
    }
  }
  const medians: Record<string, number> = {}
  for (const name of MEDIANS) {
    medians[name] = results.map((result) => result[name]).sort((a, b) => a - b)[results.length >> 1] ?? 0
  }
  return {
    seeds: results.length,
    counted: results.filter((result) => result.counts).length,
    not_counted: results.filter((result) => !result.counts).map((result) => result.seed),
    failed: results.filter((result) => result.failure !== undefined).map((result) => result.seed),
    majority_lost: results.filter((result) => result.excuse === "majority_lost").length,
    primary_out_of_reach: results.filter((result) => result.excuse === "primary_out_of_reach").length,
    only_copy_wrong: results.filter((result) => result.excuse === "only_copy_wrong").length,
    nobody_can_tell: results.filter((result) => result.excuse === "nobody_can_tell").length,
    seconds,
    events_per_second: Math.round(results.reduce((sum, result) => sum + result.events, 0) / seconds),
    medians,
    faults,
    memory: memoryOf(results),
  }
}

function memoryOf(results: readonly SimulationResult[]): Record<string, number> | undefined {
  const totals = results.flatMap((result) => (result.memory === undefined ? [] : [result.memory]))
  if (totals.length === 0) {
    return undefined
  }
  const sum = (name: Exclude<keyof FaultTotals, "found_ms">): number =>
    totals.reduce((total, one) => total + one[name], 0)
  const found = totals.flatMap((one) => one.found_ms).sort((a, b) => a - b)
  return {
    flips: sum("flips"),
    found_by_scrub: sum("found_by_scrub"),
    found_by_root: sum("found_by_root"),
    found_by_table: sum("found_by_table"),
    overwritten: sum("overwritten"),
    passed: sum("passed"),
    died: sum("died"),
    stopped: sum("stopped"),
    refused_by_crc: sum("refused_by_crc"),
    exposed_reads: sum("exposed_reads"),
    exposed_writes: sum("exposed_writes"),
    pages_spoilt: sum("pages_spoilt"),
    found_ms_median: found[found.length >> 1] ?? 0,
    found_ms_max: found.at(-1) ?? 0,
  }
}

export function textOf(report: Report): string {
  const pairs = (record: Readonly<Record<string, number>>): string =>
    Object.entries(record)
      .map(([name, value]) => `${value} ${name.replaceAll("_", " ")}`)
      .join(", ")
  const uncounted = report.not_counted.slice(0, 20).join(", ")
  return [
    `${report.seeds} seeds in ${report.seconds.toFixed(1)} s, ${report.events_per_second} events/s`,
    `${report.counted} count (rule 36)${uncounted === "" ? "" : `; not: ${uncounted}`}`,
    `${report.majority_lost} lost their majority and failed closed`,
    `${report.primary_out_of_reach} had a member of the core that was cut off from a primary outside it`,
    `medians a seed: ${pairs(report.medians)}`,
    `in all: ${pairs(report.faults)}`,
    ...(report.memory === undefined
      ? []
      : [
          `memory: ${pairs(report.memory)}`,
          `${report.only_copy_wrong} ended with a wrong copy, since nobody else was in reach to contradict it`,
          `${report.nobody_can_tell} ended with one state against another, and nobody else who has one`,
        ]),
    "",
  ].join("\n")
}
