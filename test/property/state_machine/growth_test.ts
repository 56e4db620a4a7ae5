/** Growth: a larger arena says what the smaller one did, is the same on every machine, and goes on alike. */
import { createHash } from "node:crypto"
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { arenaBytes, HeaderOffset } from "../../../appliance/state_machine/arena.ts"
import { type ArenaTables, openTables } from "../../../appliance/state_machine/arena_tables.ts"
import { CommandCode, CommandFlag, ResultError } from "../../../appliance/state_machine/command.ts"
import { EVENT_BODY_BYTES } from "../../../appliance/state_machine/event_ring.ts"
import { growArena } from "../../../appliance/state_machine/growth.ts"
import { logicalDigest } from "../../../appliance/state_machine/logical_digest.ts"
import { EVENT_RECORD_BYTES, RECORD_TABLES, TableNumber } from "../../../appliance/state_machine/record_tables.ts"
import { type ArenaStateMachine, createStateMachine } from "../../../appliance/state_machine/state_machine.ts"
import { Operation, SessionState } from "../../../appliance/types/contracts.ts"
import { growthFault } from "../../../appliance/types/growth.ts"
import { CLUSTER_LIMITS, type ClusterLimits } from "../../../appliance/types/limits.ts"
import { type Command, Driver, encode, SMALL_LIMITS } from "./driver.ts"

const LIMITS: ClusterLimits = { ...SMALL_LIMITS, session_reply_bytes_max: 1_200, read_reply_bytes_max: 1_900 }
const LARGER: ClusterLimits = {
  ...LIMITS,
  log_slots: 2 * LIMITS.log_slots,
  log_bytes: 2 * LIMITS.log_bytes,
  sessions_max: 6,
  machines_max: 9,
  leases_max: 4,
  rules_max: 3,
  secrets_max: 6,
  images_max: 2,
  templates_max: 5,
  workloads_max: 3,
  events_max: 8,
  exports_max: 2,
  kv_entries_max: 70,
  kv_slab_bytes: 128 * 1024,
}

const KEYS = ["a", "b", "c", "dd", "eee", "ffff", "ggggggg", "h", "i", "jjjjjjjjjjjjjjjj"] as const
const RECORD_KEYS = ["a", "bb", "ccc"] as const

function recordOf(table: number, key: string, mark: string): string {
  const head = `${String.fromCharCode(key.length)}${key}`.padEnd(64, "\0")
  return `${head}\0`.padEnd(RECORD_TABLES[table]?.recordBytes ?? 0, mark)
}

const BLANK: Command = { code: 0, flags: 0, argument: 0n, key: "", value: "" }
const key = fc.constantFrom(...KEYS)
const value = fc.integer({ min: 0, max: 500 }).map((bytes) => "v".repeat(bytes))
const set: fc.Arbitrary<Command> = fc
  .record({ key, value, flags: fc.constantFrom(0, 0, CommandFlag.expires), argument: fc.bigInt(1n, 300n) })
  .map((some) => ({ ...BLANK, code: CommandCode.set, ...some }))
const del: fc.Arbitrary<Command> = key.map((some) => ({ ...BLANK, code: CommandCode.del, key: some }))
const add: fc.Arbitrary<Command> = key.map((some) => ({ ...BLANK, code: CommandCode.incr_by, argument: 3n, key: some }))
const record: fc.Arbitrary<Command> = fc
  .record({
    table: fc.constantFrom<number[]>(...RECORD_TABLES.keys()),
    name: fc.constantFrom(...RECORD_KEYS),
    mark: fc.constantFrom("x", "y"),
    isRemoved: fc.boolean(),
  })
  .map(({ table, name, mark, isRemoved }) => {
    if (table === TableNumber.events) {
      return { ...BLANK, code: CommandCode.record_put, flags: table, value: name.padEnd(EVENT_BODY_BYTES, mark) }
    }
    return isRemoved
      ? { ...BLANK, code: CommandCode.record_remove, flags: table, key: name }
      : { ...BLANK, code: CommandCode.record_put, flags: table, key: name, value: recordOf(table, name, mark) }
  })
/**
 * What happens: a batch, time, expiry, another gateway's session, a word on wall time, a configuration, a checkpoint.
 */
const step = fc.oneof(
  { weight: 10, arbitrary: fc.array(fc.oneof(set, set, del, add, record), { minLength: 1, maxLength: 3 }) },
  { weight: 2, arbitrary: fc.integer({ min: 1, max: 200 }) },
  { weight: 1, arbitrary: fc.constantFrom("pulse" as const, "wall" as const, "configuration" as const) },
  { weight: 1, arbitrary: fc.constantFrom("session" as const, "checkpoint" as const) },
)
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

