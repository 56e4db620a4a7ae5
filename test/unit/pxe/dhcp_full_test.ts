/** A client's life with a server that gives addresses: every state of RFC 2131, figure 5. Plane: control. */
import { describe, expect, test } from "vitest"
import { formatIPv4 } from "../../../pxe/address.ts"
import { decideFull, type FullConfig } from "../../../pxe/dhcp/full.ts"
import { LeaseTable } from "../../../pxe/dhcp/lease_table.ts"
import { LEASE_BOOT_SECONDS, LEASE_SECONDS, OFFER_HOLD_MS, QUARANTINE_MS } from "../../../pxe/dhcp/limits.ts"
import { bytesOf, type Decision } from "../../../pxe/dhcp/reply.ts"
import { BIOS, FILES, IPXE_BIOS, ip, replied, request, SERVER, textOption, UEFI } from "./requests.ts"

const CONFIG: FullConfig = {
  address: SERVER,
  files: FILES,
  netmask: ip("255.255.255.0"),
  router: undefined,
  dns: [],
}
const OTHER_MAC = [0x52, 0x54, 0, 0x77, 0, 2]

function makeTable(first = "10.77.0.100", last = "10.77.0.200"): LeaseTable {
  return new LeaseTable({ first: ip(first), last: ip(last) }, [SERVER])
}

/** Discover and request; the address. */
function acquire(table: LeaseTable, now: number, mac?: readonly number[]): string {
  const who = mac === undefined ? {} : { mac }
  const offer = replied(decideFull(request({ type: 1, ...who }), now, table, CONFIG))
  const requested = formatIPv4(offer.packet.yiaddr)
  const ack = replied(decideFull(request({ type: 3, requested, server: "10.77.0.1", ...who }), now, table, CONFIG))
  expect(ack).toMatchObject({ type: 5 })
  expect(formatIPv4(ack.packet.yiaddr)).toBe(requested)
  return requested
}

function u32Option(decision: Decision, code: number): number {
  const value = replied(decision).packet.options.get(code) ?? new Uint8Array(4)
  return new DataView(value.buffer, value.byteOffset).getUint32(0)
}

