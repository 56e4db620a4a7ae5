/** The bundle: one file that runs by itself, leaves the builder out, and waits for the network. Plane: control. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, expect, test } from "vitest"
import { bundle } from "../../../builder/bundle.ts"

/** What the composition root may do: await at its top, ask where it is, load the builder when it is wanted. */
const ENTRY = `import { existsSync } from "node:fs"
import { word } from "./word.ts"
export async function build(): Promise<unknown> {
  return await import("../builder/build.ts")
}
const text = await Promise.resolve(word)
console.log(text, typeof import.meta.dirname, existsSync("/"), process.argv[2])
`

let root = ""

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "mandala-bundle-"))
  for (const folder of ["appliance", "builder"]) {
    mkdirSync(join(root, folder))
  }
  writeFileSync(join(root, "appliance/main.ts"), ENTRY)
  writeFileSync(join(root, "appliance/word.ts"), 'export const word: string = "ready"\n')
  writeFileSync(join(root, "builder/build.ts"), 'import "zx"\nexport const secret = "the builder"\n')
})

afterEach(() => {
  rmSync(root, { recursive: true })
})

async function bundled(): Promise<string> {
  const result = await bundle({ root, entry: "appliance/main.ts" })
  return result.ok ? Buffer.from(result.value.bytes).toString("utf8") : result.error.kind
}

test("the same sources give the same bytes, without the builder in them", async () => {
  const text = await bundled()
  expect(text).toBe(await bundled())
  expect(text).toContain("ready")
  expect(text).not.toContain("the builder")
})

test("it runs alone, and begins only when the network's file is there", async () => {
  const program = join(root, "mandala.mjs")
  const network = join(root, "network.json")
  writeFileSync(program, await bundled())
  const child = spawn(process.execPath, [program, "appliance"], { env: { MANDALA_NETWORK: network } })
  let output = ""
  child.stdout.on("data", (chunk: Buffer) => {
    output += chunk.toString()
  })
  const before = await Promise.race([
    once(child, "exit").then(() => "ended"),
    new Promise((done) => setTimeout(() => done("waits"), 300)),
  ])
  writeFileSync(network, "{}")
  const ended: unknown[] = await once(child, "close")
  expect({ before, code: ended[0], output }).toEqual({
    before: "waits",
    code: 0,
    output: "ready string true appliance\n",
  })
})

test("outside of an image it waits for nothing", async () => {
  const program = join(root, "mandala.mjs")
  writeFileSync(program, await bundled())
  const child = spawn(process.execPath, [program, "serve"], { env: {} })
  const ended: unknown[] = await once(child, "exit")
  expect(ended[0]).toBe(0)
})

test("a source that cannot be resolved is named", async () => {
  rmSync(join(root, "appliance/word.ts"))
  const result = await bundle({ root, entry: "appliance/main.ts" })
  expect(!result.ok && result.error.kind === "bundle_failed" && result.error.detail).toContain("./word.ts")
})
