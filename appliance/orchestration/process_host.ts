/**
 * The one process of a replica's machine: owns the clock, chance, the static buffers, the replica with its state
 * machine, and the links; carries every message between them and the gateway. All runs in one thread, one event at a
 * time: a tick, a frame from a peer, a gateway's message; after each the replica's outbox is drained. Plane: control.
 */
import type { Logger } from "pino"
import { allocateReplicaMemory, type ReplicaMemory } from "../replication/replica_memory.ts"
import type { SignedRoster } from "../keys/roster.ts"
import type { RosterOutcome } from "../keys/trust.ts"
import { memberAt, votes } from "../replication/configuration.ts"
import { entryAt, incarnationOf, nonceOf } from "../replication/crash_vector.ts"
import {
  type GrownStart,
  type PromoteOutcome,
  Replica,
  type ReplicaCounters,
  type ReplicaStatus,
} from "../replication/replica.ts"
import type { Message, MessageOf } from "../replication/message.ts"
import { frameBytesMax, type WireOptions } from "../replication/wire.ts"
import { arenaBytes, arenaLayout } from "../state_machine/arena.ts"
import { RECORD_NONE, RecordTable } from "../state_machine/record_table.ts"
import { TableNumber } from "../state_machine/record_tables.ts"
import type { GrowthError } from "../state_machine/growth.ts"
import {
  type ArenaStateMachine,
  createStateMachine,
  pageNotesBytes,
  pagePoolBytes,
} from "../state_machine/state_machine.ts"
import { assert } from "../types/assert.ts"
import type { Operation, RandomU32 } from "../types/contracts.ts"
import { type ClusterSize, sizeOfFingerprint } from "../types/cluster_sizes.ts"
import { GROWS_TO_NONE } from "../types/growth.ts"
import { type ClusterLimits, limitsFingerprint, type ProcessLimits } from "../types/limits.ts"
import { Ring } from "../types/ring.ts"
import { err, ok, type Result } from "../types/result.ts"
import { StaticMemory } from "../types/static_memory.ts"
import { AddressBook } from "./address_book.ts"
import { type AnnounceAnswer, type Announcement, Announcer } from "./announcer.ts"
import { CheckpointWatch } from "./checkpoint_watch.ts"
import { CopyThrottle } from "./copy_throttle.ts"
import { ExitCode, exitReason } from "./exit_codes.ts"
import { FormedMarker } from "./formed_marker.ts"
import { Growth, memoryBeforeGrowth } from "./growth.ts"
import type { Alarm } from "./alarms.ts"
import type { CheckpointInfo, HostInfo, HostMember, MemberRole } from "./host_info.ts"
import { keepRoster } from "./joiner.ts"
import { LimitedLog } from "./limited_log.ts"
import { assertOrchestrationLimits, type OrchestrationLimits } from "./limits.ts"
import type { LinkSecurity } from "./link_security.ts"
import { Links, type ListenError } from "./links.ts"
import { type Change, type ChangeAnswer, Membership } from "./membership.ts"
import { MemoryWatch } from "./memory_watch.ts"
import type { NetworkFacts, NodeConfig } from "./node_config.ts"
import { type Outage, QuorumWatch } from "./quorum_watch.ts"
import { Salvage, type SalvageRefusal } from "./salvage.ts"
import { SlewedClock } from "./slewed_clock.ts"
import { tableUsage } from "./table_usage.ts"
import { monotonicMs, sha256Digest, systemRandom, zlibChecksum } from "./system_ports.ts"

export type Ports = { readonly replica: number; readonly data: number; readonly api: number }

export type HostOptions = {
  readonly config: NodeConfig
  readonly slot: number
  readonly facts: NetworkFacts
  /** The address that peers are told. */
  readonly advertise: string
  /** The address that links are accepted on. */
  readonly bind: string
  readonly ports: Ports
  readonly version: string
  readonly limits: ClusterLimits
  /** The larger limits that this machine has room for, when its cluster grows. */
  readonly growTo?: ClusterLimits
  readonly processLimits: ProcessLimits
  readonly orchestrationLimits: OrchestrationLimits
  /** Where the formed marker lies; a machine that /init booted has it. */
  readonly runDirectory: string
  /** Undefined: plain links, by an explicit option. */
  readonly security: LinkSecurity | undefined
  readonly log: Logger
  /** The process must end with this code; called at most once. */
  readonly onEnd: (code: ExitCode) => void
}

/** What a gateway hands in: the host adds `from` and the crash vector. */
export type OwnMessage =
  | {
      readonly type: "request"
      readonly operation: Operation
      readonly session: number
      readonly request: number
      readonly body: Uint8Array
    }
  | { readonly type: "read"; readonly read: number; readonly body: Uint8Array }

