/**
 * Every write tells its page before: else a machine would one day find its own memory wrong, and all of them at once.
 * And what is kept of a checkpoint is that checkpoint, whatever is written, copied and digested meanwhile.
 * Plane: control.
 */
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { arenaBytes, PAGE_BYTES } from "../../../appliance/state_machine/arena.ts"
import { CommandCode, CommandFlag } from "../../../appliance/state_machine/command.ts"
import { EVENT_BODY_BYTES } from "../../../appliance/state_machine/event_ring.ts"
import { pageDigest } from "../../../appliance/state_machine/page_digest.ts"
import { ArenaPages, pagesBytes } from "../../../appliance/state_machine/pages.ts"
import { RECORD_TABLES, TableNumber } from "../../../appliance/state_machine/record_tables.ts"
import { Operation, WALL_CLOCK_BYTES } from "../../../appliance/types/contracts.ts"
import { CLUSTER_LIMITS, type ClusterLimits } from "../../../appliance/types/limits.ts"
import { PRNG } from "../../../appliance/types/prng.ts"
import { type Command, Driver, rebuilt, SMALL_LIMITS } from "./driver.ts"

/** Some forty pages, small enough to be compared after every op; a reply holds the largest record. */
const SMALL: ClusterLimits = {
  ...SMALL_LIMITS,
  session_reply_bytes_max: 1_200,
  kv_entries_max: 600,
  // Often full, so that blocks of sparse pages move.
  kv_slab_bytes: 48 * 1024,
  value_bytes_max: 1_000,
}

/** Every table has pages of its own, and values span several. */
const LARGE: ClusterLimits = {
  ...CLUSTER_LIMITS,
  sessions_max: 3,
  kv_entries_max: 4_096,
  kv_slab_bytes: 768 * 1024,
  key_bytes_max: 64,
  value_bytes_max: 12_000,
  pulse_keys_max: 16,
}

// ---------------------------------------------------------------- ops of every kind

function recordCommand(random: PRNG): Command {
  const table = random.below(RECORD_TABLES.length)
  const bare = { flags: table, argument: 0n, key: "", value: "" }
  if (table === TableNumber.events) {
    return { ...bare, code: CommandCode.record_put, value: "e".repeat(EVENT_BODY_BYTES) }
  }
  const key = `r${random.below(8)}`
  if (random.chance(1, 3)) {
    return { ...bare, code: CommandCode.record_remove, key }
  }
  // A machine's address has no bytes.
  const head = `${String.fromCharCode(key.length)}${key}`.padEnd(64, "\0")
  const value = `${head}\0`.padEnd(RECORD_TABLES[table]?.recordBytes ?? 0, "xyz"[random.below(3)])
  return { ...bare, code: table === 0 ? CommandCode.machine_put : CommandCode.record_put, key, value }
}

function randomCommand(random: PRNG, limits: ClusterLimits, keys: number): Command {
  const key = `k${random.below(keys)}`
  switch (random.below(10)) {
    case 0:
    case 1:
      return { code: CommandCode.del, flags: 0, argument: 0n, key, value: "" }
    case 2:
      return { code: CommandCode.incr_by, flags: 0, argument: BigInt(random.below(9)), key: `n${key}`, value: "" }
    case 3:
      return recordCommand(random)
    case 4:
      return { code: CommandCode.get, flags: 0, argument: 0n, key, value: "" }
    default: {
      const expires = random.chance(1, 4)
      const flags = (expires ? CommandFlag.expires : 0) | (random.chance(1, 8) ? CommandFlag.get : 0)
      const argument = expires ? BigInt(1 + random.below(5_000)) : 0n
      const bytes = random.chance(1, 4) ? random.below(limits.value_bytes_max) : random.below(100)
      return { code: CommandCode.set, flags, argument, key, value: "v".repeat(bytes) }
    }
  }
}

const NOTHING = new Uint8Array(0)
/** Times in which much is stored and times in which little is, so that every list of the slabs is walked. */
const SEASON_OPS = 100

