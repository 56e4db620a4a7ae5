/**
 * The file of an export: what is written is read bit for bit; what was cut off, changed, made up, or is of another key
 * is refused with a reason and bounded memory. Plane: control.
 */
import { createHash, generateKeyPairSync } from "node:crypto"
import { constants, zstdCompressSync } from "node:zlib"
import { beforeAll, describe, expect, test } from "vitest"
import {
  readContainer,
  readContainerHeader,
  type ReadOptions,
  writeContainer,
} from "../../../appliance/archive/container.ts"
import { exportFault, rootOf, digestTable, type StateExport } from "../../../appliance/archive/state_export.ts"
import { sha256Digest } from "../../../appliance/orchestration/system_ports.ts"
import { assert } from "../../../appliance/types/assert.ts"
import { TEST_LIMITS } from "../gateway/cluster_of_one.ts"
import { exportOf, filledCluster } from "./samples.ts"

const KNOWN = [TEST_LIMITS]
let plain: StateExport
let secret: StateExport
let file: Buffer

async function bytesOf(pieces: AsyncIterable<Buffer>): Promise<Buffer> {
  const all: Buffer[] = []
  for await (const piece of pieces) {
    all.push(piece)
  }
  return Buffer.concat(all)
}

/** As one piece, or byte by byte. */
async function* source(bytes: Buffer, size = bytes.length): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) {
    await Promise.resolve()
    yield bytes.subarray(at, at + size)
  }
}

async function refusalOf(bytes: Buffer, options: ReadOptions = {}): Promise<string> {
  const read = await readContainer(source(bytes), { known: KNOWN, ...options })
  if (!read.ok) {
    return read.error.kind
  }
  return exportFault(read.value, sha256Digest) === undefined ? "ok" : "fault"
}

beforeAll(async () => {
  plain = await exportOf(filledCluster(500))
  secret = await exportOf(filledCluster(500), true)
  file = await bytesOf(writeContainer(plain))
})

test("what is written is read bit for bit, in one piece and in small ones", async () => {
  for (const size of [file.length, 1_000, 7]) {
    const read = await readContainer(source(file, size), { known: KNOWN })
    assert(read.ok, "test: a good file is read")
    expect(Buffer.from(read.value.arena).equals(Buffer.from(plain.arena))).toBe(true)
    expect(read.value.header).toEqual(plain.header)
    expect(exportFault(read.value, sha256Digest)).toBeUndefined()
  }
})

test("its root is the cluster's, although the secrets are left out", () => {
  expect(plain.header.secrets).toBe("left_out")
  expect(plain.header.omitted).toHaveLength(1)
  expect(plain.header.root_stored).not.toBe(plain.header.root)
  expect(secret.header.root_stored).toBe(secret.header.root)
  expect(rootOf(digestTable(secret.arena), secret.header, sha256Digest)).toBe(secret.header.root)
  const text = Buffer.from(plain.arena).toString("latin1")
  expect(text).toContain("key-17")
  expect(text).not.toContain("resp_password")
  expect(file.includes("resp_password")).toBe(false)
})

test("secrets leave only encrypted", async () => {
  await expect(bytesOf(writeContainer(secret))).rejects.toThrow("secrets leave only encrypted")
})

describe("encrypted", () => {
  const passphrase = "paper and ink"
  const pair = generateKeyPairSync("x25519")
  let sealed: Buffer
  beforeAll(async () => {
    sealed = await bytesOf(writeContainer(secret, { seal: { passphrase, recipients: [pair.publicKey] } }))
  })

  test("opens with the passphrase and with the recipient's key, bit for bit", async () => {
    for (const open of [{ passphrase }, { identity: pair.privateKey }]) {
      const read = await readContainer(source(sealed, 5_000), { known: KNOWN, open })
      assert(read.ok, "test: the right key opens")
      expect(Buffer.from(read.value.arena).equals(Buffer.from(secret.arena))).toBe(true)
      expect(exportFault(read.value, sha256Digest)).toBeUndefined()
    }
  })

  test("not without, nor with another", async () => {
    expect(await refusalOf(sealed)).toBe("key_needed")
    expect(await refusalOf(sealed, { open: { passphrase: "paper and inc" } })).toBe("wrong_key")
    expect(await refusalOf(sealed, { open: { identity: generateKeyPairSync("x25519").privateKey } })).toBe("wrong_key")
  })

  test("nothing of the state is in the clear, and its header can be read", async () => {
    expect(sealed.includes("key-17")).toBe(false)
    const header = await readContainerHeader(source(sealed))
    expect(header.ok && header.value.op).toBe(secret.header.op)
  })

  test("a bit that changes anywhere is found", async () => {
    const header = 16 + sealed.readUInt32LE(12)
    for (const at of [header - 40, header + 1, header + 100, sealed.length - 60, sealed.length - 1]) {
      const bad = Buffer.from(sealed)
      bad[at] = (bad[at] ?? 0) ^ 1
      expect(await refusalOf(bad, { open: { passphrase } }), `byte ${at}`).not.toBe("ok")
    }
  })
})

