/** Bounds of the process around a replica: links, announcements, files, log lines. Plane: control. */
import { assert } from "../types/assert.ts"
import { CLUSTER_LIMITS, type ClusterLimits, PROCESS_LIMITS, type ProcessLimits, VOTERS_MAX } from "../types/limits.ts"

const KIB = 1024

/** Milliseconds unless the name says otherwise. */
export type OrchestrationLimits = {
  /** Bytes that wait for one peer. What doesn't fit is dropped and counted: the protocol repeats what matters. */
  readonly link_send_bytes: number
  /** One write of an encrypted link: it is encrypted at once, and kept encrypted until the kernel has taken it. */
  readonly link_write_bytes_max: number
  /** An encrypted link is dialled again, with new keys, after so long. */
  readonly link_rekey_ms: number
  /** Accepted connections that have not said hello, or are being closed. Peers need one each. */
  readonly link_strangers_max: number
  /** From a connection's first byte to a complete greeting, at both ends. */
  readonly link_greeting_ms: number
  readonly link_connect_ms: number
  /** A link on which nothing was sent for so long carries a keepalive. */
  readonly link_keepalive_ms: number
  /** A link on which nothing arrived for so long is closed and dialled again. */
  readonly link_idle_ms: number
  /** A voter that was silent for so long is not counted as within reach, and how long a quorum may be gone untold. */
  readonly quorum_silent_ms: number
  readonly quorum_grace_ms: number
  /** A checkpoint may go uncertified for so long, and writes may wait for one for so long, before it is an alarm. */
  readonly checkpoint_overdue_ms: number
  readonly checkpoint_full_ms: number
  /** Ops in a window that make a machine busy; a busy one gives so many pieces of its state away in a tick. */
  readonly copy_busy_ops: number
  readonly copy_window_ms: number
  readonly copy_pieces_busy: number
  /** A write that the peer does not take for so long closes the link. */
  readonly link_stalled_ms: number
  /** Dialling again; doubles up to the next line, with jitter. */
  readonly link_retry_ms: number
  readonly link_retry_ms_max: number
  /** A process whose slot was taken over by another is not let in again for so long. */
  readonly link_displaced_ms: number
  /** A blank process that is turned away for its limits so long begins anew with those that it grows to. */
  readonly grow_anew_ms: number
  readonly announce_ms: number
  /** From a change of status to the announcement that says so. */
  readonly announce_soon_ms: number
  readonly announce_timeout_ms: number
  readonly announce_answer_bytes_max: number
  /** A machine whose boot server does not answer asks again, for about as long as its ticket lives. */
  readonly join_attempts_max: number
  readonly join_retry_ms: number
  readonly node_json_bytes_max: number
  readonly network_json_bytes_max: number
  /** A warning of one kind is written at most so often, with the number of those kept back. */
  readonly log_repeat_ms: number
  readonly log_kinds_max: number
  /** The process's own request, such as its machine record: asked again after so long. */
  readonly own_request_ms: number
  /** The state is shown on the console at most so often. */
  readonly console_ms: number
  /** Gap between two ticks that shows that this process stood still, so that silence means nothing. */
  readonly stall_ms: number
  /** The replica's clock after a stall: its longest step, and the part by which it runs faster until it is right. */
  readonly clock_step_ms_max: number
  readonly clock_slew_divisor: number
  /** An operator's change of members may take so long, refusals and tries included. */
  readonly change_ms: number
  /** How often a primary compares the cluster's wall time with its own. */
  readonly wall_clock_ms: number
  /** A clean shutdown may take so long. */
  readonly shutdown_ms: number
}