/** One op of any kind but a checkpoint; `index` tells the season. */
function step(driver: Driver, random: PRNG, limits: ClusterLimits, index: number): void {
  driver.now += random.below(20)
  switch (random.below(40)) {
    case 0:
      driver.apply(Operation.pulse, NOTHING)
      break
    case 1:
      driver.apply(Operation.register, new Uint8Array(16).fill(random.below(250)))
      // Its own session may have been evicted: it registers anew.
      driver.session = Number(driver.apply(Operation.register, new Uint8Array(16).fill(7))[0])
      driver.request = 0
      break
    case 2: {
      const body = new Uint8Array(WALL_CLOCK_BYTES)
      new DataView(body.buffer).setUint32(0, driver.now * 2, true)
      driver.apply(Operation.wall_clock, body)
      break
    }
    case 3:
      driver.apply(Operation.reconfigure, new Uint8Array(random.below(41)).fill(random.below(250)))
      break
    default: {
      const keys = index % (2 * SEASON_OPS) < SEASON_OPS ? 400 : 10
      const commands = Array.from({ length: 1 + random.below(3) }, () => randomCommand(random, limits, keys))
      driver.batch(commands)
      driver.read([{ code: CommandCode.get, flags: 0, argument: 0n, key: commands[0]?.key ?? "", value: "" }])
    }
  }
}

function checkpoint(driver: Driver): void {
  driver.apply(Operation.checkpoint, NOTHING)
}

// ---------------------------------------------------------------- what is compared

/** The digests of an image, page by page. */
function tableOf(image: Uint8Array, pageBytes: number): Uint8Array {
  const table = new Uint32Array((image.length / pageBytes) * 2)
  const words = new Int32Array(image.buffer, image.byteOffset, image.length / 4)
  const digest = { low: 0, high: 0 }
  for (let page = 0; page < table.length / 2; page += 1) {
    pageDigest(words, (page * pageBytes) / 4, pageBytes / 4, digest)
    table[2 * page] = digest.low
    table[2 * page + 1] = digest.high
  }
  return new Uint8Array(table.buffer)
}

function isEqual(one: Uint8Array, two: Uint8Array): boolean {
  return Buffer.compare(one, two) === 0
}

/** Asks for every page of the image; `wrong` were answered and are not the image's, `lost` were not answered. */
function copies(pages: ArenaPages, image: Uint8Array): { wrong: number[]; lost: number[] } {
  const page = new Uint8Array(pages.pageBytes)
  const wrong: number[] = []
  const lost: number[] = []
  for (let at = 0; at < pages.count; at += 1) {
    const start = at * pages.pageBytes
    if (!pages.copyFrozen(at, page, 0)) {
      lost.push(at)
    } else if (!isEqual(page, image.subarray(start, start + pages.pageBytes))) {
      wrong.push(at)
    }
  }
  return { wrong, lost }
}

/** Pages that can be asked and told without those that they are copied from noticing. */
class Probe {
  readonly pages: ArenaPages

  constructor(arena: Uint8Array, pageBytes: number, poolBytes: number) {
    this.pages = new ArenaPages({
      arena,
      pageBytes,
      memory: new Uint8Array(pagesBytes(arena.length / pageBytes)),
      pool: new Uint8Array(poolBytes),
    })
  }

  /** What is so at any moment: a page of the image is had or said to be lost, and its digest is its own. */
  check(pages: ArenaPages, image: Uint8Array, place: string): { lost: number } {
    this.pages.copyFrom(pages)
    const wasWhole = this.pages.isWhole
    const { wrong, lost } = copies(this.pages, image)
    expect(wrong, `${place}: pages that are not the image's`).toEqual([])
    expect(this.pages.isWhole, `${place}: a lost page says so`).toBe(wasWhole && lost.length === 0)
    this.pages.takeDigests(this.pages.count)
    expect(this.pages.pending).toBe(0)
    expect(isEqual(this.pages.table, tableOf(image, pages.pageBytes)), `${place}: digests of the image`).toBe(true)
    return { lost: lost.length }
  }
}

/**
 * Stands between the tables and the pages, byte by byte: a page that another write of the same op has told of would
 * hide the one that told nothing.
 */
class Told {
  readonly #arena: Uint8Array
  readonly #before: Uint8Array
  readonly #toldAt: Uint32Array
  readonly #ranges: [number, number][] = []
  #turn = 1
  /** Bytes that had changed when they were told of. */
  late = 0

