/** A gateway over one real replica with the real state machine, in this process and without sockets. Plane: control. */
import { Gateway } from "../../../appliance/gateway/gateway.ts"
import type { ArchivePort } from "../../../appliance/gateway/archive_api.ts"
import type { GatewayMessage, ReplicaPort } from "../../../appliance/gateway/port.ts"
import type { HostInfo } from "../../../appliance/orchestration/host_info.ts"
import type { Outage } from "../../../appliance/orchestration/quorum_watch.ts"
import { Salvage, type SalvageRefusal } from "../../../appliance/orchestration/salvage.ts"
import { sha256Digest } from "../../../appliance/orchestration/system_ports.ts"
import { Replica } from "../../../appliance/replication/replica.ts"
import { allocateReplicaMemory } from "../../../appliance/replication/replica_memory.ts"
import { arenaBytes } from "../../../appliance/state_machine/arena.ts"
import { readExportRecords } from "../../../appliance/state_machine/export_record.ts"
import { type ArenaStateMachine, createStateMachine } from "../../../appliance/state_machine/state_machine.ts"
import { assert } from "../../../appliance/types/assert.ts"
import { CLUSTER_LIMITS, type ClusterLimits, PROCESS_LIMITS } from "../../../appliance/types/limits.ts"
import { PRNG } from "../../../appliance/types/prng.ts"
import { err, ok, type Result } from "../../../appliance/types/result.ts"
import { StaticMemory } from "../../../appliance/types/static_memory.ts"
import { CHECKPOINT, makeHostInfo, makeMember } from "./make_host_info.ts"

const TICK_MS = 10
const TICKS_TO_FORM_MAX = 1_000

/** Small enough that a test's arena is made in no time; every table is there. */
export const TEST_LIMITS: ClusterLimits = {
  ...CLUSTER_LIMITS,
  kv_entries_max: 4_096,
  kv_slab_bytes: 16 * 1024 * 1024,
  sessions_max: 16,
}

export class ClusterOfOne implements ReplicaPort, ArchivePort {
  readonly memory = new StaticMemory()
  readonly stateMachine: ArenaStateMachine
  readonly replica: Replica
  readonly gateway: Gateway
  readonly limits: ClusterLimits
  now = 0
  /** With real sockets: brings settle() about, soon. */
  onDue: (() => void) | undefined
  /** Flushes that the gateway asked for. */
  isDue = false

  constructor(options: { readonly seed?: number; readonly limits?: ClusterLimits } = {}) {
    const limits = options.limits ?? TEST_LIMITS
    this.limits = limits
    const prng = new PRNG(options.seed ?? 1)
    const random = (): number => prng.u32()
    this.stateMachine = createStateMachine({ limits, arena: new Uint8Array(arenaBytes(limits)) })
    this.replica = new Replica({
      slot: 0,
      voters: 1,
      generation: 1,
      token: "0".repeat(32),
      limits,
      processLimits: PROCESS_LIMITS,
      stateMachine: this.stateMachine,
      memory: allocateReplicaMemory(this.memory, {
        limits,
        processLimits: PROCESS_LIMITS,
      }),
      digest: sha256Digest,
      random,
    })
    this.gateway = new Gateway({
      limits,
      port: this.wrapPort(),
      memory: this.memory,
      random,
      schedule: () => {
        this.isDue = true
        this.onDue?.()
      },
    })
    for (let tick = 0; tick < TICKS_TO_FORM_MAX && this.replica.status !== "normal"; tick += 1) {
      this.tick()
    }
    assert(this.replica.status === "normal", "test: a cluster of one forms by itself")
  }

  /** What the gateway gets as its port: a test may put something in between. */
  protected wrapPort(): ReplicaPort {
    return this
  }

  sendTo(slot: number, message: GatewayMessage): boolean {
    assert(slot === 0, "test: there is one machine")
    this.deliver(message)
    return true
  }

  /** A request reaches the replica; its answers go to answer(). */
  deliver(message: GatewayMessage): void {
    this.replica.receive({ ...message, from: 0, epoch: this.replica.epoch, cv: this.replica.cv })
    this.#drain()
  }

  #drain(): void {
    for (let out = this.replica.takeOutgoing(); out !== undefined; out = this.replica.takeOutgoing()) {
      const { message } = out
      if (message.type === "reply" || message.type === "read_reply") {
        this.answer(message)
      }
    }
  }

  protected answer(message: Parameters<Gateway["onReply"]>[0]): void {
    this.gateway.onReply(message)
  }

  primarySlot(): number {
    return this.replica.status === "normal" ? 0 : -1
  }

  primaryOf(): number {
    return 0
  }

  voterSlots(): readonly number[] {
    return [0]
  }

  slotsMax(): number {
    return TEST_LIMITS.slots_max
  }

  outage(): Outage | undefined {
    return undefined
  }

  salvage(): Result<Salvage, SalvageRefusal> {
    const { replica, stateMachine } = this
    const info = this.info()
    return ok(new Salvage({ info, limits: this.limits, stateMachine, replica }))
  }

  tick(ms = TICK_MS): void {
    this.now += ms
    this.replica.tick(this.now)
    this.#drain()
    this.gateway.tick(this.now)
  }

  /** Flushes until nothing is asked for. */
  settle(): void {
    for (let turn = 0; turn < 100 && this.isDue; turn += 1) {
      this.isDue = false
      this.gateway.flush()
    }
  }

  /** As the state would have it. */
  password: Uint8Array | undefined
  secret(): Uint8Array | undefined {
    return this.password
  }

  clusterLimits(): ClusterLimits {
    return this.limits
  }
  imagePiece(wanted: Parameters<ArchivePort["imagePiece"]>[0]): ReturnType<ArchivePort["imagePiece"]> {
    return this.replica.imagePiece(wanted)
  }
  exportRecords(): ReturnType<ArchivePort["exportRecords"]> {
    return readExportRecords(this.stateMachine.arena, this.limits)
  }
  readonly restore = undefined
  beginRestore(): ReturnType<ArchivePort["beginRestore"]> {
    return err({ kind: "not_blank", text: "a test's cluster is not restored into" })
  }
  finishRestore(): ReturnType<ArchivePort["finishRestore"]> {
    return err({ kind: "not_begun", text: "no restore is under way here" })
  }

  info(): HostInfo {
    const { replica } = this
    return makeHostInfo({
      name: "m0",
      version: "0.0.0-test",
      slot: 0,
      voters: 1,
      incarnation: replica.incarnation,
      status: replica.status,
      view: replica.view,
      op: replica.op,
      commit: replica.commit,
      primary_slot: this.primarySlot(),
      quorum_margin: 0,
      copies: 1,
      members: [makeMember({ slot: 0, name: "m0", address: "127.0.0.1:7400", holds_state: true, last_contact_ms: 0 })],
      checkpoint: { ...CHECKPOINT, certified_op: replica.certifiedOp, is_torn: replica.isTorn },
      arena_bytes: this.stateMachine.arena.length,
      tables: [{ table: "kv", used: this.stateMachine.keys(), capacity: TEST_LIMITS.kv_entries_max }],
      memory: this.memory.table(),
      uptime_ms: this.now,
      link_security: "tls1.3",
      roster_version: 0,
    })
  }
}
