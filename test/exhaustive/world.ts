/**
 * What single replicas do: every state of one replica and every message exists once, under a number, and what happens
 * when the one meets the other is run on the production replica once and remembered. A replica is deterministic, so a
 * search over whole clusters can then go by numbers alone. Plane: control.
 */
import { createHash } from "node:crypto"
import type { Checkpoint } from "../../appliance/replication/checkpoints.ts"
import type { Message, MessageType } from "../../appliance/replication/message.ts"
import { Replica, type ReplicaStatus } from "../../appliance/replication/replica.ts"
import { allocateReplicaMemory } from "../../appliance/replication/replica_memory.ts"
import { assert } from "../../appliance/types/assert.ts"
import { type Digest, Operation } from "../../appliance/types/contracts.ts"
import type { FingerprintValue } from "../../appliance/types/fingerprint.ts"
import type { ClusterLimits } from "../../appliance/types/limits.ts"
import { StaticMemory } from "../../appliance/types/static_memory.ts"
import { JUMPS_MS, LETTERS_MAX, LOCAL_STATES_MAX, SEARCHED_PROCESS_LIMITS, searchedLimits } from "./limits.ts"
import { LetterSet } from "./letter_set.ts"
import { Register, SESSION } from "./register.ts"
import type { Scope } from "./scope.ts"

/** A message and whom it goes to. */
export type Letter = {
  readonly id: number
  readonly to: number
  readonly message: Message
}

/** What a search asks of a replica's state. */
export type Facts = {
  readonly status: ReplicaStatus
  readonly view: number
  readonly logView: number
  readonly op: number
  readonly commit: number
  readonly incarnation: number
  readonly isPrimary: boolean
  readonly phase: string
  /** The arena is being overwritten, or not believed. */
  readonly isTorn: boolean
  readonly certified: Checkpoint
  /** The newest checkpoint of its own arena. */
  readonly own: Checkpoint | undefined
  /** By op; undefined where neither the log nor its base knows it. */
  readonly checksums: readonly (Digest | undefined)[]
  readonly arena: Digest
}

/** One state of one boot of one slot. */
export type LocalState = {
  readonly id: number
  readonly slot: number
  /** From 1. */
  readonly boot: number
  /** Random numbers that this boot has drawn. */
  readonly draws: number
  readonly replica: Replica
  readonly facts: Facts
  readonly reactions: Reactions
  /** What comes of the passing of time and of the client's requests; by event, filled at first use. */
  readonly events: Map<string, readonly Outcome[]>
  /** What it would send in the course of time without changing itself; filled at first use. */
  standing: readonly number[] | undefined
}

/** How one state of a replica reacts to each letter that it was given. */
type Reactions = {
  readonly known: LetterSet
  /** It changes. */
  readonly moves: LetterSet
  /** It answers and stays as it is. */
  readonly answers: LetterSet
  /** It refuses the letter because it knows that the sender has rebooted since. */
  readonly stale: LetterSet
  /** Of letters that it reacts to. */
  readonly outcomes: Map<number, readonly Outcome[]>
}

/** What one event does to one replica. */
export type Outcome = {
  readonly next: number
  /** Letters to other machines, each once. */
  readonly sent: readonly number[]
  /** What the scope bounds: a heartbeat, or a new attempt at something. */
  readonly cost: "nothing" | "heartbeat" | "retry"
  /** The client's request that this replica says is done; 0 for none. */
  readonly acknowledged: number
  readonly isStale: boolean
  /** A broken assertion, or an entry that two members of a view hold differently. */
  readonly failure: string | undefined
}

type Body = { readonly replica: Replica; readonly machine: Register; readonly tape: Tape }

/** A boot's random numbers: always the same. The first draw of an event may be a choice among peers, and is given. */
class Tape {
  readonly #seed: string
  draws = 0
  #choiceAt = -1
  #choice = 0

  constructor(seed: string) {
    this.#seed = seed
  }

  readonly next = (): number => {
    const value = createHash("sha256").update(`${this.#seed}.${this.draws}`).digest().readUInt32LE(0)
    const isChoice = this.draws === this.#choiceAt
    this.draws += 1
    return isChoice ? value - (value % CHOICE_MODULUS) + this.#choice : value
  }

