/**
 * One replica of Viewstamped Replication for machines that forget: a pure state machine, message in, messages out. The
 * caller owns the network and the clock: it calls `receive` and `tick`, then drains `takeOutgoing`.
 *
 * The protocol is Viewstamped Replication Revisited (Liskov and Cowling, 2012; VRR) with four changes, each of which
 * repairs a way to lose an acknowledged write when no machine has a disk:
 *   - crash vectors on every message, and only crash-consistent quorums (Michael et al., DISC'17);
 *   - a view is left only by a quorum of exit_view, or on evidence of a higher view (rule 13);
 *   - state transfer never drops an entry before its replacement is in hand (rule 23);
 *   - a blank machine recovers with a fresh nonce and never votes until it has (rules 16, 19, 20).
 *
 * Membership changes by epochs (VRR, section 7): configuration.ts says who votes, and a reconfigure op ends an epoch.
 *
 * Order of reading: receive() and #admit() (what every message passes), normal operation, reads, view change,
 * installing a log, formation and recovery, epochs, standbys, tick(). Plane: control.
 */
import { assert, unreachable } from "../types/assert.ts"
import {
  type Digest,
  type DigestFunction,
  GENERATION_STARTED_BYTES,
  Operation,
  type RandomU32,
  SessionState,
  WALL_CLOCK_BYTES,
  WALL_CLOCK_STEP_MS_MAX,
} from "../types/contracts.ts"
import type { StateMachine } from "../types/contracts.ts"
import type { FingerprintSink } from "../types/fingerprint.ts"
import { GROWS_TO_NONE } from "../types/growth.ts"
import {
  assertClusterLimits,
  assertProcessLimits,
  INCARNATION_MAX,
  inFlightMax,
  limitsFingerprint,
} from "../types/limits.ts"
import type { ClusterLimits, ProcessLimits } from "../types/limits.ts"
import { err, ok, type Result } from "../types/result.ts"
import { Ring } from "../types/ring.ts"
import { BodyQueue } from "./body_queue.ts"
import { CheckpointReceiver, type Wanted } from "./checkpoint_transfer.ts"
import { type Checkpoint, Checkpoints } from "./checkpoints.ts"
import {
  type Configuration,
  configurationFault,
  decodeConfiguration,
  encodeConfiguration,
  faultsOf,
  foundingConfiguration,
  type Member,
  memberAt,
  votes,
} from "./configuration.ts"
import { blankVector, entryAt, incarnationOf, knowsLater, makeEntry, nonceOf, withEntry } from "./crash_vector.ts"
import { HeldReplies } from "./held_replies.ts"
import { Log, ROOT_CHECKSUM } from "./log.ts"
import type {
  CrashVector,
  Halt,
  LogEntry,
  Message,
  MessageOf,
  MessageType,
  Outgoing,
  PrepareHeader,
  ProbeStatus,
  ReconfigureOutcome,
  RequestOutcome,
} from "./message.ts"
import { VIEW_NONE } from "./message.ts"
import type { ReplicaMemory } from "./replica_memory.ts"
import { type Piece, StateImage } from "./state_image.ts"

/**
 * `recovering`: lacks what its epoch began with, votes for nothing (rules 2, 16). `normal`: part of its view, with a
 * vote or as a standby. `view_change`: has left a view and waits for the next. `state_transfer`: fetches what it
 * lacks, votes for nothing. `fenced`: a later incarnation of this slot lives, so this process must end (rule 28).
 * `quarantined`: its memory was wrong too often, so this machine must end (rule 22c). `outgrown`: its epoch has ended
 * and the next has larger limits; it holds all that was committed, hands it on, and does no more.
 */
export type ReplicaStatus =
  | "recovering"
  | "normal"
  | "view_change"
  | "state_transfer"
  | "fenced"
  | "quarantined"
  | "outgrown"

/** With what a process that has grown enters the epoch of the larger limits. */
export type GrownStart = {
  readonly configuration: Configuration
  /** Checksum of the op that ended the epoch before. */
  readonly checksum: Digest
  /** It stays the process that it was. */
  readonly boot_nonce: number
  readonly counters: ReplicaCounters
  /** The caller's clock. */
  readonly now: number
}

export type ReplicaOptions = {
  /** This machine's slot, 0 to slots_max - 1. Only the first `voters` of them may found a cluster. */
  readonly slot: number
  /** Voters that the cluster is founded with: 1, 3, 5 or 7 (rule 6). */
  readonly voters: number
  /** Rises with every restore and promotion; what belongs to another generation is never heard (rule 3). */
  readonly generation: number
  /** 32 hexadecimal digits that allow this process to found the cluster together with all others; "" only recovers. */
  readonly token: string
  readonly limits: ClusterLimits
  readonly processLimits: ProcessLimits
  readonly stateMachine: StateMachine
  readonly memory: ReplicaMemory
  readonly digest: DigestFunction
  readonly random: RandomU32
  /** Fingerprint of the larger limits that this process has room for; absent or 0 for none. */
  readonly growsTo?: number
}

/** Counts of what was refused or lost on the way; for metrics and for tests that ask whether a fault was reached. */
export type ReplicaCounters = {
  stale_incarnation: number
  wrong_epoch: number
  corrupt_entry: number
  /** Never but for a bug or a memory fault: a peer's entry of our view that is not ours. */
  divergent_entry: number
  unexpected_message: number
  outbox_dropped: number
  requests_refused: number
  /** Times that a batch waited because a live backup lagged by more than half the log ring. */
  paced: number
  view_changes: number
  recoveries: number
  checkpoints_received: number
  /** Pages of checkpoints that came from others, and those that came with other bytes than their digest says. */
  pages_received: number
  pages_spoilt: number
  checkpoints_certified: number
  /** Times that a checkpoint was handed out before it was certified, since nothing else could be had. */
  checkpoints_local: number
  /** Times that this machine found its own memory to be wrong (rules 22a, 22b). */
  memory_faults: number
}

/** What was last found wrong: a page, a root that others do not share, or the digests of an image's pages. */
export type MemoryFault = { readonly kind: "page" | "root" | "table"; readonly page: number; readonly at: number }

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

/**
 * What a replica that lacks something is about. A blank one: `probe` (who is there), `checkpoint` (copy the state),
 * then with a vote `recovery` (ask a quorum) and `install` (take the primary's log). Who is let into an epoch:
 * `epoch` (take what the epoch before committed). Who has no vote, or was overtaken on its way into an epoch: `view`
 * (take a member's log).
 */
type RecoveryPhase = "probe" | "checkpoint" | "recovery" | "install" | "epoch" | "view"

/** A machine without a vote that lets itself be sent what is prepared. */
export type Follower = {
  readonly slot: number
  readonly nonce: number
  /** How far it says it is. */
  readonly op: number
  readonly heard_at: number
  /** The larger limits that its process has room for. */
  readonly grows_to: number
  /** Up to where, and in which round, it has confirmed this primary's log. */
  readonly confirmed_op: number
  readonly confirmed_round: number
}

/** An operator's change: first it waits until all its members hold `barrier`, then, as op `op`, for its commit. */
type PendingChange = {
  readonly message: MessageOf<"reconfigure">
  readonly since: number
  readonly barrier: number
  /** 0 while it waits for its members. */
  readonly op: number
}

/** A replica that begins with the state of an export, as the only voter of a generation that begins with it. */
export type RestoredStart = {
  /** Greater than that of every generation which the state was part of. */
  readonly generation: number
  /** Of the image that lies in the arena: its root was compared before. */
  readonly checksum: Digest
  readonly now: number
}

/** Why a machine has no piece of a certified image to give: nobody need be told more than to ask again. */
export type ImageRefusal = "no_state" | "copied" | "not_certified" | "not_whole"

export type PromoteOutcome = "ok" | "not_synchronous" | "not_ready"

/** What a machine without a vote may say: it asks for state, hands it on, and speaks of epochs. */
const SPOKEN_WITHOUT_VOTE: ReadonlySet<MessageType> = new Set<MessageType>([
  "get_view",
  "get_log",
  "log",
  "log_gone",
  "get_checkpoint",
  "checkpoint_chunk",
  "checkpoint_gone",
  "checkpoint_ok",
  "standby_ok",
  "new_epoch",
])

export class Replica {
  readonly slot: number
  readonly log: Log
  readonly counters: ReplicaCounters = {
    stale_incarnation: 0,
    wrong_epoch: 0,
    corrupt_entry: 0,
    divergent_entry: 0,
    unexpected_message: 0,
    outbox_dropped: 0,
    requests_refused: 0,
    paced: 0,
    view_changes: 0,
    recoveries: 0,
    checkpoints_received: 0,
    pages_received: 0,
    pages_spoilt: 0,
    checkpoints_certified: 0,
    checkpoints_local: 0,
    memory_faults: 0,
  }

  readonly #limits: ClusterLimits
  readonly #process: ProcessLimits
  readonly #machine: StateMachine
  readonly #digest: DigestFunction
  readonly #random: RandomU32
  readonly #reply: Uint8Array
  readonly #staging: Uint8Array
  readonly #outbox: Ring<Outgoing>

  #status: ReplicaStatus = "recovering"
  /** Voters of the founding configuration: whom a blank process founds a cluster with. */
  readonly #founders: number
  #configuration: Configuration
  /** Derived from the configuration. */
  #isVoter: boolean
  /** The other voters' slots. */
  #peers: readonly number[]
  #faults: number
  /** An epoch that the op just committed begins; entered when the event at hand is done. */
  #due: Configuration | undefined
  /** Who of the epoch's voters has said that it votes (rule 27). */
  readonly #started: Uint8Array
  #epochToldAt = Number.NEGATIVE_INFINITY
  /** When each slot was last told of this epoch. */
  readonly #toldAt: Float64Array
  #change: PendingChange | undefined
  #view = 0
  /** The view whose log this is: rises only when a log is installed (defect D6). */
  #logView = 0
  #commit = 0
  #cv: CrashVector
  readonly #bootNonce: number
  /** Fingerprints of this process's limits, and of those that it has room for. */
  readonly #limitsFingerprint: number
  readonly #growsTo: number
  readonly #token: string
  #now = 0

  /* Primary */
  readonly #acked: Float64Array
  readonly #ackedAt: Float64Array
  /** 1: was within half a log ring of this primary, so that it is waited for when it lags (rule 11). */
  readonly #isKept: Uint8Array
  /** How often each slot has asked for this primary's log without ever coming within half a ring, and when last. */
  readonly #catchUps: Uint32Array
  readonly #catchUpAt: Float64Array
  readonly #roundAcked: Float64Array
  readonly #followers: (Follower | undefined)[]
  #pacedAt = Number.NEGATIVE_INFINITY
  /** The operator has said that the synchronous standby is off: the reconfiguration in flight needs no word of it. */
  #dropsStandby = false
  #isStandbyMissing = false
  /** The image whose digests were wrong after the last round of the scrub; -1 for none. */
  #tableDoubtedOp = -1
  /** Since when a checkpoint has been disputed, and whether that is so long ago that nobody is to be kept waiting. */
  #disputedAt = Number.POSITIVE_INFINITY
  #isMemoryDisputed = false
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
  /** Within #drainRequests: false between events. */
  #isDraining = false
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
  /** As a standby: the last round heard, and when it last said that it follows. */
  #roundHeard = 0
  #followedAt = Number.NEGATIVE_INFINITY
  #getViewAt = Number.NEGATIVE_INFINITY
  #getLogAt = Number.NEGATIVE_INFINITY

  /* Installing a log */
  #target: InstallTarget | undefined
  #staged: StagedBody[] = []
  #stagedBytes = 0
  #targetAskedAt = 0
  /** The last op that was asked for, and the bytes that have come since. */
  #askedLast = 0
  #askedBytes = 0
  #targetProgressAt = 0

  /* Recovery and transfer */
  /** A machine without a vote has found its cluster. */
  #isFollowing = false
  /** The incarnation that this process means to take; 0 before it knows of one. */
  #claim = 0
  /** The last question of each other founder, while this process is blank. */
  readonly #askedNonce: Float64Array
  /** The highest incarnation that a process of each slot has said that it will take. */
  readonly #claimed: Float64Array
  #phase: RecoveryPhase = "probe"
  #attemptNonce = -1
  #attemptAt = Number.NEGATIVE_INFINITY
  #attemptMs: number
  readonly #probes: HeldReplies<MessageOf<"probe_ok">>
  readonly #responses: HeldReplies<MessageOf<"recovery_response">>
  readonly #receiver: CheckpointReceiver

  /* Checkpoints (rule 22) */
  readonly #image: StateImage
  readonly #checkpoints: Checkpoints
  /**
   * The arena is not what the log says: it is being overwritten by a transfer, or was found to be wrong. Nothing is
   * applied, read, answered or handed out from it until a checkpoint is here whole. Log and promises are not concerned.
   */
  #isTorn = false
  #memoryFault: MemoryFault | undefined
  /** As the primary: when the last was prepared, or its view began. */
  #checkpointAt = 0
  #checkpointSaidAt = Number.NEGATIVE_INFINITY
  /** When somebody last copied from here, and since when somebody asks in vain. */
  #readAt = Number.NEGATIVE_INFINITY
  #refusedSince = Number.POSITIVE_INFINITY
  /** When each slot last asked for a piece of the state, or to be let back in: until then it certifies nothing. */
  readonly #copiesAt: Float64Array
  /** As the primary: checkpoints in a row during which somebody copied, here or, by their word, elsewhere. */
  #readRounds = 0
  #isReadElsewhere = false

  readonly #heardAt: Float64Array

