/**
 * Parses the requests of RESP clients: arrays of bulk strings, and inline commands as people type them. Total over any
 * bytes in any chunks, bounded, and the arguments of a command lie in one buffer that the parser owns.
 *
 * The texts of protocol errors are Redis's own where Redis has one (networking.c), since clients show them.
 * Plane: data.
 */
import { assert } from "../../types/assert.ts"
import {
  ARGUMENT_BYTES_MAX,
  ARGUMENT_KEPT_BYTES,
  ARGUMENTS_MAX,
  BULK_BYTES_MAX,
  COMMAND_BYTES_MAX,
  HEADER_BYTES_MAX,
  INLINE_BYTES_MAX,
} from "../limits.ts"
import {
  BACKSLASH,
  CARRIAGE_RETURN,
  DOLLAR,
  DOUBLE_QUOTE,
  hexDigit,
  isDigit,
  isSpace,
  LINE_FEED,
  LOWER_X,
  MINUS,
  printable,
  SINGLE_QUOTE,
  STAR,
  unescaped,
  ZERO,
} from "./characters.ts"

export const ParseStatus = {
  /** All that was written is consumed and no command is complete. */
  more: 0,
  /** A command: read its arguments, then call next() again. */
  command: 1,
  /** The stream is broken for good: say `error`, then close. */
  error: 2,
} as const
export type ParseStatus = (typeof ParseStatus)[keyof typeof ParseStatus]

/** What a step of the parser says besides ParseStatus: go on with the next byte. */
const CONTINUE = 3
type Step = ParseStatus | typeof CONTINUE

/** No bulk's header has been read yet. */
const NO_BULK = -1

export class RequestParser {
  /** The bytes of the current command; valid from `command` until the next call of next() or write(). */
  readonly buffer: Buffer
  /** Where each argument starts, counted from the command's first byte, and how long it was announced. */
  readonly #starts = new Int32Array(ARGUMENTS_MAX)
  readonly #lengths = new Int32Array(ARGUMENTS_MAX)
  #argumentCount = 0
  #error = ""
  #isDelivered = false

  /** The buffer holds [#command, #end); everything before #position is understood. */
  #command = 0
  #position = 0
  #end = 0

  /** Bulks of the array that are still to come; 0 between commands. */
  #remaining = 0
  #bulkLength = NO_BULK
  /** Bytes of the current bulk that are kept, and those that are still to be dropped. */
  #kept = 0
  #skip = 0
  /** Where the search for an inline command's end goes on. */
  #scan = 0

  constructor(buffer: Buffer) {
    assert(buffer.length === COMMAND_BYTES_MAX, "parser: its buffer holds one command")
    this.buffer = buffer
  }

  /** Bytes of a command are here, and others of it are not. */
  get isAmid(): boolean {
    return !this.#isDelivered && (this.#remaining > 0 || this.#end > this.#command)
  }

  get argumentCount(): number {
    return this.#argumentCount
  }

  /** A literal text for the client; "" while all is well. */
  get error(): string {
    return this.#error
  }

