/**
 * Where an operator decides about machines: accept, refuse, expel, list. Each decision is in the next roster, which the
 * members fetch with their next announce. Plane: control.
 */
import { unreachable } from "../appliance/types/assert.ts"
import { err, ok, type Result } from "../appliance/types/result.ts"
import { parseMAC } from "./address.ts"
import type { Clock } from "./clock.ts"
import type { SignedRoster } from "./keys_port.ts"
import type { Logger } from "./log.ts"
import { isNormal } from "./pool/announce.ts"
import type { Formation } from "./pool/formation.ts"
import { type Ledger, stageOf } from "./pool/ledger.ts"
import { ANNOUNCE_FRESH_MS, MACHINES_MAX } from "./pool/limits.ts"
import type { Admission, Registry } from "./pool/registry.ts"
import type { Tickets } from "./pool/tickets.ts"

export type DeskMachine = {
  readonly machine: string
  readonly admission: Admission
  readonly slot: number | null
  readonly address: string
  readonly stage: string
  /** Milliseconds since it was last heard of; null for never, where it was decided beforehand. */
  readonly seen_ms: number | null
  readonly serial: string
  readonly product: string
}

export type DeskError = {
  readonly kind: "not_a_machine" | "machines_max" | "unknown_machine" | "quorum"
  /** One line that says what to do. */
  readonly text: string
}

export type DeskAction = "accept" | "refuse" | "expel"

export type DeskOptions = {
  readonly registry: Registry
  readonly tickets: Tickets
  readonly formation: Formation
  readonly ledger: Ledger
  readonly clock: Clock
  readonly log: Logger
}

export class AdmissionDesk {
  readonly #options: DeskOptions

  constructor(options: DeskOptions) {
    this.#options = options
  }

  /** Machines that were heard of, then those that were decided about beforehand. */
  list(): DeskMachine[] {
    const { registry, formation, ledger, clock } = this.#options
    const now = clock.epochMs()
    const seen = ledger.list().map((known): DeskMachine => {
      const { machine, address, seen_at, identity } = known
      const { serial, product } = identity
      const admission = registry.admissionOf(machine)
      const slot = formation.slotOf(machine)
      const seenMs = Math.max(0, now - seen_at)
      return { machine, admission, slot, address, stage: stageOf(known), seen_ms: seenMs, serial, product }
    })
    const others = registry.list().filter(({ machine }) => ledger.find(machine) === undefined)
    const unseen = others.map(({ machine, decision }): DeskMachine => {
      const slot = formation.slotOf(machine)
      return { machine, admission: decision, slot, address: "", stage: "-", seen_ms: null, serial: "", product: "" }
    })
    return [...seen, ...unseen]
  }

  roster(): SignedRoster | undefined {
    return this.#options.registry.roster
  }

  /** The machine as it is known, and what it is now. */
  act(action: DeskAction, name: string, isForced: boolean): Result<DeskMachine, DeskError> {
    const machine = parseMAC(name)
    if (machine === undefined) {
      const text = `'${name.slice(0, 64)}' is no hardware address: give one as 52:54:00:00:00:01`
      return err({ kind: "not_a_machine", text })
    }
    const { registry, tickets, formation, ledger, clock, log } = this.#options
    if (action === "expel" && !isForced && this.#isNeeded(machine)) {
      const text = `without ${machine} the cluster has no majority: bring another voter up first, or add --force`
      return err({ kind: "quorum", text })
    }
    const decided = registry.decide(machine, decisionOf(action), clock.epochMs())
    if (!decided.ok) {
      const text =
        decided.error === "machines_max"
          ? `the table of machines is full: machines_max is ${MACHINES_MAX}`
          : `nothing was ever decided about ${machine}: refuse it`
      return err({ kind: decided.error, text })
    }
    if (action !== "accept") {
      tickets.revoke(machine)
      // Its certificate is void from here on, so that another may have its place.
      formation.vacate(machine)
    } else {
      ledger.forgetLoop(machine)
    }
    log.warn({ machine, action }, "pool: an operator has decided about a machine")
    const found = this.list().find((one) => one.machine === machine)
    const decision = registry.admissionOf(machine)
    const bare = { slot: null, address: "", stage: "-", seen_ms: null, serial: "", product: "" }
    return ok(found ?? { machine, admission: decision, ...bare })
  }

  /** It votes, and those that were heard a moment ago are too few without it. */
  #isNeeded(machine: string): boolean {
    const { formation, ledger, clock } = this.#options
    if (!formation.isFormed || formation.slotOf(machine) === null) {
      return false
    }
    const now = clock.epochMs()
    const others = ledger.list().filter((known) => {
      const isVoter = formation.slotOf(known.machine) !== null && known.machine !== machine
      const isFresh = known.announce_at !== null && now - known.announce_at <= ANNOUNCE_FRESH_MS
      return isVoter && isFresh && known.announce !== null && isNormal(known.announce)
    })
    return others.length < Math.floor(formation.voters / 2) + 1
  }
}

function decisionOf(action: DeskAction): "accepted" | "refused" | "expelled" {
  switch (action) {
    case "accept":
      return "accepted"
    case "refuse":
      return "refused"
    case "expel":
      return "expelled"
    default:
      return unreachable(action)
  }
}
