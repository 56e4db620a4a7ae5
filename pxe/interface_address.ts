/**
 * The IPv4 address of an interface. Node lists only interfaces that have a link; a bridge whose machines are all still
 * switched off has none, and is just where a boot server waits. The kernel's own tables know it all the same.
 * Plane: control.
 */
import { readFileSync } from "node:fs"
import { networkInterfaces } from "node:os"
import { assert, unreachable } from "../appliance/types/assert.ts"
import { err, ok, type Result } from "../appliance/types/result.ts"
import { isSameSubnet, parseIPv4 } from "./address.ts"

export type InterfaceAddress = { readonly address: number; readonly netmask: number }

export type InterfaceError =
  | { readonly kind: "interface_not_found"; readonly others: readonly string[] }
  | { readonly kind: "interface_without_ipv4" }

/** One line that says what to do. */
export function describeInterfaceError(name: string, error: InterfaceError): string {
  switch (error.kind) {
    case "interface_not_found":
      return `there is no interface ${JSON.stringify(name)}; those with a link are: ${error.others.join(", ")}`
    case "interface_without_ipv4": {
      const example = `ip link set ${name} up; ip address add A.B.C.D/24 dev ${name}`
      return `interface ${name} is down or has no IPv4 address: ${example}`
    }
    default:
      return unreachable(error)
  }
}

export function findInterfaceAddress(name: string): Result<InterfaceAddress, InterfaceError> {
  const listed = networkInterfaces()
  const ipv4 = listed[name]?.find((one) => one.family === "IPv4")
  const address = parseIPv4(ipv4?.address ?? "")
  const netmask = parseIPv4(ipv4?.netmask ?? "")
  if (address !== undefined && netmask !== undefined) {
    return ok({ address, netmask })
  }
  // Not /sys/class/net: that shows the network namespace of whoever mounted it.
  const names = readTable("/proc/net/dev")
    .split("\n")
    .map((line) => line.split(":")[0]?.trim())
  if (!names.includes(name) || name === "") {
    return err({ kind: "interface_not_found", others: Object.keys(listed) })
  }
  const found = findWithoutLink(name, readTable("/proc/net/route"), readTable("/proc/net/fib_trie"))
  return found === undefined ? err({ kind: "interface_without_ipv4" }) : ok(found)
}

/** The local address in the network that is directly on the interface. */
export function findWithoutLink(name: string, routes: string, trie: string): InterfaceAddress | undefined {
  const locals = localAddresses(trie)
  for (const line of routes.split("\n").slice(1)) {
    // Interface, destination, gateway, flags, three counters, mask.
    const [device, destination = "", gateway = "", , , , , mask = ""] = line.split(/\s+/)
    const network = parseRouteHex(destination)
    const netmask = parseRouteHex(mask)
    if (device !== name || network === undefined || netmask === undefined || parseRouteHex(gateway) !== 0) {
      continue
    }
    const address = netmask === 0 ? undefined : locals.find((local) => isSameSubnet(local, network, netmask))
    if (address !== undefined) {
      return { address, netmask }
    }
  }
  return undefined
}

/** Lines `|-- 10.77.0.1` that are followed by `/32 host LOCAL`. */
function localAddresses(trie: string): number[] {
  const lines = trie.split("\n")
  const addresses: number[] = []
  for (const [index, line] of lines.entries()) {
    const address = parseIPv4(line.trim().replace(/^\|-- /, ""))
    if (address !== undefined && lines[index + 1]?.trim() === "/32 host LOCAL") {
      addresses.push(address)
    }
  }
  return addresses
}

/** The table has the network's bytes as a number of the machine's own order: little-endian, as all that we run on. */
function parseRouteHex(text: string): number | undefined {
  if (!/^[0-9A-F]{8}$/.test(text)) {
    return undefined
  }
  const bytes = (text.match(/../g) ?? []).map((pair) => Number.parseInt(pair, 16))
  assert(bytes.length === 4, "interface: eight digits are four bytes")
  return bytes.reduceRight((sum, byte) => sum * 256 + byte, 0)
}

function readTable(path: string): string {
  try {
    return readFileSync(path, "utf8")
  } catch {
    // No such table (not Linux, or a container hides it): the same as no address in it.
    return ""
  }
}
