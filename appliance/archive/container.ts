/**
 * The file `.mandala`: a header that a person can read, then the pages of the state, compressed and, where that was
 * asked for, encrypted, then a checksum of all of it. All integers are little-endian.
 *
 *   offset      size
 *        0         8  "MANDALA" and a line feed
 *        8         4  version of this format, 1
 *       12         4  bytes of the header: h
 *       16         h  the header: JSON in UTF-8 (header.ts)
 *     16+h            blocks: u32 bytes of the block, of which bit 31 marks the last; the block
 *                 32  SHA-256 of all bytes before
 *
 * The blocks, put together, are one zstd stream. Where the header names an encryption each is sealed for itself
 * (seal.ts), bound to the SHA-256 of what stands before the first. The stream holds runs of pages, ascending: u32
 * number of the first page, u32 pages, the pages; after the last a run of 0xffffffff and 0. Pages that are not there
 * are zeros.
 *
 * Reading is bounded by what the limits that the header names allow, whatever lengths the file claims. Plane: control.
 */
import { createHash, type Hash } from "node:crypto"
import { once } from "node:events"
import { constants, createZstdCompress, createZstdDecompress } from "node:zlib"
import { arenaLayout, PAGE_BYTES } from "../state_machine/arena.ts"
import { assert } from "../types/assert.ts"
import type { ClusterLimits } from "../types/limits.ts"
import { err, ok, type Result } from "../types/result.ts"
import type { ArchiveError } from "./errors.ts"
import { type ExportHeader, limitsOfHeader, parseHeader } from "./header.ts"
import { BLOCK_BYTES, BLOCK_BYTES_MAX, HEADER_BYTES_MAX, ZSTD_LEVEL, ZSTD_WINDOW_LOG_MAX } from "./limits.ts"
import { findKey, makeKey, openBlock, type OpenWith, type SealFor, sealBlock } from "./seal.ts"
import { isEmpty, KNOWN_LIMITS, type StateExport } from "./state_export.ts"

const MAGIC = Buffer.from("MANDALA\n")
const VERSION = 1
const PRELUDE_BYTES = 16
const LAST_BLOCK = 0x8000_0000
const CHECKSUM_BYTES = 32
const RUN_HEAD_BYTES = 8
const NO_PAGE = 0xffff_ffff
/** Pages that are handed to the compressor at once. */
const RUN_PAGES_MAX = 64

export type WriteOptions = { readonly seal?: SealFor; readonly level?: number }

/** The file's bytes, piece by piece. */
export async function* writeContainer(state: StateExport, options: WriteOptions = {}): AsyncGenerator<Buffer> {
  const made = options.seal === undefined ? undefined : makeKey(options.seal)
  assert(state.header.secrets === "left_out" || made !== undefined, "container: secrets leave only encrypted")
  const header = Buffer.from(JSON.stringify({ ...state.header, encryption: made?.encryption ?? null }))
  assert(header.length <= HEADER_BYTES_MAX, "container: a header is short")
  const prelude = Buffer.alloc(PRELUDE_BYTES)
  MAGIC.copy(prelude)
  prelude.writeUInt32LE(VERSION, 8)
  prelude.writeUInt32LE(header.length, 12)
  const checksum = createHash("sha256").update(prelude).update(header)
  const bound = checksum.copy().digest()
  yield prelude
  yield header
  let number = 0
  const blockOf = (plain: Buffer, isLast: boolean): Buffer => {
    const body = made === undefined ? plain : sealBlock(made.key, { number, isLast }, plain, bound)
    number += 1
    const head = Buffer.alloc(4)
    head.writeUInt32LE((body.length | (isLast ? LAST_BLOCK : 0)) >>> 0)
    checksum.update(head).update(body)
    return Buffer.concat([head, body])
  }
  let held: Buffer = Buffer.alloc(0)
  for await (const piece of compressed(state.arena, options.level ?? ZSTD_LEVEL)) {
    held = held.length === 0 ? piece : Buffer.concat([held, piece])
    for (; held.length > BLOCK_BYTES; held = held.subarray(BLOCK_BYTES)) {
      yield blockOf(held.subarray(0, BLOCK_BYTES), false)
    }
  }
  yield blockOf(held, true)
  yield checksum.digest()
}

