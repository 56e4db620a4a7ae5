/**
 * The boot server of one interface: DHCP, TFTP and HTTP over one ledger of machines and one formation. Starts whole or
 * not at all; `close()` gives everything back. No packet of any kind stops it. Plane: control.
 */
import { createHash, createHmac, randomBytes, timingSafeEqual } from "node:crypto"
import { assert, unreachable } from "../appliance/types/assert.ts"
import type { ClusterSize } from "../appliance/types/cluster_sizes.ts"
import { err, ok, type Result } from "../appliance/types/result.ts"
import { formatIPv4, isSameSubnet, parseIPv4 } from "./address.ts"
import { AdmissionDesk } from "./admission_desk.ts"
import { type Admission, Routes, type ServedFile } from "./boot_routes.ts"
import { renderChainScript } from "./boot_script.ts"
import { SYSTEM_CLOCK } from "./clock.ts"
import type { BootClient } from "./dhcp/client.ts"
import type { FullConfig } from "./dhcp/full.ts"
import { type AddressPool, defaultPool, LeaseTable } from "./dhcp/lease_table.ts"
import { probeOtherServer } from "./dhcp/probe.ts"
import { type DHCPEvents, type DHCPMode, type DHCPServer, startDHCPServer } from "./dhcp/server.ts"
import { startHTTPServer } from "./http/server.ts"
import { describeInterfaceError, findInterfaceAddress, type InterfaceAddress } from "./interface_address.ts"
import { IMAGE_FILE_BYTES_MAX, PORT_HTTP, PORT_TFTP } from "./limits.ts"
import { JoinRoutes } from "./join_routes.ts"
import type { KeysPort, SignedRoster } from "./keys_port.ts"
import type { Logger } from "./log.ts"
import { Formation } from "./pool/formation.ts"
import { Ledger } from "./pool/ledger.ts"
import { TraceBook } from "./pool/trace.ts"
import { ANNOUNCE_FRESH_MS, CHECK_INTERVAL_MS } from "./pool/limits.ts"
import { type BootStatus, clusterStatus, machineStatuses, STATUS_SCHEMA } from "./pool/status.ts"
import { type AdmissionRule, Registry } from "./pool/registry.ts"
import { Tickets } from "./pool/tickets.ts"
import { startTFTPServer, type TFTPServer } from "./tftp/server.ts"
import type { BindError } from "./udp.ts"

export type BootImage = {
  readonly kernel: Uint8Array
  readonly init: Uint8Array
  readonly base: Uint8Array
  /** Served as JSON at /image/manifest.json; its form is the builder's. */
  readonly manifest: unknown
}

export type BootPrograms = {
  readonly "snponly.efi": Uint8Array
  readonly "undionly.kpxe": Uint8Array
  readonly "ipxe.efi": Uint8Array
}

export type BootServerOptions = {
  readonly interfaceName: string
  readonly dhcp: "proxy" | "full" | "off"
  /** How many machines form the cluster: an odd number. */
  readonly voters: number
  /** The limits of the cluster that they form. */
  readonly size: ClusterSize
  /** What every machine that is booted is to have room for, so that the cluster can grow to it; null for nothing. */
  readonly growTo: ClusterSize | null
  readonly image: BootImage
  readonly nbp: BootPrograms
  readonly log: Logger
  /** Give addresses although another server does; share port 67 with another program. */
  readonly force: boolean
  /** TFTP from port 69 only, for firewalls and containers that don't follow a transfer to its own port. */
  readonly isTFTPSinglePort: boolean
  /** Undefined: plain links, by an explicit option; whoever asks is booted. */
  readonly admission:
    | {
        readonly keys: KeysPort
        readonly accept_all: boolean
        readonly rules: readonly AdmissionRule[]
        /** A newer roster, and where members are that were heard a moment ago. */
        readonly onRoster: (roster: SignedRoster, addresses: readonly string[]) => void
      }
    | undefined
  /** Addresses for mode `full`, both ends included; by default part of the interface's own subnet. */
  readonly pool?: { readonly first: string; readonly last: string }
  readonly router?: string
  readonly dns?: readonly string[]
}

