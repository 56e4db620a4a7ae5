/** TFTP: its bytes, what is agreed, which block goes out next. Plane: control. */
import { describe, expect, test } from "vitest"
import { AssertionError } from "../../../appliance/types/assert.ts"
import { ATTEMPTS_MAX } from "../../../pxe/tftp/limits.ts"
import { negotiate, normalizeFileName, type Terms } from "../../../pxe/tftp/negotiate.ts"
import { decodeTFTP, encodeTFTP, type TFTPDecodeError, type TFTPPacket } from "../../../pxe/tftp/packet.ts"
import { Transfer } from "../../../pxe/tftp/transfer.ts"
import { fromHex, toHex } from "./captures.ts"

/** From a capture: OVMF asks for the size, refuses, asks for the file. */
const OVMF_PROBE = `0001 736e706f6e6c792e656669 00 6f63746574 00 7473697a65 00 30 00
  626c6b73697a65 00 31343638 00 77696e646f7773697a65 00 34 00`
const OVMF_ABORT = "0005 0008 557365722061626f7274656420746865207472616e73666572 00"

const PACKETS: readonly (readonly [string, string, TFTPPacket])[] = [
  [
    "OVMF's probe",
    OVMF_PROBE,
    {
      kind: "rrq",
      file: "snponly.efi",
      mode: "octet",
      options: new Map([
        ["tsize", "0"],
        ["blksize", "1468"],
        ["windowsize", "4"],
      ]),
    },
  ],
  ["OVMF's abort", OVMF_ABORT, { kind: "error", code: 8, message: "User aborted the transfer" }],
  [
    "a request without options",
    "0001 61 00 6f63746574 00",
    { kind: "rrq", file: "a", mode: "octet", options: new Map() },
  ],
  ["a write", "0002 61 00 6f63746574 00", { kind: "wrq", file: "a", mode: "octet", options: new Map() }],
  ["data", "0003 ffff 010203", { kind: "data", block: 65_535, bytes: Uint8Array.of(1, 2, 3) }],
  ["the empty last block", "0003 0001", { kind: "data", block: 1, bytes: new Uint8Array(0) }],
  ["an acknowledgement", "0004 1234", { kind: "ack", block: 0x1234 }],
  ["options acknowledged", "0006 7473697a65 00 35 00", { kind: "oack", options: new Map([["tsize", "5"]]) }],
]

describe("packets", () => {
  test.each(PACKETS)("%s, both ways", (_name, hex, packet) => {
    expect(decodeTFTP(fromHex(hex))).toEqual({ ok: true, value: packet })
    expect(toHex(encodeTFTP(packet))).toBe(toHex(fromHex(hex)))
  })

  test("options and mode are read in any case, the first of two counts, padding at the end is nothing", () => {
    const bytes = fromHex("0001 61 00 4f43544554 00 424c4b53495a45 00 38 00 626c6b73697a65 00 39 00 00 00")
    const options = new Map([["blksize", "8"]])
    expect(decodeTFTP(bytes)).toEqual({ ok: true, value: { kind: "rrq", file: "a", mode: "octet", options } })
  })

  test("an acknowledgement may be padded, an error may lack its NUL", () => {
    expect(decodeTFTP(fromHex("0004 0001 0000"))).toEqual({ ok: true, value: { kind: "ack", block: 1 } })
    expect(decodeTFTP(fromHex("0005 0001 6162"))).toMatchObject({ ok: true, value: { message: "ab" } })
  })

  const Bad: readonly (readonly [string, Uint8Array, TFTPDecodeError])[] = [
    ["nothing", fromHex("00"), { kind: "too_short" }],
    ["an unknown opcode", fromHex("0007 00"), { kind: "unknown_opcode", opcode: 7 }],
    ["half an acknowledgement", fromHex("0004 00"), { kind: "too_short" }],
    ["data without number", fromHex("0003 00"), { kind: "too_short" }],
    ["an error without code", fromHex("0005 00"), { kind: "too_short" }],
    ["a request without mode", fromHex("0001 61 00"), { kind: "too_short" }],
    ["an open string", fromHex("0001 61 00 6f"), { kind: "unterminated_string" }],
    ["an option without value", fromHex("0001 61 00 6f 00 62 00"), { kind: "option_without_value" }],
    ["17 options", fromHex(`0001 61 00 6f 00 ${"62 00 63 00 ".repeat(17)}`), { kind: "too_many_options" }],
    ["a request too long", fromHex(`0001 ${"61".repeat(511)} 00`), { kind: "too_long" }],
    ["an error too long", fromHex(`0005 0000 ${"61".repeat(509)}`), { kind: "too_long" }],
  ]
  test.each(Bad)("refused: %s", (_name, bytes, error) => {
    expect(decodeTFTP(bytes)).toEqual({ ok: false, error })
  })
})

