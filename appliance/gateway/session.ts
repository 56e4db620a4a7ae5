/**
 * One session in the cluster's table: one batch under way, the next one filling. Numbers rise by one, a repeat is the
 * same number with the same bytes, and a session whose outcome is unknown is not used again: its old number may still
 * commit (rules 25 and 26). Plane: control (one step a batch).
 */
import type { MessageOf, RequestOutcome } from "../replication/message.ts"
import { ResultKind } from "../state_machine/command.ts"
import { assert, unreachable } from "../types/assert.ts"
import { Operation } from "../types/contracts.ts"
import { MEMORY_DISPUTED, type Outage, STANDBY_MISSING } from "../orchestration/quorum_watch.ts"
import type { Answers, Sent } from "./answers.ts"
import type { Batch } from "./batch.ts"
import { Courier } from "./courier.ts"
import { REQUEST_TIMEOUT_MS, SESSION_STALLED_MS } from "./limits.ts"
import type { ReplicaPort } from "./port.ts"
import type { Results } from "./results.ts"
import type { Failure, Texts } from "./texts.ts"

/** What this gateway counted since it started; names as in /metrics. */
export type SessionCounters = {
  batches: number
  batch_commands: number
  reads: number
  registrations: number
  resends: number
  unknown: number
  not_applied: number
  evicted: number
  malformed_replies: number
}

export type SessionOptions = {
  readonly flight: Batch
  readonly filling: Batch
  readonly port: ReplicaPort
  readonly answers: Answers
  readonly texts: Texts
  readonly results: Results
  readonly counters: SessionCounters
  /** A number that no other registration or read of this machine has. */
  readonly nextNumber: () => number
  /** 16 random bytes. */
  readonly clientId: () => Uint8Array
}

type State = "idle" | "registering" | "requesting" | "reading"

const RESULT_INTEGER_BYTES = 9

export class Session {
  readonly #options: SessionOptions
  readonly #courier: Courier
  #flight: Batch
  #filling: Batch
  #state: State = "idle"
  /** The op that registered this session; 0 while it is not. */
  #session = 0
  #request = 0
  /** The number that the answer to a registration or a read carries. */
  #number = 0
  #flightStartedAt = 0
  /** Part of the flight was answered, and what is left was refused for want of room. */
  #isRest = false
  readonly #sent: Sent = { entries: 0, commands: 0, isRead: false }
  /** Open connections that belong to this session. */
  connections = 0

  constructor(options: SessionOptions) {
    this.#options = options
    this.#courier = new Courier(options.port)
    this.#flight = options.flight
    this.#filling = options.filling
  }

  /** Where the next commands go. */
  get filling(): Batch {
    return this.#filling
  }
  get isRegistered(): boolean {
    return this.#session !== 0
  }
  get isIdle(): boolean {
    return this.#state === "idle"
  }
  /** Commands that wait for an answer or to be sent. */
  get waiting(): number {
    return this.#flight.commands + this.#filling.commands
  }

  /** A batch is under way for so long that nobody should wait for room behind it. */
  isStalled(now: number): boolean {
    return this.#state !== "idle" && now - this.#flightStartedAt > SESSION_STALLED_MS
  }

  needsFlush(): boolean {
    return this.#state === "idle" && !(this.#flight.isEmpty() && this.#filling.isEmpty())
  }

  /** Sends what is there, unless something is under way. */
  flush(now: number): void {
    if (this.#state !== "idle") {
      return
    }
    const outage = this.#options.port.outage()
    if (outage !== undefined && this.waiting > 0) {
      this.#refuse(this.#options.texts.refusedFor(outage))
      return
    }
    if (this.#flight.isEmpty()) {
      if (this.#filling.isEmpty()) {
        return
      }
      const flight = this.#filling
      this.#filling = this.#flight
      this.#flight = flight
      this.#flightStartedAt = now
      this.#isRest = false
    }
    if (this.#flight.commands === 0) {
      this.#options.answers.resolveLocal(this.#flight)
      return
    }
    this.#begin(now)
  }

