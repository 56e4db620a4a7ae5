/**
 * What a server says that gives no addresses: where to boot from, and only to boot clients. The LAN's own DHCP server
 * gives the address (Intel PXE 2.1, 2.2). Plane: control.
 */
import { classifyClient } from "./client.ts"
import { MessageType, PORT_SERVER } from "./options.ts"
import type { DHCPPacket } from "./packet.ts"
import {
  bootFields,
  type DHCPConfig,
  type Decision,
  type Destination,
  destinationOf,
  makeReply,
  noReply,
  refusalOf,
  requestTypeOf,
} from "./reply.ts"

/** A packet on port 67 in proxy mode. */
export function decideProxy(packet: DHCPPacket, config: DHCPConfig): Decision {
  const refusal = refusalOf(packet)
  if (refusal !== undefined) {
    return noReply(refusal)
  }
  const client = classifyClient(packet)
  if (client.kind === "plain") {
    return noReply("not_a_boot_client")
  }
  if (client.kind === "unknown_architecture") {
    return noReply("unknown_architecture")
  }
  // The REQUEST that follows is for the server that gave the address.
  if (requestTypeOf(packet) !== MessageType.discover) {
    return noReply("proxy_is_silent")
  }
  const boot = bootFields(client, config, "proxy")
  if (boot === undefined) {
    return noReply("nothing_to_answer")
  }
  const type = MessageType.offer
  return { kind: "reply", type, packet: makeReply(packet, config, { type, ...boot }), to: destinationOf(packet, type) }
}

/** A packet on port 4011, in either mode: EDK2 asks here for the file after it has an address. */
export function decideBootServer(packet: DHCPPacket, from: Destination, config: DHCPConfig): Decision {
  const refusal = refusalOf(packet)
  if (refusal !== undefined) {
    return noReply(refusal)
  }
  const client = classifyClient(packet)
  if (client.kind === "plain") {
    return noReply("not_a_boot_client")
  }
  if (client.kind === "unknown_architecture") {
    return noReply("unknown_architecture")
  }
  const asked = requestTypeOf(packet)
  const boot = bootFields(client, config, "proxy")
  const isAnswered = asked === MessageType.request || asked === MessageType.discover || asked === MessageType.inform
  if (boot === undefined || !isAnswered) {
    return noReply("nothing_to_answer")
  }
  const type = MessageType.ack
  const reply = makeReply(packet, config, { type, ciaddr: packet.ciaddr, ...boot })
  // To the port that asked: some clients don't listen on 68 any more. A relay is answered as ever.
  const to = packet.giaddr === 0 ? from : { address: packet.giaddr, port: PORT_SERVER }
  return { kind: "reply", type, packet: reply, to }
}
