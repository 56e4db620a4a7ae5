/**
 * Runs mutants against catchers and judges the gate: every mutant caught, half of them by the adversary alone.
 * Plane: control.
 */
import { CATCHERS, type Catcher, type CatcherName, type Verdict } from "./catchers.ts"
import { HOLD_BACK_SHARE_MIN, MUTANTS_AT_ONCE } from "./limits.ts"
import type { Mutant } from "./mutants.ts"
import { applyMutant, describePatchError, makeTree, removeTree } from "./tree.ts"

export type Row = {
  readonly mutant: string
  readonly what: string
  readonly isOfCheckpoints: boolean
  readonly isOfGrowth?: boolean
  readonly verdicts: Readonly<Partial<Record<CatcherName, Verdict>>>
  /** A patch that does not apply. */
  readonly problem: string | undefined
}

/** The unmutated code, under this name. */
export const UNMUTATED = "unmutated"

export type GateOptions = {
  readonly mutants: readonly Mutant[]
  readonly catchersFor: (mutant: Mutant) => readonly CatcherName[]
  readonly progress: (row: Row) => void
  readonly stop: AbortSignal
}

export async function runGate(options: GateOptions): Promise<Row[]> {
  const rows: Row[] = []
  const waiting = [...options.mutants]
  const worker = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined && !options.stop.aborted; next = waiting.shift()) {
      const row = await judge(next, options)
      rows.push(row)
      options.progress(row)
    }
  }
  await Promise.all(Array.from({ length: MUTANTS_AT_ONCE }, worker))
  const order = new Map(options.mutants.map((mutant, index) => [mutant.name, index]))
  return rows.sort((a, b) => (order.get(a.mutant) ?? 0) - (order.get(b.mutant) ?? 0))
}

async function judge(mutant: Mutant, options: GateOptions): Promise<Row> {
  const { name, what, isOfCheckpoints = false, isOfGrowth = false } = mutant
  const row = { mutant: name, what, isOfCheckpoints, isOfGrowth }
  const tree = makeTree()
  try {
    const applied = applyMutant(tree, mutant)
    if (!applied.ok) {
      return { ...row, verdicts: {}, problem: describePatchError(applied.error) }
    }
    const verdicts: Partial<Record<CatcherName, Verdict>> = {}
    const wanted = options.catchersFor(mutant)
    for (const catcher of CATCHERS.filter((one: Catcher) => wanted.includes(one.name))) {
      verdicts[catcher.name] = await catcher.look(tree, options.stop)
    }
    return { ...row, verdicts, problem: undefined }
  } finally {
    removeTree(tree)
  }
}

/** What is wrong with the result, a line each; empty when the gate holds. */
export function findFaults(rows: readonly Row[], isWhole: boolean): string[] {
  const faults: string[] = []
  let byAdversary = 0
  let mutants = 0
  for (const row of rows) {
    const outcomes = Object.values(row.verdicts).map((verdict) => verdict.outcome)
    if (row.problem !== undefined) {
      faults.push(row.problem)
    } else if (outcomes.includes("broken")) {
      faults.push(`${row.mutant}: a catcher could not be run; see --verbose`)
    } else if (row.mutant === UNMUTATED) {
      faults.push(...(outcomes.includes("caught") ? ["the unmutated code is not green"] : []))
    } else if (!outcomes.includes("caught")) {
      faults.push(`${row.mutant}: nobody caught it`)
    }
    if (row.mutant !== UNMUTATED && !row.isOfCheckpoints && row.isOfGrowth !== true) {
      mutants += 1
      byAdversary += row.verdicts.hold_back?.outcome === "caught" ? 1 : 0
    }
  }
  if (isWhole && byAdversary < mutants * HOLD_BACK_SHARE_MIN) {
    faults.push(`the adversary alone caught ${byAdversary} of ${mutants}, and half is what it must`)
  }
  return faults
}
