/** What one server answered to one question, as facts. Pure. Plane: control. */
import { ADDRESS_NONE, decodeIPv4, formatIPv4 } from "../address.ts"
import { MessageType, OP_REPLY, Option } from "../dhcp/options.ts"
import type { DHCPPacket } from "../dhcp/packet.ts"

/** As whom the doctor asks: a program that wants an address, and three kinds of firmware. */
export const QUESTIONS = ["plain", "bios", "uefi", "uefi_http"] as const
export type Question = (typeof QUESTIONS)[number]

export type Answer = {
  readonly question: Question
  /** Where it came from, and what its option 54 says. */
  readonly from: string
  readonly port: number
  readonly server: string
  readonly ms: number
  /** The address that is offered; "" for none, as a proxy does. */
  readonly offered: string
  /** The fields siaddr and file of the header, and options 66 and 67. */
  readonly next_server: string
  readonly file: string
  readonly boot_server_name: string
  readonly boot_file_name: string
  /** Option 60, as text. */
  readonly vendor_class: string
  /** Option 43: its bytes as hexadecimal digits, and whether they are suboptions in form. */
  readonly vendor: string
  readonly is_vendor_sound: boolean
}

export function answerOf(
  packet: DHCPPacket,
  facts: Pick<Answer, "question" | "from" | "port" | "ms">,
): Answer | undefined {
  const { options } = packet
  if (packet.op !== OP_REPLY || options.get(Option.message_type)?.[0] !== MessageType.offer) {
    return undefined
  }
  const vendor = options.get(Option.vendor)
  const server = decodeIPv4(options.get(Option.server))
  return {
    ...facts,
    server: server === undefined ? facts.from : formatIPv4(server),
    offered: packet.yiaddr === ADDRESS_NONE ? "" : formatIPv4(packet.yiaddr),
    next_server: packet.siaddr === ADDRESS_NONE ? "" : formatIPv4(packet.siaddr),
    file: packet.file,
    boot_server_name: textOf(options.get(Option.boot_server_name)),
    boot_file_name: textOf(options.get(Option.boot_file_name)),
    vendor_class: textOf(options.get(Option.vendor_class)),
    vendor: Buffer.from(vendor ?? new Uint8Array(0)).toString("hex"),
    is_vendor_sound: vendor === undefined || isVendorSound(vendor),
  }
}

/** Suboptions, each with its length, up to 255 or the end of the option (Intel PXE 2.1). */
export function isVendorSound(bytes: Uint8Array): boolean {
  let at = 0
  while (at < bytes.length) {
    const code = bytes[at] ?? 0
    if (code === Option.end) {
      return true
    }
    if (code === Option.pad) {
      at += 1
      continue
    }
    const length = bytes[at + 1]
    if (length === undefined || at + 2 + length > bytes.length) {
      return false
    }
    at += 2 + length
  }
  return true
}

/** The program that it would have a machine boot; "" for none. */
export function bootFileOf(answer: Answer): string {
  return answer.boot_file_name === "" ? answer.file : answer.boot_file_name
}

/** Printable ASCII; firmware ends names with a NUL. */
function textOf(bytes: Uint8Array | undefined): string {
  const text = String.fromCharCode(...(bytes ?? new Uint8Array(0)).subarray(0, 255)).replace(/\0+$/, "")
  return text.replace(/[^\x20-\x7e]/g, "?")
}
