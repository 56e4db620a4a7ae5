/**
 * Who a certificate speaks of: one URI in it, strictly of one of three forms. A machine's names the cluster, the boot
 * and the slot, so that a certificate is good for nothing else. Plane: control.
 *
 *   mandala://machine/CLUSTER_ID/MACHINE/BOOT_ID/SLOT/ISSUE
 *   mandala://operator/NAME/ROLE
 *   mandala://server/NAME
 */
import { CLUSTER_LIMITS } from "../types/limits.ts"
import { ISSUE_MAX, OPERATOR_NAME_CHARS_MAX } from "./limits.ts"

/** In rising order: each may do what the ones before it may. */
export const OPERATOR_ROLES = ["viewer", "operator", "admin"] as const
export type OperatorRole = (typeof OPERATOR_ROLES)[number]

export type MachineIdentity = {
  readonly kind: "machine"
  /** 32 hexadecimal digits. */
  readonly cluster_id: string
  readonly machine: string
  /** The boot that the key belongs to: it lies in that boot's memory. */
  readonly boot_id: string
  readonly slot: number
  /** Rises with every certificate of the authority: of two for one slot the higher holds. */
  readonly issue: number
}
export type OperatorIdentity = { readonly kind: "operator"; readonly name: string; readonly role: OperatorRole }
/** A program that only serves, such as a boot server. */
export type ServerIdentity = { readonly kind: "server"; readonly name: string }
export type Identity = MachineIdentity | OperatorIdentity | ServerIdentity

const HEX_128 = /^[0-9a-f]{32}$/
const MACHINE = /^[A-Za-z0-9._:-]{1,63}$/
const BOOT_ID = /^[A-Za-z0-9_-]{1,64}$/
const NAME = new RegExp(`^[A-Za-z0-9._-]{1,${OPERATOR_NAME_CHARS_MAX}}$`)
const DECIMAL = /^(0|[1-9][0-9]{0,15})$/
const PREFIX = "mandala://"

export function isName(text: string): boolean {
  return NAME.test(text)
}

/** Undefined when a part has a form that no identity may have. */
export function formatIdentity(identity: Identity): string | undefined {
  const text = `${PREFIX}${partsOf(identity).join("/")}`
  return parseIdentity(text) === undefined ? undefined : text
}

function partsOf(identity: Identity): readonly string[] {
  switch (identity.kind) {
    case "machine": {
      const { cluster_id, machine, boot_id, slot, issue } = identity
      return ["machine", cluster_id, machine, boot_id, String(slot), String(issue)]
    }
    case "operator":
      return ["operator", identity.name, identity.role]
    case "server":
      return ["server", identity.name]
  }
}

/** Undefined for everything that is not exactly one of the forms. */
export function parseIdentity(text: string): Identity | undefined {
  if (!text.startsWith(PREFIX)) {
    return undefined
  }
  const [kind, ...parts] = text.slice(PREFIX.length).split("/")
  switch (kind) {
    case "machine":
      return parseMachine(parts)
    case "operator":
      return parseOperator(parts)
    case "server": {
      const [name = ""] = parts
      return parts.length === 1 && isName(name) ? { kind, name } : undefined
    }
    default:
      return undefined
  }
}

function parseMachine(parts: readonly string[]): MachineIdentity | undefined {
  const [clusterID = "", machine = "", bootID = "", slotText = "", issueText = ""] = parts
  const isFormed = parts.length === 5 && HEX_128.test(clusterID) && MACHINE.test(machine) && BOOT_ID.test(bootID)
  if (!isFormed || !DECIMAL.test(slotText) || !DECIMAL.test(issueText)) {
    return undefined
  }
  const slot = Number(slotText)
  const issue = Number(issueText)
  if (slot >= CLUSTER_LIMITS.slots_max || issue > ISSUE_MAX) {
    return undefined
  }
  return { kind: "machine", cluster_id: clusterID, machine, boot_id: bootID, slot, issue }
}

function parseOperator(parts: readonly string[]): OperatorIdentity | undefined {
  const [name = "", text = ""] = parts
  const role = OPERATOR_ROLES.find((one) => one === text)
  return parts.length === 2 && isName(name) && role !== undefined ? { kind: "operator", name, role } : undefined
}

/** The one URI of a certificate's alternative names, as Node writes them; undefined when there is none or more. */
export function identityOfNames(subjectAltName: string | undefined): Identity | undefined {
  const text = subjectAltName ?? ""
  return text.startsWith("URI:") && !text.includes(",") ? parseIdentity(text.slice("URI:".length)) : undefined
}
