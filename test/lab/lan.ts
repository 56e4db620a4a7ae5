/**
 * A virtual LAN: a bridge with the boot server's address, a tap a machine, and router advertisements, since iPXE
 * waits 15 s for one. It is made inside a network namespace that the lab owns, so that ending the namespace ends all
 * of it. Plane: control.
 */
import { accessSync, constants, existsSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { err, ok, type Result } from "../../appliance/types/result.ts"
import { Child, type LabError, labError, run, runAll } from "./host.ts"
import { REMOVE_ATTEMPTS_MAX, REMOVE_RETRY_MS } from "./limits.ts"

export const LAN = {
  bridge: "br0",
  address: "10.77.0.1",
  prefix: 24,
  boot_server: "http://10.77.0.1:7480",
  ipv6: "fd77::1",
} as const

/** Of namespaces and of directories; then follows the pid of the process that removes them. */
const PREFIX = "mandala-lab-"
const NAME = /^mandala-lab-(\d+)/
const TUN = "/dev/net/tun"

/** The name of the namespace of the lab process `pid`. */
export function namespaceName(pid: number): string {
  return `${PREFIX}${pid}`
}

/** Whether this user may make taps; in one line what to do when not. */
export function checkTun(): Result<null, LabError> {
  if (!existsSync(TUN)) {
    const how = "load the module (modprobe tun), or allow the device in this container"
    return err(labError("lan", `${TUN} is missing: ${how}`))
  }
  try {
    accessSync(TUN, constants.R_OK | constants.W_OK)
    return ok(null)
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    return err(labError("lan", `${TUN} cannot be used (${why}): run as root (sudo npm start)`))
  }
}

export function createNamespace(name: string): Result<null, LabError> {
  const made = run("lan", ["ip", "netns", "add", name])
  if (made.ok) {
    return ok(null)
  }
  const message = `no network namespace can be made here: ${made.error.message}; a container needs CAP_SYS_ADMIN for it`
  return err(labError("lan", message))
}

/** Ends every process inside, then the namespace with its bridge and taps. */
export async function removeNamespace(name: string): Promise<Result<null, LabError>> {
  for (let attempt = 0; attempt < REMOVE_ATTEMPTS_MAX; attempt += 1) {
    const pids = run("lan", ["ip", "netns", "pids", name])
    const alive = pids.ok ? pids.value.split("\n").filter((line) => /^\d+$/.test(line)) : []
    if (alive.length === 0) {
      break
    }
    for (const pid of alive) {
      endProcess(Number(pid))
    }
    await new Promise((resolve) => setTimeout(resolve, REMOVE_RETRY_MS))
  }
  return runAll("lan", [["ip", "netns", "del", name]])
}

function endProcess(pid: number): void {
  try {
    process.kill(pid, "SIGKILL")
  } catch {
    // It ended between being listed and being killed: nothing is left to do.
    return
  }
}

/** Namespaces and directories of labs that were killed: ours by name, and their process is gone. */
export async function removeLeftovers(): Promise<number> {
  let removed = 0
  const list = run("lan", ["ip", "netns", "list"])
  for (const line of list.ok ? list.value.split("\n") : []) {
    const match = NAME.exec(line)
    if (match !== null && !existsSync(`/proc/${match[1]}`)) {
      const gone = await removeNamespace(match[0])
      removed += gone.ok ? 1 : 0
    }
  }
  for (const entry of readdirSync(tmpdir())) {
    const match = NAME.exec(entry)
    const path = join(tmpdir(), entry)
    // Another user's lab is theirs to remove.
    if (match !== null && !existsSync(`/proc/${match[1]}`) && statSync(path).uid === process.getuid?.()) {
      rmSync(path, { recursive: true, force: true })
      removed += 1
    }
  }
  return removed
}

/** A directory for consoles and logs, named after the process that removes it. */
export function createDirectory(): string {
  return mkdtempSync(join(tmpdir(), `${PREFIX}${process.pid}-`))
}

/** Makes the bridge and the advertisements; call it inside the namespace. */
export function createLAN(directory: string): Result<Child, LabError> {
  const made = runAll("lan", [
    ["ip", "link", "set", "lo", "up"],
    ["ip", "link", "add", LAN.bridge, "type", "bridge", "stp_state", "0", "forward_delay", "0", "mcast_snooping", "0"],
    ["ip", "addr", "add", `${LAN.address}/${LAN.prefix}`, "dev", LAN.bridge],
    ["ip", "-6", "addr", "add", `${LAN.ipv6}/64`, "dev", LAN.bridge, "nodad"],
    ["ip", "link", "set", LAN.bridge, "up"],
  ])
  if (!made.ok) {
    return made
  }
  // radvd refuses to speak on a host that does not forward; in this namespace there is nowhere to forward to.
  writeFileSync("/proc/sys/net/ipv6/conf/all/forwarding", "1\n")
  const config = join(directory, "radvd.conf")
  const lines = [
    `interface ${LAN.bridge} {`,
    "  AdvSendAdvert on;",
    "  MinRtrAdvInterval 3;",
    "  MaxRtrAdvInterval 4;",
    "  AdvDefaultLifetime 0;",
    "  prefix fd77::/64 { AdvOnLink on; AdvAutonomous on; };",
    "};",
    "",
  ]
  writeFileSync(config, lines.join("\n"), { mode: 0o644 })
  const command = [
    "radvd",
    "--nodaemon",
    "--logmethod",
    "stderr",
    "--config",
    config,
    "--pidfile",
    join(directory, "radvd.pid"),
  ]
  return ok(new Child({ command, logFile: join(directory, "radvd.log") }))
}

/** A tap on the bridge for one machine. */
export function createTap(name: string): Result<null, LabError> {
  return runAll("lan", [
    ["ip", "tuntap", "add", "dev", name, "mode", "tap"],
    ["ip", "link", "set", name, "master", LAN.bridge],
    ["ip", "link", "set", name, "up"],
  ])
}
