/**
 * Growth by chance: three small voters hand over to three larger machines while clients write, machines of both groups
 * die and come back blank, links break, and letters are lost and late. No more than one of each group is down at a
 * time. What was acknowledged is done once, and the larger machines end with equal bytes. Plane: control.
 */
import { expect, test } from "vitest"
import { decodeConfiguration } from "../../appliance/replication/configuration.ts"
import { Operation } from "../../appliance/types/contracts.ts"
import { limitsFingerprint } from "../../appliance/types/limits.ts"
import { PRNG } from "../../appliance/types/prng.ts"
import { SmallCluster } from "../unit/replication/small_cluster.ts"
import { SIMULATED_LIMITS } from "./limits.ts"

const LARGER = { ...SIMULATED_LIMITS, log_slots: 24, kv_entries_max: 64, kv_slab_bytes: 24 * 1024, sessions_max: 9 }
const OLD = [0, 1, 2] as const
const NEW = [3, 4, 5] as const
const ALL = [...OLD, ...NEW] as const
const SEEDS = 60
const STEP_MS = 10
const ASK_AGAIN_MS = 100
/** Of virtual time: before the operator asks, and until all is well once faults end. */
const BEFORE_MS = 300
const END_MS_MAX = 180_000
const REQUESTS = 40
const CALM_EVERY_MS = 3_000
const CALM_MS = 1_000

/** `isAsked`: its request is under way, and is repeated until it is acknowledged. */
type Client = { readonly session: number; request: number; askedAt: number; isAsked: boolean }

/** What the seeds met, so that a green run has seen something. */
const met = { old_deaths: 0, new_deaths: 0, deaths_in_change: 0, restarted_larger: 0, asked: 0, refused: 0 }

class Run {
  readonly cluster: SmallCluster
  readonly clients: Client[] = []
  readonly #random: PRNG
  readonly #bootAt = new Map<number, number>()
  readonly #growAt = new Map<number, number>()
  readonly #loss: number
  readonly #cuts: [number, number][] = []
  #isCalm = false
  #askedAt = 0

  constructor(seed: number) {
    this.#random = new PRNG(seed)
    this.cluster = new SmallCluster(OLD.length, seed)
    this.cluster.growsByItself = false
    for (const slot of ALL) {
      this.cluster.boot(slot, slot < OLD.length ? {} : { growsTo: LARGER })
    }
    const isFounded = (): boolean => ALL.every((slot) => this.cluster.replica(slot).status === "normal")
    this.cluster.runUntil(isFounded, "everyone is in")
    this.cluster.run(200)
    for (let client = 0; client < 3; client += 1) {
      const session = this.cluster.register(0)
      this.clients.push({ session, request: 1, askedAt: -ASK_AGAIN_MS, isAsked: false })
    }
    this.#loss = this.#random.below(120)
    this.cluster.delayMsMax = this.#random.below(60)
    this.#askedAt = this.cluster.now + this.#random.below(BEFORE_MS)
  }

  play(): void {
    while (!this.#isGrown()) {
      this.#step()
      expect(this.cluster.now).toBeLessThan(END_MS_MAX)
    }
    this.#isCalm = true
    // The operator was told that it is safe.
    for (const slot of OLD) {
      this.#bootAt.delete(slot)
      if (this.cluster.slots().includes(slot)) {
        this.cluster.off(slot)
      }
    }
    const end = this.cluster.now + END_MS_MAX
    while (!this.#isDone()) {
      this.#step()
      expect(this.cluster.now).toBeLessThan(end)
    }
    const areEqual = (): boolean => new Set(NEW.map((slot) => this.cluster.replica(slot).commit)).size === 1
    this.cluster.runUntil(areEqual, "all hold the same")
  }