  /** Offset of the argument in `buffer`. */
  start(index: number): number {
    assert(index >= 0 && index < this.#argumentCount, "parser: argument out of range")
    return this.#command + (this.#starts[index] ?? 0)
  }

  /** The argument's length as announced. Of one longer than ARGUMENT_BYTES_MAX only the first bytes are there. */
  bytes(index: number): number {
    assert(index >= 0 && index < this.#argumentCount, "parser: argument out of range")
    return this.#lengths[index] ?? 0
  }

  /** The argument's length as it lies in `buffer`. */
  keptBytes(index: number): number {
    const bytes = this.bytes(index)
    return bytes > ARGUMENT_BYTES_MAX ? ARGUMENT_KEPT_BYTES : bytes
  }

  /** Forgets everything: the buffer goes to another connection. */
  reset(): void {
    this.#argumentCount = 0
    this.#error = ""
    this.#isDelivered = false
    this.#command = 0
    this.#position = 0
    this.#end = 0
    this.#remaining = 0
    this.#bulkLength = NO_BULK
    this.#kept = 0
    this.#skip = 0
    this.#scan = 0
  }

  /**
   * Takes bytes of `chunk` from `offset` on, as many as fit, and returns how many. Only after next() said `more`: what
   * is in the buffer then belongs to one command.
   */
  write(chunk: Buffer, offset: number): number {
    assert(!this.#isDelivered, "parser: write() while a command waits to be read")
    if (this.#error !== "") {
      return chunk.length - offset
    }
    this.#makeRoom()
    const room = this.buffer.length - this.#end
    if (room === 0) {
      this.#error = "ERR Protocol error: command_bytes_max: the arguments of one command have more than 131072 bytes"
      return chunk.length - offset
    }
    const bytes = Math.min(room, chunk.length - offset)
    chunk.copy(this.buffer, this.#end, offset, offset + bytes)
    this.#end += bytes
    return bytes
  }

  /** Moves the unfinished command to the buffer's front. */
  #makeRoom(): void {
    if (this.#command === 0) {
      return
    }
    this.buffer.copyWithin(0, this.#command, this.#end)
    this.#end -= this.#command
    this.#position -= this.#command
    this.#scan = Math.max(0, this.#scan - this.#command)
    this.#command = 0
  }

  next(): ParseStatus {
    if (this.#error !== "") {
      return ParseStatus.error
    }
    if (this.#isDelivered) {
      this.#isDelivered = false
      this.#beginCommand()
    }
    // Every step but the last moves #position on, so this ends with the buffer.
    while (this.#position < this.#end) {
      const before = this.#position
      const step = this.#step()
      if (step !== CONTINUE) {
        assert(step !== ParseStatus.error || this.#error !== "", "parser: an error has a text")
        return step
      }
      assert(this.#position > before, "parser: a step moves on")
    }
    return ParseStatus.more
  }

  #beginCommand(): void {
    this.#argumentCount = 0
    this.#command = this.#position
    this.#scan = this.#position
  }

  #step(): Step {
    if (this.#remaining > 0) {
      return this.#bulkLength === NO_BULK ? this.#bulkHeader() : this.#bulkBody()
    }
    return this.buffer[this.#position] === STAR ? this.#arrayHeader() : this.#inline()
  }

  #fail(text: string): Step {
    this.#error = text
    return ParseStatus.error
  }

  #deliver(): Step {
    this.#isDelivered = true
    return ParseStatus.command
  }

  // ---------------------------------------------------------------- arrays of bulk strings

  /** The number between the byte at #position and CR LF. */
  #headerValue = 0

  /** `command`: a number was read and #position is behind its line. `error`: it is no such line. */
  #header(): ParseStatus {
    const limit = Math.min(this.#end, this.#position + HEADER_BYTES_MAX)
    let at = this.#position + 1
    const isNegative = at < limit && this.buffer[at] === MINUS
    at += isNegative ? 1 : 0
    const digitsStart = at
    let value = 0
    while (at < limit && isDigit(this.buffer[at])) {
      value = value * 10 + (this.buffer[at] ?? 0) - ZERO
      at += 1
    }
    const isShort = limit < this.#position + HEADER_BYTES_MAX
    if (at === limit || (at + 1 === limit && this.buffer[at] === CARRIAGE_RETURN)) {
      return isShort ? ParseStatus.more : ParseStatus.error
    }
    if (at === digitsStart || this.buffer[at] !== CARRIAGE_RETURN || this.buffer[at + 1] !== LINE_FEED) {
      return ParseStatus.error
    }
    this.#headerValue = isNegative ? -value : value
    this.#position = at + 2
    return ParseStatus.command
  }

  #arrayHeader(): Step {
    const status = this.#header()
    if (status === ParseStatus.more) {
      return ParseStatus.more
    }
    if (status === ParseStatus.error) {
      return this.#fail("ERR Protocol error: invalid multibulk length")
    }
    if (this.#headerValue > ARGUMENTS_MAX) {
      return this.#fail("ERR Protocol error: invalid multibulk length: arguments_max is 1025")
    }
    if (this.#headerValue <= 0) {
      // As Redis: an empty array is no command and gets no answer.
      this.#beginCommand()
      return CONTINUE
    }
    this.#remaining = this.#headerValue
    return CONTINUE
  }

  #bulkHeader(): Step {
    if (this.buffer[this.#position] !== DOLLAR) {
      return this.#fail("ERR Protocol error: expected '$', got '" + printable(this.buffer[this.#position]) + "'")
    }
    const status = this.#header()
    if (status === ParseStatus.more) {
      return ParseStatus.more
    }
    if (status === ParseStatus.error || this.#headerValue < 0 || this.#headerValue > BULK_BYTES_MAX) {
      return this.#fail("ERR Protocol error: invalid bulk length")
    }
    this.#bulkLength = this.#headerValue
    this.#kept = this.#bulkLength > ARGUMENT_BYTES_MAX ? ARGUMENT_KEPT_BYTES : this.#bulkLength
    this.#skip = this.#bulkLength - this.#kept
    return CONTINUE
  }

  #bulkBody(): Step {
    const keptEnd = this.#position + this.#kept
    if (this.#end < keptEnd) {
      return ParseStatus.more
    }
    if (this.#skip > 0) {
      this.#dropSkipped(keptEnd)
    }
    if (this.#skip > 0 || this.#end < keptEnd + 2) {
      return ParseStatus.more
    }
    if (this.buffer[keptEnd] !== CARRIAGE_RETURN || this.buffer[keptEnd + 1] !== LINE_FEED) {
      return this.#fail("ERR Protocol error: expected CRLF behind a bulk string")
    }
    this.#addArgument(this.#position, this.#bulkLength)
    this.#position = keptEnd + 2
    this.#bulkLength = NO_BULK
    this.#remaining -= 1
    return this.#remaining === 0 ? this.#deliver() : CONTINUE
  }

  /** Takes bytes that nobody will read out of the buffer, so that what follows lies right behind what is kept. */
  #dropSkipped(keptEnd: number): void {
    const bytes = Math.min(this.#skip, this.#end - keptEnd)
    this.buffer.copyWithin(keptEnd, keptEnd + bytes, this.#end)
    this.#end -= bytes
    this.#skip -= bytes
  }

  #addArgument(start: number, bytes: number): void {
    assert(this.#argumentCount < ARGUMENTS_MAX, "parser: arguments are bounded")
    this.#starts[this.#argumentCount] = start - this.#command
    this.#lengths[this.#argumentCount] = bytes
    this.#argumentCount += 1
  }

  // ---------------------------------------------------------------- inline commands

  #inline(): Step {
    while (this.#scan < this.#end && this.buffer[this.#scan] !== LINE_FEED) {
      this.#scan += 1
    }
    if (this.#scan - this.#position > INLINE_BYTES_MAX) {
      return this.#fail("ERR Protocol error: too big inline request")
    }
    if (this.#scan === this.#end) {
      return ParseStatus.more
    }
    const lineFeed = this.#scan
    const hasReturn = lineFeed > this.#position && this.buffer[lineFeed - 1] === CARRIAGE_RETURN
    const isSplit = this.#splitLine(this.#position, hasReturn ? lineFeed - 1 : lineFeed)
    if (!isSplit) {
      return ParseStatus.error
    }
    this.#position = lineFeed + 1
    if (this.#argumentCount > 0) {
      return this.#deliver()
    }
    this.#beginCommand()
    return CONTINUE
  }

  /** As sdssplitargs of Redis: words, "…" with escapes, '…' as it is. False: an error is set. */
  #splitLine(start: number, end: number): boolean {
    let at = start
    // A NUL ends the line, as in Redis, whose lines are C strings.
    while (at < end && this.buffer[at] !== 0) {
      if (isSpace(this.buffer[at])) {
        at += 1
        continue
      }
      if (this.#argumentCount === ARGUMENTS_MAX) {
        this.#error = "ERR Protocol error: arguments_max is 1025"
        return false
      }
      at = this.#splitWord(at, end)
      if (at === NO_WORD) {
        this.#error = "ERR Protocol error: unbalanced quotes in request"
        return false
      }
    }
    return true
  }

