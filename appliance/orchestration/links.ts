/**
 * The links between replicas: two TCP connections a pair, and each replica dials the one that it reads, because only a
 * dialled socket can read into a static buffer (`onread`). The dialler says hello, the acceptor answers and then writes
 * frames. Nothing that a peer sends, or does not send, can stop the process or make it hold more than its buffers.
 *
 * A message that finds no link or no room is dropped and counted: the protocol repeats what matters. Plane: control.
 */
import { createServer, connect, type Server, type Socket } from "node:net"
import type { Message } from "../replication/message.ts"
import {
  decodeFrame,
  encodeKeepalive,
  encodeMessage,
  FrameSplitter,
  type FrameErrorKind,
  KEEPALIVE_BYTES,
  messageFrameBytes,
  receiveBufferBytes,
  type WireOptions,
} from "../replication/wire.ts"
import { assert } from "../types/assert.ts"
import type { RandomU32 } from "../types/contracts.ts"
import { err, ok, type Result } from "../types/result.ts"
import type { StaticMemory } from "../types/static_memory.ts"
import type { AddressBook } from "./address_book.ts"
import {
  type Answer,
  ANSWER_BYTES,
  decodeAnswer,
  decodeHello,
  encodeAnswer,
  encodeHello,
  type Hello,
  HELLO_BYTES,
  judgeHello,
  type Refusal,
} from "./hello.ts"
import type { LimitedLog } from "./limited_log.ts"
import type { OrchestrationLimits } from "./limits.ts"
import { SendRing } from "./send_ring.ts"

export type LinksOptions = {
  readonly slot: number
  readonly wire: WireOptions
  readonly limits: OrchestrationLimits
  readonly memory: StaticMemory
  readonly book: AddressBook
  readonly log: LimitedLog
  readonly random: RandomU32
  /** Where peers reach this replica: goes into every hello, with the port that it listens on. */
  readonly advertise: string
  /** This process's entry in the crash vector, for people who read logs. */
  readonly epoch: () => number
  readonly incarnation: () => number
  readonly holdsState: () => boolean
  /** A peer has other limits than this process, those with that fingerprint, and has turned it away. */
  readonly onOtherLimits: (fingerprint: number) => void
  /** One message of a peer. Bodies are views that end with the call. */
  readonly onMessage: (message: Message) => void
  /** Everything that one read brought has been given to `onMessage`. */
  readonly onRead: () => void
}

export type ListenError = {
  readonly kind: "port_in_use" | "listen_failed"
  readonly port: number
  readonly detail: string
}

export type LinkCounters = {
  sent: number
  received: number
  dropped_no_link: number
  dropped_full: number
  /** Frames that closed their link, and diallers that were turned away; each by kind below. */
  frames_refused: number
  hellos_refused: number
  /** Connections beyond link_strangers_max, and those that said no hello in time. */
  strangers_refused: number
  strangers_silent: number
  links_lost: number
  readonly frames_refused_by: Record<FrameErrorKind, number>
  readonly hellos_refused_by: Record<Refusal, number>
  /** Acceptors that turned this replica away, or answered with something else. */
  readonly hellos_declined_by: Record<Declined, number>
}

/** Why an answer to our hello opened no link. */
type Declined = Refusal | "bad_answer"

/** A counter for each kind: a kind that is forgotten here doesn't compile. */
export function noLinkCounters(): LinkCounters {
  const refusals: Record<Refusal, number> = {
    bad_hello: 0,
    bad_version: 0,
    wrong_cluster: 0,
    wrong_generation: 0,
    wrong_limits: 0,
    wrong_slot: 0,
    displaced: 0,
  }
  return {
    sent: 0,
    received: 0,
    dropped_no_link: 0,
    dropped_full: 0,
    frames_refused: 0,
    hellos_refused: 0,
    strangers_refused: 0,
    strangers_silent: 0,
    links_lost: 0,
    frames_refused_by: {
      bad_magic: 0,
      bad_version: 0,
      bad_checksum: 0,
      bad_length: 0,
      wrong_cluster: 0,
      wrong_generation: 0,
      wrong_limits: 0,
      unknown_type: 0,
      bad_field: 0,
    },
    hellos_refused_by: { ...refusals },
    hellos_declined_by: { ...refusals, bad_answer: 0 },
  }
}

