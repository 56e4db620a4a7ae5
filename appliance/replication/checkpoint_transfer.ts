/**
 * Copying a checkpoint from another machine, straight into the arena: first the table of its pages' digests, which must
 * have the root that it goes by, then the pages that differ, in windows of up to 64. Pages that are right already are
 * never sent, so a transfer goes on where it was broken off, from whomever. When the donor's image moves on, or another
 * machine becomes the donor, the new table is compared with the old one, and what differs is wanted as well.
 *
 * Overwriting what this machine holds is no loss: whoever needs a checkpoint lacks what a majority holds (README).
 * Plane: control.
 */
import { assert } from "../types/assert.ts"
import type { Digest, DigestFunction, StatePages } from "../types/contracts.ts"
import type { FingerprintSink } from "../types/fingerprint.ts"
import type { MessageOf } from "./message.ts"

/** A page's entry in the table. */
const DIGEST_BYTES = 8
/** A window's pages are the bits of two u32. */
const WINDOW_PAGES_MAX = 64
/** Windows compared with the table in one event: 20 ms at most, of a machine that answers nobody. */
const WINDOWS_COMPARED_MAX = 512

export type Wanted = Pick<MessageOf<"get_checkpoint">, "part" | "index" | "mask_low" | "mask_high">

/** How a checkpoint of `pages` is cut into messages with bodies of `chunkBytes`. */
export class CheckpointShape {
  readonly windowPages: number
  readonly windows: number
  readonly tableChunks: number
  readonly chunkBytes: number

  constructor(pages: StatePages, chunkBytes: number) {
    assert(chunkBytes >= pages.pageBytes, "checkpoint: a chunk holds a page")
    this.chunkBytes = chunkBytes
    this.windowPages = Math.min(WINDOW_PAGES_MAX, Math.floor(chunkBytes / pages.pageBytes))
    this.windows = Math.ceil(pages.count / this.windowPages)
    this.tableChunks = Math.ceil(pages.table.length / chunkBytes)
  }
}

/** The receiving end: which donor, which image, which pages are still to be had. */
export class CheckpointReceiver {
  readonly #pages: StatePages
  readonly #shape: CheckpointShape
  readonly #digest: DigestFunction
  /** Parts of the table, then windows: 1 when done. */
  readonly #isDone: Uint8Array
  readonly #askedAt: Float64Array
  /**
   * Of each window the pages that are wanted, once it was compared: all others are as the table says, whichever parts
   * of it are of which image. Asked for from then on.
   */
  readonly #isCompared: Uint8Array
  readonly #wanted: Uint32Array
  #active = false
  /** The table is the machine's own. */
  #isFresh = true
  #donor = -1
  #nonce = 0
  #op = -1
  #opChecksum: Digest = ""
  #root: Digest = ""
  #tableLeft = 0
  #windowsLeft = 0
  #progressAt = 0
  /** Everything before it is done. */
  #first = 0
  /** Images of this donor that were begun; each is the last one's rest. */
  #images = 0
  /** Pages that came with other bytes than their digest says. */
  pagesSpoilt = 0
  pagesReceived = 0

  constructor(options: { readonly pages: StatePages; readonly chunkBytes: number; readonly digest: DigestFunction }) {
    this.#pages = options.pages
    this.#shape = new CheckpointShape(options.pages, options.chunkBytes)
    this.#digest = options.digest
    const { tableChunks, windows } = this.#shape
    this.#isDone = new Uint8Array(tableChunks + windows)
    this.#askedAt = new Float64Array(tableChunks + windows)
    this.#isCompared = new Uint8Array(windows)
    this.#wanted = new Uint32Array(2 * windows)
  }

  get active(): boolean {
    return this.#active
  }

  get donor(): number {
    return this.#donor
  }

  get nonce(): number {
    return this.#nonce
  }

  get op(): number {
    return this.#op
  }

  get opChecksum(): Digest {
    return this.#opChecksum
  }

  get root(): Digest {
    return this.#root
  }

  get isComplete(): boolean {
    return this.#active && this.#op >= 0 && this.#tableLeft === 0 && this.#windowsLeft === 0
  }

  get images(): number {
    return this.#images
  }

  get progressAt(): number {
    return this.#progressAt
  }

