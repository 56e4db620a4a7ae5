/** What a seed draws before anything happens: size, limits, clients. Plane: control. */
import type { ClusterLimits } from "../../appliance/types/limits.ts"
import type { PRNG } from "../../appliance/types/prng.ts"
import { CLIENTS_MAX, CLIENTS_MIN, SIMULATED_LIMITS } from "./limits.ts"

/** Who decides what goes wrong: chance with a seed's weights, or an adversary that holds messages back (rule 31). */
export type Mode = "swarm" | "hold_back"

export type Setup = {
  readonly voters: number
  /** Machines: the founding voters, and further ones that stand by. */
  readonly machines: number
  /** An operator changes who votes. */
  readonly hasEpochs: boolean
  readonly clients: number
  readonly limits: ClusterLimits
  /** The run ends with the loss of a majority: it must fail closed. */
  readonly losesMajority: boolean
}

/** The streams of a seed: what one of them draws moves nothing in another. */
export const Stream = { setup: 0, network: 1, faults: 2, clients: 3, replicas: 4, liveness: 5, memory: 6 } as const
const STREAMS = 8

export function streamSeed(seed: number, stream: number): number {
  return seed * STREAMS + stream
}

export function pick<T>(random: PRNG, values: readonly [T, ...T[]]): T {
  return values[random.below(values.length)] ?? values[0]
}

export function drawSetup(random: PRNG, mode: Mode, voters: number | undefined): Setup {
  const hasEpochs = mode === "swarm" && random.chance(1, 3)
  const drawn = hasEpochs
    ? pick(random, [1, 3, 3, 3, 5])
    : mode === "swarm"
      ? pick(random, [3, 3, 3, 3, 3, 5, 5, 5, 7])
      : pick(random, [3, 3, 3, 5, 5])
  const size = voters ?? drawn
  const pipeline = random.between(2, 4)
  const control = random.between(1, 2)
  return {
    voters: size,
    hasEpochs,
    // One voter grows to three at least, so two machines must be spare.
    machines: hasEpochs ? Math.min(size + random.between(size === 1 ? 2 : 1, 4), SIMULATED_LIMITS.slots_max) : size,
    clients: mode === "hold_back" ? CLIENTS_MIN : random.between(CLIENTS_MIN, CLIENTS_MAX),
    limits: {
      ...SIMULATED_LIMITS,
      pipeline_max: pipeline,
      control_slots: control,
      // As small as the relations between limits allow, and a little more.
      log_slots: 2 * (pipeline + control) + random.below(6),
      log_bytes: (pipeline + control + 2) * SIMULATED_LIMITS.batch_bytes_max + random.below(4) * 256,
      checkpoint_ops: random.between(2, pipeline + control),
      checkpoint_bytes: random.between(1, 2) * SIMULATED_LIMITS.batch_bytes_max,
      // Windows of one page, or of several.
      chunk_bytes: SIMULATED_LIMITS.chunk_bytes * pick(random, [1, 2, 4]),
    },
    losesMajority: random.chance(1, 10),
  }
}
