/**
 * The slabs of the kv table: blocks of fixed size classes inside slab pages. A page belongs to one class while any of
 * its blocks is in use and returns to the common list when its last is freed, so a table that was full of small
 * values can be filled with large ones. When none is left, a page of another class can be emptied: its blocks move to
 * the free ones of their class, by whoever owns them. All lists are in the arena; freed bytes are zeroed. A block
 * begins with 4 bytes: its owner's mark (1 and up, below FREE_MARK), or FREE_MARK and the next freed block of its page
 * + 1, or 0 where it was never used. A page's head:
 *
 *   offset size
 *        0    1  size class + 1, 0 for a free page
 *        2    2  blocks ever used
 *        4    2  blocks in use
 *        6    2  first freed block + 1, 0 for none
 *        8    4  next page of its list + 1, 0 for none
 *       12    4  previous page of its list + 1, 0 for none
 *
 * Plane: data.
 */
import { assert } from "../types/assert.ts"
import { type ArenaLayout, BLOCK_HEAD_BYTES, HeaderOffset, SLAB_PAGE_HEAD_BYTES } from "./arena.ts"
import type { PageWrites } from "./pages.ts"
import type { TableOptions } from "./table_options.ts"

export const BLOCK_NONE = -1
export const PAGE_NONE = -1
/** Above any owner's mark. */
const FREE_MARK = 0x8000_0000
/** Pages of a class that are looked at for the one with the fewest blocks to move. */
const EMPTIED_PAGES_LOOKED_MAX = 16

export class Slab {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  readonly #layout: ArenaLayout
  readonly #pages: PageWrites

  constructor({ view, layout, pages }: TableOptions) {
    this.#view = view
    this.#bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength)
    this.#layout = layout
    this.#pages = pages
  }

  /** The smallest class whose blocks hold `bytes`. */
  classOf(bytes: number): number {
    const classes = this.#layout.class_bytes
    let low = 0
    let high = classes.length - 1
    assert(bytes <= (classes[high] ?? 0), "slab: larger than the largest class")
    while (low < high) {
      const middle = (low + high) >> 1
      if ((classes[middle] ?? 0) >= bytes) {
        high = middle
      } else {
        low = middle + 1
      }
    }
    return low
  }