  begin(draws: number, choice: number): void {
    this.draws = draws
    this.#choiceAt = draws
    this.#choice = choice
  }
}

/** Divisible by 2, 3 and 4: a draw modulo the number of peers of up to five voters is the choice. */
const CHOICE_MODULUS = 12
/** A nonce takes two draws, a choice among peers one: an odd number means that a choice was made. */
const DRAWS_OF_A_NONCE = 2

export class World {
  readonly voters: number
  /** The highest view of the scope. */
  readonly #views: number
  readonly #limits: ClusterLimits
  readonly letters: Letter[] = []
  readonly locals: LocalState[] = []
  readonly #lettersTo: LetterSet[] = []
  readonly #letterIds = new Map<string, number>()
  readonly #localIds = new Map<string, number>()
  readonly #spare = new Map<string, Body>()
  readonly #token = "5".repeat(32)
  /** Events run on the production replica. */
  executions = 0

  constructor(options: Pick<Scope, "voters" | "views" | "checkpoint_ops">) {
    this.voters = options.voters
    this.#views = options.views
    this.#limits = searchedLimits(options)
    this.#lettersTo = Array.from({ length: options.voters }, () => new LetterSet())
  }

  /** The letters to each slot. */
  lettersTo(slot: number): LetterSet {
    const letters = this.#lettersTo[slot]
    assert(letters !== undefined, "world: a slot")
    return letters
  }

  local(id: number): LocalState {
    const local = this.locals[id]
    assert(local !== undefined, "world: a local state has a number")
    return local
  }

  letter(id: number): Letter {
    const letter = this.letters[id]
    assert(letter !== undefined, "world: a letter has a number")
    return letter
  }

  /** A blank process of `slot`, just booted. Only the first boot holds the token that founds a cluster. */
  boot(slot: number, boot: number): Outcome {
    // Not one that some event was run on.
    this.#spare.delete(`${slot}.${boot}`)
    const body = this.#body(slot, boot)
    body.tape.begin(1, 0)
    body.replica.tick(0)
    return this.#settle({ body, slot, boot, before: undefined, isPass: false, failure: undefined })
  }

  /** How this state reacts to letters: after this, to all of `letters`. */
  reactions(localId: number, letters: readonly number[]): Reactions {
    const local = this.local(localId)
    for (const letter of letters) {
      if (!local.reactions.known.has(letter)) {
        this.#learn(local, letter)
      }
    }
    return local.reactions
  }

