/** The bounds of a chaos run. Milliseconds unless the name says otherwise. Plane: control. */

export const MINUTES_DEFAULT = 10
export const MINUTES_MAX = 24 * 60
export const SEED_MAX = 2 ** 32 - 1

/** Ports of the processes: below the range from which Linux takes the ports of clients. */
export const PORT_FIRST = 12_000
export const PORT_LAST = 31_999
export const PORT_ATTEMPTS_MAX = 1_000

/** From start to a cluster whose every member holds the state; and back to that after a fault. */
export const FORM_MS = 60_000
export const HEAL_MS = 90_000
/** Clients work in peace before the first episode. */
export const CALM_FIRST_MS = 500
/** A process that was told to end cleanly. */
export const STOP_MS = 5_000
export const POLL_MS = 50
export const HTTP_MS = 2_000
/** Resident memory and counters of each process are read this often. */
export const SAMPLE_MS = 2_000
/** Before this age a process still grows into its buffers: no growth is measured. */
export const RSS_SETTLED_MS = 20_000

/** Clients that record what they do; each is a connection with one command under way. */
export const CLIENTS = 8
/** They wait up to so long between two commands. */
export const THINK_MS_MAX = 6
/** An answer that takes longer is given up as unknown, and the connection with it. */
export const COMMAND_MS = 4_000
export const CONNECT_MS = 1_000
/** After a refusal, or no connection. */
export const RETRY_MS = 20
/** Keys that all clients work on at a time, and how long: a history must stay short enough to be checked. */
export const HOT_KEYS = 4
export const KEYS_MS = 8_000
/** Of a hundred commands, so many make the client move to another machine first. */
export const MOVE_PERCENT = 1
export const ANSWER_BYTES_MAX = 64 * 1024

/** A flood of clients that do little. */
export const FLOOD_CONNECTIONS = 1_000
export const FLOOD_OPENING_AT_ONCE = 50
export const FLOOD_HOLD_MS = 2_000

/** Configurations that the check of one key may look at. */
export const KEY_CONFIGURATIONS_MAX = 2_000_000
/** Operations that are shown of a history that is not linearizable. */
export const EXCERPT_OPERATIONS = 40
/** At the end the copies must agree within this time. */
export const AGREE_MS = 20_000
/** One final read, in which a gateway may have to find the new primary first. */
export const READ_MS = 15_000

/** A cluster runs at most so long, so that its histories fit into memory; a longer run starts another. */
export const STAGE_MINUTES_MAX = 20
/** A crash in the middle of a recovery comes so soon after the start. */
export const CRASH_AGAIN_MS_MIN = 50
export const CRASH_AGAIN_MS_MAX = 700
