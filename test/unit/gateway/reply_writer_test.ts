/** RESP replies, byte-exact, in a buffer of any size. Plane: control. */
import { expect, test } from "vitest"
import { type IntegerHalves, readInteger } from "../../../appliance/gateway/resp/integer.ts"
import { ReplyWriter } from "../../../appliance/gateway/resp/reply_writer.ts"

function written(bufferBytes: number, write: (writer: ReplyWriter) => void): string {
  const pieces: Buffer[] = []
  const drain = (bytes: Buffer, length: number): void => void pieces.push(Buffer.from(bytes.subarray(0, length)))
  const writer = new ReplyWriter(Buffer.alloc(bufferBytes), { drain })
  write(writer)
  writer.flush()
  return Buffer.concat(pieces).toString("latin1")
}

const CASES: readonly (readonly [string, (writer: ReplyWriter) => void])[] = [
  ["+OK\r\n", (writer) => writer.simple("OK")],
  ["-ERR no\r\n", (writer) => writer.error("ERR no")],
  ["-ERR a  b c\r\n", (writer) => writer.error("ERR a\r\nb\u20acc")],
  [":0\r\n", (writer) => writer.integer(0)],
  [":-12\r\n", (writer) => writer.integer(-12)],
  [":9007199254740991\r\n", (writer) => writer.integer(Number.MAX_SAFE_INTEGER)],
  [":4294967296\r\n", (writer) => writer.integerHalves(1, 0)],
  [":-1\r\n", (writer) => writer.integerHalves(-1, 0xffff_ffff)],
  [":9223372036854775807\r\n", (writer) => writer.integerHalves(0x7fff_ffff, 0xffff_ffff)],
  [":-9223372036854775808\r\n", (writer) => writer.integerHalves(-0x8000_0000, 0)],
  [":-9007199254740992\r\n", (writer) => writer.integerHalves(-0x20_0000, 0)],
  ["$0\r\n\r\n", (writer) => writer.bulk(Buffer.alloc(0), 0, 0)],
  ["$3\r\nb\r\n\r\n", (writer) => writer.bulk(Buffer.from("ab\r\nc"), 1, 3)],
  [`$100\r\n${"x".repeat(100)}\r\n`, (writer) => writer.bulk(Buffer.alloc(100, "x"), 0, 100)],
  ["$2\r\nhi\r\n", (writer) => writer.bulkText("hi")],
  ["$-1\r\n", (writer) => writer.null(2)],
  ["_\r\n", (writer) => writer.null(3)],
  ["*3\r\n", (writer) => writer.array(3)],
  ["*4\r\n", (writer) => writer.map(2, 2)],
  ["%2\r\n", (writer) => writer.map(2, 3)],
]

test.each(CASES)("%j", (expected, write) => {
  for (const bufferBytes of [4096, 25, 31]) {
    expect(written(bufferBytes, write)).toBe(expected)
  }
})

test("without a drain a full buffer is a bug of ours", () => {
  const writer = new ReplyWriter(Buffer.alloc(25), undefined)
  expect(() => writer.bulkText("x".repeat(30))).toThrow(/asked room/)
})

const INTEGERS: readonly (readonly [string, bigint | undefined])[] = [
  ["0", 0n],
  ["-1", -1n],
  ["4294967296", 4_294_967_296n],
  ["-4294967296", -4_294_967_296n],
  ["9223372036854775807", 9_223_372_036_854_775_807n],
  ["-9223372036854775808", -9_223_372_036_854_775_808n],
  ["9223372036854775808", undefined],
  ["-9223372036854775809", undefined],
  ["9999999999999999999", undefined],
  ["12345678901234567890", undefined],
  ["", undefined],
  ["-", undefined],
  ["+1", undefined],
  ["01", undefined],
  ["-0", undefined],
  [" 1", undefined],
  ["1 ", undefined],
  ["1.0", undefined],
]

test.each(INTEGERS)("the text %j is the integer %s", (text, expected) => {
  const value: IntegerHalves = { high: 0, low: 0 }
  const isRead = readInteger(Buffer.from(`x${text}x`), 1, text.length, value)
  expect(isRead ? (BigInt(value.high) << 32n) + BigInt(value.low) : undefined).toBe(expected)
})
