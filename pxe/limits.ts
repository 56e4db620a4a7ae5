/** The bounds of the composed boot server; each protocol has its own beside it. Plane: control. */

export const PORT_TFTP = 69
export const PORT_HTTP = 7480
/** Attempts of a boot script before the machine is rebooted, and the pause between them. */
export const BOOT_ATTEMPTS_MAX = 10
export const BOOT_RETRY_SECONDS = 3
/** A machine that may not boot yet asks again after this. */
export const HOLD_SECONDS = 10
/** A machine that nobody has accepted yet asks again after this: whoever accepts it wants to see it boot. */
export const SEEN_SECONDS = 3
/** When a machine that came too early for its archive asks again. */
export const LISTEN_RETRY_SECONDS = 2
/** Largest file of an image that is served: the base archive has some 40 MB. */
export const IMAGE_FILE_BYTES_MAX = 512 * 1024 * 1024
