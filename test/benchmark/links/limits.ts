/** Bounds of the benchmark of links. Plane: control. */

/** Plain and encrypted in turn, so that whatever else the machine does falls on both; --rounds. */
export const ROUNDS_DEFAULT = 5
export const ROUNDS_MAX = 50
/** Of one measurement; --seconds. */
export const SECONDS_DEFAULT = 3
export const SECONDS_MAX = 60
/** Clients that wait for each answer. */
export const CLIENTS = 16
/** Commands that each client of the throughput has under way. */
export const PIPELINE = 64
export const VALUE_BYTES = 100
/** Enough for the links to carry more than the commands cost. */
export const LARGE_VALUE_BYTES = 16_384
export const LARGE_PIPELINE = 4
export const KEYS = 10_000
/** What the smallest size holds with room to spare. */
export const STATE_BYTES = 16 * 1024 * 1024
export const HANDSHAKES = 300
/** The largest cluster that votes. */
export const RESTART_MACHINES = 7
export const WARM_UP_SHARE = 0.25
export const DEADLINE_MS = 20 * 60_000
