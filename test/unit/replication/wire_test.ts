/** The bytes of a frame, field by field, and what is refused about them. Plane: control. */
import { crc32 as zlibCRC32 } from "node:zlib"
import { describe, expect, test } from "vitest"
import type { Message } from "../../../appliance/replication/message.ts"
import {
  decodeFrame,
  encodeKeepalive,
  encodeMessage,
  type FrameErrorKind,
  FrameSplitter,
  frameBytesMax,
  type Keepalive,
  messageFrameBytes,
  receiveBufferBytes,
  type WireOptions,
} from "../../../appliance/replication/wire.ts"
import { crc32 } from "../../../appliance/types/checksum.ts"
import { CLUSTER_LIMITS, limitsFingerprint } from "../../../appliance/types/limits.ts"

const OPTIONS: WireOptions = {
  identity: {
    cluster_id: Uint8Array.from({ length: 16 }, (_, index) => 0xa0 + index),
    generation: 1,
    limits_fingerprint: 0x0102_0304,
  },
  limits: CLUSTER_LIMITS,
  checksum: crc32,
}
const EPOCH = 2
const CV = [0x1_0000_0007, 0x2_ffff_ffff, ...new Array<number>(CLUSTER_LIMITS.slots_max - 2).fill(0)]
const DIGEST = "00112233445566778899aabbccddeeff"

function frameOf(message: Message): Uint8Array {
  const out = new Uint8Array(messageFrameBytes(message))
  expect(encodeMessage(message, OPTIONS, out, 0)).toBe(out.length)
  return out
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex")
}

/** The same frame with one byte changed and its checksum made right again. */
function forged(frame: Uint8Array, offset: number, value: number): Uint8Array {
  const copy = frame.slice()
  copy[offset] = value
  new DataView(copy.buffer).setUint32(4, crc32(copy, 8, copy.length), true)
  return copy
}

function errorOf(frame: Uint8Array): FrameErrorKind | "none" {
  const result = decodeFrame(frame, 0, frame.length, OPTIONS)
  return result.ok ? "none" : result.error.kind
}

const HEADER_HEX =
  "01" + // version
  "TT" + // type
  "01" + // from
  "02" + // entries
  "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf" +
  "01000000" + // generation
  "02000000" + // epoch
  "04030201" + // limits
  "0100000007000000" +
  "02000000ffffffff"

function expected(type: number, fields: string): string {
  const body = HEADER_HEX.replace("TT", type.toString(16).padStart(2, "0")) + fields
  const length = Buffer.alloc(4)
  length.writeUInt32LE(12 + body.length / 2)
  const rest = Buffer.concat([length, Buffer.from(body, "hex")])
  const checksum = Buffer.alloc(4)
  checksum.writeUInt32LE(zlibCRC32(rest))
  return `4d444c46${checksum.toString("hex")}${rest.toString("hex")}`
}

describe("bytes", () => {
  test("exit_view", () => {
    const frame = frameOf({ type: "exit_view", from: 1, epoch: EPOCH, cv: CV, view: 0x1f_ffff_ffff_ffff })
    expect(hex(frame)).toBe(expected(7, "ffffffffffff1f00"))
  })

  test("prepare_ok", () => {
    const frame = frameOf({
      type: "prepare_ok",
      from: 1,
      epoch: EPOCH,
      cv: CV,
      view: 3,
      op: 0x1_0000_0002,
      checksum: DIGEST,
    })
    expect(hex(frame)).toBe(expected(4, `03000000000000000200000001000000${DIGEST}`))
  })

  test("probe without and with a token", () => {
    const probe: Message = { type: "probe", from: 1, epoch: EPOCH, cv: CV, nonce: 5, claim: 7, token: "" }
    expect(hex(frameOf(probe))).toBe(expected(1, "05000000000000000700000000"))
    expect(hex(frameOf({ ...probe, token: DIGEST }))).toBe(expected(1, `05000000000000000700000010${DIGEST}`))
  })

  test("prepare", () => {
    const body = Uint8Array.of(0xde, 0xad)
    const header = {
      view: 1,
      op: 2,
      timestamp: 3,
      operation: 2,
      session: 4,
      request: 5,
      body_bytes: 2,
      parent: DIGEST,
      checksum: "f".repeat(32),
    } as const
    const frame = frameOf({ type: "prepare", from: 1, epoch: EPOCH, cv: CV, view: 6, commit: 1, header, body })
    const fields =
      "06000000000000000100000000000000" +
      "0100000000000000020000000000000003000000000000000400000000000000050000000000000002" +
      "02000000" +
      DIGEST +
      "f".repeat(32) +
      "dead"
    expect(hex(frame)).toBe(expected(3, fields))
  })

  test("a keepalive is a header and one byte", () => {
    const out = new Uint8Array(45)
    expect(encodeKeepalive({ type: "keepalive", from: 2, holds_state: true }, OPTIONS, out, 0)).toBe(45)
    expect(hex(out.subarray(12, 16))).toBe("01000200")
    expect(out[44]).toBe(1)
    const decoded = decodeFrame(out, 0, 45, OPTIONS)
    expect(decoded).toEqual({ ok: true, value: { type: "keepalive", from: 2, holds_state: true } })
    expect(errorOf(forged(out, 44, 2))).toBe("bad_field")
  })

  test("the two checksums are one function", () => {
    const bytes = Uint8Array.from({ length: 1000 }, (_, index) => (index * 7) & 0xff)
    expect(crc32(bytes, 10, 990)).toBe(zlibCRC32(bytes.subarray(10, 990)))
  })
})