  constructor(driver: Driver) {
    const { arena, pages } = driver.machine
    this.#arena = arena
    this.#before = arena.slice()
    this.#toldAt = new Uint32Array(arena.length)
    const willWrite = pages.willWrite.bind(pages)
    pages.willWrite = (start: number, end: number): void => {
      this.#tell(start, end)
      willWrite(start, end)
    }
  }

  #tell(start: number, end: number): void {
    expect(start < end && end <= this.#arena.length, `told of ${start} to ${end}`).toBe(true)
    this.#ranges.push([start, end])
    for (let at = start; at < end; at += 1) {
      if (this.#toldAt[at] !== this.#turn) {
        this.#toldAt[at] = this.#turn
        this.late += this.#arena[at] === this.#before[at] ? 0 : 1
      }
    }
  }

  /** True when no byte has changed since the last call but those told of, all of them before. */
  isComplete(): boolean {
    for (const [start, end] of this.#ranges.splice(0)) {
      this.#before.set(this.#arena.subarray(start, end), start)
    }
    this.#turn += 1
    return this.late === 0 && isEqual(this.#before, this.#arena)
  }
}

describe("writes", () => {
  test.each([
    ["small", SMALL, 12, 500],
    ["large", LARGE, 1, 1_200],
  ] as const)("no byte of the %s arena changes of which nobody was told before", (_, limits, seeds, ops) => {
    for (let seed = 1; seed <= seeds; seed += 1) {
      const driver = new Driver(limits)
      const random = new PRNG(seed)
      const told = new Told(driver)
      const { pages } = driver.machine
      for (let index = 0; index < ops; index += 1) {
        if (random.chance(1, 20)) {
          checkpoint(driver)
        } else {
          step(driver, random, limits, index)
        }
        expect(told.isComplete(), `seed ${seed}, op ${driver.op}`).toBe(true)
        expect(pages.scrub(pages.count), `seed ${seed}, op ${driver.op}`).toBe(-1)
      }
    }
  })
})

describe("moved blocks", () => {
  test("are told of byte by byte, where they lay, where they come to lie, and who has them", () => {
    const limits = { ...SMALL, kv_entries_max: 4_000, kv_slab_bytes: 192 * 1024 }
    const driver = new Driver(limits)
    const random = new PRNG(1)
    const told = new Told(driver)
    const run = (code: number, key: string, bytes: number): boolean => {
      const [answer] = driver.batch([{ code, flags: 0, argument: 0n, key, value: "v".repeat(bytes) }])
      expect(told.isComplete(), `op ${driver.op}`).toBe(true)
      return answer === "ok"
    }
    for (const [season, from, to] of [
      ["a", 80, 110],
      ["b", 300, 340],
      ["c", 150, 180],
    ] as const) {
      let stored = 0
      let made = 0
      for (
        let bytes: number = from;
        run(CommandCode.set, `${season}${made}`, bytes);
        bytes = random.between(from, to)
      ) {
        stored += bytes
        made += 1
      }
      // Without moves it would be little: in every slab page something of the season before is left.
      expect(stored / limits.kv_slab_bytes, season).toBeGreaterThan(0.6)
      for (let index = 0; index < made; index += 1) {
        if (index % 12 > 0) {
          run(CommandCode.del, `${season}${index}`, 0)
        }
      }
    }
  })
})

describe("checkpoints", () => {
  test("with room for all, every page of one can be had at any moment, and every digest is of its page", () => {
    for (let seed = 1; seed <= 8; seed += 1) {
      const bytes = arenaBytes(SMALL)
      const driver = new Driver(SMALL, new Uint8Array(bytes))
      const random = new PRNG(seed)
      const { pages, arena } = driver.machine
      const probe = new Probe(arena, PAGE_BYTES, bytes)
      pages.hold(true)
      checkpoint(driver)
      let image = arena.slice()
      for (let index = 0; index < 300; index += 1) {
        if (random.chance(1, 25)) {
          checkpoint(driver)
          image = arena.slice()
        } else {
          step(driver, random, SMALL, index)
        }
        pages.takeDigests(random.below(3))
        const place = `seed ${seed}, op ${driver.op}`
        expect(probe.check(pages, image, place), place).toEqual({ lost: 0 })
        expect(pages.isWhole, place).toBe(true)
      }
    }
  })

  test("with little room, a page of one is what it was or is said to be lost, and every digest is of its page", () => {
    let lost = 0
    let whole = 0
    for (let seed = 1; seed <= 16; seed += 1) {
      const random = new PRNG(seed)
      const poolBytes = random.below(6) * PAGE_BYTES
      const driver = new Driver(SMALL, new Uint8Array(poolBytes))
      const { pages, arena } = driver.machine
      const probe = new Probe(arena, PAGE_BYTES, poolBytes)
      const page = new Uint8Array(PAGE_BYTES)
      checkpoint(driver)
      let image = arena.slice()
      for (let index = 0; index < 300; index += 1) {
        if (random.chance(1, 25)) {
          checkpoint(driver)
          image = arena.slice()
        } else {
          step(driver, random, SMALL, index)
        }
        pages.takeDigests(random.below(3))
        if (random.chance(1, 10)) {
          pages.hold(random.chance(1, 2))
        }
        // Some pages are handed out, so that their room is for others.
        pages.copyFrozen(random.below(pages.count), page, 0)
        const found = probe.check(pages, image, `seed ${seed}, op ${driver.op}`)
        lost += found.lost
        whole += found.lost === 0 && pages.changed > 1 ? 1 : 0
      }
    }
    expect(lost).toBeGreaterThan(0)
    expect(whole).toBeGreaterThan(0)
  })

  test("who copies one page by page while it is written to has it, or knows that it has not", () => {
    const outcomes = { had: 0, lost: 0 }
    for (let seed = 1; seed <= 60; seed += 1) {
      const random = new PRNG(seed)
      const driver = new Driver(SMALL, new Uint8Array(random.below(12) * PAGE_BYTES))
      const { pages, arena } = driver.machine
      for (let index = 0; index < 100; index += 1) {
        step(driver, random, SMALL, index)
      }
      pages.hold(true)
      checkpoint(driver)
      const image = arena.slice()
      const copy = new Uint8Array(arena.length)
      let isHad = true
      for (let page = 0; page < pages.count; page += 1) {
        isHad = pages.copyFrozen(page, copy, page * PAGE_BYTES) && isHad
        // The other way round it may not be so yet: a page further on is lost before it is asked for.
        expect(isHad || !pages.isWhole, `seed ${seed}, page ${page}`).toBe(true)
        if (random.chance(1, 2)) {
          step(driver, random, SMALL, driver.op)
        }
      }
      expect(isHad, `seed ${seed}`).toBe(pages.isWhole)
      expect(!isHad || isEqual(copy, image), `seed ${seed}`).toBe(true)
      outcomes[isHad ? "had" : "lost"] += 1
      pages.takeDigests(pages.count)
      expect(isEqual(pages.table, tableOf(image, PAGE_BYTES)), `seed ${seed}`).toBe(true)
    }
    expect(Math.min(outcomes.had, outcomes.lost)).toBeGreaterThan(5)
  })
})

/** As good as a hash here: two roots are equal only when all digests are. */
const digest = (prefix: string, bytes: Uint8Array, start: number, end: number): string =>
  prefix + Buffer.from(bytes.subarray(start, end)).toString("hex")

describe("one log", () => {
  test("gives one root: digests at once, by and by, or on a machine that goes on from the bytes", () => {
    const roots = new Set<string>()
    for (let seed = 1; seed <= 10; seed += 1) {
      const chance = new PRNG(1_000 + seed)
      const atOnce = { driver: new Driver(SMALL), random: new PRNG(seed) }
      const byAndBy = { driver: new Driver(SMALL), random: new PRNG(seed) }
      const anew = { driver: new Driver(SMALL), random: new PRNG(seed) }
      const all = [atOnce, byAndBy, anew]
      const cut = chance.below(300)
      let isFromBytes = true
      for (let index = 0; index < 300; index += 1) {
        const isCheckpoint = index % 30 === 29
        for (const { driver, random } of all) {
          if (isCheckpoint) {
            checkpoint(driver)
          } else {
            step(driver, random, SMALL, index)
          }
        }
        if (index === cut) {
          anew.driver = rebuilt(anew.driver, SMALL)
          anew.driver.machine.pages.rebuild()
          isFromBytes = false
        }
        isFromBytes = isFromBytes || isCheckpoint
        atOnce.driver.machine.pages.takeDigests(Number.MAX_SAFE_INTEGER)
        byAndBy.driver.machine.pages.takeDigests(chance.below(3))
        byAndBy.driver.machine.pages.hold(chance.chance(1, 2))
        if (index % 30 === 28) {
          for (const { driver } of all) {
            driver.machine.pages.takeDigests(driver.machine.pages.count)
          }
          const [one, two, three] = all.map(({ driver }) => driver.machine)
          const place = `seed ${seed}, op ${atOnce.driver.op}`
          expect(isEqual(one?.arena ?? NOTHING, two?.arena ?? NOTHING), place).toBe(true)
          expect(isEqual(one?.arena ?? NOTHING, three?.arena ?? NOTHING), place).toBe(true)
          expect(isEqual(one?.pages.table ?? NOTHING, two?.pages.table ?? NOTHING), place).toBe(true)
          const root = one?.pages.root(digest, place) ?? ""
          expect(two?.pages.root(digest, place) === root, place).toBe(true)
          // Until the next checkpoint the image of who begins anew is what it began with.
          expect(three?.pages.root(digest, place) === root, place).toBe(isFromBytes)
          roots.add(root)
        }
      }
    }
    expect(roots.size).toBe(100)
  })
})

describe("scrub", () => {
  /** The first page that the scrub reports in one round, 64 pages a call. */
  const round = (pages: ArenaPages): number => {
    let found = -1
    for (let turn = 0; turn < Math.ceil(pages.count / 64) && found < 0; turn += 1) {
      found = pages.scrub(64)
    }
    return found
  }
  const flip = (bytes: Uint8Array, bit: number): void => {
    bytes[bit >>> 3] = (bytes[bit >>> 3] ?? 0) ^ (1 << (bit & 7))
  }

  test("finds a flipped bit of a clean page or of the table in one round, and the page copied back repairs it", () => {
    const driver = new Driver(LARGE)
    const random = new PRNG(8)
    for (let index = 0; index < 300; index += 1) {
      step(driver, random, LARGE, index)
    }
    checkpoint(driver)
    for (let index = 0; index < 3; index += 1) {
      step(driver, random, LARGE, index)
    }
    const { pages, arena } = driver.machine
    pages.takeDigests(pages.count)
    const changed = new Set(tableDifferences(pages.table, tableOf(arena, PAGE_BYTES)))
    expect(changed.size).toBe(pages.changed)
    const seen = { clean: 0, changed: 0 }
    for (let turn = 0; turn < 400; turn += 1) {
      const inTable = turn % 2 === 1
      const bytes = inTable ? pages.table : arena
      // Some in pages that have changed: they are few.
      const page = turn % 4 < 2 ? random.below(pages.count) : ([...changed][random.below(changed.size)] ?? 0)
      const pageBits = (inTable ? 8 : PAGE_BYTES) * 8
      const bit = page * pageBits + random.below(pageBits)
      const good = arena.slice(page * PAGE_BYTES, (page + 1) * PAGE_BYTES)
      flip(bytes, bit)
      expect(round(pages), `page ${page}`).toBe(changed.has(page) ? -1 : page)
      seen[changed.has(page) ? "changed" : "clean"] += 1
      if (inTable || changed.has(page)) {
        flip(bytes, bit)
      } else {
        const bad = arena.slice(page * PAGE_BYTES, (page + 1) * PAGE_BYTES)
        expect(pages.replace(page, bad, 0)).toBe(false)
        expect(pages.replace(page, good, 0)).toBe(true)
      }
      expect(round(pages)).toBe(-1)
    }
    expect(Math.min(seen.clean, seen.changed)).toBeGreaterThan(100)
  })

  test("an arena that is overwritten page by page, with its table, is the image then, and is scrubbed as one", () => {
    const donor = new Driver(SMALL)
    const receiver = new Driver(SMALL)
    const random = new PRNG(9)
    for (let index = 0; index < 200; index += 1) {
      step(donor, random, SMALL, index)
      step(receiver, random, SMALL, index)
    }
    checkpoint(donor)
    donor.machine.pages.takeDigests(donor.machine.pages.count)
    const { pages } = receiver.machine
    pages.abandon()
    expect(pages.isWhole).toBe(false)
    pages.table.set(donor.machine.pages.table)
    const page = new Uint8Array(PAGE_BYTES)
    let copied = 0
    for (let at = 0; at < pages.count; at += 1) {
      if (!pages.isAs(at)) {
        expect(donor.machine.pages.copyFrozen(at, page, 0)).toBe(true)
        expect(pages.replace(at, page, 0)).toBe(true)
        copied += 1
      }
    }
    pages.adopt()
    expect(copied).toBeGreaterThan(5)
    expect([pages.isWhole, pages.changed, pages.pending]).toEqual([true, 0, 0])
    expect(isEqual(receiver.machine.arena, donor.machine.arena)).toBe(true)
    expect(pages.root(digest, "") === donor.machine.pages.root(digest, "")).toBe(true)
    flip(receiver.machine.arena, 12_345 * 8)
    expect(round(pages)).toBe(Math.floor(12_345 / PAGE_BYTES))
  })
})

/** Pages whose digests differ. */
function tableDifferences(one: Uint8Array, two: Uint8Array): number[] {
  const pages: number[] = []
  for (let page = 0; page < one.length / 8; page += 1) {
    if (!isEqual(one.subarray(8 * page, 8 * page + 8), two.subarray(8 * page, 8 * page + 8))) {
      pages.push(page)
    }
  }
  return pages
}

// ---------------------------------------------------------------- pages alone, against a model

const COUNT = 12
const BYTES = 16

type Act =
  | { readonly kind: "write"; readonly start: number; readonly bytes: number; readonly value: number }
  | { readonly kind: "copy"; readonly page: number }
  | { readonly kind: "digests"; readonly pages: number }
  | { readonly kind: "hold"; readonly isRead: boolean }
  | { readonly kind: "freeze" }

const actOf: fc.Arbitrary<Act> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant("write" as const),
      start: fc.nat(COUNT * BYTES - 1),
      bytes: fc.integer({ min: 1, max: 3 * BYTES }),
      value: fc.nat(255),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("copy" as const), page: fc.nat(COUNT - 1) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("digests" as const), pages: fc.nat(4) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("hold" as const), isRead: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("freeze" as const) }) },
)

