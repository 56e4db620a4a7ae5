/** The relay between two real pairs of links: what each rule does to what they send. Plane: control. */
import { setTimeout as sleep } from "node:timers/promises"
import { pino } from "pino"
import { afterEach, describe, expect, test } from "vitest"
import { AddressBook } from "../../../appliance/orchestration/address_book.ts"
import { LimitedLog } from "../../../appliance/orchestration/limited_log.ts"
import { ORCHESTRATION_LIMITS, type OrchestrationLimits } from "../../../appliance/orchestration/limits.ts"
import { Links } from "../../../appliance/orchestration/links.ts"
import { monotonicMs, systemRandom, zlibChecksum } from "../../../appliance/orchestration/system_ports.ts"
import type { Message } from "../../../appliance/replication/message.ts"
import type { WireOptions } from "../../../appliance/replication/wire.ts"
import { CLUSTER_LIMITS, limitsFingerprint } from "../../../appliance/types/limits.ts"
import { StaticMemory } from "../../../appliance/types/static_memory.ts"
import { Relay } from "../../lab/relay.ts"

const CV = new Array<number>(CLUSTER_LIMITS.slots_max).fill(0)
CV[0] = 1
const WIRE: WireOptions = {
  identity: {
    cluster_id: new Uint8Array(16).fill(9),
    generation: 1,
    limits_fingerprint: limitsFingerprint(CLUSTER_LIMITS),
  },
  limits: CLUSTER_LIMITS,
  checksum: zlibChecksum,
}
const QUICK: OrchestrationLimits = {
  ...ORCHESTRATION_LIMITS,
  link_greeting_ms: 500,
  link_connect_ms: 500,
  link_keepalive_ms: 50,
  link_idle_ms: 1_000,
  link_retry_ms: 10,
  link_retry_ms_max: 50,
  stall_ms: 500,
}
const PATIENCE_MS = 5_000

type Peer = { readonly links: Links; readonly received: Message[]; readonly book: AddressBook }

const open: { close(): void }[] = []
const timers: NodeJS.Timeout[] = []

afterEach(() => {
  for (const timer of timers.splice(0)) {
    clearInterval(timer)
  }
  for (const each of open.splice(0)) {
    each.close()
  }
})

async function makePeer(slot: number): Promise<Peer> {
  const received: Message[] = []
  const book = new AddressBook(CLUSTER_LIMITS.slots_max)
  const links = new Links({
    slot,
    wire: WIRE,
    limits: QUICK,
    memory: new StaticMemory(),
    book,
    log: new LimitedLog(pino({ level: "silent" }), { repeatMs: 60_000, kindsMax: 100 }),
    random: systemRandom(),
    advertise: "127.0.0.1",
    epoch: () => 0,
    incarnation: () => 1,
    holdsState: () => true,
    onOtherLimits: () => undefined,
    onMessage: (message) => received.push(message),
    onRead: () => undefined,
  })
  expect((await links.listen({ host: "127.0.0.1", port: 0 })).ok).toBe(true)
  open.push(links)
  timers.push(setInterval(() => links.tick(monotonicMs()), 5))
  return { links, received, book }
}

type Scene = { readonly relay: Relay; readonly a: Peer; readonly b: Peer }

/** Only a knows the way to b; b learns the way back from a's hello. */
async function makeScene(): Promise<Scene> {
  const a = await makePeer(0)
  const b = await makePeer(1)
  const relay = new Relay({ slots: 2, seed: 7, portOf: (slot) => (slot === 0 ? a.links.port : b.links.port) })
  open.push(relay)
  await relay.listen()
  a.book.learn(1, { address: "127.0.0.1", port: relay.port({ dialler: 0, acceptor: 1 }) })
  await until(() => areOpen(a, b), "both links are open")
  return { relay, a, b }
}

/** Both ends of both links: an acceptor's is open before its answer has arrived, and a rule may swallow that. */
function areOpen(a: Peer, b: Peer): boolean {
  return a.links.isOpen(1) && b.links.isOpen(0) && a.links.holdsState(1) && b.links.holdsState(0)
}

async function until(condition: () => boolean, what: string): Promise<void> {
  const end = monotonicMs() + PATIENCE_MS
  while (!condition()) {
    expect(monotonicMs(), what).toBeLessThan(end)
    await sleep(5)
  }
}

function send(from: Peer, to: number, count: number): void {
  for (let round = 1; round <= count; round += 1) {
    from.links.send(to, { type: "commit", from: 1 - to, epoch: 0, cv: CV, view: 1, op: 2, commit: 2, round })
  }
  from.links.flush()
}

function rounds(peer: Peer): number[] {
  return peer.received.map((message) => (message.type === "commit" ? message.round : -1))
}

function refused(peer: Peer): number {
  return peer.links.counters.frames_refused
}

