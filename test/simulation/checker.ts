/**
 * What is asked of a process after every event: that its numbers only rise, that its bounds hold, and that its log and
 * state are what the history and the other members of its view say (rule 32). Plane: control.
 */
import { crc32 } from "node:zlib"
import type { Message } from "../../appliance/replication/message.ts"
import { type ClusterLimits, inFlightMax } from "../../appliance/types/limits.ts"
import { type History, rankOf, Violation } from "./history.ts"
import { describe, type Process } from "./machine.ts"
import type { MemoryFaults } from "./memory_faults.ts"

/** Every so many ops the whole arena is compared. */
const DIGEST_OPS = 8

export class Checker {
  readonly #history: History
  readonly #limits: ClusterLimits
  readonly #memory: MemoryFaults | undefined
  /** Of each request and read, how often it was asked less how often it was answered. */
  readonly #asked = new Map<string, number>()

  constructor(history: History, limits: ClusterLimits, memory: MemoryFaults | undefined) {
    this.#history = history
    this.#memory = memory
    this.#limits = limits
  }

  /** True when its commit number rose. */
  check(process: Process): boolean {
    const { replica } = process
    const { epoch, view, logView, commit, op, status, incarnation } = replica
    if (commit < process.commit || epoch < process.epoch) {
      throw new Violation(`commit or epoch fell: ${describe(process)}`)
    }
    const isSameEpoch = epoch === process.epoch
    if (isSameEpoch && (view < process.view || logView < process.log_view)) {
      throw new Violation(`view fell: ${describe(process)}`)
    }
    if (isSameEpoch && incarnation < process.incarnation) {
      throw new Violation(`incarnation fell: ${describe(process)}`)
    }
    if (replica.counters.divergent_entry > 0) {
      throw new Violation(`a peer has another entry of this very view: ${describe(process)}`)
    }
    const isSameView = isSameEpoch && view === process.view && process.status === "normal"
    const isChanged = op !== process.op || commit !== process.commit || !isSameView || status !== process.status
    if (!isChanged) {
      return false
    }
    this.#checkBounds(process)
    if (status === "normal") {
      this.#checkViewLog(process, isSameView)
    }
    const hasCommitted = commit > process.commit
    if (hasCommitted) {
      this.#checkCommits(process)
    }
    if (status === "normal" && !isSameView && replica.isPrimary) {
      const checksumAt = (at: number): string | undefined => replica.log.checksum(at)
      this.#history.checkStart(process.slot, rankOf(epoch, view), op, checksumAt)
    }
    process.epoch = epoch
    process.view = view
    process.log_view = logView
    process.incarnation = incarnation
    process.commit = commit
    process.op = op
    process.status = status
    return hasCommitted
  }

  /** Replies are routed once: no request is answered more often than it was asked. */
  noteAsked(message: Message): void {
    const id = idOf(message)
    if (id !== undefined) {
      this.#asked.set(id, (this.#asked.get(id) ?? 0) + 1)
    }
  }

  noteAnswered(message: Message): void {
    const id = idOf(message)
    if (id !== undefined) {
      const left = (this.#asked.get(id) ?? 0) - 1
      if (left < 0) {
        throw new Violation(`${message.type} ${id} is sent more often than it was asked for`)
      }
      this.#asked.set(id, left)
    }
  }

  /** The arena of a process, byte for byte, against any other at the same op. */
  checkArena(process: Process): void {
    if (this.#memory?.isVictim(process) === true || process.replica.isTorn) {
      return
    }
    if (this.#memory?.isArenaRight(process) === false) {
      if (this.#memory.noteSpread(process)) {
        return
      }
      throw new Violation(`the arena is not what the committed ops make: ${describe(process)}`)
    }
    this.#history.checkDigest(process.slot, process.replica.commit, crc32(process.stateMachine.arena))
  }

  #checkBounds(process: Process): void {
    const { log, commit, op, status } = process.replica
    if (op - log.first + 1 > this.#limits.log_slots) {
      throw new Violation(`more entries than the ring has slots: ${describe(process)}`)
    }
    if (status === "normal" && op - commit > inFlightMax(this.#limits) && process.replica.isPrimary) {
      throw new Violation(`more in flight than the pipeline holds: ${describe(process)}`)
    }
  }

  #checkViewLog(process: Process, isSameView: boolean): void {
    const { log, op, epoch, view } = process.replica
    const rank = rankOf(epoch, view)
    for (let at = Math.max(log.first, isSameView ? process.op + 1 : 1); at <= op; at += 1) {
      const checksum = log.checksum(at)
      if (checksum !== undefined) {
        this.#history.checkViewLog(process.slot, rank, at, checksum)
      }
    }
  }

  #checkCommits(process: Process): void {
    const { replica, slot } = process
    const { commit, log, epoch, view, status } = replica
    // Who is in no view, or is about to enter an epoch, has learned of a commit that another made.
    const rank = status === "normal" ? rankOf(epoch, view) : Number.POSITIVE_INFINITY
    for (let op = process.commit + 1; op <= commit; op += 1) {
      const entry = log.entry(op)
      if (entry !== undefined) {
        this.#history.committed(slot, entry, rank)
        this.#memory?.apply(entry)
      }
    }
    const checksum = log.checksum(commit)
    if (checksum !== undefined) {
      this.#history.checkChecksum(slot, commit, checksum)
    }
    if (commit % DIGEST_OPS === 0) {
      this.checkArena(process)
    }
  }
}

function idOf(message: Message): string | undefined {
  switch (message.type) {
    case "request":
    case "reply":
      return `${message.session}:${message.request}`
    case "read":
    case "read_reply":
      return `read ${message.read}`
    default:
      return undefined
  }
}
