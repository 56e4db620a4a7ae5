/**
 * What was decided about each machine, by hand or by a rule, and which certificate it has: who may boot, and what the
 * roster says. Bounded; knows no clock and no chance. Plane: control.
 */
import { assert } from "../../appliance/types/assert.ts"
import { err, ok, type Result } from "../../appliance/types/result.ts"
import type { DecidedMachine, Decision, KeysPort, Roster, SignedRoster } from "../keys_port.ts"
import { MACHINES_MAX, RULES_MAX } from "./limits.ts"

/** Accepts unknown machines whose address begins so, as long as fewer than `count_max` came by it. */
export type AdmissionRule = { readonly prefix: string; readonly count_max: number }

export type RegistryOptions = {
  readonly keys: KeysPort
  /** A lab: whoever asks is accepted. */
  readonly accept_all: boolean
  readonly rules: readonly AdmissionRule[]
  readonly clusterID: () => string
  /** There is a newer roster. */
  readonly onRoster?: (roster: SignedRoster) => void
}

/** `seen`: nobody has decided. */
export type Admission = Decision | "seen"

export type RegistryError =
  /** The table of decided machines is full. */
  | "machines_max"
  /** Undecided, so there is nothing to take back. */
  | "unknown_machine"

type Entry = { readonly decision: Decision; readonly slot: number | null; readonly issue: number }

export class Registry {
  readonly #options: RegistryOptions
  readonly #entries = new Map<string, Entry>()
  /** How many each rule has let in. */
  readonly #counts: number[]
  #version = 0
  #issue = 0
  #signed: SignedRoster | undefined

  constructor(options: RegistryOptions) {
    assert(options.rules.length <= RULES_MAX, "registry: whoever read the rules has bounded them")
    this.#options = options
    this.#counts = options.rules.map(() => 0)
  }

  get version(): number {
    return this.#version
  }

  /** The newest roster; undefined before the first decision. */
  get roster(): SignedRoster | undefined {
    return this.#signed
  }

  admissionOf(machine: string): Admission {
    return this.#entries.get(machine)?.decision ?? "seen"
  }

  /** A machine asks to boot: what a rule says of it is decided now, once and for good. */
  onSeen(machine: string, now: number): Admission {
    const known = this.#entries.get(machine)
    if (known !== undefined) {
      return known.decision
    }
    const rule = this.#options.rules.findIndex(
      ({ prefix, count_max }, index) => machine.startsWith(prefix) && (this.#counts[index] ?? 0) < count_max,
    )
    if (rule === -1 && !this.#options.accept_all) {
      return "seen"
    }
    if (!this.decide(machine, "accepted", now).ok) {
      return "seen"
    }
    if (rule !== -1) {
      this.#counts[rule] = (this.#counts[rule] ?? 0) + 1
    }
    return "accepted"
  }

  /** Whatever certificate it had is void unless it is accepted, and stays so when it is accepted again. */
  decide(machine: string, decision: Decision, now: number): Result<void, RegistryError> {
    const known = this.#entries.get(machine)
    if (known === undefined && this.#entries.size >= MACHINES_MAX) {
      return err("machines_max")
    }
    if (known === undefined && (decision === "expelled" || decision === "quarantined")) {
      return err("unknown_machine")
    }
    // A slot whose holder was put out gets a number that no certificate of it can have.
    const isOut = decision !== "accepted" && known !== undefined && known.slot !== null
    const issue = isOut ? this.#nextIssue(now) : (known?.issue ?? 0)
    this.#entries.set(machine, { decision, slot: known?.slot ?? null, issue })
    this.#sign(now)
    return ok(undefined)
  }

  /** The number of the next certificate, which is the machine's for `slot` from now on: earlier ones are void. */
  certify(machine: string, slot: number, now: number): number {
    const known = this.#entries.get(machine)
    assert(known?.decision === "accepted", "registry: only an accepted machine gets a certificate")
    const issue = this.#nextIssue(now)
    for (const [other, entry] of this.#entries) {
      if (entry.slot === slot && other !== machine) {
        this.#entries.set(other, { ...entry, slot: null, issue: 0 })
      }
    }
    this.#entries.set(machine, { ...known, slot, issue })
    this.#sign(now)
    return issue
  }

  list(): DecidedMachine[] {
    return [...this.#entries].map(([machine, entry]) => ({ machine, ...entry }))
  }

  /**
   * A roster of our own authority that a member kept: a boot server that was restarted goes on from it. What was
   * decided here in the meantime stands.
   */
  adopt(roster: Roster, now: number): boolean {
    if (roster.cluster_id !== this.#options.clusterID() || roster.version <= this.#version) {
      return false
    }
    const own = this.list()
    for (const { machine, decision, slot, issue } of roster.machines) {
      // What puts a machine out weighs more than what a rule let in.
      const mine = this.#entries.get(machine)
      if (mine === undefined || decision !== "accepted" || mine.issue < issue) {
        this.#entries.set(machine, { decision, slot, issue })
      }
      this.#issue = Math.max(this.#issue, issue)
    }
    assert(this.#entries.size <= own.length + MACHINES_MAX, "registry: a roster is bounded")
    this.#version = roster.version
    this.#sign(now)
    return true
  }

  /** Certificates are numbered by time, so the numbers rise over restarts of the boot server too. */
  #nextIssue(now: number): number {
    this.#issue = Math.max(this.#issue + 1, Math.floor(now))
    return this.#issue
  }

  #sign(now: number): void {
    this.#version = Math.max(this.#version + 1, Math.floor(now))
    const roster = { version: this.#version, cluster_id: this.#options.clusterID(), machines: this.list() }
    const signed = this.#options.keys.sign(roster)
    if (signed !== undefined) {
      this.#signed = signed
      this.#options.onRoster?.(signed)
    }
  }
}