describe("what is agreed", () => {
  const asked = (options: Record<string, string>): Terms => negotiate(new Map(Object.entries(options)), 1000)

  test("nothing asked, nothing answered", () => {
    expect(asked({})).toEqual({ block_bytes: 512, window_blocks: 1, timeout_ms: 1000, options: new Map() })
  })

  test.each([
    ["tsize", "0", "1000"],
    ["blksize", "1432", "1432"],
    ["blksize", "8", "8"],
    ["blksize", "9000", "1468"],
    ["blksize", "7", undefined],
    ["blksize", "70000", undefined],
    ["blksize", "x", undefined],
    ["blksize", "1e3", undefined],
    ["windowsize", "4", "4"],
    ["windowsize", "65535", "64"],
    ["windowsize", "0", undefined],
    ["timeout", "255", "255"],
    ["timeout", "256", undefined],
    ["timeout", "0", undefined],
    ["multicast", "", undefined],
  ])("%s %s is answered by %s", (name, value, answer) => {
    expect([...asked({ [name]: value }).options]).toEqual(answer === undefined ? [] : [[name, answer]])
  })

  test.each([
    ["snponly.efi", "snponly.efi"],
    ["/snponly.efi", "snponly.efi"],
    ["\\boot\\x.efi", "boot/x.efi"],
    ["undionly.kpxe\xff", "undionly.kpxe"],
    ["../etc/shadow", undefined],
    ["a/../../b", undefined],
    ["", undefined],
    ["/", undefined],
  ])("the name %j is %j", (name, normal) => {
    expect(normalizeFileName(name)).toBe(normal)
  })
})