  #learn(local: LocalState, letter: number): void {
    const { known, moves, answers, stale, outcomes } = local.reactions
    const { message, to } = this.letter(letter)
    assert(local.slot === to, "world: a letter reaches whom it goes to")
    const results = this.#run(local, false, (replica) => replica.receive(message))
    known.add(letter)
    if (results.some((outcome) => outcome.isStale)) {
      stale.add(letter)
    } else if (results.some((outcome) => outcome.next !== local.id || outcome.failure !== undefined)) {
      moves.add(letter)
      outcomes.set(letter, results)
    } else if (results.some((outcome) => outcome.sent.length > 0)) {
      answers.add(letter)
      outcomes.set(letter, results)
    }
  }

  /** What comes of it when this machine's clock jumps by JUMPS_MS[jump]. */
  pass(localId: number, jump: number): readonly Outcome[] {
    const ms = JUMPS_MS[jump]
    assert(ms !== undefined, "world: a jump has a number")
    return this.#once(this.local(localId), `pass ${ms}`, (replica) => replica.tick(ms))
  }

  /** The client's request reaches the gateway of this machine. */
  request(localId: number, request: number): readonly Outcome[] {
    const local = this.local(localId)
    return this.#once(local, `request ${request}`, (replica) => {
      replica.receive({
        type: "request",
        from: local.slot,
        epoch: 0,
        cv: [],
        operation: Operation.batch,
        session: SESSION,
        request,
        body: new Uint8Array([request]),
      })
    })
  }

  /** Letters that this machine would send in the course of time, and stay as it is. */
  standing(localId: number): readonly number[] {
    const local = this.local(localId)
    if (local.standing === undefined) {
      const outcomes = [...JUMPS_MS.keys()].flatMap((jump) => this.pass(localId, jump))
      const repeats = outcomes.filter((outcome) => outcome.next === localId && outcome.failure === undefined)
      local.standing = [...new Set(repeats.flatMap((outcome) => outcome.sent))]
    }
    return local.standing
  }

  #once(local: LocalState, event: string, run: (replica: Replica) => void): readonly Outcome[] {
    const known = local.events.get(event)
    const outcomes = known ?? this.#run(local, event.startsWith("pass"), run)
    local.events.set(event, outcomes)
    return outcomes
  }

  /** The outcomes of one event, one for each choice that chance has; those that leave the scope are left out. */
  #run(before: LocalState, isPass: boolean, event: (replica: Replica) => void): readonly Outcome[] {
    const outcomes: Outcome[] = []
    let choices = 1
    for (let choice = 0; choice < choices; choice += 1) {
      const body = this.#body(before.slot, before.boot)
      body.replica.copyFrom(before.replica)
      body.tape.begin(before.draws, choice)
      let failure: string | undefined
      try {
        event(body.replica)
      } catch (error) {
        // An assertion of the code under test: that is what is looked for.
        failure = error instanceof Error ? error.message : String(error)
        this.#spare.delete(`${before.slot}.${before.boot}`)
      }
      if ((body.tape.draws - before.draws) % DRAWS_OF_A_NONCE === 1) {
        choices = this.voters - 1
      }
      outcomes.push(this.#settle({ body, slot: before.slot, boot: before.boot, before, isPass, failure }))
    }
    return outcomes.filter((outcome) => !this.#leavesScope(outcome))
  }

  #settle(ended: {
    readonly body: Body
    readonly slot: number
    readonly boot: number
    readonly before: LocalState | undefined
    readonly isPass: boolean
    readonly failure: string | undefined
  }): Outcome {
    const { body, slot, boot, before } = ended
    this.executions += 1
    if (ended.failure !== undefined) {
      const next = before?.id ?? 0
      return { next, sent: [], cost: "nothing", acknowledged: 0, isStale: false, failure: ended.failure }
    }
    const sent = new Set<number>()
    let isHeartbeat = false
    let acknowledged = 0
    for (let out = body.replica.takeOutgoing(); out !== undefined; out = body.replica.takeOutgoing()) {
      isHeartbeat ||= out.message.type === "commit"
      if (out.to === slot) {
        acknowledged = out.message.type === "reply" && out.message.outcome === "ok" ? out.message.request : acknowledged
      } else if (!isLost(out.message)) {
        sent.add(this.#letterId(out.to, out.message))
      }
    }
    const { counters } = body.replica
    const isDivergent = counters.divergent_entry > (before?.replica.counters.divergent_entry ?? 0)
    const isRefused = counters.stale_incarnation > (before?.replica.counters.stale_incarnation ?? 0)
    const isTry = body.tape.draws > (before?.draws ?? 0)
    body.replica.restClock()
    const next = this.#localId({ body, slot, boot })
    return {
      next,
      sent: [...sent],
      cost: !ended.isPass ? "nothing" : isHeartbeat ? "heartbeat" : isTry ? "retry" : "nothing",
      acknowledged,
      isStale: isRefused && next === before?.id,
      failure: isDivergent ? "a peer holds another entry of this very view" : undefined,
    }
  }

  /** A view beyond the last, or the wish for one. */
  #leavesScope(outcome: Outcome): boolean {
    const isWish = (letter: number): boolean => {
      const { message } = this.letter(letter)
      return message.type === "exit_view" && message.view >= this.#views
    }
    const isBeyond = this.local(outcome.next).facts.view > this.#views
    return outcome.failure === undefined && (isBeyond || outcome.sent.some(isWish))
  }

  #localId(ended: { readonly body: Body; readonly slot: number; readonly boot: number }): number {
    const { body, slot, boot } = ended
    const fields = [`${slot}.${boot}.${body.tape.draws}`]
    body.replica.fingerprint((field, value) => fields.push(`${field}=${canonical(value)}`))
    const key = createHash("sha256").update(fields.join(";")).digest("base64")
    const known = this.#localIds.get(key)
    if (known !== undefined) {
      return known
    }
    assert(this.locals.length < LOCAL_STATES_MAX, "exhaustive: more states of single replicas than are kept")
    const { replica, machine, tape } = body
    const id = this.locals.length
    const facts = factsOf(replica, machine)
    const reactions = {
      known: new LetterSet(),
      moves: new LetterSet(),
      answers: new LetterSet(),
      stale: new LetterSet(),
      outcomes: new Map<number, readonly Outcome[]>(),
    }
    const events = new Map<string, readonly Outcome[]>()
    this.locals.push({ id, slot, boot, draws: tape.draws, replica, facts, reactions, events, standing: undefined })
    this.#localIds.set(key, id)
    // This body is the state's from now on.
    this.#spare.delete(`${slot}.${boot}`)
    return id
  }

  #letterId(to: number, message: Message): number {
    // Bodies may be views into the sender's buffers.
    const kept = keep(message)
    const digest = createHash("sha256")
      .update(`${to}.${canonical(kept)}`)
      .digest()
    const key = digest.toString("base64")
    const known = this.#letterIds.get(key)
    if (known !== undefined) {
      return known
    }
    const id = this.letters.length
    assert(id < LETTERS_MAX, "exhaustive: more different messages than have numbers")
    this.letters.push({ id, to, message: kept })
    this.#lettersTo[to]?.add(id)
    this.#letterIds.set(key, id)
    return id
  }

  /** A replica to run an event on: of this very boot, in whatever state it was left. */
  #body(slot: number, boot: number): Body {
    const key = `${slot}.${boot}`
    const spare = this.#spare.get(key)
    if (spare !== undefined) {
      return spare
    }
    const limits = this.#limits
    const machine = new Register()
    const tape = new Tape(key)
    const replica = new Replica({
      slot,
      voters: this.voters,
      generation: 1,
      token: boot === 1 ? this.#token : "",
      limits,
      processLimits: SEARCHED_PROCESS_LIMITS,
      stateMachine: machine,
      memory: allocateReplicaMemory(new StaticMemory(), {
        limits,
        processLimits: SEARCHED_PROCESS_LIMITS,
      }),
      digest: digestOf,
      random: tape.next,
    })
    const body = { replica, machine, tape }
    this.#spare.set(key, body)
    return body
  }
}

