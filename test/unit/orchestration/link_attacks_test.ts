/**
 * What somebody on the network may try on encrypted links: each is refused under its name, and nothing grows.
 * Plane: control.
 */
import { connect, createServer as createPlainServer, type Socket } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import { connect as connectTLS, type ConnectionOptions, type TLSSocket } from "node:tls"
import { pino } from "pino"
import { afterEach, describe, expect, test } from "vitest"
import { AddressBook } from "../../../appliance/orchestration/address_book.ts"
import { decodeAnswer, encodeHello, type Hello } from "../../../appliance/orchestration/hello.ts"
import { LimitedLog } from "../../../appliance/orchestration/limited_log.ts"
import { ORCHESTRATION_LIMITS, type OrchestrationLimits } from "../../../appliance/orchestration/limits.ts"
import type { LinkSecurity, MachineKeys } from "../../../appliance/orchestration/link_security.ts"
import { Links } from "../../../appliance/orchestration/links.ts"
import { monotonicMs, systemRandom, zlibChecksum } from "../../../appliance/orchestration/system_ports.ts"
import type { WireOptions } from "../../../appliance/replication/wire.ts"
import { CLUSTER_LIMITS, limitsFingerprint } from "../../../appliance/types/limits.ts"
import { StaticMemory } from "../../../appliance/types/static_memory.ts"
import { Site } from "../../system/site.ts"

const CLUSTER = "09".repeat(16)
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
  link_idle_ms: 500,
  link_stalled_ms: 1_000,
  link_retry_ms: 10,
  link_retry_ms_max: 50,
  stall_ms: 100,
}
const FLOOD = 10_000

type Peer = { readonly links: Links; readonly book: AddressBook; readonly security: LinkSecurity | undefined }

const site = await Site.create(CLUSTER)
const otherSite = await Site.create(CLUSTER)
const open: { close(): unknown }[] = []
const timers: NodeJS.Timeout[] = []

afterEach(() => {
  for (const timer of timers.splice(0)) {
    clearInterval(timer)
  }
  for (const each of open.splice(0)) {
    each.close()
  }
})

async function makePeer(
  slot: number,
  security: LinkSecurity | undefined,
  change: Partial<OrchestrationLimits> = {},
): Promise<Peer> {
  const book = new AddressBook(CLUSTER_LIMITS.slots_max)
  const links = new Links({
    slot,
    wire: WIRE,
    security,
    limits: { ...QUICK, ...change },
    memory: new StaticMemory(),
    book,
    log: new LimitedLog(pino({ level: "silent" }), { repeatMs: 60_000, kindsMax: 100 }),
    random: systemRandom(),
    advertise: "127.0.0.1",
    epoch: () => 0,
    incarnation: () => 1,
    holdsState: () => slot === 0,
    onMessage: () => undefined,
    onRead: () => undefined,
    onOtherLimits: () => undefined,
  })
  expect((await links.listen({ host: "127.0.0.1", port: 0 })).ok).toBe(true)
  open.push(links)
  timers.push(setInterval(() => links.tick(monotonicMs()), 5))
  return { links, book, security }
}

function introduce(a: Peer, slotOfA: number, b: Peer, slotOfB: number): void {
  a.book.learn(slotOfB, { address: "127.0.0.1", port: b.links.port })
  b.book.learn(slotOfA, { address: "127.0.0.1", port: a.links.port })
}

async function makePair(change: Partial<OrchestrationLimits> = {}): Promise<[Peer, Peer]> {
  const a = await makePeer(0, await site.secure(0), change)
  const b = await makePeer(1, await site.secure(1), change)
  introduce(a, 0, b, 1)
  await until(() => a.links.isOpen(1) && b.links.isOpen(0), "both links are open")
  return [a, b]
}

async function until(condition: () => boolean, what: string): Promise<void> {
  const end = monotonicMs() + 30_000
  while (!condition()) {
    expect(monotonicMs(), what).toBeLessThan(end)
    await sleep(5)
  }
}

function plainSocket(port: number): Socket {
  const socket = connect({ host: "127.0.0.1", port })
  socket.on("error", () => undefined)
  open.push({ close: () => socket.destroy() })
  return socket
}

function tlsSocket(port: number, keys: Partial<MachineKeys>, more: ConnectionOptions = {}): TLSSocket {
  const socket = connectTLS({
    host: "127.0.0.1",
    port,
    ca: keys.authority ?? "",
    ...(keys.certificate === undefined ? {} : { cert: keys.certificate, key: keys.key ?? "" }),
    rejectUnauthorized: false,
    ...more,
  })
  socket.on("error", () => undefined)
  open.push({ close: () => socket.destroy() })
  return socket
}

function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    socket.resume()
    socket.on("close", () => resolve())
  })
}

function hello(change: Partial<Hello> = {}): Uint8Array {
  const { identity } = WIRE
  const said = { from: 1, to: 0, epoch: 0, identity, incarnation: 0, nonce: 1, address: "127.0.0.1", port: 1 }
  return encodeHello({ ...said, ...change }, zlibChecksum)
}

