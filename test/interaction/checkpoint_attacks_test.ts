/**
 * Schedules that broke checkpoints once: each ended in an assertion, in machines that were not alike, or in waiting for
 * ever. Plane: control.
 */
import { createHash } from "node:crypto"
import { expect, test } from "vitest"
import { CheckpointReceiver, rootPrefix } from "../../appliance/replication/checkpoint_transfer.ts"
import type { Message } from "../../appliance/replication/message.ts"
import type { Replica } from "../../appliance/replication/replica.ts"
import { CommandFlag } from "../../appliance/state_machine/command.ts"
import { ArenaPages, pagesBytes } from "../../appliance/state_machine/pages.ts"
import { assert } from "../../appliance/types/assert.ts"
import { type Digest, Operation } from "../../appliance/types/contracts.ts"
import { type Command, decodeResult, encodeCommand } from "./commands.ts"
import { copyOf } from "./letters.ts"
import { CHECKPOINTS_SOON, SCRIPT_LIMITS, SCRIPT_PROCESS_LIMITS, type ScriptLimits } from "./limits.ts"
import { Process } from "./process.ts"

const TOKEN = "5".repeat(32)
const TICK_MS = SCRIPT_PROCESS_LIMITS.tick_ms
const PAGE_BYTES = 4_096
/** In the arena's first page, which changes with every op: a byte that nothing uses. */
const SPARE_BYTE = 4_000
/** In a page in which so small a state has nothing. */
const UNUSED_BYTE = 5 * PAGE_BYTES

/** More than enough for a checkpoint. */
const OPS_MAX = 20

type Letter = { readonly from: number; readonly to: number; readonly message: Message }
type Loses = (letter: Letter) => boolean

/** Machines whose letters arrive with the next tick, but for those that `loses` says. */
class Fleet {
  readonly machines: (Process | undefined)[] = []
  /** Slots whose clock stands, though they hear. */
  readonly stopped = new Set<number>()
  loses: Loses = () => false
  #boots = 0
  #letters: Letter[] = []
  #session = 0
  #request = 0
  #answers: string[] = []
  #change: string | undefined
  readonly #limits: ScriptLimits

  constructor(options: { readonly voters: number; readonly machines: number; readonly limits?: ScriptLimits }) {
    this.#limits = options.limits ?? CHECKPOINTS_SOON
    for (let slot = 0; slot < options.machines; slot += 1) {
      this.boot(slot, { voters: options.voters, token: slot < options.voters ? TOKEN : "" })
    }
    expect(this.run(SCRIPT_PROCESS_LIMITS.retry_ms_max * 10, () => this.isWell())).toBe(true)
    // Spare machines make themselves known.
    this.run(SCRIPT_PROCESS_LIMITS.primary_silent_ms)
    this.#session = Number(this.#ask({ operation: Operation.register, body: new Uint8Array(16).fill(7) }))
  }

  boot(slot: number, options: { readonly voters: number; readonly token: string }): void {
    this.#boots += 1
    this.machines[slot] = new Process({ slot, boot: this.#boots, seed: 1, limits: this.#limits, ...options })
  }

  kill(slot: number): void {
    this.machines[slot] = undefined
  }

  process(slot: number): Process {
    const process = this.machines[slot]
    assert(process !== undefined, "fleet: the machine is on")
    return process
  }

  replica(slot: number): Replica {
    return this.process(slot).replica
  }

  isWell(): boolean {
    return this.#live().every(({ replica }) => replica.status === "normal" && !replica.isTorn)
  }

  #live(): Process[] {
    return this.machines.filter((process) => process !== undefined)
  }

  /** Until `until`, at most `ms`: whether it came to that. */
  run(ms: number, until: () => boolean = () => false): boolean {
    for (let passed = 0; passed < ms && !until(); passed += TICK_MS) {
      const letters = this.#letters
      this.#letters = []
      for (const { to, message } of letters) {
        this.#hand(to, message)
      }
      for (const process of this.#live()) {
        if (!this.stopped.has(process.slot)) {
          process.tick()
          this.#collect(process)
        }
      }
    }
    return until()
  }

  /** What `loses` has kept arrives after all. */
  deliver({ to, message }: Letter): void {
    this.#hand(to, message)
  }

  #hand(to: number, message: Message): void {
    const process = this.machines[to]
    if (process !== undefined) {
      process.replica.receive(message)
      this.#collect(process)
    }
  }

