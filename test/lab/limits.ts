/** Bounds of the lab: how many machines, how long each step may take. Plane: control. */

/** A tap, a console and a QEMU process each; the three of the scene and some for experiments. */
export const MACHINES_MAX = 8
/** Below this the image does not fit (the lab can say so on purpose: --memory). */
export const MEMORY_MIB_DEFAULT = 1024
export const MEMORY_MIB_MIN = 64
export const MEMORY_MIB_MAX = 16_384
/** Enough for kernel and archives to be unpacked, too little for the program: /init must refuse it. */
export const MEMORY_MIB_SMALL = 320

export const POLL_MS = 200
/** A wait that lasts says so, this often. */
export const PROGRESS_MS = 15_000
/** One request to the boot server or to a machine. */
export const HTTP_TIMEOUT_MS = 3_000
export const HTTP_BYTES_MAX = 1024 * 1024

/** A tool of the host (ip, radvd) answers at once or not at all. */
export const TOOL_TIMEOUT_MS = 10_000
/** The boot server reads an image and looks for another DHCP server before it serves. */
export const SERVE_READY_MS = 60_000
/** Three machines at once under emulation take 25 to 60 s on two cores; a busy host three times as long. */
export const JOIN_MS = 240_000
/** From power-on to the reason why a machine halts. */
export const HALT_MS = 120_000
/** From the loss of a primary to the first write that is acknowledged. */
export const FAILOVER_MS = 60_000
/** How long the whole of the cluster may take to show one view after a change. */
export const SETTLE_MS = 60_000
/** Everything that a child was told to end gets this long before it is killed. */
export const STOP_MS = 5_000
/** A killed process of the namespace may take a moment to go. */
export const REMOVE_ATTEMPTS_MAX = 50
export const REMOVE_RETRY_MS = 20
/** KVM either runs the image's kernel to its first word within this time or is not used. */
export const KVM_TRY_MS = 5_000

/** Values that the scene writes before the first failure, and again between the two. */
export const WRITES_FIRST = 1_200
export const WRITES_SECOND = 300
/** Values of LARGE_VALUE_BYTES that make up most of the state: 42 MiB of the 49 that the smallest size has room for. */
export const LARGE_VALUES = 2_900
export const LARGE_VALUE_BYTES = 15_000
/** Every so-manieth of them is read back each time: under emulation reading all takes longer than all the rest. */
export const LARGE_READ_EVERY = 10
/** From a flipped bit to the machine's word that it has copied the page anew: a round of the scrub, and room. */
export const REPAIR_MS = 60_000
/** Of a machine's memory at a time. */
export const MEMORY_CHUNK_BYTES = 16 * 1024 * 1024
/** Commands that one connection has under way. */
export const PIPELINE = 50
export const CLIENT_CONNECT_MS = 3_000
export const CLIENT_COMMAND_MS = 15_000

/** Console text in the report, from its end. */
export const CONSOLE_BYTES_MAX = 32 * 1024
/** Console lines shown when a scene failed. */
export const CONSOLE_TAIL_LINES = 25

/** A terminal that does not say how wide it is. */
export const TERMINAL_COLUMNS = 80

/** The relay: bytes that wait in one direction of a connection, and the speed of a line that is not slowed. */
export const RELAY_QUEUE_BYTES_MAX = 16 * 1024 * 1024
export const RELAY_BYTES_PER_SECOND_MAX = 1024 * 1024 * 1024
/** Of the play of admission: three found the cluster, the fourth is refused and then takes another's place. */
export const ADMISSION_MACHINES = 4
/** From an operator's word to the last link of the machine that it put out. */
export const CUT_MS = 15_000
/** One command of the operator. */
export const COMMAND_MS = 30_000
/** From power-on until a machine that nobody accepted has asked for its script. */
export const SEEN_MS = 120_000

/** A kernel that boots the probe takes two seconds; one that hangs is ended after this. */
export const PROBE_MS = 60_000
/** Twice what the probe says: a kernel's configuration is 15 kB compressed, and hexadecimal. */
export const PROBE_BYTES_MAX = 128 * 1024
export const PROBE_DISK_BYTES = 16 * 1024 * 1024
/** Firmware, kernel and Node under emulation on a busy machine; some ten seconds on a quiet one. */
export const DIRECT_BOOT_MS = 120_000
