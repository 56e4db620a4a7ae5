/** The smallest limits that the production replica accepts, and the bounds of the search itself. Plane: control. */
import type { ClusterLimits, ProcessLimits } from "../../appliance/types/limits.ts"

/** Bytes of the state machine's arena (register.ts), and of a checkpoint: one chunk. */
export const ARENA_BYTES = 32

export function searchedLimits(options: { readonly voters: number; readonly checkpoint_ops: number }): ClusterLimits {
  const { voters, checkpoint_ops } = options
  return {
    // No machine but the voters: what goes to other slots would go to nobody.
    slots_max: voters,
    pipeline_max: 2,
    control_slots: 1,
    // Larger than any scope's log.
    log_slots: 16,
    log_bytes: 24 * 66,
    checkpoint_ops,
    checkpoint_bytes: 10 * 66,
    batch_bytes_max: 66,
    batch_commands_max: 1,
    session_reply_bytes_max: 65,
    read_reply_bytes_max: 65,
    sessions_max: 1,
    machines_max: 1,
    leases_max: 1,
    rules_max: 1,
    secrets_max: 1,
    images_max: 1,
    templates_max: 1,
    workloads_max: 1,
    events_max: 2,
    exports_max: 1,
    kv_entries_max: 1,
    kv_slab_bytes: 1,
    key_bytes_max: 1,
    value_bytes_max: 1,
    pulse_keys_max: 1,
    chunk_bytes: ARENA_BYTES,
  }
}

/**
 * Backoffs that don't grow, so that no duration is part of a state; and as few different ones as keep what must be able
 * to fire alone apart: a heartbeat, a repeat, giving up, another donor.
 */
export const SEARCHED_PROCESS_LIMITS: ProcessLimits = {
  tick_ms: 1,
  heartbeat_ms: 10,
  primary_silent_ms: 40,
  view_change_ms: 80,
  view_change_ms_max: 80,
  retry_ms: 40,
  retry_ms_max: 40,
  abdicate_ms: 80,
  live_ms: 20,
  pace_ms: 1,
  transfer_silent_ms: 160,
  requests_queue_max: 2,
  requests_queue_bytes: 4 * 66,
  reads_queue_max: 1,
  reads_queue_bytes: 66,
  outbox_max: 64,
  log_entries_max: 2,
  chunks_in_flight_max: 1,
  checkpoint_ms: 1_000_000,
  checkpoint_soon_ms: 1_000_000,
  scrub_pages: 1,
  memory_faults_max: 3,
}

/** How far a clock may jump in one step: each of the durations above that ends some wait. */
export const JUMPS_MS: readonly number[] = [10, 40, 80, 160]

/** Deliveries in which a cluster forms, or a machine finds its incarnation; more is a bug of the search. */
export const EXCHANGE_MAX = 1_000

/** States of one replica that are kept: some 30 KiB each. */
export const LOCAL_STATES_MAX = 200_000
export const LETTERS_MAX = 1 << 20

/** After so many expansions the bounds are looked at, and a progress line is due if so much time has passed. */
export const LOOK_EXPANSIONS = 1_024
export const PROGRESS_MS = 2_000

/** More ops than any scope has: no checkpoint is due. */
export const CHECKPOINT_NEVER = 8

/** What the options of a search may be at most. */
export const BUDGET_MAX = 7
export const VIEWS_MAX = 7
export const OPS_MAX = 4
/** A table of keys holds no more. */
export const STATES_MAX = 16_000_000
export const STATES_DEFAULT = 4_000_000
export const SECONDS_DEFAULT = 600
export const MEGABYTES_DEFAULT = 3_000
