/**
 * The bytes of a DHCP message (RFC 2131, figure 1; options RFC 2132): a decoder that is total and an encoder.
 * Repeated options are one long option (RFC 3396); `file` and `sname` may hold options too (option 52). Plane: control.
 */
import { assert } from "../../appliance/types/assert.ts"
import { err, ok, type Result } from "../../appliance/types/result.ts"
import { OPTION_BYTES_MAX, PACKET_BYTES_MAX, PACKET_BYTES_MIN } from "./limits.ts"
import { Option } from "./options.ts"

/**
 * Offset 0 op, 1 htype, 2 hlen, 3 hops, 4 xid, 8 secs, 10 flags, 12 ciaddr, 16 yiaddr, 20 siaddr, 24 giaddr,
 * 28 chaddr, 44 sname, 108 file, 236 the cookie, 240 options.
 */
const OFFSET_CHADDR = 28
const OFFSET_SNAME = 44
const OFFSET_FILE = 108
const OFFSET_COOKIE = 236
const OFFSET_OPTIONS = 240
const COOKIE = 0x6382_5363
export const CHADDR_BYTES = 16
const SNAME_BYTES = OFFSET_FILE - OFFSET_SNAME
const FILE_BYTES = OFFSET_COOKIE - OFFSET_FILE

export type DHCPPacket = {
  readonly op: number
  readonly htype: number
  readonly hlen: number
  readonly hops: number
  readonly xid: number
  readonly secs: number
  readonly flags: number
  readonly ciaddr: number
  readonly yiaddr: number
  readonly siaddr: number
  readonly giaddr: number
  /** All 16 bytes; `hlen` of them count. */
  readonly chaddr: Uint8Array
  /** Up to its first NUL, a character a byte; empty where the field held options. */
  readonly sname: string
  readonly file: string
  readonly options: ReadonlyMap<number, Uint8Array>
}

export type DHCPDecodeError =
  | { readonly kind: "too_short" }
  | { readonly kind: "too_long" }
  | { readonly kind: "no_cookie" }
  | { readonly kind: "hardware_address_length" }
  | { readonly kind: "truncated_option"; readonly code: number }
  | { readonly kind: "bad_overload" }

