/** Every bound of exports, on paper and in files. Plane: control. */

const KIB = 1024

/** What stands before the state in a file. */
export const HEADER_BYTES_MAX = 64 * KIB
/** What is sealed at once, and written with its length. */
export const BLOCK_BYTES = 64 * KIB
/** A block that was sealed is longer by its tag. */
export const BLOCK_BYTES_MAX = BLOCK_BYTES + 16
/** Quick to write: a state of 1 GiB is exported while writes go on. */
export const ZSTD_LEVEL = 3
/** A window larger than what we write is refused: it is memory. */
export const ZSTD_WINDOW_LOG_MAX = 27
/** Argon2id for people's passphrases: a quarter of a second of one core, and 64 MiB. */
export const ARGON2_MEMORY_KIB = 64 * KIB
export const ARGON2_PASSES = 3
/** A file may ask for so much at most. */
export const ARGON2_MEMORY_KIB_MAX = 256 * KIB
export const ARGON2_PASSES_MAX = 16
export const RECIPIENTS_MAX = 8
/** Pages that were left out of a file, with their digests: the table of secrets. */
export const OMITTED_PAGES_MAX = 1_024
/** A file that is read in pieces. */
export const FILE_CHUNK_BYTES = 256 * KIB
/** Differences that are listed one by one. */
export const DIFFERENCES_MAX = 10_000
/** A copy is given up when nothing new has come for so long: longer than the longest wait for a checkpoint. */
export const COPY_SILENT_MS = 30_000
export const COPY_PAUSE_MS = 50
/** Pieces that a command asks for at once. */
export const COPY_PARALLEL = 8
