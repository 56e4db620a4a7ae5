/**
 * Asks whether another DHCP server is on the LAN, as any client would, before this one gives addresses.
 * Plane: control.
 */
import type { Socket } from "node:dgram"
import { ok, type Result } from "../../appliance/types/result.ts"
import { ADDRESS_BROADCAST, decodeIPv4, formatIPv4 } from "../address.ts"
import { type BindError, bindUDP, closeUDP } from "../udp.ts"
import { MESSAGE_BYTES_MIN, PROBE_ATTEMPTS, PROBE_MS } from "./limits.ts"
import {
  FLAG_BROADCAST,
  HTYPE_ETHERNET,
  MessageType,
  OP_REPLY,
  OP_REQUEST,
  Option,
  PORT_CLIENT,
  PORT_SERVER,
} from "./options.ts"
import { CHADDR_BYTES, type DHCPPacket, decodePacket, encodePacket } from "./packet.ts"

export type ProbeOptions = {
  /** Of the interface that is asked on. */
  readonly address: number
  /** Uniform over 32 bits. */
  readonly random: () => number
}

/** The address of a server that offered one within PROBE_MS, or undefined. */
export async function probeOtherServer(options: ProbeOptions): Promise<Result<string | undefined, BindError>> {
  // Offers are broadcast, since we ask for that; the sending socket is bound to the interface to be sent out there.
  const receiving = await bindUDP({ address: "0.0.0.0", port: PORT_CLIENT, isShared: true, isBroadcasting: false })
  if (!receiving.ok) {
    return receiving
  }
  const address = formatIPv4(options.address)
  const sending = await bindUDP({ address, port: PORT_CLIENT, isShared: true, isBroadcasting: true })
  if (!sending.ok) {
    await closeUDP(receiving.value)
    return sending
  }
  const found = await ask(options, receiving.value, sending.value)
  await Promise.all([closeUDP(receiving.value), closeUDP(sending.value)])
  return ok(found)
}

function ask(options: ProbeOptions, receiving: Socket, sending: Socket): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>()
  const discover = makeDiscover(options)
  const bytes = encodePacket(discover, MESSAGE_BYTES_MIN)
  const onMessage = (message: Uint8Array, from: { readonly address: string }): void => {
    const packet = decodePacket(message)
    if (packet.ok && isOfferTo(packet.value, discover)) {
      const server = decodeIPv4(packet.value.options.get(Option.server))
      resolve(server === undefined ? from.address : formatIPv4(server))
    }
  }
  const send = (): void => {
    if (bytes.ok) {
      // A send that fails is a lost packet: the next attempt, or silence, is the answer.
      sending.send(bytes.value, PORT_SERVER, formatIPv4(ADDRESS_BROADCAST), () => undefined)
    }
  }
  for (const socket of [receiving, sending]) {
    socket.on("message", onMessage)
    socket.on("error", () => resolve(undefined))
  }
  send()
  const repeat = setInterval(send, PROBE_MS / PROBE_ATTEMPTS)
  const end = setTimeout(() => resolve(undefined), PROBE_MS)
  return promise.finally(() => {
    clearInterval(repeat)
    clearTimeout(end)
  })
}

function isOfferTo(packet: DHCPPacket, discover: DHCPPacket): boolean {
  const type = packet.options.get(Option.message_type)
  return packet.op === OP_REPLY && packet.xid === discover.xid && type?.[0] === MessageType.offer
}

function makeDiscover({ random }: ProbeOptions): DHCPPacket {
  const chaddr = new Uint8Array(CHADDR_BYTES)
  new DataView(chaddr.buffer).setUint32(2, random())
  // Locally administered, so no real machine's.
  chaddr[0] = 0x02
  return {
    op: OP_REQUEST,
    htype: HTYPE_ETHERNET,
    hlen: 6,
    hops: 0,
    xid: random(),
    secs: 0,
    flags: FLAG_BROADCAST,
    ciaddr: 0,
    yiaddr: 0,
    siaddr: 0,
    giaddr: 0,
    chaddr,
    sname: "",
    file: "",
    options: new Map([
      [Option.message_type, Uint8Array.of(MessageType.discover)],
      [Option.parameters, Uint8Array.of(Option.netmask, Option.router)],
    ]),
  }
}
