/**
 * Faults by chance: each seed draws how likely each of them is for each slot, so that runs differ in kind (rule 31),
 * and has periods of calm, so that there is something to lose. Plane: control.
 */
import { STANDBYS_MAX } from "../../appliance/types/limits.ts"
import type { PRNG } from "../../appliance/types/prng.ts"
import type { Cluster } from "./cluster.ts"
import type { Process } from "./machine.ts"
import { type NetworkFaults, QUIET } from "./network.ts"
import { pick } from "./setup.ts"

/** What a driver of faults offers: it begins once the cluster is founded, and ends before the core is healed. */
export type Driver = { begin(): void; step(): void; end(): void }

/** The chance in 10,000 that an opportunity is taken, at weight 1. */
const BASE = {
  crash: 80,
  crash_primary: 30,
  power: 8,
  pause: 12,
  stall: 8,
  slow: 8,
  isolate: 15,
  cut: 15,
  clog: 15,
  narrow: 10,
  clock_step: 8,
  clock_drift: 5,
  twin: 12,
  donor_crash: 150,
  client_crash: 20,
  upgrade: 3,
  reconfigure: 30,
} as const
type Action = keyof typeof BASE
const ACTIONS = Object.keys(BASE) as readonly Action[] // The keys of an object literal are its type's.

const WEIGHTS: readonly [number, ...number[]] = [0, 0, 1, 1, 2, 5]
/** Old messages that arrive when a slot that had died is back. */
const REPLAY_BURST = 24

export class Swarm implements Driver {
  readonly #cluster: Cluster
  readonly #random: PRNG
  readonly #slots: number
  readonly #network: NetworkFaults
  readonly #weights = new Map<Action, number[]>()
  readonly #heal: number
  readonly #calm: number
  readonly #burst: number
  #calmUntil = 0
  #isCalm = false
  #changeAt = 0
  #slowUntil: number[]
  /** Slots that an upgrade has still to restart. */
  #upgrade: number[] = []
  /** Slots that died and are not back: what they said earlier is said again once they are. */
  readonly #returning = new Set<number>()

  constructor(cluster: Cluster, random: PRNG) {
    this.#cluster = cluster
    this.#random = random
    this.#slots = cluster.setup.machines
    this.#slowUntil = new Array<number>(this.#slots).fill(0)
    this.#network = {
      loss: pick(random, [0, 0, 10, 50, 150, 300]),
      duplicate: pick(random, [0, 0, 20, 100]),
      replay: pick(random, [0, 0, 20, 100]),
      corrupt: pick(random, [0, 2, 10]),
      delay_ms_min: pick(random, [1, 1, 4]),
      delay_ms_max: pick(random, [4, 10, 30, 80]),
    }
    for (const action of ACTIONS) {
      const overall = pick(random, WEIGHTS)
      const weights = Array.from({ length: this.#slots }, () => overall * pick(random, [0, 1, 1, 2]))
      this.#weights.set(action, weights)
    }
    this.#heal = pick(random, [20, 50, 120])
    this.#calm = pick(random, [5, 15, 30])
    this.#burst = pick(random, [0, 1, 1])
    // Whatever else a seed has, machines die in it.
    const crash = this.#weights.get("crash") ?? []
    const changes = cluster.setup.hasEpochs ? pick(random, [1, 2, 4]) : 0
    this.#weights.set("reconfigure", [changes])
    const least = random.below(this.#slots)
    crash[least] = Math.max(crash[least] ?? 0, 2)
  }

  step(): void {
    const { now } = this.#cluster
    this.#replayReturned()
    this.#endSlow(now)
    if (this.#isCalm) {
      if (now < this.#calmUntil) {
        // Operators, too, like a calm moment; what follows need not be one.
        if (this.#changeAt > 0 && now >= this.#changeAt) {
          this.#changeAt = 0
          this.#reconfigure()
        }
        return
      }
      this.#isCalm = false
      this.#cluster.network.faults = this.#network
    } else if (this.#random.chance(this.#calm, 1000)) {
      this.#becomeCalm(now)
      return
    }
    if (this.#random.chance(this.#heal, 1000)) {
      this.#cluster.count("heal")
      this.#cluster.network.heal()
    }
    this.#continueUpgrade()
    for (const action of ACTIONS) {
      const weights = this.#weights.get(action) ?? []
      for (let slot = 0; slot < this.#slots; slot += 1) {
        const weight = weights[slot] ?? 0
        if (weight > 0 && this.#random.chance(weight * BASE[action], 10_000)) {
          this.#act(action, slot)
        }
      }
    }
  }

  /** Chance alone would leave few seeds with a cluster that gets anything done. */
  #becomeCalm(now: number): void {
    this.#isCalm = true
    this.#calmUntil = now + this.#random.between(300, 3_000)
    this.#cluster.count("calm")
    this.#cluster.network.faults = QUIET
    this.#cluster.network.heal()
    this.#changeAt = this.#cluster.setup.hasEpochs ? now + this.#random.between(100, 2_000) : 0
  }

  #act(action: Action, slot: number): void {
    const cluster = this.#cluster
    switch (action) {
      case "crash":
        return this.#crash(action, slot)
      case "crash_primary":
        return this.#crash(action, cluster.primary()?.slot ?? slot)
      case "donor_crash":
        return cluster.now - cluster.donor.at < 100 ? this.#crash(action, cluster.donor.slot) : undefined
      case "power":
        return this.#powerLoss(slot)
      case "upgrade":
        return this.#beginUpgrade()
      case "reconfigure":
        return this.#reconfigure()
      case "client_crash":
        cluster.count(action)
        return cluster.crashClient()
      case "isolate":
      case "cut":
      case "clog":
      case "narrow":
        return this.#harmLinks(action, slot)
      case "twin":
        return this.#twin(slot)
      default:
        return this.#harmProcess(action, cluster.at(slot))
    }
  }

