/**
 * The arena as pages: which have changed since the last checkpoint, what the checkpoint's own bytes were, and a digest
 * of each. Freezing marks pages and copies nothing; a page that is about to change is copied into a bounded pool first,
 * and its digest is taken then, if the spread-out pass has not come to it yet.
 *
 *   clean    as it was at the checkpoint, and its digest is known
 *   pending  as it was at the checkpoint, its digest is not known yet
 *   changed  written since: the checkpoint's bytes lie in the pool, or are lost when the pool was full or somebody
 *            had copied them before
 *
 * Plane: control, but for willWrite: that is called for every write, and allocates nothing.
 */
import { assert } from "../types/assert.ts"
import type { Digest, DigestFunction, StatePages } from "../types/contracts.ts"
import type { FingerprintSink } from "../types/fingerprint.ts"
import { PAGE_DIGEST_BYTES, pageDigest, type PageDigest } from "./page_digest.ts"

/** Whoever writes to the arena says so before it does. */
export type PageWrites = { willWrite(start: number, end: number): void }

/** In the place of a place. */
const HANDED_OUT = -1

/** While nobody copies an image, one part in so many of the pool may be used. */
const UNREAD_PART = 8

const PageState = { clean: 0, changed: 1, pending: 2 } as const

export class ArenaPages implements StatePages, PageWrites {
  readonly count: number
  readonly pageBytes: number
  readonly table: Uint8Array
  readonly #arena: Uint8Array
  readonly #words: Int32Array
  readonly #shift: number
  readonly #pageWords: number
  readonly #digests: Uint32Array
  readonly #states: Uint8Array
  /** Pages changed since the checkpoint, in the order of their first change, and those that were before it. */
  #changed: Int32Array
  #changedCount = 0
  #before: Int32Array
  #beforeCount = 0
  #beforeAt = 0
  #pending = 0
  /** Pages of the image that somebody has copied. */
  readonly #handedOut: Int32Array
  #handedOutCount = 0
  readonly #pool: Uint8Array
  readonly #poolWords: Int32Array
  readonly #poolPages: number
  #room: number
  /** Of each page: one more than its place in the pool, 0 for none, HANDED_OUT when nobody needs it here any more. */
  readonly #places: Int32Array
  #poolUsed = 0
  #isWhole = true
  #scrubAt = 0
  readonly #digest: PageDigest = { low: 0, high: 0 }

  /**
   * `arena` is whole pages of `pageBytes`, a power of two; `memory` is pagesBytes(count) bytes for what is noted of
   * each; `pool` holds the bytes of pages that changed since the checkpoint. All three begin as zeros.
   */
  constructor(options: {
    readonly arena: Uint8Array
    readonly pageBytes: number
    readonly memory: Uint8Array
    readonly pool: Uint8Array
  }) {
    const { arena, pageBytes, memory, pool } = options
    const count = arena.length / pageBytes
    assert(Number.isInteger(count) && count > 0, "pages: the arena is whole pages")
    assert(pageBytes >= 16 && (pageBytes & (pageBytes - 1)) === 0, "pages: a page is a power of two, 16 bytes or more")
    assert(arena.byteOffset % 4 === 0 && memory.byteOffset % 4 === 0, "pages: memory is aligned to words")
    assert(pool.byteOffset % 4 === 0, "pages: the pool is aligned to words")
    assert(memory.length === pagesBytes(count), "pages: what is noted of each page has its place")
    this.count = count
    this.pageBytes = pageBytes
    this.#arena = arena
    this.#words = new Int32Array(arena.buffer, arena.byteOffset, arena.length / 4)
    this.#shift = Math.log2(pageBytes)
    const { buffer, byteOffset } = memory
    this.table = new Uint8Array(buffer, byteOffset, count * PAGE_DIGEST_BYTES)
    this.#digests = new Uint32Array(buffer, byteOffset, count * 2)
    this.#changed = new Int32Array(buffer, byteOffset + 8 * count, count)
    this.#before = new Int32Array(buffer, byteOffset + 12 * count, count)
    this.#places = new Int32Array(buffer, byteOffset + 16 * count, count)
    this.#handedOut = new Int32Array(buffer, byteOffset + 20 * count, count)
    this.#states = new Uint8Array(buffer, byteOffset + 24 * count, count)
    this.#pool = pool
    this.#poolWords = new Int32Array(pool.buffer, pool.byteOffset, pool.length >>> 2)
    this.#pageWords = pageBytes / 4
    this.#poolPages = Math.floor(pool.length / pageBytes)
    this.#room = this.#poolPages
    this.hold(false)
    this.#noteZeros()
  }

