/**
 * One replica of Viewstamped Replication for machines that forget: a pure state machine, message in, messages out. The
 * caller owns the network and the clock: it calls `receive` and `tick`, then drains `takeOutgoing`.
 *
 * The protocol is Viewstamped Replication Revisited (Liskov and Cowling, 2012) with four changes, each of which
 * repairs a way to lose an acknowledged write when no machine has a disk:
 *   - crash vectors on every message, and only crash-consistent quorums (Michael et al., DISC'17);
 *   - a view is left only by a quorum of exit_view, or on evidence of a higher view (rule 13);
 *   - state transfer never drops an entry before its replacement is in hand (rule 23);
 *   - a blank machine recovers with a fresh nonce and never votes until it has (rules 16, 19, 20).
 *
 * Order of reading: receive() and #admit() (what every message passes), normal operation, reads, view change,
 * installing a log, recovery, tick(). Plane: control.
 */
import { assert, unreachable } from "../types/assert.ts"
import { type Digest, type DigestFunction, Operation, type RandomU32, SessionState } from "../types/contracts.ts"
import type { StateMachine } from "../types/contracts.ts"
import { assertClusterLimits, assertProcessLimits, INCARNATION_MAX } from "../types/limits.ts"
import type { ClusterLimits, ProcessLimits } from "../types/limits.ts"
import { Ring } from "../types/ring.ts"
import { BodyQueue } from "./body_queue.ts"
import { CheckpointDonor, CheckpointReceiver } from "./checkpoint_transfer.ts"
import { blankVector, entryAt, incarnationOf, knowsLater, makeEntry, withEntry } from "./crash_vector.ts"
import { HeldReplies } from "./held_replies.ts"
import { Log, ROOT_CHECKSUM } from "./log.ts"
import type {
  CrashVector,
  LogEntry,
  Message,
  MessageOf,
  Outgoing,
  PrepareHeader,
  ProbeStatus,
  RequestOutcome,
} from "./message.ts"
import { VIEW_NONE } from "./message.ts"
import type { ReplicaMemory } from "./replica_memory.ts"

/**
 * `recovering`: blank, votes for nothing (rules 2, 16). `normal`: part of its view. `view_change`: has left a view and
 * waits for the next. `state_transfer`: fetches what it lacks, votes for nothing. `fenced`: a later incarnation of this
 * slot lives, so this process must end (rule 28).
 */
export type ReplicaStatus = "recovering" | "normal" | "view_change" | "state_transfer" | "fenced"

export type ReplicaOptions = {
  /** This replica's slot, 0 to voters - 1. */
  readonly slot: number
  /** 1, 3, 5 or 7 (rule 6). */
  readonly voters: number
  /** 32 hexadecimal digits that allow this process to found the cluster together with all others; "" only recovers. */
  readonly token: string
  readonly limits: ClusterLimits
  readonly processLimits: ProcessLimits
  readonly stateMachine: StateMachine
  readonly memory: ReplicaMemory
  readonly digest: DigestFunction
  readonly random: RandomU32
}

/** Counts of what was refused or lost on the way; for metrics and for tests that ask whether a fault was reached. */
export type ReplicaCounters = {
  stale_incarnation: number
  corrupt_entry: number
  /** Never but for a bug or a memory fault: a peer's entry of our view that is not ours. */
  divergent_entry: number
  unexpected_message: number
  outbox_dropped: number
  requests_refused: number
  view_changes: number
  recoveries: number
  checkpoints_received: number
}

type QueuedRequest = {
  readonly from: number
  readonly operation: Operation
  readonly session: number
  readonly request: number
}
type QueuedRead = { readonly from: number; readonly read: number; readonly round: number }

/** Where the reply of an op in flight goes. */
type Route = { readonly op: number; from: number }

/** A log that is to become ours: of which view, up to which op, and who said so. */
type InstallTarget = {
  readonly view: number
  readonly op: number
  readonly commit: number
  readonly headers: readonly PrepareHeader[]
  donor: number
}

type StagedBody = { readonly op: number; readonly start: number; readonly bytes: number }

type RecoveryPhase = "probe" | "checkpoint" | "recovery" | "install"

const SIZES = [1, 3, 5, 7]

export class Replica {
  readonly slot: number
  readonly voters: number
  /** f of the paper: how many may be down. */
  readonly faults: number
  readonly log: Log
  readonly counters: ReplicaCounters = {
    stale_incarnation: 0,
    corrupt_entry: 0,
    divergent_entry: 0,
    unexpected_message: 0,
    outbox_dropped: 0,
    requests_refused: 0,
    view_changes: 0,
    recoveries: 0,
    checkpoints_received: 0,
  }

  readonly #limits: ClusterLimits
  readonly #process: ProcessLimits
  readonly #machine: StateMachine
  readonly #digest: DigestFunction
  readonly #random: RandomU32
  readonly #reply: Uint8Array
  readonly #staging: Uint8Array
  readonly #shadow: Uint8Array
  readonly #outbox: Ring<Outgoing>

  #status: ReplicaStatus = "recovering"
  #view = 0
  /** The view whose log this is: rises only when a log is installed (defect D6). */
  #logView = 0
  #commit = 0
  #cv: CrashVector
  readonly #bootNonce: number
  readonly #token: string
  #now = 0

  /* Primary */
  readonly #acked: Float64Array
  readonly #roundAcked: Float64Array
  #round = 0
  #roundConfirmed = 0
  #viewStartOp = 0
  #viewStartTimestamp = 0
  #viewStartNow = 0
  #heartbeatAt = 0
  /** When a backup last acknowledged a prepare, and when a majority last confirmed a round. */
  #preparedAt = 0
  #confirmedAt = 0
  #resentAt = 0
  #abdicated = false
  readonly #requests: BodyQueue<QueuedRequest>
  readonly #reads: BodyQueue<QueuedRead>
  #routes: Route[] = []

  /* View change */
  readonly #exitVotes: HeldReplies<MessageOf<"exit_view">>
  readonly #joinViews: HeldReplies<MessageOf<"join_view">>
  #ownJoinView: MessageOf<"join_view"> | undefined
  #viewChangeAt = 0
  #viewChangeMs: number
  #joinSentAt = 0
  #exitSentAt = Number.NEGATIVE_INFINITY
  #primaryHeardAt = 0
  #getViewAt = Number.NEGATIVE_INFINITY
  #getLogAt = Number.NEGATIVE_INFINITY

  /* Installing a log */
  #target: InstallTarget | undefined
  #staged: StagedBody[] = []
  #stagedBytes = 0
  #targetAskedAt = 0
  #targetProgressAt = 0

  /* Recovery and transfer */
  /** The incarnation that this process means to take; 0 before it knows of one. */
  #claim = 0
  /** The highest incarnation that a process of each slot has said that it will take. */
  readonly #claimed: Float64Array
  #phase: RecoveryPhase = "probe"
  #attemptNonce = -1
  #attemptAt = Number.NEGATIVE_INFINITY
  #attemptMs: number
  readonly #probes: HeldReplies<MessageOf<"probe_ok">>
  readonly #responses: HeldReplies<MessageOf<"recovery_response">>
  readonly #donor: CheckpointDonor
  readonly #receiver: CheckpointReceiver

  readonly #heardAt: Float64Array