const FROM_A = { from: 0, to: 1 }
const FROM_B = { from: 1, to: 0 }
const EVERY = 1_000

describe("an open relay", () => {
  test("passes everything, and both ends know only its ports", async () => {
    const { relay, a, b } = await makeScene()
    expect(b.book.at(0)?.port).toBe(relay.port({ dialler: 1, acceptor: 0 }))
    expect(a.book.at(1)?.port).toBe(relay.port({ dialler: 0, acceptor: 1 }))
    send(a, 1, 100)
    send(b, 0, 100)
    await until(() => a.received.length === 100 && b.received.length === 100, "all arrived")
    expect(rounds(a)).toEqual(Array.from({ length: 100 }, (_, index) => index + 1))
    expect(relay.counters.frames_lost + relay.counters.frames_spoilt).toBe(0)
  })
})

describe("a rule for one direction", () => {
  test("loses whole frames and leaves the stream whole", async () => {
    const { relay, a, b } = await makeScene()
    relay.set(FROM_A, { lost_per_mille: 300 })
    send(a, 1, 500)
    send(b, 0, 500)
    await until(() => a.received.length === 500, "the other direction loses nothing")
    await until(() => b.received.length + relay.counters.frames_lost >= 500, "each arrived or was lost")
    expect(b.received.length).toBeGreaterThan(250)
    expect(b.received.length).toBeLessThan(450)
    expect(rounds(b)).toEqual([...rounds(b)].sort((x, y) => x - y))
    expect(refused(a) + refused(b)).toBe(0)
  })

  test("sends frames twice", async () => {
    const { relay, a, b } = await makeScene()
    relay.set(FROM_A, { repeated_per_mille: EVERY })
    send(a, 1, 3)
    await until(() => b.received.length === 6, "each came twice")
    expect(rounds(b)).toEqual([1, 1, 2, 2, 3, 3])
  })

  test("flips a bit: the reader counts it, closes and dials again", async () => {
    const { relay, a, b } = await makeScene()
    relay.set(FROM_A, { spoilt_per_mille: EVERY })
    send(a, 1, 1)
    await until(() => refused(b) > 0, "it was refused")
    await until(() => relay.counters.closed_when_spoilt > 0, "and the connection closed")
    expect(b.received).toEqual([])
    relay.heal()
    await until(() => {
      send(a, 1, 1)
      return b.received.length > 0
    }, "the link is back")
  })

  test("is slow: delay, and the speed of the line", async () => {
    const { relay, a, b } = await makeScene()
    relay.set(FROM_A, { delay_ms: 100, jitter_ms: 20 })
    const sentAt = monotonicMs()
    send(a, 1, 1)
    await until(() => b.received.length === 1, "it arrived")
    expect(monotonicMs() - sentAt).toBeGreaterThanOrEqual(100)
    relay.set(FROM_A, { bytes_per_second: 20_000 })
    const slowAt = monotonicMs()
    send(a, 1, 100)
    await until(() => b.received.length === 101, "all arrived")
    // 100 frames of some 84 bytes.
    expect(monotonicMs() - slowAt).toBeGreaterThan(300)
  })

  test("is held: nothing passes, nothing is lost, the connection stays", async () => {
    const { relay, a, b } = await makeScene()
    relay.set(FROM_A, { flow: "held" })
    send(a, 1, 3)
    send(b, 0, 3)
    await until(() => a.received.length === 3, "the other direction is open")
    await sleep(100)
    expect(b.received).toEqual([])
    relay.heal()
    await until(() => b.received.length === 3, "it arrives late")
    expect(b.links.counters.links_lost).toBe(0)
  })

  test("is discarded: what was sent is gone, what comes after the healing arrives", async () => {
    const { relay, a, b } = await makeScene()
    relay.set(FROM_A, { flow: "discarded" })
    send(a, 1, 3)
    await until(() => relay.counters.frames_discarded >= 3, "it was thrown away")
    relay.heal()
    send(a, 1, 1)
    await until(() => b.received.length === 1, "the next arrives")
    expect(rounds(b)).toEqual([1])
  })

  test("is reset: connections close and are refused, until it heals", async () => {
    const { relay, a, b } = await makeScene()
    relay.set(FROM_A, { flow: "reset" })
    await until(() => !a.links.isOpen(1) && !b.links.isOpen(0), "both connections closed")
    await until(() => relay.counters.connections_refused > 2, "dialling again is refused")
    relay.heal()
    await until(() => areOpen(a, b), "both are open again")
  })
})

test("what a process sent before it died arrives when its direction lets it", async () => {
  const { relay, a, b } = await makeScene()
  relay.set(FROM_A, { flow: "held" })
  send(a, 1, 2)
  await sleep(50)
  a.links.close()
  await sleep(50)
  expect(b.received).toEqual([])
  relay.set(FROM_B, {})
  relay.heal()
  await until(() => b.received.length === 2, "words of the dead")
})
