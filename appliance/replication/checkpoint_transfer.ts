/**
 * Copying the whole arena from one machine to another, chunk by chunk, through one shadow buffer at each end. The
 * donor's copy is frozen at one committed op; the receiver touches its own arena only when the copy is complete (rule
 * 23: nothing is dropped before its replacement is in hand). Plane: control.
 */
import { assert } from "../types/assert.ts"
import type { Digest, DigestFunction } from "../types/contracts.ts"
import type { FingerprintSink } from "../types/fingerprint.ts"
import type { MessageOf } from "./message.ts"

export type Chunk = {
  readonly op: number
  readonly op_checksum: Digest
  readonly chunk_digest: Digest
  readonly chunk: number
  readonly chunk_count: number
  readonly body: Uint8Array
}

/** The sending end: one frozen copy for one peer at a time; another gets its turn when that peer falls silent. */
export class CheckpointDonor {
  readonly #shadow: Uint8Array
  /** The same bytes by fours: most of an arena is zeros, and looking for them is most of a donor's work. */
  readonly #words: Uint32Array
  readonly #chunkBytes: number
  readonly #digest: DigestFunction
  #to = -1
  #nonce = 0
  #op = 0
  #opChecksum: Digest = ""
  #askedAt = 0

  constructor(options: { readonly shadow: Uint8Array; readonly chunkBytes: number; readonly digest: DigestFunction }) {
    const { shadow, chunkBytes } = options
    assert(chunkBytes > 0 && shadow.length > 0, "checkpoint donor: sizes are positive")
    assert(shadow.byteOffset % 4 === 0 && shadow.length % 4 === 0, "checkpoint donor: the shadow is whole words")
    assert(chunkBytes % 4 === 0, "checkpoint donor: a chunk is whole words")
    this.#shadow = shadow
    this.#words = new Uint32Array(shadow.buffer, shadow.byteOffset, shadow.length / 4)
    this.#chunkBytes = options.chunkBytes
    this.#digest = options.digest
  }

  isBusy(options: { readonly to: number; readonly now: number; readonly silentMs: number }): boolean {
    return this.#to >= 0 && this.#to !== options.to && options.now - this.#askedAt < options.silentMs
  }

  holds(to: number, nonce: number): boolean {
    return this.#to === to && this.#nonce === nonce
  }

