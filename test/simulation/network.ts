/**
 * The simulated network. Messages travel as objects that nobody changes; a sample goes through the production codec,
 * and a frame with flipped bits must be refused by it. Faults of the whole run: loss, duplicates, delay and with it
 * reordering, replay of old messages, corruption. Faults of one link, one way: cut, clogged, narrow. Between members of
 * the core nothing is ever wrong. Plane: control.
 */
import { crc32 as zlibCRC32 } from "node:zlib"
import { assert } from "../../appliance/types/assert.ts"
import type { Message } from "../../appliance/replication/message.ts"
import { decodeFrame, encodeMessage, messageFrameBytes, type WireOptions } from "../../appliance/replication/wire.ts"
import { type ClusterLimits, limitsFingerprint } from "../../appliance/types/limits.ts"
import type { PRNG } from "../../appliance/types/prng.ts"
import { Violation } from "./history.ts"
import { CODEC_SAMPLE, IN_FLIGHT_MAX, OLD_MAX, WHEEL_MS } from "./limits.ts"
import { codeOf, QUORUM_MASK } from "./message_kinds.ts"

/** One seed's weights: each is a chance in 1,000 a message unless it says otherwise. */
export type NetworkFaults = {
  readonly loss: number
  readonly duplicate: number
  readonly replay: number
  readonly corrupt: number
  readonly delay_ms_min: number
  readonly delay_ms_max: number
}

export const QUIET: NetworkFaults = {
  loss: 0,
  duplicate: 0,
  replay: 0,
  corrupt: 0,
  delay_ms_min: 1,
  delay_ms_max: 5,
}

export type Flight = {
  readonly to: number
  readonly message: Message
  /** The process that sent it, and the type's number. */
  readonly sender: number
  readonly code: number
}

/** What became of messages, for the question whether a fault was reached. */
export type NetworkCounts = {
  lost: number
  duplicated: number
  replayed: number
  corrupted: number
  /** Of those, pages that arrive with wrong bytes. */
  spoilt: number
  cut: number
  clogged: number
  crowded: number
  held: number
}

const WHEEL_MASK = WHEEL_MS - 1
const NO_VECTOR: readonly number[] = []

export class Network {
  readonly counts: NetworkCounts = {
    lost: 0,
    duplicated: 0,
    replayed: 0,
    corrupted: 0,
    spoilt: 0,
    cut: 0,
    clogged: 0,
    crowded: 0,
    held: 0,
  }
  /** Asked of every message first: true takes it out of the network (the adversary has it). */
  divert: ((flight: Flight) => boolean) | undefined
  /** Further milliseconds that messages to a slot take. */
  readonly slowMs: Float64Array
  readonly #random: PRNG
  readonly #slots: number
  readonly #wire: WireOptions
  readonly #vector: readonly number[]
  readonly #wheel: Flight[][] = Array.from({ length: WHEEL_MS }, () => [])
  readonly #old: Flight[][]
  /** By from * slots + to. */
  readonly #cut: Uint8Array
  readonly #clogUntil: Float64Array
  readonly #capacity: Uint32Array
  readonly #onLink: Uint32Array
  #core: Uint8Array
  #faults: NetworkFaults = QUIET
  #inFlight = 0
  #sampled = 0
  #now = 0

  constructor(options: { readonly random: PRNG; readonly limits: ClusterLimits }) {
    this.#random = options.random
    this.#slots = options.limits.slots_max
    this.#wire = {
      identity: {
        cluster_id: new Uint8Array(16).fill(7),
        generation: 1,
        limits_fingerprint: limitsFingerprint(options.limits),
      },
      limits: options.limits,
      checksum: (bytes, start, end) => zlibCRC32(bytes.subarray(start, end)),
    }
    this.#vector = new Array<number>(this.#slots).fill(0)
    this.slowMs = new Float64Array(this.#slots)
    this.#old = Array.from({ length: this.#slots }, () => [])
    const links = this.#slots * this.#slots
    this.#cut = new Uint8Array(links)
    this.#clogUntil = new Float64Array(links)
    this.#capacity = new Uint32Array(links)
    this.#onLink = new Uint32Array(links)
    this.#core = new Uint8Array(this.#slots)
  }

