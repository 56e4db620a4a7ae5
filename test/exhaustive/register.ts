/**
 * The smallest state machine that replication can drive: one register that one session writes, in an arena of 32 bytes.
 * The real one's arena is some kilobytes at its least: each of a search's many thousands of states would carry them,
 * and what it does with a command is not what is searched here. Plane: control.
 */
import { type CommittedOperation, Operation, SessionState, type StateMachine } from "../../appliance/types/contracts.ts"
import { ArenaPages, pagesBytes } from "../../appliance/state_machine/pages.ts"
import { ARENA_BYTES } from "./limits.ts"

/** The one session; registered before the search begins. */
export const SESSION = 1

const MAGIC = 0x7265_6731
const AT = { magic: 0, request: 4, value: 8, checkpoint: 12, commit: 16, timestamp: 24 } as const
const NO_BYTES = new Uint8Array(0)

export class Register implements StateMachine {
  readonly arena: Uint8Array = new Uint8Array(ARENA_BYTES)
  readonly pages: ArenaPages = new ArenaPages({
    arena: this.arena,
    pageBytes: ARENA_BYTES,
    memory: new Uint8Array(pagesBytes(1)),
    pool: new Uint8Array(ARENA_BYTES),
  })
  readonly #view = new DataView(this.arena.buffer)

  constructor() {
    this.#view.setUint32(AT.magic, MAGIC, true)
    this.pages.rebuild()
  }

  /** A batch is one byte: the value that the register takes. The reply is that byte. */
  apply(operation: CommittedOperation, body: Uint8Array, start: number, end: number, reply: Uint8Array): number {
    this.pages.willWrite(0, ARENA_BYTES)
    this.#view.setFloat64(AT.commit, operation.op, true)
    this.#view.setFloat64(AT.timestamp, operation.timestamp, true)
    if (operation.operation === Operation.checkpoint) {
      this.#view.setUint32(AT.checkpoint, operation.op, true)
      this.pages.takeDigests(1)
      this.pages.freeze()
    }
    if (operation.operation !== Operation.batch) {
      return 0
    }
    this.#view.setUint32(AT.request, operation.request, true)
    this.#view.setUint8(AT.value, end > start ? (body[start] ?? 0) : 0)
    return this.sessionReply(operation.session, reply)
  }

  read(_body: Uint8Array, _start: number, _end: number, reply: Uint8Array): number {
    reply[0] = this.#view.getUint8(AT.value)
    return 1
  }

  isValidBatch(_body: Uint8Array, start: number, end: number): boolean {
    return end - start === 1
  }

  isReadOnlyBatch(): boolean {
    return false
  }

  commit(): number {
    return this.#view.getFloat64(AT.commit, true)
  }

  timestamp(): number {
    return this.#view.getFloat64(AT.timestamp, true)
  }

  configuration(): Uint8Array {
    return NO_BYTES
  }

  checkpointOp(): number {
    return this.#view.getUint32(AT.checkpoint, true)
  }

  wallOffset(): number | undefined {
    return undefined
  }

  nextDeadline(): number {
    return Number.POSITIVE_INFINITY
  }

  sessionState(session: number): SessionState {
    return session === SESSION ? SessionState.known : SessionState.unknown
  }

  sessionRequest(): number {
    return this.#view.getUint32(AT.request, true)
  }

  sessionReply(_session: number, reply: Uint8Array): number {
    return this.read(NO_BYTES, 0, 0, reply)
  }

  restored(): boolean {
    return this.#view.getUint32(AT.magic, true) === MAGIC
  }
}