  #collect(process: Process): void {
    for (let next = process.replica.takeOutgoing(); next !== undefined; next = process.replica.takeOutgoing()) {
      const { to, message } = next
      if (message.type === "reply") {
        this.#answers.push(...(message.outcome === "ok" ? [decodeResult(message.body)] : []))
      } else if (message.type === "read_reply") {
        this.#answers.push(...(message.outcome === "ok" ? [decodeResult(message.body)] : []))
      } else if (message.type === "reconfigure_reply") {
        this.#change = message.outcome
      } else {
        const letter = { from: process.slot, to, message: copyOf(message) }
        if (!this.loses(letter)) {
          this.#letters.push(letter)
        }
      }
    }
  }

  /** What the primary answers, whoever that is; undefined when nobody does in time. */
  #ask(request: { readonly operation: Operation; readonly body: Uint8Array }): string | undefined {
    this.#request += 1
    this.#answers = []
    const isAnswered = (): boolean => this.#answers.length > 0
    for (let tries = 0; tries < 20 && !isAnswered(); tries += 1) {
      const primary = this.#live().findLast(({ replica }) => replica.isPrimary)
      if (primary !== undefined) {
        const { operation, body } = request
        const session = operation === Operation.register ? 0 : this.#session
        const number = operation === Operation.register ? 1_000 : this.#request
        const message: Message = {
          type: "request",
          operation,
          session,
          request: number,
          body,
          from: primary.slot,
          epoch: 0,
          cv: [],
        }
        this.#hand(primary.slot, message)
      }
      this.run(SCRIPT_PROCESS_LIMITS.retry_ms, isAnswered)
    }
    if (request.operation === Operation.register) {
      this.#request = 0
    }
    return this.#answers[0]
  }

  command(command: Command): string | undefined {
    return this.#ask({ operation: Operation.batch, body: encodeCommand(command) })
  }

  /** Asks `slot` for a key; what it answers, whenever that is, is in `answers`. */
  read(slot: number): void {
    this.#answers = []
    const body = encodeCommand({ kind: "get", key: "k0" })
    this.#hand(slot, { type: "read", read: 1, body, from: slot, epoch: 0, cv: [] })
  }

  get answers(): readonly string[] {
    return this.#answers
  }

  /** A key that is gone after `ms`. */
  writeFor(ms: number, key: string): void {
    const body = encodeCommand({ kind: "set", key, value: "x" })
    body[1] = CommandFlag.expires
    new DataView(body.buffer).setBigInt64(8, BigInt(ms), true)
    expect(this.#ask({ operation: Operation.batch, body })).toBe("ok")
  }

  /** So many ops, each answered. */
  write(count: number): void {
    for (let index = 0; index < count; index += 1) {
      expect(this.command({ kind: "set", key: `k${index % 8}`, value: "x" })).toBe("ok")
    }
  }

  /** Writes until `slot` knows the root of another checkpoint. */
  checkpoint(slot: number): void {
    const before = this.replica(slot).checkpointOf(slot)?.op
    for (let ops = 0; ops < OPS_MAX && this.replica(slot).checkpointOf(slot)?.op === before; ops += 1) {
      this.write(1)
    }
  }

  reconfigure(
    at: number,
    change: { readonly voters: number[]; readonly standbys: number[]; synchronous: boolean },
  ): void {
    this.#hand(at, {
      type: "reconfigure",
      change: 1,
      epoch_expected: this.replica(at).epoch,
      drops_standby: false,
      grows: false,
      ...change,
      from: at,
      epoch: 0,
      cv: [],
    })
  }

  get changed(): string | undefined {
    return this.#change
  }

  flip(slot: number, at: number): void {
    const { arena } = this.process(slot)
    arena[at] = (arena[at] ?? 0) ^ 4
  }
}

