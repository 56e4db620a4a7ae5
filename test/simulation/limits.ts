/**
 * Bounds of the simulator: small cluster limits, so that rings wrap and tables fill within seconds of virtual time.
 * Plane: control.
 */
import type { ClusterLimits, ProcessLimits } from "../../appliance/types/limits.ts"

export const SIMULATED_LIMITS: ClusterLimits = {
  slots_max: 8,
  pipeline_max: 4,
  control_slots: 2,
  log_slots: 16,
  log_bytes: 8 * 1024,
  batch_bytes_max: 512,
  batch_commands_max: 8,
  session_reply_bytes_max: 256,
  read_reply_bytes_max: 256,
  sessions_max: 12,
  machines_max: 2,
  kv_entries_max: 32,
  kv_slab_bytes: 16 * 1024,
  key_bytes_max: 32,
  value_bytes_max: 64,
  pulse_keys_max: 4,
  chunk_bytes: 8 * 1024,
}

export const SIMULATED_PROCESS_LIMITS: ProcessLimits = {
  tick_ms: 10,
  heartbeat_ms: 50,
  primary_silent_ms: 300,
  view_change_ms: 300,
  view_change_ms_max: 2_400,
  retry_ms: 60,
  retry_ms_max: 480,
  abdicate_ms: 500,
  live_ms: 200,
  pace_ms: 20,
  transfer_silent_ms: 600,
  requests_queue_max: 8,
  requests_queue_bytes: 4 * 1024,
  reads_queue_max: 8,
  reads_queue_bytes: 4 * 1024,
  outbox_max: 512,
  chunks_in_flight_max: 4,
}

/** Virtual milliseconds with faults, and at most as many without to converge in. */
export const FAULT_PHASE_MS = 20_000
export const LIVENESS_PHASE_MS = 60_000
export const FORMATION_MS = 5_000

export const CLIENTS = 8
/** A client that has waited this long without an answer asks another replica; same number, same bytes. */
export const CLIENT_RETRY_MS = 400
/** After this long its request's outcome is unknown; it goes on with a new session. */
export const CLIENT_UNKNOWN_MS = 4_000

/** Messages in the air, kept for replay, and held back by the adversary. */
export const IN_FLIGHT_MAX = 20_000
export const REPLAY_MAX = 256
export const HELD_MAX = 64
