/** Takes an image apart again: bytes by component, as they lie in the archive and compressed alone. Plane: control. */
import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { constants, zstdCompressSync, zstdDecompressSync } from "node:zlib"

export type Component = { readonly name: string; readonly bytes: number; readonly compressed: number }

type File = { readonly path: string; readonly bytes: Uint8Array }

const HEADER_BYTES = 110
const NAME_BYTES_AT = 94
const FILE_BYTES_AT = 54

/** The archive is our own, just built: what is not as encodeCpio() writes it is a bug, and nothing is found. */
function readArchive(archive: Buffer): File[] {
  const files: File[] = []
  const field = (at: number): number => Number.parseInt(archive.toString("latin1", at, at + 8), 16)
  for (let at = 0; archive.toString("latin1", at, at + 6) === "070701"; ) {
    const nameBytes = field(at + NAME_BYTES_AT)
    const start = pad(at + HEADER_BYTES + nameBytes)
    const end = start + field(at + FILE_BYTES_AT)
    const path = archive.toString("latin1", at + HEADER_BYTES, at + HEADER_BYTES + nameBytes - 1)
    files.push({ path, bytes: archive.subarray(start, end) })
    at = pad(end)
  }
  return files
}

function pad(position: number): number {
  return Math.ceil(position / 4) * 4
}

const NODE = "Node and its libraries"
const COMPONENTS = [
  [NODE, (path: string) => path === "bin/node" || path.startsWith("lib")],
  ["our program", (path: string) => path.startsWith("app/")],
  ["kernel modules", (path: string) => path.startsWith("modules/")],
] as const

export type Parts = {
  readonly components: readonly Component[]
  /** Kernel, then both archives. */
  readonly kernel: number
  readonly initramfs: number
  /** Compressed as the whole is. */
  readonly nodeAlone: number
}

export function takeApart(image: string): Parts {
  const read = (name: string): Buffer => readFileSync(join(image, name))
  const base = read("base.img")
  const files = readArchive(zstdDecompressSync(base))
  const components = COMPONENTS.map(([name, holds]) =>
    describe(
      name,
      files.filter((file) => holds(file.path)),
    ),
  )
  const init = read("init.img").length
  return {
    components: [...components, { name: "/init and its list", bytes: init, compressed: init }],
    kernel: read("kernel").length,
    initramfs: base.length + init,
    nodeAlone: components.find((component) => component.name === NODE)?.compressed ?? 0,
  }
}

/** By hash: what flavours share is compressed once, for that takes minutes. */
const compressed = new Map<string, number>()

/** With the level of `--compression small`. */
function describe(name: string, files: readonly File[]): Component {
  const whole = Buffer.concat(files.map((file) => file.bytes))
  const key = createHash("sha256").update(whole).digest("hex")
  const params = { [constants.ZSTD_c_compressionLevel]: 19 }
  const size = compressed.get(key) ?? (whole.length === 0 ? 0 : zstdCompressSync(whole, { params }).length)
  compressed.set(key, size)
  return { name, bytes: whole.length, compressed: size }
}
