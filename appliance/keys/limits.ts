/** Bounds of keys, certificates and the roster. Plane: control. */
import { assert } from "../types/assert.ts"
import { CLUSTER_LIMITS } from "../types/limits.ts"

const KIB = 1024

/** A certificate or a key as text; ours have some 600 bytes. */
export const PEM_BYTES_MAX = 4 * KIB
/** As many machines as the cluster's own table of machines holds. */
export const ROSTER_MACHINES_MAX = CLUSTER_LIMITS.machines_max
/** The signed roster as text: an entry has at most some 240 bytes. */
export const ROSTER_BYTES_MAX = 64 * KIB
/** A file of keys: three PEM texts, or an authority. */
export const KEY_FILE_BYTES_MAX = 16 * KIB
export const OPERATOR_NAME_CHARS_MAX = 63
/** An operator's certificate; a machine's lives until the roster says otherwise (README.md, Time). */
export const OPERATOR_DAYS = 366
/** Decides of equal wall clocks: certificates of one authority are numbered by milliseconds, and rise. */
export const ISSUE_MAX = Number.MAX_SAFE_INTEGER

assert(ROSTER_BYTES_MAX >= ROSTER_MACHINES_MAX * 240, "keys limits: a full roster fits")
assert(KEY_FILE_BYTES_MAX >= 3 * PEM_BYTES_MAX, "keys limits: a file of keys holds three texts")
