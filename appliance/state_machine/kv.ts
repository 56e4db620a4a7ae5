/**
 * The table `kv`: an open-addressing index over fixed entries, keys and values in slabs, deadlines in a binary heap;
 * all of it in the arena. An entry:
 *
 *   offset size
 *        0    4  hash of the key
 *        4    2  bytes of the key
 *        6    1  size class of the block
 *        7    1  1 while in use
 *        8    4  bytes of the value
 *       12    4  offset of the block in the arena: 4 bytes, entry + 1; key; value (a free entry: next free entry + 1)
 *       16    8  deadline in milliseconds of cluster time, 0 for none
 *       24    4  place in the heap + 1, 0 for none
 *       28    4  CRC-32 of the block's bytes in use, checked on every read
 *
 * Plane: data.
 */
import { assert } from "../types/assert.ts"
import { crc32 } from "../types/checksum.ts"
import { type ArenaLayout, BLOCK_HEAD_BYTES, getU53, HeaderOffset, KV_ENTRY_BYTES, setU53 } from "./arena.ts"
import { copyBytes } from "./copy_bytes.ts"
import type { PageWrites } from "./pages.ts"
import { BLOCK_NONE, PAGE_NONE, Slab } from "./slab.ts"
import type { TableOptions } from "./table_options.ts"

export const ENTRY_NONE = -1

/** What `put` can answer. */
export const PutStatus = { ok: 0, entries_full: 1, slab_full: 2 } as const
export type PutStatus = (typeof PutStatus)[keyof typeof PutStatus]

/** FNV-1a's constants with a final mix; part of the arena's format, since the index's order follows from it. */
const HASH_SEED = 0x811c_9dc5
const HASH_PRIME = 0x0100_0193

export function hashKey(bytes: Uint8Array, start: number, end: number): number {
  let hash = HASH_SEED
  for (let index = start; index < end; index += 1) {
    hash = Math.imul(hash ^ (bytes[index] ?? 0), HASH_PRIME)
  }
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b_3c6d)
  return (hash ^ (hash >>> 13)) >>> 0
}

export class KeyValues {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  readonly #layout: ArenaLayout
  readonly #entriesMax: number
  readonly #mask: number
  readonly #slab: Slab
  readonly #pages: PageWrites

  constructor(options: TableOptions) {
    this.#view = options.view
    this.#bytes = new Uint8Array(options.view.buffer, options.view.byteOffset, options.view.byteLength)
    this.#layout = options.layout
    this.#entriesMax = options.limits.kv_entries_max
    this.#mask = options.layout.kv_index_slots - 1
    this.#slab = new Slab(options)
    this.#pages = options.pages
  }

  /** Keys stored, expired ones that no pulse has removed yet included. */
  count(): number {
    return this.#view.getUint32(HeaderOffset.kv_count, true)
  }

  /** Entries ever used: all that are in use have a lower number. */
  used(): number {
    return this.#view.getUint32(HeaderOffset.kv_used, true)
  }

  /** False: the entry was given back. */
  isInUse(entry: number): boolean {
    return this.#view.getUint8(this.#at(entry) + 7) === 1
  }

  /**
   * The three steps from a hash to its value, for passes over a whole batch before the work itself: each brings one
   * step of every command into the cache, so that the misses of many commands overlap. Nothing is decided by them.
   * First the index: the entry that the hash's own slot names, or ENTRY_NONE.
   */
  touchIndex(hash: number): number {
    return this.#indexAt(hash & this.#mask)
  }

  /** Second the entry: where its block lies. */
  touchEntry(entry: number): number {
    return this.#block(entry)
  }

  /** Third the block: its first bytes. */
  touchBlock(block: number): number {
    return this.#view.getUint32(block, true)
  }

  /** The entry of the key `keys[start, end)`, or ENTRY_NONE. Says nothing of its deadline. */
  find(hash: number, keys: Uint8Array, start: number, end: number): number {
    for (let probe = 0; probe <= this.#mask; probe += 1) {
      const entry = this.#indexAt((hash + probe) & this.#mask)
      if (entry === ENTRY_NONE) {
        return ENTRY_NONE
      }
      if (this.#hash(entry) === hash && this.#isKey(entry, keys, start, end)) {
        return entry
      }
    }
    return ENTRY_NONE
  }

  /** True when the entry has a deadline and `now` has reached it. */
  isExpired(entry: number, now: number): boolean {
    const deadline = this.deadline(entry)
    return deadline !== 0 && deadline <= now
  }

