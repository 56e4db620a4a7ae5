/**
 * Bits that flip in the memory of one machine at a time: in a page of its arena, in its table of digests, in its pool.
 * Whoever has one counts among the f until it is found and repaired, written over, or gone with its machine. What is
 * certified must be what a machine without faults has (model_machine.ts), and so must every other machine's arena. What
 * a victim answers before its bit is found may be wrong (rule 22c: apply and replies may meet it before a scrub does):
 * such an answer is counted, and nobody is given it. Plane: control.
 */
import { crc32 } from "node:zlib"
import { AssertionError } from "../../appliance/types/assert.ts"
import type { LogEntry, Message, MessageOf } from "../../appliance/replication/message.ts"
import { arenaTables } from "../../appliance/state_machine/arena.ts"
import { COMMAND_HEADER_BYTES, ResultError, ResultKind } from "../../appliance/state_machine/command.ts"
import { PAGE_DIGEST_BYTES } from "../../appliance/state_machine/page_digest.ts"
import type { Digest, StatePages } from "../../appliance/types/contracts.ts"
import type { ClusterLimits, ProcessLimits } from "../../appliance/types/limits.ts"
import type { PRNG } from "../../appliance/types/prng.ts"
import { decodeValue } from "./client.ts"
import { type History, Violation } from "./history.ts"
import {
  FLIP_ANYWHERE,
  FLIP_CHANCE,
  FLIP_DRAWS,
  FLIP_SLACK_TICKS,
  FLIP_WHERE,
  MEMORY_FAULTS_MAX,
  SCRUB_PAGES,
  SIMULATED_PROCESS_LIMITS,
} from "./limits.ts"
import { describe, type Process } from "./machine.ts"
import { ModelMachine } from "./model_machine.ts"
import { pick } from "./setup.ts"

type Where = keyof typeof FLIP_WHERE

type Victim = {
  readonly process: Process
  readonly where: Where
  /** The name of the arena's table, or where else. */
  readonly what: string
  readonly at: number
  /** Of a table: where the wrong digest begins, and what it is. */
  readonly entry: number
  readonly digest: string
  /** It was copying: what was compared before the flip is not compared again. */
  isCopying: boolean
  isFound: boolean
  /** Ticks as a member since then, and what it had committed once a scrub had come past every page. */
  ticks: number
  scrubbedOp: number
  /** What it had committed when it last froze its state for somebody: nobody else has the like of that image. */
  frozenOp: number
}

/** What was last seen of a process. */
type Seen = { faults: number; copies: number; locals: number }

/** An event of a process, and how it was before. */
export type Before = { readonly isTorn: boolean; readonly commit: number }

/** How flips ended, and what they did before; times in virtual milliseconds. */
export type FaultTotals = {
  flips: number
  found_by_scrub: number
  found_by_root: number
  /** The digests were compared with the root, and taken anew. */
  found_by_table: number
  /** Written over, or copied over. */
  overwritten: number
  /** In the pool, and handed to nobody before the next checkpoint; or handed out and refused. */
  passed: number
  died: number
  /** Assertions of the production code that stopped the victim first. */
  stopped: number
  /** Reads of which the entry's CRC said that it is not intact. */
  refused_by_crc: number
  exposed_reads: number
  exposed_writes: number
  /** Pages that a receiver refused, since they were not as their digest says. */
  pages_spoilt: number
  readonly found_ms: number[]
}

export class MemoryFaults {
  readonly totals: FaultTotals = {
    flips: 0,
    found_by_scrub: 0,
    found_by_root: 0,
    found_by_table: 0,
    overwritten: 0,
    passed: 0,
    died: 0,
    stopped: 0,
    refused_by_crc: 0,
    exposed_reads: 0,
    exposed_writes: 0,
    pages_spoilt: 0,
    found_ms: [],
  }
  /** Few pages are looked at in a tick, so that bits are there for some time. */
  readonly processLimits: ProcessLimits
  readonly #random: PRNG
  readonly #history: History
  readonly #model: ModelMachine
  readonly #limits: ClusterLimits
  readonly #say: (line: string) => void
  readonly #seen = new WeakMap<Process, Seen>()
  /** Keys of reads that were asked for. */
  readonly #reads = new Map<number, string>()
  /** Roots of images that a victim handed out and that are no checkpoint's of the model. */
  readonly #handedOut = new Set<Digest>()
  #victim: Victim | undefined
  /** A victim's state was the only one that could be had, and somebody has it: from here on nothing is known. */
  isSpread = false

