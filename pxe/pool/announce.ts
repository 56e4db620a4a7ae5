/**
 * What a running appliance tells the boot server about once a second: read from JSON that anybody may send.
 * Plane: control.
 */
import { CLUSTER_SIZES, type ClusterSize } from "../../appliance/types/cluster_sizes.ts"
import { err, ok, type Result } from "../../appliance/types/result.ts"
import { parseIPv4, parseMAC } from "../address.ts"
import { MACHINES_MAX } from "./limits.ts"

export type Announce = {
  readonly machine: string
  readonly boot_id: string
  readonly slot: number | null
  readonly address: string
  readonly replica_port: number
  /** The replica's own word; `normal` is the one that means something here. */
  readonly status: string
  readonly view: number
  readonly op: number
  readonly commit: number
  readonly primary_slot: number | null
  readonly cluster_id: string
  readonly generation: number
  readonly epoch: number
  /** The limits of that epoch; null where the machine does not say. */
  readonly size: ClusterSize | null
  readonly formed: boolean
}

export type AnnounceError = { readonly kind: "not_json" } | { readonly kind: "field"; readonly field: string }

export const HEX_128 = /^[0-9a-f]{32}$/
const STATUS = /^[a-z_]{1,32}$/
const STATUS_NORMAL = "normal"

const FIELDS: { readonly [Field in keyof Announce]: (value: unknown) => boolean } = {
  machine: (value) => typeof value === "string" && parseMAC(value) === value,
  boot_id: isHex128,
  slot: (value) => value === null || isBelow(value, MACHINES_MAX),
  address: (value) => typeof value === "string" && parseIPv4(value) !== undefined,
  replica_port: (value) => isBelow(value, 0x1_0000) && value !== 0,
  status: (value) => typeof value === "string" && STATUS.test(value),
  view: isCount,
  op: isCount,
  commit: isCount,
  primary_slot: (value) => value === null || isBelow(value, MACHINES_MAX),
  cluster_id: isHex128,
  generation: isCount,
  epoch: isCount,
  size: (value) => value === undefined || value === null || CLUSTER_SIZES.some((size) => size === value),
  formed: (value) => typeof value === "boolean",
}

export function decodeAnnounce(body: Uint8Array): Result<Announce, AnnounceError> {
  const value = parseJSON(body)
  if (typeof value !== "object" || value === null) {
    return err({ kind: "not_json" })
  }
  const sent = new Map<string, unknown>(Object.entries(value))
  const announce: Record<string, unknown> = {}
  for (const [field, holds] of Object.entries(FIELDS)) {
    if (!holds(sent.get(field))) {
      return err({ kind: "field", field })
    }
    // Fields that are not named here are dropped, so that nobody's bytes are kept unread.
    announce[field] = sent.get(field) ?? null
  }
  // Proof: FIELDS has every field of Announce (its type says so), and each one's check has passed.
  return ok(announce as unknown as Announce)
}

/** A member that answers clients, so the cluster exists. A spare's word proves nothing. */
export function provesFormed(announce: Announce): boolean {
  return announce.slot !== null && (announce.formed || announce.status === STATUS_NORMAL)
}

export function isNormal(announce: Announce): boolean {
  return announce.status === STATUS_NORMAL
}

function parseJSON(body: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body))
  } catch {
    // Not UTF-8 or not JSON: the caller says so.
    return undefined
  }
}

function isHex128(value: unknown): boolean {
  return typeof value === "string" && HEX_128.test(value)
}

function isCount(value: unknown): boolean {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0
}

function isBelow(value: unknown, bound: number): boolean {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value < bound
}
