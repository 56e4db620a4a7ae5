/** The tables of records against plain arrays: random commands, full tables, the ring of events, pages that changed. */
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import { CommandCode, ResultError } from "../../../appliance/state_machine/command.ts"
import { EVENT_BODY_BYTES } from "../../../appliance/state_machine/event_ring.ts"
import {
  EVENT_RECORD_BYTES,
  RECORD_TABLES,
  type RecordTableShape,
  TableNumber,
} from "../../../appliance/state_machine/record_tables.ts"
import type { ClusterLimits } from "../../../appliance/types/limits.ts"
import { type Answer, type Command, Driver, encode, rebuilt, SMALL_LIMITS } from "./driver.ts"

/** A reply holds the largest record, and not a whole table. */
const LIMITS: ClusterLimits = { ...SMALL_LIMITS, session_reply_bytes_max: 1_200, read_reply_bytes_max: 1_900 }

function shapeOf(table: number): RecordTableShape {
  const shape = RECORD_TABLES[table]
  if (shape === undefined) {
    throw new Error(`no table ${table}`)
  }
  return shape
}

/** A record's bytes as text; after the key, `mark` fills it. A machine's address has no bytes. */
function recordOf(table: number, key: string, mark: string): string {
  const head = `${String.fromCharCode(key.length)}${key}`.padEnd(64, "\0")
  return `${head}\0`.padEnd(shapeOf(table).recordBytes, mark)
}

function commandOf(code: number, table: number, rest: Partial<Command> = {}): Command {
  return { code, flags: table, argument: 0n, key: "", value: "", ...rest }
}

/** Records in the order of their first put; the last takes the place of a removed one. */
class Model {
  readonly #tables = RECORD_TABLES.map((): { key: string; value: string }[] => [])

  run({ code, flags, argument, key, value }: Command): Answer {
    const records = this.#tables[flags] ?? []
    const index = records.findIndex((record) => record.key === key)
    switch (code) {
      case CommandCode.record_put:
        if (index >= 0) {
          records[index] = { key, value }
        } else if (records.length < LIMITS[shapeOf(flags).limit]) {
          records.push({ key, value })
        } else {
          return `error ${shapeOf(flags).full}`
        }
        return "ok"
      case CommandCode.record_get:
        return index < 0 ? null : `=${records[index]?.value}`
      case CommandCode.record_remove: {
        const last = index < 0 ? undefined : records.pop()
        if (last !== undefined && index < records.length) {
          records[index] = last
        }
        return index < 0 ? 0n : 1n
      }
      default: {
        // As many as fit one reply with its five bytes of head.
        const fitting = Math.floor((LIMITS.session_reply_bytes_max - 5) / shapeOf(flags).recordBytes)
        const listed = records.slice(Number(argument), Number(argument) + fitting)
        return `=${listed.map((record) => record.value).join("")}`
      }
    }
  }
}

const KEYED: readonly number[] = Object.values(TableNumber).filter(
  (table) => table !== TableNumber.events && table !== TableNumber.secrets,
)

/** Few, so that they fill up; secrets take two pages. */
const DRAWN: readonly number[] = [TableNumber.machines, TableNumber.rules, TableNumber.secrets]

const keyed: fc.Arbitrary<Command> = fc
  .record({
    code: fc.constantFrom<number[]>(
      CommandCode.record_put,
      CommandCode.record_put,
      CommandCode.record_get,
      CommandCode.record_remove,
    ),
    table: fc.constantFrom(...DRAWN),
    key: fc.constantFrom("a", "bb", "ccc", "d".repeat(16), "e", "f", "g", "h"),
    mark: fc.constantFrom("x", "y"),
  })
  .map(({ code, table, key, mark }) => {
    const value = code === CommandCode.record_put ? recordOf(table, key, mark) : ""
    return commandOf(code, table, { key, value })
  })
const list: fc.Arbitrary<Command> = fc
  .record({ table: fc.constantFrom(TableNumber.machines, TableNumber.rules), first: fc.bigInt(0n, 3n) })
  .map(({ table, first }) => commandOf(CommandCode.record_list, table, { argument: first }))

/** The first page that has changed since the last call although nobody said so, or -1. */
function untoldPage(driver: Driver): number {
  const { pages } = driver.machine
  const untold = pages.scrub(pages.count)
  pages.freeze()
  pages.takeDigests(pages.count)
  return untold
}

