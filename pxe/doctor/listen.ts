/**
 * Asks the LAN for addresses and boot programs, as four kinds of clients would, and keeps who answers.
 * Plane: control.
 */
import type { RemoteInfo, Socket } from "node:dgram"
import { setTimeout as sleep } from "node:timers/promises"
import { ok, type Result } from "../../appliance/types/result.ts"
import { ADDRESS_BROADCAST, formatIPv4 } from "../address.ts"
import { MESSAGE_BYTES_MIN } from "../dhcp/limits.ts"
import {
  Architecture,
  FLAG_BROADCAST,
  HTYPE_ETHERNET,
  MessageType,
  OP_REQUEST,
  Option,
  PORT_CLIENT,
  PORT_SERVER,
} from "../dhcp/options.ts"
import { CHADDR_BYTES, type DHCPPacket, decodePacket, encodePacket } from "../dhcp/packet.ts"
import { type BindError, bindUDP, closeUDP, onDatagram } from "../udp.ts"
import { type Answer, answerOf, type Question, QUESTIONS } from "./answer.ts"
import { ANSWERS_MAX, ASKED_TIMES } from "./limits.ts"

export type ListenOptions = {
  /** Of the interface that is asked on. */
  readonly address: number
  readonly seconds: number
  /** Uniform over 32 bits. */
  readonly random: () => number
}

/** All different answers of `seconds`. Nothing is requested: what is offered lapses by itself. */
export async function listenForAnswers(options: ListenOptions): Promise<Result<readonly Answer[], BindError>> {
  const receiving = await bindUDP({ address: "0.0.0.0", port: PORT_CLIENT, isShared: true, isBroadcasting: false })
  if (!receiving.ok) {
    return receiving
  }
  const address = formatIPv4(options.address)
  // Broadcasts leave by the interface whose address the socket is bound to.
  const sending = await bindUDP({ address, port: PORT_CLIENT, isShared: true, isBroadcasting: true })
  if (!sending.ok) {
    await closeUDP(receiving.value)
    return sending
  }
  const answers = await ask(options, [receiving.value, sending.value], sending.value)
  await Promise.all([closeUDP(receiving.value), closeUDP(sending.value)])
  return ok(answers)
}

async function ask(options: ListenOptions, sockets: readonly Socket[], sending: Socket): Promise<readonly Answer[]> {
  const answers: Answer[] = []
  const chaddr = inventedAddress(options.random)
  const asked = QUESTIONS.map((question) => ({ question, discover: makeDiscover(question, chaddr, options.random) }))
  let sentAt = 0
  const onMessage = (bytes: Uint8Array, from: RemoteInfo): void => {
    const packet = decodePacket(bytes)
    const found = packet.ok ? asked.find(({ discover }) => discover.xid === packet.value.xid) : undefined
    if (!packet.ok || found === undefined || answers.length >= ANSWERS_MAX) {
      return
    }
    const ms = Math.round(performance.now() - sentAt)
    const facts = { question: found.question, from: from.address, port: from.port, ms }
    const answer = answerOf(packet.value, facts)
    if (answer !== undefined && !answers.some((known) => isSame(known, answer))) {
      answers.push(answer)
    }
  }
  for (const socket of sockets) {
    onDatagram(socket, onMessage)
  }
  for (let time = 0; time < ASKED_TIMES; time += 1) {
    sentAt = performance.now()
    for (const { discover } of asked) {
      const bytes = encodePacket(discover, MESSAGE_BYTES_MIN)
      if (bytes.ok) {
        // A send that fails is a lost packet: the next time, or silence, is the answer.
        sending.send(bytes.value, PORT_SERVER, formatIPv4(ADDRESS_BROADCAST), () => undefined)
      }
    }
    await sleep((options.seconds * 1_000) / ASKED_TIMES)
  }
  return answers
}

function isSame(a: Answer, b: Answer): boolean {
  return (
    a.question === b.question && a.from === b.from && a.server === b.server && (a.offered === "") === (b.offered === "")
  )
}

/** Locally administered, so no real machine's. */
function inventedAddress(random: () => number): Uint8Array {
  const chaddr = new Uint8Array(CHADDR_BYTES)
  new DataView(chaddr.buffer).setUint32(2, random())
  chaddr[0] = 0x02
  return chaddr
}

const CLASSES: Readonly<Record<Question, { readonly text: string; readonly architecture: number } | undefined>> = {
  plain: undefined,
  bios: { text: "PXEClient:Arch:00000:UNDI:002001", architecture: Architecture.bios },
  uefi: { text: "PXEClient:Arch:00007:UNDI:003016", architecture: Architecture.uefi_x64 },
  uefi_http: { text: "HTTPClient:Arch:00016:UNDI:003001", architecture: Architecture.uefi_http_x64 },
}

function makeDiscover(question: Question, chaddr: Uint8Array, random: () => number): DHCPPacket {
  const named = CLASSES[question]
  const { netmask, router, boot_server_name: name, boot_file_name: file, vendor } = Option
  const options = new Map<number, Uint8Array>([
    [Option.message_type, Uint8Array.of(MessageType.discover)],
    [Option.parameters, Uint8Array.of(netmask, router, vendor, Option.vendor_class, name, file)],
  ])
  if (named !== undefined) {
    options.set(Option.vendor_class, new TextEncoder().encode(named.text))
    options.set(Option.architecture, Uint8Array.of(named.architecture >>> 8, named.architecture & 0xff))
    options.set(Option.machine_id, new Uint8Array(17))
  }
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
    options,
  }
}
