/** Every bound of the commands. Plane: control. */

/** The operator API's port. */
export const API_PORT = 7443
/** How often a connection that was refused or broken is tried again, and the pause between. */
export const ATTEMPTS_MAX = 3
export const ATTEMPT_PAUSE_MS = 300
/** All attempts together. Longer than the gateway waits for a primary, so that its answer is seen. */
export const TIMEOUT_SECONDS = 15
export const TIMEOUT_SECONDS_MAX = 3_600
export const RESPONSE_BYTES_MAX = 4 * 1024 * 1024
/** The longest line of a salvage: one op with a batch of 1 MiB, in base64. */
export const SALVAGE_LINE_BYTES_MAX = 4 * 1024 * 1024
/** Long work says how far it is, this often. */
export const PROGRESS_MS = 1_000
/** A cell of a table is cut here. */
export const CELL_COLUMNS_MAX = 64
/** A line of its own is cut here. */
export const LINE_COLUMNS_MAX = 160
/** A machine's note about its salvage is cut here. */
export const NOTE_COLUMNS_MAX = 400
/** Of the 32 hexadecimal digits of a root, so many are shown. */
export const ROOT_DIGITS = 8
/** Slots are checked by the cluster; this only keeps nonsense from being sent. */
export const SLOT_MAX = 255
/** How often `epoch --wait` looks. */
export const EPOCH_POLL_MS = 500
/** The file of contexts: each has three PEM texts. */
export const CONTEXTS_MAX = 32
export const CONFIG_BYTES_MAX = 256 * 1024
/** Of a password that is made here: 192 bits. */
export const PASSWORD_BYTES = 24
export const PASSWORD_INPUT_BYTES_MAX = 1_024
/** A roster on its way to one member. */
export const PUSH_MS_MAX = 2_000
/** Rules of one boot server that accept machines by themselves; pxe/pool has the same. */
export const ACCEPT_RULES_MAX = 16
/** Pieces of a state that is copied or restored: over so many connections, each tried so often. */
export const IMAGE_CONNECTIONS_MAX = 8
export const IMAGE_ATTEMPTS_MAX = 5
export const IMAGE_ATTEMPT_PAUSE_MS = 300
/** A piece, or a document of the API. */
export const IMAGE_PIECE_BYTES_MAX = 4 * 1024 * 1024
/** Pages that are sent at once. */
export const RESTORE_PAGES_MAX = 128
/** A passphrase's file. */
export const PASSPHRASE_BYTES_MAX = 4_096

/** Where the boot server answers machines, in plain HTTP. */
export const BOOT_PORT = 7480

/** How long `mandala doctor` listens. */
export const LISTEN_SECONDS = 4
