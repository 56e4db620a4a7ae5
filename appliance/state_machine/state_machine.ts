/**
 * The replicated state machine: applies committed ops to the arena and answers reads from it. After the same ops the
 * arena has the same bytes on every machine, whatever the machine and however the ops arrived. `apply` is total: any
 * body gets an answer, for an op that could stop one replica would stop them all. Plane: data.
 */
import { assert } from "../types/assert.ts"
import {
  type CommittedOperation,
  GENERATION_STARTED_BYTES,
  Operation,
  SessionState,
  type StateMachine,
} from "../types/contracts.ts"
import type { ClusterLimits } from "../types/limits.ts"
import {
  arenaLayout,
  type ArenaLayout,
  formatArena,
  getU53,
  HeaderOffset,
  isArena,
  PAGE_BYTES,
  setU53,
} from "./arena.ts"
import { BatchForm, batchForm, BatchReader, isCommand, isRecordOfKey } from "./batch_reader.ts"
import { CommandCode, CommandFlag, ResultError, ResultKind } from "./command.ts"
import { ControlFields } from "./control_fields.ts"
import { copyBytes } from "./copy_bytes.ts"
import { EVENT_BODY_BYTES, EventRing } from "./event_ring.ts"
import { generationEvent, markMachinesSeen } from "./generation.ts"
import { ENTRY_NONE, hashKey, KeyValues, PutStatus } from "./kv.ts"
import { ArenaPages, pagesBytes } from "./pages.ts"
import { RECORD_NONE, RecordTable } from "./record_table.ts"
import { EVENT_RECORD_BYTES, RECORD_TABLES, recordTable, TableNumber } from "./record_tables.ts"
import { SESSION_NONE, Sessions } from "./sessions.ts"

/** A refusal needs two bytes of the reply: every command keeps as much for each that follows it. */
const ERROR_BYTES = 2
const INTEGER_BYTES = 9
const BYTES_HEAD = 5
/** Of a scan's answer: the next entry, and the length before each key. */
const SCAN_NEXT_BYTES = 4
const SCAN_KEY_HEAD = 2
const DECIMAL_BYTES_MAX = 20
/** Fewer commands have too few misses to overlap. */
const TOUCHED_COMMANDS_MIN = 8
/** Decimal digits that always fit a safe integer. */
const SAFE_DIGITS = 15
/** What TTL answers where there is no deadline, or no key. */
const TTL_NONE = -1
const TTL_NO_KEY = -2

export type ArenaOptions = {
  readonly limits: ClusterLimits
  /** Zeros, or a whole arena. */
  readonly arena: Uint8Array
  /** What is noted of each page: pageNotesBytes(limits). Made here when absent, as `pool` is. */
  readonly notes?: Uint8Array
  /** Room for pages of a checkpoint that change while it is used. */
  readonly pool?: Uint8Array
}

/** Of an arena, one part in so many is set aside for pages of a checkpoint that change while it is used. */
const POOL_PART = 2

export function pageNotesBytes(limits: ClusterLimits): number {
  return pagesBytes(arenaLayout(limits).bytes / PAGE_BYTES)
}

export function pagePoolBytes(limits: ClusterLimits): number {
  return Math.ceil(arenaLayout(limits).bytes / PAGE_BYTES / POOL_PART) * PAGE_BYTES
}

/** A state machine over a zeroed arena of arenaBytes(limits) bytes; formats it. */
export function createStateMachine(options: ArenaOptions): ArenaStateMachine {
  return new ArenaStateMachine(options)
}

