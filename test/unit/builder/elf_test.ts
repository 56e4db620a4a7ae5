/** The ELF reader: what it finds, and that no malformed file gets past it or throws. Plane: control. */
import { readFileSync } from "node:fs"
import { expect, test } from "vitest"
import { readDynamic, readSection } from "../../../builder/elf.ts"
import { makeModule, makeProgram } from "./elf_file.ts"

const PROGRAM = makeProgram({ interpreter: "/lib64/ld.so", needed: ["libm.so.6", "libc.so.6"] })

test("the interpreter and the libraries, in their order", () => {
  expect(readDynamic(PROGRAM)).toEqual({
    ok: true,
    value: { interpreter: "/lib64/ld.so", needed: ["libm.so.6", "libc.so.6"] },
  })
})

test("the C library of this machine has no interpreter's business with itself, and is read", () => {
  const library = readDynamic(readFileSync("/lib/x86_64-linux-gnu/libm.so.6"))
  expect(library.ok && library.value.needed).toContain("libc.so.6")
})

test("a section by its name", () => {
  const section = readSection(makeModule(["license=GPL", "depends=a,b"]), ".modinfo")
  expect(section.ok && Buffer.from(section.value).toString("latin1")).toBe("license=GPL\0depends=a,b\0")
})

test("a section that is not there is named", () => {
  expect(readSection(makeModule([]), ".text")).toEqual({
    ok: false,
    error: { kind: "section_missing", section: ".text" },
  })
})

test("what is no ELF file, or none of 64 bits", () => {
  const other = Buffer.from(PROGRAM)
  other[4] = 1
  for (const file of [Buffer.alloc(0), Buffer.from("#!/bin/sh\n"), other]) {
    expect(readDynamic(file)).toEqual({ ok: false, error: { kind: "not_elf64" } })
    expect(readSection(file, ".modinfo")).toEqual({ ok: false, error: { kind: "not_elf64" } })
  }
})

test("every prefix of a file is an answer or an error, never an exception", () => {
  const module = makeModule(["depends="])
  let errors = 0
  for (let length = 0; length < PROGRAM.length; length += 1) {
    errors += readDynamic(PROGRAM.subarray(0, length)).ok ? 0 : 1
  }
  for (let length = 0; length < module.length; length += 1) {
    errors += readSection(module.subarray(0, length), ".modinfo").ok ? 0 : 1
  }
  expect(errors).toBeGreaterThan(1000)
})

test("every flipped byte of the headers is an answer or an error, never an exception", () => {
  for (let at = 0; at < 0x400; at += 1) {
    const file = Buffer.from(PROGRAM)
    file.writeUInt8(file.readUInt8(at) ^ 0xff, at)
    expect(typeof readDynamic(file).ok).toBe("boolean")
    expect(typeof readSection(file, ".modinfo").ok).toBe("boolean")
  }
})
