/** The state machine against a plain Map: random batches, deadlines, full tables, and the same bytes everywhere. */
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { CommandCode, CommandFlag, ResultError } from "../../../appliance/state_machine/command.ts"
import { Operation } from "../../../appliance/types/contracts.ts"
import { PRNG } from "../../../appliance/types/prng.ts"
import { type Answer, type Command, decode, Driver, encode, rebuilt, SMALL_LIMITS } from "./driver.ts"

type Entry = { value: string; deadline: number }

/** Redis's behaviour for the commands we have, over a Map. */
class Model {
  readonly #map = new Map<string, Entry>()

  #live(key: string, now: number): Entry | undefined {
    const entry = this.#map.get(key)
    if (entry !== undefined && entry.deadline !== 0 && entry.deadline <= now) {
      return undefined
    }
    return entry
  }

  #getEx({ flags, argument, key }: Command, entry: Entry | undefined, now: number): Answer {
    if (entry === undefined) {
      return null
    }
    if ((flags & CommandFlag.persist) !== 0) {
      this.#map.set(key, { ...entry, deadline: 0 })
    } else if ((flags & CommandFlag.expires) !== 0) {
      this.#map.set(key, { ...entry, deadline: now + Number(argument) })
    }
    return `=${entry.value}`
  }

  #splice({ code, argument, key, value }: Command, entry: Entry | undefined): Answer {
    const old = entry?.value ?? ""
    const offset = code === CommandCode.append ? old.length : Number(argument)
    if (value === "" && (code === CommandCode.set_range || entry !== undefined)) {
      return BigInt(old.length)
    }
    if (offset + value.length > SMALL_LIMITS.value_bytes_max) {
      return `error ${ResultError.value_bytes_max}`
    }
    const text = old.slice(0, offset).padEnd(offset, "\0") + value + old.slice(offset + value.length)
    this.#map.set(key, { value: text, deadline: entry?.deadline ?? 0 })
    return BigInt(text.length)
  }

  #range({ argument }: Command, text: string): Answer {
    const first = Number(BigInt.asIntN(32, argument))
    const last = Number(argument >> 32n)
    if (first < 0 && last < 0 && first > last) {
      return "="
    }
    const start = Math.max(first < 0 ? text.length + first : first, 0)
    const end = Math.max(last < 0 ? text.length + last : last, 0)
    return `=${text.slice(start, end + 1)}`
  }

  #expire({ flags, argument, key }: Command, entry: Entry | undefined, now: number): Answer {
    const deadline = now + Number(argument)
    // No deadline is the latest of all.
    const old = entry === undefined || entry.deadline === 0 ? Number.POSITIVE_INFINITY : entry.deadline
    const isRefused =
      entry === undefined ||
      ((flags & CommandFlag.nx) !== 0 && old !== Number.POSITIVE_INFINITY) ||
      ((flags & CommandFlag.xx) !== 0 && old === Number.POSITIVE_INFINITY) ||
      ((flags & CommandFlag.gt) !== 0 && deadline <= old) ||
      ((flags & CommandFlag.lt) !== 0 && deadline >= old)
    if (isRefused) {
      return 0n
    }
    if (deadline <= now) {
      this.#map.delete(key)
    } else {
      this.#map.set(key, { ...entry, deadline })
    }
    return 1n
  }

  #rename({ flags, key, value }: Command, entry: Entry | undefined, now: number): Answer {
    const isNew = (flags & CommandFlag.nx) !== 0
    if (entry === undefined) {
      return null
    }
    if (isNew && this.#live(value, now) !== undefined) {
      return 0n
    }
    this.#map.delete(key)
    this.#map.set(value, entry)
    return isNew ? 1n : "ok"
  }

  run(command: Command, now: number): Answer {
    const { code, flags, argument, key, value } = command
    const entry = this.#live(key, now)
    switch (code) {
      case CommandCode.set: {
        const old = entry === undefined ? null : `=${entry.value}`
        const refused = ((flags & CommandFlag.nx) !== 0 && entry) || ((flags & CommandFlag.xx) !== 0 && !entry)
        if (!refused) {
          const kept = (flags & CommandFlag.keeps) === 0 ? 0 : (entry?.deadline ?? 0)
          this.#map.set(key, { value, deadline: (flags & CommandFlag.expires) === 0 ? kept : now + Number(argument) })
        }
        return (flags & CommandFlag.get) !== 0 ? old : refused ? null : "ok"
      }
      case CommandCode.get:
        return entry === undefined ? null : `=${entry.value}`
      case CommandCode.get_del:
        this.#map.delete(key)
        return entry === undefined ? null : `=${entry.value}`
      case CommandCode.get_ex:
        return this.#getEx(command, entry, now)
      case CommandCode.str_len:
        return BigInt(entry?.value.length ?? 0)
      case CommandCode.append:
      case CommandCode.set_range:
        return this.#splice(command, entry)
      case CommandCode.get_range:
        return this.#range(command, entry?.value ?? "")
      case CommandCode.expire:
        return this.#expire(command, entry, now)
      case CommandCode.ttl:
        return entry === undefined ? -2n : entry.deadline === 0 ? -1n : BigInt(entry.deadline - now)
      case CommandCode.persist: {
        const isTaken = entry !== undefined && entry.deadline !== 0
        if (isTaken) {
          entry.deadline = 0
        }
        return isTaken ? 1n : 0n
      }
      case CommandCode.rename:
        return this.#rename(command, entry, now)
      case CommandCode.del:
        this.#map.delete(key)
        return entry === undefined ? 0n : 1n
      case CommandCode.exists:
        return entry === undefined ? 0n : 1n
      default: {
        const text = entry?.value ?? "0"
        if (!/^(0|-?[1-9]\d{0,18})$/.test(text) || BigInt(text) !== BigInt.asIntN(64, BigInt(text))) {
          return `error ${ResultError.not_an_integer}`
        }
        const sum = BigInt(text) + argument
        if (sum !== BigInt.asIntN(64, sum)) {
          return `error ${ResultError.overflow}`
        }
        this.#map.set(key, { value: String(sum), deadline: entry?.deadline ?? 0 })
        return sum
      }
    }
  }
}

