/** RESP requests, byte-exact, whole and byte by byte; errors as Redis says them (networking.c). Plane: control. */
import { expect, test } from "vitest"
import {
  ARGUMENT_BYTES_MAX,
  ARGUMENT_KEPT_BYTES,
  ARGUMENTS_MAX,
  BULK_BYTES_MAX,
  COMMAND_BYTES_MAX,
  INLINE_BYTES_MAX,
} from "../../../appliance/gateway/limits.ts"
import { parseAll } from "./parse_all.ts"
import { encodeCommand } from "./test_client.ts"

const CHUNKS = [Number.POSITIVE_INFINITY, 1, 2, 3, 7]

type Case = { readonly what: string; readonly bytes: string; readonly commands: string[][]; readonly error?: string }

const CASES: Case[] = [
  { what: "an array", bytes: "*2\r\n$3\r\nGET\r\n$1\r\na\r\n", commands: [["GET", "a"]] },
  { what: "empty bulks", bytes: "*3\r\n$3\r\nSET\r\n$0\r\n\r\n$0\r\n\r\n", commands: [["SET", "", ""]] },
  { what: "CR LF in a bulk", bytes: "*1\r\n$4\r\n\r\n\r\n\r\n", commands: [["\r\n\r\n"]] },
  { what: "empty arrays are no commands", bytes: "*0\r\n*-1\r\n*1\r\n$4\r\nPING\r\n", commands: [["PING"]] },
  { what: "an inline command", bytes: "PING\r\n", commands: [["PING"]] },
  { what: "an inline command with LF only", bytes: "  SET\ta  b \n", commands: [["SET", "a", "b"]] },
  { what: "empty lines", bytes: "\r\n\n\r\nPING\r\n", commands: [["PING"]] },
  {
    what: "quotes and escapes",
    bytes: 'SET "a b" "\\x41\\n\\"\\q\\xg1"\r\n',
    commands: [["SET", "a b", 'A\n"qxg1']],
  },
  { what: "single quotes", bytes: "SET 'it\\'s' '\\n' ''\r\n", commands: [["SET", "it's", "\\n", ""]] },
  { what: "quotes amid a word", bytes: 'a"b c"\r\n', commands: [["ab c"]] },
  {
    what: "arrays and lines by turns",
    bytes: "PING\r\n*1\r\n$4\r\nPING\r\nECHO x\r\n",
    commands: [["PING"], ["PING"], ["ECHO", "x"]],
  },
  { what: "a bulk that never ends", bytes: "*1\r\n$4\r\nPIN", commands: [] },
  { what: "a NUL ends a line", bytes: "a b\0c d\r\n", commands: [["a", "b"]] },
  {
    what: "no dollar",
    bytes: "PING\r\n*1\r\n+OK\r\n",
    commands: [["PING"]],
    error: "ERR Protocol error: expected '$', got '+'",
  },
  {
    what: "a byte that can't be shown",
    bytes: "*1\r\n\n",
    commands: [],
    error: "ERR Protocol error: expected '$', got '?'",
  },
  { what: "no number of bulks", bytes: "*x\r\n", commands: [], error: "ERR Protocol error: invalid multibulk length" },
  { what: "a plus", bytes: "*+1\r\n", commands: [], error: "ERR Protocol error: invalid multibulk length" },
  { what: "nothing", bytes: "*\r\n", commands: [], error: "ERR Protocol error: invalid multibulk length" },
  {
    what: "a number that never ends",
    bytes: `*${"1".repeat(40)}`,
    commands: [],
    error: "ERR Protocol error: invalid multibulk length",
  },
  { what: "CR without LF", bytes: "*1\rx", commands: [], error: "ERR Protocol error: invalid multibulk length" },
  {
    what: "too many arguments",
    bytes: `*${ARGUMENTS_MAX + 1}\r\n`,
    commands: [],
    error: `ERR Protocol error: invalid multibulk length: arguments_max is ${ARGUMENTS_MAX}`,
  },
  { what: "a negative bulk", bytes: "*1\r\n$-1\r\n", commands: [], error: "ERR Protocol error: invalid bulk length" },
  {
    what: "a bulk of no number",
    bytes: "*1\r\n$a\r\n",
    commands: [],
    error: "ERR Protocol error: invalid bulk length",
  },
  {
    what: "a bulk above the limit, before a byte of it came",
    bytes: `*1\r\n$${BULK_BYTES_MAX + 1}\r\n`,
    commands: [],
    error: "ERR Protocol error: invalid bulk length",
  },
  {
    what: "a bulk longer than it said",
    bytes: "*1\r\n$1\r\nab\r\n",
    commands: [],
    error: "ERR Protocol error: expected CRLF behind a bulk string",
  },
  {
    what: "an open quote",
    bytes: 'SET "a\r\n',
    commands: [],
    error: "ERR Protocol error: unbalanced quotes in request",
  },
  {
    what: "a closing quote amid a word",
    bytes: '"a"b\r\n',
    commands: [],
    error: "ERR Protocol error: unbalanced quotes in request",
  },
]

