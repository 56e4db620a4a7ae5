/** Every bound of the TFTP server. Plane: control. */
import { assert } from "../../appliance/types/assert.ts"

/** RFC 2348's range; what lies outside is left out of the answer. */
export const BLOCK_BYTES_MIN = 8
export const BLOCK_BYTES_LIMIT = 65_464
export const BLOCK_BYTES_DEFAULT = 512
/** An Ethernet frame less 32 bytes of IP, UDP and TFTP headers: some ROMs can't put fragments together. */
export const BLOCK_BYTES_MAX = 1_468
export const WINDOW_BLOCKS_MAX = 64
export const TIMEOUT_SECONDS_MAX = 255
export const TIMEOUT_MS_DEFAULT = 1_000
/** Sendings of one window before the client is given up. */
export const ATTEMPTS_MAX = 5
/** A request longer than this is none (RFC 2347: 512 bytes). */
export const REQUEST_BYTES_MAX = 512
/** Longest datagram that a client has a reason to send: an error with its message. */
export const PACKET_BYTES_MAX = 516
export const OPTIONS_MAX = 16
export const FILE_NAME_BYTES_MAX = 255

export const TRANSFERS_MAX = 64
export const TRANSFERS_PER_CLIENT_MAX = 4

assert(BLOCK_BYTES_MAX <= BLOCK_BYTES_LIMIT, "tftp limits: our largest block is one that RFC 2348 knows")
assert(TRANSFERS_PER_CLIENT_MAX <= TRANSFERS_MAX, "tftp limits: one client's share is part of the whole")
