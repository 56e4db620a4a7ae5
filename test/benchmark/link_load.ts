/**
 * Sessions that speak to the primary as another machine's gateway does, over the production links: one request of so
 * many commands in flight each. What the cluster costs without Redis's protocol. Plane: control.
 */
import { randomFillSync } from "node:crypto"
import { setTimeout as sleep } from "node:timers/promises"
import { pino } from "pino"
import { AddressBook } from "../../appliance/orchestration/address_book.ts"
import { LimitedLog } from "../../appliance/orchestration/limited_log.ts"
import { ORCHESTRATION_LIMITS } from "../../appliance/orchestration/limits.ts"
import { Links } from "../../appliance/orchestration/links.ts"
import { monotonicMs, systemRandom, zlibChecksum } from "../../appliance/orchestration/system_ports.ts"
import type { Message } from "../../appliance/replication/message.ts"
import { assert } from "../../appliance/types/assert.ts"
import { Operation } from "../../appliance/types/contracts.ts"
import { limitsForSize } from "../../appliance/types/cluster_sizes.ts"
import { CLUSTER_LIMITS, limitsFingerprint } from "../../appliance/types/limits.ts"
import { StaticMemory } from "../../appliance/types/static_memory.ts"
import type { Cluster } from "./cluster.ts"
import { makeBodies } from "./commands.ts"
import { ANSWER_MS_MAX, CLIENT_SLOT, CLIENT_TICK_MS, POLL_MS } from "./limits.ts"
import type { Load } from "./load.ts"
import { Latencies } from "./statistics.ts"

export type LinkLoadOptions = {
  readonly sessions: number
  /** Commands of a request, which is what counts as answered. */
  readonly batch: number
  /** Requests a second, whether those before are answered or not; when absent, the next is sent on the answer. */
  readonly pace?: number
  /** Where the requests come from, and undefined at their end; when absent, `makeBodies` again and again. */
  readonly nextBody?: () => Uint8Array | undefined
  /** Of each answer: when its request was due, and the milliseconds from then. */
  readonly onAnswer?: (dueAt: number, ms: number) => void
}

type Session = { session: number; request: number; dueAt: number }

const CLIENT_ID_BYTES = 16
/** How often a load with a rate of its own looks whether something is due. */
const PACE_TICK_MS = 1

export class LinkClient {
  readonly #links: Links
  readonly #timer: NodeJS.Timeout
  #primary = 0
  #load: LinkLoad | undefined
  readonly #registered: number[] = []
  readonly #onRegistered = new Map<number, (session: number) => void>()
  #numbers = 0

  private constructor(cluster: Cluster) {
    const clusterLimits = limitsForSize(cluster.size)
    const { slots_max } = clusterLimits
    const book = new AddressBook(slots_max)
    for (const slot of cluster.ports.keys()) {
      book.learn(slot, { address: "127.0.0.1", port: cluster.portsOf(slot).replica })
    }
    const limits = ORCHESTRATION_LIMITS
    this.#links = new Links({
      slot: CLIENT_SLOT,
      wire: {
        identity: {
          cluster_id: Uint8Array.from(Buffer.from(cluster.clusterID, "hex")),
          generation: cluster.generation,
          limits_fingerprint: limitsFingerprint(clusterLimits),
        },
        limits: clusterLimits,
        checksum: zlibChecksum,
      },
      limits,
      memory: new StaticMemory(),
      book,
      log: new LimitedLog(pino({ level: "silent" }), {
        repeatMs: limits.log_repeat_ms,
        kindsMax: limits.log_kinds_max,
      }),
      random: systemRandom(),
      advertise: "127.0.0.1",
      epoch: () => 0,
      incarnation: () => 0,
      holdsState: () => false,
      onOtherLimits: () => undefined,
      onMessage: (message) => this.#onMessage(message),
      onRead: () => this.#links.flush(),
    })
    this.#timer = setInterval(() => this.#tick(), CLIENT_TICK_MS)
  }

  /** A client with links to all machines. */
  static async connect(cluster: Cluster): Promise<LinkClient> {
    const client = new LinkClient(cluster)
    const listening = await client.#links.listen({ host: "127.0.0.1", port: 0 })
    assert(listening.ok, "link client: a free port can be listened on")
    try {
      await cluster.until("the client has its links", () =>
        Promise.resolve(cluster.ports.every((_, slot) => client.#links.isOpen(slot))),
      )
      return client
    } catch (error) {
      // Its clock would keep this process alive.
      client.close()
      throw error
    }
  }

  /** Registers what is missing of sessions, and lets them run. */
  async start(primary: number, options: LinkLoadOptions): Promise<LinkLoad> {
    this.#primary = primary
    while (this.#registered.length < options.sessions) {
      this.#registered.push(await this.#register())
    }
    const sessions = this.#registered.splice(0, options.sessions)
    const ports = { send: (message: Message) => this.#send(message), flush: () => this.#links.flush() }
    const load = new LinkLoad(options, sessions, ports)
    this.#load = load
    load.start()
    this.#links.flush()
    return load
  }

  /** The load's sessions end with it: their request numbers have gone on. */
  async stop(): Promise<void> {
    const load = this.#load
    assert(load !== undefined, "link client: a load runs")
    load.stop()
    const end = performance.now() + ANSWER_MS_MAX
    while (load.inFlight > 0 && performance.now() < end) {
      await sleep(POLL_MS)
    }
    this.#load = undefined
  }

  close(): void {
    clearInterval(this.#timer)
    this.#links.close()
  }

  #tick(): void {
    this.#links.tick(monotonicMs())
    this.#load?.tick()
  }

  async #register(): Promise<number> {
    this.#numbers += 1
    const number = this.#numbers
    const body = randomFillSync(new Uint8Array(CLIENT_ID_BYTES))
    const answer = new Promise<number>((done, fail) => {
      const timer = setTimeout(() => fail(new Error("a session is not registered in time")), ANSWER_MS_MAX)
      this.#onRegistered.set(number, (session) => {
        clearTimeout(timer)
        done(session)
      })
    })
    this.#send({ type: "request", operation: Operation.register, session: 0, request: number, body, ...ENVELOPE })
    this.#links.flush()
    return await answer
  }

  #send(message: Message): void {
    const isSent = this.#links.send(this.#primary, message)
    assert(isSent, "link client: a link has room for what is in flight")
  }

  #onMessage(message: Message): void {
    if (message.type !== "reply") {
      return
    }
    if (message.session === 0) {
      const view = new DataView(message.body.buffer, message.body.byteOffset, message.body.byteLength)
      this.#onRegistered.get(message.request)?.(Number(view.getBigInt64(1, true)))
      this.#onRegistered.delete(message.request)
    } else {
      this.#load?.onReply(message.session, message.request, message.outcome)
    }
  }
}