describe("bad input", () => {
  test("cut off anywhere", async () => {
    for (const at of [0, 5, 15, 20, 300, file.length / 2, file.length - 33, file.length - 1]) {
      const kind = await refusalOf(file.subarray(0, Math.floor(at)))
      expect(["not_an_export", "truncated"], `at ${at}: ${kind}`).toContain(kind)
    }
  })

  test("a flipped bit anywhere", async () => {
    for (let at = 0; at < file.length; at += Math.max(1, Math.floor(file.length / 150))) {
      const bad = Buffer.from(file)
      bad[at] = (bad[at] ?? 0) ^ 0x10
      expect(await refusalOf(bad), `byte ${at}`).not.toBe("ok")
    }
  })

  test("noise, nothing, and something behind the end", async () => {
    expect(await refusalOf(Buffer.alloc(0))).toBe("not_an_export")
    expect(await refusalOf(createHash("sha256").update("noise").digest())).toBe("not_an_export")
    expect(await refusalOf(Buffer.concat([file, Buffer.from([0])]))).toBe("damaged")
  })

  test("a newer format, and a cluster of unknown limits", async () => {
    const newer = Buffer.from(file)
    newer.writeUInt32LE(2, 8)
    expect(await refusalOf(newer)).toBe("newer_version")
    const read = await readContainer(source(file))
    expect(!read.ok && read.error.kind).toBe("unknown_size")
  })

  test("lengths that lie: a header, a block, pages that are not there", async () => {
    const header = Buffer.from(file)
    header.writeUInt32LE(0xffff_fff0, 12)
    expect(await refusalOf(header)).toBe("damaged")
    const block = Buffer.from(file)
    block.writeUInt32LE(0x7fff_ffff, 16 + file.readUInt32LE(12))
    expect(await refusalOf(block)).toBe("damaged")
    expect(await refusalOf(forged(runOf(0xffff_0000, 1, Buffer.alloc(4096))))).toBe("damaged")
    expect(await refusalOf(forged(runOf(0, 0xffff_ffff, Buffer.alloc(4096))))).toBe("damaged")
  })

  test("a bomb: what would unpack to a thousand times its state is not unpacked", async () => {
    const before = process.memoryUsage().rss
    const bomb = forged(Buffer.concat([runOf(0xffff_ffff, 0, Buffer.alloc(0)), Buffer.alloc(1 << 29)]))
    expect(bomb.length).toBeLessThan(1 << 20)
    global.gc?.()
    expect(await refusalOf(bomb)).toBe("damaged")
    expect(process.memoryUsage().rss - before).toBeLessThan(1 << 30)
  })

  /** A file with another stream and a checksum that is right. */
  function forged(stream: Buffer): Buffer {
    const head = file.subarray(0, 16 + file.readUInt32LE(12))
    const packed = zstdCompressSync(stream, { params: { [constants.ZSTD_c_compressionLevel]: 3 } })
    const blocks: Buffer[] = []
    for (let at = 0; at < packed.length; at += 65_536) {
      const body = packed.subarray(at, at + 65_536)
      const length = Buffer.alloc(4)
      length.writeUInt32LE((body.length | (at + 65_536 >= packed.length ? 0x8000_0000 : 0)) >>> 0)
      blocks.push(length, body)
    }
    const all = Buffer.concat([head, ...blocks])
    return Buffer.concat([all, createHash("sha256").update(all).digest()])
  }

  function runOf(first: number, count: number, body: Buffer): Buffer {
    const head = Buffer.alloc(8)
    head.writeUInt32LE(first, 0)
    head.writeUInt32LE(count, 4)
    return Buffer.concat([head, body])
  }
})
