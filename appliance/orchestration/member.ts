/** A member of the cluster as a boot server or node.json names it. Plane: control. */
import { CLUSTER_LIMITS } from "../types/limits.ts"
import { ipv4Bytes } from "./hello.ts"
import { FieldReader, isObject } from "./json_fields.ts"
import { PORT_MAX } from "./limits.ts"

export type Member = {
  readonly slot: number
  readonly machine: string
  readonly address: string
  readonly replica_port: number
}

export const MACHINE_PATTERN = /^[A-Za-z0-9._:-]{1,63}$/
export const ADDRESS_PATTERN = /^[0-9.]{7,15}$/

/** Undefined when it is no member in form; whether the slot votes is the caller's to judge. */
export function parseMember(value: unknown): Member | undefined {
  if (!isObject(value)) {
    return undefined
  }
  const fields = new FieldReader(value)
  const member = {
    slot: fields.integer("slot", { min: 0, max: CLUSTER_LIMITS.slots_max - 1 }),
    machine: fields.optionalText("machine", MACHINE_PATTERN, ""),
    address: fields.text("address", ADDRESS_PATTERN),
    replica_port: fields.integer("replica_port", { min: 1, max: PORT_MAX }),
  }
  return fields.error === undefined && ipv4Bytes(member.address) !== undefined ? member : undefined
}
