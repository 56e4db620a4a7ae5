/**
 * Sessions over a network that loses, delays and repeats, with a primary that moves, restarts of nothing and
 * evictions: each INCR is applied once or its client was told that nobody knows. Plane: control.
 */
import { expect, test } from "vitest"
import { REQUEST_TIMEOUT_MS, SESSIONS_PER_GATEWAY } from "../../../appliance/gateway/limits.ts"
import type { GatewayMessage, ReplicaPort } from "../../../appliance/gateway/port.ts"
import type { Message, MessageOf } from "../../../appliance/replication/message.ts"
import { Operation } from "../../../appliance/types/contracts.ts"
import { PRNG } from "../../../appliance/types/prng.ts"
import { ClusterOfOne, TEST_LIMITS } from "../../unit/gateway/cluster_of_one.ts"
import { TestClient } from "../../unit/gateway/test_client.ts"

const SEEDS = 30
const VOTERS = 3
const CLIENTS = 12
const STEPS = 2_500
const STEP_MS = 10
const SETTLE_STEPS = 4 * (REQUEST_TIMEOUT_MS / STEP_MS)

type Reply = MessageOf<"reply"> | MessageOf<"read_reply">
type Post = { readonly at: number } & (
  | { readonly kind: "request"; readonly slot: number; readonly message: GatewayMessage }
  | { readonly kind: "reply"; readonly message: Reply }
)

/** The one real replica is whichever slot is primary just now; the others refuse and name a view. */
class FaultyCluster extends ClusterOfOne {
  readonly #random: PRNG
  #posts: Post[] = []
  #primary = 0
  /** Until then requests arrive and answers don't. */
  #cutUntil = 0
  isCalm = false
  lost = 0
  repeated = 0
  foreign = 0

  constructor(seed: number) {
    super({ seed, limits: { ...TEST_LIMITS, sessions_max: SESSIONS_PER_GATEWAY } })
    this.#random = new PRNG(seed)
  }

  protected override wrapPort(): ReplicaPort {
    return {
      sendTo: (slot, message) => this.#sendTo(slot, message),
      primarySlot: () => (this.#random.chance(1, 10) ? this.#random.below(VOTERS) : this.#primary),
      primaryOf: (_, view) => view % VOTERS,
      voterSlots: () => Array.from({ length: VOTERS }, (_, slot) => slot),
      slotsMax: () => this.slotsMax(),
      outage: () => undefined,
      secret: () => undefined,
      info: () => this.info(),
      salvage: () => this.salvage(),
    }
  }

  #sendTo(slot: number, message: GatewayMessage): boolean {
    if (!this.isCalm && this.#random.chance(1, 20)) {
      return false
    }
    this.#post({
      at: this.#arrival(),
      kind: "request",
      slot,
      message: { ...message, body: Uint8Array.from(message.body) },
    })
    return true
  }

  protected override answer(message: Reply): void {
    // What strangers register is theirs.
    const isStrangers = message.type === "reply" && message.session === 0 && message.request <= this.foreign
    if (!isStrangers) {
      const reply = { ...message, from: this.#primary, body: Uint8Array.from(message.body) }
      this.#post({ at: this.#arrival(), kind: "reply", message: reply })
    }
  }

  #arrival(): number {
    return (
      this.now + (this.isCalm ? 10 : this.#random.chance(1, 50) ? this.#random.below(3_000) : this.#random.below(60))
    )
  }

  #post(post: Post): void {
    const isCut = post.kind === "reply" && this.now < this.#cutUntil
    if (isCut || (!this.isCalm && this.#random.chance(1, 12))) {
      this.lost += 1
      return
    }
    this.#posts.push(post)
    if (!this.isCalm && this.#random.chance(1, 12)) {
      this.repeated += 1
      this.#posts.push({ ...post, at: post.at + this.#random.below(2_000) })
    }
  }

  step(): void {
    if (!this.isCalm && this.#random.chance(1, 150)) {
      this.#primary = this.#random.below(VOTERS)
    }
    if (!this.isCalm && this.#random.chance(1, 300)) {
      this.#registerStranger()
    }
    if (!this.isCalm && this.#random.chance(1, 1_500)) {
      this.#cutUntil = this.now + REQUEST_TIMEOUT_MS / 2 + this.#random.below(REQUEST_TIMEOUT_MS)
    }
    const due = this.#posts.filter((post) => post.at <= this.now)
    this.#posts = this.#posts.filter((post) => post.at > this.now)
    for (const post of due) {
      if (post.kind === "reply") {
        this.gateway.onReply(post.message)
      } else if (post.slot === this.#primary) {
        this.deliver(post.message)
      } else {
        this.#refuse(post.slot, post.message)
      }
    }
    this.tick(STEP_MS)
    this.settle()
  }

  /** Another machine's gateway takes a place in the session table, and so may evict one of ours. */
  #registerStranger(): void {
    this.foreign += 1
    const body = Uint8Array.from({ length: 16 }, () => this.#random.below(256))
    this.deliver({ type: "request", operation: Operation.register, session: 0, request: this.foreign, body })
  }

  #refuse(slot: number, message: GatewayMessage): void {
    const body = new Uint8Array(0)
    const common = { from: slot, epoch: 0, cv: [], outcome: "not_primary", view: this.#primary, body } as const
    const reply: Message & Reply =
      message.type === "read"
        ? { type: "read_reply", read: message.read, ...common }
        : { type: "reply", session: message.session, request: message.request, ...common }
    this.#post({ at: this.#arrival(), kind: "reply", message: reply })
  }
}

