/**
 * Every bound of the appliance has a name here. *Cluster* limits are shared by all members: a fingerprint of them
 * travels in every handshake, and two machines that disagree do not talk. *Process* limits are one machine's own.
 * No limit is optional and none means "unlimited". Plane: control.
 */
import { assert } from "./assert.ts"
import { crc32 } from "./checksum.ts"

const KIB = 1024
const MIB = 1024 * KIB

/** Simple majorities of an odd number of voters (rule 6). */
export const VOTERS_MAX = 7
export const VOTER_COUNTS: readonly number[] = [1, 3, 5, 7]
/** Machines that hold the state without a vote, named by a configuration. */
export const STANDBYS_MAX = 4
/** An incarnation and its nonce share one safe integer (see crash_vector.ts): 20 + 32 bits stay below 2^53. */
export const INCARNATION_MAX = 0xf_ffff

/** What all members of a cluster must agree on. Bytes unless the name says otherwise. */
export type ClusterLimits = {
  /** Places for machines: a slot is a machine's number in its cluster, whether it votes, stands by or is spare. */
  readonly slots_max: number
  /** P of rule 10: prepares in flight that are not yet committed. */
  readonly pipeline_max: number
  /** In flight beyond P: for reconfigurations and pulses only, which no load may hold up (rule 11). */
  readonly control_slots: number
  /** Entries of the log ring. */
  readonly log_slots: number
  /** Bytes of the log ring's bodies. */
  readonly log_bytes: number
  /** A checkpoint is due after so many ops, or so many bytes of the log (rule 22). */
  readonly checkpoint_ops: number
  readonly checkpoint_bytes: number
  /** B of rule 10: one request is one batch of commands, at most this long. */
  readonly batch_bytes_max: number
  /** Commands in one batch; each needs room for at least an error in the reply. */
  readonly batch_commands_max: number
  /** Reply of a batch that went through the log; kept per session for at-most-once. */
  readonly session_reply_bytes_max: number
  /** Reply of a read-only batch; never stored. */
  readonly read_reply_bytes_max: number
  readonly sessions_max: number
  /** Records of each table of records (state_machine/record_tables.ts). */
  readonly machines_max: number
  readonly leases_max: number
  readonly rules_max: number
  readonly secrets_max: number
  readonly images_max: number
  readonly templates_max: number
  readonly workloads_max: number
  /** Events kept: the oldest makes room for the newest. */
  readonly events_max: number
  readonly exports_max: number
  readonly kv_entries_max: number
  /** Bytes of the slabs that hold keys and values. */
  readonly kv_slab_bytes: number
  readonly key_bytes_max: number
  readonly value_bytes_max: number
  /** Keys that one pulse may expire (DESIGN.md, Time and chance). */
  readonly pulse_keys_max: number
  /** One chunk of a state transfer. */
  readonly chunk_bytes: number
}

export const CLUSTER_LIMITS: ClusterLimits = {
  slots_max: 11,
  pipeline_max: 8,
  control_slots: 2,
  log_slots: 65_536,
  log_bytes: 32 * MIB,
  checkpoint_ops: 16_384,
  checkpoint_bytes: 8 * MIB,
  batch_bytes_max: 1 * MIB,
  batch_commands_max: 4096,
  session_reply_bytes_max: 128 * KIB,
  read_reply_bytes_max: 1 * MIB,
  sessions_max: 64,
  machines_max: 256,
  leases_max: 1024,
  rules_max: 128,
  secrets_max: 64,
  images_max: 64,
  templates_max: 256,
  workloads_max: 256,
  events_max: 4096,
  exports_max: 256,
  kv_entries_max: 131_072,
  kv_slab_bytes: 49 * MIB,
  key_bytes_max: 256,
  value_bytes_max: 64 * KIB,
  pulse_keys_max: 1024,
  chunk_bytes: 256 * KIB,
}

/** Asserts the relations between limits, each with the reason that needs it. Call it once at load. */
export function assertClusterLimits(limits: ClusterLimits): void {
  for (const value of Object.values(limits)) {
    assert(Number.isSafeInteger(value) && value > 0, "cluster limits: every limit is a positive integer")
  }
  assert(limits.slots_max <= VOTERS_MAX + STANDBYS_MAX, "cluster limits: a slot for each voter and standby, no more")
  // A view change may carry all that is in flight, and the ring must still hold what backups lack.
  assert(limits.log_slots >= 2 * inFlightMax(limits), "cluster limits: the log ring holds two pipelines")
  // The ring stores bodies without splitting them: a wrap may waste up to one body.
  assert(
    limits.log_bytes >= (inFlightMax(limits) + 2) * limits.batch_bytes_max,
    "cluster limits: the log's bytes hold all that is in flight and a wrap",
  )
  // While a checkpoint is being certified the ring still holds everything since the one before it.
  assert(limits.log_slots >= 2 * limits.checkpoint_ops, "cluster limits: the log ring holds two checkpoints' ops")
  assert(limits.log_bytes >= 2 * limits.checkpoint_bytes, "cluster limits: the log's bytes hold two checkpoints' ops")
  // GET of the largest value must fit a logged reply and a read reply, with its header.
  assert(limits.session_reply_bytes_max >= limits.value_bytes_max + 64, "cluster limits: a reply holds a value")
  assert(limits.read_reply_bytes_max >= limits.session_reply_bytes_max, "cluster limits: reads may answer more")
  // Every command can at least be refused: 8 bytes of error in the reply.
  assert(
    limits.session_reply_bytes_max >= limits.batch_commands_max * 8,
    "cluster limits: a reply holds an error for each command",
  )
  assert(
    limits.batch_bytes_max >= limits.key_bytes_max + limits.value_bytes_max + 64,
    "cluster limits: a batch holds the largest SET",
  )
}

