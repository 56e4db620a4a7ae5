/**
 * Carries one message to the primary: the same bytes under the same number, sent again until it is answered. Views in
 * replies are hints of where the primary is, never a reason to drop anything (defect D13). Plane: control.
 */
import { assert } from "../types/assert.ts"
import { RETRY_REFUSED_MS, RETRY_REFUSED_MS_MAX, RETRY_SILENT_MS, RETRY_SILENT_MS_MAX } from "./limits.ts"
import type { GatewayMessage, ReplicaPort } from "./port.ts"

/** Every so often a hint is not followed, so that two machines that name each other don't hold a request forever. */
const HINTS_IN_A_ROW_MAX = 3

export class Courier {
  readonly #port: ReplicaPort
  #message: GatewayMessage | undefined
  #startedAt = 0
  #dueAt = 0
  #target = 0
  #hints = 0
  #knownPrimary = -1
  #silentMs = RETRY_SILENT_MS
  #refusedMs = RETRY_REFUSED_MS
  /** How many copies went to each slot, and whether the slot refused one. */
  readonly #sentTo: Uint32Array
  readonly #refusedBy: Uint8Array
  /** The last send is on its way: silence is waited for longer than a refusal. */
  #isSent = false
  #resends = 0

  constructor(port: ReplicaPort) {
    this.#port = port
    this.#sentTo = new Uint32Array(port.slotsMax())
    this.#refusedBy = new Uint8Array(port.slotsMax())
  }

  get isBusy(): boolean {
    return this.#message !== undefined
  }
  get startedAt(): number {
    return this.#startedAt
  }

  begin(message: GatewayMessage, now: number): void {
    assert(this.#message === undefined, "courier: carries one message at a time")
    this.#message = message
    this.#startedAt = now
    this.#hints = 0
    this.#silentMs = RETRY_SILENT_MS
    this.#refusedMs = RETRY_REFUSED_MS
    this.#sentTo.fill(0)
    this.#refusedBy.fill(0)
    this.#knownPrimary = this.#port.primarySlot()
    if (this.#isSlot(this.#knownPrimary)) {
      this.#target = this.#knownPrimary
    } else if (!this.#port.voterSlots().includes(this.#target)) {
      this.#target = this.#after(this.#target)
    }
    this.#send(now)
  }

  end(): void {
    this.#message = undefined
  }

  /** How often this message was sent to a machine that had it already. */
  takeResends(): number {
    const resends = this.#resends
    this.#resends = 0
    return resends
  }

  tick(now: number): void {
    if (this.#message === undefined) {
      return
    }
    // News of another primary is worth more than patience with the old one; each piece of news is followed once.
    const primary = this.#port.primarySlot()
    if (primary !== this.#knownPrimary) {
      this.#knownPrimary = primary
      // Whom it was refused by, before he was primary, is asked again at once.
      if (this.#isSlot(primary) && (primary !== this.#target || !this.#isSent)) {
        this.#target = primary
        this.#send(now)
        return
      }
    }
    if (now >= this.#dueAt) {
      this.#chooseNext()
      this.#send(now)
    }
  }

  /** The replica in slot `from` refused for the moment; `hint` is the slot where it thinks the primary is, or -1. */
  onRefusal(from: number, hint: number, now: number): void {
    assert(this.#message !== undefined, "courier: a refusal belongs to a message under way")
    if (this.#isSlot(from)) {
      this.#refusedBy[from] = 1
    }
    const isNews = this.#isSlot(hint) && hint !== from
    if (isNews && this.#sentTo[hint] === 0) {
      this.#target = hint
      this.#send(now)
      return
    }
    if (isNews && this.#hints < HINTS_IN_A_ROW_MAX) {
      this.#hints += 1
      this.#target = hint
    } else {
      this.#hints = 0
      this.#target = this.#leastAsked(from)
    }
    this.#isSent = false
    this.#backOff(now)
  }

  /** The primary is the right one and has no room, or does not know yet what we know: the same again, later. */
  onBusy(from: number, now: number): void {
    if (this.#isSlot(from)) {
      this.#refusedBy[from] = 1
      this.#target = from
    }
    this.#isSent = false
    this.#backOff(now)
  }

  /**
   * True when no copy can have been taken: each slot got one at most, and refused it. Two copies to one slot leave a
   * doubt, since a refusal doesn't say which of them it answers.
   */
  isSurelyRefused(): boolean {
    for (let slot = 0; slot < this.#sentTo.length; slot += 1) {
      const sent = this.#sentTo[slot] ?? 0
      if (sent > 1 || (sent === 1 && this.#refusedBy[slot] === 0)) {
        return false
      }
    }
    return true
  }

  #isSlot(slot: number): boolean {
    return Number.isSafeInteger(slot) && slot >= 0 && slot < this.#sentTo.length
  }

  /** The next voter's slot, in a circle. */
  #after(slot: number): number {
    let first = Number.POSITIVE_INFINITY
    let next = Number.POSITIVE_INFINITY
    for (const voter of this.#port.voterSlots()) {
      first = Math.min(first, voter)
      next = voter > slot ? Math.min(next, voter) : next
    }
    const chosen = next < this.#sentTo.length ? next : first
    assert(this.#isSlot(chosen), "courier: a cluster has voters")
    return chosen
  }

  /** The voter that got the fewest copies, other than `but` where there is another. */
  #leastAsked(but: number): number {
    let least = this.#after(but)
    for (const slot of this.#port.voterSlots()) {
      least = slot !== but && (this.#sentTo[slot] ?? 0) < (this.#sentTo[least] ?? 0) ? slot : least
    }
    return least
  }

  #backOff(now: number): void {
    this.#dueAt = now + this.#refusedMs
    this.#refusedMs = Math.min(this.#refusedMs * 2, RETRY_REFUSED_MS_MAX)
  }

  #chooseNext(): void {
    if (!this.#isSent) {
      return
    }
    // Nobody answered: the primary that this machine knows of now, or else the next in turn.
    const primary = this.#port.primarySlot()
    this.#target = this.#isSlot(primary) && primary !== this.#target ? primary : this.#after(this.#target)
  }

  #send(now: number): void {
    const message = this.#message
    assert(message !== undefined, "courier: sends what it carries")
    const slot = this.#target
    this.#resends += this.#sentTo[slot] === 0 ? 0 : 1
    // Counted before the call: the answer may come during it.
    this.#sentTo[slot] = (this.#sentTo[slot] ?? 0) + 1
    this.#isSent = true
    this.#dueAt = now + this.#silentMs
    this.#silentMs = Math.min(this.#silentMs * 2, RETRY_SILENT_MS_MAX)
    const isSent = this.#port.sendTo(slot, message)
    // An earlier copy may have been answered during the call.
    if (!isSent && this.#message === message) {
      this.#sentTo[slot] = (this.#sentTo[slot] ?? 1) - 1
      this.#target = this.#after(slot)
      this.#isSent = false
      this.#backOff(now)
    }
  }
}