  deadline(entry: number): number {
    return getU53(this.#view, this.#at(entry) + 16)
  }

  valueBytes(entry: number): number {
    return this.#view.getUint32(this.#at(entry) + 8, true)
  }

  keyBytes(entry: number): number {
    return this.#view.getUint16(this.#at(entry) + 4, true)
  }

  /** Offset of the key in the arena. */
  keyOffset(entry: number): number {
    return this.#block(entry) + BLOCK_HEAD_BYTES
  }

  /** Offset of the value in the arena. */
  valueOffset(entry: number): number {
    const at = this.#at(entry)
    return this.#block(entry) + BLOCK_HEAD_BYTES + this.#view.getUint16(at + 4, true)
  }

  /** True when key and value are what was written: a flipped bit is found here, before it is answered. */
  isIntact(entry: number): boolean {
    const at = this.#at(entry)
    const block = this.#block(entry)
    const end = this.valueOffset(entry) + this.valueBytes(entry)
    if (block < this.#layout.slab || end > this.#layout.bytes) {
      return false
    }
    return crc32(this.#bytes, block, end) === this.#view.getUint32(at + 28, true)
  }

  /** True when the key has the hash under which it is stored: enough where no value is answered, however long it is. */
  isKeyIntact(entry: number): boolean {
    const start = this.keyOffset(entry)
    const end = start + this.keyBytes(entry)
    if (start < this.#layout.slab || end > this.#layout.bytes) {
      return false
    }
    return hashKey(this.#bytes, start, end) === this.#hash(entry)
  }

  /**
   * Stores `value[valueStart, valueEnd)` under `keys[keyStart, keyEnd)`. `entry` is what find() answered. Changes
   * nothing when it does not fit. The deadline is 0 for none.
   */
  put(
    entry: number,
    put: {
      hash: number
      keys: DataView
      keyStart: number
      keyEnd: number
      value: DataView
      valueStart: number
      valueEnd: number
      deadline: number
    },
  ): PutStatus {
    const keyBytes = put.keyEnd - put.keyStart
    const valueBytes = put.valueEnd - put.valueStart
    const bytes = BLOCK_HEAD_BYTES + keyBytes + valueBytes
    const sizeClass = this.#slab.classOf(bytes)
    const isNew = entry === ENTRY_NONE
    if (isNew && this.count() >= this.#entriesMax) {
      return PutStatus.entries_full
    }
    const oldClass = isNew ? -1 : this.#view.getUint8(this.#at(entry) + 6)
    let block = BLOCK_NONE
    if (oldClass !== sizeClass) {
      block = this.#allocate(sizeClass)
      if (block === BLOCK_NONE) {
        return PutStatus.slab_full
      }
      if (!isNew) {
        // Asked for only now: to make room, the old block may have been moved.
        this.#slab.free(this.#block(entry), oldClass)
      }
    } else {
      // In place: what the shorter value leaves behind is zeroed.
      block = this.#block(entry)
      const oldEnd = this.valueOffset(entry) + this.valueBytes(entry)
      if (oldEnd > block + bytes) {
        this.#pages.willWrite(block + bytes, oldEnd)
        this.#bytes.fill(0, block + bytes, oldEnd)
      }
    }
    const target = isNew ? this.#takeEntry(put.hash) : entry
    const at = this.#at(target)
    this.#pages.willWrite(at, at + KV_ENTRY_BYTES)
    this.#pages.willWrite(block, block + bytes)
    this.#view.setUint16(at + 4, keyBytes, true)
    this.#view.setUint8(at + 6, sizeClass)
    this.#view.setUint32(at + 8, valueBytes, true)
    this.#view.setUint32(at + 12, block, true)
    this.#slab.setOwner(block, target + 1)
    copyBytes(put.keys, put.keyStart, this.#view, block + BLOCK_HEAD_BYTES, keyBytes)
    copyBytes(put.value, put.valueStart, this.#view, block + BLOCK_HEAD_BYTES + keyBytes, valueBytes)
    this.#view.setUint32(at + 28, crc32(this.#bytes, block, block + bytes), true)
    this.#setDeadline(target, put.deadline)
    assert(this.#view.getUint8(at + 7) === 1, "kv: a stored entry is in use")
    return PutStatus.ok
  }

  /** Removes an entry and zeroes what it held. */
  remove(entry: number): void {
    const at = this.#at(entry)
    assert(this.#view.getUint8(at + 7) === 1, "kv: only an entry in use is removed")
    this.#setDeadline(entry, 0)
    this.#removeFromIndex(entry)
    this.#slab.free(this.#block(entry), this.#view.getUint8(at + 6))
    this.#pages.willWrite(at, at + KV_ENTRY_BYTES)
    this.#bytes.fill(0, at, at + KV_ENTRY_BYTES)
    this.#view.setUint32(at + 12, this.#view.getUint32(HeaderOffset.kv_free, true), true)
    this.#view.setUint32(HeaderOffset.kv_free, entry + 1, true)
    this.#view.setUint32(HeaderOffset.kv_count, this.count() - 1, true)
  }

  /** Gives the entry another deadline, 0 for none. */
  expireAt(entry: number, deadline: number): void {
    const at = this.#at(entry)
    this.#pages.willWrite(at, at + KV_ENTRY_BYTES)
    this.#setDeadline(entry, deadline)
  }

  /** The earliest deadline, or Infinity. */
  nextDeadline(): number {
    return this.#heapCount() === 0 ? Number.POSITIVE_INFINITY : this.deadline(this.#heapAt(0))
  }

  /** Removes at most `keysMax` keys whose deadline `now` has reached. */
  expire(now: number, keysMax: number): void {
    for (let removed = 0; removed < keysMax && this.nextDeadline() <= now; removed += 1) {
      this.remove(this.#heapAt(0))
    }
  }

  // ---------------------------------------------------------------- blocks

  #block(entry: number): number {
    return this.#view.getUint32(this.#at(entry) + 12, true)
  }

  /** A block of the class. When no page is left one is made: at most one a call, so that the work is bounded. */
  #allocate(sizeClass: number): number {
    const block = this.#slab.allocate(sizeClass)
    return block === BLOCK_NONE && this.#emptyPage() ? this.#slab.allocate(sizeClass) : block
  }

  /** Moves the blocks of one slab page to free ones of their class; false when no class has enough of them. */
  #emptyPage(): boolean {
    const page = this.#slab.beginEmptying()
    if (page === PAGE_NONE) {
      return false
    }
    const sizeClass = this.#slab.classOfPage(page)
    let from = this.#slab.nextOwned(page, BLOCK_NONE)
    while (from !== BLOCK_NONE) {
      this.#moveBlock(from, sizeClass)
      from = this.#slab.nextOwned(page, from)
    }
    this.#slab.endEmptying(page)
    return true
  }

  #moveBlock(from: number, sizeClass: number): void {
    const entry = this.#slab.owner(from) - 1
    assert(entry < this.#entriesMax && this.#block(entry) === from, "kv: a block's owner is the entry that has it")
    const to = this.#slab.allocate(sizeClass)
    assert(to !== BLOCK_NONE, "kv: the blocks of an emptied page fit the others of their class")
    const end = this.valueOffset(entry) + this.valueBytes(entry)
    const at = this.#at(entry)
    this.#pages.willWrite(to, to + end - from)
    this.#pages.willWrite(at, at + KV_ENTRY_BYTES)
    this.#bytes.copyWithin(to, from, end)
    this.#view.setUint32(at + 12, to, true)
  }

  // ---------------------------------------------------------------- entries and index

  #at(entry: number): number {
    return this.#layout.kv_entries + entry * KV_ENTRY_BYTES
  }

  #hash(entry: number): number {
    return this.#view.getUint32(this.#at(entry), true)
  }

  #isKey(entry: number, keys: Uint8Array, start: number, end: number): boolean {
    const at = this.#at(entry)
    const bytes = end - start
    if (this.#view.getUint16(at + 4, true) !== bytes) {
      return false
    }
    const block = this.#block(entry) + BLOCK_HEAD_BYTES
    for (let index = 0; index < bytes; index += 1) {
      if (this.#bytes[block + index] !== keys[start + index]) {
        return false
      }
    }
    return true
  }

  #takeEntry(hash: number): number {
    let entry = this.#view.getUint32(HeaderOffset.kv_free, true) - 1
    if (entry >= 0) {
      this.#view.setUint32(HeaderOffset.kv_free, this.#view.getUint32(this.#at(entry) + 12, true), true)
    } else {
      entry = this.#view.getUint32(HeaderOffset.kv_used, true)
      assert(entry < this.#entriesMax, "kv: an entry is free while the count is below the limit")
      this.#view.setUint32(HeaderOffset.kv_used, entry + 1, true)
    }
    const at = this.#at(entry)
    this.#pages.willWrite(at, at + KV_ENTRY_BYTES)
    this.#bytes.fill(0, at, at + KV_ENTRY_BYTES)
    this.#view.setUint32(at, hash, true)
    this.#view.setUint8(at + 7, 1)
    this.#view.setUint32(HeaderOffset.kv_count, this.count() + 1, true)
    let slot = hash & this.#mask
    while (this.#indexAt(slot) !== ENTRY_NONE) {
      slot = (slot + 1) & this.#mask
    }
    this.#setIndex(slot, entry)
    return entry
  }

  /**
   * Backward-shift deletion: no tombstones, so the index's bytes depend on its content and order of operations only.
   */
  #removeFromIndex(entry: number): void {
    let hole = this.#hash(entry) & this.#mask
    while (this.#indexAt(hole) !== entry) {
      assert(this.#indexAt(hole) !== ENTRY_NONE, "kv: a stored entry is in the index")
      hole = (hole + 1) & this.#mask
    }
    let slot = (hole + 1) & this.#mask
    for (let other = this.#indexAt(slot); other !== ENTRY_NONE; other = this.#indexAt(slot)) {
      const home = this.#hash(other) & this.#mask
      if (((slot - home) & this.#mask) >= ((slot - hole) & this.#mask)) {
        this.#setIndex(hole, other)
        hole = slot
      }
      slot = (slot + 1) & this.#mask
    }
    this.#setIndex(hole, ENTRY_NONE)
  }

  #indexAt(slot: number): number {
    return this.#view.getUint32(this.#layout.kv_index + slot * 4, true) - 1
  }

  #setIndex(slot: number, entry: number): void {
    const at = this.#layout.kv_index + slot * 4
    this.#pages.willWrite(at, at + 4)
    this.#view.setUint32(at, entry + 1, true)
  }

  // ---------------------------------------------------------------- deadlines: a binary heap of entries

  #heapCount(): number {
    return this.#view.getUint32(HeaderOffset.heap_count, true)
  }

