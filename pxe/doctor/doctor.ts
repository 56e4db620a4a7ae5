/**
 * Looks at a LAN before machines boot on it: who answers DHCP and what, which of that is known to break firmware, and
 * what on this machine is in the way of a boot server. Changes nothing. Plane: control.
 */
import { randomBytes } from "node:crypto"
import { err, ok, type Result } from "../../appliance/types/result.ts"
import { encodeIPv4, formatIPv4 } from "../address.ts"
import { findInterfaceAddress, type InterfaceError } from "../interface_address.ts"
import type { Answer } from "./answer.ts"
import { readFirewall, readLink, readPorts } from "./host.ts"
import { type Finding, judgeAnswers, judgeHost } from "./judge.ts"
import { listenForAnswers } from "./listen.ts"

export type DoctorReport = {
  readonly schema: 1
  readonly interface: string
  readonly address: string
  readonly seconds: number
  readonly answers: readonly Answer[]
  readonly findings: readonly Finding[]
  /** No finding is an error. */
  readonly is_healthy: boolean
}

export async function examine(options: {
  readonly interfaceName: string
  readonly seconds: number
}): Promise<Result<DoctorReport, InterfaceError>> {
  const { interfaceName, seconds } = options
  const found = findInterfaceAddress(interfaceName)
  if (!found.ok) {
    return err(found.error)
  }
  const address = formatIPv4(found.value.address)
  const random = (): number => randomBytes(4).readUInt32LE(0)
  const listened = await listenForAnswers({ address: found.value.address, seconds, random })
  const ports = readPorts(kernelHex(found.value.address))
  const facts = {
    link: readLink(interfaceName),
    ports,
    is_boot_server_here: ports.length > 0 && (await isBootServer(address)),
    firewall: await readFirewall(),
  }
  const fromLAN = listened.ok ? judgeAnswers(listened.value, address) : [cannotListen(listened.error.kind)]
  const findings = [...fromLAN, ...judgeHost(facts)]
  const isHealthy = !findings.some(({ level }) => level === "error")
  const answers = listened.ok ? listened.value : []
  return ok({ schema: 1, interface: interfaceName, address, seconds, answers, findings, is_healthy: isHealthy })
}

function cannotListen(reason: string): Finding {
  return {
    level: "error",
    kind: "cannot_listen",
    text: `nobody could be asked: UDP port 68 on this machine: ${reason}`,
    advice: reason === "not_permitted" ? "run this as root" : "stop the DHCP client that has the port for a moment",
  }
}

/** As the kernel's tables have an address: its bytes in the machine's own order, little-endian. */
function kernelHex(address: number): string {
  return Buffer.from(encodeIPv4(address)).reverse().toString("hex").toUpperCase()
}

async function isBootServer(address: string): Promise<boolean> {
  try {
    const response = await fetch(`http://${address}:7480/status`, { signal: AbortSignal.timeout(1_000) })
    const status: unknown = await response.json()
    return typeof status === "object" && status !== null && "machines" in status
  } catch {
    // Nobody there, or not one of ours.
    return false
  }
}
