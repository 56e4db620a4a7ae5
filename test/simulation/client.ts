/**
 * A simulated gateway with one session: one request in flight, numbers rise by one, a repeat is the same number with
 * the same bytes, and what was not answered in time is unknown (rules 25 and 26). It asks the history whether every
 * answer can be true. Plane: control.
 */
import type { Message, MessageOf } from "../../appliance/replication/message.ts"
import { ResultKind } from "../../appliance/state_machine/command.ts"
import { Operation } from "../../appliance/types/contracts.ts"
import type { PRNG } from "../../appliance/types/prng.ts"
import {
  type Effect,
  encodeGet,
  encodeWrites,
  EXPIRING_PREFIX,
  type History,
  Violation,
  type Write,
} from "./history.ts"

/** `since`: what had been answered to anybody when this was asked. */
type Waiting =
  | { readonly kind: "register"; readonly request: number; readonly body: Uint8Array }
  | { readonly kind: "write"; readonly request: number; readonly body: Uint8Array; readonly since: number }
  | {
      readonly kind: "read"
      readonly read: number
      readonly body: Uint8Array
      readonly key: string
      readonly since: number
      /** Asked when no majority remembered anything. */
      readonly sealed: boolean
    }

export type ClientCounts = {
  acknowledged: number
  reads: number
  unknown: number
  refused: number
  evicted: number
  /** Told by a replica that was behind that a living session is gone: the client must take it for unknown. */
  evicted_wrongly: number
}

export type ClientOptions = {
  readonly id: number
  readonly random: PRNG
  readonly history: History
  readonly slots: number
  readonly retryMs: number
  readonly unknownMs: number
}

const KEYS = 6
const COUNTERS = 2
const EXPIRING_KEYS = 4
const EXPIRES_MS = 500
const NUMBERS_A_CLIENT = 1_000_000

export class SimulatedClient {
  readonly counts: ClientCounts = {
    acknowledged: 0,
    reads: 0,
    unknown: 0,
    refused: 0,
    evicted: 0,
    evicted_wrongly: 0,
  }
  readonly #options: ClientOptions
  readonly #random: PRNG
  readonly #history: History
  /** The machine whose gateway this is. */
  home: number
  /** Some clients only read and some only write: a reader that never waits for a write meets a deposed primary. */
  readonly #writesOfTen: number
  #session = 0
  #request = 0
  #numbers = 0
  #waiting: Waiting | undefined
  #since = 0
  #askedAt = 0
  #target = 0
  #isStopped = false

  constructor(options: ClientOptions) {
    this.#options = options
    this.#random = options.random
    this.#history = options.history
    this.home = options.id % options.slots
    this.#writesOfTen = [10, 0, 5, 8][options.id % 4] ?? 5
  }

  get served(): number {
    return this.counts.acknowledged + this.counts.reads
  }

  /** The machine died, and this gateway with it: whatever was under way is unknown. */
  moveTo(home: number): void {
    this.home = home
    this.#giveUp()
  }

  /** Whom to ask next: the adversary wants a write at a primary of its choice. */
  aim(slot: number, now: number): void {
    this.#target = slot
    this.#askedAt = Math.min(this.#askedAt, now - this.#options.retryMs)
  }

  /** Asks for nothing new from now on. */
  stop(): void {
    this.#isStopped = true
  }

  /** What to send now, and where, if anything. */
  tick(now: number): { readonly to: number; readonly message: Message } | undefined {
    if (this.#waiting === undefined) {
      if (this.#isStopped) {
        return undefined
      }
      this.#begin(now)
      return this.#ask(now)
    }
    if (now - this.#since >= this.#options.unknownMs) {
      this.#giveUp()
      return undefined
    }
    if (now - this.#askedAt >= this.#options.retryMs) {
      this.#target = (this.#target + 1) % this.#options.slots
      return this.#ask(now)
    }
    return undefined
  }

  /** True when it was what this client waits for. */
  receive(message: MessageOf<"reply"> | MessageOf<"read_reply">, now: number): boolean {
    const waiting = this.#waiting
    if (waiting === undefined) {
      return false
    }
    if (message.type === "read_reply") {
      if (waiting.kind !== "read" || message.read !== waiting.read) {
        return false
      }
      this.#onReadReply(waiting, message, now)
      return true
    }
    const session = waiting.kind === "register" ? 0 : this.#session
    if (waiting.kind === "read" || message.session !== session || message.request !== waiting.request) {
      return false
    }
    this.#onReply(waiting, message, now)
    return true
  }

  #begin(now: number): void {
    this.#since = now
    this.#numbers += 1
    const number = this.#options.id * NUMBERS_A_CLIENT + this.#numbers
    if (this.#session === 0) {
      const body = new Uint8Array(16)
      for (let index = 0; index < 16; index += 1) {
        body[index] = this.#random.below(256)
      }
      this.#waiting = { kind: "register", request: number, body }
    } else if (this.#random.chance(this.#writesOfTen, 10)) {
      this.#request += 1
      const body = encodeWrites(this.#writes())
      this.#waiting = { kind: "write", request: this.#request, body, since: this.#history.acknowledgedOp }
    } else {
      const key = this.#random.chance(1, 8) ? `n${this.#random.below(COUNTERS)}` : `k${this.#random.below(KEYS)}`
      const since = this.#history.floorOf(key)
      const sealed = this.#history.isSealed
      this.#waiting = { kind: "read", read: number, body: encodeGet(key), key, since, sealed }
    }
  }

