/**
 * The log: a fixed ring of entries whose bodies lie in one preallocated buffer, and whose headers lie in another. Ops
 * are contiguous from `first` to `op`; `base` is the op before `first`, known by its checksum only (0, or what a
 * checkpoint covers). The youngest headers are at hand as objects; older ones are asked for rarely, and made anew: tens
 * of thousands of objects that live for a second each are what a garbage collector is worst at. A header in the ring:
 *
 *   offset size
 *        0   5*8  view, timestamp, session, request, and where the body begins: float64 each
 *       40    4  bytes of the body
 *       44    4  operation
 *       48   16  checksum, as four u32; the parent is the checksum of the entry before
 *
 * Plane: control.
 */
import { assert } from "../types/assert.ts"
import { type Digest, Operation } from "../types/contracts.ts"
import type { FingerprintSink } from "../types/fingerprint.ts"
import type { LogEntry, PrepareHeader } from "./message.ts"

/** The checksum before op 1. */
export const ROOT_CHECKSUM: Digest = "0".repeat(32)

/** Bytes of a slot in the ring of headers. */
export const LOG_HEADER_BYTES = 64
const FLOATS = LOG_HEADER_BYTES / 8
const WORDS = LOG_HEADER_BYTES / 4
const AT = { view: 0, timestamp: 1, session: 2, request: 3, start: 4 } as const
const WORD_AT = { body_bytes: 10, operation: 11, checksum: 12 } as const
const CHECKSUM_WORDS = 4
/** More than can be in flight, twice over: what is prepared, acknowledged and applied is among them. */
const YOUNG_MAX = 64

export class Log {
  readonly #slots: number
  readonly #young: (PrepareHeader | undefined)[]
  /** Floats and words of one buffer. Where a body begins is a position that only grows; modulo the length an offset. */
  readonly #floats: Float64Array
  readonly #words: Uint32Array
  readonly #memory: Uint8Array
  #base = 0
  readonly #baseChecksum = new Uint32Array(CHECKSUM_WORDS)
  #op = 0
  /** The position behind the youngest body. */
  #head = 0

  /** Entries at most as `headers` has room for, LOG_HEADER_BYTES each; `memory` holds their bodies. */
  constructor(headers: Uint8Array, memory: Uint8Array) {
    const slots = headers.length / LOG_HEADER_BYTES
    assert(Number.isSafeInteger(slots) && slots > 0, "log: the ring of headers is whole slots")
    assert(headers.byteOffset % 8 === 0, "log: the ring of headers is aligned")
    assert(memory.length > 0, "log: needs memory")
    this.#slots = slots
    this.#young = new Array<PrepareHeader | undefined>(Math.min(slots, YOUNG_MAX)).fill(undefined)
    this.#floats = new Float64Array(headers.buffer, headers.byteOffset, slots * FLOATS)
    this.#words = new Uint32Array(headers.buffer, headers.byteOffset, slots * WORDS)
    this.#memory = memory
  }

  /** The youngest op held, or the base when nothing is held. */
  get op(): number {
    return this.#op
  }

  /** The oldest op held; `op + 1` when nothing is held. */
  get first(): number {
    return this.#base + 1
  }

  holds(op: number): boolean {
    return op > this.#base && op <= this.#op
  }

  header(op: number): PrepareHeader | undefined {
    if (!this.holds(op)) {
      return undefined
    }
    const young = this.#young[op % this.#young.length]
    return young?.op === op ? young : this.#unpack(op)
  }