export const ORCHESTRATION_LIMITS: OrchestrationLimits = {
  link_send_bytes:
    // A frame never wraps around the end of the ring, so half of it may be of no use.
    2 *
    // The pieces of a checkpoint that a peer asks for at once,
    (PROCESS_LIMITS.chunks_in_flight_max * CLUSTER_LIMITS.chunk_bytes +
      // a prepare,
      CLUSTER_LIMITS.batch_bytes_max +
      // and a request that this machine's gateway forwards to the primary.
      CLUSTER_LIMITS.batch_bytes_max),
  link_write_bytes_max: 256 * KIB,
  link_rekey_ms: 3_600_000,
  link_strangers_max: 4 * VOTERS_MAX,
  link_greeting_ms: 2_000,
  link_connect_ms: 2_000,
  link_keepalive_ms: 500,
  link_idle_ms: 3_000,
  quorum_silent_ms: 1_250,
  quorum_grace_ms: 750,
  checkpoint_overdue_ms: 10_000,
  checkpoint_full_ms: 2_000,
  // 2 MiB in 10 ms, or 200 MB/s: more than a gigabit link carries, and a sixth of two cores.
  copy_busy_ops: 10,
  copy_window_ms: 100,
  copy_pieces_busy: 8,
  link_stalled_ms: 10_000,
  link_retry_ms: 50,
  link_retry_ms_max: 500,
  link_displaced_ms: 2_000,
  grow_anew_ms: 3_000,
  announce_ms: 1_000,
  announce_soon_ms: 20,
  announce_timeout_ms: 2_000,
  announce_answer_bytes_max: 128 * KIB,
  join_attempts_max: 600,
  join_retry_ms: 1_000,
  node_json_bytes_max: 64 * KIB,
  network_json_bytes_max: 4 * KIB,
  log_repeat_ms: 60_000,
  log_kinds_max: 256,
  own_request_ms: 1_000,
  console_ms: 1_000,
  stall_ms: 1_000,
  clock_step_ms_max: 50,
  clock_slew_divisor: 8,
  change_ms: 5_000,
  wall_clock_ms: 10_000,
  shutdown_ms: 2_000,
}

/** A salvage is read in pieces of about so many bytes, each of at most so many entries looked at. */
export const SALVAGE_PIECE_BYTES = 64 * KIB
export const SALVAGE_ENTRIES_PER_PIECE_MAX = 1_024

/** TCP's own bound, not ours. */
export const PORT_MAX = 65_535

export function assertOrchestrationLimits(
  limits: OrchestrationLimits,
  others: { readonly cluster: ClusterLimits; readonly process: ProcessLimits; readonly frameBytesMax: number },
): void {
  for (const value of Object.values(limits)) {
    assert(Number.isSafeInteger(value) && value > 0, "orchestration limits: every limit is a positive integer")
  }
  // A frame never wraps around the end of the ring, so half of the ring may be of no use to it.
  assert(limits.link_send_bytes >= 2 * others.frameBytesMax, "orchestration limits: a link holds any frame")
  // A state transfer asks for several chunks at once; dropping some of each round would stall it for a retry.
  assert(
    limits.link_send_bytes >= 2 * others.process.chunks_in_flight_max * others.cluster.chunk_bytes,
    "orchestration limits: a link holds the chunks that a peer may ask for",
  )
  // AES-GCM is good for some 380 GiB under one key (RFC 8446, section 5.5): an hour at 100 MB/s.
  assert(limits.link_rekey_ms <= 3_600_000, "orchestration limits: keys are changed before they wear out")
  assert(limits.link_idle_ms >= 4 * limits.link_keepalive_ms, "orchestration limits: silence outlasts four keepalives")
  // Two keepalives may be late before a voter counts as lost, and clients are told within two seconds of a loss.
  assert(
    limits.quorum_silent_ms >= 2 * limits.link_keepalive_ms && limits.quorum_silent_ms < limits.link_idle_ms,
    "orchestration limits: a voter is missed after two keepalives, and before its link is given up",
  )
  assert(
    limits.quorum_silent_ms + limits.quorum_grace_ms <= 2_000,
    "orchestration limits: clients hear of a lost majority within two seconds",
  )
  // The primary makes another checkpoint when one is not certified for so long: only a few in vain are an alarm.
  assert(
    limits.checkpoint_overdue_ms >= 2 * others.process.transfer_silent_ms,
    "orchestration limits: a checkpoint is overdue when the next is too",
  )
  assert(limits.checkpoint_full_ms < limits.checkpoint_overdue_ms, "orchestration limits: full is said sooner")
  // A stall of this process must not look like a primary's silence.
  assert(
    2 * limits.clock_step_ms_max <= others.process.primary_silent_ms,
    "orchestration limits: a clock's step is short beside a primary's silence",
  )
  assert(
    limits.clock_step_ms_max >= 2 * others.process.tick_ms,
    "orchestration limits: a tick that comes late is no stall",
  )
  assert(limits.link_retry_ms_max >= limits.link_retry_ms, "orchestration limits: backoff grows")
  assert(limits.stall_ms < limits.link_idle_ms, "orchestration limits: a stall is noticed before it looks like silence")
}
