/** Links over real loopback sockets: greeting, frames, loss of a peer, and whatever strangers try. Plane: control. */
import { connect, createServer, type Server, type Socket } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import { type Logger, pino } from "pino"
import { afterEach, describe, expect, test } from "vitest"
import { AddressBook } from "../../../appliance/orchestration/address_book.ts"
import { encodeAnswer, encodeHello, type Hello } from "../../../appliance/orchestration/hello.ts"
import { LimitedLog } from "../../../appliance/orchestration/limited_log.ts"
import { ORCHESTRATION_LIMITS, type OrchestrationLimits } from "../../../appliance/orchestration/limits.ts"
import { Links } from "../../../appliance/orchestration/links.ts"
import { monotonicMs, systemRandom, zlibChecksum } from "../../../appliance/orchestration/system_ports.ts"
import type { Message } from "../../../appliance/replication/message.ts"
import {
  encodeKeepalive,
  type FrameErrorKind,
  KEEPALIVE_BYTES,
  type WireOptions,
} from "../../../appliance/replication/wire.ts"
import { CLUSTER_LIMITS, limitsFingerprint } from "../../../appliance/types/limits.ts"
import { StaticMemory } from "../../../appliance/types/static_memory.ts"

const KIB = 1024
const CV = [0x1_0000_0001, 0x1_0000_0002, 0x1_0000_0003, ...new Array<number>(CLUSTER_LIMITS.slots_max - 3).fill(0)]
const WIRE: WireOptions = {
  identity: {
    cluster_id: new Uint8Array(16).fill(9),
    generation: 1,
    limits_fingerprint: limitsFingerprint(CLUSTER_LIMITS),
  },
  limits: CLUSTER_LIMITS,
  checksum: zlibChecksum,
}
/** Short enough that a test sees what happens when nobody speaks. */
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

type Peer = { readonly links: Links; readonly received: Message[]; readonly port: number; readonly book: AddressBook }

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

async function makePeer(slot: number, log: Logger = pino({ level: "silent" })): Promise<Peer> {
  const received: Message[] = []
  const book = new AddressBook(CLUSTER_LIMITS.slots_max)
  const links = new Links({
    slot,
    wire: WIRE,
    limits: QUICK,
    memory: new StaticMemory(),
    book,
    log: new LimitedLog(log, { repeatMs: 60_000, kindsMax: 100 }),
    random: systemRandom(),
    advertise: "127.0.0.1",
    epoch: () => 0,
    incarnation: () => 1,
    holdsState: () => slot === 0,
    onOtherLimits: () => undefined,
    onMessage: (message) => received.push(copied(message)),
    onRead: () => undefined,
  })
  const listening = await links.listen({ host: "127.0.0.1", port: 0 })
  expect(listening.ok).toBe(true)
  open.push(links)
  timers.push(setInterval(() => links.tick(monotonicMs()), 5))
  return { links, received, port: links.port, book }
}

function copied(message: Message): Message {
  return "body" in message ? { ...message, body: message.body.slice() } : message
}

async function until(condition: () => boolean, what: string): Promise<void> {
  const end = monotonicMs() + 5_000
  while (!condition()) {
    expect(monotonicMs(), what).toBeLessThan(end)
    await sleep(5)
  }
}

function send(from: Peer, to: number, message: Message): boolean {
  const isSent = from.links.send(to, message)
  from.links.flush()
  return isSent
}

function commit(from: number, round: number): Message {
  return { type: "commit", from, epoch: 0, cv: CV, view: 1, op: 2, commit: 2, round }
}

async function makePair(): Promise<[Peer, Peer]> {
  const a = await makePeer(0)
  const b = await makePeer(1)
  a.book.learn(1, { address: "127.0.0.1", port: b.port })
  b.book.learn(0, { address: "127.0.0.1", port: a.port })
  await until(() => a.links.isOpen(1) && b.links.isOpen(0), "both links are open")
  return [a, b]
}

function dial(port: number): Promise<Socket> {
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port }, () => resolve(socket))
    socket.on("error", () => undefined)
    open.push({ close: () => socket.destroy() })
  })
}

function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    socket.resume()
    socket.on("close", () => resolve())
  })
}

