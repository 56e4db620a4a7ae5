/** What one machine knows of itself and its cluster. snake_case: it leaves the process as it is. Plane: control. */
import type { ReplicaCounters, ReplicaStatus } from "../replication/replica.ts"
import type { ClusterSize } from "../types/cluster_sizes.ts"
import type { Allocation } from "../types/static_memory.ts"
import type { Alarm } from "./alarms.ts"
import type { LinkCounters } from "./links.ts"
import type { MemoryFaultReport } from "./memory_watch.ts"
import type { Outage } from "./quorum_watch.ts"
import type { TableUsage } from "./table_usage.ts"

/** `follower`: holds or fetches the state, not named in the configuration. `none`: known by its address only. */
export type MemberRole = "voter" | "standby" | "follower" | "none"

export type HostMember = {
  readonly slot: number
  /** "" where it is not known. */
  readonly name: string
  /** host:port of its replica link; "" where it is not known. */
  readonly address: string
  readonly role: MemberRole
  /** The only voter answers nothing that this standby has not confirmed. */
  readonly is_synchronous: boolean
  /** Nonce of the process that this machine counts as the member; null where it knows of none. */
  readonly boot_nonce: number | null
  /** How often a process of this slot has begun to vote in this epoch; 0 without a vote. */
  readonly incarnation: number
  /** It has said lately that it holds the state. */
  readonly holds_state: boolean
  /** Ops by which it lags behind the primary's log; null on a machine that is not the primary, or if it is silent. */
  readonly lag_ops: number | null
  /** The larger size that it has said it has room for; null for none, and on a machine that is not the primary. */
  readonly grows_to: ClusterSize | null
  /** Milliseconds since this machine last heard of it; 0 for itself, null for never. */
  readonly last_contact_ms: number | null
  /** The newest checkpoint that it reported to this machine, as long as it is not certified; null for none. */
  readonly uncertified: { readonly op: number; readonly root: string } | null
}

/** The state as pages: what of it is certified, what has changed since, and whether it is being looked after. */
export type CheckpointInfo = {
  /** The newest checkpoint that a majority of voters agrees on: 128 bits of root, in hexadecimal. */
  readonly certified_op: number
  readonly certified_root: string
  /** Milliseconds since this machine heard so; null while there is none but the empty state. */
  readonly certified_age_ms: number | null
  /** The newest checkpoint applied here; -1 while the state is not to be believed. */
  readonly latest_op: number
  /** Voters report different roots of it, and none is certified. */
  readonly is_disputed: boolean
  /** The log has no room left before a later one is certified: writes wait. */
  readonly is_log_full: boolean
  /** The state here is being copied or was found to be wrong: nothing is applied, answered or handed out from it. */
  readonly is_torn: boolean
  /** What it copies: at most so many pages are left of so many; null when it copies nothing. */
  readonly copying: CopyingInfo | null
  readonly pages: number
  readonly page_bytes: number
  /** Changed since the last checkpoint, and those of it whose digests have not been taken yet. */
  readonly pages_changed: number
  readonly pages_pending: number
  /** The page that is compared with its digest next, and how long a round through all of them takes. */
  readonly scrub_page: number
  readonly scrub_round_ms: number
}

export type CopyingInfo = {
  readonly from_slot: number
  /** null until the donor has said whose pages they are. */
  readonly op: number | null
  readonly pages_left: number
}

export type MemoryInfo = {
  /** How often this process found its own memory to be wrong, and how often ends it. */
  readonly faults: number
  readonly faults_max: number
  readonly last_fault: MemoryFaultReport | null
}

export type HostInfo = {
  readonly name: string
  readonly version: string
  readonly cluster_id: string
  readonly generation: number
  readonly epoch: number
  /** The epoch can do without the machines that it has replaced: CheckEpoch of VRR, section 7. */
  readonly is_epoch_safe: boolean
  /** The cluster's limits as this machine has them, and those that it has room for; null where they have no name. */
  readonly size: ClusterSize | null
  readonly grows_to: ClusterSize | null
  readonly slot: number
  readonly role: MemberRole
  readonly voters: number
  readonly incarnation: number
  readonly status: ReplicaStatus
  readonly view: number
  readonly op: number
  readonly commit: number
  /** -1 when this machine knows of no primary. */
  readonly primary_slot: number
  /** Voters that hold the state and are within reach, this machine included where it votes. */
  readonly voters_live: number
  /** Live voters beyond a majority; negative when the cluster cannot commit. */
  readonly quorum_margin: number
  /** Machines that hold the state, standbys included, as far as this one hears of them. */
  readonly copies: number
  readonly alarms: readonly Alarm[]
  /** Why commands are refused at this machine just now. */
  readonly outage: Outage | undefined
  readonly members: readonly HostMember[]
  readonly checkpoint: CheckpointInfo
  readonly memory_faults: MemoryInfo
  readonly arena_bytes: number
  readonly tables: readonly TableUsage[]
  /** The static buffers of this process. */
  readonly memory: readonly Allocation[]
  readonly uptime_ms: number
  readonly links: Readonly<LinkCounters>
  readonly protocol: Readonly<ReplicaCounters>
}
