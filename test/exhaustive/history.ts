/**
 * What was committed, and the judgement of a state by it. Whoever commits an op first, in whichever boot, makes it
 * history; an op that a client was told of is committed, so what holds for the one holds for the other. Plane: control.
 */
import { assert } from "../../appliance/types/assert.ts"
import type { Facts } from "./world.ts"

/** One committed op, as whoever committed it first had it. */
type Committed = { readonly checksum: string; readonly view: number }

export class History {
  readonly #majority: number
  /** Each history once, under a number; 0 is the empty one. */
  readonly #histories: (readonly Committed[])[] = [[]]
  readonly #ids = new Map<string, number>([["", 0]])
  /** The state after an op, by the op's checksum, which covers all ops before it. */
  readonly #arenas = new Map<string, string>()

  constructor(voters: number) {
    this.#majority = (voters + 1) / 2
  }

  /** The ops of a history, the first op first. */
  ops(history: number): readonly Committed[] {
    const ops = this.#histories[history]
    assert(ops !== undefined, "history: a history has a number")
    return ops
  }

  /** `history` with what this replica has committed; a text when the two contradict each other. */
  extended(history: number, facts: Facts): number | string {
    const committed = this.ops(history)
    for (const [index, { checksum }] of committed.slice(0, facts.commit).entries()) {
      const held = facts.checksums[index + 1]
      if (held !== undefined && held !== checksum) {
        return `committed another op ${index + 1} than was committed before`
      }
    }
    if (!facts.isTorn && !this.#isKnownState(facts)) {
      return `has another state at op ${facts.commit} than another machine had`
    }
    if (facts.commit <= committed.length) {
      return history
    }
    const next = committed.slice()
    for (let op = committed.length + 1; op <= facts.commit; op += 1) {
      const checksum = facts.checksums[op]
      assert(checksum !== undefined, "history: the log ring holds all that the scope commits")
      next.push({ checksum, view: facts.logView })
    }
    return this.#idOf(next)
  }

  /** Notes the state if it is the first of its op. */
  #isKnownState(facts: Facts): boolean {
    const checksum = facts.checksums[facts.commit]
    assert(checksum !== undefined, "history: the last committed op has a checksum")
    const known = this.#arenas.get(checksum) ?? facts.arena
    this.#arenas.set(checksum, known)
    return known === facts.arena
  }

  #idOf(ops: readonly Committed[]): number {
    const key = ops.map((op) => `${op.checksum}.${op.view}`).join()
    const id = this.#ids.get(key) ?? this.#histories.length
    if (id === this.#histories.length) {
      this.#ids.set(key, id)
      this.#histories.push(ops)
    }
    return id
  }

  /** What is wrong with a cluster of which this is the history; undefined when nothing is. */
  fault(history: number, machines: readonly Facts[]): string | undefined {
    for (const [slot, facts] of machines.entries()) {
      if (facts.status === "fenced") {
        return `machine ${slot} is fenced, though no other process of its slot lives`
      }
    }
    const disputed = disputedRoot(machines)
    if (disputed !== undefined) {
      return disputed
    }
    for (const [index, op] of this.ops(history).entries()) {
      const fault = this.#faultOf(index + 1, op, machines)
      if (fault !== undefined) {
        return fault
      }
    }
    return undefined
  }

  #faultOf(op: number, committed: Committed, machines: readonly Facts[]): string | undefined {
    const { checksum, view } = committed
    let kept = 0
    for (const [slot, facts] of machines.entries()) {
      // Below a checkpoint there are no checksums, but then it has committed the op, and was judged by that.
      const isHeld = facts.checksums[op] === checksum || facts.commit >= op
      // A view that began later begins with it; and in its own view the primary holds it.
      const isOwed = facts.logView > view || (facts.logView === view && facts.isPrimary)
      if (facts.status === "normal" && isOwed && !isHeld) {
        return `op ${op}, committed in view ${view}, is missing at machine ${slot} in view ${facts.logView}`
      }
      // Who has not recovered is one of those that may be down.
      kept += isHeld || facts.status === "recovering" ? 1 : 0
    }
    return kept < this.#majority
      ? `op ${op}, committed in view ${view}, is held by too few: the next view change may lose it`
      : undefined
  }
}

/** No bit flips in a search: of one op there is one root, whoever reports it or holds it to be certified. */
function disputedRoot(machines: readonly Facts[]): string | undefined {
  const roots = new Map<number, string>()
  for (const [slot, { certified, own }] of machines.entries()) {
    for (const { op, root } of own === undefined ? [certified] : [certified, own]) {
      if (root !== (roots.get(op) ?? root)) {
        return `machine ${slot} goes by another root of op ${op} than another machine`
      }
      roots.set(op, root)
    }
  }
  return undefined
}