describe("a pair", () => {
  test("messages arrive whole and in order, both ways, with bodies of any size", async () => {
    const [a, b] = await makePair()
    const sizes = [0, 1, 1_000, 64 * KIB, CLUSTER_LIMITS.batch_bytes_max, 3]
    const bodies = sizes.map((size, index) => new Uint8Array(size).fill(index + 1))
    for (const [read, body] of bodies.entries()) {
      expect(send(a, 1, { type: "read", from: 0, epoch: 0, cv: CV, read, body })).toBe(true)
      expect(send(b, 0, commit(1, read))).toBe(true)
    }
    await until(() => b.received.length === bodies.length && a.received.length === bodies.length, "all arrived")
    expect(b.received).toEqual(bodies.map((body, read) => ({ type: "read", from: 0, epoch: 0, cv: CV, read, body })))
    expect(a.received).toEqual(bodies.map((_, round) => commit(1, round)))
  })

  test("keepalives keep a silent link open and say who holds the state", async () => {
    const [a, b] = await makePair()
    await until(() => b.links.holdsState(0), "the keepalive arrived")
    await sleep(2 * QUICK.link_idle_ms)
    expect(a.links.counters.links_lost + b.links.counters.links_lost).toBe(0)
    expect(a.links.holdsState(1)).toBe(false)
    expect(monotonicMs() - b.links.heardAt(0)).toBeLessThan(QUICK.link_idle_ms)
  })

  test("what finds no link or no room is dropped and counted; what was sent before still arrives", async () => {
    const [a, b] = await makePair()
    expect(send(a, 2, commit(0, 1))).toBe(false)
    expect(a.links.counters.dropped_no_link).toBe(1)
    const body = new Uint8Array(CLUSTER_LIMITS.batch_bytes_max)
    let sent = 0
    for (let read = 0; read < 32; read += 1) {
      sent += a.links.send(1, { type: "read", from: 0, epoch: 0, cv: CV, read, body }) ? 1 : 0
    }
    a.links.flush()
    expect(a.links.counters.dropped_full).toBe(32 - sent)
    expect(sent).toBeGreaterThanOrEqual(4)
    expect(sent).toBeLessThan(32)
    await until(() => b.received.length === sent, "what fitted arrived")
    expect(send(a, 1, commit(0, 5))).toBe(true)
    await until(() => b.received.length === sent + 1, "and the link goes on")
  })

  test("many small messages while the ring wraps many times", async () => {
    const [a, b] = await makePair()
    const body = new Uint8Array(50 * KIB).fill(3)
    let sent = 0
    const end = monotonicMs() + 5_000
    while (sent < 1_000 && monotonicMs() < end) {
      const isSent = send(a, 1, { type: "read", from: 0, epoch: 0, cv: CV, read: sent, body })
      sent += isSent ? 1 : 0
      if (!isSent) {
        await sleep(1)
      }
    }
    await until(() => b.received.length === sent, "all arrived")
    expect(b.received.every((message, index) => message.type === "read" && message.read === index)).toBe(true)
    expect(sent).toBe(1_000)
  })

  test("a peer that comes back on another port is found by its hello", async () => {
    const [a, b] = await makePair()
    b.links.close()
    await until(() => !a.links.isOpen(1), "the loss is noticed")
    // The new process knows where a is; a learns from its hello where it is now.
    const fresh = await makePeer(1)
    fresh.book.learn(0, { address: "127.0.0.1", port: a.port })
    await until(() => a.links.isOpen(1) && fresh.links.isOpen(0), "both links are open again")
    send(a, 1, commit(0, 1))
    send(fresh, 0, commit(1, 2))
    await until(() => fresh.received.length === 1 && a.received.length === 1, "both arrived")
    expect(a.book.at(1)?.port).toBe(fresh.port)
  })

  test("a second process of a slot takes the link over", async () => {
    const [a, b] = await makePair()
    const twin = await makePeer(1)
    twin.book.learn(0, { address: "127.0.0.1", port: a.port })
    await until(() => twin.links.isOpen(0), "the twin is dialled")
    send(a, 1, commit(0, 1))
    await until(() => twin.received.length + b.received.length > 0, "one of them got it")
  })
})

