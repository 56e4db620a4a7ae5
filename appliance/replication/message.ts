/**
 * The messages of Viewstamped Replication as this cluster speaks it (REPLICATION.md, B). Pure data; wire.ts gives
 * them bytes. A message is immutable once sent. Plane: control (one message a batch, never one a command).
 */
import type { Digest, Operation } from "../types/contracts.ts"

/** One entry a voter: incarnation * 2^32 + nonce, compared as numbers (crash_vector.ts). Never changed in place. */
export type CrashVector = readonly number[]

/** The head of one log entry. `checksum` covers all other fields and the body; `parent` is the previous checksum. */
export type PrepareHeader = {
  /** The view in which the entry was first prepared; stays through later views. */
  readonly view: number
  readonly op: number
  /** Milliseconds of cluster time. */
  readonly timestamp: number
  readonly operation: Operation
  readonly session: number
  readonly request: number
  readonly body_bytes: number
  readonly parent: Digest
  readonly checksum: Digest
}

/** A log entry with its body. `body` may be a view into a ring: copy it before the call that got it returns. */
export type LogEntry = { readonly header: PrepareHeader; readonly body: Uint8Array }

/** What every message carries: the sender's slot and all that it knows of crashes (rule 7). */
type Envelope = { readonly from: number; readonly cv: CrashVector }

/** A log that is no view's: committed entries of a later view may lie in it while its own is being left. */
export const VIEW_NONE = Number.MAX_SAFE_INTEGER

export type ProbeStatus = "blank" | "recovering" | "operational"

export type Message = Envelope &
  (
    | {
        readonly type: "probe"
        readonly nonce: number
        /** The incarnation that this process means to take, 0 while it knows of none (rule 4). */
        readonly claim: number
        readonly token: string
      }
    | {
        readonly type: "probe_ok"
        /** The nonce of the probe that this answers. */
        readonly nonce: number
        /** The highest incarnation that any process of the prober's slot has claimed or had, as the sender heard. */
        readonly claimed: number
        readonly status: ProbeStatus
        readonly token: string
      }
    | {
        readonly type: "prepare"
        readonly view: number
        /** The primary's commit number. */
        readonly commit: number
        readonly header: PrepareHeader
        readonly body: Uint8Array
      }
    | { readonly type: "prepare_ok"; readonly view: number; readonly op: number; readonly checksum: Digest }
    | {
        /** Heartbeat: says that the primary lives, how far it is, and numbers a read round (rule 12). */
        readonly type: "commit"
        readonly view: number
        readonly op: number
        readonly commit: number
        readonly round: number
      }
    | { readonly type: "commit_ok"; readonly view: number; readonly round: number }
    | { readonly type: "exit_view"; readonly view: number }
    | {
        readonly type: "join_view"
        readonly view: number
        readonly log_view: number
        readonly op: number
        readonly commit: number
        /** The last entries' headers, ascending, ending at `op`. */
        readonly headers: readonly PrepareHeader[]
      }
    | {
        /** Start of a view, or the answer to get_view: the log of `view` up to `op`. */
        readonly type: "view"
        readonly view: number
        readonly op: number
        readonly commit: number
        readonly headers: readonly PrepareHeader[]
      }
    | { readonly type: "get_view"; readonly view: number }
    | { readonly type: "recovery"; readonly nonce: number }
    | {
        readonly type: "recovery_response"
        readonly nonce: number
        readonly view: number
        readonly op: number
        readonly commit: number
        /** Only the primary of `view` sends its log's headers; others send none. */
        readonly headers: readonly PrepareHeader[]
      }
    /** Asks for entries by op, at most pipeline_max of them. */
    | { readonly type: "get_log"; readonly op_first: number; readonly op_last: number }
    | {
        readonly type: "log"
        /** The view that the sender is a member of, whose log this entry belongs to; VIEW_NONE when it is in none. */
        readonly view: number
        /** The sender's commit number: an entry at or below it is committed. */
        readonly commit: number
        readonly entry: LogEntry
      }
    /** The asked op left the ring: take a checkpoint. */
    | { readonly type: "log_gone"; readonly op: number }
    | { readonly type: "get_checkpoint"; readonly nonce: number; readonly chunk: number }
    | {
        readonly type: "checkpoint_chunk"
        readonly nonce: number
        /** The commit number that the copied arena reflects. */
        readonly op: number
        /** Checksum of entry `op`, the parent of the next. */
        readonly op_checksum: Digest
        /** Digest of this chunk's bytes (of no bytes for a chunk of zeros). */
        readonly chunk_digest: Digest
        readonly chunk: number
        readonly chunk_count: number
        /** Empty when the chunk is all zeros. */
        readonly body: Uint8Array
      }
    /** A gateway's request, forwarded to the primary by the machine it reached. Not a quorum message. */
    | {
        readonly type: "request"
        readonly operation: Operation
        readonly session: number
        readonly request: number
        readonly body: Uint8Array
      }
    /** A read-only batch; `read` is the asker's own number for it. */
    | { readonly type: "read"; readonly read: number; readonly body: Uint8Array }
    | {
        readonly type: "reply"
        readonly session: number
        readonly request: number
        readonly outcome: RequestOutcome
        readonly view: number
        readonly body: Uint8Array
      }
    | {
        readonly type: "read_reply"
        readonly read: number
        readonly outcome: RequestOutcome
        readonly view: number
        readonly body: Uint8Array
      }
  )

/**
 * `ok`: committed, the body is the reply. The others changed nothing that the asker may rely on:
 * `not_primary` (the view is a hint of who is), `busy` (queue full), `evicted` (session unknown: register again),
 * `invalid` (batch malformed), `stale` (an older request number than the last committed).
 */
export type RequestOutcome = "ok" | "not_primary" | "busy" | "evicted" | "invalid" | "stale"

export type MessageType = Message["type"]
export type MessageOf<T extends MessageType> = Extract<Message, { readonly type: T }>

/** What leaves a step of the replica: a message and the slot it goes to. */
export type Outgoing = { readonly to: number; readonly message: Message }
