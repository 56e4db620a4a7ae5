/** One step of a schedule, and the number that stands for it. Plane: control. */
import { assert, unreachable } from "../../appliance/types/assert.ts"

/** `choice`: which of the outcomes, where chance decides. */
export type Action =
  | { readonly kind: "deliver"; readonly letter: number; readonly choice: number }
  | { readonly kind: "pass"; readonly slot: number; readonly jump: number; readonly choice: number }
  | { readonly kind: "request"; readonly slot: number; readonly request: number; readonly choice: number }
  | { readonly kind: "reboot"; readonly slot: number; readonly choice: number }

const KINDS = ["deliver", "pass", "request", "reboot"] as const
const CHOICES = 4
const OPERANDS = 8

/** An action as a number below 2^32. */
export function encodeAction(action: Action): number {
  assert(action.choice < CHOICES, "action: a choice is one of few")
  return (operandOf(action) * KINDS.length + KINDS.indexOf(action.kind)) * CHOICES + action.choice
}

function operandOf(action: Action): number {
  switch (action.kind) {
    case "deliver":
      return action.letter
    case "pass":
      return action.slot * OPERANDS + action.jump
    case "request":
      return action.slot * OPERANDS + action.request
    case "reboot":
      return action.slot * OPERANDS
    default:
      return unreachable(action)
  }
}

export function decodeAction(encoded: number): Action {
  const choice = encoded % CHOICES
  const kind = KINDS[Math.floor(encoded / CHOICES) % KINDS.length]
  assert(kind !== undefined, "action: a number has a kind")
  const operand = Math.floor(encoded / (CHOICES * KINDS.length))
  const slot = Math.floor(operand / OPERANDS)
  switch (kind) {
    case "deliver":
      return { kind, letter: operand, choice }
    case "pass":
      return { kind, slot, jump: operand % OPERANDS, choice }
    case "request":
      return { kind, slot, request: operand % OPERANDS, choice }
    case "reboot":
      return { kind, slot, choice }
    default:
      return unreachable(kind)
  }
}
