/**
 * The log: a fixed ring of entries whose bodies lie in one preallocated buffer. Ops are contiguous from `first` to
 * `op`; `base` is the op before `first`, known by its checksum only (0, or what a checkpoint covers). Plane: control.
 */
import { assert } from "../types/assert.ts"
import type { Digest } from "../types/contracts.ts"
import type { FingerprintSink } from "../types/fingerprint.ts"
import type { LogEntry, PrepareHeader } from "./message.ts"

/** The checksum before op 1. */
export const ROOT_CHECKSUM: Digest = "0".repeat(32)

export class Log {
  readonly #headers: (PrepareHeader | undefined)[]
  /** Where each slot's body begins, as a position that only grows; modulo the buffer's length it is an offset. */
  readonly #starts: Float64Array
  readonly #memory: Uint8Array
  #base = 0
  #baseChecksum: Digest = ROOT_CHECKSUM
  #op = 0
  /** The position behind the youngest body. */
  #head = 0

  /** `slots` entries at most; `memory` holds their bodies. */
  constructor(slots: number, memory: Uint8Array) {
    assert(Number.isSafeInteger(slots) && slots > 0, "log: slots is a positive integer")
    assert(memory.length > 0, "log: needs memory")
    this.#headers = new Array<PrepareHeader | undefined>(slots).fill(undefined)
    this.#starts = new Float64Array(slots)
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
    return this.holds(op) ? this.#headers[op % this.#headers.length] : undefined
  }

  /** The checksum of entry `op`, if held or the base. */
  checksum(op: number): Digest | undefined {
    return op === this.#base ? this.#baseChecksum : this.header(op)?.checksum
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
    this.#starts[header.op % this.#headers.length] = start
    this.#headers[header.op % this.#headers.length] = header
    this.#head = start + body.length
    this.#op = header.op
    assert(this.header(header.op) === header, "log: appended entry is held")
  }

  /** Forgets every entry above `op`: only ever when the replacement is in hand (defect D4 of state transfer). */
  truncateAfter(op: number): void {
    assert(op >= this.#base && op <= this.#op, "log: truncation outside the log")
    if (op < this.#op) {
      this.#head = this.#starts[(op + 1) % this.#headers.length] ?? 0
    }
    for (let gone = this.#op; gone > op; gone -= 1) {
      this.#headers[gone % this.#headers.length] = undefined
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
    this.#baseChecksum = checksum
    this.#op = op
  }

  /** True when who holds everything up to `op` lacks more than half of what this ring can hold (rule 11). */
  isHalfRingBehind(op: number): boolean {
    if (op >= this.#op) {
      return false
    }
    const next = op + 1
    if (next < this.first || this.#op - op > this.#headers.length / 2) {
      return true
    }
    return this.#head - (this.#starts[next % this.#headers.length] ?? 0) > this.#memory.length / 2
  }

  /** Bytes of the ring that entries behind `op` take; all of it when some of them are gone. */
  bytesSince(op: number): number {
    if (op >= this.#op) {
      return 0
    }
    return op + 1 < this.first ? this.#memory.length : this.#head - (this.#starts[(op + 1) % this.#headers.length] ?? 0)
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
    return (this.#starts[op % this.#headers.length] ?? 0) % this.#memory.length
  }

  /** The position where a body of `bytes` goes: behind the youngest, or at the buffer's start rather than split. */
  #place(bytes: number): number {
    const size = this.#memory.length
    const offset = this.#head % size
    return offset + bytes <= size ? this.#head : this.#head + (size - offset)
  }

  #fits(end: number): boolean {
    const oldest = this.#starts[this.first % this.#headers.length] ?? 0
    return this.#op - this.#base < this.#headers.length && end - oldest <= this.#memory.length
  }

  #dropFirst(): void {
    const header = this.header(this.first)
    assert(header !== undefined, "log: the oldest entry is held")
    this.#headers[this.first % this.#headers.length] = undefined
    this.#base += 1
    this.#baseChecksum = header.checksum
  }

  // ---------------------------------------------------------------- copies, for a search over schedules

  /** Becomes as `other` is, bodies included; later changes of one don't reach the other. */
  copyFrom(other: Log): void {
    assert(this.#headers.length === other.#headers.length, "log: a copy has the slots of its original")
    assert(this.#memory.length === other.#memory.length, "log: a copy has the memory of its original")
    for (let slot = 0; slot < this.#headers.length; slot += 1) {
      this.#headers[slot] = other.#headers[slot]
    }
    this.#starts.set(other.#starts)
    this.#memory.set(other.#memory)
    this.#base = other.#base
    this.#baseChecksum = other.#baseChecksum
    this.#op = other.#op
    this.#head = other.#head
  }

  /** A checksum stands for its entry; where bodies lie decides when the ring is full. */
  fingerprint(sink: FingerprintSink): void {
    sink("log.base", this.#base)
    sink("log.baseChecksum", this.#baseChecksum)
    sink("log.op", this.#op)
    sink("log.head", this.#head % this.#memory.length)
    for (let op = this.first; op <= this.#op; op += 1) {
      sink("log.headers", this.header(op)?.checksum)
      sink("log.starts", this.#head - (this.#starts[op % this.#headers.length] ?? 0))
    }
  }
}