  /** A block of the class, as an offset into the arena, or BLOCK_NONE when no page is left for it. */
  allocate(sizeClass: number): number {
    let page = this.#view.getUint32(this.#classHead(sizeClass), true) - 1
    if (page < 0) {
      page = this.#takePage(sizeClass)
      if (page < 0) {
        return BLOCK_NONE
      }
    }
    const head = this.#changePageHead(page)
    const freed = this.#view.getUint16(head + 6, true)
    let block = freed - 1
    if (freed > 0) {
      const at = this.#blockAt(page, block, sizeClass)
      const mark = this.#view.getUint32(at, true)
      assert(mark >= FREE_MARK, "slab: a freed block says so")
      this.#pages.willWrite(at, at + BLOCK_HEAD_BYTES)
      this.#view.setUint16(head + 6, mark - FREE_MARK, true)
      this.#view.setUint32(at, 0, true)
    } else {
      block = this.#view.getUint16(head + 2, true)
      this.#view.setUint16(head + 2, block + 1, true)
    }
    this.#view.setUint16(head + 4, this.#view.getUint16(head + 4, true) + 1, true)
    this.#addFree(sizeClass, -1)
    if (this.#isFull(head, sizeClass)) {
      this.#unlink(page, sizeClass)
    }
    const offset = this.#blockAt(page, block, sizeClass)
    assert(offset + this.#classBytes(sizeClass) <= this.#layout.bytes, "slab: a block lies in the arena")
    return offset
  }

  /** Gives a block back. */
  free(offset: number, sizeClass: number): void {
    const { slab, slab_page_bytes } = this.#layout
    const page = Math.floor((offset - slab) / slab_page_bytes)
    const block = (offset - slab - page * slab_page_bytes) / this.#classBytes(sizeClass)
    const head = this.#changePageHead(page)
    assert(this.#view.getUint8(head) === sizeClass + 1, "slab: a block is freed to its own class")
    assert(Number.isInteger(block), "slab: an offset is a block's")
    if (this.#isFull(head, sizeClass)) {
      this.#link(page, sizeClass)
    }
    this.#pages.willWrite(offset, offset + this.#classBytes(sizeClass))
    this.#bytes.fill(0, offset, offset + this.#classBytes(sizeClass))
    this.#view.setUint32(offset, FREE_MARK + this.#view.getUint16(head + 6, true), true)
    this.#view.setUint16(head + 6, block + 1, true)
    const used = this.#view.getUint16(head + 4, true) - 1
    assert(used >= 0, "slab: more blocks freed than allocated")
    this.#view.setUint16(head + 4, used, true)
    this.#addFree(sizeClass, 1)
    if (used === 0) {
      this.#addFree(sizeClass, -this.#capacity(sizeClass))
      this.#unlink(page, sizeClass)
      this.#givePage(page)
    }
  }

  /**
   * Begins to empty the page whose blocks fit the other free blocks of their class, or PAGE_NONE: then no class has as
   * many free blocks as a page has, and what is free is less than a page a class. It takes part in no list meanwhile:
   * the caller moves each block that nextOwned() names to one that allocate() gives, then calls endEmptying().
   */
  beginEmptying(): number {
    const sizeClass = this.#classToEmpty()
    if (sizeClass < 0) {
      return PAGE_NONE
    }
    let page = this.#view.getUint32(this.#classHead(sizeClass), true) - 1
    let best = page
    for (let looked = 0; looked < EMPTIED_PAGES_LOOKED_MAX && page >= 0; looked += 1) {
      best = this.#used(page) < this.#used(best) ? page : best
      page = this.#view.getUint32(this.#pageHead(page) + 8, true) - 1
    }
    this.#unlink(best, sizeClass)
    this.#addFree(sizeClass, this.#used(best) - this.#capacity(sizeClass))
    return best
  }

  endEmptying(page: number): void {
    this.#givePage(page)
  }

  /** The class with the most free bytes of those with a page's worth of free blocks, or -1. */
  #classToEmpty(): number {
    let best = -1
    let bestBytes = 0
    for (let sizeClass = 0; sizeClass < this.#layout.class_bytes.length; sizeClass += 1) {
      const free = this.#view.getUint32(this.#classFree(sizeClass), true)
      const bytes = free * this.#classBytes(sizeClass)
      if (free >= this.#capacity(sizeClass) && bytes > bestBytes) {
        best = sizeClass
        bestBytes = bytes
      }
    }
    return best
  }

  /** The next owned block behind `block`, or the page's first one for BLOCK_NONE; BLOCK_NONE when there is none. */
  nextOwned(page: number, block: number): number {
    const bytes = this.#classBytes(this.classOfPage(page))
    const first = this.#layout.slab + page * this.#layout.slab_page_bytes
    const end = first + this.#view.getUint16(this.#pageHead(page) + 2, true) * bytes
    for (let at = block === BLOCK_NONE ? first : block + bytes; at < end; at += bytes) {
      if (this.owner(at) > 0) {
        return at
      }
    }
    return BLOCK_NONE
  }

  classOfPage(page: number): number {
    const sizeClass = this.#view.getUint8(this.#pageHead(page)) - 1
    assert(sizeClass >= 0, "slab: a page in use has a class")
    return sizeClass
  }

  /** The mark that the owner of the block has left in it; 0 for a block without. */
  owner(offset: number): number {
    const mark = this.#view.getUint32(offset, true)
    return mark < FREE_MARK ? mark : 0
  }

  /** Leaves the owner's mark; the caller has said that it will write the block. */
  setOwner(offset: number, mark: number): void {
    assert(mark > 0 && mark < FREE_MARK, "slab: an owner's mark is none of a free block")
    this.#view.setUint32(offset, mark, true)
  }

  #takePage(sizeClass: number): number {
    let page = this.#view.getUint32(HeaderOffset.slab_free, true) - 1
    if (page >= 0) {
      this.#view.setUint32(HeaderOffset.slab_free, this.#view.getUint32(this.#pageHead(page) + 8, true), true)
    } else {
      page = this.#view.getUint32(HeaderOffset.slab_used, true)
      if (page >= this.#layout.slab_pages) {
        return BLOCK_NONE
      }
      this.#view.setUint32(HeaderOffset.slab_used, page + 1, true)
    }
    const head = this.#changePageHead(page)
    this.#bytes.fill(0, head, head + SLAB_PAGE_HEAD_BYTES)
    this.#view.setUint8(head, sizeClass + 1)
    this.#addFree(sizeClass, this.#capacity(sizeClass))
    this.#link(page, sizeClass)
    return page
  }