  #heapAt(place: number): number {
    return this.#view.getUint32(this.#layout.kv_heap + place * 4, true)
  }

  #setHeap(place: number, entry: number): void {
    const at = this.#layout.kv_heap + place * 4
    this.#pages.willWrite(at, at + 4)
    this.#view.setUint32(at, entry, true)
    this.#setPlace(entry, place + 1)
  }

  #setPlace(entry: number, place: number): void {
    const at = this.#at(entry)
    this.#pages.willWrite(at, at + KV_ENTRY_BYTES)
    this.#view.setUint32(at + 24, place, true)
  }

  /** Order of the heap: by deadline, then by entry, so that equal deadlines leave in one order everywhere. */
  #isEarlier(a: number, b: number): boolean {
    const deadlineA = this.deadline(a)
    const deadlineB = this.deadline(b)
    return deadlineA < deadlineB || (deadlineA === deadlineB && a < b)
  }

  #setDeadline(entry: number, deadline: number): void {
    const at = this.#at(entry)
    const place = this.#view.getUint32(at + 24, true) - 1
    if (place >= 0) {
      this.#removeFromHeap(place)
    } else if (deadline === 0) {
      return
    }
    // The entry's place in the heap, or `put` before, has told of it.
    setU53(this.#view, at + 16, deadline)
    if (deadline !== 0) {
      const count = this.#heapCount()
      this.#view.setUint32(HeaderOffset.heap_count, count + 1, true)
      this.#setHeap(count, entry)
      this.#siftUp(count)
    }
  }

  #removeFromHeap(place: number): void {
    const last = this.#heapCount() - 1
    const gone = this.#heapAt(place)
    const moved = this.#heapAt(last)
    const lastAt = this.#layout.kv_heap + last * 4
    this.#pages.willWrite(lastAt, lastAt + 4)
    this.#view.setUint32(HeaderOffset.heap_count, last, true)
    this.#view.setUint32(lastAt, 0, true)
    this.#setPlace(gone, 0)
    if (place !== last) {
      this.#setHeap(place, moved)
      this.#siftDown(place)
      this.#siftUp(place)
    }
  }

  #siftUp(from: number): void {
    let place = from
    while (place > 0) {
      const parent = (place - 1) >> 1
      if (!this.#isEarlier(this.#heapAt(place), this.#heapAt(parent))) {
        return
      }
      this.#swap(place, parent)
      place = parent
    }
  }

  #siftDown(from: number): void {
    let place = from
    const count = this.#heapCount()
    for (let child = 2 * place + 1; child < count; child = 2 * place + 1) {
      if (child + 1 < count && this.#isEarlier(this.#heapAt(child + 1), this.#heapAt(child))) {
        child += 1
      }
      if (!this.#isEarlier(this.#heapAt(child), this.#heapAt(place))) {
        return
      }
      this.#swap(place, child)
      place = child
    }
  }

  #swap(a: number, b: number): void {
    const entry = this.#heapAt(a)
    this.#setHeap(a, this.#heapAt(b))
    this.#setHeap(b, entry)
  }
}
