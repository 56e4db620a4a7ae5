/**
 * What a gateway asks of the process around it: carry a message to a replica, and say what this machine's own replica
 * knows. The process host implements it; tests bring one that loses and repeats. Plane: control.
 */
import type { HostInfo } from "../orchestration/host_info.ts"
import type { Outage } from "../orchestration/quorum_watch.ts"
import type { Salvage, SalvageRefusal } from "../orchestration/salvage.ts"
import type { Operation } from "../types/contracts.ts"
import type { Result } from "../types/result.ts"

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
  /** Who is primary in that view of that epoch; -1 when this machine is in another epoch. */
  primaryOf(epoch: number, view: number): number
  /** The slots that vote, as this machine knows it: whom to ask. Never empty. */
  voterSlots(): readonly number[]
  /** Every slot is below it. */
  slotsMax(): number
  /** Why nothing is answered just now, and nothing need be tried; undefined when there is no reason. */
  outage(): Outage | undefined
  info(): HostInfo
  /** The record of a secret as this machine's state has it; undefined for none, null when the state is not here. */
  secret(name: string): Uint8Array | undefined | null
  /** What this machine holds, vouched for by nobody. */
  salvage(isForced: boolean): Result<Salvage, SalvageRefusal>
}