describe("pages alone", () => {
  test("keep what there is room for, no more and no less", () => {
    fc.assert(
      fc.property(fc.array(actOf, { maxLength: 80, size: "max" }), fc.nat(COUNT), (acts, poolPages) => {
        const arena = new Uint8Array(COUNT * BYTES)
        const pages = new Probe(arena, BYTES, poolPages * BYTES).pages
        const probe = new Probe(arena, BYTES, poolPages * BYTES)
        let image = arena.slice()
        let changed = new Set<number>()
        let handedOut = new Set<number>()
        let kept = new Set<number>()
        let room = Math.ceil(poolPages / 8)
        let isWhole = true
        for (const act of acts) {
          if (act.kind === "write") {
            const end = Math.min(act.start + act.bytes, arena.length)
            for (let page = Math.floor(act.start / BYTES); page * BYTES < end; page += 1) {
              if (!changed.has(page) && !handedOut.has(page)) {
                isWhole = isWhole && kept.size < room
                kept = kept.size < room ? kept.add(page) : kept
              }
              changed.add(page)
            }
            pages.willWrite(act.start, end)
            arena.fill(act.value, act.start, end)
          } else if (act.kind === "copy") {
            const copy = new Uint8Array(BYTES)
            const isHere = !changed.has(act.page) || kept.has(act.page)
            expect(pages.copyFrozen(act.page, copy, 0)).toBe(isHere)
            isWhole = isWhole && isHere
            handedOut = changed.has(act.page) ? handedOut : handedOut.add(act.page)
          } else if (act.kind === "digests") {
            const before = pages.pending
            pages.takeDigests(act.pages)
            expect(pages.pending).toBe(Math.max(0, before - act.pages))
          } else if (act.kind === "hold") {
            pages.hold(act.isRead)
            room = act.isRead ? poolPages : Math.ceil(poolPages / 8)
          } else {
            pages.takeDigests(COUNT)
            pages.freeze()
            expect(pages.pending).toBe(changed.size)
            changed = new Set()
            handedOut = new Set()
            kept = new Set()
            isWhole = true
            image = arena.slice()
          }
          expect([pages.changed, pages.isWhole]).toEqual([changed.size, isWhole])
          probe.check(pages, image, act.kind)
        }
      }),
      { numRuns: 400 },
    )
  })
})
