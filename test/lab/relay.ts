/**
 * A relay on loopback between replicas, since the kernel has no netem: one listener for each ordered pair (who dials,
 * who accepts), and a rule for each direction of messages. It knows frames, so that it can lose, repeat or spoil whole
 * ones as a network does with packets, and it knows the hello, in which it puts its own port for the dialler's: peers
 * learn only ways that lead through it. Plane: control.
 */
import { connect, createServer, type Server, type Socket } from "node:net"
import { ANSWER_BYTES, decodeHello, encodeHello, HELLO_BYTES } from "../../appliance/orchestration/hello.ts"
import { zlibChecksum } from "../../appliance/orchestration/system_ports.ts"
import { FrameSplitter, receiveBufferBytes } from "../../appliance/replication/wire.ts"
import { assert } from "../../appliance/types/assert.ts"
import { type ClusterLimits, CLUSTER_LIMITS } from "../../appliance/types/limits.ts"
import { PRNG } from "../../appliance/types/prng.ts"
import { RELAY_BYTES_PER_SECOND_MAX, RELAY_QUEUE_BYTES_MAX } from "./limits.ts"

const LOOPBACK = "127.0.0.1"
const PER_MILLE = 1_000
const MS_PER_SECOND = 1_000

/** What happens to the messages of one direction. */
export type LinkRule = {
  /**
   * open: they pass. held: they wait, the connection stays. discarded: they are gone, the connection stays. reset:
   * connections that carry them are closed, and new ones too.
   */
  readonly flow: "open" | "held" | "discarded" | "reset"
  readonly delay_ms: number
  /** Added to the delay, up to this much; what was sent first still arrives first. */
  readonly jitter_ms: number
  readonly bytes_per_second: number
  /** Of a thousand frames, so many are lost, sent twice, or arrive with one bit flipped. */
  readonly lost_per_mille: number
  readonly repeated_per_mille: number
  readonly spoilt_per_mille: number
}

const OPEN_RULE: LinkRule = {
  flow: "open",
  delay_ms: 0,
  jitter_ms: 0,
  bytes_per_second: RELAY_BYTES_PER_SECOND_MAX,
  lost_per_mille: 0,
  repeated_per_mille: 0,
  spoilt_per_mille: 0,
}

export type RelayCounters = {
  connections: number
  connections_refused: number
  frames: number
  frames_lost: number
  frames_repeated: number
  frames_spoilt: number
  frames_discarded: number
  /** Connections that their reader closed after a spoilt frame or greeting. */
  closed_when_spoilt: number
}

export type RelayOptions = {
  readonly slots: number
  readonly seed: number
  /** The port that the process of a slot listens on. */
  readonly portOf: (slot: number) => number
  readonly limits?: ClusterLimits
}

/** From whom to whom messages of a direction go. */
export type Direction = { readonly from: number; readonly to: number }

export class Relay {
  readonly counters: RelayCounters = {
    connections: 0,
    connections_refused: 0,
    frames: 0,
    frames_lost: 0,
    frames_repeated: 0,
    frames_spoilt: 0,
    frames_discarded: 0,
    closed_when_spoilt: 0,
  }
  readonly #slots: number
  readonly #portOf: (slot: number) => number
  readonly #random: PRNG
  readonly #rules: LinkRule[]
  readonly #links: Link[] = []

