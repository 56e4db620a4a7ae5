/**
 * The sockets around the decisions. Node has neither IP_PKTINFO nor SO_BINDTODEVICE: broadcasts are received on every
 * address, and sent from a socket that is bound to the interface's own, which also makes the kernel choose that
 * interface. Plane: control.
 */
import type { RemoteInfo, Socket } from "node:dgram"
import { assert } from "../../appliance/types/assert.ts"
import { ok, type Result } from "../../appliance/types/result.ts"
import { formatIPv4, parseIPv4 } from "../address.ts"
import type { Clock } from "../clock.ts"
import type { Logger } from "../log.ts"
import { Recent } from "../recent.ts"
import { type BindError, bindUDP, closeUDP, onDatagram } from "../udp.ts"
import { type BootClient, classifyClient, machineOf } from "./client.ts"
import { decideFull, type FullConfig } from "./full.ts"
import type { LeaseTable } from "./lease_table.ts"
import { LOG_REPEAT_MS, REMEMBERED_MAX, REPLIES_PER_WINDOW_MAX, REPLIES_WINDOW_MS } from "./limits.ts"
import { MessageType, PORT_PXE, PORT_SERVER } from "./options.ts"
import { type DHCPPacket, decodePacket, encodePacket } from "./packet.ts"
import { decideBootServer, decideProxy } from "./proxy.ts"
import { type Decision, type Destination, type NoReplyReason, payloadBytesMax, requestTypeOf } from "./reply.ts"

export type DHCPMode = { readonly kind: "proxy" } | { readonly kind: "full"; readonly table: LeaseTable }

/** What the rest of the boot server learns from the requests. Called for boot clients only. */
export type DHCPEvents = {
  readonly onDiscover: (machine: string, client: BootClient, xid: number) => void
  /** What was asked, and what came of it, as facts for a person. */
  readonly onPacket: (machine: string, facts: Readonly<Record<string, string | number>>) => void
  /** The machine has, or was just given, this address. */
  readonly onAddress: (machine: string, address: string) => void
}

export type DHCPServerOptions = {
  readonly mode: DHCPMode
  readonly config: FullConfig
  readonly clock: Clock
  readonly log: Logger
  readonly events: DHCPEvents
  /** Share the port with another server of this machine instead of refusing to start. */
  readonly isShared: boolean
}

export type DHCPCounters = {
  received: number
  malformed: number
  offers: number
  acks: number
  naks: number
  rate_limited: number
  reply_too_big: number
  send_errors: number
  no_reply: { [Reason in NoReplyReason]: number }
}

export type DHCPServer = {
  readonly counters: DHCPCounters
  readonly close: () => Promise<void>
}

export async function startDHCPServer(options: DHCPServerOptions): Promise<Result<DHCPServer, BindError>> {
  const sockets: Socket[] = []
  const close = async (): Promise<void> => {
    await Promise.all(sockets.map(closeUDP))
  }
  const address = formatIPv4(options.config.address)
  if (!options.isShared) {
    // Sockets that may share a port would not notice dnsmasq, which lets others share: try alone first.
    const alone = await bindUDP({ address: "0.0.0.0", port: PORT_SERVER, isShared: false, isBroadcasting: false })
    if (!alone.ok) {
      return alone
    }
    await closeUDP(alone.value)
  }
  const places = [
    { address: "0.0.0.0", port: PORT_SERVER, isShared: true, isBroadcasting: false },
    { address, port: PORT_SERVER, isShared: true, isBroadcasting: true },
    { address, port: PORT_PXE, isShared: false, isBroadcasting: false },
  ]
  for (const place of places) {
    const socket = await bindUDP(place)
    if (!socket.ok) {
      await close()
      return socket
    }
    sockets.push(socket.value)
  }
  const [receiving, sending, pxe] = sockets
  const adapter = new DHCPAdapter(options)
  for (const socket of sockets) {
    // An interface that goes away must not take the process with it.
    socket.on("error", (error) => adapter.onSendError(error))
  }
  assert(receiving !== undefined && sending !== undefined && pxe !== undefined, "dhcp: a socket for each place")
  onDatagram(receiving, (bytes, from) => adapter.onServerPort(bytes, from, sending))
  onDatagram(sending, (bytes, from) => adapter.onServerPort(bytes, from, sending))
  onDatagram(pxe, (bytes, from) => adapter.onPXEPort(bytes, from, pxe))
  return ok({ counters: adapter.counters, close })
}

/** Silence that somebody should hear of: the machine will not boot for it. */
const REASONS_TOLD: ReadonlySet<NoReplyReason> = new Set([
  "unknown_architecture",
  "pool_exhausted",
  "no_pool_for_relay",
])

