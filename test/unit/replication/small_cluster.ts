/**
 * A few production replicas in one process, a network that delivers at once and in order unless a test cuts it, and one
 * clock: for tests that ask what happens, not in which order. Plane: control.
 */
import { createHash } from "node:crypto"
import type { Message, MessageOf } from "../../../appliance/replication/message.ts"
import { Replica } from "../../../appliance/replication/replica.ts"
import { allocateReplicaMemory } from "../../../appliance/replication/replica_memory.ts"
import { arenaBytes } from "../../../appliance/state_machine/arena.ts"
import { createStateMachine } from "../../../appliance/state_machine/state_machine.ts"
import { assert } from "../../../appliance/types/assert.ts"
import { Operation } from "../../../appliance/types/contracts.ts"
import { PRNG } from "../../../appliance/types/prng.ts"
import { StaticMemory } from "../../../appliance/types/static_memory.ts"
import { encodeGet, encodeWrites } from "../../simulation/history.ts"
import { SIMULATED_LIMITS, SIMULATED_PROCESS_LIMITS } from "../../simulation/limits.ts"

const TICK_MS = 10
const DELIVERIES_A_TICK_MAX = 5_000
const TOKEN = "7".repeat(32)

type Answer = MessageOf<"reply"> | MessageOf<"read_reply"> | MessageOf<"reconfigure_reply">

export class SmallCluster {
  now = 0
  /** What came back to any machine's gateway or operator, oldest first. */
  answers: Answer[] = []
  readonly #founders: number
  readonly #random = new PRNG(11)
  readonly #replicas = new Map<number, Replica>()
  readonly #cut = new Set<string>()
  readonly #wires: { readonly to: number; readonly message: Message }[] = []
  #numbers = 0

  constructor(founders: number) {
    this.#founders = founders
  }

  replica(slot: number): Replica {
    const replica = this.#replicas.get(slot)
    assert(replica !== undefined, "small cluster: no machine in that slot")
    return replica
  }

  /** A blank process in `slot`; what was there before is gone. */
  boot(slot: number, options: { readonly token?: string; readonly generation?: number } = {}): Replica {
    const memory = new StaticMemory()
    const bytes = arenaBytes(SIMULATED_LIMITS)
    const limits = { limits: SIMULATED_LIMITS, processLimits: SIMULATED_PROCESS_LIMITS }
    const replica = new Replica({
      slot,
      voters: this.#founders,
      generation: options.generation ?? 1,
      token: options.token ?? TOKEN,
      ...limits,
      stateMachine: createStateMachine({ limits: SIMULATED_LIMITS, arena: memory.allocate("arena", bytes) }),
      memory: allocateReplicaMemory(memory, { ...limits }),
      digest: (prefix, body, start, end) =>
        createHash("sha256").update(prefix).update(body.subarray(start, end)).digest("hex").slice(0, 32),
      random: () => this.#random.u32(),
    })
    replica.tick(this.now)
    this.#replicas.set(slot, replica)
    return replica
  }

  off(slot: number): void {
    this.#replicas.delete(slot)
  }

  /** Cuts or mends both directions between two machines. */
  cut(a: number, b: number, isCut = true): void {
    for (const link of [`${a}>${b}`, `${b}>${a}`]) {
      if (isCut) {
        this.#cut.add(link)
      } else {
        this.#cut.delete(link)
      }
    }
  }

  /** Lets time pass for all machines. */
  run(ms: number): void {
    for (let passed = 0; passed < ms; passed += TICK_MS) {
      this.now += TICK_MS
      for (const replica of this.#replicas.values()) {
        replica.tick(this.now)
        this.#drain(replica)
      }
      this.#deliverAll()
    }
  }

  runUntil(condition: () => boolean, what: string, msMax = 20_000): void {
    for (let passed = 0; passed < msMax && !condition(); passed += TICK_MS) {
      this.run(TICK_MS)
    }
    assert(condition(), `small cluster: ${what}`)
  }