test("a machine that is convicted for the last time falls silent, and its process goes on", () => {
  const fleet = new Fleet({ voters: 3, machines: 3 })
  const victim = fleet.replica(2)
  const last = fleet.process(2).arena.length - 1
  for (let faults = 1; faults <= SCRIPT_PROCESS_LIMITS.memory_faults_max; faults += 1) {
    fleet.flip(2, last)
    expect(fleet.run(1_000, () => victim.counters.memory_faults === faults)).toBe(true)
    fleet.run(5_000, () => !victim.isTorn)
  }
  expect(victim.status).toBe("quarantined")
  fleet.write(8)
})

test("a root that was refuted before it was known convicts once", () => {
  const fleet = new Fleet({ voters: 3, machines: 3 })
  const victim = fleet.replica(2)
  fleet.write(2)
  fleet.stopped.add(2)
  fleet.flip(2, SPARE_BYTE)
  fleet.checkpoint(0)
  fleet.write(2)
  fleet.run(1_000, () => victim.certifiedOp > 0)
  expect(victim.certifiedOp).toBeGreaterThan(victim.checkpointOf(2)?.op ?? 0)
  fleet.stopped.delete(2)
  expect(fleet.run(5_000, () => victim.counters.memory_faults === 1 && fleet.isWell())).toBe(true)
  expect(victim.memoryFault?.kind).toBe("root")
  fleet.write(4)
  fleet.run(200)
  expect(fleet.process(2).digest()).toBe(fleet.process(0).digest())
})

test("a machine that is convicted on its way into an epoch comes into it", () => {
  const fleet = new Fleet({ voters: 3, machines: 4 })
  let isCut = false
  const kept = ["prepare", "log", "commit", "checkpoint_chunk"]
  fleet.loses = ({ to, message }) => isCut && to === 1 && kept.includes(message.type)
  fleet.write(3)
  fleet.run(200)
  fleet.reconfigure(0, { voters: [0, 1, 3], standbys: [2], synchronous: false })
  // It holds the barrier, and hears no more.
  const { op } = fleet.replica(0)
  fleet.run(200, () => fleet.replica(1).op === op)
  isCut = true
  fleet.run(1_000, () => fleet.replica(1).epoch === 1)
  expect(fleet.replica(1)).toMatchObject({ status: "recovering", phase: "epoch" })
  fleet.flip(1, fleet.process(1).arena.length - 1)
  expect(fleet.run(1_000, () => fleet.replica(1).isTorn)).toBe(true)
  isCut = false
  expect(fleet.run(20_000, () => fleet.isWell() && fleet.replica(1).epoch === 1)).toBe(true)
  expect(fleet.changed).toBe("ok")
})

test.each([0, 1])("of a synchronous pair machine %i copies from the other at once", (victim) => {
  const fleet = new Fleet({ voters: 1, machines: 2 })
  fleet.reconfigure(0, { voters: [0], standbys: [1], synchronous: true })
  fleet.run(500)
  expect(fleet.changed).toBe("ok")
  fleet.checkpoint(0)
  fleet.run(1_000, () => fleet.replica(0).certifiedOp > 0 && fleet.replica(1).certifiedOp > 0)
  fleet.flip(victim, fleet.process(victim).arena.length - 1)
  expect(fleet.run(1_000, () => fleet.replica(victim).isTorn)).toBe(true)
  expect(fleet.run(SCRIPT_PROCESS_LIMITS.transfer_silent_ms / 2, () => fleet.isWell())).toBe(true)
  fleet.write(2)
})

test("an image with a flipped digest, which nobody could copy, is followed by another", () => {
  const fleet = new Fleet({ voters: 3, machines: 3 })
  let isCut = true
  fleet.loses = ({ from, to }) => isCut && (from === 1 || to === 1)
  for (let op = 0; op < OPS_MAX; op += 1) {
    fleet.write(1)
  }
  fleet.checkpoint(0)
  fleet.run(1_000, () => fleet.replica(0).certifiedOp === fleet.replica(0).checkpointOf(0)?.op)
  // The first page changes with every op, and is not compared with its digest from here on.
  fleet.write(1)
  fleet.run(200)
  fleet.kill(2)
  fleet.process(0).flipDigest(0)
  isCut = false
  expect(fleet.run(60_000, () => fleet.isWell() && fleet.replica(1).commit === fleet.replica(0).commit)).toBe(true)
  expect(fleet.replica(0).memoryFault?.kind).toBe("table")
  fleet.write(4)
})