test.each(CASES)("$what", ({ bytes, commands, error = "" }) => {
  for (const size of CHUNKS) {
    expect(parseAll(Buffer.from(bytes, "latin1"), size)).toEqual({ commands, error })
  }
})

test("after an error nothing more is parsed", () => {
  expect(parseAll(Buffer.from("*x\r\nPING\r\n"), 1).commands).toEqual([])
})

test("an inline command may have INLINE_BYTES_MAX bytes and no more", () => {
  const longest = "x".repeat(INLINE_BYTES_MAX - 1)
  expect(parseAll(Buffer.from(`${longest}\r\n`), 1000).commands).toEqual([[longest]])
  const error = "ERR Protocol error: too big inline request"
  expect(parseAll(Buffer.from("x".repeat(INLINE_BYTES_MAX + 1)), 1000)).toEqual({ commands: [], error })
})

test("an inline command has a bounded number of words", () => {
  const words = new Array<string>(ARGUMENTS_MAX).fill("x")
  expect(parseAll(Buffer.from(`${words.join(" ")}\n`), 999).commands[0]).toHaveLength(ARGUMENTS_MAX)
  expect(parseAll(Buffer.from(`${words.join(" ")} y\n`), 999).error).toMatch(/arguments_max is 1025/)
})

test.each([1000, 65_536])("an argument that is too long is counted, and what follows it is whole (%d)", (size) => {
  const long = Buffer.alloc(BULK_BYTES_MAX, "v")
  const bytes = Buffer.concat([encodeCommand(["SET", "k", long, "NX"]), encodeCommand(["PING"])])
  const { commands, lengths, error } = parseAll(bytes, size, true)
  expect(error).toBe("")
  expect(commands).toEqual([["SET", "k", "v".repeat(ARGUMENT_KEPT_BYTES), "NX"], ["PING"]])
  expect(lengths?.[0]).toEqual([3, 1, BULK_BYTES_MAX, 2])
})

test("the longest argument that is kept is kept whole", () => {
  const value = "v".repeat(ARGUMENT_BYTES_MAX)
  expect(parseAll(encodeCommand(["SET", "k", value]), 4096).commands).toEqual([["SET", "k", value]])
})

test("a command whose arguments have too many bytes together ends the stream", () => {
  const half = Buffer.alloc(COMMAND_BYTES_MAX / 2, "v")
  const { commands, error } = parseAll(encodeCommand(["DEL", half, half]), 4096)
  expect(commands).toEqual([])
  expect(error).toBe(
    `ERR Protocol error: command_bytes_max: the arguments of one command have more than ${COMMAND_BYTES_MAX} bytes`,
  )
})

test("a buffer that goes to another connection remembers nothing", () => {
  const { parser } = parseAll(Buffer.from("*2\r\n$3\r\nGE"), 3)
  parser?.reset()
  parser?.write(Buffer.from("PING\r\n"), 0)
  expect(parser?.next()).toBe(1)
  expect(parser?.argumentCount).toBe(1)
})
