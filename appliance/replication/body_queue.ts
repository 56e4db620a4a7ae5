/** A bounded queue of items with a body each, the bodies copied into one preallocated buffer. Plane: control. */
import { assert } from "../types/assert.ts"
import type { FingerprintSink } from "../types/fingerprint.ts"
import { Ring } from "../types/ring.ts"

type Place = { readonly start: number; readonly bytes: number }

export class BodyQueue<T> {
  readonly #items: Ring<T & Place>
  readonly #memory: Uint8Array
  /** Positions that only grow; modulo the buffer's length they are offsets. */
  #head = 0
  #tail = 0

  constructor(capacity: number, memory: Uint8Array) {
    assert(memory.length > 0, "body queue: needs memory")
    this.#items = new Ring(capacity)
    this.#memory = memory
  }

  get count(): number {
    return this.#items.count
  }

  isEmpty(): boolean {
    return this.#items.isEmpty()
  }

  hasRoom(bytes: number): boolean {
    return !this.#items.isFull() && this.#place(bytes) + bytes - this.#tail <= this.#memory.length
  }

  add(item: T, body: Uint8Array): void {
    assert(this.hasRoom(body.length), "body queue: add() without room; ask hasRoom() first")
    const start = this.#place(body.length)
    this.#memory.set(body, start % this.#memory.length)
    this.#items.add({ ...item, start, bytes: body.length })
    this.#head = start + body.length
  }

  peek(): T | undefined {
    return this.#items.peek()
  }

  at(index: number): T | undefined {
    return this.#items.at(index)
  }

  /** Takes the oldest out. Its `body` is a view into the queue's buffer: valid until the next add(). */
  take(): { readonly item: T; readonly body: Uint8Array } | undefined {
    const item = this.#items.take()
    if (item === undefined) {
      return undefined
    }
    const offset = item.start % this.#memory.length
    this.#tail = item.start + item.bytes
    if (this.#items.isEmpty()) {
      this.#tail = this.#head
    }
    return { item, body: this.#memory.subarray(offset, offset + item.bytes) }
  }

  clear(): void {
    this.#items.clear()
    this.#tail = this.#head
  }

  #place(bytes: number): number {
    const size = this.#memory.length
    const offset = this.#head % size
    return offset + bytes <= size ? this.#head : this.#head + (size - offset)
  }

  // ---------------------------------------------------------------- copies, for a search over schedules

  /** Becomes as `other` is, bodies included. */
  copyFrom(other: BodyQueue<T>): void {
    assert(this.#memory.length === other.#memory.length, "body queue: a copy has the memory of its original")
    this.#items.copyFrom(other.#items)
    this.#memory.set(other.#memory)
    this.#head = other.#head
    this.#tail = other.#tail
  }

  /** `fieldsOf` names what an item is made of; where bodies lie decides when the queue is full. */
  fingerprint(sink: FingerprintSink, fieldsOf: (item: T) => readonly number[]): void {
    sink("queue.head", this.#head % this.#memory.length)
    sink("queue.tail", this.#head - this.#tail)
    for (let index = 0; index < this.#items.count; index += 1) {
      const item = this.#items.at(index)
      assert(item !== undefined, "body queue: an item below the count is there")
      const offset = item.start % this.#memory.length
      sink("queue.items", [...fieldsOf(item), this.#head - item.start])
      sink("queue.memory", this.#memory.subarray(offset, offset + item.bytes))
    }
  }
}