describe("what is refused", () => {
  const frame = frameOf({ type: "commit", from: 1, epoch: EPOCH, cv: CV, view: 1, op: 2, commit: 2, round: 9 })

  test("each with its kind", () => {
    expect(errorOf(frame)).toBe("none")
    expect(errorOf(forged(frame, 0, 0))).toBe("bad_magic")
    expect(errorOf(forged(frame, 12, 2))).toBe("bad_version")
    expect(errorOf(forged(frame, 16, 0))).toBe("wrong_cluster")
    expect(errorOf(forged(frame, 32, 9))).toBe("wrong_generation")
    // The epoch is the replica's to judge: members of two epochs must hear each other to come together.
    expect(errorOf(forged(frame, 36, 9))).toBe("none")
    expect(errorOf(forged(frame, 40, 9))).toBe("wrong_limits")
    expect(errorOf(forged(frame, 13, 99))).toBe("unknown_type")
    expect(errorOf(forged(frame, 14, CLUSTER_LIMITS.slots_max))).toBe("bad_field")
    expect(errorOf(forged(frame, 15, 1))).toBe("bad_field")
    expect(errorOf(forged(frame, 8, 9))).toBe("bad_length")
    expect(errorOf(frame.subarray(0, 20))).toBe("bad_length")
    expect(errorOf(frame.subarray(0, 0))).toBe("bad_length")
    // An incarnation above INCARNATION_MAX, and a view above 2^53.
    expect(errorOf(forged(frame, 47, 0xff))).toBe("bad_field")
    expect(errorOf(forged(frame, 44 + 16 + 7, 0xff))).toBe("bad_field")
    const flipped = frame.slice()
    flipped[70] = (flipped[70] ?? 0) ^ 1
    expect(errorOf(flipped)).toBe("bad_checksum")
  })

  test("a flipped bit anywhere but in the pages of a checkpoint, which have digests of their own", () => {
    const chunk = { type: "checkpoint_chunk", from: 1, epoch: EPOCH, cv: CV, nonce: 7, op: 9, index: 3 } as const
    const rest = { op_checksum: DIGEST, root: DIGEST, mask_low: 3, mask_high: 0, body: new Uint8Array(64).fill(5) }
    for (const part of ["table", "pages"] as const) {
      const frame = frameOf({ ...chunk, ...rest, part })
      for (let byte = 4; byte < frame.length; byte += 1) {
        const flipped = frame.slice()
        flipped[byte] = (flipped[byte] ?? 0) ^ 0x10
        const isInPages = part === "pages" && byte >= frame.length - 64
        expect([part, byte, errorOf(flipped) === "none"]).toEqual([part, byte, isInPages])
      }
    }
  })

  test("a list with more headers than a message may carry", () => {
    const join = frameOf({
      type: "join_view",
      from: 1,
      epoch: EPOCH,
      cv: CV,
      view: 1,
      log_view: 0,
      op: 0,
      commit: 0,
      headers: [],
    })
    expect(errorOf(join)).toBe("none")
    expect(errorOf(forged(join, join.length - 2, 13))).toBe("bad_field")
  })

  test("a body that is not as long as its header says", () => {
    const header = {
      view: 1,
      op: 2,
      timestamp: 3,
      operation: 2,
      session: 4,
      request: 5,
      body_bytes: 1,
      parent: DIGEST,
      checksum: DIGEST,
    } as const
    const log = frameOf({
      type: "log",
      from: 1,
      epoch: EPOCH,
      cv: CV,
      view: 1,
      commit: 2,
      entry: { header, body: Uint8Array.of(7) },
    })
    expect(errorOf(log)).toBe("none")
    expect(errorOf(forged(log, log.length - 37, 2))).toBe("bad_field")
  })

  test("what doesn't fit is not written", () => {
    const out = new Uint8Array(frame.length)
    const message: Message = { type: "commit", from: 1, epoch: EPOCH, cv: CV, view: 1, op: 2, commit: 2, round: 9 }
    expect(encodeMessage(message, OPTIONS, out, 1)).toBe(-1)
    expect(out.every((byte) => byte === 0)).toBe(true)
  })
})