  constructor(options: RelayOptions) {
    this.#slots = options.slots
    this.#portOf = options.portOf
    this.#random = new PRNG(options.seed)
    this.#rules = new Array<LinkRule>(options.slots * options.slots).fill(OPEN_RULE)
    for (const { from, to } of this.directions()) {
      // Messages run from the acceptor to the dialler, who reads.
      this.#links.push(
        new Link({
          acceptor: from,
          dialler: to,
          limits: options.limits ?? CLUSTER_LIMITS,
          random: this.#random,
          counters: this.counters,
          rule: (direction) => this.#rule(direction),
          portOf: this.#portOf,
          relayPortOf: (pair) => this.port(pair),
        }),
      )
    }
  }

  async listen(): Promise<void> {
    for (const link of this.#links) {
      await link.listen()
    }
  }

  /** Where `dialler` finds `acceptor`. */
  port(pair: { readonly dialler: number; readonly acceptor: number }): number {
    const link = this.#links.find(({ dialler, acceptor }) => dialler === pair.dialler && acceptor === pair.acceptor)
    assert(link !== undefined, "relay: a pair is two slots of the cluster")
    return link.port
  }

  ports(): Set<number> {
    return new Set(this.#links.map((link) => link.port))
  }

  /** Every direction between two slots. */
  directions(): Direction[] {
    const slots = Array.from({ length: this.#slots }, (_, slot) => slot)
    return slots.flatMap((from) => slots.filter((to) => to !== from).map((to) => ({ from, to })))
  }

  set(direction: Direction, rule: Partial<LinkRule>): void {
    const { from, to } = direction
    assert(from !== to && from < this.#slots && to < this.#slots, "relay: a direction is between two slots")
    this.#rules[from * this.#slots + to] = { ...OPEN_RULE, ...rule }
    for (const link of this.#links) {
      link.onRule()
    }
  }

  /** Bytes that the sender never sent, between two of its frames; false while that direction has no connection. */
  inject(direction: Direction, bytes: Uint8Array): boolean {
    const link = this.#links.find(({ acceptor, dialler }) => acceptor === direction.from && dialler === direction.to)
    return link?.inject(Buffer.from(bytes)) === true
  }

  heal(): void {
    this.#rules.fill(OPEN_RULE)
    for (const link of this.#links) {
      link.onRule()
    }
  }

  close(): void {
    for (const link of this.#links) {
      link.close()
    }
  }

  #rule({ from, to }: Direction): LinkRule {
    const rule = this.#rules[from * this.#slots + to]
    assert(rule !== undefined, "relay: every direction has a rule")
    return rule
  }
}

type LinkOptions = {
  readonly dialler: number
  readonly acceptor: number
  readonly limits: ClusterLimits
  readonly random: PRNG
  readonly counters: RelayCounters
  readonly rule: (direction: Direction) => LinkRule
  readonly portOf: (slot: number) => number
  readonly relayPortOf: (pair: { readonly dialler: number; readonly acceptor: number }) => number
}

/** What one slot dials to reach another: the hello goes one way, the answer and then frames come back. */
class Link {
  readonly dialler: number
  readonly acceptor: number
  readonly #options: LinkOptions
  readonly #server: Server
  readonly #splitter: FrameSplitter
  port = 0
  #connection: Connection | undefined

  constructor(options: LinkOptions) {
    this.dialler = options.dialler
    this.acceptor = options.acceptor
    this.#options = options
    this.#splitter = new FrameSplitter(new Uint8Array(receiveBufferBytes(options.limits)), options.limits)
    this.#server = createServer({ noDelay: true }, (socket) => this.#onConnection(socket))
  }

  async listen(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject)
      this.#server.listen({ host: LOOPBACK, port: 0 }, () => resolve())
    })
    const address = this.#server.address()
    assert(address !== null && typeof address === "object", "relay: a TCP server has a port")
    this.port = address.port
  }

  close(): void {
    this.#server.close()
    this.#connection?.close()
  }

  inject(bytes: Buffer): boolean {
    return this.#connection?.inject(bytes) === true
  }

  onRule(): void {
    if (this.#isReset()) {
      this.#connection?.close()
    } else {
      this.#connection?.onRule()
    }
  }

  #isReset(): boolean {
    const { rule } = this.#options
    const [there, back] = this.#directions()
    return rule(there).flow === "reset" || rule(back).flow === "reset"
  }

  /** Of the hello, and of the frames. */
  #directions(): readonly [Direction, Direction] {
    const { dialler, acceptor } = this
    return [
      { from: dialler, to: acceptor },
      { from: acceptor, to: dialler },
    ]
  }

  #onConnection(socket: Socket): void {
    socket.on("error", () => undefined)
    const { counters, random, rule, portOf, relayPortOf } = this.#options
    if (this.#isReset()) {
      counters.connections_refused += 1
      socket.resetAndDestroy()
      return
    }
    counters.connections += 1
    // A dialler has one connection at a time: what it left behind is of no use to it.
    this.#connection?.close()
    const [there, back] = this.#directions()
    this.#connection = new Connection({
      reader: socket,
      writer: connect({ host: LOOPBACK, port: portOf(this.acceptor), noDelay: true }),
      splitter: this.#splitter,
      random,
      counters,
      helloRule: () => rule(there),
      frameRule: () => rule(back),
      rewritePort: (from) => relayPortOf({ dialler: this.acceptor, acceptor: from }),
    })
  }
}

