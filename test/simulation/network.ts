/**
 * The simulated network: loss, duplicates, reordering, delays, one-way and two-way partitions, replay of old messages
 * and an adversary that holds back messages of view changes and recoveries until someone has rebooted. Every message
 * goes through the production codec, so a message is bytes while it is under way. Plane: control.
 */
import { assert } from "../../appliance/types/assert.ts"
import type { Message } from "../../appliance/replication/message.ts"
import { decodeFrame, encodeMessage, messageFrameBytes, type WireOptions } from "../../appliance/replication/wire.ts"
import { crc32 } from "../../appliance/types/checksum.ts"
import type { PRNG } from "../../appliance/types/prng.ts"
import { HELD_MAX, IN_FLIGHT_MAX, REPLAY_MAX, SIMULATED_LIMITS } from "./limits.ts"

/** One seed's weights: each is a chance in 1,000 a message unless it says otherwise. */
export type NetworkFaults = {
  readonly loss: number
  readonly duplicate: number
  readonly replay: number
  readonly hold_back: number
  readonly corrupt: number
  readonly delay_ms_min: number
  readonly delay_ms_max: number
}

type Frame = { readonly to: number; readonly bytes: Uint8Array }
type Delivery = Frame & { readonly at: number; readonly order: number }
export type Arrival = { readonly to: number; readonly message: Message }

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
  readonly #old: Frame[] = []
  #held: Frame[] = []
  readonly #wire: WireOptions
  readonly #cut: boolean[][]
  #faults: NetworkFaults
  #order = 0
  /** Frames that arrived and were refused. */
  corrupted = 0

  constructor(options: { readonly random: PRNG; readonly voters: number; readonly faults: NetworkFaults }) {
    this.#random = options.random
    this.#faults = options.faults
    this.#wire = {
      identity: { cluster_id: new Uint8Array(16).fill(7), generation: 1, limits_fingerprint: 7 },
      limits: SIMULATED_LIMITS,
      checksum: crc32,
    }
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
    const frame = { to, bytes: this.#encode(message) }
    if (this.#old.length < REPLAY_MAX) {
      this.#old.push(frame)
    } else {
      this.#old[this.#random.below(REPLAY_MAX)] = frame
    }
    if (
      HOLDABLE.includes(message.type) &&
      this.#held.length < HELD_MAX &&
      this.#random.chance(faults.hold_back, 1000)
    ) {
      this.#held.push(frame)
      return
    }
    this.#enqueue(frame, now)
    if (this.#random.chance(faults.duplicate, 1000)) {
      this.#enqueue(frame, now)
    }
    if (this.#random.chance(faults.replay, 1000)) {
      const old = this.#old[this.#random.below(this.#old.length)]
      assert(old !== undefined, "network: an old message exists once one was sent")
      this.#enqueue(old, now)
    }
  }

  /** Someone rebooted: what the adversary held back arrives now, from before the crash. */
  releaseHeld(now: number): void {
    const held = this.#held
    this.#held = []
    for (const frame of held) {
      this.#enqueue(frame, now)
    }
  }

  /** The next message due at or before `now`, if any. */
  next(now: number): Arrival | undefined {
    for (let first = this.#heap[0]; first !== undefined && first.at <= now; first = this.#heap[0]) {
      const { to, bytes } = this.#pop() ?? first
      const decoded = decodeFrame(bytes, 0, bytes.length, this.#wire)
      if (decoded.ok && decoded.value.type !== "keepalive") {
        return { to, message: decoded.value }
      }
      this.corrupted += 1
    }
    return undefined
  }

  #encode(message: Message): Uint8Array {
    // A gateway's request carries no vector: the links give it the sender's, the simulation an empty one.
    const cv = message.cv.length === 0 ? new Array<number>(this.#wire.limits.slots_max).fill(0) : message.cv
    const full = { ...message, cv }
    const bytes = new Uint8Array(messageFrameBytes(full))
    const written = encodeMessage(full, this.#wire, bytes, 0)
    assert(written === bytes.length, "network: a frame is as long as was said")
    if (this.#random.chance(this.#faults.corrupt, 1000)) {
      const at = this.#random.below(bytes.length)
      bytes[at] = (bytes[at] ?? 0) ^ (1 << this.#random.below(8))
    }
    return bytes
  }

  #enqueue(frame: Frame, now: number): void {
    if (this.#heap.length >= IN_FLIGHT_MAX) {
      return
    }
    const { delay_ms_min, delay_ms_max } = this.#faults
    const at = now + this.#random.between(delay_ms_min, delay_ms_max)
    this.#order += 1
    this.#push({ at, order: this.#order, ...frame })
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
