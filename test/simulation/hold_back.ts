/**
 * The adversary that holds messages back (rule 31): it decides who hears whom, for whom time passes, and which kinds of
 * messages wait in its bag, to be let go when their sender has rebooted. It plays short plans in the manner of the
 * known ways to lose an acknowledged write, each with chance in every part, since chance alone almost never finds them.
 * Plane: control.
 */
import type { MessageType } from "../../appliance/replication/message.ts"
import type { PRNG } from "../../appliance/types/prng.ts"
import type { Cluster } from "./cluster.ts"
import { BAG_MAX, TICK_MS } from "./limits.ts"
import { isOperational } from "./machine.ts"
import { maskOf, QUORUM_MASK, VIEW_CHANGE_MASK } from "./message_kinds.ts"
import type { Flight } from "./network.ts"
import { pick } from "./setup.ts"
import type { Driver } from "./swarm.ts"

/** Slots as bits. */
type Slots = number

type Step = {
  /** Does what it does, and says for how many milliseconds things stay so. */
  readonly begin: () => number
  /** Over before its time. */
  readonly isDone?: () => boolean
}

type Feed = {
  readonly types: number
  readonly to?: number | undefined
  readonly from?: number | undefined
  readonly count: number
}

const ALL_TYPES = -1
/** How much faster than the simulation's a clock goes that the adversary wants to run out. */
const HURRY = 5
/** Each seed has its favourites: a plan must be tried often to work once. */
const PLANS_WEIGHTS: readonly [number, ...number[]] = [0, 0, 1, 1, 6]
const PLANS = [
  "promise",
  "long_log",
  "held_acks",
  "slow_start",
  "young_death",
  "stale_answers",
  "crash_chain",
  "twin",
  "half_transfer",
  "chaos",
  "calm",
] as const
type PlanName = (typeof PLANS)[number]

export class HoldBack implements Driver {
  readonly #cluster: Cluster
  readonly #random: PRNG
  readonly #slots: number
  readonly #weights: readonly { readonly name: PlanName; readonly weight: number }[]
  #plan: Step[] = []
  #step: Step | undefined
  #until = 0
  #bag: Flight[] = []
  /** Who talks to whom, what is held even among those, and for whom time passes. */
  #talking: Slots = 0
  #held = 0
  #awake: Slots = 0
  #rate = 1
  /** The only one whom the talking hear and talk to, or -1: what one of them learns the others do not. */
  #center = -1

  constructor(cluster: Cluster, random: PRNG) {
    this.#cluster = cluster
    this.#random = random
    this.#slots = cluster.setup.machines
    // Whatever else a seed has, machines die in it.
    const isIn = (name: PlanName): number => (name === "promise" || name === "long_log" ? 1 : 0)
    this.#weights = PLANS.map((name) => ({ name, weight: pick(random, PLANS_WEIGHTS) + isIn(name) }))
  }

  begin(): void {
    this.#cluster.network.divert = (flight) => this.#divert(flight)
  }

  /** Everything held is let go once more, and time passes for everybody. */
  end(): void {
    this.#cluster.network.divert = undefined
    this.#regime({ talking: this.#everybody(), awake: this.#everybody() })
    this.#setClocks()
    this.#release()
  }

  /** Every millisecond. */
  step(): void {
    const { now } = this.#cluster
    if (now >= this.#until || this.#step?.isDone?.() === true) {
      this.#step = this.#plan.shift()
      if (this.#step === undefined) {
        this.#draw()
        this.#step = this.#plan.shift()
      }
      this.#until = now + Math.max(this.#step?.begin() ?? 0, 1)
    }
    this.#setClocks()
  }

  // ---------------------------------------------------------------- the world as the adversary wants it

  #everybody(): Slots {
    return (1 << this.#slots) - 1
  }

