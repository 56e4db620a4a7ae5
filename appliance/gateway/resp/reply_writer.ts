/**
 * Encodes RESP2 and RESP3 replies into one preallocated buffer. When it is full, what it holds goes to its drain, so an
 * answer of any length leaves in bounded pieces. Plane: data.
 */
import { assert } from "../../types/assert.ts"
import {
  CARRIAGE_RETURN,
  COLON,
  DOLLAR,
  LINE_FEED,
  MINUS,
  PERCENT,
  PLUS,
  SPACE,
  STAR,
  UNDERSCORE,
  ZERO,
} from "./characters.ts"

export interface ReplyDrain {
  /** Takes `bytes[0, length)`; the bytes are copied before this returns. */
  drain(bytes: Buffer, length: number): void
}

/** Below this a loop is faster than the call of a native copy (measured: 16 ns for 16 bytes against 32 ns). */
const LOOP_BYTES_MAX = 24
/** "-9223372036854775808" and a header's own three bytes. */
const NUMBER_BYTES_MAX = 24
const U32 = 0x1_0000_0000
/** Upper halves within which high * 2^32 + low is a safe integer. */
const SAFE_HIGH_MAX = 0x1f_ffff
const SAFE_HIGH_MIN = -0x20_0000
const PROTOCOL_3 = 3

export class ReplyWriter {
  readonly buffer: Buffer
  readonly #drain: ReplyDrain | undefined
  readonly #digits = new Uint8Array(NUMBER_BYTES_MAX)
  #length = 0

  /** Without a drain the caller asks room() first. */
  constructor(buffer: Buffer, drain: ReplyDrain | undefined) {
    assert(buffer.length > NUMBER_BYTES_MAX, "reply writer: its buffer holds a number")
    this.buffer = buffer
    this.#drain = drain
  }

  get length(): number {
    return this.#length
  }

  room(): number {
    return this.buffer.length - this.#length
  }

  clear(): void {
    this.#length = 0
  }

  flush(): void {
    if (this.#length > 0) {
      assert(this.#drain !== undefined, "reply writer: a full buffer has a drain, or its caller asked room() first")
      const length = this.#length
      this.#length = 0
      this.#drain.drain(this.buffer, length)
    }
  }

  #byte(byte: number): void {
    if (this.#length === this.buffer.length) {
      this.flush()
    }
    this.buffer[this.#length] = byte
    this.#length += 1
  }

  #lineEnd(): void {
    this.#byte(CARRIAGE_RETURN)
    this.#byte(LINE_FEED)
  }

  /** Bytes as they are: an answer that was encoded before. */
  raw(source: Buffer, start: number, bytes: number): void {
    assert(start >= 0 && bytes >= 0 && start + bytes <= source.length, "reply writer: range outside the source")
    if (bytes <= LOOP_BYTES_MAX) {
      for (let index = start; index < start + bytes; index += 1) {
        this.#byte(source[index] ?? 0)
      }
      return
    }
    let at = start
    // Each turn fills the buffer or ends.
    while (at < start + bytes) {
      if (this.#length === this.buffer.length) {
        this.flush()
      }
      const piece = Math.min(this.buffer.length - this.#length, start + bytes - at)
      source.copy(this.buffer, this.#length, at, at + piece)
      this.#length += piece
      at += piece
    }
  }

  /** A literal of our own: ASCII, without line ends. */
  #text(text: string): void {
    for (let index = 0; index < text.length; index += 1) {
      this.#byte(text.charCodeAt(index))
    }
  }

  #header(type: number, value: number): void {
    this.#byte(type)
    this.#number(value)
    this.#lineEnd()
  }

  #number(value: number): void {
    assert(Number.isSafeInteger(value), "reply writer: a number is a safe integer")
    let rest = value
    if (rest < 0) {
      this.#byte(MINUS)
      rest = -rest
    }
    let at = NUMBER_BYTES_MAX
    do {
      at -= 1
      const next = Math.floor(rest / 10)
      this.#digits[at] = rest - next * 10 + ZERO
      rest = next
    } while (rest > 0)
    for (; at < NUMBER_BYTES_MAX; at += 1) {
      this.#byte(this.#digits[at] ?? 0)
    }
  }

  simple(text: string): void {
    this.#byte(PLUS)
    this.#text(text)
    this.#lineEnd()
  }

  /** What stands in `text` may come from a client: line ends and other control characters become spaces. */
  error(text: string): void {
    this.#byte(MINUS)
    for (let index = 0; index < text.length; index += 1) {
      const code = text.charCodeAt(index)
      this.#byte(code < SPACE || code > 255 ? SPACE : code)
    }
    this.#lineEnd()
  }

  integer(value: number): void {
    this.#header(COLON, value)
  }

  /** A signed 64-bit number from its halves: `high` signed, `low` unsigned. */
  integerHalves(high: number, low: number): void {
    assert(low >= 0 && low < U32, "reply writer: the lower half is unsigned")
    if (high >= SAFE_HIGH_MIN && high <= SAFE_HIGH_MAX && !(high === SAFE_HIGH_MIN && low === 0)) {
      this.#header(COLON, high * U32 + low)
      return
    }
    // Beyond 2^53: rare, and the only way to print it exactly.
    this.#byte(COLON)
    this.#text(((BigInt(high) << 32n) | BigInt(low)).toString())
    this.#lineEnd()
  }

  bulk(source: Buffer, start: number, bytes: number): void {
    this.#header(DOLLAR, bytes)
    this.raw(source, start, bytes)
    this.#lineEnd()
  }

  /** A literal of our own, ASCII. */
  bulkText(text: string): void {
    this.#header(DOLLAR, text.length)
    for (let index = 0; index < text.length; index += 1) {
      this.#byte(text.charCodeAt(index) & 0xff)
    }
    this.#lineEnd()
  }

  null(protocol: number): void {
    if (protocol === PROTOCOL_3) {
      this.#byte(UNDERSCORE)
    } else {
      this.#byte(DOLLAR)
      this.#byte(MINUS)
      this.#byte(ZERO + 1)
    }
    this.#lineEnd()
  }

  array(count: number): void {
    this.#header(STAR, count)
  }

  /** RESP2 has no maps: it gets an array of keys and values in turn. */
  map(count: number, protocol: number): void {
    if (protocol === PROTOCOL_3) {
      this.#header(PERCENT, count)
    } else {
      this.#header(STAR, count * 2)
    }
  }
}
