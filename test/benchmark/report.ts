/** What was measured, as a table for people and as JSON for programs. Plane: control. */
import { execFileSync } from "node:child_process"
import { cpus, release, totalmem } from "node:os"
import { resolve } from "node:path"
import { assert } from "../../appliance/types/assert.ts"
import { median } from "./statistics.ts"

export type Unit = "ops/s" | "MB/s" | "s" | "ms" | "us" | "bytes" | "events/s" | "share" | "count" | "ratio"

/** One figure: each round's value, and what it has to reach. */
export type Figure = {
  readonly name: string
  readonly unit: Unit
  readonly median: number
  readonly low: number
  readonly high: number
  readonly samples: number
  readonly target: string | null
  readonly is_met: boolean | null
}

export type Benchmark = "replication" | "state"

/** `at_least` and `at_most` are in the figure's unit. */
export type Target = { readonly at_least: number } | { readonly at_most: number }

export type Report = {
  readonly benchmark: Benchmark
  readonly date: string
  readonly commit: string
  readonly machine: {
    readonly cpus: number
    readonly model: string
    readonly memory_bytes: number
    readonly kernel: string
    readonly node: string
  }
  readonly figures: readonly Figure[]
}

/** Collects the rounds of each figure in the order in which they first came. */
export class Figures {
  readonly #values = new Map<string, { readonly unit: Unit; readonly target: Target | undefined; values: number[] }>()

  add(name: string, unit: Unit, value: number, target?: Target): void {
    assert(Number.isFinite(value), "figures: a figure is a number")
    const known = this.#values.get(name)
    assert(known === undefined || known.unit === unit, "figures: one name has one unit")
    if (known === undefined) {
      this.#values.set(name, { unit, target, values: [value] })
    } else {
      known.values.push(value)
    }
  }

  /** All rounds of another collection, behind those that are here. */
  addAll(other: Figures): void {
    for (const [name, { unit, target, values }] of other.#values) {
      for (const value of values) {
        this.add(name, unit, value, target)
      }
    }
  }

  all(): Figure[] {
    return [...this.#values].map(([name, { unit, target, values }]) => {
      const middle = median(values)
      return {
        name,
        unit,
        median: middle,
        low: Math.min(...values),
        high: Math.max(...values),
        samples: values.length,
        target: target === undefined ? null : textOfTarget(target, unit),
        is_met: target === undefined ? null : isMet(target, middle),
      }
    })
  }
}

function isMet(target: Target, value: number): boolean {
  return "at_least" in target ? value >= target.at_least : value <= target.at_most
}

function textOfTarget(target: Target, unit: Unit): string {
  return "at_least" in target ? `>= ${textOfValue(target.at_least, unit)}` : `<= ${textOfValue(target.at_most, unit)}`
}

export function makeReport(benchmark: Benchmark, figures: readonly Figure[]): Report {
  return {
    benchmark,
    date: new Date().toISOString(),
    commit: commitOf(resolve(import.meta.dirname, "../..")),
    machine: {
      cpus: cpus().length,
      model: cpus()[0]?.model ?? "",
      memory_bytes: totalmem(),
      kernel: release(),
      node: process.version,
    },
    figures,
  }
}

/** The commit that is checked out, with a plus when files differ from it. */
function commitOf(directory: string): string {
  try {
    const git = (...args: string[]): string =>
      execFileSync("git", args, { cwd: directory, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim()
    return git("rev-parse", "--short=12", "HEAD") + (git("status", "--porcelain", "-uno") === "" ? "" : "+")
  } catch {
    // Not a checkout: the source came as an archive.
    return "unknown"
  }
}

/** A line a case: its first figure, then those that are called "case: what". */
export function textOfReport(report: Report): string {
  const { machine } = report
  const cases = new Map<string, string[]>()
  for (const figure of report.figures) {
    const [name = "", what = ""] = figure.name.split(": ")
    const cells = cases.get(name) ?? []
    cells.push(`${what === "" ? "" : `${what} `}${textOfFigure(figure)}`)
    cases.set(name, cells)
  }
  const width = Math.max(0, ...[...cases.keys()].map((name) => name.length))
  const lines = [...cases].map(([name, cells]) => `${name.padEnd(width)}  ${cells.join("; ")}`)
  const where = `${machine.cpus} cores (${machine.model}), Linux ${machine.kernel}, Node ${machine.node}`
  return [`${report.date}  commit ${report.commit}`, where, "medians [lowest .. highest round]", "", ...lines].join(
    "\n",
  )
}

/** A row a figure, for a README; a case's name stands in its first row only. */
export function tableOfReport(report: Report): string {
  const { machine } = report
  let last = ""
  const rows = report.figures.map((figure) => {
    const [name = "", what = ""] = figure.name.split(": ")
    const row = `| ${name === last ? "" : name} | ${what} | ${textOfFigure(figure)} |`
    last = name
    return row
  })
  const where = `${machine.cpus} cores (${machine.model}), Linux ${machine.kernel}, Node ${machine.node}`
  const head = `${report.date.slice(0, 10)}, commit ${report.commit}, ${where}; medians [lowest .. highest round].`
  return [head, "", "| case | what | figure |", "|---|---|---|", ...rows, ""].join("\n")
}

function textOfFigure(figure: Figure): string {
  const { median: middle, low, high, unit, samples, target, is_met } = figure
  const spread = samples > 1 ? ` [${textOfValue(low, unit)} .. ${textOfValue(high, unit)}]` : ""
  const verdict = target === null ? "" : ` (${target} ${is_met === true ? "met" : "MISSED"})`
  return `${textOfValue(middle, unit)}${spread}${verdict}`
}

const MICROSECOND_DIGITS_BELOW_MS = 10
const SHARE_DIGITS_BELOW = 0.1

function textOfValue(value: number, unit: Unit): string {
  switch (unit) {
    case "ops/s":
    case "events/s":
      return `${Math.round(value).toLocaleString("en-US")}/s`
    case "MB/s":
      return `${Math.round(value).toLocaleString("en-US")} MB/s`
    case "s":
      return `${value.toFixed(2)} s`
    case "ms":
      return `${value.toFixed(value < MICROSECOND_DIGITS_BELOW_MS ? 3 : 0)} ms`
    case "us":
      return `${value.toFixed(1)} us`
    case "bytes":
      return `${Math.round(value).toLocaleString("en-US")} B`
    case "share":
      return `${(value * 100).toFixed(value < SHARE_DIGITS_BELOW ? 1 : 0)} %`
    case "ratio":
      return `${value.toFixed(2)} x`
    default:
      return value < MICROSECOND_DIGITS_BELOW_MS ? String(Math.round(value * 100) / 100) : value.toFixed(0)
  }
}
