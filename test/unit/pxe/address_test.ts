/** Addresses as text and as numbers, and where an interface's comes from. Plane: control. */
import { describe, expect, test } from "vitest"
import { decodeIPv4, encodeIPv4, formatIPv4, formatMAC, parseIPv4, parseMAC } from "../../../pxe/address.ts"
import { findInterfaceAddress, findWithoutLink } from "../../../pxe/interface_address.ts"
import { Recent } from "../../../pxe/recent.ts"
import { ip } from "./requests.ts"

test.each([
  ["0.0.0.0", 0],
  ["10.77.0.1", 0x0a4d_0001],
  ["255.255.255.255", 0xffff_ffff],
])("%s", (text, address) => {
  expect(parseIPv4(text)).toBe(address)
  expect(formatIPv4(address)).toBe(text)
  expect(decodeIPv4(encodeIPv4(address))).toBe(address)
})

test.each(["", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.4 ", "a.b.c.d", "1.2.3.-4"])(
  "%j is none",
  (text) => {
    expect(parseIPv4(text)).toBeUndefined()
  },
)

test("an address in a packet has four bytes", () => {
  expect(decodeIPv4(new Uint8Array(3))).toBeUndefined()
  expect(decodeIPv4(undefined)).toBeUndefined()
})

test("a MAC in any usual form is one text", () => {
  expect(parseMAC("52:54:00:AB:cd:01")).toBe("52-54-00-ab-cd-01")
  expect(parseMAC(formatMAC(Uint8Array.of(0x52, 0x54, 0, 0xab, 0xcd, 1)))).toBe("52-54-00-ab-cd-01")
  for (const text of ["", "52:54:00:ab:cd", "52:54:00:ab:cd:0g", "525400abcd01", "52:54:00:ab:cd:01\n"]) {
    expect(parseMAC(text)).toBeUndefined()
  }
})

describe("an interface", () => {
  const Routes = `Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
br0\t00004D0A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
`
  const Trie = `Main:
  +-- 0.0.0.0/1 2 0 2
     +-- 10.77.0.0/24 2 0 2
        +-- 10.77.0.0/31 1 0 0
           |-- 10.77.0.0
              /24 link UNICAST
           |-- 10.77.0.1
              /32 host LOCAL
        |-- 10.77.0.255
           /32 link BROADCAST
        |-- 192.168.1.7
           /32 host LOCAL
`

  test("without a link is found in the kernel's tables", () => {
    const netmask = ip("255.255.255.0")
    expect(findWithoutLink("br0", Routes, Trie)).toEqual({ address: ip("10.77.0.1"), netmask })
    expect(findWithoutLink("eth0", Routes, Trie)).toEqual({ address: ip("192.168.1.7"), netmask })
    expect(findWithoutLink("eth1", Routes, Trie)).toBeUndefined()
    expect(findWithoutLink("br0", "", "")).toBeUndefined()
    expect(findWithoutLink("br0", "x\nbr0\tZZ", "|-- 1.2.3")).toBeUndefined()
  })

  test("of the loopback is the one we know", () => {
    expect(findInterfaceAddress("lo")).toEqual({
      ok: true,
      value: { address: ip("127.0.0.1"), netmask: ip("255.0.0.0") },
    })
  })

  test.each(["nope0", "", "../../etc", ".."])("%j is not found", (name) => {
    expect(findInterfaceAddress(name)).toMatchObject({ ok: false, error: { kind: "interface_not_found" } })
  })
})

test("what happens too often is refused until its window has passed; the oldest key is forgotten", () => {
  const recent = new Recent({ window_ms: 100, count_max: 2, keys_max: 2 })
  expect([0, 1, 2, 99, 100].map((now) => recent.isAllowed("a", now))).toEqual([true, true, false, false, true])
  recent.isAllowed("b", 100)
  recent.isAllowed("c", 100)
  expect([1, 2, 3].map(() => recent.isAllowed("c", 101))).toEqual([true, false, false])
  // "a" was forgotten, so its count starts anew.
  expect([1, 2, 3].map(() => recent.isAllowed("a", 101))).toEqual([true, true, false])
})
