/**
 * What this machine's kernel says of the interface, its ports and its firewall. Reads, changes nothing.
 * Plane: control.
 */
import { execFile } from "node:child_process"
import { readdirSync, readFileSync, readlinkSync } from "node:fs"
import { COMMAND_MS_MAX, PROCESSES_MAX, TEXT_BYTES_MAX } from "./limits.ts"

export type PortHolder = { readonly protocol: "UDP" | "TCP"; readonly port: number; readonly program: string }
export type Bridge = { readonly name: string; readonly stp: boolean; readonly forward_delay_seconds: number }
export type LinkFacts = {
  readonly name: string
  readonly has_carrier: boolean
  /** Heard since the interface is there; undefined where the kernel does not count them. */
  readonly router_advertisements: number | undefined
  /** The interface itself, or the one that it is a port of. */
  readonly bridges: readonly Bridge[]
}
export type FirewallFacts = { readonly is_known: boolean; readonly drops: readonly string[] }
export type HostFacts = {
  readonly link: LinkFacts
  readonly ports: readonly PortHolder[]
  readonly is_boot_server_here: boolean
  readonly firewall: FirewallFacts
}

/** What a boot server needs. */
const PORTS_NEEDED = [
  { protocol: "UDP", port: 67 },
  { protocol: "UDP", port: 69 },
  { protocol: "UDP", port: 4011 },
  { protocol: "TCP", port: 7480 },
] as const

export function readLink(name: string): LinkFacts {
  const at = `/sys/class/net/${name}`
  const master = linkName(`${at}/master`)
  return {
    name,
    has_carrier: read(`${at}/carrier`).trim() === "1",
    router_advertisements: advertisementsOf(read(`/proc/net/dev_snmp6/${name}`)),
    bridges: [name, master].flatMap((one) => (one === "" ? [] : bridgeOf(one))),
  }
}

function bridgeOf(name: string): Bridge[] {
  const at = `/sys/class/net/${name}/bridge`
  const state = read(`${at}/stp_state`).trim()
  // Hundredths of a second.
  const delay = Number(read(`${at}/forward_delay`).trim())
  return state === "" ? [] : [{ name, stp: state !== "0", forward_delay_seconds: delay / 100 }]
}

export function advertisementsOf(counters: string): number | undefined {
  const line = /^Icmp6InRouterAdvertisements\s+(\d+)/m.exec(counters)
  return line === null ? undefined : Number(line[1])
}

/**
 * Of the ports that are needed those that somebody has, on every address or on `address` (hexadecimal, as the
 * kernel's).
 */
export function readPorts(addressHex: string): PortHolder[] {
  const holders: PortHolder[] = []
  for (const { protocol, port } of PORTS_NEEDED) {
    const table = read(protocol === "UDP" ? "/proc/net/udp" : "/proc/net/tcp")
    const inode = inodeOf(table, port, addressHex, protocol === "TCP")
    if (inode !== undefined) {
      holders.push({ protocol, port, program: programOf(inode) })
    }
  }
  return holders
}

/** Lines `1: 0100007F:0043 00000000:0000 07 … uid timeout inode`; 0A is a TCP socket that listens. */
export function inodeOf(table: string, port: number, addressHex: string, isTCP: boolean): string | undefined {
  const portHex = port.toString(16).toUpperCase().padStart(4, "0")
  for (const line of table.split("\n").slice(1)) {
    const [, local = "", , state, , , , , , inode] = line.trim().split(/\s+/)
    const [address, at] = local.split(":")
    if (at === portHex && (address === "00000000" || address === addressHex) && (!isTCP || state === "0A")) {
      return inode
    }
  }
  return undefined
}

/** The name of a process that has the socket; "" when it can't be seen. */
function programOf(inode: string): string {
  const wanted = `socket:[${inode}]`
  const pids = list("/proc").filter((name) => /^\d+$/.test(name))
  for (const pid of pids.slice(0, PROCESSES_MAX)) {
    for (const file of list(`/proc/${pid}/fd`)) {
      if (linkOf(`/proc/${pid}/fd/${file}`) === wanted) {
        return `${read(`/proc/${pid}/comm`).trim()} (pid ${pid})`
      }
    }
  }
  return ""
}

/** From nftables, or the older tables where that is not there. */
export async function readFirewall(): Promise<FirewallFacts> {
  const nft = await output("nft", ["-n", "list", "ruleset"])
  if (nft !== undefined) {
    return { is_known: true, drops: nftDrops(nft) }
  }
  const saved = await output("iptables-save", ["-t", "filter"])
  return saved === undefined ? { is_known: false, drops: [] } : { is_known: true, drops: iptablesDrops(saved) }
}

/**
 * Ports that chains of the hook input drop by their policy without a rule that names them. Rules are not followed any
 * deeper: whoever has a firewall of many chains is told what to look at, not what it would do.
 */
export function nftDrops(ruleset: string): string[] {
  const chains = ruleset.split(/^\s*chain /m).slice(1)
  const dropping = chains.filter((chain) => /type filter hook input [^}]*policy drop/.test(chain))
  return dropping.length === 0
    ? []
    : missing(dropping.join("\n"), (text, protocol, port) => {
        return text.split("\n").some((line) => {
          return line.includes("accept") && (isPortNamed(line, port) ? line.includes(protocol) : isForAll(line))
        })
      })
}

export function iptablesDrops(saved: string): string[] {
  if (!/^:INPUT DROP/m.test(saved)) {
    return []
  }
  return missing(saved, (text, protocol, port) => {
    return text.split("\n").some((line) => {
      if (!line.startsWith("-A INPUT") || !line.includes("-j ACCEPT")) {
        return false
      }
      const isAll = !/ -p | -m | --dport | -i | -s /.test(line)
      return isAll || (line.includes(`-p ${protocol}`) && isPortNamed(line, port))
    })
  })
}

function missing(text: string, isLetIn: (text: string, protocol: string, port: number) => boolean): string[] {
  return PORTS_NEEDED.filter(({ protocol, port }) => !isLetIn(text, protocol.toLowerCase(), port)).map(
    ({ protocol, port }) => `${protocol} ${port}`,
  )
}

function isPortNamed(line: string, port: number): boolean {
  return new RegExp(`\\b${port}\\b`).test(line)
}

/** An accept that asks for no protocol, port, state or interface. */
function isForAll(line: string): boolean {
  return /^\s*accept\s*$/.test(line.replace(/counter packets \d+ bytes \d+/, ""))
}

/** What a program prints; undefined when it is not there, fails, or takes too long. */
function output(command: string, args: readonly string[]): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>()
  const env = { ...process.env, PATH: `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin` }
  execFile(command, [...args], { timeout: COMMAND_MS_MAX, maxBuffer: TEXT_BYTES_MAX, env }, (error, stdout) => {
    resolve(error === null ? stdout : undefined)
  })
  return promise
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8").slice(0, TEXT_BYTES_MAX)
  } catch {
    // Not there, or not for us: as if it were empty.
    return ""
  }
}

function list(path: string): string[] {
  try {
    return readdirSync(path)
  } catch {
    // The process has ended, or is another user's.
    return []
  }
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    // Closed meanwhile.
    return ""
  }
}

function linkName(path: string): string {
  return linkOf(path).split("/").at(-1) ?? ""
}
