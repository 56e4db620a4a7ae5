/**
 * What happens to the cluster, drawn from the seed before anything runs: episodes one after the other, each with faults
 * of the network, of processes, or of both, and then peace until all members are back. Plane: control.
 */
import type { PRNG } from "../../appliance/types/prng.ts"
import { CRASH_AGAIN_MS_MAX, CRASH_AGAIN_MS_MIN } from "./limits.ts"

/** Slots are drawn as numbers and become slots when the episode begins, when the primary is known. */
export type Target = "primary" | "backup" | "any"

export type NetworkFault =
  | { readonly kind: "loss" }
  | { readonly kind: "slow_links"; readonly delay_ms: number; readonly jitter_ms: number; readonly kib_per_s: number }
  | { readonly kind: "spoilt_frames"; readonly per_mille: number }
  | {
      readonly kind: "one_way_cut"
      readonly flow: "held" | "discarded"
      readonly target: Target
      /** What the target says is not heard, or what is said to it; by all or by one peer. */
      readonly side: "out" | "in"
      readonly peers: "all" | "one"
    }
  | { readonly kind: "partition"; readonly flow: "held" | "discarded" | "reset"; readonly target: Target }

export type ProcessFault =
  | { readonly kind: "crash_primary" | "crash_gateway" | "crash_two"; readonly down_ms: number }
  /** A backup, and again while it recovers. */
  | { readonly kind: "crash_again"; readonly down_ms: number; readonly again_after_ms: number }
  | { readonly kind: "pause_primary" | "pause_backup" | "pause_majority"; readonly pause_ms: number }
  | { readonly kind: "flood" }

export type Fault = NetworkFault | ProcessFault
export type FaultKind = Fault["kind"]

export type Episode = {
  readonly number: number
  readonly network: NetworkFault | undefined
  readonly process: ProcessFault | undefined
  /** The network fault begins, so much later the process fault, and so much after its end the network heals. */
  readonly before_ms: number
  readonly after_ms: number
  /** Peace before the next. */
  readonly calm_ms: number
  /** Chooses among slots. */
  readonly draw: number
}

const NETWORK_KINDS: readonly NetworkFault["kind"][] = [
  "loss",
  "slow_links",
  "spoilt_frames",
  "one_way_cut",
  "one_way_cut",
  "partition",
  "partition",
]

/** The order in which the first episodes go, from a place that the caller chooses: a short run meets every kind. */
export const FIRST_KINDS: readonly FaultKind[] = [
  "crash_primary",
  "one_way_cut",
  "pause_primary",
  "loss",
  "crash_gateway",
  "partition",
  "spoilt_frames",
  "crash_two",
  "slow_links",
  "crash_again",
  "pause_majority",
  "flood",
  "pause_backup",
]

export function makeEpisode(
  random: PRNG,
  options: { readonly number: number; readonly voters: number; readonly firstKind: number },
): Episode {
  const { number, voters, firstKind } = options
  const isFirst = number < FIRST_KINDS.length
  const first = isFirst ? FIRST_KINDS[(firstKind + number) % FIRST_KINDS.length] : undefined
  // One draw too many does no harm; one that depends on another's outcome would shift all that follow.
  const network = drawNetwork(random)
  const process = drawProcess(random, voters)
  const mix = random.below(4)
  const episode = {
    number,
    before_ms: random.between(200, 1_500),
    after_ms: random.between(200, 2_500),
    calm_ms: random.between(200, 1_200),
    draw: random.u32(),
  }
  if (first !== undefined) {
    return { ...episode, ...only(first, random, voters) }
  }
  return {
    ...episode,
    network: mix === 0 ? undefined : network,
    process: mix === 1 ? undefined : process,
  }
}

/** One fault of this kind. */
function only(kind: FaultKind, random: PRNG, voters: number): Pick<Episode, "network" | "process"> {
  switch (kind) {
    case "loss":
    case "slow_links":
    case "spoilt_frames":
    case "one_way_cut":
    case "partition":
      return { network: networkFault(kind, random), process: undefined }
    case "crash_primary":
    case "crash_gateway":
    case "crash_two":
    case "crash_again":
    case "pause_primary":
    case "pause_backup":
    case "pause_majority":
    case "flood":
      return { network: undefined, process: processFault(kind, random, voters) }
  }
}

function drawNetwork(random: PRNG): NetworkFault {
  return networkFault(NETWORK_KINDS[random.below(NETWORK_KINDS.length)] ?? "loss", random)
}

function networkFault(kind: NetworkFault["kind"], random: PRNG): NetworkFault {
  const target: Target = random.chance(1, 2) ? "primary" : "any"
  const flow = random.chance(1, 2) ? "held" : "discarded"
  switch (kind) {
    case "loss":
      return { kind }
    case "slow_links":
      return {
        kind,
        delay_ms: random.between(5, 80),
        jitter_ms: random.between(0, 60),
        kib_per_s: random.between(256, 4_096),
      }
    case "spoilt_frames":
      return { kind, per_mille: random.between(1, 20) }
    case "one_way_cut":
      return {
        kind,
        flow,
        target,
        side: random.chance(1, 2) ? "out" : "in",
        peers: random.chance(2, 3) ? "all" : "one",
      }
    case "partition":
      return { kind, flow: random.chance(1, 3) ? "reset" : flow, target }
  }
}

function drawProcess(random: PRNG, voters: number): ProcessFault {
  const kinds: readonly ProcessFault["kind"][] = [
    "crash_primary",
    "crash_primary",
    "crash_primary",
    "crash_gateway",
    "crash_gateway",
    "crash_two",
    "crash_again",
    "pause_primary",
    "pause_backup",
    "pause_majority",
    "flood",
  ]
  return processFault(kinds[random.below(kinds.length)] ?? "crash_primary", random, voters)
}

function processFault(kind: ProcessFault["kind"], random: PRNG, voters: number): ProcessFault {
  const milliseconds = random.between(100, 4_000)
  switch (kind) {
    case "crash_primary":
    case "crash_gateway":
      return { kind, down_ms: milliseconds }
    case "crash_two":
      // Three members outlive one crash at a time (rule 19); five outlive two.
      return { kind: voters >= 5 ? "crash_two" : "crash_primary", down_ms: milliseconds }
    case "crash_again":
      return { kind, down_ms: milliseconds, again_after_ms: random.between(CRASH_AGAIN_MS_MIN, CRASH_AGAIN_MS_MAX) }
    case "pause_primary":
    case "pause_backup":
    case "pause_majority":
      return { kind, pause_ms: milliseconds }
    case "flood":
      return { kind }
  }
}
