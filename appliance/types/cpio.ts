/**
 * Encodes cpio archives in the "newc" format, the one the Linux kernel unpacks as an initramfs
 * (Documentation/driver-api/early-userspace/buffer-format.rst). Same files, same bytes: no clock, no owner, no inode of
 * the host goes in. Plane: control.
 */
import { assert } from "./assert.ts"

/** One regular file. `path` is relative, with `/` between its parts; parent directories are made where needed. */
export type CpioFile = { readonly path: string; readonly mode: number; readonly bytes: Uint8Array }

/** A newc header: a 6-byte magic and 13 fields of 8 hexadecimal digits. */
const HEADER_BYTES = 110
const FIELD_DIGITS = 8
const ALIGNMENT_BYTES = 4
/** Archives are concatenated by loaders that align to nothing, so each ends on a block of its own. */
export const CPIO_BLOCK_BYTES = 512
/** The kernel refuses longer names (PATH_MAX, init/initramfs.c). */
const PATH_BYTES_MAX = 4096
const FILE_BYTES_MAX = 0xffff_ffff

const MODE_DIRECTORY = 0o040755
const MODE_REGULAR = 0o100000
const MODE_PERMISSIONS = 0o7777
const TRAILER = "TRAILER!!!"

type Entry = { readonly path: Uint8Array; readonly mode: number; readonly links: number; readonly bytes: Uint8Array }

const NO_BYTES = new Uint8Array(0)

/** The archive's bytes: the files in the order given, each after its directories, the trailer, zeros up to a block. */
export function encodeCpio(files: readonly CpioFile[]): Uint8Array<ArrayBuffer> {
  const entries = entriesOf(files)
  let bytesTotal = 0
  for (const entry of entries) {
    bytesTotal = alignUp(bytesTotal + HEADER_BYTES + entry.path.length + 1, ALIGNMENT_BYTES)
    bytesTotal = alignUp(bytesTotal + entry.bytes.length, ALIGNMENT_BYTES)
  }
  const archive = new Uint8Array(alignUp(bytesTotal, CPIO_BLOCK_BYTES))
  let offset = 0
  for (const [index, entry] of entries.entries()) {
    offset = writeEntry(archive, offset, index, entry)
  }
  assert(offset === bytesTotal, "cpio: what was written is as long as what was counted")
  return archive
}

function entriesOf(files: readonly CpioFile[]): Entry[] {
  const encoder = new TextEncoder()
  const entries: Entry[] = []
  const seen = new Set<string>()
  const add = (path: string, mode: number, links: number, bytes: Uint8Array): void => {
    const encoded = encoder.encode(path)
    assert(encoded.length < PATH_BYTES_MAX, "cpio: a path is shorter than PATH_MAX")
    seen.add(path)
    entries.push({ path: encoded, mode, links, bytes })
  }
  for (const file of files) {
    assert(isRelativePath(file.path), "cpio: a path is relative and has no empty, . or .. part")
    assert(!seen.has(file.path), "cpio: two files of one path")
    assert(file.bytes.length <= FILE_BYTES_MAX, "cpio: a file's size fits 32 bits")
    for (let slash = file.path.indexOf("/"); slash !== -1; slash = file.path.indexOf("/", slash + 1)) {
      const directory = file.path.slice(0, slash)
      if (!seen.has(directory)) {
        add(directory, MODE_DIRECTORY, 2, NO_BYTES)
      }
    }
    add(file.path, MODE_REGULAR | (file.mode & MODE_PERMISSIONS), 1, file.bytes)
  }
  // The trailer's links and mode are what GNU cpio writes; the kernel looks at the name only.
  entries.push({ path: encoder.encode(TRAILER), mode: 0, links: 1, bytes: NO_BYTES })
  return entries
}

function isRelativePath(path: string): boolean {
  return path !== TRAILER && path.split("/").every((part) => part !== "" && part !== "." && part !== "..")
}

function writeEntry(archive: Uint8Array, start: number, index: number, entry: Entry): number {
  const isTrailer = entry.mode === 0
  // Offset 0 magic, 6 inode, 14 mode, 22 uid, 30 gid, 38 links, 46 mtime, 54 file size, 62 device major, 70 minor,
  // 78 and 86 the node's own device numbers, 94 name size with its NUL, 102 checksum (newc has none).
  writeASCII(archive, start, "070701")
  const fields = [
    isTrailer ? 0 : index + 1,
    entry.mode,
    0,
    0,
    entry.links,
    0,
    entry.bytes.length,
    0,
    0,
    0,
    0,
    entry.path.length + 1,
    0,
  ]
  let offset = start + 6
  for (const field of fields) {
    writeASCII(archive, offset, field.toString(16).padStart(FIELD_DIGITS, "0"))
    offset += FIELD_DIGITS
  }
  assert(offset === start + HEADER_BYTES, "cpio: a header is 110 bytes")
  archive.set(entry.path, offset)
  offset = alignUp(offset + entry.path.length + 1, ALIGNMENT_BYTES)
  archive.set(entry.bytes, offset)
  return alignUp(offset + entry.bytes.length, ALIGNMENT_BYTES)
}

function writeASCII(archive: Uint8Array, start: number, text: string): void {
  for (let index = 0; index < text.length; index += 1) {
    archive[start + index] = text.charCodeAt(index)
  }
}

function alignUp(value: number, alignment: number): number {
  return Math.ceil(value / alignment) * alignment
}