test("who recovers is not waited for to certify what both others lack", () => {
  const fleet = new Fleet({ voters: 3, machines: 3 })
  let isCut = true
  let isSlow = true
  fleet.loses = ({ from, to, message }) => {
    const isOfC = isCut && (from === 2 || to === 2)
    // A large state: its pieces take their time.
    const isPiece = isSlow && to === 2 && message.type === "checkpoint_chunk"
    return isOfC || isPiece || (isUnheard && to === 1 && message.type === "checkpoint_ok")
  }
  let isUnheard = false
  fleet.write(30)
  // 0 dies before 1 has heard its root of the last checkpoint: that one has no majority.
  isUnheard = true
  fleet.checkpoint(1)
  fleet.write(2)
  expect(fleet.replica(1).checkpointOf(1)?.op).toBeGreaterThan(fleet.replica(1).certifiedOp)
  fleet.kill(0)
  isUnheard = false
  // 2 fell out of the log; it has failed in nothing.
  isCut = false
  fleet.run(2_000)
  fleet.boot(0, { voters: 3, token: "" })
  fleet.run(20 * SCRIPT_PROCESS_LIMITS.transfer_silent_ms)
  expect(fleet.replica(0)).toMatchObject({ status: "recovering", phase: "recovery" })
  isSlow = false
  expect(fleet.run(60_000, () => fleet.isWell())).toBe(true)
  fleet.write(2)
})

/** A machine without a vote asks 0 for the first page, which changes with every op. */
function askForPage(fleet: Fleet): void {
  fleet.deliver({
    from: 3,
    to: 0,
    message: {
      type: "get_checkpoint",
      nonce: 1,
      part: "pages",
      index: 0,
      mask_low: 1,
      mask_high: 0,
      from: 3,
      epoch: 0,
      cv: new Array<number>(SCRIPT_LIMITS.slots_max).fill(0),
    },
  })
}

/**
 * 1 is dead. Somebody asks 0 for a page that was given away and has changed since: 0 has not got it any more, and says
 * so as long as 2 may certify what comes next. Then the ring is full, and the next op is a checkpoint.
 */
function refusing(): Fleet {
  const limits = { ...CHECKPOINTS_SOON, process: { ...CHECKPOINTS_SOON.process, checkpoint_soon_ms: 2_000 } }
  const fleet = new Fleet({ voters: 3, machines: 3, limits })
  fleet.kill(1)
  for (let ops = 0; ops < OPS_MAX && fleet.replica(0).certifiedOp === 0; ops += 1) {
    fleet.write(1)
    fleet.run(100)
  }
  askForPage(fleet)
  for (let ops = 0; ops < OPS_MAX && !fleet.replica(0).isRingFull; ops += 1) {
    fleet.write(1)
  }
  for (let passed = 0; passed < SCRIPT_PROCESS_LIMITS.transfer_silent_ms; passed += TICK_MS) {
    askForPage(fleet)
    fleet.run(TICK_MS)
  }
  expect(fleet.replica(0)).toMatchObject({ isPrimary: true, isRingFull: true })
  expect(fleet.replica(0).counters.checkpoints_local).toBe(0)
  return fleet
}

test("a root that is not known yet is not given up for an image of one's own", () => {
  const fleet = refusing()
  const { op } = fleet.replica(0)
  expect(fleet.run(3_000, () => fleet.replica(0).op > op)).toBe(true)
  // 2 acknowledges the checkpoint, and finds a flipped bit before it has said its root: 0 is asked by 2 when it has
  // applied the op and has no digests yet.
  fleet.flip(2, UNUSED_BYTE)
  fleet.run(TICK_MS)
  expect([fleet.replica(2).copying?.from, fleet.replica(2).op, fleet.replica(0).commit]).toEqual([0, op + 1, op])
  fleet.run(10 * SCRIPT_PROCESS_LIMITS.transfer_silent_ms)
  expect(fleet.replica(0).counters.checkpoints_local).toBe(1)
  // Nothing could follow the checkpoint, had it not been certified.
  fleet.write(OPS_MAX)
})

