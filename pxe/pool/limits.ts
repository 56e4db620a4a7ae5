/** Every bound of what the boot server remembers of machines. Plane: control. */
import { assert } from "../../appliance/types/assert.ts"

/** As many as the cluster's own table of machines holds. */
export const MACHINES_MAX = 256
/** What a machine says of itself is cut to this. */
export const TEXT_BYTES_MAX = 64
export const REASON_BYTES_MAX = 160
/**
 * A machine that fetched its image is given this long from then to its first beacon; a slow disk-less i386 took 40 s.
 */
export const BEACON_SILENT_MS = 120_000
/** A machine that had too little memory is not sent an image again for this long. */
export const RAM_HOLD_MS = 15 * 60_000
/** Steps that are kept of each machine: two or three boots, and the bytes of one text among their facts. */
export const TRACE_EVENTS_MAX = 64
export const TRACE_TEXT_BYTES_MAX = 160
/** Firmware that asks again within this time is still at the same boot: EDK2 asks at 0, 4, 12 and 28 s. */
export const FIRMWARE_SILENT_MS = 60_000
/** A machine that only ever asked for an address is forgotten after this when its place is needed. */
export const FORGET_MS = 10 * 60_000
/** So many kernels sent within so long to one machine that was never heard of afterwards are a loop. */
export const LOOP_BOOTS_MAX = 3
export const LOOP_WINDOW_MS = 15 * 60_000
/** How often the table is looked through for machines that fell silent. */
export const CHECK_INTERVAL_MS = 1_000
/**
 * After its start the boot server hands out no formation token for this long: machines of an existing cluster announce
 * themselves about every second, and are heard before a second cluster could be founded.
 */
export const LISTEN_MS = 3_000
/** From the archive with the ticket to the join: a slow machine boots in a minute, a large memory is tested in some. */
export const TICKET_MS = 10 * 60_000
/** From a challenge to the join that answers it. */
export const CHALLENGE_MS = 30_000
/** Certificates for one ticket: a lost answer is asked for again, by the same key. */
export const TICKET_JOINS_MAX = 16
/** A P-256 key as PEM has some 180 bytes. */
export const PUBLIC_KEY_BYTES_MAX = 512
/** An announce comes about every second: who was silent for so long does not count towards a majority. */
export const ANNOUNCE_FRESH_MS = 3_000
/** Rules that accept machines by themselves. */
export const RULES_MAX = 16

assert(CHALLENGE_MS < TICKET_MS, "pool limits: a challenge is answered within a ticket's life")
assert(FIRMWARE_SILENT_MS < FORGET_MS, "pool limits: a machine that boots is not forgotten")
assert(LOOP_BOOTS_MAX * BEACON_SILENT_MS < LOOP_WINDOW_MS, "pool limits: a loop of silent boots fits its window")
