/** Every bound of the gateway, with the relations between them. Plane: control. */
import { assert } from "../types/assert.ts"
import type { ClusterLimits } from "../types/limits.ts"

const KIB = 1024
const MIB = 1024 * KIB

/** Sessions of one machine in the cluster's session table (rule 25). */
export const SESSIONS_PER_GATEWAY = 8
/** RESP connections served at a time; the next is refused by name. */
export const CONNECTIONS_MAX = 256

/** Redis's own bound is 512 MiB; ours holds the largest value eight times over, so that too long ones get an answer. */
export const BULK_BYTES_MAX = 512 * KIB
/** A longer argument is counted to its end, but only its first bytes are kept: enough for an error that quotes it. */
export const ARGUMENT_BYTES_MAX = 64 * KIB
export const ARGUMENT_KEPT_BYTES = 128
/** As Redis: PROTO_INLINE_MAX_SIZE. */
export const INLINE_BYTES_MAX = 64 * KIB
/** `*` or `$`, a sign, the digits of any number that could be meant, CR, LF. */
export const HEADER_BYTES_MAX = 32
/** A command's name and one argument for each key of the longest MGET. */
export const ARGUMENTS_MAX = 1_025
/** What one command's arguments and their headers may take together; each connection has a buffer of this size. */
export const COMMAND_BYTES_MAX = 128 * KIB
/** Places of keys that one SCAN looks at when no COUNT is given, and at the most. */
export const SCAN_COUNT = 64
export const SCAN_COUNT_MAX = 4_096
/** The same for KEYS, which is refused where there are more. */
export const KEYS_COUNT_MAX = 262_144
/** Names, patterns and messages that stay with a connection or go back to it. */
export const CLIENT_NAME_BYTES_MAX = 64
export const ECHO_BYTES_MAX = 64 * KIB

/** Answers of one connection, collected before they are written; each connection has a buffer of this size. */
export const CONNECTION_OUT_BUFFER_BYTES = 32 * KIB
/** From here on a connection's commands wait until it reads what it asked for. */
export const CONNECTION_OUT_PAUSE_BYTES = 1 * MIB
/** Beyond this, or when nothing was read for so long, a slow client is disconnected. */
export const CONNECTION_OUT_BYTES_MAX = 4 * MIB
export const CONNECTION_OUT_STALLED_MS = 30_000
/** A command takes no longer than this from its first byte to its last: nobody holds a place by dripping. */
export const CONNECTION_COMMAND_MS = 30_000
/** Where a password is set, a connection gives it within this time. */
export const CONNECTION_LOGIN_MS = 10_000
/** How often connections are looked at for those. */
export const CONNECTIONS_CHECK_MS = 1_000
export const CONNECTION_KEEPALIVE_MS = 60_000
/** How long a connection that said its last word waits for the other side to close. */
export const CONNECTION_LINGER_MS = 5_000

/** Answers that need no replica and wait for earlier ones of their connection: entries and bytes in one batch. */
export const BATCH_LOCAL_ENTRIES_MAX = 4_096
export const BATCH_LOCAL_BYTES = 256 * KIB
/** The longest such answer: an ECHO with its header. COMMAND and INFO are shorter, which a test asserts. */
export const LOCAL_REPLY_BYTES_MAX = ECHO_BYTES_MAX + 1 * KIB

/** No answer for so long: the outcome is unknown (rule 26). Every command is answered within this and one tick. */
export const REQUEST_TIMEOUT_MS = 10_000
/** A batch under way for so long no longer makes its connections wait: what has no room is refused. */
export const SESSION_STALLED_MS = 1_000
/** Repeats of a request that nobody answered; doubles up to the next line. */
export const RETRY_SILENT_MS = 250
export const RETRY_SILENT_MS_MAX = 1_000
/** Repeats of a request that was refused for the moment, or could not be sent; doubles up to the next line. */
export const RETRY_REFUSED_MS = 20
export const RETRY_REFUSED_MS_MAX = 160

