/**
 * One run of one seed: founding, a phase with faults, then either the loss of the majority, after which nothing may be
 * answered, or the healing of a random core, which must converge while everything outside stays broken. The entry for
 * everyone who wants to run a seed. Plane: control.
 */
import { PRNG } from "../../appliance/types/prng.ts"
import { Cluster } from "./cluster.ts"
import { HoldBack } from "./hold_back.ts"
import { Violation } from "./history.ts"
import {
  COUNTS_COMMITS,
  COUNTS_CRASHES,
  COUNTS_EPOCHS,
  COUNTS_VIEW_CHANGES,
  EVENTS_MAX,
  FAULT_MS,
  FORMATION_MS,
  LIVENESS_MS_MAX,
  SAFETY_MS_MAX,
  SAFETY_MS_MIN,
  SEALED_MS,
} from "./limits.ts"
import type { FaultTotals } from "./memory_faults.ts"
import { QUIET } from "./network.ts"
import { type Mode, Stream, streamSeed } from "./setup.ts"
import { type Driver, Swarm } from "./swarm.ts"

export type SimulationOptions = {
  readonly seed: number
  readonly mode: Mode
  /** Instead of what the seed draws: 1, 3, 5 or 7. */
  readonly voters?: number | undefined
  /** Bits flip in the memory of one machine at a time, too. */
  readonly memoryFaults?: boolean | undefined
  /** The phase with faults ends at this event: the shortest failing prefix is the smallest that still fails. */
  readonly eventsMax?: number | undefined
  readonly trace?: ((line: string) => void) | undefined
}

/**
 * Why a run may end without the convergence of every member of its core: nobody's, for there is no majority; or without
 * one that is cut off from the primary, which is outside the core. With flipped bits: the only state that a machine
 * could copy for long was a wrong one, and it had no means to know; or one machine says so, another otherwise, and
 * nobody else has a state.
 */
export type Excuse = "majority_lost" | "primary_out_of_reach" | "only_copy_wrong" | "nobody_can_tell"

export type SimulationResult = {
  readonly seed: number
  readonly mode: Mode
  readonly voters: number
  /** The first violation, or assertion of the code under test; undefined when there was none. */
  readonly failure: string | undefined
  readonly stack: string | undefined
  readonly excuse: Excuse | undefined
  /** Rule 36: enough happened for the seed to say something. */
  readonly counts: boolean
  readonly virtual_ms: number
  readonly events: number
  readonly commits: number
  readonly crashes: number
  readonly view_changes: number
  readonly recoveries: number
  readonly checkpoints: number
  readonly epochs: number
  readonly fenced: number
  readonly stale_messages: number
  readonly acknowledged: number
  readonly reads: number
  readonly unknown: number
  readonly evicted: number
  readonly evicted_wrongly: number
  /** How often each fault was injected, and what became of messages. */
  readonly faults: Readonly<Record<string, number>>
  /** How flipped bits ended; undefined without them. */
  readonly memory: FaultTotals | undefined
  /** Hash of every event: equal for equal seeds, or the simulator is not deterministic. */
  readonly trace_digest: string
}

/** Runs one seed to its end or its first violation. */
export function simulate(options: SimulationOptions): SimulationResult {
  const cluster = new Cluster(options)
  const run = new Run(cluster, options)
  let error: Error | undefined
  try {
    run.run()
  } catch (thrown) {
    // A violation, or an assertion of the code under test: both end the run, and the seed repeats it.
    error = thrown instanceof Error ? thrown : new Violation("something was thrown that is no error")
  }
  return resultOf(cluster, options, run.excuse, error)
}

class Run {
  readonly #cluster: Cluster
  readonly #options: SimulationOptions
  readonly #driver: Driver
  readonly #liveness: PRNG
  excuse: Excuse | undefined

  constructor(cluster: Cluster, options: SimulationOptions) {
    const faults = new PRNG(streamSeed(options.seed, Stream.faults))
    this.#cluster = cluster
    this.#options = options
    this.#driver = options.mode === "hold_back" ? new HoldBack(cluster, faults) : new Swarm(cluster, faults)
    this.#liveness = new PRNG(streamSeed(options.seed, Stream.liveness))
  }

