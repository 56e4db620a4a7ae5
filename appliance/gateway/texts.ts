/** What a client is told when a command was not done, or nobody knows: the limit and its number. Plane: control. */
import { ResultError } from "../state_machine/command.ts"
import type { ClusterLimits } from "../types/limits.ts"
import { CLIENT_NAME_BYTES_MAX, ECHO_BYTES_MAX, REQUEST_TIMEOUT_MS } from "./limits.ts"

/** Texts that are the same each time, made once, so that refusing is as cheap as answering. */
export class Texts {
  readonly #limits: ClusterLimits
  readonly unknown =
    `ERR unknown: no answer within ${REQUEST_TIMEOUT_MS} ms; the command may or may not have been applied`
  readonly evicted =
    "ERR unknown: this gateway's session was evicted meanwhile; the command may or may not have been applied"
  readonly notApplied =
    `ERR no_primary: no machine took the command within ${REQUEST_TIMEOUT_MS} ms; it was not applied`
  readonly readTimeout = `ERR no_primary: no machine answered the read within ${REQUEST_TIMEOUT_MS} ms`
  readonly invalid = "ERR invalid: the primary refused the batch as malformed; nothing of it was applied"
  readonly busy: string
  readonly echoTooLong = `ERR echo_bytes_max: a message has at most ${ECHO_BYTES_MAX} bytes`
  readonly clientNameTooLong = `ERR client_name_bytes_max: a name has at most ${CLIENT_NAME_BYTES_MAX} bytes`
  readonly replyTooLong: string
  readonly readReplyTooLong: string
  readonly notAnInteger = "ERR value is not an integer or out of range"
  readonly overflow = "ERR increment or decrement would overflow"
  readonly #entriesFull: string
  readonly #slabFull: string
  readonly #machinesFull: string

  constructor(limits: ClusterLimits) {
    this.#limits = limits
    const waiting = `${limits.batch_commands_max} commands or ${limits.batch_bytes_max} bytes of them`
    this.busy = `ERR busy: requests_queue_max: ${waiting} wait for a primary already; the command was not applied`
    const { session_reply_bytes_max, kv_slab_bytes } = limits
    this.replyTooLong = `ERR session_reply_bytes_max: a batch is answered with at most ${session_reply_bytes_max} bytes`
    this.readReplyTooLong = `ERR read_reply_bytes_max: one answer has at most ${limits.read_reply_bytes_max} bytes`
    this.#entriesFull = `ERR kv_entries_max: at most ${limits.kv_entries_max} keys are stored`
    this.#slabFull = `ERR kv_slab_bytes: no room of this size is left in the ${kv_slab_bytes} bytes of keys and values`
    this.#machinesFull = `ERR machines_max: at most ${limits.machines_max} machines are known`
  }

  keyTooLong(bytes: number): string {
    return `ERR key_bytes_max: the key has ${bytes} bytes, at most ${this.#limits.key_bytes_max} are stored`
  }

  valueTooLong(bytes: number): string {
    return `ERR value_bytes_max: the value has ${bytes} bytes, at most ${this.#limits.value_bytes_max} are stored`
  }

  /** A deterministic refusal of the state machine; `code` came from another machine, so any number may stand there. */
  ofResultError(code: number): string {
    switch (code) {
      case ResultError.kv_entries_max:
        return this.#entriesFull
      case ResultError.kv_slab_bytes:
        return this.#slabFull
      case ResultError.machines_max:
        return this.#machinesFull
      case ResultError.not_an_integer:
        return this.notAnInteger
      case ResultError.overflow:
        return this.overflow
      case ResultError.reply_bytes_max:
        return this.replyTooLong
      case ResultError.corrupt:
        return "ERR corrupt: the stored value is not what was written; the machine that answered has a memory fault"
      case ResultError.malformed:
        return "ERR malformed: the record is none, or another machine's"
      default:
        return `ERR refused: the state machine answered with error ${code}, which this version does not know`
    }
  }
}
