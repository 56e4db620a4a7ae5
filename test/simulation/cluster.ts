/**
 * A whole cluster in virtual time: production replicas and state machines, a faulty network, machines that crash with
 * the loss of everything they had, pause, and come back blank. One seed gives one run, byte for byte. A run has a
 * phase with faults and a phase without, in which everything must converge. Plane: control.
 */
import { createHash } from "node:crypto"
import { arenaBytes } from "../../appliance/state_machine/arena.ts"
import { createStateMachine } from "../../appliance/state_machine/state_machine.ts"
import { Replica } from "../../appliance/replication/replica.ts"
import { allocateReplicaMemory } from "../../appliance/replication/replica_memory.ts"
import type { Message } from "../../appliance/replication/message.ts"
import { crc32 } from "../../appliance/types/checksum.ts"
import type { StateMachine } from "../../appliance/types/contracts.ts"
import type { ClusterLimits, ProcessLimits } from "../../appliance/types/limits.ts"
import { PRNG } from "../../appliance/types/prng.ts"
import { StaticMemory } from "../../appliance/types/static_memory.ts"
import { SimulatedClient } from "./client.ts"
import { History, Violation } from "./history.ts"
import {
  CLIENTS,
  FAULT_PHASE_MS,
  FORMATION_MS,
  LIVENESS_PHASE_MS,
  SIMULATED_LIMITS,
  SIMULATED_PROCESS_LIMITS,
} from "./limits.ts"
import { Network, type NetworkFaults } from "./network.ts"

export type SimulationOptions = {
  readonly seed: number
  readonly faultPhaseMs?: number
  readonly trace?: (line: string) => void
}

export type SimulationResult = {
  readonly seed: number
  readonly voters: number
  readonly failure: string | undefined
  readonly virtual_ms: number
  readonly events: number
  readonly commits: number
  readonly crashes: number
  readonly view_changes: number
  readonly recoveries: number
  readonly checkpoints: number
  readonly acknowledged: number
  readonly reads: number
  readonly unknown: number
  /** Hash of every event: equal for equal seeds, or the simulator is not deterministic. */
  readonly trace_digest: string
}

type Machine = {
  readonly replica: Replica
  readonly stateMachine: StateMachine
  commit: number
  view: number
  pausedUntil: number
}

const QUIET: NetworkFaults = {
  loss: 0,
  duplicate: 0,
  replay: 0,
  hold_back: 0,
  corrupt: 0,
  delay_ms_min: 1,
  delay_ms_max: 5,
}
const TICK_MS = 10
const TOKEN = "5".repeat(32)

/** Runs one seed to its end or its first violation. */
export function simulate(options: SimulationOptions): SimulationResult {
  const simulation = new Simulation(options)
  return simulation.run()
}

class Simulation {
  readonly #options: SimulationOptions
  readonly #random: PRNG
  readonly #voters: number
  readonly #network: Network
  readonly #history = new History()
  readonly #machines: (Machine | undefined)[]
  readonly #bootAt: number[]
  readonly #clients: SimulatedClient[] = []
  readonly #weights: { crash: number; partition: number; pause: number; heal: number }
  readonly #trace = createHash("sha256")
  readonly #limits: ClusterLimits = SIMULATED_LIMITS
  readonly #processLimits: ProcessLimits = SIMULATED_PROCESS_LIMITS
  readonly #totals = { view_changes: 0, recoveries: 0, checkpoints: 0 }
  #now = 0
  #events = 0
  #crashes = 0
  #formed = false