  freeze(options: {
    readonly to: number
    readonly nonce: number
    readonly op: number
    readonly opChecksum: Digest
    readonly arena: Uint8Array
  }): void {
    assert(options.arena.length === this.#shadow.length, "checkpoint donor: the shadow is as long as the arena")
    this.#to = options.to
    this.#nonce = options.nonce
    this.#op = options.op
    this.#opChecksum = options.opChecksum
    // At op 0 there is nothing but zeros and the format: the other side has that already.
    if (options.op > 0) {
      this.#shadow.set(options.arena)
    }
  }

  release(): void {
    this.#to = -1
  }

  get isFrozen(): boolean {
    return this.#to >= 0
  }

  get chunkCount(): number {
    return this.#op === 0 ? 0 : Math.ceil(this.#shadow.length / this.#chunkBytes)
  }

  chunk(index: number, now: number): Chunk {
    assert(this.#to >= 0, "checkpoint donor: nothing is frozen")
    this.#askedAt = now
    const start = Math.min(index * this.#chunkBytes, this.#shadow.length)
    const end = this.#op === 0 ? start : Math.min(start + this.#chunkBytes, this.#shadow.length)
    const stop = isZero(this.#words, start / 4, end / 4) ? start : end
    return {
      op: this.#op,
      op_checksum: this.#opChecksum,
      chunk_digest: this.#digest("", this.#shadow, start, stop),
      chunk: index,
      chunk_count: this.chunkCount,
      body: this.#shadow.subarray(start, stop),
    }
  }

  /** Becomes as `other` is, but for the shadow's bytes: they are the replica's, which copies them. */
  copyFrom(other: CheckpointDonor): void {
    assert(this.#shadow.length === other.#shadow.length, "checkpoint donor: a copy has the shadow of its original")
    this.#to = other.#to
    this.#nonce = other.#nonce
    this.#op = other.#op
    this.#opChecksum = other.#opChecksum
    this.#askedAt = other.#askedAt
  }

  /** What a donor last had is of no more use once it is released. */
  fingerprint(sink: FingerprintSink, now: number): void {
    sink("donor.to", this.#to)
    if (this.#to >= 0) {
      sink("donor.nonce", this.#nonce)
      sink("donor.op", this.#op)
      sink("donor.opChecksum", this.#opChecksum)
      sink("donor.askedAt", now - this.#askedAt)
    }
  }

  /** As if the peer had asked just now. */
  restClock(now: number): void {
    this.#askedAt = now
  }
}

function isZero(words: Uint32Array, start: number, end: number): boolean {
  for (let index = start; index < end; index += 1) {
    if (words[index] !== 0) {
      return false
    }
  }
  return true
}

/** The receiving end: which donor, which chunks are here, which are asked for. */
export class CheckpointReceiver {
  readonly #shadow: Uint8Array
  readonly #chunkBytes: number
  readonly #digest: DigestFunction
  readonly #received: Uint8Array
  readonly #askedAt: Float64Array
  #active = false
  #donor = -1
  #nonce = 0
  #op = -1
  #opChecksum: Digest = ""
  #count = 1
  #left = 1
  #progressAt = 0

  constructor(options: { readonly shadow: Uint8Array; readonly chunkBytes: number; readonly digest: DigestFunction }) {
    this.#shadow = options.shadow
    this.#chunkBytes = options.chunkBytes
    this.#digest = options.digest
    const chunks = Math.ceil(options.shadow.length / options.chunkBytes)
    this.#received = new Uint8Array(chunks)
    this.#askedAt = new Float64Array(chunks)
  }

  get active(): boolean {
    return this.#active
  }

  get donor(): number {
    return this.#donor
  }

  get nonce(): number {
    return this.#nonce
  }

  get op(): number {
    return this.#op
  }

  get opChecksum(): Digest {
    return this.#opChecksum
  }

  /** Chunks still missing; 0 when complete. */
  get left(): number {
    return this.#left
  }

  get progressAt(): number {
    return this.#progressAt
  }

  start(options: { readonly donor: number; readonly nonce: number; readonly now: number }): void {
    this.#active = true
    this.#donor = options.donor
    this.#nonce = options.nonce
    this.#op = -1
    this.#count = 1
    this.#left = 1
    this.#progressAt = options.now
    this.#received.fill(0)
    this.#askedAt.fill(Number.NEGATIVE_INFINITY)
  }

  stop(): void {
    this.#active = false
  }

  /** Takes a chunk in; false when it is not ours, not new, or not what its digest says. */
  accept(message: MessageOf<"checkpoint_chunk">, now: number): boolean {
    if (!this.#active || message.from !== this.#donor || message.nonce !== this.#nonce) {
      return false
    }
    const start = message.chunk * this.#chunkBytes
    const expected = Math.min(this.#chunkBytes, this.#shadow.length - start)
    const bytes = message.body.length
    if (message.chunk_count > this.#received.length || message.chunk >= Math.max(message.chunk_count, 1)) {
      return false
    }
    if ((bytes !== 0 && bytes !== expected) || this.#received[message.chunk] === 1) {
      return false
    }
    if (this.#op >= 0 && (this.#op !== message.op || this.#count !== message.chunk_count)) {
      return false
    }
    if (this.#digest("", message.body, 0, bytes) !== message.chunk_digest) {
      return false
    }
    if (this.#op < 0) {
      this.#op = message.op
      this.#opChecksum = message.op_checksum
      this.#count = message.chunk_count
      this.#left = message.chunk_count
    }
    this.#progressAt = now
    if (message.chunk_count > 0) {
      this.#received[message.chunk] = 1
      this.#left -= 1
      if (bytes === 0) {
        this.#shadow.fill(0, start, start + expected)
      } else {
        this.#shadow.set(message.body, start)
      }
    }
    assert(this.#left >= 0, "checkpoint receiver: more chunks than there are")
    return true
  }

  /** The next chunk to ask for, or -1 when `inFlightMax` are asked for and young, or none is left. */
  nextWanted(options: { readonly now: number; readonly retryMs: number; readonly inFlightMax: number }): number {
    let inFlight = 0
    const known = this.#op < 0 ? 1 : this.#count
    for (let index = 0; index < known; index += 1) {
      if (this.#received[index] === 1) {
        continue
      }
      if (options.now - (this.#askedAt[index] ?? 0) >= options.retryMs) {
        this.#askedAt[index] = options.now
        return index
      }
      inFlight += 1
      if (inFlight >= options.inFlightMax) {
        return -1
      }
    }
    return -1
  }

  /** Becomes as `other` is, but for the shadow's bytes: they are the replica's, which copies them. */
  copyFrom(other: CheckpointReceiver): void {
    assert(this.#received.length === other.#received.length, "checkpoint receiver: a copy has as many chunks")
    this.#received.set(other.#received)
    this.#askedAt.set(other.#askedAt)
    this.#active = other.#active
    this.#donor = other.#donor
    this.#nonce = other.#nonce
    this.#op = other.#op
    this.#opChecksum = other.#opChecksum
    this.#count = other.#count
    this.#left = other.#left
    this.#progressAt = other.#progressAt
  }

  /** start() sets every field: what a receiver that is stopped last had is of no more use. */
  fingerprint(sink: FingerprintSink, now: number): void {
    sink("receiver.active", this.#active)
    if (this.#active) {
      sink("receiver.donor", this.#donor)
      sink("receiver.nonce", this.#nonce)
      sink("receiver.op", this.#op)
      sink("receiver.opChecksum", this.#opChecksum)
      sink("receiver.count", this.#count)
      sink("receiver.left", this.#left)
      sink("receiver.progressAt", now - this.#progressAt)
      sink("receiver.received", this.#received)
      sink(
        "receiver.askedAt",
        Array.from(this.#askedAt, (askedAt) => now - askedAt),
      )
    }
  }

  /** As if the last chunk had come just now, and those asked for were asked for long ago. */
  restClock(now: number): void {
    this.#progressAt = now
    this.#askedAt.fill(Number.NEGATIVE_INFINITY)
  }
}
