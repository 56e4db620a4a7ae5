/** Sizes of clusters: limits that hold their relations, chosen by memory. Plane: control. */
import { describe, expect, test } from "vitest"
import {
  CLUSTER_SIZES,
  limitsForMemory,
  limitsForSize,
  memoryShortage,
  reportedBytesMin,
  sizeForMemory,
} from "../../../appliance/types/cluster_sizes.ts"
import { assertClusterLimits, CLUSTER_LIMITS, limitsFingerprint } from "../../../appliance/types/limits.ts"

const MIB = 1024 * 1024

describe("cluster sizes", () => {
  test.each(CLUSTER_SIZES)("the limits of %s hold their relations, and are its own", (size) => {
    expect(() => assertClusterLimits(limitsForSize(size))).not.toThrow()
    const fingerprints = CLUSTER_SIZES.map((one) => limitsFingerprint(limitsForSize(one)))
    expect(new Set(fingerprints).size).toBe(CLUSTER_SIZES.length)
  })

  test.each(CLUSTER_SIZES)(
    "in %s a primary that is twice as patient for who copies still has room in its ring",
    (size) => {
      const limits = limitsForSize(size)
      expect(2 * limits.checkpoint_ops).toBeLessThan(limits.log_slots - limits.control_slots - 1)
      expect(2 * limits.checkpoint_bytes + 2 * limits.batch_bytes_max).toBeLessThan(limits.log_bytes)
    },
  )

  test("the smallest is what it always was", () => {
    expect(limitsForSize("small")).toEqual(CLUSTER_LIMITS)
  })

  test.each([
    [671, undefined],
    [672, "small"],
    [768, "small"],
    [1_791, "small"],
    [1_950, "medium"],
    [2_048, "medium"],
    [3_900, "large"],
    [7_800, "huge"],
    [65_536, "huge"],
  ] as const)("%d MiB that the kernel reports are enough for %s", (mib, size) => {
    expect(sizeForMemory(mib * MIB)).toBe(size)
    expect(limitsForMemory(mib * MIB)).toEqual(size === undefined ? undefined : limitsForSize(size))
  })

  test("a machine with too little memory is told what it has, what is needed, and what fits", () => {
    expect(memoryShortage("large", reportedBytesMin("large"))).toBeUndefined()
    expect(memoryShortage("large", 1_900 * MIB)).toBe(
      "a cluster of size large needs 3584 MiB of memory on each machine, this one has 1900 MiB: it fits --size medium",
    )
    expect(memoryShortage("small", 100 * MIB)).toContain("it fits no size")
  })
})
