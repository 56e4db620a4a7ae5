/** DHCP: every packet survives its bytes, no bytes and no conversation can break the server. Plane: control. */
import fc from "fast-check"
import { expect, test } from "vitest"
import { PRNG } from "../../../appliance/types/prng.ts"
import { parseIPv4 } from "../../../pxe/address.ts"
import { decideFull, type FullConfig } from "../../../pxe/dhcp/full.ts"
import { LeaseTable } from "../../../pxe/dhcp/lease_table.ts"
import { PACKET_BYTES_MAX } from "../../../pxe/dhcp/limits.ts"
import { MessageType, Option } from "../../../pxe/dhcp/options.ts"
import { type DHCPPacket, decodePacket, encodePacket } from "../../../pxe/dhcp/packet.ts"
import { decideBootServer, decideProxy } from "../../../pxe/dhcp/proxy.ts"
import { type Decision, payloadBytesMax } from "../../../pxe/dhcp/reply.ts"
import { fromHex, IPXE_DISCOVER, OVMF_BOOT_SERVER_REQUEST, OVMF_DISCOVER } from "../../unit/pxe/captures.ts"
import { mutate } from "./mutate.ts"

const MUTATED_PACKETS = 100_000
const ROUND_TRIPS = 2_000
const SEED = 20_251

const CONFIG: FullConfig = {
  address: parseIPv4("10.77.0.1") ?? 0,
  netmask: parseIPv4("255.255.255.0") ?? 0,
  router: undefined,
  dns: [],
  files: { bios: "b", uefi: "u", uefi_http: "http://10.77.0.1:7480/u", ipxe: "http://10.77.0.1:7480/boot.ipxe" },
}
const FIRST = parseIPv4("10.77.0.100") ?? 0

const u8 = fc.nat({ max: 0xff })
const u16 = fc.nat({ max: 0xffff })
const u32 = fc.nat({ max: 0xffff_ffff })
const code = fc.integer({ min: 1, max: 254 }).filter((one) => one !== Option.overload)
const name = (max: number) => {
  const character = fc.integer({ min: 1, max: 255 }).map((one) => String.fromCharCode(one))
  return fc.string({ unit: character, maxLength: max })
}
const packet: fc.Arbitrary<DHCPPacket> = fc.record({
  op: u8,
  htype: u8,
  hlen: fc.nat({ max: 16 }),
  hops: u8,
  xid: u32,
  secs: u16,
  flags: u16,
  ciaddr: u32,
  yiaddr: u32,
  siaddr: u32,
  giaddr: u32,
  chaddr: fc.uint8Array({ minLength: 16, maxLength: 16 }),
  sname: name(63),
  file: name(127),
  options: fc
    .array(fc.tuple(code, fc.oneof(fc.uint8Array({ maxLength: 20 }), fc.uint8Array({ maxLength: 600 }))), {
      maxLength: 8,
    })
    .map((options) => new Map(options)),
})

test("what is encoded is decoded to the same", () => {
  let roundTrips = 0
  const property = fc.property(packet, (one) => {
    const bytes = encodePacket(one, PACKET_BYTES_MAX)
    if (bytes.ok) {
      roundTrips += 1
      expect(bytes.value.length).toBeLessThanOrEqual(PACKET_BYTES_MAX)
      expect(decodePacket(bytes.value)).toEqual({ ok: true, value: one })
    }
  })
  fc.assert(property, { numRuns: ROUND_TRIPS })
  expect(roundTrips).toBeGreaterThan(ROUND_TRIPS / 4)
})

