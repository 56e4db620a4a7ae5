/**
 * Breadth-first search over all schedules of a small cluster that has just formed: which message arrives where and
 * when, which clock moves, which machine loses its memory. The network is a set: what was sent once may arrive at any
 * later time, any number of times, or never. Plane: control.
 */
import { assert, unreachable } from "../../appliance/types/assert.ts"
import { type Action, decodeAction, encodeAction } from "./action.ts"
import { History } from "./history.ts"
import { LetterSet } from "./letter_set.ts"
import { EXCHANGE_MAX, JUMPS_MS, LOOK_EXPANSIONS, PROGRESS_MS } from "./limits.ts"
import type { Reached, Scope, SearchOptions, SearchResult } from "./scope.ts"
import { type Budget, type State, States } from "./states.ts"
import { describeEvent, describeStep, type Step } from "./trace.ts"
import { type LocalState, type Outcome, World } from "./world.ts"

export function search(options: SearchOptions): SearchResult {
  return new Search(options).run()
}

type Violation = { readonly what: string; readonly parent: number; readonly action: number }

class Search {
  readonly #options: SearchOptions
  readonly #scope: Scope
  readonly #world: World
  readonly #states: States
  readonly #history: History
  readonly #startedAt: number
  readonly #reached: Reached = {
    committed: 0,
    view_changed: 0,
    recovered: 0,
    recovered_after_commit: 0,
    committed_in_later_view: 0,
    certified: 0,
    copied: 0,
  }
  #transitions = 0
  #depth = 0
  #expanded = 0
  #progressAt = 0
  #violation: Violation | undefined

  constructor(options: SearchOptions) {
    const { voters } = options.scope
    this.#options = options
    this.#scope = options.scope
    this.#world = new World(options.scope)
    this.#states = new States(voters)
    this.#history = new History(voters)
    this.#startedAt = options.now()
  }

  run(): SearchResult {
    this.#see(this.#formed(), 0, 0)
    const isEnded = this.#expandAll()
    const violation = this.#violation
    return {
      outcome: violation !== undefined ? "violation" : isEnded ? "exhausted" : "bounded",
      states: this.#states.count,
      dominated: this.#states.dominated,
      transitions: this.#transitions,
      depth: this.#depth,
      local_states: this.#world.locals.length,
      letters: this.#world.letters.length,
      executions: this.#world.executions,
      reached: this.#reached,
      seconds: this.#seconds(),
      violation: violation?.what,
      trace: violation === undefined ? [] : this.#trace(violation),
    }
  }

  #seconds(): number {
    return (this.#options.now() - this.#startedAt) / 1000
  }

  /** States are numbered as they are found, so that their numbers are the queue. False when a bound ended it. */
  #expandAll(): boolean {
    let levelEnd = 0
    for (; this.#expanded < this.#states.count && this.#violation === undefined; this.#expanded += 1) {
      if (this.#expanded === levelEnd && this.#expanded > 0) {
        this.#depth += 1
      }
      levelEnd = this.#expanded === levelEnd ? this.#states.count : levelEnd
      const isFull = this.#states.count >= this.#options.statesMax || this.#depth >= this.#options.depthMax
      if (isFull || (this.#expanded % LOOK_EXPANSIONS === 0 && !this.#report())) {
        return false
      }
      // A state with more letters under way, found since, stands for it.
      if (!this.#states.isDominated(this.#expanded)) {
        this.#expand(this.#expanded, this.#states.at(this.#expanded))
      }
    }
    return true
  }

  /** False when the time is up, or the memory. */
  #report(): boolean {
    const now = this.#options.now()
    if (this.#options.progress !== undefined && now - this.#progressAt >= PROGRESS_MS) {
      this.#progressAt = now
      this.#options.progress({
        depth: this.#depth,
        states: this.#states.count,
        waiting: this.#states.count - this.#expanded,
        local_states: this.#world.locals.length,
        letters: this.#world.letters.length,
        seconds: this.#seconds(),
      })
    }
    return this.#seconds() < this.#options.secondsMax && this.#options.megabytes() < this.#options.megabytesMax
  }

  // ---------------------------------------------------------------- the start

  /** Machines that booted together, formed a cluster and fell silent; what they said to each other is gone. */
  #formed(): State {
    const { voters, crashes, heartbeats, retries } = this.#scope
    const locals: number[] = []
    const letters: number[] = []
    for (let slot = 0; slot < voters; slot += 1) {
      const booted = this.#world.boot(slot, 1)
      locals.push(booted.next)
      letters.push(...booted.sent)
    }
    // `letters` grows while it is read.
    for (const letter of letters) {
      assert(letters.length < EXCHANGE_MAX, "exhaustive: a cluster forms")
      const { to } = this.#world.letter(letter)
      const [outcome] = this.#world.reactions(locals[to] ?? 0, [letter]).outcomes.get(letter) ?? []
      if (outcome !== undefined) {
        assert(outcome.failure === undefined, "exhaustive: a cluster forms without a failure")
        locals[to] = outcome.next
        letters.push(...outcome.sent)
      }
    }
    for (const local of locals) {
      assert(this.#world.local(local).facts.status === "normal", "exhaustive: every machine is a member at the start")
    }
    return { locals, history: 0, budget: { crashes, heartbeats, retries }, letters: new LetterSet() }
  }

  // ---------------------------------------------------------------- what may happen next

  #expand(id: number, state: State): void {
    for (const [slot, local] of state.locals.entries()) {
      const { moves, outcomes } = this.#world.local(local).reactions
      for (const letter of state.letters.lettersIn(moves)) {
        for (const [choice, outcome] of (outcomes.get(letter) ?? []).entries()) {
          this.#follow(id, state, { kind: "deliver", letter, choice }, slot, outcome)
        }
      }
      for (const jump of JUMPS_MS.keys()) {
        for (const [choice, outcome] of this.#world.pass(local, jump).entries()) {
          this.#follow(id, state, { kind: "pass", slot, jump, choice }, slot, outcome)
        }
      }
      for (let request = 1; request <= this.#scope.ops; request += 1) {
        for (const [choice, outcome] of this.#world.request(local, request).entries()) {
          this.#follow(id, state, { kind: "request", slot, request, choice }, slot, outcome)
        }
      }
      if (this.#mayReboot(state, slot)) {
        const { crashes } = state.budget
        const booted = this.#world.boot(slot, this.#world.local(local).boot + 1)
        const before = { ...state, budget: { ...state.budget, crashes: crashes - 1 } }
        this.#follow(id, before, { kind: "reboot", slot, choice: 0 }, slot, booted)
      }
    }
  }

  /** Never more than f machines that are down or have not recovered: beyond that nothing is promised. */
  #mayReboot(state: State, slot: number): boolean {
    const down = state.locals.filter((local, other) => {
      return other === slot || this.#world.local(local).facts.status === "recovering"
    })
    return state.budget.crashes > 0 && down.length <= (this.#scope.voters - 1) / 2
  }

  /** One event of machine `slot`; what it sent without changing itself is under way already. */
  #follow(id: number, state: State, action: Action, slot: number, outcome: Outcome): void {
    const budget = spent(state.budget, outcome)
    if (budget === undefined || (outcome.next === state.locals[slot] && outcome.failure === undefined)) {
      return
    }
    this.#transitions += 1
    const encoded = encodeAction(action)
    if (outcome.failure !== undefined) {
      this.#violate({ what: outcome.failure, parent: id, action: encoded })
      return
    }
    const history = this.#history.extended(state.history, this.#world.local(outcome.next).facts)
    if (typeof history === "string") {
      this.#violate({ what: `machine ${slot} ${history}`, parent: id, action: encoded })
      return
    }
    const locals = state.locals.with(slot, outcome.next)
    const letters = this.#underWay({ ...state, locals, budget }, outcome.sent, slot)
    this.#see({ locals, history, budget, letters }, id, encoded)
  }

  /**
   * The letters that may still arrive, when machine `changed` has just changed and sent `sent`.
   *
   * Without those that the production replica refuses because it knows of a later incarnation of the sender: it always
   * will, since entries of a crash vector only rise; and should it reboot, then, where there are three, both others
   * must tell it what they know before it is a member.
   *
   * With all that a machine would send without changing itself (an answer, a repeat): a letter need never arrive, so
   * the state in which all of it was sent stands for those in which some of it was.
   */
  #underWay(state: State, sent: readonly number[], changed: number): LetterSet {
    const { locals, budget } = state
    const forgetsStale = this.#scope.voters === 3 || budget.crashes === 0
    const letters = state.letters.copy()
    const fresh: number[] = []
    const add = (letter: number): void => {
      if (!letters.has(letter)) {
        letters.add(letter)
        fresh.push(letter)
      }
    }
    const addAnswers = (outcomes: readonly Outcome[] = []): void => {
      for (const letter of outcomes.flatMap((outcome) => outcome.sent)) {
        add(letter)
      }
    }
    const local = locals[changed]
    assert(local !== undefined, "exhaustive: a machine that changed")
    const own = letters.lettersIn(this.#world.lettersTo(changed))
    const { stale, answers, outcomes } = this.#world.reactions(local, own)
    for (const letter of forgetsStale ? letters.lettersIn(stale) : []) {
      letters.remove(letter)
    }
    for (const letter of letters.lettersIn(answers)) {
      addAnswers(outcomes.get(letter))
    }
    for (const letter of [...this.#world.standing(local), ...sent]) {
      add(letter)
    }
    // `fresh` grows while it is read.
    for (const letter of fresh) {
      const { to } = this.#world.letter(letter)
      const reactions = this.#world.reactions(locals[to] ?? 0, [letter])
      if (reactions.stale.has(letter)) {
        if (forgetsStale) {
          letters.remove(letter)
        }
      } else if (reactions.answers.has(letter)) {
        addAnswers(reactions.outcomes.get(letter))
      }
    }
    return letters
  }

  #see(state: State, parent: number, action: number): void {
    if (!this.#states.add(state, parent, action)) {
      return
    }
    const machines = state.locals.map((local) => this.#world.local(local))
    const what = this.#history.fault(
      state.history,
      machines.map((machine) => machine.facts),
    )
    if (what !== undefined) {
      this.#violate({ what, parent, action })
    }
    this.#note(state, machines)
  }

  /** The first one found is the one that is told. */
  #violate(violation: Violation): void {
    this.#violation ??= violation
  }

  #note(state: State, machines: readonly LocalState[]): void {
    const ops = this.#history.ops(state.history)
    const isRecovered = machines.some(({ boot, facts }) => boot > 1 && facts.status === "normal")
    this.#reached.committed += ops.length > 0 ? 1 : 0
    this.#reached.view_changed += machines.some(({ facts }) => facts.logView > 0) ? 1 : 0
    this.#reached.recovered += isRecovered ? 1 : 0
    this.#reached.recovered_after_commit += isRecovered && ops.length > 0 ? 1 : 0
    this.#reached.committed_in_later_view += ops.some((op) => op.view > 0) ? 1 : 0
    this.#reached.certified += machines.some(({ facts }) => facts.certified.op > 0) ? 1 : 0
    this.#reached.copied += machines.some(({ boot, facts }) => boot > 1 && (facts.own?.op ?? 0) > 0) ? 1 : 0
  }

  // ---------------------------------------------------------------- telling it

  #trace(violation: Violation): string[] {
    const actions: number[] = [violation.action]
    for (let id = violation.parent; id !== 0; id = this.#states.parent(id)) {
      actions.unshift(this.#states.action(id))
    }
    const steps: Step[] = []
    let state = this.#states.at(0)
    for (const encoded of actions) {
      const step = this.#replayed(state, decodeAction(encoded))
      steps.push(step)
      state = step.after
    }
    const heard = new LetterSet()
    for (const encoded of actions) {
      const action = decodeAction(encoded)
      if (action.kind === "deliver") {
        heard.add(action.letter)
      }
    }
    const lines = steps.flatMap((step, index) => describeStep({ world: this.#world, step, number: index + 1, heard }))
    return [...lines, `=> ${violation.what}`]
  }

  #replayed(before: State, action: Action): Step {
    const slot = action.kind === "deliver" ? this.#world.letter(action.letter).to : action.slot
    const local = before.locals[slot]
    assert(local !== undefined, "exhaustive: a step is some machine's")
    const outcome = this.#outcomes(local, action)[action.choice]
    assert(outcome !== undefined, "exhaustive: a step of a trace can be taken again")
    const locals = before.locals.with(slot, outcome.next)
    const crashes = before.budget.crashes - (action.kind === "reboot" ? 1 : 0)
    const after = { ...before, locals, budget: { ...before.budget, crashes } }
    const letters = this.#underWay(after, outcome.sent, slot)
    const what = describeEvent(this.#world, action)
    return { what, slot, before, after: { ...after, letters }, acknowledged: outcome.acknowledged }
  }

  #outcomes(local: number, action: Action): readonly Outcome[] {
    switch (action.kind) {
      case "deliver":
        return this.#world.reactions(local, [action.letter]).outcomes.get(action.letter) ?? []
      case "pass":
        return this.#world.pass(local, action.jump)
      case "request":
        return this.#world.request(local, action.request)
      case "reboot":
        return [this.#world.boot(action.slot, this.#world.local(local).boot + 1)]
      default:
        return unreachable(action)
    }
  }
}

/** What is left of the budget; undefined when the event costs more. */
function spent(budget: Budget, outcome: Outcome): Budget | undefined {
  switch (outcome.cost) {
    case "nothing":
      return budget
    case "heartbeat":
      return budget.heartbeats === 0 ? undefined : { ...budget, heartbeats: budget.heartbeats - 1 }
    case "retry":
      return budget.retries === 0 ? undefined : { ...budget, retries: budget.retries - 1 }
    default:
      return unreachable(outcome.cost)
  }
}
