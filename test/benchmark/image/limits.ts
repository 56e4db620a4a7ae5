/** Bounds of the image's benchmark. Plane: control. */

export const ROUNDS_DEFAULT = 3
export const ROUNDS_MAX = 20
export const MEMORY_MIB = 1024
/** One build with a kernel to compile, on a machine that has other work too. */
export const BUILD_MS = 45 * 60 * 1000
