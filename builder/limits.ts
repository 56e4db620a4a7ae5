/** Every bound of the builder, and what the image is assumed to need of a machine. Plane: control. */
import { assert } from "../appliance/types/assert.ts"

const KIB = 1024
const MIB = 1024 * KIB

export const BUILDER_LIMITS = {
  /** The first archive holds /init and the need-manifest only; a machine with hardly any memory must unpack it. */
  init_image_bytes_max: 64 * KIB,
  /** NEED_FILES_MAX and NEED_BYTES_MAX of images/base/init/init.h. */
  need_files_max: 128,
  need_bytes_max: 16 * KIB - 1,
  need_path_bytes_max: 127,
  /** MODULES_MAX, ALIASES_MAX and MODULE_TABLE_BYTES_MAX of init.h. */
  modules_max: 96,
  module_aliases_max: 4096,
  module_table_bytes_max: 256 * KIB - 1,
  /** Depth of the dependencies, MODULE_DEPTH_MAX of init.h. */
  module_depth_max: 8,
  /** Shared libraries of Node: it has seven, the loader included. */
  libraries_max: 32,
  init_sources_max: 32,
  /** Free space that a build needs: the unpacked kernel package, the cache, two images. */
  disk_bytes_min: 1024 * MIB,
  manifest_bytes_max: 256 * KIB,
  /** systemd's EFI stub has 90 kB. */
  stub_bytes_max: 4 * MIB,
  /** Packages and tools of one flavour in images/lock.json. */
  lock_inputs_max: 64,
  /** npm packages of which something is in the bundle. */
  bundled_packages_max: 128,
  /** What readImage() is ready to hold. */
  kernel_bytes_max: 64 * MIB,
  base_bytes_max: 512 * MIB,
  /** The last line of a tool's complaint that an error repeats. */
  detail_chars_max: 300,
} as const

/**
 * The memory that a machine must have, in bytes of MemTotal (which is less than what is plugged in).
 * The kernel unpacks into a tmpfs that is capped near half of what is free: cap = (MemTotal - compressed) / 2 - 4 MiB
 * fitted eight measured boots within 0.2 MiB, so the first bound is twice the unpacked files and a margin.
 */
export const RAM_NEEDS = {
  tmpfs_margin_bytes: 8 * MIB,
  /** Slabs, page tables, sockets and per-processor data of a running kernel. */
  kernel_bytes: 32 * MIB,
  /** What the appliance allocates before it seals (352 MiB now), Node's own memory (about 60 MiB), and sockets. */
  appliance_bytes: 448 * MIB,
} as const

for (const value of [...Object.values(BUILDER_LIMITS), ...Object.values(RAM_NEEDS)]) {
  assert(Number.isSafeInteger(value) && value > 0, "builder limits: every limit is a positive integer")
}

/** MemTotal that the image needs to be unpacked and then to run. */
export function ramNeedBytes(sizes: { readonly compressedBytes: number; readonly unpackedBytes: number }): number {
  const unpacking = 2 * (sizes.unpackedBytes + RAM_NEEDS.tmpfs_margin_bytes) + sizes.compressedBytes
  const running = sizes.unpackedBytes + RAM_NEEDS.kernel_bytes + RAM_NEEDS.appliance_bytes
  return Math.max(unpacking, running)
}
