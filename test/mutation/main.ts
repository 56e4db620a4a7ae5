/**
 * `npm run mutate`: takes one defence after the other out of the protocol and asks who notices. Plane: control.
 */
import { parseArgs } from "node:util"
import { CATCHERS, type CatcherName } from "./catchers.ts"
import { findFaults, type Row, runGate, UNMUTATED } from "./gate.ts"
import { EQUIVALENTS, type Mutant, MUTANTS } from "./mutants.ts"

const USAGE = `usage: npm run mutate -- [options]

Each mutant is a patch that takes one defence out of the protocol. Catchers look for it: the interaction scripts, the
exhaustive search, the simulation with its adversary, by chance, (for what checkpoints defend against) with bits that
flip in memory, and (for larger limits) the tests of growth. Each must be caught by one of them, half of those that are
about neither checkpoints nor growth by the adversary alone, and the code as it is by none.

  --mutant NAME     only this one (may be repeated)
  --catcher NAME    only this one: scripted, exhaustive, hold_back, swarm,
                    memory_faults, growth (may be repeated)
  --quick           what npm test runs: each mutant by the catcher that finds it soonest
  --list            the mutants, and what each breaks
  --verbose         what the catchers printed
  -o json           the table as JSON

  npm run mutate
  npm run mutate -- --mutant no_vectors --catcher exhaustive --verbose

exit codes: 0 the gate holds, 1 it does not, 2 usage`

const AS_IT_IS: Mutant = { name: UNMUTATED, what: "the code as it is", patches: [], quick: "scripted" }
const NAMES = CATCHERS.map((catcher) => catcher.name)

process.exitCode = await main()

async function main(): Promise<number> {
  const parsed = readOptions()
  if (parsed === undefined) {
    process.stderr.write(`${USAGE}\n`)
    return 2
  }
  const { values } = parsed
  if (values.help) {
    process.stdout.write(`${USAGE}\n`)
    return 0
  }
  if (values.list) {
    for (const { name, what } of [...MUTANTS, ...EQUIVALENTS]) {
      process.stdout.write(`${name.padEnd(28)}${what}\n`)
    }
    return 0
  }
  const wanted = values.mutant ?? []
  const catchers = (values.catcher ?? NAMES).filter(isCatcher)
  const known = [AS_IT_IS, ...MUTANTS, ...EQUIVALENTS]
  const mutants = wanted.length === 0 ? [AS_IT_IS, ...MUTANTS] : known.filter(({ name }) => wanted.includes(name))
  if (mutants.length < wanted.length || catchers.length < (values.catcher ?? NAMES).length) {
    process.stderr.write(`there is no such mutant or catcher\n\n${USAGE}\n`)
    return 2
  }
  const since = performance.now()
  const stop = new AbortController()
  process.once("SIGINT", () => stop.abort())
  const rows = await runGate({
    mutants,
    catchersFor: (mutant) => (values.quick ? [mutant.quick] : catchers.filter((name) => mayFind(name, mutant))),
    progress: (row) => process.stderr.write(`${line(row)}\n`),
    stop: stop.signal,
  })
  const isWhole = wanted.length === 0 && !values.quick && values.catcher === undefined
  const faults = stop.signal.aborted ? ["interrupted"] : findFaults(rows, isWhole)
  const seconds = Math.round((performance.now() - since) / 1000)
  if (values.output === "json") {
    const counts = { mutants: mutantsIn(rows).length, mutants_caught: caughtIn(rows).length }
    const document = { schema: 1, seconds, ...counts, faults, rows: rows.map(withoutOutput) }
    process.stdout.write(`${JSON.stringify(document, null, 2)}\n`)
  } else {
    printTable(rows, faults, seconds)
  }
  if (values.verbose) {
    for (const row of rows) {
      for (const [name, verdict] of Object.entries(row.verdicts)) {
        process.stderr.write(`---- ${row.mutant}, ${name}\n${verdict.output}\n`)
      }
    }
  }
  return faults.length === 0 ? 0 : 1
}

function readOptions() {
  try {
    return parseArgs({
      options: {
        mutant: { type: "string", multiple: true },
        catcher: { type: "string", multiple: true },
        quick: { type: "boolean", default: false },
        list: { type: "boolean", default: false },
        verbose: { type: "boolean", default: false },
        output: { type: "string", short: "o", default: "text" },
        help: { type: "boolean", default: false },
      },
    })
  } catch {
    // An option that there is not: usage says what there is.
    return undefined
  }
}

/** Flipped bits and growth are for mutants of what they are about, and for the code as it is. */
function mayFind(name: CatcherName, mutant: Mutant): boolean {
  if (mutant.name === UNMUTATED) {
    return true
  }
  if (name === "growth" || mutant.isOfGrowth === true) {
    return name === "growth" && mutant.isOfGrowth === true
  }
  return name !== "memory_faults" || mutant.isOfCheckpoints === true
}

function isCatcher(name: string): name is CatcherName {
  return NAMES.some((known) => known === name)
}

function printTable(rows: readonly Row[], faults: readonly string[], seconds: number): void {
  const titles = CATCHERS.map((catcher) => catcher.title.padEnd(22)).join("")
  process.stdout.write(`${"mutant".padEnd(28)}${titles}\n`)
  for (const row of rows) {
    process.stdout.write(`${line(row)}\n`)
  }
  const mutants = mutantsIn(rows)
  const caught = (name: CatcherName): number => mutants.filter((row) => row.verdicts[name]?.outcome === "caught").length
  const each = CATCHERS.map(({ name, title }) => `${title} ${caught(name)}`).join(", ")
  process.stdout.write(`\n${caughtIn(rows).length} of ${mutants.length} mutants caught in ${seconds} s: ${each}\n`)
  for (const fault of faults) {
    process.stdout.write(`FAULT ${fault}\n`)
  }
}

function mutantsIn(rows: readonly Row[]): Row[] {
  return rows.filter((row) => row.mutant !== UNMUTATED)
}

function caughtIn(rows: readonly Row[]): Row[] {
  return mutantsIn(rows).filter((row) => Object.values(row.verdicts).some((verdict) => verdict.outcome === "caught"))
}

function line(row: Row): string {
  if (row.problem !== undefined) {
    return `${row.mutant.padEnd(28)}${row.problem}`
  }
  const cells = CATCHERS.map(({ name }) => {
    const verdict = row.verdicts[name]
    const text = verdict === undefined ? "-" : `${verdict.outcome} ${verdict.work} ${verdict.seconds.toFixed(0)}s`
    return text.padEnd(22)
  })
  return `${row.mutant.padEnd(28)}${cells.join("")}`.trimEnd()
}

function withoutOutput(row: Row): object {
  const verdicts: Record<string, object> = {}
  for (const [name, { outcome, work, seconds }] of Object.entries(row.verdicts)) {
    verdicts[name] = { outcome, work, seconds }
  }
  return { mutant: row.mutant, what: row.what, problem: row.problem, verdicts }
}