/** Counts on a key of its own, one command after the other, and keeps books. */
class CountingClient {
  readonly client: TestClient
  readonly key: string
  readonly counts = { acknowledged: 0, unknown: 0, refused: 0, reads: 0 }
  #waitsFor: "incr" | "get" | undefined
  #value = 0
  #random: PRNG

  constructor(cluster: FaultyCluster, index: number) {
    this.client = new TestClient(cluster.gateway)
    this.key = `n${index}`
    this.#random = new PRNG(index + 1)
  }

  get isWaiting(): boolean {
    return this.#waitsFor !== undefined
  }

  ask(): void {
    if (this.#waitsFor === undefined) {
      this.#waitsFor = this.#random.chance(2, 3) ? "incr" : "get"
      this.client.send(`${this.#waitsFor} ${this.key}\r\n`)
    }
  }

  /** Judges what was answered, if anything. */
  judge(context: string): void {
    const answer = this.client.take()
    if (answer === "") {
      return
    }
    const { counts } = this
    const [first = "", second = ""] = answer.split("\r\n")
    if (first.startsWith("-UNKNOWN ")) {
      expect(this.#waitsFor, context).toBe("incr")
      counts.unknown += 1
    } else if (first.startsWith("-CLUSTERDOWN ")) {
      counts.refused += 1
    } else {
      const value = this.#waitsFor === "incr" ? Number(first.slice(1)) : Number(first === "$-1" ? 0 : second)
      counts.acknowledged += this.#waitsFor === "incr" ? 1 : 0
      counts.reads += this.#waitsFor === "get" ? 1 : 0
      // Every acknowledged one counts once, every unknown one at most once, and no read is from the past.
      expect(value, context).toBeGreaterThanOrEqual(counts.acknowledged)
      expect(value, context).toBeLessThanOrEqual(counts.acknowledged + counts.unknown)
      expect(value, context).toBeGreaterThanOrEqual(this.#value + (this.#waitsFor === "incr" ? 1 : 0))
      this.#value = value
    }
    this.#waitsFor = undefined
  }
}

test("at most once, whatever the network does", { timeout: 300_000 }, () => {
  const totals = { acknowledged: 0, unknown: 0, refused: 0, reads: 0, lost: 0, repeated: 0, evicted: 0, resends: 0 }
  for (let seed = 1; seed <= SEEDS; seed += 1) {
    const cluster = new FaultyCluster(seed)
    const clients = Array.from({ length: CLIENTS }, (_, index) => new CountingClient(cluster, index))
    for (let step = 0; step < STEPS + SETTLE_STEPS; step += 1) {
      cluster.isCalm = step >= STEPS
      for (const client of clients) {
        if (!cluster.isCalm) {
          client.ask()
        }
        client.judge(`seed ${seed}, step ${step}, ${client.key}`)
      }
      cluster.step()
    }
    for (const client of clients) {
      client.judge(`seed ${seed}, end`)
      expect(client.isWaiting, `seed ${seed}: ${client.key} was answered`).toBe(false)
      totals.acknowledged += client.counts.acknowledged
      totals.unknown += client.counts.unknown
      totals.refused += client.counts.refused
      totals.reads += client.counts.reads
    }
    const { counters, commands_waiting } = cluster.gateway.status()
    expect(commands_waiting, `seed ${seed}`).toBe(0)
    totals.lost += cluster.lost
    totals.repeated += cluster.repeated
    totals.evicted += counters.evicted
    totals.resends += counters.resends
  }
  // A network that was kind would have tested nothing.
  expect(totals.acknowledged).toBeGreaterThan(10_000)
  expect(totals.reads).toBeGreaterThan(1_000)
  expect(totals.lost).toBeGreaterThan(1_000)
  expect(totals.repeated).toBeGreaterThan(1_000)
  expect(totals.resends).toBeGreaterThan(100)
  expect(totals.evicted).toBeGreaterThan(10)
  expect(totals.unknown).toBeGreaterThan(10)
})