const key = fc.constantFrom("a", "b", "c", "dd", "eee", "ffff", "ggggggggggggggg")
const number = fc.oneof(fc.bigInt(-20n, 20n), fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n))
const value = fc.oneof(
  fc.string({ maxLength: 40, unit: fc.constantFrom("x", "y", "0", "-") }),
  number.map(String),
  fc.constantFrom("", "01", "-0", "9223372036854775807", "9223372036854775808", "+1", " 1", "x".repeat(300)),
)
const commandOf: fc.Arbitrary<Command> = fc.oneof(
  fc.record({
    code: fc.constant<number>(CommandCode.set),
    flags: fc.constantFrom(0, 1, 2, 4, 5, 6, 8, 9, 12, 128, 129, 132),
    argument: fc.bigInt(1n, 500n),
    key,
    value,
  }),
  fc.record({
    code: fc.constantFrom<number[]>(
      CommandCode.get,
      CommandCode.del,
      CommandCode.exists,
      CommandCode.get_del,
      CommandCode.str_len,
      CommandCode.ttl,
      CommandCode.persist,
    ),
    flags: fc.constant(0),
    argument: fc.constant(0n),
    key,
    value: fc.constant(""),
  }),
  fc.record({
    code: fc.constant<number>(CommandCode.incr_by),
    flags: fc.constant(0),
    argument: number,
    key,
    value: fc.constant(""),
  }),
)
const restOf: fc.Arbitrary<Command> = fc.oneof(
  fc.record({
    code: fc.constant<number>(CommandCode.get_ex),
    flags: fc.constantFrom<number[]>(0, CommandFlag.expires, CommandFlag.persist),
    argument: fc.bigInt(1n, 500n),
    key,
    value: fc.constant(""),
  }),
  fc.record({
    code: fc.constantFrom<number[]>(CommandCode.append, CommandCode.set_range),
    flags: fc.constant(0),
    argument: fc.oneof(fc.bigInt(0n, 50n), fc.bigInt(0n, 600n)),
    key,
    value,
  }),
  fc.record({
    code: fc.constant<number>(CommandCode.get_range),
    flags: fc.constant(0),
    argument: fc
      .tuple(fc.integer({ min: -50, max: 50 }), fc.integer({ min: -50, max: 50 }))
      .map(([first, last]) => BigInt(last) * 2n ** 32n + BigInt(first >>> 0)),
    key,
    value: fc.constant(""),
  }),
  fc.record({
    code: fc.constant<number>(CommandCode.expire),
    flags: fc.constantFrom(0, 1, 2, 16, 32, 18, 34),
    argument: fc.bigInt(-5n, 500n),
    key,
    value: fc.constant(""),
  }),
  fc.record({
    code: fc.constant<number>(CommandCode.rename),
    flags: fc.constantFrom<number[]>(0, CommandFlag.nx),
    argument: fc.constant(0n),
    key,
    value: key,
  }),
)
const step = fc.oneof(
  { weight: 5, arbitrary: fc.array(restOf, { minLength: 1, maxLength: 3 }) },
  { weight: 8, arbitrary: fc.array(commandOf, { minLength: 1, maxLength: 3 }) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 400 }) },
  { weight: 1, arbitrary: fc.constant("pulse" as const) },
)

