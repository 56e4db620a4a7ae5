/** The pages of an arena by hand: three states, a pool, and what is asserted. Plane: control. */
import { describe, expect, test } from "vitest"
import { arenaBytes } from "../../../appliance/state_machine/arena.ts"
import { pageDigest } from "../../../appliance/state_machine/page_digest.ts"
import { ArenaPages, pagesBytes } from "../../../appliance/state_machine/pages.ts"
import { createStateMachine } from "../../../appliance/state_machine/state_machine.ts"
import { Operation } from "../../../appliance/types/contracts.ts"
import type { FingerprintValue } from "../../../appliance/types/fingerprint.ts"
import { CLUSTER_LIMITS } from "../../../appliance/types/limits.ts"

const COUNT = 10
const BYTES = 64

class Bench {
  readonly arena: Uint8Array
  readonly pages: ArenaPages
  readonly #page: Uint8Array = new Uint8Array(BYTES)

  constructor(poolPages = COUNT, arena = new Uint8Array(COUNT * BYTES)) {
    this.arena = arena
    this.pages = new ArenaPages({
      arena,
      pageBytes: BYTES,
      memory: new Uint8Array(pagesBytes(COUNT)),
      pool: new Uint8Array(poolPages * BYTES),
    })
  }

  /** Fills a page, as whoever writes does. */
  write(page: number, value: number): void {
    this.pages.willWrite(page * BYTES, (page + 1) * BYTES)
    this.arena.fill(value, page * BYTES, (page + 1) * BYTES)
  }

