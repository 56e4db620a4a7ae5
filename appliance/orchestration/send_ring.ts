/**
 * Bytes on their way to one peer, in one preallocated buffer. A frame lies in one piece, so it can be encoded in place
 * and written without a copy; what a write was given stays untouched until `consume`. Plane: data.
 */
import { assert } from "../types/assert.ts"

export class SendRing {
  readonly bytes: Uint8Array
  /** Where the next frame goes, and the oldest byte that is not consumed. Equal only when the ring is empty. */
  #head = 0
  #tail = 0
  /** End of the bytes above `tail` while the youngest lie below it. */
  #wrap: number

  constructor(bytes: Uint8Array) {
    assert(bytes.length > 0, "send ring: needs memory")
    this.bytes = bytes
    this.#wrap = bytes.length
  }

  isEmpty(): boolean {
    return this.#head === this.#tail
  }

  /** Where a frame of so many bytes would go, or -1 when there is no room for it in one piece. */
  place(bytes: number): number {
    assert(bytes > 0, "send ring: a frame has bytes")
    if (this.#head < this.#tail) {
      // Strictly less: equal ends would read as empty.
      return bytes < this.#tail - this.#head ? this.#head : -1
    }
    if (bytes <= this.bytes.length - this.#head) {
      return this.#head
    }
    return bytes < this.#tail ? 0 : -1
  }

  /** The frame that was encoded at `offset`, which `place` gave, is part of the ring. */
  commit(offset: number, bytes: number): void {
    assert(offset === this.place(bytes), "send ring: a frame lies where it was placed")
    if (offset === 0 && this.#head > 0) {
      this.#wrap = this.#head
    }
    this.#head = offset + bytes
  }

  /** The oldest bytes in one piece: [start, end), empty when the ring is. */
  get start(): number {
    return this.#tail
  }
  get end(): number {
    return this.#head >= this.#tail ? this.#head : this.#wrap
  }

  /** The piece up to `end` was taken: its bytes may be written over. */
  consume(end: number): void {
    assert(end > this.#tail && end <= this.end, "send ring: only what is held can be consumed")
    this.#tail = end
    if (this.#head < this.#tail && this.#tail === this.#wrap) {
      this.#tail = 0
      this.#wrap = this.bytes.length
    }
    if (this.#head === this.#tail) {
      this.#head = 0
      this.#tail = 0
    }
  }

  clear(): void {
    this.#head = 0
    this.#tail = 0
    this.#wrap = this.bytes.length
  }
}