  constructor(options: {
    readonly random: PRNG
    readonly limits: ClusterLimits
    readonly history: History
    /** A line of the trace. */
    readonly say: (line: string) => void
  }) {
    this.#say = options.say
    this.#random = options.random
    this.#limits = options.limits
    this.#history = options.history
    this.#model = new ModelMachine(options.limits)
    this.processLimits = {
      ...SIMULATED_PROCESS_LIMITS,
      scrub_pages: pick(options.random, SCRUB_PAGES),
      memory_faults_max: pick(options.random, MEMORY_FAULTS_MAX),
    }
  }

  isVictim(process: Process | undefined): boolean {
    return process !== undefined && this.#victim?.process === process
  }

  /** It has a bit that must still be found: one in the pool need not be. */
  isSick(process: Process | undefined): boolean {
    return this.isVictim(process) && this.#victim?.where !== "pool"
  }

  /** An op was committed. */
  apply(entry: LogEntry): void {
    this.#model.apply(entry)
  }

  noteAsked(message: Message): void {
    if (message.type === "read") {
      this.#reads.set(message.read, String.fromCharCode(...message.body.subarray(COMMAND_HEADER_BYTES)))
    }
  }

  // ---------------------------------------------------------------- flips

  /** One bit of a machine that may be lost; the name of what it is in, if there was one. */
  flip(candidates: readonly Process[], now: number): string | undefined {
    if (this.#victim !== undefined || candidates.length === 0 || !this.#random.chance(FLIP_CHANCE, 10_000)) {
      return undefined
    }
    // It is the primary whose memory answers clients.
    const primary = this.#random.chance(1, 2) ? candidates.find(({ replica }) => replica.isPrimary) : undefined
    const process = primary ?? candidates[this.#random.below(candidates.length)]
    if (process === undefined) {
      return undefined
    }
    const where = this.#drawWhere()
    const { bytes, start, end, what } = this.#drawPlace(process, where)
    const at = this.#drawByte(bytes, start, end)
    bytes[at] = (bytes[at] ?? 0) ^ (1 << this.#random.below(8))
    this.#victim = {
      process,
      where,
      what,
      at: now,
      entry: at,
      digest: where === "table" ? entryAt(bytes, at) : "",
      isCopying: process.replica.isTorn || process.replica.status === "recovering",
      isFound: false,
      ticks: 0,
      scrubbedOp: -1,
      frozenOp: -1,
    }
    this.totals.flips += 1
    this.#say(`a bit flips in ${what}, byte ${at}: ${describe(process)}`)
    return what
  }

  #drawWhere(): Where {
    const drawn = this.#random.below(FLIP_WHERE.arena + FLIP_WHERE.table + FLIP_WHERE.pool)
    return drawn < FLIP_WHERE.arena ? "arena" : drawn < FLIP_WHERE.arena + FLIP_WHERE.table ? "table" : "pool"
  }

  #drawPlace(process: Process, where: Where): { bytes: Uint8Array; start: number; end: number; what: string } {
    const { arena, pages } = process.stateMachine
    if (where !== "arena") {
      const bytes = where === "table" ? pages.table : process.pool
      return { bytes, start: 0, end: bytes.length, what: where }
    }
    // Every table that clients here use as often as every other: by bytes, the large and empty ones would get all.
    const tables = arenaTables(this.#limits).filter((table) => isUsed(table.name))
    const table = this.#random.chance(FLIP_ANYWHERE, 100) ? undefined : tables[this.#random.below(tables.length)]
    if (table === undefined) {
      return { bytes: arena, start: 0, end: arena.length, what: where }
    }
    return { bytes: arena, start: table.start, end: table.start + table.bytes, what: table.name }
  }

