/** The bytes of TFTP (RFC 1350, options RFC 2347): a decoder that is total and an encoder. Plane: control. */
import { assert } from "../../appliance/types/assert.ts"
import { err, ok, type Result } from "../../appliance/types/result.ts"
import { BLOCK_BYTES_LIMIT, OPTIONS_MAX, REQUEST_BYTES_MAX } from "./limits.ts"

/** All start with an opcode of 16 bits, big-endian. Strings end with a NUL. */
const OPCODE_BYTES = 2
const HEADER_BYTES = 4

const Opcode = { rrq: 1, wrq: 2, data: 3, ack: 4, error: 5, oack: 6 } as const

export const ErrorCode = {
  undefined: 0,
  not_found: 1,
  access_violation: 2,
  illegal_operation: 4,
  unknown_transfer: 5,
  option_refused: 8,
} as const

/** Names are lower case: RFC 2347 makes them case-insensitive. The first of two of one name counts. */
export type TFTPOptions = ReadonlyMap<string, string>

export type TFTPPacket =
  | { readonly kind: "rrq" | "wrq"; readonly file: string; readonly mode: string; readonly options: TFTPOptions }
  | { readonly kind: "data"; readonly block: number; readonly bytes: Uint8Array }
  | { readonly kind: "ack"; readonly block: number }
  | { readonly kind: "error"; readonly code: number; readonly message: string }
  | { readonly kind: "oack"; readonly options: TFTPOptions }

export type TFTPDecodeError =
  | { readonly kind: "too_short" }
  | { readonly kind: "too_long" }
  | { readonly kind: "unknown_opcode"; readonly opcode: number }
  | { readonly kind: "unterminated_string" }
  | { readonly kind: "option_without_value" }
  | { readonly kind: "too_many_options" }

export function decodeTFTP(bytes: Uint8Array): Result<TFTPPacket, TFTPDecodeError> {
  if (bytes.length < OPCODE_BYTES) {
    return err({ kind: "too_short" })
  }
  const opcode = readU16(bytes, 0)
  switch (opcode) {
    case Opcode.rrq:
    case Opcode.wrq:
      return decodeRequest(bytes, opcode === Opcode.rrq ? "rrq" : "wrq")
    case Opcode.data:
      if (bytes.length < HEADER_BYTES) {
        return err({ kind: "too_short" })
      }
      if (bytes.length > HEADER_BYTES + BLOCK_BYTES_LIMIT) {
        return err({ kind: "too_long" })
      }
      return ok({ kind: "data", block: readU16(bytes, 2), bytes: bytes.slice(HEADER_BYTES) })
    case Opcode.ack:
      // Some ROMs pad their acknowledgements: what follows the number is nobody's.
      return bytes.length < HEADER_BYTES ? err({ kind: "too_short" }) : ok({ kind: "ack", block: readU16(bytes, 2) })
    case Opcode.error: {
      if (bytes.length < HEADER_BYTES) {
        return err({ kind: "too_short" })
      }
      if (bytes.length > REQUEST_BYTES_MAX) {
        return err({ kind: "too_long" })
      }
      // iPXE and EDK2 end the message with its NUL, others don't.
      const end = bytes.indexOf(0, HEADER_BYTES)
      const message = readText(bytes, HEADER_BYTES, end === -1 ? bytes.length : end)
      return ok({ kind: "error", code: readU16(bytes, 2), message })
    }
    case Opcode.oack: {
      const strings = readStrings(bytes)
      if (!strings.ok) {
        return strings
      }
      const options = readOptions(strings.value)
      return options.ok ? ok({ kind: "oack", options: options.value }) : options
    }
    default:
      return err({ kind: "unknown_opcode", opcode })
  }
}

function decodeRequest(bytes: Uint8Array, kind: "rrq" | "wrq"): Result<TFTPPacket, TFTPDecodeError> {
  const strings = readStrings(bytes)
  if (!strings.ok) {
    return strings
  }
  const [file, mode, ...rest] = strings.value
  if (file === undefined || mode === undefined) {
    return err({ kind: "too_short" })
  }
  const options = readOptions(rest)
  return options.ok ? ok({ kind, file, mode: mode.toLowerCase(), options: options.value }) : options
}