  /** Decodes one word in place (it never grows); returns where it ends, or NO_WORD. */
  #splitWord(start: number, end: number): number {
    let write = start
    let at = start
    let quote = 0
    while (at < end) {
      const byte = this.buffer[at] ?? 0
      if (quote === 0) {
        if (isSpace(byte) || byte === 0) {
          break
        }
        if (byte === DOUBLE_QUOTE || byte === SINGLE_QUOTE) {
          quote = byte
        } else {
          this.buffer[write] = byte
          write += 1
        }
        at += 1
      } else if (byte === quote) {
        // A closing quote ends the word.
        if (at + 1 < end && !isSpace(this.buffer[at + 1])) {
          return NO_WORD
        }
        this.#addArgument(start, write - start)
        return at + 1
      } else {
        at += this.#unescape(at, end, write, quote)
        write += 1
      }
    }
    if (quote !== 0) {
      return NO_WORD
    }
    this.#addArgument(start, write - start)
    return at
  }

  /** Decodes the byte or escape at `at` to `write`; returns how many bytes it took. */
  #unescape(at: number, end: number, write: number, quote: number): number {
    const byte = this.buffer[at] ?? 0
    if (byte !== BACKSLASH || at + 1 >= end) {
      this.buffer[write] = byte
      return 1
    }
    const next = this.buffer[at + 1] ?? 0
    if (quote === SINGLE_QUOTE) {
      this.buffer[write] = next === SINGLE_QUOTE ? next : byte
      return next === SINGLE_QUOTE ? 2 : 1
    }
    if (next === LOWER_X && at + 3 < end) {
      const high = hexDigit(this.buffer[at + 2])
      const low = hexDigit(this.buffer[at + 3])
      if (high >= 0 && low >= 0) {
        this.buffer[write] = high * 16 + low
        return 4
      }
    }
    this.buffer[write] = unescaped(next)
    return 2
  }
}

const NO_WORD = -1