  set faults(faults: NetworkFaults) {
    this.#faults = faults
  }

  get inFlight(): number {
    return this.#inFlight
  }

  setCut(link: { readonly from: number; readonly to: number }, cut: boolean): void {
    this.#cut[link.from * this.#slots + link.to] = cut ? 1 : 0
  }

  /** Some kind of message may never arrive over it: all of them, or the second of two that are always sent together. */
  isImpassable(from: number, to: number): boolean {
    const link = from * this.#slots + to
    return this.#cut[link] === 1 || (this.#capacity[link] ?? 0) > 0
  }

  /** Nothing arrives over the link until then; after that everything does. */
  clog(link: { readonly from: number; readonly to: number }, until: number): void {
    assert(until - this.#now < WHEEL_MS / 2, "network: a link clogs for less than the wheel's turn")
    this.#clogUntil[link.from * this.#slots + link.to] = until
  }

  /** At most so many messages under way at once, what is more is lost; 0 lifts it. */
  narrow(link: { readonly from: number; readonly to: number }, messages: number): void {
    this.#capacity[link.from * this.#slots + link.to] = messages
  }

  /** Cuts and narrow links are mended. */
  heal(): void {
    this.#cut.fill(0)
    this.#capacity.fill(0)
  }

  /** From now on nothing goes wrong between these slots; what is wrong elsewhere stays. */
  healCore(slots: readonly number[]): void {
    this.#core = new Uint8Array(this.#slots)
    for (const slot of slots) {
      this.#core[slot] = 1
      this.slowMs[slot] = 0
    }
  }

  send(flight: Flight): void {
    if (this.divert?.(flight) === true) {
      this.counts.held += 1
      return
    }
    const { from } = flight.message
    const link = from * this.#slots + flight.to
    if (this.#core[from] === 1 && this.#core[flight.to] === 1) {
      this.#enqueue(flight, this.#random.between(QUIET.delay_ms_min, QUIET.delay_ms_max))
      return
    }
    const faults = this.#faults
    this.#keepOld(flight)
    if (this.#cut[link] === 1) {
      this.counts.cut += 1
      return
    }
    if (faults.loss > 0 && this.#random.chance(faults.loss, 1000)) {
      this.counts.lost += 1
      return
    }
    const capacity = this.#capacity[link] ?? 0
    if (capacity > 0 && (this.#onLink[link] ?? 0) >= capacity) {
      this.counts.crowded += 1
      return
    }
    if (faults.corrupt > 0 && this.#random.chance(faults.corrupt, 1000)) {
      const spoilt = this.#corrupt(flight.message)
      if (spoilt !== undefined) {
        this.#enqueue({ ...flight, message: spoilt }, this.#delay(flight.to, link))
      }
      return
    }
    this.#enqueue(flight, this.#delay(flight.to, link))
    if (faults.duplicate > 0 && this.#random.chance(faults.duplicate, 1000)) {
      this.counts.duplicated += 1
      this.#enqueue(flight, this.#delay(flight.to, link))
    }
    if (faults.replay > 0 && this.#random.chance(faults.replay, 1000)) {
      this.replayOf(from, 1)
    }
  }

  /** All that is under way is lost. */
  clear(): void {
    for (const due of this.#wheel) {
      due.length = 0
    }
    this.#onLink.fill(0)
    this.#inFlight = 0
  }

  /** As it is, after so many milliseconds: no fault any more. */
  enqueueAfter(flight: Flight, milliseconds: number): void {
    this.#enqueue(flight, Math.min(Math.max(milliseconds, 1), WHEEL_MS - 1))
  }

  /** Old messages of a slot, of whatever incarnation, arrive again. */
  replayOf(slot: number, count: number): void {
    const old = this.#old[slot]
    if (old === undefined || old.length === 0) {
      return
    }
    for (let done = 0; done < count; done += 1) {
      const flight = old[this.#random.below(old.length)]
      assert(flight !== undefined, "network: an old message exists once one was sent")
      this.counts.replayed += 1
      this.#enqueue(flight, this.#random.between(1, 20))
    }
  }

  /** Lets one millisecond pass and delivers what is due, in the order in which it was sent. */
  step(deliver: (flight: Flight) => void): void {
    this.#now += 1
    const index = this.#now & WHEEL_MASK
    const due = this.#wheel[index]
    if (due === undefined || due.length === 0) {
      return
    }
    this.#wheel[index] = []
    for (const flight of due) {
      this.#inFlight -= 1
      const link = flight.message.from * this.#slots + flight.to
      this.#onLink[link] = (this.#onLink[link] ?? 1) - 1
      deliver(this.#sampleCodec(flight))
    }
  }

  #delay(to: number, link: number): number {
    const { delay_ms_min, delay_ms_max } = this.#faults
    const delay = Math.max(this.#random.between(delay_ms_min, delay_ms_max), 1) + (this.slowMs[to] ?? 0)
    const clogged = (this.#clogUntil[link] ?? 0) - this.#now
    if (clogged <= delay) {
      return delay
    }
    this.counts.clogged += 1
    return clogged
  }

  #enqueue(flight: Flight, milliseconds: number): void {
    if (this.#inFlight >= IN_FLIGHT_MAX) {
      this.counts.crowded += 1
      return
    }
    assert(milliseconds >= 1 && milliseconds < WHEEL_MS, "network: a delay lies within the wheel's turn")
    this.#inFlight += 1
    const link = flight.message.from * this.#slots + flight.to
    this.#onLink[link] = (this.#onLink[link] ?? 0) + 1
    this.#wheel[(this.#now + milliseconds) & WHEEL_MASK]?.push(flight)
  }

  /** Promises are kept more often than others: they are what must not count after a reboot. */
  #keepOld(flight: Flight): void {
    const old = this.#old[flight.message.from]
    const isWorth = ((1 << flight.code) & QUORUM_MASK) !== 0 || this.#random.below(8) === 0
    if (old === undefined || !isWorth) {
      return
    }
    if (old.length < OLD_MAX) {
      old.push(flight)
    } else {
      old[this.#random.below(OLD_MAX)] = flight
    }
  }

  #encode(message: Message): Uint8Array {
    // A gateway's request carries no vector: the links give it the sender's, the simulation an empty one.
    const cv = message.cv === NO_VECTOR || message.cv.length === 0 ? this.#vector : message.cv
    const full = { ...message, cv }
    const bytes = new Uint8Array(messageFrameBytes(full))
    const written = encodeMessage(full, this.#wire, bytes, 0)
    assert(written === bytes.length, "network: a frame is as long as was said")
    return bytes
  }

  /**
   * Flips one to four bits of its frame: the checksum must find it, whatever it hit. But for the pages of a checkpoint:
   * those arrive, and whoever copies them must find it.
   */
  #corrupt(message: Message): Message | undefined {
    const bytes = this.#encode(message)
    const flips = this.#random.between(1, 4)
    const first = this.#random.below(bytes.length * 8)
    for (let flip = 0; flip < flips; flip += 1) {
      const bit = (first + flip * 13) % (bytes.length * 8)
      bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    }
    this.counts.corrupted += 1
    const decoded = decodeFrame(bytes, 0, bytes.length, this.#wire)
    if (!decoded.ok) {
      return undefined
    }
    if (decoded.value.type !== "checkpoint_chunk" || decoded.value.part !== "pages") {
      throw new Violation(`a frame of type ${message.type} with ${flips} flipped bits is not refused`)
    }
    this.counts.spoilt += 1
    return decoded.value
  }

  #sampleCodec(flight: Flight): Flight {
    this.#sampled += 1
    if (this.#sampled % CODEC_SAMPLE !== 0) {
      return flight
    }
    const bytes = this.#encode(flight.message)
    const decoded = decodeFrame(bytes, 0, bytes.length, this.#wire)
    if (!decoded.ok || decoded.value.type === "keepalive") {
      throw new Violation(`a frame of type ${flight.message.type} does not come out of the codec`)
    }
    return { to: flight.to, message: decoded.value, sender: flight.sender, code: codeOf(decoded.value.type) }
  }
}
