/** IPv4 addresses are unsigned 32-bit numbers inside and dotted text outside; a MAC is text. Plane: control. */
import { assert } from "../appliance/types/assert.ts"

export const ADDRESS_NONE = 0
export const ADDRESS_BROADCAST = 0xffff_ffff

const OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
const IPV4 = new RegExp(`^${OCTET}\\.${OCTET}\\.${OCTET}\\.${OCTET}$`)
const MAC = /^([0-9a-f]{2})[:-]([0-9a-f]{2})[:-]([0-9a-f]{2})[:-]([0-9a-f]{2})[:-]([0-9a-f]{2})[:-]([0-9a-f]{2})$/
const MAC_BYTES = 6

export function formatIPv4(address: number): string {
  assert(Number.isInteger(address) && address >= 0 && address <= ADDRESS_BROADCAST, "address: 32 bits")
  return `${address >>> 24}.${(address >>> 16) & 0xff}.${(address >>> 8) & 0xff}.${address & 0xff}`
}

export function parseIPv4(text: string): number | undefined {
  const match = IPV4.exec(text)
  if (match === null) {
    return undefined
  }
  let address = 0
  for (const octet of match.slice(1)) {
    address = address * 256 + Number(octet)
  }
  return address
}

export function encodeIPv4(address: number): Uint8Array {
  return Uint8Array.of(address >>> 24, (address >>> 16) & 0xff, (address >>> 8) & 0xff, address & 0xff)
}

/** The address in four bytes of a packet, or undefined for any other length. */
export function decodeIPv4(bytes: Uint8Array | undefined): number | undefined {
  if (bytes === undefined || bytes.length !== 4) {
    return undefined
  }
  const [a = 0, b = 0, c = 0, d = 0] = bytes
  return a * 0x100_0000 + b * 0x1_0000 + c * 0x100 + d
}

export function isSameSubnet(a: number, b: number, netmask: number): boolean {
  return (a & netmask) >>> 0 === (b & netmask) >>> 0
}

/** Hardware address as lower-case pairs with hyphens, the form that iPXE's hexhyp and BOOTIF use. */
export function formatMAC(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("-")
}

/** Six pairs with hyphens or colons in any case, in the form of `formatMAC`; undefined for anything else. */
export function parseMAC(text: string): string | undefined {
  const match = MAC.exec(text.toLowerCase())
  if (match === null) {
    return undefined
  }
  const parts = match.slice(1)
  assert(parts.length === MAC_BYTES, "address: a MAC has six parts")
  return parts.join("-")
}