describe("a plain client", () => {
  test("is offered an address with its mask and times, and nothing about booting", () => {
    const decision = decideFull(request({ type: 1 }), 0, makeTable(), CONFIG)
    const reply = replied(decision)
    expect(reply).toMatchObject({ type: 2, to: { address: 0xffff_ffff, port: 68 } })
    expect([...reply.packet.options.keys()]).toEqual([53, 54, 1, 51, 58, 59])
    expect(reply.packet).toMatchObject({ siaddr: 0, file: "", sname: "" })
    expect([51, 58, 59].map((code) => u32Option(decision, code))).toEqual([LEASE_SECONDS, 1800, 3150])
  })

  test("gets a router and name servers only where they are configured", () => {
    const config = { ...CONFIG, router: ip("10.77.0.254"), dns: [ip("10.77.0.2"), ip("10.77.0.3")] }
    const { packet } = replied(decideFull(request({ type: 1 }), 0, makeTable(), config))
    expect(packet.options.get(3)).toEqual(Uint8Array.of(10, 77, 0, 254))
    expect(packet.options.get(6)).toEqual(Uint8Array.of(10, 77, 0, 2, 10, 77, 0, 3))
  })

  test("selects, and has the address", () => {
    const table = makeTable()
    const address = acquire(table, 0)
    expect(table.leaseOf("52-54-00-77-00-01", 1)?.address).toBe(ip(address))
  })

  test("gets the address that it asks for in its discover, if that is free", () => {
    const offer = replied(decideFull(request({ type: 1, requested: "10.77.0.150" }), 0, makeTable(), CONFIG))
    expect(formatIPv4(offer.packet.yiaddr)).toBe("10.77.0.150")
    const outside = replied(decideFull(request({ type: 1, requested: "10.77.0.99" }), 0, makeTable(), CONFIG))
    expect(outside.packet.yiaddr).toBeGreaterThanOrEqual(ip("10.77.0.100"))
  })

  test("that chose another server is left alone, and its offer is free again", () => {
    const table = makeTable("10.77.0.100", "10.77.0.100")
    expect(decideFull(request({ type: 1 }), 0, table, CONFIG).kind).toBe("reply")
    expect(decideFull(request({ type: 1, mac: OTHER_MAC }), 0, table, CONFIG)).toMatchObject({
      reason: "pool_exhausted",
    })
    const chosen = request({ type: 3, requested: "10.9.9.9", server: "10.77.0.2" })
    expect(decideFull(chosen, 0, table, CONFIG)).toMatchObject({ reason: "other_server_chosen" })
    expect(acquire(table, 0, OTHER_MAC)).toBe("10.77.0.100")
  })

  test("renews by unicast to its address, and the lease is prolonged", () => {
    const table = makeTable()
    const address = acquire(table, 0)
    const later = LEASE_SECONDS * 500
    const renewal = request({ type: 3, ciaddr: ip(address) })
    const ack = replied(decideFull(renewal, later, table, CONFIG))
    expect(ack).toMatchObject({ type: 5, to: { address: ip(address), port: 68 } })
    expect(ack.packet).toMatchObject({ ciaddr: ip(address), yiaddr: ip(address) })
    expect(table.leaseOf("52-54-00-77-00-01", later)?.expires_at).toBe(later + LEASE_SECONDS * 1000)
  })

  test("renews with a server that has forgotten everything", () => {
    const ack = replied(decideFull(request({ type: 3, ciaddr: ip("10.77.0.123") }), 0, makeTable(), CONFIG))
    expect(ack).toMatchObject({ type: 5, packet: { yiaddr: ip("10.77.0.123") } })
  })

  test("is refused what has become another's, by broadcast", () => {
    const table = makeTable()
    const address = acquire(table, 0, OTHER_MAC)
    const nak = replied(decideFull(request({ type: 3, ciaddr: ip(address) }), 0, table, CONFIG))
    expect(nak).toMatchObject({ type: 6, to: { address: 0xffff_ffff, port: 68 } })
    expect(nak.packet).toMatchObject({ yiaddr: 0, ciaddr: 0, siaddr: 0 })
  })

  test("that renews elsewhere's address hears nothing", () => {
    const elsewhere = request({ type: 3, ciaddr: ip("10.77.0.50") })
    expect(decideFull(elsewhere, 0, makeTable(), CONFIG)).toMatchObject({ reason: "no_lease_known" })
  })

  test("reboots with its address", () => {
    const table = makeTable()
    const requested = acquire(table, 0)
    expect(replied(decideFull(request({ type: 3, requested }), 1, table, CONFIG)).type).toBe(5)
  })

  test("reboots into another network, or with an address that is not its own: NAK", () => {
    const table = makeTable()
    expect(replied(decideFull(request({ type: 3, requested: "192.168.1.5" }), 0, table, CONFIG)).type).toBe(6)
    const mine = acquire(table, 0)
    const other = mine === "10.77.0.199" ? "10.77.0.198" : "10.77.0.199"
    expect(replied(decideFull(request({ type: 3, requested: other }), 0, table, CONFIG)).type).toBe(6)
  })

  test("reboots unknown: silence, since another server may know it (RFC 2131, 4.3.2)", () => {
    const reboot = request({ type: 3, requested: "10.77.0.150" })
    expect(decideFull(reboot, 0, makeTable(), CONFIG)).toMatchObject({ reason: "no_lease_known" })
  })

  test("through a relay a NAK is to be broadcast by it", () => {
    const giaddr = ip("10.77.0.9")
    const nak = replied(decideFull(request({ type: 3, requested: "192.168.1.5", giaddr }), 0, makeTable(), CONFIG))
    expect(nak).toMatchObject({ to: { address: giaddr, port: 67 }, packet: { flags: 0x8000 } })
  })

  test("behind a relay of another subnet gets no address of this one, nor is it told that its own is wrong", () => {
    const giaddr = ip("10.78.0.9")
    const table = makeTable()
    for (const asked of [{ type: 1 }, { type: 3, requested: "10.78.0.5" }, { type: 3, requested: "10.77.0.105" }]) {
      const decision = decideFull(request({ ...asked, giaddr }), 0, table, CONFIG)
      expect(decision).toEqual({ kind: "none", reason: "no_pool_for_relay" })
    }
    expect(table.count).toBe(0)
    const near = replied(decideFull(request({ type: 1, giaddr: ip("10.77.0.9") }), 0, table, CONFIG))
    expect(near).toMatchObject({ type: 2, to: { address: ip("10.77.0.9"), port: 67 } })
  })

  test("declines, and nobody gets the address for a while", () => {
    const table = makeTable("10.77.0.100", "10.77.0.100")
    const address = acquire(table, 0)
    const decline = request({ type: 4, requested: address, server: "10.77.0.1" })
    expect(decideFull(decline, 0, table, CONFIG).kind).toBe("none")
    expect(decideFull(request({ type: 1 }), 1, table, CONFIG)).toMatchObject({ reason: "pool_exhausted" })
    expect(acquire(table, QUARANTINE_MS + 1)).toBe(address)
  })

  test("can decline only its own address", () => {
    const table = makeTable()
    const address = acquire(table, 0)
    const decline = request({ type: 4, mac: OTHER_MAC, requested: address, server: "10.77.0.1" })
    expect(decideFull(decline, 0, table, CONFIG)).toMatchObject({ reason: "no_lease_known" })
    expect(table.leaseOf("52-54-00-77-00-01", 1)).toBeDefined()
  })

  test("releases, and the address is free but remembered", () => {
    const table = makeTable()
    const address = acquire(table, 0)
    decideFull(request({ type: 7, ciaddr: ip(address), server: "10.77.0.1" }), 0, table, CONFIG)
    expect(table.leaseOf("52-54-00-77-00-01", 1)).toBeUndefined()
    expect(acquire(table, 2)).toBe(address)
  })

  test("a release for another server changes nothing", () => {
    const table = makeTable()
    const address = acquire(table, 0)
    decideFull(request({ type: 7, ciaddr: ip(address), server: "10.77.0.2" }), 0, table, CONFIG)
    expect(table.leaseOf("52-54-00-77-00-01", 1)).toBeDefined()
  })

  test("informs itself: no address, no lease", () => {
    const inform = request({ type: 8, ciaddr: ip("10.77.0.50") })
    const ack = replied(decideFull(inform, 0, makeTable(), CONFIG))
    expect(ack).toMatchObject({ type: 5, to: { address: ip("10.77.0.50"), port: 68 }, packet: { yiaddr: 0 } })
    expect([...ack.packet.options.keys()]).toEqual([53, 54, 1])
  })
})

