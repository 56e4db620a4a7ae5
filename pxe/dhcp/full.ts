/**
 * What a server says that gives addresses (RFC 2131, 4.3), to boot clients and to all others. It is the authority of
 * its subnet. Plane: control.
 */
import { unreachable } from "../../appliance/types/assert.ts"
import { ADDRESS_NONE, decodeIPv4, encodeIPv4, isSameSubnet } from "../address.ts"
import { type BootClient, classifyClient, machineOf } from "./client.ts"
import type { LeaseTable } from "./lease_table.ts"
import { LEASE_BOOT_SECONDS, LEASE_SECONDS } from "./limits.ts"
import { MessageType, Option } from "./options.ts"
import type { DHCPPacket } from "./packet.ts"
import {
  bootFields,
  bytesOf,
  type DHCPConfig,
  type Decision,
  destinationOf,
  makeReply,
  nakFlags,
  noReply,
  refusalOf,
  requestTypeOf,
} from "./reply.ts"

export type FullConfig = DHCPConfig & {
  readonly netmask: number
  readonly router: number | undefined
  readonly dns: readonly number[]
}

type Context = {
  readonly packet: DHCPPacket
  readonly machine: string
  readonly client: BootClient
  readonly now: number
  readonly table: LeaseTable
  readonly config: FullConfig
}

/** The answer to `packet`; changes the lease table accordingly. */
export function decideFull(packet: DHCPPacket, now: number, table: LeaseTable, config: FullConfig): Decision {
  const refusal = refusalOf(packet)
  const machine = machineOf(packet)
  if (refusal !== undefined || machine === undefined) {
    return noReply(refusal ?? "no_hardware_address")
  }
  const context: Context = { packet, machine, client: classifyClient(packet), now, table, config }
  switch (requestTypeOf(packet)) {
    case MessageType.discover:
      return onDiscover(context)
    case MessageType.request:
      return onRequest(context)
    case MessageType.decline:
      return onDecline(context)
    case MessageType.release:
      return onRelease(context)
    case MessageType.inform:
      return onInform(context)
    default:
      return noReply("nothing_to_answer")
  }
}

/** A relay that stands in another subnet speaks for machines there: an address of this one's pool would strand them. */
function isOfOtherSubnet({ packet, config }: Context): boolean {
  return packet.giaddr !== ADDRESS_NONE && !isSameSubnet(packet.giaddr, config.address, config.netmask)
}

function onDiscover(context: Context): Decision {
  const { packet, machine, now, table } = context
  if (isOfOtherSubnet(context)) {
    return noReply("no_pool_for_relay")
  }
  const wanted = decodeIPv4(packet.options.get(Option.requested_address))
  const lease = table.offer(machine, wanted, now)
  return lease === undefined ? noReply("pool_exhausted") : grant(context, MessageType.offer, lease.address)
}

type RequestState = "selecting" | "init_reboot" | "renewing"

/** RFC 2131, table 4. Renewing and rebinding differ in how the packet came, which changes nothing here. */
function requestStateOf(packet: DHCPPacket): RequestState {
  if (packet.ciaddr !== ADDRESS_NONE && !packet.options.has(Option.requested_address)) {
    return "renewing"
  }
  return packet.options.has(Option.server) ? "selecting" : "init_reboot"
}

function onRequest(context: Context): Decision {
  const { packet, machine, now, table, config } = context
  const server = packet.options.get(Option.server)
  if (server !== undefined && decodeIPv4(server) !== config.address) {
    table.withdraw(machine)
    return noReply("other_server_chosen")
  }
  if (isOfOtherSubnet(context)) {
    return noReply("no_pool_for_relay")
  }
  const state = requestStateOf(packet)
  const wanted = state === "renewing" ? packet.ciaddr : decodeIPv4(packet.options.get(Option.requested_address))
  if (wanted === undefined) {
    return noReply("nothing_to_answer")
  }
  const held = table.leaseOf(machine, now)
  if (held?.address === wanted) {
    return bindAndAck(context, wanted)
  }
  switch (state) {
    case "selecting":
      // The offer ran out; the address may still be free.
      return table.mayHave(machine, wanted, now) ? bindAndAck(context, wanted) : nak(context)
    case "init_reboot":
      if (held !== undefined || !isSameSubnet(wanted, config.address, config.netmask)) {
        return nak(context)
      }
      return noReply("no_lease_known")
    case "renewing":
      if (table.mayHave(machine, wanted, now)) {
        // Given before this server was restarted; RFC 2131 wants silence, which would take a live machine's address.
        return bindAndAck(context, wanted)
      }
      return held !== undefined || table.machineAt(wanted) !== undefined ? nak(context) : noReply("no_lease_known")
    default:
      return unreachable(state)
  }
}

