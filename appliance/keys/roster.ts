/**
 * The roster: what the authority has decided about each machine, signed by it. It travels in the clear and through
 * anybody's hands: who has the authority's certificate believes it, and of two the higher version. Plane: control.
 */
import { type KeyObject, sign, verify } from "node:crypto"
import { err, ok, type Result } from "../types/result.ts"
import { formatIdentity } from "./identity.ts"
import { ISSUE_MAX, ROSTER_BYTES_MAX, ROSTER_MACHINES_MAX } from "./limits.ts"

/** A machine of none of these was seen, and nobody has decided. */
export const DECISIONS = ["accepted", "refused", "expelled", "quarantined"] as const
export type Decision = (typeof DECISIONS)[number]

export type RosterMachine = {
  readonly machine: string
  readonly decision: Decision
  /** Of the certificate that holds; with null and 0 the machine has none. */
  readonly slot: number | null
  readonly issue: number
}

export type Roster = {
  /** Milliseconds since 1970, and higher than that of any roster before. */
  readonly version: number
  readonly cluster_id: string
  readonly machines: readonly RosterMachine[]
}

/** `text` is the signed bytes as they are: nobody has to write JSON the same way twice. */
export type SignedRoster = { readonly text: string; readonly signature: string }

export type RosterError = "roster_malformed" | "roster_too_large" | "wrong_authority"

/** Keeps a signature over a roster from ever being one over something else. */
const DOMAIN = "mandala roster 1\n"
const BOOT_ID_ANY = "any"

/** Undefined when it is larger than a roster may be: the caller bounds its machines. */
export function signRoster(roster: Roster, key: KeyObject): SignedRoster | undefined {
  const text = JSON.stringify({ schema: 1, ...roster })
  if (text.length > ROSTER_BYTES_MAX || roster.machines.length > ROSTER_MACHINES_MAX) {
    return undefined
  }
  return { text, signature: sign("sha256", Buffer.from(DOMAIN + text), key).toString("base64") }
}

export function verifyRoster(signed: SignedRoster, authority: KeyObject): Result<Roster, RosterError> {
  if (signed.text.length > ROSTER_BYTES_MAX) {
    return err("roster_too_large")
  }
  if (!isSigned(signed, authority)) {
    return err("wrong_authority")
  }
  const roster = parseRoster(signed.text)
  return roster === undefined ? err("roster_malformed") : ok(roster)
}

function isSigned({ text, signature }: SignedRoster, authority: KeyObject): boolean {
  try {
    return verify("sha256", Buffer.from(DOMAIN + text), authority, Buffer.from(signature, "base64"))
  } catch {
    // A signature that is none in form.
    return false
  }
}

/** `value` as it came in JSON from somebody: text and signature, or undefined. */
export function parseSignedRoster(value: unknown): SignedRoster | undefined {
  const fields = fieldsOf(value)
  const text = fields.get("text")
  const signature = fields.get("signature")
  const isFormed = typeof text === "string" && typeof signature === "string" && signature.length <= 128
  return isFormed && text.length <= ROSTER_BYTES_MAX ? { text, signature } : undefined
}

function parseRoster(text: string): Roster | undefined {
  const fields = fieldsOf(parseJSON(text))
  const version = fields.get("version")
  const clusterID = fields.get("cluster_id")
  const list = fields.get("machines")
  if (!isCount(version) || typeof clusterID !== "string" || !Array.isArray(list) || list.length > ROSTER_MACHINES_MAX) {
    return undefined
  }
  const machines: RosterMachine[] = []
  for (const value of list) {
    const machine = parseMachine(value, clusterID)
    if (machine === undefined) {
      return undefined
    }
    machines.push(machine)
  }
  return { version, cluster_id: clusterID, machines }
}

function parseMachine(value: unknown, clusterID: string): RosterMachine | undefined {
  const fields = fieldsOf(value)
  const machine = fields.get("machine")
  const decision = DECISIONS.find((one) => one === fields.get("decision"))
  const slot = fields.get("slot")
  const issue = fields.get("issue")
  if (typeof machine !== "string" || decision === undefined || !isCount(issue) || !(slot === null || isCount(slot))) {
    return undefined
  }
  // An entry is what a certificate says, so the forms are the same.
  const identity = { kind: "machine", cluster_id: clusterID, machine, boot_id: BOOT_ID_ANY, slot: slot ?? 0, issue }
  const isFormed = formatIdentity({ ...identity, kind: "machine" }) !== undefined
  return isFormed ? { machine, decision, slot, issue } : undefined
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 && value <= ISSUE_MAX
}

function fieldsOf(value: unknown): ReadonlyMap<string, unknown> {
  return new Map<string, unknown>(typeof value === "object" && value !== null ? Object.entries(value) : [])
}

function parseJSON(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    // The caller says that it is none.
    return undefined
  }
}
