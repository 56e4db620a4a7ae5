/**
 * The commands of many connections on their way to the cluster as one request, and what is owed to whom in return.
 *
 * An entry is one command as a client sees it. It stands for `commands` binary commands in the body (an MGET of three
 * keys for three), or for none: then its answer is known already and only waits for its turn, so that the replies of a
 * connection leave in the order of its commands. Plane: data.
 */
import { COMMAND_HEADER_BYTES, CommandCode } from "../state_machine/command.ts"
import { assert } from "../types/assert.ts"
import { BATCH_LOCAL_ENTRIES_MAX, LOCAL_REPLY_BYTES_MAX } from "./limits.ts"
import { ReplyWriter } from "./resp/reply_writer.ts"

export const EntryKind = {
  /** The answer is encoded already, in `local`. */
  local: 0,
  /** One command, and the answer is its result. */
  single: 1,
  /** The answer is the sum of the results (DEL, EXISTS). */
  sum: 2,
  /** The answer is an array of the results (MGET). */
  values: 3,
  /** One command of this process's own; its caller gets the result. */
  call: 4,
  /** One command that answers milliseconds, and the answer is in seconds. */
  seconds: 5,
  /** An EXISTS, and the answer is the name of the key's type. */
  type: 6,
  /** One command that answers ok or nil, and the answer is 1 or 0. */
  flag: 7,
  /** One command whose nil means that there is no such key, which is an error. */
  renamed: 8,
  /** Several commands that are all ok, or the answer is an error (MSET). */
  all: 9,
  /** A scan, and the answer is a cursor with those of its keys that match the pattern in its value. */
  scan: 10,
  /** A scan of all keys, and the answer is those that match; an error when it did not come to the end. */
  keys: 11,
} as const
export type EntryKind = (typeof EntryKind)[keyof typeof EntryKind]

/** What became of a call; with `ok` there is a result of kind nil, ok, integer, bytes or error. */
export type CallOutcome = "ok" | "not_applied" | "unknown"

/** Who waits for an entry's answer. */
export interface Owner {
  /** Entries of this owner that are not answered yet, in all batches. */
  pending: number
  /** Where answers go; they are dropped when it is no longer open. */
  readonly out: ReplyWriter
  readonly isOpen: boolean
  /** Serials of the resolution in which this owner had an entry answered, or one held back (answers.ts). */
  answeredIn: number
  retainedIn: number
  /** An answer was written to `out`. `closes`: it is the last one. */
  onAnswer(closes: boolean): void
}

export interface Caller {
  /** `reply[start, end)` is one result (command.ts) and is valid during this call only; empty unless `ok`. */
  onResult(outcome: CallOutcome, reply: Buffer, start: number, end: number): void
}

/** One binary command, filled in and handed to put(): offsets into the source buffer, the argument in halves. */
export type CommandFields = {
  code: number
  flags: number
  keyStart: number
  keyBytes: number
  valueStart: number
  valueBytes: number
  high: number
  low: number
}

const PROTOCOL_3 = 3
const FLAG_PROTOCOL_3 = 1
const FLAG_CLOSES = 2
const FLAG_READ = 4

export type BatchOptions = {
  readonly body: Buffer
  readonly local: Buffer
  readonly commandsMax: number
}

export class Batch {
  readonly body: Buffer
  /** Encoded local answers, one behind the other. */
  readonly local: ReplyWriter
  readonly commandsMax: number
  readonly entriesMax: number
  readonly #view: DataView

  #bytes = 0
  #commands = 0
  #entries = 0
  /** Commands put since the last entry ended. */
  #open = 0
  #openReads = true

  /** Where each command starts in the body; one more than there are, for the end of the last. */
  readonly #offsets: Uint32Array
  readonly #kinds: Uint8Array
  readonly #flags: Uint8Array
  readonly #entryCommands: Uint16Array
  /** Sum entries that were answered in part: the sum so far. */
  readonly #partials: Float64Array
  readonly #localStarts: Uint32Array
  readonly #localEnds: Uint32Array
  readonly #owners: (Owner | undefined)[]
  readonly #callers: (Caller | undefined)[]

