/**
 * The JSON documents of the operator API. `schema` rises when a field changes its meaning or goes; new fields may come
 * at any time. Keys and kinds are snake_case, times milliseconds, sizes bytes. Plane: control.
 */
import type { ReplicaStatus } from "../replication/replica.ts"
import { Firmware, type MachineRecord, MachineRole, MachineStage } from "../state_machine/machine_record.ts"
import type { Allocation } from "../types/static_memory.ts"
import type { GatewayStatus } from "./gateway_status.ts"
import type { ReplicaInfo, TableUsage } from "./port.ts"

export const API_SCHEMA = 1

export type MemberDocument = {
  readonly slot: number
  readonly name: string
  readonly address: string
  readonly is_primary: boolean
  /** Since the machine that was asked last heard of it; 0 for itself, null for never. */
  readonly last_contact_ms: number | null
}

/** GET /v1/status. */
export type StatusDocument = {
  readonly schema: number
  /** The machine that was asked. */
  readonly machine: {
    readonly name: string
    readonly version: string
    readonly slot: number
    readonly status: ReplicaStatus
    readonly incarnation: number
    readonly uptime_ms: number
  }
  readonly cluster: {
    /** A primary is known and a majority lives, as far as this machine hears. */
    readonly is_healthy: boolean
    readonly view: number
    readonly op: number
    readonly commit: number
    /** null when this machine knows of no primary. */
    readonly primary_slot: number | null
    readonly voters: number
    /** Machines that hold the state. */
    readonly copies: number
    /** Live voters beyond a majority. */
    readonly quorum_margin: number
    readonly members: readonly MemberDocument[]
  }
  readonly arena: { readonly bytes: number; readonly tables: readonly TableUsage[] }
  readonly memory: { readonly bytes_total: number; readonly buffers: readonly Allocation[] }
  readonly gateway: GatewayStatus
}

export type MachineDocument = {
  readonly machine: string
  readonly address: string
  readonly replica_port: number
  /** null for none. */
  readonly slot: number | null
  readonly roles: readonly string[]
  readonly stage: string
  readonly firmware: string
  readonly ram_bytes: number
  readonly incarnation: number
  readonly boot_count: number
  readonly boot_id: string
  readonly joined_ms: number
  readonly is_primary: boolean
  readonly last_contact_ms: number | null
}

/** GET /v1/machines: the replicated table, read linearizably, with what the machine that was asked hears just now. */
export type MachinesDocument = { readonly schema: number; readonly machines: readonly MachineDocument[] }

/** Every answer that is not 200. */
export type ErrorDocument = {
  readonly schema: number
  readonly error: { readonly kind: string; readonly text: string }
}

export function isHealthy(info: ReplicaInfo): boolean {
  return info.status === "normal" && info.primary_slot >= 0 && info.quorum_margin >= 0
}

export function statusDocument(info: ReplicaInfo, gateway: GatewayStatus): StatusDocument {
  return {
    schema: API_SCHEMA,
    machine: {
      name: info.name,
      version: info.version,
      slot: info.slot,
      status: info.status,
      incarnation: info.incarnation,
      uptime_ms: Math.round(info.uptime_ms),
    },
    cluster: {
      is_healthy: isHealthy(info),
      view: info.view,
      op: info.op,
      commit: info.commit,
      primary_slot: info.primary_slot < 0 ? null : info.primary_slot,
      voters: info.voters,
      copies: info.copies,
      quorum_margin: info.quorum_margin,
      members: info.members.map((member) => ({ ...member, is_primary: member.slot === info.primary_slot })),
    },
    arena: { bytes: info.arena_bytes, tables: info.tables },
    memory: { bytes_total: info.memory.reduce((sum, { bytes }) => sum + bytes, 0), buffers: info.memory },
    gateway,
  }
}

export function machinesDocument(records: readonly MachineRecord[], info: ReplicaInfo): MachinesDocument {
  return { schema: API_SCHEMA, machines: records.map((record) => machineDocument(record, info)) }
}

function machineDocument(record: MachineRecord, info: ReplicaInfo): MachineDocument {
  const { slot, roles, stage, firmware, ...rest } = record
  const member = slot < 0 ? undefined : info.members.find((one) => one.slot === slot)
  // Another machine may have taken the slot since.
  const isThere = member !== undefined && (member.name === "" || member.name === record.machine)
  return {
    ...rest,
    slot: slot < 0 ? null : slot,
    roles: Object.entries(MachineRole)
      .filter(([, bit]) => (roles & bit) !== 0)
      .map(([name]) => name),
    stage: nameOf(MachineStage, stage),
    firmware: nameOf(Firmware, firmware),
    is_primary: isThere && slot === info.primary_slot,
    last_contact_ms: isThere ? member.last_contact_ms : null,
  }
}

/** A number of a table by its name; a number that this version doesn't know stays one. */
function nameOf(names: Readonly<Record<string, number>>, value: number): string {
  return Object.entries(names).find(([, one]) => one === value)?.[0] ?? String(value)
}