test("a refusal of long ago is no patience with who asks now", () => {
  const fleet = refusing()
  const { certifiedOp } = fleet.replica(0)
  expect(fleet.run(5_000, () => fleet.replica(0).certifiedOp > certifiedOp)).toBe(true)
  fleet.run(10 * SCRIPT_PROCESS_LIMITS.transfer_silent_ms)
  const isPreparing = (): boolean => {
    const { log, op } = fleet.replica(0)
    return log.header(op)?.operation === Operation.checkpoint && fleet.replica(2).op < op
  }
  for (let ops = 0; ops < OPS_MAX && !isPreparing(); ops += 1) {
    fleet.write(1)
  }
  fleet.flip(2, UNUSED_BYTE)
  fleet.run(SCRIPT_PROCESS_LIMITS.transfer_silent_ms / 2)
  expect(fleet.replica(2).copying?.from).toBe(0)
  expect(fleet.replica(0).counters.checkpoints_local).toBe(0)
  expect(fleet.run(20_000, () => fleet.isWell())).toBe(true)
  fleet.write(OPS_MAX)
})

test("who is handed an arena that is none asks another", () => {
  const fleet = new Fleet({ voters: 3, machines: 3 })
  const cut = new Set([1])
  let isUnsaid = false
  fleet.loses = ({ from, to, message }) => {
    return cut.has(from) || cut.has(to) || (isUnsaid && message.type === "checkpoint_ok")
  }
  fleet.write(30)
  fleet.run(200)
  // The first bytes say that it is an arena; 0 believes it, and nobody else says what its root is.
  isUnsaid = true
  fleet.flip(0, 0)
  fleet.checkpoint(2)
  fleet.run(100)
  cut.add(2)
  cut.delete(1)
  fleet.run(30 * SCRIPT_PROCESS_LIMITS.transfer_silent_ms)
  expect(fleet.replica(0).counters.checkpoints_local).toBeGreaterThan(0)
  expect(fleet.replica(1)).toMatchObject({ isTorn: true, counters: { checkpoints_received: 0 } })
  fleet.kill(0)
  cut.clear()
  isUnsaid = false
  expect(fleet.run(60_000, () => fleet.isWell() && fleet.replica(1).counters.checkpoints_received > 0)).toBe(true)
  fleet.write(2)
})

test("one of two whose roots differ makes no majority of itself and of a third that has no state", () => {
  const fleet = new Fleet({ voters: 3, machines: 3 })
  const cut = new Set(["0 2", "2 0", "1 2", "2 1"])
  let early: Letter | undefined
  fleet.loses = (letter) => {
    const { from, to, message } = letter
    early ??= from === 0 && to === 1 && message.type === "checkpoint_ok" && !message.is_certified ? letter : undefined
    return cut.has(`${from} ${to}`)
  }
  fleet.write(20)
  fleet.run(200)
  fleet.write(1)
  fleet.flip(1, SPARE_BYTE)
  fleet.checkpoint(0)
  fleet.run(200)
  expect([fleet.replica(0).isCheckpointDisputed, fleet.replica(1).isCheckpointDisputed]).toEqual([true, true])
  const { certifiedOp } = fleet.replica(1)
  // 2, which failed in nothing but has no state, hears 1 alone. What 0 said long ago comes now: it is no newer word.
  cut.clear()
  for (const link of ["0 1", "1 0", "0 2", "2 0"]) {
    cut.add(link)
  }
  assert(early !== undefined, "0 has said a root to 1")
  fleet.deliver(early)
  fleet.run(30 * SCRIPT_PROCESS_LIMITS.transfer_silent_ms)
  expect(fleet.replica(2)).toMatchObject({ isTorn: true, counters: { checkpoints_received: 0 } })
  expect(fleet.replica(1).certifiedOp).toBe(certifiedOp)
  cut.clear()
  fleet.run(10 * SCRIPT_PROCESS_LIMITS.transfer_silent_ms)
  expect(fleet.replica(2).counters.checkpoints_received).toBe(0)
  // Who copies anew contradicts nobody any more: an operator boots one of the two.
  fleet.kill(1)
  fleet.boot(1, { voters: 3, token: "" })
  expect(fleet.run(60_000, () => fleet.isWell())).toBe(true)
  fleet.write(OPS_MAX)
  fleet.run(200)
  expect(new Set([0, 1, 2].map((slot) => fleet.process(slot).digest())).size).toBe(1)
})