async function* compressed(arena: Uint8Array, level: number): AsyncGenerator<Buffer> {
  const params = { [constants.ZSTD_c_compressionLevel]: level }
  const stream = createZstdCompress({ params, chunkSize: BLOCK_BYTES })
  const feeding = feed(arena, stream)
  try {
    for await (const piece of stream) {
      // Proof: no encoding was set, so Node's stream hands out buffers.
      yield piece as Buffer
    }
    await feeding
  } finally {
    stream.destroy()
  }
}

async function feed(arena: Uint8Array, stream: ReturnType<typeof createZstdCompress>): Promise<void> {
  for (const piece of runsOf(arena)) {
    if (stream.destroyed) {
      return
    }
    if (!stream.write(piece)) {
      await Promise.race([once(stream, "drain"), once(stream, "close")])
    }
  }
  stream.end()
}

/** Runs of pages with anything in them, and the end. */
function* runsOf(arena: Uint8Array): Generator<Buffer> {
  const pages = arena.length / PAGE_BYTES
  let first = 0
  while (first < pages) {
    let end = first
    while (
      end < pages &&
      end - first < RUN_PAGES_MAX &&
      !isEmpty(arena.subarray(end * PAGE_BYTES, (end + 1) * PAGE_BYTES))
    ) {
      end += 1
    }
    if (end > first) {
      yield runHead(first, end - first)
      yield Buffer.from(arena.buffer, arena.byteOffset + first * PAGE_BYTES, (end - first) * PAGE_BYTES)
    }
    first = Math.max(end, first + 1)
  }
  yield runHead(NO_PAGE, 0)
}

function runHead(first: number, count: number): Buffer {
  const head = Buffer.alloc(RUN_HEAD_BYTES)
  head.writeUInt32LE(first, 0)
  head.writeUInt32LE(count, 4)
  return head
}

// ---------------------------------------------------------------- reading

/** Bytes of a file as they are asked for, counted into a checksum. */
class ByteReader {
  readonly #source: AsyncIterator<Uint8Array>
  readonly checksum: Hash = createHash("sha256")
  #held: Buffer = Buffer.alloc(0)
  #isDone = false
  /** Bytes taken so far. */
  taken = 0

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]()
  }

  /** Exactly so many; undefined when there are not so many left. */
  async take(bytes: number, isSummed = true): Promise<Buffer | undefined> {
    const parts = [this.#held]
    let have = this.#held.length
    while (have < bytes && !this.#isDone) {
      const next = await this.#source.next()
      this.#isDone = next.done === true
      const part = next.done === true ? Buffer.alloc(0) : Buffer.from(next.value)
      parts.push(part)
      have += part.length
    }
    const all = parts.length === 1 ? this.#held : Buffer.concat(parts)
    if (have < bytes) {
      this.#held = all
      return undefined
    }
    this.#held = all.subarray(bytes)
    this.taken += bytes
    const taken = all.subarray(0, bytes)
    if (isSummed) {
      this.checksum.update(taken)
    }
    return taken
  }

  async isAtEnd(): Promise<boolean> {
    return (await this.take(1, false)) === undefined
  }
}

type Opened = { readonly header: ExportHeader; readonly reader: ByteReader; readonly bound: Buffer }

/** The header of a file, without its pages. */
export async function readContainerHeader(
  source: AsyncIterable<Uint8Array>,
): Promise<Result<ExportHeader, ArchiveError>> {
  const opened = await openContainer(source)
  return opened.ok ? ok(opened.value.header) : opened
}