  #givePage(page: number): void {
    const start = this.#layout.slab + page * this.#layout.slab_page_bytes
    this.#pages.willWrite(start, start + this.#layout.slab_page_bytes)
    this.#bytes.fill(0, start, start + this.#layout.slab_page_bytes)
    const head = this.#changePageHead(page)
    this.#bytes.fill(0, head, head + SLAB_PAGE_HEAD_BYTES)
    this.#view.setUint32(head + 8, this.#view.getUint32(HeaderOffset.slab_free, true), true)
    this.#view.setUint32(HeaderOffset.slab_free, page + 1, true)
  }

  #link(page: number, sizeClass: number): void {
    const first = this.#view.getUint32(this.#classHead(sizeClass), true)
    const head = this.#changePageHead(page)
    this.#view.setUint32(head + 8, first, true)
    this.#view.setUint32(head + 12, 0, true)
    if (first > 0) {
      this.#view.setUint32(this.#changePageHead(first - 1) + 12, page + 1, true)
    }
    this.#view.setUint32(this.#classHead(sizeClass), page + 1, true)
  }

  #unlink(page: number, sizeClass: number): void {
    const head = this.#changePageHead(page)
    const next = this.#view.getUint32(head + 8, true)
    const previous = this.#view.getUint32(head + 12, true)
    if (previous > 0) {
      this.#view.setUint32(this.#changePageHead(previous - 1) + 8, next, true)
    } else {
      assert(
        this.#view.getUint32(this.#classHead(sizeClass), true) === page + 1,
        "slab: a page without a previous is first",
      )
      this.#view.setUint32(this.#classHead(sizeClass), next, true)
    }
    if (next > 0) {
      this.#view.setUint32(this.#changePageHead(next - 1) + 12, previous, true)
    }
    this.#view.setUint32(head + 8, 0, true)
    this.#view.setUint32(head + 12, 0, true)
  }

  #isFull(head: number, sizeClass: number): boolean {
    const ever = this.#view.getUint16(head + 2, true)
    return this.#view.getUint16(head + 6, true) === 0 && ever === this.#capacity(sizeClass)
  }

  /** Blocks of a page. */
  #capacity(sizeClass: number): number {
    return Math.floor(this.#layout.slab_page_bytes / this.#classBytes(sizeClass))
  }

  #used(page: number): number {
    return this.#view.getUint16(this.#pageHead(page) + 4, true)
  }

  #classFree(sizeClass: number): number {
    return HeaderOffset.class_free + sizeClass * 4
  }

  #addFree(sizeClass: number, blocks: number): void {
    const at = this.#classFree(sizeClass)
    const free = this.#view.getUint32(at, true) + blocks
    assert(free >= 0, "slab: a class has no fewer free blocks than none")
    this.#view.setUint32(at, free, true)
  }

  #classHead(sizeClass: number): number {
    return HeaderOffset.class_heads + sizeClass * 4
  }

  /** As #pageHead, for who is about to write it. */
  #changePageHead(page: number): number {
    const head = this.#pageHead(page)
    this.#pages.willWrite(head, head + SLAB_PAGE_HEAD_BYTES)
    return head
  }

  #pageHead(page: number): number {
    return this.#layout.slab_heads + page * SLAB_PAGE_HEAD_BYTES
  }

  #blockAt(page: number, block: number, sizeClass: number): number {
    return this.#layout.slab + page * this.#layout.slab_page_bytes + block * this.#classBytes(sizeClass)
  }

  #classBytes(sizeClass: number): number {
    return this.#layout.class_bytes[sizeClass] ?? 0
  }
}
