/** The two archives: the same inputs give the same bytes, and the base ends with its sentinel. Plane: control. */
import { execFileSync } from "node:child_process"
import { gunzipSync, zstdDecompressSync } from "node:zlib"
import { expect, test } from "vitest"
import { PRNG } from "../../../appliance/types/prng.ts"
import { type BaseContent, compressBase, packBase, packInit, SENTINEL_PATH } from "../../../builder/archives.ts"
import type { KernelModule } from "../../../builder/modules.ts"

const E1000: KernelModule = {
  name: "e1000",
  bytes: Buffer.from("a module"),
  info: { depends: [], softDepends: [], aliases: ["pci:v00008086d0000100E*"] },
}
const CONTENT: BaseContent = {
  modules: [E1000],
  libraries: [{ path: "lib/x86_64-linux-gnu/libc.so.6", bytes: Buffer.from("a library") }],
  bundle: Buffer.from("a bundle"),
  node: Buffer.from("node ".repeat(10_000)),
}

function packed(content: BaseContent = CONTENT): Extract<ReturnType<typeof packBase>, { ok: true }>["value"] {
  const base = packBase(content)
  if (!base.ok) {
    throw new Error(`packBase: ${base.error.kind}`)
  }
  return base.value
}

function list(archive: Uint8Array): string[] {
  return execFileSync("cpio", ["-it", "--quiet"], { input: archive }).toString().trim().split("\n")
}

test("the base archive's files, small ones first, the sentinel last", () => {
  expect(list(packed().archive)).toEqual([
    "modules",
    "modules/table",
    "modules/e1000.ko",
    "app",
    "app/mandala.mjs",
    "lib",
    "lib/x86_64-linux-gnu",
    "lib/x86_64-linux-gnu/libc.so.6",
    "bin",
    "bin/node",
    SENTINEL_PATH,
  ])
})

test("the same inputs give the same bytes", async () => {
  const bytes = async (): Promise<string[]> => {
    const base = packed()
    const init = packInit(Buffer.from("init"), base, 1000)
    const compressed = await compressBase(base.archive, "fast")
    expect(init.ok && compressed.ok).toBe(true)
    return [base.archive, init.ok ? init.value : base.archive, compressed.ok ? compressed.value : base.archive].map(
      (archive) => Buffer.from(archive).toString("base64"),
    )
  }
  expect(await bytes()).toEqual(await bytes())
})

test("one other byte is another image", () => {
  expect(packed({ ...CONTENT, bundle: Buffer.from("A bundle") }).imageID).not.toBe(packed().imageID)
})

test.each(["fast", "small"] as const)("%s: it unpacks to itself, has a checksum and ends on a block", async (name) => {
  const { archive } = packed()
  const compressed = await compressBase(archive, name)
  expect(compressed.ok).toBe(true)
  if (compressed.ok) {
    expect(compressed.value.length % 512).toBe(0)
    const end = compressed.value.findLastIndex((byte) => byte !== 0) + 1
    expect(zstdDecompressSync(compressed.value.subarray(0, end)).equals(archive)).toBe(true)
    // Frame header descriptor, RFC 8878, 3.1.1.1.1: bit 2 says that a checksum follows the last block.
    expect((compressed.value[4] ?? 0) & 4).toBe(4)
  }
})

test("the first archive holds /init and the need-manifest, which names every file of the base", () => {
  const base = packed()
  const init = packInit(Buffer.from("init"), base, 1000)
  expect(init.ok && init.value.length % 512).toBe(0)
  const archive = gunzipSync(init.ok ? init.value : Buffer.alloc(0))
  expect(list(archive)).toEqual(["init", "need-manifest"])
  expect(base.needed.map((file) => file.path)).toEqual(base.files.map((file) => file.path))
  for (const file of base.needed) {
    expect(archive.includes(`file ${file.bytes} ${file.hash} ${file.path}\n`)).toBe(true)
  }
})

test("a first archive that a small machine could not unpack is refused", () => {
  const prng = new PRNG(1)
  const noise = Buffer.from(Array.from({ length: 100_000 }, () => prng.below(256)))
  expect(packInit(noise, packed(), 1000)).toMatchObject({
    ok: false,
    error: { kind: "limit_exceeded", limit: "init_image_bytes_max" },
  })
})