describe("leases", () => {
  test("an offer is held, then given to whoever needs it", () => {
    const table = makeTable("10.77.0.100", "10.77.0.100")
    decideFull(request({ type: 1 }), 0, table, CONFIG)
    const other = request({ type: 1, mac: OTHER_MAC })
    expect(decideFull(other, OFFER_HOLD_MS - 1, table, CONFIG)).toMatchObject({ reason: "pool_exhausted" })
    expect(decideFull(other, OFFER_HOLD_MS, table, CONFIG)).toMatchObject({ kind: "reply" })
    // The first comes too late.
    const late = request({ type: 3, requested: "10.77.0.100", server: "10.77.0.1" })
    expect(replied(decideFull(late, OFFER_HOLD_MS, table, CONFIG)).type).toBe(6)
  })

  test("an offer that ran out is still good while nobody took it", () => {
    const table = makeTable()
    const offer = replied(decideFull(request({ type: 1 }), 0, table, CONFIG))
    const late = request({ type: 3, requested: formatIPv4(offer.packet.yiaddr), server: "10.77.0.1" })
    expect(replied(decideFull(late, OFFER_HOLD_MS * 2, table, CONFIG)).type).toBe(5)
  })

  test("firmware, iPXE and kernel have one address: client ids don't count", () => {
    const table = makeTable()
    const addresses = [BIOS, IPXE_BIOS, [[61, bytesOf("kernel")]] as const].map((options) => {
      return replied(decideFull(request({ type: 1, options }), 0, table, CONFIG)).packet.yiaddr
    })
    expect(new Set(addresses).size).toBe(1)
    expect(table.count).toBe(1)
  })

  test("a pool gives each address once, then says that it is exhausted", () => {
    const table = makeTable("10.77.0.100", "10.77.0.107")
    const macs = Array.from({ length: 8 }, (_, index) => [2, 0, 0, 0, 0, index])
    const addresses = macs.map((mac) => acquire(table, 0, mac))
    expect([...addresses].sort()).toEqual(addresses.map((_, index) => `10.77.0.${100 + index}`))
    const one = request({ type: 1, mac: [2, 0, 0, 0, 0, 99] })
    expect(decideFull(one, 1, table, CONFIG)).toMatchObject({ reason: "pool_exhausted" })
    expect(decideFull(one, LEASE_SECONDS * 1000 + 1, table, CONFIG)).toMatchObject({ kind: "reply" })
  })

  test("the server's own address is never given, though the pool has it", () => {
    const table = makeTable("10.77.0.1", "10.77.0.2")
    expect(acquire(table, 0)).toBe("10.77.0.2")
    const wanted = request({ type: 1, mac: OTHER_MAC, requested: "10.77.0.1" })
    expect(decideFull(wanted, 0, table, CONFIG)).toMatchObject({ reason: "pool_exhausted" })
  })

  test("a server that forgot everything gives a machine the same address", () => {
    expect(acquire(makeTable(), 0)).toBe(acquire(makeTable(), 99))
  })
})

