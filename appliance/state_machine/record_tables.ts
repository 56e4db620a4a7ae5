/**
 * The tables of fixed-size records: their numbers in commands, and how large they are. All but `events` hold keyed
 * records (record_table.ts), whose first 64 bytes are the key; what follows is the business of who uses the table.
 * `events` is a ring (event_ring.ts). Plane: control.
 */
import type { ClusterLimits } from "../types/limits.ts"
import { ResultError } from "./command.ts"
import { MACHINE_RECORD_BYTES } from "./machine_record.ts"

/** Stands in a command's flags; the numbers travel in logs and stay forever. */
export const TableNumber = {
  machines: 0,
  /** Address → who has it until when. */
  leases: 1,
  /** Which machine gets which role. */
  rules: 2,
  /** Keys and passwords: got by name, never listed. */
  secrets: 3,
  /** Boot images: name → hash and holders. */
  images: 4,
  /** Container templates: name → hash, size and holders. */
  templates: 5,
  workloads: 6,
  /** Who changed what: append only, the oldest make room. */
  events: 7,
  export_log: 8,
} as const

export type RecordTableShape = {
  readonly name: string
  readonly recordBytes: number
  readonly limit: keyof ClusterLimits
  /** What a put is refused with when the table is full. */
  readonly full: ResultError
}

export const EVENT_RECORD_BYTES = 256

/** By number, and in the order of their places in the arena. */
export const RECORD_TABLES: readonly RecordTableShape[] = [
  { name: "machines", recordBytes: MACHINE_RECORD_BYTES, limit: "machines_max", full: ResultError.machines_max },
  { name: "leases", recordBytes: 128, limit: "leases_max", full: ResultError.leases_max },
  { name: "rules", recordBytes: 256, limit: "rules_max", full: ResultError.rules_max },
  { name: "secrets", recordBytes: 1024, limit: "secrets_max", full: ResultError.secrets_max },
  { name: "images", recordBytes: 256, limit: "images_max", full: ResultError.images_max },
  { name: "templates", recordBytes: 256, limit: "templates_max", full: ResultError.templates_max },
  { name: "workloads", recordBytes: 512, limit: "workloads_max", full: ResultError.workloads_max },
  // Never full: the oldest event makes room.
  { name: "events", recordBytes: EVENT_RECORD_BYTES, limit: "events_max", full: ResultError.malformed },
  { name: "export_log", recordBytes: 256, limit: "exports_max", full: ResultError.exports_max },
]

/** The shape of the table that a command names; undefined when there is none. */
export function recordTable(number: number): RecordTableShape | undefined {
  return RECORD_TABLES[number]
}
