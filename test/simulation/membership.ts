/**
 * Which slots count, epoch by epoch: who remembers what the newest epoch needs, and so who may be lost without breaking
 * the promise that at most f are. While an epoch begins, both it and the one before must keep their majority, and while
 * a change of the operator may still be committed, so must the voters that it names. Plane: control.
 */
import type { Configuration } from "../../appliance/replication/configuration.ts"
import { makeEntry } from "../../appliance/replication/crash_vector.ts"
import { Operation } from "../../appliance/types/contracts.ts"
import { CHANGE_MS_MAX } from "./limits.ts"
import { isOperational, ownEntry, type Process } from "./machine.ts"

/** A change that was asked for: its voters' processes at that moment. */
type PendingChange = { readonly since: number; readonly processes: readonly Process[] }

type View = {
  /** The youngest living process of a slot. */
  readonly at: (slot: number) => Process | undefined
  readonly processes: () => readonly Process[]
  readonly now: () => number
  /** No bit of its memory is known to be wrong, by whoever flips them. */
  readonly isWell: (slot: number) => boolean
}

export class Membership {
  readonly #view: View
  readonly #founders: readonly number[]
  /** Of each slot, the highest entry that a process of it has taken, in the newest epoch. */
  readonly #entries: Float64Array
  #newest: Configuration | undefined
  #before: Configuration | undefined
  #pending: PendingChange | undefined
  epochs = 0

  constructor(view: View, options: { readonly slots: number; readonly founders: number }) {
    this.#view = view
    this.#founders = Array.from({ length: options.founders }, (_, slot) => slot)
    this.#entries = new Float64Array(options.slots)
  }

  get epoch(): number {
    return this.#newest?.epoch ?? 0
  }

  /** Slots that vote in the newest epoch. */
  get voters(): readonly number[] {
    return this.#newest?.voters.map((member) => member.slot) ?? this.#founders
  }

  get faults(): number {
    return (this.voters.length - 1) / 2
  }

  /** Notes what a process has become. */
  note(process: Process): void {
    const { configuration, status, epoch, incarnation } = process.replica
    const isNewer = this.#newest === undefined || configuration.epoch > this.#newest.epoch
    if (isNewer && status === "normal") {
      this.epochs += this.#newest === undefined ? 0 : 1
      this.#before = this.#newest
      this.#newest = configuration
      this.#pending = undefined
      this.#entries.fill(0)
      for (const { slot, nonce } of configuration.voters) {
        this.#entries[slot] = configuration.epoch === 0 ? 0 : makeEntry(1, nonce)
      }
    }
    if (epoch === this.epoch && incarnation > 0) {
      this.#entries[process.slot] = Math.max(this.#entries[process.slot] ?? 0, ownEntry(process))
    }
  }

  noteChange(slots: readonly number[]): void {
    const processes = slots.map((slot) => this.#view.at(slot)).filter((process) => process !== undefined)
    this.#pending = { since: this.#view.now(), processes }
  }

  /** The primary will not make the change; unless it lies in a log already, that is the end of it. */
  noteRefusal(): void {
    if (!this.#view.processes().some(holdsChange)) {
      this.#pending = undefined
    }
  }

  /** A change may still be committed. */
  isChanging(): boolean {
    if (this.#pending === undefined) {
      return false
    }
    const isYoung = this.#view.now() - this.#pending.since < CHANGE_MS_MAX
    if (isYoung || this.#view.processes().some(holdsChange)) {
      return true
    }
    this.#pending = undefined
    return false
  }

  /** A majority of the newest epoch has entered it. */
  isSettled(): boolean {
    const entered = this.voters.filter((slot) => {
      const process = this.#view.at(slot)
      return process !== undefined && this.isUp(slot) && process.replica.epoch === this.epoch && isOperational(process)
    })
    return entered.length > this.faults
  }

  /**
   * The slot remembers what the newest epoch needs of it: its youngest process is past recovery there, and the latest
   * incarnation; or it is the very process that the epoch names, on its way. A slot whose young twin has not recovered
   * counts as down, though the old process goes on.
   */
  isUp(slot: number): boolean {
    const process = this.#view.at(slot)
    if (process === undefined || process.replica.status === "fenced" || this.#hasRival(process)) {
      return false
    }
    if (!this.#view.isWell(slot)) {
      return false
    }
    if (process.replica.epoch === this.epoch && isOperational(process)) {
      return ownEntry(process) === this.#entries[slot]
    }
    return process.replica.epoch <= this.epoch && this.#isNamed(process)
  }

  upCount(): number {
    return this.voters.filter((slot) => this.isUp(slot)).length
  }

  /** Without breaking the promise of at most f down or recovering: who is down already may die again. */
  mayCrash(slot: number): boolean {
    if (this.voters.includes(slot) && this.isUp(slot) && this.upCount() - 1 <= this.faults) {
      return false
    }
    return this.#mayLeaveOldEpoch(slot) && this.#mayLeaveChange(slot)
  }

  /** Another process of its slot has yet to take an incarnation, which may be the higher one. */
  #hasRival(process: Process): boolean {
    if (!process.hasTwin) {
      return false
    }
    return this.#view.processes().some((other) => {
      return other.slot === process.slot && other !== process && other.replica.status === "recovering"
    })
  }

  #isNamed(process: Process): boolean {
    const member = this.#newest?.voters.find((voter) => voter.slot === process.slot)
    const entry = this.#entries[process.slot] ?? 0
    return member?.nonce === process.replica.bootNonce && entry === makeEntry(1, process.replica.bootNonce)
  }

  /** Until its successor is settled, an epoch must be able to finish what it was about. */
  #mayLeaveOldEpoch(slot: number): boolean {
    const before = this.#before
    if (before === undefined || this.isSettled()) {
      return true
    }
    const holding = before.voters.filter((member) => this.#holdsOld(before, member.slot))
    const isOneOfThem = holding.some((member) => member.slot === slot)
    return !isOneOfThem || holding.length - 1 > (before.voters.length - 1) / 2
  }

  #holdsOld(before: Configuration, slot: number): boolean {
    const process = this.#view.at(slot)
    if (process === undefined) {
      return false
    }
    const { epoch, commit } = process.replica
    const isThere = epoch === before.epoch && isOperational(process) && process.replica.incarnation > 0
    return isThere || (epoch === this.epoch && commit >= (this.#newest?.op ?? 0))
  }

  #mayLeaveChange(slot: number): boolean {
    if (this.#pending === undefined || !this.isChanging()) {
      return true
    }
    const { processes } = this.#pending
    const living = processes.filter((process) => this.#view.at(process.slot) === process)
    const isOneOfThem = living.some((process) => process.slot === slot)
    return !isOneOfThem || living.length - 1 > (processes.length - 1) / 2
  }
}

/** An epoch's last op lies in its log, and is not committed as far as it knows. */
function holdsChange(process: Process): boolean {
  const { log, commit } = process.replica
  for (let op = commit + 1; op <= log.op; op += 1) {
    if (log.header(op)?.operation === Operation.reconfigure) {
      return true
    }
  }
  return false
}
