/** DHCP requests for tests: a client with its options in a line. Plane: control. */
import { encodeIPv4, parseIPv4 } from "../../../pxe/address.ts"
import { CHADDR_BYTES, type DHCPPacket } from "../../../pxe/dhcp/packet.ts"
import { type BootFiles, bytesOf, type Decision } from "../../../pxe/dhcp/reply.ts"

export const SERVER = ip("10.77.0.1")
export const FILES: BootFiles = {
  bios: "undionly.kpxe",
  uefi: "snponly.efi",
  uefi_http: "http://10.77.0.1:7480/nbp/snponly.efi",
  ipxe: "http://10.77.0.1:7480/boot.ipxe",
}

export function ip(text: string): number {
  const address = parseIPv4(text)
  if (address === undefined) {
    throw new Error(text)
  }
  return address
}

export type RequestFields = Partial<Omit<DHCPPacket, "options" | "chaddr">> & {
  readonly type: number
  readonly mac?: readonly number[]
  readonly requested?: string
  readonly server?: string
  readonly options?: readonly (readonly [number, Uint8Array])[]
}

export function request(fields: RequestFields): DHCPPacket {
  const { type, mac = [0x52, 0x54, 0, 0x77, 0, 1], requested, server, options = [], ...rest } = fields
  const chaddr = new Uint8Array(CHADDR_BYTES)
  chaddr.set(mac)
  const all = new Map<number, Uint8Array>([[53, Uint8Array.of(type)]])
  if (requested !== undefined) {
    all.set(50, encodeIPv4(ip(requested)))
  }
  if (server !== undefined) {
    all.set(54, encodeIPv4(ip(server)))
  }
  for (const [code, value] of options) {
    all.set(code, value)
  }
  return {
    op: 1,
    htype: 1,
    hlen: mac.length,
    hops: 0,
    xid: 0x1234_5678,
    secs: 0,
    flags: 0,
    ciaddr: 0,
    yiaddr: 0,
    siaddr: 0,
    giaddr: 0,
    chaddr,
    sname: "",
    file: "",
    options: all,
    ...rest,
  }
}

export type OptionList = readonly (readonly [number, Uint8Array])[]

export const BIOS: OptionList = [
  [60, bytesOf("PXEClient:Arch:00000:UNDI:002001")],
  [93, Uint8Array.of(0, 0)],
]
export const UEFI: OptionList = [
  [60, bytesOf("PXEClient:Arch:00007:UNDI:003000")],
  [93, Uint8Array.of(0, 7)],
]
export const UEFI_HTTP: OptionList = [
  [60, bytesOf("HTTPClient:Arch:00016:UNDI:003001")],
  [93, Uint8Array.of(0, 16)],
]
export const IPXE_BIOS: OptionList = [...BIOS, [77, bytesOf("iPXE")]]

export type Replied = Extract<Decision, { readonly kind: "reply" }>

export function replied(decision: Decision): Replied {
  if (decision.kind !== "reply") {
    throw new Error(`no reply: ${decision.reason}`)
  }
  return decision
}

export function textOption({ packet }: Replied, code: number): string | undefined {
  const value = packet.options.get(code)
  return value === undefined ? undefined : String.fromCharCode(...value)
}