describe("strangers", () => {
  const hello = (change: Partial<Hello>): Uint8Array =>
    encodeHello(
      {
        from: 1,
        to: 0,
        epoch: 0,
        identity: WIRE.identity,
        incarnation: 0,
        nonce: 1,
        address: "127.0.0.1",
        port: 1,
        ...change,
      },
      zlibChecksum,
    )

  test("of another cluster, generation or limits are refused, each by name", async () => {
    const a = await makePeer(0)
    const identities = [
      { ...WIRE.identity, cluster_id: new Uint8Array(16) },
      { ...WIRE.identity, generation: 2 },
      { ...WIRE.identity, limits_fingerprint: 1 },
    ]
    for (const identity of identities) {
      const socket = await dial(a.port)
      socket.write(hello({ identity }))
      const answer = await new Promise<Buffer>((resolve) => socket.once("data", resolve))
      expect(answer.length).toBe(16)
      expect(answer[9]).toBeGreaterThan(1)
      if (identity.limits_fingerprint === 1) {
        // For a machine that grows: it learns what the others have grown to.
        expect(answer.readUInt32LE(12)).toBe(WIRE.identity.limits_fingerprint)
      }
      await closed(socket)
    }
    expect(a.links.counters.hellos_refused).toBe(3)
    expect(a.links.counters.hellos_refused_by).toMatchObject({ wrong_cluster: 1, wrong_generation: 1, wrong_limits: 1 })
    expect(a.links.isOpen(1)).toBe(false)
  })

  test("a hello that is none, of another version or for another slot is counted by its kind", async () => {
    const a = await makePeer(0)
    const version = hello({})
    version[8] = 9
    const spoilt = hello({})
    spoilt[30] = 1
    for (const bytes of [version, spoilt, hello({ to: 2 }), hello({ from: 0 }), new Uint8Array(100)]) {
      const socket = await dial(a.port)
      socket.write(bytes)
      await closed(socket)
    }
    expect(a.links.counters.hellos_refused_by).toMatchObject({ bad_version: 1, bad_hello: 2, wrong_slot: 2 })
    expect(a.links.counters.hellos_refused).toBe(5)
  })

  /** Where a frame's header has what the kind is about, and what is put there (wire.ts). */
  const Frames: readonly {
    readonly kind: FrameErrorKind
    readonly at: number
    readonly byte: number
    readonly isSigned: boolean
  }[] = [
    { kind: "bad_magic", at: 0, byte: 1, isSigned: true },
    { kind: "bad_version", at: 12, byte: 9, isSigned: true },
    { kind: "bad_checksum", at: 5, byte: 1, isSigned: false },
    { kind: "bad_length", at: 8, byte: 1, isSigned: true },
    { kind: "wrong_cluster", at: 16, byte: 1, isSigned: true },
    { kind: "wrong_generation", at: 32, byte: 7, isSigned: true },
    { kind: "wrong_limits", at: 40, byte: 0, isSigned: true },
    { kind: "unknown_type", at: 13, byte: 99, isSigned: true },
    { kind: "bad_field", at: 14, byte: 5, isSigned: true },
  ]

  test("a frame that is none of ours closes its link, is counted by its kind, and said once", async () => {
    const lines: string[] = []
    const log = pino({ base: null }, { write: (line: string) => void lines.push(line) })
    const a = await makePeer(0, log)
    let frame: Uint8Array = new Uint8Array(0)
    const acceptor = createServer((socket) => {
      socket.on("error", () => undefined)
      socket.once("data", () => {
        socket.write(encodeAnswer({ outcome: "accepted", from: 1, nonce: 1 }, zlibChecksum))
        socket.write(frame)
      })
    })
    await new Promise<void>((resolve) => acceptor.listen(0, "127.0.0.1", resolve))
    open.push(acceptor)
    const address = acceptor.address()
    expect(address).toBeTypeOf("object")
    for (const { kind, at, byte, isSigned } of Frames) {
      frame = new Uint8Array(KEEPALIVE_BYTES)
      encodeKeepalive({ type: "keepalive", from: 1, holds_state: true }, WIRE, frame, 0)
      frame[at] = byte
      if (isSigned) {
        new DataView(frame.buffer).setUint32(4, zlibChecksum(frame, 8, KEEPALIVE_BYTES), true)
      }
      const { frames_refused_by: counts } = a.links.counters
      const before = counts[kind]
      a.book.learn(1, { address: "127.0.0.1", port: typeof address === "object" ? (address?.port ?? 0) : 0 })
      // The link is dialled again after each: one kind comes more than once, and is logged once all the same.
      await until(() => counts[kind] > before, `${kind} is counted`)
    }
    expect(Object.keys(a.links.counters.frames_refused_by).sort()).toEqual(Frames.map(({ kind }) => kind).sort())
    for (const { kind } of Frames) {
      expect(lines.filter((line) => line.includes(`"msg":"frame_${kind}"`))).toHaveLength(1)
    }
  })

  test("who says nothing, too much, or something else is disconnected; members go on", async () => {
    const [a, b] = await makePair()
    const silent = await dial(a.port)
    const http = await dial(a.port)
    http.write("GET / HTTP/1.1\r\nhost: somewhere\r\nuser-agent: somebody\r\naccept: everything\r\n\r\n")
    const slow = await dial(a.port)
    slow.write(hello({}).subarray(0, 10))
    await Promise.all([closed(silent), closed(http), closed(slow)])
    send(a, 1, commit(0, 1))
    await until(() => b.received.length === 1, "members go on")
  })

  test("a flood of connections is bounded", async () => {
    const a = await makePeer(0)
    const sockets: Promise<Socket>[] = []
    for (let count = 0; count < 3 * QUICK.link_strangers_max; count += 1) {
      sockets.push(dial(a.port))
    }
    await Promise.all(sockets)
    await until(() => a.links.counters.strangers_refused > 0, "some were refused")
    const b = await makePeer(1)
    b.book.learn(0, { address: "127.0.0.1", port: a.port })
    await until(() => a.links.isOpen(1), "a member gets through when the strangers have timed out")
  })

  test("a peer that sends garbage after its answer is dropped and dialled again", async () => {
    const a = await makePeer(0)
    let dialled = 0
    const server: Server = createServer((socket) => {
      dialled += 1
      socket.on("error", () => undefined)
      socket.once("data", () => socket.write(Buffer.alloc(100_000, dialled)))
    })
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()))
    open.push(server)
    const address = server.address()
    const port = typeof address === "object" && address !== null ? address.port : 0
    a.book.learn(1, { address: "127.0.0.1", port })
    await until(() => dialled >= 4, "it is tried again")
    expect(a.received).toEqual([])
  })
})
