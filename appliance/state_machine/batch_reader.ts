/**
 * Reads the commands of a batch (command.ts) in place. One reader per state machine: `next` fills its fields, so that a
 * command costs no object. Plane: data.
 */
import { COMMAND_HEADER_BYTES, CommandCode, CommandFlag } from "./command.ts"
import type { ClusterLimits } from "../types/limits.ts"
import { EVENT_BODY_BYTES } from "./event_ring.ts"
import { isMachineRecord } from "./machine_record.ts"
import { RECORD_KEY_BYTES_MAX } from "./record_table.ts"
import { recordTable, TableNumber } from "./record_tables.ts"

export class BatchReader {
  code = 0
  flags = 0
  keyStart = 0
  keyEnd = 0
  valueStart = 0
  valueEnd = 0
  /** The argument's halves: a signed 64-bit number is `high * 2^32 + low`. */
  argumentLow = 0
  argumentHigh = 0
  #body: Uint8Array = new Uint8Array(0)
  #view: DataView = new DataView(new ArrayBuffer(0))
  #at = 0
  #end = 0

  /** Begins at `start`. A DataView is made only when the body lies in another buffer than the last one did. */
  begin(body: Uint8Array, start: number, end: number): void {
    if (
      this.#body.buffer !== body.buffer ||
      this.#body.byteOffset !== body.byteOffset ||
      this.#body.length !== body.length
    ) {
      this.#body = body
      this.#view = new DataView(body.buffer, body.byteOffset, body.byteLength)
    }
    this.#at = start
    this.#end = end
  }

  /** Of the whole buffer that begin() was given: what keyStart and valueStart count from. */
  get view(): DataView {
    return this.#view
  }

  isAtEnd(): boolean {
    return this.#at >= this.#end
  }

  /** True when a whole command lies here; its fields are filled. False: malformed, and nothing more can be read. */
  next(): boolean {
    const at = this.#at
    if (this.#end - at < COMMAND_HEADER_BYTES) {
      return false
    }
    const view = this.#view
    this.code = view.getUint8(at)
    this.flags = view.getUint8(at + 1)
    this.argumentLow = view.getUint32(at + 8, true)
    this.argumentHigh = view.getInt32(at + 12, true)
    this.keyStart = at + COMMAND_HEADER_BYTES
    this.keyEnd = this.keyStart + view.getUint16(at + 2, true)
    this.valueStart = this.keyEnd
    this.valueEnd = this.valueStart + view.getUint32(at + 4, true)
    if (this.valueEnd > this.#end) {
      return false
    }
    this.#at = this.valueEnd
    return true
  }

  /** The argument as a number: exact within the safe integers, which callers check. */
  argument(): number {
    return this.argumentHigh * 0x1_0000_0000 + this.argumentLow
  }
}

/** What is true of a whole batch. */
export const BatchForm = { malformed: 0, reads: 1, writes: 2 } as const
export type BatchForm = (typeof BatchForm)[keyof typeof BatchForm]

const CLOCK_FLAGS = CommandFlag.expires | CommandFlag.absolute
const SET_FLAGS = CommandFlag.nx | CommandFlag.xx | CommandFlag.get | CLOCK_FLAGS | CommandFlag.keeps
const GET_EX_FLAGS = CLOCK_FLAGS | CommandFlag.persist
const EXPIRE_FLAGS = CommandFlag.nx | CommandFlag.xx | CommandFlag.gt | CommandFlag.lt | CommandFlag.absolute
/** A century: deadlines stay safe integers. */
export const EXPIRES_MS_MAX = 3_155_760_000_000
/** The same for wall time: the year 2170. */
export const EXPIRES_AT_MS_MAX = 2 * EXPIRES_MS_MAX

/** Judges form only: codes, flags, lengths, counts. What depends on state is refused in apply. */
export function batchForm(reader: BatchReader, limits: ClusterLimits): BatchForm {
  let commands = 0
  let writes = false
  while (!reader.isAtEnd()) {
    commands += 1
    if (commands > limits.batch_commands_max || !reader.next() || !isCommand(reader, limits)) {
      return BatchForm.malformed
    }
    writes = writes || isWrite(reader.code)
  }
  if (commands === 0) {
    return BatchForm.malformed
  }
  return writes ? BatchForm.writes : BatchForm.reads
}

function isWrite(code: number): boolean {
  return (
    code === CommandCode.set ||
    code === CommandCode.del ||
    code === CommandCode.incr_by ||
    code === CommandCode.get_del ||
    code === CommandCode.get_ex ||
    code === CommandCode.append ||
    code === CommandCode.set_range ||
    code === CommandCode.expire ||
    code === CommandCode.persist ||
    code === CommandCode.rename ||
    code === CommandCode.machine_put ||
    code === CommandCode.record_put ||
    code === CommandCode.record_remove
  )
}

