/**
 * The replies that a replica holds while it gathers a quorum, one a slot. Rule 7 (re-prune when a vector entry rises)
 * is what we implement; rule 8 (members are pairwise crash-consistent) is what we assert of every quorum that is
 * used. Plane: control.
 */
import { assert } from "../types/assert.ts"
import { entryAt } from "./crash_vector.ts"
import type { CrashVector } from "./message.ts"

export type Held = { readonly from: number; readonly cv: CrashVector }

export class HeldReplies<T extends Held> {
  readonly #slots: (T | undefined)[]
  #count = 0

  constructor(slots: number) {
    this.#slots = new Array<T | undefined>(slots).fill(undefined)
  }

  get count(): number {
    return this.#count
  }

  /** Keeps the reply as its slot's only one; a later reply replaces an earlier one. */
  add(reply: T): void {
    assert(reply.from >= 0 && reply.from < this.#slots.length, "held replies: slot out of range")
    if (this.#slots[reply.from] === undefined) {
      this.#count += 1
    }
    this.#slots[reply.from] = reply
  }

  at(slot: number): T | undefined {
    return this.#slots[slot]
  }

  remove(slot: number): void {
    if (this.#slots[slot] !== undefined) {
      this.#slots[slot] = undefined
      this.#count -= 1
    }
  }

  clear(): void {
    this.#slots.fill(undefined)
    this.#count = 0
  }

  /**
   * Rule 7: the entry of `slot` rose to `entry`; what an earlier incarnation said no longer counts. True if dropped.
   */
  prune(slot: number, entry: number): boolean {
    const held = this.#slots[slot]
    if (held === undefined || entryAt(held.cv, slot) >= entry) {
      return false
    }
    this.remove(slot)
    return true
  }

  /** The held replies in slot order. */
  all(): T[] {
    return this.#slots.filter((held) => held !== undefined)
  }

  /** Rule 8, asserted of every quorum at the moment it is used. */
  assertCrashConsistent(): void {
    for (const a of this.#slots) {
      for (const b of this.#slots) {
        if (a !== undefined && b !== undefined) {
          assert(entryAt(a.cv, b.from) <= entryAt(b.cv, b.from), "held replies: quorum is not crash-consistent")
        }
      }
    }
  }

  /** Becomes as `other` is; replies are messages, which never change, and are shared. */
  copyFrom(other: HeldReplies<T>): void {
    assert(this.#slots.length === other.#slots.length, "held replies: a copy has the slots of its original")
    for (let slot = 0; slot < this.#slots.length; slot += 1) {
      this.#slots[slot] = other.#slots[slot]
    }
    this.#count = other.#count
  }
}