type ConnectionOptions = {
  /** Who dialled, and reads frames. */
  readonly reader: Socket
  /** Who accepted, and writes them. */
  readonly writer: Socket
  readonly splitter: FrameSplitter
  readonly random: PRNG
  readonly counters: RelayCounters
  readonly helloRule: () => LinkRule
  readonly frameRule: () => LinkRule
  /** The port to put into the hello of the slot `from`. */
  readonly rewritePort: (from: number) => number
}

class Connection {
  readonly #options: ConnectionOptions
  readonly #hello = Buffer.alloc(HELLO_BYTES)
  #helloBytes = 0
  #isAnswered = false
  #isSpoilt = false
  #isClosed = false
  readonly #there: Passage
  readonly #back: Passage

  constructor(options: ConnectionOptions) {
    this.#options = options
    const { reader, writer, splitter, random } = options
    splitter.reset()
    this.#there = new Passage({ from: reader, to: writer, rule: options.helloRule, random })
    this.#back = new Passage({ from: writer, to: reader, rule: options.frameRule, random })
    reader.on("data", (chunk: Buffer) => this.#onHello(chunk))
    writer.on("data", (chunk: Buffer) => this.#onBytes(chunk))
    writer.on("error", () => undefined)
    reader.on("close", () => {
      options.counters.closed_when_spoilt += this.#isSpoilt ? 1 : 0
      this.close()
    })
    // What a process sent before it died arrives all the same, when its direction lets it.
    writer.on("close", () => this.#back.endWhenEmpty())
  }

  inject(bytes: Buffer): boolean {
    if (!this.#isAnswered || this.#isClosed) {
      return false
    }
    this.#back.push(bytes)
    return true
  }

  onRule(): void {
    this.#there.wake()
    this.#back.wake()
  }

  close(): void {
    this.#isClosed = true
    this.#isSpoilt = false
    this.#there.close()
    this.#back.close()
  }

  #onHello(chunk: Buffer): void {
    if (this.#isClosed) {
      return
    }
    if (this.#helloBytes + chunk.length > HELLO_BYTES) {
      // Not a replica: nothing of the protocol comes after a hello.
      this.close()
      return
    }
    chunk.copy(this.#hello, this.#helloBytes)
    this.#helloBytes += chunk.length
    if (this.#helloBytes < HELLO_BYTES) {
      return
    }
    const decoded = decodeHello(this.#hello, 0, zlibChecksum)
    const bytes = decoded.ok
      ? Buffer.from(
          encodeHello({ ...decoded.value, port: this.#options.rewritePort(decoded.value.from) }, zlibChecksum),
        )
      : this.#hello
    this.#passGreeting(this.#there, bytes, this.#options.helloRule())
  }

  #onBytes(chunk: Buffer): void {
    // The splitter may be the next connection's already.
    if (this.#isClosed) {
      return
    }
    const { splitter, reader } = this.#options
    reader.cork()
    for (let offset = 0; offset < chunk.length; ) {
      const room = splitter.writable()
      const bytes = Math.min(room.length, chunk.length - offset)
      room.set(chunk.subarray(offset, offset + bytes))
      splitter.advance(bytes)
      offset += bytes
      this.#takeFrames()
    }
    reader.uncork()
    assert(splitter.error === undefined, "relay: a replica writes frames")
  }

  #takeFrames(): void {
    const { splitter } = this.#options
    if (!this.#isAnswered) {
      const start = splitter.take(ANSWER_BYTES)
      if (start < 0) {
        return
      }
      this.#isAnswered = true
      const answer = Buffer.from(splitter.buffer.subarray(start, start + ANSWER_BYTES))
      this.#passGreeting(this.#back, answer, this.#options.frameRule())
    }
    while (splitter.next()) {
      this.#passFrame(Buffer.from(splitter.buffer.subarray(splitter.frameStart, splitter.frameEnd)))
    }
  }

  /** TCP itself repeats what is lost of a greeting, so it is only ever late, spoilt or swallowed. */
  #passGreeting(passage: Passage, bytes: Buffer, rule: LinkRule): void {
    if (rule.flow !== "discarded") {
      passage.push(this.#spoilSome(bytes, rule))
    }
  }

  #passFrame(bytes: Buffer): void {
    const { counters, random } = this.#options
    const rule = this.#options.frameRule()
    counters.frames += 1
    if (rule.flow === "discarded") {
      counters.frames_discarded += 1
      return
    }
    if (random.chance(rule.lost_per_mille, PER_MILLE)) {
      counters.frames_lost += 1
      return
    }
    if (random.chance(rule.repeated_per_mille, PER_MILLE)) {
      counters.frames_repeated += 1
      this.#back.push(bytes)
    }
    this.#back.push(this.#spoilSome(bytes, rule))
  }

  #spoilSome(bytes: Buffer, rule: LinkRule): Buffer {
    const { counters, random } = this.#options
    if (!random.chance(rule.spoilt_per_mille, PER_MILLE)) {
      return bytes
    }
    counters.frames_spoilt += 1
    this.#isSpoilt = true
    const spoilt = Buffer.from(bytes)
    const at = random.below(spoilt.length)
    spoilt[at] = (spoilt[at] ?? 0) ^ (1 << random.below(8))
    return spoilt
  }
}

type Waiting = { readonly bytes: Buffer; readonly dueAt: number }

/** One direction of a connection: bytes that wait for their time, first in, first out. */
class Passage {
  readonly #from: Socket
  readonly #to: Socket
  readonly #rule: () => LinkRule
  readonly #random: PRNG
  #queue: Waiting[] = []
  #queueBytes = 0
  /** When the last that was queued is due, and when the line is free again. */
  #lastDueAt = 0
  #lineFreeAt = 0
  #timer: NodeJS.Timeout | undefined
  #endsWhenEmpty = false

  constructor(options: {
    readonly from: Socket
    readonly to: Socket
    readonly rule: () => LinkRule
    readonly random: PRNG
  }) {
    this.#from = options.from
    this.#to = options.to
    this.#rule = options.rule
    this.#random = options.random
    this.#to.on("drain", () => this.#adjustFlow())
  }

  push(bytes: Buffer): void {
    const rule = this.#rule()
    const now = performance.now()
    this.#lineFreeAt = Math.max(now, this.#lineFreeAt) + (bytes.length / rule.bytes_per_second) * MS_PER_SECOND
    const jitter = rule.jitter_ms === 0 ? 0 : this.#random.below(rule.jitter_ms + 1)
    const isAtOnce = rule.delay_ms === 0 && jitter === 0 && rule.bytes_per_second === RELAY_BYTES_PER_SECOND_MAX
    this.#lastDueAt = Math.max(this.#lastDueAt, isAtOnce ? now : this.#lineFreeAt + rule.delay_ms + jitter)
    this.#queue.push({ bytes, dueAt: this.#lastDueAt })
    this.#queueBytes += bytes.length
    this.wake()
  }

  /** Lets go of what is due. */
  wake(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#rule().flow === "held") {
      this.#adjustFlow()
      return
    }
    const now = performance.now()
    const firstWaiting = this.#queue.findIndex(({ dueAt }) => dueAt > now)
    const due = firstWaiting < 0 ? this.#queue : this.#queue.slice(0, firstWaiting)
    this.#queue = firstWaiting < 0 ? [] : this.#queue.slice(firstWaiting)
    if (due.length > 0 && !this.#to.destroyed) {
      const bytes = due.length === 1 ? due[0]?.bytes : Buffer.concat(due.map((one) => one.bytes))
      this.#to.write(bytes ?? Buffer.alloc(0))
    }
    this.#queueBytes = this.#queue.reduce((sum, { bytes }) => sum + bytes.length, 0)
    const next = this.#queue[0]
    if (next !== undefined) {
      this.#timer = setTimeout(() => this.wake(), Math.max(1, next.dueAt - now))
    } else if (this.#endsWhenEmpty) {
      this.#to.end()
    }
    this.#adjustFlow()
  }

  /** Nothing more will come. */
  endWhenEmpty(): void {
    this.#endsWhenEmpty = true
    this.wake()
  }

  close(): void {
    clearTimeout(this.#timer)
    this.#queue = []
    this.#queueBytes = 0
    this.#from.destroy()
    this.#to.destroy()
  }

  /** A full queue leaves the rest in the kernel, where the sender feels it. */
  #adjustFlow(): void {
    const waiting = this.#queueBytes + this.#to.writableLength
    if (waiting > RELAY_QUEUE_BYTES_MAX) {
      this.#from.pause()
    } else if (this.#from.isPaused()) {
      this.#from.resume()
    }
  }
}