describe("state machine", () => {
  test("answers as the model does, is the same bytes twice, and continues from its bytes alone", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.nat(60), (steps, cut) => {
        const one = new Driver()
        let two = new Driver()
        const model = new Model()
        for (const [index, next] of steps.entries()) {
          if (index === cut) {
            two = rebuilt(two)
          }
          for (const driver of [one, two]) {
            if (typeof next === "number") {
              driver.now += next
            } else if (next === "pulse") {
              driver.apply(Operation.pulse, new Uint8Array(0))
            }
          }
          if (Array.isArray(next)) {
            const expected = next.map((command) => model.run(command, one.now))
            expect(one.batch(next)).toEqual(expected)
            expect(two.batch(next)).toEqual(expected)
          }
        }
        expect(Buffer.compare(one.machine.arena, two.machine.arena)).toBe(0)
      }),
      { numRuns: 400 },
    )
  })

  test("wall time: refused until it was told, then a deadline is the same however it is named", () => {
    const driver = new Driver()
    const command = (code: number, flags: number, argument: bigint, value = ""): Command => {
      return { code, flags, argument, key: "a", value }
    }
    const at = CommandFlag.expires | CommandFlag.absolute
    const absent = `error ${ResultError.no_wall_clock}`
    expect(driver.batch([command(CommandCode.set, at, 1_000_500n, "v")])).toEqual([absent])
    expect(driver.machine.keys()).toBe(0)
    driver.batch([command(CommandCode.set, CommandFlag.expires, 100n, "v")])
    expect(driver.batch([command(CommandCode.expire, CommandFlag.absolute, 1_000_500n)])).toEqual([absent])
    expect(driver.batch([command(CommandCode.get_ex, at, 1_000_500n)])).toEqual([absent])
    expect(driver.read([command(CommandCode.ttl, CommandFlag.absolute, 0n)])).toEqual([absent])
    expect(driver.read([command(CommandCode.ttl, 0, 0n)])).toEqual([100n])
    const wall = new Uint8Array(8)
    new DataView(wall.buffer).setUint32(0, 1_000_000, true)
    driver.apply(Operation.wall_clock, wall)
    expect(driver.read([command(CommandCode.ttl, CommandFlag.absolute, 0n)])).toEqual([1_000_100n])
    expect(driver.batch([command(CommandCode.expire, CommandFlag.absolute, 1_000_500n)])).toEqual([1n])
    expect(driver.read([command(CommandCode.ttl, 0, 0n)])).toEqual([500n])
    expect(driver.batch([command(CommandCode.get_ex, at, 1_000_700n)])).toEqual(["=v"])
    expect(driver.machine.nextDeadline()).toBe(driver.now + 700)
    expect(driver.batch([command(CommandCode.get_ex, at, 999_999n)])).toEqual(["=v"])
    expect(driver.batch([command(CommandCode.set, at, 1n, "gone"), command(CommandCode.get, 0, 0n)])).toEqual([
      "ok",
      null,
    ])
  })

  test("a scan goes on where the reply was full, skips what is gone, and answers no flipped key", () => {
    const driver = new Driver()
    const names = Array.from({ length: 20 }, (_, index) => `key ${String(index).padStart(12, "0")}`)
    for (const name of names) {
      driver.batch([{ code: CommandCode.set, flags: 0, argument: 0n, key: name, value: "v".repeat(400) }])
    }
    const [gone = "", expired = "", ...rest] = names
    driver.batch([{ code: CommandCode.del, flags: 0, argument: 0n, key: gone, value: "" }])
    driver.batch([{ code: CommandCode.expire, flags: 0, argument: 5n, key: expired, value: "" }])
    driver.now += 5
    driver.batch([{ code: CommandCode.get, flags: 0, argument: 0n, key: "none", value: "" }])
    const scan = (first: bigint, count: bigint): Command => {
      return { code: CommandCode.scan, flags: 0, argument: (count << 32n) | first, key: "", value: "*" }
    }
    const found: string[] = []
    let pieces = 0
    for (let next = 0n, isFirst = true; (next !== 0n || isFirst) && pieces < 30; pieces += 1) {
      isFirst = false
      // Half of the reply is taken already.
      const get = { code: CommandCode.get, flags: 0, argument: 0n, key: rest[0] ?? "", value: "" }
      const bytes = Buffer.from(String(driver.batch([get, get, scan(next, 100n)])[2]).slice(1), "latin1")
      next = BigInt(bytes.readUInt32LE(0))
      for (let at = 4; at < bytes.length; at += 2 + bytes.readUInt16LE(at)) {
        found.push(bytes.toString("latin1", at + 2, at + 2 + bytes.readUInt16LE(at)))
      }
    }
    expect(pieces).toBeGreaterThan(1)
    expect(found).toEqual(rest)
    expect(driver.read([scan(0xffff_ffffn, 1n)])).toEqual(["=\0\0\0\0"])
    const { arena } = driver.machine
    const at = Buffer.from(arena).indexOf(rest[3] ?? "")
    arena[at] = (arena[at] ?? 0) ^ 1
    expect(driver.read([scan(0n, 100n)])).toEqual([`error ${ResultError.corrupt}`])
  })

  test("what a flipped bit has changed is neither built upon, renamed nor removed", () => {
    const driver = new Driver()
    driver.batch([{ code: CommandCode.set, flags: 0, argument: 0n, key: "a", value: "precious" }])
    const { arena } = driver.machine
    const at = Buffer.from(arena).indexOf("precious")
    arena[at] = (arena[at] ?? 0) ^ 1
    const corrupt = `error ${ResultError.corrupt}`
    for (const [code, value] of [
      [CommandCode.append, "x"],
      [CommandCode.set_range, "x"],
      [CommandCode.rename, "b"],
      [CommandCode.get_del, ""],
      [CommandCode.get_ex, ""],
      [CommandCode.get_range, ""],
    ] as const) {
      expect(driver.batch([{ code, flags: 0, argument: 0n, key: "a", value }])).toEqual([corrupt])
    }
    expect(driver.machine.keys()).toBe(1)
  })

  test("a pulse removes what is due, and the next deadline is known", () => {
    const driver = new Driver()
    const set = (name: string, ms: bigint): Command => ({
      code: CommandCode.set,
      flags: CommandFlag.expires,
      argument: ms,
      key: name,
      value: "v",
    })
    driver.batch([set("a", 300n), set("b", 100n), set("c", 200n)])
    expect(driver.machine.nextDeadline()).toBe(1_100)
    driver.now = 1_250
    driver.apply(Operation.pulse, new Uint8Array(0))
    expect(driver.machine.nextDeadline()).toBe(1_300)
    expect(driver.machine.keys()).toBe(1)
  })

  test("full tables refuse by name and take again after room was made, fifty times", () => {
    const driver = new Driver()
    const random = new PRNG(1)
    for (let round = 0; round < 50; round += 1) {
      const bytes = pick(random, [10, 100, 500])
      const stored: string[] = []
      let refusal: Answer = null
      for (let index = 0; index < 100 && refusal === null; index += 1) {
        const name = `k${index}`
        const [answer] = driver.batch([
          { code: CommandCode.set, flags: 0, argument: 0n, key: name, value: "v".repeat(bytes) },
        ])
        if (answer === "ok") {
          stored.push(name)
        } else {
          refusal = answer ?? null
        }
      }
      expect([`error ${ResultError.kv_entries_max}`, `error ${ResultError.kv_slab_bytes}`]).toContain(refusal)
      expect(stored.length).toBeGreaterThan(8)
      for (const name of stored) {
        const [answer] = driver.read([{ code: CommandCode.get, flags: 0, argument: 0n, key: name, value: "" }])
        expect(answer).toBe(`=${"v".repeat(bytes)}`)
        driver.batch([{ code: CommandCode.del, flags: 0, argument: 0n, key: name, value: "" }])
      }
      expect(driver.machine.keys()).toBe(0)
    }
  })

  test("a reply that does not fit is refused before anything happens", () => {
    const driver = new Driver()
    driver.batch([{ code: CommandCode.set, flags: 0, argument: 0n, key: "a", value: "x".repeat(500) }])
    const get: Command = { code: CommandCode.get, flags: 0, argument: 0n, key: "a", value: "" }
    const swap: Command = { code: CommandCode.set, flags: CommandFlag.get, argument: 0n, key: "a", value: "new" }
    expect(driver.batch([get, get, swap]).slice(2)).toEqual([`error ${ResultError.reply_bytes_max}`])
    expect(driver.read([get])).toEqual([`=${"x".repeat(500)}`])
  })

  test("a flipped bit of a value is not answered", () => {
    const driver = new Driver()
    driver.batch([{ code: CommandCode.set, flags: 0, argument: 0n, key: "a", value: "precious" }])
    const at = Buffer.from(driver.machine.arena).indexOf("precious")
    const { arena } = driver.machine
    arena[at] = (arena[at] ?? 0) ^ 1
    const get: Command = { code: CommandCode.get, flags: 0, argument: 0n, key: "a", value: "" }
    expect(driver.read([get])).toEqual([`error ${ResultError.corrupt}`])
    expect(driver.machine.corruptReads).toBe(1)
  })

  test("a session's last reply is kept, and the oldest session makes room", () => {
    const driver = new Driver()
    driver.batch([{ code: CommandCode.incr_by, flags: 0, argument: 5n, key: "n", value: "" }])
    const reply = new Uint8Array(SMALL_LIMITS.session_reply_bytes_max)
    const bytes = driver.machine.sessionReply(driver.session, reply)
    expect(decode(reply.slice(0, bytes))).toEqual([5n])
    expect(driver.machine.sessionRequest(driver.session)).toBe(1)
    const again = driver.apply(Operation.register, new Uint8Array(16).fill(7))
    expect(again).toEqual([BigInt(driver.session)])
    for (let client = 1; client <= SMALL_LIMITS.sessions_max; client += 1) {
      driver.apply(Operation.register, new Uint8Array(16).fill(100 + client))
    }
    expect(driver.machine.sessionState(driver.session)).toBe(0)
  })

  test("100,000 mutated batches never throw", () => {
    const random = new PRNG(2)
    const driver = new Driver()
    let valid = 0
    for (let round = 0; round < 100_000; round += 1) {
      const body = encode([
        {
          code: pick(random, [1, 2, 3, 4, 5, 6, 16, 17, 18, 24, 25, 26, 27]),
          flags: 0,
          argument: 1n,
          key: "a",
          value: "",
        },
        { code: 1, flags: 0, argument: 0n, key: "b", value: "1" },
      ])
      for (let change = random.below(4); change >= 0; change -= 1) {
        body[random.below(body.length)] = random.below(256)
      }
      if (driver.machine.isValidBatch(body, 0, body.length)) {
        valid += 1
        driver.apply(Operation.batch, body)
      }
      if (round % 50 === 0) {
        // What should never arrive must not stop a replica either.
        driver.apply(Operation.batch, body)
        driver.machine.read(body, 0, body.length, new Uint8Array(SMALL_LIMITS.read_reply_bytes_max))
      }
    }
    expect(valid).toBeGreaterThan(1_000)
  })
})

function pick(random: PRNG, values: readonly number[]): number {
  return values[random.below(values.length)] ?? 0
}
