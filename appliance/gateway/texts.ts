/** What a client is told when a command was not done, or nobody knows: the limit and its number. Plane: control. */
import type { Outage } from "../orchestration/quorum_watch.ts"
import { ResultError } from "../state_machine/command.ts"
import { RECORD_TABLES } from "../state_machine/record_tables.ts"
import type { ClusterLimits } from "../types/limits.ts"
import { CLIENT_NAME_BYTES_MAX, ECHO_BYTES_MAX, REQUEST_TIMEOUT_MS } from "./limits.ts"

/**
 * Why a whole batch has no results. `text` is what its writes are told, `readText` its reads. Unknown is never a read:
 * it changed nothing. Rule 26: an error that begins with UNKNOWN may have been applied, any other changed nothing.
 */
export type Failure = { readonly isUnknown: boolean; readonly text: string; readonly readText: string }

/** What an operator may do about it. */
const HINTS: Readonly<Record<Outage["kind"], string>> = {
  quorum_lost: "see 'mandala salvage'",
  standby_missing: "see 'mandala standby drop'",
  outgrown: "ask a machine in one of those slots",
  restoring: "ask again when 'mandala restore' is done",
  memory_disputed: "start another machine, or one of the two anew: see 'mandala status'",
}

/** Texts that are the same each time, made once, so that refusing is as cheap as answering. */
export class Texts {
  #limits: ClusterLimits
  readonly notApplied: Failure = {
    isUnknown: false,
    text: `CLUSTERDOWN no_primary: no machine took the command within ${REQUEST_TIMEOUT_MS} ms; it was not applied`,
    readText: `CLUSTERDOWN no_primary: no machine answered the read within ${REQUEST_TIMEOUT_MS} ms`,
  }
  readonly unknown: Failure = {
    isUnknown: true,
    text: `UNKNOWN no_answer: none came within ${REQUEST_TIMEOUT_MS} ms; the command may or may not have been applied`,
    readText: this.notApplied.readText,
  }
  readonly evicted: Failure = {
    isUnknown: true,
    text: "UNKNOWN evicted: this gateway's session was, meanwhile; the command may or may not have been applied",
    readText: "CLUSTERDOWN evicted: this gateway's session was, meanwhile; ask again",
  }
  readonly invalid: Failure = {
    isUnknown: false,
    text: "ERR invalid: the primary refused the batch as malformed; nothing of it was applied",
    readText: "ERR invalid: the primary refused the batch as malformed; nothing of it was applied",
  }
  /** A command of several keys of which a first part was applied, before the rest failed. */
  readonly partial = "UNKNOWN partial: some of the command's keys were deleted; of the others nobody knows"
  /** An MSET of which a part found room. */
  readonly partialSet = "UNKNOWN partial: some of the command's keys were set, for the others there was no room"
  readonly tooManyKeys = "ERR keys_count_max: there are more keys than KEYS can look at or answer; use SCAN"
  readonly noSuchKey = "ERR no such key"
  readonly busy: string
  readonly echoTooLong = `ERR echo_bytes_max: a message has at most ${ECHO_BYTES_MAX} bytes`
  readonly clientNameTooLong = `ERR client_name_bytes_max: a name has at most ${CLIENT_NAME_BYTES_MAX} bytes`
  readonly replyTooLong: string
  readonly readReplyTooLong: string
  readonly notAnInteger = "ERR value is not an integer or out of range"
  readonly overflow = "ERR increment or decrement would overflow"
  #entriesFull = ""
  #slabFull = ""
  #valueFull = ""
  /** By ResultError. */
  #recordsFull: ReadonlyMap<number, string> = new Map()

  constructor(limits: ClusterLimits) {
    this.#limits = limits
    const waiting = `${limits.batch_commands_max} commands or ${limits.batch_bytes_max} bytes of them`
    this.busy = `ERR busy: requests_queue_max: ${waiting} wait for a primary already; the command was not applied`
    const { session_reply_bytes_max } = limits
    this.replyTooLong = `ERR session_reply_bytes_max: a batch is answered with at most ${session_reply_bytes_max} bytes`
    this.readReplyTooLong = `ERR read_reply_bytes_max: one answer has at most ${limits.read_reply_bytes_max} bytes`
    this.useLimits(limits)
  }

  /** The cluster has grown: its tables hold more, and what travels is as before. */
  useLimits(limits: ClusterLimits): void {
    this.#limits = limits
    this.#entriesFull = `ERR kv_entries_max: at most ${limits.kv_entries_max} keys are stored`
    this.#valueFull = `ERR value_bytes_max: the value would have more than ${limits.value_bytes_max} bytes`
    const slabBytes = limits.kv_slab_bytes
    this.#slabFull = `ERR kv_slab_bytes: no room of this size is left in the ${slabBytes} bytes of keys and values`
    this.#recordsFull = new Map(
      RECORD_TABLES.filter(({ full }) => full !== ResultError.malformed).map(({ name, limit, full }) => [
        full,
        `ERR ${limit}: the table ${name} holds at most ${limits[limit]} records`,
      ]),
    )
  }

  /** Of commands that were never sent, or surely refused. */
  refusedFor(outage: Outage): Failure {
    const why = `CLUSTERDOWN ${outage.kind}: ${outage.text}`
    const hint = HINTS[outage.kind]
    return {
      isUnknown: false,
      text: `${why}; the command was not applied; ${hint}`,
      readText: `${why}; no answer is given from the past; ${hint}`,
    }
  }

  /** Of commands that were on their way when the cluster stopped. */
  unknownFor(outage: Outage): Failure {
    return {
      isUnknown: true,
      text: `UNKNOWN ${outage.kind}: ${outage.text}; the command may or may not have been applied`,
      readText: this.refusedFor(outage).readText,
    }
  }

  patternTooLong(bytes: number): string {
    return `ERR key_bytes_max: the pattern has ${bytes} bytes, a key at most ${this.#limits.key_bytes_max}`
  }

  keyTooLong(bytes: number): string {
    return `ERR key_bytes_max: the key has ${bytes} bytes, at most ${this.#limits.key_bytes_max} are stored`
  }

  valueTooLong(bytes: number): string {
    return `ERR value_bytes_max: the value has ${bytes} bytes, at most ${this.#limits.value_bytes_max} are stored`
  }

  invalidExpiry(command: string): string {
    return `ERR invalid expire time in '${command}' command`
  }

  unsupportedOption(option: string): string {
    return `ERR Unsupported option ${option}`
  }

  /** A deterministic refusal of the state machine; `code` came from another machine, so any number may stand there. */
  ofResultError(code: number): string {
    switch (code) {
      case ResultError.kv_entries_max:
        return this.#entriesFull
      case ResultError.kv_slab_bytes:
        return this.#slabFull
      case ResultError.not_an_integer:
        return this.notAnInteger
      case ResultError.overflow:
        return this.overflow
      case ResultError.reply_bytes_max:
        return this.replyTooLong
      case ResultError.value_bytes_max:
        return this.#valueFull
      case ResultError.no_wall_clock:
        return "ERR no_wall_clock: the cluster was not told the time of day yet; try again"
      case ResultError.corrupt:
        return "ERR corrupt: the stored value is not what was written; the machine that answered has a memory fault"
      case ResultError.malformed:
        return "ERR malformed: the record is none, or is another key's"
      default:
        return this.#recordsFull.get(code) ?? `ERR refused: error ${code}, which this version does not know`
    }
  }
}