async function openContainer(source: AsyncIterable<Uint8Array>): Promise<Result<Opened, ArchiveError>> {
  const reader = new ByteReader(source)
  let prelude: Buffer | undefined
  try {
    prelude = await reader.take(PRELUDE_BYTES)
  } catch (cause) {
    return err({ kind: "io", text: cause instanceof Error ? cause.message : String(cause) })
  }
  if (prelude === undefined || !prelude.subarray(0, MAGIC.length).equals(MAGIC)) {
    return err({ kind: "not_an_export", text: "this is no export of Mandala" })
  }
  const version = prelude.readUInt32LE(8)
  if (version !== VERSION) {
    return err({
      kind: "newer_version",
      text: `its format is ${version}, and this program reads ${VERSION}: use a newer one`,
    })
  }
  const headerBytes = prelude.readUInt32LE(12)
  if (headerBytes > HEADER_BYTES_MAX) {
    return err({ kind: "damaged", text: `its header claims ${headerBytes} bytes, and ${HEADER_BYTES_MAX} is the most` })
  }
  const text = await reader.take(headerBytes)
  const header = text === undefined ? truncated("its header") : parseHeader(text.toString("utf8"))
  return header.ok ? ok({ header: header.value, reader, bound: reader.checksum.copy().digest() }) : header
}

export type ReadOptions = {
  readonly open?: OpenWith
  readonly known?: readonly ClusterLimits[]
  readonly progress?: (bytes: number) => void
}

/** The state in a file, whose checksum was compared; what its pages say of themselves is not judged here. */
export async function readContainer(
  source: AsyncIterable<Uint8Array>,
  options: ReadOptions = {},
): Promise<Result<StateExport, ArchiveError>> {
  const opened = await openContainer(source)
  if (!opened.ok) {
    return opened
  }
  const { header, reader, bound } = opened.value
  const limits = limitsOfHeader(header, options.known ?? KNOWN_LIMITS)
  if (!limits.ok) {
    return limits
  }
  const { bytes } = arenaLayout(limits.value)
  if (header.page_bytes !== PAGE_BYTES || header.pages * PAGE_BYTES !== bytes) {
    return err({ kind: "damaged", text: "its header contradicts itself: so many pages are no state of its size" })
  }
  let key: Buffer | undefined
  if (header.encryption !== null) {
    const found = findKey(header.encryption, options.open ?? {})
    if (!found.ok) {
      return found
    }
    key = found.value
  }
  const arena = new Uint8Array(bytes)
  const placed = await placePages({ reader, key, bound, arena, progress: options.progress })
  if (!placed.ok) {
    return placed
  }
  const sum = reader.checksum.digest()
  const said = await reader.take(CHECKSUM_BYTES, false)
  if (said === undefined) {
    return truncated("its checksum")
  }
  if (!said.equals(sum)) {
    return err({ kind: "damaged", text: "its checksum is another: bits of it have changed" })
  }
  if (!(await reader.isAtEnd())) {
    return err({ kind: "damaged", text: "there is something behind its end" })
  }
  return ok({ header, limits: limits.value, arena })
}

type Placing = {
  readonly reader: ByteReader
  readonly key: Buffer | undefined
  readonly bound: Buffer
  readonly arena: Uint8Array
  readonly progress: ((bytes: number) => void) | undefined
}