describe("a transfer", () => {
  const file = (bytes: number): Uint8Array => Uint8Array.from({ length: bytes }, (_, index) => index & 0xff)
  const terms = (
    blockBytes: number,
    windowBlocks: number,
    options: readonly (readonly [string, string])[] = [],
  ): Terms => {
    return { block_bytes: blockBytes, window_blocks: windowBlocks, timeout_ms: 1000, options: new Map(options) }
  }
  const ack = (block: number): TFTPPacket => ({ kind: "ack", block })
  const blocks = (packets: readonly Uint8Array[]): number[] => {
    return packets.map((packet) => {
      const decoded = decodeTFTP(packet)
      return decoded.ok && decoded.value.kind === "data" ? decoded.value.block : -1
    })
  }

  test("goes block by block, and ends with a shorter one", () => {
    const transfer = new Transfer(file(10), terms(8, 1))
    expect(toHex(transfer.start()[0] ?? new Uint8Array(0))).toBe("000300010001020304050607")
    expect(toHex(transfer.onPacket(ack(1))[0] ?? new Uint8Array(0))).toBe("000300020809")
    expect(transfer.onPacket(ack(2))).toEqual([])
    expect(transfer.state).toBe("done")
  })

  test("a file of whole blocks ends with an empty one; so does an empty file", () => {
    const transfer = new Transfer(file(8), terms(8, 1))
    transfer.start()
    expect(transfer.onPacket(ack(1)).map(toHex)).toEqual(["00030002"])
    expect(new Transfer(file(0), terms(8, 1)).start().map(toHex)).toEqual(["00030001"])
  })

  test("with options the client acknowledges those first", () => {
    const transfer = new Transfer(file(10), terms(8, 1, [["blksize", "8"]]))
    expect(transfer.start().map(toHex)).toEqual([toHex(fromHex("0006 626c6b73697a65 00 38 00"))])
    expect(transfer.onPacket(ack(1))).toEqual([])
    expect(blocks(transfer.onPacket(ack(0)))).toEqual([1])
  })

  test("a second acknowledgement of one block sends nothing (the Sorcerer's Apprentice)", () => {
    const transfer = new Transfer(file(100), terms(8, 1))
    transfer.start()
    expect(blocks(transfer.onPacket(ack(1)))).toEqual([2])
    expect(transfer.onPacket(ack(1))).toEqual([])
    expect(transfer.onPacket(ack(0))).toEqual([])
    expect(transfer.onPacket(ack(9))).toEqual([])
  })

  test("a window goes out at once; an acknowledgement inside it goes on behind that block", () => {
    const transfer = new Transfer(file(100), terms(8, 4))
    expect(blocks(transfer.start())).toEqual([1, 2, 3, 4])
    expect(blocks(transfer.onPacket(ack(4)))).toEqual([5, 6, 7, 8])
    expect(blocks(transfer.onPacket(ack(6)))).toEqual([7, 8, 9, 10])
    expect(blocks(transfer.onPacket(ack(10)))).toEqual([11, 12, 13])
    expect(transfer.onPacket(ack(13))).toEqual([])
    expect(transfer.state).toBe("done")
  })

  test("block numbers go on from 65535 to 0", () => {
    const transfer = new Transfer(new Uint8Array(8 * 65_540), terms(8, 64))
    let last = transfer.start().length
    for (let step = 0; step < 2_000 && transfer.state === "running"; step += 1) {
      const packets = transfer.onPacket(ack(last & 0xffff))
      if (last < 65_536 && last + packets.length >= 65_536) {
        expect(blocks(packets)).toContain(0)
      }
      last += packets.length
    }
    expect(transfer.state).toBe("done")
    expect(last).toBe(65_541)
  })

  test("silence repeats the window, a bounded number of times", () => {
    const transfer = new Transfer(file(100), terms(8, 2))
    transfer.start()
    for (let attempt = 1; attempt < ATTEMPTS_MAX; attempt += 1) {
      expect(blocks(transfer.onTimeout())).toEqual([1, 2])
    }
    expect(transfer.onTimeout()).toEqual([])
    expect(transfer.state).toBe("given_up")
  })

  test("a block that arrives starts the count of attempts anew", () => {
    const transfer = new Transfer(file(100), terms(8, 1))
    transfer.start()
    for (let attempt = 1; attempt < ATTEMPTS_MAX; attempt += 1) {
      transfer.onTimeout()
    }
    transfer.onPacket(ack(1))
    expect(blocks(transfer.onTimeout())).toEqual([2])
  })

  test("an error ends it without an answer", () => {
    const transfer = new Transfer(file(10), terms(8, 1))
    transfer.start()
    expect(transfer.onPacket({ kind: "error", code: 8, message: "" })).toEqual([])
    expect(transfer.state).toBe("refused")
    expect(() => transfer.onPacket(ack(1))).toThrow(AssertionError)
  })

  test("what a client never sends changes nothing", () => {
    const transfer = new Transfer(file(10), terms(8, 1))
    transfer.start()
    expect(transfer.onPacket({ kind: "data", block: 1, bytes: file(1) })).toEqual([])
    expect(transfer.onPacket({ kind: "oack", options: new Map() })).toEqual([])
    expect(transfer.state).toBe("running")
  })
})
