/**
 * The simulated network: loss, duplicates, reordering, delays, one-way and two-way partitions, replay of old messages
 * and an adversary that holds back messages of view changes and recoveries until someone has rebooted. Every message
 * goes through the production codec, so a message is bytes while it is under way. Plane: control.
 */
import { assert } from "../../appliance/types/assert.ts"
import type { Message } from "../../appliance/replication/message.ts"
import type { PRNG } from "../../appliance/types/prng.ts"
import { HELD_MAX, IN_FLIGHT_MAX, REPLAY_MAX } from "./limits.ts"

/** One seed's weights: each is a chance in 1,000 a message unless it says otherwise. */
export type NetworkFaults = {
  readonly loss: number
  readonly duplicate: number
  readonly replay: number
  readonly hold_back: number
  readonly delay_ms_min: number
  readonly delay_ms_max: number
}

export type Delivery = { readonly at: number; readonly order: number; readonly to: number; readonly message: Message }

const HOLDABLE: readonly string[] = [
  "exit_view",
  "join_view",
  "view",
  "recovery",
  "recovery_response",
  "probe_ok",
  "prepare_ok",
  "commit_ok",
]

export class Network {
  readonly #random: PRNG
  readonly #heap: Delivery[] = []
  readonly #old: { readonly to: number; readonly message: Message }[] = []
  #held: { readonly to: number; readonly message: Message }[] = []
  readonly #cut: boolean[][]
  #faults: NetworkFaults
  #order = 0

  constructor(options: { readonly random: PRNG; readonly voters: number; readonly faults: NetworkFaults }) {
    this.#random = options.random
    this.#faults = options.faults
    this.#cut = Array.from({ length: options.voters }, () => new Array<boolean>(options.voters).fill(false))
  }

  set faults(faults: NetworkFaults) {
    this.#faults = faults
  }

  /** Cuts or mends the one-way link from one slot to another. */
  setCut(options: { readonly from: number; readonly to: number; readonly cut: boolean }): void {
    const row = this.#cut[options.from]
    assert(row !== undefined, "network: slot out of range")
    row[options.to] = options.cut
  }

  healAll(): void {
    for (const row of this.#cut) {
      row.fill(false)
    }
  }

  send(to: number, message: Message, now: number): void {
    const faults = this.#faults
    if (this.#cut[message.from]?.[to] === true || this.#random.chance(faults.loss, 1000)) {
      return
    }
    const copy = cloneMessage(message)
    if (this.#old.length < REPLAY_MAX) {
      this.#old.push({ to, message: copy })
    } else {
      this.#old[this.#random.below(REPLAY_MAX)] = { to, message: copy }
    }
    if (HOLDABLE.includes(message.type) && this.#held.length < HELD_MAX && this.#random.chance(faults.hold_back, 1000)) {
      this.#held.push({ to, message: copy })
      return
    }
    this.#enqueue(to, copy, now)
    if (this.#random.chance(faults.duplicate, 1000)) {
      this.#enqueue(to, copy, now)
    }
    if (this.#random.chance(faults.replay, 1000)) {
      const old = this.#old[this.#random.below(this.#old.length)]
      assert(old !== undefined, "network: an old message exists once one was sent")
      this.#enqueue(old.to, old.message, now)
    }
  }

  /** Someone rebooted: what the adversary held back arrives now, from before the crash. */
  releaseHeld(now: number): void {
    const held = this.#held
    this.#held = []
    for (const { to, message } of held) {
      this.#enqueue(to, message, now)
    }
  }

  /** The next message due at or before `now`, if any. */
  next(now: number): Delivery | undefined {
    const first = this.#heap[0]
    return first !== undefined && first.at <= now ? this.#pop() : undefined
  }

  #enqueue(to: number, message: Message, now: number): void {
    if (this.#heap.length >= IN_FLIGHT_MAX) {
      return
    }
    const { delay_ms_min, delay_ms_max } = this.#faults
    const at = now + this.#random.between(delay_ms_min, delay_ms_max)
    this.#order += 1
    this.#push({ at, order: this.#order, to, message })
  }

  #push(delivery: Delivery): void {
    const heap = this.#heap
    let index = heap.push(delivery) - 1
    while (index > 0) {
      const parent = (index - 1) >> 1
      if (!isBefore(delivery, heap[parent])) {
        break
      }
      heap[index] = heap[parent] ?? delivery
      index = parent
    }
    heap[index] = delivery
  }

  #pop(): Delivery | undefined {
    const heap = this.#heap
    const first = heap[0]
    const last = heap.pop()
    if (first === undefined || last === undefined || heap.length === 0) {
      return first
    }
    let index = 0
    for (;;) {
      let child = 2 * index + 1
      if (child >= heap.length) {
        break
      }
      if (child + 1 < heap.length && isBefore(heap[child + 1], heap[child])) {
        child += 1
      }
      if (!isBefore(heap[child], last)) {
        break
      }
      heap[index] = heap[child] ?? last
      index = child
    }
    heap[index] = last
    return first
  }
}

function isBefore(a: Delivery | undefined, b: Delivery | undefined): boolean {
  assert(a !== undefined && b !== undefined, "network: heap index out of range")
  return a.at < b.at || (a.at === b.at && a.order < b.order)
}

/** What is under way no longer shares memory with its sender. */
function cloneMessage(message: Message): Message {
  if (message.type === "log") {
    return { ...message, entry: { header: message.entry.header, body: message.entry.body.slice() } }
  }
  return "body" in message ? { ...message, body: message.body.slice() } : message
}
