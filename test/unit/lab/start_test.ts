/** The command line of `npm start`: what is wrong with it is said at once, before anything is made. Plane: control. */
import { spawnSync } from "node:child_process"
import { join, resolve } from "node:path"
import { tmpdir } from "node:os"
import { expect, test } from "vitest"

const START = resolve(import.meta.dirname, "../../lab/start.ts")

function start(
  args: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): { status: number | null; out: string; err: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [START, ...args], { encoding: "utf8", env })
  return { status, out: stdout, err: stderr }
}

test("--help shows two examples", () => {
  const { status, out } = start(["--help"])
  expect(status).toBe(0)
  expect(out.match(/^ {2}npm start/gm)).toHaveLength(2)
})

test.each([
  [["--bogus"], "--bogus"],
  [["--memory", "3"], "--memory is 64 to"],
  [["--memory", "1e9"], "--memory is 64 to"],
  [["--machines", "2"], "--machines is 3 to"],
  [["--machines", "many"], "--machines is 3 to"],
  [["word"], "word"],
])("%j is a usage error", (args, text) => {
  const { status, out, err } = start(args)
  expect(status).toBe(2)
  expect(err).toContain(text)
  expect(out).toBe("")
})

test("a host without the lab's programs is told which packages to install", () => {
  const { status, err } = start(["--once", "--image", tmpdir()], { PATH: "" })
  expect(status).toBe(1)
  expect(err).toMatch(/^npm start: missing packages: sudo apt-get install .*qemu-system-x86.*\n$/)
})

test("a report that cannot be written is found out before the scene", () => {
  const file = join(tmpdir(), "no-such-directory", "r.json")
  const { status, err } = start(["--once", "--image", tmpdir(), "--report", file])
  expect(status).toBe(1)
  // A host without /dev/net/tun or QEMU says that first.
  expect(err).toMatch(/^npm start: .+\n$/)
})
