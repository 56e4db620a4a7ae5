/** The buffers of one replica, by name and size: all that it will ever hold of bodies. Plane: control. */
import { type ClusterLimits, inFlightMax, type ProcessLimits } from "../types/limits.ts"
import type { StaticMemory } from "../types/static_memory.ts"
import { LOG_HEADER_BYTES } from "./log.ts"

export type ReplicaMemory = {
  /** Bodies of the log ring. */
  readonly log: Uint8Array
  readonly logHeaders: Uint8Array
  /** A piece of a checkpoint, until the message that carries it has left. */
  readonly chunk: Uint8Array
  /** Bodies fetched for a log that is not installed yet. */
  readonly staging: Uint8Array
  readonly requests: Uint8Array
  readonly reads: Uint8Array
  /** Where apply and read leave one reply. */
  readonly reply: Uint8Array
}

export function allocateReplicaMemory(
  memory: StaticMemory,
  sizes: { readonly limits: ClusterLimits; readonly processLimits: ProcessLimits },
): ReplicaMemory {
  const { limits, processLimits } = sizes
  return {
    log: memory.allocate("replication log", limits.log_bytes),
    logHeaders: memory.allocate("replication log headers", limits.log_slots * LOG_HEADER_BYTES),
    chunk: memory.allocate("replication checkpoint piece", limits.chunk_bytes),
    // The headers of a log that is to be installed are one more than can be in flight, and none of them need be here.
    staging: memory.allocate("replication staging", (inFlightMax(limits) + 1) * limits.batch_bytes_max),
    requests: memory.allocate("replication requests queue", processLimits.requests_queue_bytes),
    reads: memory.allocate("replication reads queue", processLimits.reads_queue_bytes),
    reply: memory.allocate("replication reply", limits.read_reply_bytes_max),
  }
}
