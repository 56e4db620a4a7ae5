/** What a machine might say of itself, where a test doesn't care about most of it. Plane: control. */
import type { CheckpointInfo, HostInfo, HostMember } from "../../../appliance/orchestration/host_info.ts"
import { noLinkCounters } from "../../../appliance/orchestration/links.ts"
import type { ReplicaCounters } from "../../../appliance/replication/replica.ts"

const PROTOCOL: ReplicaCounters = {
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

export const CHECKPOINT: CheckpointInfo = {
  certified_op: 0,
  certified_root: "0".repeat(32),
  certified_age_ms: null,
  latest_op: 0,
  is_disputed: false,
  is_log_full: false,
  is_torn: false,
  copying: null,
  pages: 16,
  page_bytes: 4_096,
  pages_changed: 0,
  pages_pending: 0,
  scrub_page: 0,
  scrub_round_ms: 10,
}

export function makeHostInfo(change: Partial<HostInfo>): HostInfo {
  return {
    name: "m0",
    version: "0.0.0-test",
    cluster_id: "c1".repeat(16),
    generation: 1,
    epoch: 0,
    is_epoch_safe: true,
    size: "small",
    grows_to: null,
    slot: 0,
    role: "voter",
    voters: 1,
    incarnation: 1,
    status: "normal",
    view: 0,
    op: 0,
    commit: 0,
    primary_slot: 0,
    voters_live: 1,
    quorum_margin: 0,
    copies: 1,
    alarms: [],
    outage: undefined,
    members: [],
    checkpoint: CHECKPOINT,
    memory_faults: { faults: 0, faults_max: 3, last_fault: null },
    arena_bytes: 0,
    tables: [],
    memory: [],
    uptime_ms: 0,
    links: noLinkCounters(),
    protocol: PROTOCOL,
    ...change,
  }
}

export function makeMember(change: Partial<HostMember>): HostMember {
  return {
    slot: 0,
    name: "",
    address: "",
    role: "voter",
    is_synchronous: false,
    boot_nonce: null,
    incarnation: 1,
    holds_state: false,
    lag_ops: null,
    last_contact_ms: null,
    uncertified: null,
    grows_to: null,
    ...change,
  }
}
