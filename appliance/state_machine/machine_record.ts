/**
 * One machine of the pool, as 256 bytes of the `machines` table and of the commands machine_put and machine_list:
 *
 *   offset size
 *        0    1  bytes of the machine id, 1..63      1   63  machine id, ASCII
 *       64    1  bytes of the address, 0..47        65   47  address, ASCII
 *      112    2  replica port
 *      114    1  slot, 255 for none
 *      115    1  roles (MachineRole bits)
 *      116    1  stage (MachineStage)
 *      117    1  firmware (0 unknown, 1 BIOS, 2 UEFI)
 *      120    8  RAM in bytes
 *      128    4  incarnation
 *      132    4  boots seen
 *      136   16  boot id
 *      152    8  joined at, milliseconds since 1970 by the machine's own clock
 *      160   96  zero
 *
 * Plane: control.
 */
import { assert } from "../types/assert.ts"

export const MACHINE_RECORD_BYTES = 256
const MACHINE_ID_BYTES_MAX = 63
const MACHINE_ADDRESS_BYTES_MAX = 47
const SLOT_NONE = 255

export const MachineRole = { replica: 1, standby: 2, boot: 4, worker: 8, export: 16, spare: 32 } as const
export const MachineStage = { seen: 0, booting: 1, ready: 2, draining: 3, quarantined: 4 } as const
export const Firmware = { unknown: 0, bios: 1, uefi: 2 } as const

export type MachineRecord = {
  readonly machine: string
  readonly address: string
  readonly replica_port: number
  /** -1 for none. */
  readonly slot: number
  readonly roles: number
  readonly stage: number
  readonly firmware: number
  readonly ram_bytes: number
  readonly incarnation: number
  readonly boot_count: number
  /** 32 hexadecimal digits. */
  readonly boot_id: string
  readonly joined_ms: number
}

/** The record's bytes. The caller has checked its fields: they are our own, not a stranger's. */
export function encodeMachineRecord(record: MachineRecord): Uint8Array {
  const bytes = new Uint8Array(MACHINE_RECORD_BYTES)
  const view = new DataView(bytes.buffer)
  putText(bytes, { text: record.machine, at: 0, bytesMax: MACHINE_ID_BYTES_MAX })
  putText(bytes, { text: record.address, at: 64, bytesMax: MACHINE_ADDRESS_BYTES_MAX })
  assert(record.slot >= -1 && record.slot < SLOT_NONE, "machine record: slot out of range")
  view.setUint16(112, record.replica_port, true)
  view.setUint8(114, record.slot < 0 ? SLOT_NONE : record.slot)
  view.setUint8(115, record.roles)
  view.setUint8(116, record.stage)
  view.setUint8(117, record.firmware)
  putU53(view, 120, record.ram_bytes)
  view.setUint32(128, record.incarnation, true)
  view.setUint32(132, record.boot_count, true)
  for (let index = 0; index < 16; index += 1) {
    const byte = Number.parseInt(record.boot_id.slice(2 * index, 2 * index + 2), 16)
    bytes[136 + index] = Number.isNaN(byte) ? 0 : byte
  }
  putU53(view, 152, record.joined_ms)
  assert(isMachineRecord(bytes, 0, bytes.length), "machine record: what was encoded is a record")
  return bytes
}

/** The record in `bytes[start, start + 256)`; undefined when it is none. */
export function decodeMachineRecord(bytes: Uint8Array, start: number): MachineRecord | undefined {
  if (!isMachineRecord(bytes, start, bytes.length)) {
    return undefined
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset + start, MACHINE_RECORD_BYTES)
  const slot = view.getUint8(114)
  let bootId = ""
  for (let index = 0; index < 16; index += 1) {
    bootId += view
      .getUint8(136 + index)
      .toString(16)
      .padStart(2, "0")
  }
  return {
    machine: getText(view, 0),
    address: getText(view, 64),
    replica_port: view.getUint16(112, true),
    slot: slot === SLOT_NONE ? -1 : slot,
    roles: view.getUint8(115),
    stage: view.getUint8(116),
    firmware: view.getUint8(117),
    ram_bytes: getU53(view, 120),
    incarnation: view.getUint32(128, true),
    boot_count: view.getUint32(132, true),
    boot_id: bootId,
    joined_ms: getU53(view, 152),
  }
}

/**
 * What is left of a record in a new generation: who the machine is, and that it was seen. Changes the 256 bytes at
 * `start`, which are a record.
 */
export function forgetMachineState(bytes: Uint8Array, start: number): void {
  bytes[start + 114] = SLOT_NONE
  bytes[start + 115] = 0
  bytes[start + 116] = MachineStage.seen
  // Its incarnation.
  bytes.fill(0, start + 128, start + 132)
}

/** True when `bytes[start, end)` begins with a well-formed record. */
export function isMachineRecord(bytes: Uint8Array, start: number, end: number): boolean {
  if (end - start < MACHINE_RECORD_BYTES) {
    return false
  }
  const idBytes = bytes[start] ?? 0
  const addressBytes = bytes[start + 64] ?? 0
  return idBytes >= 1 && idBytes <= MACHINE_ID_BYTES_MAX && addressBytes <= MACHINE_ADDRESS_BYTES_MAX
}

function putText(
  bytes: Uint8Array,
  field: { readonly text: string; readonly at: number; readonly bytesMax: number },
): void {
  const { text, at, bytesMax } = field
  assert(text.length <= bytesMax, "machine record: text too long")
  bytes[at] = text.length
  for (let index = 0; index < text.length; index += 1) {
    bytes[at + 1 + index] = text.charCodeAt(index) & 0x7f
  }
}

function getText(view: DataView, at: number): string {
  let text = ""
  for (let index = 0; index < view.getUint8(at); index += 1) {
    text += String.fromCharCode(view.getUint8(at + 1 + index))
  }
  return text
}

function putU53(view: DataView, offset: number, value: number): void {
  assert(Number.isSafeInteger(value) && value >= 0, "machine record: an integer is safe")
  view.setUint32(offset, value >>> 0, true)
  view.setUint32(offset + 4, Math.floor(value / 0x1_0000_0000), true)
}

function getU53(view: DataView, offset: number): number {
  return view.getUint32(offset + 4, true) * 0x1_0000_0000 + view.getUint32(offset, true)
}