function play(driver: Driver, steps: readonly Step[]): void {
  for (const next of steps) {
    if (typeof next === "number") {
      driver.now += next
    } else if (next === "pulse") {
      driver.apply(Operation.pulse, new Uint8Array(0))
    } else if (next === "wall") {
      driver.apply(Operation.wall_clock, new Uint8Array(8).fill(3, 2, 6))
    } else if (next === "configuration") {
      driver.apply(Operation.reconfigure, new Uint8Array(60 + (driver.op % 9)).fill(driver.op % 251))
    } else if (next === "session") {
      driver.apply(Operation.register, new Uint8Array(16).fill(driver.op % 251))
    } else if (next === "checkpoint") {
      driver.apply(Operation.checkpoint, new Uint8Array(0))
    } else {
      driver.batch(next)
    }
  }
}

function grow(driver: Driver, from = LIMITS, to = LARGER): Driver {
  const machine = createStateMachine({ limits: to, arena: new Uint8Array(arenaBytes(to)) })
  const { arena, pages } = driver.machine
  const grown = growArena({ arena, limits: from, pages }, { arena: machine.arena, limits: to, pages: machine.pages })
  expect(grown).toMatchObject({ ok: true })
  return new Driver(to, undefined, { machine, driver })
}

/** All that can be asked of a state: what commands answer, sessions, and what replication asks. */
function saidBy(driver: Driver): unknown {
  const { machine } = driver
  const answers = KEYS.map((some) => driver.read([{ ...BLANK, code: CommandCode.get, key: some }])[0])
  const size = driver.read([{ ...BLANK, code: CommandCode.db_size }])
  const lists = [...RECORD_TABLES.keys()].map((table) => {
    return [...Array(4).keys()].map((first) => {
      const single = { ...BLANK, code: CommandCode.record_get, flags: table }
      if (table === TableNumber.events) {
        return [...Array(40).keys()].map((number) => driver.read([{ ...single, argument: BigInt(number + 1) }])[0])
      }
      if (table === TableNumber.secrets) {
        return RECORD_KEYS.map((name) => driver.read([{ ...single, key: name }])[0])
      }
      return driver.read([{ ...BLANK, code: CommandCode.record_list, flags: table, argument: BigInt(first) }])[0]
    })
  })
  const sessions = [...Array(driver.op + 1).keys()].map((session) => {
    if (machine.sessionState(session) === SessionState.unknown) {
      return undefined
    }
    const reply = new Uint8Array(LIMITS.session_reply_bytes_max)
    const bytes = machine.sessionReply(session, reply)
    return [machine.sessionRequest(session), Buffer.from(reply.subarray(0, bytes)).toString("hex")]
  })
  return {
    answers,
    size,
    lists,
    sessions,
    commit: machine.commit(),
    timestamp: machine.timestamp(),
    wall: machine.wallOffset(),
    deadline: machine.nextDeadline(),
    configuration: Buffer.from(machine.configuration()).toString("hex"),
  }
}

function rootOf(machine: ArenaStateMachine): string {
  return machine.pages.root((prefix, bytes, start, end) => {
    return createHash("sha256").update(prefix).update(bytes.subarray(start, end)).digest("hex").slice(0, 32)
  }, "")
}

/** The root of the bytes as they are. */
function rootNow(driver: Driver): string {
  driver.apply(Operation.checkpoint, new Uint8Array(0))
  driver.machine.pages.takeDigests(driver.machine.pages.count)
  return rootOf(driver.machine)
}

const steps = fc.array(step, { maxLength: 60, size: "max" })