/** This process's own commands (the machines table) that wait for an answer at a time. */
export const CALLS_MAX = 64
/** Answers of machine_list that the operator API puts together for one page of machines. */
export const MACHINE_PAGES_MAX = 64

/** The first wrong password of a connection is answered after so long; each further one after twice the time. */
export const AUTH_DELAY_MS = 100
export const AUTH_DELAY_DOUBLINGS_MAX = 5
/** Between the answers to two wrong passwords, whosever they are. */
export const AUTH_PAUSE_MS = 10
/** How often the password is looked up in this machine's state. */
export const PASSWORD_CHECK_MS = 250
/** A door to the network that did not open is tried again after so long. */
export const DOOR_RETRY_MS = 1_000
/** A password is for programs: long enough that a fast hash of it is not guessed. */
export const PASSWORD_CHARS_MIN = 16
export const PASSWORD_CHARS_MAX = 128

/** The operator API. */
export const API_CONNECTIONS_MAX = 64
export const API_HEADER_BYTES_MAX = 8 * KIB
export const API_HEADERS_MAX = 64
/** A roster as JSON, whose quotes are escaped. */
export const API_ROSTER_BYTES_MAX = 128 * KIB
/** A request's JSON. */
export const API_BODY_BYTES_MAX = 4 * KIB
/** A piece of a state that is restored here. */
export const RESTORE_PIECE_BYTES_MAX = 1024 * KIB
/** So long the beginning of an export may take from its op at the primary to this machine. */
export const EXPORT_SEEN_MS_MAX = 5_000
export const EXPORT_SEEN_POLL_MS = 10
export const API_HEADERS_TIMEOUT_MS = 5_000
export const API_REQUEST_TIMEOUT_MS = 15_000
export const API_KEEP_ALIVE_MS = 5_000
export const API_REQUESTS_PER_SOCKET_MAX = 10_000
/** A client that takes nothing of a salvage for so long gets no more of it. */
export const SALVAGE_STALLED_MS = 30_000

/** Asserts the relations between the gateway's limits and the cluster's, each with the reason that needs it. */
export function assertGatewayLimits(limits: ClusterLimits): void {
  // The largest SET fits one command buffer: name, key, value, options, and a header for each.
  assert(
    COMMAND_BYTES_MAX >= limits.key_bytes_max + limits.value_bytes_max + 1 * KIB,
    "gateway limits: a command buffer holds the largest SET",
  )
  assert(ARGUMENT_BYTES_MAX >= limits.value_bytes_max, "gateway limits: the longest value is kept whole")
  assert(COMMAND_BYTES_MAX >= INLINE_BYTES_MAX + 2, "gateway limits: a command buffer holds the longest line")
  assert(ARGUMENTS_MAX <= limits.batch_commands_max, "gateway limits: a batch holds the longest MGET")
  // Each key of the longest MGET becomes a command with its header.
  assert(
    ARGUMENTS_MAX * 16 + COMMAND_BYTES_MAX <= limits.batch_bytes_max,
    "gateway limits: a batch holds any one command",
  )
  assert(BATCH_LOCAL_BYTES >= LOCAL_REPLY_BYTES_MAX, "gateway limits: a batch holds the longest answer of our own")
  // Both batches of a session and their local answers may be on their way out when a connection is paused.
  assert(
    CONNECTION_OUT_BYTES_MAX >= CONNECTION_OUT_PAUSE_BYTES + 2 * (limits.read_reply_bytes_max + BATCH_LOCAL_BYTES),
    "gateway limits: a client that reads is never disconnected as slow",
  )
  assert(limits.sessions_max >= SESSIONS_PER_GATEWAY, "gateway limits: the table holds one gateway's sessions")
  assert(SESSION_STALLED_MS < REQUEST_TIMEOUT_MS, "gateway limits: a session stalls before it gives up")
  assert(RETRY_SILENT_MS_MAX < REQUEST_TIMEOUT_MS, "gateway limits: a request is repeated before it is given up")
}
