/** The two archives of an image: what is in them, in which order, and how they are compressed. Plane: control. */
import { constants, gzipSync, zstdCompress } from "node:zlib"
import { CPIO_BLOCK_BYTES, type CpioFile, encodeCpio } from "../appliance/types/cpio.ts"
import { err, ok, type Result } from "../appliance/types/result.ts"
import type { BuildError } from "./errors.ts"
import { blake2b, sha256 } from "./files.ts"
import { BUILDER_LIMITS } from "./limits.ts"
import type { Compression, ImageFile } from "./manifest.ts"
import { encodeModuleTable, type KernelModule } from "./modules.ts"
import { encodeNeed, type NeededFile } from "./need.ts"
import type { Library } from "./node_files.ts"

export const BUNDLE_PATH = "app/mandala.mjs"
export const NODE_PATH = "bin/node"
export const SENTINEL_PATH = "base.complete"

export const ZSTD_LEVEL: { readonly [Name in Compression]: number } = { fast: 3, small: 19 }
const GZIP_LEVEL = 9

export type PackedBase = {
  readonly archive: Uint8Array
  readonly imageID: string
  readonly files: readonly ImageFile[]
  /** The same files as /init checks them. */
  readonly needed: readonly NeededFile[]
}

/** What the base archive is packed from. */
export type BaseContent = {
  readonly modules: readonly KernelModule[]
  readonly libraries: readonly Pick<Library, "path" | "bytes">[]
  readonly bundle: Uint8Array
  readonly node: Uint8Array
}

/**
 * The base archive. Small files come first: of an archive that arrives short, /init may still have the modules with
 * which to say so. The sentinel comes last: where it is, everything is.
 */
export function packBase(content: BaseContent): Result<PackedBase, BuildError> {
  const table = encodeModuleTable(content.modules)
  if (!table.ok) {
    return table
  }
  const files: CpioFile[] = [
    { path: "modules/table", mode: 0o444, bytes: new TextEncoder().encode(table.value) },
    ...content.modules.map((module) => ({ path: `modules/${module.name}.ko`, mode: 0o444, bytes: module.bytes })),
    { path: BUNDLE_PATH, mode: 0o444, bytes: content.bundle },
    ...content.libraries.map((library) => ({ path: library.path, mode: 0o555, bytes: library.bytes })),
    { path: NODE_PATH, mode: 0o555, bytes: content.node },
  ]
  const described = files.map((file) => describeFile(file.path, file.bytes))
  const imageID = sha256(
    files.map((file, index) => `${file.path} ${file.mode} ${described[index]?.sha256 ?? ""}`).join("\n"),
  )
  const needed = files.map((file) => ({ path: file.path, bytes: file.bytes.length, hash: blake2b(file.bytes) }))
  const sentinel = { path: SENTINEL_PATH, mode: 0o444, bytes: new TextEncoder().encode(`${imageID}\n`) }
  return ok({ archive: encodeCpio([...files, sentinel]), imageID, files: described, needed })
}

export function packInit(init: Uint8Array, base: PackedBase, ramNeedBytes: number): Result<Uint8Array, BuildError> {
  const need = encodeNeed({ ramNeedBytes, imageID: base.imageID, sentinel: SENTINEL_PATH, files: base.needed })
  if (!need.ok) {
    return need
  }
  const archive = encodeCpio([
    { path: "init", mode: 0o555, bytes: init },
    { path: "need-manifest", mode: 0o444, bytes: new TextEncoder().encode(need.value) },
  ])
  const packed = padToBlock(gzipSync(archive, { level: GZIP_LEVEL }))
  const maximum = BUILDER_LIMITS.init_image_bytes_max
  return packed.length > maximum
    ? err({ kind: "limit_exceeded", limit: "init_image_bytes_max", maximum, found: packed.length })
    : ok(packed)
}

/** With the frame's checksum, which the kernel verifies: that is how a machine knows that no bit flipped on the way. */
export function compressBase(archive: Uint8Array, compression: Compression): Promise<Result<Uint8Array, BuildError>> {
  const params = {
    [constants.ZSTD_c_compressionLevel]: ZSTD_LEVEL[compression],
    [constants.ZSTD_c_checksumFlag]: 1,
  }
  return new Promise((resolve) => {
    zstdCompress(archive, { params }, (error, bytes) => {
      resolve(
        error === null
          ? ok(padToBlock(bytes))
          : err({ kind: "tool_failed", tool: "zstd (node:zlib)", detail: error.message }),
      )
    })
  })
}

/** Zeros between archives are skipped by the kernel; a loader that concatenates must not leave it misaligned. */
function padToBlock(bytes: Uint8Array): Uint8Array {
  const padded = new Uint8Array(Math.ceil(bytes.length / CPIO_BLOCK_BYTES) * CPIO_BLOCK_BYTES)
  padded.set(bytes)
  return padded
}

export function describeFile(path: string, bytes: Uint8Array): ImageFile {
  return { path, bytes: bytes.length, sha256: sha256(bytes) }
}
