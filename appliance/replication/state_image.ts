/**
 * This machine's image: the last checkpoint of its arena, its root once every digest is taken, and the pieces of it
 * that others ask for. Plane: control.
 */
import { assert } from "../types/assert.ts"
import type { Digest, DigestFunction, StatePages } from "../types/contracts.ts"
import type { FingerprintSink } from "../types/fingerprint.ts"
import { CheckpointShape, isWholeWindow, rootPrefix, type Wanted } from "./checkpoint_transfer.ts"
import type { MessageOf } from "./message.ts"
import { ROOT_CHECKSUM } from "./log.ts"

/** A checkpoint's digests are taken in so many ticks, so that none of them takes long … */
const DIGEST_TICKS = 16
/** … with bounds on the pages of one: 0.15 and 1.2 ms. */
const DIGEST_PAGES_MIN = 256
const DIGEST_PAGES_MAX = 2_048

type Piece = Pick<MessageOf<"checkpoint_chunk">, "op" | "op_checksum" | "root" | "mask_low" | "mask_high" | "body">

export class StateImage {
  readonly #pages: StatePages
  readonly #digest: DigestFunction
  readonly #shape: CheckpointShape
  readonly #chunk: Uint8Array
  #op = 0
  #checksum: Digest = ROOT_CHECKSUM
  #root: Digest | undefined
  #portion = DIGEST_PAGES_MIN
  /** Frozen for somebody who cannot wait, not because an op said so: nobody else has the like. */
  #isLocal = false

  /** `chunk` is where a piece lies until the message that carries it has left. */
  constructor(options: {
    readonly pages: StatePages
    readonly digest: DigestFunction
    readonly chunkBytes: number
    readonly chunk: Uint8Array
  }) {
    this.#pages = options.pages
    this.#digest = options.digest
    this.#shape = new CheckpointShape(options.pages, options.chunkBytes)
    this.#chunk = options.chunk
    assert(options.chunk.length >= options.chunkBytes, "state image: room for a piece")
    this.advance()
    assert(this.#root !== undefined, "state image: what a machine begins with has a root at once")
  }

  get op(): number {
    return this.#op
  }

  get root(): Digest | undefined {
    return this.#root
  }

  get isLocal(): boolean {
    return this.#isLocal
  }

  /** The op of a checkpoint was just applied, which froze the pages. */
  note(op: number, checksum: Digest): void {
    this.#op = op
    this.#checksum = checksum
    this.#root = undefined
    this.#isLocal = false
    this.#portion = Math.min(
      DIGEST_PAGES_MAX,
      Math.max(DIGEST_PAGES_MIN, Math.ceil(this.#pages.pending / DIGEST_TICKS)),
    )
  }

  /** The state after `op` becomes the image here alone. */
  freezeLocally(op: number, checksum: Digest): void {
    this.#pages.takeDigests(this.#pages.count)
    this.#pages.freeze()
    this.note(op, checksum)
    this.#isLocal = true
  }

  /** Every page was copied from a machine whose image this is. */
  adopt(op: number, checksum: Digest, root: Digest): void {
    this.#pages.adopt()
    this.note(op, checksum)
    this.#root = root
  }

  /** Takes a portion of the digests; true when the root has become known by it. */
  advance(): boolean {
    if (this.#root !== undefined) {
      return false
    }
    this.#pages.takeDigests(this.#portion)
    if (this.#pages.pending > 0) {
      return false
    }
    this.#root = this.#pages.root(this.#digest, rootPrefix(this.#op, this.#checksum))
    return true
  }

  /** The digests of the image's pages are those that its root was taken of; O(table). */
  isTableIntact(): boolean {
    return (
      this.#root === undefined || this.#root === this.#pages.root(this.#digest, rootPrefix(this.#op, this.#checksum))
    )
  }

  /**
   * What was asked for, as far as it is here; undefined when there is no such piece. The body is valid until the
   * next.
   */
  piece(wanted: Wanted): Piece | undefined {
    const { table, pageBytes, count } = this.#pages
    const { chunkBytes, tableChunks, windows, windowPages } = this.#shape
    assert(this.#root !== undefined, "state image: only what has a root is handed out")
    const head = { op: this.#op, op_checksum: this.#checksum, root: this.#root }
    if (wanted.part === "table") {
      const start = wanted.index * chunkBytes
      const body = table.subarray(start, Math.min(start + chunkBytes, table.length))
      return wanted.index < tableChunks ? { ...head, mask_low: 0, mask_high: 0, body } : undefined
    }
    if (wanted.index >= windows) {
      return undefined
    }
    const first = wanted.index * windowPages
    const pages = Math.min(windowPages, count - first)
    const body = isWholeWindow(wanted, pages) ? this.#pages.viewFrozen(first, pages) : undefined
    if (body !== undefined) {
      return { ...head, mask_low: wanted.mask_low, mask_high: wanted.mask_high, body }
    }
    let low = 0
    let high = 0
    let bytes = 0
    for (let bit = 0; bit < windowPages; bit += 1) {
      const page = first + bit
      const isWanted = (((bit < 32 ? wanted.mask_low : wanted.mask_high) >>> (bit & 31)) & 1) === 1
      if (isWanted && page < count && this.#pages.copyFrozen(page, this.#chunk, bytes)) {
        low |= bit < 32 ? 1 << bit : 0
        high |= bit < 32 ? 0 : 1 << (bit & 31)
        bytes += pageBytes
      }
    }
    return { ...head, mask_low: low >>> 0, mask_high: high >>> 0, body: this.#chunk.subarray(0, bytes) }
  }

  copyFrom(other: StateImage): void {
    this.#pages.copyFrom(other.#pages)
    this.#op = other.#op
    this.#checksum = other.#checksum
    this.#root = other.#root
    this.#portion = other.#portion
    this.#isLocal = other.#isLocal
  }

  fingerprint(sink: FingerprintSink): void {
    this.#pages.fingerprint(sink)
    sink("image.op", this.#op)
    sink("image.checksum", this.#checksum)
    sink("image.root", this.#root)
    sink("image.portion", this.#portion)
    sink("image.isLocal", this.#isLocal)
  }
}