  #begin(now: number): void {
    assert(this.#state === "idle" && !this.#courier.isBusy, "session: one request in flight")
    this.#chooseSent()
    if (this.#sent.isRead) {
      this.#state = "reading"
      this.#number = this.#options.nextNumber()
      this.#options.counters.reads += 1
      this.#courier.begin({ type: "read", read: this.#number, body: this.#body() }, now)
    } else if (this.#session === 0) {
      this.#state = "registering"
      this.#number = this.#options.nextNumber()
      this.#options.counters.registrations += 1
      // A fresh id each time: the session of the old one may still have a request in flight.
      const body = this.#options.clientId()
      this.#courier.begin(
        { type: "request", operation: Operation.register, session: 0, request: this.#number, body },
        now,
      )
    } else {
      this.#state = "requesting"
      this.#request += 1
      this.#options.counters.batches += 1
      this.#options.counters.batch_commands += this.#sent.commands
      const { batch: operation } = Operation
      this.#courier.begin(
        { type: "request", operation, session: this.#session, request: this.#request, body: this.#body() },
        now,
      )
    }
  }

  /**
   * All of the batch, as a rule. Of a rest, reads at its front go alone: as a read they may answer more bytes than a
   * request that is remembered, so that no answer is refused twice for the same want of room.
   */
  #chooseSent(): void {
    const flight = this.#flight
    let entries = 0
    let commands = 0
    while (entries < flight.entries && flight.isRead(entries)) {
      commands += flight.entryCommands(entries)
      entries += 1
    }
    const isReadAlone = commands > 0 && (this.#isRest || entries === flight.entries)
    this.#sent.entries = isReadAlone ? entries : flight.entries
    this.#sent.commands = isReadAlone ? commands : flight.commands
    this.#sent.isRead = isReadAlone
    assert(this.#sent.commands > 0, "session: what is sent has a command")
  }

  #body(): Uint8Array {
    return this.#flight.body.subarray(0, this.#flight.offset(this.#sent.commands))
  }

  // ---------------------------------------------------------------- answers

  /** True when the reply was for this session's request, whatever became of it. */
  onReply(message: MessageOf<"reply">, now: number): boolean {
    if (this.#state === "registering" && message.session === 0 && message.request === this.#number) {
      this.#onRegisterReply(message, now)
      return true
    }
    const isOurs = message.session === this.#session && message.request === this.#request
    if (this.#state === "requesting" && isOurs) {
      this.#onRequestReply(message, now)
      return true
    }
    return false
  }

  onReadReply(message: MessageOf<"read_reply">, now: number): boolean {
    if (this.#state !== "reading" || message.read !== this.#number) {
      return false
    }
    if (message.outcome === "ok") {
      this.#resolve(message.body, now)
    } else {
      this.#onRefusal(message.outcome, message, now)
    }
    return true
  }