  constructor(options: ReplicaOptions) {
    assert(SIZES.includes(options.voters), "replica: voters are 1, 3, 5 or 7")
    assert(options.slot >= 0 && options.slot < options.voters, "replica: slot out of range")
    assertClusterLimits(options.limits)
    assertProcessLimits(options.processLimits)
    assert(options.memory.shadow.length === options.stateMachine.arena.length, "replica: shadow as long as the arena")
    this.slot = options.slot
    this.voters = options.voters
    this.faults = (options.voters - 1) / 2
    this.#limits = options.limits
    this.#process = options.processLimits
    this.#machine = options.stateMachine
    this.#digest = options.digest
    this.#random = options.random
    this.#reply = options.memory.reply
    this.#staging = options.memory.staging
    this.#shadow = options.memory.shadow
    this.#token = options.token
    this.log = new Log(options.limits.log_slots, options.memory.log)
    this.#outbox = new Ring(options.processLimits.outbox_max)
    this.#requests = new BodyQueue(options.processLimits.requests_queue_max, options.memory.requests)
    this.#reads = new BodyQueue(options.processLimits.reads_queue_max, options.memory.reads)
    this.#exitVotes = new HeldReplies(options.voters)
    this.#joinViews = new HeldReplies(options.voters)
    this.#probes = new HeldReplies(options.voters)
    this.#responses = new HeldReplies(options.voters)
    const transfer = {
      shadow: options.memory.shadow,
      chunkBytes: options.limits.chunk_bytes,
      digest: options.digest,
    }
    this.#donor = new CheckpointDonor(transfer)
    this.#receiver = new CheckpointReceiver(transfer)
    this.#acked = new Float64Array(options.voters)
    this.#roundAcked = new Float64Array(options.voters)
    this.#claimed = new Float64Array(options.voters)
    this.#heardAt = new Float64Array(options.voters).fill(Number.NEGATIVE_INFINITY)
    this.#viewChangeMs = options.processLimits.view_change_ms
    this.#attemptMs = options.processLimits.retry_ms
    this.#bootNonce = options.random()
    // A blank process carries its nonce under incarnation 0: enough to found a cluster with, nothing to vote with.
    this.#cv = withEntry(blankVector(options.voters), options.slot, makeEntry(0, this.#bootNonce))
    assert(this.#machine.commit() === 0, "replica: a process begins blank")
  }

  get status(): ReplicaStatus {
    return this.#status
  }
  get view(): number {
    return this.#view
  }
  get logView(): number {
    return this.#logView
  }
  /** The youngest op in the log. */
  get op(): number {
    return this.log.op
  }
  get commit(): number {
    return this.#commit
  }
  get cv(): CrashVector {
    return this.#cv
  }
  get incarnation(): number {
    return incarnationOf(entryAt(this.#cv, this.slot))
  }
  get bootNonce(): number {
    return this.#bootNonce
  }
  get primary(): number {
    return this.primaryOf(this.#view)
  }
  get isPrimary(): boolean {
    return this.#status === "normal" && this.primary === this.slot
  }
  get phase(): RecoveryPhase {
    return this.#phase
  }

  primaryOf(view: number): number {
    return view % this.voters
  }

  /** When `slot` was last heard, in the caller's milliseconds; -Infinity for never. */
  heardAt(slot: number): number {
    return slot === this.slot ? this.#now : (this.#heardAt[slot] ?? Number.NEGATIVE_INFINITY)
  }

  /** Live machines beyond a majority, as this replica hears them; meaningful at the primary, whom everybody answers. */
  quorumMargin(): number {
    let live = 0
    for (let slot = 0; slot < this.voters; slot += 1) {
      live += this.#now - this.heardAt(slot) <= 2 * this.#process.primary_silent_ms ? 1 : 0
    }
    return live - (this.faults + 1)
  }

  takeOutgoing(): Outgoing | undefined {
    return this.#outbox.take()
  }

  // ---------------------------------------------------------------- what every message passes

  /** One message from a peer, or a request or read from this machine's own gateway (`from` is the own slot). */
  receive(message: Message): void {
    if (this.#status === "fenced") {
      return
    }
    if (message.type === "request" || message.type === "read") {
      this.#onGatewayMessage(message)
      return
    }
    if (message.from === this.slot || message.from >= this.voters || message.cv.length !== this.voters) {
      this.counters.unexpected_message += 1
      return
    }
    if (!this.#admit(message)) {
      return
    }
    this.#dispatch(message)
    this.#assertInvariants()
  }

  #onGatewayMessage(message: MessageOf<"request"> | MessageOf<"read">): void {
    if (message.from >= this.voters) {
      this.counters.unexpected_message += 1
      return
    }
    if (message.type === "request") {
      this.#onRequest(message)
    } else {
      this.#onRead(message)
    }
    this.#assertInvariants()
  }

  /**
   * Rule 7. False: discard. What a sender's earlier incarnation said must never count again, neither now nor among the
   * replies that are held already; and who learns of a later incarnation of its own slot is fenced.
   */
  #admit(message: Message): boolean {
    const entry = entryAt(message.cv, message.from)
    const isBlank = incarnationOf(entry) === 0
    const isProbing = message.type === "probe" || message.type === "probe_ok"
    // Without an incarnation there is nothing to say but probes, and nothing to hear: what a blank process learned of
    // others' crashes before it is a member could only keep a cluster from being founded.
    if (!isProbing && (isBlank || this.incarnation === 0)) {
      this.counters.unexpected_message += 1
      return false
    }
    if (knowsLater(message.cv, this.#cv, this.slot) && this.incarnation > 0) {
      this.#status = "fenced"
      return false
    }
    if (!isBlank && entry < entryAt(this.#cv, message.from)) {
      this.counters.stale_incarnation += 1
      // The zombie learns of its fencing from our vector; the answer to nonce 0 means nothing else to anyone.
      this.#sendProbeOk(message.from, 0)
      return false
    }
    this.#merge(message.cv)
    this.#heardAt[message.from] = this.#now
    return true
  }

  #merge(theirs: CrashVector): void {
    for (let slot = 0; slot < this.voters; slot += 1) {
      if (slot !== this.slot && knowsLater(theirs, this.#cv, slot)) {
        this.#raise(slot, entryAt(theirs, slot))
      }
    }
  }

  /** A later incarnation of `slot` is known: everything held from an earlier one is dropped (re-prune). */
  #raise(slot: number, entry: number): void {
    assert(entry > entryAt(this.#cv, slot), "replica: a crash vector entry only rises")
    this.#cv = withEntry(this.#cv, slot, entry)
    this.#exitVotes.prune(slot, entry)
    this.#probes.prune(slot, entry)
    this.#responses.prune(slot, entry)
    this.#acked[slot] = 0
    this.#roundAcked[slot] = 0
    if (this.#joinViews.prune(slot, entry) && this.#status === "view_change") {
      // The quorum that chose the log is broken: gather a new one.
      this.#clearTarget()
    }
  }

  #dispatch(message: Message): void {
    switch (message.type) {
      case "probe":
        return this.#onProbe(message)
      case "probe_ok":
        return this.#onProbeOk(message)
      case "prepare":
        return this.#onPrepare(message)
      case "prepare_ok":
        return this.#onPrepareOk(message)
      case "commit":
        return this.#onCommit(message)
      case "commit_ok":
        return this.#onCommitOk(message)
      case "exit_view":
        return this.#onExitView(message)
      case "join_view":
        return this.#onJoinView(message)
      case "view":
        return this.#onView(message)
      case "get_view":
        return this.#onGetView(message)
      case "recovery":
        return this.#onRecovery(message)
      case "recovery_response":
        return this.#onRecoveryResponse(message)
      case "get_log":
        return this.#onGetLog(message)
      case "log":
        return this.#onLog(message)
      case "log_gone":
        return this.#onLogGone(message)
      case "get_checkpoint":
        return this.#onGetCheckpoint(message)
      case "checkpoint_chunk":
        return this.#onCheckpointChunk(message)
      case "request":
      case "read":
      case "reply":
      case "read_reply":
        this.counters.unexpected_message += 1
        return
      default:
        return unreachable(message)
    }
  }

  // ---------------------------------------------------------------- normal operation

  #onRequest(message: MessageOf<"request">): void {
    if (!this.isPrimary || this.#abdicated) {
      return this.#refuse(message, "not_primary")
    }
    if (!this.#isWellFormed(message)) {
      return this.#refuse(message, "invalid")
    }
    if (!this.#isNextOfSession(message)) {
      return
    }
    if (this.#requests.isEmpty() && this.#pipelineHasRoom()) {
      this.#prepare(message, message.body)
    } else if (this.#requests.hasRoom(message.body.length)) {
      const { from, operation, session, request } = message
      this.#requests.add({ from, operation, session, request }, message.body)
    } else {
      this.#refuse(message, "busy")
    }
  }

  /** At most once: true when this is the session's next request. Otherwise it has been answered, or waits already. */
  #isNextOfSession(request: QueuedRequest): boolean {
    if (request.operation !== Operation.batch) {
      return true
    }
    if (this.#machine.sessionState(request.session) !== SessionState.known) {
      // Its register may be in the log that a new primary has not committed yet: then it is too early to tell.
      this.#refuse(request, this.#commit < this.#viewStartOp ? "busy" : "evicted")
      return false
    }
    const last = this.#machine.sessionRequest(request.session)
    if (request.request === last) {
      const bytes = this.#machine.sessionReply(request.session, this.#reply)
      this.#sendReply(request.from, request, "ok", bytes)
      return false
    }
    if (request.request < last) {
      this.#refuse(request, "stale")
      return false
    }
    if (this.#isInFlight(request)) {
      return false
    }
    // Its predecessor was answered by an earlier primary and is not committed here yet.
    if (request.request !== last + 1) {
      this.#refuse(request, "busy")
      return false
    }
    return true
  }

  #isWellFormed(message: MessageOf<"request">): boolean {
    const { body, operation } = message
    if (body.length > this.#limits.batch_bytes_max) {
      return false
    }
    switch (operation) {
      case Operation.register:
        return body.length === CLIENT_ID_BYTES && message.session === 0
      case Operation.batch:
        return message.request >= 1 && this.#machine.isValidBatch(body, 0, body.length)
      case Operation.pulse:
        return false
      default:
        return unreachable(operation)
    }
  }

  /** The same request waits in the queue or the pipeline: the reply, when it comes, goes to who asked last. */
  #isInFlight(message: QueuedRequest): boolean {
    for (let op = this.#commit + 1; op <= this.log.op; op += 1) {
      const header = this.log.header(op)
      if (header?.session === message.session && header.request === message.request) {
        const route = this.#routes.find((other) => other.op === op)
        if (route === undefined) {
          this.#routes.push({ op, from: message.from })
        } else {
          route.from = message.from
        }
        return true
      }
    }
    for (let index = 0; index < this.#requests.count; index += 1) {
      const queued = this.#requests.at(index)
      if (queued?.session === message.session && queued.request === message.request) {
        return true
      }
    }
    return false
  }