/** What is written to one peer: its accepted connection and the ring of bytes on their way there. */
type Outbound = {
  readonly slot: number
  readonly ring: SendRing
  socket: Socket | undefined
  /** The next connection of this slot: it gets the ring when the old one has let go of it. */
  successor: Socket | undefined
  /** Nonce of the process at the other end, and of the one whose place it took. */
  nonce: number
  displacedNonce: number
  displacedUntil: number
  /** End of the bytes that the running write was given; -1 when none runs. */
  writingUntil: number
  writeStartedAt: number
  keepaliveAt: number
}

type InboundState = "idle" | "connecting" | "greeting" | "open"

/** What is read from one peer: the connection that this replica dialled. */
type Inbound = {
  readonly slot: number
  readonly splitter: FrameSplitter
  state: InboundState
  socket: Socket | undefined
  /** Nonce of the process at the other end; -1 before its answer. */
  peerNonce: number
  /** When the state began. */
  since: number
  heardAt: number
  retryAt: number
  retryMs: number
  holdsState: boolean
}

/** An accepted connection that has not said hello yet. */
type Stranger = { readonly socket: Socket; readonly hello: Uint8Array; bytes: number; since: number }

const U32 = 0x1_0000_0000

export class Links {
  readonly counters: LinkCounters = noLinkCounters()

  readonly #options: LinksOptions
  readonly #limits: OrchestrationLimits
  readonly #wire: WireOptions
  /** Tells this process from the one that had its slot before. */
  readonly #nonce: number
  readonly #outbound: (Outbound | undefined)[] = []
  readonly #inbound: (Inbound | undefined)[] = []
  readonly #strangers = new Set<Stranger>()
  readonly #server: Server
  #port = 0
  #now = 0
  #closed = false

