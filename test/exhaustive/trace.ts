/** A violation told step by step, so that a person can play it. Plane: control. */
import { incarnationOf } from "../../appliance/replication/crash_vector.ts"
import type { Message } from "../../appliance/replication/message.ts"
import { unreachable } from "../../appliance/types/assert.ts"
import type { Action } from "./action.ts"
import type { LetterSet } from "./letter_set.ts"
import { JUMPS_MS } from "./limits.ts"
import type { State } from "./states.ts"
import type { World } from "./world.ts"

export type Step = {
  readonly what: string
  readonly slot: number
  readonly before: State
  readonly after: State
  /** The write that the client was told of, or 0. */
  readonly acknowledged: number
}

/** What a message says of its sender, where it says it. */
const TOLD = ["claim", "view", "log_view", "op", "commit", "op_first", "index"] as const

/** The step, what came of it, and which letters were sent that are heard at some time. */
export function describeStep(options: {
  readonly world: World
  readonly step: Step
  readonly number: number
  readonly heard: LetterSet
}): string[] {
  const { world, step, number, heard } = options
  const was = describeMachine(world, step.before.locals[step.slot] ?? 0)
  const is = describeMachine(world, step.after.locals[step.slot] ?? 0)
  const lines = [`${String(number).padStart(3)}. ${step.what}`, `       ${is}${was === is ? ", as before" : ""}`]
  for (const letter of step.after.letters.lettersIn(heard)) {
    if (!step.before.letters.has(letter)) {
      const { message, to } = world.letter(letter)
      const verb = message.from === step.slot ? "sends" : `lets machine ${message.from} send`
      lines.push(`       ${verb} ${to} ${describeMessage(message)}`)
    }
  }
  if (step.acknowledged > 0) {
    lines.push(`       tells the client that write ${step.acknowledged} is done`)
  }
  return lines
}

export function describeEvent(world: World, action: Action): string {
  switch (action.kind) {
    case "deliver": {
      const { message, to } = world.letter(action.letter)
      return `machine ${to} hears of ${message.from}: ${describeMessage(message)}`
    }
    case "pass":
      return `machine ${action.slot} waits for ${JUMPS_MS[action.jump] ?? 0} ms and hears nothing`
    case "request":
      return `the client asks machine ${action.slot} for write ${action.request}`
    case "reboot":
      return `machine ${action.slot} crashes, loses its memory and boots`
    default:
      return unreachable(action)
  }
}

function describeMachine(world: World, local: number): string {
  const { slot, boot, facts } = world.local(local)
  const { status, phase, view, logView, op, commit, incarnation } = facts
  const doing = status === "recovering" ? `recovering (${phase})` : status
  return (
    `machine ${slot}, boot ${boot}, incarnation ${incarnation}: ${doing} in view ${view}, ` +
    `${op} ops in its log of view ${logView}, ${commit} committed`
  )
}

function describeMessage(message: Message): string {
  const values = new Map<string, unknown>(Object.entries(message))
  const fields: string[] = []
  for (const name of TOLD) {
    const value = values.get(name)
    if (typeof value === "number") {
      fields.push(`${name} ${value === Number.MAX_SAFE_INTEGER ? "none" : value}`)
    }
  }
  if (message.type === "prepare") {
    fields.push(`entry ${message.header.op}`)
  } else if (message.type === "log") {
    fields.push(`entry ${message.entry.header.op}`)
  }
  fields.push(`crash vector ${message.cv.map(incarnationOf).join(" ")}`)
  return `${message.type} (${fields.join(", ")})`
}
