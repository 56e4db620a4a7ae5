/**
 * A scripted cluster: production replicas whose every message waits in a pool of letters until the script delivers,
 * drops, keeps or replays it, and whose clocks the script moves one by one. What any replica commits is compared with
 * what any other committed, after every step. Plane: control.
 */
import { createHash } from "node:crypto"
import type { Message, MessageOf, MessageType } from "../../appliance/replication/message.ts"
import { Replica } from "../../appliance/replication/replica.ts"
import { allocateReplicaMemory } from "../../appliance/replication/replica_memory.ts"
import { arenaBytes } from "../../appliance/state_machine/arena.ts"
import { ResultKind } from "../../appliance/state_machine/command.ts"
import { createStateMachine } from "../../appliance/state_machine/state_machine.ts"
import { assert } from "../../appliance/types/assert.ts"
import { Operation } from "../../appliance/types/contracts.ts"
import { PRNG } from "../../appliance/types/prng.ts"
import { StaticMemory } from "../../appliance/types/static_memory.ts"
import { encodeGet, encodeWrites } from "../simulation/history.ts"
import { SIMULATED_LIMITS, SIMULATED_PROCESS_LIMITS } from "../simulation/limits.ts"

const TOKEN = "5".repeat(32)
const TICK_MS = 10
const FORMATION_MS_MAX = 5_000
const RECOVERY_MS_MAX = 3_000
const DELIVERIES_MAX = 10_000

/** A message under way: from which boot of its sender, and to which slot. */
export type Letter = {
  readonly from: number
  readonly to: number
  /** How often the sender's slot had booted when it sent this, from 1. */
  readonly boot: number
  readonly message: Message
}

/** Which letters: every field that is given must be equal. */
export type Wanted = {
  readonly type?: MessageType
  readonly from?: number
  readonly to?: number
  readonly boot?: number
}

type Member = { replica: Replica; now: number; boot: number; commit: number }

export class Script {
  readonly voters: number
  /** Letters under way, oldest first. The script owns them. */
  pool: Letter[] = []
  readonly #random: PRNG
  readonly #members: Member[] = []
  /** The one history: the checksum of each op that any replica of any boot committed. */
  readonly #committed = new Map<number, string>()
  #reads = 0

  /** A cluster of `voters` that has formed, is in view 0 and has nothing under way. */
  constructor(options: { readonly voters: number; readonly seed?: number }) {
    this.voters = options.voters
    this.#random = new PRNG(options.seed ?? 1)
    for (let slot = 0; slot < options.voters; slot += 1) {
      this.#members.push({ replica: this.#boot(slot, TOKEN), now: 0, boot: 1, commit: 0 })
    }
    for (let ms = 0; ms < FORMATION_MS_MAX && !this.isOneView(); ms += TICK_MS) {
      this.run(this.slots(), TICK_MS)
    }
    assert(this.isOneView() && this.replica(0).isPrimary, "script: the cluster forms in view 0")
    this.pool = []
  }

  replica(slot: number): Replica {
    return this.#member(slot).replica
  }

  /** What a trace asks of a replica, in one line. */
  state(slot: number): string {
    const { status, view, incarnation } = this.replica(slot)
    return `${status} in view ${view}, incarnation ${incarnation}`
  }

  slots(): number[] {
    return this.#members.map((_, slot) => slot)
  }