  /** A session registered at the machine itself. */
  register(slot: number): number {
    const request = this.#next()
    const body = new Uint8Array(16).fill(request)
    this.ask(slot, { type: "request", operation: Operation.register, session: 0, request, body, ...this.#from(slot) })
    this.run(100)
    const reply = this.answers.findLast((answer) => answer.type === "reply" && answer.request === request)
    assert(reply?.type === "reply" && reply.outcome === "ok", "small cluster: a session is registered")
    return Number(new DataView(reply.body.buffer, reply.body.byteOffset).getBigInt64(1, true))
  }

  /** Asks for a write; its answer, if any, is in `answers` by and by. */
  set(slot: number, session: number, request: number, key: string): void {
    const body = encodeWrites([{ kind: "set", key, value: `${request}`, expires: 0 }])
    this.ask(slot, { type: "request", operation: Operation.batch, session, request, body, ...this.#from(slot) })
  }

  read(slot: number, key: string): number {
    const read = this.#next()
    this.ask(slot, { type: "read", read, body: encodeGet(key), ...this.#from(slot) })
    return read
  }

  reconfigure(
    slot: number,
    change: {
      readonly voters: readonly number[]
      readonly standbys?: readonly number[]
      readonly synchronous?: boolean
      readonly drops_standby?: boolean
      readonly grows?: boolean
      readonly epoch_expected?: number
    },
  ): void {
    this.ask(slot, {
      type: "reconfigure",
      change: this.#next(),
      epoch_expected: change.epoch_expected ?? this.replica(slot).epoch,
      voters: change.voters,
      standbys: change.standbys ?? [],
      synchronous: change.synchronous ?? false,
      drops_standby: change.drops_standby ?? false,
      grows: change.grows ?? false,
      ...this.#from(slot),
    })
  }

  /** The last answer to a change, with the slot that it is about. */
  lastChange(): string {
    const reply = this.answers.findLast((answer) => answer.type === "reconfigure_reply")
    return reply?.type === "reconfigure_reply" ? `${reply.outcome} ${reply.slot}` : "none"
  }

  outcomeOf(session: number, request: number): string {
    const isIt = (answer: Answer): boolean =>
      answer.type === "reply" && answer.session === session && answer.request === request
    return this.answers.findLast(isIt)?.outcome ?? "none"
  }

  outcomeOfRead(read: number): string {
    return this.answers.findLast((answer) => answer.type === "read_reply" && answer.read === read)?.outcome ?? "none"
  }

  /** Hands a message straight to a machine. */
  ask(slot: number, message: Message): void {
    const replica = this.replica(slot)
    replica.receive(message)
    this.#drain(replica)
    this.#deliverAll()
  }

  #from(slot: number): { readonly from: number; readonly epoch: number; readonly cv: readonly number[] } {
    return { from: slot, epoch: 0, cv: [] }
  }

  #next(): number {
    this.#numbers += 1
    return this.#numbers
  }

  #drain(replica: Replica): void {
    for (let out = replica.takeOutgoing(); out !== undefined; out = replica.takeOutgoing()) {
      const { to, message } = out
      if (message.type === "reply" || message.type === "read_reply" || message.type === "reconfigure_reply") {
        this.answers.push("body" in message ? { ...message, body: message.body.slice() } : message)
      } else if (!this.#cut.has(`${message.from}>${to}`)) {
        this.#wires.push({ to, message: copyOf(message) })
      }
    }
  }

  #deliverAll(): void {
    for (let count = 0; count < DELIVERIES_A_TICK_MAX; count += 1) {
      const wire = this.#wires.shift()
      if (wire === undefined) {
        return
      }
      const replica = this.#replicas.get(wire.to)
      if (replica !== undefined) {
        replica.receive(wire.message)
        this.#drain(replica)
      }
    }
  }
}

/** A body may be a view into a ring that is written again: what is under way has bytes of its own. */
function copyOf(message: Message): Message {
  if (message.type === "log") {
    return { ...message, entry: { header: message.entry.header, body: message.entry.body.slice() } }
  }
  return "body" in message ? { ...message, body: message.body.slice() } : message
}