/** What `port` answers to a hello over TLS with these keys; undefined when it closed without a word. */
async function answerTo(port: number, keys: Partial<MachineKeys>, said = hello()): Promise<string | undefined> {
  const socket = tlsSocket(port, keys)
  socket.on("secureConnect", () => socket.write(said))
  const bytes = await new Promise<Buffer | undefined>((resolve) => {
    socket.once("data", resolve)
    socket.once("close", () => resolve(undefined))
  })
  const answer = bytes === undefined ? undefined : decodeAnswer(bytes, 0, zlibChecksum)
  return answer?.ok === true ? answer.value.outcome : undefined
}

describe("who dials", () => {
  test("without a certificate, with one of another authority: refused in the handshake", async () => {
    const a = await makePeer(0, await site.secure(0))
    expect(await answerTo(a.links.port, { authority: site.authority.certificate })).toBeUndefined()
    expect(await answerTo(a.links.port, await otherSite.keys(1))).toBeUndefined()
    expect(a.links.counters.handshakes_refused_by).toMatchObject({ no_certificate: 1, wrong_authority: 1 })
    expect(a.links.isOpen(1)).toBe(false)
  })

  test("with a certificate of another slot, another cluster, or of an operator: refused by name", async () => {
    const a = await makePeer(0, await site.secure(0))
    expect(await answerTo(a.links.port, await site.keys(2))).toBe("wrong_identity")
    expect(await answerTo(a.links.port, await site.keys(1, { cluster_id: "f".repeat(32) }))).toBe("wrong_identity")
    const operator = await site.authority.mintPair({ kind: "operator", name: "ann", role: "admin" })
    expect(operator.ok).toBe(true)
    if (operator.ok) {
      const keys = { authority: site.authority.certificate, ...operator.value }
      expect(await answerTo(a.links.port, keys)).toBe("wrong_identity")
    }
    expect(a.links.counters.hellos_refused_by.wrong_identity).toBe(3)
    expect(await answerTo(a.links.port, await site.keys(1))).toBe("accepted")
  })

  test("with a certificate of an earlier boot, or of a machine that was expelled: refused by name", async () => {
    const a = await makePeer(0, await site.secure(0))
    const entry = { machine: "machine-1", decision: "accepted", slot: 1, issue: 2 } as const
    expect(a.security?.trust.learn(site.roster(1, [entry]))).toBe("newer")
    expect(await answerTo(a.links.port, await site.keys(1))).toBe("superseded")
    expect(await answerTo(a.links.port, await site.keys(1, { issue: 2 }))).toBe("accepted")
    expect(a.security?.trust.learn(site.roster(2, [{ ...entry, decision: "expelled" }]))).toBe("newer")
    expect(await answerTo(a.links.port, await site.keys(1, { issue: 2 }))).toBe("expelled")
  })

  test("in plain, with an older TLS, or over HTTP: refused, never answered", async () => {
    const a = await makePeer(0, await site.secure(0))
    for (const bytes of [hello(), Buffer.from("GET / HTTP/1.1\r\nhost: a\r\n\r\n"), Buffer.alloc(100_000, 0x16)]) {
      const socket = plainSocket(a.links.port)
      let answered = 0
      socket.on("data", (chunk) => {
        // A TLS alert is no answer to what was said.
        answered += chunk[0] === 0x15 ? 0 : chunk.length
      })
      socket.write(bytes)
      await closed(socket)
      expect(answered).toBe(0)
    }
    const keys = await site.keys(1)
    await closed(tlsSocket(a.links.port, keys, { minVersion: "TLSv1.2", maxVersion: "TLSv1.2" }))
    const { not_tls, old_tls, handshake_failed } = a.links.counters.handshakes_refused_by
    expect(old_tls).toBe(1)
    expect(not_tls).toBeGreaterThanOrEqual(2)
    expect(not_tls + handshake_failed).toBe(3)
    expect(a.links.isOpen(1)).toBe(false)
  })

  test("slowly, or not at all: closed in time, members go on", async () => {
    const [a, b] = await makePair()
    const silent = plainSocket(a.links.port)
    const keys = await site.keys(2)
    const mute = tlsSocket(a.links.port, keys)
    const dripping = plainSocket(a.links.port)
    dripping.on("connect", () => dripping.write(Buffer.from([0x16, 0x03, 0x01])))
    await Promise.all([closed(silent), closed(mute), closed(dripping)])
    expect(a.links.counters.handshakes_refused_by.handshake_slow).toBe(2)
    expect(a.links.counters.strangers_silent).toBe(1)
    expect(a.links.isOpen(1) && b.links.isOpen(0)).toBe(true)
  })

  test("more than a hello: closed before it is kept", async () => {
    const a = await makePeer(0, await site.secure(0))
    const socket = tlsSocket(a.links.port, await site.keys(1))
    socket.on("secureConnect", () => socket.write(Buffer.alloc(8_000_000)))
    await closed(socket)
    expect(a.links.counters.hellos_refused_by.bad_hello).toBe(1)
  })

  test("the bytes of a link that was recorded, once more: no handshake", async () => {
    const [a, b] = await makePair()
    // Between b, the dialler, and a: everything that b sends is kept.
    const recorded: Buffer[] = []
    const tap = createPlainServer((inner) => {
      const outer = plainSocket(a.links.port)
      inner.on("error", () => undefined)
      inner.on("data", (chunk) => {
        recorded.push(chunk)
        outer.write(chunk)
      })
      outer.on("data", (chunk) => inner.write(chunk))
      outer.on("close", () => inner.destroy())
      inner.on("close", () => outer.destroy())
    })
    await new Promise<void>((resolve) => tap.listen(0, "127.0.0.1", resolve))
    open.push(tap)
    const place = tap.address()
    const c = await makePeer(2, await site.secure(2))
    c.book.learn(0, { address: "127.0.0.1", port: typeof place === "object" ? (place?.port ?? 0) : 0 })
    await until(() => a.links.isOpen(2), "the tapped link is open")
    const bytes = Buffer.concat(recorded)
    c.links.close()
    await until(() => !a.links.isOpen(2), "it is gone")
    const again = plainSocket(a.links.port)
    again.write(bytes)
    await closed(again)
    expect(a.links.isOpen(2)).toBe(false)
    const { handshake_failed, not_tls } = a.links.counters.handshakes_refused_by
    expect(handshake_failed + not_tls).toBe(1)
    expect(a.links.isOpen(1) && b.links.isOpen(0)).toBe(true)
  })

  test(`${FLOOD} connections at once: bounded, and a member gets through afterwards`, async () => {
    const a = await makePeer(0, await site.secure(0))
    const before = process.memoryUsage().rss
    const sockets = Array.from({ length: FLOOD }, () => plainSocket(a.links.port))
    // Some are dropped by the kernel before anybody hears of them.
    await until(() => a.links.counters.strangers_refused > FLOOD / 20, "who was heard of is turned away")
    for (const socket of sockets) {
      socket.destroy()
    }
    const b = await makePeer(1, await site.secure(1))
    introduce(a, 0, b, 1)
    await until(() => a.links.isOpen(1) && b.links.isOpen(0), "a member gets through")
    // Both ends of the flood are in this process: what is left of it is garbage, not connections.
    expect(process.memoryUsage().rss - before).toBeLessThan(400_000_000)
  })
})

