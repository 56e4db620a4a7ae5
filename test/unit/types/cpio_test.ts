/** The cpio encoder, byte by byte and as GNU cpio reads it. Plane: control. */
import { execFileSync } from "node:child_process"
import { expect, test } from "vitest"
import { CPIO_BLOCK_BYTES, encodeCpio } from "../../../appliance/types/cpio.ts"
import { AssertionError } from "../../../appliance/types/assert.ts"

const FILES = [
  { path: "etc/deep/file", mode: 0o400, bytes: Buffer.from("hello") },
  { path: "etc/other", mode: 0o755, bytes: Buffer.alloc(0) },
]

/** The fields in their order (buffer-format.rst); owner, time, devices and checksum are zero. */
function header(inode: number, mode: number, links: number, bytes: number, nameBytes: number): string {
  const fields = [inode, mode, 0, 0, links, 0, bytes, 0, 0, 0, 0, nameBytes, 0]
  return `070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}`
}

test("one file, byte by byte", () => {
  const archive = Buffer.from(encodeCpio([{ path: "a", mode: 0o644, bytes: Buffer.from("hello") }])).toString("latin1")
  const expected = [
    header(1, 0o100644, 1, 5, 2),
    // The name, its NUL and what is missing to a multiple of 4 from the archive's start.
    "a\0",
    "hello\0\0\0",
    header(0, 0, 1, 0, 11),
    "TRAILER!!!\0",
  ].join("")
  expect(archive).toBe(expected.padEnd(CPIO_BLOCK_BYTES, "\0"))
})

test("GNU cpio lists what was put in, directories before what is in them", () => {
  const listed = execFileSync("cpio", ["-itv", "--quiet", "--numeric-uid-gid"], { input: encodeCpio(FILES) })
  const lines = listed.toString().trim().split("\n")
  const fields = lines.map((line) => line.split(/\s+/))
  expect(fields.map((words) => [words[0], words[2], words[4], words.at(-1)])).toEqual([
    ["drwxr-xr-x", "0", "0", "etc"],
    ["drwxr-xr-x", "0", "0", "etc/deep"],
    ["-r--------", "0", "5", "etc/deep/file"],
    ["-rwxr-xr-x", "0", "0", "etc/other"],
  ])
})

test("GNU cpio gives the bytes back", () => {
  const bytes = execFileSync("cpio", ["-i", "--to-stdout", "--quiet", "etc/deep/file"], { input: encodeCpio(FILES) })
  expect(bytes.toString()).toBe("hello")
})

test("the same files give the same bytes, and whole blocks of them", () => {
  expect(encodeCpio(FILES)).toEqual(encodeCpio(structuredClone(FILES)))
  for (let bytes = 0; bytes < 600; bytes += 1) {
    const archive = encodeCpio([{ path: "x".repeat(1 + (bytes % 9)), mode: 0o644, bytes: Buffer.alloc(bytes, 7) }])
    expect(archive.length % CPIO_BLOCK_BYTES).toBe(0)
  }
})

test("nothing at all is a trailer", () => {
  const archive = Buffer.from(encodeCpio([]))
  expect(archive.length).toBe(CPIO_BLOCK_BYTES)
  expect(archive.toString("latin1")).toMatch(/^070701[0-9a-f]{104}TRAILER!!!\0+$/)
})

test.each(["/absolute", "", "a//b", "../up", "./here", "a/", "TRAILER!!!"])("the path %j is a bug of ours", (path) => {
  expect(() => encodeCpio([{ path, mode: 0o644, bytes: Buffer.alloc(0) }])).toThrow(AssertionError)
})

test("two files of one path are a bug of ours", () => {
  const file = { path: "a", mode: 0o644, bytes: Buffer.alloc(0) }
  expect(() => encodeCpio([file, file])).toThrow(AssertionError)
})