/** A request is judged by its session: its sender's vector and epoch are not looked at. */
const ENVELOPE = { from: CLIENT_SLOT, epoch: 0, cv: new Array<number>(CLUSTER_LIMITS.slots_max).fill(0) }

type Ports = { readonly send: (message: Message) => void; readonly flush: () => void }

class LinkLoad implements Load {
  readonly latencies = new Latencies()
  readonly #options: LinkLoadOptions
  readonly #sessions = new Map<number, Session>()
  readonly #idle: Session[] = []
  readonly #send: (message: Message) => void
  readonly #nextBody: () => Uint8Array | undefined
  readonly #timer: NodeJS.Timeout | undefined
  #startedAt = 0
  #asked = 0
  #answered = 0
  #isStopped = false
  #isAtEnd = false
  #failure: string | undefined
  #answeredAt = performance.now()
  inFlight = 0

  constructor(options: LinkLoadOptions, sessions: readonly number[], ports: Ports) {
    this.#options = options
    this.#send = ports.send
    this.#nextBody = options.nextBody ?? endlessBodies(options.batch)
    for (const session of sessions) {
      const asker = { session, request: 0, dueAt: 0 }
      this.#sessions.set(session, asker)
      this.#idle.push(asker)
    }
    if (options.pace !== undefined) {
      this.#timer = setInterval(() => {
        this.#askDue()
        ports.flush()
      }, PACE_TICK_MS)
    }
  }

  readonly answered = (): number => this.#answered
  readonly failure = (): string | undefined => this.#failure

  /** The last body was sent, and answered. */
  get isDone(): boolean {
    return this.#isAtEnd && this.inFlight === 0
  }

  start(): void {
    this.#startedAt = performance.now()
    this.#answeredAt = this.#startedAt
    this.#askDue()
  }

  stop(): void {
    this.#isStopped = true
    clearInterval(this.#timer)
  }

  tick(): void {
    if (this.inFlight > 0 && performance.now() - this.#answeredAt > ANSWER_MS_MAX) {
      this.#failure ??= `nothing was answered for ${ANSWER_MS_MAX} ms`
    }
  }

  onReply(session: number, request: number, outcome: string): void {
    const asker = this.#sessions.get(session)
    if (asker === undefined || asker.request !== request) {
      return
    }
    this.inFlight -= 1
    if (outcome !== "ok") {
      this.#failure ??= `a request was answered '${outcome}'`
      return
    }
    const now = performance.now()
    this.#answeredAt = now
    this.#answered += this.#options.batch
    this.latencies.add(now - asker.dueAt)
    this.#options.onAnswer?.(asker.dueAt, now - asker.dueAt)
    this.#idle.push(asker)
    this.#askDue()
  }

  /** All requests that are due, as far as there are sessions without one. */
  #askDue(): void {
    const { pace } = this.#options
    const now = performance.now()
    while (!this.#isStopped && !this.#isAtEnd) {
      const dueAt = pace === undefined ? now : this.#startedAt + (this.#asked * 1_000) / pace
      const asker = dueAt > now ? undefined : this.#idle.shift()
      if (asker === undefined) {
        return
      }
      const body = this.#nextBody()
      if (body === undefined) {
        this.#isAtEnd = true
        return
      }
      this.#asked += 1
      this.#ask(asker, dueAt, body)
    }
  }

  #ask(asker: Session, dueAt: number, body: Uint8Array): void {
    asker.request += 1
    asker.dueAt = dueAt
    this.inFlight += 1
    const { session, request } = asker
    this.#send({ type: "request", operation: Operation.batch, session, request, body, ...ENVELOPE })
  }
}

function endlessBodies(batch: number): () => Uint8Array {
  const bodies = makeBodies(batch)
  let next = 0
  return () => {
    next = (next + 1) % bodies.length
    const body = bodies[next]
    assert(body !== undefined, "link load: there are bodies")
    return body
  }
}
