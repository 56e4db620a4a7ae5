/**
 * Bits that flip: in a page of one machine's arena, or in its table of digests, now and then; never in two machines at
 * once, and whoever has one counts among the f. A model machine applies what was committed and never fails: what is
 * certified must be what it has. What a machine with a flipped bit answers before the bit is found is thrown away and
 * counted (rule 22c: apply and replies may meet it before a scrub does); after that it answers nothing. Plane: control.
 */
import { crc32 } from "node:zlib"
import { AssertionError } from "../../appliance/types/assert.ts"
import { rootPrefix } from "../../appliance/replication/checkpoint_transfer.ts"
import type { LogEntry, Message } from "../../appliance/replication/message.ts"
import { arenaBytes } from "../../appliance/state_machine/arena.ts"
import { type ArenaStateMachine, createStateMachine } from "../../appliance/state_machine/state_machine.ts"
import { type Digest, Operation } from "../../appliance/types/contracts.ts"
import type { ClusterLimits } from "../../appliance/types/limits.ts"
import type { PRNG } from "../../appliance/types/prng.ts"
import { simulatedDigest } from "./digest.ts"
import { Violation } from "./history.ts"
import { describe, type Process } from "./machine.ts"

/** The chance in 10,000 of a flip at each opportunity while all machines are well. */
const FLIP_CHANCE = 400
const TABLE_PER_MILLE = 150

type Victim = {
  readonly process: Process
  readonly at: number
  readonly copies: number
  readonly locals: number
  readonly faults: number
}

/** How each flip ended; times in virtual milliseconds. */
export type FaultTotals = {
  flips: number
  found_by_scrub: number
  found_by_root: number
  /** Written over, copied over, or gone with its machine. */
  overwritten: number
  died: number
  /** Assertions of the production code that stopped the victim first. */
  stopped: number
  /** Answers of a victim before its bit was found; nobody was given them. */
  exposed: number
  readonly found_ms: number[]
}

export class MemoryFaults {
  readonly totals: FaultTotals = {
    flips: 0,
    found_by_scrub: 0,
    found_by_root: 0,
    overwritten: 0,
    died: 0,
    stopped: 0,
    exposed: 0,
    found_ms: [],
  }
  readonly #random: PRNG
  readonly #model: ArenaStateMachine
  readonly #reply: Uint8Array
  readonly #roots = new Map<number, Digest>()
  readonly #digests = new Map<number, number>()
  #victim: Victim | undefined
  /** The victim's state was the only one that could be had: from here on nothing is known to be right. */
  isSpread = false

  constructor(random: PRNG, limits: ClusterLimits) {
    this.#random = random
    this.#model = createStateMachine({ limits, arena: new Uint8Array(arenaBytes(limits)) })
    this.#reply = new Uint8Array(limits.read_reply_bytes_max)
    this.#noteRoot(0, "0".repeat(32))
  }

  isVictim(process: Process | undefined): boolean {
    return process !== undefined && this.#victim?.process === process
  }

  /** An op was committed for the first time by anyone: the model follows. */
  apply(entry: LogEntry): void {
    const { header, body } = entry
    if (header.op !== this.#model.commit() + 1) {
      return
    }
    this.#model.apply(header, body, 0, body.length, this.#reply)
    this.#digests.set(header.op, crc32(this.#model.arena))
    if (header.operation === Operation.checkpoint) {
      this.#noteRoot(header.op, header.checksum)
    }
  }

  /** What the arena should be after `op`; undefined where the model was not asked. */
  digestAt(op: number): number | undefined {
    return this.#digests.get(op)
  }

