/**
 * What one side of a connection believes of the other: the certificate must be of our authority, speak of whom we mean,
 * and the roster must not have taken it back. OpenSSL has checked the chain and that the other holds the key before;
 * the chain is checked here again, since it is one signature, and then it can be said what was wrong. Plane: control.
 */
import { type KeyObject, X509Certificate } from "node:crypto"
import { err, ok, type Result } from "../types/result.ts"
import { type Identity, identityOfNames, type MachineIdentity } from "./identity.ts"
import { type Roster, type RosterError, type SignedRoster, verifyRoster } from "./roster.ts"

/** Why a peer is not believed. */
export type Distrust =
  | "no_certificate"
  /** Of another authority than ours. */
  | "wrong_authority"
  /** Its time is over, or has not come. */
  | "expired"
  /** It speaks of another cluster, another slot, or of no machine at all. */
  | "wrong_identity"
  /** The slot has a newer certificate: of a later boot, or of the machine that took its place. */
  | "superseded"
  /** Its machine was expelled, or quarantined. */
  | "expelled"

export type RosterOutcome = "newer" | "older" | "wrong_cluster" | RosterError

export class Trust {
  readonly #authority: X509Certificate
  readonly #authorityKey: KeyObject
  readonly #clusterID: string
  readonly #now: () => number
  #signed: SignedRoster | undefined
  #version = 0
  /** By slot, the lowest issue that is believed; and the machines that are not believed at all. */
  readonly #issues = new Map<number, number>()
  readonly #expelled = new Set<string>()

  constructor(options: {
    readonly authority: X509Certificate
    readonly cluster_id: string
    /** Milliseconds since 1970. */
    readonly now: () => number
  }) {
    this.#authority = options.authority
    this.#authorityKey = options.authority.publicKey
    this.#clusterID = options.cluster_id
    this.#now = options.now
  }

  get rosterVersion(): number {
    return this.#version
  }

  get roster(): SignedRoster | undefined {
    return this.#signed
  }

  /** Takes a newer roster; afterwards whoever is connected must be judged again. */
  learn(signed: SignedRoster): RosterOutcome {
    const verified = verifyRoster(signed, this.#authorityKey)
    if (!verified.ok) {
      return verified.error
    }
    if (verified.value.cluster_id !== this.#clusterID) {
      return "wrong_cluster"
    }
    if (verified.value.version <= this.#version) {
      return "older"
    }
    this.#take(verified.value, signed)
    return "newer"
  }

  #take(roster: Roster, signed: SignedRoster): void {
    this.#signed = signed
    this.#version = roster.version
    this.#issues.clear()
    this.#expelled.clear()
    for (const { machine, decision, slot, issue } of roster.machines) {
      if (decision !== "accepted") {
        this.#expelled.add(machine)
      }
      if (slot !== null) {
        this.#issues.set(slot, Math.max(issue, this.#issues.get(slot) ?? 0))
      }
    }
  }

  /** The identity in a certificate of our authority, whoever that is. */
  identify(certificate: X509Certificate | undefined): Result<Identity, Distrust> {
    if (certificate === undefined) {
      return err("no_certificate")
    }
    if (!certificate.checkIssued(this.#authority) || !certificate.verify(this.#authorityKey)) {
      return err("wrong_authority")
    }
    const now = this.#now()
    if (now < Date.parse(certificate.validFrom) || now > Date.parse(certificate.validTo)) {
      return err("expired")
    }
    // Our authority's own certificate must not pass for one of a machine.
    const identity = certificate.ca ? undefined : identityOfNames(certificate.subjectAltName)
    return identity === undefined ? err("wrong_identity") : ok(identity)
  }

  /** Whether `certificate` is that of the machine in `slot` of this cluster, as of the roster known now. */
  judgePeer(certificate: X509Certificate | undefined, slot: number): Distrust | "ok" {
    const identified = this.identify(certificate)
    if (!identified.ok) {
      return identified.error
    }
    const identity = identified.value
    if (identity.kind !== "machine" || identity.slot !== slot || identity.cluster_id !== this.#clusterID) {
      return "wrong_identity"
    }
    return this.#judgeRoster(identity)
  }

  #judgeRoster({ machine, slot, issue }: MachineIdentity): Distrust | "ok" {
    if (this.#expelled.has(machine)) {
      return "expelled"
    }
    return issue < (this.#issues.get(slot) ?? 0) ? "superseded" : "ok"
  }
}

/** A certificate from its text; undefined when it is none. */
export function parseCertificate(pem: string): X509Certificate | undefined {
  try {
    return new X509Certificate(pem)
  } catch {
    return undefined
  }
}
