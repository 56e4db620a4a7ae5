/**
 * Whether the cluster can answer, as this machine sees it: how many voters hold the state and are within reach, how
 * many of them are spare, and what there is to say about it. Decides nothing in the protocol: there a quorum that is
 * not there is simply not found. It decides what clients are told, and how soon. Plane: control.
 */
import type { Logger } from "pino"
import type { Halt } from "../replication/message.ts"
import { assert } from "../types/assert.ts"
import type { Alarm, AlarmKind } from "./alarms.ts"

/** Why no command is answered. */
export type Outage = { readonly kind: "quorum_lost" | Halt | "outgrown"; readonly text: string }

export type QuorumSight = {
  readonly voters: number
  /** Voters that hold the state and were heard within QUORUM_SILENT_MS. */
  readonly live: number
  /** Machines that hold the state, with or without a vote. */
  readonly copies: number
  /** The only voter does without answers since its synchronous standby is silent. */
  readonly isStandbyMissing: boolean
  /** Two voters' memories differ, and there is no third to say which is right. */
  readonly isMemoryDisputed: boolean
  /** This machine has its epoch's log; what it lacks of the state, it copies. */
  readonly isMember: boolean
}

export type QuorumWatchOptions = {
  /** For so long a quorum may be gone before clients are told: a link that breaks and comes back is no outage. */
  readonly graceMs: number
  readonly log: Pick<Logger, "warn" | "info">
}

export const STANDBY_MISSING: Outage = {
  kind: "standby_missing",
  text: "the only voter answers nothing that its synchronous standby has not confirmed, and that is silent",
}

export const MEMORY_DISPUTED: Outage = {
  kind: "memory_disputed",
  text: "the memories of two machines differ, and no third holds the state to say which is wrong",
}

export class QuorumWatch {
  readonly #options: QuorumWatchOptions
  #sight: QuorumSight | undefined
  #since = 0
  #memberSince = 0
  #outage: Outage | undefined
  #seen: "" | AlarmKind = ""
  #seenSince = 0
  #logged: "" | AlarmKind = ""

  constructor(options: QuorumWatchOptions) {
    assert(options.graceMs > 0, "quorum watch: a link may break for a moment")
    this.#options = options
  }

  /** Live voters beyond a majority. */
  get margin(): number {
    return this.#sight === undefined ? -1 : marginOf(this.#sight)
  }

  get outage(): Outage | undefined {
    return this.#outage
  }

  /** What it is at `nowMs`. */
  observe(nowMs: number, sight: QuorumSight): void {
    assert(sight.live <= sight.voters && sight.live >= 0, "quorum watch: live voters are voters")
    const before = this.#sight
    const wasLost = before !== undefined && marginOf(before) < 0
    const isLost = marginOf(sight) < 0
    if (before === undefined || wasLost !== isLost) {
      this.#since = nowMs
    }
    if (before?.isMember !== sight.isMember) {
      // Who has just become a member has not heard the others say that they are.
      this.#memberSince = nowMs
    }
    this.#sight = sight
    const isPast = nowMs - Math.max(this.#since, this.#memberSince) >= this.#options.graceMs
    if (sight.isStandbyMissing) {
      this.#outage = STANDBY_MISSING
    } else if (sight.isMemoryDisputed) {
      this.#outage = MEMORY_DISPUTED
    } else if (!isLost || !isPast) {
      this.#outage = undefined
    } else if (this.#outage?.text !== lostText(sight)) {
      this.#outage = { kind: "quorum_lost", text: lostText(sight) }
    }
    this.#logChange(nowMs, sight)
  }

  alarms(): Alarm[] {
    return this.#sight === undefined ? [] : alarmsOf(this.#sight)
  }

  /**
   * One line a change that lasts, so that a link that flaps fills no log; and none of a machine that is not a member
   * yet: it does not know what it is missing.
   */
  #logChange(nowMs: number, sight: QuorumSight): void {
    const alarm = alarmsOf(sight).find(({ kind }) => kind !== "copies_1")
    const kind = alarm?.kind ?? ""
    if (kind !== this.#seen) {
      this.#seen = kind
      this.#seenSince = nowMs
    }
    const isPast = nowMs - Math.max(this.#seenSince, this.#memberSince) >= this.#options.graceMs
    if (!sight.isMember || !isPast || kind === this.#logged) {
      return
    }
    this.#logged = kind
    const fields = {
      quorum_margin: marginOf(sight),
      voters_live: sight.live,
      voters: sight.voters,
      copies: sight.copies,
    }
    if (alarm === undefined) {
      this.#options.log.info(fields, "quorum_safe")
    } else {
      this.#options.log.warn({ ...fields, text: alarm.text }, alarm.kind)
    }
  }
}

function majorityOf(voters: number): number {
  return Math.floor(voters / 2) + 1
}

function marginOf(sight: QuorumSight): number {
  return sight.live - majorityOf(sight.voters)
}

function lostText(sight: QuorumSight): string {
  const { live, voters } = sight
  return `${live} of ${voters} voters hold the state and are within reach, ${majorityOf(voters)} are needed`
}

function alarmsOf(sight: QuorumSight): Alarm[] {
  const alarms: Alarm[] = []
  const margin = marginOf(sight)
  if (margin < 0) {
    alarms.push({ kind: "quorum_lost", text: `nothing is answered: ${lostText(sight)}` })
  } else if (margin === 0) {
    const text = `quorum margin 0: ${sight.live} of ${sight.voters} voters live; the loss of one more stops the cluster`
    alarms.push({ kind: "quorum_margin_0", text })
  }
  if (sight.isStandbyMissing) {
    alarms.push({ kind: "standby_missing", text: `nothing is answered: ${STANDBY_MISSING.text}` })
  }
  if (sight.isMemoryDisputed) {
    alarms.push({ kind: "memory_disputed", text: `nothing is answered: ${MEMORY_DISPUTED.text}` })
  }
  if (sight.copies === 1) {
    alarms.push({
      kind: "copies_1",
      text: "copies 1: what this machine holds, no other has; its loss loses everything",
    })
  }
  return alarms
}