class DHCPAdapter {
  readonly counters: DHCPCounters = makeCounters()
  readonly #options: DHCPServerOptions
  readonly #replies = new Recent({
    window_ms: REPLIES_WINDOW_MS,
    count_max: REPLIES_PER_WINDOW_MAX,
    keys_max: REMEMBERED_MAX,
  })
  readonly #lines = new Recent({ window_ms: LOG_REPEAT_MS, count_max: 1, keys_max: REMEMBERED_MAX })

  constructor(options: DHCPServerOptions) {
    this.#options = options
  }

  onServerPort(bytes: Uint8Array, from: RemoteInfo, socket: Socket): void {
    const packet = this.#decode(bytes, from)
    if (packet === undefined) {
      return
    }
    const { mode, config, clock } = this.#options
    const decision =
      mode.kind === "proxy" ? decideProxy(packet, config) : decideFull(packet, clock.monotonicMs(), mode.table, config)
    this.#tell(packet, decision)
    this.#answer(packet, decision, socket)
  }

  onPXEPort(bytes: Uint8Array, from: RemoteInfo, socket: Socket): void {
    const packet = this.#decode(bytes, from)
    if (packet === undefined) {
      return
    }
    const to: Destination = { address: parseIPv4(from.address) ?? 0, port: from.port }
    const decision = decideBootServer(packet, to, this.#options.config)
    this.#tell(packet, decision)
    this.#answer(packet, decision, socket)
  }

  onSendError(error: Error): void {
    this.counters.send_errors += 1
    this.#logOnce("send", () => this.#options.log.warn({ error: error.message }, "dhcp: a reply could not be sent"))
  }

  #decode(bytes: Uint8Array, from: RemoteInfo): DHCPPacket | undefined {
    this.counters.received += 1
    const packet = decodePacket(bytes)
    if (packet.ok) {
      return packet.value
    }
    this.counters.malformed += 1
    const { kind } = packet.error
    this.#logOnce(`malformed ${from.address}`, () => {
      this.#options.log.warn({ from: from.address, reason: kind }, "dhcp: a malformed packet was dropped")
    })
    return undefined
  }

  /** Tells the ledger of boot clients, whether or not they get an answer. */
  #tell(packet: DHCPPacket, decision: Decision): void {
    const client = classifyClient(packet)
    const machine = machineOf(packet)
    if (machine === undefined || client.kind === "plain") {
      return
    }
    this.#options.events.onPacket(machine, factsOf(packet, client, decision))
    if (client.kind === "unknown_architecture") {
      return
    }
    if (requestTypeOf(packet) === MessageType.discover && decision.kind === "reply") {
      this.#options.events.onDiscover(machine, client, packet.xid)
    }
    if (decision.kind === "reply" && decision.type === MessageType.ack) {
      const address = decision.packet.yiaddr === 0 ? packet.ciaddr : decision.packet.yiaddr
      if (address !== 0) {
        this.#options.events.onAddress(machine, formatIPv4(address))
      }
    }
  }

  #answer(packet: DHCPPacket, decision: Decision, socket: Socket): void {
    const { log, clock } = this.#options
    const machine = machineOf(packet) ?? "unknown"
    if (decision.kind === "none") {
      this.counters.no_reply[decision.reason] += 1
      if (REASONS_TOLD.has(decision.reason)) {
        this.#logOnce(`${decision.reason} ${machine}`, () => {
          log.warn({ machine, reason: decision.reason, ...architectureOf(packet) }, "dhcp: a machine got no answer")
        })
      }
      return
    }
    if (!this.#replies.isAllowed(machine, clock.monotonicMs())) {
      this.counters.rate_limited += 1
      this.#logOnce(`rate ${machine}`, () => log.warn({ machine }, "dhcp: a machine asks too often"))
      return
    }
    const bytes = encodePacket(decision.packet, payloadBytesMax(packet))
    if (!bytes.ok) {
      this.counters.reply_too_big += 1
      return
    }
    this.#count(decision.type)
    socket.send(bytes.value, decision.to.port, formatIPv4(decision.to.address), (error) => {
      if (error !== null) {
        this.onSendError(error)
      }
    })
  }

  #count(type: number): void {
    if (type === MessageType.offer) {
      this.counters.offers += 1
    } else if (type === MessageType.ack) {
      this.counters.acks += 1
    } else {
      this.counters.naks += 1
    }
  }

  #logOnce(key: string, write: () => void): void {
    if (this.#lines.isAllowed(key, this.#options.clock.monotonicMs())) {
      write()
    }
  }
}

function factsOf(packet: DHCPPacket, client: BootClient, decision: Decision): Record<string, string | number> {
  const asked = requestTypeOf(packet)
  const platform = client.kind === "ipxe" ? `ipxe (${client.platform})` : client.kind
  const facts = {
    asked: nameOf(asked),
    client: platform,
    xid: packet.xid,
    seconds: packet.secs,
    ...architectureOf(packet),
  }
  if (decision.kind === "none") {
    return { ...facts, answer: "none", reason: decision.reason }
  }
  const { yiaddr, siaddr, file } = decision.packet
  const where = `${formatIPv4(decision.to.address)}:${decision.to.port}`
  return {
    ...facts,
    answer: nameOf(decision.type),
    to: where,
    address: formatIPv4(yiaddr),
    server: formatIPv4(siaddr),
    file,
  }
}

function nameOf(type: number | undefined): string {
  return Object.entries(MessageType).find(([, number]) => number === type)?.[0] ?? "unknown"
}

function architectureOf(packet: DHCPPacket): { readonly architecture?: number } {
  const client = classifyClient(packet)
  return client.kind === "unknown_architecture" ? { architecture: client.architecture } : {}
}

function makeCounters(): DHCPCounters {
  return {
    received: 0,
    malformed: 0,
    offers: 0,
    acks: 0,
    naks: 0,
    rate_limited: 0,
    reply_too_big: 0,
    send_errors: 0,
    no_reply: {
      not_a_request: 0,
      no_hardware_address: 0,
      no_message_type: 0,
      not_for_us: 0,
      not_a_boot_client: 0,
      unknown_architecture: 0,
      proxy_is_silent: 0,
      other_server_chosen: 0,
      no_lease_known: 0,
      pool_exhausted: 0,
      no_pool_for_relay: 0,
      nothing_to_answer: 0,
    },
  }
}