/** True when the command that was read last is well-formed by itself. */
export function isCommand(reader: BatchReader, limits: ClusterLimits): boolean {
  const keyBytes = reader.keyEnd - reader.keyStart
  const valueBytes = reader.valueEnd - reader.valueStart
  const isKey = keyBytes <= limits.key_bytes_max
  switch (reader.code) {
    case CommandCode.set:
      return isKey && valueBytes <= limits.value_bytes_max && isSet(reader)
    case CommandCode.get:
    case CommandCode.del:
    case CommandCode.exists:
    case CommandCode.incr_by:
    case CommandCode.get_del:
    case CommandCode.str_len:
    case CommandCode.get_range:
    case CommandCode.persist:
      return isKey && valueBytes === 0 && reader.flags === 0
    case CommandCode.get_ex:
      return isKey && valueBytes === 0 && isClock(reader, GET_EX_FLAGS)
    case CommandCode.append:
      return isKey && valueBytes <= limits.value_bytes_max && reader.flags === 0
    case CommandCode.set_range:
      return isKey && valueBytes <= limits.value_bytes_max && reader.flags === 0 && reader.argument() >= 0
    case CommandCode.expire:
      return isKey && valueBytes === 0 && isExpire(reader)
    case CommandCode.ttl:
      return isKey && valueBytes === 0 && (reader.flags & ~CommandFlag.absolute) === 0
    case CommandCode.scan:
      return keyBytes === 0 && valueBytes <= limits.key_bytes_max && reader.flags === 0 && reader.argumentHigh > 0
    case CommandCode.rename:
      return isKey && valueBytes <= limits.key_bytes_max && (reader.flags & ~CommandFlag.nx) === 0
    case CommandCode.db_size:
      return keyBytes === 0 && valueBytes === 0 && reader.flags === 0
    case CommandCode.machine_put:
      return reader.flags === 0 && isRecordPut(reader)
    case CommandCode.machine_get:
      return keyBytes >= 1 && valueBytes === 0 && reader.flags === 0
    case CommandCode.machine_list:
      return reader.flags === 0 && isRecordList(reader)
    case CommandCode.record_put:
      return reader.argument() === 0 && isRecordPut(reader)
    case CommandCode.record_get:
      return isRecordGet(reader)
    case CommandCode.record_remove:
      return reader.flags !== TableNumber.events && reader.argument() === 0 && isRecordGet(reader)
    case CommandCode.record_list:
      return reader.flags !== TableNumber.secrets && isRecordList(reader)
    default:
      return false
  }
}

function isSet(reader: BatchReader): boolean {
  const { flags } = reader
  const both = CommandFlag.nx | CommandFlag.xx
  return (flags & both) !== both && isClock(reader, SET_FLAGS)
}

/** A deadline, or that the old one stays or goes, or neither; and no flag that is not in `allowed`. */
function isClock(reader: BatchReader, allowed: number): boolean {
  const { flags } = reader
  const isDeadline = (flags & CommandFlag.expires) !== 0
  const isAbsolute = (flags & CommandFlag.absolute) !== 0
  if ((flags & ~allowed) !== 0 || (isAbsolute && !isDeadline) || (isDeadline && (flags & CommandFlag.keeps) !== 0)) {
    return false
  }
  const argument = reader.argument()
  return !isDeadline || (argument > 0 && argument <= (isAbsolute ? EXPIRES_AT_MS_MAX : EXPIRES_MS_MAX))
}

/** As Redis: NX with nothing else, GT and LT not together. */
function isExpire(reader: BatchReader): boolean {
  const { flags } = reader
  const isNone = (flags & CommandFlag.nx) === 0
  const isWith = (flags & (CommandFlag.xx | CommandFlag.gt | CommandFlag.lt)) !== 0
  const both = CommandFlag.gt | CommandFlag.lt
  if ((flags & ~EXPIRE_FLAGS) !== 0 || (!isNone && isWith) || (flags & both) === both) {
    return false
  }
  const max = (flags & CommandFlag.absolute) === 0 ? EXPIRES_MS_MAX : EXPIRES_AT_MS_MAX
  return Math.abs(reader.argument()) <= max
}

/** An event of the right length, or a record under the key that it names itself. Whose record it is is judged apart. */
function isRecordPut(reader: BatchReader): boolean {
  const keyBytes = reader.keyEnd - reader.keyStart
  const valueBytes = reader.valueEnd - reader.valueStart
  if (reader.flags === TableNumber.events) {
    return keyBytes === 0 && valueBytes === EVENT_BODY_BYTES
  }
  return isRecordKey(keyBytes) && valueBytes === recordTable(reader.flags)?.recordBytes
}

function isRecordGet(reader: BatchReader): boolean {
  const keyBytes = reader.keyEnd - reader.keyStart
  if (reader.valueEnd !== reader.valueStart) {
    return false
  }
  if (reader.flags === TableNumber.events) {
    return keyBytes === 0 && isNumbered(reader)
  }
  return isRecordKey(keyBytes) && recordTable(reader.flags) !== undefined && reader.argument() === 0
}

function isRecordList(reader: BatchReader): boolean {
  const isBare = reader.keyEnd === reader.keyStart && reader.valueEnd === reader.valueStart
  return isBare && recordTable(reader.flags) !== undefined && isNumbered(reader)
}

function isRecordKey(bytes: number): boolean {
  return bytes >= 1 && bytes <= RECORD_KEY_BYTES_MAX
}

/** True when the argument is an index or an event's number. */
function isNumbered(reader: BatchReader): boolean {
  return reader.argument() >= 0 && Number.isSafeInteger(reader.argument())
}

/** True when a put's value is a record of the table under the key that the command names. */
export function isRecordOfKey(reader: BatchReader, body: Uint8Array, table: number): boolean {
  const { keyStart, keyEnd, valueStart, valueEnd } = reader
  if (table === TableNumber.machines && !isMachineRecord(body, valueStart, valueEnd)) {
    return false
  }
  let isEqual = body[valueStart] === keyEnd - keyStart
  for (let index = 0; isEqual && index < keyEnd - keyStart; index += 1) {
    isEqual = body[valueStart + 1 + index] === body[keyStart + index]
  }
  return isEqual
}
