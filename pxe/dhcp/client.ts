/** Who is asking: what the options of a request say of the firmware that sent it. Plane: control. */
import { formatMAC } from "../address.ts"
import { Architecture, Option } from "./options.ts"
import type { DHCPPacket } from "./packet.ts"

export type Platform = "bios" | "uefi"

export type BootClient =
  /** No boot client: an operating system, or anything else that wants an address. */
  | { readonly kind: "plain" }
  | { readonly kind: "ipxe"; readonly platform: Platform }
  | { readonly kind: "bios" }
  | { readonly kind: "uefi" }
  | { readonly kind: "uefi_http" }
  /** A boot client for which there is no program to boot. */
  | { readonly kind: "unknown_architecture"; readonly architecture: number }

const CLASS_PXE = "PXEClient"
const CLASS_HTTP = "HTTPClient"
const USER_CLASS_IPXE = "iPXE"
/** In `PXEClient:Arch:00007:UNDI:003016`; for clients that leave option 93 out. */
const CLASS_ARCHITECTURE = /^(?:PXE|HTTP)Client:Arch:([0-9]{5})(?::|$)/
const ARCHITECTURE_NONE = -1

export function classifyClient(packet: DHCPPacket): BootClient {
  const vendorClass = textOf(packet.options.get(Option.vendor_class))
  const isHTTP = vendorClass.startsWith(CLASS_HTTP)
  if (!isHTTP && !vendorClass.startsWith(CLASS_PXE)) {
    return { kind: "plain" }
  }
  const architecture = architectureOf(packet, vendorClass)
  const platform = platformOf(architecture)
  if (platform === undefined || (isHTTP && platform === "bios")) {
    return { kind: "unknown_architecture", architecture }
  }
  // RFC 3004 puts a length before each class, iPXE sends the bare word: both contain it.
  if (packet.options.has(Option.ipxe) || textOf(packet.options.get(Option.user_class)).includes(USER_CLASS_IPXE)) {
    return { kind: "ipxe", platform }
  }
  return isHTTP ? { kind: "uefi_http" } : { kind: platform }
}

function platformOf(architecture: number): Platform | undefined {
  switch (architecture) {
    case Architecture.bios:
      return "bios"
    case Architecture.uefi_x64:
    case Architecture.uefi_x64_too:
    case Architecture.uefi_http_x64:
      return "uefi"
    default:
      return undefined
  }
}

/** Option 93 may list several: the first that can be served, else the first. */
function architectureOf(packet: DHCPPacket, vendorClass: string): number {
  const bytes = packet.options.get(Option.architecture) ?? new Uint8Array(0)
  let first = ARCHITECTURE_NONE
  for (let offset = 0; offset + 1 < bytes.length; offset += 2) {
    const architecture = (bytes[offset] ?? 0) * 256 + (bytes[offset + 1] ?? 0)
    if (platformOf(architecture) !== undefined) {
      return architecture
    }
    first = first === ARCHITECTURE_NONE ? architecture : first
  }
  const digits = CLASS_ARCHITECTURE.exec(vendorClass)?.[1]
  return first === ARCHITECTURE_NONE && digits !== undefined ? Number(digits) : first
}

/** The machine's name: its hardware address, of whatever length it has; undefined where there is none. */
export function machineOf(packet: DHCPPacket): string | undefined {
  return packet.hlen === 0 ? undefined : formatMAC(packet.chaddr.subarray(0, packet.hlen))
}

/** Prefix of the vendor class that an answer repeats; to anybody else it would be a lie that EDK2 acts upon. */
export function answeredClass(client: BootClient): string {
  return client.kind === "uefi_http" ? CLASS_HTTP : CLASS_PXE
}

function textOf(bytes: Uint8Array | undefined): string {
  return bytes === undefined ? "" : String.fromCharCode(...bytes.subarray(0, 255))
}