test("a dispute ends with the next checkpoint, when the third machine has no word on this one", () => {
  const process = { ...CHECKPOINTS_SOON.process, checkpoint_ms: 10_000 }
  const fleet = new Fleet({ voters: 3, machines: 3, limits: { ...CHECKPOINTS_SOON, process } })
  const cut = new Set([2])
  let isUnsaid = false
  fleet.loses = ({ from, to, message }) => {
    return cut.has(from) || cut.has(to) || (isUnsaid && message.type === "checkpoint_ok")
  }
  fleet.write(20)
  fleet.run(200)
  fleet.write(1)
  fleet.flip(1, SPARE_BYTE)
  isUnsaid = true
  fleet.checkpoint(0)
  fleet.write(1)
  // 1 is cut off before it has said its root, and 2 copies the state of 0 as it is by now.
  cut.clear()
  cut.add(1)
  expect(fleet.run(5_000, () => fleet.replica(2).counters.checkpoints_received > 0)).toBe(true)
  expect(fleet.replica(0).counters.checkpoints_local).toBeGreaterThan(0)
  cut.clear()
  isUnsaid = false
  expect(fleet.run(1_000, () => fleet.replica(0).isCheckpointDisputed)).toBe(true)
  expect(fleet.run(20_000, () => fleet.replica(1).counters.memory_faults === 1 && fleet.isWell())).toBe(true)
  fleet.write(4)
  expect([0, 2].map((slot) => fleet.replica(slot).counters.memory_faults)).toEqual([0, 0])
})

test("a donor's pool is wrong: it makes another image, though nobody else can", () => {
  const fleet = new Fleet({ voters: 3, machines: 3 })
  let isCut = true
  fleet.loses = ({ from, to }) => isCut && (from === 2 || to === 2)
  fleet.write(20)
  fleet.checkpoint(1)
  fleet.run(1_000, () => fleet.process(1).isCertified())
  // What the first page was lies in the pool since.
  fleet.write(1)
  fleet.kill(0)
  const { pool } = fleet.process(1)
  pool[0] = (pool[0] ?? 0) ^ 4
  isCut = false
  const isBack = (): boolean => fleet.replica(2).counters.checkpoints_received > 0 && fleet.isWell()
  expect(fleet.run(40 * SCRIPT_PROCESS_LIMITS.transfer_silent_ms, isBack)).toBe(true)
  fleet.write(2)
  expect(fleet.replica(1).counters.memory_faults + fleet.replica(2).counters.memory_faults).toBe(0)
})

test("a window is not done with what was asked for of an older image", () => {
  const digest = (prefix: string, body: Uint8Array, start: number, end: number): Digest =>
    createHash("sha256").update(prefix).update(body.subarray(start, end)).digest("hex").slice(0, 32)
  const pagesOf = (...fill: readonly number[]): { readonly arena: Uint8Array; readonly pages: ArenaPages } => {
    const arena = new Uint8Array(fill.length * PAGE_BYTES)
    const pages = new ArenaPages({
      arena,
      pageBytes: PAGE_BYTES,
      memory: new Uint8Array(pagesBytes(fill.length)),
      pool: new Uint8Array(0),
    })
    for (const [page, value] of fill.entries()) {
      arena.fill(value, page * PAGE_BYTES, (page + 1) * PAGE_BYTES)
    }
    pages.rebuild()
    return { arena, pages }
  }
  const own = pagesOf(1, 1)
  const chunkBytes = 2 * PAGE_BYTES
  const receiver = new CheckpointReceiver({ pages: own.pages, chunkBytes, digest })
  receiver.start({ donor: 1, nonce: 9, now: 0, isBlank: false })
  /** Of the image after `op`: its table, or those of its pages that the mask says. */
  const piece = (op: number, fill: readonly number[], mask?: number): void => {
    const { arena, pages } = pagesOf(...fill)
    const wanted = fill.flatMap((_, page) => (((mask ?? 0) >>> page) & 1 ? [page] : []))
    const body = Buffer.concat(wanted.map((page) => arena.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES)))
    receiver.accept(
      {
        type: "checkpoint_chunk",
        nonce: 9,
        op,
        op_checksum: "a",
        root: pages.root(digest, rootPrefix(op, "a")),
        part: mask === undefined ? "table" : "pages",
        index: 0,
        mask_low: mask ?? 0,
        mask_high: 0,
        body: mask === undefined ? pages.table : body,
        from: 1,
        epoch: 0,
        cv: [],
      },
      0,
    )
  }
  // In the first image only page 0 differs from what is here, and is asked for.
  piece(10, [2, 1])
  expect(receiver.nextWanted({ now: 0, retryMs: 1, inFlightMax: 4 })).toMatchObject({ part: "pages", mask_low: 1 })
  // The donor's image moves on: in the next both differ. What was asked for comes from it, behind its table.
  piece(20, [3, 3])
  piece(20, [3, 3], 1)
  expect(receiver.isComplete).toBe(false)
  expect(receiver.nextWanted({ now: 1, retryMs: 1, inFlightMax: 4 })).toMatchObject({ mask_low: 2 })
  // Another donor: what is right already is known, and is not looked at again.
  receiver.start({ donor: 1, nonce: 9, now: 1, isBlank: false })
  piece(20, [3, 3])
  expect(receiver.nextWanted({ now: 2, retryMs: 1, inFlightMax: 4 })).toMatchObject({ mask_low: 2 })
  piece(20, [3, 3], 2)
  expect(receiver.isComplete).toBe(true)
  expect([own.arena[0], own.arena[PAGE_BYTES]]).toEqual([3, 3])
})