export function decodePacket(bytes: Uint8Array): Result<DHCPPacket, DHCPDecodeError> {
  if (bytes.length < OFFSET_OPTIONS) {
    return err({ kind: "too_short" })
  }
  if (bytes.length > PACKET_BYTES_MAX) {
    return err({ kind: "too_long" })
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (view.getUint32(OFFSET_COOKIE) !== COOKIE) {
    return err({ kind: "no_cookie" })
  }
  const hlen = view.getUint8(2)
  if (hlen > CHADDR_BYTES) {
    return err({ kind: "hardware_address_length" })
  }
  const pieces = new Map<number, Uint8Array[]>()
  const truncated = readOptions(bytes, OFFSET_OPTIONS, bytes.length, pieces)
  if (truncated !== undefined) {
    return err({ kind: "truncated_option", code: truncated })
  }
  const overload = readOverload(pieces)
  if (overload === undefined) {
    return err({ kind: "bad_overload" })
  }
  // The order is RFC 3396's: options, file, sname.
  const areas = [
    { holds: (overload & 1) !== 0, start: OFFSET_FILE, end: OFFSET_COOKIE },
    { holds: (overload & 2) !== 0, start: OFFSET_SNAME, end: OFFSET_FILE },
  ]
  for (const { holds, start, end } of areas) {
    const code = holds ? readOptions(bytes, start, end, pieces) : undefined
    if (code !== undefined) {
      return err({ kind: "truncated_option", code })
    }
  }
  return ok({
    op: view.getUint8(0),
    htype: view.getUint8(1),
    hlen,
    hops: view.getUint8(3),
    xid: view.getUint32(4),
    secs: view.getUint16(8),
    flags: view.getUint16(10),
    ciaddr: view.getUint32(12),
    yiaddr: view.getUint32(16),
    siaddr: view.getUint32(20),
    giaddr: view.getUint32(24),
    chaddr: bytes.slice(OFFSET_CHADDR, OFFSET_SNAME),
    sname: (overload & 2) !== 0 ? "" : readText(bytes, OFFSET_SNAME, OFFSET_FILE),
    file: (overload & 1) !== 0 ? "" : readText(bytes, OFFSET_FILE, OFFSET_COOKIE),
    options: joinPieces(pieces),
  })
}

/** Collects the options of `bytes[start, end)`; returns the code of one that runs over the end. */
function readOptions(
  bytes: Uint8Array,
  start: number,
  end: number,
  pieces: Map<number, Uint8Array[]>,
): number | undefined {
  let offset = start
  while (offset < end) {
    const code = bytes[offset] ?? Option.end
    offset += 1
    if (code === Option.pad) {
      continue
    }
    if (code === Option.end) {
      return undefined
    }
    const length = offset < end ? (bytes[offset] ?? 0) : Number.POSITIVE_INFINITY
    offset += 1
    if (offset + length > end) {
      return code
    }
    const values = pieces.get(code) ?? []
    values.push(bytes.slice(offset, offset + length))
    pieces.set(code, values)
    offset += length
  }
  // The end mark may be missing: ROMs leave it out when the field is full.
  return undefined
}

/** The value of option 52 (0 where it is absent), or undefined for one that means nothing. */
function readOverload(pieces: ReadonlyMap<number, readonly Uint8Array[]>): number | undefined {
  const values = pieces.get(Option.overload)
  if (values === undefined) {
    return 0
  }
  const [value] = values
  const overload = value?.[0] ?? 0
  return values.length === 1 && value?.length === 1 && overload >= 1 && overload <= 3 ? overload : undefined
}

function joinPieces(pieces: ReadonlyMap<number, readonly Uint8Array[]>): Map<number, Uint8Array> {
  const options = new Map<number, Uint8Array>()
  for (const [code, values] of pieces) {
    if (code === Option.overload) {
      continue
    }
    let bytesTotal = 0
    for (const value of values) {
      bytesTotal += value.length
    }
    const joined = new Uint8Array(bytesTotal)
    let offset = 0
    for (const value of values) {
      joined.set(value, offset)
      offset += value.length
    }
    options.set(code, joined)
  }
  return options
}

export type DHCPEncodeError = { readonly kind: "too_big"; readonly bytes: number }

/** The message, padded to what old relays demand; option 82 goes last (RFC 3046, 2.1). `bytesMax` is the client's. */
export function encodePacket(packet: DHCPPacket, bytesMax: number): Result<Uint8Array, DHCPEncodeError> {
  assert(packet.chaddr.length === CHADDR_BYTES, "dhcp: chaddr has 16 bytes")
  assert(packet.file.length < FILE_BYTES, "dhcp: the file's name leaves room for its NUL")
  assert(packet.sname.length < SNAME_BYTES, "dhcp: the server's name leaves room for its NUL")
  let bytesTotal = OFFSET_OPTIONS + 1
  for (const [code, value] of packet.options) {
    assert(code > Option.pad && code < Option.end && code !== Option.overload, "dhcp: an option that carries a value")
    bytesTotal += value.length + 2 * piecesOf(value)
  }
  if (bytesTotal > bytesMax) {
    return err({ kind: "too_big", bytes: bytesTotal })
  }
  const bytes = new Uint8Array(Math.max(bytesTotal, PACKET_BYTES_MIN))
  const view = new DataView(bytes.buffer)
  view.setUint8(0, packet.op)
  view.setUint8(1, packet.htype)
  view.setUint8(2, packet.hlen)
  view.setUint8(3, packet.hops)
  view.setUint32(4, packet.xid)
  view.setUint16(8, packet.secs)
  view.setUint16(10, packet.flags)
  view.setUint32(12, packet.ciaddr)
  view.setUint32(16, packet.yiaddr)
  view.setUint32(20, packet.siaddr)
  view.setUint32(24, packet.giaddr)
  bytes.set(packet.chaddr, OFFSET_CHADDR)
  writeText(bytes, OFFSET_SNAME, packet.sname)
  writeText(bytes, OFFSET_FILE, packet.file)
  view.setUint32(OFFSET_COOKIE, COOKIE)
  let offset = OFFSET_OPTIONS
  for (const [code, value] of packet.options) {
    if (code !== Option.relay) {
      offset = writeOption(bytes, offset, code, value)
    }
  }
  const relay = packet.options.get(Option.relay)
  if (relay !== undefined) {
    offset = writeOption(bytes, offset, Option.relay, relay)
  }
  bytes[offset] = Option.end
  assert(offset + 1 === bytesTotal, "dhcp: what was written is as long as what was counted")
  return ok(bytes)
}

function piecesOf(value: Uint8Array): number {
  return Math.max(1, Math.ceil(value.length / OPTION_BYTES_MAX))
}

function writeOption(bytes: Uint8Array, start: number, code: number, value: Uint8Array): number {
  let offset = start
  for (let piece = 0; piece < piecesOf(value); piece += 1) {
    const part = value.subarray(piece * OPTION_BYTES_MAX, (piece + 1) * OPTION_BYTES_MAX)
    bytes[offset] = code
    bytes[offset + 1] = part.length
    bytes.set(part, offset + 2)
    offset += 2 + part.length
  }
  return offset
}

function readText(bytes: Uint8Array, start: number, end: number): string {
  let text = ""
  for (let offset = start; offset < end && bytes[offset] !== 0; offset += 1) {
    text += String.fromCharCode(bytes[offset] ?? 0)
  }
  return text
}

function writeText(bytes: Uint8Array, start: number, text: string): void {
  for (let index = 0; index < text.length; index += 1) {
    bytes[start + index] = text.charCodeAt(index)
  }
}
