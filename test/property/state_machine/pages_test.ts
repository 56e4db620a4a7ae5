/**
 * Every write tells its page before: else a machine would one day find its own memory wrong, and all of them at once.
 * The arena is large enough here for each table to have pages of its own. Plane: control.
 */
import { describe, expect, test } from "vitest"
import { CommandCode, CommandFlag } from "../../../appliance/state_machine/command.ts"
import { pageDigest } from "../../../appliance/state_machine/page_digest.ts"
import { ArenaPages, pagesBytes } from "../../../appliance/state_machine/pages.ts"
import { Operation, WALL_CLOCK_BYTES } from "../../../appliance/types/contracts.ts"
import { CLUSTER_LIMITS, type ClusterLimits } from "../../../appliance/types/limits.ts"
import { PRNG } from "../../../appliance/types/prng.ts"
import { type Command, Driver } from "./driver.ts"

const LIMITS: ClusterLimits = {
  ...CLUSTER_LIMITS,
  session_reply_bytes_max: 128 * 1024,
  sessions_max: 3,
  kv_entries_max: 4_096,
  // Often full, so that blocks of sparse pages move.
  kv_slab_bytes: 768 * 1024,
  key_bytes_max: 64,
  value_bytes_max: 12_000,
  pulse_keys_max: 16,
}
const OPS = 2_000

function randomCommand(random: PRNG, keys: number): Command {
  const key = `k${random.below(keys)}`
  const bytes = random.chance(1, 4) ? random.below(LIMITS.value_bytes_max) : random.below(200)
  const expires = random.chance(1, 4)
  switch (random.below(8)) {
    case 0:
    case 1:
      return { code: CommandCode.del, flags: 0, argument: 0n, key, value: "" }
    case 2:
      return { code: CommandCode.incr_by, flags: 0, argument: BigInt(random.below(9)), key: `n${key}`, value: "" }
    default: {
      const flags = expires ? CommandFlag.expires : 0
      const argument = expires ? BigInt(1 + random.below(5_000)) : 0n
      return { code: CommandCode.set, flags, argument, key, value: "v".repeat(bytes) }
    }
  }
}

/** One op of any kind; a few hundred keys come and go, so that every list of the slabs is walked. */
function step(driver: Driver, random: PRNG, index: number): void {
  driver.now += random.below(20)
  const kind = random.below(40)
  if (kind === 0) {
    driver.apply(Operation.pulse, new Uint8Array(0))
  } else if (kind === 1) {
    driver.apply(Operation.register, new Uint8Array(16).fill(random.below(250)))
    // Its own session may have been evicted: it registers anew.
    driver.session = Number(driver.apply(Operation.register, new Uint8Array(16).fill(7))[0])
    driver.request = 0
  } else if (kind === 2) {
    const body = new Uint8Array(WALL_CLOCK_BYTES)
    new DataView(body.buffer).setUint32(0, driver.now * 2, true)
    driver.apply(Operation.wall_clock, body)
  } else if (kind === 3) {
    driver.apply(Operation.reconfigure, new Uint8Array(40).fill(random.below(250)))
  } else {
    // Times in which much is stored and times in which little is.
    const keys = index % 1_000 < 500 ? 400 : 30
    driver.batch(Array.from({ length: 1 + random.below(3) }, () => randomCommand(random, keys)))
  }
}