  #writes(): Write[] {
    const writes: Write[] = []
    for (let count = this.#random.between(1, 3); count > 0; count -= 1) {
      const short = `${this.#options.id}.${this.#numbers}.${count}`
      const value = this.#random.chance(1, 8) ? short.padEnd(60, "-") : short
      const key = `k${this.#random.below(KEYS)}`
      const kind = this.#random.below(10)
      if (kind < 6) {
        writes.push({ kind: "set", key, value, expires: 0 })
      } else if (kind < 7) {
        writes.push({ kind: "del", key })
      } else if (kind < 9) {
        writes.push({ kind: "incr", key: `n${this.#random.below(COUNTERS)}`, delta: this.#random.between(1, 9) })
      } else {
        const expiring = `${EXPIRING_PREFIX}${this.#random.below(EXPIRING_KEYS)}`
        writes.push({ kind: "set", key: expiring, value, expires: EXPIRES_MS })
      }
    }
    return writes
  }

  #ask(now: number): { readonly to: number; readonly message: Message } | undefined {
    const waiting = this.#waiting
    if (waiting === undefined) {
      return undefined
    }
    this.#askedAt = now
    const { body } = waiting
    const envelope = { from: this.home, epoch: 0, cv: [] }
    const message: Message =
      waiting.kind === "read"
        ? { type: "read", read: waiting.read, body, ...envelope }
        : {
            type: "request",
            operation: waiting.kind === "register" ? Operation.register : Operation.batch,
            session: waiting.kind === "register" ? 0 : this.#session,
            request: waiting.request,
            body,
            ...envelope,
          }
    return { to: this.#target, message }
  }

  #onReply(waiting: Waiting & { kind: "register" | "write" }, message: MessageOf<"reply">, now: number): void {
    if (message.outcome !== "ok") {
      this.#onRefusal(message, now)
      return
    }
    if (waiting.kind === "register") {
      const view = new DataView(message.body.buffer, message.body.byteOffset, message.body.byteLength)
      this.#session = Number(view.getBigInt64(1, true))
      this.#request = 0
      this.#history.registered(this.#session)
    } else {
      const { request, since } = waiting
      checkResults(message.body, this.#history.acknowledged({ session: this.#session, request, since }))
      this.counts.acknowledged += 1
    }
    this.#waiting = undefined
  }

  #onReadReply(waiting: Waiting & { kind: "read" }, message: MessageOf<"read_reply">, now: number): void {
    if (message.outcome !== "ok") {
      this.#onRefusal(message, now)
      return
    }
    if (waiting.sealed && this.#history.isSealed) {
      throw new Violation(`a read of ${waiting.key} is answered though no majority remembers anything`)
    }
    this.#history.checkRead(waiting.key, decodeValue(message.body), waiting.since)
    this.counts.reads += 1
    this.#waiting = undefined
  }

  #onRefusal(message: MessageOf<"reply"> | MessageOf<"read_reply">, now: number): void {
    this.counts.refused += 1
    const { retryMs, slots } = this.#options
    switch (message.outcome) {
      case "not_primary":
        // The view is a hint of who is, and slots are not views: the next tick asks the next one (defect D13).
        this.#askedAt = now - retryMs + 20
        return
      case "busy":
      case "standby_missing":
      case "memory_disputed":
        this.#askedAt = now - retryMs + 50
        // The next tick goes one further: to this one again.
        this.#target = (this.#target + slots - 1) % slots
        return
      case "evicted":
        this.counts.evicted += 1
        this.counts.evicted_wrongly += this.#history.isEvicted(this.#session) ? 0 : 1
        this.#giveUp()
        return
      case "stale":
      case "invalid":
        throw new Violation(`a well-behaved client was told '${message.outcome}'`)
      default:
        throw new Violation(`unknown outcome ${message.outcome}`)
    }
  }

  /** The outcome is unknown; the session is not used again, for its old number may still commit. */
  #giveUp(): void {
    if (this.#waiting !== undefined) {
      this.counts.unknown += 1
    }
    this.#waiting = undefined
    this.#session = 0
  }
}

function checkResults(body: Uint8Array, expected: Effect): void {
  if (expected === undefined) {
    throw new Violation("a batch that found its session evicted is answered as done")
  }
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength)
  let at = 0
  for (const result of expected) {
    const bytes = result === "ok" ? 1 : 9
    const kind = at + bytes <= body.length ? view.getUint8(at) : -1
    const isEqual =
      result === "ok"
        ? kind === ResultKind.ok
        : kind === ResultKind.integer && Number(view.getBigInt64(at + 1, true)) === result
    if (!isEqual) {
      throw new Violation(`a reply says otherwise than the history: expected ${result}, result kind ${kind}`)
    }
    at += bytes
  }
  if (at !== body.length) {
    throw new Violation("a reply has more results than its request has commands")
  }
}

const TEXT = new TextDecoder()

export function decodeValue(body: Uint8Array): string | undefined {
  const kind = body[0]
  if (kind === ResultKind.nil) {
    return undefined
  }
  if (kind !== ResultKind.bytes) {
    throw new Violation(`a read answered with result kind ${String(kind)}`)
  }
  return TEXT.decode(body.subarray(5))
}
