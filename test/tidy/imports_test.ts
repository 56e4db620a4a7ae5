/** Dependencies flow one way. Plane: control. */
import { expect, test } from "vitest"
import { checkImports, importersOf, LAYERS, placeOf, WRAPPED_PACKAGES } from "./imports.ts"
import { checkAll, describe, parseSource, repositorySources } from "./source.ts"

const sources = repositorySources()

test("every module imports only what is before it", () => {
  expect(describe(checkAll(sources, checkImports))).toEqual([])
})

test("every module of the appliance, pxe, builder and test was visited", () => {
  const visited = new Set(sources.map((source) => placeOf(source.path)))
  expect([...LAYERS, "pxe", "builder", "test"].filter((place) => !visited.has(placeOf(pathIn(place))))).toEqual([])
})

function pathIn(place: string): string {
  if (place === "main") {
    return "appliance/main.ts"
  }
  return LAYERS.some((layer) => layer === place) ? `appliance/${place}/x.ts` : `${place}/x.ts`
}

test.each(WRAPPED_PACKAGES)("one file wraps $name", ({ name, place }) => {
  expect(importersOf(sources, name).map((path) => placeOf(path))).toEqual([place])
})

const BAITS = [
  ["appliance/types/bait.ts", 'import { x } from "../replication/message.ts"'],
  ["appliance/types/bait.ts", 'import { readFileSync } from "node:fs"'],
  ["appliance/replication/bait.ts", 'import type { A } from "../state_machine/command.ts"'],
  ["appliance/state_machine/bait.ts", 'import pino from "pino"'],
  ["appliance/state_machine/bait.ts", 'type A = import("../orchestration/x.ts").A'],
  ["appliance/orchestration/bait.ts", 'export * from "../gateway/x.ts"'],
  ["appliance/orchestration/bait.ts", 'export { x } from "../main.ts"'],
  ["appliance/gateway/bait.ts", 'const x = await import("../cli/x.ts")'],
  ["appliance/gateway/bait.ts", "const x = await import(name)"],
  ["appliance/gateway/bait.ts", 'import { x } from "../../pxe/dhcp/packet.ts"'],
  ["pxe/tftp/bait.ts", 'import { x } from "../../builder/build.ts"'],
  ["pxe/tftp/bait.ts", 'import { x } from "../../appliance/replication/message.ts"'],
  ["builder/bait.ts", 'import { x } from "../pxe/tftp/packet.ts"'],
  ["builder/bait.ts", 'import { x } from "../images/base/x.ts"'],
  ["appliance/main.ts", 'import { x } from "../test/lab/x.ts"'],
  ["appliance/cli/bait.ts", 'import { x } from "../types/ring"'],
  ["appliance/utils/bait.ts", "export const x = 1"],
] as const

test.each(BAITS)("the bait is caught: %s %s", (path, text) => {
  expect(checkImports(parseSource(path, text))).toHaveLength(1)
})

test("what is allowed is not caught", () => {
  const text = 'import { assert } from "../types/assert.ts"\nimport type { M } from "../replication/message.ts"'
  expect(checkImports(parseSource("appliance/state_machine/good.ts", text))).toEqual([])
  const main = 'import { readFileSync } from "node:fs"\nimport { x } from "../pxe/dhcp/server.ts"'
  expect(checkImports(parseSource("appliance/main.ts", main))).toEqual([])
})
