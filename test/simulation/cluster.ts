/**
 * A whole cluster in virtual time: production replicas and state machines, processes that crash with the loss of all
 * they had, come back blank, pause, run slow and have clocks of their own, and clients. Everything that happens to a
 * process passes here, and is checked here. What goes wrong and when is a driver's to say (swarm.ts, hold_back.ts).
 * Plane: control.
 */
import { assert } from "../../appliance/types/assert.ts"
import type { Message } from "../../appliance/replication/message.ts"
import { PRNG } from "../../appliance/types/prng.ts"
import { Checker } from "./checker.ts"
import { SimulatedClient } from "./client.ts"
import { EventTrace } from "./event_trace.ts"
import { History, rankOf, Violation } from "./history.ts"
import {
  CLIENT_RETRY_MS,
  CLIENT_RETRY_MS_DIRECT,
  CLIENT_TICK_MS,
  CLIENT_UNKNOWN_MS,
  CLIENT_UNKNOWN_MS_DIRECT,
  SIMULATED_PROCESS_LIMITS,
} from "./limits.ts"
import { bootProcess, describe, type Process } from "./machine.ts"
import { Membership } from "./membership.ts"
import { type Before, MemoryFaults } from "./memory_faults.ts"
import { CLIENT_MASK, codeOf, keep } from "./message_kinds.ts"
import { type Flight, Network } from "./network.ts"
import { drawSetup, type Mode, type Setup, Stream, streamSeed } from "./setup.ts"

export type ClusterOptions = {
  readonly seed: number
  readonly mode: Mode
  readonly voters?: number | undefined
  readonly trace?: ((line: string) => void) | undefined
  readonly memoryFaults?: boolean | undefined
}

const NEVER = Number.POSITIVE_INFINITY
/** Kinds of events in the trace's hash, beside the messages' codes. */
const Kind = { tick: 100, boot: 101, crash: 102, commit: 103, action: 104, fenced: 105, client: 106 } as const

export class Cluster {
  readonly setup: Setup
  readonly network: Network
  readonly history: History
  readonly trace: EventTrace
  readonly clients: SimulatedClient[] = []
  /** How often each thing was done to the cluster. */
  readonly actions: Record<string, number> = {}
  readonly totals = { view_changes: 0, recoveries: 0, checkpoints: 0, fenced: 0, stale: 0, crashes: 0 }
  readonly membership: Membership
  readonly memory: MemoryFaults | undefined
  now = 0
  events = 0
  /** The last to hand out a part of a checkpoint, and when. */
  donor = { slot: -1, at: -NEVER }
  /** A slot of the core that the convergence did not wait for; -1 for none. */
  outOfReach = -1
  readonly #options: ClusterOptions
  readonly #checker: Checker
  readonly #replicaRandom: PRNG
  readonly #clientRandom: PRNG
  /** Living processes, in the order in which they booted. */
  #processes: Process[] = []
  readonly #bootAt: Float64Array
  /** How often each slot has crashed: it decides what the adversary lets go of. */
  readonly #deaths: Uint32Array
  #boots = 0
  #changes = 0
  #isFounded = false
  /** A slot outside is left as it is: dead if dead. */
  #core: readonly number[] | undefined

  constructor(options: ClusterOptions) {
    const random = new PRNG(streamSeed(options.seed, Stream.setup))
    this.#options = options
    this.setup = drawSetup(random, options.mode, options.voters)
    const { limits, machines, clients } = this.setup
    this.trace = new EventTrace(options.trace)
    this.history = new History(limits.sessions_max)
    this.memory = options.memoryFaults === true ? this.#memoryFaults() : undefined
    this.#checker = new Checker(this.history, limits, this.memory)
    this.network = new Network({ random: new PRNG(streamSeed(options.seed, Stream.network)), limits })
    this.#replicaRandom = new PRNG(streamSeed(options.seed, Stream.replicas))
    this.#clientRandom = new PRNG(streamSeed(options.seed, Stream.clients))
    this.#bootAt = new Float64Array(limits.slots_max).fill(NEVER)
    this.membership = new Membership(
      {
        at: (slot) => this.at(slot),
        processes: () => this.#processes,
        now: () => this.now,
        isWell: (slot) => this.memory?.isVictim(this.at(slot)) !== true,
      },
      { slots: limits.slots_max, founders: this.setup.voters },
    )
    this.#deaths = new Uint32Array(limits.slots_max)
    for (let slot = 0; slot < machines; slot += 1) {
      // Spare machines come with the founders, or long after them.
      const isLate = slot >= this.setup.voters && random.chance(1, 2)
      this.#bootAt[slot] = isLate ? random.between(2_000, 6_000) : random.below(500)
    }
    const isDirect = options.mode === "hold_back"
    for (let id = 0; id < clients; id += 1) {
      this.clients.push(
        new SimulatedClient({
          id,
          random: this.#clientRandom,
          history: this.history,
          slots: machines,
          retryMs: isDirect ? CLIENT_RETRY_MS_DIRECT : CLIENT_RETRY_MS,
          unknownMs: isDirect ? CLIENT_UNKNOWN_MS_DIRECT : CLIENT_UNKNOWN_MS,
        }),
      )
    }
  }

