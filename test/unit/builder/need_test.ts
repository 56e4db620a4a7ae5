/** The need-manifest, line by line. Plane: control. */
import { readFileSync } from "node:fs"
import { resolve } from "node:path"
import { expect, test } from "vitest"
import { BUILDER_LIMITS, ramNeedBytes } from "../../../builder/limits.ts"
import { encodeNeed, type Need, parseNeed } from "../../../builder/need.ts"

const MIB = 1024 * 1024
const NEED: Need = {
  ramNeedBytes: 486_128_128,
  imageID: "ab".repeat(32),
  sentinel: "base.complete",
  files: [
    { path: "modules/table", bytes: 0, hash: "01".repeat(32) },
    { path: "bin/node", bytes: 108_512_048, hash: "02".repeat(32) },
  ],
}
const TEXT = `mandala-need 2
ram_need_bytes 486128128
image_id ${"ab".repeat(32)}
file 0 ${"01".repeat(32)} modules/table
file 108512048 ${"02".repeat(32)} bin/node
sentinel base.complete
`

test("its text, byte for byte", () => {
  expect(encodeNeed(NEED)).toEqual({ ok: true, value: TEXT })
})

test("what was written is read back", () => {
  expect(parseNeed(TEXT)).toEqual({ ok: true, value: NEED })
})

test.each([
  ["another version", TEXT.replace("mandala-need 2", "mandala-need 1")],
  ["an unknown line", `${TEXT}colour blue\n`],
  ["a size that is no number", TEXT.replace("108512048", "1e8")],
  ["a file without its path", TEXT.replace(" bin/node", "")],
  ["a file without its hash", TEXT.replace(`${"02".repeat(32)} `, "")],
  ["a hash that is short", TEXT.replace("0202", "")],
  ["a path with a space", TEXT.replace("bin/node", "bin/my node")],
  ["a short image id", TEXT.replace("abab", "")],
  ["no sentinel", TEXT.replace("sentinel base.complete\n", "")],
  ["no memory", TEXT.replace("ram_need_bytes 486128128\n", "")],
  ["nothing", ""],
])("%s is refused", (_, text) => {
  expect(parseNeed(text)).toMatchObject({ ok: false, error: { kind: "need_invalid" } })
})

test("more files than /init has room for are refused", () => {
  const files = Array.from({ length: BUILDER_LIMITS.need_files_max + 1 }, (_, index) => ({
    path: `f${index}`,
    bytes: 1,
    hash: "01".repeat(32),
  }))
  expect(encodeNeed({ ...NEED, files })).toMatchObject({ ok: false, error: { limit: "need_files_max" } })
})

test("the bounds here are the bounds of the C side", () => {
  const header = readFileSync(resolve(import.meta.dirname, "../../../images/base/init/init.h"), "utf8")
  const constant = (name: string): number => {
    const factors = new RegExp(`^  ${name} = ([0-9* ]+),$`, "m").exec(header)?.[1]?.split("*") ?? []
    return factors.reduce((product, factor) => product * Number(factor), factors.length > 0 ? 1 : 0)
  }
  expect(constant("NEED_FILES_MAX")).toBe(BUILDER_LIMITS.need_files_max)
  expect(constant("NEED_BYTES_MAX") - 1).toBe(BUILDER_LIMITS.need_bytes_max)
  expect(constant("PATH_BYTES_MAX") - 1).toBe(BUILDER_LIMITS.need_path_bytes_max)
  expect(constant("MODULES_MAX")).toBe(BUILDER_LIMITS.modules_max)
  expect(constant("ALIASES_MAX")).toBe(BUILDER_LIMITS.module_aliases_max)
  expect(constant("MODULE_TABLE_BYTES_MAX") - 1).toBe(BUILDER_LIMITS.module_table_bytes_max)
  expect(constant("MODULE_DEPTH_MAX")).toBe(BUILDER_LIMITS.module_depth_max)
})

test("the memory that is needed is the larger of unpacking and running", () => {
  expect(ramNeedBytes({ compressedBytes: 40 * MIB, unpackedBytes: 112 * MIB })).toBe((112 + 32 + 448) * MIB)
  expect(ramNeedBytes({ compressedBytes: 200 * MIB, unpackedBytes: 500 * MIB })).toBe((2 * 508 + 200) * MIB)
})