  constructor(options: SimulationOptions) {
    this.#options = options
    this.#random = new PRNG(options.seed)
    this.#voters = [1, 3, 3, 3, 3, 5, 5][this.#random.below(7)] ?? 3
    this.#machines = new Array<Machine | undefined>(this.#voters).fill(undefined)
    this.#bootAt = Array.from({ length: this.#voters }, () => this.#random.below(500))
    // Swarm: each seed draws which faults it has and how often, so that runs differ in kind (rule 31).
    const pick = (values: readonly number[]): number => values[this.#random.below(values.length)] ?? 0
    this.#network = new Network({
      random: this.#random,
      voters: this.#voters,
      faults: {
        loss: pick([0, 0, 10, 50, 150, 300]),
        duplicate: pick([0, 0, 20, 100]),
        replay: pick([0, 0, 20, 100]),
        hold_back: pick([0, 0, 100, 400]),
        corrupt: pick([0, 0, 5, 30]),
        delay_ms_min: pick([0, 1, 5]),
        delay_ms_max: pick([5, 20, 60, 150]),
      },
    })
    this.#weights = {
      crash: pick([20, 60, 120, 250]),
      partition: pick([0, 10, 40, 80]),
      pause: pick([0, 10, 40]),
      heal: pick([20, 60, 150]),
    }
    for (let id = 0; id < CLIENTS; id += 1) {
      this.#clients.push(
        new SimulatedClient({ id, random: this.#random, history: this.#history, voters: this.#voters }),
      )
    }
  }

  run(): SimulationResult {
    let failure: string | undefined
    try {
      this.#runUntil(FORMATION_MS, false)
      this.#runUntil(FORMATION_MS + (this.#options.faultPhaseMs ?? FAULT_PHASE_MS), true)
      this.#converge()
    } catch (error) {
      // A violation or an assertion of the code under test: both end the run, and the seed repeats it.
      failure = error instanceof Error ? `${error.message}\n${error.stack ?? ""}` : String(error)
    }
    for (const machine of this.#machines) {
      this.#count(machine)
    }
    const sum = (pickCount: (client: SimulatedClient) => number): number =>
      this.#clients.reduce((total, client) => total + pickCount(client), 0)
    return {
      seed: this.#options.seed,
      voters: this.#voters,
      failure,
      virtual_ms: this.#now,
      events: this.#events,
      commits: this.#history.op,
      crashes: this.#crashes,
      ...this.#totals,
      acknowledged: sum((client) => client.counts.acknowledged),
      reads: sum((client) => client.counts.reads),
      unknown: sum((client) => client.counts.unknown),
      trace_digest: this.#trace.digest("hex").slice(0, 32),
    }
  }

  #runUntil(end: number, faults: boolean): void {
    while (this.#now < end) {
      this.#step(faults)
    }
  }

  #step(faults: boolean): void {
    this.#now += 1
    if (this.#now % TICK_MS === 0) {
      if (faults && this.#now % (10 * TICK_MS) === 0) {
        this.#injectFaults()
      }
      this.#tickAll()
    }
    for (
      let delivery = this.#network.next(this.#now);
      delivery !== undefined;
      delivery = this.#network.next(this.#now)
    ) {
      this.#deliver(delivery.to, delivery.message)
    }
  }

  // ---------------------------------------------------------------- events

  #tickAll(): void {
    for (let slot = 0; slot < this.#voters; slot += 1) {
      const machine = this.#machines[slot]
      if (machine === undefined) {
        if (this.#now >= (this.#bootAt[slot] ?? 0)) {
          this.#boot(slot)
        }
      } else if (this.#now >= machine.pausedUntil) {
        machine.replica.tick(this.#now)
        this.#after(slot)
      }
    }
    for (const client of this.#clients) {
      if (this.#machines[client.home] === undefined) {
        client.moveTo(this.#random.below(this.#voters))
        continue
      }
      const ask = client.tick(this.#now)
      if (ask !== undefined) {
        this.#route(client.home, ask.to, ask.message)
      }
    }
  }

  #deliver(to: number, message: Message): void {
    const machine = this.#machines[to]
    if (machine === undefined) {
      return
    }
    if (this.#now < machine.pausedUntil) {
      // A stalled process reads what lay in its socket when it wakes.
      this.#network.send(to, message, machine.pausedUntil)
      return
    }
    this.#events += 1
    this.#note(`${this.#now} ${message.from}>${to} ${message.type} ${"view" in message ? message.view : ""}`)
    if (message.type === "reply" || message.type === "read_reply") {
      for (const client of this.#clients) {
        if (client.home === to) {
          client.receive(message, this.#now)
        }
      }
      return
    }
    machine.replica.receive(message)
    this.#after(to)
  }

  #route(from: number, to: number, message: Message): void {
    if (from === to) {
      this.#deliver(to, message)
    } else {
      this.#network.send(to, message, this.#now)
    }
  }

  /** After every event of a machine: what it committed is checked, what it says is sent. */
  #after(slot: number): void {
    const machine = this.#machines[slot]
    if (machine === undefined) {
      return
    }
    this.#check(slot, machine)
    for (let out = machine.replica.takeOutgoing(); out !== undefined; out = machine.replica.takeOutgoing()) {
      if (out.to === slot) {
        this.#deliver(slot, cloneReply(out.message))
      } else {
        this.#network.send(out.to, out.message, this.#now)
      }
    }
    if (machine.replica.status === "normal" && !this.#formed) {
      this.#formed = true
      this.#note(`${this.#now} formed by ${slot}`)
    }
    if (machine.replica.status === "fenced") {
      this.#note(`${this.#now} ${slot} fenced`)
      this.#crash(slot)
    }
  }

  #check(slot: number, machine: Machine): void {
    const { replica } = machine
    if (replica.commit < machine.commit || replica.view < machine.view) {
      throw new Violation(`slot ${slot}: commit or view number fell`)
    }
    if (replica.counters.divergent_entry > 0) {
      throw new Violation(`slot ${slot}: a peer has another entry of this very view`)
    }
    machine.view = replica.view
    if (replica.commit === machine.commit) {
      return
    }
    for (let op = machine.commit + 1; op <= replica.commit; op += 1) {
      const entry = replica.log.entry(op)
      if (entry !== undefined) {
        this.#history.committed(slot, entry)
      }
    }
    machine.commit = replica.commit
    const checksum = replica.log.checksum(replica.commit)
    if (checksum !== undefined) {
      this.#history.checkChecksum(slot, replica.commit, checksum)
    }
    if (replica.commit % 4 === 0) {
      const { arena } = machine.stateMachine
      this.#history.checkDigest(slot, replica.commit, crc32(arena, 0, arena.length))
    }
    this.#note(`${this.#now} ${slot} commit ${replica.commit}`)
  }

  // ---------------------------------------------------------------- machines

  #boot(slot: number): void {
    const memory = new StaticMemory()
    const arena = memory.allocate("arena", arenaBytes(this.#limits))
    const stateMachine = createStateMachine({ limits: this.#limits, arena })
    const replica = new Replica({
      slot,
      voters: this.#voters,
      generation: 1,
      // The boot server hands the token out only until the cluster has been founded.
      token: this.#formed ? "" : TOKEN,
      limits: this.#limits,
      processLimits: this.#processLimits,
      stateMachine,
      memory: allocateReplicaMemory(memory, {
        limits: this.#limits,
        processLimits: this.#processLimits,
        arenaBytes: arena.length,
      }),
      digest: (prefix, bytes, start, end) => {
        const hash = createHash("sha256").update(prefix)
        return hash.update(bytes.subarray(start, end)).digest("hex").slice(0, 32)
      },
      random: () => this.#random.u32(),
    })
    this.#machines[slot] = { replica, stateMachine, commit: 0, view: 0, pausedUntil: 0 }
    this.#note(`${this.#now} ${slot} boots`)
    replica.tick(this.#now)
    this.#after(slot)
  }

  /** Everything that the machine had is gone. */
  #crash(slot: number): void {
    this.#count(this.#machines[slot])
    this.#machines[slot] = undefined
    this.#bootAt[slot] = this.#now + this.#random.between(20, 1_500)
    this.#crashes += 1
    this.#note(`${this.#now} ${slot} crashes`)
    this.#network.releaseHeld(this.#now + this.#random.between(0, 2_500))
  }

  #count(machine: Machine | undefined): void {
    if (machine !== undefined) {
      this.#totals.view_changes += machine.replica.counters.view_changes
      this.#totals.recoveries += machine.replica.counters.recoveries
      this.#totals.checkpoints += machine.replica.counters.checkpoints_received
    }
  }

  /** Machines that are down or have not recovered: the protocol promises to live with at most f of them. */
  #down(): number {
    return this.#machines.filter((machine) => machine === undefined || machine.replica.status === "recovering").length
  }

  /** Whom a fault hits: the newest primary, the one before it, or anyone. */
  #victim(): number {
    let view = 0
    for (const machine of this.#machines) {
      if (machine?.replica.status === "normal") {
        view = Math.max(view, machine.replica.view)
      }
    }
    const choice = this.#random.below(3)
    return choice === 0 ? this.#random.below(this.#voters) : (view + this.#voters - (choice - 1)) % this.#voters
  }

  #injectFaults(): void {
    const faults = (this.#voters - 1) / 2
    if (this.#random.chance(this.#weights.crash, 1000)) {
      const slot = this.#victim()
      const machine = this.#machines[slot]
      // Who has not recovered counts as down already, and may well die again before it has.
      if (machine !== undefined && (machine.replica.status === "recovering" || this.#down() < faults)) {
        this.#crash(slot)
      }
    }
    if (this.#random.chance(this.#weights.partition, 1000)) {
      const from = this.#victim()
      const isSymmetric = this.#random.chance(1, 2)
      // All links of one machine, or some of them.
      const cuts = this.#random.chance(1, 2) ? 3 : 1
      for (let to = 0; to < this.#voters; to += 1) {
        if (to !== from && this.#random.chance(cuts, 3)) {
          this.#network.setCut({ from, to, cut: true })
          this.#network.setCut({ from: to, to: from, cut: isSymmetric })
        }
      }
    }
    if (this.#random.chance(this.#weights.heal, 1000)) {
      this.#network.healAll()
    }
    if (this.#random.chance(this.#weights.pause, 1000)) {
      const machine = this.#machines[this.#random.below(this.#voters)]
      if (machine !== undefined) {
        machine.pausedUntil = this.#now + this.#random.between(50, 3_000)
      }
    }
  }

  // ---------------------------------------------------------------- liveness

  /** No more faults: every machine must become a member of one view, and every client must be served again. */
  #converge(): void {
    this.#network.healAll()
    this.#network.faults = QUIET
    this.#network.releaseHeld(this.#now)
    const before = this.#clients.map(served)
    const end = this.#now + LIVENESS_PHASE_MS
    while (this.#now < end) {
      this.#step(false)
      if (this.#now % 100 === 0 && this.#hasConverged(before)) {
        return
      }
    }
    const states = this.#machines.map((machine) => (machine === undefined ? "down" : describeReplica(machine.replica)))
    throw new Violation(`no convergence within ${LIVENESS_PHASE_MS} ms without faults: ${states.join("; ")}`)
  }

  #hasConverged(before: readonly number[]): boolean {
    const view = this.#machines[0]?.replica.view
    const isOneView = this.#machines.every(
      (machine) => machine?.replica.status === "normal" && machine.replica.view === view,
    )
    const isServed = this.#clients.every((client, index) => served(client) > (before[index] ?? 0))
    return isOneView && isServed
  }

  #note(line: string): void {
    this.#trace.update(line)
    this.#options.trace?.(line)
  }
}

function describeReplica(replica: Replica): string {
  const { status, phase, view, op, commit } = replica
  return `${status}/${phase} view ${view} op ${op} commit ${commit}`
}

function served(client: SimulatedClient): number {
  return client.counts.acknowledged + client.counts.reads
}

function cloneReply(message: Message): Message {
  return "body" in message ? { ...message, body: message.body.slice() } : message
}