describe("growth", () => {
  test("says what the smaller arena said, in the same bytes on every machine, and goes on alike", () => {
    fc.assert(
      fc.property(steps, steps, (before, after) => {
        const drivers = [new Driver(LIMITS), new Driver(LIMITS)] as const
        for (const driver of drivers) {
          play(driver, before)
        }
        const [small] = drivers
        const said = saidBy(small)
        const [one, two] = [grow(drivers[0]), grow(drivers[1])]
        expect(saidBy(one)).toEqual(said)
        expect(saidBy(small)).toEqual(said)
        expect(Buffer.compare(one.machine.arena, two.machine.arena)).toBe(0)
        // The pages that were noted are those that are there.
        expect(one.machine.pages.scrub(one.machine.pages.count)).toBe(-1)
        expect(rootOf(one.machine)).toBe(rootOf(two.machine))
        expect(one.machine.checkpointOp()).toBe(small.op)
        play(one, after)
        play(two, after)
        expect(rootNow(one)).toBe(rootNow(two))
      }),
      { numRuns: 200 },
    )
  })

  test("answers later commands as the smaller arena would have, as long as that was not full", () => {
    const later = fc.array(fc.oneof(set, del, add), { maxLength: 40, size: "max" })
    fc.assert(
      fc.property(steps, later, fc.array(fc.nat(150), { maxLength: 40 }), (before, commands, pauses) => {
        const small = new Driver(LIMITS)
        play(small, before)
        const large = grow(small)
        for (const [index, command] of commands.entries()) {
          for (const driver of [small, large]) {
            driver.now += pauses[index] ?? 0
            driver.apply(Operation.pulse, new Uint8Array(0))
          }
          const body = [command, { ...BLANK, code: CommandCode.db_size }]
          const answers = small.batch(body)
          if (answers[0] === `error ${ResultError.kv_slab_bytes}`) {
            // From here on they part: that is what it grows for.
            return
          }
          expect(large.batch(body)).toEqual(answers)
        }
      }),
      { numRuns: 100 },
    )
  })

  test("holds more than the smaller arena could, and grows again", () => {
    const small = new Driver(LIMITS)
    const keys = (count: number): Command[] =>
      [...Array(count).keys()].map((index) => ({ ...BLANK, code: CommandCode.set, key: `k${index}`, value: "1" }))
    const fill = (driver: Driver, count: number): number =>
      keys(count).filter((command) => driver.batch([command])[0] === "ok").length
    expect(fill(small, 100)).toBe(LIMITS.kv_entries_max)
    const large = grow(small)
    expect(fill(large, 100)).toBe(LARGER.kv_entries_max)
    const larger = { ...LARGER, kv_entries_max: 200, events_max: 20 }
    const largest = grow(large, LARGER, larger)
    expect(fill(largest, 200)).toBe(200)
    expect(largest.read([{ ...BLANK, code: CommandCode.db_size }])).toEqual([200n])
  })

  test("a ring of events that had wrapped shows none that had made room, before and after it wraps again", () => {
    const driver = new Driver(LIMITS)
    const append = (to: Driver): void => {
      const event = { ...BLANK, code: CommandCode.record_put, flags: TableNumber.events }
      expect(to.batch([{ ...event, value: `event ${to.op}`.padEnd(EVENT_BODY_BYTES, ".") }])).toEqual(["ok"])
    }
    const seen = (of: Driver): number[] => {
      const numbers = [...Array(60).keys()].map((index) => index + 1)
      const event = { ...BLANK, code: CommandCode.record_get, flags: TableNumber.events }
      return numbers.filter((number) => of.read([{ ...event, argument: BigInt(number) }])[0] !== null)
    }
    for (let count = 0; count < 12; count += 1) {
      append(driver)
    }
    expect(seen(driver)).toEqual([8, 9, 10, 11, 12])
    const large = grow(driver)
    expect(seen(large)).toEqual([8, 9, 10, 11, 12])
    append(large)
    expect(seen(large)).toEqual([8, 9, 10, 11, 12, 13])
    for (let count = 0; count < 9; count += 1) {
      append(large)
    }
    expect(seen(large)).toEqual([15, 16, 17, 18, 19, 20, 21, 22])
  })
})

/** Offsets of every byte that means something. */
function meaningOf({ view, sessions, keyedRecords, events, kv }: ArenaTables): number[] {
  const spans: [number, number][] = [
    [HeaderOffset.commit, 8],
    [HeaderOffset.timestamp, 8],
    [HeaderOffset.wall_offset, 8],
    [HeaderOffset.configuration, view.getUint16(HeaderOffset.configuration_bytes, true)],
  ]
  for (let index = 0; index < sessions.count; index += 1) {
    if (!sessions.isFree(index)) {
      // Its number, id, request and op, and the reply; the number of bytes is judged below.
      spans.push([sessions.offset(index) + 8, 32], [sessions.offset(index) + 48, sessions.usedBytes(index) - 48])
    }
  }
  for (const [, table] of keyedRecords) {
    spans.push([table.offset(0), table.count() * table.recordBytes])
  }
  for (let number = events.oldest(); number <= events.newest(); number += 1) {
    spans.push([events.offset(number), EVENT_RECORD_BYTES])
  }
  for (let entry = 0; entry < kv.used(); entry += 1) {
    if (kv.isInUse(entry)) {
      spans.push([kv.keyOffset(entry), kv.keyBytes(entry)], [kv.valueOffset(entry), kv.valueBytes(entry)])
    }
  }
  return spans.flatMap(([start, bytes]) => [...Array(bytes).keys()].map((index) => start + index))
}