  #pipelineHasRoom(): boolean {
    return this.log.op - this.#commit < this.#limits.pipeline_max
  }

  /** Milliseconds of cluster time: the log's last timestamp plus this primary's monotonic time since its view began. */
  #timestamp(): number {
    const elapsed = this.#now - this.#viewStartNow
    const last = this.log.header(this.log.op)?.timestamp ?? this.#machine.timestamp()
    return Math.max(last, this.#viewStartTimestamp + elapsed)
  }

  #prepare(request: QueuedRequest, body: Uint8Array): void {
    assert(this.isPrimary, "replica: only the primary prepares")
    assert(this.#pipelineHasRoom(), "replica: the pipeline is bounded")
    const parent = this.log.checksum(this.log.op)
    assert(parent !== undefined, "replica: the last entry has a checksum")
    const unsigned = {
      view: this.#view,
      op: this.log.op + 1,
      timestamp: this.#timestamp(),
      operation: request.operation,
      session: request.session,
      request: request.request,
      body_bytes: body.length,
      parent,
    }
    const header = { ...unsigned, checksum: this.#headerChecksum(unsigned, body) }
    if (this.log.op === this.#commit) {
      this.#preparedAt = this.#now
    }
    this.log.append(header, body, this.#commit)
    if (request.from >= 0) {
      this.#routes.push({ op: header.op, from: request.from })
    }
    for (let slot = 0; slot < this.voters; slot += 1) {
      if (slot !== this.slot) {
        this.#sendPrepare(slot, header.op)
      }
    }
    this.#acked[this.slot] = header.op
    this.#commitByQuorum()
  }

  #headerChecksum(header: Omit<PrepareHeader, "checksum">, body: Uint8Array): Digest {
    const { view, op, timestamp, operation, session, request, body_bytes, parent } = header
    const prefix = `${view}.${op}.${timestamp}.${operation}.${session}.${request}.${body_bytes}.${parent}`
    return this.#digest(prefix, body, 0, body.length)
  }

  #isIntact(entry: LogEntry): boolean {
    const intact =
      entry.body.length === entry.header.body_bytes &&
      entry.body.length <= this.#limits.batch_bytes_max &&
      this.#headerChecksum(entry.header, entry.body) === entry.header.checksum
    this.counters.corrupt_entry += intact ? 0 : 1
    return intact
  }

  #sendPrepare(to: number, op: number): void {
    const entry = this.log.entry(op)
    assert(entry !== undefined, "replica: an uncommitted entry is held")
    this.#send(to, {
      type: "prepare",
      view: this.#view,
      commit: this.#commit,
      header: entry.header,
      body: entry.body,
      ...this.#envelope(),
    })
  }

  #onPrepare(message: MessageOf<"prepare">): void {
    if (!this.#followsPrimary(message.from, message.view)) {
      return
    }
    const { header, body } = message
    if (header.op <= this.log.op) {
      if (this.#agrees(header.op, header.checksum)) {
        this.#sendPrepareOk()
      }
    } else if (header.op > this.log.op + 1) {
      this.#getLog(message.from, this.log.op + 1, header.op - 1)
    } else if (this.#agrees(this.log.op, header.parent) && this.#isIntact({ header, body })) {
      this.#accept(header, body)
    }
    this.#commitTo(Math.min(message.commit, this.log.op))
  }

  /**
   * A peer's word for the entry at `op` fits what is here, as far as it is here. If not, one of the two has a fault of
   * memory or of code that no checksum of a frame can find: the message is not acted upon, so that nothing spreads.
   */
  #agrees(op: number, checksum: Digest): boolean {
    const held = this.log.checksum(op)
    const agrees = held === undefined || held === checksum
    this.counters.divergent_entry += agrees ? 0 : 1
    return agrees
  }

  /** Rule 10: in order, same view, matching parent. */
  #accept(header: PrepareHeader, body: Uint8Array): void {
    assert(header.op === this.log.op + 1, "replica: entries are accepted in order")
    assert(header.parent === this.log.checksum(this.log.op), "replica: an entry's parent is the entry before it")
    this.log.append(header, body, this.#commit)
    this.#sendPrepareOk()
  }

  /**
   * True when this replica is a backup of exactly this view and the sender its primary. Evidence of a higher view makes
   * it ask for that view's log; its own view rises only when that log is installed (defect D6).
   */
  #followsPrimary(from: number, view: number): boolean {
    if (view < this.#view || from !== this.primaryOf(view)) {
      return false
    }
    if (this.#status === "recovering") {
      if (this.#target !== undefined && view > this.#target.view) {
        this.#beginRecoveryAttempt()
      }
      return false
    }
    if (view > this.#view || this.#status === "view_change") {
      if (this.primaryOf(view) !== this.slot && this.#target === undefined) {
        this.#getView(from, view)
      }
      return false
    }
    if (this.#status !== "normal") {
      return false
    }
    this.#primaryHeardAt = this.#now
    // The view is alive: what was said against it before is void.
    this.#exitVotes.clear()
    return true
  }

  /** Says up to where this replica holds the log of its view: cumulative, so a lost one is repaired by the next. */
  #sendPrepareOk(): void {
    assert(this.#status === "normal" && this.#logView === this.#view, "replica: only a member of the view votes")
    const checksum = this.log.checksum(this.log.op)
    assert(checksum !== undefined, "replica: the last entry has a checksum")
    this.#send(this.primary, {
      type: "prepare_ok",
      view: this.#view,
      op: this.log.op,
      checksum,
      ...this.#envelope(),
    })
  }

  #onPrepareOk(message: MessageOf<"prepare_ok">): void {
    if (!this.isPrimary || message.view !== this.#view || message.op > this.log.op) {
      return
    }
    if (!this.#agrees(message.op, message.checksum)) {
      return
    }
    if (message.op > (this.#acked[message.from] ?? 0)) {
      this.#acked[message.from] = message.op
      this.#preparedAt = this.#now
      this.#commitByQuorum()
    }
  }

  /** Commits what f backups and this primary hold. */
  #commitByQuorum(): void {
    const op = this.#quorumValue(this.#acked)
    if (op > this.#commit) {
      this.#commitTo(op)
      this.#abdicated = this.#abdicated && this.#commit < this.log.op
    }
    this.#drainRequests()
    this.#serveReads()
  }

  /** The largest value that f + 1 slots have reached. */
  #quorumValue(values: Float64Array): number {
    const sorted = Array.from(values).sort((a, b) => b - a)
    return sorted[this.faults] ?? 0
  }

  #drainRequests(): void {
    while (this.isPrimary && !this.#requests.isEmpty() && this.#pipelineHasRoom()) {
      const taken = this.#requests.take()
      assert(taken !== undefined, "replica: a queue that is not empty has a first")
      // It may have been committed or evicted while it waited: judge it again.
      if (this.#isNextOfSession(taken.item)) {
        this.#prepare(taken.item, taken.body)
      }
    }
  }

  /** Applies entries in order up to `op`. Replies leave only from the primary. */
  #commitTo(op: number): void {
    assert(op <= this.log.op, "replica: only what is held can be committed")
    for (let next = this.#commit + 1; next <= op; next += 1) {
      const header = this.log.header(next)
      assert(header !== undefined, "replica: an uncommitted entry is held")
      const start = this.log.bodyOffset(next)
      const bytes = this.#machine.apply(header, this.log.memory, start, start + header.body_bytes, this.#reply)
      assert(this.#machine.commit() === next, "replica: apply advances the state machine by one")
      assert(bytes <= this.#limits.session_reply_bytes_max, "replica: a reply is bounded")
      this.#commit = next
      this.#replyTo(header, bytes)
    }
  }

  #replyTo(header: PrepareHeader, bytes: number): void {
    const index = this.#routes.findIndex((route) => route.op === header.op)
    const route = this.#routes[index]
    if (route !== undefined) {
      this.#routes.splice(index, 1)
      if (this.isPrimary) {
        this.#sendReply(route.from, header, "ok", bytes)
      }
    }
  }

  #sendReply(
    to: number,
    request: { readonly session: number; readonly request: number },
    outcome: RequestOutcome,
    bytes: number,
  ): void {
    this.#send(to, {
      type: "reply",
      session: request.session,
      request: request.request,
      outcome,
      view: this.#view,
      body: this.#reply.slice(0, bytes),
      ...this.#envelope(),
    })
  }

  #refuse(
    request: { readonly from: number; readonly session: number; readonly request: number },
    outcome: Exclude<RequestOutcome, "ok">,
  ): void {
    this.counters.requests_refused += 1
    this.#sendReply(request.from, request, outcome, 0)
  }

  #sendHeartbeat(): void {
    assert(this.isPrimary, "replica: only the primary sends heartbeats")
    this.#round += 1
    this.#roundAcked[this.slot] = this.#round
    this.#heartbeatAt = this.#now
    this.#broadcast({
      type: "commit",
      view: this.#view,
      op: this.log.op,
      commit: this.#commit,
      round: this.#round,
      ...this.#envelope(),
    })
    if (this.faults === 0) {
      this.#confirmRounds()
    }
  }

  #onCommit(message: MessageOf<"commit">): void {
    if (!this.#followsPrimary(message.from, message.view)) {
      return
    }
    this.#send(message.from, { type: "commit_ok", view: this.#view, round: message.round, ...this.#envelope() })
    this.#commitTo(Math.max(this.#commit, Math.min(message.commit, this.log.op)))
    if (message.op > this.log.op) {
      this.#getLog(message.from, this.log.op + 1, message.op)
    }
    if (message.commit < this.log.op) {
      this.#sendPrepareOk()
    }
  }

  // ---------------------------------------------------------------- reads (rule 12)

  #onRead(message: MessageOf<"read">): void {
    const outcome = this.#readRefusal(message)
    if (outcome !== "ok") {
      this.#send(message.from, {
        type: "read_reply",
        read: message.read,
        outcome,
        view: this.#view,
        body: this.#reply.subarray(0, 0),
        ...this.#envelope(),
      })
      return
    }
    // The round must start after the read arrived: a round that is under way does not count.
    const isQuiet = this.#roundConfirmed === this.#round
    this.#reads.add({ from: message.from, read: message.read, round: this.#round + 1 }, message.body)
    if (isQuiet) {
      this.#sendHeartbeat()
    }
  }

  #readRefusal(message: MessageOf<"read">): RequestOutcome {
    if (!this.isPrimary || this.#abdicated) {
      return "not_primary"
    }
    if (!this.#machine.isReadOnlyBatch(message.body, 0, message.body.length)) {
      return "invalid"
    }
    return this.#reads.hasRoom(message.body.length) ? "ok" : "busy"
  }

  #onCommitOk(message: MessageOf<"commit_ok">): void {
    if (!this.isPrimary || message.view !== this.#view || message.round > this.#round) {
      return
    }
    if (message.round > (this.#roundAcked[message.from] ?? 0)) {
      this.#roundAcked[message.from] = message.round
      this.#confirmRounds()
    }
  }

  #confirmRounds(): void {
    const confirmed = this.#quorumValue(this.#roundAcked)
    if (confirmed > this.#roundConfirmed) {
      this.#roundConfirmed = confirmed
      this.#confirmedAt = this.#now
      this.#serveReads()
      if (!this.#reads.isEmpty() && this.#roundConfirmed === this.#round && this.#mayServeReads()) {
        this.#sendHeartbeat()
      }
    }
  }

  /** A new primary's commit number may lie below an acknowledged op until all of its installed log is committed. */
  #mayServeReads(): boolean {
    return this.isPrimary && this.#commit >= this.#viewStartOp
  }

  #serveReads(): void {
    while (this.#mayServeReads()) {
      const next = this.#reads.peek()
      if (next === undefined || next.round > this.#roundConfirmed) {
        return
      }
      const taken = this.#reads.take()
      assert(taken !== undefined, "replica: a queue that is not empty has a first")
      const bytes = this.#machine.read(taken.body, 0, taken.body.length, this.#reply)
      assert(bytes <= this.#limits.read_reply_bytes_max, "replica: a read's reply is bounded")
      this.#send(taken.item.from, {
        type: "read_reply",
        read: taken.item.read,
        outcome: "ok",
        view: this.#view,
        body: this.#reply.slice(0, bytes),
        ...this.#envelope(),
      })
    }
  }

  /** Whoever waits at a replica that is primary no longer is told to look for the new one. */
  #refuseWaiting(): void {
    for (let taken = this.#requests.take(); taken !== undefined; taken = this.#requests.take()) {
      this.#refuse(taken.item, "not_primary")
    }
    for (let taken = this.#reads.take(); taken !== undefined; taken = this.#reads.take()) {
      this.#send(taken.item.from, {
        type: "read_reply",
        read: taken.item.read,
        outcome: "not_primary",
        view: this.#view,
        body: this.#reply.subarray(0, 0),
        ...this.#envelope(),
      })
    }
    this.#routes = []
  }

  // ---------------------------------------------------------------- view change (rules 13 to 15)

  /** Asks to leave the view. One replica's wish is not enough: it stays until f + 1 wish it. */
  #sendExitView(): void {
    if (this.#now - this.#exitSentAt < this.#process.retry_ms) {
      return
    }
    this.#exitSentAt = this.#now
    const message: MessageOf<"exit_view"> = { type: "exit_view", view: this.#view, ...this.#envelope() }
    this.#exitVotes.add(message)
    this.#broadcast(message)
    this.#leaveByQuorum()
  }

  #onExitView(message: MessageOf<"exit_view">): void {
    if (this.#status !== "normal" && this.#status !== "view_change") {
      return
    }
    // Two members that sit in different views would wish in vain: the lower one must first catch up with the higher.
    if (message.view > this.#view) {
      this.#getView(message.from, message.view)
    } else if (message.view < this.#view && this.#status === "normal") {
      this.#sendView(message.from)
    }
    if (message.view !== this.#view) {
      return
    }
    this.#exitVotes.add(message)
    this.#leaveByQuorum()
  }

  #leaveByQuorum(): void {
    if (this.#exitVotes.count >= this.faults + 1) {
      this.#exitVotes.assertCrashConsistent()
      this.#enterViewChange(this.#view + 1)
    }
  }

  #enterViewChange(view: number): void {
    assert(view > this.#view, "replica: views only rise")
    assert(this.#status !== "recovering" && this.#status !== "fenced", "replica: only a member changes views")
    this.#refuseWaiting()
    this.#clearTarget()
    this.#receiver.stop()
    this.counters.view_changes += 1
    this.#viewChangeMs =
      this.#status === "view_change"
        ? Math.min(this.#viewChangeMs * 2, this.#process.view_change_ms_max)
        : this.#process.view_change_ms
    this.#status = "view_change"
    this.#view = view
    this.#abdicated = false
    this.#viewChangeAt = this.#now
    this.#exitSentAt = Number.NEGATIVE_INFINITY
    this.#exitVotes.clear()
    this.#joinViews.clear()
    // One immutable join_view a view: what is repeated later is this very message (rule 14).
    this.#ownJoinView = {
      type: "join_view",
      view,
      log_view: this.#logView,
      op: this.log.op,
      commit: this.#commit,
      headers: this.log.suffix(this.#limits.pipeline_max + 1),
      ...this.#envelope(),
    }
    this.#joinSentAt = this.#now
    this.#broadcast(this.#ownJoinView)
    if (this.primaryOf(view) === this.slot) {
      this.#joinViews.add(this.#ownJoinView)
      this.#chooseLog()
    }
  }

  #onJoinView(message: MessageOf<"join_view">): void {
    if (this.#status === "recovering") {
      if (this.#target !== undefined && message.view > this.#target.view) {
        this.#beginRecoveryAttempt()
      }
      return
    }
    if (message.view > this.#view) {
      this.#enterViewChange(message.view)
    }
    if (message.view < this.#view || this.primaryOf(this.#view) !== this.slot) {
      return
    }
    if (this.#status === "normal") {
      this.#sendView(message.from)
    } else if (this.#status === "view_change" && isSuffix(message)) {
      this.#joinViews.add(message)
      this.#chooseLog()
    }
  }

  /** Rule 15: f + 1 crash-consistent join_views with its own; the log of the highest (log_view, op) is the view's. */
  #chooseLog(): void {
    if (this.#target !== undefined || this.#joinViews.count < this.faults + 1) {
      return
    }
    const own = this.#joinViews.at(this.slot)
    if (own === undefined) {
      return
    }
    this.#joinViews.assertCrashConsistent()
    let best = own
    let commit = own.commit
    for (const join of this.#joinViews.all()) {
      commit = Math.max(commit, join.commit)
      if (join.log_view > best.log_view || (join.log_view === best.log_view && join.op > best.op)) {
        best = join
      }
    }
    assert(commit <= best.op, "replica: what anyone committed is in the chosen log")
    this.#startInstall({ view: this.#view, op: best.op, commit, headers: best.headers, donor: best.from })
  }

  #sendView(to: number): void {
    assert(this.#status === "normal" && this.#logView === this.#view, "replica: only a member shows its view's log")
    this.#send(to, {
      type: "view",
      view: this.#view,
      op: this.log.op,
      commit: this.#commit,
      headers: this.log.suffix(this.#limits.pipeline_max + 1),
      ...this.#envelope(),
    })
  }

  #getView(to: number, view: number): void {
    if (this.#now - this.#getViewAt >= this.#process.retry_ms) {
      this.#getViewAt = this.#now
      this.#send(to, { type: "get_view", view, ...this.#envelope() })
    }
  }

  #onGetView(message: MessageOf<"get_view">): void {
    if (this.#status === "normal" && this.#view >= message.view) {
      this.#sendView(message.from)
    }
  }

  #onView(message: MessageOf<"view">): void {
    if (this.#status === "recovering" || message.view < this.#view || !isSuffix(message)) {
      return
    }
    if (message.view === this.#view && this.#status !== "view_change") {
      return
    }
    // A view that this incarnation did not start, with this slot as its primary, cannot be joined: it must be left.
    if (this.primaryOf(message.view) === this.slot) {
      return
    }
    if (this.#target !== undefined && this.#target.view >= message.view) {
      return
    }
    this.#clearTarget()
    if (message.view > this.#view) {
      this.#refuseWaiting()
      this.#status = "state_transfer"
    }
    const { view, op, commit, headers, from } = message
    this.#startInstall({ view, op, commit, headers, donor: from })
  }

  // ---------------------------------------------------------------- installing a log (rules 15, 19, 23)

  #clearTarget(): void {
    this.#target = undefined
    this.#staged = []
    this.#stagedBytes = 0
  }

  #startInstall(target: InstallTarget): void {
    assert(this.#target === undefined, "replica: one log is installed at a time")
    this.#target = target
    this.#staged = []
    this.#stagedBytes = 0
    this.#targetAskedAt = Number.NEGATIVE_INFINITY
    this.#targetProgressAt = this.#now
    this.#continueInstall()
  }

  /** Installs as soon as everything is in hand; until then asks for what is missing. */
  #continueInstall(): void {
    const target = this.#target
    if (target === undefined || this.#receiver.active) {
      return
    }
    const missing = this.#missingOp(target)
    if (target.op < this.#commit || this.#contradicts(target)) {
      this.#abandonTarget()
    } else if (missing === 0) {
      this.#install(target)
    } else if (this.#now - this.#targetAskedAt >= this.#process.retry_ms) {
      this.#targetAskedAt = this.#now
      const last = Math.min(target.op, missing + this.#limits.pipeline_max - 1)
      if (target.donor !== this.slot) {
        this.#send(target.donor, { type: "get_log", op_first: missing, op_last: last, ...this.#envelope() })
      }
    }
  }

  /** A checkpoint went further than the log that was to be installed: a later view must exist, so look for it. */
  #abandonTarget(): void {
    this.#clearTarget()
    if (this.#status === "recovering") {
      this.#beginRecoveryAttempt()
    }
  }

  /** While it was fetched, a later view committed another entry than the one that this log has. */
  #contradicts(target: InstallTarget): boolean {
    const header = target.headers[this.#commit - (target.op - target.headers.length + 1)]
    return header !== undefined && header.checksum !== this.log.checksum(this.#commit)
  }

  /** The first op that is neither here nor staged; 0 when none. Ops below the headers are committed ones. */
  #missingOp(target: InstallTarget): number {
    const first = target.op - target.headers.length + 1
    if (this.#commit < first - 1) {
      return this.#commit + 1
    }
    for (const header of target.headers) {
      const isHere = header.op <= this.#commit || this.log.checksum(header.op) === header.checksum
      if (!isHere && !this.#staged.some((staged) => staged.op === header.op)) {
        return header.op
      }
    }
    return 0
  }

  /** The target's log becomes this replica's, in one step: nothing of the old log was dropped before. */
  #install(target: InstallTarget): void {
    assert(target.view >= this.#view, "replica: a log of an earlier view is never installed")
    assert(target.op >= this.#commit, "replica: the committed prefix is in every later log")
    for (const header of target.headers) {
      if (this.log.checksum(header.op) === header.checksum) {
        continue
      }
      if (header.op <= this.#commit) {
        assert(this.log.checksum(header.op) === undefined, "replica: the committed prefix never changes")
        continue
      }
      const staged = this.#staged.find((other) => other.op === header.op)
      assert(staged !== undefined, "replica: every body is in hand before the log is installed")
      if (this.log.op >= header.op) {
        this.log.truncateAfter(header.op - 1)
      }
      this.log.append(header, this.#staging.subarray(staged.start, staged.start + staged.bytes), this.#commit)
    }
    if (this.log.op > target.op) {
      this.log.truncateAfter(target.op)
    }
    assert(this.log.op === target.op, "replica: the installed log ends where the target does")
    const wasRecovering = this.#status === "recovering"
    this.#clearTarget()
    this.#view = target.view
    this.#logView = target.view
    this.#becomeNormal()
    this.#commitTo(Math.max(this.#commit, Math.min(target.commit, this.log.op)))
    assert(this.log.op - this.#commit <= this.#limits.pipeline_max, "replica: at most a pipeline is uncommitted")
    if (wasRecovering) {
      this.counters.recoveries += 1
    }
    if (this.isPrimary) {
      this.#beginAsPrimary()
    } else {
      this.#sendPrepareOk()
    }
  }

  #becomeNormal(): void {
    this.#status = "normal"
    this.#primaryHeardAt = this.#now
    this.#viewChangeMs = this.#process.view_change_ms
    this.#ownJoinView = undefined
    this.#joinViews.clear()
    this.#exitVotes.clear()
    this.#exitSentAt = Number.NEGATIVE_INFINITY
    this.#getLogAt = Number.NEGATIVE_INFINITY
    this.#routes = []
    this.#abdicated = false
  }

  #beginAsPrimary(): void {
    assert(this.isPrimary && this.#logView === this.#view, "replica: a primary has its view's log")
    this.#viewStartOp = this.log.op
    this.#viewStartNow = this.#now
    this.#viewStartTimestamp = this.log.header(this.log.op)?.timestamp ?? this.#machine.timestamp()
    this.#acked.fill(0)
    this.#acked[this.slot] = this.log.op
    this.#roundAcked.fill(0)
    this.#roundConfirmed = this.#round
    this.#preparedAt = this.#now
    this.#confirmedAt = this.#now
    for (let slot = 0; slot < this.voters; slot += 1) {
      if (slot !== this.slot) {
        this.#sendView(slot)
      }
    }
    this.#commitByQuorum()
    this.#sendHeartbeat()
  }

  #getLog(from: number, first: number, last: number): void {
    if (this.#now - this.#getLogAt < this.#process.retry_ms) {
      return
    }
    this.#getLogAt = this.#now
    const opLast = Math.min(last, first + this.#limits.pipeline_max - 1)
    this.#send(from, { type: "get_log", op_first: first, op_last: opLast, ...this.#envelope() })
  }

  #onGetLog(message: MessageOf<"get_log">): void {
    if (this.#status === "recovering" || message.op_first < 1) {
      return
    }
    if (message.op_first < this.log.first) {
      this.#send(message.from, { type: "log_gone", op: message.op_first, ...this.#envelope() })
      return
    }
    const last = Math.min(message.op_last, message.op_first + this.#limits.pipeline_max - 1, this.log.op)
    // Committed entries of a later view may lie in a log that is still called after an earlier one.
    const view = this.#status === "normal" ? this.#logView : VIEW_NONE
    for (let op = message.op_first; op <= last; op += 1) {
      const entry = this.log.entry(op)
      assert(entry !== undefined, "replica: ops between first and op are held")
      this.#send(message.from, {
        type: "log",
        view,
        commit: this.#commit,
        entry,
        ...this.#envelope(),
      })
    }
  }

  #onLog(message: MessageOf<"log">): void {
    const { header, body } = message.entry
    if (this.#target !== undefined) {
      this.#onTargetEntry(this.#target, message)
      return
    }
    const isNext = this.#status === "normal" && !this.isPrimary && message.view === this.#view
    if (!isNext || message.from !== this.primary || header.op !== this.log.op + 1) {
      return
    }
    if (!this.#agrees(this.log.op, header.parent) || !this.#isIntact({ header, body })) {
      return
    }
    this.#accept(header, body)
    this.#commitTo(Math.max(this.#commit, Math.min(message.commit, this.log.op)))
    // More was missing than one answer holds: ask on without waiting for the next heartbeat.
    this.#getLogAt = Number.NEGATIVE_INFINITY
  }

  #onTargetEntry(target: InstallTarget, message: MessageOf<"log">): void {
    const { header, body } = message.entry
    const first = target.op - target.headers.length + 1
    if (header.op < first) {
      const isNext = header.op === this.#commit + 1 && header.op <= message.commit
      if (isNext && this.#agrees(this.#commit, header.parent) && this.#isIntact({ header, body })) {
        this.#installCommitted(header, body)
        this.#targetProgressAt = this.#now
        this.#askOnAfter(target, header.op)
      }
      return
    }
    const wanted = target.headers[header.op - first]
    const isWanted = wanted?.checksum === header.checksum && header.op > this.#commit
    if (!isWanted || this.#staged.some((staged) => staged.op === header.op)) {
      return
    }
    if (this.log.checksum(header.op) !== header.checksum && this.#isIntact({ header, body })) {
      assert(this.#stagedBytes + body.length <= this.#staging.length, "replica: staging holds a whole pipeline")
      this.#staging.set(body, this.#stagedBytes)
      this.#staged.push({ op: header.op, start: this.#stagedBytes, bytes: body.length })
      this.#stagedBytes += body.length
      this.#targetProgressAt = this.#now
      this.#askOnAfter(target, header.op)
    }
  }

  /** Continues when an answer is complete, so that a long catch-up does not wait a retry for each piece. */
  #askOnAfter(target: InstallTarget, op: number): void {
    const missing = this.#missingOp(target)
    if (missing === 0 || (missing === op + 1 && op % this.#limits.pipeline_max === 0)) {
      this.#targetAskedAt = Number.NEGATIVE_INFINITY
    }
    this.#continueInstall()
  }

  /**
   * A committed entry is right in every later log, so it may be put in place in any view. Where it differs from what is
   * here, all that hangs on what is here was never committed and goes.
   */
  #installCommitted(header: PrepareHeader, body: Uint8Array): void {
    assert(header.op === this.#commit + 1, "replica: committed entries are installed in order")
    assert(header.parent === this.log.checksum(this.#commit), "replica: the committed prefix never changes")
    if (this.log.checksum(header.op) !== header.checksum) {
      this.log.truncateAfter(this.#commit)
      this.log.append(header, body, this.#commit)
    }
    this.#commitTo(header.op)
  }

  // ---------------------------------------------------------------- checkpoints: too far behind for the log

  #onLogGone(message: MessageOf<"log_gone">): void {
    const isWaiting = this.#target?.donor === message.from || (this.#status === "normal" && !this.isPrimary)
    if (!isWaiting || this.#receiver.active || message.op !== this.#nextNeededOp()) {
      return
    }
    if (this.#target === undefined) {
      this.#status = "state_transfer"
    }
    this.#startTransfer(message.from)
  }

  #nextNeededOp(): number {
    return this.#target === undefined ? this.log.op + 1 : this.#missingOp(this.#target)
  }

  #startTransfer(donor: number): void {
    this.#donor.release()
    this.#receiver.start({ donor, nonce: this.#freshNonce(), now: this.#now })
    this.#askChunks()
  }

  #askChunks(): void {
    const options = {
      now: this.#now,
      retryMs: 4 * this.#process.retry_ms,
      inFlightMax: this.#process.chunks_in_flight_max,
    }
    for (let asked = 0; asked < options.inFlightMax; asked += 1) {
      const chunk = this.#receiver.nextWanted(options)
      if (chunk < 0) {
        return
      }
      this.#send(this.#receiver.donor, {
        type: "get_checkpoint",
        nonce: this.#receiver.nonce,
        chunk,
        ...this.#envelope(),
      })
    }
  }

  #onGetCheckpoint(message: MessageOf<"get_checkpoint">): void {
    const { from, nonce, chunk } = message
    const silentMs = this.#process.transfer_silent_ms
    if (this.#status === "recovering" || this.#receiver.active) {
      return
    }
    if (!this.#donor.holds(from, nonce)) {
      if (this.#donor.isBusy({ to: from, now: this.#now, silentMs })) {
        return
      }
      const opChecksum = this.log.checksum(this.#commit)
      assert(opChecksum !== undefined, "replica: the last committed entry has a checksum")
      this.#donor.freeze({ to: from, nonce, op: this.#commit, opChecksum, arena: this.#machine.arena })
    }
    if (chunk < Math.max(this.#donor.chunkCount, 1)) {
      const piece = this.#donor.chunk(chunk, this.#now)
      this.#send(from, { type: "checkpoint_chunk", nonce, ...piece, ...this.#envelope() })
    }
  }

  #onCheckpointChunk(message: MessageOf<"checkpoint_chunk">): void {
    if (!this.#receiver.accept(message, this.#now)) {
      return
    }
    if (this.#receiver.left > 0) {
      this.#askChunks()
      return
    }
    this.#receiver.stop()
    this.#installCheckpoint(this.#receiver.op, this.#receiver.opChecksum)
  }

  #installCheckpoint(op: number, checksum: Digest): void {
    if (op > this.#commit) {
      this.#machine.arena.set(this.#shadow)
      // Bytes that passed every digest and are still no arena of ours: a bug, not a fault of the network.
      assert(this.#machine.restored(), "replica: a transferred arena is an arena")
      assert(this.#machine.commit() === op, "replica: a transferred arena is at the op that was said")
      this.log.rebase(op, checksum)
      this.#commit = op
      this.counters.checkpoints_received += 1
    }
    if (this.#status === "recovering" && this.#phase === "checkpoint") {
      this.#phase = "recovery"
      this.#attemptMs = this.#process.retry_ms
      this.#beginRecoveryAttempt()
    } else if (this.#target !== undefined) {
      this.#targetAskedAt = Number.NEGATIVE_INFINITY
      this.#targetProgressAt = this.#now
      this.#continueInstall()
    } else if (this.#status === "state_transfer") {
      this.#resumeView()
    }
  }

  /** A backup that fell out of the ring is back: same view, same log, only longer. */
  #resumeView(): void {
    assert(this.#logView === this.#view, "replica: a checkpoint changes no view")
    this.#becomeNormal()
    this.#sendPrepareOk()
  }

  // ---------------------------------------------------------------- formation and recovery (rules 2 to 4, 18 to 20)

  #freshNonce(): number {
    // 53 random bits: what a number holds without loss.
    return (this.#random() % 0x20_0000) * 0x1_0000_0000 + this.#random()
  }

  #probeStatus(): ProbeStatus {
    if (this.#status !== "recovering") {
      return "operational"
    }
    return this.incarnation === 0 && this.#token !== "" ? "blank" : "recovering"
  }

  #sendProbeOk(to: number, nonce: number): void {
    this.#send(to, {
      type: "probe_ok",
      nonce,
      status: this.#probeStatus(),
      token: this.#token,
      claimed: Math.max(this.#claimed[to] ?? 0, incarnationOf(entryAt(this.#cv, to))),
      ...this.#envelope(),
    })
  }

  #onProbe(message: MessageOf<"probe">): void {
    this.#claimed[message.from] = Math.max(this.#claimed[message.from] ?? 0, message.claim)
    this.#sendProbeOk(message.from, message.nonce)
  }

  #onProbeOk(message: MessageOf<"probe_ok">): void {
    const isAsked = this.#status === "recovering" && this.#phase === "probe" && message.nonce === this.#attemptNonce
    if (!isAsked) {
      return
    }
    this.#probes.add(message)
    if (this.#mayForm()) {
      this.#form()
    } else if (this.#mayEnterFormed(message)) {
      this.#enterFormed(message)
    } else {
      this.#chooseIncarnation()
    }
  }

  /** Rule 3: all N report blank, in answer to this process's probe, under one token. */
  #mayForm(): boolean {
    if (this.#token === "" || this.#probes.count !== this.voters - 1) {
      return false
    }
    return this.#probes.all().every((probe) => probe.status === "blank" && probe.token === this.#token)
  }

  #form(): void {
    let cv = withEntry(this.#cv, this.slot, makeEntry(1, this.#bootNonce))
    for (const probe of this.#probes.all()) {
      const entry = entryAt(probe.cv, probe.from)
      assert(incarnationOf(entry) === 0, "replica: a blank process has no incarnation")
      cv = withEntry(cv, probe.from, Math.max(makeEntry(1, entry), entryAt(cv, probe.from)))
    }
    this.#enterView0(cv)
  }

  /**
   * A peer has formed the cluster with this very process among the blank ones (it knows this boot's nonce), so this
   * process has promised nothing that it could have forgotten: it enters as the member that it was counted as.
   */
  #mayEnterFormed(message: MessageOf<"probe_ok">): boolean {
    const own = entryAt(message.cv, this.slot)
    return (
      message.status === "operational" &&
      this.#token !== "" &&
      message.token === this.#token &&
      own === makeEntry(1, this.#bootNonce)
    )
  }

  #enterFormed(message: MessageOf<"probe_ok">): void {
    let cv = this.#cv
    for (let slot = 0; slot < this.voters; slot += 1) {
      if (slot !== this.slot && knowsLater(message.cv, cv, slot)) {
        cv = withEntry(cv, slot, entryAt(message.cv, slot))
      }
    }
    this.#enterView0(withEntry(cv, this.slot, makeEntry(1, this.#bootNonce)))
  }

  #enterView0(cv: CrashVector): void {
    assert(this.#status === "recovering" && this.log.op === 0, "replica: a cluster is formed of blank machines")
    this.#cv = cv
    this.#probes.clear()
    this.#becomeNormal()
    if (this.isPrimary) {
      this.#beginAsPrimary()
    }
  }

  /**
   * Rule 4: one above the highest incarnation that f + 1 operational peers know of this slot, and taken only when f + 1
   * have heard that it will be. Otherwise a process that died young, having told its incarnation to one peer, could
   * share it with its successor, and by the chance of a higher nonce outrank it: what the successor had acknowledged
   * would be pruned as a dead machine's, a second loss where only one machine failed.
   */
  #chooseIncarnation(): void {
    const operational = this.#probes.all().filter((probe) => probe.status === "operational")
    if (operational.length < this.faults + 1) {
      return
    }
    let highest = 0
    for (const probe of operational) {
      highest = Math.max(highest, incarnationOf(entryAt(probe.cv, this.slot)), probe.claimed)
    }
    assert(highest < INCARNATION_MAX, "replica: incarnations are used up; found a new generation")
    if (this.#claim === 0 || highest > this.#claim) {
      this.#claim = highest + 1
      this.#sendProbe()
      return
    }
    this.#cv = withEntry(this.#cv, this.slot, makeEntry(this.#claim, this.#bootNonce))
    this.#phase = "checkpoint"
    this.#attemptMs = this.#process.retry_ms
    this.#startTransfer(operational[this.#random() % operational.length]?.from ?? 0)
  }

  #sendProbe(): void {
    this.#attemptNonce = this.#freshNonce()
    this.#probes.clear()
    this.#broadcast({
      type: "probe",
      nonce: this.#attemptNonce,
      claim: this.#claim,
      token: this.#token,
      ...this.#envelope(),
    })
  }

  /** Rule 20: every attempt has a nonce of its own; answers to an earlier one are ignored. */
  #beginRecoveryAttempt(): void {
    assert(this.#status === "recovering" && this.incarnation > 0, "replica: recovery begins with an incarnation")
    this.#clearTarget()
    this.#receiver.stop()
    this.#phase = "recovery"
    this.#responses.clear()
    this.#attemptNonce = this.#freshNonce()
    this.#attemptAt = this.#now
    this.#broadcast({ type: "recovery", nonce: this.#attemptNonce, ...this.#envelope() })
  }

  #onRecovery(message: MessageOf<"recovery">): void {
    // The requester's vector was merged before this answer carries ours (rule 9).
    assert(entryAt(this.#cv, message.from) >= entryAt(message.cv, message.from), "replica: merge before answering")
    if (this.#status !== "normal") {
      return
    }
    this.#send(message.from, {
      type: "recovery_response",
      nonce: message.nonce,
      view: this.#view,
      op: this.log.op,
      commit: this.#commit,
      headers: this.isPrimary ? this.log.suffix(this.#limits.pipeline_max + 1) : [],
      ...this.#envelope(),
    })
  }

  #onRecoveryResponse(message: MessageOf<"recovery_response">): void {
    if (this.#status !== "recovering" || this.#phase !== "recovery" || message.nonce !== this.#attemptNonce) {
      return
    }
    this.#responses.add(message)
    this.#recoverByQuorum()
  }

  /** Rule 19: f + 1 crash-consistent answers from others, the primary of the highest view among them. */
  #recoverByQuorum(): void {
    if (this.#responses.count < this.faults + 1) {
      return
    }
    const responses = this.#responses.all()
    const view = Math.max(...responses.map((response) => response.view))
    const primary = this.#responses.at(this.primaryOf(view))
    if (primary === undefined || primary.view !== view || !isSuffix(primary) || primary.op < this.#commit) {
      return
    }
    this.#responses.assertCrashConsistent()
    this.#phase = "install"
    this.#startInstall({ view, op: primary.op, commit: primary.commit, headers: primary.headers, donor: primary.from })
  }

  // ---------------------------------------------------------------- time

  /** Lets time pass. `nowMs` is monotonic; nothing here reads a clock. */
  tick(nowMs: number): void {
    assert(nowMs >= this.#now, "replica: time only rises")
    this.#now = nowMs
    switch (this.#status) {
      case "recovering":
        this.#tickRecovering()
        break
      case "normal":
        this.#tickNormal()
        break
      case "view_change":
        this.#tickViewChange()
        break
      case "state_transfer":
        this.#tickStateTransfer()
        break
      case "fenced":
        return
      default:
        return unreachable(this.#status)
    }
    this.#assertInvariants()
  }

  #tickRecovering(): void {
    if (this.#receiver.active) {
      this.#tickTransfer()
      return
    }
    if (this.#now - this.#attemptAt < this.#attemptMs) {
      this.#continueInstall()
      return
    }
    // An installation that makes progress is left alone.
    if (this.#phase === "install" && this.#now - this.#targetProgressAt < this.#process.transfer_silent_ms) {
      this.#continueInstall()
      return
    }
    this.#attemptAt = this.#now
    // A probe is small and whom it waits for may come up any moment: machines that boot together must not sleep long.
    const attemptMsMax = this.#phase === "probe" ? this.#process.primary_silent_ms : this.#process.retry_ms_max
    this.#attemptMs = Math.min(this.#attemptMs * 2, attemptMsMax)
    if (this.#phase === "probe") {
      if (this.voters === 1 && this.#token !== "") {
        this.#form()
      } else {
        this.#sendProbe()
      }
    } else if (this.#phase === "checkpoint") {
      this.#startTransfer(this.#anotherSlot())
    } else {
      this.#beginRecoveryAttempt()
    }
  }

  #anotherSlot(): number {
    return (this.slot + 1 + (this.#random() % Math.max(this.voters - 1, 1))) % this.voters
  }

  #tickTransfer(): void {
    if (this.#now - this.#receiver.progressAt >= this.#process.transfer_silent_ms) {
      this.#startTransfer(this.#anotherSlot())
    } else {
      this.#askChunks()
    }
  }

  #tickNormal(): void {
    if (this.isPrimary) {
      this.#tickPrimary()
    } else if (this.#now - this.#primaryHeardAt >= this.#process.primary_silent_ms) {
      this.#sendExitView()
    }
  }

  #tickPrimary(): void {
    if (this.log.op === this.#commit) {
      this.#preparedAt = this.#now
    }
    if (this.#reads.isEmpty()) {
      this.#confirmedAt = this.#now
    }
    // Rule 17: whom no backup answers says so by falling silent until the view ends, and lets go of those who wait.
    const silentMs = this.#now - Math.min(this.#preparedAt, this.#confirmedAt)
    if (this.#abdicated || silentMs >= this.#process.abdicate_ms) {
      if (!this.#abdicated) {
        this.#abdicated = true
        this.#refuseWaiting()
      }
      this.#sendExitView()
      return
    }
    if (this.#now - this.#heartbeatAt >= this.#process.heartbeat_ms) {
      this.#sendHeartbeat()
    }
    if (this.log.op > this.#commit && this.#now - this.#resentAt >= this.#process.retry_ms) {
      this.#resentAt = this.#now
      this.#resendPrepares()
    }
    if (this.#machine.nextDeadline() <= this.#timestamp() && this.#pipelineHasRoom() && !this.#isPulseInFlight()) {
      this.#prepare({ from: -1, operation: Operation.pulse, session: 0, request: 0 }, this.#reply.subarray(0, 0))
    }
  }

  #resendPrepares(): void {
    for (let slot = 0; slot < this.voters; slot += 1) {
      if (slot === this.slot) {
        continue
      }
      const acked = this.#acked[slot] ?? 0
      for (let op = Math.max(acked, this.#commit) + 1; op <= this.log.op; op += 1) {
        this.#sendPrepare(slot, op)
      }
    }
  }

  #isPulseInFlight(): boolean {
    for (let op = this.#commit + 1; op <= this.log.op; op += 1) {
      if (this.log.header(op)?.operation === Operation.pulse) {
        return true
      }
    }
    return false
  }

  #tickViewChange(): void {
    if (this.#receiver.active) {
      this.#tickTransfer()
    }
    this.#continueInstall()
    if (this.#status !== "view_change") {
      return
    }
    if (this.#ownJoinView !== undefined && this.#now - this.#joinSentAt >= this.#process.retry_ms) {
      this.#joinSentAt = this.#now
      this.#broadcast({ ...this.#ownJoinView, cv: this.#cv })
    }
    if (this.#target !== undefined && this.#now - this.#targetProgressAt >= this.#process.transfer_silent_ms) {
      this.#target.donor = this.#anotherSlot()
    }
    // Progress of any kind counts: who is fetching a log or a checkpoint is not stuck.
    const startedAt = Math.max(
      this.#viewChangeAt,
      this.#target === undefined ? 0 : this.#targetProgressAt,
      this.#receiver.active ? this.#receiver.progressAt : 0,
    )
    if (this.#now - startedAt >= this.#viewChangeMs) {
      this.#sendExitView()
    }
  }

  #tickStateTransfer(): void {
    if (this.#receiver.active) {
      this.#tickTransfer()
      return
    }
    this.#continueInstall()
    if (this.#target !== undefined && this.#now - this.#targetProgressAt >= this.#process.transfer_silent_ms) {
      // The view may be gone by now: forget the target and ask everybody for what is current.
      const view = this.#target.view
      this.#clearTarget()
      this.#broadcast({ type: "get_view", view, ...this.#envelope() })
    } else if (this.#target === undefined && this.#now - this.#getViewAt >= this.#process.retry_ms) {
      this.#getViewAt = this.#now
      this.#broadcast({ type: "get_view", view: this.#view, ...this.#envelope() })
    }
  }

  // ---------------------------------------------------------------- sending

  #envelope(): { readonly from: number; readonly cv: CrashVector } {
    return { from: this.slot, cv: this.#cv }
  }

  #send(to: number, message: Message): void {
    assert(to >= 0 && to < this.voters, "replica: a message goes to a slot")
    if (this.#outbox.isFull()) {
      // The network may lose messages anyway: the protocol repeats what matters.
      this.counters.outbox_dropped += 1
      return
    }
    this.#outbox.add({ to, message })
  }

  #broadcast(message: Message): void {
    for (let slot = 0; slot < this.voters; slot += 1) {
      if (slot !== this.slot) {
        this.#send(slot, message)
      }
    }
  }

  /** Checked after every event: O(1), and each line has been true since the process began. */
  #assertInvariants(): void {
    assert(this.#commit <= this.log.op, "replica: commit number is at most the op number")
    assert(this.log.first <= this.#commit + 1, "replica: every uncommitted entry is held")
    assert(this.#logView <= this.#view, "replica: a log is never of a later view than its replica")
    assert(this.#machine.commit() === this.#commit, "replica: the state machine is at the commit number")
    assert(this.#status !== "normal" || this.#logView === this.#view, "replica: a member has its view's log")
    assert(this.#status !== "normal" || this.incarnation > 0, "replica: a member has an incarnation")
    assert(this.#target === undefined || this.#status !== "normal", "replica: a member installs nothing")
  }
}

/** Bytes of the id with which a gateway registers a session. */
const CLIENT_ID_BYTES = 16

/** True when headers are an unbroken chain that ends at `op` and reaches down to what is committed. */
function isSuffix(message: {
  readonly op: number
  readonly commit: number
  readonly headers: readonly PrepareHeader[]
}): boolean {
  const { headers, op, commit } = message
  const first = op - headers.length + 1
  if (commit > op || first > commit + 1) {
    return false
  }
  return headers.every((header, index) => {
    const parent = index === 0 ? header.parent : headers[index - 1]?.checksum
    return header.op === first + index && header.parent === parent && (header.op !== 1 || parent === ROOT_CHECKSUM)
  })
}
