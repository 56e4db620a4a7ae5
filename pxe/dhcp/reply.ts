/**
 * What every answer has in common: what it repeats of the request, what it says of booting, where it goes.
 * Plane: control.
 */
import { ADDRESS_BROADCAST, ADDRESS_NONE, encodeIPv4, formatIPv4 } from "../address.ts"
import { answeredClass, type BootClient } from "./client.ts"
import { HEADERS_BYTES, MESSAGE_BYTES_MAX, MESSAGE_BYTES_MIN } from "./limits.ts"
import {
  FLAG_BROADCAST,
  HTYPE_ETHERNET,
  IPXE_NO_PROXY,
  MessageType,
  OP_REPLY,
  OP_REQUEST,
  Option,
  PORT_CLIENT,
  PORT_SERVER,
  VENDOR_USE_OFFER,
} from "./options.ts"
import type { DHCPPacket } from "./packet.ts"

/** What the server hands to firmware; the protocol knows no more of the product than this. */
export type BootFiles = {
  /** Names for TFTP. */
  readonly bios: string
  readonly uefi: string
  /** Absolute URLs. */
  readonly uefi_http: string
  readonly ipxe: string
}

export type DHCPConfig = {
  readonly address: number
  readonly files: BootFiles
}

export type Destination = { readonly address: number; readonly port: number }

export type NoReplyReason =
  | "not_a_request"
  | "no_hardware_address"
  | "no_message_type"
  | "not_for_us"
  | "not_a_boot_client"
  | "unknown_architecture"
  | "proxy_is_silent"
  | "other_server_chosen"
  | "no_lease_known"
  | "pool_exhausted"
  | "no_pool_for_relay"
  | "nothing_to_answer"

export type Decision =
  | { readonly kind: "reply"; readonly type: number; readonly packet: DHCPPacket; readonly to: Destination }
  | { readonly kind: "none"; readonly reason: NoReplyReason }

export function noReply(reason: NoReplyReason): Decision {
  return { kind: "none", reason }
}

/** The message type, or undefined for a packet that is no client's DHCP. */
export function requestTypeOf(packet: DHCPPacket): number | undefined {
  const value = packet.options.get(Option.message_type)
  return packet.op === OP_REQUEST && value?.length === 1 ? value[0] : undefined
}

/** Reasons to say nothing that hold for every message, or undefined. */
export function refusalOf(packet: DHCPPacket): NoReplyReason | undefined {
  if (packet.op !== OP_REQUEST) {
    return "not_a_request"
  }
  if (packet.hlen === 0 || (packet.htype === HTYPE_ETHERNET && packet.hlen !== 6)) {
    return "no_hardware_address"
  }
  return requestTypeOf(packet) === undefined ? "no_message_type" : undefined
}

type ReplyFields = {
  readonly type: number
  readonly ciaddr?: number
  readonly yiaddr?: number
  readonly siaddr?: number
  readonly file?: string
  readonly sname?: string
  readonly options: ReadonlyMap<number, Uint8Array>
}

/** RFC 2131, table 3: hops, xid, flags, giaddr, chaddr come back as they were; so do 61 (RFC 6842), 97 and 82. */
export function makeReply(request: DHCPPacket, config: DHCPConfig, fields: ReplyFields): DHCPPacket {
  const options = new Map<number, Uint8Array>([
    [Option.message_type, Uint8Array.of(fields.type)],
    [Option.server, encodeIPv4(config.address)],
    ...fields.options,
  ])
  for (const code of [Option.client_id, Option.machine_id, Option.relay]) {
    const value = request.options.get(code)
    if (value !== undefined && (code !== Option.machine_id || value.length > 0)) {
      options.set(code, value)
    }
  }
  return {
    op: OP_REPLY,
    htype: request.htype,
    hlen: request.hlen,
    hops: 0,
    xid: request.xid,
    secs: 0,
    flags: request.flags,
    ciaddr: fields.ciaddr ?? ADDRESS_NONE,
    yiaddr: fields.yiaddr ?? ADDRESS_NONE,
    siaddr: fields.siaddr ?? ADDRESS_NONE,
    giaddr: request.giaddr,
    chaddr: request.chaddr,
    sname: fields.sname ?? "",
    file: fields.file ?? "",
    options,
  }
}

export type BootFields = {
  readonly siaddr: number
  readonly file: string
  readonly sname: string
  readonly options: ReadonlyMap<number, Uint8Array>
}

/**
 * What to boot, in the header and in options 66 and 67: U-Boot reads the one, EDK2 prefers the other. Undefined for
 * clients with nothing to boot.
 */
export function bootFields(client: BootClient, config: DHCPConfig, mode: "full" | "proxy"): BootFields | undefined {
  if (client.kind === "plain" || client.kind === "unknown_architecture") {
    return undefined
  }
  const file = config.files[client.kind]
  const server = formatIPv4(config.address)
  const isTFTP = client.kind === "bios" || client.kind === "uefi"
  const options = new Map<number, Uint8Array>()
  options.set(Option.vendor_class, bytesOf(answeredClass(client)))
  if (isTFTP) {
    options.set(Option.boot_server_name, bytesOf(server))
  }
  // EDK2 writes a NUL behind the option's last byte, over whatever is there: send it one of its own.
  options.set(Option.boot_file_name, bytesOf(isTFTP ? `${file}\0` : file))
  if (client.kind === "bios") {
    // BIOS ROMs without it look for a boot server by broadcast. UEFI firmware mistrusts it (and asks port 4011
    // without it), iPXE takes it for a menu without servers.
    options.set(Option.vendor, Uint8Array.from(VENDOR_USE_OFFER))
  }
  if (client.kind === "ipxe" && mode === "full") {
    // In proxy mode this would tell iPXE to ignore our own offer.
    options.set(Option.ipxe, Uint8Array.from(IPXE_NO_PROXY))
  }
  return { siaddr: config.address, file, sname: isTFTP ? server : "", options }
}

/** RFC 2131, 4.1. A machine without an address can't be reached by unicast: Node has no raw sockets. */
export function destinationOf(request: DHCPPacket, type: number): Destination {
  if (request.giaddr !== ADDRESS_NONE) {
    return { address: request.giaddr, port: PORT_SERVER }
  }
  if (request.ciaddr !== ADDRESS_NONE && type !== MessageType.nak) {
    return { address: request.ciaddr, port: PORT_CLIENT }
  }
  return { address: ADDRESS_BROADCAST, port: PORT_CLIENT }
}

/** Bytes of UDP payload that the client takes; option 57 counts the headers too and is not always sane. */
export function payloadBytesMax(request: DHCPPacket): number {
  const value = request.options.get(Option.message_bytes_max)
  const asked = value?.length === 2 ? (value[0] ?? 0) * 256 + (value[1] ?? 0) : MESSAGE_BYTES_MIN
  return Math.min(Math.max(asked, MESSAGE_BYTES_MIN), MESSAGE_BYTES_MAX) - HEADERS_BYTES
}

/** A NAK through a relay reaches a client that may not own its address: the relay must broadcast it. */
export function nakFlags(request: DHCPPacket): number {
  return request.giaddr === ADDRESS_NONE ? request.flags : request.flags | FLAG_BROADCAST
}

export function bytesOf(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0))
}
