/**
 * A few production replicas in one process, a network that delivers at once and in order unless a test cuts it or makes
 * it lose and delay, and one clock: for tests that ask what happens, not in which order. Machines that have room for
 * larger limits grow, as their host would make them, and then hear nobody of the old ones. Plane: control.
 */
import { createHash } from "node:crypto"
import type { Message, MessageOf } from "../../../appliance/replication/message.ts"
import { Replica, type ReplicaOptions } from "../../../appliance/replication/replica.ts"
import { allocateReplicaMemory } from "../../../appliance/replication/replica_memory.ts"
import { arenaBytes } from "../../../appliance/state_machine/arena.ts"
import { growArena } from "../../../appliance/state_machine/growth.ts"
import { type ArenaStateMachine, createStateMachine } from "../../../appliance/state_machine/state_machine.ts"
import { assert } from "../../../appliance/types/assert.ts"
import { Operation } from "../../../appliance/types/contracts.ts"
import { type ClusterLimits, limitsFingerprint } from "../../../appliance/types/limits.ts"
import { PRNG } from "../../../appliance/types/prng.ts"
import { StaticMemory } from "../../../appliance/types/static_memory.ts"
import { encodeGet, encodeWrites } from "../../simulation/history.ts"
import { SIMULATED_LIMITS, SIMULATED_PROCESS_LIMITS } from "../../simulation/limits.ts"

const TICK_MS = 10
const DELIVERIES_A_TICK_MAX = 5_000
const TOKEN = "7".repeat(32)

type Answer = MessageOf<"reply"> | MessageOf<"read_reply"> | MessageOf<"reconfigure_reply">

type Machine = {
  replica: Replica
  options: ReplicaOptions
  stateMachine: ArenaStateMachine
  readonly growsTo: ClusterLimits | undefined
}

/** `limits` are the sender's; it arrives at `at`. */
type Wire = { readonly to: number; readonly limits: ClusterLimits; readonly message: Message; readonly at: number }

export class SmallCluster {
  now = 0
  /** Of a thousand letters so many are lost, and each takes up to so long. */
  loss = 0
  delayMsMax = 0
  /** False: who may grow waits for grow(). */
  growsByItself = true
  /** What came back to any machine's gateway or operator, oldest first. */
  answers: Answer[] = []
  readonly #founders: number
  readonly #random: PRNG
  readonly #machines = new Map<number, Machine>()
  readonly #cut = new Set<string>()
  #wires: Wire[] = []
  #numbers = 0

  constructor(founders: number, seed = 11) {
    this.#founders = founders
    this.#random = new PRNG(seed)
  }

  replica(slot: number): Replica {
    return this.#machine(slot).replica
  }

  stateMachine(slot: number): ArenaStateMachine {
    return this.#machine(slot).stateMachine
  }

  limits(slot: number): ClusterLimits {
    return this.#machine(slot).options.limits
  }

  slots(): number[] {
    return [...this.#machines.keys()]
  }

  #machine(slot: number): Machine {
    const machine = this.#machines.get(slot)
    assert(machine !== undefined, "small cluster: no machine in that slot")
    return machine
  }

  /** A blank process in `slot`; what was there before is gone. */
  boot(
    slot: number,
    options: {
      readonly token?: string
      readonly generation?: number
      readonly limits?: ClusterLimits
      readonly growsTo?: ClusterLimits
    } = {},
  ): Replica {
    const { growsTo } = options
    const parts = this.#partsOf(options.limits ?? SIMULATED_LIMITS)
    const replicaOptions = {
      slot,
      voters: this.#founders,
      generation: options.generation ?? 1,
      token: options.token ?? TOKEN,
      ...parts,
      growsTo: growsTo === undefined ? 0 : limitsFingerprint(growsTo),
    }
    const replica = new Replica(replicaOptions)
    replica.tick(this.now)
    this.#machines.set(slot, { replica, options: replicaOptions, stateMachine: parts.stateMachine, growsTo })
    return replica
  }