function digestOf(prefix: string, bytes: Uint8Array, start: number, end: number): Digest {
  return createHash("sha256").update(prefix).update(bytes.subarray(start, end)).digest("hex").slice(0, 32)
}

function factsOf(replica: Replica, machine: Register): Facts {
  return {
    status: replica.status,
    view: replica.view,
    logView: replica.logView,
    op: replica.op,
    commit: replica.commit,
    incarnation: replica.incarnation,
    isPrimary: replica.isPrimary,
    phase: replica.phase,
    isTorn: replica.isTorn,
    certified: { op: replica.certifiedOp, root: replica.certifiedRoot },
    own: replica.checkpointOf(replica.slot),
    checksums: Array.from({ length: replica.op + 1 }, (_, op) => replica.log.checksum(op)),
    arena: digestOf("", machine.arena, 0, machine.arena.length),
  }
}

/** The message with bodies of its own. */
function keep(message: Message): Message {
  if (message.type === "log") {
    return { ...message, entry: { header: message.entry.header, body: message.entry.body.slice() } }
  }
  return "body" in message ? { ...message, body: message.body.slice() } : message
}

/** One text for equal values, whatever the order of their fields. */
function canonical(value: FingerprintValue): string {
  if (typeof value !== "object") {
    return typeof value === "string" ? JSON.stringify(value) : String(value)
  }
  if (value instanceof Uint8Array) {
    return `x${Buffer.from(value).toString("hex")}`
  }
  if (Array.isArray(value)) {
    return `[${value.map(canonical).join(",")}]`
  }
  const fields = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return `{${fields.map(([field, inner]) => `${field}:${canonical(inner)}`).join(",")}}`
}

/**
 * Messages that are lost as soon as they are sent, since nothing that is searched depends on them: answers to
 * heartbeats confirm reads, of which there are none; without reconfiguration there is one epoch; and the zombie that a
 * probe_ok of nonce 0 fences has been replaced already. What their crash vectors tell arrives with other messages
 * (README.md).
 */
function isLost(message: Message): boolean {
  return LOST.has(message.type) || (message.type === "probe_ok" && message.nonce === 0)
}

const LOST: ReadonlySet<MessageType> = new Set<MessageType>(["commit_ok", "new_epoch", "epoch_started"])