  /** What is in every byte of a page of the image; undefined when it is lost. */
  frozen(page: number): number | undefined {
    this.#page.fill(255)
    if (!this.pages.copyFrozen(page, this.#page, 0)) {
      return undefined
    }
    expect(new Set(this.#page).size).toBe(1)
    return this.#page[0]
  }

  checkpoint(): void {
    this.pages.takeDigests(COUNT)
    this.pages.freeze()
  }

  flip(page: number, byte = 0): void {
    const at = page * BYTES + byte
    this.arena[at] = (this.arena[at] ?? 0) ^ 16
  }

  fingerprint(): string {
    const fields: FingerprintValue[] = []
    this.pages.fingerprint((field, value) => {
      fields.push(field, value instanceof Uint8Array ? Buffer.from(value).toString("hex") : value)
    })
    return JSON.stringify(fields)
  }
}

describe("what is told", () => {
  test.each([
    [0, 1, 1],
    [0, BYTES, 1],
    [0, BYTES + 1, 2],
    [BYTES - 1, BYTES, 1],
    [BYTES - 1, BYTES + 1, 2],
    [BYTES, 2 * BYTES, 1],
    [0, COUNT * BYTES, COUNT],
    [COUNT * BYTES - 1, COUNT * BYTES, 1],
  ])("bytes %d to %d are of %d pages", (start, end, changed) => {
    const { pages } = new Bench()
    pages.willWrite(start, end)
    pages.willWrite(start, end)
    expect(pages.changed).toBe(changed)
  })

  test("a write behind the arena is a bug of ours", () => {
    const { pages } = new Bench()
    expect(() => pages.willWrite(COUNT * BYTES - 1, COUNT * BYTES + 1)).toThrow("a write lies in the arena")
  })

  test("memory of another shape is refused", () => {
    const make = (bytes: number, pageBytes: number, memory = pagesBytes(bytes / pageBytes), shift = 0): ArenaPages =>
      new ArenaPages({
        arena: new Uint8Array(new ArrayBuffer(bytes + shift), shift, bytes),
        pageBytes,
        memory: new Uint8Array(memory),
        pool: new Uint8Array(0),
      })
    expect(make(64, 16).count).toBe(4)
    expect(() => make(72, 16)).toThrow("whole pages")
    expect(() => make(0, 16)).toThrow("whole pages")
    expect(() => make(96, 24)).toThrow("a power of two")
    expect(() => make(64, 8)).toThrow("16 bytes or more")
    expect(() => make(64, 16, pagesBytes(5))).toThrow("has its place")
    expect(() => make(64, 16, pagesBytes(4), 2)).toThrow("aligned")
  })
})

describe("an image", () => {
  test("of zeros is there from the beginning, with the digest of zeros for each page", () => {
    const bench = new Bench()
    const digest = { low: 0, high: 0 }
    pageDigest(new Int32Array(BYTES / 4), 0, BYTES / 4, digest)
    const view = new DataView(bench.pages.table.buffer, bench.pages.table.byteOffset)
    for (let page = 0; page < COUNT; page += 1) {
      expect([view.getUint32(8 * page, true), view.getUint32(8 * page + 4, true)]).toEqual([digest.low, digest.high])
      expect(bench.frozen(page)).toBe(0)
    }
    expect([bench.pages.isWhole, bench.pages.changed, bench.pages.pending]).toEqual([true, 0, 0])
  })

  test("of bytes from elsewhere has their digests", () => {
    const bench = new Bench()
    bench.arena.fill(3)
    expect(bench.pages.isAs(4)).toBe(false)
    bench.write(2, 4)
    bench.pages.rebuild()
    expect([bench.pages.changed, bench.pages.pending]).toEqual([0, 0])
    expect(bench.pages.scrub(COUNT)).toBe(-1)
    expect([bench.frozen(1), bench.frozen(2)]).toEqual([3, 4])
  })

  test("keeps the bytes of pages that are written to, however often", () => {
    const bench = new Bench()
    bench.pages.hold(true)
    bench.write(3, 1)
    bench.checkpoint()
    bench.write(3, 2)
    bench.write(3, 3)
    expect([bench.frozen(3), bench.frozen(3), bench.frozen(4)]).toEqual([1, 1, 0])
    bench.checkpoint()
    expect(bench.frozen(3)).toBe(3)
  })

  test("has room for as many pages as the pool while somebody copies, for an eighth of them else", () => {
    for (const [isRead, room] of [
      [true, 9],
      [false, 2],
    ] as const) {
      const bench = new Bench(9)
      bench.pages.hold(isRead)
      for (let page = 0; page < COUNT; page += 1) {
        bench.write(page, 1)
        expect(bench.pages.isWhole).toBe(page < room)
      }
      expect([bench.frozen(room - 1), bench.frozen(room)]).toEqual([0, undefined])
    }
  })

  test("needs no room for a page that was handed out, and gives it only once more if it is not written to", () => {
    const bench = new Bench(1)
    bench.pages.hold(true)
    expect([bench.frozen(1), bench.frozen(2), bench.frozen(2)]).toEqual([0, 0, 0])
    bench.write(1, 1)
    bench.write(3, 1)
    expect(bench.pages.isWhole).toBe(true)
    expect([bench.frozen(3), bench.frozen(2)]).toEqual([0, 0])
    expect(bench.frozen(1)).toBeUndefined()
    expect(bench.pages.isWhole).toBe(false)
    bench.checkpoint()
    expect(bench.pages.isWhole).toBe(true)
    expect([bench.frozen(1), bench.frozen(3), bench.frozen(2)]).toEqual([1, 1, 0])
  })

  test("forgets at the next who had been handed out what: room is needed anew", () => {
    const bench = new Bench(0)
    bench.write(5, 1)
    bench.checkpoint()
    expect(bench.frozen(5)).toBe(1)
    bench.checkpoint()
    bench.write(5, 2)
    expect([bench.pages.isWhole, bench.frozen(5)]).toEqual([false, undefined])
  })

  test.each(["checkpoint", "adopt"] as const)("after any number of %ss has all of its room again", (next) => {
    const bench = new Bench()
    for (let round = 0; round < 5; round += 1) {
      bench.pages.hold(true)
      for (let page = 0; page < COUNT; page += 1) {
        bench.write(page, round)
      }
      expect(bench.pages.isWhole).toBe(true)
      if (next === "adopt") {
        bench.pages.rebuild()
      } else {
        bench.checkpoint()
      }
      for (let page = 0; page < COUNT; page += 1) {
        expect(bench.frozen(page)).toBe(round)
      }
      if (next === "adopt") {
        bench.pages.adopt()
      } else {
        bench.checkpoint()
      }
      bench.write(COUNT - 1, 100)
      expect(bench.frozen(COUNT - 1)).toBe(round)
    }
  })

  test("is handed out many pages at once where it lies in the arena, with the room for what is not", () => {
    const bench = new Bench()
    for (let page = 0; page < COUNT; page += 1) {
      bench.write(page, page + 1)
    }
    bench.checkpoint()
    bench.pages.takeDigests(COUNT)
    const view = bench.pages.viewFrozen(1, 3)
    expect(view?.length).toBe(3 * BYTES)
    expect([view?.[0], view?.[BYTES], view?.[3 * BYTES - 1]]).toEqual([2, 3, 4])
    // Page 2 was handed out: nothing is kept of it. Page 5 was not.
    bench.write(2, 90)
    bench.write(5, 91)
    expect([bench.pages.viewFrozen(2, 2), bench.pages.viewFrozen(5, 1)]).toEqual([undefined, undefined])
    expect([bench.frozen(2), bench.frozen(5)]).toEqual([undefined, 6])
    expect(bench.pages.viewFrozen(3, 2)?.[BYTES]).toBe(5)
  })

  test("is overwritten many pages at once, and each is judged by its digest", () => {
    const bench = new Bench()
    const donor = new Bench()
    for (const page of [1, 2, 3]) {
      donor.write(page, 7)
    }
    donor.checkpoint()
    donor.pages.takeDigests(COUNT)
    bench.pages.abandon()
    bench.pages.table.set(donor.pages.table)
    const body = donor.arena.slice(BYTES, 4 * BYTES)
    body[BYTES] = 8
    bench.pages.overwrite(1, body)
    expect([1, 2, 3].map((page) => bench.pages.isAs(page))).toEqual([true, false, true])
  })

  test("is not believed once it is abandoned, and is the arena once that is adopted", () => {
    const bench = new Bench(0)
    bench.write(1, 1)
    bench.checkpoint()
    bench.write(2, 2)
    bench.pages.abandon()
    expect([bench.pages.isWhole, bench.pages.changed, bench.pages.pending]).toEqual([false, 0, 0])
    const donor = new Bench()
    for (const page of [1, 2, 3]) {
      donor.write(page, 7)
    }
    donor.checkpoint()
    donor.pages.takeDigests(COUNT)
    bench.pages.table.set(donor.pages.table)
    const wrong = Array.from({ length: COUNT }, (_, page) => page).filter((page) => !bench.pages.isAs(page))
    expect(wrong).toEqual([1, 2, 3])
    for (const page of wrong) {
      expect(bench.pages.replace(page, bench.arena, 0)).toBe(false)
      expect(bench.pages.replace(page, donor.arena, page * BYTES)).toBe(true)
    }
    bench.pages.adopt()
    expect([bench.pages.isWhole, bench.frozen(2), bench.pages.scrub(COUNT)]).toEqual([true, 7, -1])
  })
})

describe("a state machine", () => {
  const limits = { ...CLUSTER_LIMITS, sessions_max: 1, kv_entries_max: 64, kv_slab_bytes: 128 * 1024 }
  const first = { op: 1, timestamp: 1, operation: Operation.register, session: 0, request: 0 }

  test("that has just begun has the digests of its bytes: made here, or from elsewhere", () => {
    const made = createStateMachine({ limits, arena: new Uint8Array(arenaBytes(limits)) })
    expect(made.pages.scrub(made.pages.count)).toBe(-1)
    expect([made.pages.isWhole, made.pages.changed, made.pages.pending]).toEqual([true, 0, 0])
    made.apply(first, new Uint8Array(16).fill(7), 0, 16, new Uint8Array(limits.session_reply_bytes_max))
    expect(made.pages.changed).toBeGreaterThan(1)
    const anew = createStateMachine({ limits, arena: made.arena.slice() })
    expect(anew.pages.scrub(anew.pages.count)).toBe(-1)
    expect([anew.pages.isWhole, anew.pages.changed, anew.pages.pending]).toEqual([true, 0, 0])
    expect(anew.pages.table).not.toEqual(made.pages.table)
    made.pages.freeze()
    made.pages.takeDigests(made.pages.count)
    expect(anew.pages.table).toEqual(made.pages.table)
  })
})

describe("digests", () => {
  test("are taken so many at a time; none is due of a page that was written to", () => {
    const bench = new Bench()
    for (const page of [1, 3, 5, 7, 9]) {
      bench.write(page, page)
    }
    bench.pages.freeze()
    expect([bench.pages.pending, bench.pages.changed]).toEqual([5, 0])
    bench.pages.takeDigests(0)
    expect(bench.pages.pending).toBe(5)
    bench.pages.takeDigests(2)
    expect(bench.pages.pending).toBe(3)
    bench.write(1, 8)
    bench.write(9, 8)
    expect([bench.pages.pending, bench.pages.changed]).toEqual([2, 2])
    bench.pages.takeDigests(100)
    expect(bench.pages.pending).toBe(0)
    const image = new Bench()
    for (const page of [1, 3, 5, 7, 9]) {
      image.arena.fill(page, page * BYTES, (page + 1) * BYTES)
    }
    image.pages.rebuild()
    expect(bench.pages.table).toEqual(image.pages.table)
  })

  test("a page of which one is due is had as it was, whether it is written to or not", () => {
    const bench = new Bench()
    bench.pages.hold(true)
    bench.write(1, 1)
    bench.write(2, 1)
    bench.pages.freeze()
    bench.write(1, 2)
    expect([bench.frozen(1), bench.frozen(2), bench.pages.pending]).toEqual([1, 1, 1])
    bench.pages.takeDigests(1)
    expect([bench.frozen(1), bench.frozen(2), bench.pages.pending]).toEqual([1, 1, 0])
  })

  test("all must be there for a root and for the next checkpoint", () => {
    const bench = new Bench()
    const root = (): string =>
      bench.pages.root(
        (prefix, bytes, start, end) => prefix + Buffer.from(bytes.subarray(start, end)).toString("hex"),
        "p",
      )
    const before = root()
    expect(before).toBe(`p${Buffer.from(bench.pages.table).toString("hex")}`)
    bench.write(0, 1)
    // A page that has changed since is no part of the image.
    expect(root()).toBe(before)
    bench.pages.freeze()
    expect(root).toThrow("a root needs the digest of every page")
    expect(() => bench.pages.freeze()).toThrow("every digest of a checkpoint is taken before the next")
    bench.pages.takeDigests(1)
    expect(root()).not.toBe(before)
  })
})

describe("scrub", () => {
  test("goes round by so many pages a call, and reports each flip as often as it comes by", () => {
    const bench = new Bench()
    bench.flip(7, BYTES - 1)
    expect([bench.pages.scrub(4), bench.pages.scrubAt]).toEqual([-1, 4])
    expect([bench.pages.scrub(4), bench.pages.scrubAt]).toEqual([7, 8])
    expect([bench.pages.scrub(4), bench.pages.scrubAt]).toEqual([-1, 2])
    expect([bench.pages.scrub(6), bench.pages.scrubAt]).toEqual([7, 8])
    bench.flip(8)
    bench.flip(9)
    // It stops at the first: the next call goes on behind it.
    expect([bench.pages.scrub(COUNT), bench.pages.scrub(COUNT), bench.pages.scrub(COUNT)]).toEqual([8, 9, 7])
    for (const page of [7, 8, 9]) {
      expect(bench.pages.replace(page, new Uint8Array(BYTES), 0)).toBe(true)
    }
    expect(bench.pages.scrub(COUNT)).toBe(-1)
  })

  test("says nothing of pages that have changed, nor of those whose digest is due", () => {
    const bench = new Bench()
    bench.write(1, 1)
    bench.pages.freeze()
    bench.flip(1)
    bench.write(2, 1)
    bench.flip(2)
    expect(bench.pages.scrub(COUNT)).toBe(-1)
    bench.pages.takeDigests(1)
    // What was flipped in between counts as written: README.md, pages.
    expect(bench.pages.scrub(COUNT)).toBe(-1)
    bench.flip(1)
    expect(bench.pages.scrub(COUNT)).toBe(1)
  })

  test("finds any flipped bit of the table", () => {
    const { pages } = new Bench()
    for (let bit = 0; bit < pages.table.length * 8; bit += 1) {
      const at = bit >>> 3
      pages.table[at] = (pages.table[at] ?? 0) ^ (1 << (bit & 7))
      expect(pages.scrub(COUNT)).toBe(at >>> 3)
      pages.table[at] = (pages.table[at] ?? 0) ^ (1 << (bit & 7))
    }
    expect(pages.scrub(COUNT)).toBe(-1)
  })
})

describe("a copy", () => {
  /** Something in every state: clean, handed out, pending, kept, lost. */
  function busy(bench: Bench): void {
    bench.pages.hold(true)
    for (const page of [0, 2, 4, 6, 8]) {
      bench.write(page, page + 1)
    }
    bench.checkpoint()
    bench.frozen(1)
    bench.frozen(8)
    bench.write(6, 20)
    bench.write(3, 21)
    bench.write(8, 22)
    bench.write(9, 23)
    bench.pages.takeDigests(1)
    bench.pages.scrub(3)
  }

  test("goes on as the one that it is of", () => {
    const one = new Bench(2)
    busy(one)
    expect([one.pages.isWhole, one.pages.pending]).toEqual([false, 2])
    const two = new Bench(2, one.arena.slice())
    two.pages.copyFrom(one.pages)
    expect(two.fingerprint()).toBe(one.fingerprint())
    for (const bench of [one, two]) {
      bench.write(2, 30)
      bench.pages.takeDigests(COUNT)
      bench.checkpoint()
      bench.write(4, 31)
      bench.frozen(5)
    }
    expect(two.fingerprint()).toBe(one.fingerprint())
    expect(two.pages.table).toEqual(one.pages.table)
    for (let page = 0; page < COUNT; page += 1) {
      expect(two.frozen(page)).toBe(one.frozen(page))
    }
  })

  test("is of as many pages", () => {
    const other = new ArenaPages({
      arena: new Uint8Array(64),
      pageBytes: 16,
      memory: new Uint8Array(pagesBytes(4)),
      pool: new Uint8Array(0),
    })
    expect(() => other.copyFrom(new Bench().pages)).toThrow("of as many pages")
  })

  test("shows in its fingerprint whatever makes it another", () => {
    const seen = new Set<string>()
    const acts: readonly ((bench: Bench) => void)[] = [
      (bench) => bench.pages.takeDigests(0),
      (bench) => bench.pages.hold(false),
      (bench) => bench.pages.takeDigests(1),
      (bench) => bench.pages.scrub(1),
      (bench) => bench.write(1, 1),
      (bench) => bench.write(5, 1),
      (bench) => bench.frozen(5),
      (bench) => bench.checkpoint(),
      (bench) => bench.pages.abandon(),
      (bench) => bench.pages.adopt(),
    ]
    for (const act of acts) {
      const bench = new Bench(3)
      busy(bench)
      act(bench)
      seen.add(bench.fingerprint())
    }
    expect(seen.size).toBe(acts.length)
  })
})
