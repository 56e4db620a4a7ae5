/** The header Range, by RFC 9110's own examples and past its edges. Plane: control. */
import { expect, test } from "vitest"
import { decideRange } from "../../../pxe/http/range.ts"

const part = (start: number, end: number) => ({ kind: "part", start, end })
const WHOLE = { kind: "whole" }
const UNSATISFIABLE = { kind: "unsatisfiable" }

test.each([
  [undefined, 10_000, WHOLE],
  ["bytes=0-499", 10_000, part(0, 500)],
  ["bytes=500-999", 10_000, part(500, 1000)],
  ["bytes=9500-", 10_000, part(9500, 10_000)],
  ["bytes=-500", 10_000, part(9500, 10_000)],
  ["bytes=0-0", 10_000, part(0, 1)],
  ["bytes=0-99999", 10_000, part(0, 10_000)],
  ["bytes=-99999", 10_000, part(0, 10_000)],
  ["bytes= 0-4 ", 10_000, part(0, 5)],
  ["bytes=10000-", 10_000, UNSATISFIABLE],
  ["bytes=-0", 10_000, UNSATISFIABLE],
  ["bytes=0-", 0, UNSATISFIABLE],
  ["bytes=-1", 0, UNSATISFIABLE],
  ["bytes=500-499", 10_000, WHOLE],
  ["bytes=-", 10_000, WHOLE],
  ["bytes=0-0,-1", 10_000, WHOLE],
  ["lines=0-4", 10_000, WHOLE],
  ["bytes=a-b", 10_000, WHOLE],
  ["bytes=99999999999999999999-", 10_000, WHOLE],
] as const)("%s of %i bytes", (header, bytes, answer) => {
  expect(decideRange(header, bytes)).toEqual(answer)
})
