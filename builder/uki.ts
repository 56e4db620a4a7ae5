/**
 * The form `uki`: kernel, both archives and the command line in one EFI program, behind systemd's stub, which is what
 * hands them to the kernel. A PE file is written here, offset by offset, so that no tool's clock gets into it.
 * Plane: control.
 */
import { err, ok, type Result } from "../appliance/types/result.ts"
import { type DebianPackage, fetchPackage, showPackage, unpackPackage } from "./debian.ts"
import type { BuildError } from "./errors.ts"
import { discard, readBytes } from "./files.ts"
import { BUILDER_LIMITS } from "./limits.ts"
import type { RunOptions } from "./shell.ts"

export const UKI_NAME = "mandala.efi"
export const STUB_PACKAGE = "systemd-boot-efi"
const STUB_PATH = "usr/lib/systemd/boot/efi/linuxx64.efi.stub"

/** What iPXE's script says too, without what only a boot server knows: there BOOTIF and its address. */
const COMMAND_LINE =
  "console=tty0 console=ttyS0,115200 rootfstype=ramfs quiet cryptomgr.notests loglevel=4 panic=10 init_on_free=1"

export type UKIContent = { readonly kernel: Uint8Array; readonly archives: readonly Uint8Array[] }

/** The package whose stub goes in front; the one that is locked has been looked for by its caller. */
export async function resolveStub(version: string | undefined, options: RunOptions) {
  const locked = version === undefined ? ok(undefined) : await showPackage(STUB_PACKAGE, options, version)
  if (!locked.ok || locked.value !== undefined) {
    return locked
  }
  const shown = await showPackage(STUB_PACKAGE, options)
  if (!shown.ok) {
    return shown
  }
  return shown.value === undefined ? err({ kind: "package_unavailable", package: STUB_PACKAGE } as const) : shown
}

/** The stub's bytes, from a package that was fetched before or is now. */
export async function takeStub(
  source: DebianPackage,
  cache: string,
  options: RunOptions,
): Promise<Result<Uint8Array, BuildError>> {
  const archive = await fetchPackage(source, cache, options)
  if (!archive.ok) {
    return archive
  }
  const unpacked = `${cache}/stub.partial-${process.pid}`
  const done = await unpackPackage(archive.value, unpacked, options)
  const stub = done.ok ? await readBytes(`${unpacked}/${STUB_PATH}`) : done
  await discard(unpacked)
  return stub
}

/* Offsets of the PE format: from the start of the file, of the PE header, and of a section's header. */
const PE_POINTER = 0x3c
const PE_SECTIONS_COUNT = 6
const PE_OPTIONAL_BYTES = 20
const PE_OPTIONAL = 24
const PE_SECTION_ALIGNMENT = PE_OPTIONAL + 32
const PE_FILE_ALIGNMENT = PE_OPTIONAL + 36
const PE_IMAGE_BYTES = PE_OPTIONAL + 56
const PE_HEADERS_BYTES = PE_OPTIONAL + 60
const PE_CHECKSUM = PE_OPTIONAL + 64
const SECTION_HEADER_BYTES = 40
const SECTION_VIRTUAL_BYTES = 8
const SECTION_VIRTUAL_ADDRESS = 12
const SECTION_RAW_BYTES = 16
const SECTION_RAW_POINTER = 20
const SECTION_CHARACTERISTICS = 36
const PE_SIGNATURE = 0x4550
const PE32_PLUS = 0x20b
/** Each section begins on a page, whatever less the stub was linked with. */
const PAGE_BYTES = 4096
/** Initialized data that is read and neither run nor written. */
const READ_ONLY_DATA = 0x4000_0040

/** Puts the image behind the stub, as sections with the names that it looks for. */
export function assembleUKI(stub: Uint8Array, content: UKIContent): Result<Uint8Array, BuildError> {
  const invalid = (detail: string): Result<never, BuildError> => err({ kind: "input_invalid", path: STUB_PATH, detail })
  const stubView = new DataView(stub.buffer, stub.byteOffset, stub.byteLength)
  if (stub.length < PE_POINTER + 4 || stub.length > BUILDER_LIMITS.stub_bytes_max) {
    return invalid("not a program for EFI")
  }
  const pe = stubView.getUint32(PE_POINTER, true)
  if (pe + PE_OPTIONAL + 2 > stub.length || stubView.getUint32(pe, true) !== PE_SIGNATURE) {
    return invalid("not a program for EFI")
  }
  const tableStart = pe + PE_OPTIONAL + stubView.getUint16(pe + PE_OPTIONAL_BYTES, true)
  const sectionsCount = stubView.getUint16(pe + PE_SECTIONS_COUNT, true)
  const sections = [
    [".cmdline", new TextEncoder().encode(COMMAND_LINE)],
    [".initrd", Buffer.concat(content.archives)],
    // Last: a kernel that unpacks itself where it lies must not run into what is behind it.
    [".linux", content.kernel],
  ] as const
  const tableEnd = tableStart + (sectionsCount + sections.length) * SECTION_HEADER_BYTES
  if (tableEnd > stub.length || stubView.getUint16(pe + PE_OPTIONAL, true) !== PE32_PLUS || sectionsCount === 0) {
    return invalid("not a 64-bit program for EFI")
  }
  if (tableEnd > stubView.getUint32(pe + PE_HEADERS_BYTES, true)) {
    return invalid("no room for more sections")
  }
  const sectionAlignment = Math.max(stubView.getUint32(pe + PE_SECTION_ALIGNMENT, true), PAGE_BYTES)
  const fileAlignment = stubView.getUint32(pe + PE_FILE_ALIGNMENT, true)
  const last = tableStart + (sectionsCount - 1) * SECTION_HEADER_BYTES
  const lastEnd =
    stubView.getUint32(last + SECTION_VIRTUAL_ADDRESS, true) + stubView.getUint32(last + SECTION_VIRTUAL_BYTES, true)
  let address = align(lastEnd, sectionAlignment)
  let position = align(stub.length, fileAlignment)
  const bytesTotal = sections.reduce((sum, [, bytes]) => sum + align(bytes.length, fileAlignment), position)
  const file = new Uint8Array(bytesTotal)
  const view = new DataView(file.buffer)
  file.set(stub)
  for (const [index, [name, bytes]] of sections.entries()) {
    const header = tableStart + (sectionsCount + index) * SECTION_HEADER_BYTES
    file.set(new TextEncoder().encode(name.padEnd(8, "\0")), header)
    view.setUint32(header + SECTION_VIRTUAL_BYTES, bytes.length, true)
    view.setUint32(header + SECTION_VIRTUAL_ADDRESS, address, true)
    view.setUint32(header + SECTION_RAW_BYTES, align(bytes.length, fileAlignment), true)
    view.setUint32(header + SECTION_RAW_POINTER, position, true)
    view.setUint32(header + SECTION_CHARACTERISTICS, READ_ONLY_DATA, true)
    file.set(bytes, position)
    address = align(address + bytes.length, sectionAlignment)
    position += align(bytes.length, fileAlignment)
  }
  view.setUint16(pe + PE_SECTIONS_COUNT, sectionsCount + sections.length, true)
  view.setUint32(pe + PE_IMAGE_BYTES, address, true)
  // Firmware does not look at it, and a wrong one is worse than none.
  view.setUint32(pe + PE_CHECKSUM, 0, true)
  return ok(file)
}

function align(value: number, to: number): number {
  return Math.ceil(value / to) * to
}