test("a dispute is not over when the other says its next root", () => {
  const process = { ...CHECKPOINTS_SOON.process, checkpoint_ms: 700 }
  const fleet = new Fleet({ voters: 3, machines: 3, limits: { ...CHECKPOINTS_SOON, process } })
  let isUnsaid = false
  fleet.loses = ({ message }) => isUnsaid && message.type === "checkpoint_ok"
  fleet.write(2)
  fleet.run(200)
  fleet.kill(2)
  isUnsaid = true
  fleet.flip(0, SPARE_BYTE)
  fleet.checkpoint(0)
  fleet.write(1)
  fleet.run(300)
  isUnsaid = false
  expect(fleet.run(200, () => fleet.replica(0).isCheckpointDisputed)).toBe(true)
  // 0 prepares the next; its digests take their time, and 1 is done with them first.
  const { op } = fleet.replica(0)
  expect(fleet.run(450, () => fleet.replica(0).op > op)).toBe(true)
  expect(fleet.replica(0).isMemoryDisputed).toBe(false)
  fleet.stopped.add(0)
  expect(fleet.run(100, () => fleet.replica(0).commit > op)).toBe(true)
  fleet.read(0)
  expect(fleet.run(500, () => fleet.replica(0).checkpointOf(1)?.op === op + 1)).toBe(true)
  fleet.run(100)
  expect(fleet.answers).toEqual([])
})

test("a primary that nobody can answer leaves its view in a dispute too", () => {
  const fleet = new Fleet({ voters: 3, machines: 3 })
  const cut = new Set(["0 2", "2 0"])
  fleet.loses = ({ from, to }) => cut.has(`${from} ${to}`)
  fleet.write(2)
  fleet.run(200)
  fleet.flip(0, SPARE_BYTE)
  fleet.checkpoint(0)
  expect(fleet.run(200, () => fleet.replica(0).isCheckpointDisputed)).toBe(true)
  // One machine has a fault: its memory is wrong, and it hears nobody. It is heard.
  cut.clear()
  cut.add("1 0")
  cut.add("2 0")
  const isAnother = (): boolean => fleet.replica(1).isPrimary && fleet.replica(2).status === "normal"
  expect(fleet.run(20_000, isAnother)).toBe(true)
})

test("in a dispute with a primary that the third machine does not hear, those two go on", () => {
  const fleet = new Fleet({ voters: 3, machines: 3 })
  const cut = new Set(["0 2", "2 0"])
  fleet.loses = ({ from, to }) => cut.has(`${from} ${to}`)
  fleet.write(2)
  fleet.run(200)
  // One machine has a fault: its memory is wrong, and so is its link with 2.
  fleet.flip(0, SPARE_BYTE)
  fleet.checkpoint(0)
  expect(fleet.run(200, () => fleet.replica(0).isCheckpointDisputed)).toBe(true)
  const isDecided = (): boolean => fleet.replica(0).counters.memory_faults === 1 && fleet.replica(1).isPrimary
  expect(fleet.run(30_000, isDecided)).toBe(true)
  expect([1, 2].map((slot) => fleet.replica(slot).counters.memory_faults)).toEqual([0, 0])
})