  /** Blank; or, with `start`, as a member of the epoch with which its state machine has grown, or was restored. */
  constructor(options: ReplicaOptions, start?: GrownStart | RestoredStart) {
    const slots = options.limits.slots_max
    assert(options.voters <= slots, "replica: a slot for each founder")
    assert(options.slot >= 0 && options.slot < slots, "replica: slot out of range")
    assertClusterLimits(options.limits)
    assertProcessLimits(options.processLimits)
    this.slot = options.slot
    this.#founders = options.voters
    this.#configuration = foundingConfiguration(options.generation, options.voters)
    this.#isVoter = votes(this.#configuration, options.slot)
    this.#peers = []
    this.#faults = faultsOf(this.#configuration)
    this.#limits = options.limits
    this.#process = options.processLimits
    this.#machine = options.stateMachine
    this.#digest = options.digest
    this.#random = options.random
    this.#reply = options.memory.reply
    this.#staging = options.memory.staging
    this.#token = options.token
    this.log = new Log(options.memory.logHeaders, options.memory.log)
    this.#outbox = new Ring(options.processLimits.outbox_max)
    this.#requests = new BodyQueue(options.processLimits.requests_queue_max, options.memory.requests)
    this.#reads = new BodyQueue(options.processLimits.reads_queue_max, options.memory.reads)
    this.#exitVotes = new HeldReplies(slots)
    this.#joinViews = new HeldReplies(slots)
    this.#probes = new HeldReplies(slots)
    this.#responses = new HeldReplies(slots)
    const { pages } = options.stateMachine
    const { digest } = options
    const chunkBytes = options.limits.chunk_bytes
    this.#receiver = new CheckpointReceiver({ pages, chunkBytes, digest })
    this.#image = new StateImage({ pages, chunkBytes, digest, chunk: options.memory.chunk })
    this.#checkpoints = new Checkpoints(slots, { op: 0, root: this.#image.root ?? "" })
    this.#acked = new Float64Array(slots)
    this.#ackedAt = new Float64Array(slots).fill(Number.NEGATIVE_INFINITY)
    this.#isKept = new Uint8Array(slots)
    this.#catchUps = new Uint32Array(slots)
    this.#catchUpAt = new Float64Array(slots).fill(Number.NEGATIVE_INFINITY)
    this.#roundAcked = new Float64Array(slots)
    this.#followers = new Array<Follower | undefined>(slots).fill(undefined)
    this.#started = new Uint8Array(slots)
    this.#toldAt = new Float64Array(slots).fill(Number.NEGATIVE_INFINITY)
    this.#askedNonce = new Float64Array(slots)
    this.#copiesAt = new Float64Array(slots).fill(Number.NEGATIVE_INFINITY)
    this.#claimed = new Float64Array(slots)
    this.#heardAt = new Float64Array(slots).fill(Number.NEGATIVE_INFINITY)
    this.#viewChangeMs = options.processLimits.view_change_ms
    this.#attemptMs = options.processLimits.retry_ms
    this.#bootNonce = start !== undefined && "boot_nonce" in start ? start.boot_nonce : options.random()
    this.#limitsFingerprint = limitsFingerprint(options.limits)
    this.#growsTo = options.growsTo ?? GROWS_TO_NONE
    // A blank process carries its nonce under incarnation 0: enough to found a cluster with, nothing to vote with.
    this.#cv = withEntry(blankVector(slots), options.slot, makeEntry(0, this.#bootNonce))
    this.#configure(this.#configuration)
    if (start === undefined) {
      assert(this.#machine.commit() === 0, "replica: a process begins blank")
    } else if ("boot_nonce" in start) {
      this.#enterGrown(start)
    } else {
      this.#enterRestored(start)
    }
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
  get configuration(): Configuration {
    return this.#configuration
  }
  get epoch(): number {
    return this.#configuration.epoch
  }
  get generation(): number {
    return this.#configuration.generation
  }
  /** How many vote in this epoch. */
  get voters(): number {
    return this.#configuration.voters.length
  }
  /** f of the paper: how many voters may be down. */
  get faults(): number {
    return this.#faults
  }
  /** Whether this machine votes in its epoch; else it stands by. */
  get isVoter(): boolean {
    return this.#isVoter
  }
  /** The only voter, and its synchronous standby is silent: nothing is answered (rule 6). */
  get isStandbyMissing(): boolean {
    return this.#isStandbyMissing
  }
  /** Two machines' memories have differed for a while: nothing is answered (rule 22b). */
  get isMemoryDisputed(): boolean {
    return this.#isMemoryDisputed
  }
  /** How many of the epoch's voters vote already, as far as this replica has heard. */
  get votersStarted(): number {
    return this.#started.reduce((sum, started) => sum + started, 0)
  }
  /**
   * CheckEpoch of VRR, section 7: the epoch can do without the machines that it has replaced. Where it has larger
   * limits, only those can tell a new member what it still lacks, so that all of them must be in.
   */
  get isEpochSafe(): boolean {
    const needed = this.#configuration.grown_to === GROWS_TO_NONE ? this.#faults + 1 : this.voters
    return this.votersStarted >= needed
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
  /** The newest checkpoint that a majority of voters agrees on. */
  get certifiedOp(): number {
    return this.#checkpoints.certified.op
  }
  get certifiedRoot(): Digest {
    return this.#checkpoints.certified.root
  }
  /** The arena is not to be believed at this moment. */
  get isTorn(): boolean {
    return this.#isTorn
  }
  get memoryFault(): MemoryFault | undefined {
    return this.#memoryFault
  }
  /** The last checkpoint whose root `slot` has reported or, for this machine's own slot, knows of its arena. */
  checkpointOf(slot: number): Checkpoint | undefined {
    return slot === this.slot ? this.#checkpoints.own : this.#checkpoints.reportOf(slot)
  }
  /**
   * A voter, or the standby that vouches for this one, has another root for a checkpoint of which none is certified:
   * one of two memories is wrong, and nobody knows which (rule 22b).
   */
  get isCheckpointDisputed(): boolean {
    for (const slot of this.#peers) {
      if (this.#checkpoints.contradicts(slot)) {
        return true
      }
    }
    const { standbys, synchronous } = this.#configuration
    // An operator who drops the standby believes this machine.
    const witness = synchronous && !this.#dropsStandby ? standbys[0] : undefined
    return witness !== undefined && this.#checkpoints.contradicts(witness.slot)
  }
  /** Nothing is prepared until a later checkpoint is certified (rule 21). */
  get isRingFull(): boolean {
    return !this.#ringHasRoom()
  }
  /** Fingerprint of the larger limits that this process has room for; 0 for none. */
  get growsTo(): number {
    return this.#growsTo
  }
  /** The epoch has larger limits than this replica: it is none of its members, whatever its slot. */
  get isOutgrown(): boolean {
    return this.#isOutgrown()
  }
  /** This process, of an epoch that has ended, has room for the next: what it enters that with once it has grown. */
  get grownStart(): GrownStart | undefined {
    const { op, grown_to: grownTo } = this.#configuration
    if (this.#status !== "outgrown" || grownTo !== this.#growsTo) {
      return undefined
    }
    const checksum = this.log.checksum(op)
    assert(checksum !== undefined && op === this.#commit, "replica: who was outgrown holds all of its epoch")
    // Another process of a voter's slot has begun blank, and has not come so far.
    const isNamed = !this.#isVoter || memberAt(this.#configuration, this.slot)?.nonce === this.#bootNonce
    assert(isNamed, "replica: the epoch names this process")
    const { counters } = this
    return { configuration: this.#configuration, checksum, boot_nonce: this.#bootNonce, counters, now: this.#now }
  }
  /** What this machine copies: `op` is -1 until the donor has said whose pages they are. */
  get copying(): { readonly from: number; readonly op: number; readonly pages_left: number } | undefined {
    const { active, donor: from, op, pagesLeft } = this.#receiver
    return active ? { from, op, pages_left: pagesLeft } : undefined
  }

  primaryOf(view: number): number {
    const { voters } = this.#configuration
    const member = voters[view % voters.length]
    assert(member !== undefined, "replica: a configuration has voters")
    return member.slot
  }

  /** Machines without a vote that follow, as this primary hears them. */
  followers(): Follower[] {
    return this.#followers.filter((follower) => follower !== undefined).filter((known) => this.#isFresh(known.heard_at))
  }

  /** When `slot` was last heard, in the caller's milliseconds; -Infinity for never. */
  heardAt(slot: number): number {
    return slot === this.slot ? this.#now : (this.#heardAt[slot] ?? Number.NEGATIVE_INFINITY)
  }

  /** Live machines beyond a majority, as this replica hears them; meaningful at the primary, whom everybody answers. */
  quorumMargin(): number {
    let live = this.#isVoter ? 1 : 0
    for (const slot of this.#peers) {
      live += this.#isFresh(this.heardAt(slot)) ? 1 : 0
    }
    return live - (this.#faults + 1)
  }

  /** Ops by which the slowest live backup lags, at the primary: against log_slots, the margin of rule 21. */
  backupLag(): number {
    let lag = 0
    for (const slot of this.isPrimary ? this.#peers : []) {
      const isLive = this.#now - (this.#ackedAt[slot] ?? 0) <= this.#process.live_ms
      lag = isLive ? Math.max(lag, this.log.op - (this.#acked[slot] ?? 0)) : lag
    }
    return lag
  }

  /** Ops by which `slot` lags behind this primary's log; undefined where that is not known. */
  lagOf(slot: number): number | undefined {
    if (!this.isPrimary) {
      return undefined
    }
    const follower = this.#followers[slot]
    const isVoter = votes(this.#configuration, slot)
    const heardAt = isVoter ? this.heardAt(slot) : (follower?.heard_at ?? Number.NEGATIVE_INFINITY)
    const op = isVoter ? this.#acked[slot] : follower?.op
    return op === undefined || !this.#isFresh(heardAt) ? undefined : Math.max(0, this.log.op - op)
  }

  #isFresh(heardAt: number): boolean {
    return this.#now - heardAt <= 2 * this.#process.primary_silent_ms
  }

  takeOutgoing(): Outgoing | undefined {
    return this.#outbox.take()
  }

  // ---------------------------------------------------------------- what every message passes

  /** One message from a peer, or a request or read from this machine's own gateway (`from` is the own slot). */
  receive(message: Message): void {
    if (this.#status === "fenced" || this.#status === "quarantined") {
      return
    }
    const slots = this.#limits.slots_max
    if (message.type === "request" || message.type === "read" || message.type === "reconfigure") {
      if (message.from < slots) {
        this.#onAsked(message)
      } else {
        this.counters.unexpected_message += 1
      }
    } else if (message.from === this.slot || message.from >= slots || message.cv.length !== slots) {
      this.counters.unexpected_message += 1
    } else if (this.#admit(message)) {
      this.#dispatch(message)
    }
    this.#settle()
  }

  /**
   * What a gateway or an operator asks, at this machine or through another one: of no epoch, and no part of a quorum.
   */
  #onAsked(message: MessageOf<"request"> | MessageOf<"read"> | MessageOf<"reconfigure">): void {
    switch (message.type) {
      case "request":
        return this.#onRequest(message)
      case "read":
        return this.#onRead(message)
      case "reconfigure":
        return this.#onReconfigure(message)
      default:
        return unreachable(message)
    }
  }

  /** The end of every event. */
  #settle(): void {
    if (this.#due !== undefined && this.#status !== "fenced" && this.#status !== "quarantined") {
      this.#beginDueEpoch(this.#due)
    }
    this.#assertInvariants()
  }

  /**
   * Rules 1 and 7. False: discard. What a sender's earlier incarnation said must never count again, neither now nor
   * among the replies that are held already; and who learns of a later incarnation of its own slot is fenced. Vectors
   * and views of another epoch say nothing about this one.
   */
  #admit(message: Message): boolean {
    const isProbing = message.type === "probe" || message.type === "probe_ok"
    if (!this.#isListening()) {
      // What a blank process learned of others' crashes before it is a member could only keep a cluster from being
      // founded.
      this.counters.unexpected_message += isProbing ? 0 : 1
      return isProbing
    }
    if (message.epoch !== this.epoch) {
      if (!isProbing) {
        this.#onOtherEpoch(message)
      }
      return isProbing
    }
    const entry = entryAt(message.cv, message.from)
    const isBlank = incarnationOf(entry) === 0
    const isOfVoter = votes(this.#configuration, message.from)
    // A machine without a vote has no incarnation: one that has is a voter elsewhere, after a promotion for instance.
    const isHeard = isOfVoter ? !isBlank : isBlank && SPOKEN_WITHOUT_VOTE.has(message.type)
    if (!isProbing && !isHeard) {
      this.counters.unexpected_message += 1
      return false
    }
    if (!isOfVoter && !isBlank) {
      return true
    }
    if (knowsLater(message.cv, this.#cv, this.slot)) {
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
    if (!isProbing) {
      this.#heardAt[message.from] = this.#now
    }
    return true
  }

  /** False: a process without an incarnation or a cluster to follow; it has nothing to hear or to say but probes. */
  #isListening(): boolean {
    return this.incarnation > 0 || this.#isFollowing
  }

  #merge(theirs: CrashVector): void {
    for (let slot = 0; slot < this.#limits.slots_max; slot += 1) {
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
    this.#ackedAt[slot] = Number.NEGATIVE_INFINITY
    this.#isKept[slot] = 0
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
      case "checkpoint_gone":
        return this.#onCheckpointGone(message)
      case "checkpoint_ok":
        return this.#onCheckpointOk(message)
      case "standby_ok":
        return this.#onStandbyOk(message)
      case "new_epoch":
        return this.#onNewEpoch(message)
      case "epoch_started":
        return this.#onEpochStarted(message)
      case "request":
      case "read":
      case "reconfigure":
      case "reply":
      case "read_reply":
      case "reconfigure_reply":
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
    const halt = this.#halt()
    if (halt !== undefined) {
      return this.#refuse(message, halt)
    }
    if (this.isCheckpointDisputed) {
      // Not even what was done is said: it would be one memory's word, and another's is that it is wrong.
      return this.#refuse(message, "busy")
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
      case Operation.reconfigure:
      case Operation.wall_clock:
      case Operation.checkpoint:
      case Operation.generation_started:
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
    const isFree = this.log.op - this.#commit < this.#limits.pipeline_max && !this.#isSealed()
    return isFree && this.#ringHasRoom() && !this.#isPaced()
  }

  /**
   * Rule 21: what is not covered by a certified checkpoint stays in the ring. What no load may hold up still fits, and
   * so does the waste of a body at the ring's end, which is not the same on every machine.
   */
  #ringHasRoom(): boolean {
    const { log_bytes: bytes, batch_bytes_max: batch } = this.#limits
    return this.#ringHasSlot() && this.log.bytesSince(this.#checkpoints.certified.op) + 2 * batch <= bytes
  }

  /**
   * Beside the next checkpoint, and an operator's change with its barrier. What comes again and again as time passes
   * needs one too, though no body: else it would use up the ring when nothing is certified for long.
   */
  #ringHasSlot(): boolean {
    const { log_slots: slots, control_slots: control } = this.#limits
    return this.log.op - this.#checkpoints.certified.op < slots - control - 1
  }

  /** Rule 11: what no load may hold up has places of its own. */
  #hasControlSlot(): boolean {
    return this.log.op - this.#commit < inFlightMax(this.#limits) && !this.#isSealed()
  }

  /** The epoch's last op is in the log: nothing may follow it (VRR, section 7.1). */
  #isSealed(): boolean {
    return this.log.op > this.#configuration.op && this.log.header(this.log.op)?.operation === Operation.reconfigure
  }

  /**
   * Rule 11: while a live backup lags by more than half the ring, batches go out at a pace, so that it can catch up.
   * It is slowed for, not waited for: who still falls out of the ring takes a checkpoint.
   */
  #isPaced(): boolean {
    if (this.#now - this.#pacedAt >= this.#process.pace_ms || !this.#isHalfRingBehind()) {
      return false
    }
    this.counters.paced += 1
    return true
  }

  #isHalfRingBehind(): boolean {
    if (this.#readRounds >= CATCH_UPS_UNPACED && (this.#isReadElsewhere || this.#isBeingRead())) {
      return true
    }
    for (let slot = 0; slot < this.#catchUps.length; slot += 1) {
      const isTrying = this.#now - (this.#catchUpAt[slot] ?? 0) <= this.#process.transfer_silent_ms
      if (isTrying && (this.#catchUps[slot] ?? 0) >= CATCH_UPS_UNPACED) {
        return true
      }
    }
    for (const slot of this.#peers) {
      const isLive = this.#now - (this.#ackedAt[slot] ?? 0) <= this.#process.live_ms
      if (isLive && this.#isKept[slot] === 1 && this.log.isHalfRingBehind(this.#acked[slot] ?? 0)) {
        return true
      }
    }
    for (const follower of this.#followers) {
      const isLive = follower !== undefined && this.#now - follower.heard_at <= this.#process.live_ms
      if (isLive && this.#isKept[follower.slot] === 1 && this.log.isHalfRingBehind(follower.op)) {
        return true
      }
    }
    return false
  }

  /** A machine that recovers or has just begun to follow is not waited for until it is within half a ring. */
  #keep(slot: number, op: number): void {
    if (!this.log.isHalfRingBehind(op)) {
      this.#isKept[slot] = 1
      this.#catchUps[slot] = 0
    }
  }

  /** Rule 21: a copy of the state that comes too late again and again is slowed for, whatever the load. */
  #noteCatchUp(slot: number): void {
    if (this.isPrimary) {
      this.#catchUps[slot] = (this.#catchUps[slot] ?? 0) + 1
      this.#catchUpAt[slot] = this.#now
    }
  }

  /** Milliseconds of cluster time: the log's last timestamp plus this primary's monotonic time since its view began. */
  #timestamp(): number {
    const elapsed = this.#now - this.#viewStartNow
    const last = this.log.header(this.log.op)?.timestamp ?? this.#machine.timestamp()
    return Math.max(last, this.#viewStartTimestamp + elapsed)
  }

  #prepare(request: QueuedRequest, body: Uint8Array): void {
    assert(this.isPrimary, "replica: only the primary prepares")
    assert(this.#hasControlSlot(), "replica: what is in flight is bounded, and nothing follows an epoch's last op")
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
      // Pulses begin no pause: where keys expire all the time there would be no end to it.
      this.#pacedAt = this.#now
    }
    for (const slot of this.#peers) {
      this.#sendPrepare(slot, header.op)
    }
    for (const follower of this.#followers) {
      if (follower !== undefined && this.#isFresh(follower.heard_at)) {
        this.#sendPrepare(follower.slot, header.op)
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
    } else if (!this.#isSealed() && this.#agrees(this.log.op, header.parent) && this.#isIntact({ header, body })) {
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
      this.#onLaterView(view)
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

  /** While it was fetching the log of a view, this replica hears of a later one: that one's log is what it needs. */
  #onLaterView(view: number): void {
    if (this.#target === undefined || view <= this.#target.view) {
      return
    }
    if (this.#phase === "install") {
      this.#beginRecoveryAttempt()
    } else if (this.#phase === "view") {
      this.#clearTarget()
    }
  }

  /** Says up to where this replica holds the log of its view: cumulative, so a lost one is repaired by the next. */
  #sendPrepareOk(): void {
    if (!this.#isVoter) {
      return this.#sendStandbyOk(this.primary)
    }
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
    this.#ackedAt[message.from] = this.#now
    this.#keep(message.from, message.op)
    if (message.op > (this.#acked[message.from] ?? 0)) {
      this.#acked[message.from] = message.op
      this.#preparedAt = this.#now
      this.#commitByQuorum()
      this.#continueChange()
    }
  }

  /** Commits what f backups and this primary hold, and the synchronous standby where there is one. */
  #commitByQuorum(): void {
    if (this.#isTorn) {
      return
    }
    const standby = this.#synchronousStandby()
    const op = Math.min(this.#quorumValue(this.#acked), standby?.confirmed_op ?? Number.POSITIVE_INFINITY)
    if (op > this.#commit) {
      this.#commitTo(op)
      this.#abdicated = this.#abdicated && this.#commit < this.log.op
    }
    this.#considerCheckpoint()
    this.#drainRequests()
    this.#serveReads()
  }

  /** The largest value that f + 1 voters have reached. */
  #quorumValue(values: Float64Array): number {
    let best = 0
    for (const candidate of this.#configuration.voters) {
      const value = values[candidate.slot] ?? 0
      let reached = 0
      for (const voter of this.#configuration.voters) {
        reached += (values[voter.slot] ?? 0) >= value ? 1 : 0
      }
      if (value > best && reached >= this.#faults + 1) {
        best = value
      }
    }
    return best
  }

  /**
   * At most a pipeline at a time, and not within itself: a voter alone commits what it prepares at once, and would
   * come back to its clock only when its queue is empty.
   */
  #drainRequests(): void {
    if (this.#isDraining) {
      return
    }
    this.#isDraining = true
    for (let count = 0; count < this.#limits.pipeline_max; count += 1) {
      if (!this.isPrimary || this.isCheckpointDisputed || this.#requests.isEmpty() || !this.#pipelineHasRoom()) {
        break
      }
      const taken = this.#requests.take()
      assert(taken !== undefined, "replica: a queue that is not empty has a first")
      // It may have been committed or evicted while it waited: judge it again.
      if (this.#isNextOfSession(taken.item)) {
        this.#prepare(taken.item, taken.body)
      }
    }
    this.#isDraining = false
  }

