/**
 * A process that runs three replicas without sockets and prints what they did as JSON: the core's own cost. Its one
 * argument is a CoreTask. Message objects are handed over as they are, or go through their bytes (`codec`).
 * Plane: control.
 */
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import type { Message } from "../../appliance/replication/message.ts"
import type { Replica } from "../../appliance/replication/replica.ts"
import type { WireOptions } from "../../appliance/replication/wire.ts"
import { assert } from "../../appliance/types/assert.ts"
import { makeBodies } from "./commands.ts"
import { CORE_STEPS_MAX, VOTERS } from "./limits.ts"
import { Latencies } from "./statistics.ts"

export type CoreTask = {
  /** The checkout whose appliance is measured. */
  readonly checkout: string
  readonly sessions: number
  readonly batch: number
  /** Every message is encoded and decoded on its way. */
  readonly codec: boolean
  /** Seconds of the measurement, or operations: one of them is 0. */
  readonly seconds: number
  readonly ops: number
}

export type CoreResult = {
  readonly ops: number
  readonly ops_per_second: number
  readonly p50: number
  readonly p99: number
  /** The heap after a full collection, less what it was before. */
  readonly heap_delta: number
  /** Garbage and all, measured over a stretch without a collection. */
  readonly allocated_per_request: number
}

const WARM_UP_REQUESTS = 3_000
const ALLOCATION_REQUESTS = 1_000
const TICK_MS = 10
const MESSAGES_PER_LOOK = 64
const TOKEN = "7".repeat(32)
const CLIENT_ID_BYTES = 16
const SCRATCH_BYTES = 4 * 1024 * 1024
const ENVELOPE_SLOT = 0

type Wire = { readonly to: number; readonly message: Message }
type Modules = {
  readonly replica: typeof import("../../appliance/replication/replica.ts")
  readonly memory: typeof import("../../appliance/replication/replica_memory.ts")
  readonly wire: typeof import("../../appliance/replication/wire.ts")
  readonly arena: typeof import("../../appliance/state_machine/arena.ts")
  readonly machine: typeof import("../../appliance/state_machine/state_machine.ts")
  readonly limits: typeof import("../../appliance/types/limits.ts")
  readonly contracts: typeof import("../../appliance/types/contracts.ts")
  readonly static_memory: typeof import("../../appliance/types/static_memory.ts")
  readonly ports: typeof import("../../appliance/orchestration/system_ports.ts")
}
type Session = { readonly session: number; request: number; sentAt: number }

/** The modules of these names in another checkout may differ in what they cost, not in what is called here. */
async function loadModules(checkout: string): Promise<Modules> {
  const load = async (path: string): Promise<unknown> => await import(pathToFileURL(join(checkout, path)).href)
  const loaded: Record<keyof Modules, unknown> = {
    replica: await load("appliance/replication/replica.ts"),
    memory: await load("appliance/replication/replica_memory.ts"),
    wire: await load("appliance/replication/wire.ts"),
    arena: await load("appliance/state_machine/arena.ts"),
    machine: await load("appliance/state_machine/state_machine.ts"),
    limits: await load("appliance/types/limits.ts"),
    contracts: await load("appliance/types/contracts.ts"),
    static_memory: await load("appliance/types/static_memory.ts"),
    ports: await load("appliance/orchestration/system_ports.ts"),
  }
  // Proof: each was loaded from the file that its type names.
  return loaded as Modules
}

class Core {
  readonly latencies = new Latencies()
  answered = 0
  readonly #modules: Modules
  readonly #task: CoreTask
  readonly #replicas: Replica[] = []
  readonly #wires: Wire[] = []
  #wireAt = 0
  readonly #bodies: readonly Uint8Array[]
  readonly #sessions: Session[] = []
  readonly #bySession = new Map<number, Session>()
  readonly #wire: WireOptions
  readonly #scratch = new Uint8Array(SCRATCH_BYTES)
  #scratchAt = 0
  readonly #cv: readonly number[]
  #next = 0
  #tickedAt = 0
  #now = 0