describe("who is dialled", () => {
  test("a machine of another authority, another slot, or without TLS is not spoken to", async () => {
    const a = await makePeer(0, await site.secure(0))
    const stranger = await makePeer(1, await otherSite.secure(1))
    a.book.learn(1, { address: "127.0.0.1", port: stranger.links.port })
    await until(() => a.links.counters.handshakes_refused_by.wrong_authority > 0, "another authority's is refused")
    const twin = await makePeer(2, await site.secure(2))
    a.book.learn(1, { address: "127.0.0.1", port: twin.links.port })
    await until(() => a.links.counters.handshakes_refused_by.wrong_identity > 0, "another slot's is refused")
    const plain = await makePeer(1, undefined)
    a.book.learn(1, { address: "127.0.0.1", port: plain.links.port })
    await until(() => plain.links.counters.hellos_refused_by.bad_hello > 0, "a plain machine hears no hello")
    expect(a.links.counters.received).toBe(0)
    expect(a.links.isOpen(1)).toBe(false)
  })
})

describe("an open link", () => {
  test("is cut at once, both ways, when its machine is expelled; the others' stay", async () => {
    const [a, b] = await makePair()
    const c = await makePeer(2, await site.secure(2))
    introduce(a, 0, c, 2)
    await until(() => a.links.isOpen(2) && c.links.isOpen(0), "a third is linked")
    const roster = site.roster(1, [{ machine: "machine-1", decision: "expelled", slot: null, issue: 0 }])
    expect(a.security?.trust.learn(roster)).toBe("newer")
    a.links.judgeAgain()
    expect(a.links.counters.links_cut).toBe(2)
    await until(() => b.links.counters.hellos_declined_by.expelled > 0, "it hears why when it dials again")
    // a dials it no more successfully than it lets it in.
    await until(() => a.links.counters.handshakes_refused_by.expelled > 0, "it is not dialled either")
    expect(a.links.isOpen(1)).toBe(false)
    expect(a.links.isOpen(2) && c.links.isOpen(0)).toBe(true)
  })

  test("changes its keys in time, and goes on", async () => {
    const [a, b] = await makePair({ link_rekey_ms: 200 })
    await until(() => a.links.counters.links_rekeyed >= 3 && b.links.counters.links_rekeyed >= 3, "both redialled")
    await until(() => a.links.isOpen(1) && b.links.isOpen(0), "both links are open")
  })
})
