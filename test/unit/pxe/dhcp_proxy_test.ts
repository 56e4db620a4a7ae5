/** What a proxy says, to whom, and to whom nothing. Plane: control. */
import { describe, expect, test } from "vitest"
import { decodePacket, encodePacket } from "../../../pxe/dhcp/packet.ts"
import { decideBootServer, decideProxy } from "../../../pxe/dhcp/proxy.ts"
import { bytesOf, payloadBytesMax } from "../../../pxe/dhcp/reply.ts"
import { fromHex, IPXE_DISCOVER, OVMF_BOOT_SERVER_REQUEST, OVMF_DISCOVER, toHex } from "./captures.ts"
import { BIOS, FILES, IPXE_BIOS, ip, replied, request, SERVER, textOption, UEFI, UEFI_HTTP } from "./requests.ts"

const CONFIG = { address: SERVER, files: FILES }
const BROADCAST = { address: 0xffff_ffff, port: 68 }
const NUL = "\0"

describe("port 67", () => {
  test("OVMF's discover and the offer to it, byte by byte", () => {
    const discover = decodePacket(fromHex(OVMF_DISCOVER))
    if (!discover.ok) {
      throw new Error(discover.error.kind)
    }
    const reply = replied(decideProxy(discover.value, CONFIG))
    const bytes = encodePacket(reply.packet, payloadBytesMax(discover.value))
    const hex = `02010600 dada5bf5 0000 8000 ..8 0a4d0001 00000000 525400770003 ..10
      31302e37372e302e31 ..55 736e706f6e6c792e656669 ..117 63825363
      350102 36040a4d0001 3c09 505845436c69656e74 4209 31302e37372e302e31 430c 736e706f6e6c792e65666900 6111 ..17 ff`
    expect(bytes.ok && toHex(bytes.value)).toBe(toHex(fromHex(hex)))
    expect(reply.to).toEqual(BROADCAST)
  })

  test("iPXE gets a URL, no option 43, and not to ignore its proxy", () => {
    const discover = decodePacket(fromHex(IPXE_DISCOVER))
    const reply = replied(decideProxy(discover.ok ? discover.value : request({ type: 1 }), CONFIG))
    expect(reply.packet).toMatchObject({ yiaddr: 0, siaddr: SERVER, file: FILES.ipxe, xid: 0x9fea_611e })
    expect([...reply.packet.options.keys()]).toEqual([53, 54, 60, 67, 61, 97])
    expect(textOption(reply, 67)).toBe(FILES.ipxe)
  })

  test("BIOS gets option 43, which ends its search", () => {
    const reply = replied(decideProxy(request({ type: 1, options: BIOS }), CONFIG))
    expect(reply.packet.options.get(43)).toEqual(Uint8Array.of(6, 1, 8, 255))
    expect(textOption(reply, 67)).toBe(`undionly.kpxe${NUL}`)
    expect(textOption(reply, 60)).toBe("PXEClient")
  })

  test("UEFI's HTTP client gets its own class and a URL", () => {
    const reply = replied(decideProxy(request({ type: 1, options: UEFI_HTTP }), CONFIG))
    expect(textOption(reply, 60)).toBe("HTTPClient")
    expect(textOption(reply, 67)).toBe(FILES.uefi_http)
  })

  test("nobody gets an address, a lease, a mask or a router", () => {
    for (const options of [BIOS, UEFI, UEFI_HTTP, IPXE_BIOS]) {
      const { packet } = replied(decideProxy(request({ type: 1, options }), CONFIG))
      expect(packet.yiaddr).toBe(0)
      expect([1, 3, 6, 51, 58, 59].filter((code) => packet.options.has(code))).toEqual([])
    }
  })

  test("61, 97 and 82 come back; an empty 97 does not", () => {
    const options = [...BIOS, [61, bytesOf("id")], [82, bytesOf("rel")], [97, new Uint8Array(0)]] as const
    const { packet } = replied(decideProxy(request({ type: 1, options }), CONFIG))
    expect(packet.options.get(61)).toEqual(bytesOf("id"))
    expect(packet.options.get(82)).toEqual(bytesOf("rel"))
    expect(packet.options.has(97)).toBe(false)
  })

  test("through a relay it goes back to the relay's port 67", () => {
    const giaddr = ip("10.9.0.1")
    const reply = replied(decideProxy(request({ type: 1, options: BIOS, giaddr, hops: 1 }), CONFIG))
    expect(reply.to).toEqual({ address: giaddr, port: 67 })
    expect(reply.packet).toMatchObject({ giaddr, hops: 0 })
  })

  const arm = [...UEFI, [93, Uint8Array.of(0, 11)]] as const
  const mac = [1, 2, 3, 4]
  test.each([
    ["an operating system", request({ type: 1 }), "not_a_boot_client"],
    ["a request, which is for who gave the address", request({ type: 3, options: UEFI }), "proxy_is_silent"],
    ["an inform", request({ type: 8, options: UEFI }), "proxy_is_silent"],
    ["an unknown architecture", request({ type: 1, options: arm }), "unknown_architecture"],
    ["a reply", request({ type: 1, op: 2, options: BIOS }), "not_a_request"],
    ["a type of two bytes", request({ type: 1, options: [...BIOS, [53, Uint8Array.of(1, 1)]] }), "no_message_type"],
    ["Ethernet of four bytes", request({ type: 1, mac, options: BIOS }), "no_hardware_address"],
    ["no hardware address", request({ type: 1, hlen: 0, options: BIOS }), "no_hardware_address"],
  ] as const)("silent to %s", (_name, packet, reason) => {
    expect(decideProxy(packet, CONFIG)).toEqual({ kind: "none", reason })
  })
})

describe("port 4011", () => {
  const from = { address: ip("10.77.0.57"), port: 4011 }

  test("OVMF's request is acknowledged to the port it came from", () => {
    const asked = decodePacket(fromHex(OVMF_BOOT_SERVER_REQUEST))
    const reply = replied(decideBootServer(asked.ok ? asked.value : request({ type: 1 }), from, CONFIG))
    expect(reply).toMatchObject({ type: 5, to: from })
    expect(reply.packet).toMatchObject({ xid: 0xc894_f05d, yiaddr: 0, ciaddr: 0x0a4d_0039, file: "snponly.efi" })
    expect(reply.packet.options.has(43)).toBe(false)
  })

  test.each([1, 3, 8])("type %i is answered", (type) => {
    expect(decideBootServer(request({ type, options: UEFI }), from, CONFIG).kind).toBe("reply")
  })

  test("a plain client and a release are not", () => {
    expect(decideBootServer(request({ type: 3 }), from, CONFIG).kind).toBe("none")
    expect(decideBootServer(request({ type: 7, options: UEFI }), from, CONFIG).kind).toBe("none")
  })
})

test.each([
  ["absent", [], 548],
  ["1472, OVMF's discover", [0x05, 0xc0], 1444],
  ["65280, OVMF's request", [0xff, 0x00], 1472],
  ["smaller than any client may be", [0x00, 0x40], 548],
  ["of one byte", [0x40], 548],
])("option 57 %s", (_name, value, bytes) => {
  const options = value.length === 0 ? [] : ([[57, Uint8Array.from(value)]] as const)
  expect(payloadBytesMax(request({ type: 1, options }))).toBe(bytes)
})