  /** All that depends on the limits. */
  #partsOf(limits: ClusterLimits): Omit<ReplicaOptions, "slot" | "voters" | "generation" | "token"> & {
    readonly stateMachine: ArenaStateMachine
  } {
    const memory = new StaticMemory()
    const processLimits = SIMULATED_PROCESS_LIMITS
    return {
      limits,
      processLimits,
      stateMachine: createStateMachine({ limits, arena: memory.allocate("arena", arenaBytes(limits)) }),
      memory: allocateReplicaMemory(memory, { limits, processLimits }),
      digest: (prefix, body, start, end) =>
        createHash("sha256").update(prefix).update(body.subarray(start, end)).digest("hex").slice(0, 32),
      random: () => this.#random.u32(),
    }
  }

  /** As the host does it: the process goes on in the larger limits. False: it is not the time. */
  grow(slot: number): boolean {
    const machine = this.#machine(slot)
    const start = machine.replica.grownStart
    if (start === undefined || machine.growsTo === undefined) {
      return false
    }
    const parts = this.#partsOf(machine.growsTo)
    const { limits, stateMachine } = machine.options
    const { arena, pages } = machine.stateMachine
    assert(stateMachine === machine.stateMachine, "small cluster: a machine has one state")
    const grown = growArena(
      { arena, limits, pages },
      { arena: parts.stateMachine.arena, limits: parts.limits, pages: parts.stateMachine.pages },
    )
    assert(grown.ok, "small cluster: what is intact grows")
    machine.options = { ...machine.options, ...parts, token: "", growsTo: 0 }
    machine.stateMachine = parts.stateMachine
    machine.replica = new Replica(machine.options, start)
    this.#drain(machine)
    return true
  }

  off(slot: number): void {
    this.#machines.delete(slot)
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
      for (const [slot, machine] of this.#machines) {
        machine.replica.tick(this.now)
        this.#drain(machine)
        if (this.growsByItself) {
          this.grow(slot)
        }
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

  /** As `set`, of a command that tells how often it was done. */
  add(slot: number, session: number, request: number, key: string): void {
    const body = encodeWrites([{ kind: "incr", key, delta: 1 }])
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
    const machine = this.#machine(slot)
    machine.replica.receive(message)
    this.#drain(machine)
    this.#deliverAll()
  }

  #from(slot: number): { readonly from: number; readonly epoch: number; readonly cv: readonly number[] } {
    return { from: slot, epoch: 0, cv: [] }
  }

  #next(): number {
    this.#numbers += 1
    return this.#numbers
  }

  #drain({ replica, options }: Machine): void {
    for (let out = replica.takeOutgoing(); out !== undefined; out = replica.takeOutgoing()) {
      const { to, message } = out
      if (message.type === "reply" || message.type === "read_reply" || message.type === "reconfigure_reply") {
        this.answers.push("body" in message ? { ...message, body: message.body.slice() } : message)
      } else if (!this.#cut.has(`${message.from}>${to}`)) {
        const at = this.now + (this.delayMsMax === 0 ? 0 : this.#random.below(this.delayMsMax + 1))
        this.#wires.push({ to, limits: options.limits, message: copyOf(message), at })
      }
    }
  }

  #deliverAll(): void {
    let late: Wire[] = []
    for (let count = 0; count < DELIVERIES_A_TICK_MAX; count += 1) {
      const wire = this.#wires.shift()
      if (wire === undefined) {
        break
      }
      if (wire.at > this.now) {
        late = [...late, wire]
        continue
      }
      const machine = this.#machines.get(wire.to)
      const isLost = this.loss > 0 && this.#random.chance(this.loss, 1_000)
      // Machines of other limits have no link.
      if (machine !== undefined && !isLost && machine.options.limits === wire.limits) {
        machine.replica.receive(wire.message)
        this.#drain(machine)
      }
    }
    this.#wires = [...late, ...this.#wires]
  }
}

/** A body may be a view into a ring that is written again: what is under way has bytes of its own. */
function copyOf(message: Message): Message {
  if (message.type === "log") {
    return { ...message, entry: { header: message.entry.header, body: message.entry.body.slice() } }
  }
  return "body" in message ? { ...message, body: message.body.slice() } : message
}
