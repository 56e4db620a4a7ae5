/** Bounds of the benchmark: how long, how often, how much at once. Plane: control. */

/** Seconds that one measurement lasts; --seconds. */
export const SECONDS_DEFAULT = 2
export const SECONDS_MAX = 600
/** Each measurement is repeated in turn with all others, and the median is reported; --rounds. */
export const ROUNDS_DEFAULT = 5
export const ROUNDS_MAX = 99
/** Crashes of a primary; --crashes. Below 20 a p99 says nothing. */
export const CRASHES_DEFAULT = 30
export const CRASHES_MAX = 1_000
/** Load before the clock starts, as a share of a measurement: the compiler is still at work. */
export const WARM_UP_SHARE = 0.25

export const VOTERS = 3
/** The client that speaks to replicas as a machine's gateway does takes a slot that nobody has. */
export const CLIENT_SLOT = 10

/** One command: a header of 16 bytes, a key and a value. 64 bytes in a batch. */
export const KEY_BYTES = 16
export const VALUE_BYTES = 32
/** Keys that are written, at random: what fits the table, and not the processor's cache. */
export const KEYS = 100_000
/** Requests prepared before the clock starts, and sent in turn. */
export const BODIES_BYTES = 4 * 1024 * 1024
export const BODIES_MAX = 1_024

/** What one session may have wait for it in the client before the run is given up. */
export const ANSWER_MS_MAX = 10_000
/** A process starts, a cluster forms, a machine recovers. */
export const READY_MS_MAX = 40_000
export const HTTP_MS_MAX = 2_000
export const POLL_MS = 10
export const STOP_MS_MAX = 3_000
export const REPORT_MS_MAX = 2_000
export const CLIENT_TICK_MS = 10
/** Lines of a process's log that are shown when it did not do what was waited for. */
export const LOG_LINES_SHOWN = 12
export const LOG_BYTES_MAX = 256 * 1024

/** A request of the failover probe is given up on a connection after so long. */
export const FAILOVER_MS_MAX = 20_000
/** Between a cluster at full strength and the next crash: crashes must not keep step with heartbeats. */
export const CRASH_PAUSE_MS_MAX = 150

/** The core alone: operations over which its heap must not grow, and what one is measured for bytes over. */
export const HEAP_OPS = 1_000_000
export const HEAP_BATCH = 512
export const CORE_SESSIONS = 8
/** A core that was given up: it drops what it sends to itself, or waits for a time that never comes. */
export const CORE_STEPS_MAX = 100_000
export const PROGRAM_SECONDS_MAX = 900

export const SIMULATOR_SEEDS = 20
