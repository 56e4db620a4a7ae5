/**
 * An operator's change of members on its way: to the primary, wherever that is, and back with its outcome. One at a
 * time on a machine. A change names the epoch that it ends, so it can take effect once only; it is sent again only
 * where it was certainly refused. Plane: control.
 */
import type { MessageOf, ReconfigureOutcome } from "../replication/message.ts"
import { assert } from "../types/assert.ts"

export type Change = {
  readonly epoch: number
  readonly voters: readonly number[]
  readonly standbys: readonly number[]
  readonly synchronous: boolean
  readonly drops_standby: boolean
  /** Into the larger limits that all named members have room for. */
  readonly grows: boolean
}

/** `unknown`: no answer in time; the epoch tells what became of it. `no_primary`: it was never sent. */
export type ChangeOutcome = ReconfigureOutcome | "unknown" | "no_primary"

export type ChangeAnswer = {
  readonly outcome: ChangeOutcome
  /** The slot that the outcome is about, where it is about one. */
  readonly slot: number
  readonly epoch: number
}

export type MembershipOptions = {
  /** False: nobody to send to. */
  readonly send: (slot: number, change: number, wanted: Change) => boolean
  readonly primarySlot: () => number
  readonly epoch: () => number
  readonly now: () => number
  /** How long a change may take in all, and how long to wait after a refusal; milliseconds. */
  readonly timeoutMs: number
  readonly retryMs: number
}

type Pending = {
  readonly change: number
  readonly wanted: Change
  readonly since: number
  readonly done: (answer: ChangeAnswer) => void
  /** When it goes out next; Infinity while an answer is awaited. */
  sendAt: number
  isSent: boolean
}

export class Membership {
  readonly #options: MembershipOptions
  #pending: Pending | undefined
  #changes = 0

  constructor(options: MembershipOptions) {
    assert(options.timeoutMs > options.retryMs && options.retryMs > 0, "membership: there is time for a second try")
    this.#options = options
  }

  change(wanted: Change): Promise<ChangeAnswer> {
    if (this.#pending !== undefined) {
      return Promise.resolve({ outcome: "busy", slot: 0, epoch: this.#options.epoch() })
    }
    this.#changes += 1
    const { promise, resolve } = Promise.withResolvers<ChangeAnswer>()
    const now = this.#options.now()
    this.#pending = { change: this.#changes, wanted, since: now, done: resolve, sendAt: now, isSent: false }
    this.#send(this.#pending)
    return promise
  }

  onReply(message: MessageOf<"reconfigure_reply">): void {
    const pending = this.#pending
    if (pending === undefined || message.change !== pending.change) {
      return
    }
    if (message.outcome === "not_primary") {
      // Nothing happened there: look for the primary again.
      pending.isSent = false
      pending.sendAt = this.#options.now() + this.#options.retryMs
      return
    }
    this.#end(pending, { outcome: message.outcome, slot: message.slot, epoch: message.epoch_now })
  }

  /**
   * This machine has grown into an epoch: who answered for the one before can't reach it any more. Where that is the
   * change that it waits for, it has happened.
   */
  onGrown(next: { readonly epoch: number; readonly voters: readonly { readonly slot: number }[] }): void {
    const pending = this.#pending
    const slots = new Set(next.voters.map((voter) => voter.slot))
    const isIt =
      pending?.wanted.grows === true &&
      pending.wanted.epoch + 1 === next.epoch &&
      pending.wanted.voters.length === slots.size &&
      pending.wanted.voters.every((slot) => slots.has(slot))
    if (pending !== undefined && isIt) {
      this.#end(pending, { outcome: "ok", slot: 0, epoch: next.epoch })
    }
  }

  tick(nowMs: number): void {
    const pending = this.#pending
    if (pending === undefined) {
      return
    }
    if (nowMs - pending.since >= this.#options.timeoutMs) {
      const outcome = pending.isSent ? "unknown" : "no_primary"
      this.#end(pending, { outcome, slot: 0, epoch: this.#options.epoch() })
    } else if (nowMs >= pending.sendAt) {
      this.#send(pending)
    }
  }

  #send(pending: Pending): void {
    const slot = this.#options.primarySlot()
    // Before the call: the answer may come during it.
    pending.sendAt = Number.POSITIVE_INFINITY
    pending.isSent = true
    if (slot < 0 || !this.#options.send(slot, pending.change, pending.wanted)) {
      pending.isSent = false
      pending.sendAt = this.#options.now() + this.#options.retryMs
    }
  }

  #end(pending: Pending, answer: ChangeAnswer): void {
    this.#pending = undefined
    pending.done(answer)
  }
}
