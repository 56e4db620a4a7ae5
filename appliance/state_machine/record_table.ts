/**
 * A table of fixed-size records, each under a key in its own first 64 bytes:
 *
 *   offset size
 *        0    1  bytes of the key, 1..63; 0 for a free record
 *        1   63  key
 *       64    r  what the table is for
 *
 * Records lie without gaps, in the order of their first put; where one is removed the last takes its place.
 *
 * Plane: control.
 */
import { assert } from "../types/assert.ts"
import type { PageWrites } from "./pages.ts"
import type { TableOptions } from "./table_options.ts"
import { RECORD_TABLES } from "./record_tables.ts"

export const RECORD_KEY_BYTES_MAX = 63
export const RECORD_NONE = -1

export class RecordTable {
  readonly recordBytes: number
  readonly #bytes: Uint8Array
  readonly #pages: PageWrites
  readonly #start: number
  readonly #recordsMax: number

  /** `number` is one of TableNumber. */
  constructor(options: TableOptions, number: number) {
    const shape = RECORD_TABLES[number]
    const start = options.layout.records[number]
    assert(shape !== undefined && start !== undefined, "record table: a number names a table")
    this.recordBytes = shape.recordBytes
    this.#pages = options.pages
    this.#bytes = new Uint8Array(options.view.buffer, options.view.byteOffset, options.view.byteLength)
    this.#start = start
    this.#recordsMax = options.limits[shape.limit]
  }

  /** Records in the table: used ones come first, so that a search by halves finds their end. */
  count(): number {
    let low = 0
    let high = this.#recordsMax
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.#bytes[this.offset(middle)] === 0) {
        high = middle
      } else {
        low = middle + 1
      }
    }
    return low
  }

  /** The index of the record under `keys[start, end)`, or RECORD_NONE. */
  find(keys: Uint8Array, start: number, end: number): number {
    for (let index = 0; index < this.#recordsMax; index += 1) {
      const at = this.offset(index)
      if (this.#bytes[at] === 0) {
        return RECORD_NONE
      }
      if (this.#isKey(at, keys, start, end)) {
        return index
      }
    }
    return RECORD_NONE
  }

  /** Inserts or replaces the record at `body[start, start + recordBytes)` under its own key; false when it is full. */
  put(body: Uint8Array, start: number): boolean {
    const keyBytes = body[start] ?? 0
    assert(keyBytes > 0 && keyBytes <= RECORD_KEY_BYTES_MAX, "record table: a record has a key")
    const found = this.find(body, start + 1, start + 1 + keyBytes)
    const index = found === RECORD_NONE ? this.count() : found
    if (index >= this.#recordsMax) {
      return false
    }
    const at = this.offset(index)
    this.#pages.willWrite(at, at + this.recordBytes)
    this.#bytes.set(body.subarray(start, start + this.recordBytes), at)
    assert(this.find(body, start + 1, start + 1 + keyBytes) === index, "record table: a stored record is found")
    return true
  }

  remove(index: number): void {
    const last = this.count() - 1
    assert(index >= 0 && index <= last, "record table: only a stored record is removed")
    const from = this.offset(last)
    if (index !== last) {
      this.#pages.willWrite(this.offset(index), this.offset(index) + this.recordBytes)
      this.#bytes.copyWithin(this.offset(index), from, from + this.recordBytes)
    }
    this.#pages.willWrite(from, from + this.recordBytes)
    this.#bytes.fill(0, from, from + this.recordBytes)
    assert(this.count() === last, "record table: what was removed is gone")
  }

  clear(): void {
    const bytes = this.count() * this.recordBytes
    if (bytes > 0) {
      this.#pages.willWrite(this.#start, this.#start + bytes)
      this.#bytes.fill(0, this.#start, this.#start + bytes)
    }
    assert(this.count() === 0, "record table: a cleared table is empty")
  }

  /** Offset of a record in the arena. */
  offset(index: number): number {
    return this.#start + index * this.recordBytes
  }

  #isKey(at: number, keys: Uint8Array, start: number, end: number): boolean {
    let isEqual = this.#bytes[at] === end - start
    for (let byte = 0; isEqual && byte < end - start; byte += 1) {
      isEqual = this.#bytes[at + 1 + byte] === keys[start + byte]
    }
    return isEqual
  }
}
