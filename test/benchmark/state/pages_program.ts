/**
 * A process that applies SETs to one state machine without a cluster, and prints as JSON what its pages cost beside
 * that: checkpoints by how often they are made, a digest of everything, and scrubbing. Started by pages_cost.ts; its
 * argument is the rounds of the scrub. All times are the processor's, since others may use the machine.
 * Plane: control.
 */
import { sha256Digest } from "../../../appliance/orchestration/system_ports.ts"
import { StateImage } from "../../../appliance/replication/state_image.ts"
import { arenaBytes } from "../../../appliance/state_machine/arena.ts"
import { type ArenaStateMachine, createStateMachine } from "../../../appliance/state_machine/state_machine.ts"
import { assert } from "../../../appliance/types/assert.ts"
import { Operation } from "../../../appliance/types/contracts.ts"
import { CLUSTER_LIMITS } from "../../../appliance/types/limits.ts"
import { makeBodies } from "../commands.ts"
import { FULL_BATCH, INTERVAL_SETS, INTERVALS, SCRUB_BUDGETS, SETS_PER_TICK } from "./limits.ts"

/** Milliseconds of a processor. */
export type IntervalCost = {
  /** SETs between two checkpoints; 0 for none ever. */
  readonly sets: number
  readonly checkpoints: number
  /** All of the run: SETs, the pages that they copy before they change them, and what follows. */
  readonly total_ms: number
  readonly freezes_ms: number
  /** Digests and roots, in portions as the replica takes them tick by tick. */
  readonly digests_ms: number
}

export type PagesCost = {
  readonly pages: number
  /** A digest of every page. */
  readonly full_ms: number
  readonly intervals: readonly IntervalCost[]
  /** Of each budget: one tick's look at so many pages. */
  readonly scrubs: readonly { readonly pages: number; readonly tick_ms: number }[]
}

const CLIENT_ID_BYTES = 16
const FULL_ROUNDS = 3

class Bench {
  readonly #machine: ArenaStateMachine
  readonly #image: StateImage
  readonly #bodies = makeBodies(FULL_BATCH)
  readonly #reply = new Uint8Array(CLUSTER_LIMITS.read_reply_bytes_max)
  readonly #session: number
  #request = 0

  constructor() {
    const limits = CLUSTER_LIMITS
    this.#machine = createStateMachine({ limits, arena: new Uint8Array(arenaBytes(limits)) })
    this.#image = new StateImage({
      pages: this.#machine.pages,
      digest: sha256Digest,
      chunkBytes: limits.chunk_bytes,
      chunk: new Uint8Array(limits.chunk_bytes),
    })
    this.#session = this.#machine.commit() + 1
    this.#apply({ operation: Operation.register, session: 0, request: 1 }, new Uint8Array(CLIENT_ID_BYTES))
  }

  get pages(): ArenaStateMachine["pages"] {
    return this.#machine.pages
  }

  run(sets: number, interval: number): IntervalCost {
    let freezes = 0
    let digests = 0
    let checkpoints = 0
    let sinceTick = 0
    let sinceCheckpoint = 0
    const startedAt = cpuMs()
    for (let done = 0; done < sets; done += FULL_BATCH) {
      this.#set()
      sinceTick += FULL_BATCH
      sinceCheckpoint += FULL_BATCH
      if (interval > 0 && sinceCheckpoint >= interval) {
        sinceCheckpoint -= interval
        // What the ticks have not come to is due before the next freeze.
        const before = cpuMs()
        this.#finishImage()
        const between = cpuMs()
        this.#checkpoint()
        digests += between - before
        freezes += cpuMs() - between
        checkpoints += 1
      }
      if (sinceTick >= SETS_PER_TICK) {
        sinceTick -= SETS_PER_TICK
        const before = cpuMs()
        this.#image.advance()
        digests += cpuMs() - before
      }
    }
    const total = cpuMs() - startedAt
    return { sets: interval, checkpoints, total_ms: total, freezes_ms: freezes, digests_ms: digests }
  }

  settle(): void {
    this.#finishImage()
    this.#checkpoint()
    this.#finishImage()
  }

  #set(): void {
    this.#request += 1
    const body = this.#bodies[this.#request % this.#bodies.length]
    assert(body !== undefined, "pages program: there are bodies")
    this.#apply({ operation: Operation.batch, session: this.#session, request: this.#request }, body)
  }

  #checkpoint(): void {
    this.#apply({ operation: Operation.checkpoint, session: 0, request: 0 }, this.#reply.subarray(0, 0))
    this.#image.note(this.#machine.commit(), "0".repeat(32))
  }

  #finishImage(): void {
    for (let portion = 0; portion <= this.pages.count && this.#image.root === undefined; portion += 1) {
      this.#image.advance()
    }
  }

  #apply(
    what: { readonly operation: Operation; readonly session: number; readonly request: number },
    body: Uint8Array,
  ) {
    const op = this.#machine.commit() + 1
    this.#machine.apply({ ...what, op, timestamp: op }, body, 0, body.length, this.#reply)
  }
}

function cpuMs(): number {
  const { user, system } = process.threadCpuUsage()
  return (user + system) / 1_000
}

function timed(rounds: number, what: () => void): number {
  const before = cpuMs()
  for (let round = 0; round < rounds; round += 1) {
    what()
  }
  return (cpuMs() - before) / rounds
}

function main(): void {
  const bench = new Bench()
  const rounds = Number(process.argv[2] ?? "1")
  const intervals = [0, ...INTERVALS]
  // Warm: the compiler has seen every path, and every key is there.
  for (const interval of intervals) {
    bench.run(INTERVAL_SETS / intervals.length, interval)
  }
  const costs: IntervalCost[] = []
  for (const interval of intervals) {
    if (interval > 0) {
      bench.settle()
    }
    costs.push(bench.run(INTERVAL_SETS, interval))
  }
  bench.settle()
  const { pages } = bench
  const full = timed(FULL_ROUNDS, () => pages.rebuild())
  const scrubs = SCRUB_BUDGETS.map((budget) => {
    const ticks = Math.ceil(pages.count / budget) * rounds
    const look = (): void => assert(pages.scrub(budget) === -1, "pages program: no bit has flipped")
    timed(ticks, look)
    return { pages: budget, tick_ms: timed(ticks, look) }
  })
  const report: PagesCost = { pages: pages.count, full_ms: full, intervals: costs, scrubs }
  process.stdout.write(`${JSON.stringify(report)}\n`)
}

main()