  #unpack(op: number): PrepareHeader {
    const float = (op % this.#slots) * FLOATS
    const word = (op % this.#slots) * WORDS
    const parent = this.checksum(op - 1)
    assert(parent !== undefined, "log: the entry before a held one is held, or the base")
    return {
      view: this.#floats[float + AT.view] ?? 0,
      op,
      timestamp: this.#floats[float + AT.timestamp] ?? 0,
      operation: operationOf(this.#words[word + WORD_AT.operation] ?? 0),
      session: this.#floats[float + AT.session] ?? 0,
      request: this.#floats[float + AT.request] ?? 0,
      body_bytes: this.#words[word + WORD_AT.body_bytes] ?? 0,
      parent,
      checksum: unpackDigest(this.#words, word + WORD_AT.checksum),
    }
  }

  #pack(header: PrepareHeader, start: number): void {
    const float = (header.op % this.#slots) * FLOATS
    const word = (header.op % this.#slots) * WORDS
    this.#floats[float + AT.view] = header.view
    this.#floats[float + AT.timestamp] = header.timestamp
    this.#floats[float + AT.session] = header.session
    this.#floats[float + AT.request] = header.request
    this.#floats[float + AT.start] = start
    this.#words[word + WORD_AT.body_bytes] = header.body_bytes
    this.#words[word + WORD_AT.operation] = header.operation
    packDigest(header.checksum, this.#words, word + WORD_AT.checksum)
    this.#young[header.op % this.#young.length] = header
  }

  #start(op: number): number {
    return this.#floats[(op % this.#slots) * FLOATS + AT.start] ?? 0
  }

  /** The checksum of entry `op`, if held or the base. */
  checksum(op: number): Digest | undefined {
    if (op === this.#base) {
      return unpackDigest(this.#baseChecksum, 0)
    }
    if (!this.holds(op)) {
      return undefined
    }
    const young = this.#young[op % this.#young.length]
    return young?.op === op ? young.checksum : unpackDigest(this.#words, (op % this.#slots) * WORDS + WORD_AT.checksum)
  }

  /** A view of the body inside the ring: valid until the next append. */
  entry(op: number): LogEntry | undefined {
    const header = this.header(op)
    if (header === undefined) {
      return undefined
    }
    const offset = this.#offset(op)
    return { header, body: this.#memory.subarray(offset, offset + header.body_bytes) }
  }

  get memory(): Uint8Array {
    return this.#memory
  }

  /** Offset of the body of a held op inside `memory`. */
  bodyOffset(op: number): number {
    assert(this.holds(op), "log: body of an op that is not held")
    return this.#offset(op)
  }

  /**
   * Appends the next op, dropping the oldest entries where it needs their place, but none above `droppable`
   * (the commit number: what is not committed must stay).
   */
  append(header: PrepareHeader, body: Uint8Array, droppable: number): void {
    assert(header.op === this.#op + 1, "log: ops are contiguous")
    assert(header.parent === this.checksum(this.#op), "log: the chain of checksums is unbroken")
    assert(header.body_bytes === body.length && body.length <= this.#memory.length, "log: body length")
    const start = this.#place(body.length)
    while (this.#base < this.#op && !this.#fits(start + body.length)) {
      assert(this.first <= droppable, "log: full of uncommitted entries")
      this.#dropFirst()
    }
    this.#memory.set(body, start % this.#memory.length)
    this.#pack(header, start)
    this.#head = start + body.length
    this.#op = header.op
    assert(this.header(header.op) === header, "log: appended entry is held")
  }

  /** Forgets every entry above `op`: only ever when the replacement is in hand (defect D4 of state transfer). */
  truncateAfter(op: number): void {
    assert(op >= this.#base && op <= this.#op, "log: truncation outside the log")
    if (op < this.#op) {
      this.#head = this.#start(op + 1)
    }
    this.#op = op
  }

  /**
   * A checkpoint covers everything up to `op`. Entries above it stay when this log holds the very same entry `op`;
   * otherwise they hang on another chain, were never committed, and go.
   */
  rebase(op: number, checksum: Digest): void {
    assert(op >= this.#base, "log: a checkpoint never goes back")
    if (this.checksum(op) === checksum) {
      while (this.#base < op) {
        this.#dropFirst()
      }
      return
    }
    this.truncateAfter(this.#base)
    this.#base = op
    packDigest(checksum, this.#baseChecksum, 0)
    this.#op = op
  }

  /** True when who holds everything up to `op` lacks more than half of what this ring can hold (rule 11). */
  isHalfRingBehind(op: number): boolean {
    if (op >= this.#op) {
      return false
    }
    const next = op + 1
    if (next < this.first || this.#op - op > this.#slots / 2) {
      return true
    }
    return this.#head - this.#start(next) > this.#memory.length / 2
  }

  /** Bytes of the ring that entries behind `op` take; all of it when some of them are gone. */
  bytesSince(op: number): number {
    if (op >= this.#op) {
      return 0
    }
    return op + 1 < this.first ? this.#memory.length : this.#head - this.#start(op + 1)
  }

  /** Headers of the last `count` entries, ascending; fewer when fewer are held. */
  suffix(count: number): PrepareHeader[] {
    const headers: PrepareHeader[] = []
    for (let op = Math.max(this.first, this.#op - count + 1); op <= this.#op; op += 1) {
      const header = this.header(op)
      assert(header !== undefined, "log: a held op has a header")
      headers.push(header)
    }
    return headers
  }

  #offset(op: number): number {
    return this.#start(op) % this.#memory.length
  }

  /** The position where a body of `bytes` goes: behind the youngest, or at the buffer's start rather than split. */
  #place(bytes: number): number {
    const size = this.#memory.length
    const offset = this.#head % size
    return offset + bytes <= size ? this.#head : this.#head + (size - offset)
  }

  #fits(end: number): boolean {
    return this.#op - this.#base < this.#slots && end - this.#start(this.first) <= this.#memory.length
  }

  #dropFirst(): void {
    assert(this.holds(this.first), "log: the oldest entry is held")
    const word = (this.first % this.#slots) * WORDS + WORD_AT.checksum
    for (let index = 0; index < CHECKSUM_WORDS; index += 1) {
      this.#baseChecksum[index] = this.#words[word + index] ?? 0
    }
    this.#base += 1
  }

  // ---------------------------------------------------------------- copies, for a search over schedules

  /** Becomes as `other` is, bodies included; later changes of one don't reach the other. */
  copyFrom(other: Log): void {
    assert(this.#slots === other.#slots, "log: a copy has the slots of its original")
    assert(this.#memory.length === other.#memory.length, "log: a copy has the memory of its original")
    for (const [place, header] of other.#young.entries()) {
      this.#young[place] = header
    }
    this.#floats.set(other.#floats)
    this.#memory.set(other.#memory)
    this.#base = other.#base
    this.#baseChecksum.set(other.#baseChecksum)
    this.#op = other.#op
    this.#head = other.#head
  }

  /** A checksum stands for its entry; where bodies lie decides when the ring is full. */
  fingerprint(sink: FingerprintSink): void {
    sink("log.base", this.#base)
    sink("log.baseChecksum", unpackDigest(this.#baseChecksum, 0))
    sink("log.op", this.#op)
    sink("log.head", this.#head % this.#memory.length)
    for (let op = this.first; op <= this.#op; op += 1) {
      sink("log.headers", this.header(op)?.checksum)
      sink("log.starts", this.#head - this.#start(op))
    }
  }
}

function operationOf(code: number): Operation {
  const operation = OPERATIONS.find((known) => known === code)
  assert(operation !== undefined, "log: what was packed is an operation")
  return operation
}

const OPERATIONS: readonly Operation[] = Object.values(Operation)
const DIGITS_PER_WORD = 8

function packDigest(digest: Digest, words: Uint32Array, at: number): void {
  for (let word = 0; word < CHECKSUM_WORDS; word += 1) {
    let value = 0
    for (let digit = word * DIGITS_PER_WORD; digit < (word + 1) * DIGITS_PER_WORD; digit += 1) {
      const code = digest.charCodeAt(digit)
      // 0 to 9, then a to f.
      value = (value << 4) | (code < 0x3a ? code - 0x30 : code - 0x57)
    }
    words[at + word] = value >>> 0
  }
}

function unpackDigest(words: Uint32Array, at: number): Digest {
  let digest = ""
  for (let word = 0; word < CHECKSUM_WORDS; word += 1) {
    digest += (words[at + word] ?? 0).toString(16).padStart(DIGITS_PER_WORD, "0")
  }
  return digest
}
