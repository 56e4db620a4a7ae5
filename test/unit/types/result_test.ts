/** Results and assertions: the two ways to say that something is wrong. Plane: control. */
import { expect, test } from "vitest"
import { AssertionError, assert, unreachable } from "../../../appliance/types/assert.ts"
import { err, ok, type Result } from "../../../appliance/types/result.ts"

type ParseError = { readonly kind: "empty" } | { readonly kind: "not_a_number"; readonly text: string }

function parse(text: string): Result<number, ParseError> {
  if (text === "") {
    return err({ kind: "empty" })
  }
  const value = Number(text)
  return Number.isNaN(value) ? err({ kind: "not_a_number", text }) : ok(value)
}

function tell(result: Result<number, ParseError>): string {
  if (result.ok) {
    return `value ${result.value}`
  }
  switch (result.error.kind) {
    case "empty":
      return "nothing to parse"
    case "not_a_number":
      return `not a number: ${result.error.text}`
    default:
      return unreachable(result.error)
  }
}

test("a result is told apart by ok and by the kind of its error", () => {
  expect(tell(parse("7"))).toBe("value 7")
  expect(tell(parse(""))).toBe("nothing to parse")
  expect(tell(parse("x"))).toBe("not a number: x")
})

test("an assertion that holds says nothing, one that doesn't says its message", () => {
  expect(() => assert(true, "holds")).not.toThrow()
  expect(() => assert(false, "does not hold")).toThrow(new AssertionError("does not hold"))
})

test("the end of a switch that was reached is a bug", () => {
  // Only a value from outside of the type system gets here: that is what the assertion is for.
  const value = "stray" as never
  expect(() => unreachable(value)).toThrow(AssertionError)
})
