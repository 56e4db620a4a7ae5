/**
 * A virtual LAN: a bridge with the boot server's address, a tap a machine, and router advertisements, since iPXE
 * waits 15 s for one. It is made inside a network namespace that the lab owns, so that ending the namespace ends all
 * of it. Plane: control.
 */
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { err, ok, type Result } from "../../appliance/types/result.ts"
import { Child, type LabError, labError, run, runAll } from "./host.ts"

export const LAN = {
  bridge: "br0",
  address: "10.77.0.1",
  prefix: 24,
  boot_server: "http://10.77.0.1:7480",
  ipv6: "fd77::1",
} as const

const NAMESPACE_PREFIX = "mandala-lab-"
const DIRECTORY_PREFIX = "mandala-lab-"

/** The name of the namespace of the lab process `pid`. */
export function namespaceName(pid: number): string {
  return `${NAMESPACE_PREFIX}${pid}`
}

export function createNamespace(name: string): Result<null, LabError> {
  if (!existsSync("/dev/net/tun")) {
    return err(
      labError(
        "lan",
        "/dev/net/tun is missing: load the module with 'modprobe tun', or allow the device in this container",
      ),
    )
  }
  return runAll("lan", [["ip", "netns", "add", name]])
}

/** Ends every process inside, then the namespace with its bridge and taps. */
export function removeNamespace(name: string): void {
  const pids = run("lan", ["ip", "netns", "pids", name])
  if (pids.ok) {
    for (const pid of pids.value.split("\n").filter((line) => /^\d+$/.test(line))) {
      endProcess(Number(pid))
    }
  }
  // Gone already is as good as gone now.
  void run("lan", ["ip", "netns", "del", name])
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
export function removeLeftovers(): number {
  let removed = 0
  const list = run("lan", ["ip", "netns", "list"])
  for (const line of list.ok ? list.value.split("\n") : []) {
    const match = /^mandala-lab-(\d+)/.exec(line)
    if (match !== null && !existsSync(`/proc/${match[1]}`)) {
      removeNamespace(`${NAMESPACE_PREFIX}${match[1]}`)
      removed += 1
    }
  }
  for (const entry of readdirSync(tmpdir())) {
    const match = /^mandala-lab-(\d+)-/.exec(entry)
    if (match !== null && !existsSync(`/proc/${match[1]}`)) {
      rmSync(join(tmpdir(), entry), { recursive: true, force: true })
      removed += 1
    }
  }
  return removed
}

/** A directory for consoles and logs, named after the process that removes it. */
export function createDirectory(): string {
  return mkdtempSync(join(tmpdir(), `${DIRECTORY_PREFIX}${process.pid}-`))
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