  /** Pages still to be had, at most: those that were not compared with the table yet may be right already. */
  get pagesLeft(): number {
    const { tableChunks, windows, windowPages } = this.#shape
    let left = 0
    for (let window = 0; window < windows; window += 1) {
      if (this.#isDone[tableChunks + window] === 1) {
        continue
      }
      const low = this.#wanted[2 * window] ?? 0
      const high = this.#wanted[2 * window + 1] ?? 0
      left += this.#isCompared[window] === 1 ? bitCount(low) + bitCount(high) : windowPages
    }
    return Math.min(left, this.#pages.count)
  }

  /**
   * Where `isBlank`, since nothing was applied yet, the table is right as it stands, the first time. Else the pages are
   * compared with the donor's digests; or were, when only another donor was found.
   */
  start(options: {
    readonly donor: number
    readonly nonce: number
    readonly now: number
    readonly isBlank: boolean
  }): void {
    if (!this.#active) {
      this.#isCompared.fill(options.isBlank && this.#isFresh ? 1 : 0)
      this.#wanted.fill(0)
    }
    this.#isFresh = false
    this.#active = true
    this.#donor = options.donor
    this.#nonce = options.nonce
    this.#progressAt = options.now
    this.#images = 0
    this.#pages.abandon()
    this.#begin(-1, "", "")
  }

  stop(): void {
    this.#active = false
  }

  #begin(op: number, opChecksum: Digest, root: Digest): void {
    this.#op = op
    this.#opChecksum = opChecksum
    this.#root = root
    this.#tableLeft = this.#shape.tableChunks
    this.#windowsLeft = this.#shape.windows
    this.#first = 0
    this.#isDone.fill(0)
    this.#askedAt.fill(Number.NEGATIVE_INFINITY)
  }

  /** The donor has nothing to give at this moment: what was asked for is asked for again. */
  forgetAsked(): void {
    this.#askedAt.fill(Number.NEGATIVE_INFINITY)
  }

  /** Takes a piece in; false when it is not ours, not new, or not what it should be. */
  accept(message: MessageOf<"checkpoint_chunk">, now: number): boolean {
    if (!this.#active || message.from !== this.#donor || message.nonce !== this.#nonce) {
      return false
    }
    if (message.op !== this.#op || message.root !== this.#root) {
      if (message.op < this.#op) {
        return false
      }
      this.#images += 1
      this.#begin(message.op, message.op_checksum, message.root)
    }
    const isNew = message.part === "table" ? this.#acceptTable(message) : this.#acceptPages(message)
    this.#progressAt = isNew ? now : this.#progressAt
    return isNew
  }

  #acceptTable(message: MessageOf<"checkpoint_chunk">): boolean {
    const { index, body } = message
    const { table } = this.#pages
    const start = index * this.#shape.chunkBytes
    const expected = Math.min(this.#shape.chunkBytes, table.length - start)
    if (index >= this.#shape.tableChunks || body.length !== expected || this.#isDone[index] === 1) {
      return false
    }
    this.#compareDigests(start, body)
    table.set(body, start)
    this.#isDone[index] = 1
    this.#tableLeft -= 1
    if (this.#tableLeft > 0) {
      return true
    }
    if (this.#pages.root(this.#digest, rootPrefix(this.#op, this.#opChecksum)) !== this.#root) {
      // The donor's table is not what it goes by: nothing of it can be believed.
      this.#begin(-1, "", "")
      return false
    }
    for (let window = 0; window < this.#shape.windows; window += 1) {
      if (this.#isCompared[window] === 1 && this.#isRight(window)) {
        this.#finish(window)
      }
    }
    return true
  }

