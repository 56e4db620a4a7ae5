/** A page's digest: the same on every machine for ever, and another for any small change. Plane: control. */
import { describe, expect, test } from "vitest"
import { pageDigest } from "../../../appliance/state_machine/page_digest.ts"
import { PRNG } from "../../../appliance/types/prng.ts"

/** Words of a page of 4 KiB. */
const WORDS = 1024
const BITS = WORDS * 32

/** 16 hexadecimal digits: high, low. */
function digestOf(words: Int32Array, first = 0, count = words.length): string {
  const digest = { low: -1, high: -1 }
  pageDigest(words, first, count, digest)
  return [digest.high, digest.low].map((half) => half.toString(16).padStart(8, "0")).join("")
}

function randomPage(random: PRNG): Int32Array {
  return new Int32Array(WORDS).map(() => random.u32())
}

function flip(words: Int32Array, bit: number): void {
  words[bit >>> 5] = (words[bit >>> 5] ?? 0) ^ (1 << (bit & 31))
}

function swap(words: Int32Array, one: number, two: number): void {
  const kept = words[one] ?? 0
  words[one] = words[two] ?? 0
  words[two] = kept
}

// Machines of one cluster may be of two builds: whoever changes a vector changes the format.
describe("vectors", () => {
  test.each([
    ["four zeros", new Int32Array(4), "e810433f7432a098"],
    ["1, 2, 3, 4", Int32Array.of(1, 2, 3, 4), "f06288c83afbc97d"],
    ["all ones", new Int32Array(16).fill(-1), "d7f3f90c2c211542"],
    [
      "the extremes",
      Int32Array.of(0x7fff_ffff, -0x8000_0000, 1, -1, 0, 0x7fff_ffff, -1, -0x8000_0000),
      "655223895ddfb97d",
    ],
    ["a page of zeros", new Int32Array(WORDS), "6bc8bcf7232f334b"],
    ["a page that counts", new Int32Array(WORDS).map((_, word) => word), "5582ac4dcd097a2f"],
    ["a page of products", new Int32Array(WORDS).map((_, word) => Math.imul(word, 0x9e37_79b1)), "71643637ca152749"],
    ["a random page", randomPage(new PRNG(1)), "971c1cc5206b9668"],
  ])("%s", (_, words, expected) => {
    expect(digestOf(words)).toBe(expected)
  })

  test("are of the words named, wherever they lie", () => {
    const page = randomPage(new PRNG(2))
    const arena = new Int32Array(3 * WORDS).fill(7)
    arena.set(page, WORDS)
    expect(digestOf(arena, WORDS, WORDS)).toBe(digestOf(page))
    arena[WORDS - 1] = 8
    arena[2 * WORDS] = 8
    expect(digestOf(arena, WORDS, WORDS)).toBe(digestOf(page))
  })

  test("are two unsigned halves, as the table takes them", () => {
    const random = new PRNG(3)
    const digest = { low: 0, high: 0 }
    for (let turn = 0; turn < 1_000; turn += 1) {
      pageDigest(randomPage(random), 0, 16, digest)
      for (const half of [digest.low, digest.high]) {
        expect(half === half >>> 0).toBe(true)
      }
    }
  })
})

