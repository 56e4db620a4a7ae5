/**
 * How fast this machine gives its state away: as fast as it can while it serves nobody, and at the pace of a gigabit
 * link or two while it serves clients, who would otherwise wait for cores and cables that a copy has taken. What is
 * asked for too early waits here, bounded; what finds no place is asked for again. Plane: control.
 */
import type { MessageOf } from "../replication/message.ts"
import { assert } from "../types/assert.ts"
import { Ring } from "../types/ring.ts"

export type Ask = MessageOf<"get_checkpoint">

export class CopyThrottle {
  readonly #waiting: Ring<Ask>
  readonly #piecesPerTick: number
  readonly #busyOps: number
  readonly #windowMs: number
  #isBusy = false
  #left = Number.POSITIVE_INFINITY
  #windowAt = Number.NEGATIVE_INFINITY
  #windowCommit = 0

  /** `asksMax` wait at most; of a window in which `busyOps` ops are committed the next one counts as busy. */
  constructor(options: {
    readonly asksMax: number
    readonly piecesPerTick: number
    readonly busyOps: number
    readonly windowMs: number
  }) {
    assert(options.piecesPerTick > 0 && options.busyOps > 0, "copy throttle: a copy always gets on")
    this.#waiting = new Ring(options.asksMax)
    this.#piecesPerTick = options.piecesPerTick
    this.#busyOps = options.busyOps
    this.#windowMs = options.windowMs
  }

  get isBusy(): boolean {
    return this.#isBusy
  }

  /** True: give it now. False: it waits for a tick. */
  admits(ask: Ask): boolean {
    if (this.#left > 0 && this.#waiting.isEmpty()) {
      this.#left -= 1
      return true
    }
    if (!this.#waiting.isFull()) {
      this.#waiting.add(ask)
    }
    return false
  }

  /** Every tick, with the replica's commit number. */
  tick(now: number, commit: number): void {
    if (now - this.#windowAt >= this.#windowMs) {
      this.#isBusy = commit - this.#windowCommit >= this.#busyOps
      this.#windowAt = now
      this.#windowCommit = commit
    }
    this.#left = this.#isBusy ? this.#piecesPerTick : Number.POSITIVE_INFINITY
  }

  /** What waits and may be given now; undefined when there is nothing of that. */
  take(): Ask | undefined {
    if (this.#left <= 0) {
      return undefined
    }
    const ask = this.#waiting.take()
    this.#left -= ask === undefined ? 0 : 1
    return ask
  }
}