  /** Every machine is a member of the same view. */
  isOneView(): boolean {
    return this.#members.every(
      ({ replica }) => replica.status === "normal" && replica.view === this.#members[0]?.replica.view,
    )
  }

  /** The machine loses all it had and boots blank, without a token. Letters that it sent stay under way. */
  crash(slot: number): void {
    const member = this.#member(slot)
    member.replica = this.#boot(slot, "")
    member.boot += 1
    member.commit = 0
    member.now = 0
    this.pass(slot, TICK_MS)
  }

  /**
   * Crashes `slot` and lets it come back with the help of `helpers`, who hear nothing else meanwhile and whose clocks
   * stand still: whatever they wished before, they still wish.
   */
  reboot(slot: number, helpers: readonly number[]): void {
    this.crash(slot)
    for (let ms = 0; ms < RECOVERY_MS_MAX && this.replica(slot).status !== "normal"; ms += TICK_MS) {
      this.pass(slot, TICK_MS)
      const isHelp = (letter: Letter): boolean =>
        (letter.from === slot && letter.boot === this.#member(slot).boot && helpers.includes(letter.to)) ||
        (letter.to === slot && helpers.includes(letter.from))
      for (let letters = this.pool.filter(isHelp); letters.length > 0; letters = this.pool.filter(isHelp)) {
        this.pool = this.pool.filter((letter) => !letters.includes(letter))
        this.postAll(letters)
      }
    }
    assert(this.replica(slot).status === "normal", "script: a blank machine recovers with enough helpers")
    this.drop({ from: slot })
    this.drop({ to: slot })
  }

  /** Lets `ms` pass on one machine's clock, in ticks; whatever it says goes to the pool. */
  pass(slot: number, ms: number): void {
    const member = this.#member(slot)
    for (let passed = 0; passed < ms; passed += TICK_MS) {
      member.now += TICK_MS
      member.replica.tick(member.now)
      this.#drain(slot)
    }
  }

  /** Lets `ms` pass on the machines of `slots`, which hear each other at once; letters to and from others stay put. */
  run(slots: readonly number[], ms: number): void {
    for (let passed = 0; passed < ms; passed += TICK_MS) {
      for (const slot of slots) {
        this.pass(slot, TICK_MS)
        this.settle(slots)
      }
    }
  }

  /** Delivers what is under way among `slots`, and what that causes, until nothing is. */
  settle(slots: readonly number[]): void {
    // What a replica sends to its own slot is for the gateway there: it waits until the script asks for it.
    const isInside = (letter: Letter): boolean =>
      letter.from !== letter.to &&
      slots.includes(letter.from) &&
      slots.includes(letter.to) &&
      letter.boot === this.#member(letter.from).boot
    for (let delivered = 0; ; delivered += 1) {
      assert(delivered < DELIVERIES_MAX, "script: the cluster falls silent at some time")
      const index = this.pool.findIndex(isInside)
      const letter = this.pool[index]
      if (letter === undefined) {
        return
      }
      this.pool.splice(index, 1)
      this.post(letter)
    }
  }

  /** Takes all letters that match out of the pool: held back, lost if never posted, replayed if posted twice. */
  take(wanted: Wanted): Letter[] {
    const taken = this.pool.filter((letter) => matches(letter, wanted))
    this.pool = this.pool.filter((letter) => !matches(letter, wanted))
    return taken
  }

  /** Takes the one kind of letter that the script is about; asserts that it is there. */
  hold(wanted: Wanted): Letter[] {
    const taken = this.take(wanted)
    assert(taken.length > 0, "script: the letters to hold back are under way")
    return taken
  }

  drop(wanted: Wanted = {}): void {
    this.take(wanted)
  }

  /** Delivers all letters under way that match, oldest first; asserts that there is one. */
  deliver(wanted: Wanted): void {
    for (const letter of this.hold(wanted)) {
      this.post(letter)
    }
  }

  /** Delivers one letter now, to whatever process runs in its slot. */
  post(letter: Letter): void {
    this.replica(letter.to).receive(copyOf(letter.message))
    this.#drain(letter.to)
  }

  postAll(letters: readonly Letter[]): void {
    for (const letter of letters) {
      this.post(letter)
    }
  }

  // ---------------------------------------------------------------- a gateway at each machine

  /** Registers a session at the machine itself, with the help of `slots`; its number. */
  register(primary: number, slots: readonly number[]): number {
    const request = 1_000 + this.#random.below(1_000_000)
    const body = new Uint8Array(16).fill(7)
    const envelope = { from: primary, cv: [] }
    this.#ask(primary, { type: "request", operation: Operation.register, session: 0, request, body, ...envelope })
    this.settle(slots)
    const reply = this.reply(primary, 0, request)
    assert(reply?.outcome === "ok", "script: a session is registered")
    return Number(new DataView(reply.body.buffer, reply.body.byteOffset).getBigInt64(1, true))
  }

  /** Asks `to`, over the gateway on machine `from`, to set `key`; nothing is delivered yet but this request. */
  set(options: {
    readonly to: number
    readonly from?: number
    readonly session: number
    readonly request: number
    readonly key: string
    readonly value: string
  }): void {
    const { to, session, request, key, value } = options
    const body = encodeWrites([{ kind: "set", key, value, expires: 0 }])
    const envelope = { from: options.from ?? to, cv: [] }
    this.#ask(to, { type: "request", operation: Operation.batch, session, request, body, ...envelope })
  }

  /** Takes the reply to a request out of the pool, if there is one. */
  reply(to: number, session: number, request: number): MessageOf<"reply"> | undefined {
    for (const letter of this.take({ type: "reply", to })) {
      const { message } = letter
      if (message.type === "reply" && message.session === session && message.request === request) {
        return message
      }
    }
    return undefined
  }

  /** A read at the primary's own machine: "" is absent, undefined is no answer or a refusal. */
  read(primary: number, key: string, slots: readonly number[]): string | undefined {
    this.#reads += 1
    const read = this.#reads
    this.#ask(primary, { type: "read", read, body: encodeGet(key), from: primary, cv: [] })
    this.settle(slots)
    for (const { message } of this.take({ type: "read_reply", to: primary })) {
      if (message.type === "read_reply" && message.read === read && message.outcome === "ok") {
        return message.body[0] === ResultKind.bytes ? new TextDecoder().decode(message.body.subarray(5)) : ""
      }
    }
    return undefined
  }

  /** What each next primary says of `key`: the network is whole, and one primary after the other falls silent. */
  readAtEveryPrimary(key: string): (string | undefined)[] {
    const values: (string | undefined)[] = []
    this.run(this.slots(), 15_000)
    for (let turn = 0; turn < this.voters; turn += 1) {
      assert(this.isOneView(), "script: the cluster converges when the network is whole")
      const { primary } = this.replica(0)
      values.push(this.read(primary, key, this.slots()))
      this.run(
        this.slots().filter((slot) => slot !== primary),
        3_000,
      )
      this.drop()
      this.run(this.slots(), 5_000)
    }
    return values
  }

  // ---------------------------------------------------------------- inside

  #ask(to: number, message: Message): void {
    this.replica(to).receive(message)
    this.#drain(to)
  }

  #member(slot: number): Member {
    const member = this.#members[slot]
    assert(member !== undefined, "script: slot out of range")
    return member
  }

  #drain(slot: number): void {
    const member = this.#member(slot)
    const { replica } = member
    for (let out = replica.takeOutgoing(); out !== undefined; out = replica.takeOutgoing()) {
      this.pool.push({ from: slot, to: out.to, boot: member.boot, message: copyOf(out.message) })
    }
    for (let op = member.commit + 1; op <= replica.commit; op += 1) {
      const checksum = replica.log.checksum(op)
      if (checksum !== undefined) {
        const known = this.#committed.get(op) ?? checksum
        assert(known === checksum, "script: two replicas commit different entries at one op")
        this.#committed.set(op, checksum)
      }
    }
    member.commit = replica.commit
  }

  #boot(slot: number, token: string): Replica {
    const memory = new StaticMemory()
    const bytes = arenaBytes(SIMULATED_LIMITS)
    const limits = { limits: SIMULATED_LIMITS, processLimits: SIMULATED_PROCESS_LIMITS }
    return new Replica({
      slot,
      voters: this.voters,
      token,
      ...limits,
      stateMachine: createStateMachine({ limits: SIMULATED_LIMITS, arena: memory.allocate("arena", bytes) }),
      memory: allocateReplicaMemory(memory, { ...limits, arenaBytes: bytes }),
      digest: (prefix, body, start, end) =>
        createHash("sha256").update(prefix).update(body.subarray(start, end)).digest("hex").slice(0, 32),
      random: () => this.#random.u32(),
    })
  }
}

function matches(letter: Letter, wanted: Wanted): boolean {
  return (
    (wanted.type === undefined || wanted.type === letter.message.type) &&
    (wanted.from === undefined || wanted.from === letter.from) &&
    (wanted.to === undefined || wanted.to === letter.to) &&
    (wanted.boot === undefined || wanted.boot === letter.boot)
  )
}

/** A message's body may be a view into a ring that is written again: a letter has bytes of its own. */
function copyOf(message: Message): Message {
  if (message.type === "log") {
    return { ...message, entry: { header: message.entry.header, body: message.entry.body.slice() } }
  }
  return "body" in message ? { ...message, body: message.body.slice() } : message
}
