/** The bytes of DHCP, as firmware sends them and as RFC 2131 draws them. Plane: control. */
import { describe, expect, test } from "vitest"
import {
  CHADDR_BYTES,
  type DHCPDecodeError,
  type DHCPPacket,
  decodePacket,
  encodePacket,
} from "../../../pxe/dhcp/packet.ts"
import { fromHex, IPXE_DISCOVER, OVMF_BOOT_SERVER_REQUEST, OVMF_DISCOVER, toHex } from "./captures.ts"

const FIXED = "01010600 12345678 0000 0000 ..16 525400770001 ..10"

function decoded(hex: string): DHCPPacket {
  const packet = decodePacket(fromHex(hex))
  expect(packet).toMatchObject({ ok: true })
  if (!packet.ok) {
    throw new Error(packet.error.kind)
  }
  return packet.value
}

describe("captures", () => {
  test("iPXE's discover", () => {
    const packet = decoded(IPXE_DISCOVER)
    expect(packet).toMatchObject({ op: 1, htype: 1, hlen: 6, hops: 0, xid: 0x9fea_611e, secs: 4, flags: 0 })
    expect(toHex(packet.chaddr)).toBe(`525400770001${"00".repeat(10)}`)
    expect([...packet.options.keys()]).toEqual([53, 57, 93, 94, 60, 77, 55, 175, 61, 97])
    expect(toHex(packet.options.get(77) ?? new Uint8Array(0))).toBe("69505845")
    expect(packet.options.get(175)).toHaveLength(48)
  })

  test("OVMF's discover", () => {
    const packet = decoded(OVMF_DISCOVER)
    expect(packet).toMatchObject({ xid: 0xdada_5bf5, flags: 0x8000, ciaddr: 0 })
    expect([...packet.options.keys()]).toEqual([53, 57, 55, 97, 94, 93, 60])
  })

  test("OVMF's request to port 4011", () => {
    expect(decoded(OVMF_BOOT_SERVER_REQUEST)).toMatchObject({ ciaddr: 0x0a4d_0039, flags: 0 })
  })

  test.each([IPXE_DISCOVER, OVMF_DISCOVER, OVMF_BOOT_SERVER_REQUEST])("encoded again it has its bytes back", (hex) => {
    const bytes = encodePacket(decoded(hex), 1472)
    expect(bytes.ok && toHex(bytes.value)).toBe(toHex(padded(fromHex(hex))))
  })
})

function padded(bytes: Uint8Array): Uint8Array {
  const whole = new Uint8Array(Math.max(bytes.length, 300))
  whole.set(bytes)
  return whole
}

