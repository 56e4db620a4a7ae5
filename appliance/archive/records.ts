/**
 * What an export says, record by record, as lines of JSON or tables of CSV: read from its pages by the state machine's
 * own readers. Secrets are in neither. The forms are documented in README.md, and only grow. Plane: control.
 */
import { isUtf8 } from "node:buffer"
import { getU53 } from "../state_machine/arena.ts"
import type { ArenaTables } from "../state_machine/arena_tables.ts"
import { type ExportRecord, ExportState, readExportRecords } from "../state_machine/export_record.ts"
import {
  decodeMachineRecord,
  Firmware,
  type MachineRecord,
  MachineRole,
  MachineStage,
} from "../state_machine/machine_record.ts"
import type { RecordTable } from "../state_machine/record_table.ts"
import { EVENT_RECORD_BYTES, TableNumber } from "../state_machine/record_tables.ts"
import { type StateExport, tablesOf } from "./state_export.ts"

const RECORDS_SCHEMA = 1

/** One line of JSON; `record` says of which table. */
export type ExportLine = {
  readonly record: string
  readonly [field: string]: string | number | boolean | null | readonly string[]
}

const EVENT_HEAD_BYTES = 24
const RECORD_KEY_BYTES = 64

/** Header first, then table by table in this order, then a trailer with counts: a file without it was cut off. */
export function* linesOf(state: StateExport): Generator<ExportLine> {
  const { header } = state
  const { cluster_id, generation, epoch, op, root, created, software, cluster_ms, wall_ms, size } = header
  yield {
    record: "header",
    schema: RECORDS_SCHEMA,
    ...{ cluster_id, generation, epoch, op, root, created, software, cluster_ms, wall_ms, size },
  }
  const tables = tablesOf(state.arena, state.limits)
  const counts: Record<string, number> = {}
  for (const name of TABLES) {
    counts[name] = 0
    for (const line of readTable(name, state, tables)) {
      counts[name] += 1
      yield line
    }
  }
  yield { record: "trailer", op, ...counts }
}

/** The tables that can be read out of an export, in their order. */
export const TABLES = ["machine", "kv", "event", "export", "lease", "rule", "image", "template", "workload"] as const
export type TableName = (typeof TABLES)[number]

const PLAIN_TABLES: Readonly<Partial<Record<TableName, number>>> = {
  lease: TableNumber.leases,
  rule: TableNumber.rules,
  image: TableNumber.images,
  template: TableNumber.templates,
  workload: TableNumber.workloads,
}

function* readTable(name: TableName, state: StateExport, tables: ArenaTables): Generator<ExportLine> {
  switch (name) {
    case "machine":
      yield* machines(tables)
      return
    case "kv":
      yield* keyValues(tables, state.header.cluster_ms)
      return
    case "event":
      yield* events(tables)
      return
    case "export":
      yield* readExportRecords(state.arena, state.limits).map(exportLine)
      return
    default:
      yield* plainRecords(name, tables)
  }
}

function tableOf({ keyedRecords }: ArenaTables, number: number): RecordTable | undefined {
  return keyedRecords.find(([known]) => known === number)?.[1]
}

function* machines(tables: ArenaTables): Generator<ExportLine> {
  const table = tableOf(tables, TableNumber.machines)
  for (let index = 0; table !== undefined && index < table.count(); index += 1) {
    const record = decodeMachineRecord(tables.bytes, table.offset(index))
    if (record !== undefined) {
      yield machineLine(record)
    }
  }
}

function machineLine(record: MachineRecord): ExportLine {
  const { slot, roles, stage, firmware, ...rest } = record
  return {
    record: "machine",
    ...rest,
    slot: slot < 0 ? null : slot,
    roles: Object.entries(MachineRole).flatMap(([name, bit]) => ((roles & bit) === 0 ? [] : [name])),
    stage: nameOf(MachineStage, stage),
    firmware: nameOf(Firmware, firmware),
  }
}

function exportLine(record: ExportRecord): ExportLine {
  return { record: "export", ...record, state: nameOf(ExportState, record.state) }
}

function nameOf(names: Readonly<Record<string, number>>, value: number): string {
  return Object.entries(names).find(([, known]) => known === value)?.[0] ?? String(value)
}