  constructor(options: BatchOptions) {
    assert(options.commandsMax <= 0xffff, "batch: an entry's commands are counted in 16 bits")
    assert(options.local.length >= LOCAL_REPLY_BYTES_MAX, "batch: holds the longest local answer")
    this.body = options.body
    this.local = new ReplyWriter(options.local, undefined)
    this.commandsMax = options.commandsMax
    this.entriesMax = options.commandsMax + BATCH_LOCAL_ENTRIES_MAX
    this.#view = new DataView(options.body.buffer, options.body.byteOffset, options.body.byteLength)
    this.#offsets = new Uint32Array(this.commandsMax + 1)
    this.#kinds = new Uint8Array(this.entriesMax)
    this.#flags = new Uint8Array(this.entriesMax)
    this.#entryCommands = new Uint16Array(this.entriesMax)
    this.#partials = new Float64Array(this.entriesMax)
    this.#localStarts = new Uint32Array(this.entriesMax)
    this.#localEnds = new Uint32Array(this.entriesMax)
    this.#owners = new Array<Owner | undefined>(this.entriesMax).fill(undefined)
    this.#callers = new Array<Caller | undefined>(this.entriesMax).fill(undefined)
  }

  get bytes(): number {
    return this.#bytes
  }
  get commands(): number {
    return this.#commands
  }
  get entries(): number {
    return this.#entries
  }

  isEmpty(): boolean {
    return this.#entries === 0
  }

  /** Whether `commands` more fit whose keys and values have `bytes` bytes, as one entry. */
  hasRoom(commands: number, bytes: number): boolean {
    return (
      this.#entries < this.entriesMax &&
      this.#commands + commands <= this.commandsMax &&
      this.#bytes + commands * COMMAND_HEADER_BYTES + bytes <= this.body.length
    )
  }

  hasLocalRoom(): boolean {
    return this.#entries < this.entriesMax && this.local.room() >= LOCAL_REPLY_BYTES_MAX
  }

  // ---------------------------------------------------------------- filling

  /** Appends a command to the entry that endEntry() will end. `source` holds its key and value. */
  put(fields: CommandFields, source: Buffer): void {
    assert(this.hasRoom(1, fields.keyBytes + fields.valueBytes), "batch: put() without room; ask hasRoom() first")
    const at = this.#bytes
    const view = this.#view
    view.setUint8(at, fields.code)
    view.setUint8(at + 1, fields.flags)
    view.setUint16(at + 2, fields.keyBytes, true)
    view.setUint32(at + 4, fields.valueBytes, true)
    view.setUint32(at + 8, fields.low, true)
    view.setInt32(at + 12, fields.high, true)
    const keyAt = at + COMMAND_HEADER_BYTES
    source.copy(this.body, keyAt, fields.keyStart, fields.keyStart + fields.keyBytes)
    const valueAt = keyAt + fields.keyBytes
    source.copy(this.body, valueAt, fields.valueStart, fields.valueStart + fields.valueBytes)
    this.#bytes = valueAt + fields.valueBytes
    this.#commands += 1
    this.#offsets[this.#commands] = this.#bytes
    this.#open += 1
    this.#openReads = this.#openReads && isRead(fields.code)
  }

