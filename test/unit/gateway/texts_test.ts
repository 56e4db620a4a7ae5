/** What refusals say of limits, before and after a cluster has grown. Plane: control. */
import { expect, test } from "vitest"
import { Texts } from "../../../appliance/gateway/texts.ts"
import { ResultError } from "../../../appliance/state_machine/command.ts"
import { limitsForSize } from "../../../appliance/types/cluster_sizes.ts"

test("a refusal names the limit that the cluster has", () => {
  const texts = new Texts(limitsForSize("small"))
  expect(texts.ofResultError(ResultError.kv_entries_max)).toBe("ERR kv_entries_max: at most 131072 keys are stored")
  texts.useLimits(limitsForSize("medium"))
  expect(texts.ofResultError(ResultError.kv_entries_max)).toBe("ERR kv_entries_max: at most 2097152 keys are stored")
  expect(texts.ofResultError(ResultError.kv_slab_bytes)).toContain("419430400 bytes")
})
