/** The table `machines`: records (machine_record.ts) in the order of their first put. Plane: control. */
import { assert } from "../types/assert.ts"
import type { PageWrites } from "./pages.ts"
import { MACHINE_RECORD_BYTES } from "./machine_record.ts"
import type { TableOptions } from "./table_options.ts"

export const MACHINE_NONE = -1

export class Machines {
  readonly #bytes: Uint8Array
  readonly #pages: PageWrites
  readonly #start: number
  readonly #machinesMax: number

  constructor(options: TableOptions) {
    this.#pages = options.pages
    this.#bytes = new Uint8Array(options.view.buffer, options.view.byteOffset, options.view.byteLength)
    this.#start = options.layout.machines
    this.#machinesMax = options.limits.machines_max
  }

  /** Records in the table: they are contiguous, a free one has an empty id. */
  count(): number {
    let count = 0
    while (count < this.#machinesMax && this.#bytes[this.offset(count)] !== 0) {
      count += 1
    }
    return count
  }

  /** The index of the machine whose id is `id[start, end)`, or MACHINE_NONE. */
  find(id: Uint8Array, start: number, end: number): number {
    const count = this.count()
    for (let index = 0; index < count; index += 1) {
      const at = this.offset(index)
      let isEqual = this.#bytes[at] === end - start
      for (let byte = 0; isEqual && byte < end - start; byte += 1) {
        isEqual = this.#bytes[at + 1 + byte] === id[start + byte]
      }
      if (isEqual) {
        return index
      }
    }
    return MACHINE_NONE
  }

  /** Inserts or replaces; false when the table is full. */
  put(index: number, body: Uint8Array, valueStart: number): boolean {
    const target = index === MACHINE_NONE ? this.count() : index
    if (target >= this.#machinesMax) {
      return false
    }
    this.#pages.willWrite(this.offset(target), this.offset(target) + MACHINE_RECORD_BYTES)
    this.#bytes.set(body.subarray(valueStart, valueStart + MACHINE_RECORD_BYTES), this.offset(target))
    assert(this.#bytes[this.offset(target)] !== 0, "machines: a stored record has an id")
    return true
  }

  /** Offset of a record in the arena. */
  offset(index: number): number {
    return this.#start + index * MACHINE_RECORD_BYTES
  }
}
