/**
 * One export, as 256 bytes of the table `export_log`: begun before anything is copied, so that an export holds its own
 * record and with it all that was acknowledged before, and put again when it is done.
 *
 *   offset size
 *        0    1  bytes of the id, 1..63          1   63  id, ASCII
 *       64    1  state (ExportState)
 *       72    8  op of the state that was exported, 0 while it is under way
 *       80    8  bytes written
 *       88    8  begun at, milliseconds since 1970 by the clock of the machine that was asked
 *       96    8  ended at, the same
 *      104   16  root of the state
 *      120   32  SHA-256 of what was written
 *      152    1  bytes of where it went, 0..103  153  103  where it went, ASCII
 *
 * Plane: control.
 */
import { assert } from "../types/assert.ts"
import type { ClusterLimits } from "../types/limits.ts"
import { arenaLayout, getU53, setU53 } from "./arena.ts"
import { RECORD_KEY_BYTES_MAX } from "./record_table.ts"
import { TableNumber } from "./record_tables.ts"

const EXPORT_RECORD_BYTES = 256
export const EXPORT_PLACE_BYTES_MAX = 103
const ROOT_BYTES = 16
const SHA256_BYTES = 32

export const ExportState = { begun: 1, done: 2, failed: 3 } as const
export type ExportState = (typeof ExportState)[keyof typeof ExportState]

export type ExportRecord = {
  readonly id: string
  readonly state: ExportState
  readonly op: number
  readonly bytes: number
  readonly begun_ms: number
  readonly ended_ms: number
  /** 32 hexadecimal digits, or zeros. */
  readonly root: string
  /** 64 hexadecimal digits, or zeros. */
  readonly sha256: string
  readonly place: string
}

export function encodeExportRecord(record: ExportRecord): Uint8Array {
  assert(record.id.length > 0 && record.id.length <= RECORD_KEY_BYTES_MAX, "export record: an id is short")
  assert(record.place.length <= EXPORT_PLACE_BYTES_MAX, "export record: a place is short")
  const bytes = new Uint8Array(EXPORT_RECORD_BYTES)
  const view = new DataView(bytes.buffer)
  putText(bytes, 0, record.id)
  bytes[64] = record.state
  setU53(view, 72, record.op)
  setU53(view, 80, record.bytes)
  setU53(view, 88, record.begun_ms)
  setU53(view, 96, record.ended_ms)
  putHex(bytes, 104, record.root.padEnd(2 * ROOT_BYTES, "0"))
  putHex(bytes, 120, record.sha256.padEnd(2 * SHA256_BYTES, "0"))
  putText(bytes, 152, record.place)
  return bytes
}

/** The record at `start`; undefined when it is none. */
function decodeExportRecord(bytes: Uint8Array, start: number): ExportRecord | undefined {
  if (start + EXPORT_RECORD_BYTES > bytes.length) {
    return undefined
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset + start, EXPORT_RECORD_BYTES)
  const idBytes = view.getUint8(0)
  const state = Object.values(ExportState).find((known) => known === view.getUint8(64))
  const placeBytes = view.getUint8(152)
  if (idBytes < 1 || idBytes > RECORD_KEY_BYTES_MAX || state === undefined || placeBytes > EXPORT_PLACE_BYTES_MAX) {
    return undefined
  }
  return {
    id: getText(view, 1, idBytes),
    state,
    op: getU53(view, 72),
    bytes: getU53(view, 80),
    begun_ms: getU53(view, 88),
    ended_ms: getU53(view, 96),
    root: getHex(view, 104, ROOT_BYTES),
    sha256: getHex(view, 120, SHA256_BYTES),
    place: getText(view, 153, placeBytes),
  }
}

/** All that the arena has, in the order in which they began. */
export function readExportRecords(arena: Uint8Array, limits: ClusterLimits): ExportRecord[] {
  const start = arenaLayout(limits).records[TableNumber.export_log] ?? 0
  const records: ExportRecord[] = []
  for (let index = 0; index < limits.exports_max; index += 1) {
    const record = decodeExportRecord(arena, start + index * EXPORT_RECORD_BYTES)
    if (record === undefined) {
      break
    }
    records.push(record)
  }
  return records.sort((a, b) => a.begun_ms - b.begun_ms)
}

function putText(bytes: Uint8Array, at: number, text: string): void {
  bytes[at] = text.length
  for (let index = 0; index < text.length; index += 1) {
    bytes[at + 1 + index] = text.charCodeAt(index) & 0x7f
  }
}

function getText(view: DataView, at: number, bytes: number): string {
  let text = ""
  for (let index = 0; index < bytes; index += 1) {
    text += String.fromCharCode(view.getUint8(at + index) & 0x7f)
  }
  return text
}

function putHex(bytes: Uint8Array, at: number, digits: string): void {
  for (let index = 0; index < digits.length / 2; index += 1) {
    const byte = Number.parseInt(digits.slice(2 * index, 2 * index + 2), 16)
    bytes[at + index] = Number.isNaN(byte) ? 0 : byte
  }
}

function getHex(view: DataView, at: number, bytes: number): string {
  let digits = ""
  for (let index = 0; index < bytes; index += 1) {
    digits += view
      .getUint8(at + index)
      .toString(16)
      .padStart(2, "0")
  }
  return digits
}