  /** A part of the table is about to change: pages of windows that were compared are wanted where it does. */
  #compareDigests(start: number, body: Uint8Array): void {
    const { windowPages } = this.#shape
    const { table } = this.#pages
    for (let at = 0; at < body.length; at += DIGEST_BYTES) {
      let isSame = true
      for (let byte = at; byte < at + DIGEST_BYTES; byte += 1) {
        isSame = isSame && table[start + byte] === body[byte]
      }
      if (!isSame) {
        const page = (start + at) / DIGEST_BYTES
        const bit = page % windowPages
        const word = 2 * Math.floor(page / windowPages) + (bit < 32 ? 0 : 1)
        this.#wanted[word] = ((this.#wanted[word] ?? 0) | (1 << (bit & 31))) >>> 0
      }
    }
  }

  #isRight(window: number): boolean {
    return this.#wanted[2 * window] === 0 && this.#wanted[2 * window + 1] === 0
  }

  #acceptPages(message: MessageOf<"checkpoint_chunk">): boolean {
    const { index: window, body } = message
    const { pageBytes, count } = this.#pages
    const place = this.#shape.tableChunks + window
    if (this.#tableLeft > 0 || window >= this.#shape.windows || this.#isDone[place] === 1) {
      return false
    }
    if (this.#isCompared[window] === 0) {
      // Nobody asked for it: which of its pages are wanted is not known yet.
      return false
    }
    const first = window * this.#shape.windowPages
    const pages = Math.min(this.#shape.windowPages, count - first)
    const wanted = { mask_low: this.#wanted[2 * window] ?? 0, mask_high: this.#wanted[2 * window + 1] ?? 0 }
    // A blank machine wants all of it: one copy instead of one for each page.
    const isWhole = isWholeWindow(message, pages) && isWholeWindow(wanted, pages) && body.length === pages * pageBytes
    if (isWhole) {
      this.#pages.overwrite(first, body)
    }
    let at = 0
    let isNew = false
    for (let bit = 0; bit < this.#shape.windowPages; bit += 1) {
      const page = first + bit
      const mask = bit < 32 ? message.mask_low : message.mask_high
      if (((mask >>> (bit & 31)) & 1) === 0 || page >= count || at + pageBytes > body.length) {
        continue
      }
      const word = 2 * window + (bit < 32 ? 0 : 1)
      const isWanted = (((this.#wanted[word] ?? 0) >>> (bit & 31)) & 1) === 1
      if (isWanted && (isWhole ? this.#pages.isAs(page) : this.#pages.replace(page, body, at))) {
        this.#wanted[word] = ((this.#wanted[word] ?? 0) & ~(1 << (bit & 31))) >>> 0
        this.pagesReceived += 1
        isNew = true
      } else {
        this.pagesSpoilt += isWanted ? 1 : 0
      }
      at += pageBytes
    }
    if (this.#isRight(window)) {
      this.#finish(window)
    }
    return isNew
  }

  #finish(window: number): void {
    assert(this.#windowsLeft > 0, "checkpoint receiver: more windows than there are")
    this.#isDone[this.#shape.tableChunks + window] = 1
    this.#windowsLeft -= 1
  }

  /** What to ask for next; undefined when `inFlightMax` are asked for and young, or nothing is known to be left. */
  nextWanted(options: {
    readonly now: number
    readonly retryMs: number
    readonly inFlightMax: number
  }): Wanted | undefined {
    const { tableChunks, windows } = this.#shape
    const end = this.#tableLeft > 0 ? tableChunks : tableChunks + windows
    let inFlight = 0
    let compared = 0
    while (this.#first < end && this.#isDone[this.#first] === 1) {
      this.#first += 1
    }
    for (let place = this.#first; place < end && inFlight < options.inFlightMax; place += 1) {
      if (this.#isDone[place] === 1) {
        continue
      }
      const window = place - tableChunks
      if (window >= 0 && this.#isCompared[window] === 0) {
        if (compared === WINDOWS_COMPARED_MAX) {
          return undefined
        }
        compared += 1
        this.#compare(window)
        if (this.#isDone[place] === 1) {
          continue
        }
      }
      if (options.now - (this.#askedAt[place] ?? 0) >= options.retryMs) {
        this.#askedAt[place] = options.now
        return window < 0
          ? { part: "table", index: place, mask_low: 0, mask_high: 0 }
          : {
              part: "pages",
              index: window,
              mask_low: this.#wanted[2 * window] ?? 0,
              mask_high: this.#wanted[2 * window + 1] ?? 0,
            }
      }
      inFlight += 1
    }
    return undefined
  }

  /** Pieces that were asked for not long ago and are not here. They are asked for in order. */
  inFlight(options: { readonly now: number; readonly retryMs: number }): number {
    const end = this.#tableLeft > 0 ? this.#shape.tableChunks : this.#shape.tableChunks + this.#shape.windows
    let inFlight = 0
    for (let place = this.#first; place < end; place += 1) {
      const askedAt = this.#askedAt[place] ?? Number.NEGATIVE_INFINITY
      if (this.#isDone[place] === 0 && options.now - askedAt < options.retryMs) {
        inFlight += 1
      } else if (this.#isDone[place] === 0) {
        break
      }
    }
    return inFlight
  }

  #compare(window: number): void {
    let low = 0
    let high = 0
    for (let bit = 0; bit < this.#shape.windowPages; bit += 1) {
      const page = window * this.#shape.windowPages + bit
      if (page < this.#pages.count && !this.#pages.isAs(page)) {
        low |= bit < 32 ? 1 << bit : 0
        high |= bit < 32 ? 0 : 1 << (bit & 31)
      }
    }
    this.#isCompared[window] = 1
    this.#wanted[2 * window] = low >>> 0
    this.#wanted[2 * window + 1] = high >>> 0
    if (this.#isRight(window)) {
      this.#finish(window)
    }
  }

  /** Becomes as `other` is, but for the pages: they are the state machine's, which copies them. */
  copyFrom(other: CheckpointReceiver): void {
    assert(this.#isDone.length === other.#isDone.length, "checkpoint receiver: a copy has as many pieces")
    this.#isDone.set(other.#isDone)
    this.#askedAt.set(other.#askedAt)
    this.#isCompared.set(other.#isCompared)
    this.#wanted.set(other.#wanted)
    this.#active = other.#active
    this.#isFresh = other.#isFresh
    this.#donor = other.#donor
    this.#nonce = other.#nonce
    this.#op = other.#op
    this.#opChecksum = other.#opChecksum
    this.#root = other.#root
    this.#tableLeft = other.#tableLeft
    this.#windowsLeft = other.#windowsLeft
    this.#progressAt = other.#progressAt
    this.#first = other.#first
    this.#images = other.#images
    this.pagesSpoilt = other.pagesSpoilt
    this.pagesReceived = other.pagesReceived
  }

  /** start() sets every field: what a receiver that is stopped last had is of no more use. */
  fingerprint(sink: FingerprintSink, now: number): void {
    sink("receiver.active", this.#active)
    sink("receiver.isFresh", this.#isFresh)
    if (this.#active) {
      sink("receiver.donor", this.#donor)
      sink("receiver.nonce", this.#nonce)
      sink("receiver.op", this.#op)
      sink("receiver.opChecksum", this.#opChecksum)
      sink("receiver.root", this.#root)
      sink("receiver.tableLeft", this.#tableLeft)
      sink("receiver.windowsLeft", this.#windowsLeft)
      sink("receiver.first", this.#first)
      sink("receiver.images", this.#images)
      sink("receiver.progressAt", now - this.#progressAt)
      sink("receiver.isDone", this.#isDone)
      sink("receiver.isCompared", this.#isCompared)
      sink("receiver.wanted", Array.from(this.#wanted))
      sink(
        "receiver.askedAt",
        Array.from(this.#askedAt, (askedAt) => now - askedAt),
      )
    }
  }

  /** As if the last piece had come just now, and those asked for were asked for long ago. */
  restClock(now: number): void {
    this.#progressAt = now
    this.#askedAt.fill(Number.NEGATIVE_INFINITY)
  }
}

/** What a root covers besides the pages: the op, and with its checksum all ops before it. */
export function rootPrefix(op: number, checksum: Digest): string {
  return `${op}.${checksum}`
}

/** All of a window's pages, of which there are so many. */
export function isWholeWindow(masks: Pick<Wanted, "mask_low" | "mask_high">, pages: number): boolean {
  return masks.mask_low === lowBits(Math.min(pages, 32)) && masks.mask_high === lowBits(Math.max(0, pages - 32))
}

function lowBits(bits: number): number {
  return bits === 32 ? 0xffff_ffff : (1 << bits) - 1
}

function bitCount(word: number): number {
  let count = 0
  for (let left = word; left !== 0; left = (left & (left - 1)) >>> 0) {
    count += 1
  }
  return count
}
