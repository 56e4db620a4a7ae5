/** The history on its own: each thing that it must refuse, refused once. */
import { describe, expect, test } from "vitest"
import { ROOT_CHECKSUM } from "../../appliance/replication/log.ts"
import type { LogEntry } from "../../appliance/replication/message.ts"
import { Operation } from "../../appliance/types/contracts.ts"
import { encodeWrites, History, Violation, type Write } from "./history.ts"

const SESSIONS = 2

/** Commits entries to a history, one after another, in view 0 unless told otherwise. */
class Chain {
  readonly history = new History(SESSIONS)
  #parent = ROOT_CHECKSUM
  #op = 0

  register(client: number): number {
    this.commit(this.next({ operation: Operation.register, body: new Uint8Array(16).fill(client) }))
    return this.#op
  }

  write(session: number, request: number, ...writes: readonly Write[]): number {
    this.commit(this.next({ operation: Operation.batch, session, request, body: encodeWrites(writes) }))
    return this.#op
  }

  set(session: number, request: number, value: string): number {
    return this.write(session, request, { kind: "set", key: "k", value, expires: 0 })
  }

  next(parts: {
    readonly operation: Operation
    readonly body: Uint8Array
    readonly session?: number
    readonly request?: number
  }): LogEntry {
    this.#op += 1
    const checksum = this.#op.toString(16).padStart(32, "a")
    const header = {
      view: 0,
      op: this.#op,
      timestamp: this.#op,
      operation: parts.operation,
      session: parts.session ?? 0,
      request: parts.request ?? 0,
      body_bytes: parts.body.length,
      parent: this.#parent,
      checksum,
    }
    this.#parent = checksum
    return { header, body: parts.body }
  }

  commit(entry: LogEntry, rank = 0): void {
    this.history.committed(0, entry, rank)
  }
}

describe("history", () => {
  test("a second entry at a committed op", () => {
    const chain = new Chain()
    chain.register(1)
    const other = new Chain()
    const entry = other.next({ operation: Operation.pulse, body: new Uint8Array(0) })
    const forged = { ...entry, header: { ...entry.header, checksum: "b".repeat(32) } }
    expect(() => chain.commit(forged)).toThrow(Violation)
  })

  test("a hole, a broken chain and a timestamp that falls", () => {
    const chain = new Chain()
    const first = chain.next({ operation: Operation.pulse, body: new Uint8Array(0) })
    const second = chain.next({ operation: Operation.pulse, body: new Uint8Array(0) })
    expect(() => chain.commit(second)).toThrow("while the history ends at 0")
    chain.commit(first)
    expect(() => chain.commit({ ...second, header: { ...second.header, parent: ROOT_CHECKSUM } })).toThrow("follow")
    expect(() => chain.commit({ ...second, header: { ...second.header, timestamp: 0 } })).toThrow("falls")
    chain.commit(second)
  })

  test("a request that takes effect twice or out of order", () => {
    const chain = new Chain()
    const session = chain.register(1)
    chain.set(session, 1, "a")
    expect(() => chain.set(session, 1, "a")).toThrow("at most once")
    const another = new Chain()
    expect(() => another.set(another.register(1), 2, "a")).toThrow("at most once")
  })

  test("a session that was evicted takes no effect, and the oldest is evicted first", () => {
    const chain = new Chain()
    const first = chain.register(1)
    const second = chain.register(2)
    chain.set(first, 1, "a")
    chain.register(3)
    expect(chain.history.isEvicted(second)).toBe(true)
    expect(chain.history.isEvicted(first)).toBe(false)
    chain.set(second, 1, "b")
    expect(() => chain.history.acknowledged({ session: second, request: 1, since: 0 })).toThrow("took no effect")
  })

  test("an acknowledgement of nothing, or of something older than what was known", () => {
    const chain = new Chain()
    const session = chain.register(1)
    expect(() => chain.history.acknowledged({ session, request: 1, since: 0 })).toThrow(Violation)
    const op = chain.set(session, 1, "a")
    expect(() => chain.history.acknowledged({ session, request: 1, since: op })).toThrow("before it was asked")
    expect(chain.history.acknowledged({ session, request: 1, since: op - 1 })).toEqual(["ok"])
    expect(() => chain.history.registered(99)).toThrow(Violation)
  })

  test("a read from the past, also when only a read had seen more", () => {
    const chain = new Chain()
    const session = chain.register(1)
    const first = chain.set(session, 1, "a")
    chain.set(session, 2, "b")
    const since = chain.history.floorOf("k")
    chain.history.checkRead("k", "a", since)
    chain.history.checkRead("k", undefined, 0)
    expect(() => chain.history.checkRead("k", undefined, first)).toThrow("older")
    expect(() => chain.history.checkRead("k", "never written", 0)).toThrow(Violation)
    chain.history.checkRead("k", "b", since)
    expect(() => chain.history.checkRead("k", "a", chain.history.floorOf("k"))).toThrow("older")
  })

  test("a view that begins without an op of an earlier one", () => {
    const chain = new Chain()
    chain.register(1)
    const entry = chain.next({ operation: Operation.pulse, body: new Uint8Array(0) })
    chain.commit(entry, 3)
    const { checksum } = entry.header
    expect(() => chain.history.checkStart(1, 4, 1, () => undefined)).toThrow("without op 2")
    expect(() => chain.history.checkStart(1, 4, 2, () => "c".repeat(32))).toThrow("another entry")
    chain.history.checkStart(1, 4, 2, (op) => (op === 2 ? checksum : undefined))
    // What was committed in view 3 need not be known to view 3 or an earlier one when it begins.
    chain.history.checkStart(1, 3, 1, () => undefined)
  })

  test("two logs of one view, and two states at one op", () => {
    const { history } = new Chain()
    history.checkViewLog(0, 1, 5, "a")
    history.checkViewLog(1, 1, 5, "a")
    history.checkViewLog(1, 2, 5, "b")
    expect(() => history.checkViewLog(2, 1, 5, "b")).toThrow(Violation)
    history.checkDigest(0, 8, 1)
    expect(() => history.checkDigest(1, 8, 2)).toThrow("differ")
  })

  test("a commit after the majority is lost", () => {
    const chain = new Chain()
    chain.register(1)
    chain.history.seal(2)
    chain.register(2)
    expect(() => chain.register(3)).toThrow("no majority")
    expect(chain.history.isSealed).toBe(true)
    chain.history.unseal()
    expect(chain.history.isSealed).toBe(false)
  })
})