describe("the logical digest", () => {
  test("differs when any bit of any record does", () => {
    fc.assert(
      fc.property(steps, fc.array(fc.tuple(fc.nat(), fc.nat(7)), { minLength: 20, maxLength: 20 }), (before, flips) => {
        const driver = new Driver(LIMITS)
        play(driver, before)
        const { arena, pages } = grow(driver).machine
        const tables = openTables(arena, LARGER, pages)
        const digest = logicalDigest(tables)
        const meaning = meaningOf(tables)
        expect(meaning.length).toBeGreaterThan(50)
        for (const [drawn, bit] of flips) {
          const at = meaning[drawn % meaning.length] ?? 0
          arena[at] = (arena[at] ?? 0) ^ (1 << bit)
          expect(logicalDigest(tables)).not.toBe(digest)
          arena[at] = (arena[at] ?? 0) ^ (1 << bit)
        }
        expect(logicalDigest(tables)).toBe(digest)
      }),
      { numRuns: 60 },
    )
  })

  test("differs when a key, a record, an event or a session is missing or one too many", () => {
    const one = new Driver(LIMITS)
    play(one, [[{ ...BLANK, code: CommandCode.set, key: "a", value: "1" }]])
    const digestOf = (driver: Driver): string =>
      logicalDigest(openTables(driver.machine.arena, LIMITS, driver.machine.pages))
    const before = digestOf(one)
    const changes: Command[] = [
      { ...BLANK, code: CommandCode.set, key: "b", value: "1" },
      { ...BLANK, code: CommandCode.del, key: "a" },
      { ...BLANK, code: CommandCode.set, key: "a", value: "1", flags: CommandFlag.expires, argument: 5n },
      { ...BLANK, code: CommandCode.record_put, flags: 1, key: "a", value: recordOf(1, "a", "x") },
      { ...BLANK, code: CommandCode.record_put, flags: TableNumber.events, value: "e".padEnd(EVENT_BODY_BYTES) },
    ]
    const digests = changes.map((change) => {
      const { arena, pages } = one.machine
      const copy = new Uint8Array(arena)
      const body = encode([change])
      one.machine.read(body, 0, body.length, new Uint8Array(LIMITS.read_reply_bytes_max))
      const digest = logicalDigest(openTables(arena, LIMITS, pages))
      arena.set(copy)
      return digest
    })
    expect(new Set([...digests, before]).size).toBe(changes.length + 1)
  })
})

describe("what is wrong is not grown", () => {
  function grown(driver: Driver): unknown {
    const machine = createStateMachine({ limits: LARGER, arena: new Uint8Array(arenaBytes(LARGER)) })
    const { arena, pages } = driver.machine
    const to = { arena: machine.arena, limits: LARGER, pages: machine.pages }
    return growArena({ arena, limits: LIMITS, pages }, to)
  }

  test("a flipped bit in a page of the last checkpoint, and in a key or value since", () => {
    const driver = new Driver(LIMITS)
    driver.batch([{ ...BLANK, code: CommandCode.set, key: "a", value: "1" }])
    const { arena, pages } = driver.machine
    const { kv } = openTables(arena, LIMITS, pages)
    const at = kv.valueOffset(0)
    arena[at] = (arena[at] ?? 0) ^ 4
    expect(grown(driver)).toEqual({ ok: false, error: { kind: "entry_corrupt", at: 0 } })
    arena[at] = (arena[at] ?? 0) ^ 4
    expect(grown(driver)).toMatchObject({ ok: true })
    driver.apply(Operation.checkpoint, new Uint8Array(0))
    pages.takeDigests(pages.count)
    arena[at] = (arena[at] ?? 0) ^ 4
    expect(grown(driver)).toEqual({ ok: false, error: { kind: "page_corrupt", at: at >>> 12 } })
  })

  test("a count that is not that of the entries", () => {
    const driver = new Driver(LIMITS)
    driver.batch([{ ...BLANK, code: CommandCode.set, key: "a", value: "1" }])
    const view = new DataView(driver.machine.arena.buffer)
    view.setUint32(HeaderOffset.kv_count, 2, true)
    expect(grown(driver)).toEqual({ ok: false, error: { kind: "digest_differs", at: 0 } })
  })
})

describe("limits that a cluster may grow to", () => {
  test("every table may become larger and none smaller; what travels stays", () => {
    expect(growthFault(LIMITS, LARGER)).toBe(undefined)
    expect(growthFault(LIMITS, LIMITS)).toBe("kv_entries_max")
    expect(growthFault(LARGER, LIMITS)).toBe("log_slots")
    expect(growthFault(CLUSTER_LIMITS, { ...CLUSTER_LIMITS, leases_max: 1023, kv_entries_max: 1 << 20 })).toBe(
      "leases_max",
    )
    expect(growthFault(CLUSTER_LIMITS, { ...CLUSTER_LIMITS, value_bytes_max: 70_000 })).toBe("value_bytes_max")
  })
})
