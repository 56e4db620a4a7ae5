/**
 * Bounds of the simulator: small cluster limits, so that rings wrap, pipelines fill and sessions are evicted within
 * seconds of virtual time, and how long a run may be. Plane: control.
 */
import type { ClusterLimits, ProcessLimits } from "../../appliance/types/limits.ts"

/** What every run has; pipeline and ring are drawn by the seed (setup.ts). */
export const SIMULATED_LIMITS: ClusterLimits = {
  slots_max: 8,
  pipeline_max: 4,
  control_slots: 2,
  log_slots: 16,
  log_bytes: 8 * 1024,
  checkpoint_ops: 4,
  checkpoint_bytes: 1024,
  batch_bytes_max: 512,
  batch_commands_max: 8,
  session_reply_bytes_max: 256,
  read_reply_bytes_max: 256,
  sessions_max: 6,
  machines_max: 2,
  leases_max: 1,
  rules_max: 1,
  secrets_max: 1,
  images_max: 1,
  templates_max: 1,
  workloads_max: 1,
  events_max: 2,
  exports_max: 1,
  kv_entries_max: 32,
  kv_slab_bytes: 8 * 1024,
  key_bytes_max: 32,
  value_bytes_max: 64,
  pulse_keys_max: 4,
  chunk_bytes: 4 * 1024,
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
  log_entries_max: 6,
  chunks_in_flight_max: 4,
  checkpoint_ms: 500,
  checkpoint_soon_ms: 100,
  scrub_pages: 4,
  memory_faults_max: 1_000,
}

/** What a random seed must reach to count (rule 36). */
export const COUNTS_COMMITS = 1_000
export const COUNTS_CRASHES = 20
export const COUNTS_VIEW_CHANGES = 5
/** Where epochs are on. */
export const COUNTS_EPOCHS = 1

/**
 * Virtual milliseconds: founding; the phase with faults, which ends when the seed counts; and what convergence may
 * take.
 */
export const FORMATION_MS = 5_000
export const SAFETY_MS_MIN = 20_000
export const SAFETY_MS_MAX = 400_000
export const LIVENESS_MS_MAX = 60_000
/** Without a majority nothing may be answered for this long. */
export const SEALED_MS = 8_000

/** An operator's change that is in no log after this long is not made any more. */
export const CHANGE_MS_MAX = 10_000

/** A replica's clock, a client's, and how often faults are drawn. */
export const TICK_MS = 10
export const CLIENT_TICK_MS = 5
export const FAULT_MS = 50

/** Clients of a run: one session each, one request in flight. */
export const CLIENTS_MIN = 3
export const CLIENTS_MAX = 6
/** A client that has waited this long without an answer asks another replica; same number, same bytes. */
export const CLIENT_RETRY_MS = 300
/** After this long its request's outcome is unknown; it goes on with a new session. */
export const CLIENT_UNKNOWN_MS = 3_000
/** The same where the adversary decides who hears whom: it must not wait long for a client that it has cut off. */
export const CLIENT_RETRY_MS_DIRECT = 40
export const CLIENT_UNKNOWN_MS_DIRECT = 500

/** Milliseconds ahead that the network can deliver; a power of two. */
export const WHEEL_MS = 8_192
/** Messages in the air: what is more is lost. */
export const IN_FLIGHT_MAX = 4_000
/** Old messages kept of each slot, to be sent again after it has rebooted. */
export const OLD_MAX = 96
/** One message in this many goes through the production codec on its way. */
export const CODEC_SAMPLE = 64
/** What the adversary holds back at most. */
export const BAG_MAX = 600

/**
 * Bits that flip: the chance in 10,000 of one at each opportunity while every machine's memory is right, in what, and
 * how many bytes are looked at for one in use.
 */
export const FLIP_CHANCE = 400
export const FLIP_WHERE = { arena: 80, table: 12, pool: 8 } as const
export const FLIP_DRAWS = 8
/** In the arena, the chance in 100 that any byte is as good as any other. */
export const FLIP_ANYWHERE = 10
/** Ticks beyond a whole round of the scrub after which it has come past every page. */
export const FLIP_SLACK_TICKS = 1
/** What a seed draws of it: pages looked at in a tick, and after how many faults a machine is none any more. */
export const SCRUB_PAGES: readonly [number, ...number[]] = [1, 1, 2, 4]
export const MEMORY_FAULTS_MAX: readonly [number, ...number[]] = [2, 3, 1_000]

/** Events of a run: one that loops must end. */
export const EVENTS_MAX = 5_000_000
/** Runs that looking for the shortest failing prefix may take. */
export const SHRINK_RUNS_MAX = 40

/** Threads of a run of many seeds. */
export const JOBS_DEFAULT = 2
export const JOBS_MAX = 64
/** How often a long run says how far it is. */
export const PROGRESS_MS = 5_000
