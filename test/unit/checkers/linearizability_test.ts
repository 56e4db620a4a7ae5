/** Small histories whose verdict a person can see. Plane: control. */
import { describe, expect, test } from "vitest"
import { checkLinearizable, type Operation } from "../../checkers/linearizability.ts"
import { NOT_AN_INTEGER, type RegisterAnswer, type RegisterCall } from "../../checkers/register.ts"

const GET: RegisterCall = { kind: "get" }
const INCR: RegisterCall = { kind: "incr" }
const DEL: RegisterCall = { kind: "del" }

function set(value: string): RegisterCall {
  return { kind: "set", value }
}

function done(calledAt: number, answeredAt: number, call: RegisterCall, answer: RegisterAnswer): Operation {
  return { call, called_at: calledAt, answered_at: answeredAt, answer }
}

function unknown(calledAt: number, call: RegisterCall): Operation {
  return { call, called_at: calledAt, answered_at: undefined, answer: null }
}

function verdict(...operations: Operation[]): string {
  return checkLinearizable(operations).kind
}

describe("one after the other", () => {
  test("what a register answers", () => {
    expect(
      verdict(
        done(0, 1, GET, null),
        done(2, 3, set("a"), "OK"),
        done(4, 5, { kind: "set_absent", value: "b" }, null),
        done(6, 7, { kind: "swap", value: "c" }, "a"),
        done(8, 9, GET, "c"),
        done(10, 11, INCR, NOT_AN_INTEGER),
        done(12, 13, DEL, "1"),
        done(14, 15, { kind: "set_present", value: "d" }, null),
        done(16, 17, INCR, "1"),
        done(18, 19, INCR, "2"),
        done(20, 21, DEL, "1"),
        done(22, 23, DEL, "0"),
      ),
    ).toBe("linearizable")
  })

  test("a stale read", () => {
    const stale = done(4, 5, GET, "a")
    const operations = [done(0, 1, set("a"), "OK"), done(2, 3, set("b"), "OK"), stale]
    expect(checkLinearizable(operations)).toMatchObject({ kind: "not_linearizable", operation: stale })
  })

  test("a lost write, an INCR that counted twice, a SET NX that won twice", () => {
    expect(verdict(done(0, 1, set("a"), "OK"), done(2, 3, GET, null))).toBe("not_linearizable")
    expect(verdict(done(0, 1, INCR, "1"), done(2, 3, GET, "2"))).toBe("not_linearizable")
    const first = done(0, 9, { kind: "set_absent", value: "a" }, "OK")
    expect(verdict(first, done(0, 9, { kind: "set_absent", value: "b" }, "OK"))).toBe("not_linearizable")
  })
})

describe("at once", () => {
  test("a read beside a write sees it or not, but never goes back", () => {
    const write = done(0, 10, set("a"), "OK")
    expect(verdict(write, done(1, 2, GET, "a"), done(3, 4, GET, "a"))).toBe("linearizable")
    expect(verdict(write, done(1, 2, GET, null), done(3, 4, GET, "a"))).toBe("linearizable")
    expect(verdict(write, done(1, 2, GET, "a"), done(3, 4, GET, null))).toBe("not_linearizable")
  })

  test("what the clock cannot tell apart was at once", () => {
    expect(verdict(done(0, 1, set("a"), "OK"), done(1, 2, GET, null))).toBe("linearizable")
  })
})

describe("unknown outcomes", () => {
  test("happen at any later time, once, or never", () => {
    const write = unknown(0, set("a"))
    expect(verdict(write, done(5, 6, GET, null), done(7, 8, GET, "a"))).toBe("linearizable")
    expect(verdict(write, done(5, 6, GET, null), done(7, 8, GET, null))).toBe("linearizable")
    expect(verdict(write, done(5, 6, GET, "a"), done(7, 8, GET, null))).toBe("not_linearizable")
    expect(verdict(write, done(5, 6, GET, "a"), done(7, 8, DEL, "1"), done(9, 10, GET, "a"))).toBe("not_linearizable")
  })

  test("never before they were called", () => {
    expect(verdict(done(0, 1, GET, "a"), unknown(2, set("a")))).toBe("not_linearizable")
  })

  test("as many of one kind as were called", () => {
    const attempts = [unknown(0, INCR), unknown(0, INCR)]
    expect(verdict(...attempts, done(1, 2, INCR, "3"))).toBe("linearizable")
    expect(verdict(...attempts, done(1, 2, INCR, "4"))).toBe("not_linearizable")
  })

  test("a hundred of them are decided", () => {
    const operations: Operation[] = []
    for (let at = 0; at < 100; at += 1) {
      operations.push(unknown(at * 10, set(`u${at}`)), unknown(at * 10, INCR), unknown(at * 10, DEL))
      operations.push(
        done(at * 10 + 1, at * 10 + 2, set(`v${at}`), "OK"),
        done(at * 10 + 3, at * 10 + 4, GET, `v${at}`),
      )
    }
    expect(verdict(...operations)).toBe("linearizable")
    expect(verdict(...operations, done(2_000, 2_001, GET, "none of these"))).toBe("not_linearizable")
  })
})

test("a search that is too long says so", () => {
  const operations = Array.from({ length: 20 }, (_, index) => done(0, 100, set(String(index)), "OK"))
  expect(checkLinearizable(operations, 100)).toMatchObject({ kind: "undecided", reason: "configurations_max" })
  const many = Array.from({ length: 31 }, () => done(0, 100, GET, null))
  expect(checkLinearizable(many)).toMatchObject({ kind: "undecided", reason: "concurrent_max" })
})