export type Reply = MessageOf<"reply"> | MessageOf<"read_reply">

/** Who gets the answers to this machine's requests. A reply's body may be a view that ends with the call. */
export type ReplySink = {
  onReply(message: Reply): void
  tick(nowMs: number): void
  /** The cluster has grown, and this machine with it. */
  onGrown(limits: ClusterLimits): void
}

/** Messages of peers that this replica must not believe; the links have judged their form before. */
const REFUSALS: readonly (keyof ReplicaCounters)[] = [
  "stale_incarnation",
  "wrong_epoch",
  "corrupt_entry",
  "divergent_entry",
  "unexpected_message",
]

export class ProcessHost {
  readonly memory = new StaticMemory()
  readonly links: Links
  readonly random: RandomU32 = systemRandom()

  readonly #options: HostOptions
  /** Other ones once this machine has grown: its limits, its state, and its replica. */
  #limits: ClusterLimits
  #stateMachine: ArenaStateMachine
  #replica: Replica
  readonly #growth: Growth | undefined
  readonly #replicaMemory: ReplicaMemory
  readonly #book: AddressBook
  readonly #names: string[]
  readonly #limitedLog: LimitedLog
  readonly #marker: FormedMarker
  readonly #announcer: Announcer | undefined
  readonly #replies: Ring<Reply>
  readonly #startedAt = monotonicMs()
  #sink: ReplySink | undefined
  #timer: NodeJS.Timeout | undefined
  #now = monotonicMs()
  readonly #clock: SlewedClock
  readonly #quorum: QuorumWatch
  readonly #checkpoints: CheckpointWatch
  readonly #memoryWatch: MemoryWatch
  readonly #throttle: CopyThrottle
  readonly #membership: Membership
  readonly #wire: WireOptions
  #wallClockAt = Number.NEGATIVE_INFINITY
  /** The replica's counters as they were last looked at, so that a refusal is logged. */
  readonly #counted = new Map<string, number>()
  #isPumping = false
  #ended = false
  #status: ReplicaStatus = "recovering"
  #view = -1
  #isTorn = false
  /** Since when a peer has had the limits that this blank process grows to; Infinity for never. */
  #largerSince = Number.POSITIVE_INFINITY