  constructor(options: LinksOptions) {
    this.#options = options
    this.#limits = options.limits
    this.#wire = options.wire
    this.#nonce = options.random()
    for (let slot = 0; slot < options.wire.limits.slots_max; slot += 1) {
      if (slot === options.slot) {
        this.#outbound.push(undefined)
        this.#inbound.push(undefined)
        continue
      }
      const send = options.memory.allocate(`link to slot ${slot}`, options.limits.link_send_bytes)
      this.#outbound.push({
        slot,
        ring: new SendRing(send),
        socket: undefined,
        successor: undefined,
        nonce: -1,
        displacedNonce: -1,
        displacedUntil: 0,
        writingUntil: -1,
        writeStartedAt: 0,
        keepaliveAt: 0,
      })
      const receive = options.memory.allocate(`link from slot ${slot}`, receiveBufferBytes(options.wire.limits))
      this.#inbound.push({
        slot,
        splitter: new FrameSplitter(receive, options.wire.limits),
        state: "idle",
        socket: undefined,
        peerNonce: -1,
        since: 0,
        heardAt: Number.NEGATIVE_INFINITY,
        retryAt: 0,
        retryMs: options.limits.link_retry_ms,
        holdsState: false,
      })
    }
    this.#server = createServer({ noDelay: true }, (socket) => this.#onConnection(socket))
    this.#server.on("drop", () => {
      this.counters.strangers_refused += 1
    })
    this.#server.maxConnections = options.limits.link_strangers_max + 2 * options.wire.limits.slots_max
  }

  async listen(where: { readonly host: string; readonly port: number }): Promise<Result<void, ListenError>> {
    const { host, port } = where
    return await new Promise((resolve) => {
      this.#server.once("error", (error: NodeJS.ErrnoException) => {
        const kind = error.code === "EADDRINUSE" ? "port_in_use" : "listen_failed"
        resolve(err({ kind, port, detail: error.message }))
      })
      this.#server.listen({ host, port }, () => {
        this.#server.removeAllListeners("error")
        this.#server.on("error", (error) =>
          this.#options.log.warn("link_accept_failed", this.#now, { error: error.message }),
        )
        const bound = this.#server.address()
        this.#port = typeof bound === "object" && bound !== null ? bound.port : port
        resolve(ok(undefined))
      })
    })
  }

  /** The port that links are accepted on; 0 before `listen`. */
  get port(): number {
    return this.#port
  }

  /** When anything was last read from `slot`; -Infinity for never. */
  heardAt(slot: number): number {
    return this.#inbound[slot]?.heardAt ?? Number.NEGATIVE_INFINITY
  }

  /** Whether `slot` lately said that it holds the state. */
  holdsState(slot: number): boolean {
    const link = this.#inbound[slot]
    return link !== undefined && link.state === "open" && link.holdsState
  }

  /** Whether `slot` holds the state and was heard within `withinMs`. */
  isLive(slot: number, withinMs: number): boolean {
    return this.holdsState(slot) && this.#now - this.heardAt(slot) <= withinMs
  }

  isOpen(slot: number): boolean {
    return this.#outbound[slot]?.socket !== undefined
  }

  /** Under another identity from here on: every link ends, and is judged anew when it is greeted. */
  greetAnew(): void {
    for (const link of this.#inbound) {
      if (link !== undefined) {
        link.retryMs = this.#limits.link_retry_ms
        link.socket?.destroy()
      }
    }
    for (const link of this.#outbound) {
      link?.successor?.destroy()
      link?.socket?.destroy()
    }
  }

  close(): void {
    this.#closed = true
    this.#server.close()
    for (const stranger of this.#strangers) {
      stranger.socket.destroy()
    }
    for (const link of this.#inbound) {
      link?.socket?.destroy()
    }
    for (const link of this.#outbound) {
      link?.socket?.destroy()
      link?.successor?.destroy()
    }
  }

  // ---------------------------------------------------------------- sending

  /** Encodes the message into its peer's ring; false when it was dropped. `flush` puts it on the wire. */
  send(to: number, message: Message): boolean {
    const link = this.#outbound[to]
    assert(link !== undefined, "links: a message goes to a peer")
    if (link.socket === undefined) {
      this.counters.dropped_no_link += 1
      return false
    }
    const bytes = messageFrameBytes(message)
    const offset = link.ring.place(bytes)
    if (offset < 0) {
      this.counters.dropped_full += 1
      return false
    }
    const written = encodeMessage(message, this.#wire, link.ring.bytes, offset)
    assert(written === bytes, "links: a placed frame fits")
    link.ring.commit(offset, bytes)
    this.counters.sent += 1
    return true
  }

  /** One write a link for all that was sent since the last: fewer system calls than one a message. */
  flush(): void {
    for (const link of this.#outbound) {
      if (link?.socket !== undefined && link.writingUntil < 0 && !link.ring.isEmpty()) {
        this.#write(link, link.socket)
      }
    }
  }

  /** The bytes stay in the ring, untouched, until the callback says that they were taken. */
  #write(link: Outbound, socket: Socket): void {
    assert(link.writingUntil < 0, "links: one write at a time")
    const { start, end, bytes } = link.ring
    link.writingUntil = end
    link.writeStartedAt = this.#now
    socket.write(bytes.subarray(start, end), () => this.#onWritten(link, socket))
  }

  #onWritten(link: Outbound, socket: Socket): void {
    if (link.socket !== socket || socket.destroyed) {
      return
    }
    assert(link.writingUntil >= 0, "links: a write that ended had begun")
    link.ring.consume(link.writingUntil)
    link.writingUntil = -1
    if (!link.ring.isEmpty()) {
      this.#write(link, socket)
    }
  }

  /** What keepalives say has changed: peers hear it with the next tick. */
  announceState(): void {
    for (const link of this.#outbound) {
      if (link !== undefined) {
        link.keepaliveAt = Number.NEGATIVE_INFINITY
      }
    }
  }

  #sendKeepalive(link: Outbound): void {
    link.keepaliveAt = this.#now
    const offset = link.ring.place(KEEPALIVE_BYTES)
    if (offset < 0) {
      return
    }
    const keepalive = { type: "keepalive", from: this.#options.slot, holds_state: this.#options.holdsState() } as const
    const written = encodeKeepalive(keepalive, this.#wire, link.ring.bytes, offset)
    assert(written === KEEPALIVE_BYTES, "links: a placed frame fits")
    link.ring.commit(offset, written)
  }

  // ---------------------------------------------------------------- accepting: the links that this replica writes

  #onConnection(socket: Socket): void {
    // An error is always followed by "close", where everything is put in order.
    socket.on("error", () => undefined)
    if (this.#closed || this.#strangers.size >= this.#limits.link_strangers_max) {
      this.counters.strangers_refused += 1
      socket.destroy()
      return
    }
    const stranger: Stranger = { socket, hello: new Uint8Array(HELLO_BYTES), bytes: 0, since: this.#now }
    this.#strangers.add(stranger)
    socket.on("close", () => this.#strangers.delete(stranger))
    socket.on("data", (chunk) => this.#onStrangerData(stranger, chunk))
  }

  #onStrangerData(stranger: Stranger, chunk: Buffer): void {
    if (stranger.bytes + chunk.length > HELLO_BYTES || !this.#strangers.has(stranger)) {
      // A dialler says one hello and nothing more.
      this.#refuseHello("bad_hello", stranger.socket)
      stranger.socket.destroy()
      return
    }
    stranger.hello.set(chunk, stranger.bytes)
    stranger.bytes += chunk.length
    if (stranger.bytes === HELLO_BYTES) {
      this.#onHello(stranger)
    }
  }

  #onHello(stranger: Stranger): void {
    const { socket } = stranger
    const { slot, wire, book } = this.#options
    const decoded = decodeHello(stranger.hello, 0, wire.checksum)
    const outcome = decoded.ok ? this.#judge(decoded.value) : decoded.error
    const nonce = outcome === "wrong_limits" ? wire.identity.limits_fingerprint : this.#nonce
    const answer = encodeAnswer({ outcome, from: slot, nonce }, wire.checksum)
    if (!decoded.ok || outcome !== "accepted") {
      assert(outcome !== "accepted", "links: what is refused was not accepted")
      this.#refuseHello(outcome, socket)
      socket.end(answer)
      return
    }
    const hello = decoded.value
    const link = this.#outbound[hello.from]
    assert(link !== undefined, "links: an accepted slot is a peer's")
    this.#displace(link, hello.nonce)
    this.#strangers.delete(stranger)
    socket.removeAllListeners("close")
    socket.on("close", () => this.#onOutboundClosed(link, socket))
    socket.write(answer)
    book.learn(hello.from, { address: hello.address, port: hello.port })
    this.#adopt(link, socket)
    this.#redial(hello.from, hello.nonce)
  }

  #refuseHello(kind: Refusal, socket: Socket): void {
    this.counters.hellos_refused += 1
    this.counters.hellos_refused_by[kind] += 1
    this.#options.log.warn(`link_refused_${kind}`, this.#now, { peer: socket.remoteAddress ?? "" })
  }

  #judge(hello: Hello): Answer["outcome"] {
    const { slot, wire } = this.#options
    const outcome = judgeHello(hello, { slot, slotsMax: wire.limits.slots_max, identity: wire.identity })
    if (outcome !== "accepted") {
      return outcome
    }
    const link = this.#outbound[hello.from]
    assert(link !== undefined, "links: an accepted slot is a peer's")
    return link.displacedNonce === hello.nonce && this.#now < link.displacedUntil ? "displaced" : "accepted"
  }

  /**
   * Two processes that claim one slot must not take the link from each other in turn, or neither would ever be heard:
   * the newcomer, most likely the machine that came back, keeps it for a while. In that time it gets its incarnation,
   * and the other is fenced when it is let in again.
   */
  #displace(link: Outbound, nonce: number): void {
    if (link.socket !== undefined && link.nonce !== nonce) {
      link.displacedNonce = link.nonce
      link.displacedUntil = this.#now + this.#limits.link_displaced_ms
    }
    link.nonce = nonce
  }

  /** The newest connection of a slot is its only one; it waits until the one before has let go of the ring. */
  #adopt(link: Outbound, socket: Socket): void {
    link.successor?.destroy()
    if (link.socket === undefined) {
      this.#attach(link, socket)
    } else {
      link.successor = socket
      link.socket.destroy()
    }
  }

  #attach(link: Outbound, socket: Socket): void {
    assert(link.socket === undefined, "links: a ring has one connection at a time")
    link.ring.clear()
    link.writingUntil = -1
    link.socket = socket
    link.successor = undefined
    this.#sendKeepalive(link)
    this.#write(link, socket)
  }

  /** The kernel has let go of the ring's bytes: the next connection may have them. */
  #onOutboundClosed(link: Outbound, socket: Socket): void {
    if (link.successor === socket) {
      link.successor = undefined
    }
    if (link.socket !== socket) {
      return
    }
    this.counters.links_lost += 1
    link.socket = undefined
    link.writingUntil = -1
    link.ring.clear()
    if (link.successor !== undefined && !this.#closed) {
      this.#attach(link, link.successor)
    }
  }

  // ---------------------------------------------------------------- dialling: the links that this replica reads

  /**
   * A peer said hello, so it lives: dial it without waiting, and again when it is another process than we read from.
   */
  #redial(slot: number, nonce: number): void {
    const link = this.#inbound[slot]
    assert(link !== undefined, "links: an accepted slot is a peer's")
    if (link.state === "open" && link.peerNonce !== nonce) {
      link.socket?.destroy()
    }
    if (link.state === "idle" || link.state === "open") {
      link.retryMs = this.#limits.link_retry_ms
      link.retryAt = this.#now
    }
  }

  #dial(link: Inbound): void {
    const place = this.#options.book.at(link.slot)
    if (place === undefined) {
      return
    }
    link.splitter.reset()
    link.state = "connecting"
    link.since = this.#now
    link.peerNonce = -1
    const socket: Socket = connect({
      host: place.address,
      port: place.port,
      noDelay: true,
      onread: {
        // A read goes straight behind what is left of the last: never an empty view, which Node answers with ENOBUFS.
        buffer: () => link.splitter.writable(),
        callback: (bytes) => this.#onBytes(link, socket, bytes),
      },
    })
    link.socket = socket
    socket.on("connect", () => this.#onConnected(link, socket))
    socket.on("error", () => undefined)
    socket.on("close", () => this.#onInboundClosed(link, socket))
  }

  #onConnected(link: Inbound, socket: Socket): void {
    if (link.socket !== socket) {
      return
    }
    link.state = "greeting"
    link.since = this.#now
    const { slot, wire, advertise: address } = this.#options
    const { identity } = wire
    const epoch = this.#options.epoch()
    const incarnation = this.#options.incarnation()
    const port = this.#port
    const hello = { from: slot, to: link.slot, epoch, identity, incarnation, nonce: this.#nonce, address, port }
    socket.write(encodeHello(hello, wire.checksum))
  }

  /** Always true: reading goes on until the socket is destroyed. */
  #onBytes(link: Inbound, socket: Socket, bytes: number): boolean {
    if (link.socket !== socket || socket.destroyed) {
      return true
    }
    link.splitter.advance(bytes)
    link.heardAt = this.#now
    if (link.state === "greeting" && !this.#takeAnswer(link, socket)) {
      return true
    }
    while (link.splitter.next()) {
      if (!this.#takeFrame(link)) {
        socket.destroy()
        return true
      }
    }
    if (link.splitter.error !== undefined) {
      this.#refuseFrame(link, link.splitter.error)
      socket.destroy()
      return true
    }
    this.#options.onRead()
    return true
  }

  /** True when the acceptor's answer is here and accepts. */
  #takeAnswer(link: Inbound, socket: Socket): boolean {
    const offset = link.splitter.take(ANSWER_BYTES)
    if (offset < 0) {
      return false
    }
    const decoded = decodeAnswer(link.splitter.buffer, offset, this.#wire.checksum)
    const outcome = decoded.ok ? decoded.value.outcome : decoded.error
    if (!decoded.ok || outcome !== "accepted" || decoded.value.from !== link.slot) {
      const kind = outcome === "accepted" ? "wrong_slot" : outcome
      this.counters.hellos_declined_by[kind] += 1
      this.#options.log.warn(`link_declined_${kind}`, this.#now, { slot: link.slot })
      if (decoded.ok && decoded.value.outcome === "wrong_limits" && decoded.value.from === link.slot) {
        this.#options.onOtherLimits(decoded.value.nonce)
      }
      socket.destroy()
      return false
    }
    this.#onAccepted(link, decoded.value)
    return true
  }

  #onAccepted(link: Inbound, answer: Answer): void {
    link.state = "open"
    link.since = this.#now
    link.peerNonce = answer.nonce
    link.retryMs = this.#limits.link_retry_ms
  }

  /**
   * False when the link must be closed: whoever sends one frame that is none of ours will not do better with the next.
   */
  #takeFrame(link: Inbound): boolean {
    const { splitter } = link
    const decoded = decodeFrame(splitter.buffer, splitter.frameStart, splitter.frameEnd, this.#wire)
    if (!decoded.ok) {
      this.#refuseFrame(link, decoded.error.kind)
      return false
    }
    const message = decoded.value
    if (message.from !== link.slot) {
      this.#refuseFrame(link, "bad_field")
      return false
    }
    if (message.type === "keepalive") {
      link.holdsState = message.holds_state
      return true
    }
    this.counters.received += 1
    this.#options.onMessage(message)
    return true
  }

  #refuseFrame(link: Inbound, kind: FrameErrorKind): void {
    this.counters.frames_refused += 1
    this.counters.frames_refused_by[kind] += 1
    this.#options.log.warn(`frame_${kind}`, this.#now, { slot: link.slot })
  }

  #onInboundClosed(link: Inbound, socket: Socket): void {
    if (link.socket !== socket) {
      return
    }
    if (link.state === "open") {
      this.counters.links_lost += 1
      // It was well a moment ago: try at once, then ever more slowly.
      link.retryMs = this.#limits.link_retry_ms
    }
    link.socket = undefined
    link.state = "idle"
    link.holdsState = false
    const jitter = 0.5 + this.#options.random() / U32
    link.retryAt = this.#now + Math.ceil(link.retryMs * jitter)
    link.retryMs = Math.min(link.retryMs * 2, this.#limits.link_retry_ms_max)
  }

  // ---------------------------------------------------------------- time

  tick(nowMs: number): void {
    assert(nowMs >= this.#now, "links: time only rises")
    const gap = nowMs - this.#now
    this.#now = nowMs
    if (gap >= this.#limits.stall_ms) {
      this.#forgiveStall(gap)
    }
    for (const stranger of this.#strangers) {
      if (nowMs - stranger.since >= this.#limits.link_greeting_ms) {
        this.counters.strangers_silent += 1
        this.#strangers.delete(stranger)
        stranger.socket.destroy()
      }
    }
    for (const link of this.#inbound) {
      if (link !== undefined) {
        this.#tickInbound(link)
      }
    }
    for (const link of this.#outbound) {
      if (link?.socket !== undefined) {
        this.#tickOutbound(link, link.socket)
      }
    }
    this.flush()
  }

  /** This process stood still, and what peers said in the meantime lies unread: their silence is ours. */
  #forgiveStall(gap: number): void {
    for (const stranger of this.#strangers) {
      stranger.since += gap
    }
    for (const link of this.#inbound) {
      if (link !== undefined) {
        link.heardAt += gap
        link.since += gap
      }
    }
    for (const link of this.#outbound) {
      if (link !== undefined) {
        link.writeStartedAt += gap
      }
    }
  }

  #tickInbound(link: Inbound): void {
    const age = this.#now - link.since
    switch (link.state) {
      case "idle":
        if (this.#now >= link.retryAt && !this.#closed) {
          this.#dial(link)
        }
        return
      case "connecting":
        if (age >= this.#limits.link_connect_ms) {
          link.socket?.destroy()
        }
        return
      case "greeting":
        if (age >= this.#limits.link_greeting_ms) {
          link.socket?.destroy()
        }
        return
      case "open":
        if (this.#now - link.heardAt >= this.#limits.link_idle_ms) {
          link.socket?.destroy()
        }
    }
  }

  #tickOutbound(link: Outbound, socket: Socket): void {
    if (link.writingUntil >= 0 && this.#now - link.writeStartedAt >= this.#limits.link_stalled_ms) {
      socket.destroy()
      return
    }
    if (this.#now - link.keepaliveAt >= this.#limits.link_keepalive_ms) {
      this.#sendKeepalive(link)
    }
  }
}