  run(): void {
    const cluster = this.#cluster
    while (cluster.now < FORMATION_MS && cluster.membership.upCount() < cluster.setup.voters) {
      cluster.step()
    }
    if (cluster.membership.upCount() < cluster.setup.voters) {
      throw new Violation(`not founded after ${FORMATION_MS} ms without faults:\n${cluster.describe()}`)
    }
    this.#driver.begin()
    while (!this.#isSafetyOver()) {
      cluster.step()
      if (cluster.now % FAULT_MS === 0 || this.#options.mode === "hold_back") {
        this.#driver.step()
      }
      if (cluster.now % FAULT_MS === 0) {
        cluster.flipBit()
      }
    }
    if (cluster.memory?.isSpread === true) {
      this.excuse = "only_copy_wrong"
      return
    }
    this.#driver.end()
    const isBetween = cluster.membership.isChanging() || !cluster.membership.isSettled()
    if (cluster.setup.losesMajority && !isBetween) {
      this.#loseMajority()
    }
    if (this.excuse === undefined) {
      this.#converge()
    }
  }

  #isSafetyOver(): boolean {
    const cluster = this.#cluster
    if (cluster.events >= (this.#options.eventsMax ?? EVENTS_MAX) || cluster.memory?.isSpread === true) {
      return true
    }
    return cluster.now >= SAFETY_MS_MAX || (cluster.now >= SAFETY_MS_MIN && hasReached(cluster))
  }

  /**
   * More than f at once: nobody may recover, nothing that was not prepared by then may be committed, no read that is
   * asked from then on answered; what was committed stays as it is. All faults of the network are over, so that it is
   * not they who keep the cluster silent.
   */
  #loseMajority(): void {
    const cluster = this.#cluster
    const voters = cluster.membership.voters
    cluster.count("majority_loss")
    const extra = this.#liveness.below(cluster.membership.faults + 1)
    const start = this.#liveness.below(voters.length)
    for (let index = 0; index < cluster.membership.faults + 1 + extra; index += 1) {
      const slot = voters[(start + index) % voters.length] ?? 0
      if (cluster.at(slot) !== undefined) {
        cluster.crash(slot, cluster.now + this.#liveness.between(20, 500))
      }
    }
    const isWhole = this.#liveness.chance(1, 2)
    if (isWhole) {
      cluster.count("majority_loss_whole")
      cluster.network.clear()
      for (const slot of voters.filter((voter) => cluster.at(voter) !== undefined && !cluster.membership.isUp(voter))) {
        cluster.crash(slot, cluster.now + this.#liveness.between(20, 500))
      }
    }
    cluster.network.faults = QUIET
    cluster.network.heal()
    const end = cluster.now + SEALED_MS
    this.#seal()
    while (cluster.now < end) {
      cluster.step()
      if (cluster.membership.upCount() > cluster.membership.faults) {
        if (isWhole) {
          throw new Violation(`someone recovered without a majority:\n${cluster.describe()}`)
        }
        cluster.history.unseal()
        return
      }
    }
    this.excuse = "majority_lost"
  }

  #seal(): void {
    let op = 0
    for (const process of this.#cluster.processes) {
      op = Math.max(op, process.replica.op)
    }
    this.#cluster.history.seal(op)
  }

