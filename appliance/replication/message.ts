/**
 * The messages of Viewstamped Replication as this cluster speaks it (REPLICATION.md, B). Pure data; wire.ts gives
 * them bytes. A message is immutable once sent. Plane: control (one message a batch, never one a command).
 */
import type { Digest, Operation } from "../types/contracts.ts"
import type { Configuration } from "./configuration.ts"

/**
 * One entry a slot: incarnation * 2^32 + nonce, compared as numbers (crash_vector.ts); 0 for a slot without a vote.
 * Never changed in place.
 */
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

/**
 * What every message carries: the sender's slot, its epoch, and all that it knows of crashes in that epoch (rule 7).
 * Views and vectors of two epochs are never compared.
 */
type Envelope = { readonly from: number; readonly epoch: number; readonly cv: CrashVector }

/** A log that is no view's: committed entries of a later view may lie in it while its own is being left. */
export const VIEW_NONE = Number.MAX_SAFE_INTEGER

export type CheckpointPart = "table" | "pages"

/** `standby`: holds the state, without a vote. */
export type ProbeStatus = "blank" | "recovering" | "operational" | "standby"

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
        /** The sender's configuration: who must be asked to recover, and whether the prober votes at all. */
        readonly configuration: Configuration
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
    | {
        /**
         * What a machine without a vote says of itself, to be sent what is prepared: that it follows, and how far it
         * is. In answer to a prepare or a heartbeat it confirms, which counts only for the one committed as
         * synchronous.
         */
        readonly type: "standby_ok"
        /** The nonce of its process: another process of the slot confirms nothing. */
        readonly nonce: number
        readonly view: number
        readonly op: number
        readonly checksum: Digest
        /** The last round heard of in `view`. */
        readonly round: number
        /** Fingerprint of the larger limits that its process has room for; 0 for none (types/growth.ts). */
        readonly grows_to: number
      }
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
    /** Asks for entries by op, of which at most log_entries_max and some batch_bytes_max of bodies come at once. */
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
    | {
        /** The sender's newest checkpoint, or the newest that it knows to be certified (rule 22). */
        readonly type: "checkpoint_ok"
        readonly op: number
        readonly root: Digest
        readonly is_certified: boolean
        /** Somebody is copying the sender's checkpoints: writers may have to be slowed for it (rule 21). */
        readonly is_read: boolean
      }
    | {
        readonly type: "get_checkpoint"
        readonly nonce: number
        /** A part of the table of digests, or the pages of window `index` whose bits are set. */
        readonly part: CheckpointPart
        readonly index: number
        readonly mask_low: number
        readonly mask_high: number
      }
    | {
        readonly type: "checkpoint_chunk"
        readonly nonce: number
        /** The op after which the arena was as this checkpoint. */
        readonly op: number
        /** Checksum of entry `op`, the parent of the next. */
        readonly op_checksum: Digest
        /** The checkpoint's identity: what the whole table of digests must add up to. */
        readonly root: Digest
        readonly part: CheckpointPart
        readonly index: number
        /** The pages in the body, one behind the other: those asked for but the ones that are lost. */
        readonly mask_low: number
        readonly mask_high: number
        readonly body: Uint8Array
      }
    /** Nothing to copy at this moment: ask again soon. */
    | { readonly type: "checkpoint_gone"; readonly nonce: number }
    | {
        /** The sender's epoch has begun: its configuration's op was committed in the one before. */
        readonly type: "new_epoch"
        readonly configuration: Configuration
      }
    /** The sender votes in its epoch: it holds all that was committed before. */
    | { readonly type: "epoch_started" }
    | {
        /** An operator's command: the members of the next epoch. */
        readonly type: "reconfigure"
        /** The asker's own number for it. */
        readonly change: number
        /** The epoch that is to end: a change that was meant for another is refused. */
        readonly epoch_expected: number
        readonly voters: readonly number[]
        readonly standbys: readonly number[]
        readonly synchronous: boolean
        /** Goes ahead without the synchronous standby; the operator has made sure that it is off (rule 6). */
        readonly drops_standby: boolean
        /** The next epoch has the larger limits that all its members have room for. */
        readonly grows: boolean
      }
    | {
        readonly type: "reconfigure_reply"
        readonly change: number
        readonly outcome: ReconfigureOutcome
        /** The slot that the outcome is about, where it is about one; else 0. */
        readonly slot: number
        /** The epoch that has begun when the outcome is `ok`, else the present one. */
        readonly epoch_now: number
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
 * `invalid` (batch malformed), `stale` (an older request number than the last committed), or a halt.
 */
export type RequestOutcome = "ok" | "not_primary" | "busy" | "evicted" | "invalid" | "stale" | Halt

/**
 * Why a primary answers nobody. `standby_missing`: the only voter must not without its synchronous standby.
 * `memory_disputed`: two machines' memories differ, and there is no third to say which is right (rule 22b).
 */
export type Halt = "standby_missing" | "memory_disputed"

/**
 * `ok`: committed; the next epoch has begun. `busy`: a reconfiguration is under way. `wrong_epoch`: another than the
 * one that was to end. `invalid`: the sizes of rule 6, or from several voters to one without a synchronous standby.
 * `not_warm`: `slot` does not follow, or lags by more than half the log. `not_grown`: `slot` votes in the epoch that is
 * to end, or has no room for the limits that the first voter has room for.
 */
export type ReconfigureOutcome =
  | "ok"
  | "not_primary"
  | "busy"
  | "wrong_epoch"
  | "invalid"
  | "not_warm"
  | "not_grown"
  | Halt

export type MessageType = Message["type"]
export type MessageOf<T extends MessageType> = Extract<Message, { readonly type: T }>

/** What leaves a step of the replica: a message and the slot it goes to. */
export type Outgoing = { readonly to: number; readonly message: Message }
