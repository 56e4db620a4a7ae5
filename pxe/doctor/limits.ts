/** The bounds of a look at a LAN. Plane: control. */

/** Each question is asked so often in that time: a server may lose one, or ping an address before it offers it. */
export const ASKED_TIMES = 2
/** Answers that are kept; a LAN with more has one finding that says it all. */
export const ANSWERS_MAX = 64
/** An answer later than this makes firmware ask again, and some of it give up. */
export const SLOW_MS = 1_000
/** A bridge port that listens and learns for longer than this (seconds) outlasts a firmware's patience. */
export const FORWARD_DELAY_SECONDS_MAX = 2
/** Of the firewall's rules, and of one of the kernel's tables. */
export const TEXT_BYTES_MAX = 1024 * 1024
/** How long another program may take to print its rules. */
export const COMMAND_MS_MAX = 5_000
/** Processes whose open files are looked through for who has a port. */
export const PROCESSES_MAX = 4_096
