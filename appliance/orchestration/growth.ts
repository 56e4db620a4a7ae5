/**
 * The room for a larger state that a machine has from its start, when it is to grow with its cluster: the arena lies
 * there empty until the epoch begins whose limits it is for. Plane: control.
 */
import type { ReplicaMemory } from "../replication/replica_memory.ts"
import { LOG_HEADER_BYTES } from "../replication/log.ts"
import { arenaBytes } from "../state_machine/arena.ts"
import { growArena, type GrowthError } from "../state_machine/growth.ts"
import {
  type ArenaStateMachine,
  createStateMachine,
  pageNotesBytes,
  pagePoolBytes,
} from "../state_machine/state_machine.ts"
import { assert } from "../types/assert.ts"
import { type ClusterSize, limitsForSize, reportedBytesMin, SEALED_PART } from "../types/cluster_sizes.ts"
import { growthFault } from "../types/growth.ts"
import { type ClusterLimits, limitsFingerprint } from "../types/limits.ts"
import { err, ok, type Result } from "../types/result.ts"
import type { StaticMemory } from "../types/static_memory.ts"

const MIB = 1024 * 1024
/** Links, queues and the gateway, whatever the size: a test compares it with what is sealed. */
const OTHER_BUFFERS_BYTES = 192 * MIB

export type GrowthOptions = {
  readonly from: ClusterLimits
  readonly to: ClusterLimits
  readonly memory: StaticMemory
}

export class Growth {
  readonly from: ClusterLimits
  readonly to: ClusterLimits
  readonly fingerprint: number
  readonly #larger: ArenaStateMachine

  constructor({ from, to, memory }: GrowthOptions) {
    assert(growthFault(from, to) === undefined, "growth: no table becomes smaller")
    this.from = from
    this.to = to
    this.fingerprint = limitsFingerprint(to)
    this.#larger = createStateMachine({
      limits: to,
      arena: memory.allocate("larger arena", arenaBytes(to)),
      notes: memory.allocate("larger arena page notes", pageNotesBytes(to)),
      pool: memory.allocate("larger arena page pool", pagePoolBytes(to)),
    })
  }

  /** The larger arena, empty: for a machine that begins after its cluster has grown. */
  get empty(): ArenaStateMachine {
    assert(this.#larger.commit() === 0, "growth: nothing has been copied yet")
    return this.#larger
  }

  /** The state, in the larger arena; the digest that both have is for the log. */
  grow(smaller: ArenaStateMachine): Result<{ machine: ArenaStateMachine; digest: string }, GrowthError> {
    const machine = this.#larger
    const grown = growArena(
      { arena: smaller.arena, limits: this.from, pages: smaller.pages },
      { arena: machine.arena, limits: this.to, pages: machine.pages },
    )
    return grown.ok ? ok({ machine, digest: grown.value }) : err(grown.error)
  }
}

/** What a machine's kernel must report at least, so that it can grow: it seals the larger buffers and both arenas. */
export function growthBytesMin(from: ClusterSize, to: ClusterSize): number {
  const larger = limitsForSize(to)
  const logBytes = larger.log_bytes + larger.log_slots * LOG_HEADER_BYTES
  const sealed = stateBytes(limitsForSize(from)) + stateBytes(larger) + logBytes + OTHER_BUFFERS_BYTES
  return Math.max(reportedBytesMin(to), sealed / SEALED_PART)
}

function stateBytes(limits: ClusterLimits): number {
  return arenaBytes(limits) + pageNotesBytes(limits) + pagePoolBytes(limits)
}

/** Why a machine can't grow so; undefined when it can. */
export function growthShortage(from: ClusterSize, to: ClusterSize, reportedBytes: number): string | undefined {
  const needed = growthBytesMin(from, to)
  if (reportedBytes >= needed) {
    return undefined
  }
  const [need, have] = [Math.ceil(needed / MIB), Math.floor(reportedBytes / MIB)]
  return `who grows from ${from} to ${to} holds both states, which needs ${need} MiB of memory: this has ${have} MiB`
}

/** Of a replica's buffers that are large enough for limits that it grows to, what it needs until then. */
export function memoryBeforeGrowth(memory: ReplicaMemory, limits: ClusterLimits): ReplicaMemory {
  const logHeaders = memory.logHeaders.subarray(0, limits.log_slots * LOG_HEADER_BYTES)
  return { ...memory, log: memory.log.subarray(0, limits.log_bytes), logHeaders }
}