  /** The commands put since the last entry are one entry of `owner`. */
  endEntry(owner: Owner, kind: EntryKind, protocol: number): void {
    assert(this.#open > 0, "batch: an entry that is not local has a command")
    this.#addEntry(owner, undefined, kind, this.#entryFlags(protocol))
  }

  endCall(caller: Caller): void {
    assert(this.#open === 1, "batch: a call is one command")
    this.#addEntry(undefined, caller, EntryKind.call, this.#entryFlags(PROTOCOL_3))
  }

  #entryFlags(protocol: number): number {
    return (protocol === PROTOCOL_3 ? FLAG_PROTOCOL_3 : 0) | (this.#openReads ? FLAG_READ : 0)
  }

  /** What was written to `local` from `start` on is the answer to `owner`. */
  addLocal(owner: Owner, start: number, closes: boolean): void {
    assert(this.#open === 0, "batch: a local entry has no commands")
    assert(this.local.length > start, "batch: a local entry has an answer")
    this.#localStarts[this.#entries] = start
    this.#localEnds[this.#entries] = this.local.length
    this.#addEntry(owner, undefined, EntryKind.local, FLAG_READ | (closes ? FLAG_CLOSES : 0))
  }

  #addEntry(owner: Owner | undefined, caller: Caller | undefined, kind: EntryKind, flags: number): void {
    assert(this.#entries < this.entriesMax, "batch: entries are bounded; ask hasRoom() first")
    const entry = this.#entries
    this.#kinds[entry] = kind
    this.#flags[entry] = flags
    this.#entryCommands[entry] = this.#open
    this.#partials[entry] = 0
    this.#owners[entry] = owner
    this.#callers[entry] = caller
    this.#entries += 1
    this.#open = 0
    this.#openReads = true
    if (owner !== undefined) {
      owner.pending += 1
    }
  }

  // ---------------------------------------------------------------- reading

  kind(entry: number): number {
    return this.#kinds[entry] ?? EntryKind.local
  }
  protocol(entry: number): number {
    return this.#flag(entry, FLAG_PROTOCOL_3) ? PROTOCOL_3 : 2
  }
  closes(entry: number): boolean {
    return this.#flag(entry, FLAG_CLOSES)
  }
  /** None of the entry's commands writes. */
  isRead(entry: number): boolean {
    return this.#flag(entry, FLAG_READ)
  }
  #flag(entry: number, flag: number): boolean {
    return ((this.#flags[entry] ?? 0) & flag) !== 0
  }
  entryCommands(entry: number): number {
    return this.#entryCommands[entry] ?? 0
  }
  partial(entry: number): number {
    return this.#partials[entry] ?? 0
  }
  localStart(entry: number): number {
    return this.#localStarts[entry] ?? 0
  }
  localEnd(entry: number): number {
    return this.#localEnds[entry] ?? 0
  }
  owner(entry: number): Owner | undefined {
    return this.#owners[entry]
  }
  caller(entry: number): Caller | undefined {
    return this.#callers[entry]
  }
  /** Where command `index` starts in the body; for `commands` the end of the body. */
  offset(index: number): number {
    return this.#offsets[index] ?? 0
  }

  clear(): void {
    assert(this.#open === 0, "batch: cleared between entries")
    this.#owners.fill(undefined, 0, this.#entries)
    this.#callers.fill(undefined, 0, this.#entries)
    this.#bytes = 0
    this.#commands = 0
    this.#entries = 0
    this.local.clear()
  }

  // ---------------------------------------------------------------- keeping a part

  /**
   * Keeping entries: begin, then keep() those that stay in ascending order, then end. What is kept moves down in place;
   * local answers stay where they are.
   */
  #keptEntries = 0
  #keptCommands = 0
  #keptBytes = 0

  beginKeeping(): void {
    this.#keptEntries = 0
    this.#keptCommands = 0
    this.#keptBytes = 0
  }

  /** Keeps `entry` with `count` of its commands, from `command` on. `partial`: the sum of those that were answered. */
  keep(entry: number, command: number, count: number, partial: number): void {
    const to = this.#keptEntries
    assert(to <= entry && this.#keptCommands <= command, "batch: what is kept moves down")
    this.#kinds[to] = this.#kinds[entry] ?? 0
    this.#flags[to] = this.#flags[entry] ?? 0
    this.#entryCommands[to] = count
    this.#partials[to] = partial
    this.#localStarts[to] = this.#localStarts[entry] ?? 0
    this.#localEnds[to] = this.#localEnds[entry] ?? 0
    this.#owners[to] = this.#owners[entry]
    this.#callers[to] = this.#callers[entry]
    this.#keptEntries += 1
    for (let index = command; index < command + count; index += 1) {
      const start = this.offset(index)
      const end = this.offset(index + 1)
      this.body.copyWithin(this.#keptBytes, start, end)
      this.#keptBytes += end - start
      this.#keptCommands += 1
      this.#offsets[this.#keptCommands] = this.#keptBytes
    }
  }

  endKeeping(): void {
    assert(this.#keptEntries <= this.#entries, "batch: no more is kept than there was")
    this.#owners.fill(undefined, this.#keptEntries, this.#entries)
    this.#callers.fill(undefined, this.#keptEntries, this.#entries)
    this.#entries = this.#keptEntries
    this.#commands = this.#keptCommands
    this.#bytes = this.#keptBytes
    if (this.#entries === 0) {
      this.local.clear()
    }
  }
}

/** Whether a command only reads; an EXISTS or GET among writes still travels with them. */
function isRead(code: number): boolean {
  switch (code) {
    case CommandCode.get:
    case CommandCode.exists:
    case CommandCode.db_size:
    case CommandCode.str_len:
    case CommandCode.get_range:
    case CommandCode.ttl:
    case CommandCode.scan:
    case CommandCode.machine_get:
    case CommandCode.machine_list:
    case CommandCode.record_get:
    case CommandCode.record_list:
      return true
    default:
      return false
  }
}
