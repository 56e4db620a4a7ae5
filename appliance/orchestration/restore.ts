/**
 * Puts the state of an export into this machine's arena, page by page, and says when it may be begun with. The machine
 * is a cluster of one that holds nothing of anybody's, or was named: from the first page on what it held is gone, and
 * nothing is answered until all of it is here with the root that it goes by. Whoever broke off begins anew.
 * Plane: control.
 */
import { rootPrefix } from "../replication/checkpoint_transfer.ts"
import { decodeConfiguration } from "../replication/configuration.ts"
import type { ArenaStateMachine } from "../state_machine/state_machine.ts"
import type { Digest, DigestFunction } from "../types/contracts.ts"
import { type ClusterLimits, limitsFingerprint } from "../types/limits.ts"
import { err, ok, type Result } from "../types/result.ts"

/** What an export says of itself, as far as a machine must know it beforehand. */
export type RestoreHead = {
  readonly op: number
  readonly op_checksum: Digest
  readonly root: Digest
  readonly generation: number
  readonly limits_fingerprint: number
  /** The cluster that this machine is, where it holds something that is to be given up. */
  readonly replace: string
}

export type RestoreRefusal = {
  readonly kind:
    | "not_alone"
    | "not_blank"
    | "other_size"
    | "no_state"
    | "not_begun"
    | "bad_piece"
    | "incomplete"
    | "root_differs"
  readonly text: string
}

export type RestoreReport = {
  readonly op: number
  readonly generation: number
  readonly root_before: Digest
  readonly commit: number
}

export class Restore {
  readonly head: RestoreHead
  readonly #machine: ArenaStateMachine
  readonly #limits: ClusterLimits
  readonly #digest: DigestFunction
  readonly #isHere: Uint8Array
  #left: number
  readonly #isTableHere: Uint8Array
  #tableLeft: number

  constructor(options: {
    readonly head: RestoreHead
    readonly machine: ArenaStateMachine
    readonly limits: ClusterLimits
    readonly digest: DigestFunction
  }) {
    this.head = options.head
    this.#machine = options.machine
    this.#limits = options.limits
    this.#digest = options.digest
    const { pages } = options.machine
    this.#isHere = new Uint8Array(pages.count)
    this.#left = pages.count
    this.#isTableHere = new Uint8Array(Math.ceil(pages.table.length / options.limits.chunk_bytes))
    this.#tableLeft = this.#isTableHere.length
    pages.abandon()
  }

  /** A part of the digests, of chunk_bytes but for the last. */
  table(index: number, body: Uint8Array): Result<void, RestoreRefusal> {
    const { table } = this.#machine.pages
    const start = index * this.#limits.chunk_bytes
    if (index >= this.#isTableHere.length || body.length !== Math.min(this.#limits.chunk_bytes, table.length - start)) {
      return err({ kind: "bad_piece", text: `there is no part ${index} of the digests with ${body.length} bytes` })
    }
    table.set(body, start)
    this.#tableLeft -= this.#isTableHere[index] === 1 ? 0 : 1
    this.#isTableHere[index] = 1
    const { op, op_checksum, root } = this.head
    if (this.#tableLeft === 0 && this.#machine.pages.root(this.#digest, rootPrefix(op, op_checksum)) !== root) {
      return err({ kind: "root_differs", text: "the digests of its pages are not those that its root was taken of" })
    }
    return ok(undefined)
  }

  /** Pages in a row from `first` on, each of them as its digest says. */
  pages(first: number, body: Uint8Array): Result<void, RestoreRefusal> {
    const { pages } = this.#machine
    const count = body.length / pages.pageBytes
    if (this.#tableLeft > 0 || !Number.isInteger(count) || count < 1 || first + count > pages.count) {
      return err({
        kind: "bad_piece",
        text: `${body.length} bytes from page ${first} on cannot be pages of this state`,
      })
    }
    for (let index = 0; index < count; index += 1) {
      if (!pages.replace(first + index, body, index * pages.pageBytes)) {
        return err({ kind: "bad_piece", text: `page ${first + index} is not as its digest says` })
      }
      this.#left -= this.#isHere[first + index] === 1 ? 0 : 1
      this.#isHere[first + index] = 1
    }
    return ok(undefined)
  }

  /** Pages that are empty, which nobody sends. */
  zeros(first: number, count: number): Result<void, RestoreRefusal> {
    const { pages } = this.#machine
    if (first + count > pages.count) {
      return err({ kind: "bad_piece", text: `there are no pages ${first} to ${first + count}` })
    }
    const empty = new Uint8Array(pages.pageBytes)
    for (let page = first; page < first + count; page += 1) {
      const taken = this.pages(page, empty)
      if (!taken.ok) {
        return taken
      }
    }
    return ok(undefined)
  }

  /** The arena is the export's: the number of the generation that it was of. */
  finish(): Result<number, RestoreRefusal> {
    if (this.#left > 0) {
      return err({ kind: "incomplete", text: `${this.#left} of ${this.#machine.pages.count} pages are not here` })
    }
    const isArena = this.#machine.restored() && this.#machine.commit() === this.head.op
    if (!isArena) {
      return err({ kind: "bad_piece", text: "the pages are no state of this size at that op" })
    }
    this.#machine.pages.adopt()
    return ok(decodeConfiguration(this.#machine.configuration(), this.#limits.slots_max)?.generation ?? 0)
  }
}

/** Why nothing may be restored here; undefined when it may. */
export function restoreFault(options: {
  readonly head: RestoreHead
  readonly limits: ClusterLimits
  readonly clusterID: string
  readonly status: string
  readonly members: number
  readonly tables: readonly { readonly table: string; readonly used: number }[]
}): RestoreRefusal | undefined {
  const { head, limits, clusterID, status, members, tables } = options
  if (head.limits_fingerprint !== limitsFingerprint(limits)) {
    return {
      kind: "other_size",
      text: "the export is of a cluster of another size: found this one with the size that 'export inspect' shows",
    }
  }
  if (members !== 1) {
    const text = "a state is restored into a cluster of one, which others then join: found one with --voters 1"
    return { kind: "not_alone", text }
  }
  if (status !== "normal") {
    return { kind: "no_state", text: `this machine is ${status}: wait until it has formed its cluster` }
  }
  // What a machine writes by itself when it has formed.
  const held = tables.filter(({ table, used }) => used > 0 && table !== "sessions" && table !== "machines")
  if (held.length > 0 && head.replace !== clusterID) {
    const what = held.map(({ table, used }) => `${used} of ${table}`).join(", ")
    return {
      kind: "not_blank",
      text: `this cluster holds ${what}: to give that up, name it with --replace ${clusterID}`,
    }
  }
  return undefined
}