export class ArenaStateMachine implements StateMachine {
  readonly arena: Uint8Array
  readonly pages: ArenaPages
  /** Reads that found a CRC that does not fit: counted per machine, so outside the arena. */
  corruptReads = 0
  readonly #limits: ClusterLimits
  readonly layout: ArenaLayout
  readonly #view: DataView
  readonly #sessions: Sessions
  /** By TableNumber; the place of `events` stays unused. */
  readonly #records: readonly RecordTable[]
  readonly #events: EventRing
  readonly #kv: KeyValues
  readonly #control: ControlFields
  readonly #reader = new BatchReader()
  readonly #hashes: Uint32Array
  /** Of each command what the last pass has found: an entry, then its block; block 0 is the arena's head. */
  readonly #places: Int32Array
  readonly #decimal = new Uint8Array(DECIMAL_BYTES_MAX)
  readonly #decimalView: DataView = new DataView(this.#decimal.buffer)
  readonly #put = {
    hash: 0,
    keys: this.#decimalView,
    keyStart: 0,
    keyEnd: 0,
    value: this.#decimalView,
    valueStart: 0,
    valueEnd: 0,
    deadline: 0,
  }
  /** A value that is put together before it is stored. */
  readonly #scratch: Uint8Array
  readonly #scratchView: DataView
  #commands = 0
  /** Where the first pass leaves what it read: without a use, an optimizer might drop the reads. */
  touched = 0
  /* The reply that is being written. */
  #reply: Uint8Array
  #replyView: DataView
  #replyAt = 0
  #replyMax = 0
  #isReplyFull = false

  constructor(options: ArenaOptions) {
    this.#limits = options.limits
    this.layout = arenaLayout(options.limits)
    assert(options.arena.length === this.layout.bytes, "state machine: the arena is as long as its layout")
    this.arena = options.arena
    this.#scratch = new Uint8Array(options.limits.value_bytes_max)
    this.#scratchView = new DataView(this.#scratch.buffer)
    this.#view = new DataView(options.arena.buffer, options.arena.byteOffset, options.arena.byteLength)
    this.pages = new ArenaPages({
      arena: options.arena,
      pageBytes: PAGE_BYTES,
      memory: options.notes ?? new Uint8Array(pageNotesBytes(options.limits)),
      pool: options.pool ?? new Uint8Array(pagePoolBytes(options.limits)),
    })
    if (isArena(this.#view, options.limits)) {
      this.pages.rebuild()
    } else {
      this.pages.willWrite(0, PAGE_BYTES)
      formatArena(this.#view, options.limits)
      this.pages.freeze()
      this.pages.takeDigests(this.pages.count)
    }
    const table = { view: this.#view, layout: this.layout, limits: options.limits, pages: this.pages }
    this.#sessions = new Sessions(table)
    this.#records = RECORD_TABLES.map((_, number) => new RecordTable(table, number))
    this.#events = new EventRing(table)
    this.#kv = new KeyValues(table)
    this.#control = new ControlFields(options.arena)
    this.#hashes = new Uint32Array(options.limits.batch_commands_max)
    this.#places = new Int32Array(options.limits.batch_commands_max)
    this.#reply = this.#decimal
    this.#replyView = new DataView(this.#reply.buffer)
  }

  commit(): number {
    return getU53(this.#view, HeaderOffset.commit)
  }

  timestamp(): number {
    return getU53(this.#view, HeaderOffset.timestamp)
  }

  configuration(): Uint8Array {
    return this.#control.configuration()
  }

  checkpointOp(): number {
    return this.#control.checkpointOp()
  }

  wallOffset(): number | undefined {
    return this.#control.wallOffset()
  }

  nextDeadline(): number {
    return this.#kv.nextDeadline()
  }

  /** Keys stored. */
  keys(): number {
    return this.#kv.count()
  }

  restored(): boolean {
    // Nothing is cached outside the bytes: to be an arena is all that is needed.
    return isArena(this.#view, this.#limits)
  }

  sessionState(session: number): SessionState {
    return this.#sessions.find(session) === SESSION_NONE ? SessionState.unknown : SessionState.known
  }

  sessionRequest(session: number): number {
    const index = this.#sessions.find(session)
    assert(index !== SESSION_NONE, "state machine: only a known session has a request")
    return this.#sessions.request(index)
  }

  sessionReply(session: number, reply: Uint8Array): number {
    const index = this.#sessions.find(session)
    assert(index !== SESSION_NONE, "state machine: only a known session has a reply")
    return this.#sessions.reply(index, reply)
  }

  isValidBatch(body: Uint8Array, start: number, end: number): boolean {
    return this.#form(body, start, end) !== BatchForm.malformed
  }

  isReadOnlyBatch(body: Uint8Array, start: number, end: number): boolean {
    return this.#form(body, start, end) === BatchForm.reads
  }

  #form(body: Uint8Array, start: number, end: number): BatchForm {
    this.#reader.begin(body, start, end)
    return batchForm(this.#reader, this.#limits)
  }

  // ---------------------------------------------------------------- apply and read

  apply(operation: CommittedOperation, body: Uint8Array, start: number, end: number, reply: Uint8Array): number {
    assert(operation.op === this.commit() + 1, "state machine: ops are applied in order")
    assert(operation.timestamp >= this.timestamp(), "state machine: cluster time never falls")
    // Of the header, for all that this op changes in it.
    this.pages.willWrite(0, PAGE_BYTES)
    setU53(this.#view, HeaderOffset.commit, operation.op)
    setU53(this.#view, HeaderOffset.timestamp, operation.timestamp)
    this.#beginReply(reply, this.#limits.session_reply_bytes_max)
    if (operation.operation === Operation.register) {
      this.#writeInteger(end - start === 16 ? this.#sessions.register(operation.op, body, start) : 0)
    } else if (operation.operation === Operation.pulse) {
      this.#kv.expire(operation.timestamp, this.#limits.pulse_keys_max)
    } else if (operation.operation === Operation.reconfigure) {
      this.#control.setConfiguration(body, start, end)
    } else if (operation.operation === Operation.wall_clock) {
      this.#control.setWallClock(operation.timestamp, body, start, end)
    } else if (operation.operation === Operation.checkpoint) {
      this.#checkpoint(operation.op)
    } else if (operation.operation === Operation.generation_started) {
      this.#startGeneration(operation, body, start, end)
    } else {
      this.#applyBatch(operation, body, start, end)
    }
    assert(this.commit() === operation.op, "state machine: an applied op is the commit number")
    return this.#replyAt
  }

  /** The image is of the state after this op: nothing else may change before the next. */
  #checkpoint(op: number): void {
    this.#control.setCheckpoint(op)
    this.pages.takeDigests(this.pages.count)
    this.pages.freeze()
  }

  /** Of the generation before nobody is a client, a holder of an address or a machine in service any more. */
  #startGeneration(operation: CommittedOperation, body: Uint8Array, start: number, end: number): void {
    this.#sessions.clear()
    this.#records[TableNumber.leases]?.clear()
    const machines = this.#records[TableNumber.machines]
    assert(machines !== undefined, "state machine: there is a table of machines")
    markMachinesSeen(machines, this.arena, this.pages)
    this.#control.forgetWallClock()
    if (end - start === GENERATION_STARTED_BYTES) {
      const event = generationEvent(body, start, EVENT_BODY_BYTES)
      this.#events.append(operation.op, operation.timestamp, event, 0)
    }
  }

  #applyBatch(operation: CommittedOperation, body: Uint8Array, start: number, end: number): void {
    const session = this.#sessions.find(operation.session)
    if (session === SESSION_NONE) {
      // Evicted between prepare and commit: deterministic, and nothing happens.
      return
    }
    this.#execute(body, start, end, operation.timestamp)
    this.#sessions.record(session, operation, this.#replyView, this.#replyAt)
  }

  read(body: Uint8Array, start: number, end: number, reply: Uint8Array): number {
    this.#beginReply(reply, this.#limits.read_reply_bytes_max)
    this.#execute(body, start, end, this.timestamp())
    return this.#replyAt
  }

  /**
   * Passes over the batch first touch what its commands will need, so that the misses of many commands overlap; the
   * last does the work. Nearly half of the time of a large table went into waiting for memory, command by command.
   */
  #execute(body: Uint8Array, start: number, end: number, now: number): void {
    const reader = this.#reader
    reader.begin(body, start, end)
    this.#commands = 0
    while (!reader.isAtEnd() && this.#commands < this.#limits.batch_commands_max && reader.next()) {
      const hash = hashKey(body, reader.keyStart, reader.keyEnd)
      this.#hashes[this.#commands] = hash
      this.#commands += 1
    }
    this.#touch()
    reader.begin(body, start, end)
    this.#isReplyFull = false
    for (let command = 0; command < this.#commands; command += 1) {
      reader.next()
      const before = this.#replyAt
      // What the following commands need at the least is not this one's to use.
      const room = this.#replyMax - this.#replyAt - (this.#commands - command - 1) * ERROR_BYTES
      if (this.#isReplyFull) {
        // In order: what follows a command that had no room must not happen before it. The asker repeats the rest.
        this.#writeError(ResultError.reply_bytes_max)
      } else {
        this.#executeOne(body, this.#hashes[command] ?? 0, now, room)
      }
      assert(this.#replyAt > before, "state machine: every command has a result")
    }
    assert(this.#replyAt <= this.#replyMax, "state machine: a reply is bounded")
  }

  #touch(): void {
    if (this.#commands < TOUCHED_COMMANDS_MIN) {
      return
    }
    const kv = this.#kv
    const places = this.#places
    for (let command = 0; command < this.#commands; command += 1) {
      places[command] = kv.touchIndex(this.#hashes[command] ?? 0)
    }
    for (let command = 0; command < this.#commands; command += 1) {
      const entry = places[command] ?? ENTRY_NONE
      places[command] = entry === ENTRY_NONE ? 0 : kv.touchEntry(entry)
    }
    for (let command = 0; command < this.#commands; command += 1) {
      this.touched ^= kv.touchBlock(places[command] ?? 0)
    }
  }

  #executeOne(body: Uint8Array, hash: number, now: number, room: number): void {
    const reader = this.#reader
    // Checked before the op got its number; checked again, since apply must be total whoever checked before.
    if (!isCommand(reader, this.#limits)) {
      return this.#writeError(ResultError.malformed)
    }
    switch (reader.code) {
      case CommandCode.set:
        return this.#set(body, hash, now, room)
      case CommandCode.get:
        return this.#get(this.#find(body, hash, now), room)
      case CommandCode.del:
        return this.#del(body, hash, now, room)
      case CommandCode.exists:
        return room < INTEGER_BYTES
          ? this.#writeError(ResultError.reply_bytes_max)
          : this.#writeInteger(this.#find(body, hash, now) === ENTRY_NONE ? 0 : 1)
      case CommandCode.incr_by:
        return this.#incrBy(body, hash, now, room)
      case CommandCode.get_del:
        return this.#getDel(body, hash, now, room)
      case CommandCode.get_ex:
        return this.#getEx(body, hash, now, room)
      case CommandCode.get_range:
        return this.#getRange(this.#find(body, hash, now), room)
      case CommandCode.scan:
        return this.#scan(now, room)
      case CommandCode.db_size:
      case CommandCode.str_len:
      case CommandCode.append:
      case CommandCode.set_range:
      case CommandCode.expire:
      case CommandCode.ttl:
      case CommandCode.persist:
      case CommandCode.rename:
        return this.#counted(body, hash, now, room)
      case CommandCode.machine_put:
      case CommandCode.record_put:
        return this.#recordPut(body, now)
      case CommandCode.machine_get:
      case CommandCode.record_get:
        return this.#recordGet(body, room)
      case CommandCode.record_remove:
        return this.#recordRemove(body, room)
      case CommandCode.machine_list:
      case CommandCode.record_list:
        return this.#recordList(room)
      default:
        return this.#writeError(ResultError.malformed)
    }
  }

  /** The live entry of the reader's key at `now`, or ENTRY_NONE. */
  #find(body: Uint8Array, hash: number, now: number): number {
    const entry = this.#kv.find(hash, body, this.#reader.keyStart, this.#reader.keyEnd)
    return entry !== ENTRY_NONE && this.#kv.isExpired(entry, now) ? ENTRY_NONE : entry
  }

  /** As #find, for writers: an expired entry is removed, so that it is as absent as it looks. */
  #findToWrite(body: Uint8Array, hash: number, now: number): number {
    const entry = this.#kv.find(hash, body, this.#reader.keyStart, this.#reader.keyEnd)
    if (entry !== ENTRY_NONE && this.#kv.isExpired(entry, now)) {
      this.#kv.remove(entry)
      return ENTRY_NONE
    }
    return entry
  }

  /** Whether the last #get() answered a value. */
  #isAnswered = false

  #get(entry: number, room: number): void {
    this.#isAnswered = false
    if (entry === ENTRY_NONE) {
      this.#writeKind(ResultKind.nil)
    } else if (room < BYTES_HEAD + this.#kv.valueBytes(entry)) {
      this.#writeError(ResultError.reply_bytes_max)
    } else if (this.#isSound(entry)) {
      this.#writeBytes(this.#kv.valueOffset(entry), this.#kv.valueBytes(entry))
      this.#isAnswered = true
    }
  }

  #set(body: Uint8Array, hash: number, now: number, room: number): void {
    const reader = this.#reader
    const { flags } = reader
    const entry = this.#findToWrite(body, hash, now)
    const answersOld = (flags & CommandFlag.get) !== 0
    const oldBytes = answersOld && entry !== ENTRY_NONE ? BYTES_HEAD + this.#kv.valueBytes(entry) : ERROR_BYTES
    if (room < oldBytes) {
      return this.#writeError(ResultError.reply_bytes_max)
    }
    const isRefused =
      ((flags & CommandFlag.nx) !== 0 && entry !== ENTRY_NONE) ||
      ((flags & CommandFlag.xx) !== 0 && entry === ENTRY_NONE)
    if (isRefused) {
      return answersOld ? this.#get(entry, room) : this.#writeKind(ResultKind.nil)
    }
    if (!this.#hasClock()) {
      return
    }
    const replyAt = this.#replyAt
    if (answersOld) {
      this.#get(entry, room)
    }
    const put = this.#put
    put.hash = hash
    put.keys = reader.view
    put.keyStart = reader.keyStart
    put.keyEnd = reader.keyEnd
    put.value = reader.view
    put.valueStart = reader.valueStart
    put.valueEnd = reader.valueEnd
    put.deadline = this.#deadlineOfSet(entry, now)
    const status = this.#kv.put(entry, put)
    if (status !== PutStatus.ok) {
      this.#replyAt = replyAt
      this.#writePutError(status)
    } else if (!answersOld) {
      this.#writeKind(ResultKind.ok)
    }
  }

  #del(body: Uint8Array, hash: number, now: number, room: number): void {
    if (room < INTEGER_BYTES) {
      return this.#writeError(ResultError.reply_bytes_max)
    }
    const entry = this.#findToWrite(body, hash, now)
    if (entry !== ENTRY_NONE) {
      this.#kv.remove(entry)
    }
    this.#writeInteger(entry === ENTRY_NONE ? 0 : 1)
  }

  // ---------------------------------------------------------------- deadlines

  /** False where the reader's command names wall time and nobody has told it yet; then that is its answer. */
  #hasClock(): boolean {
    if ((this.#reader.flags & CommandFlag.absolute) === 0 || this.#control.wallOffset() !== undefined) {
      return true
    }
    this.#writeError(ResultError.no_wall_clock)
    return false
  }

  /** The deadline that the argument says, in cluster time; `now` or less for one that has passed. */
  #deadline(now: number): number {
    const argument = this.#reader.argument()
    if ((this.#reader.flags & CommandFlag.absolute) === 0) {
      return now + argument
    }
    return argument - (this.#control.wallOffset() ?? 0)
  }

  #deadlineOfSet(entry: number, now: number): number {
    const { flags } = this.#reader
    if ((flags & CommandFlag.expires) !== 0) {
      // 0 would be none: what has passed already is the earliest that there is.
      return Math.max(this.#deadline(now), 1)
    }
    return (flags & CommandFlag.keeps) !== 0 && entry !== ENTRY_NONE ? this.#kv.deadline(entry) : 0
  }

  /** Gives the entry the deadline of the reader's argument, or removes it where that has passed. */
  #expireAt(entry: number, now: number): void {
    const deadline = this.#deadline(now)
    if (deadline <= now) {
      this.#kv.remove(entry)
    } else {
      this.#kv.expireAt(entry, deadline)
    }
  }

  #expire(entry: number, now: number): void {
    if (!this.#hasClock()) {
      return
    }
    const { flags } = this.#reader
    const old = entry === ENTRY_NONE ? 0 : this.#kv.deadline(entry)
    const deadline = this.#deadline(now)
    const isRefused =
      entry === ENTRY_NONE ||
      ((flags & CommandFlag.nx) !== 0 && old !== 0) ||
      ((flags & CommandFlag.xx) !== 0 && old === 0) ||
      ((flags & CommandFlag.gt) !== 0 && (old === 0 || deadline <= old)) ||
      ((flags & CommandFlag.lt) !== 0 && old !== 0 && deadline >= old)
    if (!isRefused) {
      this.#expireAt(entry, now)
    }
    this.#writeInteger(isRefused ? 0 : 1)
  }

  #ttl(entry: number, now: number): void {
    if (entry === ENTRY_NONE) {
      return this.#writeInteger(TTL_NO_KEY)
    }
    const deadline = this.#kv.deadline(entry)
    if (deadline === 0) {
      this.#writeInteger(TTL_NONE)
    } else if (this.#hasClock()) {
      const isAbsolute = (this.#reader.flags & CommandFlag.absolute) !== 0
      this.#writeInteger(isAbsolute ? deadline + (this.#control.wallOffset() ?? 0) : deadline - now)
    }
  }

  #persist(entry: number): void {
    const hasDeadline = entry !== ENTRY_NONE && this.#kv.deadline(entry) !== 0
    if (hasDeadline) {
      this.#kv.expireAt(entry, 0)
    }
    this.#writeInteger(hasDeadline ? 1 : 0)
  }

  // ---------------------------------------------------------------- values that are read and changed

  /** Commands whose answer is a number, or shorter. */
  #counted(body: Uint8Array, hash: number, now: number, room: number): void {
    if (room < INTEGER_BYTES) {
      return this.#writeError(ResultError.reply_bytes_max)
    }
    switch (this.#reader.code) {
      case CommandCode.db_size:
        return this.#writeInteger(this.#kv.count())
      case CommandCode.str_len:
        return this.#writeInteger(this.#bytesOf(this.#find(body, hash, now)))
      case CommandCode.ttl:
        return this.#ttl(this.#find(body, hash, now), now)
      case CommandCode.expire:
        return this.#expire(this.#findToWrite(body, hash, now), now)
      case CommandCode.persist:
        return this.#persist(this.#findToWrite(body, hash, now))
      case CommandCode.rename:
        return this.#rename(body, this.#findToWrite(body, hash, now), now)
      default: {
        const entry = this.#findToWrite(body, hash, now)
        const isAppend = this.#reader.code === CommandCode.append
        return this.#splice(hash, entry, isAppend ? this.#bytesOf(entry) : this.#reader.argument())
      }
    }
  }

  #bytesOf(entry: number): number {
    return entry === ENTRY_NONE ? 0 : this.#kv.valueBytes(entry)
  }

  /** False: the entry's value is not what was written, and that is the answer. */
  #isSound(entry: number): boolean {
    if (entry === ENTRY_NONE || this.#kv.isIntact(entry)) {
      return true
    }
    this.corruptReads += 1
    this.#writeError(ResultError.corrupt)
    return false
  }

  #getDel(body: Uint8Array, hash: number, now: number, room: number): void {
    const entry = this.#findToWrite(body, hash, now)
    this.#get(entry, room)
    if (this.#isAnswered) {
      this.#kv.remove(entry)
    }
  }

  #getEx(body: Uint8Array, hash: number, now: number, room: number): void {
    const entry = this.#findToWrite(body, hash, now)
    if (entry !== ENTRY_NONE && !this.#hasClock()) {
      return
    }
    this.#get(entry, room)
    const { flags } = this.#reader
    if (!this.#isAnswered) {
      return
    }
    if ((flags & CommandFlag.expires) !== 0) {
      this.#expireAt(entry, now)
    } else if ((flags & CommandFlag.persist) !== 0) {
      this.#kv.expireAt(entry, 0)
    }
  }

  /** As Redis: from the end where negative, and what lies outside is cut off. */
  #getRange(entry: number, room: number): void {
    const bytes = this.#bytesOf(entry)
    const first = this.#reader.argumentLow | 0
    const last = this.#reader.argumentHigh
    const start = Math.max(first < 0 ? bytes + first : first, 0)
    const end = Math.min(Math.max(last < 0 ? bytes + last : last, 0) + 1, bytes)
    const isEmpty = (first < 0 && last < 0 && first > last) || start >= end
    if (room < BYTES_HEAD + (isEmpty ? 0 : end - start)) {
      this.#writeError(ResultError.reply_bytes_max)
    } else if (this.#isSound(entry)) {
      this.#writeBytes(isEmpty ? 0 : this.#kv.valueOffset(entry) + start, isEmpty ? 0 : end - start)
    }
  }

  /** Writes the reader's value over the entry's from `offset` on; answers the bytes that there are then. */
  #splice(hash: number, entry: number, offset: number): void {
    const reader = this.#reader
    const added = reader.valueEnd - reader.valueStart
    const old = this.#bytesOf(entry)
    // An empty SETRANGE changes nothing, and makes no key; an empty APPEND makes one.
    if (added === 0 && (reader.code === CommandCode.set_range || entry !== ENTRY_NONE)) {
      return this.#writeInteger(old)
    }
    if (offset + added > this.#limits.value_bytes_max) {
      return this.#writeError(ResultError.value_bytes_max)
    }
    if (!this.#isSound(entry)) {
      return
    }
    const bytes = Math.max(old, offset + added)
    if (old > 0) {
      copyBytes(this.#view, this.#kv.valueOffset(entry), this.#scratchView, 0, old)
    }
    if (offset > old) {
      this.#scratch.fill(0, old, offset)
    }
    copyBytes(reader.view, reader.valueStart, this.#scratchView, offset, added)
    const put = this.#put
    put.hash = hash
    put.keys = reader.view
    put.keyStart = reader.keyStart
    put.keyEnd = reader.keyEnd
    this.#putScratch(entry, bytes, entry === ENTRY_NONE ? 0 : this.#kv.deadline(entry))
    if (this.#putStatus === PutStatus.ok) {
      this.#writeInteger(bytes)
    }
  }

  #rename(body: Uint8Array, entry: number, now: number): void {
    const reader = this.#reader
    const isNew = (reader.flags & CommandFlag.nx) !== 0
    if (entry === ENTRY_NONE) {
      return this.#writeKind(ResultKind.nil)
    }
    const hash = hashKey(body, reader.valueStart, reader.valueEnd)
    let target = this.#kv.find(hash, body, reader.valueStart, reader.valueEnd)
    if (target !== ENTRY_NONE && this.#kv.isExpired(target, now)) {
      this.#kv.remove(target)
      target = ENTRY_NONE
    }
    if (isNew && target !== ENTRY_NONE) {
      return this.#writeInteger(0)
    }
    if (target === entry) {
      return this.#writeKind(ResultKind.ok)
    }
    if (!this.#isSound(entry)) {
      return
    }
    const bytes = this.#bytesOf(entry)
    copyBytes(this.#view, this.#kv.valueOffset(entry), this.#scratchView, 0, bytes)
    const put = this.#put
    put.hash = hash
    put.keys = reader.view
    put.keyStart = reader.valueStart
    put.keyEnd = reader.valueEnd
    // First the new, which may be refused, then the old goes: in between there is one key too many, never one too few.
    this.#putScratch(target, bytes, this.#kv.deadline(entry))
    if (this.#putStatus === PutStatus.ok) {
      this.#kv.remove(entry)
      if (isNew) {
        this.#writeInteger(1)
      } else {
        this.#writeKind(ResultKind.ok)
      }
    }
  }

  #scan(now: number, room: number): void {
    if (room < BYTES_HEAD + SCAN_NEXT_BYTES) {
      return this.#writeError(ResultError.reply_bytes_max)
    }
    const reader = this.#reader
    const kv = this.#kv
    const start = this.#replyAt
    const last = Math.min(reader.argumentLow + reader.argumentHigh, kv.used())
    let at = start + BYTES_HEAD + SCAN_NEXT_BYTES
    let entry = reader.argumentLow
    for (; entry < last; entry += 1) {
      if (!kv.isInUse(entry) || kv.isExpired(entry, now)) {
        continue
      }
      if (!kv.isKeyIntact(entry)) {
        this.corruptReads += 1
        return this.#writeError(ResultError.corrupt)
      }
      const bytes = kv.keyBytes(entry)
      if (at + SCAN_KEY_HEAD + bytes > start + room) {
        break
      }
      this.#replyView.setUint16(at, bytes, true)
      copyBytes(this.#view, kv.keyOffset(entry), this.#replyView, at + SCAN_KEY_HEAD, bytes)
      at += SCAN_KEY_HEAD + bytes
    }
    if (entry < last && entry === reader.argumentLow) {
      // Not even one key fits: a scan that goes on from where it was would never end.
      return this.#writeError(ResultError.reply_bytes_max)
    }
    this.#replyView.setUint8(start, ResultKind.bytes)
    this.#replyView.setUint32(start + 1, at - start - BYTES_HEAD, true)
    this.#replyView.setUint32(start + BYTES_HEAD, entry < kv.used() ? entry : 0, true)
    this.#replyAt = at
  }

  /** Stores the scratch's first bytes under the key that #put names already; a refusal is answered. */
  #putScratch(entry: number, bytes: number, deadline: number): void {
    const put = this.#put
    put.value = this.#scratchView
    put.valueStart = 0
    put.valueEnd = bytes
    put.deadline = deadline
    this.#putStatus = this.#kv.put(entry, put)
    if (this.#putStatus !== PutStatus.ok) {
      this.#writePutError(this.#putStatus)
    }
  }

  // ---------------------------------------------------------------- incr_by

  #incrBy(body: Uint8Array, hash: number, now: number, room: number): void {
    if (room < INTEGER_BYTES) {
      return this.#writeError(ResultError.reply_bytes_max)
    }
    const reader = this.#reader
    const entry = this.#findToWrite(body, hash, now)
    const old = entry === ENTRY_NONE ? 0 : this.#parseStored(entry)
    if (Number.isNaN(old)) {
      return this.#writeError(ResultError.not_an_integer)
    }
    const delta = reader.argument()
    const sum = old + delta
    if (!Number.isSafeInteger(old) || !Number.isSafeInteger(delta) || !Number.isSafeInteger(sum)) {
      return this.#incrByWide(hash, entry)
    }
    const bytes = this.#formatDecimal(sum)
    this.#putDecimal(hash, entry, bytes)
    if (this.#putStatus === PutStatus.ok) {
      this.#writeInteger(sum)
    }
  }

  #putStatus: PutStatus = PutStatus.ok

  #putDecimal(hash: number, entry: number, bytes: number): void {
    const put = this.#put
    put.hash = hash
    put.keys = this.#reader.view
    put.keyStart = this.#reader.keyStart
    put.keyEnd = this.#reader.keyEnd
    put.value = this.#decimalView
    put.valueStart = DECIMAL_BYTES_MAX - bytes
    put.valueEnd = DECIMAL_BYTES_MAX
    put.deadline = entry === ENTRY_NONE ? 0 : this.#kv.deadline(entry)
    this.#putStatus = this.#kv.put(entry, put)
    if (this.#putStatus !== PutStatus.ok) {
      this.#writePutError(this.#putStatus)
    }
  }

  #writePutError(status: PutStatus): void {
    this.#writeError(status === PutStatus.entries_full ? ResultError.kv_entries_max : ResultError.kv_slab_bytes)
  }

  /** Beyond 2^53 the sum is made with BigInt: rare, exact, and still the same on every machine. */
  #incrByWide(hash: number, entry: number): void {
    const old = entry === ENTRY_NONE ? 0n : this.#parseStoredWide(entry)
    const delta = BigInt(this.#reader.argumentHigh) * 0x1_0000_0000n + BigInt(this.#reader.argumentLow)
    const sum = old + delta
    if (sum !== BigInt.asIntN(64, sum)) {
      return this.#writeError(ResultError.overflow)
    }
    let rest = sum < 0n ? -sum : sum
    let at = DECIMAL_BYTES_MAX
    do {
      at -= 1
      this.#decimal[at] = 0x30 + Number(rest % 10n)
      rest /= 10n
    } while (rest > 0n)
    if (sum < 0n) {
      at -= 1
      this.#decimal[at] = 0x2d
    }
    this.#putDecimal(hash, entry, DECIMAL_BYTES_MAX - at)
    if (this.#putStatus === PutStatus.ok) {
      this.#replyView.setUint8(this.#replyAt, ResultKind.integer)
      this.#replyView.setBigInt64(this.#replyAt + 1, sum, true)
      this.#replyAt += INTEGER_BYTES
    }
  }

  /**
   * The stored value as a number: NaN when it is no decimal integer, Infinity when it is one of more than SAFE_DIGITS
   * digits. As Redis: an optional minus, no leading zeros, nothing else.
   */
  #parseStored(entry: number): number {
    const start = this.#kv.valueOffset(entry)
    const end = start + this.#kv.valueBytes(entry)
    const isNegative = this.arena[start] === 0x2d
    const first = isNegative ? start + 1 : start
    const digits = end - first
    if (digits < 1 || digits > DECIMAL_BYTES_MAX || !this.#kv.isIntact(entry)) {
      return Number.NaN
    }
    if (this.arena[first] === 0x30 && (digits > 1 || isNegative)) {
      return Number.NaN
    }
    let value = 0
    for (let at = first; at < end; at += 1) {
      const digit = (this.arena[at] ?? 0) - 0x30
      if (digit < 0 || digit > 9) {
        return Number.NaN
      }
      value = value * 10 + digit
    }
    if (digits > SAFE_DIGITS) {
      return this.#isWide(this.#parseStoredWide(entry)) ? Number.POSITIVE_INFINITY : Number.NaN
    }
    return isNegative ? -value : value
  }

  #isWide(value: bigint): boolean {
    return value === BigInt.asIntN(64, value)
  }

  #parseStoredWide(entry: number): bigint {
    const start = this.#kv.valueOffset(entry)
    const end = start + this.#kv.valueBytes(entry)
    const isNegative = this.arena[start] === 0x2d
    let value = 0n
    for (let at = isNegative ? start + 1 : start; at < end; at += 1) {
      value = value * 10n + BigInt((this.arena[at] ?? 0) - 0x30)
    }
    return isNegative ? -value : value
  }

  /** Writes a safe integer's digits right-aligned into the scratch; their bytes. */
  #formatDecimal(value: number): number {
    let rest = Math.abs(value)
    let at = DECIMAL_BYTES_MAX
    do {
      at -= 1
      this.#decimal[at] = 0x30 + (rest % 10)
      rest = Math.floor(rest / 10)
    } while (rest > 0)
    if (value < 0) {
      at -= 1
      this.#decimal[at] = 0x2d
    }
    return DECIMAL_BYTES_MAX - at
  }

  // ---------------------------------------------------------------- tables of records

  /** The table that the reader's command names; machine_* name theirs by 0 flags. */
  #recordTable(): RecordTable {
    const table = this.#records[this.#reader.flags]
    assert(table !== undefined, "state machine: a well-formed command names a table")
    return table
  }

  #recordPut(body: Uint8Array, now: number): void {
    const { flags, valueStart } = this.#reader
    if (flags === TableNumber.events) {
      this.#events.append(this.commit(), now, body, valueStart)
      return this.#writeKind(ResultKind.ok)
    }
    if (!isRecordOfKey(this.#reader, body, flags)) {
      return this.#writeError(ResultError.malformed)
    }
    if (this.#recordTable().put(body, valueStart)) {
      this.#writeKind(ResultKind.ok)
    } else {
      this.#writeError(recordTable(flags)?.full ?? ResultError.malformed)
    }
  }

  #recordGet(body: Uint8Array, room: number): void {
    const { flags, keyStart, keyEnd } = this.#reader
    if (flags === TableNumber.events) {
      const number = this.#reader.argument()
      const isHere = number >= this.#events.oldest() && number <= this.#events.newest()
      return this.#writeRecord(isHere ? this.#events.offset(number) : 0, EVENT_RECORD_BYTES, room)
    }
    const table = this.#recordTable()
    const index = table.find(body, keyStart, keyEnd)
    this.#writeRecord(index === RECORD_NONE ? 0 : table.offset(index), table.recordBytes, room)
  }

  /** `start` is 0, where no record is, for nil. */
  #writeRecord(start: number, bytes: number, room: number): void {
    if (start === 0) {
      this.#writeKind(ResultKind.nil)
    } else if (room < BYTES_HEAD + bytes) {
      this.#writeError(ResultError.reply_bytes_max)
    } else {
      this.#writeBytes(start, bytes)
    }
  }

  #recordRemove(body: Uint8Array, room: number): void {
    if (room < INTEGER_BYTES) {
      return this.#writeError(ResultError.reply_bytes_max)
    }
    const table = this.#recordTable()
    const index = table.find(body, this.#reader.keyStart, this.#reader.keyEnd)
    if (index !== RECORD_NONE) {
      table.remove(index)
    }
    this.#writeInteger(index === RECORD_NONE ? 0 : 1)
  }

  #recordList(room: number): void {
    const argument = this.#reader.argument()
    if (this.#reader.flags === TableNumber.events) {
      const first = Math.max(argument, this.#events.oldest())
      return this.#writeRecords(this.#events.offset(first), this.#events.contiguous(first), EVENT_RECORD_BYTES, room)
    }
    const table = this.#recordTable()
    const first = Math.min(argument, table.count())
    this.#writeRecords(table.offset(first), table.count() - first, table.recordBytes, room)
  }

  /** As many of `records` as fit. */
  #writeRecords(start: number, records: number, recordBytes: number, room: number): void {
    if (room < BYTES_HEAD) {
      return this.#writeError(ResultError.reply_bytes_max)
    }
    const fitting = Math.floor((room - BYTES_HEAD) / recordBytes)
    this.#writeBytes(start, Math.min(records, fitting) * recordBytes)
  }

  // ---------------------------------------------------------------- the reply

  #beginReply(reply: Uint8Array, bytesMax: number): void {
    assert(reply.length >= bytesMax, "state machine: the reply's buffer holds the largest reply")
    if (this.#reply !== reply) {
      this.#reply = reply
      this.#replyView = new DataView(reply.buffer, reply.byteOffset, reply.byteLength)
    }
    this.#replyAt = 0
    this.#replyMax = bytesMax
  }

  #writeKind(kind: number): void {
    this.#replyView.setUint8(this.#replyAt, kind)
    this.#replyAt += 1
  }

  #writeError(error: number): void {
    this.#isReplyFull = this.#isReplyFull || error === ResultError.reply_bytes_max
    this.#replyView.setUint8(this.#replyAt, ResultKind.error)
    this.#replyView.setUint8(this.#replyAt + 1, error)
    this.#replyAt += ERROR_BYTES
  }

  /** A safe integer as signed 64 bits. */
  #writeInteger(value: number): void {
    const high = Math.floor(value / 0x1_0000_0000)
    this.#replyView.setUint8(this.#replyAt, ResultKind.integer)
    this.#replyView.setUint32(this.#replyAt + 1, value - high * 0x1_0000_0000, true)
    this.#replyView.setInt32(this.#replyAt + 5, high, true)
    this.#replyAt += INTEGER_BYTES
  }

  #writeBytes(start: number, bytes: number): void {
    this.#replyView.setUint8(this.#replyAt, ResultKind.bytes)
    this.#replyView.setUint32(this.#replyAt + 1, bytes, true)
    copyBytes(this.#view, start, this.#replyView, this.#replyAt + BYTES_HEAD, bytes)
    this.#replyAt += BYTES_HEAD + bytes
  }
}