  /** Applies entries in order up to `op`. Replies leave only from the primary. */
  #commitTo(op: number): void {
    assert(op <= this.log.op, "replica: only what is held can be committed")
    assert(!this.#isTorn || op <= this.#commit, "replica: nothing is applied to an arena that is not believed")
    for (let next = this.#commit + 1; next <= op; next += 1) {
      const header = this.log.header(next)
      assert(header !== undefined, "replica: an uncommitted entry is held")
      const bytes = this.#apply(header)
      this.#commit = next
      this.#replyTo(header, bytes)
      if (header.operation === Operation.reconfigure) {
        this.#noteEpoch()
      }
    }
  }

  /** Bytes of the reply, which lies in #reply. */
  #apply(header: PrepareHeader): number {
    const start = this.log.bodyOffset(header.op)
    const bytes = this.#machine.apply(header, this.log.memory, start, start + header.body_bytes, this.#reply)
    assert(this.#machine.commit() === header.op, "replica: apply advances the state machine by one")
    assert(bytes <= this.#limits.session_reply_bytes_max, "replica: a reply is bounded")
    if (header.operation === Operation.checkpoint) {
      this.#image.note(header.op, header.checksum)
    }
    return bytes
  }

  #replyTo(header: PrepareHeader, bytes: number): void {
    const index = this.#routes.findIndex((route) => route.op === header.op)
    const route = this.#routes[index]
    if (route !== undefined) {
      this.#routes.splice(index, 1)
      // Every command answers with a byte at least: a batch without any found its session evicted, and did nothing.
      const outcome = header.operation === Operation.batch && bytes === 0 ? "evicted" : "ok"
      // While memories differ, what is prepared is still committed: who copied a later state has no word on this
      // checkpoint, and gives it on the next. Nobody is told what came of it.
      if (this.isPrimary && !this.isCheckpointDisputed) {
        this.#sendReply(route.from, header, outcome, bytes)
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
    const message: Message = {
      type: "commit",
      view: this.#view,
      op: this.log.op,
      commit: this.#commit,
      round: this.#round,
      ...this.#envelope(),
    }
    this.#broadcast(message)
    for (const follower of this.#followers) {
      if (follower !== undefined && this.#isFresh(follower.heard_at)) {
        this.#send(follower.slot, message)
      }
    }
    if (this.#faults === 0) {
      this.#confirmRounds()
    }
  }

  #onCommit(message: MessageOf<"commit">): void {
    if (!this.#followsPrimary(message.from, message.view)) {
      return
    }
    this.#roundHeard = message.round
    if (this.#isVoter) {
      this.#send(message.from, { type: "commit_ok", view: this.#view, round: message.round, ...this.#envelope() })
    } else {
      this.#sendStandbyOk(message.from)
    }
    this.#commitTo(Math.max(this.#commit, Math.min(message.commit, this.log.op)))
    if (message.op > this.log.op) {
      this.#getLog(message.from, this.log.op + 1, message.op)
    }
    if (message.commit < this.log.op && this.#isVoter) {
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
    const halt = this.#halt()
    if (halt !== undefined) {
      return halt
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
    const standby = this.#synchronousStandby()
    const confirmed = Math.min(
      this.#quorumValue(this.#roundAcked),
      standby?.confirmed_round ?? Number.POSITIVE_INFINITY,
    )
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
    const isDoubtful = this.#isTorn || this.isCheckpointDisputed
    return this.isPrimary && this.#commit >= this.#viewStartOp && !this.#isStandbyMissing && !isDoubtful
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

  /** Why this primary answers nobody, though no other could. */
  #halt(): Halt | undefined {
    if (this.#isStandbyMissing) {
      return "standby_missing"
    }
    return this.#isMemoryDisputed ? "memory_disputed" : undefined
  }

  /** Whoever waits at a replica that may not answer now is told why. */
  #refuseWaiting(outcome: "not_primary" | Halt = "not_primary"): void {
    for (let taken = this.#requests.take(); taken !== undefined; taken = this.#requests.take()) {
      this.#refuse(taken.item, outcome)
    }
    for (let taken = this.#reads.take(); taken !== undefined; taken = this.#reads.take()) {
      this.#send(taken.item.from, {
        type: "read_reply",
        read: taken.item.read,
        outcome,
        view: this.#view,
        body: this.#reply.subarray(0, 0),
        ...this.#envelope(),
      })
    }
    this.#routes = []
    // Once the change is in the log nobody here can say what becomes of it: the operator looks at the epoch.
    if (this.#change?.op === 0) {
      this.#replyToChange(this.#change.message, "not_primary")
    }
    this.#change = undefined
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
    if (!this.#isVoter || (this.#status !== "normal" && this.#status !== "view_change")) {
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
    if (this.#exitVotes.count >= this.#faults + 1) {
      this.#exitVotes.assertCrashConsistent()
      this.#enterViewChange(this.#view + 1)
    }
  }

  #enterViewChange(view: number): void {
    assert(view > this.#view, "replica: views only rise")
    assert(this.#status !== "recovering" && this.#status !== "fenced", "replica: only a member changes views")
    assert(this.#isVoter, "replica: only a voter changes views")
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
      headers: this.log.suffix(inFlightMax(this.#limits) + 1),
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
      this.#onLaterView(message.view)
    }
    if (!this.#isVoter || (this.#status === "recovering" && !this.#mayJoinOvertaken())) {
      return
    }
    if (message.view > this.#view) {
      if (this.#status === "recovering") {
        this.#becomeMember()
      }
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

  /**
   * A voter that was let into the epoch and overtaken before it entered: if the others change views meanwhile, nobody
   * can show it a view's log. It has promised nothing in the epoch, so whatever was committed in it, a majority of
   * voters without it holds: with what it knows to be committed, as the log of view 0, it may join them.
   */
  #mayJoinOvertaken(): boolean {
    return this.#phase === "view" && this.#target === undefined && !this.#receiver.active && !this.#isTorn
  }

  #becomeMember(): void {
    assert(this.#isVoter && this.#logView === 0, "replica: who was overtaken has no view's log")
    this.log.truncateAfter(this.#commit)
    this.#status = "state_transfer"
    this.#startVoting()
  }

  /** Rule 15: f + 1 crash-consistent join_views with its own; the log of the highest (log_view, op) is the view's. */
  #chooseLog(): void {
    if (this.#target !== undefined || this.#joinViews.count < this.#faults + 1) {
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
      headers: this.log.suffix(inFlightMax(this.#limits) + 1),
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
    if (this.#status === "normal" && this.#isVoter && this.#view >= message.view) {
      this.#noteCatchUp(message.from)
      this.#sendView(message.from)
    }
  }

  #onView(message: MessageOf<"view">): void {
    const isCatchingUp = this.#status === "recovering" && this.#phase === "view" && !this.#receiver.active
    if (message.view < this.#view || !isSuffix(message) || (this.#status === "recovering" && !isCatchingUp)) {
      return
    }
    if (message.view === this.#view && this.#status !== "view_change" && !isCatchingUp) {
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
    if (message.view > this.#view && !isCatchingUp) {
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
    if (this.#isTorn) {
      this.#startTransfer(target.donor === this.slot ? this.#anotherSlot() : target.donor)
      return
    }
    const missing = this.#missingOp(target)
    if (target.op < this.#commit || this.#contradicts(target)) {
      this.#abandonTarget()
    } else if (missing === 0) {
      this.#install(target)
    } else if (this.#now - this.#targetAskedAt >= this.#process.retry_ms) {
      this.#targetAskedAt = this.#now
      const last = Math.min(target.op, missing + this.#process.log_entries_max - 1)
      this.#askedLast = last
      this.#askedBytes = 0
      if (target.donor !== this.slot) {
        this.#send(target.donor, { type: "get_log", op_first: missing, op_last: last, ...this.#envelope() })
      }
    }
  }

  /** A checkpoint went further than the log that was to be installed: a later view must exist, so look for it. */
  #abandonTarget(): void {
    this.#clearTarget()
    if (this.#status !== "recovering") {
      return
    }
    if (this.#phase === "install") {
      this.#beginRecoveryAttempt()
    } else {
      this.#beginCatchingUp()
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
    assert(!this.#isTorn, "replica: a log is installed behind a state")
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
    if (this.#isOutgrown()) {
      this.#becomeOutgrown(target.op)
      return
    }
    this.#view = target.view
    this.#logView = target.view
    this.#becomeNormal()
    this.#commitTo(Math.max(this.#commit, Math.min(target.commit, this.log.op)))
    assert(this.log.op - this.#commit <= inFlightMax(this.#limits), "replica: what is uncommitted is bounded")
    if (wasRecovering) {
      this.counters.recoveries += this.#phase === "install" ? 1 : 0
      this.#startVoting()
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
    assert(!this.#isTorn, "replica: a primary has the state")
    this.#viewStartOp = this.log.op
    this.#viewStartNow = this.#now
    this.#viewStartTimestamp = this.log.header(this.log.op)?.timestamp ?? this.#machine.timestamp()
    this.#acked.fill(0)
    this.#ackedAt.fill(Number.NEGATIVE_INFINITY)
    this.#isKept.fill(0)
    this.#catchUps.fill(0)
    this.#acked[this.slot] = this.log.op
    this.#roundAcked.fill(0)
    this.#followers.fill(undefined)
    this.#dropsStandby = false
    this.#isStandbyMissing = false
    this.#checkpointAt = this.#now
    this.#readRounds = 0
    this.#isReadElsewhere = false
    this.#roundConfirmed = this.#round
    this.#preparedAt = this.#now
    this.#confirmedAt = this.#now
    for (const slot of this.#peers) {
      this.#sendView(slot)
    }
    this.#commitByQuorum()
    this.#sendHeartbeat()
  }

  #getLog(from: number, first: number, last: number): void {
    if (this.#now - this.#getLogAt < this.#process.retry_ms) {
      return
    }
    this.#getLogAt = this.#now
    const opLast = Math.min(last, first + this.#process.log_entries_max - 1)
    this.#send(from, { type: "get_log", op_first: first, op_last: opLast, ...this.#envelope() })
  }

  #onGetLog(message: MessageOf<"get_log">): void {
    if (this.#status === "recovering" || message.op_first < 1) {
      return
    }
    if (message.op_first < this.log.first) {
      this.#noteCatchUp(message.from)
      this.#send(message.from, { type: "log_gone", op: message.op_first, ...this.#envelope() })
      return
    }
    const last = Math.min(message.op_last, message.op_first + this.#process.log_entries_max - 1, this.log.op)
    // Committed entries of a later view may lie in a log that is still called after an earlier one.
    const view = this.#status === "normal" ? this.#logView : VIEW_NONE
    let bytes = 0
    for (let op = message.op_first; op <= last && bytes < this.#limits.batch_bytes_max; op += 1) {
      const entry = this.log.entry(op)
      assert(entry !== undefined, "replica: ops between first and op are held")
      bytes += entry.body.length
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
    if (this.#isTorn) {
      return
    }
    if (this.#target !== undefined) {
      this.#onTargetEntry(this.#target, message)
      return
    }
    const isNext = this.#status === "normal" && !this.isPrimary && message.view === this.#view && !this.#isSealed()
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
        this.#askedBytes += body.length
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
      this.#askedBytes += body.length
      this.#targetProgressAt = this.#now
      this.#askOnAfter(target, header.op)
    }
  }

  /** Continues when an answer is complete, so that a long catch-up does not wait a retry for each piece. */
  #askOnAfter(target: InstallTarget, op: number): void {
    const missing = this.#missingOp(target)
    const isAnswered = op === this.#askedLast || this.#askedBytes >= this.#limits.batch_bytes_max
    if (missing === 0 || (missing === op + 1 && isAnswered)) {
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
    this.#isTorn = true
    this.#checkpoints.forgetOwn()
    // What was found wrong may be a page whose digest is right.
    const isBlank = this.#machine.commit() === 0 && this.counters.memory_faults === 0
    this.#receiver.start({ donor, nonce: this.#freshNonce(), now: this.#now, isBlank })
    this.#askPieces()
  }

  #askPieces(): void {
    const options = {
      now: this.#now,
      retryMs: PIECE_RETRIES * this.#process.retry_ms,
      inFlightMax: this.#process.chunks_in_flight_max,
    }
    for (let asked = 0; asked < options.inFlightMax; asked += 1) {
      const wanted = this.#receiver.nextWanted(options)
      if (wanted === undefined) {
        break
      }
      const { donor, nonce } = this.#receiver
      this.#send(donor, { type: "get_checkpoint", nonce, ...wanted, ...this.#envelope() })
    }
    // The last windows may have been right already.
    if (this.#receiver.isComplete) {
      this.#installCheckpoint()
    }
  }

  /** Anyone who has the state hands out its image; what is not certified only when there is nothing better for long. */
  #onGetCheckpoint(message: MessageOf<"get_checkpoint">): void {
    const { from, nonce } = message
    if (this.#status === "recovering" || this.#isTorn) {
      return
    }
    if (this.#now - this.#readAt >= COPIER_SILENCES * this.#process.transfer_silent_ms) {
      // Whoever asked in vain then has found another donor.
      this.#refusedSince = Number.POSITIVE_INFINITY
    }
    this.#readAt = this.#now
    this.#copiesAt[from] = this.#now
    this.#checkpoints.withdraw(from, nonce)
    this.#machine.pages.hold(true)
    // Where more than two are needed to certify, two that agree are enough to copy from.
    const { own } = this.#checkpoints
    const isOwn = own?.op === this.#image.op && own.root === this.#image.root
    const isConfirmed = isOwn && this.#isConfirmed()
    const isCertified = this.#isCertified(this.#image)
    if (!this.#mayHandOut(isCertified || isConfirmed)) {
      this.#send(from, { type: "checkpoint_gone", nonce, ...this.#envelope() })
      return
    }
    const piece = this.#image.piece(message)
    if (piece === undefined) {
      return
    }
    if (isCertified && piece.mask_low === message.mask_low && piece.mask_high === message.mask_high) {
      this.#refusedSince = Number.POSITIVE_INFINITY
    } else {
      this.#refusedSince = Math.min(this.#refusedSince, this.#now)
    }
    const { part, index } = message
    this.#send(from, { type: "checkpoint_chunk", nonce, part, index, ...piece, ...this.#envelope() })
  }

  /**
   * A piece of the certified image for somebody outside of the cluster, who copies it as another machine would.
   * Machines that copy here come first: of a page that changes meanwhile there is one copy to be had.
   */
  imagePiece(wanted: Wanted): Result<Piece, ImageRefusal> {
    const { pages } = this.#machine
    if (this.#isTorn || !this.#isListening()) {
      return err("no_state")
    }
    const silentMs = COPIER_SILENCES * this.#process.transfer_silent_ms
    if (this.#copiesAt.some((copiesAt) => this.#now - copiesAt < silentMs)) {
      return err("copied")
    }
    this.#readAt = this.#now
    pages.hold(true)
    if (!pages.isWhole && !this.isPrimary && this.#now - this.#checkpointSaidAt >= this.#process.retry_ms) {
      // The primary makes another when it hears that somebody waits for it.
      this.#checkpointSaidAt = this.#now
      this.#sendCheckpointOk(this.primary, this.#checkpoints.certified, true)
    }
    if (!pages.isWhole) {
      return err("not_whole")
    }
    const piece = this.#isCertified(this.#image) ? this.#image.piece(wanted) : undefined
    return piece === undefined ? err("not_certified") : ok(piece)
  }

  /**
   * A checkpoint becomes certified, and one that can no longer be had whole is followed by another, as long as f + 1
   * voters have the state. Where they have not, since one is dead and another must copy first, waiting would be for
   * ever: then this machine's own state is handed out, as it is at this moment.
   */
  #mayHandOut(isCertified: boolean): boolean {
    const isWhole = this.#machine.pages.isWhole
    if (isCertified && isWhole) {
      return true
    }
    if (!isWhole && !this.isPrimary && this.#now - this.#checkpointSaidAt >= this.#process.retry_ms) {
      // The primary makes another when it hears that somebody waits for it.
      this.#checkpointSaidAt = this.#now
      this.#sendCheckpointOk(this.primary, this.#checkpoints.certified, true)
    }
    this.#refusedSince = Math.min(this.#refusedSince, this.#now)
    if (this.#mayBeCertified()) {
      return false
    }
    if (this.#image.isLocal && isWhole && this.#image.root !== undefined) {
      return true
    }
    // Not before the last checkpoint's root is known here: it may be the word that others wait for.
    const isKnown = this.#image.root !== undefined
    if (isKnown && this.#now - this.#refusedSince >= this.#process.transfer_silent_ms) {
      const checksum = this.log.checksum(this.#commit)
      assert(checksum !== undefined, "replica: the last committed entry has a checksum")
      this.#image.freezeLocally(this.#commit, checksum)
      this.#refusedSince = this.#now
      this.counters.checkpoints_local += 1
      return false
    }
    // Of a certified one that is not whole, what is there is of use.
    return isCertified
  }

  /**
   * With this one, f + 1 voters are about that do not copy: they certify a checkpoint, or find that they differ (rule
   * 22b). A copy of this machine's own state meanwhile would make a majority of what may be wrong.
   */
  #mayBeCertified(): boolean {
    const silentMs = this.#process.transfer_silent_ms
    const others = this.#peers.filter((slot) => {
      const isHeard = this.#now - this.heardAt(slot) < silentMs
      return isHeard && this.#now - (this.#copiesAt[slot] ?? 0) >= COPIER_SILENCES * silentMs
    })
    // One that has another root is enough, seen or not: both wait for who can tell which of them is right.
    const isUndecided = (this.#faults > 0 && others.length >= this.#faults) || this.isCheckpointDisputed
    return isUndecided && !this.#isConfirmed()
  }

  #isConfirmed(): boolean {
    return this.#checkpoints.isConfirmed(this.slot, this.#peers)
  }

  #onCheckpointGone(message: MessageOf<"checkpoint_gone">): void {
    if (this.#receiver.active && message.from === this.#receiver.donor && message.nonce === this.#receiver.nonce) {
      this.#receiver.forgetAsked()
    }
  }

  #onCheckpointChunk(message: MessageOf<"checkpoint_chunk">): void {
    const { chunks_in_flight_max: inFlightMax, retry_ms: retryMs } = this.#process
    if (!this.#receiver.accept(message, this.#now)) {
      return
    }
    // Several at once: each way one write and one wake-up for all of them.
    if (this.#receiver.isComplete || this.#receiver.inFlight({ now: this.#now, retryMs }) <= inFlightMax / 2) {
      this.#askPieces()
    }
  }

  /**
   * The arena is as it was after `op`, page by page. What this replica has committed beyond it lies in its log, and is
   * applied once more; if the log does not reach back so far, a later checkpoint is needed.
   */
  #installCheckpoint(): void {
    const { op, opChecksum: checksum, root } = this.#receiver
    this.#receiver.stop()
    this.counters.pages_received = this.#receiver.pagesReceived
    this.counters.pages_spoilt = this.#receiver.pagesSpoilt
    if (op < this.#commit && this.log.checksum(op) !== checksum) {
      // Still torn: another donor is asked, with the next tick.
      return
    }
    const isArena = this.#machine.restored() && this.#machine.commit() === op && this.#isConfigurationIntact()
    assert(isArena || !this.#isCertified({ op, root }), "replica: a certified arena is an arena at its op")
    if (!isArena) {
      // Nobody else has vouched for it: the donor's memory is wrong, and another is asked.
      return
    }
    this.#image.adopt(op, checksum, root)
    this.#checkpoints.take({ op, root })
    this.#isTorn = false
    this.counters.checkpoints_received += 1
    if (op > this.#commit) {
      this.log.rebase(op, checksum)
      this.#commit = op
      this.#noteEpoch()
    }
    for (let next = op + 1; next <= this.#commit; next += 1) {
      const header = this.log.header(next)
      assert(header !== undefined, "replica: what is committed beyond a checkpoint is held")
      this.#apply(header)
    }
    this.#afterCheckpoint()
  }

  #afterCheckpoint(): void {
    if (this.#due !== undefined) {
      // The donor was ahead by an epoch: what was under way belongs to one that has ended.
      return
    }
    if (this.#status === "recovering" && this.#phase === "checkpoint") {
      this.#attemptMs = this.#process.retry_ms
      if (this.#isVoter) {
        this.#phase = "recovery"
        this.#beginRecoveryAttempt()
      } else {
        this.#beginCatchingUp()
      }
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
    if (this.isPrimary) {
      // Alone: with others there would have been another view.
      this.#beginAsPrimary()
    } else {
      this.#sendPrepareOk()
    }
  }

  // ---------------------------------------------------------------- checkpoints: made, certified, checked (rule 22)

  /** The primary says when: then the state after the very same op is frozen everywhere. */
  #considerCheckpoint(): void {
    if (!this.isPrimary || this.#abdicated || this.#isStandbyMissing || !this.#isCheckpointDue()) {
      return
    }
    if (this.#hasControlSlot() && !this.#isPrepared(Operation.checkpoint) && this.#commit >= this.#viewStartOp) {
      this.#checkpointAt = this.#now
      this.#readRounds = this.#isReadElsewhere || this.#isBeingRead() ? this.#readRounds + 1 : 0
      this.#isReadElsewhere = false
      this.#prepare({ ...CONTROL_PULSE, operation: Operation.checkpoint }, this.#reply.subarray(0, 0))
    }
  }

  #isCheckpointDue(): boolean {
    const since = this.#machine.checkpointOp()
    const ops = this.log.op - since
    const ageMs = this.#now - this.#checkpointAt
    // One at a time, but for one that does not become certified: then another may.
    if (ops === 0 || (this.certifiedOp < since && ageMs < this.#process.transfer_silent_ms)) {
      return false
    }
    // Who copies the last one gets on faster if there is no next for a while; the ring of each size has the room.
    const patience = this.#isReadElsewhere || this.#isBeingRead() ? 2 : 1
    const isFull =
      ops >= patience * this.#limits.checkpoint_ops ||
      this.log.bytesSince(since) >= patience * this.#limits.checkpoint_bytes
    const isWanted = this.#isReadElsewhere || !this.#machine.pages.isWhole
    const isGone = isWanted && ageMs >= this.#process.checkpoint_soon_ms
    return isFull || isGone || ageMs >= this.#process.checkpoint_ms
  }

  /** Who copies asks for more all the time, and again after this at the latest. */
  #isBeingRead(): boolean {
    return this.#now - this.#readAt < PIECE_RETRIES * this.#process.retry_ms
  }

  /** Takes digests, looks for flipped bits, and says what is known until it is certified. */
  #tickImage(): void {
    if (this.#isTorn || !this.#isListening()) {
      return
    }
    this.#machine.pages.hold(this.#isBeingRead())
    if (this.#image.advance() && !this.#image.isLocal) {
      this.#checkpoints.take({ op: this.#image.op, root: this.#image.root ?? "" })
      this.#checkpointSaidAt = Number.NEGATIVE_INFINITY
      this.#tallyCheckpoints()
      if (this.#isTorn) {
        // The others' root was certified before this one was known: convicted, there is no image to look after.
        return
      }
    }
    const { pages } = this.#machine
    const before = pages.scrubAt
    const page = pages.scrub(this.#process.scrub_pages)
    if (page >= 0) {
      this.#convict("page", page)
      return
    }
    if (pages.scrubAt <= before && this.#isTableWrong()) {
      this.#renewImage()
      return
    }
    const { own } = this.#checkpoints
    const isWaiting = own !== undefined && own.op > this.certifiedOp
    if (isWaiting && this.#now - this.#checkpointSaidAt >= this.#process.retry_ms) {
      this.#checkpointSaidAt = this.#now
      this.#sayCheckpoint(own.op, own.root, false)
    }
  }

  /**
   * After a round of the scrub: the digest of a page that has changed since the image is compared with nothing but the
   * root. Wrong after two rounds in a row, since the page of a wrong digest may have been clean in the first and looked
   * at before its digest flipped; then the second convicts.
   */
  #isTableWrong(): boolean {
    const { op } = this.#image
    const isWrong = !this.#image.isTableIntact()
    const isAgain = isWrong && this.#tableDoubtedOp === op
    this.#tableDoubtedOp = isWrong && !isAgain ? op : -1
    return isAgain
  }

  /**
   * The digests are wrong, and the arena is right: no page that has not changed differs from its own. Nobody could copy
   * this image, and its like may be nowhere else: the state as it is now takes its place.
   */
  #renewImage(): void {
    if (this.#countFault("table", 0)) {
      return
    }
    const checksum = this.log.checksum(this.#commit)
    assert(checksum !== undefined, "replica: the last committed entry has a checksum")
    this.#image.freezeLocally(this.#commit, checksum)
    this.counters.checkpoints_local += 1
  }

  #sayCheckpoint(op: number, root: Digest, isCertified: boolean): void {
    for (const slot of this.#peers) {
      this.#sendCheckpointOk(slot, { op, root }, isCertified)
    }
    const [standby] = this.#configuration.standbys
    if (this.#configuration.synchronous && standby !== undefined && standby.slot !== this.slot) {
      this.#sendCheckpointOk(standby.slot, { op, root }, isCertified)
    }
  }

  #sendCheckpointOk(
    to: number,
    checkpoint: { readonly op: number; readonly root: Digest },
    isCertified: boolean,
  ): void {
    const { op, root } = checkpoint
    const isRead = this.#isBeingRead()
    this.#send(to, { type: "checkpoint_ok", op, root, is_certified: isCertified, is_read: isRead, ...this.#envelope() })
  }

  #onCheckpointOk(message: MessageOf<"checkpoint_ok">): void {
    const { from, op, root } = message
    const checkpoint = { op, root }
    this.#isReadElsewhere = this.#isReadElsewhere || message.is_read
    if (message.is_certified) {
      if (op > this.certifiedOp) {
        this.#checkpoints.certify(checkpoint)
        this.counters.checkpoints_certified += 1
      }
    } else {
      this.#checkpoints.hear(from, checkpoint)
      if (op <= this.certifiedOp) {
        this.#sendCheckpointOk(from, this.#checkpoints.certified, true)
      }
    }
    this.#tallyCheckpoints()
  }

  #isCertified(checkpoint: { readonly op: number; readonly root: Digest | undefined }): boolean {
    return checkpoint.op === this.certifiedOp && checkpoint.root === this.certifiedRoot
  }

