/** A port whose replicas say what the test says. Plane: control. */
import { Gateway } from "../../../appliance/gateway/gateway.ts"
import type { GatewayMessage, ReplicaPort } from "../../../appliance/gateway/port.ts"
import type { HostInfo } from "../../../appliance/orchestration/host_info.ts"
import type { Outage } from "../../../appliance/orchestration/quorum_watch.ts"
import type { SalvageRefusal } from "../../../appliance/orchestration/salvage.ts"
import type { RequestOutcome } from "../../../appliance/replication/message.ts"
import { ResultKind } from "../../../appliance/state_machine/command.ts"
import { assert } from "../../../appliance/types/assert.ts"
import { Operation } from "../../../appliance/types/contracts.ts"
import { CLUSTER_LIMITS } from "../../../appliance/types/limits.ts"
import { PRNG } from "../../../appliance/types/prng.ts"
import { type Err, err } from "../../../appliance/types/result.ts"
import { StaticMemory } from "../../../appliance/types/static_memory.ts"

import { makeHostInfo, makeMember } from "./make_host_info.ts"

export type SentMessage = GatewayMessage & { readonly slot: number; readonly at: number }

export const OK = Buffer.from([ResultKind.ok])
export const NIL = Buffer.from([ResultKind.nil])

export function integer(value: number): Buffer {
  const bytes = Buffer.alloc(9)
  bytes[0] = ResultKind.integer
  bytes.writeBigInt64LE(BigInt(value), 1)
  return bytes
}

export function refusal(error: number): Buffer {
  return Buffer.from([ResultKind.error, error])
}

export class ScriptedPort implements ReplicaPort {
  readonly sent: SentMessage[] = []
  readonly gateway: Gateway
  /** Slots that sendTo() cannot reach. */
  readonly down = new Set<number>()
  /** A view of another epoch than this is no hint. */
  epoch = 0
  stopped: Outage | undefined
  primary = 0
  now = 0
  isDue = false

  constructor() {
    const prng = new PRNG(7)
    this.gateway = new Gateway({
      limits: CLUSTER_LIMITS,
      port: this,
      memory: new StaticMemory(),
      random: () => prng.u32(),
      schedule: () => {
        this.isDue = true
      },
    })
  }

  sendTo(slot: number, message: GatewayMessage): boolean {
    if (this.down.has(slot)) {
      return false
    }
    this.sent.push({ ...message, body: Buffer.from(message.body), slot, at: this.now })
    return true
  }
  primarySlot(): number {
    return this.primary
  }
  primaryOf(epoch: number, view: number): number {
    return epoch === this.epoch ? view % 3 : -1
  }
  voterSlots(): readonly number[] {
    return [0, 1, 2]
  }
  slotsMax(): number {
    return CLUSTER_LIMITS.slots_max
  }
  outage(): Outage | undefined {
    return this.stopped
  }
  salvage(): Err<SalvageRefusal> {
    return err({ kind: "quorum_present", text: "3 of 3 voters live" })
  }
  secret(): undefined {
    return undefined
  }

  info(): HostInfo {
    return makeHostInfo({
      outage: this.stopped,
      name: "m1",
      version: "0.0.0-test",
      slot: 1,
      voters: 3,
      incarnation: 1,
      status: "normal",
      view: 3,
      op: 9,
      commit: 8,
      primary_slot: this.primary,
      quorum_margin: 1,
      copies: 3,
      members: [
        makeMember({ slot: 0, name: "m0", address: "10.0.0.10:7400", last_contact_ms: 40 }),
        makeMember({ slot: 1, name: "m1", address: "10.0.0.11:7400", last_contact_ms: 0 }),
        makeMember({ slot: 2 }),
      ],
      arena_bytes: 4096,
      tables: [],
      memory: [],
      uptime_ms: this.now,
      link_security: "tls1.3",
      roster_version: 0,
    })
  }

  settle(): void {
    for (let turn = 0; turn < 100 && this.isDue; turn += 1) {
      this.isDue = false
      this.gateway.flush()
    }
    assert(!this.isDue, "test: a gateway comes to rest")
  }

  /** Time passes in steps of 10 ms, as in production. */
  wait(ms: number): void {
    for (const end = this.now + ms; this.now < end; ) {
      this.now += 10
      this.gateway.tick(this.now)
      this.settle()
    }
  }

  /** The last message; its number and slot are what answers go by. */
  get last(): SentMessage {
    const message = this.sent.at(-1)
    assert(message !== undefined, "test: something was sent")
    return message
  }

  answer(outcome: RequestOutcome, body: Uint8Array = Buffer.alloc(0), { to = this.last, view = 3 } = {}): void {
    const common = { from: to.slot, epoch: 0, cv: [], outcome, view, body }
    this.gateway.onReply(
      to.type === "read"
        ? { type: "read_reply", read: to.read, ...common }
        : { type: "reply", session: to.session, request: to.request, ...common },
    )
    this.settle()
  }

  /** Answers a registration that must be the last message. */
  register(session: number): void {
    const { last } = this
    assert(last.type === "request" && last.operation === Operation.register, "test: a registration was asked for")
    this.answer("ok", integer(session))
  }
}
