/** The same random commands to a real Redis and to us: every reply must be the same. Plane: control. */
import { setTimeout as sleep } from "node:timers/promises"
import { afterAll, beforeAll, expect, test } from "vitest"
import { PRNG } from "../../../appliance/types/prng.ts"
import { ClusterOfOne } from "./cluster_of_one.ts"
import { RedisPeer, splitReplies } from "./redis_peer.ts"
import { encodeCommand, TestClient } from "./test_client.ts"

const SEEDS = [1, 2, 3, 4]
const PIPELINES = 200
const PIPELINE_MAX = 30
/** Both have a clock of their own, and what is read of them may lie so far apart. */
const SLACK_MS = 10_000
const KEYS = ["a", "b", "c", "d", "key with blanks", ""]
const VALUES = ["", "x", "0", "-1", "17", "abcdefghij", "9223372036854775807", "01", " 1", "1.5", "v".repeat(200)]
const NUMBERS = [
  "0",
  "1",
  "-1",
  "5",
  "-5",
  "9223372036854775807",
  "-9223372036854775808",
  "x",
  "",
  "1.0",
  "99999999999999999999",
]
const POSITIONS = ["0", "1", "3", "-1", "-3", "-100", "100", "9223372036854775807", "-9223372036854775808", "x"]

let redis: RedisPeer

beforeAll(async () => {
  redis = await RedisPeer.start()
})

afterAll(async () => {
  await redis.stop()
})

/** Writes random commands. Times to live lie so far apart that the clocks' difference confuses no two of them. */
class Writer {
  readonly #random: PRNG
  readonly #wall: number
  readonly #used = new Set<number>()

  constructor(seed: number, wall: number) {
    this.#random = new PRNG(seed)
    this.#wall = wall
  }

  below(bound: number): number {
    return this.#random.u32() % bound
  }

  pick<T>(from: readonly T[]): T {
    const picked = from[this.below(from.length)]
    if (picked === undefined) {
      throw new Error("test: there is something to pick from")
    }
    return picked
  }