  #onRegisterReply(message: MessageOf<"reply">, now: number): void {
    if (message.outcome !== "ok") {
      this.#onRefusal(message.outcome, message, now)
      return
    }
    const { body } = message
    const view = new DataView(body.buffer, body.byteOffset, body.byteLength)
    const isInteger = body.length === RESULT_INTEGER_BYTES && view.getUint8(0) === ResultKind.integer
    const session = isInteger ? Number(view.getBigInt64(1, true)) : 0
    if (!Number.isSafeInteger(session) || session <= 0) {
      this.#options.counters.malformed_replies += 1
      return
    }
    this.#finish()
    this.#session = session
    this.#request = 0
  }

  #onRequestReply(message: MessageOf<"reply">, now: number): void {
    if (message.outcome !== "ok") {
      this.#onRefusal(message.outcome, message, now)
    } else if (message.body.length === 0) {
      // Evicted between prepare and commit: the op was committed and did nothing (sessions.ts of the state machine).
      this.#onEvicted(message.from, now)
    } else {
      this.#resolve(message.body, now)
    }
  }

  #resolve(body: Uint8Array, now: number): void {
    const reply = Buffer.from(body.buffer, body.byteOffset, body.byteLength)
    const view = new DataView(body.buffer, body.byteOffset, body.byteLength)
    if (!this.#options.results.scan(reply, view, this.#sent.commands)) {
      // Not what a replica of ours says: as if nothing had come.
      this.#options.counters.malformed_replies += 1
      return
    }
    this.#finish()
    this.#flightStartedAt = now
    this.#options.answers.resolve(this.#flight, this.#sent, this.#options.results)
    this.#isRest = !this.#flight.isEmpty()
  }

  #onRefusal(
    outcome: Exclude<RequestOutcome, "ok">,
    message: { readonly from: number; readonly epoch: number; readonly view: number },
    now: number,
  ): void {
    const { from, epoch, view } = message
    const { port, texts } = this.#options
    switch (outcome) {
      case "not_primary":
        this.#courier.onRefusal(from, port.primaryOf(epoch, view), now)
        return
      case "busy":
        this.#courier.onBusy(from, now)
        return
      case "standby_missing":
        // The only voter has waited for its standby already: waiting with it would not make it answer sooner.
        this.#courier.onBusy(from, now)
        this.#stop(STANDBY_MISSING)
        return
      case "memory_disputed":
        this.#courier.onBusy(from, now)
        this.#stop(MEMORY_DISPUTED)
        return
      case "stale":
        // The number is ours and the last: it was committed while a copy of it queued. The next copy gets the reply.
        this.#courier.onBusy(from, now)
        return
      case "evicted":
        this.#onEvicted(from, now)
        return
      case "invalid":
        this.#finish()
        this.#request -= this.#sent.isRead || this.#session === 0 ? 0 : 1
        this.#fail(this.#flight, texts.invalid)
        return
      default:
        unreachable(outcome)
    }
  }

  /**
   * The session is gone from the table. A request that every machine it went to refused was never given an op number,
   * so it may be sent again under a new session; of any other nobody knows.
   */
  #onEvicted(from: number, now: number): void {
    if (this.#state !== "requesting") {
      this.#courier.onBusy(from, now)
      return
    }
    this.#options.counters.evicted += 1
    this.#courier.onBusy(from, now)
    const isSurelyRefused = this.#courier.isSurelyRefused()
    this.#finish()
    this.#session = 0
    if (!isSurelyRefused) {
      this.#options.counters.unknown += 1
      this.#fail(this.#flight, this.#options.texts.evicted)
    }
  }

  // ---------------------------------------------------------------- time

  tick(now: number): void {
    if (this.#state === "idle") {
      return
    }
    const outage = this.#options.port.outage()
    if (outage !== undefined) {
      this.#stop(outage)
    } else if (now - this.#flightStartedAt >= REQUEST_TIMEOUT_MS) {
      const { unknown, notApplied } = this.#options.texts
      this.#giveUp({ unknown, rejected: notApplied })
    } else {
      this.#courier.tick(now)
    }
  }

  /** The cluster answers nobody: whoever waits is told so, and what is known of his command. */
  #stop(outage: Outage): void {
    const { texts } = this.#options
    this.#giveUp({ unknown: texts.unknownFor(outage), rejected: texts.refusedFor(outage) })
  }

  /** Rule 26: unknown only what was sent and not surely refused. */
  #giveUp({ unknown, rejected }: { readonly unknown: Failure; readonly rejected: Failure }): void {
    const isUnknown = this.#state === "requesting" && !this.#courier.isSurelyRefused()
    const wasRequesting = this.#state === "requesting"
    this.#finish()
    if (isUnknown) {
      this.#options.counters.unknown += 1
      this.#session = 0
      this.#fail(this.#flight, unknown)
    } else {
      this.#request -= wasRequesting ? 1 : 0
    }
    // What waited behind it waited long enough, and nothing of it was ever sent.
    this.#refuse(rejected)
  }

  /** Nothing of what waits was sent, or is left to hope for. */
  #refuse(rejected: Failure): void {
    this.#options.counters.not_applied += this.waiting > 0 ? 1 : 0
    this.#fail(this.#flight, rejected)
    this.#fail(this.#filling, rejected)
  }

  #fail(batch: Batch, failure: Failure): void {
    this.#options.answers.fail(batch, failure)
    assert(batch.isEmpty(), "session: a batch that failed owes nothing")
  }

  #finish(): void {
    assert(this.#state !== "idle" && this.#courier.isBusy, "session: finishes what is under way")
    this.#courier.end()
    this.#options.counters.resends += this.#courier.takeResends()
    this.#state = "idle"
  }
}
