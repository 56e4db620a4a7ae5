/** What `GET /status` says: the tables of the boot server, in the form that leaves the process. Plane: control. */
import type { ClusterSize } from "../../appliance/types/cluster_sizes.ts"
import type { Announce } from "./announce.ts"
import type { Formation } from "./formation.ts"
import { type Ledger, type Machine, type Stage, type StageTimes, stageOf } from "./ledger.ts"

export const STATUS_SCHEMA = 1

export type ClusterStatus = {
  readonly cluster_id: string
  readonly generation: number
  readonly epoch: number
  readonly voters: number
  readonly size: ClusterSize
  readonly formed: boolean
  readonly primary_slot: number | null
  readonly view: number
  readonly commit: number
}

export type MachineStatus = {
  readonly machine: string
  readonly mac: string
  readonly uuid: string
  readonly serial: string
  readonly address: string
  readonly firmware: string
  readonly slot: number | null
  readonly roles: readonly string[]
  readonly stage: Stage
  readonly stage_times: StageTimes
  readonly boot_count: number
  readonly reason: string
  readonly need_bytes: number | null
  readonly have_bytes: number | null
  readonly announce: Announce | null
  readonly announce_age_ms: number | null
}

export type BootStatus = {
  readonly schema: typeof STATUS_SCHEMA
  readonly cluster: ClusterStatus
  readonly machines: readonly MachineStatus[]
  readonly counters: { readonly dhcp: object; readonly tftp: object; readonly http: object; readonly pool: object }
}

export function clusterStatus(formation: Formation): ClusterStatus {
  return {
    cluster_id: formation.clusterID,
    generation: formation.generation,
    epoch: formation.epoch,
    voters: formation.voters,
    size: formation.size,
    formed: formation.isFormed,
    primary_slot: formation.primarySlot,
    view: formation.view,
    commit: formation.commit,
  }
}

export function machineStatuses(ledger: Ledger, formation: Formation, now: number): MachineStatus[] {
  return ledger.list().map((machine) => machineStatus(machine, formation.slotOf(machine.machine), now))
}

function machineStatus(machine: Machine, slot: number | null, now: number): MachineStatus {
  return {
    machine: machine.machine,
    mac: machine.machine.replaceAll("-", ":"),
    uuid: machine.identity.uuid,
    serial: machine.identity.serial,
    address: machine.address,
    firmware: machine.firmware,
    slot,
    roles: [slot === null ? "spare" : "replica"],
    stage: stageOf(machine),
    stage_times: machine.stage_times,
    boot_count: machine.boot_count,
    reason: machine.reason,
    need_bytes: machine.need_bytes,
    have_bytes: machine.have_bytes,
    announce: machine.announce,
    announce_age_ms: machine.announce_at === null ? null : Math.max(0, now - machine.announce_at),
  }
}
