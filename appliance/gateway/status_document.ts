/**
 * The JSON documents of the operator API. `schema` rises when a field changes its meaning or goes; new fields may come
 * at any time. Keys and kinds are snake_case, times milliseconds, sizes bytes. Plane: control.
 */
import type { Alarm } from "../orchestration/alarms.ts"
import type { CheckpointInfo, HostInfo, HostMember, MemberRole, MemoryInfo } from "../orchestration/host_info.ts"
import type { LinkCounters } from "../orchestration/links.ts"
import type { Outage } from "../orchestration/quorum_watch.ts"
import type { TableUsage } from "../orchestration/table_usage.ts"
import type { ReplicaCounters, ReplicaStatus } from "../replication/replica.ts"
import { Firmware, type MachineRecord, MachineRole, MachineStage } from "../state_machine/machine_record.ts"
import type { ClusterSize } from "../types/cluster_sizes.ts"
import type { Allocation } from "../types/static_memory.ts"
import type { GatewayStatus } from "./gateway_status.ts"

export const API_SCHEMA = 1

/** As the machine that was asked sees it. */
export type MemberDocument = HostMember & { readonly is_primary: boolean }

/** GET /v1/status. */
export type StatusDocument = {
  readonly schema: number
  /** The machine that was asked. */
  readonly machine: {
    readonly name: string
    readonly version: string
    readonly slot: number
    readonly role: MemberRole
    readonly status: ReplicaStatus
    readonly incarnation: number
    readonly uptime_ms: number
    /** The larger size that it has room for, when its cluster grows; null for none. */
    readonly grows_to: ClusterSize | null
  }
  readonly cluster: {
    /** A primary is known, a majority lives as far as this machine hears, and its own state is whole. */
    readonly is_healthy: boolean
    readonly cluster_id: string
    readonly generation: number
    readonly epoch: number
    readonly is_epoch_safe: boolean
    /** Its limits, as the machine that was asked has them; null where they have no name. */
    readonly size: ClusterSize | null
    readonly view: number
    readonly op: number
    readonly commit: number
    /** null when this machine knows of no primary. */
    readonly primary_slot: number | null
    readonly voters: number
    /** Voters that hold the state and are within reach. */
    readonly voters_live: number
    /** Machines that hold the state, standbys included. */
    readonly copies: number
    /** Live voters beyond a majority: 0 is an alarm, a negative one means that nothing is answered. */
    readonly quorum_margin: number
    readonly alarms: readonly Alarm[]
    /** Why commands are refused here just now; null when they are not. */
    readonly outage: Outage | null
    readonly members: readonly MemberDocument[]
  }
  readonly arena: { readonly bytes: number; readonly tables: readonly TableUsage[] }
  readonly checkpoint: CheckpointInfo
  readonly memory: MemoryInfo & { readonly bytes_total: number; readonly buffers: readonly Allocation[] }
  readonly gateway: GatewayStatus
  readonly links: Readonly<LinkCounters>
  readonly protocol: Readonly<ReplicaCounters>
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

export function errorDocument(kind: string, text: string): ErrorDocument {
  return { schema: API_SCHEMA, error: { kind, text } }
}

export function isHealthy(info: HostInfo): boolean {
  const isAnswered = info.outage === undefined && info.quorum_margin >= 0
  return info.status === "normal" && info.primary_slot >= 0 && isAnswered && !info.checkpoint.is_torn
}

export function statusDocument(info: HostInfo, gateway: GatewayStatus): StatusDocument {
  return {
    schema: API_SCHEMA,
    machine: {
      name: info.name,
      version: info.version,
      slot: info.slot,
      role: info.role,
      status: info.status,
      incarnation: info.incarnation,
      uptime_ms: Math.round(info.uptime_ms),
      grows_to: info.grows_to,
    },
    cluster: {
      is_healthy: isHealthy(info),
      cluster_id: info.cluster_id,
      generation: info.generation,
      epoch: info.epoch,
      is_epoch_safe: info.is_epoch_safe,
      size: info.size,
      view: info.view,
      op: info.op,
      commit: info.commit,
      primary_slot: info.primary_slot < 0 ? null : info.primary_slot,
      voters: info.voters,
      voters_live: info.voters_live,
      copies: info.copies,
      quorum_margin: info.quorum_margin,
      alarms: info.alarms,
      outage: info.outage ?? null,
      members: info.members.map((member) => ({ ...member, is_primary: member.slot === info.primary_slot })),
    },
    arena: { bytes: info.arena_bytes, tables: info.tables },
    checkpoint: info.checkpoint,
    memory: {
      bytes_total: info.memory.reduce((sum, { bytes }) => sum + bytes, 0),
      buffers: info.memory,
      ...info.memory_faults,
    },
    gateway,
    links: info.links,
    protocol: info.protocol,
  }
}

export function machinesDocument(records: readonly MachineRecord[], info: HostInfo): MachinesDocument {
  return { schema: API_SCHEMA, machines: records.map((record) => machineDocument(record, info)) }
}

function machineDocument(record: MachineRecord, info: HostInfo): MachineDocument {
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
