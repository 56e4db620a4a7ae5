/**
 * Whether the history of one key is linearizable: is there an order of its operations, each at one moment between its
 * call and its answer, in which the register of register.ts gives these very answers?
 *
 * Wing and Gong's search in Lowe's just-in-time form: the events are taken in the order of time, and the set of
 * configurations is kept that explain all answers so far. A configuration is the register's state, which of the
 * operations under way have happened, and which unknown ones were used. Only an answer makes operations happen: what
 * comes before it is tried in every order.
 *
 * An operation of unknown outcome may happen at any time after its call, or never. Hundreds of them would be a search
 * of their subsets, if not for two facts that lose no order: unknown operations that do the same are used in the order
 * of their calls, so a count of them will do; and of two configurations that differ only in the unknown operations
 * that they used, the one that used fewer can do all that the other can. Plane: control.
 */
import { assert } from "../../appliance/types/assert.ts"
import { CONCURRENT_MAX, CONFIGURATIONS_MAX } from "./limits.ts"
import {
  applyCall,
  callText,
  isWithoutEffect,
  type RegisterAnswer,
  type RegisterCall,
  type RegisterState,
} from "./register.ts"

/** One operation on the key. Times are of one monotonic clock; what was rejected is none. */
export type Operation = {
  readonly call: RegisterCall
  readonly called_at: number
  /** Undefined for an unknown outcome: then `answer` means nothing. */
  readonly answered_at: number | undefined
  readonly answer: RegisterAnswer
}

export type Verdict =
  | { readonly kind: "linearizable"; readonly configurations: number }
  /** No order explains the answers up to and including this one. */
  | { readonly kind: "not_linearizable"; readonly configurations: number; readonly operation: Operation }
  /** The search was given up: it says nothing, so it counts as a failure. */
  | {
      readonly kind: "undecided"
      readonly configurations: number
      readonly reason: "configurations_max" | "concurrent_max"
    }

type Event = { readonly at: number; readonly isAnswer: boolean; readonly operation: Operation }

/** An answered operation that is under way, and its bit. */
type Pending = { readonly operation: Operation; readonly bit: number }

/** Unknown operations that do the same: so many have been called. */
type UnknownClass = { readonly call: RegisterCall; readonly index: number; called: number }

type Configuration = {
  readonly state: RegisterState
  /** Bits of the pending operations that have happened. */
  readonly done: number
  /** Of each class of unknown operations, how many have happened. */
  readonly used: readonly number[]
}

export function checkLinearizable(
  operations: readonly Operation[],
  configurationsMax: number = CONFIGURATIONS_MAX,
): Verdict {
  return new Search(configurationsMax).run(operations)
}

class Search {
  readonly #configurationsMax: number
  readonly #pending = new Map<Operation, Pending>()
  readonly #classes = new Map<string, UnknownClass>()
  #configurations: Configuration[] = [{ state: undefined, done: 0, used: [] }]
  #visited = 0

  constructor(configurationsMax: number) {
    this.#configurationsMax = configurationsMax
  }

