/** The numbers of DHCP: options, message types, client architectures, each from its RFC. Plane: control. */

export const PORT_SERVER = 67
export const PORT_CLIENT = 68
/** Where PXE clients ask a boot server after they have an address (Intel PXE 2.1). */
export const PORT_PXE = 4011

export const OP_REQUEST = 1
export const OP_REPLY = 2
export const HTYPE_ETHERNET = 1
export const FLAG_BROADCAST = 0x8000

export const MessageType = {
  discover: 1,
  offer: 2,
  request: 3,
  decline: 4,
  ack: 5,
  nak: 6,
  release: 7,
  inform: 8,
} as const

export const Option = {
  pad: 0,
  netmask: 1,
  router: 3,
  dns: 6,
  vendor: 43,
  requested_address: 50,
  lease_seconds: 51,
  overload: 52,
  message_type: 53,
  server: 54,
  parameters: 55,
  message: 56,
  message_bytes_max: 57,
  renew_seconds: 58,
  rebind_seconds: 59,
  vendor_class: 60,
  client_id: 61,
  boot_server_name: 66,
  boot_file_name: 67,
  user_class: 77,
  relay: 82,
  architecture: 93,
  machine_id: 97,
  ipxe: 175,
  end: 255,
} as const

/** RFC 4578 and its registry; 9 is x64 in practice (erratum: the registry has 7 and 9 the wrong way round). */
export const Architecture = {
  bios: 0,
  uefi_x64: 7,
  uefi_x64_too: 9,
  uefi_http_x64: 16,
} as const

/** Vendor suboption 6 (discovery control) with bit 3: boot the file of this offer, ask nobody else. */
export const VENDOR_USE_OFFER: readonly number[] = [6, 1, 8, 255]
/** Encapsulated iPXE option 176, "no proxy": without it iPXE waits two seconds for a proxy that will not come. */
export const IPXE_NO_PROXY: readonly number[] = [176, 1, 1]
