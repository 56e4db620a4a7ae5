/**
 * Which checkpoints are known, and to whom: this machine's own roots, what the others report, and the newest that is
 * certified, since a majority of voters reported the same root for it (rule 22). Plane: control.
 */
import { assert } from "../types/assert.ts"
import type { Digest } from "../types/contracts.ts"
import type { FingerprintSink } from "../types/fingerprint.ts"

export type Checkpoint = { readonly op: number; readonly root: Digest }

/** Own roots that are remembered, to compare them with what is certified later. */
const OWN_KEPT = 8

export class Checkpoints {
  /** Ascending by op. */
  #own: Checkpoint[]
  #certified: Checkpoint
  readonly #reports: (Checkpoint | undefined)[]
  readonly #isWithdrawn: Uint8Array
  /** The nonce with which each slot last copied; -1 for never. */
  readonly #copyNonce: Float64Array
  /** Of each slot the op of the newest root that differed from this machine's; 0 for none. */
  readonly #differedAt: Float64Array
  /** The newest certified op for which this machine's root was the certified one. */
  #soundOp: number

  /** `first` is what every machine begins with: certified by what everybody's code is. */
  constructor(slots: number, first: Checkpoint) {
    this.#own = [first]
    this.#certified = first
    this.#reports = new Array<Checkpoint | undefined>(slots).fill(undefined)
    this.#isWithdrawn = new Uint8Array(slots)
    this.#copyNonce = new Float64Array(slots).fill(-1)
    this.#differedAt = new Float64Array(slots)
    this.#soundOp = first.op
  }

  get certified(): Checkpoint {
    return this.#certified
  }

  /** This machine's newest root, of an image that it holds; undefined while it has none. */
  get own(): Checkpoint | undefined {
    return this.#own.at(-1)
  }

  take(checkpoint: Checkpoint): void {
    assert(checkpoint.op >= (this.own?.op ?? 0), "checkpoints: roots are taken in order")
    this.#own = [...this.#own.filter(({ op }) => op !== checkpoint.op), checkpoint].slice(-OWN_KEPT)
    for (const slot of this.#reports.keys()) {
      this.#compare(slot)
    }
    this.#noteSound()
  }

  /** What this machine's arena was is no longer believed. */
  forgetOwn(): void {
    this.#own = []
    this.#differedAt.fill(0)
  }

  reportOf(slot: number): Checkpoint | undefined {
    return this.#reports[slot]
  }

  /** Another machine's word; not what it said earlier and comes late. */
  hear(slot: number, checkpoint: Checkpoint): void {
    if (checkpoint.op < (this.#reports[slot]?.op ?? 0)) {
      return
    }
    this.#reports[slot] = checkpoint
    this.#isWithdrawn[slot] = 0
    this.#compare(slot)
  }

  /**
   * It copies, and has not got the state of its report any more: what it contradicted by it, it contradicts no longer.
   * A question that comes again, from before its last report, says nothing of that.
   */
  withdraw(slot: number, nonce: number): void {
    if (this.#copyNonce[slot] === nonce) {
      return
    }
    this.#copyNonce[slot] = nonce
    this.#isWithdrawn[slot] = 1
    this.#differedAt[slot] = 0
  }

  #compare(slot: number): void {
    const report = this.#isWithdrawn[slot] === 1 ? undefined : this.#reports[slot]
    const own = this.#own.find(({ op }) => op === report?.op)
    if (report !== undefined && own !== undefined) {
      this.#differedAt[slot] = own.root === report.root ? 0 : report.op
    }
  }

  #noteSound(): void {
    if (this.#own.some((own) => isSame(own, this.#certified))) {
      this.#soundOp = this.#certified.op
    }
  }

  certify(checkpoint: Checkpoint): void {
    if (checkpoint.op > this.#certified.op) {
      this.#certified = checkpoint
      this.#noteSound()
    }
  }

  /** Certifies what `needed` of `voters` report, and `confirming` too where it is a slot; true if that is new. */
  tally(options: {
    readonly slot: number
    readonly voters: readonly number[]
    readonly needed: number
    readonly confirming: number | undefined
  }): boolean {
    const { slot, voters, needed, confirming } = options
    const wordOf = (other: number): Checkpoint | undefined => (other === slot ? this.own : this.#reports[other])
    for (const voter of voters) {
      const candidate = wordOf(voter)
      if (candidate === undefined || candidate.op <= this.#certified.op) {
        continue
      }
      const agreeing = voters.filter((other) => isSame(wordOf(other), candidate))
      const isConfirmed = confirming === undefined || isSame(wordOf(confirming), candidate)
      if (agreeing.length >= needed && isConfirmed) {
        this.#certified = candidate
        this.#noteSound()
        return true
      }
    }
    return false
  }

  /** Another voter has the same root: memory does not fail in two machines alike. */
  isConfirmed(slot: number, voters: readonly number[]): boolean {
    const { own } = this
    return own !== undefined && voters.some((voter) => voter !== slot && isSame(this.#reports[voter], own))
  }

  /** Rule 22b: this machine's root of what is certified is another one. */
  get isRefuted(): boolean {
    return this.#own.some(({ op, root }) => op === this.#certified.op && root !== this.#certified.root)
  }

  /**
   * `slot` has reported another root than this machine's and still has that state, and they have agreed on none since.
   * That a later one is certified ends it only for who has the same: until then its memory is as doubtful as before.
   */
  contradicts(slot: number): boolean {
    return (this.#differedAt[slot] ?? 0) > this.#soundOp
  }

  copyFrom(other: Checkpoints): void {
    assert(this.#reports.length === other.#reports.length, "checkpoints: a copy has as many slots")
    this.#own = other.#own
    this.#certified = other.#certified
    for (const [slot, report] of other.#reports.entries()) {
      this.#reports[slot] = report
    }
    this.#isWithdrawn.set(other.#isWithdrawn)
    this.#copyNonce.set(other.#copyNonce)
    this.#differedAt.set(other.#differedAt)
    this.#soundOp = other.#soundOp
  }

  fingerprint(sink: FingerprintSink): void {
    sink("checkpoints.own", this.#own)
    sink("checkpoints.certified", this.#certified)
    sink("checkpoints.reports", this.#reports)
    sink("checkpoints.isWithdrawn", this.#isWithdrawn)
    sink("checkpoints.copyNonce", Array.from(this.#copyNonce))
    sink("checkpoints.differedAt", Array.from(this.#differedAt))
    sink("checkpoints.soundOp", this.#soundOp)
  }
}

function isSame(a: Checkpoint | undefined, b: Checkpoint): boolean {
  return a?.op === b.op && a.root === b.root
}
