/** A phase's command: what it said, how it ended, and that nothing of it is left. Plane: control. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { expect, test } from "vitest"
import { type CommandEnd, runCommand } from "../../runner/command.ts"

const never = new AbortController().signal

function runScript(script: string, options?: { secondsMax?: number; stop?: AbortSignal }): Promise<CommandEnd> {
  return runCommand({
    file: process.execPath,
    args: ["--eval", script],
    cwd: tmpdir(),
    secondsMax: options?.secondsMax ?? 30,
    stop: options?.stop ?? never,
    graceSeconds: 0.2,
  })
}

test("both streams and the exit code are kept", async () => {
  const end = await runScript('console.log("out"); console.error("err"); process.exitCode = 3')
  expect(end).toMatchObject({ code: 3, end: "exited" })
  expect(end.output.split("\n").sort()).toEqual(["", "err", "out"])
})

test("a program that doesn't exist has not started", async () => {
  const file = join(tmpdir(), "no-such-program")
  const end = await runCommand({ file, args: [], cwd: tmpdir(), secondsMax: 5, stop: never })
  expect(end.end).toBe("not_started")
  expect(end.output).toContain("ENOENT")
})

/** Starts a child that ignores SIGTERM, tells its pid, and waits with it. */
function stubborn(pidFile: string): string {
  const child = `process.on("SIGTERM", () => {}); setInterval(() => {}, 1000); console.log("up")`
  return `
    process.on("SIGTERM", () => {})
    const child = require("node:child_process").spawn(process.execPath, ["--eval", ${JSON.stringify(child)}])
    child.stdout.once("data", () => require("node:fs").writeFileSync(${JSON.stringify(pidFile)}, String(child.pid)))
    setInterval(() => {}, 1000)`
}

function isAlive(pid: number): boolean {
  // A zombie that init has not reaped yet runs nothing any more.
  const stat = `/proc/${pid}/stat`
  return existsSync(stat) && !/\) [ZX] /.test(readFileSync(stat, "utf8"))
}

async function untilGone(pid: number): Promise<boolean> {
  for (let attempt = 0; attempt < 100 && isAlive(pid); attempt += 1) {
    await sleep(20)
  }
  return !isAlive(pid)
}

test("what is late is killed, with the children that it started", async () => {
  const folder = mkdtempSync(join(tmpdir(), "mandala-command-"))
  const pidFile = join(folder, "pid")
  const end = await runScript(stubborn(pidFile), { secondsMax: 2 })
  expect(end).toMatchObject({ code: undefined, end: "late" })
  const pid = Number(readFileSync(pidFile, "utf8"))
  expect(pid).toBeGreaterThan(1)
  expect(await untilGone(pid)).toBe(true)
  rmSync(folder, { recursive: true })
})

test("what is stopped ends early", async () => {
  const stop = new AbortController()
  const running = runScript("setInterval(() => {}, 1000)", { stop: stop.signal })
  stop.abort()
  expect((await running).end).toBe("stopped")
})

test("a child that outlives its parent is not left behind", async () => {
  const script = `
    const child = require("node:child_process").spawn("sleep", ["60"], { stdio: "ignore" })
    console.log(child.pid)
    process.exit(0)`
  const end = await runScript(script)
  expect(end).toMatchObject({ code: 0, end: "exited" })
  expect(await untilGone(Number(end.output))).toBe(true)
})