function onDecline({ packet, machine, now, table, config }: Context): Decision {
  const declined = decodeIPv4(packet.options.get(Option.requested_address))
  if (declined === undefined || decodeIPv4(packet.options.get(Option.server)) !== config.address) {
    return noReply("not_for_us")
  }
  return noReply(table.decline(machine, declined, now) ? "nothing_to_answer" : "no_lease_known")
}

function onRelease({ packet, machine, table, config }: Context): Decision {
  if (decodeIPv4(packet.options.get(Option.server)) !== config.address) {
    return noReply("not_for_us")
  }
  return noReply(table.release(machine, packet.ciaddr) ? "nothing_to_answer" : "no_lease_known")
}

/** A machine that has an address wants the rest: no yiaddr, no lease (RFC 2131, 4.3.5). */
function onInform(context: Context): Decision {
  const { packet, config } = context
  if (packet.ciaddr === ADDRESS_NONE) {
    return noReply("nothing_to_answer")
  }
  const boot = bootFields(context.client, config, "full")
  const options = new Map([...networkOptions(config), ...(boot?.options ?? [])])
  const type = MessageType.ack
  const reply = makeReply(packet, config, { ...boot, type, ciaddr: packet.ciaddr, options })
  return { kind: "reply", type, packet: reply, to: destinationOf(packet, type) }
}

function bindAndAck(context: Context, address: number): Decision {
  const { machine, now, table } = context
  const lease = table.bind(machine, address, now, leaseSeconds(context.client) * 1000)
  return lease === undefined ? nak(context) : grant(context, MessageType.ack, lease.address)
}

function leaseSeconds(client: BootClient): number {
  return client.kind === "plain" ? LEASE_SECONDS : LEASE_BOOT_SECONDS
}

function grant(context: Context, type: number, address: number): Decision {
  const { packet, client, config } = context
  const boot = bootFields(client, config, "full")
  const seconds = leaseSeconds(client)
  const options = new Map([
    ...networkOptions(config),
    [Option.lease_seconds, encodeIPv4(seconds)] as const,
    [Option.renew_seconds, encodeIPv4(Math.floor(seconds / 2))] as const,
    [Option.rebind_seconds, encodeIPv4(Math.floor((seconds * 7) / 8))] as const,
    ...(boot?.options ?? []),
  ])
  const ciaddr = type === MessageType.ack ? packet.ciaddr : ADDRESS_NONE
  const reply = makeReply(packet, config, { ...boot, type, ciaddr, yiaddr: address, options })
  return { kind: "reply", type, packet: reply, to: destinationOf(packet, type) }
}

function networkOptions(config: FullConfig): Map<number, Uint8Array> {
  const options = new Map<number, Uint8Array>([[Option.netmask, encodeIPv4(config.netmask)]])
  if (config.router !== undefined) {
    options.set(Option.router, encodeIPv4(config.router))
  }
  if (config.dns.length > 0) {
    options.set(Option.dns, Uint8Array.from(config.dns.flatMap((address) => [...encodeIPv4(address)])))
  }
  return options
}

function nak(context: Context): Decision {
  const { packet, config } = context
  const type = MessageType.nak
  const options = new Map([[Option.message, bytesOf("this address is not yours")]])
  const reply = makeReply({ ...packet, flags: nakFlags(packet) }, config, { type, options })
  return { kind: "reply", type, packet: reply, to: destinationOf(packet, type) }
}
