/**
 * Reads what the builder needs of a 64-bit little-endian ELF file (System V ABI, chapters 4 and 5): the interpreter and
 * libraries of a program, and a section by name. The files come from outside: anything malformed is an error value.
 * Plane: control.
 */
import { err, ok, type Result } from "../appliance/types/result.ts"

export type ELFError =
  | { readonly kind: "not_elf64" }
  | { readonly kind: "truncated"; readonly what: string }
  | { readonly kind: "not_dynamic" }
  | { readonly kind: "section_missing"; readonly section: string }

export type Dynamic = {
  /** The program that loads this one; undefined for a library. */
  readonly interpreter: string | undefined
  /** DT_NEEDED, in the file's order. */
  readonly needed: readonly string[]
}

const HEADER_BYTES = 64
const PROGRAM_HEADER_BYTES = 56
const SECTION_HEADER_BYTES = 64
const DYNAMIC_ENTRY_BYTES = 16
const PT_LOAD = 1
const PT_DYNAMIC = 2
const PT_INTERP = 3
const DT_NULL = 0
const DT_NEEDED = 1
const DT_STRTAB = 5

type Segment = {
  readonly type: number
  readonly offset: number
  readonly address: number
  readonly bytes: number
}

export function readDynamic(file: Uint8Array): Result<Dynamic, ELFError> {
  const view = viewOf(file)
  if (view === undefined) {
    return err({ kind: "not_elf64" })
  }
  const segments = readSegments(view)
  if (!segments.ok) {
    return segments
  }
  const dynamic = segments.value.find((segment) => segment.type === PT_DYNAMIC)
  if (dynamic === undefined) {
    return err({ kind: "not_dynamic" })
  }
  if (!isInside(view, dynamic.offset, dynamic.bytes)) {
    return err({ kind: "truncated", what: "dynamic segment" })
  }
  const names: number[] = []
  let stringsAddress = 0
  for (let at = dynamic.offset; at + DYNAMIC_ENTRY_BYTES <= dynamic.offset + dynamic.bytes; at += DYNAMIC_ENTRY_BYTES) {
    const tag = readU64(view, at)
    if (tag === DT_NULL) {
      break
    }
    if (tag === DT_NEEDED) {
      names.push(readU64(view, at + 8))
    }
    if (tag === DT_STRTAB) {
      stringsAddress = readU64(view, at + 8)
    }
  }
  const home = segments.value.find(
    (segment) =>
      segment.type === PT_LOAD && stringsAddress >= segment.address && stringsAddress < segment.address + segment.bytes,
  )
  if (home === undefined) {
    return err({ kind: "truncated", what: "string table" })
  }
  const strings = home.offset + (stringsAddress - home.address)
  const needed: string[] = []
  for (const name of names) {
    const text = readString(file, strings + name)
    if (text === undefined) {
      return err({ kind: "truncated", what: "library name" })
    }
    needed.push(text)
  }
  const interpreterSegment = segments.value.find((segment) => segment.type === PT_INTERP)
  const interpreter = interpreterSegment === undefined ? undefined : readString(file, interpreterSegment.offset)
  return ok({ interpreter, needed })
}

/** The bytes of the section called `section`. */
export function readSection(file: Uint8Array, section: string): Result<Uint8Array, ELFError> {
  const view = viewOf(file)
  if (view === undefined) {
    return err({ kind: "not_elf64" })
  }
  const table = readU64(view, 40)
  const count = view.getUint16(60, true)
  const namesIndex = view.getUint16(62, true)
  if (!isInside(view, table, count * SECTION_HEADER_BYTES) || namesIndex >= count) {
    return err({ kind: "truncated", what: "section headers" })
  }
  const names = readU64(view, table + namesIndex * SECTION_HEADER_BYTES + 24)
  for (let index = 0; index < count; index += 1) {
    const header = table + index * SECTION_HEADER_BYTES
    if (readString(file, names + view.getUint32(header, true)) !== section) {
      continue
    }
    const offset = readU64(view, header + 24)
    const bytes = readU64(view, header + 32)
    return isInside(view, offset, bytes)
      ? ok(file.subarray(offset, offset + bytes))
      : err({ kind: "truncated", what: section })
  }
  return err({ kind: "section_missing", section })
}

function viewOf(file: Uint8Array): DataView | undefined {
  // 0x7f "ELF", class 2 (64-bit), data 1 (little-endian).
  const magic = [0x7f, 0x45, 0x4c, 0x46, 2, 1]
  if (file.length < HEADER_BYTES || magic.some((byte, index) => file[index] !== byte)) {
    return undefined
  }
  return new DataView(file.buffer, file.byteOffset, file.byteLength)
}

function readSegments(view: DataView): Result<Segment[], ELFError> {
  const table = readU64(view, 32)
  const count = view.getUint16(56, true)
  if (!isInside(view, table, count * PROGRAM_HEADER_BYTES)) {
    return err({ kind: "truncated", what: "program headers" })
  }
  const segments: Segment[] = []
  for (let index = 0; index < count; index += 1) {
    const header = table + index * PROGRAM_HEADER_BYTES
    segments.push({
      type: view.getUint32(header, true),
      offset: readU64(view, header + 8),
      address: readU64(view, header + 16),
      bytes: readU64(view, header + 32),
    })
  }
  return ok(segments)
}

/** Beyond 2^53 the number is not exact, and beyond every file: the bounds check refuses it. */
function readU64(view: DataView, offset: number): number {
  return view.getUint32(offset, true) + view.getUint32(offset + 4, true) * 0x1_0000_0000
}

function isInside(view: DataView, offset: number, bytes: number): boolean {
  return offset >= 0 && bytes >= 0 && offset + bytes <= view.byteLength
}

function readString(file: Uint8Array, offset: number): string | undefined {
  if (offset < 0 || offset >= file.length) {
    return undefined
  }
  const end = file.indexOf(0, offset)
  return end === -1 ? undefined : Buffer.from(file.buffer, file.byteOffset + offset, end - offset).toString("latin1")
}
