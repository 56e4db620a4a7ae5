/** Makes small ELF files for the tests of their reader. Plane: control. */

const SECTION_HEADERS_AT = 0x400

/** A program with an interpreter and libraries: segments at fixed places, as a linker might have put them. */
export function makeProgram(options: { readonly interpreter: string; readonly needed: readonly string[] }): Buffer {
  const file = makeHeader(0x800)
  const strings = Buffer.from(`\0${options.needed.join("\0")}\0`, "latin1")
  const base = 0x40_0000
  file.writeBigUInt64LE(64n, 32)
  file.writeUInt16LE(3, 56)
  // PT_LOAD: all of the file; PT_DYNAMIC at 0x200; PT_INTERP at 0x300.
  writeSegment(file, 64, { type: 1, offset: 0, address: base, bytes: file.length })
  writeSegment(file, 120, { type: 2, offset: 0x200, address: base + 0x200, bytes: (options.needed.length + 2) * 16 })
  writeSegment(file, 176, { type: 3, offset: 0x300, address: base + 0x300, bytes: options.interpreter.length + 1 })
  let at = 0x200
  let name = 1
  for (const library of options.needed) {
    at = writePair(file, at, 1, name)
    name += library.length + 1
  }
  at = writePair(file, at, 5, base + 0x380)
  writePair(file, at, 0, 0)
  file.write(options.interpreter, 0x300, "latin1")
  strings.copy(file, 0x380)
  return file
}

/** A kernel module as far as its `.modinfo` goes. */
export function makeModule(info: readonly string[]): Buffer {
  const file = makeHeader(SECTION_HEADERS_AT + 3 * 64)
  const names = Buffer.from("\0.shstrtab\0.modinfo\0", "latin1")
  const content = Buffer.from(info.map((line) => `${line}\0`).join(""), "latin1")
  names.copy(file, 0x100)
  content.copy(file, 0x140)
  file.writeBigUInt64LE(BigInt(SECTION_HEADERS_AT), 40)
  file.writeUInt16LE(3, 60)
  file.writeUInt16LE(1, 62)
  writeSection(file, 1, { name: 1, offset: 0x100, bytes: names.length })
  writeSection(file, 2, { name: 11, offset: 0x140, bytes: content.length })
  return file
}

function makeHeader(bytes: number): Buffer {
  const file = Buffer.alloc(bytes)
  Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]).copy(file)
  return file
}

type Range = { readonly offset: number; readonly bytes: number }

function writeSegment(file: Buffer, at: number, segment: Range & { type: number; address: number }): void {
  file.writeUInt32LE(segment.type, at)
  file.writeBigUInt64LE(BigInt(segment.offset), at + 8)
  file.writeBigUInt64LE(BigInt(segment.address), at + 16)
  file.writeBigUInt64LE(BigInt(segment.bytes), at + 32)
}

function writeSection(file: Buffer, index: number, section: Range & { name: number }): void {
  const at = SECTION_HEADERS_AT + index * 64
  file.writeUInt32LE(section.name, at)
  file.writeBigUInt64LE(BigInt(section.offset), at + 24)
  file.writeBigUInt64LE(BigInt(section.bytes), at + 32)
}

function writePair(file: Buffer, at: number, tag: number, value: number): number {
  file.writeBigUInt64LE(BigInt(tag), at)
  file.writeBigUInt64LE(BigInt(value), at + 8)
  return at + 16
}
