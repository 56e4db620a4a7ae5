/** Compaction: what one mix of sizes leaves behind is room for another, and every machine moves the same blocks. */
import fc from "fast-check"
import { expect, test } from "vitest"
import { arenaLayout, HeaderOffset, KV_ENTRY_BYTES } from "../../../appliance/state_machine/arena.ts"
import { CommandCode, ResultError } from "../../../appliance/state_machine/command.ts"
import { CLUSTER_LIMITS, type ClusterLimits } from "../../../appliance/types/limits.ts"
import { PRNG } from "../../../appliance/types/prng.ts"
import { type Answer, type Command, Driver, rebuilt, SMALL_LIMITS } from "./driver.ts"

/** As in the limits that are shipped, a slab page for each size class is less than a tenth of all. */
const LIMITS: ClusterLimits = {
  ...SMALL_LIMITS,
  kv_entries_max: 40_000,
  kv_slab_bytes: 1024 * 1024,
  value_bytes_max: 1_000,
  key_bytes_max: 16,
  session_reply_bytes_max: 2_048,
}
const USABLE_MIN = 0.9
const FULL: Answer = `error ${ResultError.kv_slab_bytes}`

/** Values of so many bytes, from and to. */
type Mix = readonly [number, number]

function command(code: number, key: string, value = ""): Command {
  return { code, flags: 0, argument: 0n, key, value }
}

/** What was stored under a key is told by its name alone: `key:bytes`. */
class Table {
  driver: Driver
  readonly twin: Driver
  readonly #limits: ClusterLimits
  readonly #random: PRNG
  keys: string[] = []
  #made = 0

  constructor(limits: ClusterLimits, seed: number) {
    this.#limits = limits
    this.#random = new PRNG(seed)
    this.driver = new Driver(limits)
    this.twin = new Driver(limits)
  }

  /** True: each page that changes is looked for after every command. */
  looksAtPages = false

  #both(commands: readonly Command[]): Answer[] {
    const answers = this.driver.batch(commands)
    expect(this.twin.batch(commands)).toEqual(answers)
    if (this.looksAtPages) {
      const { pages } = this.twin.machine
      expect(pages.scrub(pages.count)).toBe(-1)
      pages.freeze()
      pages.takeDigests(pages.count)
    }
    return answers
  }

  #value(key: string, bytes: number): string {
    return key.padEnd(bytes, "*").slice(0, bytes)
  }

  /** Stores values of the mix until the slabs are full. */
  fill([from, to]: Mix): void {
    for (let answer: Answer | undefined = "ok"; answer === "ok"; ) {
      const bytes = from + this.#random.below(to - from + 1)
      this.#made += 1
      const key = `${this.#made.toString(36)}:${bytes}`
      answer = this.#both([command(CommandCode.set, key, this.#value(key, bytes))])[0]
      expect(["ok", FULL]).toContain(answer)
      if (answer === "ok") {
        this.keys.push(key)
      }
    }
  }

  /** Leaves one in so many, at random. */
  thin(oneIn: number): void {
    const kept: string[] = []
    for (const key of this.keys) {
      if (this.#random.below(oneIn) === 0) {
        kept.push(key)
      } else {
        expect(this.#both([command(CommandCode.del, key)])).toEqual([1n])
      }
    }
    this.keys = kept
  }

  /** Goes on with a machine that has nothing but the bytes. */
  rebuild(): void {
    this.driver = rebuilt(this.driver, this.#limits)
  }

  check(): void {
    const { arena, pages } = this.driver.machine
    for (const key of this.keys) {
      const bytes = Number(key.split(":")[1])
      expect(this.driver.read([command(CommandCode.get, key)])).toEqual([`=${this.#value(key, bytes)}`])
    }
    expect(this.driver.machine.keys()).toBe(this.keys.length)
    expect(Buffer.compare(arena, this.twin.machine.arena)).toBe(0)
    expect(this.twin.machine.pages.scrub(pages.count)).toBe(-1)
  }

  /** Of the bytes of all slabs, the part that lies in blocks that hold something. */
  used(): number {
    const layout = arenaLayout(this.#limits)
    const { arena } = this.driver.machine
    const view = new DataView(arena.buffer)
    let bytes = 0
    for (let entry = 0; entry < view.getUint32(HeaderOffset.kv_used, true); entry += 1) {
      const at = layout.kv_entries + entry * KV_ENTRY_BYTES
      bytes += view.getUint8(at + 7) === 1 ? (layout.class_bytes[view.getUint8(at + 6)] ?? 0) : 0
    }
    return bytes / this.#limits.kv_slab_bytes
  }
}

const mixOf: fc.Arbitrary<Mix> = fc.constantFrom<Mix[]>(
  [30, 90],
  [20, 1_000],
  [100, 100],
  [200, 400],
  [600, 1_000],
  [1_000, 1_000],
)

test("nine tenths of the slabs can be used after any mix, on every machine the same bytes", () => {
  fc.assert(
    fc.property(
      fc.array(mixOf, { minLength: 2, maxLength: 4 }),
      fc.integer({ min: 3, max: 30 }),
      fc.nat(),
      (mixes, oneIn, seed) => {
        const table = new Table(LIMITS, seed)
        for (const mix of mixes) {
          table.fill(mix)
          expect(table.used()).toBeGreaterThan(USABLE_MIN)
          table.check()
          table.thin(oneIn)
          table.rebuild()
        }
        table.check()
      },
    ),
    { numRuns: 6 },
  )
})

test("every page that a move changes was told before", () => {
  const table = new Table({ ...LIMITS, kv_entries_max: 4_000, kv_slab_bytes: 128 * 1024 }, 2)
  table.looksAtPages = true
  for (const mix of [
    [40, 60],
    [500, 700],
    [100, 200],
  ] as const) {
    table.fill(mix)
    // Without moves it would be a third.
    expect(table.used()).toBeGreaterThan(0.75)
    table.thin(8)
  }
  table.check()
})

test("with the limits that are shipped: small values, most of them deleted, then large ones", () => {
  const table = new Table({ ...CLUSTER_LIMITS, kv_slab_bytes: 12 * 1024 * 1024 }, 1)
  table.fill([80, 700])
  const first = table.used()
  table.thin(10)
  table.fill([10_000, 16_000])
  expect([first, table.used()].every((part) => part > 0.8)).toBe(true)
  table.check()
})
