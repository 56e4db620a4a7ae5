/**
 * What one key of the store does, as a sequential object: the model that histories are checked against.
 * Plane: control.
 */
import { unreachable } from "../../appliance/types/assert.ts"

/** The value of the key; undefined while there is none. */
export type RegisterState = string | undefined

export type RegisterCall =
  | { readonly kind: "get" }
  | { readonly kind: "set"; readonly value: string }
  /** SET NX: only where there is no value. */
  | { readonly kind: "set_absent"; readonly value: string }
  /** SET XX: only over a value. */
  | { readonly kind: "set_present"; readonly value: string }
  /** SET GET: the value before. */
  | { readonly kind: "swap"; readonly value: string }
  | { readonly kind: "incr" }
  | { readonly kind: "del" }

/** As RESP says it: a text, a number as text, "OK", or null for nil. */
export type RegisterAnswer = string | null

export const NOT_AN_INTEGER = "ERR value is not an integer or out of range"
const INTEGER = /^(0|-?[1-9]\d{0,14})$/

export type RegisterStep = { readonly state: RegisterState; readonly answer: RegisterAnswer }

export function applyCall(state: RegisterState, call: RegisterCall): RegisterStep {
  switch (call.kind) {
    case "get":
      return { state, answer: state ?? null }
    case "set":
      return { state: call.value, answer: "OK" }
    case "set_absent":
      return state === undefined ? { state: call.value, answer: "OK" } : { state, answer: null }
    case "set_present":
      return state === undefined ? { state, answer: null } : { state: call.value, answer: "OK" }
    case "swap":
      return { state: call.value, answer: state ?? null }
    case "incr": {
      const before = state ?? "0"
      if (!INTEGER.test(before)) {
        return { state, answer: NOT_AN_INTEGER }
      }
      const after = String(Number(before) + 1)
      return { state: after, answer: after }
    }
    case "del":
      return { state: undefined, answer: state === undefined ? "0" : "1" }
    default:
      return unreachable(call)
  }
}

/** Whether a call that was answered so has changed nothing, whatever the value was. */
export function isWithoutEffect(call: RegisterCall, answer: RegisterAnswer): boolean {
  switch (call.kind) {
    case "get":
      return true
    case "set_absent":
    case "set_present":
      return answer === null
    case "incr":
      return answer === NOT_AN_INTEGER
    case "del":
      return answer === "0"
    case "set":
    case "swap":
      return false
    default:
      return unreachable(call)
  }
}

/** Two calls of one text do the same. */
export function callText(call: RegisterCall): string {
  return "value" in call ? `${call.kind} ${call.value}` : call.kind
}