  #noteRoot(op: number, checksum: Digest): void {
    this.#model.pages.takeDigests(this.#model.pages.count)
    this.#roots.set(op, this.#model.pages.root(simulatedDigest, rootPrefix(op, checksum)))
  }

  /** The arena as it should be at the model's op. */
  isRight(process: Process): boolean {
    if (process.replica.commit !== this.#model.commit()) {
      return false
    }
    return Buffer.compare(process.stateMachine.arena, this.#model.arena) === 0
  }

  /** One bit of a machine that may be lost. */
  flip(candidates: readonly Process[], now: number): boolean {
    if (this.#victim !== undefined || candidates.length === 0 || !this.#random.chance(FLIP_CHANCE, 10_000)) {
      return false
    }
    const process = candidates[this.#random.below(candidates.length)]
    if (process === undefined) {
      return false
    }
    const { arena, pages } = process.stateMachine
    const bytes = this.#random.chance(TABLE_PER_MILLE, 1_000) ? pages.table : arena
    const bit = this.#random.below(bytes.length * 8)
    bytes[bit >>> 3] = (bytes[bit >>> 3] ?? 0) ^ (1 << (bit & 7))
    const { checkpoints_received: copies, checkpoints_local: locals, memory_faults: faults } = process.replica.counters
    this.#victim = { process, at: now, copies, locals, faults }
    this.totals.flips += 1
    return true
  }

  /** After every event of a process. True when a victim is well again. */
  check(process: Process, now: number): boolean {
    const { certifiedOp, certifiedRoot } = process.replica
    const root = this.#roots.get(certifiedOp)
    if (root !== undefined && root !== certifiedRoot) {
      throw new Violation(`op ${certifiedOp} is certified with a state that nobody should have: ${describe(process)}`)
    }
    const victim = this.#victim
    if (victim !== undefined && victim.process.replica.counters.checkpoints_local > victim.locals) {
      // It was asked for its state by somebody who could have no other, and nobody contradicted it for long.
      this.isSpread = true
    }
    if (victim?.process !== process) {
      const own = process.replica.checkpointOf(process.slot)
      const ownRight = own === undefined ? undefined : this.#roots.get(own.op)
      if (own !== undefined && ownRight !== undefined && ownRight !== own.root && !this.isSpread) {
        throw new Violation(`a machine whose memory is right has another root at op ${own.op}: ${describe(process)}`)
      }
      if (process.replica.counters.memory_faults > process.faults_seen) {
        process.faults_seen = process.replica.counters.memory_faults
        throw new Violation(`a machine whose memory is right finds it wrong: ${describe(process)}`)
      }
      return false
    }
    const { counters, memoryFault, isTorn } = process.replica
    if (counters.memory_faults > process.faults_seen) {
      process.faults_seen = counters.memory_faults
      this.totals.found_by_scrub += memoryFault?.kind === "page" ? 1 : 0
      this.totals.found_by_root += memoryFault?.kind === "root" ? 1 : 0
      this.totals.found_ms.push(now - victim.at)
    }
    const isCopied = !isTorn && counters.checkpoints_received > victim.copies
    if (isCopied) {
      this.totals.overwritten += counters.memory_faults === victim.faults ? 1 : 0
      this.#victim = undefined
      return true
    }
    return false
  }

  /** Now and then: the bit may have been written over, by whatever the machine applied since. */
  look(now: number): void {
    const victim = this.#victim
    if (victim === undefined || victim.process.replica.isTorn || now === victim.at) {
      return
    }
    const { pages } = victim.process.stateMachine
    // A checkpoint may have caught the bit before it was written over: that has yet to be judged.
    const { replica, stateMachine, slot } = victim.process
    const checkpoint = stateMachine.checkpointOp()
    const isJudged = replica.certifiedOp >= checkpoint && (replica.checkpointOf(slot)?.op ?? 0) >= checkpoint
    const isTableRight = isJudged && pages.pending === 0 && isTableOf(pages)
    if (isTableRight && this.isRight(victim.process)) {
      this.totals.overwritten += 1
      this.#victim = undefined
    }
  }

  /** The process is gone, whatever was wrong with it. */
  forget(process: Process): void {
    if (this.#victim?.process === process) {
      this.totals.died += 1
      this.#victim = undefined
    }
  }

  /** An assertion of the production code may stop a victim, as it would stop its process; nobody else. */
  isStop(process: Process, error: unknown): boolean {
    const isStop = this.isVictim(process) && (error instanceof AssertionError || error instanceof RangeError)
    this.totals.stopped += isStop ? 1 : 0
    return isStop
  }

  /** What a victim says to clients: false to throw it away. */
  mayAnswer(process: Process, message: Message, wasTorn: boolean): boolean {
    if (!this.isVictim(process) || (message.type !== "reply" && message.type !== "read_reply")) {
      return true
    }
    if (message.outcome !== "ok") {
      return true
    }
    if (wasTorn) {
      throw new Violation(`a machine that knows its memory to be wrong answers: ${describe(process)}`)
    }
    this.totals.exposed += 1
    return false
  }
}

/** Every clean page is as the table says. */
function isTableOf(pages: ArenaStateMachine["pages"] | Process["stateMachine"]["pages"]): boolean {
  for (let turn = 0; turn < pages.count; turn += 1) {
    if (pages.scrub(1) >= 0) {
      return false
    }
  }
  return true
}
