/** The inner modules know no clock, no chance, no network, and need nothing to their right. Plane: control. */
import { spawnSync } from "node:child_process"
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { expect, test } from "vitest"
import { INNER_LAYERS, LAYERS, placeOf } from "./imports.ts"
import { checkInner, isInner } from "./inner_modules.ts"
import { checkAll, describe, parseSource, ROOT, repositorySources } from "./source.ts"

const sources = repositorySources()

test("inner modules are closed and synchronous", () => {
  expect(describe(checkAll(sources, checkInner, isInner))).toEqual([])
})

const BAITS = [
  "export const now = (): number => Date.now()",
  "export const x = performance.now()",
  "export const x = Math.random()",
  "setTimeout(() => {}, 1)",
  "export async function f(): Promise<void> {}",
  "export const f = async () => 1",
  "const x = await y",
  "export function f(): never { throw new Error() }",
  "try { f() } catch {}",
  "export const x = Buffer.alloc(1)",
  "process.exit(1)",
  "console.log(1)",
  "export const { random } = globalThis.Math",
]

test.each(BAITS)("the bait is caught: %s", (text) => {
  expect(checkInner(parseSource("appliance/replication/bait.ts", text))).not.toEqual([])
})

test("a field that is called like a global is no violation", () => {
  const text = "export const x = { process: 1, Date: 2 }\nexport const y = x.process + Math.floor(x.Date)"
  expect(checkInner(parseSource("appliance/replication/good.ts", text))).toEqual([])
})

/** Copies the module and those before it to an empty place, without packages, and imports each of its files there. */
function importAlone(layer: string, extra?: { readonly name: string; readonly text: string }): string {
  const place = mkdtempSync(join(tmpdir(), "mandala-alone-"))
  for (const before of LAYERS.slice(0, LAYERS.findIndex((other) => other === layer) + 1)) {
    mkdirSync(join(place, "appliance"), { recursive: true })
    cpSync(join(ROOT, "appliance", before), join(place, "appliance", before), { recursive: true })
  }
  writeFileSync(join(place, "package.json"), '{ "type": "module" }')
  const paths = sources.filter((source) => placeOf(source.path) === layer).map((source) => source.path)
  if (extra !== undefined) {
    writeFileSync(join(place, "appliance", layer, extra.name), extra.text)
    paths.push(`appliance/${layer}/${extra.name}`)
  }
  const script = paths.map((path) => `await import(${JSON.stringify(join(place, path))})\n`).join("")
  const run = spawnSync(process.execPath, ["--input-type=module", "--eval", `${script}console.log("alone")`], {
    cwd: place,
    encoding: "utf8",
  })
  rmSync(place, { recursive: true, force: true })
  return paths.length > 0 && run.status === 0 ? run.stdout.trim() : `${paths.length} files, ${run.stderr}`
}

test.each(INNER_LAYERS)("%s can be imported alone", (layer) => {
  expect(importAlone(layer)).toBe("alone")
})

test("a module that needs another to its right can't be imported alone", () => {
  const text = 'import "../state_machine/command.ts"'
  expect(importAlone("replication", { name: "bait.ts", text })).toContain("ERR_MODULE_NOT_FOUND")
})