/** In the order of their entries. Those whose deadline is past are what a cluster would answer: not there. */
function* keyValues({ kv, bytes }: ArenaTables, clusterMs: number): Generator<ExportLine> {
  const used = kv.used()
  for (let entry = 0; entry < used; entry += 1) {
    if (!kv.isInUse(entry) || kv.isExpired(entry, clusterMs)) {
      continue
    }
    const at = kv.keyOffset(entry)
    const value = kv.valueOffset(entry)
    const deadline = kv.deadline(entry)
    yield {
      record: "kv",
      ...textOf("key", bytes.subarray(at, at + kv.keyBytes(entry))),
      ...textOf("value", bytes.subarray(value, value + kv.valueBytes(entry))),
      expires_in_ms: deadline === 0 ? null : deadline - clusterMs,
    }
  }
}

function* events({ events: ring, view, bytes }: ArenaTables): Generator<ExportLine> {
  for (let number = ring.oldest(); number <= ring.newest(); number += 1) {
    const at = ring.offset(number)
    const body = trimmed(bytes.subarray(at + EVENT_HEAD_BYTES, at + EVENT_RECORD_BYTES))
    yield {
      record: "event",
      number,
      op: getU53(view, at + 8),
      cluster_ms: getU53(view, at + 16),
      ...textOf("what", body),
    }
  }
}

function* plainRecords(name: TableName, tables: ArenaTables): Generator<ExportLine> {
  const table = tableOf(tables, PLAIN_TABLES[name] ?? -1)
  for (let index = 0; table !== undefined && index < table.count(); index += 1) {
    const at = table.offset(index)
    const keyBytes = tables.bytes[at] ?? 0
    yield {
      record: name,
      ...textOf("key", tables.bytes.subarray(at + 1, at + 1 + keyBytes)),
      ...textOf("body", trimmed(tables.bytes.subarray(at + RECORD_KEY_BYTES, at + table.recordBytes))),
    }
  }
}

function trimmed(bytes: Uint8Array): Uint8Array {
  let end = bytes.length
  while (end > 0 && bytes[end - 1] === 0) {
    end -= 1
  }
  return bytes.subarray(0, end)
}

/** Bytes as text where they are UTF-8, else in base64 under a name that says so. */
function textOf(name: string, bytes: Uint8Array): Readonly<Record<string, string>> {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  return isUtf8(buffer) ? { [name]: buffer.toString("utf8") } : { [`${name}_base64`]: buffer.toString("base64") }
}

// ---------------------------------------------------------------- CSV

/** The columns of each table's file. Bytes that are no text stand in the column's `_base64` twin. */
const CSV_COLUMNS: Readonly<Record<TableName, readonly string[]>> = {
  machine: [
    "machine",
    "address",
    "replica_port",
    "slot",
    "roles",
    "stage",
    "firmware",
    "ram_bytes",
    "incarnation",
    "boot_count",
    "boot_id",
    "joined_ms",
  ],
  kv: ["key", "key_base64", "value", "value_base64", "expires_in_ms"],
  event: ["number", "op", "cluster_ms", "what", "what_base64"],
  export: ["id", "state", "op", "bytes", "begun_ms", "ended_ms", "root", "sha256", "place"],
  lease: ["key", "key_base64", "body", "body_base64"],
  rule: ["key", "key_base64", "body", "body_base64"],
  image: ["key", "key_base64", "body", "body_base64"],
  template: ["key", "key_base64", "body", "body_base64"],
  workload: ["key", "key_base64", "body", "body_base64"],
}

/** RFC 4180, with a line of names. */
export function* csvOf(name: TableName, state: StateExport): Generator<string> {
  const columns = CSV_COLUMNS[name]
  yield `${columns.join(",")}\r\n`
  for (const line of readTable(name, state, tablesOf(state.arena, state.limits))) {
    yield `${columns.map((column) => csvCell(line[column])).join(",")}\r\n`
  }
}

function csvCell(value: ExportLine[string] | undefined): string {
  const text = value === undefined || value === null ? "" : Array.isArray(value) ? value.join(" ") : String(value)
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}
