/**
 * The ports between the inner modules: what replication asks of a state machine and of the process around it.
 * Inner modules import nothing from `node:`; whoever composes them brings these. Plane: control.
 */

import type { FingerprintSink } from "./fingerprint.ts"

/** 128 bits of SHA-256, as 32 hexadecimal digits. */
export type Digest = string

/** The first 128 bits of SHA-256 over `prefix` (as UTF-8) and then `bytes[start, end)`. */
export type DigestFunction = (prefix: string, bytes: Uint8Array, start: number, end: number) => Digest

export const WALL_CLOCK_BYTES = 8
/**
 * After the first word on wall time, by so much a later one may move it: a machine with its clock in 2099 that becomes
 * primary cannot drag everybody along (DESIGN: time and chance).
 */
export const WALL_CLOCK_STEP_MS_MAX = 500

/** A configuration's bytes: room for VOTERS_MAX + STANDBYS_MAX members (replication/configuration.ts). */
export const CONFIGURATION_BYTES_MAX = 128

/** An unsigned 32-bit random number; from the operating system in production, from the seed in simulation. */
export type RandomU32 = () => number

/** What an op does. The number travels in headers and stays forever. */
export const Operation = {
  /** Registers a session; the body is a 16-byte client id. */
  register: 1,
  /** A batch of commands (state_machine/command.ts). */
  batch: 2,
  /** The primary's own: expires what is due. The body is empty. */
  pulse: 3,
  /** The last op of an epoch; the body is the next epoch's configuration (replication/configuration.ts). */
  reconfigure: 4,
  /** The primary's word on wall time, clamped; the body is WALL_CLOCK_BYTES: milliseconds since 1970, low u32 first. */
  wall_clock: 5,
  /** The state after it is a checkpoint: every machine freezes the same pages (rule 22). The body is empty. */
  checkpoint: 6,
} as const
export type Operation = (typeof Operation)[keyof typeof Operation]

/** One committed operation as `apply` sees it. All that it may depend on is here or in the arena. */
export type CommittedOperation = {
  readonly op: number
  /** Milliseconds of cluster time; never falls from one op to the next. */
  readonly timestamp: number
  readonly operation: Operation
  /** The session's number (the op that registered it); 0 but for a batch. */
  readonly session: number
  /** The session's request number, 1 and up; the asker's own number for register; else 0. */
  readonly request: number
}

export const SessionState = {
  /** Never registered, or evicted. */
  unknown: 0,
  known: 1,
} as const
export type SessionState = (typeof SessionState)[keyof typeof SessionState]

/**
 * The arena as pages of fixed size, and the last checkpoint among them: the *image*. Until the next `freeze` its pages
 * can be had although writes go on, as long as there is room for those that change.
 */
export interface StatePages {
  readonly count: number
  readonly pageBytes: number
  /** The image's digests, page by page; complete when nothing is pending. A transfer may write it, before `adopt`. */
  readonly table: Uint8Array
  /** Pages of the image whose digests have not been taken yet. */
  readonly pending: number
  /** Pages that have changed since the image. */
  readonly changed: number
  /** False once a page of the image has changed for which there was no room, or was asked for a second time. */
  readonly isWhole: boolean
  /** The page that the next `scrub` begins with. */
  readonly scrubAt: number

  /**
   * Whether somebody copies the image: then all of the room is for pages that change meanwhile; else a part of it, so
   * that full load does not copy for nobody.
   */
  hold(isRead: boolean): void
  /** What the arena holds now becomes the image; nothing of the one before may be pending. O(pages changed). */
  freeze(): void
  /** Takes at most so many digests. */
  takeDigests(pagesMax: number): void
  /** The image's identity, over `prefix` and all digests; nothing may be pending. */
  root(digest: DigestFunction, prefix: string): Digest
  /**
   * Copies a page of the image into `target` from `at`, once; later perhaps not again: false when it is lost, or what
   * was kept of it is not as its digest says.
   */
  copyFrozen(page: number, target: Uint8Array, at: number): boolean
  /**
   * So many pages of the image as they lie in the arena, handed out as by `copyFrozen`; undefined when one of them has
   * changed. Valid until the next write.
   */
  viewFrozen(first: number, pages: number): Uint8Array | undefined
  /** Looks at the next pages, at most so many: the first that has changed although nobody wrote it, or -1. */
  scrub(pagesMax: number): number

  /** True when the arena's page, as it is now, has the digest that is in the table. */
  isAs(page: number): boolean
  /** Overwrites a page; true when it is then as the table says. */
  replace(page: number, source: Uint8Array, at: number): boolean
  /** Overwrites pages from `first` on with all of `source`, whole pages; each is to be looked at by `isAs`. */
  overwrite(first: number, source: Uint8Array): void
  /** The arena is not the image's continuation any more: its pages, and the table, are about to be overwritten. */
  abandon(): void
  /** The arena is as the table says, every page of it: from now on that is the image. */
  adopt(): void

  copyFrom(other: StatePages): void
  fingerprint(sink: FingerprintSink): void
}

/**
 * The replicated state machine. `apply` is total: it never throws for any body, answers with an error instead,
 * and after the same operations its arena has the same bytes on every machine.
 */
export interface StateMachine {
  /**
   * Applies the next op (`operation.op` is exactly `commit() + 1`) and writes the reply into `reply` from 0.
   * Returns the reply's bytes, at most session_reply_bytes_max. Advances `commit()` and `timestamp()`, which live in
   * the arena, and records the reply under the session.
   */
  apply(operation: CommittedOperation, body: Uint8Array, start: number, end: number, reply: Uint8Array): number

  /** Answers a batch of reads from the state as it is, writes nothing but `reply`; returns the reply's bytes. */
  read(body: Uint8Array, start: number, end: number, reply: Uint8Array): number

  /** True when every command in the batch is well-formed: checked before an op number is assigned (STYLE.md, 4). */
  isValidBatch(body: Uint8Array, start: number, end: number): boolean
  /** True when the batch is well-formed and none of its commands writes. */
  isReadOnlyBatch(body: Uint8Array, start: number, end: number): boolean

  /** The op number that the arena's bytes reflect. */
  commit(): number
  /** The timestamp of that op. */
  timestamp(): number
  /**
   * The body of the last reconfigure op, as a view into the arena; empty before the first. Part of every checkpoint
   * (rule 22), so that who copies the state knows whose it is.
   */
  configuration(): Uint8Array
  /**
   * Wall time less cluster time, milliseconds; undefined before the first word on it. For people and for deadlines
   * that they give as a date: nothing that is replicated depends on it.
   */
  wallOffset(): number | undefined
  /** The earliest deadline of any key, or Infinity: when a pulse is due. */
  nextDeadline(): number

  /** Whether the session is registered. */
  sessionState(session: number): SessionState
  /** Number of the session's last committed request; 0 before the first. Only for a known session. */
  sessionRequest(session: number): number
  /** Copies the session's last reply into `reply` from 0; returns its bytes. Only for a known session. */
  sessionReply(session: number, reply: Uint8Array): number

  /** The op of the last checkpoint, which the pages' image is; 0 before the first. */
  checkpointOp(): number

  /** The arena itself: all replicated state and nothing else. Its length never changes. */
  readonly arena: Uint8Array
  readonly pages: StatePages
  /** Called after `arena` was overwritten by a transfer: drops every cache; true if its bytes are an arena of ours. */
  restored(): boolean
}