  /** Certified is what f + 1 voters report, and the synchronous standby where there is one (rule 22). */
  #tallyCheckpoints(): void {
    const voters = this.#configuration.voters.map((member) => member.slot)
    const [standby] = this.#configuration.standbys
    const isBound = this.#configuration.synchronous && !this.#dropsStandby
    const confirming = isBound ? standby?.slot : undefined
    if (this.#checkpoints.tally({ slot: this.slot, voters, needed: this.#faults + 1, confirming })) {
      this.counters.checkpoints_certified += 1
      this.#sayCheckpoint(this.certifiedOp, this.certifiedRoot, true)
    }
    if (!this.#isTorn && this.#checkpoints.isRefuted) {
      this.#convict("root", 0)
    } else if (this.isPrimary) {
      // What waited for the end of a dispute goes on.
      this.#commitByQuorum()
    }
  }

  /**
   * Rule 22c: this machine's memory is wrong. It answers nothing and hands nothing out until it has copied a checkpoint
   * and applied its log again; too often, and it is none of the cluster's machines any more.
   */
  #convict(kind: MemoryFault["kind"], page: number): void {
    assert(!this.#isTorn, "replica: what is not believed is not judged again")
    this.#isTorn = true
    this.#checkpoints.forgetOwn()
    if (this.#countFault(kind, page)) {
      return
    }
    if (this.isPrimary && this.#faults > 0) {
      // Falls silent until the others leave its view, and copies then.
      this.#abdicated = true
      this.#refuseWaiting()
    } else if (this.#status === "normal") {
      this.#refuseWaiting()
      this.#status = "state_transfer"
      this.#startTransfer(this.#anotherSlot())
    } else if (this.#status === "outgrown") {
      this.#fetchEpochStart(this.#anySlot())
    } else if (this.#status === "recovering" && this.#phase !== "epoch") {
      this.#clearTarget()
      this.#beginCopyingAnew()
    } else {
      // What an epoch begins with stays wanted, and so does the log of a view.
      this.#continueInstall()
    }
  }

  /** True when it was one too many: the machine leaves. */
  #countFault(kind: MemoryFault["kind"], page: number): boolean {
    this.counters.memory_faults += 1
    this.#memoryFault = { kind, page, at: this.#now }
    if (this.counters.memory_faults < this.#process.memory_faults_max) {
      return false
    }
    this.#refuseWaiting()
    this.#status = "quarantined"
    return true
  }

  /** As after the first answers to its probes: a state first, then the rest. */
  #beginCopyingAnew(): void {
    if (this.#phase === "recovery" || this.#phase === "install") {
      this.#phase = "checkpoint"
    }
    this.#attemptMs = this.#process.retry_ms
    this.#startTransfer(this.#anotherSlot())
  }

  // ---------------------------------------------------------------- formation and recovery (rules 2 to 4, 18 to 20)

  #freshNonce(): number {
    // 53 random bits: what a number holds without loss.
    return (this.#random() % 0x20_0000) * 0x1_0000_0000 + this.#random()
  }

  #probeStatus(): ProbeStatus {
    if (this.#status === "outgrown") {
      // It votes in no epoch: nobody recovers with its help.
      return "standby"
    }
    if (this.#status !== "recovering") {
      return this.#isVoter ? "operational" : "standby"
    }
    return this.#mayFound() ? "blank" : "recovering"
  }

  /** A blank founder with the token, which may still found a cluster. */
  #mayFound(): boolean {
    return !this.#isListening() && this.#token !== "" && this.slot < this.#founders && this.epoch === 0
  }

  #sendProbeOk(to: number, nonce: number): void {
    this.#send(to, {
      type: "probe_ok",
      nonce,
      status: this.#probeStatus(),
      token: this.#token,
      claimed: Math.max(this.#claimed[to] ?? 0, incarnationOf(entryAt(this.#cv, to))),
      configuration: this.#configuration,
      ...this.#envelope(),
    })
  }

  #onProbe(message: MessageOf<"probe">): void {
    this.#claimed[message.from] = Math.max(this.#claimed[message.from] ?? 0, message.claim)
    this.#sendProbeOk(message.from, message.nonce)
    if (this.#mayFound()) {
      this.#askedNonce[message.from] = message.nonce
      this.#noteFounder(message)
    }
  }

  /** True when these are all founders' processes, and the very ones of which this process has heard. */
  #wouldFoundWith(cv: CrashVector): boolean {
    return cv.every((entry, slot) => entry === entryAt(this.#cv, slot) && (entry > 0 || slot >= this.#founders))
  }

  #onProbeOk(message: MessageOf<"probe_ok">): void {
    if (message.nonce !== this.#attemptNonce) {
      return
    }
    if (this.#status !== "recovering" || this.#phase !== "probe") {
      return this.#onWhereabouts(message)
    }
    if (this.#mayFound() && this.#noteFounder(message)) {
      return
    }
    this.#probes.add(message)
    if (this.#mayForm()) {
      this.#form()
    } else if (this.#mayEnterFormed(message)) {
      this.#enterFormed(message)
    } else {
      this.#joinNewest()
    }
  }

  /**
   * Founders agree on one process a slot before anyone founds: a blank founder's vector holds the nonces of those
   * whom it would found with. Another process than it held for a slot makes it ask everybody anew, and answer anew
   * who had asked it. True if so.
   */
  #noteFounder(message: MessageOf<"probe"> | MessageOf<"probe_ok">): boolean {
    const entry = entryAt(message.cv, message.from)
    const isFounder = incarnationOf(entry) === 0 && message.token === this.#token && message.from < this.#founders
    if (!isFounder || entry === entryAt(this.#cv, message.from)) {
      return false
    }
    this.#cv = withEntry(this.#cv, message.from, entry)
    for (let slot = 0; slot < this.#founders; slot += 1) {
      const nonce = this.#askedNonce[slot] ?? 0
      if (nonce > 0) {
        this.#sendProbeOk(slot, nonce)
      }
    }
    this.#sendProbe()
    return true
  }

  /**
   * Rule 3: all N report blank under one token, in answer to one probe of this process, and all would found with the
   * very same processes. Since a process asks anew after each change of its mind, two members of two different
   * foundations cannot both have heard the other agree: the later change of the two lies behind the other's question.
   */
  #mayForm(): boolean {
    const probes = this.#probes.all()
    const founders = probes.filter((probe) => probe.from < this.#founders)
    if (!this.#mayFound() || founders.length !== this.#founders - 1) {
      return false
    }
    // A machine beyond the founders has no say, unless it remembers.
    const isRemembered = probes.some((probe) => probe.status === "operational" || probe.status === "standby")
    const agrees = (probe: MessageOf<"probe_ok">): boolean => {
      return probe.status === "blank" && probe.token === this.#token && this.#wouldFoundWith(probe.cv)
    }
    return !isRemembered && founders.every(agrees)
  }

  #form(): void {
    let cv = this.#cv
    for (let slot = 0; slot < this.#founders; slot += 1) {
      assert(incarnationOf(entryAt(cv, slot)) === 0, "replica: a blank process has no incarnation")
      cv = withEntry(cv, slot, makeEntry(1, entryAt(cv, slot)))
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
      this.#mayFound() &&
      message.status === "operational" &&
      message.epoch === 0 &&
      message.token === this.#token &&
      own === makeEntry(1, this.#bootNonce)
    )
  }

  #enterFormed(message: MessageOf<"probe_ok">): void {
    this.#enterView0(message.cv)
  }

  #enterView0(cv: CrashVector): void {
    assert(this.#status === "recovering" && this.log.op === 0, "replica: a cluster is formed of blank machines")
    assert(entryAt(cv, this.slot) === makeEntry(1, this.#bootNonce), "replica: a founder is counted as itself")
    this.#cv = cv
    this.#probes.clear()
    this.#becomeNormal()
    this.#startVoting()
    if (this.isPrimary) {
      this.#beginAsPrimary()
    }
  }

  /**
   * Looks for the newest epoch that a voter of it tells of. Where this slot votes in it, its process takes an
   * incarnation and recovers; elsewhere it follows.
   */
  #joinNewest(): void {
    const operational = this.#probes.all().filter((probe) => {
      const { configuration } = probe
      // Not back to an epoch that is known to have ended, even if some of its voters have not heard of that.
      const isCurrent = probe.epoch === configuration.epoch && configuration.epoch >= this.epoch
      return probe.status === "operational" && isCurrent && votes(configuration, probe.from)
    })
    let newest = operational[0]
    for (const probe of operational) {
      newest = newest === undefined || probe.epoch > newest.epoch ? probe : newest
    }
    if (newest === undefined || newest.configuration.generation !== this.generation) {
      return
    }
    const { configuration } = newest
    const answers = operational.filter((probe) => probe.epoch === configuration.epoch)
    if (votes(configuration, this.slot)) {
      this.#chooseIncarnation(configuration, answers)
    } else {
      this.#follow(configuration, answers)
    }
  }

  /**
   * Rule 4: one above the highest incarnation that f + 1 operational peers know of this slot, and taken only when f + 1
   * have heard that it will be. Otherwise a process that died young, having told its incarnation to one peer, could
   * share it with its successor, and by the chance of a higher nonce outrank it: what the successor had acknowledged
   * would be pruned as a dead machine's, a second loss where only one machine failed.
   */
  #chooseIncarnation(configuration: Configuration, answers: readonly MessageOf<"probe_ok">[]): void {
    // Rule 8 of the answers: one whose sender has rebooted since, as another answer knows, does not count.
    const consistent = answers.filter((a) => answers.every((b) => entryAt(b.cv, a.from) <= entryAt(a.cv, a.from)))
    if (consistent.length < faultsOf(configuration) + 1) {
      return
    }
    let highest = 0
    for (const probe of consistent) {
      highest = Math.max(highest, incarnationOf(entryAt(probe.cv, this.slot)), probe.claimed)
    }
    assert(highest < INCARNATION_MAX, "replica: incarnations are used up; found a new generation")
    if (this.#claim === 0 || highest > this.#claim) {
      this.#claim = highest + 1
      this.#sendProbe()
      return
    }
    this.#configure(configuration)
    this.#cv = withEntry(mergedVector(consistent), this.slot, makeEntry(this.#claim, this.#bootNonce))
    this.#beginCopying(consistent)
  }

  /** Without a vote there is nothing to promise: one voter of the epoch is enough to follow it. */
  #follow(configuration: Configuration, answers: readonly MessageOf<"probe_ok">[]): void {
    this.#configure(configuration)
    this.#cv = mergedVector(answers)
    this.#isFollowing = true
    this.#beginCopying(answers)
  }

  #beginCopying(donors: readonly MessageOf<"probe_ok">[]): void {
    this.#phase = "checkpoint"
    this.#attemptMs = this.#process.retry_ms
    this.#startTransfer(donors[this.#random() % donors.length]?.from ?? this.#anotherSlot())
  }

  #sendProbe(): void {
    this.#attemptNonce = this.#freshNonce()
    this.#probes.clear()
    // To every slot: a blank process knows of no epoch but the founding one.
    for (let slot = 0; slot < this.#limits.slots_max; slot += 1) {
      if (slot !== this.slot) {
        this.#send(slot, {
          type: "probe",
          nonce: this.#attemptNonce,
          claim: this.#claim,
          token: this.#token,
          ...this.#envelope(),
        })
      }
    }
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
    this.#copiesAt[message.from] = this.#now
    if (this.#status !== "normal" || !this.#isVoter) {
      return
    }
    this.#noteCatchUp(message.from)
    this.#send(message.from, {
      type: "recovery_response",
      nonce: message.nonce,
      view: this.#view,
      op: this.log.op,
      commit: this.#commit,
      headers: this.isPrimary ? this.log.suffix(inFlightMax(this.#limits) + 1) : [],
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
    if (this.#responses.count < this.#faults + 1) {
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

  // ---------------------------------------------------------------- epochs (rules 27, 28; VRR, section 7)

  /** Takes `configuration` as the one that counts; views, vectors and votes are the caller's to set. */
  #configure(configuration: Configuration): void {
    this.#configuration = configuration
    this.#isVoter = votes(configuration, this.slot)
    this.#peers = configuration.voters.map((member) => member.slot).filter((slot) => slot !== this.slot)
    this.#faults = faultsOf(configuration)
    this.#started.fill(0)
    this.#toldAt.fill(Number.NEGATIVE_INFINITY)
    this.#epochToldAt = Number.NEGATIVE_INFINITY
  }

  /**
   * An operator's change. Its members must be warm (VRR, section 7): a barrier is prepared, and when each has it, and
   * so lives and lacks nothing, the change becomes the last op of the epoch.
   */
  #onReconfigure(message: MessageOf<"reconfigure">): void {
    const { outcome, slot } = this.#judgeChange(message)
    if (outcome !== "ok") {
      this.#replyToChange(message, outcome, slot)
      return
    }
    const barrier = this.log.op + 1
    this.#change = { message, since: this.#now, barrier, op: 0 }
    this.#prepare(CONTROL_PULSE, this.#reply.subarray(0, 0))
    this.#continueChange()
  }

  #continueChange(): void {
    const change = this.#change
    if (change === undefined || change.op > 0 || !this.isPrimary) {
      return
    }
    const { message } = change
    const notGrown = this.#notGrown(message)
    if (notGrown !== undefined) {
      // Its process has been replaced since.
      this.#change = undefined
      this.#replyToChange(message, "not_grown", notGrown)
      return
    }
    if (this.isCheckpointDisputed) {
      // In the next epoch who contradicts this machine may have no word.
      this.#change = undefined
      this.#replyToChange(message, "memory_disputed")
      return
    }
    const missing = [...message.voters, ...message.standbys].find((slot) => {
      const held = this.#heldBy(slot)
      return held < change.barrier || this.log.isHalfRingBehind(held)
    })
    if (missing === undefined && this.#hasControlSlot()) {
      this.#prepareChange(change)
    } else if (this.#now - change.since >= this.#process.abdicate_ms) {
      this.#change = undefined
      this.#dropsStandby = false
      this.#replyToChange(message, missing === undefined ? "busy" : "not_warm", missing)
    }
  }

  #prepareChange(change: PendingChange): void {
    const { voters, standbys, synchronous } = change.message
    // The present primary begins the new epoch as primary too, where it stays a voter.
    const isOther = (slot: number): number => (slot === this.slot ? 0 : 1)
    const op = this.log.op + 1
    const next: Configuration = {
      generation: this.generation,
      epoch: this.epoch + 1,
      op,
      view: this.#view,
      synchronous,
      grown_to: change.message.grows ? this.#growsToOf(voters[0]) : GROWS_TO_NONE,
      voters: [...voters].sort((a, b) => isOther(a) - isOther(b)).map((slot) => this.#memberOf(slot)),
      standbys: standbys.map((slot) => this.#memberOf(slot)),
    }
    this.#change = { ...change, op }
    this.#prepare({ ...CONTROL_PULSE, operation: Operation.reconfigure }, encodeConfiguration(next))
  }

  #judgeChange(message: MessageOf<"reconfigure">): { readonly outcome: ReconfigureOutcome; readonly slot: number } {
    const { voters, standbys, synchronous, drops_standby: drops } = message
    if (!this.isPrimary || this.#abdicated) {
      return { outcome: "not_primary", slot: 0 }
    }
    if (message.epoch_expected !== this.epoch) {
      return { outcome: "wrong_epoch", slot: 0 }
    }
    const slotsMax = this.#limits.slots_max
    // The voter goes on by itself, at once: a drop that waited for others could be refused when it is done already.
    const isAlone = voters.length === 1 && voters[0] === this.slot && standbys.length === 0
    const isWrongDrop = drops && !(this.#configuration.synchronous && isAlone)
    // A sole voter that dies before the change commits would seal this epoch and begin no other, though only one
    // machine failed. Beside a synchronous standby either of the two can go on; and one voter alone is as few as it
    // can be.
    const isUnbacked = voters.length === 1 && !synchronous
    const mayBeUnbacked = this.voters === 1 && voters[0] === this.slot
    if (
      isWrongDrop ||
      (isUnbacked && !mayBeUnbacked) ||
      configurationFault({ voters, standbys, synchronous, slotsMax }) !== undefined
    ) {
      return { outcome: "invalid", slot: 0 }
    }
    if (drops) {
      // By the operator's word the standby is off: what waits for it goes ahead, a change under way included.
      this.#dropsStandby = true
      this.#cancelWaitingChange()
      this.#commitByQuorum()
    } else if (this.#isStandbyMissing) {
      return { outcome: "standby_missing", slot: this.#configuration.standbys[0]?.slot ?? 0 }
    } else if (this.isCheckpointDisputed) {
      return { outcome: "memory_disputed", slot: 0 }
    }
    // Only after a commit of its own view's start is a primary's log the epoch's (rule 12's reason).
    if (!this.#hasControlSlot() || this.#commit < this.#viewStartOp || this.#change !== undefined) {
      return { outcome: "busy", slot: 0 }
    }
    const unknown = [...voters, ...standbys].find((slot) => !this.#isKnown(slot))
    if (unknown !== undefined) {
      return { outcome: "not_warm", slot: unknown }
    }
    const notGrown = this.#notGrown(message)
    return notGrown === undefined ? { outcome: "ok", slot: 0 } : { outcome: "not_grown", slot: notGrown }
  }

  /**
   * Into larger limits go only machines that have no vote until then, and room for the same limits: who votes could not
   * leave its epoch and be there for it too. The first that may not; undefined where all may, or nothing grows.
   */
  #notGrown({ grows, voters, standbys }: MessageOf<"reconfigure">): number | undefined {
    const to = this.#growsToOf(voters[0])
    return [...voters, ...standbys].find((slot) => {
      const { grows_to: growsTo } = this.#followers[slot] ?? NOBODY
      return grows && (votes(this.#configuration, slot) || growsTo === GROWS_TO_NONE || growsTo !== to)
    })
  }

  #growsToOf(slot: number | undefined): number {
    return this.#followers[slot ?? this.slot]?.grows_to ?? GROWS_TO_NONE
  }

  #cancelWaitingChange(): void {
    if (this.#change?.op === 0) {
      this.#replyToChange(this.#change.message, "busy")
      this.#change = undefined
    }
  }

  /** A voter, or a machine that follows. */
  #isKnown(slot: number): boolean {
    return votes(this.#configuration, slot) || this.#isFresh(this.#followers[slot]?.heard_at ?? -Infinity)
  }

  /** Up to where `slot` is known to hold this primary's log. */
  #heldBy(slot: number): number {
    return (votes(this.#configuration, slot) ? this.#acked[slot] : this.#followers[slot]?.confirmed_op) ?? 0
  }

  #memberOf(slot: number): Member {
    const nonce = votes(this.#configuration, slot) ? nonceOf(entryAt(this.#cv, slot)) : this.#followers[slot]?.nonce
    assert(nonce !== undefined, "replica: a machine that holds the barrier has said its nonce")
    return { slot, nonce }
  }

  #replyToChange(asked: MessageOf<"reconfigure">, outcome: ReconfigureOutcome, slot = 0): void {
    this.#send(asked.from, {
      type: "reconfigure_reply",
      change: asked.change,
      outcome,
      slot,
      epoch_now: this.epoch,
      ...this.#envelope(),
    })
  }

  #isConfigurationIntact(): boolean {
    const bytes = this.#machine.configuration()
    return bytes.length === 0 || decodeConfiguration(bytes, this.#limits.slots_max) !== undefined
  }

  /** What was just committed or copied may end this epoch; acted upon when the event at hand is done. */
  #noteEpoch(): void {
    const bytes = this.#machine.configuration()
    if (bytes.length === 0) {
      return
    }
    const configuration = decodeConfiguration(bytes, this.#limits.slots_max)
    assert(configuration !== undefined, "replica: a committed configuration is one")
    if (configuration.epoch > this.epoch) {
      this.#due = configuration
    }
  }

  #beginDueEpoch(configuration: Configuration): void {
    this.#due = undefined
    const change = this.#change
    this.#adoptEpoch(configuration, this.slot)
    if (change !== undefined && change.op === configuration.op) {
      this.#replyToChange(change.message, "ok")
    }
  }

  /** A message of another epoch says nothing here; whoever of the two is behind is told. */
  #onOtherEpoch(message: Message): void {
    this.counters.wrong_epoch += 1
    if (message.epoch < this.epoch) {
      this.#tellEpoch(message.from)
    } else if (message.type === "new_epoch") {
      this.#onNewEpoch(message)
    } else {
      // Whatever it is, it is of an epoch that has ended: the answer is new_epoch.
      this.#getView(message.from, this.#view)
    }
  }

  #tellEpoch(slot: number): void {
    if (this.#now - (this.#toldAt[slot] ?? 0) >= this.#process.retry_ms) {
      this.#toldAt[slot] = this.#now
      this.#send(slot, {
        type: "new_epoch",
        configuration: this.#configuration,
        ...this.#envelope(),
      })
    }
  }

  /**
   * Whom a process waits for may be replaced and switched off, and nobody else has a reason to speak to it: it tells
   * anyone its epoch, and hears if that has ended.
   */
  #sayEpoch(): void {
    this.#tellEpoch(this.#anySlot())
  }

  #onNewEpoch(message: MessageOf<"new_epoch">): void {
    const { configuration } = message
    if (configuration.epoch !== message.epoch || configuration.generation !== this.generation) {
      this.counters.unexpected_message += 1
      return
    }
    if (configuration.epoch > this.epoch) {
      this.#onLaterEpoch(message)
    } else if (this.#status === "normal" && this.#isVoter) {
      this.#send(message.from, { type: "epoch_started", ...this.#envelope() })
    }
  }

  #onLaterEpoch(message: MessageOf<"new_epoch"> | MessageOf<"probe_ok">): void {
    const { configuration } = message
    const own = memberAt(configuration, this.slot)
    const isNamed = votes(configuration, this.slot) && own?.nonce === this.#bootNonce
    if (isNamed && entryAt(message.cv, this.slot) > makeEntry(1, this.#bootNonce)) {
      // A later incarnation of this slot, which the sender knows of, votes in that epoch: this process is the zombie.
      this.#status = "fenced"
      return
    }
    this.#adoptEpoch(configuration, message.from)
  }

  #onEpochStarted(message: MessageOf<"epoch_started">): void {
    assert(votes(this.#configuration, message.from), "replica: only a voter of the epoch is admitted to say so")
    this.#started[message.from] = 1
  }

  /**
   * Leaves the old epoch, which is sealed: nothing follows its last op, so no vote of it is owed any more. Enters the
   * new one when everything up to that op is here. Only the process that the configuration names may enter as it is;
   * another one of the slot has perhaps promised something in this epoch in an earlier life, and recovers (rule 27).
   */
  #adoptEpoch(configuration: Configuration, donor: number): void {
    assert(configuration.epoch > this.epoch, "replica: epochs only rise")
    assert(this.#isListening(), "replica: a blank process enters no epoch")
    this.#refuseWaiting()
    this.#clearTarget()
    this.#receiver.stop()
    this.#change = undefined
    this.#configure(configuration)
    this.#status = "recovering"
    this.#view = 0
    this.#logView = 0
    this.#round = 0
    this.#roundConfirmed = 0
    this.#roundHeard = 0
    this.#dropsStandby = false
    this.#isStandbyMissing = false
    this.#ownJoinView = undefined
    this.#exitVotes.clear()
    this.#joinViews.clear()
    this.#probes.clear()
    this.#responses.clear()
    this.#cv = this.#startVector(configuration)
    this.#isFollowing = !this.#isVoter
    const own = memberAt(configuration, this.slot)
    if (this.#isVoter && own?.nonce !== this.#bootNonce) {
      this.#beginBlank()
      return
    }
    this.#phase = "epoch"
    this.#attemptAt = this.#now
    this.#attemptMs = this.#process.retry_ms
    if (!this.#isTorn && this.#holdsStart(configuration)) {
      // With the very entry it holds all before.
      this.#commitTo(Math.max(this.#commit, configuration.op))
    }
    if (this.#commit > configuration.op) {
      assert(!this.#isOutgrown(), "replica: nothing follows the last op of an epoch in its limits")
      this.#beginCatchingUp()
    } else {
      this.#fetchEpochStart(donor)
    }
  }

  #fetchEpochStart(donor: number): void {
    const { op } = this.#configuration
    this.#status = "recovering"
    this.#phase = "epoch"
    this.#startInstall({ view: 0, op, commit: op, headers: [], donor })
  }

  /** The epoch has larger limits than this replica. */
  #isOutgrown(): boolean {
    const { grown_to: grownTo } = this.#configuration
    return grownTo !== GROWS_TO_NONE && grownTo !== this.#limitsFingerprint
  }

  /**
   * Everything up to the last op of its epoch is here, and nothing of the next can be: those who wait for it get it
   * from here, until this machine is switched off. A process with room for the larger limits grows, and begins anew.
   */
  #becomeOutgrown(op: number): void {
    this.#routes = []
    this.#commitTo(Math.max(this.#commit, op))
    assert(this.#commit === op && this.log.op === op, "replica: nothing follows the last op of an epoch in its limits")
    this.#status = "outgrown"
  }

  /**
   * The state machine has grown as the epoch's first op said, by a process that this op names or that has no vote. It
   * has promised nothing in the epoch, and holds all that was committed before: it enters as it would have in the
   * limits that it had. Nothing is prepared before f + 1 roots of what has grown are equal, for until then no
   * checkpoint is certified (rule 21).
   */
  #enterGrown({ configuration, checksum, counters, now }: GrownStart): void {
    const { op, generation, grown_to: grownTo } = configuration
    assert(grownTo === this.#limitsFingerprint, "replica: it has grown to the limits of the epoch")
    assert(generation === this.generation, "replica: a generation grows by epochs")
    assert(this.#machine.commit() === op, "replica: what has grown is at the op that began the epoch")
    this.#now = now
    this.#commit = op
    this.log.rebase(op, checksum)
    this.#image.note(op, checksum)
    Object.assign(this.counters, counters)
    this.#configure(configuration)
    this.#cv = this.#startVector(configuration)
    this.#isFollowing = !this.#isVoter
    if (this.#isVoter) {
      assert(memberAt(configuration, this.slot)?.nonce === this.#bootNonce, "replica: the epoch names this process")
      this.#becomeNormal()
      this.#startVoting()
      if (this.isPrimary) {
        this.#beginAsPrimary()
      }
    } else {
      this.#beginCatchingUp()
    }
    this.#settle()
  }

  /**
   * The state of an export, of which nobody else knows: this process alone votes. The generation's first op clears what
   * belonged to the one before, the second begins an epoch, so that who copies the state learns whose it is.
   */
  #enterRestored({ generation, checksum, now }: RestoredStart): void {
    const before = decodeConfiguration(this.#machine.configuration(), this.#limits.slots_max)
    const op = this.#machine.commit()
    const epoch = before?.epoch ?? 0
    assert(generation > (before?.generation ?? 0), "replica: a restored state begins a new generation")
    this.#now = now
    this.#commit = op
    this.log.rebase(op, checksum)
    this.#image.note(op, checksum)
    const voters = [{ slot: this.slot, nonce: this.#bootNonce }]
    const fields = { generation, synchronous: false, grown_to: GROWS_TO_NONE, voters, standbys: [] }
    this.#configure({ ...fields, epoch, op, view: 0 })
    this.#cv = this.#startVector(this.#configuration)
    this.#becomeNormal()
    this.#startVoting()
    this.#beginAsPrimary()
    const body = new Uint8Array(GENERATION_STARTED_BYTES)
    const view = new DataView(body.buffer)
    view.setUint32(0, generation, true)
    view.setUint32(4, op % 0x1_0000_0000, true)
    view.setUint32(8, Math.floor(op / 0x1_0000_0000), true)
    this.#prepare({ ...CONTROL_PULSE, operation: Operation.generation_started }, body)
    this.#settle()
    assert(this.#commit === op + 1, "replica: one voter commits what it prepares")
    const next = { ...fields, epoch: epoch + 1, op: op + 2, view: this.#view }
    this.#prepare({ ...CONTROL_PULSE, operation: Operation.reconfigure }, encodeConfiguration(next))
    this.#settle()
  }

  /** One primary prepares one entry an op: of this view, op and body there is no other. */
  #holdsStart(configuration: Configuration): boolean {
    const entry = this.log.entry(configuration.op)
    if (entry?.header.operation !== Operation.reconfigure || entry.header.view !== configuration.view) {
      return false
    }
    const bytes = encodeConfiguration(configuration)
    return bytes.length === entry.body.length && bytes.every((byte, index) => byte === entry.body[index])
  }

  /** The vector that an epoch begins with: each voter once, as the process that the configuration names. */
  #startVector(configuration: Configuration): CrashVector {
    let cv = blankVector(this.#limits.slots_max)
    for (const { slot, nonce } of configuration.voters) {
      cv = withEntry(cv, slot, makeEntry(1, nonce))
    }
    return cv
  }

  /** As after a boot, though what was copied so far stays: it is committed, and so it is right. */
  #beginBlank(): void {
    this.#status = "recovering"
    this.#phase = "probe"
    this.#claim = 0
    this.#isFollowing = false
    this.#cv = withEntry(blankVector(this.#limits.slots_max), this.slot, makeEntry(0, this.#bootNonce))
    this.#attemptAt = Number.NEGATIVE_INFINITY
    this.#attemptMs = this.#process.retry_ms
  }

  /**
   * Takes the log of any view of the epoch. For who has no vote, and for a voter that was let into the epoch and has
   * not entered: neither has promised anything in it.
   */
  #beginCatchingUp(): void {
    assert(this.#status === "recovering", "replica: only who lacks something catches up")
    this.#clearTarget()
    this.#phase = "view"
    this.#attemptAt = this.#now
    this.#broadcast({ type: "get_view", view: this.#view, ...this.#envelope() })
  }

  /** From here on this replica is one of the epoch's voters, and says so to those whom it replaces. */
  #startVoting(): void {
    // Alone, a voter is no majority that could outlive it: the epoch has begun when its standby holds the beginning.
    const { op, synchronous } = this.#configuration
    if (!this.#isVoter || (synchronous && (this.#synchronousStandby()?.confirmed_op ?? op) < op)) {
      return
    }
    this.#started[this.slot] = 1
    for (let slot = 0; slot < this.#limits.slots_max; slot += 1) {
      if (slot !== this.slot) {
        this.#send(slot, { type: "epoch_started", ...this.#envelope() })
      }
    }
  }

  /** Until a majority votes in the epoch, everybody who knows of it tells those who do not, the replaced included. */
  #tellOfEpoch(): void {
    if (this.isEpochSafe || this.#now - this.#epochToldAt < this.#process.retry_ms) {
      return
    }
    this.#epochToldAt = this.#now
    const { voters, standbys } = this.#configuration
    for (const { slot } of [...voters, ...standbys]) {
      if (slot !== this.slot && this.#started[slot] === 0) {
        this.#tellEpoch(slot)
      }
    }
  }

  /**
   * Nobody of its epoch has been heard for long: perhaps the epoch has ended, and those who knew are off. Asks
   * everybody, as a blank process would; an answer from a later epoch leads there.
   */
  #askWhereabouts(): void {
    const heardAt = Math.max(this.#primaryHeardAt, this.#attemptAt)
    if (this.#faults > 0 || !this.#isVoter) {
      if (this.#now - heardAt >= this.#process.transfer_silent_ms) {
        this.#attemptAt = this.#now
        this.#sendProbe()
      }
    }
  }

  #onWhereabouts(message: MessageOf<"probe_ok">): void {
    const { configuration } = message
    const isLater = configuration.epoch > this.epoch && configuration.generation === this.generation
    const isTold = message.status === "operational" && message.epoch === configuration.epoch
    if (isLater && isTold && this.#isListening()) {
      this.#onLaterEpoch(message)
    }
  }

  // ---------------------------------------------------------------- standbys (rule 6)

  /**
   * The standby without whose word nothing is answered; undefined where there is none, or the operator let go of it.
   */
  #synchronousStandby(): Follower | undefined {
    const [standby] = this.#configuration.standbys
    if (!this.#configuration.synchronous || standby === undefined || this.#dropsStandby) {
      return undefined
    }
    const follower = this.#followers[standby.slot]
    return follower !== undefined && follower.nonce === standby.nonce ? follower : NOBODY
  }

  #sendStandbyOk(to: number): void {
    assert(!this.#isVoter && this.#status === "normal", "replica: a standby follows with a log of its view")
    const checksum = this.log.checksum(this.log.op)
    assert(checksum !== undefined, "replica: the last entry has a checksum")
    this.#send(to, {
      type: "standby_ok",
      nonce: this.#bootNonce,
      view: this.#view,
      op: this.log.op,
      checksum,
      round: this.#roundHeard,
      grows_to: this.#growsTo,
      ...this.#envelope(),
    })
  }

  #onStandbyOk(message: MessageOf<"standby_ok">): void {
    const { from, nonce, op } = message
    if (!this.isPrimary || votes(this.#configuration, from)) {
      return
    }
    const known = this.#followers[from]
    const before = known?.nonce === nonce ? known : { ...NOBODY, slot: from, nonce }
    // Of another view it says only that it follows; and what it confirmed once it holds.
    const confirms = message.view === this.#view && op <= this.log.op && this.#agrees(op, message.checksum)
    this.#followers[from] = {
      ...before,
      grows_to: message.grows_to,
      op: Math.min(op, this.log.op),
      heard_at: this.#now,
      confirmed_op: confirms ? Math.max(before.confirmed_op, op) : before.confirmed_op,
      confirmed_round:
        confirms && message.round <= this.#round
          ? Math.max(before.confirmed_round, message.round)
          : before.confirmed_round,
    }
    this.#keep(from, op)
    if (this.#configuration.synchronous) {
      this.#commitByQuorum()
      this.#confirmRounds()
      if (this.#started[this.slot] === 0) {
        this.#startVoting()
      }
    }
    this.#continueChange()
  }

  /**
   * By an operator who has made sure that the only voter is off: its synchronous standby, which confirmed all that was
   * answered, becomes the only voter of a new generation. Open to the very process that was committed as synchronous.
   */
  promote(): PromoteOutcome {
    const [standby] = this.#configuration.standbys
    const isNamed = standby?.slot === this.slot && standby.nonce === this.#bootNonce
    if (!this.#configuration.synchronous || !isNamed) {
      return "not_synchronous"
    }
    if (this.#status !== "normal") {
      return "not_ready"
    }
    // A change that the voter may have committed goes on as it was meant; else a generation begins.
    const isChanging = this.#isSealed()
    const generation = isChanging ? this.generation : this.generation + 1
    const voters = [{ slot: this.slot, nonce: this.#bootNonce }]
    const configuration = { ...this.#configuration, generation, synchronous: false, voters, standbys: [] }
    this.#configure(configuration)
    this.#cv = this.#startVector(configuration)
    this.#isFollowing = false
    this.#becomeNormal()
    this.#startVoting()
    this.#beginAsPrimary()
    assert(this.#commit === this.log.op, "replica: one voter commits all that it holds")
    if (!isChanging) {
      const epoch = configuration.epoch + 1
      const next = { ...configuration, epoch, op: this.log.op + 1, view: this.#view, grown_to: GROWS_TO_NONE }
      this.#prepare({ ...CONTROL_PULSE, operation: Operation.reconfigure }, encodeConfiguration(next))
    }
    this.#settle()
    // The change that went on may have named this machine as a standby once more.
    return isChanging && !this.#isVoter ? this.promote() : "ok"
  }

  // ---------------------------------------------------------------- time

  /** Lets time pass. `nowMs` is monotonic; nothing here reads a clock. */
  tick(nowMs: number): void {
    assert(nowMs >= this.#now, "replica: time only rises")
    this.#now = nowMs
    if (this.#status === "fenced" || this.#status === "quarantined") {
      return
    }
    if (this.#status !== "recovering" && !this.isPrimary) {
      this.#askWhereabouts()
    }
    this.#tickImage()
    this.#tickDispute()
    this.#tickStatus()
    this.#settle()
  }

  #tickStatus(): void {
    switch (this.#status) {
      case "recovering":
        return this.#tickRecovering()
      case "normal":
        return this.#tickNormal()
      case "view_change":
        return this.#tickViewChange()
      case "state_transfer":
        return this.#tickStateTransfer()
      case "outgrown":
        return this.#tellOfEpoch()
      case "fenced":
      case "quarantined":
        // Its memory was found to be wrong once too often in this very tick.
        return
      default:
        return unreachable(this.#status)
    }
  }

  #tickRecovering(): void {
    if (this.#receiver.active) {
      this.#tickTransfer()
      return
    }
    if (this.#phase === "epoch" || this.#phase === "view") {
      this.#tickEntering()
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
      if (this.#founders === 1 && this.#mayFound()) {
        this.#form()
      } else {
        this.#sendProbe()
      }
    } else if (this.#phase === "checkpoint") {
      this.#startTransfer(this.#anotherSlot())
    } else {
      this.#sayEpoch()
      this.#beginRecoveryAttempt()
    }
  }

  /**
   * On the way into an epoch or behind its voters: nothing is promised, so anybody's word of what is committed will
   * do.
   */
  #tickEntering(): void {
    this.#continueInstall()
    if (this.#status !== "recovering") {
      return
    }
    if (this.#target !== undefined && this.#now - this.#targetProgressAt >= this.#process.transfer_silent_ms) {
      this.#targetProgressAt = this.#now
      if (this.#phase === "epoch") {
        // The donor is silent: the epoch's other members and those whom it replaces hold the same.
        this.#target.donor = this.#anySlot()
      } else {
        this.#clearTarget()
      }
    }
    if (this.#phase === "view" && this.#target === undefined && this.#now - this.#attemptAt >= this.#attemptMs) {
      this.#sayEpoch()
      this.#beginCatchingUp()
    }
  }

  /**
   * Who has the state, by chance: another voter, or the standby of a voter alone; on the way into an epoch anyone,
   * since those whom it replaces have it too.
   */
  #anotherSlot(): number {
    const isEntering = this.#status === "recovering" && this.#phase === "epoch"
    const others = this.#peers.length > 0 ? this.#peers : this.#configuration.standbys.map((member) => member.slot)
    const other = others[this.#random() % Math.max(others.length, 1)]
    return isEntering || other === undefined || other === this.slot ? this.#anySlot() : other
  }

  /** Anyone but this replica, by chance; the last resort for what is committed. */
  #anySlot(): number {
    const slots = this.#limits.slots_max
    return (this.slot + 1 + (this.#random() % (slots - 1))) % slots
  }

  #tickTransfer(): void {
    const isSilent = this.#now - this.#receiver.progressAt >= this.#process.transfer_silent_ms
    // Pages that a bad link loses are gone when they change, and come with the next image: so for ever.
    if (isSilent || this.#receiver.images > IMAGES_OF_DONOR_MAX) {
      this.#sayEpoch()
      this.#startTransfer(this.#anotherSlot())
    } else {
      this.#askPieces()
    }
  }

  #tickNormal(): void {
    this.#tellOfEpoch()
    if (this.isPrimary) {
      this.#tickPrimary()
    } else if (!this.#isVoter) {
      this.#tickStandby()
    } else if (this.#now - this.#primaryHeardAt >= this.#process.primary_silent_ms || this.#isAtOddsWithPrimary()) {
      this.#sendExitView()
    }
  }

  /** A third machine that could decide, and does not hear this primary, needs one voice to leave its view. */
  #isAtOddsWithPrimary(): boolean {
    return this.#isMemoryDisputed && this.#checkpoints.contradicts(this.primary)
  }

  /** Says that it follows: to its primary, and to all voters when that has fallen silent. */
  #tickStandby(): void {
    if (this.#now - this.#followedAt < this.#process.heartbeat_ms) {
      return
    }
    this.#followedAt = this.#now
    if (this.#now - this.#primaryHeardAt < this.#process.primary_silent_ms) {
      this.#sendStandbyOk(this.primary)
      return
    }
    for (const slot of this.#peers) {
      this.#sendStandbyOk(slot)
    }
    this.#getView(this.#anotherSlot(), this.#view)
  }

  /**
   * One voter with a synchronous standby: silence of the one stops the other, since neither can tell a cut from a
   * death.
   */
  #tickSynchronous(): void {
    const standby = this.#synchronousStandby()
    const silentMs = this.#now - Math.max(standby?.heard_at ?? this.#now, this.#viewStartNow)
    const isMissing = standby !== undefined && silentMs >= this.#process.abdicate_ms
    if (isMissing && !this.#isStandbyMissing) {
      this.#isStandbyMissing = true
      this.#refuseWaiting("standby_missing")
    } else if (!isMissing) {
      this.#isStandbyMissing = false
    }
  }

  /** A dispute is over as soon as a third machine has said its root; while there is none, clients are told. */
  #tickDispute(): void {
    if (!this.isCheckpointDisputed) {
      this.#disputedAt = Number.POSITIVE_INFINITY
      this.#isMemoryDisputed = false
      return
    }
    this.#disputedAt = Math.min(this.#disputedAt, this.#now)
    if (!this.#isMemoryDisputed && this.#now - this.#disputedAt >= this.#process.abdicate_ms) {
      this.#isMemoryDisputed = true
      this.#refuseWaiting("memory_disputed")
    }
  }

  #tickPrimary(): void {
    if (this.#configuration.synchronous) {
      this.#tickSynchronous()
    }
    // In a dispute another view's primary would be a side of it as well, or is none yet; but whom nobody answers can't
    // hear how it was decided either, and takes nothing in that would tell him.
    const isDisputed = this.isCheckpointDisputed
    // With one voter there is no other view to leave for.
    if (this.log.op === this.#commit || this.#faults === 0 || isDisputed) {
      this.#preparedAt = this.#now
    }
    if ((this.#reads.isEmpty() && !isDisputed) || this.#faults === 0) {
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
    this.#considerCheckpoint()
    this.#drainRequests()
    this.#continueChange()
    if (
      this.#machine.nextDeadline() <= this.#timestamp() &&
      this.#hasControlSlot() &&
      this.#ringHasSlot() &&
      !this.#isPrepared(Operation.pulse)
    ) {
      this.#prepare(CONTROL_PULSE, this.#reply.subarray(0, 0))
    }
  }

  /**
   * The caller's word on wall time, milliseconds since 1970. The primary takes it down when there is none yet, or
   * when it is off by more than a step; the state machine clamps it. False: not now, or no need.
   */
  proposeWallClock(wallMs: number): boolean {
    assert(Number.isSafeInteger(wallMs) && wallMs >= 0, "replica: wall time is a safe integer of milliseconds")
    const known = this.#machine.wallOffset()
    const isRight = known !== undefined && Math.abs(known + this.#timestamp() - wallMs) < WALL_CLOCK_STEP_MS_MAX
    const hasRoom = this.#hasControlSlot() && this.#ringHasSlot()
    if (!this.isPrimary || isRight || !hasRoom || this.#isPrepared(Operation.wall_clock)) {
      return false
    }
    const body = new Uint8Array(WALL_CLOCK_BYTES)
    const view = new DataView(body.buffer)
    view.setUint32(0, wallMs % 0x1_0000_0000, true)
    view.setUint32(4, Math.floor(wallMs / 0x1_0000_0000), true)
    this.#prepare({ ...CONTROL_PULSE, operation: Operation.wall_clock }, body)
    this.#settle()
    return true
  }

  #resendPrepares(): void {
    for (const slot of this.#peers) {
      const acked = this.#acked[slot] ?? 0
      for (let op = Math.max(acked, this.#commit) + 1; op <= this.log.op; op += 1) {
        this.#sendPrepare(slot, op)
      }
    }
  }

  #isPrepared(operation: Operation): boolean {
    for (let op = this.#commit + 1; op <= this.log.op; op += 1) {
      if (this.log.header(op)?.operation === operation) {
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
    if (this.#isTorn) {
      this.#startTransfer(this.#anotherSlot())
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

  #envelope(): { readonly from: number; readonly epoch: number; readonly cv: CrashVector } {
    return { from: this.slot, epoch: this.#configuration.epoch, cv: this.#cv }
  }

  #send(to: number, message: Message): void {
    assert(to >= 0 && to < this.#limits.slots_max, "replica: a message goes to a slot")
    if (this.#outbox.isFull()) {
      // The network may lose messages anyway: the protocol repeats what matters.
      this.counters.outbox_dropped += 1
      return
    }
    this.#outbox.add({ to, message })
  }

  #broadcast(message: Message): void {
    for (const slot of this.#peers) {
      this.#send(slot, message)
    }
  }

  /** Checked after every event: O(1), and each line has been true since the process began. */
  #assertInvariants(): void {
    assert(this.#commit <= this.log.op, "replica: commit number is at most the op number")
    assert(this.log.first <= this.#commit + 1, "replica: every uncommitted entry is held")
    assert(this.#logView <= this.#view, "replica: a log is never of a later view than its replica")
    assert(
      this.#isTorn || this.#machine.commit() === this.#commit,
      "replica: the state machine is at the commit number",
    )
    assert(this.#isTorn || !this.#receiver.active, "replica: who copies does not believe what it has")
    assert(!this.#isTorn || this.#status !== "normal" || this.#abdicated, "replica: a member has the state")
    assert(this.#status !== "normal" || this.#logView === this.#view, "replica: a member has its view's log")
    assert(this.#status !== "normal" || this.incarnation > 0 || !this.#isVoter, "replica: a voter has an incarnation")
    assert(this.#isVoter || this.incarnation === 0, "replica: who has no vote has no incarnation")
    assert(this.#isVoter || this.#status !== "view_change", "replica: who has no vote changes no views")
    assert(
      this.#configuration.op <= this.#commit || this.#status !== "normal",
      "replica: a member holds its epoch's start",
    )
    assert(this.#target === undefined || this.#status !== "normal", "replica: a member installs nothing")
    assert(this.#status !== "normal" || !this.#isOutgrown(), "replica: a member has its epoch's limits")
  }

  // ---------------------------------------------------------------- copies, for a search over schedules

  /**
   * Becomes as `other` is: from the same events both do the same from now on. Both are of one boot of one slot, and
   * `random` must go on where the other's is; the caller has taken all outgoing messages. A body that left in a message
   * may be a view into this replica's buffers: whoever keeps it copies it before the next event.
   */
  copyFrom(other: Replica): void {
    assert(this.slot === other.slot && this.#founders === other.#founders, "replica: a copy has its original's place")
    assert(this.#bootNonce === other.#bootNonce && this.#token === other.#token, "replica: a copy is of the same boot")
    assert(this.#outbox.isEmpty() && other.#outbox.isEmpty(), "replica: a copy is made when nothing is going out")
    Object.assign(this.counters, other.counters)
    this.#machine.arena.set(other.#machine.arena)
    assert(this.#machine.restored(), "replica: a copied arena is an arena")
    this.#staging.set(other.#staging)
    this.log.copyFrom(other.log)
    this.#status = other.#status
    this.#configuration = other.#configuration
    this.#isVoter = other.#isVoter
    this.#peers = other.#peers
    this.#faults = other.#faults
    this.#due = other.#due
    this.#started.set(other.#started)
    this.#epochToldAt = other.#epochToldAt
    this.#toldAt.set(other.#toldAt)
    this.#change = other.#change
    this.#view = other.#view
    this.#logView = other.#logView
    this.#commit = other.#commit
    this.#cv = other.#cv
    this.#now = other.#now
    this.#acked.set(other.#acked)
    this.#ackedAt.set(other.#ackedAt)
    this.#isKept.set(other.#isKept)
    this.#catchUps.set(other.#catchUps)
    this.#catchUpAt.set(other.#catchUpAt)
    this.#roundAcked.set(other.#roundAcked)
    for (const [slot, follower] of other.#followers.entries()) {
      this.#followers[slot] = follower
    }
    this.#pacedAt = other.#pacedAt
    this.#dropsStandby = other.#dropsStandby
    this.#isStandbyMissing = other.#isStandbyMissing
    this.#tableDoubtedOp = other.#tableDoubtedOp
    this.#disputedAt = other.#disputedAt
    this.#isMemoryDisputed = other.#isMemoryDisputed
    this.#round = other.#round
    this.#roundConfirmed = other.#roundConfirmed
    this.#viewStartOp = other.#viewStartOp
    this.#viewStartTimestamp = other.#viewStartTimestamp
    this.#viewStartNow = other.#viewStartNow
    this.#heartbeatAt = other.#heartbeatAt
    this.#preparedAt = other.#preparedAt
    this.#confirmedAt = other.#confirmedAt
    this.#resentAt = other.#resentAt
    this.#abdicated = other.#abdicated
    this.#isDraining = other.#isDraining
    this.#requests.copyFrom(other.#requests)
    this.#reads.copyFrom(other.#reads)
    this.#routes = other.#routes.map((route) => ({ ...route }))
    this.#exitVotes.copyFrom(other.#exitVotes)
    this.#joinViews.copyFrom(other.#joinViews)
    this.#ownJoinView = other.#ownJoinView
    this.#viewChangeAt = other.#viewChangeAt
    this.#viewChangeMs = other.#viewChangeMs
    this.#joinSentAt = other.#joinSentAt
    this.#exitSentAt = other.#exitSentAt
    this.#primaryHeardAt = other.#primaryHeardAt
    this.#roundHeard = other.#roundHeard
    this.#followedAt = other.#followedAt
    this.#getViewAt = other.#getViewAt
    this.#getLogAt = other.#getLogAt
    this.#target = other.#target === undefined ? undefined : { ...other.#target }
    this.#staged = other.#staged.slice()
    this.#stagedBytes = other.#stagedBytes
    this.#targetAskedAt = other.#targetAskedAt
    this.#askedLast = other.#askedLast
    this.#askedBytes = other.#askedBytes
    this.#targetProgressAt = other.#targetProgressAt
    this.#isFollowing = other.#isFollowing
    this.#claim = other.#claim
    this.#askedNonce.set(other.#askedNonce)
    this.#claimed.set(other.#claimed)
    this.#phase = other.#phase
    this.#attemptNonce = other.#attemptNonce
    this.#attemptAt = other.#attemptAt
    this.#attemptMs = other.#attemptMs
    this.#probes.copyFrom(other.#probes)
    this.#responses.copyFrom(other.#responses)
    this.#receiver.copyFrom(other.#receiver)
    this.#image.copyFrom(other.#image)
    this.#checkpoints.copyFrom(other.#checkpoints)
    this.#isTorn = other.#isTorn
    this.#memoryFault = other.#memoryFault
    this.#checkpointAt = other.#checkpointAt
    this.#checkpointSaidAt = other.#checkpointSaidAt
    this.#readAt = other.#readAt
    this.#refusedSince = other.#refusedSince
    this.#copiesAt.set(other.#copiesAt)
    this.#readRounds = other.#readRounds
    this.#isReadElsewhere = other.#isReadElsewhere
    this.#heardAt.set(other.#heardAt)
    this.#assertInvariants()
  }

  /**
   * Every field that decides what this replica will do. A moment is told as the time since, so that states that differ
   * in nothing but the hour are equal.
   */
  fingerprint(sink: FingerprintSink): void {
    assert(this.#outbox.isEmpty(), "replica: a fingerprint is taken when nothing is going out")
    const since = (at: number): number => this.#now - at
    sink("slot", this.slot)
    sink("founders", this.#founders)
    sink("bootNonce", this.#bootNonce)
    sink("token", this.#token)
    sink("machine", this.#machine.arena)
    this.log.fingerprint(sink)
    sink("status", this.#status)
    sink("configuration", this.#configuration)
    sink("due", this.#due)
    sink("started", this.#started)
    sink("epochToldAt", since(this.#epochToldAt))
    sink("toldAt", Array.from(this.#toldAt, since))
    sink("change", this.#change && { ...this.#change, since: since(this.#change.since) })
    sink("view", this.#view)
    sink("logView", this.#logView)
    sink("commit", this.#commit)
    sink("cv", this.#cv)
    sink("acked", Array.from(this.#acked))
    sink("ackedAt", Array.from(this.#ackedAt, since))
    sink("isKept", this.#isKept)
    sink("catchUps", Array.from(this.#catchUps))
    sink("catchUpAt", Array.from(this.#catchUpAt, since))
    sink("roundAcked", Array.from(this.#roundAcked))
    for (const follower of this.#followers) {
      sink("followers", follower && { ...follower, heard_at: since(follower.heard_at) })
    }
    sink("pacedAt", since(this.#pacedAt))
    sink("dropsStandby", this.#dropsStandby)
    sink("isStandbyMissing", this.#isStandbyMissing)
    sink("tableDoubtedOp", this.#tableDoubtedOp)
    sink("disputedAt", this.#disputedAt)
    sink("isMemoryDisputed", this.#isMemoryDisputed)
    sink("round", this.#round)
    sink("roundConfirmed", this.#roundConfirmed)
    sink("viewStartOp", this.#viewStartOp)
    sink("viewStartTimestamp", this.#viewStartTimestamp)
    sink("viewStartNow", since(this.#viewStartNow))
    sink("heartbeatAt", since(this.#heartbeatAt))
    sink("preparedAt", since(this.#preparedAt))
    sink("confirmedAt", since(this.#confirmedAt))
    sink("resentAt", since(this.#resentAt))
    sink("abdicated", this.#abdicated)
    sink("isDraining", this.#isDraining)
    this.#requests.fingerprint(sink, (item) => [item.from, item.operation, item.session, item.request])
    this.#reads.fingerprint(sink, (item) => [item.from, item.read, item.round])
    sink("routes", this.#routes)
    sink("exitVotes", this.#exitVotes.all())
    sink("joinViews", this.#joinViews.all())
    sink("ownJoinView", this.#ownJoinView)
    sink("viewChangeAt", since(this.#viewChangeAt))
    sink("viewChangeMs", this.#viewChangeMs)
    sink("joinSentAt", since(this.#joinSentAt))
    sink("exitSentAt", since(this.#exitSentAt))
    sink("primaryHeardAt", since(this.#primaryHeardAt))
    sink("roundHeard", this.#roundHeard)
    sink("followedAt", since(this.#followedAt))
    sink("getViewAt", since(this.#getViewAt))
    sink("getLogAt", since(this.#getLogAt))
    sink("target", this.#target)
    sink("targetAskedAt", since(this.#targetAskedAt))
    sink("askedLast", this.#target && this.#askedLast)
    sink("askedBytes", this.#target && this.#askedBytes)
    sink("targetProgressAt", since(this.#targetProgressAt))
    sink("stagedBytes", this.#stagedBytes)
    for (const staged of this.#staged) {
      sink("staged", staged)
      sink("staging", this.#staging.subarray(staged.start, staged.start + staged.bytes))
    }
    sink("isFollowing", this.#isFollowing)
    sink("claim", this.#claim)
    sink("askedNonce", Array.from(this.#askedNonce))
    sink("claimed", Array.from(this.#claimed))
    sink("phase", this.#phase)
    sink("attemptNonce", this.#attemptNonce)
    sink("attemptAt", since(this.#attemptAt))
    sink("attemptMs", this.#attemptMs)
    sink("probes", this.#probes.all())
    sink("responses", this.#responses.all())
    this.#receiver.fingerprint(sink, this.#now)
    this.#image.fingerprint(sink)
    this.#checkpoints.fingerprint(sink)
    sink("isTorn", this.#isTorn)
    sink("memoryFault", this.#memoryFault && { ...this.#memoryFault, at: since(this.#memoryFault.at) })
    sink("checkpointAt", since(this.#checkpointAt))
    sink("checkpointSaidAt", since(this.#checkpointSaidAt))
    sink("readAt", since(this.#readAt))
    sink("refusedSince", since(this.#refusedSince))
    sink("copiesAt", Array.from(this.#copiesAt, since))
    sink("readRounds", this.#readRounds)
    sink("isReadElsewhere", this.#isReadElsewhere)
    sink("heardAt", Array.from(this.#heardAt, since))
  }

  /**
   * For a search in which the passing of time is a step of its own: every wait begins now, every pause between repeats
   * is over, nobody is waited for because it lags, and the clock of the caller may begin anew.
   */
  restClock(): void {
    this.#now = 0
    this.#heardAt.fill(Number.NEGATIVE_INFINITY)
    this.#ackedAt.fill(Number.NEGATIVE_INFINITY)
    this.#catchUpAt.fill(Number.NEGATIVE_INFINITY)
    this.#isKept.fill(0)
    this.#catchUps.fill(0)
    for (const [slot, follower] of this.#followers.entries()) {
      this.#followers[slot] = follower && { ...follower, heard_at: Math.min(follower.heard_at, 0) }
    }
    this.#change = this.#change && { ...this.#change, since: 0 }
    this.#viewStartNow = 0
    this.#heartbeatAt = 0
    this.#preparedAt = 0
    this.#confirmedAt = 0
    this.#resentAt = 0
    this.#viewChangeAt = 0
    this.#joinSentAt = 0
    this.#primaryHeardAt = 0
    this.#targetProgressAt = 0
    this.#attemptAt = 0
    this.#followedAt = 0
    this.#pacedAt = Number.NEGATIVE_INFINITY
    this.#epochToldAt = Number.NEGATIVE_INFINITY
    this.#toldAt.fill(Number.NEGATIVE_INFINITY)
    this.#exitSentAt = Number.NEGATIVE_INFINITY
    this.#getViewAt = Number.NEGATIVE_INFINITY
    this.#getLogAt = Number.NEGATIVE_INFINITY
    this.#targetAskedAt = Number.NEGATIVE_INFINITY
    this.#receiver.restClock(0)
    this.#checkpointAt = 0
    this.#checkpointSaidAt = Number.NEGATIVE_INFINITY
    this.#readAt = Number.NEGATIVE_INFINITY
    this.#refusedSince = Number.POSITIVE_INFINITY
    this.#copiesAt.fill(Number.NEGATIVE_INFINITY)
  }
}

/** What the primary prepares of its own accord: it answers nobody. */
const CONTROL_PULSE: QueuedRequest = { from: -1, operation: Operation.pulse, session: 0, request: 0 }

/** Who asked for a state counts as one that has none for so many times the patience with a silent donor. */
const COPIER_SILENCES = 5

/** A piece of a checkpoint is large: it is asked for again after so many times what other messages get. */
const PIECE_RETRIES = 4

/** Rounds of copying that a machine may take at full load before it is slowed for. */
const CATCH_UPS_UNPACED = 3
/** Of one donor's images so many are tried, before another donor is. */
const IMAGES_OF_DONOR_MAX = 16

/** A standby that has not been heard. */
const NOBODY: Follower = {
  slot: 0,
  nonce: 0,
  grows_to: GROWS_TO_NONE,
  op: 0,
  heard_at: Number.NEGATIVE_INFINITY,
  confirmed_op: 0,
  confirmed_round: 0,
}

/** The pointwise maximum of what the senders know. */
function mergedVector(messages: readonly Message[]): CrashVector {
  const [first, ...others] = messages
  assert(first !== undefined, "replica: there is something to merge")
  return first.cv.map((entry, slot) => Math.max(entry, ...others.map((other) => entryAt(other.cv, slot))))
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