/** Bodies are views into the receive buffer: keep a copy. */
function copied(message: Message | Keepalive): Message | Keepalive {
  return message.type === "read" ? { ...message, body: message.body.slice() } : message
}

describe("splitter", () => {
  const messages: Message[] = [
    { type: "commit", from: 1, epoch: EPOCH, cv: CV, view: 1, op: 2, commit: 2, round: 9 },
    {
      type: "read",
      from: 2,
      epoch: EPOCH,
      cv: CV,
      read: 7,
      body: new Uint8Array(CLUSTER_LIMITS.batch_bytes_max).fill(5),
    },
    { type: "recovery", from: 0, epoch: EPOCH, cv: CV, nonce: 3 },
  ]
  const stream = Buffer.concat(messages.map(frameOf))

  function split(pieces: (left: number) => number): (Message | Keepalive)[] {
    const splitter = new FrameSplitter(new Uint8Array(receiveBufferBytes(CLUSTER_LIMITS)), CLUSTER_LIMITS)
    const found: (Message | Keepalive)[] = []
    for (let repeat = 0; repeat < 4; repeat += 1) {
      let offset = 0
      while (offset < stream.length) {
        const room = splitter.writable()
        const left = stream.length - offset
        const bytes = Math.min(room.length, left, pieces(left))
        room.set(stream.subarray(offset, offset + bytes))
        splitter.advance(bytes)
        offset += bytes
        while (splitter.next()) {
          const decoded = decodeFrame(splitter.buffer, splitter.frameStart, splitter.frameEnd, OPTIONS)
          expect(decoded.ok).toBe(true)
          if (decoded.ok) {
            found.push(copied(decoded.value))
          }
        }
      }
    }
    expect(splitter.error).toBeUndefined()
    return found
  }

  const wanted = [...messages, ...messages, ...messages, ...messages]

  test("whole", () => {
    expect(split((left) => left)).toEqual(wanted)
  })

  test("byte by byte around the small frames, in odd pieces through the large one", () => {
    expect(split((left) => (left > stream.length - 200 || left < 200 ? 1 : 4093))).toEqual(wanted)
  })

  test("a stream that is not ours is refused before its bytes are awaited", () => {
    const splitter = new FrameSplitter(new Uint8Array(receiveBufferBytes(CLUSTER_LIMITS)), CLUSTER_LIMITS)
    splitter.writable().set(new TextEncoder().encode("GET / HTTP/1.1"))
    splitter.advance(14)
    expect(splitter.next()).toBe(false)
    expect(splitter.error).toBe("bad_magic")
    splitter.reset()
    const head = Uint8Array.from(stream.subarray(0, 12))
    new DataView(head.buffer).setUint32(8, frameBytesMax(CLUSTER_LIMITS) + 1, true)
    splitter.writable().set(head)
    splitter.advance(12)
    expect(splitter.next()).toBe(false)
    expect(splitter.error).toBe("bad_length")
  })
})

test("the fingerprint changes with a limit", () => {
  expect(limitsFingerprint(CLUSTER_LIMITS)).not.toBe(limitsFingerprint({ ...CLUSTER_LIMITS, pipeline_max: 9 }))
})