async function placePages(placing: Placing): Promise<Result<void, ArchiveError>> {
  const stream = createZstdDecompress({ params: { [constants.ZSTD_d_windowLogMax]: ZSTD_WINDOW_LOG_MAX } })
  const sink = new PageSink(placing.arena)
  let streamError: string | undefined
  stream.on("error", (error: Error) => {
    streamError ??= error.message
  })
  stream.on("data", (piece: Buffer) => {
    if (!sink.take(piece)) {
      // Nothing more is unpacked: a bomb has no second wave.
      stream.destroy()
    }
  })
  const closed = new Promise<void>((resolve) => stream.once("close", () => resolve()))
  const fed = await feedBlocks(placing, stream)
  if (fed.ok && !stream.destroyed) {
    stream.end()
    await Promise.race([closed, once(stream, "end").catch(() => undefined)])
  }
  stream.destroy()
  await closed
  if (!fed.ok) {
    return fed
  }
  const fault = sink.fault ?? streamError
  if (fault !== undefined) {
    return err({ kind: "damaged", text: `its pages cannot be unpacked: ${fault}` })
  }
  return sink.isComplete ? ok(undefined) : truncated("the last of its pages")
}

async function feedBlocks(
  { reader, key, bound, progress }: Placing,
  stream: ReturnType<typeof createZstdDecompress>,
): Promise<Result<void, ArchiveError>> {
  for (let number = 0; ; number += 1) {
    const head = await reader.take(4)
    if (head === undefined) {
      return truncated(`block ${number}`)
    }
    const word = head.readUInt32LE()
    const isLast = word >= LAST_BLOCK
    const length = word & ~LAST_BLOCK
    if (length > BLOCK_BYTES_MAX) {
      return err({
        kind: "damaged",
        text: `block ${number} claims ${length} bytes, and ${BLOCK_BYTES_MAX} is the most`,
      })
    }
    const body = await reader.take(length)
    if (body === undefined) {
      return truncated(`block ${number}`)
    }
    const plain = key === undefined ? body : openBlock(key, { number, isLast }, body, bound)
    if (plain === undefined) {
      return err({ kind: "damaged", text: `block ${number} is not what was sealed` })
    }
    progress?.(reader.taken)
    if (!stream.destroyed && !stream.write(plain)) {
      await Promise.race([once(stream, "drain"), once(stream, "close")]).catch(() => undefined)
    }
    if (isLast) {
      return ok(undefined)
    }
  }
}

/** Puts runs of pages where they belong, never more than there is room for. */
class PageSink {
  readonly #arena: Uint8Array
  readonly #head = Buffer.alloc(RUN_HEAD_BYTES)
  #headBytes = 0
  /** Where the run at hand goes on, and where it ends. */
  #at = 0
  #end = 0
  isComplete = false
  fault: string | undefined

  constructor(arena: Uint8Array) {
    this.#arena = arena
  }

  /** False: what comes is no run of pages, and nothing more is taken. */
  take(piece: Buffer): boolean {
    let from = 0
    while (from < piece.length && this.fault === undefined) {
      if (this.#at < this.#end) {
        const bytes = Math.min(piece.length - from, this.#end - this.#at)
        this.#arena.set(piece.subarray(from, from + bytes), this.#at)
        this.#at += bytes
        from += bytes
        continue
      }
      const bytes = Math.min(piece.length - from, RUN_HEAD_BYTES - this.#headBytes)
      piece.copy(this.#head, this.#headBytes, from, from + bytes)
      this.#headBytes += bytes
      from += bytes
      if (this.#headBytes === RUN_HEAD_BYTES) {
        this.#headBytes = 0
        this.#begin(this.#head.readUInt32LE(0), this.#head.readUInt32LE(4))
      }
    }
    return this.fault === undefined
  }

  #begin(first: number, count: number): void {
    if (this.isComplete) {
      this.fault = "there is something behind their end"
    } else if (first === NO_PAGE && count === 0) {
      this.isComplete = true
    } else if (first * PAGE_BYTES < this.#end || count === 0 || (first + count) * PAGE_BYTES > this.#arena.length) {
      this.fault = `pages ${first} to ${first + count} are not those of such a state`
    } else {
      this.#at = first * PAGE_BYTES
      this.#end = (first + count) * PAGE_BYTES
    }
  }
}

function truncated(what: string): Result<never, ArchiveError> {
  return err({ kind: "truncated", text: `it was cut off: ${what} is missing` })
}
