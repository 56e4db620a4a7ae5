/**
 * A cluster's limits by the memory of its machines: a few fixed sizes, one of which is chosen when a cluster is founded
 * and never changed in its epoch. All members share it; a machine with too little memory is refused. Plane: control.
 *
 * A log ring is about half an arena, and so is the room for pages of a checkpoint that change while it is used;
 * links, queues and the gateway come to some 190 MiB whatever the size. Together that is at most SEALED_PART of the
 * memory that the kernel reports. `huge` is where offsets of 31 bits end: an arena is below 2 GiB, so machines of 16
 * GiB hold no more than those of 8.
 */
import { CLUSTER_LIMITS, type ClusterLimits, limitsFingerprint } from "./limits.ts"

const MIB = 1024 * 1024

export const CLUSTER_SIZES = ["small", "medium", "large", "huge"] as const
export type ClusterSize = (typeof CLUSTER_SIZES)[number]

/** At most this part of a machine's memory is sealed: the rest is the image's, the kernel's and Node's. */
export const SEALED_PART = 0.75
/** Of the memory on the label so much may be missing where the kernel reports it: firmware, itself, crash dumps. */
const UNREPORTED_PART = 1 / 8

/** Bytes of memory on the label of the smallest machine of each size. */
const LABEL_BYTES_MIN: Readonly<Record<ClusterSize, number>> = {
  small: 768 * MIB,
  medium: 2048 * MIB,
  large: 4096 * MIB,
  huge: 8192 * MIB,
}

/** Keys, their bytes, and the log's: a slot of the log for each 2 KiB and up, a checkpoint each quarter of the log. */
type Scale = { readonly entries: number; readonly slabBytes: number; readonly logBytes: number; readonly slots: number }

const SCALES: Readonly<Record<Exclude<ClusterSize, "small">, Scale>> = {
  medium: { entries: 2 ** 21, slabBytes: 400 * MIB, logBytes: 256 * MIB, slots: 131_072 },
  large: { entries: 2 ** 22, slabBytes: 832 * MIB, logBytes: 512 * MIB, slots: 262_144 },
  huge: { entries: 2 ** 23, slabBytes: 1664 * MIB, logBytes: 1024 * MIB, slots: 262_144 },
}

export function limitsForSize(size: ClusterSize): ClusterLimits {
  if (size === "small") {
    return CLUSTER_LIMITS
  }
  const { entries, slabBytes, logBytes, slots } = SCALES[size]
  return {
    ...CLUSTER_LIMITS,
    log_slots: slots,
    log_bytes: logBytes,
    checkpoint_ops: slots / 4,
    checkpoint_bytes: logBytes / 4,
    kv_entries_max: entries,
    kv_slab_bytes: slabBytes,
  }
}

/** What a machine's kernel must report at least. */
export function reportedBytesMin(size: ClusterSize): number {
  return LABEL_BYTES_MIN[size] * (1 - UNREPORTED_PART)
}

/** The largest size for a machine whose kernel reports so much memory; undefined below the smallest. */
export function sizeForMemory(reportedBytes: number): ClusterSize | undefined {
  return CLUSTER_SIZES.findLast((size) => reportedBytes >= reportedBytesMin(size))
}

/** The limits of that size. */
export function limitsForMemory(reportedBytes: number): ClusterLimits | undefined {
  const size = sizeForMemory(reportedBytes)
  return size === undefined ? undefined : limitsForSize(size)
}

/** The size whose limits have that fingerprint; undefined for none. */
export function sizeOfFingerprint(fingerprint: number): ClusterSize | undefined {
  return CLUSTER_SIZES.find((size) => limitsFingerprint(limitsForSize(size)) === fingerprint)
}

/** Why a machine can't be in a cluster of this size; undefined when it can. */
export function memoryShortage(size: ClusterSize, reportedBytes: number): string | undefined {
  if (reportedBytes >= reportedBytesMin(size)) {
    return undefined
  }
  const have = Math.floor(reportedBytes / MIB)
  const need = Math.ceil(reportedBytesMin(size) / MIB)
  const fitting = sizeForMemory(reportedBytes)
  const hint = fitting === undefined ? "it fits no size" : `it fits --size ${fitting}`
  return `a cluster of size ${size} needs ${need} MiB of memory on each machine, this one has ${have} MiB: ${hint}`
}
