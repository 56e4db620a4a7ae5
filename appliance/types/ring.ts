/** A bounded first-in first-out queue: ask `isFull()` first, then `add()`. Plane: data. */
import { assert } from "./assert.ts"

export class Ring<T> {
  readonly #slots: (T | undefined)[]
  #head = 0
  #count = 0

  constructor(capacity: number) {
    assert(Number.isSafeInteger(capacity) && capacity > 0, "ring: capacity is a positive integer")
    this.#slots = new Array<T | undefined>(capacity).fill(undefined)
  }

  get capacity(): number {
    return this.#slots.length
  }

  get count(): number {
    return this.#count
  }

  isFull(): boolean {
    return this.#count === this.#slots.length
  }

  isEmpty(): boolean {
    return this.#count === 0
  }

  add(item: T): void {
    assert(!this.isFull(), "ring: add() to a full ring; ask isFull() first")
    this.#slots[(this.#head + this.#count) % this.#slots.length] = item
    this.#count += 1
  }

  /** The oldest item, left in place. */
  peek(): T | undefined {
    return this.#count === 0 ? undefined : this.#slots[this.#head]
  }

  /** Takes the oldest item out. */
  take(): T | undefined {
    if (this.#count === 0) {
      return undefined
    }
    const item = this.#slots[this.#head]
    this.#slots[this.#head] = undefined
    this.#head = (this.#head + 1) % this.#slots.length
    this.#count -= 1
    return item
  }

  /** The item `index` places behind the oldest. */
  at(index: number): T | undefined {
    assert(index >= 0 && index < this.#count, "ring: index out of range")
    return this.#slots[(this.#head + index) % this.#slots.length]
  }

  clear(): void {
    this.#slots.fill(undefined)
    this.#head = 0
    this.#count = 0
  }

  /** Becomes as `other` is; the items are shared. */
  copyFrom(other: Ring<T>): void {
    assert(this.#slots.length === other.#slots.length, "ring: a copy has the capacity of its original")
    for (let index = 0; index < this.#slots.length; index += 1) {
      this.#slots[index] = other.#slots[index]
    }
    this.#head = other.#head
    this.#count = other.#count
  }
}