  /** Takes the digest of every page as it is: the arena's bytes came from elsewhere, and are the image. */
  rebuild(): void {
    for (let page = 0; page < this.count; page += 1) {
      this.#note(page)
    }
    this.adopt()
  }

  /** Every page of a fresh arena is zeros: one digest is the digest of all. */
  #noteZeros(): void {
    pageDigest(this.#words, 0, this.#pageWords, this.#digest)
    for (let page = 0; page < this.count; page += 1) {
      this.#digests[2 * page] = this.#digest.low
      this.#digests[2 * page + 1] = this.#digest.high
    }
  }

  get pending(): number {
    return this.#pending
  }

  get changed(): number {
    return this.#changedCount
  }

  get isWhole(): boolean {
    return this.#isWhole
  }

  /** Must be called before the bytes [start, end) of the arena change; end > start. */
  willWrite(start: number, end: number): void {
    const last = (end - 1) >>> this.#shift
    for (let page = start >>> this.#shift; page <= last; page += 1) {
      if (this.#states[page] !== PageState.changed) {
        this.#keep(page)
      }
    }
  }

  #keep(page: number): void {
    assert(page < this.count, "pages: a write lies in the arena")
    if (this.#states[page] === PageState.pending) {
      this.#note(page)
      this.#pending -= 1
    }
    if (this.#places[page] === HANDED_OUT) {
      // Whoever copies the image has this page: room is for those that it has not.
    } else if (this.#poolUsed < this.#room) {
      const from = (page << this.#shift) >>> 2
      const to = (this.#poolUsed << this.#shift) >>> 2
      for (let word = 0; word < this.#pageWords; word += 1) {
        this.#poolWords[to + word] = this.#words[from + word] ?? 0
      }
      this.#poolUsed += 1
      this.#places[page] = this.#poolUsed
    } else {
      this.#isWhole = false
    }
    this.#states[page] = PageState.changed
    this.#changed[this.#changedCount] = page
    this.#changedCount += 1
  }

  #note(page: number): void {
    pageDigest(this.#words, (page << this.#shift) >>> 2, this.#pageWords, this.#digest)
    this.#digests[2 * page] = this.#digest.low
    this.#digests[2 * page + 1] = this.#digest.high
  }

  hold(isRead: boolean): void {
    this.#room = isRead ? this.#poolPages : Math.ceil(this.#poolPages / UNREAD_PART)
  }

  freeze(): void {
    assert(this.#pending === 0, "pages: every digest of a checkpoint is taken before the next")
    for (let index = 0; index < this.#changedCount; index += 1) {
      const page = this.#changed[index] ?? 0
      this.#states[page] = PageState.pending
      this.#places[page] = 0
    }
    const before = this.#before
    this.#before = this.#changed
    this.#beforeCount = this.#changedCount
    this.#beforeAt = 0
    this.#pending = this.#changedCount
    this.#changed = before
    this.#changedCount = 0
    for (let index = 0; index < this.#handedOutCount; index += 1) {
      this.#places[this.#handedOut[index] ?? 0] = 0
    }
    this.#handedOutCount = 0
    this.#poolUsed = 0
    this.#isWhole = true
  }

  takeDigests(pagesMax: number): void {
    for (let taken = 0; taken < pagesMax && this.#pending > 0; this.#beforeAt += 1) {
      assert(this.#beforeAt < this.#beforeCount, "pages: a page whose digest is due is on the list")
      const page = this.#before[this.#beforeAt] ?? 0
      if (this.#states[page] === PageState.pending) {
        this.#note(page)
        this.#states[page] = PageState.clean
        this.#pending -= 1
        taken += 1
      }
    }
  }

  root(digest: DigestFunction, prefix: string): Digest {
    assert(this.#pending === 0, "pages: a root needs the digest of every page")
    return digest(prefix, this.table, 0, this.table.length)
  }

  copyFrozen(page: number, target: Uint8Array, at: number): boolean {
    assert(page >= 0 && page < this.count, "pages: a page of the arena")
    const place = this.#places[page] ?? 0
    if (this.#states[page] === PageState.changed && place <= 0) {
      this.#isWhole = false
      return false
    }
    if (place > 0 && !this.#isNotedAs(page, this.#poolWords, ((place - 1) << this.#shift) >>> 2)) {
      // No scrub looks into the pool: whoever copies would ask for it for ever.
      this.#isWhole = false
      return false
    }
    const start = place > 0 ? (place - 1) * this.pageBytes : page << this.#shift
    target.set((place > 0 ? this.#pool : this.#arena).subarray(start, start + this.pageBytes), at)
    this.#handOut(page)
    return true
  }

  viewFrozen(first: number, pages: number): Uint8Array | undefined {
    const end = first + pages
    assert(first >= 0 && pages > 0 && end <= this.count, "pages: pages of the arena")
    for (let page = first; page < end; page += 1) {
      if (this.#states[page] === PageState.changed) {
        return undefined
      }
    }
    for (let page = first; page < end; page += 1) {
      this.#handOut(page)
    }
    return this.#arena.subarray(first << this.#shift, end << this.#shift)
  }

  /** Of a page whose bytes lie in the arena nobody needs another copy before the next checkpoint. */
  #handOut(page: number): void {
    if (this.#places[page] === 0) {
      this.#places[page] = HANDED_OUT
      this.#handedOut[this.#handedOutCount] = page
      this.#handedOutCount += 1
    }
  }

  scrub(pagesMax: number): number {
    for (let looked = 0; looked < pagesMax; looked += 1) {
      const page = this.#scrubAt
      this.#scrubAt = page + 1 === this.count ? 0 : page + 1
      if (this.#states[page] === PageState.clean && !this.isAs(page)) {
        return page
      }
    }
    return -1
  }

  get scrubAt(): number {
    return this.#scrubAt
  }

  isAs(page: number): boolean {
    return this.#isNotedAs(page, this.#words, (page << this.#shift) >>> 2)
  }

  #isNotedAs(page: number, words: Int32Array, at: number): boolean {
    pageDigest(words, at, this.#pageWords, this.#digest)
    return this.#digests[2 * page] === this.#digest.low && this.#digests[2 * page + 1] === this.#digest.high
  }

  replace(page: number, source: Uint8Array, at: number): boolean {
    assert(page >= 0 && page < this.count, "pages: a page of the arena")
    this.#arena.set(source.subarray(at, at + this.pageBytes), page << this.#shift)
    return this.isAs(page)
  }

  overwrite(first: number, source: Uint8Array): void {
    const start = first << this.#shift
    assert(first >= 0 && source.length % this.pageBytes === 0, "pages: whole pages")
    assert(start + source.length <= this.#arena.length, "pages: pages of the arena")
    this.#arena.set(source, start)
  }

  abandon(): void {
    this.adopt()
    this.#isWhole = false
  }

  adopt(): void {
    this.#states.fill(PageState.clean)
    this.#places.fill(0)
    this.#changedCount = 0
    this.#beforeCount = 0
    this.#beforeAt = 0
    this.#pending = 0
    this.#handedOutCount = 0
    this.#poolUsed = 0
    this.#isWhole = true
  }

  copyFrom(other: StatePages): void {
    assert(other instanceof ArenaPages && other.count === this.count, "pages: a copy is of as many pages")
    this.table.set(other.table)
    this.#states.set(other.#states)
    this.#places.set(other.#places)
    this.#pool.set(other.#pool)
    this.#changed.set(other.#changed)
    this.#before.set(other.#before)
    this.#handedOut.set(other.#handedOut)
    this.#handedOutCount = other.#handedOutCount
    this.#changedCount = other.#changedCount
    this.#beforeCount = other.#beforeCount
    this.#beforeAt = other.#beforeAt
    this.#pending = other.#pending
    this.#poolUsed = other.#poolUsed
    this.#isWhole = other.#isWhole
    this.#room = other.#room
    this.#scrubAt = other.#scrubAt
  }

  fingerprint(sink: FingerprintSink): void {
    sink("pages.table", this.table)
    sink("pages.states", this.#states)
    sink("pages.isWhole", this.#isWhole)
    sink("pages.room", this.#room)
    sink("pages.pool", this.#pool.subarray(0, this.#poolUsed * this.pageBytes))
    sink("pages.places", Array.from(this.#places))
    sink("pages.scrubAt", this.#scrubAt)
    sink("pages.order", Array.from(this.#before.subarray(this.#beforeAt, this.#beforeCount)))
  }
}

/** Bytes of what is noted of `count` pages, padded to words. */
export function pagesBytes(count: number): number {
  return count * 24 + Math.ceil(count / 4) * 4
}
