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
import { growthFault } from "../types/growth.ts"
import { type ClusterLimits, limitsFingerprint } from "../types/limits.ts"
import { err, ok, type Result } from "../types/result.ts"
import type { StaticMemory } from "../types/static_memory.ts"

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

/** Of a replica's buffers that are large enough for limits that it grows to, what it needs until then. */
export function memoryBeforeGrowth(memory: ReplicaMemory, limits: ClusterLimits): ReplicaMemory {
  const logHeaders = memory.logHeaders.subarray(0, limits.log_slots * LOG_HEADER_BYTES)
  return { ...memory, log: memory.log.subarray(0, limits.log_bytes), logHeaders }
}
