/** The README says the limits as the code has them. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { expect, test } from "vitest"
import { CLUSTER_LIMITS } from "../../appliance/types/limits.ts"

const README = readFileSync(join(import.meta.dirname, "../../README.md"), "utf8")

test("every cluster limit stands in the README with its number, and no other", () => {
  const rows = [...README.matchAll(/^\| `([a-z_]+)` \| ([\d,]+) \|/gm)].map((row) => [
    row[1],
    Number(row[2]?.replaceAll(",", "")),
  ])
  expect(rows).toEqual(Object.entries(CLUSTER_LIMITS))
  expect(rows.length).toBeGreaterThan(10)
})

test("the README has no place left to fill in", () => {
  expect(README).not.toMatch(/\b(SCENE_OUTPUT|LIMITS_TABLE|ENVELOPE|BOOT_TABLE|MEASURED)\b/)
})
