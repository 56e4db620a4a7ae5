/** Every bound of the HTTP server. Plane: control. */
import { assert } from "../../appliance/types/assert.ts"

export const HEADERS_BYTES_MAX = 8 * 1024
export const HEADERS_COUNT_MAX = 64
export const URL_BYTES_MAX = 2_048
/** The largest body that anybody sends: an announce with a full roster, whose quotes are escaped. */
export const BODY_BYTES_MAX = 112 * 1024
export const CONNECTIONS_MAX = 512
/** From the connection's first byte to the end of the headers. */
export const HEADERS_MS_MAX = 10_000
/** The whole request; its answer may take as long as it moves. */
export const REQUEST_MS_MAX = 15_000
/** A connection on which nothing moves, neither in nor out. */
export const IDLE_MS_MAX = 60_000
/** Firmware keeps a connection while it writes what it got to memory. */
export const KEEP_ALIVE_MS = 60_000
/** How often connections are looked at for the times above. */
export const CHECK_INTERVAL_MS = 5_000
/** Image files on their way at once; more machines are told to ask again, so that those that started get done. */
export const TRANSFERS_MAX = 32
/** More than these go to machines that a quorum may lack: a rack that powers on must not keep them waiting. */
export const TRANSFERS_URGENT_MAX = 8
/** When to ask again: at random in this range, so that they don't all come back together. */
export const RETRY_SECONDS_MIN = 1
export const RETRY_SECONDS_MAX = 4

assert(
  TRANSFERS_MAX + TRANSFERS_URGENT_MAX < CONNECTIONS_MAX,
  "http limits: images leave connections for scripts, beacons and announces",
)
assert(RETRY_SECONDS_MIN <= RETRY_SECONDS_MAX, "http limits: a range")
