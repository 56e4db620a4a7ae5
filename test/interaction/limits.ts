/** Bounds of the scripts: limits so small that a log ring wraps and a pipeline fills within one. Plane: control. */
import { CLUSTER_LIMITS, PROCESS_LIMITS } from "../../appliance/types/limits.ts"
import type { ClusterLimits, ProcessLimits } from "../../appliance/types/limits.ts"

/** Whatever a golden text could depend on is pinned here; what is not named is as it is shipped. */
export const SCRIPT_LIMITS: ClusterLimits = {
  ...CLUSTER_LIMITS,
  slots_max: 8,
  pipeline_max: 2,
  control_slots: 2,
  // A checkpoint is made where a script is about checkpoints: others end before the eighth op.
  log_slots: 16,
  log_bytes: 8_192,
  checkpoint_ops: 8,
  checkpoint_bytes: 4_096,
  batch_bytes_max: 512,
  batch_commands_max: 8,
  session_reply_bytes_max: 128,
  read_reply_bytes_max: 128,
  sessions_max: 4,
  machines_max: 1,
  leases_max: 1,
  rules_max: 1,
  secrets_max: 1,
  images_max: 1,
  templates_max: 1,
  workloads_max: 1,
  events_max: 2,
  exports_max: 1,
  kv_entries_max: 16,
  kv_slab_bytes: 4_096,
  key_bytes_max: 16,
  value_bytes_max: 32,
  pulse_keys_max: 2,
  // Two chunks make up the arena: enough for one to be late.
  chunk_bytes: 16_384,
}

export const SCRIPT_PROCESS_LIMITS: ProcessLimits = {
  ...PROCESS_LIMITS,
  checkpoint_ms: 1_000_000,
  checkpoint_soon_ms: 1_000_000,
  tick_ms: 10,
  heartbeat_ms: 50,
  primary_silent_ms: 300,
  view_change_ms: 300,
  view_change_ms_max: 2_400,
  retry_ms: 60,
  retry_ms_max: 480,
  abdicate_ms: 500,
  live_ms: 250,
  pace_ms: 20,
  transfer_silent_ms: 600,
  requests_queue_max: 4,
  requests_queue_bytes: 2_048,
  reads_queue_max: 4,
  reads_queue_bytes: 2_048,
  outbox_max: 256,
  log_entries_max: 2,
  chunks_in_flight_max: 4,
}

/** What a script may want otherwise. */
export type ScriptLimits = { readonly cluster: Partial<ClusterLimits>; readonly process: Partial<ProcessLimits> }

/** Checkpoints after a few ops, in a ring with hardly room for two; windows of two pages, one asked for at a time. */
export const CHECKPOINTS_SOON: ScriptLimits = {
  cluster: { log_slots: 10, checkpoint_ops: 4, chunk_bytes: 8_192 },
  process: { chunks_in_flight_max: 1 },
}

/** A machine's pool, in arenas: an eighth of it may be used while nobody copies, and that is one whole. */
export const POOL_ARENAS = 8

/** A machine's timer that has not run out after this long will not. */
export const TIMEOUT_MS_MAX = 10_000
/** A blank machine that has not come back by then, with all the help that it was given, will not. */
export const REBOOT_MS_MAX = 5_000
/** A whole network settles on one view within this long. */
export const CONVERGE_MS_MAX = 30_000
/** Letters that one command delivers; more of them answer each other forever. */
export const DELIVERIES_MAX = 2_000
/** Columns of prose in the golden files. */
export const PROSE_COLUMNS = 110