  #regime(options: {
    readonly talking: Slots
    readonly awake: Slots
    readonly held?: number
    readonly rate?: number
    readonly center?: number
  }): void {
    this.#center = options.center ?? -1
    this.#talking = options.talking
    this.#awake = options.awake
    this.#held = options.held ?? 0
    this.#rate = options.rate ?? 1
  }

  #setClocks(): void {
    for (const process of this.#cluster.processes) {
      const rate = ((1 << process.slot) & this.#awake) === 0 ? 0 : this.#rate
      if (process.rate !== rate) {
        this.#cluster.advanceClock(process)
        process.rate = rate
        process.tickAt = Math.min(process.tickAt, this.#cluster.now + TICK_MS)
      }
    }
  }

  #divert(flight: Flight): boolean {
    const both = (1 << flight.to) | (1 << flight.message.from)
    const type = 1 << flight.code
    const isCentral = this.#center < 0 || flight.to === this.#center || flight.message.from === this.#center
    if ((this.#talking & both) === both && isCentral && (this.#held & type) === 0) {
      return false
    }
    if ((QUORUM_MASK & type) !== 0 || this.#random.chance(1, 4)) {
      if (this.#bag.length < BAG_MAX) {
        this.#bag.push(flight)
      } else {
        this.#bag[this.#random.below(BAG_MAX)] = flight
      }
    }
    return true
  }

  #release(): void {
    for (const flight of this.#bag) {
      this.#cluster.network.enqueueAfter(flight, this.#random.between(1, 30))
    }
    this.#bag = []
  }

  // ---------------------------------------------------------------- steps

  /** Time runs out for some; nobody hears anybody. */
  #timeOut(who: Slots, milliseconds: number): Step {
    return {
      begin: () => {
        this.#cluster.count("time_out")
        this.#regime({ talking: 0, awake: who, rate: HURRY })
        return Math.ceil(milliseconds / HURRY)
      },
    }
  }

  /** Some of what is in the bag arrives, now; what comes of it goes into the bag. */
  #feed(feed: Feed): Step {
    return {
      begin: () => {
        this.#cluster.count("feed")
        this.#regime({ talking: 0, awake: 0 })
        const chosen: Flight[] = []
        for (let index = this.#bag.length - 1; index >= 0 && chosen.length < feed.count; index -= 1) {
          const flight = this.#bag[index]
          if (flight !== undefined && fits(flight, feed)) {
            chosen.push(flight)
            // It may arrive again.
            if (this.#random.chance(2, 3)) {
              this.#bag.splice(index, 1)
            }
          }
        }
        for (const flight of this.#random.chance(1, 2) ? chosen : chosen.reverse()) {
          this.#cluster.deliver(flight)
        }
        return 1
      },
    }
  }

  #die(slot: number): Step {
    return {
      begin: () => {
        if (this.#cluster.at(slot) !== undefined && this.#cluster.membership.mayCrash(slot)) {
          this.#cluster.count("crash")
          this.#cluster.crash(slot, this.#cluster.now + 1)
        }
        return 2
      },
    }
  }

  /** The slot comes back with the help of some, while the messages of view changes wait. */
  #recover(slot: number, helpers: Slots, milliseconds: number, held = VIEW_CHANGE_MASK): Step {
    const group = helpers | (1 << slot)
    const center = this.#random.chance(1, 2) ? slot : -1
    // Who only answers its questions does not hear that it is back.
    const alsoHeld = this.#random.chance(1, 2) ? maskOf("epoch_started") : 0
    return {
      begin: () => {
        this.#cluster.count("recover")
        this.#regime({ talking: group, awake: group, held: held | alsoHeld, rate: 2, center })
        return milliseconds
      },
      isDone: () => {
        const process = this.#cluster.at(slot)
        return process !== undefined && isOperational(process)
      },
    }
  }

  /** Clients write and read at the group's primary, and the group alone hears it. */
  #work(group: Slots, milliseconds: number, held = VIEW_CHANGE_MASK): Step {
    return {
      begin: () => {
        this.#cluster.count("work")
        this.#regime({ talking: group, awake: group, held })
        const primaries = this.#cluster.processes.filter(
          (process) => process.replica.isPrimary && (group & (1 << process.slot)) !== 0,
        )
        const primary = primaries[this.#random.below(Math.max(primaries.length, 1))]
        if (primary !== undefined) {
          for (const client of this.#cluster.clients) {
            client.aim(primary.slot, this.#cluster.now)
          }
        }
        return milliseconds
      },
    }
  }

  #live(group: Slots, milliseconds: number, options: { readonly held?: number; readonly rate?: number } = {}): Step {
    return {
      begin: () => {
        this.#cluster.count("live")
        this.#regime({ talking: group, awake: group, held: options.held ?? 0, rate: options.rate ?? 2 })
        return milliseconds
      },
    }
  }

  #releaseAll(): Step {
    return {
      begin: () => {
        this.#cluster.count("release")
        this.#regime({ talking: this.#everybody(), awake: 0 })
        this.#release()
        return 35
      },
    }
  }

  /** Everybody hears everybody until all are members of one view. */
  #settle(): Step {
    return {
      begin: () => {
        this.#cluster.count("calm")
        this.#regime({ talking: this.#everybody(), awake: this.#everybody(), rate: 2 })
        return 2_000
      },
      isDone: () => this.#cluster.divergence(this.#cluster.membership.voters, false) === undefined,
    }
  }

  // ---------------------------------------------------------------- chance

  #draw(): void {
    if (this.#random.chance(1, 2)) {
      this.#plan.push(this.#settle())
    }
    const total = this.#weights.reduce((sum, { weight }) => sum + weight, 0)
    let left = this.#random.below(Math.max(total, 1))
    for (const { name, weight } of this.#weights) {
      left -= weight
      if (left < 0) {
        this.#cluster.count(name)
        const steps = this.#steps(name)
        // Any part may be missing: most plans only work when something else has happened instead.
        this.#plan.push(...steps.filter(() => !this.#random.chance(1, 20)))
        break
      }
    }
    if (this.#random.chance(1, 2)) {
      this.#plan.push(...this.#calm())
    }
    if (this.#plan.length === 0) {
      this.#plan = this.#calm()
    }
  }

  #slot(): number {
    return this.#random.below(this.#slots)
  }

  #subset(): Slots {
    return this.#random.below(1 << this.#slots)
  }

  /** A group of random size, at least a majority, with these in it. */
  #majorityWith(...slots: readonly number[]): Slots {
    let group = slots.reduce((bits, slot) => bits | (1 << slot), 0)
    const size = this.#random.between(
      this.#cluster.membership.faults + 1,
      this.#random.chance(2, 3) ? this.#cluster.membership.faults + 1 : this.#slots,
    )
    for (let tries = 0; tries < 32 && countOf(group) < size; tries += 1) {
      group |= 1 << this.#slot()
    }
    return group
  }

  /** Those whom a recovery needs; one who is not to hear of it is left out where it can do without. */
  #helpers(unaware: number): Slots {
    const canDoWithout = this.#cluster.membership.faults > 1
    return canDoWithout && this.#random.chance(2, 3) ? this.#without(this.#everybody(), unaware) : this.#everybody()
  }

  #without(group: Slots, slot: number): Slots {
    return group & ~(1 << slot)
  }

  #primary(): number {
    return this.#cluster.primary()?.slot ?? this.#slot()
  }

  /** Whose turn it is after the newest view. */
  #nextPrimary(further: number): number {
    let view = 0
    for (const process of this.#cluster.processes) {
      view = Math.max(view, process.replica.view)
    }
    return this.#cluster.processes[0]?.replica.primaryOf(view + further) ?? 0
  }

  #steps(name: PlanName): Step[] {
    switch (name) {
      case "promise":
        return this.#promise()
      case "long_log":
        return this.#longLog()
      case "held_acks":
        return this.#heldAcks()
      case "slow_start":
        return this.#slowStart()
      case "young_death":
        return this.#youngDeath()
      case "stale_answers":
        return this.#staleAnswers()
      case "crash_chain":
        return this.#crashChain()
      case "twin":
        return this.#twin()
      case "half_transfer":
        return this.#halfTransfer()
      case "chaos":
        return this.#chaos()
      default:
        return this.#calm()
    }
  }

  // ---------------------------------------------------------------- plans

  #calm(): Step[] {
    return [this.#releaseAll(), this.#settle(), this.#work(this.#everybody(), this.#random.between(150, 500), 0)]
  }

  /**
   * Someone promises to leave a view, forgets it, acknowledges in it, and then the promise arrives (traces T1 to T4).
   */
  #promise(): Step[] {
    const everybody = this.#everybody()
    const primary = this.#primary()
    const next = this.#nextPrimary(1)
    const steps: Step[] = []
    const promisers: number[] = []
    for (let count = this.#random.between(1, this.#cluster.membership.faults); count > 0; count -= 1) {
      const slot = this.#random.chance(4, 5) ? this.#otherThan(primary) : this.#slot()
      promisers.push(slot)
      steps.push(
        this.#timeOut(this.#majorityWith(slot), this.#random.between(320, 420)),
        this.#feed({ types: maskOf("exit_view"), to: slot, count: 20 }),
      )
      if (this.#random.chance(1, 2)) {
        // The promise is heard in time, and held where it is heard.
        steps.push(this.#feed({ types: maskOf("exit_view"), to: next, count: 20 }))
        steps.push(this.#feed({ types: maskOf("join_view"), to: next, from: slot, count: 4 }))
      }
      steps.push(this.#die(slot))
      if (this.#random.chance(1, 6)) {
        steps.push(this.#work(this.#without(everybody, slot), 40))
      }
      // Who will be primary hears of the reboot from others only, if at all.
      steps.push(this.#recover(slot, this.#helpers(next), 300))
    }
    const witness = promisers[this.#random.below(promisers.length)] ?? 0
    const others = this.#random.chance(1, 2) ? this.#without(everybody, witness) : everybody
    steps.push(
      this.#work(this.#majorityWith(primary, witness), this.#random.between(30, 120)),
      // What the others say now would tell of the reboot: their old wishes may be enough.
      this.#timeOut(this.#random.chance(1, 2) ? 1 << next : this.#majorityWith(next), this.#random.between(320, 420)),
      this.#feed({ types: maskOf("exit_view"), to: next, count: 20 }),
      this.#feed({ types: maskOf("join_view"), to: next, from: witness, count: 4 }),
      this.#feed({ types: maskOf("join_view"), to: next, count: 20 }),
      this.#live(
        this.#without(this.#random.chance(1, 2) ? others : this.#majorityWith(next), primary),
        this.#random.between(50, 250),
      ),
    )
    return steps
  }

  #otherThan(slot: number): number {
    return (slot + 1 + this.#random.below(this.#slots - 1)) % this.#slots
  }

  /**
   * A primary alone goes on preparing, others begin a view and commit in it, and its long log meets their short one.
   */
  #longLog(): Step[] {
    const primary = this.#primary()
    const others = this.#without(this.#everybody(), primary)
    const group = this.#random.chance(1, 3) ? this.#without(others, this.#slot()) : others
    const last = this.#otherThan(primary)
    return [
      this.#work(
        this.#random.chance(3, 4) ? 1 << primary : this.#subset() | (1 << primary),
        this.#random.between(20, 80),
      ),
      this.#live(others, this.#random.between(160, 260), { rate: HURRY }),
      this.#work(group, this.#random.between(20, 80), maskOf("view")),
      this.#timeOut(this.#random.chance(1, 2) ? others : this.#everybody(), this.#random.between(320, 420)),
      this.#feed({ types: maskOf("exit_view"), count: 30 }),
      this.#feed({ types: maskOf("join_view"), to: primary, count: 6 }),
      this.#feed({ types: maskOf("join_view"), count: 30 }),
      this.#live(this.#without(this.#majorityWith(primary), last), this.#random.between(50, 250), {
        held: this.#random.chance(1, 2) ? maskOf("prepare_ok") : 0,
      }),
      this.#work(this.#majorityWith(primary), 40),
    ]
  }

  /** Acknowledgements wait; who gave them forgets; then they count. */
  #heldAcks(): Step[] {
    const primary = this.#primary()
    const acker = this.#otherThan(primary)
    const everybody = this.#everybody()
    const held = maskOf("prepare_ok") | (this.#random.chance(1, 2) ? maskOf("commit_ok") : 0)
    const helpers = this.#helpers(this.#slot())
    return [
      this.#work(this.#majorityWith(primary, acker), this.#random.between(20, 80), held | VIEW_CHANGE_MASK),
      this.#die(acker),
      this.#recover(acker, helpers, 300, held | VIEW_CHANGE_MASK | (this.#random.chance(1, 2) ? maskOf("prepare") : 0)),
      this.#feed({ types: held, to: primary, count: this.#random.between(1, 12) }),
      this.#work(1 << primary, 20, ALL_TYPES),
      this.#live(this.#without(everybody, primary), this.#random.between(100, 260), { rate: HURRY }),
      this.#work(this.#without(everybody, primary), 40),
      this.#feed({ types: held, count: 20 }),
    ]
  }

  /** A new primary that cannot commit what it began with, and is asked to read. */
  #slowStart(): Step[] {
    const primary = this.#primary()
    const everybody = this.#everybody()
    const others = this.#without(everybody, primary)
    const held = maskOf("prepare_ok") | (this.#random.chance(1, 2) ? maskOf("prepare") : 0)
    return [
      // The primary commits and answers; that it has is not heard of.
      this.#work(this.#majorityWith(primary), this.#random.between(15, 60), VIEW_CHANGE_MASK | maskOf("commit")),
      this.#live(this.#random.chance(3, 4) ? others : everybody, this.#random.between(160, 260), { rate: HURRY, held }),
      this.#work(others, this.#random.between(30, 120), held),
      this.#feed({ types: maskOf("prepare_ok"), count: this.#random.between(1, 6) }),
      this.#work(everybody, this.#random.between(30, 120), held),
      // The old one may still think that it is primary.
      this.#work(1 << primary, 30),
      this.#feed({ types: maskOf("commit_ok"), to: primary, count: 6 }),
    ]
  }

  /** Someone dies again and again before it has recovered. */
  #youngDeath(): Step[] {
    const slot = this.#slot()
    const primary = this.#primary()
    const everybody = this.#everybody()
    const steps: Step[] = [this.#work(this.#majorityWith(primary, slot), 30), this.#die(slot)]
    for (let count = this.#random.between(1, 3); count > 0; count -= 1) {
      const helpers = this.#helpers(this.#slot())
      steps.push(
        this.#recover(slot, helpers, this.#random.between(5, 60), this.#random.chance(1, 2) ? 0 : VIEW_CHANGE_MASK),
        this.#feed({ types: ALL_TYPES, count: this.#random.below(10) }),
        this.#die(slot),
      )
    }
    steps.push(
      this.#recover(slot, this.#helpers(this.#slot()), 400),
      this.#work(this.#majorityWith(primary, slot), 40),
      this.#feed({ types: maskOf("recovery_response", "probe_ok", "probe", "recovery"), count: 30 }),
      this.#live(this.#without(everybody, primary), this.#random.between(100, 260), { rate: HURRY }),
    )
    return steps
  }

  /** Answers to one life's question reach the next one. */
  #staleAnswers(): Step[] {
    const primary = this.#primary()
    const slot = this.#otherThan(primary)
    const everybody = this.#everybody()
    const answers = maskOf("recovery_response", "probe_ok")
    const held = this.#random.chance(2, 3) ? maskOf("recovery_response") : answers
    return [
      this.#die(slot),
      this.#recover(slot, everybody, this.#random.between(40, 120), held),
      this.#recover(slot, everybody, 300),
      this.#work(this.#majorityWith(primary, slot), this.#random.between(20, 80)),
      this.#die(slot),
      this.#recover(slot, everybody, this.#random.between(40, 120), held),
      this.#feed({ types: answers, to: slot, count: this.#random.between(1, 40) }),
      this.#live(this.#without(everybody, primary), this.#random.between(80, 260), { rate: HURRY }),
      this.#work(this.#without(everybody, primary), 40),
    ]
  }

  /** Primary after primary dies as soon as it has begun its view, as far as f allows; bodies do not arrive. */
  #crashChain(): Step[] {
    const steps: Step[] = [this.#work(this.#majorityWith(this.#primary()), this.#random.between(20, 80))]
    let living = this.#everybody()
    for (let further = 0; further < this.#cluster.membership.faults; further += 1) {
      const slot = further === 0 ? this.#primary() : this.#nextPrimary(further)
      living = this.#without(living, slot)
      steps.push(
        this.#die(slot),
        this.#live(living, this.#random.between(70, 200), {
          rate: HURRY,
          held: this.#random.chance(1, 2) ? maskOf("log", "get_log") : maskOf("log", "prepare", "prepare_ok"),
        }),
      )
    }
    steps.push(this.#live(living, this.#random.between(100, 260), { rate: HURRY }), this.#work(living, 60))
    return steps
  }

  /** The old process of a slot lives on while a new one recovers. */
  #twin(): Step[] {
    const slot = this.#slot()
    const primary = this.#primary()
    const isSingle = (): boolean => this.#cluster.processes.filter((process) => process.slot === slot).length === 1
    const split: Step = {
      begin: () => {
        if (isSingle() && this.#cluster.membership.mayCrash(slot)) {
          this.#cluster.count("twin")
          this.#cluster.twin(slot)
        }
        return 1
      },
    }
    return [
      this.#timeOut(this.#majorityWith(slot), this.#random.between(320, 420)),
      this.#feed({ types: maskOf("exit_view"), to: slot, count: 20 }),
      split,
      this.#recover(slot, this.#everybody(), 400),
      this.#work(this.#majorityWith(primary, slot), 60),
      this.#feed({ types: QUORUM_MASK, count: 30 }),
      this.#live(this.#majorityWith(slot), this.#random.between(60, 260), { rate: HURRY }),
    ]
  }

  /** Who fetches a log hears of a newer one, or dies, or its donor does, half-way. */
  #halfTransfer(): Step[] {
    const primary = this.#primary()
    const slot = this.#otherThan(primary)
    const others = this.#without(this.#everybody(), slot)
    const transfer = maskOf("log", "get_log", "checkpoint_chunk", "get_checkpoint", "log_gone")
    return [
      // It falls behind, perhaps out of the ring.
      this.#work(others, this.#random.between(20, 200)),
      this.#live(this.#random.chance(1, 2) ? this.#everybody() : others, this.#random.between(100, 220), {
        rate: HURRY,
        held: transfer | (this.#random.chance(1, 2) ? maskOf("prepare") : 0),
      }),
      this.#work(others, this.#random.between(10, 60)),
      this.#feed({
        types: transfer | maskOf("view", "prepare", "commit"),
        to: slot,
        count: this.#random.between(1, 12),
      }),
      this.#timeOut(this.#majorityWith(slot), this.#random.between(320, 420)),
      this.#feed({ types: VIEW_CHANGE_MASK, count: this.#random.between(1, 20) }),
      this.#die(this.#random.chance(1, 2) ? primary : this.#slot()),
      this.#live(this.#majorityWith(slot), this.#random.between(40, 200), { rate: HURRY }),
      this.#feed({ types: transfer, count: 20 }),
      this.#live(this.#majorityWith(slot), this.#random.between(40, 200)),
    ]
  }

  #chaos(): Step[] {
    const steps: Step[] = []
    for (let count = this.#random.between(4, 14); count > 0; count -= 1) {
      steps.push(this.#anyStep())
    }
    return steps
  }

  #anyStep(): Step {
    const held = pick(this.#random, [
      0,
      VIEW_CHANGE_MASK,
      VIEW_CHANGE_MASK,
      maskOf("prepare_ok"),
      maskOf("view", "commit"),
    ])
    const types: readonly [MessageType, ...MessageType[]] = [
      "exit_view",
      "exit_view",
      "join_view",
      "join_view",
      "view",
      "prepare_ok",
      "log",
    ]
    const milliseconds = this.#random.between(20, 150)
    switch (this.#random.below(10)) {
      case 0:
      case 1:
        return this.#timeOut(this.#subset(), this.#random.between(60, 450))
      case 2:
      case 3: {
        const to = this.#random.chance(2, 3) ? this.#slot() : undefined
        const from = this.#random.chance(1, 3) ? this.#slot() : undefined
        const some = this.#random.chance(1, 4) ? ALL_TYPES : maskOf(pick(this.#random, types))
        return this.#feed({ types: some, to, from, count: this.#random.between(1, 8) })
      }
      case 4:
        return this.#die(this.#slot())
      case 5:
        return this.#recover(this.#slot(), this.#random.chance(1, 2) ? this.#everybody() : this.#subset(), 300, held)
      case 6:
      case 7:
        return this.#work(this.#majorityWith(this.#primary()), milliseconds, held)
      case 8:
        return this.#work(this.#subset(), milliseconds, held)
      default:
        return this.#live(this.#subset(), milliseconds, { held, rate: pick(this.#random, [1, 2, HURRY]) })
    }
  }
}

function fits(flight: Flight, feed: Feed): boolean {
  const isTo = feed.to === undefined || flight.to === feed.to
  const isFrom = feed.from === undefined || flight.message.from === feed.from
  return isTo && isFrom && (feed.types & (1 << flight.code)) !== 0
}

function countOf(slots: Slots): number {
  let count = 0
  for (let bits = slots; bits > 0; bits &= bits - 1) {
    count += 1
  }
  return count
}