test("a change that waits for its members is given up in a dispute", () => {
  const fleet = new Fleet({ voters: 3, machines: 5 })
  fleet.kill(2)
  fleet.write(2)
  fleet.run(200)
  let isHeld = false
  fleet.loses = ({ to, message }) => {
    return isHeld && (message.type === "checkpoint_ok" || (to === 3 && ["prepare", "log"].includes(message.type)))
  }
  isHeld = true
  fleet.flip(0, SPARE_BYTE)
  fleet.checkpoint(0)
  fleet.reconfigure(0, { voters: [0, 3, 4], standbys: [], synchronous: false })
  fleet.run(50)
  isHeld = false
  // By the new epoch 1, which says that the memory of 0 is wrong, would have no word any more.
  fleet.run(1_000)
  expect([fleet.changed, fleet.replica(0).epoch]).toEqual(["memory_disputed", 0])
})

test("a question of long ago does not end a dispute", () => {
  const fleet = new Fleet({ voters: 3, machines: 3 })
  let asked: Letter | undefined
  let isCut = true
  fleet.loses = (letter) => {
    const { from, to, message } = letter
    asked = from === 1 && to === 0 && message.type === "get_checkpoint" ? letter : asked
    return isCut && (from === 1 || to === 1)
  }
  fleet.write(20)
  fleet.run(200)
  isCut = false
  expect(fleet.run(5_000, () => fleet.isWell() && asked !== undefined)).toBe(true)
  fleet.run(500)
  fleet.kill(2)
  fleet.flip(0, SPARE_BYTE)
  fleet.checkpoint(0)
  expect(fleet.run(200, () => fleet.replica(0).isCheckpointDisputed)).toBe(true)
  fleet.run(100)
  fleet.read(0)
  assert(asked !== undefined, "1 has asked")
  fleet.deliver(asked)
  fleet.run(40)
  expect(fleet.answers).toEqual([])
})

test("a pair in a dispute hands neither of its states to a third", () => {
  const fleet = new Fleet({ voters: 1, machines: 2 })
  fleet.reconfigure(0, { voters: [0], standbys: [1], synchronous: true })
  fleet.run(500)
  fleet.write(2)
  fleet.flip(0, SPARE_BYTE)
  fleet.checkpoint(0)
  expect(fleet.run(500, () => fleet.replica(0).isCheckpointDisputed)).toBe(true)
  fleet.boot(2, { voters: 1, token: "" })
  fleet.run(20 * SCRIPT_PROCESS_LIMITS.transfer_silent_ms)
  expect(fleet.replica(0).isCheckpointDisputed).toBe(true)
  expect([0, 1].map((slot) => fleet.replica(slot).counters.checkpoints_local)).toEqual([0, 0])
  expect(fleet.replica(2).counters.checkpoints_received).toBe(0)
})

test("keys that expire do not use up the log that a third machine needs to decide", () => {
  const fleet = new Fleet({ voters: 3, machines: 3 })
  const cut = new Set<number>()
  fleet.loses = ({ from, to }) => cut.has(from) || cut.has(to)
  const lives = Array.from({ length: 12 }, (_, index) => 5_000 + 200 * index)
  for (const ms of lives) {
    fleet.writeFor(ms, `t${ms}`)
  }
  fleet.write(1)
  fleet.run(200)
  cut.add(2)
  fleet.flip(0, SPARE_BYTE)
  fleet.checkpoint(0)
  expect(fleet.run(200, () => fleet.replica(0).isCheckpointDisputed)).toBe(true)
  // Nobody writes, and keys expire. 2 has lost nothing when its link is mended.
  fleet.run(10_000)
  const { log, certifiedOp } = fleet.replica(0)
  expect(log.first).toBeLessThanOrEqual(certifiedOp + 1)
  cut.clear()
  expect(fleet.run(30_000, () => fleet.replica(0).counters.memory_faults === 1 && fleet.isWell())).toBe(true)
  fleet.write(2)
})