describe("boot clients", () => {
  test("have a short lease, and the file with it", () => {
    const decision = decideFull(request({ type: 1, options: UEFI }), 0, makeTable(), CONFIG)
    const reply = replied(decision)
    expect(u32Option(decision, 51)).toBe(LEASE_BOOT_SECONDS)
    expect(reply.packet).toMatchObject({ siaddr: SERVER, file: "snponly.efi", sname: "10.77.0.1" })
    expect(textOption(reply, 60)).toBe("PXEClient")
    expect(reply.packet.options.has(43)).toBe(false)
  })

  test("iPXE is told not to wait for a proxy, and gets no option 43", () => {
    const reply = replied(decideFull(request({ type: 1, options: IPXE_BIOS }), 0, makeTable(), CONFIG))
    expect(reply.packet.options.get(175)).toEqual(Uint8Array.of(176, 1, 1))
    expect(reply.packet.options.has(43)).toBe(false)
    expect(reply.packet.file).toBe(FILES.ipxe)
  })

  test("with nothing to boot have an address like anybody", () => {
    const options = [...UEFI, [93, Uint8Array.of(0, 11)]] as const
    const reply = replied(decideFull(request({ type: 1, options }), 0, makeTable(), CONFIG))
    expect(reply.packet.file).toBe("")
    expect(reply.packet.options.has(60)).toBe(false)
  })
})

test.each([
  ["an offer from another server", request({ type: 2 }), "nothing_to_answer"],
  ["an unknown type", request({ type: 99 }), "nothing_to_answer"],
  ["a request for an address of three bytes", malformedRequest(), "nothing_to_answer"],
  ["an inform without an address", request({ type: 8 }), "nothing_to_answer"],
] as const)("silent to %s", (_name, packet, reason) => {
  expect(decideFull(packet, 0, makeTable(), CONFIG)).toEqual({ kind: "none", reason })
})

function malformedRequest() {
  return request({ type: 3, server: "10.77.0.1", options: [[50, Uint8Array.of(10, 77, 0)]] })
}