export type BootServerError = {
  readonly kind:
    | "interface_not_found"
    | "interface_without_ipv4"
    | "port_in_use"
    | "not_permitted"
    | "bind_failed"
    | "other_dhcp_server"
    | "bad_option"
  /** One line that says what to do. */
  readonly message: string
}

export type BootServer = {
  readonly address: string
  readonly url: string
  readonly status: () => BootStatus
  /** Undefined with plain links. */
  readonly desk: AdmissionDesk | undefined
  readonly close: () => Promise<void>
}

type Closing = () => Promise<void>

export async function startBootServer(options: BootServerOptions): Promise<Result<BootServer, BootServerError>> {
  const found = findInterfaceAddress(options.interfaceName)
  if (!found.ok) {
    return err({ kind: found.error.kind, message: describeInterfaceError(options.interfaceName, found.error) })
  }
  const { address, netmask } = found.value
  const addressText = formatIPv4(address)
  const url = `http://${addressText}:${PORT_HTTP}`
  const mode = modeOf(options, address, netmask)
  const config = configOf(options, { address, netmask, url })
  if (!mode.ok) {
    return mode
  }
  if (!config.ok) {
    return config
  }
  if (mode.value?.kind === "full" && !options.force) {
    const other = await probeOtherServer({ address, random: randomU32 })
    if (!other.ok) {
      return err(bindMessage(other.error))
    }
    if (other.value !== undefined) {
      return err({
        kind: "other_dhcp_server",
        message:
          `${other.value} already gives addresses on ${options.interfaceName}: ` +
          "use --dhcp proxy beside it, or stop it, or add --force to give addresses all the same",
      })
    }
  }

  const { log } = options
  const ledger = new Ledger()
  const trace = new TraceBook()
  const formation = new Formation({
    voters: options.voters,
    size: options.size,
    grow_to: options.growTo,
    cluster_id: randomHex(16),
    formation_token: randomHex(16),
    started_at: SYSTEM_CLOCK.epochMs(),
  })
  const admission = makeAdmission(options, formation, ledger)
  const desk = admission && new AdmissionDesk({ ...admission, formation, ledger, clock: SYSTEM_CLOCK, log })
  const joins = admission && new JoinRoutes({ ...admission, formation, clock: SYSTEM_CLOCK, log })
  const closings: Closing[] = []
  const close = async (): Promise<void> => {
    // Emptied first, so that a second call has nothing left to close.
    await Promise.all(closings.splice(0).map((closeOne) => closeOne()))
  }
  const fail = async (error: BindError): Promise<Result<BootServer, BootServerError>> => {
    await close()
    return err(bindMessage(error))
  }

  let dhcp: DHCPServer | undefined
  let tftp: TFTPServer | undefined
  const status = (): BootStatus => ({
    schema: STATUS_SCHEMA,
    cluster: clusterStatus(formation),
    machines: machineStatuses({ ledger, formation, registry: admission?.registry }, SYSTEM_CLOCK.epochMs()),
    counters: {
      dhcp: dhcp?.counters ?? {},
      tftp: tftp?.counters ?? {},
      http: http.ok ? http.value.counters : {},
      pool: { ...routes.counters, ...joins?.counters, machines: ledger.count, machines_refused: ledger.refused },
    },
  })
  const routes = new Routes({
    server_url: url,
    files: servedFiles(options),
    ledger,
    trace,
    formation,
    admission,
    clock: SYSTEM_CLOCK,
    log,
    status,
    randomHex,
  })

  // From the last that a machine needs to the first, so that none is sent on to what is not there yet.
  const http = await startHTTPServer({
    address: addressText,
    port: PORT_HTTP,
    log,
    random: randomU32,
    handle: (request) => joins?.handle(request) ?? routes.handle(request),
  })
  if (!http.ok) {
    return fail(http.error)
  }
  closings.push(http.value.close)
  const tftpStarted = await startTFTPServer({
    address: addressText,
    port: PORT_TFTP,
    files: tftpFiles(options, url),
    isSinglePort: options.isTFTPSinglePort,
    clock: SYSTEM_CLOCK,
    log,
    onRequest: (client, file) => {
      const now = SYSTEM_CLOCK.epochMs()
      ledger.onBootProgram(client, now)
      const known = ledger.findByAddress(client)
      if (known !== undefined) {
        trace.note(known.machine, { at: now, boot_id: "", step: "tftp", facts: { file, address: client } })
      }
    },
  })
  if (!tftpStarted.ok) {
    return fail(tftpStarted.error)
  }
  tftp = tftpStarted.value
  closings.push(tftp.close)
  if (mode.value !== undefined) {
    const dhcpStarted = await startDHCPServer({
      mode: mode.value,
      config: config.value,
      clock: SYSTEM_CLOCK,
      log,
      events: eventsFor(ledger, trace),
      isShared: options.force,
    })
    if (!dhcpStarted.ok) {
      return fail(dhcpStarted.error)
    }
    dhcp = dhcpStarted.value
    closings.push(dhcp.close)
  }
  const check = setInterval(() => {
    for (const { machine, reason } of ledger.findSilent(SYSTEM_CLOCK.epochMs())) {
      log.warn({ machine, reason }, "boot: a machine fell silent")
    }
  }, CHECK_INTERVAL_MS)
  closings.push(() => {
    clearInterval(check)
    return Promise.resolve()
  })
  log.info({ url, interface: options.interfaceName, dhcp: options.dhcp }, "boot server: ready")
  return ok({ address: addressText, url, status, desk, close })
}

