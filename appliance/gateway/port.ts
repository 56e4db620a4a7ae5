/**
 * What a gateway asks of the process around it: carry a message to a replica, and say what this machine's own replica
 * knows. The process host implements it; tests bring one that loses and repeats. Plane: control.
 */
import type { ReplicaStatus } from "../replication/replica.ts"
import type { Operation } from "../types/contracts.ts"
import type { Allocation } from "../types/static_memory.ts"

/** As in replication/message.ts, without the envelope: the host adds `from` and the crash vector. */
export type GatewayMessage =
  | {
      readonly type: "request"
      readonly operation: Operation
      readonly session: number
      readonly request: number
      readonly body: Uint8Array
    }
  | { readonly type: "read"; readonly read: number; readonly body: Uint8Array }

export interface ReplicaPort {
  /**
   * Sends to the replica in `slot`, this machine's own included. False: not connected or its queue is full, try later.
   * `message.body` is copied before this returns. The answer comes through `gateway.onReply`, even during this call.
   */
  sendTo(slot: number, message: GatewayMessage): boolean
  /** The slot of the primary as this machine knows it; -1 when it does not. A hint, never a promise. */
  primarySlot(): number
  voters(): number
  info(): ReplicaInfo
}

export type MemberInfo = {
  readonly slot: number
  /** "" where it is not known. */
  readonly name: string
  /** host:port of its replica link; "" where it is not known. */
  readonly address: string
  /** Milliseconds since this machine last heard of it; 0 for itself, null for never. */
  readonly last_contact_ms: number | null
}

/** One table of the arena. */
export type TableUsage = { readonly table: string; readonly used: number; readonly capacity: number }

/** What one machine knows of itself and its cluster. snake_case: it leaves the process as it is. */
export type ReplicaInfo = {
  readonly name: string
  readonly version: string
  readonly slot: number
  readonly voters: number
  readonly incarnation: number
  readonly status: ReplicaStatus
  readonly view: number
  readonly op: number
  readonly commit: number
  /** -1 when this machine knows of no primary. */
  readonly primary_slot: number
  /** Live voters beyond a majority; negative when the cluster cannot commit. */
  readonly quorum_margin: number
  /** Machines that hold the state, as far as this one hears of them. */
  readonly copies: number
  readonly members: readonly MemberInfo[]
  readonly arena_bytes: number
  readonly tables: readonly TableUsage[]
  /** The static buffers of this process. */
  readonly memory: readonly Allocation[]
  readonly uptime_ms: number
}