  #memoryFaults(): MemoryFaults {
    const random = new PRNG(streamSeed(this.#options.seed, Stream.memory))
    const say = (line: string): void => this.trace.say(`${this.now} -- ${line}`)
    return new MemoryFaults({ random, limits: this.setup.limits, history: this.history, say })
  }

  // ---------------------------------------------------------------- what a driver asks

  get processes(): readonly Process[] {
    return this.#processes
  }

  get isFounded(): boolean {
    return this.#isFounded
  }

  /** The youngest living process of a slot. */
  at(slot: number): Process | undefined {
    return this.#processes.findLast((process) => process.slot === slot)
  }

  deathsOf(slot: number): number {
    return this.#deaths[slot] ?? 0
  }

  /** The primary of the newest view that has one. */
  primary(): Process | undefined {
    let newest: Process | undefined
    for (const process of this.#processes) {
      const { isPrimary, epoch, view } = process.replica
      if (isPrimary && (newest === undefined || rankOf(epoch, view) >= rankOf(newest.epoch, newest.view))) {
        newest = process
      }
    }
    return newest
  }

  count(action: string): void {
    this.actions[action] = (this.actions[action] ?? 0) + 1
    this.events += 1
    this.trace.note(Kind.action, action.length, action.charCodeAt(0), this.now)
    if (this.trace.isHeard) {
      this.trace.say(`${this.now} -- ${action}`)
    }
  }

  // ---------------------------------------------------------------- what a driver does

  /** All processes of the slot are gone, with everything that they had. The slot comes back at `bootAt`. */
  crash(slot: number, bootAt: number): void {
    for (const process of this.#processes.filter((other) => other.slot === slot)) {
      this.#remove(process)
    }
    this.#deaths[slot] = this.deathsOf(slot) + 1
    this.totals.crashes += this.membership.voters.includes(slot) ? 1 : 0
    this.#bootAt[slot] = bootAt
    this.trace.note(Kind.crash, slot, this.now, bootAt === NEVER ? 0 : bootAt)
    if (this.trace.isHeard) {
      this.trace.say(`${this.now} ${slot} crashes`)
    }
  }

  /** A second process of the slot begins, blank, while the first lives on. */
  twin(slot: number): void {
    const old = this.at(slot)
    assert(old !== undefined, "cluster: a twin has someone to be a twin of")
    this.#boot(slot)
  }

  /** An operator asks the primary for other voters. */
  reconfigure(voters: readonly number[], standbys: readonly number[]): void {
    const primary = this.primary()
    // An operator may name a machine whose memory is wrong; then it counts among the new epoch's f from the start.
    const isOverrun = voters.length === 1 && this.memory?.isVictim(this.at(voters[0] ?? 0)) === true
    if (primary === undefined || isOverrun) {
      return
    }
    this.membership.noteChange(voters)
    this.#changes += 1
    const message: Message = {
      type: "reconfigure",
      change: this.#changes,
      epoch_expected: primary.replica.epoch,
      voters,
      standbys,
      synchronous: false,
      drops_standby: false,
      grows: false,
      from: primary.slot,
      epoch: 0,
      cv: [],
    }
    this.deliver({ to: primary.slot, message, sender: -1, code: codeOf("reconfigure") })
  }

  /** Runs the process's clock up to now; it may have stood still or run fast. */
  advanceClock(process: Process): void {
    if (this.now <= process.readAt) {
      return
    }
    process.clock += (this.now - process.readAt) * process.rate
    process.readAt = this.now
  }

  /** One millisecond of virtual time. */
  step(): void {
    this.now += 1
    this.network.step((flight) => this.deliver(flight))
    for (let slot = 0; slot < this.#bootAt.length; slot += 1) {
      if (this.now >= (this.#bootAt[slot] ?? NEVER)) {
        this.#boot(slot)
      }
    }
    // Whoever dies on the way leaves the list; a copy is walked only then.
    for (const process of this.#processes) {
      if (this.now >= process.tickAt) {
        this.#tick(process)
      }
    }
    if (this.now % CLIENT_TICK_MS === 0 && this.#isFounded) {
      this.#tickClients()
    }
  }

  deliver(flight: Flight): void {
    const { to, message, code } = flight
    if (message.type === "reply" || message.type === "read_reply") {
      this.#deliverReply(to, message)
      return
    }
    if (message.type === "reconfigure_reply") {
      this.count(`reconfigure_${message.outcome}`)
      if (message.outcome !== "ok") {
        this.membership.noteRefusal()
      }
      return
    }
    const process = this.#receiverOf(to)
    if (process === undefined) {
      return
    }
    if (this.now < process.pausedUntil) {
      // A stalled process reads what lay in its sockets when it wakes.
      if (process.pausedUntil !== NEVER) {
        this.network.enqueueAfter(flight, process.pausedUntil - this.now)
      }
      return
    }
    this.events += 1
    const view = "view" in message ? message.view : 0
    this.trace.note(code, message.from * 16 + to, view, this.now)
    if (this.trace.isHeard) {
      this.trace.say(`${this.now} ${message.from}>${to} ${brief(message)}`)
    }
    if (message.type === "request" || message.type === "read") {
      this.#checker.noteAsked(message)
      this.memory?.noteAsked(message)
    } else if (message.type === "checkpoint_chunk") {
      this.donor = { slot: message.from, at: this.now }
    }
    this.#do(process, () => process.replica.receive(message))
  }

  /** A bit of a machine that may be lost as well. */
  flipBit(): void {
    const { memory } = this
    if (memory === undefined) {
      return
    }
    memory.look()
    const candidates = this.#processes.filter((process) => {
      return process.replica.status !== "fenced" && !process.hasTwin && this.membership.mayCrash(process.slot)
    })
    const what = memory.flip(candidates, this.now)
    if (what !== undefined) {
      this.count(`flip in ${what}`)
    }
  }