describe("tables of records", () => {
  test("answer as the model does, are the same bytes twice, and go on from the bytes alone", () => {
    let refusals = 0
    fc.assert(
      fc.property(
        fc.array(fc.oneof({ weight: 8, arbitrary: keyed }, { weight: 1, arbitrary: list }), {
          maxLength: 60,
          size: "max",
        }),
        fc.nat(60),
        (commands, cut) => {
          const one = new Driver(LIMITS)
          let two = new Driver(LIMITS)
          const model = new Model()
          for (const [index, command] of commands.entries()) {
            if (index === cut) {
              two = rebuilt(two, LIMITS)
            }
            const expected = model.run(command)
            refusals += typeof expected === "string" && expected.startsWith("error") ? 1 : 0
            expect(one.batch([command])).toEqual([expected])
            expect(two.batch([command])).toEqual([expected])
            expect(untoldPage(one)).toBe(-1)
          }
          expect(Buffer.compare(one.machine.arena, two.machine.arena)).toBe(0)
        },
      ),
      { numRuns: 300 },
    )
    expect(refusals).toBeGreaterThan(50)
  })

  test.each(KEYED)("a full table %d refuses with its own limit, and takes again what was removed", (table) => {
    const driver = new Driver(LIMITS)
    const { full, limit } = shapeOf(table)
    const put = (key: string): Answer[] =>
      driver.batch([commandOf(CommandCode.record_put, table, { key, value: recordOf(table, key, "z") })])
    for (let index = 0; index < LIMITS[limit]; index += 1) {
      expect(put(`k${index}`)).toEqual(["ok"])
    }
    expect(put("more")).toEqual([`error ${full}`])
    expect(put("k0")).toEqual(["ok"])
    expect(driver.batch([commandOf(CommandCode.record_remove, table, { key: "k0" })])).toEqual([1n])
    expect(put("more")).toEqual(["ok"])
    expect(Object.entries(ResultError).find(([, code]) => code === full)?.[0]).toBe(limit)
  })

  test("what is removed leaves no byte", () => {
    const driver = new Driver(LIMITS)
    const empty = Buffer.from(driver.machine.arena)
    const commands = ["a", "b", "c"].map((key) => {
      return commandOf(CommandCode.record_put, TableNumber.leases, {
        key,
        value: recordOf(TableNumber.leases, key, "z"),
      })
    })
    driver.batch(commands)
    for (const key of ["b", "a", "c"]) {
      driver.batch([commandOf(CommandCode.record_remove, TableNumber.leases, { key })])
    }
    const start = driver.machine.layout.records[TableNumber.leases] ?? 0
    const end = driver.machine.layout.kv_entries
    expect(Buffer.compare(driver.machine.arena.subarray(start, end), empty.subarray(start, end))).toBe(0)
  })

  test("a record under another key than its own is refused, and a secret is never listed", () => {
    const driver = new Driver(LIMITS)
    const value = recordOf(TableNumber.secrets, "a", "s")
    const put = commandOf(CommandCode.record_put, TableNumber.secrets, { key: "b", value })
    expect(driver.batch([put])).toEqual([`error ${ResultError.malformed}`])
    expect(driver.batch([{ ...put, key: "a" }])).toEqual(["ok"])
    expect(driver.read([commandOf(CommandCode.record_get, TableNumber.secrets, { key: "a" })])).toEqual([`=${value}`])
    const lists = encode([commandOf(CommandCode.record_list, TableNumber.secrets)])
    expect(driver.machine.isValidBatch(lists, 0, lists.length)).toBe(false)
    expect(driver.read([commandOf(CommandCode.record_list, TableNumber.secrets)])).toEqual([
      `error ${ResultError.malformed}`,
    ])
  })

  test.each([
    commandOf(CommandCode.record_put, TableNumber.leases, { key: "a", value: "short" }),
    commandOf(CommandCode.record_put, TableNumber.leases, { value: recordOf(TableNumber.leases, "", "z") }),
    commandOf(CommandCode.record_put, RECORD_TABLES.length, { key: "a", value: "" }),
    commandOf(CommandCode.record_put, TableNumber.events, { key: "a", value: "e".repeat(EVENT_BODY_BYTES) }),
    commandOf(CommandCode.record_remove, TableNumber.events, { argument: 1n }),
    commandOf(CommandCode.record_get, TableNumber.leases, { key: "k".repeat(64) }),
    commandOf(CommandCode.record_list, RECORD_TABLES.length),
    commandOf(CommandCode.record_list, TableNumber.leases, { argument: -1n }),
    commandOf(CommandCode.record_list, TableNumber.events, { argument: 2n ** 53n }),
  ])("a command out of form gets no op: %o", (command) => {
    const body = encode([command])
    expect(new Driver(LIMITS).machine.isValidBatch(body, 0, body.length)).toBe(false)
  })
})

describe("events", () => {
  const append = (body: string): Command =>
    commandOf(CommandCode.record_put, TableNumber.events, { value: body.padEnd(EVENT_BODY_BYTES, ".") })
  const numbersOf = (answer: Answer | undefined): number[] => {
    const bytes = Buffer.from(String(answer).slice(1), "latin1")
    return Array.from({ length: bytes.length / EVENT_RECORD_BYTES }, (_, index) =>
      Number(bytes.readBigUInt64LE(index * EVENT_RECORD_BYTES)),
    )
  }
  const listFrom = (driver: Driver, first: number): number[] =>
    numbersOf(driver.read([commandOf(CommandCode.record_list, TableNumber.events, { argument: BigInt(first) })])[0])

  test("are numbered from 1, keep op and time, and the oldest makes room", () => {
    const driver = new Driver(LIMITS)
    expect(listFrom(driver, 0)).toEqual([])
    for (let number = 1; number <= 13; number += 1) {
      driver.now += 10
      expect(driver.batch([append(`event ${number}`)])).toEqual(["ok"])
      expect(untoldPage(driver)).toBe(-1)
    }
    // Five are kept: 9 and 10 end the ring, 11 begins it again; a reply of the tests holds seven.
    expect(listFrom(driver, 0)).toEqual([9, 10])
    expect(listFrom(driver, 11)).toEqual([11, 12, 13])
    expect(listFrom(driver, 14)).toEqual([])
    const get = (number: bigint): Answer | undefined =>
      driver.read([commandOf(CommandCode.record_get, TableNumber.events, { argument: number })])[0]
    expect([get(0n), get(8n), get(14n)]).toEqual([null, null, null])
    const thirteenth = Buffer.from(String(get(13n)).slice(1), "latin1")
    expect(thirteenth.readBigUInt64LE(8)).toBe(BigInt(driver.op))
    expect(thirteenth.readBigUInt64LE(16)).toBe(BigInt(driver.now))
    expect(thirteenth.toString("latin1", 24)).toBe("event 13".padEnd(EVENT_BODY_BYTES, "."))
  })
})
