/**
 * All states that were found, in the order in which they were found; it is the search's queue as well.
 *
 * Of two states that differ in nothing but that one has more letters under way, the one with more can do whatever the
 * other can, since a letter need never arrive: the other is not kept. States are compared bit by bit, not by hashes:
 * none is ever taken for another. A record has 2 + voters words and one for each 32 letters under way, another 17 bytes
 * say how the state was reached, and a place in the table of keys is some 100 bytes: all together 250 bytes a state.
 * Plane: control.
 */
import { assert } from "../../appliance/types/assert.ts"
import { BUDGET_MAX, STATES_MAX } from "./limits.ts"
import { LetterSet } from "./letter_set.ts"

/** What may still happen. */
export type Budget = { readonly crashes: number; readonly heartbeats: number; readonly retries: number }

/** Numbers of the replicas' states (world.ts) and of the history (search.ts), and the letters that may still arrive. */
export type State = {
  readonly locals: readonly number[]
  readonly history: number
  readonly budget: Budget
  readonly letters: LetterSet
}

const CHUNK_WORDS = 1 << 20
/** A part of a budget has so many values. */
const BUDGETS = BUDGET_MAX + 1
const COUNT_MIN = 1 << 14
const NONE = 0xffff_ffff

export class States {
  readonly #voters: number
  readonly #chunks: Uint32Array[] = []
  #end = 0
  #count = 0
  #dominated = 0
  readonly #heads = new Map<string, number>()
  #offsets = new Uint32Array(COUNT_MIN)
  /** The next state of the same key. */
  #nexts = new Uint32Array(COUNT_MIN)
  #parents = new Uint32Array(COUNT_MIN)
  #actions = new Uint32Array(COUNT_MIN)
  #isDominated = new Uint8Array(COUNT_MIN)

  constructor(voters: number) {
    this.#voters = voters
  }

  get count(): number {
    return this.#count
  }

  /** How many of them another one stands for. */
  get dominated(): number {
    return this.#dominated
  }

  isDominated(id: number): boolean {
    return this.#isDominated[id] === 1
  }

  parent(id: number): number {
    assert(id < this.#count, "states: a state has a number")
    return this.#parents[id] ?? 0
  }

  action(id: number): number {
    assert(id < this.#count, "states: a state has a number")
    return this.#actions[id] ?? 0
  }

  at(id: number): State {
    assert(id < this.#count, "states: a state has a number")
    const { chunk, start } = this.#record(id)
    const words = chunk[start] ?? 0
    const packed = chunk[start + 1] ?? 0
    const locals = Array.from(chunk.subarray(start + 2, start + 2 + this.#voters))
    const letters = start + 2 + this.#voters
    return {
      locals,
      history: Math.floor(packed / BUDGETS ** 3),
      budget: {
        crashes: Math.floor(packed / BUDGETS ** 2) % BUDGETS,
        heartbeats: Math.floor(packed / BUDGETS) % BUDGETS,
        retries: packed % BUDGETS,
      },
      letters: new LetterSet(chunk.slice(letters, letters + words)),
    }
  }

  /** False when a state that was found before stands for it. */
  add(state: State, parent: number, action: number): boolean {
    const { crashes, heartbeats, retries } = state.budget
    const packed = ((state.history * BUDGETS + crashes) * BUDGETS + heartbeats) * BUDGETS + retries
    const key = `${state.locals.join()};${packed}`
    const head = this.#heads.get(key) ?? NONE
    const { words } = state.letters
    for (let id = head; id !== NONE; id = this.#nexts[id] ?? NONE) {
      if (this.#covers(id, words)) {
        return false
      }
    }
    this.#heads.set(key, this.#append(words, state.locals, packed))
    const added = this.#count - 1
    this.#parents[added] = parent
    this.#actions[added] = action
    this.#nexts[added] = this.#dropCovered(head, words)
    return true
  }

  /** The chain from `head` without the states that `words` covers. */
  #dropCovered(head: number, words: Uint32Array): number {
    let first = NONE
    let last = NONE
    for (let id = head; id !== NONE; ) {
      const next = this.#nexts[id] ?? NONE
      if (this.#isCovered(id, words)) {
        this.#isDominated[id] = 1
        this.#dominated += 1
      } else if (last === NONE) {
        first = id
        last = id
      } else {
        this.#nexts[last] = id
        last = id
      }
      id = next
    }
    if (last !== NONE) {
      this.#nexts[last] = NONE
    }
    return first
  }

  /** Every letter of `words` is among the letters of state `id`. */
  #covers(id: number, words: Uint32Array): boolean {
    const { chunk, start } = this.#record(id)
    const count = chunk[start] ?? 0
    const letters = start + 2 + this.#voters
    for (let at = 0; at < words.length; at += 1) {
      const theirs = at < count ? (chunk[letters + at] ?? 0) : 0
      if (((words[at] ?? 0) & ~theirs) !== 0) {
        return false
      }
    }
    return true
  }

  #isCovered(id: number, words: Uint32Array): boolean {
    const { chunk, start } = this.#record(id)
    const count = chunk[start] ?? 0
    const letters = start + 2 + this.#voters
    for (let at = 0; at < count; at += 1) {
      if (((chunk[letters + at] ?? 0) & ~(words[at] ?? 0)) !== 0) {
        return false
      }
    }
    return true
  }

  #record(id: number): { readonly chunk: Uint32Array; readonly start: number } {
    const offset = this.#offsets[id] ?? 0
    const chunk = this.#chunks[Math.floor(offset / CHUNK_WORDS)]
    assert(chunk !== undefined, "states: a record lies in a chunk")
    return { chunk, start: offset % CHUNK_WORDS }
  }

  #append(words: Uint32Array, locals: readonly number[], packed: number): number {
    assert(this.#count < STATES_MAX, "states: their number is bounded")
    const size = words.length + 2 + this.#voters
    assert(size <= CHUNK_WORDS, "states: a record fits a chunk")
    if (this.#chunks.length === 0 || (this.#end % CHUNK_WORDS) + size > CHUNK_WORDS || this.#end % CHUNK_WORDS === 0) {
      this.#end = this.#chunks.length * CHUNK_WORDS
      this.#chunks.push(new Uint32Array(CHUNK_WORDS))
    }
    if (this.#count === this.#offsets.length) {
      this.#grow()
    }
    const id = this.#count
    this.#offsets[id] = this.#end
    const { chunk, start } = this.#record(id)
    chunk[start] = words.length
    chunk[start + 1] = packed
    chunk.set(locals, start + 2)
    chunk.set(words, start + 2 + this.#voters)
    this.#end += size
    this.#count += 1
    return id
  }

  #grow(): void {
    this.#offsets = grown(this.#offsets)
    this.#nexts = grown(this.#nexts)
    this.#parents = grown(this.#parents)
    this.#actions = grown(this.#actions)
    const flags = new Uint8Array(this.#isDominated.length * 2)
    flags.set(this.#isDominated)
    this.#isDominated = flags
  }
}

function grown(words: Uint32Array<ArrayBuffer>): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(words.length * 2)
  larger.set(words)
  return larger
}