/** Entries that may be prepared and not yet committed. */
export function inFlightMax(limits: ClusterLimits): number {
  return limits.pipeline_max + limits.control_slots
}

/** A 32-bit fingerprint of the limits, field by field in the order of their names. */
export function limitsFingerprint(limits: ClusterLimits): number {
  const entries = Object.entries(limits).sort(([a], [b]) => (a < b ? -1 : 1))
  const text = new TextEncoder().encode(JSON.stringify(entries))
  return crc32(text, 0, text.length)
}

/** One machine's own bounds and durations. Milliseconds unless the name says otherwise. */
export type ProcessLimits = {
  /** The replica's clock: one tick. */
  readonly tick_ms: number
  /** The primary says that it lives at least this often. */
  readonly heartbeat_ms: number
  /** A backup that has heard nothing from its primary for this long asks to leave the view. */
  readonly primary_silent_ms: number
  /** A view change that is not done after this long asks for the next view; doubles up to the next line. */
  readonly view_change_ms: number
  readonly view_change_ms_max: number
  /** Repeats of probes, recoveries, gets and prepares that went unanswered; doubles up to the next line. */
  readonly retry_ms: number
  readonly retry_ms_max: number
  /** A primary with prepares in flight and no prepare_ok for this long abdicates (rule 17). */
  readonly abdicate_ms: number
  /** A backup that acknowledged within this long is live: the primary waits for it when it lags (rule 11). */
  readonly live_ms: number
  /** While a live backup lags by more than half the log ring, at most one batch is prepared in this time. */
  readonly pace_ms: number
  /**
   * Another donor is asked when one is silent for so long; and no longer does anybody wait for a certified
   * checkpoint.
   */
  readonly transfer_silent_ms: number
  /**
   * A checkpoint is due when there is anything new for so long, and sooner when the last can no longer be copied
   * whole.
   */
  readonly checkpoint_ms: number
  readonly checkpoint_soon_ms: number
  /** Pages whose digests are compared in one tick: how fast a flipped bit is found (rule 22a). */
  readonly scrub_pages: number
  /** A machine whose memory was wrong so often holds no state any more (rule 22c). */
  readonly memory_faults_max: number
  /** Requests that wait at the primary for a place in the pipeline. */
  readonly requests_queue_max: number
  /** Bytes of those requests' bodies. */
  readonly requests_queue_bytes: number
  /** Reads that wait for a heartbeat round, and the bytes of their bodies. */
  readonly reads_queue_max: number
  readonly reads_queue_bytes: number
  /** Messages that one step of the replica may leave in its outbox. */
  readonly outbox_max: number
  /** Entries in one answer to get_log, as far as batch_bytes_max of bodies reach. */
  readonly log_entries_max: number
  /** Chunks of a state transfer asked for and not yet received. */
  readonly chunks_in_flight_max: number
}

export const PROCESS_LIMITS: ProcessLimits = {
  tick_ms: 10,
  heartbeat_ms: 50,
  primary_silent_ms: 400,
  view_change_ms: 400,
  view_change_ms_max: 6_400,
  retry_ms: 100,
  retry_ms_max: 3_200,
  abdicate_ms: 800,
  live_ms: 250,
  pace_ms: 20,
  transfer_silent_ms: 2_000,
  checkpoint_ms: 5_000,
  checkpoint_soon_ms: 1_000,
  scrub_pages: 64,
  memory_faults_max: 3,
  requests_queue_max: 256,
  requests_queue_bytes: 8 * MIB,
  reads_queue_max: 1_024,
  reads_queue_bytes: 8 * MIB,
  outbox_max: 4_096,
  log_entries_max: 256,
  chunks_in_flight_max: 8,
}

export function assertProcessLimits(limits: ProcessLimits): void {
  for (const value of Object.values(limits)) {
    assert(Number.isSafeInteger(value) && value > 0, "process limits: every limit is a positive integer")
  }
  // Three lost heartbeats must not end a view.
  assert(limits.primary_silent_ms >= 4 * limits.heartbeat_ms, "process limits: silence outlasts four heartbeats")
  assert(limits.heartbeat_ms >= limits.tick_ms, "process limits: a heartbeat is at least a tick")
  assert(limits.outbox_max >= 2 * limits.log_entries_max, "process limits: the outbox holds an answer and more")
  assert(limits.live_ms >= 2 * limits.heartbeat_ms, "process limits: a live backup answers a heartbeat or two")
  assert(limits.view_change_ms_max >= limits.view_change_ms, "process limits: backoff grows")
  assert(limits.retry_ms_max >= limits.retry_ms, "process limits: backoff grows")
}