  #crash(action: Action, slot: number): void {
    if (this.#cluster.at(slot) !== undefined && this.#cluster.membership.mayCrash(slot)) {
      this.#cluster.count(action)
      this.#kill(slot, this.#random.chance(1, 3) ? 30 : this.#random.between(20, 1_500))
    }
  }

  #kill(slot: number, delay: number): void {
    this.#cluster.crash(slot, this.#cluster.now + delay)
    this.#returning.add(slot)
  }

  /** A power domain: as many machines at once as may be lost. */
  #powerLoss(first: number): void {
    this.#cluster.count("power")
    const back = this.#random.between(50, 1_000)
    for (let index = 0; index < this.#cluster.membership.faults; index += 1) {
      const slot = (first + index) % this.#slots
      if (this.#cluster.at(slot) !== undefined && this.#cluster.membership.mayCrash(slot)) {
        this.#kill(slot, back + this.#random.below(200))
      }
    }
  }

  #beginUpgrade(): void {
    if (this.#upgrade.length === 0) {
      this.#cluster.count("upgrade")
      this.#upgrade = Array.from({ length: this.#slots }, (_, slot) => slot)
    }
  }

  /** One after another, the next as soon as all are up. */
  #continueUpgrade(): void {
    const slot = this.#upgrade[0]
    const voters = this.#cluster.membership.voters
    const { membership } = this.#cluster
    if (slot !== undefined && membership.upCount() === voters.length && membership.mayCrash(slot)) {
      this.#upgrade.shift()
      this.#kill(slot, 40)
    }
  }

  /** More voters, fewer, or others; some of the rest stand by. Mostly those who are there. */
  #reconfigure(): void {
    const { membership } = this.#cluster
    const size = membership.voters.length
    const isSmall = size <= 3 && !this.#random.chance(1, 12)
    const wanted = pick(this.#random, isSmall ? [size, size + 2] : [size, size + 2, size - 2, size - 2])
    const all = Array.from({ length: this.#slots }, (_, slot) => slot)
    const shuffled = all.map((slot) => ({ slot, key: this.#random.u32() })).sort((a, b) => a.key - b.key)
    const isThere = ({ slot }: { readonly slot: number }): boolean => {
      return this.#cluster.at(slot)?.replica.status === "normal"
    }
    const chosen = this.#random.chance(9, 10) ? shuffled.filter(isThere) : shuffled
    const target = Math.min(Math.max(wanted, size === 1 ? 3 : 1), 7)
    if (chosen.length < target || membership.isChanging()) {
      return
    }
    this.#cluster.count("reconfigure")
    const slots = chosen.map(({ slot }) => slot)
    const standbys = slots.slice(target, target + STANDBYS_MAX).filter(() => this.#random.chance(1, 2))
    this.#cluster.reconfigure(slots.slice(0, target), standbys)
  }

  #twin(slot: number): void {
    const isSingle = this.#cluster.processes.filter((process) => process.slot === slot).length === 1
    if (isSingle && this.#cluster.membership.mayCrash(slot)) {
      this.#cluster.count("twin")
      this.#cluster.twin(slot)
    }
  }

  #harmLinks(action: "isolate" | "cut" | "clog" | "narrow", slot: number): void {
    const { network, now } = this.#cluster
    this.#cluster.count(action)
    const isIn = this.#random.chance(2, 3)
    const isOut = !isIn || this.#random.chance(1, 2)
    const only = action === "cut" ? this.#random.below(this.#slots) : -1
    const until = now + this.#random.between(50, 2_000)
    for (let other = 0; other < this.#slots; other += 1) {
      if (other === slot || (only >= 0 && other !== only)) {
        continue
      }
      for (const link of [isIn && { from: other, to: slot }, isOut && { from: slot, to: other }]) {
        if (link === false) {
          continue
        }
        if (action === "clog") {
          network.clog(link, until)
        } else if (action === "narrow") {
          network.narrow(link, this.#random.between(1, 4))
        } else {
          network.setCut(link, true)
        }
      }
    }
  }

  #harmProcess(action: "pause" | "stall" | "slow" | "clock_step" | "clock_drift", process: Process | undefined): void {
    if (process === undefined) {
      return
    }
    const cluster = this.#cluster
    cluster.count(action)
    cluster.advanceClock(process)
    switch (action) {
      case "pause":
        process.pausedUntil = cluster.now + this.#random.between(50, 3_000)
        return
      case "stall":
        // Its clock stands still with it, as a virtual machine's does: when it wakes, no time has passed.
        process.pausedUntil = cluster.now + this.#random.between(50, 2_000)
        process.readAt = process.pausedUntil
        return
      case "slow":
        this.#slowUntil[process.slot] = cluster.now + this.#random.between(500, 4_000)
        cluster.network.slowMs[process.slot] = this.#random.between(10, 150)
        process.tickMs = this.#random.between(20, 80)
        return
      case "clock_step":
        process.clock += this.#random.between(1, 3_000)
        return
      case "clock_drift":
        process.rate = pick(this.#random, [0.5, 0.9, 0.99, 1, 1.01, 1.1, 2])
        return
      default:
        return
    }
  }

  #endSlow(now: number): void {
    for (let slot = 0; slot < this.#slots; slot += 1) {
      const until = this.#slowUntil[slot] ?? 0
      if (until > 0 && now >= until) {
        this.#slowUntil[slot] = 0
        this.#cluster.network.slowMs[slot] = 0
        const process = this.#cluster.at(slot)
        if (process !== undefined) {
          process.tickMs = 10
        }
      }
    }
  }

  /** Replay of what was said before the crash, after the recovery. */
  #replayReturned(): void {
    for (const slot of this.#returning) {
      if (this.#cluster.membership.isUp(slot)) {
        this.#returning.delete(slot)
        if (this.#burst > 0) {
          this.#cluster.count("replay")
          this.#cluster.network.replayOf(slot, REPLAY_BURST)
        }
      }
    }
  }

  begin(): void {
    this.#cluster.network.faults = this.#network
  }

  /** What is broken now stays broken, and what happens to messages goes on happening outside the core. */
  end(): void {
    this.#upgrade = []
  }
}
