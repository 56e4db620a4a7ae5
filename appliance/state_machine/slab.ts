/**
 * The slabs of the kv table: blocks of fixed size classes inside slab pages. A page belongs to one class while any of
 * its blocks is in use and returns to the common list when its last is freed, so a table that was full of small
 * values can be filled with large ones. All lists are in the arena; freed bytes are zeroed. A page's head:
 *
 *   offset size
 *        0    1  size class + 1, 0 for a free page
 *        2    2  blocks ever used
 *        4    2  blocks in use
 *        6    2  first freed block + 1, 0 for none (its first two bytes name the next)
 *        8    4  next page of its list + 1, 0 for none
 *       12    4  previous page of its list + 1, 0 for none
 *
 * Plane: data.
 */
import { assert } from "../types/assert.ts"
import { type ArenaLayout, HeaderOffset, PAGE_BYTES, SLAB_PAGE_HEAD_BYTES } from "./arena.ts"
import type { PageWrites } from "./pages.ts"
import type { TableOptions } from "./table_options.ts"

export const BLOCK_NONE = -1

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
      this.#pages.willWrite(at, at + 2)
      this.#view.setUint16(head + 6, this.#view.getUint16(at, true), true)
      this.#view.setUint16(at, 0, true)
    } else {
      block = this.#view.getUint16(head + 2, true)
      this.#view.setUint16(head + 2, block + 1, true)
    }
    this.#view.setUint16(head + 4, this.#view.getUint16(head + 4, true) + 1, true)
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
    this.#view.setUint16(offset, this.#view.getUint16(head + 6, true), true)
    this.#view.setUint16(head + 6, block + 1, true)
    const used = this.#view.getUint16(head + 4, true) - 1
    assert(used >= 0, "slab: more blocks freed than allocated")
    this.#view.setUint16(head + 4, used, true)
    if (used === 0) {
      this.#unlink(page, sizeClass)
      this.#givePage(page)
    }
  }

  #takePage(sizeClass: number): number {
    this.#pages.willWrite(0, PAGE_BYTES)
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
    this.#link(page, sizeClass)
    return page
  }

  #givePage(page: number): void {
    const start = this.#layout.slab + page * this.#layout.slab_page_bytes
    this.#pages.willWrite(0, PAGE_BYTES)
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
    this.#pages.willWrite(0, PAGE_BYTES)
    this.#view.setUint32(head + 8, first, true)
    this.#view.setUint32(head + 12, 0, true)
    if (first > 0) {
      this.#view.setUint32(this.#changePageHead(first - 1) + 12, page + 1, true)
    }
    this.#view.setUint32(this.#classHead(sizeClass), page + 1, true)
  }

  #unlink(page: number, sizeClass: number): void {
    const head = this.#changePageHead(page)
    this.#pages.willWrite(0, PAGE_BYTES)
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
    const capacity = Math.floor(this.#layout.slab_page_bytes / this.#classBytes(sizeClass))
    return this.#view.getUint16(head + 6, true) === 0 && this.#view.getUint16(head + 2, true) === capacity
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