  #mendAll(): void {
    for (const [a, b] of this.#cuts.splice(0)) {
      this.cluster.cut(a, b, false)
    }
  }

  #isUp(slot: number): boolean {
    return this.cluster.slots().includes(slot)
  }

  #isIn(slot: number): boolean {
    return this.#isUp(slot) && this.cluster.limits(slot) === LARGER && this.cluster.replica(slot).status === "normal"
  }

  /** As `mandala epoch` says it, asked at a member of the new epoch. */
  #isGrown(): boolean {
    return NEW.some((slot) => this.#isIn(slot) && this.cluster.replica(slot).isEpochSafe)
  }

  #isDone(): boolean {
    return (
      NEW.every((slot) => this.#isIn(slot)) &&
      this.clients.every(({ request, isAsked }) => request > REQUESTS && !isAsked)
    )
  }

  #step(): void {
    this.#operate()
    for (const client of this.clients) {
      this.#ask(client)
    }
    // Operators like a calm moment; what follows need not be one.
    const isChanging = this.#isChanging()
    const isCalm = this.#isCalm || (!isChanging && this.cluster.now % CALM_EVERY_MS < CALM_MS)
    this.cluster.loss = isCalm ? 0 : this.#loss
    if (isCalm) {
      this.#mendAll()
    } else if (this.#random.chance(1, isChanging ? 12 : 90)) {
      this.#harm()
    }
    this.cluster.run(STEP_MS)
    for (const [slot, at] of this.#bootAt) {
      if (this.cluster.now >= at) {
        this.#bootAt.delete(slot)
        this.#boot(slot)
      }
    }
    for (const slot of NEW) {
      this.#growInItsTime(slot)
    }
  }

  /** The change is in a log: the time at which all sorts of things must happen. */
  #isChanging(): boolean {
    return ALL.some((slot) => {
      const { log, epoch } = this.#isUp(slot) ? this.cluster.replica(slot) : { log: undefined, epoch: 0 }
      return epoch === 1 || log?.header(log.op)?.operation === Operation.reconfigure
    })
  }

  #growInItsTime(slot: number): void {
    if (!this.#isUp(slot) || this.cluster.replica(slot).grownStart === undefined) {
      this.#growAt.delete(slot)
      return
    }
    const at = this.#growAt.get(slot) ?? this.cluster.now + this.#random.below(300)
    this.#growAt.set(slot, at)
    if (this.cluster.now >= at) {
      expect(this.cluster.grow(slot)).toBe(true)
    }
  }

  /** Asks for the change until an epoch has begun; what booted too small for it is booted again. */
  #operate(): void {
    const hasBegun = NEW.some((slot) => this.#isIn(slot))
    if (!hasBegun && this.cluster.now >= this.#askedAt) {
      this.#askedAt = this.cluster.now + 700
      const primary = OLD.find((slot) => this.#isUp(slot) && this.cluster.replica(slot).isPrimary)
      if (primary !== undefined && this.cluster.replica(primary).epoch === 0) {
        met.asked += 1
        this.cluster.reconfigure(primary, { voters: NEW, grows: true })
      }
    }
    for (const slot of hasBegun ? NEW : []) {
      if (this.#isUp(slot) && this.cluster.limits(slot) !== LARGER && !this.#isNamed(slot)) {
        met.restarted_larger += 1
        this.cluster.boot(slot, { limits: LARGER, token: "" })
      }
    }
  }

  #isNamed(slot: number): boolean {
    const voters = NEW.flatMap((one) => (this.#isIn(one) ? this.cluster.replica(one).configuration.voters : []))
    const nonce = voters.find((voter) => voter.slot === slot)?.nonce
    return nonce === this.cluster.replica(slot).bootNonce
  }

  #ask(client: Client): void {
    const { session, request } = client
    const outcome = this.cluster.outcomeOf(session, request)
    expect(["ok", "none", "not_primary", "busy"]).toContain(outcome)
    if (outcome === "ok") {
      client.request += 1
      client.askedAt = -ASK_AGAIN_MS
      client.isAsked = false
    }
    if (client.request > REQUESTS && this.#isCalm && !client.isAsked) {
      return
    }
    const up = ALL.filter((slot) => this.#isUp(slot))
    const primaries = up.filter((slot) => this.cluster.replica(slot).isPrimary)
    if (this.cluster.now - client.askedAt >= ASK_AGAIN_MS) {
      client.askedAt = this.cluster.now
      const among = primaries.length > 0 && this.#random.chance(3, 4) ? primaries : up
      client.isAsked = true
      this.cluster.add(among[this.#random.below(among.length)] ?? 0, session, client.request, `c${session}`)
    }
  }

  #boot(slot: number): void {
    const isOld = slot < OLD.length
    const hasBegun = NEW.some((one) => this.#isIn(one))
    if (isOld) {
      this.cluster.boot(slot, { token: "" })
    } else {
      this.cluster.boot(slot, hasBegun ? { limits: LARGER, token: "" } : { growsTo: LARGER, token: "" })
    }
  }

  /** One of each group may be down or on its way; a cut link concerns a pair for a while. */
  #harm(): void {
    const group = this.#random.chance(1, 2) ? OLD : NEW
    const slot = group[this.#random.below(group.length)] ?? 0
    if (this.#random.chance(1, 2)) {
      this.#cutOrMend(slot)
      return
    }
    const isAnotherDown = group.some((other) => other !== slot && !this.#isSound(other))
    if (!this.#isUp(slot) || isAnotherDown) {
      return
    }
    met.old_deaths += group === OLD ? 1 : 0
    met.new_deaths += group === NEW ? 1 : 0
    met.deaths_in_change += this.#isChanging() ? 1 : 0
    this.cluster.off(slot)
    this.#bootAt.set(slot, this.cluster.now + this.#random.between(20, 600))
  }

  /** Remembers what its group needs of it. */
  #isSound(slot: number): boolean {
    if (!this.#isUp(slot)) {
      return false
    }
    const { status, epoch, bootNonce } = this.cluster.replica(slot)
    const named = this.#namedInLog(slot)
    if (named !== undefined && named !== bootNonce && !this.#isIn(slot)) {
      // Another process of the slot was named: to the epoch that begins it is down until this one has recovered.
      return false
    }
    const isNamed = slot >= OLD.length && epoch === 1 && this.#isNamedBySelf(slot)
    return status === "normal" || status === "view_change" || status === "outgrown" || isNamed
  }

  /** The nonce of the slot's process in a change that lies in any log, committed or not; undefined for none. */
  #namedInLog(slot: number): number | undefined {
    for (const one of ALL.filter((some) => this.#isUp(some))) {
      const { log } = this.cluster.replica(one)
      const last = log.entry(log.op)
      const change =
        last?.header.operation === Operation.reconfigure
          ? decodeConfiguration(last.body, SIMULATED_LIMITS.slots_max)
          : undefined
      const voter = change?.voters.find((some) => some.slot === slot)
      if (voter !== undefined) {
        return voter.nonce
      }
    }
    return undefined
  }

  #isNamedBySelf(slot: number): boolean {
    const { configuration, bootNonce } = this.cluster.replica(slot)
    return configuration.voters.some((voter) => voter.slot === slot && voter.nonce === bootNonce)
  }

  #cutOrMend(slot: number): void {
    const cut = this.#cuts.pop()
    if (cut !== undefined && this.#random.chance(2, 3)) {
      this.cluster.cut(...cut, false)
      return
    }
    this.#cuts.push(...(cut === undefined ? [] : [cut]))
    const other = this.#random.below(ALL.length)
    if (other !== slot) {
      this.#cuts.push([slot, other])
      this.cluster.cut(slot, other)
    }
  }
}

function countOf(cluster: SmallCluster, slot: number, key: string): string {
  const reply = new Uint8Array(LARGER.read_reply_bytes_max)
  const head = Buffer.alloc(16)
  head[0] = 2
  head.writeUInt16LE(key.length, 2)
  const body = new Uint8Array(Buffer.concat([head, Buffer.from(key)]))
  const bytes = cluster.stateMachine(slot).read(body, 0, body.length, reply)
  return Buffer.from(reply.subarray(5, bytes)).toString()
}

test("whoever dies around the switch, what was acknowledged is done once, and the larger machines agree", () => {
  for (let seed = 1; seed <= SEEDS; seed += 1) {
    const run = new Run(seed)
    try {
      run.play()
      for (const slot of NEW) {
        for (const { session, request } of run.clients) {
          expect(countOf(run.cluster, slot, `c${session}`)).toBe(String(request - 1))
        }
        const [first, own] = [NEW[0], slot].map((one) => run.cluster.stateMachine(one).arena)
        expect(Buffer.compare(first ?? new Uint8Array(0), own ?? new Uint8Array(1))).toBe(0)
        expect(run.cluster.replica(slot).configuration.grown_to).toBe(limitsFingerprint(LARGER))
      }
    } catch (cause) {
      const states = run.cluster.slots().map((slot) => {
        const { status, phase, epoch, view, op, commit, certifiedOp } = run.cluster.replica(slot)
        const size = run.cluster.limits(slot) === LARGER ? "larger" : "small"
        return `${slot} ${size} ${status}/${phase} e${epoch} v${view} op${op} c${commit} certified ${certifiedOp}`
      })
      throw new Error(`seed ${seed}, ${run.cluster.now} ms:\n${states.join("\n")}`, { cause })
    }
  }
  process.stdout.write(`${JSON.stringify(met)}\n`)
  expect(Math.min(met.old_deaths, met.new_deaths, met.deaths_in_change)).toBeGreaterThan(SEEDS / 4)
})