describe("pages", () => {
  test("no byte changes of which its page was not told", { timeout: 60_000 }, () => {
    const driver = new Driver(LIMITS)
    const random = new PRNG(5)
    const { pages } = driver.machine
    for (let index = 0; index < OPS; index += 1) {
      step(driver, random, index)
      expect(pages.scrub(pages.count), `op ${driver.op}`).toBe(-1)
      pages.freeze()
      pages.takeDigests(pages.count)
    }
  })

  test("a checkpoint is what the arena was, whatever changes and however its digests are taken", () => {
    const driver = new Driver(LIMITS)
    const random = new PRNG(6)
    const { pages, arena } = driver.machine
    const page = new Uint8Array(pages.pageBytes)
    driver.apply(Operation.checkpoint, new Uint8Array(0))
    let image = arena.slice()
    let lost = 0
    for (let index = 0; index < 1_000; index += 1) {
      step(driver, random, index)
      pages.takeDigests(random.below(8))
      pages.hold(random.chance(1, 2))
      if (index % 100 === 99) {
        driver.apply(Operation.checkpoint, new Uint8Array(0))
        image = arena.slice()
      } else if (index % 10 === 9) {
        for (let at = 0; at < pages.count; at += 1) {
          const wasWhole = pages.isWhole
          if (pages.copyFrozen(at, page, 0)) {
            const start = at * pages.pageBytes
            expect(Buffer.compare(page, image.subarray(start, start + pages.pageBytes)), `page ${at}`).toBe(0)
          } else {
            lost += 1
            expect(pages.isWhole).toBe(false)
          }
          expect(wasWhole || !pages.isWhole).toBe(true)
        }
      }
      if (index % 100 === 50) {
        pages.takeDigests(pages.count)
        expect(Buffer.compare(pages.table, tableOf(image, pages.pageBytes))).toBe(0)
      }
    }
    expect(lost).toBeGreaterThan(0)
  })

  test("one log gives one root, on a machine that takes digests at once, by and by, or begins anew from the bytes", () => {
    const digest = (prefix: string, bytes: Uint8Array, start: number, end: number): string =>
      prefix + Buffer.from(bytes.subarray(start, end)).toString("hex")
    const roots = [0, 1].map((way) => {
      const driver = new Driver(LIMITS)
      const random = new PRNG(7)
      const found: string[] = []
      for (let index = 0; index < 1_000; index += 1) {
        step(driver, random, index)
        if (index % 50 === 49) {
          driver.apply(Operation.checkpoint, new Uint8Array(0))
        }
        driver.machine.pages.takeDigests(way === 0 ? driver.machine.pages.count : 1)
        if (index % 50 === 48) {
          driver.machine.pages.takeDigests(driver.machine.pages.count)
          found.push(driver.machine.pages.root(digest, "r"))
        }
        if (way === 1 && index === 500) {
          driver.machine.pages.takeDigests(driver.machine.pages.count)
        }
      }
      return found
    })
    expect(roots[0]?.length).toBe(20)
    expect(roots[1]).toEqual(roots[0])
  })

  test("a flipped bit is found by the scrub, in a page or in the table, and copying the page back repairs it", () => {
    const driver = new Driver(LIMITS)
    const random = new PRNG(8)
    for (let index = 0; index < 500; index += 1) {
      step(driver, random, index)
    }
    const { pages, arena } = driver.machine
    pages.takeDigests(pages.count)
    pages.freeze()
    pages.takeDigests(pages.count)
    for (let round = 0; round < 200; round += 1) {
      const inTable = round % 2 === 1
      const bytes = inTable ? pages.table : arena
      const bit = random.below(bytes.length * 8)
      const at = bit >>> 3
      const page = inTable ? Math.floor(at / 8) : Math.floor(at / pages.pageBytes)
      const good = arena.slice(page * pages.pageBytes, (page + 1) * pages.pageBytes)
      bytes[at] = (bytes[at] ?? 0) ^ (1 << (bit & 7))
      let found = -1
      for (let turn = 0; turn <= pages.count / 64 && found < 0; turn += 1) {
        found = pages.scrub(64)
      }
      expect(found).toBe(page)
      if (inTable) {
        bytes[at] = (bytes[at] ?? 0) ^ (1 << (bit & 7))
      } else {
        expect(pages.replace(page, good, 0)).toBe(true)
      }
      expect(pages.isAs(page)).toBe(true)
    }
  })
})

describe("page digest", () => {
  test("is as it was when machines with it were first switched on", () => {
    const words = new Int32Array(1024)
    const digest = { low: 0, high: 0 }
    pageDigest(words, 0, 1024, digest)
    expect([digest.low.toString(16), digest.high.toString(16)]).toMatchInlineSnapshot(`
      [
        "232f334b",
        "6bc8bcf7",
      ]
    `)
    for (let word = 0; word < words.length; word += 1) {
      words[word] = Math.imul(word, 0x9e37_79b1)
    }
    pageDigest(words, 0, 1024, digest)
    expect([digest.low.toString(16), digest.high.toString(16)]).toMatchInlineSnapshot(`
      [
        "ca152749",
        "71643637",
      ]
    `)
  })

  test("any flipped bit changes it, and any two", () => {
    const random = new PRNG(9)
    const words = new Int32Array(1024).map(() => random.u32())
    const digest = { low: 0, high: 0 }
    pageDigest(words, 0, 1024, digest)
    const { low, high } = digest
    const isSame = (): boolean => {
      pageDigest(words, 0, 1024, digest)
      return digest.low === low && digest.high === high
    }
    const flip = (bit: number): void => {
      words[bit >>> 5] = (words[bit >>> 5] ?? 0) ^ (1 << (bit & 31))
    }
    for (let bit = 0; bit < 32 * 1024; bit += 1) {
      flip(bit)
      expect(isSame()).toBe(false)
      flip(bit)
    }
    for (let round = 0; round < 50_000; round += 1) {
      const one = random.below(32 * 1024)
      const two = random.below(32 * 1024)
      flip(one)
      flip(two)
      expect(isSame()).toBe(one === two)
      flip(one)
      flip(two)
    }
  })

  test("an arena of one small page is one too", () => {
    const arena = new Uint8Array(32)
    const pages = new ArenaPages({
      arena,
      pageBytes: 32,
      memory: new Uint8Array(pagesBytes(1)),
      pool: new Uint8Array(32),
    })
    pages.willWrite(4, 5)
    arena[4] = 1
    expect([pages.changed, pages.isWhole]).toEqual([1, true])
    const copy = new Uint8Array(32).fill(9)
    expect(pages.copyFrozen(0, copy, 0)).toBe(true)
    expect(copy).toEqual(new Uint8Array(32))
  })
})

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
