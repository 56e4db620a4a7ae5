/**
 * Static memory: every large buffer is allocated here at startup and named; after `seal()` allocating is a bug.
 * Plane: control.
 */
import { assert } from "./assert.ts"

export type Allocation = { readonly name: string; readonly bytes: number }

const ALLOCATIONS_MAX = 256

/** One ledger of buffers for one process (or one simulated machine). */
export class StaticMemory {
  readonly #allocations: Allocation[] = []
  #sealed = false

  /** A zeroed buffer of exactly `bytes` bytes, on its own ArrayBuffer. */
  allocate(name: string, bytes: number): Uint8Array<ArrayBuffer> {
    assert(!this.#sealed, "static memory: allocation after seal()")
    assert(Number.isSafeInteger(bytes) && bytes > 0, "static memory: a size is a positive integer")
    assert(this.#allocations.length < ALLOCATIONS_MAX, "static memory: more buffers than ALLOCATIONS_MAX")
    assert(!this.#allocations.some((other) => other.name === name), "static memory: two buffers of one name")
    this.#allocations.push({ name, bytes })
    return new Uint8Array(new ArrayBuffer(bytes))
  }

  seal(): void {
    assert(!this.#sealed, "static memory: sealed twice")
    this.#sealed = true
  }

  get sealed(): boolean {
    return this.#sealed
  }

  /** The table of names and bytes that a machine prints at boot. */
  table(): readonly Allocation[] {
    return this.#allocations
  }

  get bytesTotal(): number {
    let total = 0
    for (const allocation of this.#allocations) {
      total += allocation.bytes
    }
    return total
  }
}