  run(operations: readonly Operation[]): Verdict {
    for (const { isAnswer, operation } of eventsOf(operations)) {
      if (!isAnswer) {
        if (!this.#onCall(operation)) {
          return { kind: "undecided", configurations: this.#visited, reason: "concurrent_max" }
        }
        continue
      }
      const pending = this.#pending.get(operation)
      assert(pending !== undefined, "linearizability: an answer follows its call")
      const explained = this.#explain(pending)
      if (explained === undefined) {
        return { kind: "undecided", configurations: this.#visited, reason: "configurations_max" }
      }
      if (explained.length === 0) {
        return { kind: "not_linearizable", configurations: this.#visited, operation }
      }
      this.#pending.delete(operation)
      this.#configurations = explained
    }
    return { kind: "linearizable", configurations: this.#visited }
  }

  #onCall(operation: Operation): boolean {
    if (operation.answered_at === undefined) {
      if (operation.call.kind !== "get") {
        this.#onUnknown(operation.call)
      }
      return true
    }
    let taken = 0
    for (const { bit } of this.#pending.values()) {
      taken |= bit
    }
    for (let index = 0; index < CONCURRENT_MAX; index += 1) {
      const bit = 1 << index
      if ((taken & bit) === 0) {
        this.#pending.set(operation, { operation, bit })
        return true
      }
    }
    return false
  }

  #onUnknown(call: RegisterCall): void {
    const text = callText(call)
    const known = this.#classes.get(text)
    if (known === undefined) {
      this.#classes.set(text, { call, index: this.#classes.size, called: 1 })
    } else {
      known.called += 1
    }
  }

  /**
   * All configurations in which `answered` has happened, its bit free again; undefined when there are too many to look
   * at.
   */
  #explain(answered: Pending): Configuration[] | undefined {
    const seen = new Frontier()
    const explained = new Frontier()
    const open: Configuration[] = []
    for (const configuration of this.#configurations) {
      const settled = this.#settle(configuration)
      if (seen.add(settled)) {
        open.push(settled)
      }
    }
    for (let from = open.pop(); from !== undefined; from = open.pop()) {
      this.#visited += 1
      if (this.#visited > this.#configurationsMax) {
        return undefined
      }
      if ((from.done & answered.bit) !== 0) {
        explained.add({ ...from, done: from.done & ~answered.bit })
        continue
      }
      for (const next of this.#successors(from)) {
        const settled = this.#settle(next)
        if (seen.add(settled)) {
          open.push(settled)
        }
      }
    }
    return explained.all()
  }

  #successors(from: Configuration): Configuration[] {
    const found: Configuration[] = []
    for (const { operation, bit } of this.#pending.values()) {
      if ((from.done & bit) === 0) {
        const step = applyCall(from.state, operation.call)
        if (step.answer === operation.answer) {
          found.push({ state: step.state, done: from.done | bit, used: from.used })
        }
      }
    }
    for (const { call, index, called } of this.#classes.values()) {
      const before = from.used[index] ?? 0
      const { state } = applyCall(from.state, call)
      // What changes nothing need not happen.
      if (before < called && state !== from.state) {
        found.push({ state, done: from.done, used: withUsed(from.used, index, before + 1) })
      }
    }
    return found
  }

  /** What fits here and by its answer changes nothing anywhere may as well happen now: it stands in no other's way. */
  #settle(configuration: Configuration): Configuration {
    let { done } = configuration
    const { state } = configuration
    for (const { operation, bit } of this.#pending.values()) {
      const isOpen = (done & bit) === 0 && isWithoutEffect(operation.call, operation.answer)
      if (isOpen && applyCall(state, operation.call).answer === operation.answer) {
        done |= bit
      }
    }
    return done === configuration.done ? configuration : { ...configuration, done }
  }
}

/** Configurations of which none can do all that another can. */
class Frontier {
  readonly #byStateAndDone = new Map<string, Configuration[]>()

  /** False: one that is known can do as much. */
  add(configuration: Configuration): boolean {
    const { state, done } = configuration
    const key = `${done} ${state === undefined ? "" : `=${state}`}`
    const alike = this.#byStateAndDone.get(key)
    if (alike === undefined) {
      this.#byStateAndDone.set(key, [configuration])
      return true
    }
    if (alike.some((known) => usesNoMore(known, configuration))) {
      return false
    }
    const kept = alike.filter((known) => !usesNoMore(configuration, known))
    this.#byStateAndDone.set(key, [...kept, configuration])
    return true
  }

  all(): Configuration[] {
    return [...this.#byStateAndDone.values()].flat()
  }
}

function usesNoMore(a: Configuration, b: Configuration): boolean {
  return a.used.every((count, index) => count <= (b.used[index] ?? 0))
}

function withUsed(used: readonly number[], index: number, count: number): readonly number[] {
  const changed = [...used]
  while (changed.length <= index) {
    changed.push(0)
  }
  changed[index] = count
  return changed
}

/** At one time calls come before answers: what the clock can't tell apart was concurrent. */
function eventsOf(operations: readonly Operation[]): Event[] {
  const events: Event[] = []
  for (const operation of operations) {
    const { called_at: at, answered_at } = operation
    events.push({ at, isAnswer: false, operation })
    if (answered_at !== undefined) {
      assert(answered_at >= at, "linearizability: an answer follows its call")
      events.push({ at: answered_at, isAnswer: true, operation })
    }
  }
  return events.sort((a, b) => a.at - b.at || Number(a.isAnswer) - Number(b.isAnswer))
}
