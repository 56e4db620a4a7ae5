/**
 * A simulated gateway with one session: one request in flight, numbers rise by one, a repeat is the same number with
 * the same bytes, and what was not answered in time is unknown (rules 25 and 26). It asks the history whether every
 * answer can be true. Plane: control.
 */
import type { Message, MessageOf } from "../../appliance/replication/message.ts"
import { ResultKind } from "../../appliance/state_machine/command.ts"
import { Operation } from "../../appliance/types/contracts.ts"
import type { PRNG } from "../../appliance/types/prng.ts"
import { encodeGet, encodeWrites, EXPIRING_PREFIX, type History, Violation, type Write } from "./history.ts"
import { CLIENT_RETRY_MS, CLIENT_UNKNOWN_MS } from "./limits.ts"

type Waiting =
  | { readonly kind: "register"; readonly request: number; readonly body: Uint8Array }
  | { readonly kind: "write"; readonly request: number; readonly body: Uint8Array }
  | {
      readonly kind: "read"
      readonly read: number
      readonly body: Uint8Array
      readonly key: string
      readonly since: number
    }

export type ClientCounts = { acknowledged: number; reads: number; unknown: number; refused: number }

const KEYS = 6

export class SimulatedClient {
  readonly counts: ClientCounts = { acknowledged: 0, reads: 0, unknown: 0, refused: 0 }
  readonly #id: number
  readonly #random: PRNG
  readonly #history: History
  readonly #voters: number
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
  #pauseUntil = 0

  constructor(options: {
    readonly id: number
    readonly random: PRNG
    readonly history: History
    readonly voters: number
  }) {
    this.#id = options.id
    this.#random = options.random
    this.#history = options.history
    this.#voters = options.voters
    this.home = options.id % options.voters
    this.#writesOfTen = [10, 0, 5, 10][options.id % 4] ?? 5
  }

  /** The machine died, and this gateway with it: whatever was under way is unknown. */
  moveTo(home: number): void {
    this.home = home
    this.#giveUp()
  }

  /** What to send now, and where, if anything. */
  tick(now: number): { readonly to: number; readonly message: Message } | undefined {
    if (now < this.#pauseUntil) {
      return undefined
    }
    if (this.#waiting === undefined) {
      this.#begin(now)
      return this.#ask(now)
    }
    if (now - this.#since >= CLIENT_UNKNOWN_MS) {
      this.#giveUp()
      return undefined
    }
    if (now - this.#askedAt >= CLIENT_RETRY_MS) {
      this.#target = (this.#target + 1) % this.#voters
      return this.#ask(now)
    }
    return undefined
  }

  receive(message: MessageOf<"reply"> | MessageOf<"read_reply">, now: number): void {
    const waiting = this.#waiting
    if (waiting === undefined) {
      return
    }
    if (message.type === "read_reply") {
      if (waiting.kind === "read" && message.read === waiting.read) {
        this.#onReadReply(waiting, message, now)
      }
      return
    }
    const session = waiting.kind === "register" ? 0 : this.#session
    if (waiting.kind !== "read" && message.session === session && message.request === waiting.request) {
      this.#onReply(waiting, message, now)
    }
  }

  #begin(now: number): void {
    this.#since = now
    this.#numbers += 1
    if (this.#session === 0) {
      const body = new Uint8Array(16)
      for (let index = 0; index < 16; index += 1) {
        body[index] = this.#random.below(256)
      }
      this.#waiting = { kind: "register", request: this.#id * 1_000_000 + this.#numbers, body }
    } else if (this.#random.chance(this.#writesOfTen, 10)) {
      this.#request += 1
      this.#waiting = { kind: "write", request: this.#request, body: encodeWrites(this.#writes()) }
    } else {
      const key = `k${this.#random.below(KEYS)}`
      const read = this.#id * 1_000_000 + this.#numbers
      this.#waiting = { kind: "read", read, body: encodeGet(key), key, since: this.#history.acknowledgedOp }
    }
  }

  #writes(): Write[] {
    const writes: Write[] = []
    for (let count = this.#random.between(1, 3); count > 0; count -= 1) {
      const value = `${this.#id}.${this.#numbers}.${count}`
      const key = `k${this.#random.below(KEYS)}`
      const kind = this.#random.below(10)
      if (kind < 6) {
        writes.push({ kind: "set", key, value, expires: 0 })
      } else if (kind < 7) {
        writes.push({ kind: "del", key })
      } else if (kind < 9) {
        writes.push({ kind: "incr", key: `n${this.#random.below(2)}`, delta: this.#random.between(1, 9) })
      } else {
        writes.push({ kind: "set", key: `${EXPIRING_PREFIX}${this.#random.below(4)}`, value, expires: 500 })
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
    const envelope = { from: this.home, epoch: 0, cv: [] }
    const { body } = waiting
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
    } else {
      const op = this.#history.acknowledged(this.#session, waiting.request)
      checkResults(message.body, this.#history.results(op))
      this.counts.acknowledged += 1
    }
    this.#waiting = undefined
  }

  #onReadReply(waiting: Waiting & { kind: "read" }, message: MessageOf<"read_reply">, now: number): void {
    if (message.outcome !== "ok") {
      this.#onRefusal(message, now)
      return
    }
    this.#history.checkRead(waiting.key, decodeValue(message.body), waiting.since)
    this.counts.reads += 1
    this.#waiting = undefined
  }

  #onRefusal(message: MessageOf<"reply"> | MessageOf<"read_reply">, now: number): void {
    this.counts.refused += 1
    switch (message.outcome) {
      case "not_primary":
        // A hint, never a reason to drop anything (defect D13).
        this.#target = (this.#target + 1) % this.#voters
        this.#askedAt = now - CLIENT_RETRY_MS + 20
        return
      case "busy":
      case "standby_missing":
        this.#askedAt = now - CLIENT_RETRY_MS + 50
        this.#target = (this.#target + this.#voters - 1) % this.#voters
        return
      case "evicted":
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

function checkResults(body: Uint8Array, expected: readonly (string | number)[]): void {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength)
  let at = 0
  for (const result of expected) {
    const kind = view.getUint8(at)
    const isEqual =
      result === "ok"
        ? kind === ResultKind.ok
        : kind === ResultKind.integer && Number(view.getBigInt64(at + 1, true)) === result
    if (!isEqual) {
      throw new Violation(`a reply says otherwise than the history: expected ${result}, result kind ${kind}`)
    }
    at += result === "ok" ? 1 : 9
  }
  if (at !== body.length) {
    throw new Violation("a reply has more results than its request has commands")
  }
}

function decodeValue(body: Uint8Array): string | undefined {
  const kind = body[0]
  if (kind === ResultKind.nil) {
    return undefined
  }
  if (kind !== ResultKind.bytes) {
    throw new Violation(`a read answered with result kind ${String(kind)}`)
  }
  return new TextDecoder().decode(body.subarray(5))
}
