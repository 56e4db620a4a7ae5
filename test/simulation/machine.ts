/**
 * One process of one slot: a production replica with its state machine, its own clock, and what was last seen of it.
 * The only place that builds a replica. Plane: control.
 */
import { arenaBytes } from "../../appliance/state_machine/arena.ts"
import { createStateMachine, pagePoolBytes } from "../../appliance/state_machine/state_machine.ts"
import { entryAt } from "../../appliance/replication/crash_vector.ts"
import { Replica } from "../../appliance/replication/replica.ts"
import { allocateReplicaMemory } from "../../appliance/replication/replica_memory.ts"
import type { StateMachine } from "../../appliance/types/contracts.ts"
import type { ClusterLimits, ProcessLimits } from "../../appliance/types/limits.ts"
import type { PRNG } from "../../appliance/types/prng.ts"
import { StaticMemory } from "../../appliance/types/static_memory.ts"
import { simulatedDigest } from "./digest.ts"
import { TICK_MS } from "./limits.ts"

const TOKEN = "5".repeat(32)
const GENERATION = 1

export type Process = {
  /** Counts the processes of a run: a later one has a higher number. */
  readonly id: number
  readonly slot: number
  readonly replica: Replica
  readonly stateMachine: StateMachine
  /** Where pages of its image lie that have changed since. */
  readonly pool: Uint8Array
  /** Another process of its slot lived at the same time. */
  hasTwin: boolean
  /** What the checker saw last. */
  epoch: number
  view: number
  log_view: number
  incarnation: number
  commit: number
  op: number
  status: Replica["status"]
  isStarted: boolean
  /** Its own monotonic clock, in its own milliseconds: how fast it goes, and when it was last read. */
  clock: number
  rate: number
  readAt: number
  tickAt: number
  tickMs: number
  pausedUntil: number
  /** Milliseconds that every message to it takes longer. */
  slowMs: number
}

export function bootProcess(options: {
  readonly id: number
  readonly slot: number
  readonly founders: number
  /** Only until the cluster has been founded: the boot server hands the token out no longer. */
  readonly mayFound: boolean
  readonly limits: ClusterLimits
  readonly processLimits: ProcessLimits
  readonly random: PRNG
  readonly now: number
}): Process {
  const { id, slot, limits, processLimits, random, now } = options
  const memory = new StaticMemory()
  const arena = memory.allocate("arena", arenaBytes(limits))
  const pool = memory.allocate("page pool", pagePoolBytes(limits))
  const stateMachine = createStateMachine({ limits, arena, pool })
  const replica = new Replica({
    slot,
    voters: options.founders,
    generation: GENERATION,
    token: options.mayFound ? TOKEN : "",
    limits,
    processLimits,
    stateMachine,
    memory: allocateReplicaMemory(memory, { limits, processLimits }),
    digest: simulatedDigest,
    random: () => random.u32(),
  })
  return {
    id,
    slot,
    replica,
    stateMachine,
    pool,
    hasTwin: false,
    epoch: 0,
    view: 0,
    log_view: 0,
    incarnation: 0,
    commit: 0,
    op: 0,
    status: "recovering",
    isStarted: false,
    clock: random.below(1_000_000),
    rate: 1,
    readAt: now,
    tickAt: now,
    tickMs: TICK_MS,
    pausedUntil: 0,
    slowMs: 0,
  }
}

/** Holds its epoch's state and promises: neither blank nor on its way in. */
export function isOperational(process: Process): boolean {
  const { status } = process.replica
  return status === "normal" || status === "view_change" || status === "state_transfer"
}

/** Incarnation and nonce of this very process in its epoch. */
export function ownEntry(process: Process): number {
  return entryAt(process.replica.cv, process.slot)
}

export function describe(process: Process): string {
  const { status, phase, epoch, view, logView, op, commit, incarnation } = process.replica
  const where = status === "recovering" ? `${status}/${phase}` : status
  const counts = `view ${view}/${logView} op ${op} commit ${commit} incarnation ${incarnation}`
  return `slot ${process.slot}#${process.id} ${where} epoch ${epoch} ${counts}`
}
