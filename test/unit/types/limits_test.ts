/** Limits: their relations hold, and no two sets of cluster limits pass for one. Plane: control. */
import { expect, test } from "vitest"
import { AssertionError } from "../../../appliance/types/assert.ts"
import {
  assertClusterLimits,
  assertProcessLimits,
  CLUSTER_LIMITS,
  type ClusterLimits,
  inFlightMax,
  limitsFingerprint,
  PROCESS_LIMITS,
} from "../../../appliance/types/limits.ts"

test("the limits in use hold their relations", () => {
  expect(() => assertClusterLimits(CLUSTER_LIMITS)).not.toThrow()
  expect(() => assertProcessLimits(PROCESS_LIMITS)).not.toThrow()
})

const entries = Object.entries(CLUSTER_LIMITS)
const fields = entries.map(([field]) => field)

test.each(entries)("the fingerprint changes with %s", (field, value) => {
  const changed: ClusterLimits = { ...CLUSTER_LIMITS, [field]: value + 1 }
  expect(limitsFingerprint(changed)).not.toBe(limitsFingerprint(CLUSTER_LIMITS))
})

test("the fingerprint doesn't depend on the order of the fields", () => {
  const reversed = Object.fromEntries(Object.entries(CLUSTER_LIMITS).reverse())
  expect(Object.keys(reversed)[0]).toBe(fields.at(-1))
  expect(limitsFingerprint({ ...CLUSTER_LIMITS, ...reversed })).toBe(limitsFingerprint(CLUSTER_LIMITS))
})

test("two limits that trade their values have another fingerprint", () => {
  const { log_slots, sessions_max } = CLUSTER_LIMITS
  const traded = { ...CLUSTER_LIMITS, log_slots: sessions_max, sessions_max: log_slots }
  expect(limitsFingerprint(traded)).not.toBe(limitsFingerprint(CLUSTER_LIMITS))
})

test.each(fields)("%s can't be 0, negative, or a fraction", (field) => {
  for (const value of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
    expect(() => assertClusterLimits({ ...CLUSTER_LIMITS, [field]: value })).toThrow(AssertionError)
  }
})

const BROKEN_CLUSTER: readonly Partial<ClusterLimits>[] = [
  { log_slots: CLUSTER_LIMITS.pipeline_max * 2 - 1 },
  { log_bytes: (inFlightMax(CLUSTER_LIMITS) + 2) * CLUSTER_LIMITS.batch_bytes_max - 1 },
  { session_reply_bytes_max: CLUSTER_LIMITS.value_bytes_max },
  { read_reply_bytes_max: CLUSTER_LIMITS.session_reply_bytes_max - 1 },
  { batch_commands_max: CLUSTER_LIMITS.session_reply_bytes_max / 8 + 1 },
  { batch_bytes_max: CLUSTER_LIMITS.value_bytes_max },
]

test.each(BROKEN_CLUSTER)("cluster limits with %j are refused", (broken) => {
  expect(() => assertClusterLimits({ ...CLUSTER_LIMITS, ...broken })).toThrow(AssertionError)
})

test.each([
  { primary_silent_ms: PROCESS_LIMITS.heartbeat_ms * 4 - 1 },
  { heartbeat_ms: PROCESS_LIMITS.tick_ms - 1 },
  { view_change_ms_max: PROCESS_LIMITS.view_change_ms - 1 },
  { retry_ms_max: PROCESS_LIMITS.retry_ms - 1 },
  { tick_ms: 0 },
])("process limits with %j are refused", (broken) => {
  expect(() => assertProcessLimits({ ...PROCESS_LIMITS, ...broken })).toThrow(AssertionError)
})
