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
/** Firmware that asks again within this time is still at the same boot: EDK2 asks at 0, 4, 12 and 28 s. */
export const FIRMWARE_SILENT_MS = 60_000
/** A machine that only ever asked for an address is forgotten after this when its place is needed. */
export const FORGET_MS = 10 * 60_000
/** How often the table is looked through for machines that fell silent. */
export const CHECK_INTERVAL_MS = 1_000
/**
 * After its start the boot server hands out no formation token for this long: machines of an existing cluster announce
 * themselves about every second, and are heard before a second cluster could be founded.
 */
export const LISTEN_MS = 3_000

assert(FIRMWARE_SILENT_MS < FORGET_MS, "pool limits: a machine that boots is not forgotten")
