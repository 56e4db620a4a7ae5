/**
 * The table `sessions`: at most once for gateways. A record is the session's number (the op that registered it), the
 * client's 16-byte id, its last committed request and that request's reply (rule 25):
 *
 *   offset size
 *        0    8  session number, 0 for a free record
 *        8   16  client id
 *       24    8  last committed request number
 *       32    8  op of the last commit: who is oldest is evicted first
 *       40    4  bytes of the last reply
 *       48    r  the reply
 *
 * Plane: data.
 */
import { assert } from "../types/assert.ts"
import { getU53, SESSION_HEAD_BYTES, setU53 } from "./arena.ts"
import { copyBytes } from "./copy_bytes.ts"
import type { PageWrites } from "./pages.ts"
import type { TableOptions } from "./table_options.ts"

const CLIENT_ID_BYTES = 16
export const SESSION_NONE = -1

export class Sessions {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  readonly #pages: PageWrites
  readonly #start: number
  readonly #stride: number
  readonly #count: number
  readonly #replyBytesMax: number

  constructor(options: TableOptions) {
    this.#view = options.view
    this.#pages = options.pages
    this.#bytes = new Uint8Array(options.view.buffer, options.view.byteOffset, options.view.byteLength)
    this.#start = options.layout.sessions
    this.#stride = options.layout.session_bytes
    this.#count = options.limits.sessions_max
    this.#replyBytesMax = options.limits.session_reply_bytes_max
  }

  /** Places, free ones included. */
  get count(): number {
    return this.#count
  }

  isFree(index: number): boolean {
    return getU53(this.#view, this.offset(index)) === 0
  }

  /** Offset of a record in the arena. */
  offset(index: number): number {
    return this.#start + index * this.#stride
  }

  /** Bytes of the record in use: its head and its reply. */
  usedBytes(index: number): number {
    return SESSION_HEAD_BYTES + this.#view.getUint32(this.offset(index) + 40, true)
  }

  /** The record of a session by its number, or SESSION_NONE. */
  find(session: number): number {
    if (session <= 0) {
      return SESSION_NONE
    }
    for (let index = 0; index < this.#count; index += 1) {
      if (getU53(this.#view, this.#start + index * this.#stride) === session) {
        return index
      }
    }
    return SESSION_NONE
  }

  /** Registers the client whose id is `body[start, start + 16)` at `op`; its number, which a repeat gets again. */
  register(op: number, body: Uint8Array, start: number): number {
    let target = SESSION_NONE
    let targetOp = Number.MAX_SAFE_INTEGER
    for (let index = 0; index < this.#count; index += 1) {
      const at = this.#start + index * this.#stride
      const number = getU53(this.#view, at)
      if (number !== 0 && this.#hasClient(at, body, start)) {
        return number
      }
      // A free record counts as older than any: it is taken before a session is evicted.
      const lastOp = number === 0 ? -1 : getU53(this.#view, at + 32)
      if (lastOp < targetOp) {
        target = index
        targetOp = lastOp
      }
    }
    assert(target !== SESSION_NONE, "sessions: a full table evicts its oldest")
    const at = this.#start + target * this.#stride
    this.#pages.willWrite(at, at + this.#stride)
    this.#bytes.fill(0, at, at + this.#stride)
    setU53(this.#view, at, op)
    this.#bytes.set(body.subarray(start, start + CLIENT_ID_BYTES), at + 8)
    setU53(this.#view, at + 32, op)
    assert(this.find(op) === target, "sessions: a registered session is found")
    return op
  }

  request(index: number): number {
    return getU53(this.#view, this.#start + index * this.#stride + 24)
  }

  /** Records a request and its reply, on commit only (defect D12b). */
  record(
    index: number,
    committed: { readonly op: number; readonly request: number },
    reply: DataView,
    replyBytes: number,
  ): void {
    assert(replyBytes <= this.#replyBytesMax, "sessions: a reply is bounded")
    const at = this.#start + index * this.#stride
    const before = this.#view.getUint32(at + 40, true)
    this.#pages.willWrite(at, at + SESSION_HEAD_BYTES + Math.max(before, replyBytes))
    setU53(this.#view, at + 24, committed.request)
    setU53(this.#view, at + 32, committed.op)
    this.#view.setUint32(at + 40, replyBytes, true)
    copyBytes(reply, 0, this.#view, at + SESSION_HEAD_BYTES, replyBytes)
    if (before > replyBytes) {
      this.#bytes.fill(0, at + SESSION_HEAD_BYTES + replyBytes, at + SESSION_HEAD_BYTES + before)
    }
  }

  /** Copies the last reply into `reply`; its bytes. */
  reply(index: number, reply: Uint8Array): number {
    const at = this.#start + index * this.#stride
    const bytes = this.#view.getUint32(at + 40, true)
    assert(bytes <= this.#replyBytesMax, "sessions: a stored reply is bounded")
    for (let offset = 0; offset < bytes; offset += 1) {
      reply[offset] = this.#bytes[at + SESSION_HEAD_BYTES + offset] ?? 0
    }
    return bytes
  }

  #hasClient(at: number, body: Uint8Array, start: number): boolean {
    for (let offset = 0; offset < CLIENT_ID_BYTES; offset += 1) {
      if (this.#bytes[at + 8 + offset] !== body[start + offset]) {
        return false
      }
    }
    return true
  }
}