  /** A core that can converge: f + 1 voters that remember, and chance decides on the others. */
  #drawCore(): number[] {
    const cluster = this.#cluster
    const { membership, setup } = cluster
    if (membership.isChanging() || !membership.isSettled()) {
      // Who will vote is not decided yet: the change must be carried through, or not, by everybody.
      return Array.from({ length: setup.machines }, (_, slot) => slot)
    }
    const voters = [...membership.voters]
    const up = voters.filter((slot) => cluster.membership.isUp(slot))
    const core: number[] = []
    while (core.length < cluster.membership.faults + 1 && up.length > 0) {
      core.push(...up.splice(this.#liveness.below(up.length), 1))
    }
    const others = voters.filter((slot) => !core.includes(slot) && this.#liveness.chance(1, 2))
    return [...core, ...others].sort((a, b) => a - b)
  }

  #converge(): void {
    const cluster = this.#cluster
    if (cluster.membership.upCount() <= cluster.membership.faults) {
      throw new Violation(`the simulator itself broke its promise of at most f down:\n${cluster.describe()}`)
    }
    const core = this.#drawCore()
    cluster.count(`core of ${core.join(",")}`)
    cluster.heal(core)
    const before = cluster.clients.map((client) => client.served)
    const isServed = (): boolean =>
      cluster.clients.every((client, index) => {
        return client.served > (before[index] ?? 0) || cluster.isOutOfReach(client.home, core)
      })
    // A bit that is in no clean page is found by the next checkpoint: there must be something new for one.
    const isFirst = (): boolean => isServed() && cluster.divergence(core, false) === undefined
    this.#await(core, () => isFirst() && cluster.isMemoryRight(core))
    if (this.excuse !== undefined) {
      return
    }
    for (const client of cluster.clients) {
      client.stop()
    }
    this.#await(core, () => cluster.divergence(core, true) === undefined)
    if (cluster.outOfReach >= 0) {
      this.excuse = "primary_out_of_reach"
    }
  }

  #await(core: readonly number[], isDone: () => boolean): void {
    const cluster = this.#cluster
    const end = cluster.now + LIVENESS_MS_MAX
    while (cluster.now < end) {
      cluster.step()
      if (cluster.memory?.isSpread === true) {
        this.excuse = "only_copy_wrong"
        return
      }
      if (cluster.now % FAULT_MS !== 0) {
        continue
      }
      cluster.memory?.look()
      if (isDone()) {
        return
      }
    }
    if (cluster.memory?.isTied(cluster.processes) === true) {
      this.excuse = "nobody_can_tell"
      return
    }
    const rest = cluster.isMemoryRight(core) ? "clients are not served" : "a bit is not found"
    const why = cluster.divergence(core, false) ?? rest
    throw new Violation(
      `the core ${core.join(",")} does not converge within ${LIVENESS_MS_MAX} ms: ${why}\n${cluster.describe()}`,
    )
  }
}

function hasReached(cluster: Cluster): boolean {
  const { totals, history } = cluster
  const living = cluster.processes.reduce((sum, process) => sum + process.replica.counters.view_changes, 0)
  return (
    history.op >= COUNTS_COMMITS &&
    totals.crashes >= COUNTS_CRASHES &&
    totals.view_changes + living >= COUNTS_VIEW_CHANGES &&
    (!cluster.setup.hasEpochs || cluster.membership.epochs >= COUNTS_EPOCHS)
  )
}

function resultOf(
  cluster: Cluster,
  options: SimulationOptions,
  excuse: Excuse | undefined,
  error: Error | undefined,
): SimulationResult {
  const counts = hasReached(cluster)
  cluster.finish()
  const { totals, history, clients } = cluster
  const sum = (of: (client: (typeof clients)[number]) => number): number =>
    clients.reduce((total, client) => total + of(client), 0)
  return {
    seed: options.seed,
    mode: options.mode,
    voters: cluster.setup.voters,
    failure: error?.message,
    stack: error?.stack,
    excuse,
    counts,
    virtual_ms: cluster.now,
    events: cluster.events,
    commits: history.op,
    crashes: totals.crashes,
    view_changes: totals.view_changes,
    recoveries: totals.recoveries,
    checkpoints: totals.checkpoints,
    epochs: cluster.membership.epochs,
    fenced: totals.fenced,
    stale_messages: totals.stale,
    acknowledged: sum((client) => client.counts.acknowledged),
    reads: sum((client) => client.counts.reads),
    unknown: sum((client) => client.counts.unknown),
    evicted: sum((client) => client.counts.evicted),
    evicted_wrongly: sum((client) => client.counts.evicted_wrongly),
    faults: { ...cluster.actions, ...cluster.network.counts },
    memory: cluster.memory?.totals,
    trace_digest: cluster.trace.digest(),
  }
}