  constructor(modules: Modules, task: CoreTask) {
    this.#modules = modules
    this.#task = task
    this.#bodies = makeBodies(task.batch)
    const limits = modules.limits.CLUSTER_LIMITS
    this.#cv = new Array<number>(limits.slots_max).fill(0)
    this.#wire = {
      identity: { cluster_id: new Uint8Array(16), generation: 1, limits_fingerprint: 1 },
      limits,
      checksum: modules.ports.zlibChecksum,
    }
    for (let slot = 0; slot < VOTERS; slot += 1) {
      this.#replicas.push(makeReplica(modules, slot))
    }
  }

  /** Founds the cluster and registers the sessions. */
  begin(): void {
    for (let steps = 0; this.#replicas.some((replica) => replica.status !== "normal"); steps += 1) {
      assert(steps < CORE_STEPS_MAX, "core: three blank replicas found a cluster")
      this.#tick(TICK_MS)
      this.#deliver(CORE_STEPS_MAX)
    }
    for (let index = 0; index < this.#task.sessions; index += 1) {
      const body = new Uint8Array(CLIENT_ID_BYTES).fill(index + 1)
      this.#primary().receive({ ...this.#request(0, index + 1), operation: this.#operation("register"), body })
      this.#drain(this.#primary())
      this.#deliver(CORE_STEPS_MAX)
    }
    assert(this.#sessions.length === this.#task.sessions, "core: all sessions are registered")
  }

  /** Until so many operations were answered, or for so many milliseconds. */
  run(options: { readonly ops: number; readonly ms: number }): void {
    const end = performance.now() + options.ms
    const opsMax = options.ops === 0 ? Number.POSITIVE_INFINITY : this.answered + options.ops
    for (const session of this.#sessions) {
      if (session.sentAt === 0) {
        this.#ask(session)
      }
    }
    for (let now = performance.now(); now < end && this.answered < opsMax; now = performance.now()) {
      if (now - this.#tickedAt >= TICK_MS) {
        this.#tickedAt = now
        this.#tick(TICK_MS)
      }
      const delivered = this.#deliver(MESSAGES_PER_LOOK)
      assert(delivered > 0, "core: a closed loop always has a message under way")
    }
  }

  #operation(name: "register" | "batch"): 1 | 2 {
    return this.#modules.contracts.Operation[name]
  }

  #primary(): Replica {
    const primary = this.#replicas.find((replica) => replica.isPrimary)
    assert(primary !== undefined, "core: there is a primary")
    return primary
  }

  #request(session: number, request: number) {
    return { type: "request", from: ENVELOPE_SLOT, epoch: 0, cv: this.#cv, session, request } as const
  }

  #ask(session: Session): void {
    session.request += 1
    session.sentAt = performance.now()
    this.#next = (this.#next + 1) % this.#bodies.length
    const body = this.#bodies[this.#next]
    assert(body !== undefined, "core: there are bodies")
    const request = this.#request(session.session, session.request)
    this.#enqueue(this.#primary().slot, { ...request, operation: this.#operation("batch"), body })
  }

  #onReply(message: Message): void {
    assert(message.type === "reply" && message.outcome === "ok", "core: every request is answered with ok")
    if (message.session === 0) {
      const view = new DataView(message.body.buffer, message.body.byteOffset, message.body.byteLength)
      const session = { session: Number(view.getBigInt64(1, true)), request: 0, sentAt: 0 }
      this.#sessions.push(session)
      this.#bySession.set(session.session, session)
      return
    }
    const session = this.#bySession.get(message.session)
    assert(session !== undefined, "core: a reply has its session")
    this.latencies.add(performance.now() - session.sentAt)
    this.answered += this.#task.batch
    this.#ask(session)
  }

  #tick(ms: number): void {
    this.#now += ms
    for (const replica of this.#replicas) {
      replica.tick(this.#now)
      this.#drain(replica)
    }
  }

  /** The wires are a list that is read from the front and cleared when it is empty or long. */
  #deliver(most: number): number {
    let count = 0
    for (; count < most && this.#wireAt < this.#wires.length; count += 1) {
      const wire = this.#wires[this.#wireAt]
      assert(wire !== undefined, "core: a wire that was put is there")
      this.#wireAt += 1
      const replica = this.#replicas[wire.to]
      if (replica !== undefined) {
        replica.receive(wire.message)
        this.#drain(replica)
      }
    }
    if (this.#wireAt > 0) {
      this.#wires.splice(0, this.#wireAt)
      this.#wireAt = 0
    }
    return count
  }

  #drain(replica: Replica): void {
    for (let out = replica.takeOutgoing(); out !== undefined; out = replica.takeOutgoing()) {
      const { to, message } = out
      if (message.type === "reply" || message.type === "read_reply") {
        this.#onReply(this.#task.codec ? this.#throughBytes(message) : message)
      } else if (to < VOTERS) {
        this.#enqueue(to, message)
      }
    }
  }

  #enqueue(to: number, message: Message): void {
    this.#wires.push({ to, message: this.#task.codec ? this.#throughBytes(message) : message })
  }

  /** As a link does: encoded at once into a ring, decoded where it lies. */
  #throughBytes(message: Message): Message {
    const { wire } = this.#modules
    let bytes = wire.encodeMessage(message, this.#wire, this.#scratch, this.#scratchAt)
    if (bytes < 0) {
      this.#scratchAt = 0
      bytes = wire.encodeMessage(message, this.#wire, this.#scratch, 0)
    }
    const start = this.#scratchAt
    const decoded = wire.decodeFrame(this.#scratch, start, start + bytes, this.#wire)
    this.#scratchAt = start + bytes
    assert(decoded.ok && decoded.value.type !== "keepalive", "core: what was encoded can be decoded")
    return decoded.value
  }
}

function makeReplica(modules: Modules, slot: number): Replica {
  const limits = modules.limits.CLUSTER_LIMITS
  const processLimits = modules.limits.PROCESS_LIMITS
  const memory = new modules.static_memory.StaticMemory()
  const arena = memory.allocate("arena", modules.arena.arenaBytes(limits))
  return new modules.replica.Replica({
    slot,
    voters: VOTERS,
    generation: 1,
    token: TOKEN,
    limits,
    processLimits,
    stateMachine: modules.machine.createStateMachine({ limits, arena }),
    memory: modules.memory.allocateReplicaMemory(memory, { limits, processLimits }),
    digest: modules.ports.sha256Digest,
    random: modules.ports.systemRandom(),
  })
}

function collect(): number {
  const { gc } = globalThis
  assert(gc !== undefined, "core: runs with --expose-gc")
  gc()
  return process.memoryUsage().heapUsed
}

async function main(): Promise<void> {
  // Proof: core.ts, which starts this program, passes a CoreTask.
  const task = JSON.parse(process.argv[2] ?? "{}") as CoreTask
  const core = new Core(await loadModules(task.checkout), task)
  core.begin()
  core.run({ ops: WARM_UP_REQUESTS * task.batch, ms: Number.POSITIVE_INFINITY })
  core.latencies.reset()
  const heapBefore = collect()
  const answeredBefore = core.answered
  const startedAt = performance.now()
  core.run({ ops: task.ops, ms: task.seconds === 0 ? Number.POSITIVE_INFINITY : task.seconds * 1_000 })
  const elapsed = (performance.now() - startedAt) / 1_000
  const ops = core.answered - answeredBefore
  const heapDelta = collect() - heapBefore
  const p50 = core.latencies.at(50)
  const p99 = core.latencies.at(99)
  const before = collect()
  core.run({ ops: ALLOCATION_REQUESTS * task.batch, ms: Number.POSITIVE_INFINITY })
  const allocated = process.memoryUsage().heapUsed - before
  const result: CoreResult = {
    ops,
    ops_per_second: ops / elapsed,
    p50,
    p99,
    heap_delta: heapDelta,
    allocated_per_request: allocated / ALLOCATION_REQUESTS,
  }
  process.stdout.write(`${JSON.stringify(result)}\n`)
}

await main()