describe("changes", () => {
  test.each([
    ["zeros", new Int32Array(WORDS)],
    ["ones", new Int32Array(WORDS).fill(-1)],
    ["noise", randomPage(new PRNG(4))],
  ])("any flipped bit of a page of %s changes both halves", (_, words) => {
    const before = digestOf(words)
    let unchanged = 0
    for (let bit = 0; bit < BITS; bit += 1) {
      flip(words, bit)
      const after = digestOf(words)
      unchanged += after.slice(0, 8) === before.slice(0, 8) || after.slice(8) === before.slice(8) ? 1 : 0
      flip(words, bit)
    }
    expect([unchanged, digestOf(words)]).toEqual([0, before])
  })

  test("no two flipped bits give a digest twice", () => {
    // 32,768 digests of 64 bits: by chance one pair of them would be equal once in 3 * 10^10 pages.
    const words = randomPage(new PRNG(5))
    const seen = new Set([digestOf(words)])
    for (let bit = 0; bit < BITS; bit += 1) {
      flip(words, bit)
      seen.add(digestOf(words))
      flip(words, bit)
    }
    expect(seen.size).toBe(BITS + 1)
  })

  test("100,000 random pairs of flips change it, far apart and side by side", () => {
    const random = new PRNG(6)
    const words = randomPage(random)
    const before = digestOf(words)
    let unchanged = 0
    for (let turn = 0; turn < 100_000; turn += 1) {
      const one = random.below(BITS)
      // The same bit of the next words of a lane is where a weak sum would cancel.
      const two = (turn % 2 === 0 ? one + 1 + random.below(BITS - 1) : one + 32 * (1 + random.below(16))) % BITS
      flip(words, one)
      flip(words, two)
      unchanged += digestOf(words) === before ? 1 : 0
      flip(words, two)
      flip(words, one)
    }
    expect([unchanged, digestOf(words)]).toEqual([0, before])
  })

  test("swapped words change it: of one lane, of two, and whole blocks", () => {
    const random = new PRNG(7)
    const words = randomPage(random)
    const before = digestOf(words)
    let unchanged = 0
    let looked = 0
    const look = (pairs: readonly (readonly [number, number])[]): void => {
      for (const [one, two] of pairs) {
        swap(words, one, two)
      }
      unchanged += digestOf(words) === before ? 1 : 0
      looked += 1
      for (const [one, two] of pairs) {
        swap(words, one, two)
      }
    }
    for (let word = 0; word + 4 < WORDS; word += 1) {
      look([[word, word + 1]])
      look([[word, word + 4]])
      look([[word, (word + 1 + random.below(WORDS - 1)) % WORDS]])
    }
    for (let block = 0; block + 8 <= WORDS; block += 4) {
      look([0, 1, 2, 3].map((lane) => [block + lane, block + 4 + lane] as const))
    }
    expect([unchanged, looked, digestOf(words)]).toEqual([0, 3 * (WORDS - 4) + WORDS / 4 - 1, before])
  })

  test("a run of words overwritten by zeros, ones or its neighbour changes it", () => {
    const random = new PRNG(8)
    const words = randomPage(random)
    const before = digestOf(words)
    let unchanged = 0
    for (let turn = 0; turn < 3_000; turn += 1) {
      const kept = words.slice()
      const from = random.below(WORDS - 32)
      const count = 1 + random.below(16)
      if (turn % 3 === 2) {
        words.copyWithin(from, from + count, from + 2 * count)
      } else {
        words.fill(turn % 3 === 0 ? 0 : -1, from, from + count)
      }
      unchanged += digestOf(words) === before ? 1 : 0
      words.set(kept)
    }
    expect(unchanged).toBe(0)
  })

  test("words that move from one page to the same place of another change both", () => {
    const random = new PRNG(9)
    const one = randomPage(random)
    const two = randomPage(random)
    const mixed = one.slice()
    mixed.set(two.subarray(512, 640), 512)
    expect(new Set([one, two, mixed].map((words) => digestOf(words))).size).toBe(3)
  })

  test("in noise each bit of it is set half of the time, and a flip changes half of them", () => {
    const random = new PRNG(10)
    const set = new Array<number>(64).fill(0)
    const changed = new Array<number>(64).fill(0)
    const turns = 4_000
    for (let turn = 0; turn < turns; turn += 1) {
      const words = randomPage(random).subarray(0, 64)
      const before = BigInt(`0x${digestOf(words)}`)
      flip(words, random.below(64 * 32))
      const difference = before ^ BigInt(`0x${digestOf(words)}`)
      for (let bit = 0; bit < 64; bit += 1) {
        set[bit] = (set[bit] ?? 0) + Number((before >> BigInt(bit)) & 1n)
        changed[bit] = (changed[bit] ?? 0) + Number((difference >> BigInt(bit)) & 1n)
      }
    }
    // Five standard deviations.
    const far = 5 * Math.sqrt(turns / 4)
    for (const count of [...set, ...changed]) {
      expect(Math.abs(count - turns / 2)).toBeLessThan(far)
    }
  })
})