function makeAdmission({ admission }: BootServerOptions, formation: Formation, ledger: Ledger): Admission | undefined {
  if (admission === undefined) {
    return undefined
  }
  const { keys } = admission
  const registry = new Registry({
    ...admission,
    clusterID: () => formation.clusterID,
    onRoster: (roster) => admission.onRoster(roster, membersHeard(ledger, formation)),
  })
  const tickets = new Tickets({
    randomHex,
    mac: (key, text) => createHmac("sha256", Buffer.from(key, "hex")).update(text).digest("hex"),
    isEqual: (a, b) => a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b)),
  })
  return { keys, registry, tickets }
}

function membersHeard(ledger: Ledger, formation: Formation): string[] {
  const now = SYSTEM_CLOCK.epochMs()
  const heard = ledger.list().filter(({ machine, announce_at: at }) => {
    return formation.slotOf(machine) !== null && at !== null && now - at <= ANNOUNCE_FRESH_MS
  })
  return heard.map(({ address }) => address)
}

function modeOf(
  options: BootServerOptions,
  address: number,
  netmask: number,
): Result<DHCPMode | undefined, BootServerError> {
  switch (options.dhcp) {
    case "off":
      return ok(undefined)
    case "proxy":
      return ok({ kind: "proxy" })
    case "full": {
      const pool = poolOf(options, address, netmask)
      return pool.ok ? ok({ kind: "full", table: new LeaseTable(pool.value, [address]) }) : pool
    }
    default:
      return unreachable(options.dhcp)
  }
}

function poolOf(
  { pool: asked, interfaceName }: BootServerOptions,
  address: number,
  netmask: number,
): Result<AddressPool, BootServerError> {
  if (asked === undefined) {
    const pool = defaultPool(address, netmask)
    const message = `the network of ${interfaceName} has no room for a pool of addresses: use --dhcp proxy`
    return pool === undefined ? err({ kind: "bad_option", message }) : ok(pool)
  }
  const first = parseIPv4(asked.first)
  const last = parseIPv4(asked.last)
  const isInside =
    first !== undefined &&
    last !== undefined &&
    first <= last &&
    isSameSubnet(first, address, netmask) &&
    isSameSubnet(last, address, netmask)
  const message = `the pool ${asked.first} to ${asked.last} is no range in the network of ${interfaceName}`
  return isInside ? ok({ first, last }) : err({ kind: "bad_option", message })
}

