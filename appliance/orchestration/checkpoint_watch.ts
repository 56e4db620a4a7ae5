/**
 * Whether checkpoints become certified, as this machine sees it. Decides nothing: the log ring keeps what is not
 * certified (rule 21), so when none is for long writes stop, and a person has to know why. Plane: control.
 */
import type { Logger } from "pino"
import { assert } from "../types/assert.ts"
import type { Alarm } from "./alarms.ts"

export type CheckpointSight = {
  readonly certifiedOp: number
  /** Of the last checkpoint that was applied here. */
  readonly latestOp: number
  /** Voters report different roots of it. */
  readonly isDisputed: boolean
  /** The log has no room left for what is not certified: writes wait. */
  readonly isRingFull: boolean
  /** Only a member whose own state is whole can tell. */
  readonly isMember: boolean
}

export type CheckpointWatchOptions = {
  /** For so long a checkpoint may go without being certified. */
  readonly overdueMs: number
  /** For so long writes may wait for one. */
  readonly fullMs: number
  readonly log: Pick<Logger, "warn" | "info">
}

export class CheckpointWatch {
  readonly #options: CheckpointWatchOptions
  #certifiedOp = 0
  #certifiedAt: number | undefined
  /** Since when there is a checkpoint that is not certified, and since when the log is full. */
  #waitingSince: number | undefined
  #fullSince: number | undefined
  #isOverdue = false
  #alarm: Alarm | undefined

  constructor(options: CheckpointWatchOptions) {
    assert(options.overdueMs > options.fullMs, "checkpoint watch: that writes wait is said sooner")
    this.#options = options
  }

  /** Milliseconds since this machine heard that a checkpoint was certified; null before the first. */
  ageMs(nowMs: number): number | null {
    return this.#certifiedAt === undefined ? null : Math.max(0, nowMs - this.#certifiedAt)
  }

  alarms(): Alarm[] {
    return this.#alarm === undefined ? [] : [this.#alarm]
  }

  /** What it is at `nowMs`. */
  observe(nowMs: number, sight: CheckpointSight): void {
    if (sight.certifiedOp !== this.#certifiedOp) {
      this.#certifiedOp = sight.certifiedOp
      this.#certifiedAt = nowMs
      this.#waitingSince = undefined
    }
    const isWaiting = sight.isMember && sight.latestOp > sight.certifiedOp
    this.#waitingSince = isWaiting ? (this.#waitingSince ?? nowMs) : undefined
    this.#fullSince = sight.isMember && sight.isRingFull ? (this.#fullSince ?? nowMs) : undefined
    const waitedMs = this.#waitingSince === undefined ? 0 : nowMs - this.#waitingSince
    const isFull = this.#fullSince !== undefined && nowMs - this.#fullSince >= this.#options.fullMs
    const isOverdue = isFull || waitedMs >= this.#options.overdueMs
    this.#alarm = isOverdue ? { kind: "checkpoint_overdue", text: textOf(sight, waitedMs, isFull) } : undefined
    this.#logChange(sight, isOverdue)
  }

  #logChange(sight: CheckpointSight, isOverdue: boolean): void {
    if (isOverdue === this.#isOverdue) {
      return
    }
    this.#isOverdue = isOverdue
    const fields = { certified_op: sight.certifiedOp, checkpoint_op: sight.latestOp, disputed: sight.isDisputed }
    if (this.#alarm === undefined) {
      this.#options.log.info(fields, "checkpoint_in_time")
    } else {
      this.#options.log.warn({ ...fields, text: this.#alarm.text }, this.#alarm.kind)
    }
  }
}

function textOf(sight: CheckpointSight, waitedMs: number, isFull: boolean): string {
  const writes = isFull ? "writes wait, the log is full" : "writes will stop when the log is full"
  const toDo = sight.isDisputed
    ? "voters differ (members): switch the one that you doubt off and on"
    : "too few voters report one: bring them back"
  return `no checkpoint certified for ${Math.floor(waitedMs / 1000)} s, ${writes}; ${toDo}`
}