  /** Rather one that is in use. */
  #drawByte(bytes: Uint8Array, start: number, end: number): number {
    let at = start
    for (let draw = 0; draw < FLIP_DRAWS; draw += 1) {
      at = start + this.#random.below(end - start)
      if (bytes[at] !== 0) {
        return at
      }
    }
    return at
  }

  // ---------------------------------------------------------------- what must be true

  /** After every event of a process. True when its whole arena should be looked at: it was copied. */
  check(process: Process, now: number): boolean {
    const { certifiedOp, certifiedRoot, counters } = process.replica
    const right = this.#model.rootAt(certifiedOp)
    if (right !== undefined && right !== certifiedRoot) {
      throw new Violation(`op ${certifiedOp} is certified with a state that nobody should have: ${describe(process)}`)
    }
    const seen = this.#seenOf(process)
    const isConvicted = counters.memory_faults > seen.faults
    const isCopied = counters.checkpoints_received > seen.copies && !process.replica.isTorn
    const isFrozen = counters.checkpoints_local > seen.locals
    seen.faults = counters.memory_faults
    seen.copies = process.replica.isTorn ? seen.copies : counters.checkpoints_received
    seen.locals = counters.checkpoints_local
    const victim = this.#victim
    if (victim === undefined || victim.process !== process) {
      this.#checkWell(process, isConvicted)
      return isCopied
    }
    victim.frozenOp = isFrozen ? process.replica.commit : victim.frozenOp
    if (isConvicted) {
      this.#noteFound(victim, now)
    }
    if (isCopied) {
      return this.#isWellAgain(victim)
    }
    this.#checkFoundInTime(victim)
    return false
  }

  #seenOf(process: Process): Seen {
    const known = this.#seen.get(process)
    if (known !== undefined) {
      return known
    }
    const seen = { faults: 0, copies: 0, locals: 0 }
    this.#seen.set(process, seen)
    return seen
  }

  #checkWell(process: Process, isConvicted: boolean): void {
    const own = process.replica.checkpointOf(process.slot)
    const right = own === undefined ? undefined : this.#model.rootAt(own.op)
    if (own !== undefined && right !== undefined && right !== own.root && !this.#handedOut.has(own.root)) {
      throw new Violation(`a machine whose memory is right has another root at op ${own.op}: ${describe(process)}`)
    }
    if (isConvicted) {
      throw new Violation(`a machine whose memory is right finds it wrong: ${describe(process)}`)
    }
  }

  /** The process, which has a wrong arena, has just copied it, and nobody could have told that it is wrong. */
  noteSpread(process: Process): boolean {
    const own = process.replica.checkpointOf(process.slot)
    this.isSpread ||= own !== undefined && this.#handedOut.has(own.root)
    return this.isSpread
  }

  #noteFound(victim: Victim, now: number): void {
    const kind = victim.process.replica.memoryFault?.kind
    if (victim.where === "pool" || victim.isFound) {
      throw new Violation(`a page that is right is found wrong: ${describe(victim.process)}`)
    }
    victim.isFound = true
    if (kind === "table") {
      this.totals.found_by_table += 1
      this.totals.found_ms.push(now - victim.at)
      this.#end(victim, "overwritten")
      return
    }
    this.#say(`the bit is found by its ${kind ?? "end"}: ${describe(victim.process)}`)
    this.totals.found_by_scrub += kind === "page" ? 1 : 0
    this.totals.found_by_root += kind === "root" ? 1 : 0
    this.totals.found_ms.push(now - victim.at)
  }

  /** It has copied a state; one that flipped while it did may have slipped through, and is found by the next scrub. */
  #isWellAgain(victim: Victim): boolean {
    if (victim.isCopying && !this.#isRight(victim.process)) {
      victim.isCopying = false
      victim.ticks = 0
      victim.scrubbedOp = -1
      return false
    }
    this.#end(victim, victim.where === "pool" ? "passed" : "overwritten")
    return true
  }

  #end(victim: Victim, how: "passed" | "overwritten" | "died"): void {
    this.totals[how] += victim.isFound ? 0 : 1
    this.#say(`the bit is ${victim.isFound ? "repaired" : how}: ${describe(victim.process)}`)
    this.#victim = undefined
  }

  /** A tick of a process: scrubs go on. */
  noteTick(process: Process): void {
    const victim = this.#victim
    if (victim?.process !== process || process.replica.isTorn || process.replica.status !== "normal") {
      return
    }
    victim.ticks += 1
    const period = Math.ceil(process.stateMachine.pages.count / this.processLimits.scrub_pages) + FLIP_SLACK_TICKS
    if (victim.scrubbedOp < 0 && victim.ticks >= period) {
      victim.scrubbedOp = process.replica.commit
    }
  }

  /**
   * A scrub has come past every page, and a later checkpoint is certified as this machine has it: a page that the scrub
   * passed over had changed, and its digest is in that root. A bit that is still wrong should have been found.
   */
  #checkFoundInTime(victim: Victim): void {
    const { process, where, scrubbedOp } = victim
    const { certifiedOp, isTorn, status } = process.replica
    if (where === "pool" || scrubbedOp < 0 || certifiedOp <= scrubbedOp || isTorn || status !== "normal") {
      return
    }
    if (process.replica.checkpointOf(process.slot)?.op !== certifiedOp) {
      return
    }
    if (!this.#isRight(process)) {
      throw new Violation(`a bit in ${victim.what} is not found after ${victim.ticks} ticks: ${describe(process)}`)
    }
    this.#end(victim, "overwritten")
  }

  /**
   * Nobody can tell any more who is right: one machine alone has the right state, a victim has contradicted it, and all
   * others would have to copy first. All concerned stop (rule 22b) until somebody decides.
   */
  isTied(processes: readonly Process[]): boolean {
    const right = processes.filter((process) => {
      const { isVoter, isTorn, status } = process.replica
      return isVoter && !isTorn && !this.isVictim(process) && (status === "normal" || status === "view_change")
    })
    return right.length === 1 && right[0]?.replica.isCheckpointDisputed === true
  }

  /** Now and then: what flipped may have been written over, and no checkpoint have it. */
  look(): void {
    const victim = this.#victim
    if (victim === undefined || victim.process.replica.isTorn) {
      return
    }
    const { replica, slot, stateMachine } = victim.process
    const own = replica.checkpointOf(slot)?.op ?? -1
    if (victim.frozenOp >= own) {
      return
    }
    if (victim.where === "pool") {
      // The pool is empty after each checkpoint.
      if (victim.scrubbedOp >= 0 && own > victim.scrubbedOp) {
        this.#end(victim, "passed")
      }
      return
    }
    const { pages } = stateMachine
    const isThere = victim.where === "table" && entryAt(pages.table, victim.entry) === victim.digest
    if (isThere || this.isArenaRight(victim.process) !== true || !isTableRight(pages)) {
      return
    }
    // A checkpoint may have caught it before: that must have been judged.
    const last = stateMachine.checkpointOp()
    if (own === last && replica.certifiedOp === last && pages.pending === 0) {
      this.#end(victim, "overwritten")
    }
  }

  /** Whether the arena is what the committed ops make; undefined where no machine has committed as much. */
  isArenaRight(process: Process): boolean | undefined {
    const right = this.#model.arenaAt(process.replica.commit)
    return right === undefined ? undefined : right === crc32(process.stateMachine.arena)
  }

  #isRight(process: Process): boolean {
    return this.isArenaRight(process) === true && isTableRight(process.stateMachine.pages)
  }

  /** Of a process that is gone, or of a run that is. */
  addCounters(process: Process): void {
    this.totals.pages_spoilt += process.replica.counters.pages_spoilt
  }

  /** The process is gone, whatever was wrong with it. */
  forget(process: Process): void {
    if (this.#victim?.process === process) {
      this.#end(this.#victim, "died")
    }
  }

  /** An assertion of the production code may stop a victim, as it would stop its process; nobody else. */
  isStop(process: Process, error: unknown): boolean {
    const victim = this.#victim
    const isStop = error instanceof AssertionError || error instanceof RangeError
    if (victim?.process !== process || victim.where === "pool" || !isStop) {
      return false
    }
    this.totals.stopped += victim.isFound ? 0 : 1
    this.#victim = undefined
    return true
  }

  // ---------------------------------------------------------------- what a victim says

  /** False for what is thrown away: an answer that is wrong, and whose bit was not found yet. */
  maySay(process: Process, message: Message, before: Before): boolean {
    if (!this.isVictim(process)) {
      return true
    }
    if (message.type === "checkpoint_chunk" && this.#model.rootAt(message.op) !== message.root) {
      this.#handedOut.add(message.root)
    }
    if (message.type !== "reply" && message.type !== "read_reply") {
      return true
    }
    if (message.outcome === "ok" && before.isTorn && process.replica.isTorn) {
      throw new Violation(`a machine that knows its memory to be wrong answers: ${describe(process)}`)
    }
    return message.type === "reply" ? this.#isReplyRight(message) : this.#isReadRight(process, message, before)
  }

  #isReplyRight(message: MessageOf<"reply">): boolean {
    const { outcome, session, request, body } = message
    const isWrong = outcome === "ok" ? !this.#model.isReply(session, request, body) : isWrongRefusal(outcome)
    this.totals.exposed_writes += isWrong ? 1 : 0
    return !isWrong
  }

  #isReadRight(process: Process, message: MessageOf<"read_reply">, before: Before): boolean {
    const { outcome, body, read } = message
    if (outcome !== "ok") {
      this.totals.exposed_reads += isWrongRefusal(outcome) ? 1 : 0
      return !isWrongRefusal(outcome)
    }
    if (body[0] === ResultKind.error && body[1] === ResultError.corrupt) {
      this.totals.refused_by_crc += 1
      return false
    }
    const key = this.#reads.get(read) ?? ""
    const isKnown = body[0] === ResultKind.nil || body[0] === ResultKind.bytes
    const value = isKnown ? decodeValue(body) : undefined
    if (isKnown && this.#history.isValue(key, value, { from: before.commit, to: process.replica.commit })) {
      return true
    }
    // What it should have written over may still be there, whole: it took a write for one that it had applied. A number
    // that it should have counted up is then another one from there on.
    const isOlder = this.#history.isValue(key, value, { from: 0, to: before.commit })
    const isCount = /^-?[0-9]+$/.test(value ?? "")
    if (body[0] === ResultKind.bytes && !isOlder && !isCount) {
      throw new Violation(`a read of ${key} is answered with ${String(value)}, whose CRC cannot be right`)
    }
    this.totals.exposed_reads += 1
    return false
  }
}

function isUsed(table: string): boolean {
  return table === "header" || table === "sessions" || table.startsWith("kv ")
}

/** A well-behaved client would take it for a bug. */
function isWrongRefusal(outcome: MessageOf<"reply">["outcome"]): boolean {
  return outcome === "stale" || outcome === "invalid"
}

/** The digest that a byte of a table belongs to. */
function entryAt(table: Uint8Array, byte: number): string {
  const start = byte - (byte % PAGE_DIGEST_BYTES)
  return Buffer.from(table.subarray(start, start + PAGE_DIGEST_BYTES)).toString("hex")
}

/** Every clean page is as the table says: a whole round of the scrub, which then stands where it stood. */
function isTableRight(pages: StatePages): boolean {
  let isRight = true
  for (let turn = 0; turn < pages.count; turn += 1) {
    isRight = pages.scrub(1) < 0 && isRight
  }
  return isRight
}