test(`${MUTATED_PACKETS} mutated packets: each is refused or answered with a packet`, () => {
  const prng = new PRNG(SEED)
  const table = new LeaseTable({ first: FIRST, last: FIRST + 20 }, [CONFIG.address])
  const sources = [IPXE_DISCOVER, OVMF_DISCOVER, OVMF_BOOT_SERVER_REQUEST].map(fromHex)
  const seen = { refused: 0, silent: 0, answered: 0 }
  for (let index = 0; index < MUTATED_PACKETS; index += 1) {
    const source = sources[prng.below(sources.length)] ?? new Uint8Array(0)
    const decoded = decodePacket(mutate(source, prng))
    if (!decoded.ok) {
      seen.refused += 1
      continue
    }
    const decisions: Decision[] = [
      decideProxy(decoded.value, CONFIG),
      decideBootServer(decoded.value, { address: FIRST, port: 4011 }, CONFIG),
      decideFull(decoded.value, index, table, CONFIG),
    ]
    for (const decision of decisions) {
      if (decision.kind === "none") {
        seen.silent += 1
        continue
      }
      seen.answered += 1
      const bytes = encodePacket(decision.packet, payloadBytesMax(decoded.value))
      // An echoed option may make it too big for the client; otherwise it is a packet again.
      expect(!bytes.ok || decodePacket(bytes.value).ok).toBe(true)
    }
  }
  expect(Math.min(...Object.values(seen))).toBeGreaterThan(MUTATED_PACKETS / 100)
})

test("whatever clients say, no address is two machines' at a time", () => {
  const step = fc.record({
    machine: fc.nat({ max: 5 }),
    type: fc.constantFrom(...Object.values(MessageType)),
    wanted: fc.nat({ max: 5 }),
    isOurs: fc.boolean(),
    form: fc.constantFrom("selecting", "renewing", "rebooting"),
    pause: fc.oneof(fc.nat({ max: 1_000 }), fc.nat({ max: 8_000_000 })),
  })
  const property = fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
    const table = new LeaseTable({ first: FIRST, last: FIRST + 3 }, [CONFIG.address])
    // What each machine was last told that it has, and until when.
    const holds = new Map<number, { readonly address: number; readonly until: number }>()
    let now = 0
    for (const one of steps) {
      now += one.pause
      const reply = decideFull(requestOf(one), now, table, CONFIG)
      if (one.type === MessageType.release || one.type === MessageType.decline || one.type === MessageType.inform) {
        holds.delete(one.machine)
      } else if (reply.kind === "reply" && reply.type === MessageType.ack) {
        const seconds = reply.packet.options.get(Option.lease_seconds) ?? new Uint8Array(4)
        const until = now + new DataView(seconds.buffer, seconds.byteOffset).getUint32(0) * 1_000
        for (const [other, held] of holds) {
          const isTaken = other !== one.machine && held.address === reply.packet.yiaddr && held.until > now
          expect(isTaken).toBe(false)
        }
        holds.set(one.machine, { address: reply.packet.yiaddr, until })
      }
    }
  })
  fc.assert(property, { numRuns: ROUND_TRIPS })
})

type Step = {
  readonly machine: number
  readonly type: number
  readonly wanted: number
  readonly isOurs: boolean
  readonly form: string
}

function requestOf({ machine, type, wanted, isOurs, form }: Step): DHCPPacket {
  const address = FIRST + wanted
  const bytes = Uint8Array.of(10, 77, 0, 100 + wanted)
  const options = new Map<number, Uint8Array>([[Option.message_type, Uint8Array.of(type)]])
  const isGivingBack = type === MessageType.release || type === MessageType.decline
  if ((form === "selecting" && type !== MessageType.discover) || isGivingBack) {
    options.set(Option.server, Uint8Array.of(10, 77, 0, isOurs ? 1 : 2))
  }
  if (form !== "renewing" || type === MessageType.decline) {
    options.set(Option.requested_address, bytes)
  }
  const chaddr = new Uint8Array(16)
  chaddr[5] = machine
  const ciaddr = form === "renewing" || type === MessageType.release ? address : 0
  return {
    op: 1,
    htype: 1,
    hlen: 6,
    hops: 0,
    xid: 1,
    secs: 0,
    flags: 0,
    ciaddr,
    yiaddr: 0,
    siaddr: 0,
    giaddr: 0,
    chaddr,
    sname: "",
    file: "",
    options,
  }
}