  /** Seconds to live that no command before had. */
  #seconds(): number {
    let index = this.below(100_000)
    while (this.#used.has(index)) {
      index = (index + 1) % 100_000
    }
    this.#used.add(index)
    return 1_000 + index * 100
  }

  /** `lives`: some way of saying how long, rarely one that is none or lies in the past. */
  #time(isMs: boolean, isAbsolute: boolean): string {
    if (this.below(8) === 0) {
      // Beyond the year 2170 a deadline is refused here and not by Redis (README.md, divergences).
      return this.pick(["0", "-1", "-1000000", "x", "", "1.5", isAbsolute ? "1" : "9223372036854775807"])
    }
    const seconds = this.#seconds() + (isAbsolute ? Math.floor(this.#wall / 1000) : 0)
    return String(isMs ? seconds * 1000 : seconds)
  }

  #clock(): string[] {
    const option = this.pick(["EX", "px", "EXAT", "PXAT"])
    return [option, this.#time(option.toLowerCase().startsWith("p"), option.endsWith("AT"))]
  }

  /** A time that is none is refused here whether the key is there or not, by Redis only where it is (README.md). */
  #goodClock(): string[] {
    const wall = Math.floor(this.#wall / 1000)
    const seconds = this.#seconds()
    return this.pick([
      ["ex", String(seconds)],
      ["PX", String(seconds * 1000)],
      ["EXAT", String(wall + seconds)],
      ["PXAT", "1"],
    ])
  }

  #setOptions(): string[] {
    const options: string[] = []
    for (let count = this.below(3); count > 0; count -= 1) {
      options.push(...this.pick([["NX"], ["xx"], ["GET"], ["KEEPTTL"], this.#clock(), this.#clock(), ["nonsense"]]))
    }
    return options
  }

  #keys(): string[] {
    return Array.from({ length: 1 + this.below(4) }, () => this.pick(KEYS))
  }

  #whole(): string[] {
    const key = this.pick(KEYS)
    const value = this.pick(VALUES)
    switch (this.below(24)) {
      case 0:
      case 1:
        return ["SET", key, value]
      case 2:
      case 3:
        return ["SET", key, value, ...this.#setOptions()]
      case 4: {
        const options = [
          [],
          ["PERSIST"],
          this.#goodClock(),
          this.#goodClock(),
          [...this.#goodClock(), "PERSIST"],
          ["NX"],
        ]
        return ["GETEX", key, ...this.pick(options)]
      }
      case 5:
        return [this.pick(["GET", "GETDEL", "STRLEN", "TYPE", "get"]), key]
      case 6:
        return ["MGET", ...this.#keys()]
      case 7:
        return ["MSET", ...this.#keys().flatMap((one) => [one, this.pick(VALUES)])]
      case 8:
        return [this.pick(["DEL", "UNLINK", "EXISTS", "TOUCH"]), ...this.#keys()]
      case 9:
        return ["APPEND", key, value]
      case 10:
        return ["SETRANGE", key, this.pick(["0", "1", "5", "300", "-1", "x"]), value]
      case 11:
      case 12:
        return [this.pick(["GETRANGE", "SUBSTR"]), key, this.pick(POSITIONS), this.pick(POSITIONS)]
      case 13:
        return [this.pick(["INCR", "DECR"]), key]
      case 14:
        return [this.pick(["INCRBY", "DECRBY"]), key, this.pick(NUMBERS)]
      case 15:
        return [this.pick(["SETNX", "GETSET"]), key, value]
      case 16: {
        const name = this.pick(["SETEX", "PSETEX"])
        return [name, key, this.#time(name === "PSETEX", false), value]
      }
      case 17:
      case 18:
      case 19: {
        const name = this.pick(["EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT"])
        const options = this.pick([
          [],
          [],
          ["NX"],
          ["XX"],
          ["gt"],
          ["LT"],
          ["XX", "GT"],
          ["NX", "LT"],
          ["GT", "LT"],
          ["?"],
        ])
        return [name, key, this.#time(name.startsWith("P"), name.endsWith("AT")), ...options]
      }
      case 20:
      case 21:
        return [this.pick(["TTL", "PTTL", "EXPIRETIME", "PEXPIRETIME"]), key]
      case 22:
        return ["PERSIST", key]
      default:
        return [this.pick(["RENAME", "RENAMENX"]), key, this.pick(KEYS)]
    }
  }

  /** Mostly whole; some lack their last word or have one too many. */
  command(): string[] {
    const words = this.#whole()
    const chance = this.below(30)
    return chance === 0 ? words.slice(0, -1) : chance === 1 ? [...words, "more"] : words
  }
}

/** Times are told by two clocks: the same, if they are about the same. */
function isSame(command: readonly string[], ours: string, theirs: string): boolean {
  const unit = new Map([
    ["TTL", 1000],
    ["EXPIRETIME", 1000],
    ["PTTL", 1],
    ["PEXPIRETIME", 1],
  ]).get(command[0] ?? "")
  if (ours === theirs || unit === undefined || !ours.startsWith(":") || !theirs.startsWith(":")) {
    return ours === theirs
  }
  const [one, two] = [Number(ours.slice(1)), Number(theirs.slice(1))]
  return one >= 0 && two >= 0 && Math.abs(one - two) * unit <= SLACK_MS
}

class Pair {
  readonly cluster = new ClusterOfOne()
  readonly client = new TestClient(this.cluster.gateway)
  #wall = Date.now()
  compared = 0

  constructor() {
    this.cluster.tick(1)
    expect(this.cluster.replica.proposeWallClock(this.#wall)).toBe(true)
    this.cluster.tick(1)
  }

  /** Our clock is brought to where the other's is. */
  tick(): void {
    const wall = Date.now()
    if (wall > this.#wall) {
      this.cluster.tick(wall - this.#wall)
      this.#wall = wall
    }
  }

  /** Greetings differ in names and numbers, so they are not compared. */
  async hello(protocol: number): Promise<void> {
    const greeting = encodeCommand(["HELLO", String(protocol)])
    this.client.send(greeting)
    this.cluster.settle()
    expect(this.client.take()).toContain("proto")
    await redis.ask(greeting, 1)
  }

  async compare(commands: readonly string[][], what: string): Promise<void> {
    const bytes = Buffer.concat(commands.map((words) => encodeCommand(words)))
    this.tick()
    this.client.send(bytes)
    this.cluster.settle()
    const ours = splitReplies(this.client.take())
    const theirs = await redis.ask(bytes, commands.length)
    for (const [index, command] of commands.entries()) {
      const [one, two] = [ours[index] ?? "none", theirs[index] ?? "none"]
      if (!isSame(command, one, two)) {
        const before = commands.slice(0, index).map((words) => words.join(" "))
        expect.soft(one, `${what}: ${command.join(" ")}, after ${before.slice(-6).join(" | ")}`).toBe(two)
        throw new Error(`${what}: ${JSON.stringify(command)} is answered otherwise`)
      }
      this.compared += 1
    }
  }
}

test.each(SEEDS)("random pipelines are answered as Redis does, seed %i", async (seed) => {
  const pair = new Pair()
  const writer = new Writer(seed, Date.now())
  const reads = KEYS.flatMap((key) => [
    ["GET", key],
    ["TTL", key],
    ["EXPIRETIME", key],
  ])
  await redis.ask(encodeCommand(["FLUSHALL"]), 1)
  for (let pipeline = 0; pipeline < PIPELINES; pipeline += 1) {
    await pair.hello(2 + writer.below(2))
    const commands = Array.from({ length: 1 + writer.below(PIPELINE_MAX) }, () => writer.command())
    await pair.compare(commands, `seed ${seed}, pipeline ${pipeline}`)
  }
  await pair.compare(reads, `seed ${seed}, at the end`)
  expect(pair.compared).toBeGreaterThan(PIPELINES * 5)
})

test("what has come to its end is gone for both", async () => {
  const pair = new Pair()
  await redis.ask(encodeCommand(["FLUSHALL"]), 1)
  await pair.hello(2)
  const short = ["PX", "20"]
  await pair.compare(
    [
      ["SET", "a", "1", ...short],
      ["SET", "b", "2"],
      ["GETEX", "b", ...short],
      ["PSETEX", "c", "20", "3"],
      ["SET", "d", "4"],
    ],
    "before",
  )
  await pair.compare(
    [
      ["PEXPIRE", "d", "20"],
      ["SET", "e", "5"],
    ],
    "before",
  )
  await sleep(100)
  await pair.compare(
    [
      ...["a", "b", "c", "d", "e"].map((key) => ["GET", key]),
      ["SETNX", "a", "x"],
      ["RENAME", "b", "z"],
      ["RENAMENX", "e", "c"],
      ["APPEND", "d", "y"],
      ["TTL", "d"],
      ["MGET", "a", "b", "c", "d", "e"],
      ["DBSIZE"],
    ],
    "after",
  )
  expect(pair.compared).toBe(19)
})

/** The keys in an array's reply, in order. */
function sorted(reply: string): string[] {
  const words = reply.split("\r\n")
  return words.filter((_, index) => index > 0 && index % 2 === 0).sort()
}

test("random patterns match the same keys, and a scan finds them all", async () => {
  const pair = new Pair()
  const random = new PRNG(7)
  const text = (letters: string, max: number): string => {
    return Array.from({ length: random.u32() % (max + 1) }, () => letters[random.u32() % letters.length]).join("")
  }
  await pair.hello(2)
  await redis.ask(encodeCommand(["FLUSHALL"]), 1)
  const keys = Array.from({ length: 300 }, () => text("aab[]-^*\\?", 6))
  await pair.compare(
    keys.map((key) => ["SET", key, "1"]),
    "keys",
  )
  const ask = (words: readonly string[]): string => {
    pair.client.command(...words)
    pair.cluster.settle()
    return pair.client.take()
  }
  let matched = 0
  for (let round = 0; round < 3_000; round += 1) {
    const command = ["KEYS", text("aab*?[]^-\\", 8)]
    const ours = sorted(ask(command))
    expect(ours, `${command.join(" ")}`).toEqual(sorted((await redis.ask(encodeCommand(command), 1)).join("")))
    matched += ours.length
  }
  expect(matched).toBeGreaterThan(1_000)
  const found = new Set<string>()
  let cursor = ""
  for (let round = 0; round < 1_000 && cursor !== "0"; round += 1) {
    const reply = ask(["SCAN", cursor === "" ? "0" : cursor, "COUNT", "7", "MATCH", "*"])
    const [, , head = "", ...rest] = reply.split("\r\n")
    cursor = head
    for (const key of sorted(rest.join("\r\n"))) {
      found.add(key)
    }
  }
  expect(found).toEqual(new Set(keys))
})

test("the refusals of SCAN, KEYS and WAIT are Redis's", async () => {
  const pair = new Pair()
  await pair.hello(2)
  const words = [
    "SCAN x",
    "SCAN 0 COUNT 0",
    "SCAN 0 COUNT x",
    "SCAN 0 MATCH",
    "SCAN 0 NOPE 1",
    "SCAN",
    "KEYS",
    "KEYS a b",
    "WAIT x 0",
    "WAIT 0 x",
    "WAIT 0 -1",
    "WAIT 0",
    "WAIT 0 0",
  ]
  await pair.compare(
    words.map((line) => line.split(" ")),
    "refusals",
  )
  expect(pair.compared).toBe(words.length)
})
