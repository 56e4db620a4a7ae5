/**
 * Finds the results in a reply of the state machine (command.ts). A reply comes from another machine: everything is
 * checked once here, so that whoever reads a result needs no check. Plane: data.
 */
import { ResultError, ResultKind } from "../state_machine/command.ts"
import { assert } from "../types/assert.ts"

export class Results {
  readonly #starts: Uint32Array
  #count = 0
  #reply: Buffer
  #view: DataView

  constructor(commandsMax: number, empty: Buffer) {
    this.#starts = new Uint32Array(commandsMax + 1)
    this.#reply = empty
    this.#view = new DataView(empty.buffer, empty.byteOffset, empty.byteLength)
  }

  get reply(): Buffer {
    return this.#reply
  }

  /** False: `reply` is not exactly `commands` results. `view` covers the same bytes. */
  scan(reply: Buffer, view: DataView, commands: number): boolean {
    assert(commands < this.#starts.length, "results: more commands than a batch has")
    assert(view.byteLength === reply.length, "results: the view covers the reply")
    this.#reply = reply
    this.#view = view
    this.#count = 0
    let at = 0
    for (let index = 0; index < commands; index += 1) {
      this.#starts[index] = at
      const bytes = resultBytes(view, at)
      if (bytes < 0) {
        return false
      }
      at += bytes
    }
    this.#starts[commands] = at
    this.#count = commands
    return at === reply.length
  }

  start(index: number): number {
    assert(index >= 0 && index <= this.#count, "results: index out of range")
    return this.#starts[index] ?? 0
  }

  kind(index: number): number {
    return this.#view.getUint8(this.start(index))
  }

  isRefusedForRoom(index: number): boolean {
    return this.kind(index) === ResultKind.error && this.error(index) === ResultError.reply_bytes_max
  }

  /** Of a result of kind error. */
  error(index: number): number {
    return this.#view.getUint8(this.start(index) + 1)
  }

  /** Of a result of kind integer: the halves of 64 signed bits. */
  low(index: number): number {
    return this.#view.getUint32(this.start(index) + 1, true)
  }
  high(index: number): number {
    return this.#view.getInt32(this.start(index) + 5, true)
  }

  /** Of a result of kind bytes: where they start and how many they are. */
  bytesStart(index: number): number {
    return this.start(index) + 5
  }
  bytesLength(index: number): number {
    return this.#view.getUint32(this.start(index) + 1, true)
  }
}

/** Bytes of the result at `at`, or -1 when there is none. */
function resultBytes(view: DataView, at: number): number {
  const room = view.byteLength - at
  if (room < 1) {
    return -1
  }
  switch (view.getUint8(at)) {
    case ResultKind.nil:
    case ResultKind.ok:
      return 1
    case ResultKind.integer:
      return room >= 9 ? 9 : -1
    case ResultKind.error:
      return room >= 2 ? 2 : -1
    case ResultKind.bytes: {
      const bytes = room >= 5 ? 5 + view.getUint32(at + 1, true) : Number.POSITIVE_INFINITY
      return bytes <= room ? bytes : -1
    }
    default:
      return -1
  }
}