describe("the form", () => {
  test("every field lies where RFC 2131 has it", () => {
    const hex = `02 01 06 03 11223344 5566 8000 0a000001 0a000002 0a000003 0a000004 525400770001 ..10
      73657276 ..60 66696c65 ..124 63825363 350105 ff ..56`
    const chaddr = new Uint8Array(CHADDR_BYTES)
    chaddr.set(fromHex("525400770001"))
    const packet: DHCPPacket = {
      op: 2,
      htype: 1,
      hlen: 6,
      hops: 3,
      xid: 0x1122_3344,
      secs: 0x5566,
      flags: 0x8000,
      ciaddr: 0x0a00_0001,
      yiaddr: 0x0a00_0002,
      siaddr: 0x0a00_0003,
      giaddr: 0x0a00_0004,
      chaddr,
      sname: "serv",
      file: "file",
      options: new Map([[53, Uint8Array.of(5)]]),
    }
    const bytes = encodePacket(packet, 1472)
    expect(bytes.ok && toHex(bytes.value)).toBe(toHex(fromHex(hex)))
    expect(decoded(hex)).toEqual(packet)
  })

  test("padding is skipped, and what follows the end is nobody's", () => {
    const packet = decoded(`${FIXED} ..64 ..128 63825363 00 00 350101 00 ff 370101`)
    expect([...packet.options.keys()]).toEqual([53])
  })

  test("the end may be missing", () => {
    expect(decoded(`${FIXED} ..64 ..128 63825363 350101`).options.get(53)).toEqual(Uint8Array.of(1))
  })

  test("options of one code are one long option (RFC 3396)", () => {
    const packet = decoded(`${FIXED} ..64 ..128 63825363 3d02 0102 350101 3d01 03 ff`)
    expect(packet.options.get(61)).toEqual(Uint8Array.of(1, 2, 3))
  })

  test("file, then sname, go on where the options end (option 52)", () => {
    const sname = "3d0103 ff ..60"
    const file = "3d0102 4302 6162 ..121"
    const packet = decoded(`${FIXED} ${sname} ${file} 63825363 340103 3d0101 ff`)
    expect(packet.options.get(61)).toEqual(Uint8Array.of(1, 2, 3))
    expect(packet.options.get(67)).toEqual(fromHex("6162"))
    expect(packet).toMatchObject({ file: "", sname: "" })
    expect(packet.options.has(52)).toBe(false)
  })

  test("overloaded file alone leaves sname a name", () => {
    const packet = decoded(`${FIXED} 7365727665 ..59 430161 ..125 63825363 340101 ff`)
    expect(packet).toMatchObject({ file: "", sname: "serve" })
    expect(packet.options.get(67)).toEqual(fromHex("61"))
  })

  test("a value of more than 255 bytes goes out in pieces and comes back whole", () => {
    const value = Uint8Array.from({ length: 600 }, (_, index) => index & 0xff)
    const bytes = encodePacket({ ...decoded(IPXE_DISCOVER), options: new Map([[43, value]]) }, 1472)
    if (!bytes.ok) {
      throw new Error(bytes.error.kind)
    }
    expect(toHex(bytes.value.subarray(240, 243))).toBe("2bff00")
    expect(toHex(bytes.value.subarray(240 + 257, 240 + 259))).toBe("2bff")
    expect(toHex(bytes.value.subarray(240 + 514, 240 + 516))).toBe("2b5a")
    const back = decodePacket(bytes.value)
    expect(back.ok && back.value.options.get(43)).toEqual(value)
  })

  test("option 82 goes last, wherever it stands", () => {
    const options = new Map([
      [82, Uint8Array.of(1, 1, 7)],
      [53, Uint8Array.of(2)],
    ])
    const bytes = encodePacket({ ...decoded(IPXE_DISCOVER), options }, 1472)
    expect(bytes.ok && toHex(bytes.value.subarray(240, 249))).toBe("3501025203010107ff")
  })

  test("a reply that the client can't take is not made", () => {
    const options = new Map([[43, new Uint8Array(400)]])
    const bytes = encodePacket({ ...decoded(IPXE_DISCOVER), options }, 548)
    expect(bytes).toEqual({ ok: false, error: { kind: "too_big", bytes: 645 } })
  })

  test("a hardware address of 16 bytes is one", () => {
    expect(decoded(`01 20 10 00 ..24 ..16 ..64 ..128 63825363 350101 ff`).hlen).toBe(16)
  })
})

const BAD: readonly (readonly [string, string, DHCPDecodeError])[] = [
  ["one byte short of its cookie's end", `${FIXED} ..64 ..128 638253`, { kind: "too_short" }],
  ["longer than a frame", `${FIXED} ..64 ..128 63825363 ..1300`, { kind: "too_long" }],
  ["BOOTP without a cookie", `${FIXED} ..64 ..128 63825364 ff`, { kind: "no_cookie" }],
  ["17 bytes of hardware address", "01011100 ..40 ..64 ..128 63825363 ff", { kind: "hardware_address_length" }],
  ["an option without its length", `${FIXED} ..64 ..128 63825363 35`, { kind: "truncated_option", code: 53 }],
  ["an option that runs over", `${FIXED} ..64 ..128 63825363 3d0501020304`, { kind: "truncated_option", code: 61 }],
  ["one that runs over in file", `${FIXED} ..64 ..126 3d05 63825363 340101 ff`, { kind: "truncated_option", code: 61 }],
  ["overload 0", `${FIXED} ..64 ..128 63825363 340100 ff`, { kind: "bad_overload" }],
  ["overload 4", `${FIXED} ..64 ..128 63825363 340104 ff`, { kind: "bad_overload" }],
  ["overload twice", `${FIXED} ..64 ..128 63825363 340101 340101 ff`, { kind: "bad_overload" }],
  ["overload of two bytes", `${FIXED} ..64 ..128 63825363 34020101 ff`, { kind: "bad_overload" }],
]

test.each(BAD)("refused: %s", (_name, hex, error) => {
  expect(decodePacket(fromHex(hex))).toEqual({ ok: false, error })
})

test("every prefix of a real packet decodes or is refused", () => {
  const whole = fromHex(IPXE_DISCOVER)
  let refused = 0
  for (let length = 0; length < whole.length; length += 1) {
    refused += decodePacket(whole.subarray(0, length)).ok ? 0 : 1
  }
  expect(refused).toBeGreaterThan(240)
})