  /** Nobody's memory is wrong; of who stays outside the core nothing is asked. */
  isMemoryRight(core: readonly number[]): boolean {
    return !core.some((slot) => this.memory?.isSick(this.at(slot)) === true)
  }

  // ---------------------------------------------------------------- liveness

  /** From now on these slots are whole, and nothing else changes any more. */
  heal(core: readonly number[]): void {
    this.#core = core
    this.network.healCore(core)
    for (const process of this.#processes) {
      this.advanceClock(process)
      if (core.includes(process.slot)) {
        process.pausedUntil = 0
        process.tickMs = 10
        process.rate = 1
        process.tickAt = Math.min(process.tickAt, this.now)
      } else if (process.pausedUntil > this.now) {
        process.pausedUntil = NEVER
        process.tickAt = NEVER
      }
    }
    for (let slot = 0; slot < this.#bootAt.length; slot += 1) {
      if (core.includes(slot)) {
        this.#bootAt[slot] = this.#bootAt[slot] === NEVER ? NEVER : Math.min(this.#bootAt[slot] ?? 0, this.now + 100)
      } else {
        this.#bootAt[slot] = NEVER
      }
    }
    for (const client of this.clients) {
      if (!core.includes(client.home)) {
        client.moveTo(core[this.#clientRandom.below(core.length)] ?? 0)
      }
    }
  }

  /** Why the core has not converged yet; undefined when all its voters are members of one view with equal states. */
  divergence(core: readonly number[], isQuiet: boolean): string | undefined {
    const voters = core.filter((slot) => this.membership.voters.includes(slot) && !this.isOutOfReach(slot, core))
    const first = this.at(voters[0] ?? 0)
    if (first === undefined) {
      return `slot ${voters[0]} is down`
    }
    for (const slot of voters) {
      const process = this.at(slot)
      if (process === undefined) {
        return `slot ${slot} is down`
      }
      const { replica } = process
      if (replica.status !== "normal" || rankOf(process.epoch, process.view) !== rankOf(first.epoch, first.view)) {
        return describe(process)
      }
      if (isQuiet && replica.commit !== first.replica.commit) {
        return `commit ${replica.commit} and ${first.replica.commit}: ${describe(process)}`
      }
    }
    if (isQuiet) {
      for (const slot of voters) {
        const process = this.at(slot)
        assert(process !== undefined, "cluster: it lived a moment ago")
        this.#checker.checkArena(process)
      }
    }
    return undefined
  }

  /**
   * Excused: who is cut off from a primary outside the core that all others are content with can neither recover (rule
   * 19 wants that primary's answer) nor hear what is committed, and its clients are not served.
   */
  isOutOfReach(slot: number, core: readonly number[]): boolean {
    const primary = this.primary()?.slot ?? slot
    if (core.includes(primary)) {
      return false
    }
    const isOut = this.network.isImpassable(primary, slot) || this.network.isImpassable(slot, primary)
    this.outOfReach = isOut ? slot : this.outOfReach
    return isOut
  }

  /** Counters of the dead and the living. */
  finish(): void {
    for (const process of this.#processes) {
      this.#addCounters(process)
    }
  }

  describe(): string {
    return this.#processes.map(describe).join("\n")
  }

  // ---------------------------------------------------------------- processes

  #boot(slot: number): void {
    this.#bootAt[slot] = NEVER
    const process = bootProcess({
      id: this.#boots,
      slot,
      founders: this.setup.voters,
      mayFound: !this.#isFounded,
      limits: this.setup.limits,
      processLimits: this.memory?.processLimits ?? SIMULATED_PROCESS_LIMITS,
      random: this.#replicaRandom,
      now: this.now,
    })
    this.#boots += 1
    for (const other of this.#processes) {
      if (other.slot === slot) {
        other.hasTwin = true
        process.hasTwin = true
      }
    }
    this.#processes = [...this.#processes, process]
    this.trace.note(Kind.boot, slot, process.id, this.now)
    if (this.trace.isHeard) {
      this.trace.say(`${this.now} ${slot}#${process.id} boots`)
    }
    this.#tick(process)
  }

  #remove(process: Process): void {
    this.memory?.forget(process)
    this.#processes = this.#processes.filter((other) => other !== process)
    this.#addCounters(process)
  }

