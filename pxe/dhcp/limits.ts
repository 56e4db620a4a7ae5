/** Every bound of the DHCP server. Plane: control. */
import { assert } from "../../appliance/types/assert.ts"

/** What an Ethernet frame carries behind IP and UDP headers; a longer datagram is nobody's DHCP. */
export const PACKET_BYTES_MAX = 1472
/** BOOTP relays and old ROMs drop shorter replies (RFC 1542, 2.1). */
export const PACKET_BYTES_MIN = 300
/** IP and UDP headers, which option 57 counts and a UDP payload doesn't. */
export const HEADERS_BYTES = 28
/** Option 57 is believed between these: OVMF sends 65280, its own 255 with the bytes swapped. */
export const MESSAGE_BYTES_MIN = 576
export const MESSAGE_BYTES_MAX = HEADERS_BYTES + PACKET_BYTES_MAX
export const OPTION_BYTES_MAX = 255

/** An offered address is kept for the machine that was offered it. */
export const OFFER_HOLD_MS = 60_000
/** Firmware forgets its lease when the kernel starts; a short one gives the address back soon. */
export const LEASE_BOOT_SECONDS = 300
export const LEASE_SECONDS = 3_600
/** An address that a client found in use rests for so long. */
export const QUARANTINE_MS = 10 * 60_000
/** Addresses that one server hands out; a larger pool is cut. */
export const LEASES_MAX = 1_024

/** Replies to one MAC: EDK2 and iPXE together ask ten times in a minute, a broken ROM in a loop thousands. */
export const REPLIES_WINDOW_MS = 1_000
export const REPLIES_PER_WINDOW_MAX = 20
/** The same complaint about the same machine is logged once in this time. */
export const LOG_REPEAT_MS = 60_000
/** Machines that the two tables above remember; the oldest goes. */
export const REMEMBERED_MAX = 1_024

/** How long another server may take: dnsmasq pings an address for three seconds before it offers it. */
export const PROBE_MS = 4_000
/** Asked again, since a switch port that just came up loses the first. */
export const PROBE_ATTEMPTS = 4

assert(LEASE_BOOT_SECONDS < LEASE_SECONDS, "dhcp limits: firmware's lease is the short one")
assert(OFFER_HOLD_MS < LEASE_BOOT_SECONDS * 1000, "dhcp limits: an offer ends before the lease it leads to")
assert(PACKET_BYTES_MIN <= MESSAGE_BYTES_MIN - HEADERS_BYTES, "dhcp limits: a padded reply fits the smallest client")
