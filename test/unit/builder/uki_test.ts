/** One EFI program out of a stub and an image, read back offset by offset, and stubs that are none. Plane: control. */
import { expect, test } from "vitest"
import { assembleUKI } from "../../../builder/uki.ts"

const PE = 0x80
const OPTIONAL_BYTES = 240
const TABLE = PE + 24 + OPTIONAL_BYTES
const HEADERS_BYTES = 0x400

/** A stub of one section of 0x300 bytes at 0x1000, as small as the format allows. */
function stub(change: (view: DataView) => void = () => undefined): Uint8Array {
  const bytes = new Uint8Array(0x800)
  const view = new DataView(bytes.buffer)
  view.setUint32(0x3c, PE, true)
  view.setUint32(PE, 0x4550, true)
  view.setUint16(PE + 6, 1, true)
  view.setUint16(PE + 20, OPTIONAL_BYTES, true)
  view.setUint16(PE + 24, 0x20b, true)
  view.setUint32(PE + 24 + 32, 512, true)
  view.setUint32(PE + 24 + 36, 512, true)
  view.setUint32(PE + 24 + 60, HEADERS_BYTES, true)
  view.setUint32(PE + 24 + 64, 0xdead, true)
  view.setUint32(TABLE + 8, 0x300, true)
  view.setUint32(TABLE + 12, 0x1000, true)
  change(view)
  return bytes
}

const CONTENT = { kernel: Buffer.alloc(5000, "k"), archives: [Buffer.from("first"), Buffer.from("second")] }

type Section = { readonly name: string; readonly address: number; readonly bytes: string }

function sections(file: Uint8Array): Section[] {
  const view = new DataView(file.buffer)
  return Array.from({ length: view.getUint16(PE + 6, true) }, (_, index) => {
    const at = TABLE + index * 40
    const start = view.getUint32(at + 20, true)
    return {
      name: Buffer.from(file.subarray(at, at + 8))
        .toString("latin1")
        .replaceAll("\0", ""),
      address: view.getUint32(at + 12, true),
      bytes: Buffer.from(file.subarray(start, start + view.getUint32(at + 8, true))).toString("latin1"),
    }
  })
}

test("the stub's sections, then the command line, the archives as one, and last the kernel", () => {
  const made = assembleUKI(stub(), CONTENT)
  const file = made.ok ? made.value : new Uint8Array(0)
  const [own, cmdline, initrd, kernel] = sections(file)
  expect([own?.address, cmdline?.name, initrd?.name, kernel?.name]).toEqual([0x1000, ".cmdline", ".initrd", ".linux"])
  expect(cmdline?.bytes).toMatch(/^console=tty0 .* init_on_free=1$/)
  expect(initrd?.bytes).toBe("firstsecond")
  expect(kernel?.bytes).toBe("k".repeat(5000))
  expect([cmdline?.address, initrd?.address, kernel?.address]).toEqual([0x2000, 0x3000, 0x4000])
  const view = new DataView(file.buffer)
  expect(view.getUint32(PE + 24 + 56, true)).toBe(0x6000)
  expect(view.getUint32(PE + 24 + 64, true)).toBe(0)
  expect(file.length % 512).toBe(0)
  expect(assembleUKI(stub(), CONTENT)).toEqual(made)
})

test.each([
  ["nothing", new Uint8Array(0)],
  ["a text", Buffer.from("#!/bin/sh\n".repeat(20))],
  ["a header that is outside", stub((view) => view.setUint32(0x3c, 0xffff_ff00, true))],
  ["a 32-bit program", stub((view) => view.setUint16(PE + 24, 0x10b, true))],
  ["no section at all", stub((view) => view.setUint16(PE + 6, 0, true))],
  ["a table that is full", stub((view) => view.setUint32(PE + 24 + 60, TABLE + 2 * 40, true))],
  ["a table that ends outside", stub((view) => view.setUint16(PE + 6, 60_000, true))],
])("%s is no stub", (_, bytes) => {
  expect(assembleUKI(bytes, CONTENT)).toMatchObject({ ok: false, error: { kind: "input_invalid" } })
})