  constructor(options: HostOptions) {
    const { config, slot, limits, processLimits, orchestrationLimits } = options
    assert(slot < limits.slots_max, "process host: a slot is one of the cluster's")
    const wire: WireOptions = {
      identity: {
        cluster_id: Uint8Array.from(Buffer.from(config.cluster_id, "hex")),
        generation: config.generation,
        limits_fingerprint: limitsFingerprint(limits),
      },
      limits,
      checksum: zlibChecksum,
    }
    for (const cluster of [limits, options.growTo ?? limits]) {
      const bytesMax = frameBytesMax(cluster)
      assertOrchestrationLimits(orchestrationLimits, { cluster, process: processLimits, frameBytesMax: bytesMax })
    }
    this.#options = options
    this.#limits = limits
    this.#wire = wire
    this.#membership = new Membership({
      send: (slot, change, wanted) => this.#sendChange(slot, change, wanted),
      primarySlot: () => this.primarySlot(),
      epoch: () => this.replica.epoch,
      now: monotonicMs,
      timeoutMs: orchestrationLimits.change_ms,
      retryMs: orchestrationLimits.link_retry_ms_max,
    })
    this.#clock = new SlewedClock({
      start: this.#now,
      stepMsMax: orchestrationLimits.clock_step_ms_max,
      slewDivisor: orchestrationLimits.clock_slew_divisor,
    })
    this.#marker = new FormedMarker(options.runDirectory)
    this.#names = new Array<string>(limits.slots_max).fill("")
    this.#names[slot] = config.machine
    this.#replies = new Ring(processLimits.outbox_max)
    this.#limitedLog = new LimitedLog(options.log, {
      repeatMs: orchestrationLimits.log_repeat_ms,
      kindsMax: orchestrationLimits.log_kinds_max,
    })
    this.#quorum = new QuorumWatch({ graceMs: orchestrationLimits.quorum_grace_ms, log: options.log })
    this.#checkpoints = new CheckpointWatch({
      overdueMs: orchestrationLimits.checkpoint_overdue_ms,
      fullMs: orchestrationLimits.checkpoint_full_ms,
      log: options.log,
    })
    this.#throttle = new CopyThrottle({
      asksMax: limits.slots_max * processLimits.chunks_in_flight_max,
      piecesPerTick: orchestrationLimits.copy_pieces_busy,
      busyOps: orchestrationLimits.copy_busy_ops,
      windowMs: orchestrationLimits.copy_window_ms,
    })
    this.#book = new AddressBook(limits.slots_max)
    for (const member of config.members) {
      this.#learn(member)
    }
    this.#stateMachine = createStateMachine({
      limits,
      // Touched now: the kernel promises more than it has, and to find a page when a state is copied into it costs as
      // much as all the rest of copying it.
      arena: this.memory.allocate("arena", arenaBytes(limits)).fill(0),
      notes: this.memory.allocate("arena page notes", pageNotesBytes(limits)),
      pool: this.memory.allocate("arena page pool", pagePoolBytes(limits)),
    })
    this.#growth =
      options.growTo === undefined ? undefined : new Growth({ from: limits, to: options.growTo, memory: this.memory })
    // A log that grows begins empty: the smaller one lies in the room of the larger.
    this.#replicaMemory = allocateReplicaMemory(this.memory, { limits: options.growTo ?? limits, processLimits })
    this.#replica = new Replica({
      slot,
      voters: config.voters,
      generation: config.generation,
      token: this.#marker.isWritten ? "" : config.formation_token,
      limits,
      processLimits,
      stateMachine: this.stateMachine,
      memory: memoryBeforeGrowth(this.#replicaMemory, limits),
      digest: sha256Digest,
      random: this.random,
      growsTo: this.#growth?.fingerprint ?? GROWS_TO_NONE,
    })
    this.#memoryWatch = new MemoryWatch({
      machine: config.machine,
      slot,
      limits,
      pageBytes: this.stateMachine.pages.pageBytes,
      faultsMax: processLimits.memory_faults_max,
      log: options.log,
    })
    this.links = new Links({
      slot,
      wire,
      security: options.security,
      limits: orchestrationLimits,
      memory: this.memory,
      book: this.#book,
      log: this.#limitedLog,
      random: this.random,
      advertise: options.advertise,
      epoch: () => this.replica.epoch,
      incarnation: () => this.replica.incarnation,
      holdsState: () => this.#holdsState(),
      onOtherLimits: (fingerprint) => this.#onOtherLimits(fingerprint),
      onMessage: (message) => this.#onPeerMessage(message),
      onRead: () => this.links.flush(),
    })
    this.#announcer =
      config.boot_server === ""
        ? undefined
        : new Announcer({
            bootServer: config.boot_server,
            limits: orchestrationLimits,
            log: this.#limitedLog,
            random: this.random,
            now: monotonicMs,
            announcement: () => this.#announcement(),
            roster: () => options.security?.trust.roster,
            onAnswer: (answer) => this.#onAnswer(answer),
          })
  }

  get replica(): Replica {
    return this.#replica
  }
  get stateMachine(): ArenaStateMachine {
    return this.#stateMachine
  }

  /** Seals the memory, opens the port and starts the clock. Whoever allocates must have done so before. */
  async start(sink: ReplySink): Promise<Result<void, ListenError>> {
    assert(this.#sink === undefined, "process host: started once")
    this.#sink = sink
    this.memory.seal()
    const { log, config, bind, ports } = this.#options
    log.info({ bytes_total: this.memory.bytesTotal, buffers: this.memory.table() }, "static_memory_sealed")
    const listening = await this.links.listen({ host: bind, port: ports.replica })
    if (!listening.ok) {
      return err(listening.error)
    }
    const mayForm = config.formation_token !== "" && !this.#marker.isWritten
    log.info(
      { slot: this.replica.slot, voters: config.voters, port: this.links.port, may_form: mayForm },
      "replica_started",
    )
    this.#timer = setInterval(() => this.#tick(), this.#options.processLimits.tick_ms)
    this.#announcer?.start()
    return ok(undefined)
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#announcer?.stop()
    this.links.close()
  }

  // ---------------------------------------------------------------- what a gateway asks (gateway/port.ts)

  /** False: there is no link to that slot, or no room on it. The body is copied before this returns. */
  sendTo(slot: number, message: OwnMessage): boolean {
    assert(slot >= 0 && slot < this.#options.limits.slots_max, "process host: a message goes to a slot")
    const envelope = { from: this.replica.slot, epoch: this.replica.epoch, cv: this.replica.cv }
    if (slot === this.replica.slot) {
      this.replica.receive({ ...message, ...envelope })
      this.#pump()
      this.links.flush()
      return true
    }
    const isSent = this.links.send(slot, { ...message, ...envelope })
    this.links.flush()
    return isSent
  }

  // ---------------------------------------------------------------- what an operator asks (gateway/members_api.ts)

  change(wanted: Change): Promise<ChangeAnswer> {
    return this.#membership.change(wanted)
  }

  /** Into a new generation: from here on nobody who stayed behind is heard, and nobody there hears this machine. */
  promote(): PromoteOutcome {
    const outcome = this.replica.promote()
    if (outcome === "ok") {
      this.#wire.identity = { ...this.#wire.identity, generation: this.replica.generation }
      this.#options.log.warn({ generation: this.replica.generation, epoch: this.replica.epoch }, "standby_promoted")
    }
    this.#pump()
    this.links.flush()
    return outcome
  }

  epoch(): number {
    return this.replica.epoch
  }

  generation(): number {
    return this.replica.generation
  }

  #sendChange(slot: number, change: number, wanted: Change): boolean {
    const { epoch, voters, standbys, synchronous, drops_standby, grows } = wanted
    const message: Message = {
      type: "reconfigure",
      change,
      epoch_expected: epoch,
      voters,
      standbys,
      synchronous,
      drops_standby,
      grows,
      from: this.replica.slot,
      epoch: this.replica.epoch,
      cv: this.replica.cv,
    }
    if (slot === this.replica.slot) {
      this.replica.receive(message)
      this.#pump()
      this.links.flush()
      return true
    }
    const isSent = this.links.send(slot, message)
    this.links.flush()
    return isSent
  }

  /**
   * -1 in a view change too: the view's primary serves nobody yet, and who was refused by it would wait before he asks
   * again. That the view has begun is then news, and followed at once.
   */
  primarySlot(): number {
    const { status } = this.replica
    return status === "normal" || status === "state_transfer" ? this.replica.primary : -1
  }

  primaryOf(epoch: number, view: number): number {
    return epoch === this.replica.epoch ? this.replica.primaryOf(view) : -1
  }

  voterSlots(): readonly number[] {
    return this.replica.configuration.voters.map((voter) => voter.slot)
  }

  slotsMax(): number {
    return this.#options.limits.slots_max
  }

  outage(): Outage | undefined {
    return this.#outgrown() ?? this.#quorum.outage
  }

  /** The cluster has grown without this machine: what it can't be asked for any more, others have. */
  #outgrown(): Outage | undefined {
    if (!this.replica.isOutgrown || this.replica.grownStart !== undefined) {
      return undefined
    }
    const slots = this.voterSlots().join(", ")
    const text = `epoch ${this.replica.epoch} has larger limits than this machine, and votes in slots ${slots}`
    return { kind: "outgrown", text }
  }

  #alarms(): Alarm[] {
    const outgrown = this.#outgrown()
    const others = [...this.#checkpoints.alarms(), ...this.#memoryWatch.alarms()]
    if (outgrown === undefined) {
      return [...this.#quorum.alarms(), ...others]
    }
    const text = `${outgrown.text}: ask those; when 'mandala epoch' there says so, switch this machine off`
    return [{ kind: "outgrown", text }, ...others]
  }

  /** What this machine holds, for an operator whose majority is gone; refused while the cluster answers. */
  salvage(isForced: boolean): Result<Salvage, SalvageRefusal> {
    const info = this.info()
    if (!this.#isMember()) {
      const text = `this machine holds no state: it is ${info.status}; ask another`
      return err({ kind: "no_state", text })
    }
    if (info.outage === undefined && !isForced) {
      const text = `${info.voters_live} of ${info.voters} voters live and answer: read from the cluster, or add --force`
      return err({ kind: "quorum_present", text })
    }
    const { stateMachine, replica } = this
    return ok(new Salvage({ info, limits: this.#limits, stateMachine, replica }))
  }

  secret(name: string): Uint8Array | undefined | null {
    if (!this.#holdsState()) {
      return null
    }
    const { arena } = this.stateMachine
    const limits = this.#limits
    // Made anew each time it is asked for, a few times a second: a cluster that grew has another arena.
    const view = new DataView(arena.buffer, arena.byteOffset, arena.byteLength)
    const pages = { willWrite: () => assert(false, "process host: nothing is written past the log") }
    const secrets = new RecordTable({ view, layout: arenaLayout(limits), limits, pages }, TableNumber.secrets)
    const key = Buffer.from(name)
    const index = secrets.find(key, 0, key.length)
    const at = secrets.offset(index)
    return index === RECORD_NONE ? undefined : arena.slice(at, at + secrets.recordBytes)
  }

  info(): HostInfo {
    const { replica } = this
    const { config } = this.#options
    return {
      name: config.machine,
      version: this.#options.version,
      cluster_id: config.cluster_id,
      generation: replica.generation,
      epoch: replica.epoch,
      is_epoch_safe: replica.isEpochSafe,
      size: sizeOfFingerprint(this.#wire.identity.limits_fingerprint) ?? null,
      grows_to: sizeOfFingerprint(replica.growsTo) ?? null,
      slot: replica.slot,
      role: this.#roleOf(replica.slot),
      voters: replica.voters,
      incarnation: replica.incarnation,
      status: replica.status,
      view: replica.view,
      op: replica.op,
      commit: replica.commit,
      primary_slot: this.primarySlot(),
      voters_live: this.#votersLive(),
      quorum_margin: this.#quorum.margin,
      copies: this.#copies(),
      alarms: this.#alarms(),
      outage: this.outage(),
      members: this.#members(),
      checkpoint: this.#checkpointInfo(),
      memory_faults: {
        faults: replica.counters.memory_faults,
        faults_max: this.#options.processLimits.memory_faults_max,
        last_fault: this.#memoryWatch.last ?? null,
      },
      arena_bytes: this.stateMachine.arena.length,
      tables: tableUsage(this.stateMachine.arena, this.#limits),
      memory: this.memory.table(),
      uptime_ms: monotonicMs() - this.#startedAt,
      link_security: this.#options.security === undefined ? "insecure" : "tls1.3",
      roster_version: this.#options.security?.trust.rosterVersion ?? 0,
      links: this.links.counters,
      protocol: replica.counters,
    }
  }

  #checkpointInfo(): CheckpointInfo {
    const { replica } = this
    const { pages } = this.stateMachine
    const { scrub_pages: scrubPages, tick_ms: tickMs } = this.#options.processLimits
    const { copying } = replica
    return {
      certified_op: replica.certifiedOp,
      certified_root: replica.certifiedRoot,
      certified_age_ms: this.#checkpoints.ageMs(this.#now),
      latest_op: this.#latestCheckpoint(),
      is_disputed: replica.isCheckpointDisputed,
      is_log_full: replica.isRingFull,
      is_torn: replica.isTorn,
      copying:
        copying === undefined
          ? null
          : { from_slot: copying.from, op: copying.op < 0 ? null : copying.op, pages_left: copying.pages_left },
      pages: pages.count,
      page_bytes: pages.pageBytes,
      pages_changed: pages.changed,
      pages_pending: pages.pending,
      scrub_page: pages.scrubAt,
      scrub_round_ms: Math.ceil(pages.count / scrubPages) * tickMs,
    }
  }

  /** What a torn arena says of itself is not to be believed either. */
  #latestCheckpoint(): number {
    return this.replica.isTorn ? -1 : this.stateMachine.checkpointOp()
  }

  /** All slots of the configuration, this machine's own, and every other that is known. */
  #members(): HostMember[] {
    const members: HostMember[] = []
    for (let slot = 0; slot < this.#options.limits.slots_max; slot += 1) {
      const isKnown = this.#names[slot] !== "" || this.#book.at(slot) !== undefined
      if (isKnown || this.#roleOf(slot) !== "none") {
        members.push(this.#member(slot))
      }
    }
    return members
  }

  #member(slot: number): HostMember {
    const { replica } = this
    const { configuration } = replica
    const place = this.#book.at(slot)
    const isSelf = slot === replica.slot
    const heardAt = this.links.heardAt(slot)
    const role = this.#roleOf(slot)
    const entry = entryAt(replica.cv, slot)
    const checkpoint = replica.checkpointOf(slot)
    return {
      slot,
      name: this.#names[slot] ?? "",
      address: isSelf
        ? `${this.#options.advertise}:${this.links.port}`
        : place === undefined
          ? ""
          : `${place.address}:${place.port}`,
      role,
      is_synchronous: role === "standby" && configuration.synchronous,
      boot_nonce: this.#bootNonce(slot, role),
      incarnation: role === "voter" ? incarnationOf(entry) : 0,
      holds_state: isSelf ? this.#holdsState() : this.links.holdsState(slot),
      lag_ops: replica.lagOf(slot) ?? null,
      grows_to: sizeOfFingerprint(this.#growsToOf(slot)) ?? null,
      uncertified: checkpoint !== undefined && checkpoint.op > replica.certifiedOp ? checkpoint : null,
      last_contact_ms: isSelf ? 0 : Number.isFinite(heardAt) ? Math.max(0, this.#now - heardAt) : null,
    }
  }

  #growsToOf(slot: number): number {
    const { replica } = this
    const follower = replica.followers().find((known) => known.slot === slot)
    return slot === replica.slot ? replica.growsTo : (follower?.grows_to ?? GROWS_TO_NONE)
  }

  #roleOf(slot: number): MemberRole {
    const { configuration } = this.replica
    if (votes(configuration, slot)) {
      return "voter"
    }
    if (memberAt(configuration, slot) !== undefined) {
      return "standby"
    }
    const isFollower = slot === this.replica.slot || this.replica.followers().some((known) => known.slot === slot)
    return isFollower ? "follower" : "none"
  }

  #bootNonce(slot: number, role: MemberRole): number | null {
    const { replica } = this
    if (slot === replica.slot) {
      return replica.bootNonce
    }
    if (role === "voter") {
      return nonceOf(entryAt(replica.cv, slot)) || null
    }
    const follower = replica.followers().find((known) => known.slot === slot)
    return follower?.nonce ?? memberAt(replica.configuration, slot)?.nonce ?? null
  }

  /** Voters that hold the state and were heard a moment ago, this one included. */
  #votersLive(): number {
    const silentMs = this.#options.orchestrationLimits.quorum_silent_ms
    let live = 0
    for (const { slot } of this.replica.configuration.voters) {
      const isLive = slot === this.replica.slot ? this.#holdsState() : this.links.isLive(slot, silentMs)
      live += isLive ? 1 : 0
    }
    return live
  }

  /** Machines that hold the state, as their keepalives say, this one included. */
  #copies(): number {
    let copies = this.#holdsState() ? 1 : 0
    for (let slot = 0; slot < this.#options.limits.slots_max; slot += 1) {
      copies += this.links.holdsState(slot) ? 1 : 0
    }
    return copies
  }

  /** It has its epoch's log and promises; its state may be torn. */
  #isMember(): boolean {
    const { status } = this.replica
    return status === "normal" || status === "view_change" || status === "state_transfer" || status === "outgrown"
  }

  /** The state is here whole: a copy that counts. */
  #holdsState(): boolean {
    return this.#isMember() && !this.replica.isTorn
  }

  // ---------------------------------------------------------------- events

  #tick(): void {
    this.#now = monotonicMs()
    this.replica.tick(this.#clock.advance(this.#now))
    this.#pump()
    this.#giveWhatWaits()
    this.links.tick(this.#now)
    this.#quorum.observe(this.#now, {
      voters: this.replica.voters,
      live: this.#votersLive(),
      copies: this.#copies(),
      isStandbyMissing: this.replica.isStandbyMissing,
      isMemoryDisputed: this.replica.isMemoryDisputed,
      isMember: this.#isMember(),
    })
    this.#checkpoints.observe(this.#now, {
      certifiedOp: this.replica.certifiedOp,
      latestOp: this.#latestCheckpoint(),
      isDisputed: this.replica.isCheckpointDisputed,
      isRingFull: this.replica.isRingFull,
      isMember: this.#holdsState(),
    })
    this.#logRefusals()
    this.#growWhenDue()
    this.#beginLargerWhenDue()
    this.#membership.tick(this.#now)
    this.#tickWallClock()
    this.#sink?.tick(this.#now)
    this.links.flush()
  }

  /** What the replica refused since the last tick: a line a kind in a while, however often it happens. */
  #logRefusals(): void {
    const { counters } = this.replica
    for (const kind of REFUSALS) {
      const count = counters[kind]
      if (count !== (this.#counted.get(kind) ?? 0)) {
        this.#counted.set(kind, count)
        this.#limitedLog.warn(`replica_${kind}`, this.#now, { count })
      }
    }
  }

  // ---------------------------------------------------------------- growth

  /**
   * The epoch has begun whose limits this machine has room for: its state is copied into the larger arena, and a
   * replica goes on with it as the same process. This takes as long as it takes (a second for a million keys); nobody
   * is waited for meanwhile but those who do the same.
   */
  #growWhenDue(): void {
    const start = this.replica.grownStart
    if (start === undefined || this.#growth === undefined || this.#ended) {
      return
    }
    const { log } = this.#options
    const since = monotonicMs()
    const grown = this.#growth.grow(this.stateMachine)
    if (!grown.ok) {
      this.#onGrowthError(grown.error)
      return
    }
    const { machine, digest } = grown.value
    this.#enterLarger(machine, start)
    this.#membership.onGrown(start.configuration)
    const { epoch, op } = start.configuration
    const ms = Math.round(monotonicMs() - since)
    log.warn({ epoch, op, digest, arena_bytes: machine.arena.length, ms }, "grown")
    this.#pump()
  }

  /**
   * A blank machine that was booted with the limits from before its cluster grew: whoever lives turns it away. It holds
   * nothing, so it begins anew, as another process would that was started with the larger limits. It waits a little:
   * machines that were outgrown may be telling it all that they hold just now.
   */
  #beginLargerWhenDue(): void {
    const { status, commit, op } = this.replica
    if (status !== "recovering" || commit !== 0 || op !== 0) {
      this.#largerSince = Number.POSITIVE_INFINITY
    } else if (this.#growth !== undefined && this.#now - this.#largerSince >= this.#anewMs()) {
      this.#largerSince = Number.POSITIVE_INFINITY
      this.#enterLarger(this.#growth.empty)
      this.#options.log.warn({ slot: this.replica.slot, arena_bytes: this.stateMachine.arena.length }, "begun_larger")
      this.#pump()
    }
  }

  #anewMs(): number {
    return this.#options.orchestrationLimits.grow_anew_ms
  }

  #onOtherLimits(fingerprint: number): void {
    const { limits_fingerprint: own } = this.#wire.identity
    if (fingerprint === this.#growth?.fingerprint && fingerprint !== own) {
      this.#largerSince = Math.min(this.#largerSince, this.#now)
    }
  }

  /** From here on with the larger limits: as the member that it was (`start`), or blank. */
  #enterLarger(machine: ArenaStateMachine, start?: GrownStart): void {
    const growth = this.#growth
    assert(growth !== undefined && this.#limits === growth.from, "process host: a machine grows once")
    const { config, slot, processLimits } = this.#options
    const { to: limits } = growth
    this.#limits = limits
    this.#stateMachine = machine
    const options = { slot, voters: config.voters, token: "", limits, processLimits, stateMachine: machine }
    this.#replica = new Replica(
      {
        ...options,
        generation: start?.configuration.generation ?? config.generation,
        memory: this.#replicaMemory,
        digest: sha256Digest,
        random: this.random,
      },
      start,
    )
    this.#memoryWatch.useLimits(limits)
    // Who has not grown is of another cluster from here on, and who has greets anew.
    this.#wire.identity = { ...this.#wire.identity, limits_fingerprint: growth.fingerprint }
    this.links.greetAnew()
    this.#sink?.onGrown(limits)
  }

  #onGrowthError(error: GrowthError): void {
    const { kind, at } = error
    if (kind === "page_corrupt") {
      // The scrub comes by, and convicts this machine: it copies the page from another, and grows then.
      this.#limitedLog.warn("growth_page_corrupt", this.#now, { page: at })
      return
    }
    this.#options.log.error({ kind, at, epoch: this.replica.epoch }, "growth_failed")
    this.#end(ExitCode.quarantined, `what it holds is not what was written (${kind}): it enters no larger epoch`)
  }

  /** What it leads to is written when all that one read brought has been handled (`onRead`). */
  /**
   * The primary takes wall time down for everybody; what a clock that is wrong can do is bounded where it is applied.
   */
  #tickWallClock(): void {
    if (this.#now - this.#wallClockAt >= this.#options.orchestrationLimits.wall_clock_ms) {
      this.#wallClockAt = this.#now
      if (this.replica.proposeWallClock(Date.now())) {
        this.#pump()
      }
    }
  }

  #onPeerMessage(message: Message): void {
    if (message.type === "reply" || message.type === "read_reply") {
      this.#sink?.onReply(message)
      return
    }
    if (message.type === "reconfigure_reply") {
      this.#membership.onReply(message)
      return
    }
    if (message.type === "get_checkpoint" && !this.#throttle.admits(message)) {
      return
    }
    this.replica.receive(message)
    this.#pump()
  }

  #giveWhatWaits(): void {
    this.#throttle.tick(this.#now, this.replica.commit)
    for (let ask = this.#throttle.take(); ask !== undefined; ask = this.#throttle.take()) {
      this.replica.receive(ask)
      this.#pump()
    }
  }

  /**
   * Drains the outbox. What goes to peers is encoded at once, since bodies are views into buffers that the next event
   * may change; only then the gateway hears its replies, and what it sends in answer is drained in the same way.
   */
  #pump(): void {
    if (this.#isPumping) {
      return
    }
    this.#isPumping = true
    for (let count = this.#drain(); count > 0; count = this.#drain()) {
      for (let reply = this.#replies.take(); reply !== undefined; reply = this.#replies.take()) {
        this.#sink?.onReply(reply)
      }
    }
    this.#isPumping = false
  }

  #drain(): number {
    this.#onStatus()
    let count = 0
    for (let out = this.replica.takeOutgoing(); out !== undefined; out = this.replica.takeOutgoing()) {
      count += 1
      if (this.#ended) {
        continue
      }
      if (out.to !== this.replica.slot) {
        this.links.send(out.to, out.message)
      } else if (out.message.type === "reply" || out.message.type === "read_reply") {
        assert(!this.#replies.isFull(), "process host: an outbox of replies fits")
        this.#replies.add(out.message)
      } else if (out.message.type === "reconfigure_reply") {
        this.#membership.onReply(out.message)
      } else {
        assert(false, "process host: a replica sends itself nothing but replies")
      }
    }
    return count
  }

  /** Before anything leaves the process: a member leaves its marker, and who was fenced says nothing more. */
  #onStatus(): void {
    const { status, view, isTorn, counters } = this.replica
    this.#memoryWatch.observe(counters.memory_faults, this.replica.memoryFault)
    if (status === this.#status && view === this.#view && isTorn === this.#isTorn) {
      return
    }
    if (status === "fenced" || status === "quarantined") {
      this.#end(ExitCode[status], `${status}: ${exitReason(ExitCode[status])}`)
    } else if (this.#isMember()) {
      const { cluster_id } = this.#options.config
      const written = this.#marker.write({ cluster_id, generation: this.replica.generation })
      if (!written.ok) {
        this.#end(ExitCode.unavailable, `the run directory takes no marker: ${written.error}`)
      }
    }
    this.#status = status
    this.#view = view
    this.#isTorn = isTorn
    this.links.announceState()
    this.#announcer?.announceSoon()
    const { commit, incarnation, isPrimary } = this.replica
    const fields = { status, view, commit, incarnation, is_primary: isPrimary, is_torn: isTorn }
    this.#options.log.info(fields, "replica_status")
  }

  #end(code: ExitCode, reason: string): void {
    if (this.#ended) {
      return
    }
    this.#ended = true
    this.#options.log.fatal({ exit_code: code }, reason)
    if (code === ExitCode.quarantined && this.#announcer !== undefined) {
      // Its last word: nobody else learns why this machine is gone.
      clearInterval(this.#timer)
      this.links.close()
      this.#announcer.sayLast(() => this.#options.onEnd(code))
      return
    }
    this.stop()
    this.#options.onEnd(code)
  }

  // ---------------------------------------------------------------- the boot server

  #announcement(): Announcement {
    const { config, facts, advertise, ports } = this.#options
    const { replica } = this
    return {
      machine: config.machine,
      boot_id: config.boot_id,
      slot: replica.slot,
      address: advertise,
      mac: facts.mac,
      replica_port: this.links.port,
      data_port: ports.data,
      api_port: ports.api,
      status: replica.status,
      view: replica.view,
      op: replica.op,
      commit: replica.commit,
      incarnation: replica.incarnation,
      primary_slot: this.primarySlot() < 0 ? null : this.primarySlot(),
      cluster_id: config.cluster_id,
      generation: replica.generation,
      epoch: replica.epoch,
      size: this.#sizeOfEpoch(),
      formed: this.#marker.isWritten || this.#isMember(),
      roster_version: this.#options.security?.trust.rosterVersion ?? 0,
    }
  }

  /** What a machine is to be booted with that shall take part: those that were outgrown know it too. */
  #sizeOfEpoch(): ClusterSize | null {
    const { grown_to: grownTo } = this.replica.configuration
    return sizeOfFingerprint(grownTo === GROWS_TO_NONE ? this.#wire.identity.limits_fingerprint : grownTo) ?? null
  }

  #onAnswer(answer: AnnounceAnswer): void {
    const { config } = this.#options
    if (answer.roster !== undefined) {
      this.learnRoster(answer.roster)
    }
    if (answer.cluster_id !== config.cluster_id || answer.generation !== config.generation) {
      this.#limitedLog.warn("announce_other_cluster", this.#now, { generation: answer.generation })
      return
    }
    for (const member of answer.members) {
      this.#learn(member)
    }
  }

  /** Whoever brings it: only the authority's signature counts. Whom it puts out is cut off before this returns. */
  learnRoster(roster: SignedRoster): RosterOutcome | "insecure" {
    const { security, runDirectory } = this.#options
    if (security === undefined) {
      return "insecure"
    }
    const outcome = security.trust.learn(roster)
    if (outcome === "newer") {
      this.links.judgeAgain()
      const kept = keepRoster(runDirectory, roster)
      this.#options.log.info({ version: security.trust.rosterVersion, is_kept: kept.ok }, "roster_learned")
    } else if (outcome !== "older") {
      this.#limitedLog.warn(`roster_${outcome}`, this.#now, {})
    }
    return outcome
  }

  #learn(member: {
    readonly slot: number
    readonly machine: string
    readonly address: string
    readonly replica_port: number
  }): void {
    const { slot, machine, address, replica_port } = member
    if (slot >= this.#options.limits.slots_max || slot === this.#options.slot) {
      return
    }
    if (machine !== "") {
      this.#names[slot] = machine
    }
    if (this.#book.learn(slot, { address, port: replica_port })) {
      this.#options.log.info({ slot, machine, address, port: replica_port }, "peer_address")
    }
  }
}