function readStrings(bytes: Uint8Array): Result<string[], TFTPDecodeError> {
  if (bytes.length > REQUEST_BYTES_MAX) {
    return err({ kind: "too_long" })
  }
  const strings: string[] = []
  let offset = OPCODE_BYTES
  while (offset < bytes.length) {
    const end = bytes.indexOf(0, offset)
    if (end === -1) {
      return err({ kind: "unterminated_string" })
    }
    strings.push(readText(bytes, offset, end))
    offset = end + 1
  }
  return ok(strings)
}

function readOptions(strings: readonly string[]): Result<TFTPOptions, TFTPDecodeError> {
  // A padded request ends in empty strings.
  let count = strings.length
  while (count > 0 && strings[count - 1] === "") {
    count -= 1
  }
  if (count % 2 !== 0) {
    return err({ kind: "option_without_value" })
  }
  if (count / 2 > OPTIONS_MAX) {
    return err({ kind: "too_many_options" })
  }
  const options = new Map<string, string>()
  for (let index = 0; index < count; index += 2) {
    const name = (strings[index] ?? "").toLowerCase()
    if (!options.has(name)) {
      options.set(name, strings[index + 1] ?? "")
    }
  }
  return ok(options)
}

export function encodeTFTP(packet: TFTPPacket): Uint8Array {
  switch (packet.kind) {
    case "rrq":
    case "wrq": {
      const opcode = packet.kind === "rrq" ? Opcode.rrq : Opcode.wrq
      return encodeStrings(opcode, [packet.file, packet.mode, ...[...packet.options].flat()])
    }
    case "data": {
      const bytes = new Uint8Array(HEADER_BYTES + packet.bytes.length)
      writeHeader(bytes, Opcode.data, packet.block)
      bytes.set(packet.bytes, HEADER_BYTES)
      return bytes
    }
    case "ack": {
      const bytes = new Uint8Array(HEADER_BYTES)
      writeHeader(bytes, Opcode.ack, packet.block)
      return bytes
    }
    case "error": {
      const bytes = new Uint8Array(HEADER_BYTES + packet.message.length + 1)
      writeHeader(bytes, Opcode.error, packet.code)
      writeText(bytes, HEADER_BYTES, packet.message)
      return bytes
    }
    case "oack":
      return encodeStrings(Opcode.oack, [...packet.options].flat())
  }
}

function encodeStrings(opcode: number, strings: readonly string[]): Uint8Array {
  let bytesTotal = OPCODE_BYTES
  for (const text of strings) {
    bytesTotal += text.length + 1
  }
  const bytes = new Uint8Array(bytesTotal)
  bytes[1] = opcode
  let offset = OPCODE_BYTES
  for (const text of strings) {
    writeText(bytes, offset, text)
    offset += text.length + 1
  }
  assert(offset === bytesTotal, "tftp: what was written is as long as what was counted")
  return bytes
}

function writeHeader(bytes: Uint8Array, opcode: number, value: number): void {
  assert(value >= 0 && value <= 0xffff, "tftp: a block's number has 16 bits")
  bytes[1] = opcode
  bytes[2] = value >>> 8
  bytes[3] = value & 0xff
}

function readU16(bytes: Uint8Array, offset: number): number {
  return (bytes[offset] ?? 0) * 256 + (bytes[offset + 1] ?? 0)
}

function readText(bytes: Uint8Array, start: number, end: number): string {
  let text = ""
  for (let offset = start; offset < end; offset += 1) {
    text += String.fromCharCode(bytes[offset] ?? 0)
  }
  return text
}

function writeText(bytes: Uint8Array, start: number, text: string): void {
  for (let index = 0; index < text.length; index += 1) {
    bytes[start + index] = text.charCodeAt(index)
  }
}