  #addCounters(process: Process): void {
    const { counters } = process.replica
    this.totals.view_changes += counters.view_changes
    this.totals.recoveries += counters.recoveries
    this.totals.checkpoints += counters.checkpoints_received
    this.totals.stale += counters.stale_incarnation
    this.memory?.addCounters(process)
  }

  #tick(process: Process): void {
    process.tickAt = this.now + process.tickMs
    if (this.now < process.pausedUntil) {
      process.tickAt = process.pausedUntil
      return
    }
    if (process.rate === 0) {
      process.readAt = Math.max(process.readAt, this.now)
      return
    }
    this.events += 1
    this.advanceClock(process)
    this.trace.note(Kind.tick, process.id, this.now, 0)
    this.#do(process, () => process.replica.tick(Math.floor(process.clock)))
    this.memory?.noteTick(process)
  }

  /** One event of a process; an assertion that stops one with a flipped bit is its death. */
  #do(process: Process, event: () => void): void {
    const before = { isTorn: process.replica.isTorn, commit: process.commit }
    try {
      event()
    } catch (error) {
      if (this.memory?.isStop(process, error) !== true) {
        throw error
      }
      this.crash(process.slot, this.now + 100)
      return
    }
    this.#after(process, before)
  }

  /** Whom a message to the slot reaches: of two processes mostly the younger, sometimes the older. */
  #receiverOf(slot: number): Process | undefined {
    const youngest = this.at(slot)
    if (youngest === undefined || !youngest.hasTwin) {
      return youngest
    }
    const others = this.#processes.filter((process) => process.slot === slot && process !== youngest)
    const isCore = this.#core?.includes(slot) === true
    if (others.length === 0 || isCore || this.#clientRandom.chance(2, 3)) {
      return youngest
    }
    return others[this.#clientRandom.below(others.length)]
  }

  /** After every event of a process: what it did is checked, what it says is sent. */
  #after(process: Process, before: Before): void {
    const hasCommitted = this.#checker.check(process)
    if (this.memory?.check(process, this.now) === true) {
      this.#checker.checkArena(process)
    }
    const { replica, slot } = process
    if (hasCommitted) {
      this.trace.note(Kind.commit, process.id, replica.commit, replica.view)
    }
    this.#noteStanding(process)
    for (let out = replica.takeOutgoing(); out !== undefined; out = replica.takeOutgoing()) {
      if (this.memory?.maySay(process, out.message, before) !== false) {
        this.#send(process, out.to, out.message)
      }
    }
    if (replica.status === "quarantined") {
      // Its machine is switched off, and another one takes its place.
      this.count("quarantined")
      this.crash(slot, this.now + 500)
      return
    }
    if (replica.counters.outbox_dropped > 0) {
      throw new Violation(`slot ${slot}: one event left more messages than the outbox holds`)
    }
    if (replica.status === "fenced" && this.#processes.includes(process)) {
      this.#fence(process)
    }
  }

  #noteStanding(process: Process): void {
    const { replica } = process
    if (!process.isStarted && replica.status === "normal") {
      process.isStarted = true
      this.#isFounded = true
    }
    this.membership.note(process)
  }

  #fence(process: Process): void {
    this.trace.note(Kind.fenced, process.id, this.now, 0)
    if (this.trace.isHeard) {
      this.trace.say(`${this.now} ${process.slot}#${process.id} is fenced`)
    }
    if (!process.hasTwin) {
      throw new Violation(`a process that never had a twin is fenced: ${describe(process)}`)
    }
    this.totals.fenced += 1
    this.#remove(process)
    if (this.at(process.slot) === undefined) {
      this.#bootAt[process.slot] = this.now + 100
    }
  }

  #send(process: Process, to: number, message: Message): void {
    const code = codeOf(message.type)
    if (message.type === "reply" || message.type === "read_reply") {
      this.#checker.noteAnswered(message)
    }
    const flight = { to, message: keep(message), sender: process.id, code }
    if (to === process.slot) {
      this.deliver(flight)
    } else if (this.#options.mode === "hold_back" && ((1 << code) & CLIENT_MASK) !== 0) {
      this.network.enqueueAfter(flight, 1)
    } else {
      this.network.send(flight)
    }
  }

  // ---------------------------------------------------------------- clients

  #tickClients(): void {
    for (const client of this.clients) {
      if (this.at(client.home) === undefined) {
        this.#moveClient(client)
        continue
      }
      const ask = client.tick(this.now)
      if (ask !== undefined) {
        const flight = { to: ask.to, message: ask.message, sender: -1, code: codeOf(ask.message.type) }
        const isDirect = this.#options.mode === "hold_back" || ask.to === client.home
        if (isDirect) {
          this.deliver(flight)
        } else {
          this.network.send(flight)
        }
      }
    }
  }

  /** The client dies with its machine, or on its own, and begins anew elsewhere. */
  #moveClient(client: SimulatedClient): void {
    const living = this.#core ?? Array.from({ length: this.setup.machines }, (_, slot) => slot)
    client.moveTo(living[this.#clientRandom.below(living.length)] ?? 0)
  }

  crashClient(): void {
    const client = this.clients[this.#clientRandom.below(this.clients.length)]
    assert(client !== undefined, "cluster: there are clients")
    this.#moveClient(client)
  }

  #deliverReply(to: number, message: Message & { type: "reply" | "read_reply" }): void {
    this.events += 1
    this.trace.note(Kind.client, to, codeOf(message.type), this.now)
    for (const client of this.clients) {
      if (client.home === to && client.receive(message, this.now)) {
        return
      }
    }
  }
}

function brief(message: Message): string {
  const parts: string[] = [message.type]
  for (const [name, value] of Object.entries(message)) {
    if (typeof value === "number" && name !== "from" && name !== "nonce") {
      parts.push(`${name} ${value}`)
    }
  }
  return "header" in message ? `${parts.join(" ")} op ${message.header.op}` : parts.join(" ")
}
