/** Who a request comes from. Plane: control. */
import { expect, test } from "vitest"
import { type BootClient, classifyClient, machineOf } from "../../../pxe/dhcp/client.ts"
import { decodePacket } from "../../../pxe/dhcp/packet.ts"
import { bytesOf } from "../../../pxe/dhcp/reply.ts"
import { fromHex, IPXE_DISCOVER, OVMF_DISCOVER } from "./captures.ts"
import { BIOS, type OptionList, request, UEFI, UEFI_HTTP } from "./requests.ts"

const CLIENTS: readonly (readonly [string, OptionList, BootClient])[] = [
  ["no options at all", [], { kind: "plain" }],
  ["our own init", [[60, bytesOf("mandala-init")]], { kind: "plain" }],
  ["a class that is too short", [[60, bytesOf("PXEClien")]], { kind: "plain" }],
  ["architecture without class", [[93, Uint8Array.of(0, 7)]], { kind: "plain" }],
  ["BIOS", BIOS, { kind: "bios" }],
  ["UEFI x64", UEFI, { kind: "uefi" }],
  ["9, which is x64 too", [...UEFI, [93, Uint8Array.of(0, 9)]], { kind: "uefi" }],
  ["UEFI HTTP", UEFI_HTTP, { kind: "uefi_http" }],
  ["iPXE by its bare class", [...UEFI, [77, bytesOf("iPXE")]], { kind: "ipxe", platform: "uefi" }],
  ["iPXE by RFC 3004's form", [...BIOS, [77, bytesOf("\x04iPXE")]], { kind: "ipxe", platform: "bios" }],
  ["iPXE by option 175", [...BIOS, [175, Uint8Array.of(0xb0, 1, 1)]], { kind: "ipxe", platform: "bios" }],
  ["another user class", [...BIOS, [77, bytesOf("gPXE")]], { kind: "bios" }],
  ["the first known of several", [...UEFI, [93, Uint8Array.of(0, 6, 0, 7)]], { kind: "uefi" }],
  ["ARM64", [...UEFI, [93, Uint8Array.of(0, 11)]], { kind: "unknown_architecture", architecture: 11 }],
  ["half an architecture, but the class has one", [...UEFI, [93, Uint8Array.of(7)]], { kind: "uefi" }],
  ["no architecture anywhere", [[60, bytesOf("PXEClient")]], { kind: "unknown_architecture", architecture: -1 }],
  ["BIOS by HTTP", [...UEFI_HTTP, [93, Uint8Array.of(0, 0)]], { kind: "unknown_architecture", architecture: 0 }],
]

test.each(CLIENTS)("%s", (_name, options, client) => {
  expect(classifyClient(request({ type: 1, options }))).toEqual(client)
})

test("the captures", () => {
  const ipxe = decodePacket(fromHex(IPXE_DISCOVER))
  const ovmf = decodePacket(fromHex(OVMF_DISCOVER))
  expect(ipxe.ok && classifyClient(ipxe.value)).toEqual({ kind: "ipxe", platform: "bios" })
  expect(ovmf.ok && classifyClient(ovmf.value)).toEqual({ kind: "uefi" })
  expect(ipxe.ok && machineOf(ipxe.value)).toBe("52-54-00-77-00-01")
})

test("a machine is its whole hardware address, of whatever length", () => {
  const mac = [1, 2, 3, 4, 5, 6, 7, 8]
  expect(machineOf(request({ type: 1, mac }))).toBe("01-02-03-04-05-06-07-08")
  expect(machineOf(request({ type: 1, hlen: 0 }))).toBeUndefined()
})
