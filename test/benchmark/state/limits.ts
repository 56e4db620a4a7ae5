/** Bounds of `npm run bench:state`: how much state, how long, how often. Plane: control. */
import type { ClusterSize } from "../../../appliance/types/cluster_sizes.ts"

const MIB = 1024 * 1024

/** Each measurement is repeated in turn with all others, and the median is reported; --rounds. */
export const ROUNDS_DEFAULT = 3
export const ROUNDS_MAX = 99
/** Seconds of load before a machine is taken away; --seconds. */
export const SECONDS_DEFAULT = 3
export const SECONDS_MAX = 60

/** Bytes of keys and values that a machine which comes back has to copy, and the smallest cluster that holds them. */
export type StateCase = { readonly name: string; readonly bytes: number; readonly size: ClusterSize }
export const STATE_CASES: readonly StateCase[] = [
  { name: "64 MiB", bytes: 64 * MIB, size: "medium" },
  { name: "1 GiB", bytes: 1024 * MIB, size: "huge" },
]

export const KEY_BYTES = 16
/** A kilobyte a key, so that the largest state takes seconds to write and not minutes. */
export const STATE_VALUE_BYTES = 1_008
/** Bytes of one request's SETs, at most: so few that no machine is busy with them for long, and is taken for dead. */
export const FILL_BATCH_BYTES = 128 * 1024
export const FILL_SESSIONS = 8
export const FILL_SECONDS_MAX = 300
/** Each ends with a view change, since the machine is busy with other things. */
export const FILL_ATTEMPTS_MAX = 8

/** The load beside a copy: as `link 16 x 32` of bench:replication, at half of what that does. */
export const LOAD_SESSIONS = 16
export const LOAD_BATCH = 32
export const LOAD_SHARE = 0.5

/** Checkpoints at full load: as `link 8 x 512`. */
export const FULL_SESSIONS = 8
export const FULL_BATCH = 512

/** What one Node process sends another over TCP, in pieces of so many bytes. */
export const TCP_BYTES = 2048 * MIB
export const TCP_PIECE_BYTES = 256 * 1024

/** A copy of the largest state, under load, on a machine that others use too. */
export const REJOIN_SECONDS_MAX = 120
export const PROGRAM_SECONDS_MAX = 900

/** A checkpoint after so many SETs. A batch of 512 is one op, so that `checkpoint_ops` alone would say little. */
export const INTERVALS: readonly number[] = [8_192, 32_768, 131_072, 524_288]
/** SETs of one measurement of a checkpoint's cost; together as many come before all of them, to warm up. */
export const INTERVAL_SETS = 1_048_576
/** What the share of a core is computed for, and how many of them a tick sees. */
export const FULL_SETS_PER_SECOND = 500_000
export const SETS_PER_TICK = 5_000

/** The interval that the limits which ship come to: 8 MiB of log, 64 bytes a SET. */
export const INTERVAL_TARGET_SETS = 131_072

export const SCRUB_BUDGETS: readonly number[] = [16, 64, 256]
export const SCRUB_ROUNDS = 20

/** Of the kv capacity so much is filled to see what a byte costs, with values of so many bytes. */
export const FILLED_SHARE = 0.9
export const FILLED_VALUE_BYTES = 100
export const FILLED_SIZE: ClusterSize = "medium"
export const REDIS_READY_MS_MAX = 5_000
export const REDIS_PIPELINE = 1_000
export const REDIS_ANSWER_MS_MAX = 10_000
export const REDIS_ANSWER_BYTES_MAX = 64 * 1024

export const STARTUP_SIZES: readonly ClusterSize[] = ["small", "medium", "large", "huge"]
