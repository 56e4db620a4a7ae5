/** The lock: what is written is read, what differs is named, and what is no lock is refused. Plane: control. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { expect, test } from "vitest"
import { compareWithLock, encodeLock, lockable, parseLock, readLock, updateLock } from "../../../builder/lock.ts"
import type { ImageInput } from "../../../builder/manifest.ts"

const LIBC: ImageInput = {
  kind: "debian_package",
  name: "libc6",
  version: "2.36-9",
  file: "lib/libc.so.6",
  sha256: "45".repeat(32),
}
const SOURCE: ImageInput = {
  kind: "source",
  name: "builder",
  version: "",
  file: "builder/*.ts",
  sha256: "67".repeat(32),
}

test("what was written is read back, and our own sources are not locked", () => {
  const text = encodeLock(new Map([["stock", lockable([LIBC, SOURCE])]]))
  const read = parseLock(text, "lock.json")
  expect(read.ok && read.value.get("stock")).toEqual([LIBC])
  expect(read.ok && read.value.get("diskless")).toEqual([])
})

test.each([
  ["another version", { ...LIBC, version: "2.36-10" }],
  ["another hash", { ...LIBC, sha256: "46".repeat(32) }],
])("%s is a difference", (_, found) => {
  expect(compareWithLock([LIBC], [found, SOURCE])).toMatchObject([{ name: "libc6 (lib/libc.so.6)" }])
})

test("what is missing on either side is a difference, and the same is none", () => {
  expect(compareWithLock([LIBC], [SOURCE])).toMatchObject([{ found: "nothing" }])
  expect(compareWithLock([], [LIBC])).toMatchObject([{ locked: "nothing" }])
  expect(compareWithLock([LIBC], [LIBC, SOURCE])).toEqual([])
})

test.each([
  ["not JSON", "{"],
  ["another schema", '{"schema": 2, "flavours": {}}'],
  ["a list that is none", '{"schema": 1, "flavours": {"stock": {}}}'],
  ["a hash that is none", JSON.stringify({ schema: 1, flavours: { stock: [{ ...LIBC, sha256: "ab" }] } })],
  ["an input of ours", JSON.stringify({ schema: 1, flavours: { stock: [SOURCE] } })],
])("%s is no lock", (_, text) => {
  expect(parseLock(text, "lock.json")).toMatchObject({ ok: false, error: { kind: "input_invalid", path: "lock.json" } })
})

test("one flavour is moved, the others stay, and nothing partial is left", async () => {
  const root = mkdtempSync(join(tmpdir(), "mandala-lock-"))
  const missing = await updateLock(root, "stock", [LIBC])
  expect(missing).toMatchObject({ ok: false, error: { kind: "file_failed" } })
  rmSync(root, { recursive: true })

  const images = mkdtempSync(join(tmpdir(), "mandala-lock-"))
  const at = join(images, "images")
  mkdirSync(at)
  expect(await updateLock(images, "stock", [LIBC])).toEqual({ ok: true, value: undefined })
  expect(await updateLock(images, "diskless", [{ ...LIBC, version: "3" }])).toEqual({ ok: true, value: undefined })
  const lock = await readLock(images)
  expect(lock.ok && lock.value.get("stock")).toEqual([LIBC])
  expect(lock.ok && lock.value.get("diskless")?.[0]?.version).toBe("3")
  expect(readdirSync(at)).toEqual(["lock.json"])
  expect(readFileSync(join(at, "lock.json"), "utf8").endsWith("}\n")).toBe(true)
  rmSync(images, { recursive: true })
})