function configOf(
  options: BootServerOptions,
  { address, netmask, url }: InterfaceAddress & { readonly url: string },
): Result<FullConfig, BootServerError> {
  const dns: number[] = []
  for (const text of options.dns ?? []) {
    const server = parseIPv4(text)
    if (server === undefined) {
      return err({ kind: "bad_option", message: `${JSON.stringify(text)} is no IPv4 address of a name server` })
    }
    dns.push(server)
  }
  const router = options.router === undefined ? undefined : parseIPv4(options.router)
  if (options.router !== undefined && router === undefined) {
    return err({ kind: "bad_option", message: `${JSON.stringify(options.router)} is no IPv4 address of a router` })
  }
  const files = {
    bios: "undionly.kpxe",
    uefi: "snponly.efi",
    uefi_http: `${url}/nbp/snponly.efi`,
    // Short on purpose: old firmware has 127 bytes for it. The script behind it asks with all that iPXE knows.
    ipxe: `${url}/boot.ipxe`,
  }
  return ok({ address, netmask, router, dns, files })
}

function servedFiles({ image, nbp }: BootServerOptions): Map<string, ServedFile> {
  const binary = "application/octet-stream"
  const manifest = new TextEncoder().encode(`${JSON.stringify(image.manifest ?? null)}\n`)
  const files = new Map<string, ServedFile>([
    ["/image/kernel", servedFile(image.kernel, binary)],
    ["/image/init.img", servedFile(image.init, binary)],
    ["/image/base.img", servedFile(image.base, binary)],
    ["/image/manifest.json", servedFile(manifest, "application/json")],
  ])
  for (const [name, bytes] of Object.entries(nbp)) {
    // UEFI's HTTP boot tells a program from a disk image by this type.
    files.set(`/nbp/${name}`, servedFile(bytes, name.endsWith(".efi") ? "application/efi" : binary))
  }
  return files
}

function servedFile(bytes: Uint8Array, contentType: string): ServedFile {
  assert(bytes.length <= IMAGE_FILE_BYTES_MAX, "boot server: a file of the image is no larger than may be served")
  const etag = `"${createHash("sha256").update(bytes).digest("hex").slice(0, 32)}"`
  return { bytes, etag, content_type: contentType }
}

function tftpFiles({ nbp }: BootServerOptions, url: string): Map<string, Uint8Array> {
  const files = new Map<string, Uint8Array>(Object.entries(nbp))
  // Newer builds of iPXE look for it where they came from.
  files.set("autoexec.ipxe", new TextEncoder().encode(renderChainScript(url)))
  return files
}

function eventsFor(ledger: Ledger, trace: TraceBook): DHCPEvents {
  return {
    onPacket: (machine, facts) => {
      trace.note(machine, { at: SYSTEM_CLOCK.epochMs(), boot_id: "", step: "dhcp", facts })
    },
    onDiscover: (machine, client, xid) => {
      const kind = client.kind === "ipxe" ? "ipxe" : "firmware"
      ledger.onDiscover(machine, { kind, firmware: platformOf(client), xid }, SYSTEM_CLOCK.epochMs())
    },
    onAddress: (machine, address) => ledger.onAddress(machine, address, SYSTEM_CLOCK.epochMs()),
  }
}

function platformOf(client: BootClient): "bios" | "uefi" | "unknown" {
  switch (client.kind) {
    case "ipxe":
      return client.platform
    case "bios":
      return "bios"
    case "uefi":
    case "uefi_http":
      return "uefi"
    case "plain":
    case "unknown_architecture":
      return "unknown"
    default:
      return unreachable(client)
  }
}

function bindMessage(error: BindError): BootServerError {
  switch (error.kind) {
    case "port_in_use": {
      const message = `port ${error.port} is in use: stop the program that has it (ss -lntup | grep :${error.port})`
      return { kind: error.kind, message }
    }
    case "not_permitted":
      return { kind: error.kind, message: `port ${error.port} needs root: run this with sudo` }
    case "bind_failed":
      return { kind: error.kind, message: `port ${error.port} could not be opened: ${error.code}` }
    default:
      return unreachable(error)
  }
}

function randomHex(bytes: number): string {
  return randomBytes(bytes).toString("hex")
}

function randomU32(): number {
  return randomBytes(4).readUInt32BE(0)
}
