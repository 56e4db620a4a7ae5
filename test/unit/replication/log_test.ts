import { describe, expect, test } from "vitest"
import { Log, LOG_HEADER_BYTES, ROOT_CHECKSUM } from "../../../appliance/replication/log.ts"
import type { PrepareHeader } from "../../../appliance/replication/message.ts"
import { Operation } from "../../../appliance/types/contracts.ts"

/** The checksum of entry `op` of a branch. */
function checksum(branch: string, op: number): string {
  return `${branch}${op}`.padEnd(32, "0")
}

/** A header of a chain in which entry `op` of branch "a" has checksum("a", op). */
function header(op: number, options: { branch?: string; parent?: string; bytes?: number } = {}): PrepareHeader {
  const branch = options.branch ?? "a"
  return {
    view: 0,
    op,
    timestamp: op,
    operation: Operation.batch,
    session: 1,
    request: op,
    body_bytes: options.bytes ?? 4,
    parent: options.parent ?? (op === 1 ? ROOT_CHECKSUM : checksum(branch, op - 1)),
    checksum: checksum(branch, op),
  }
}

function body(op: number, bytes = 4): Uint8Array {
  return new Uint8Array(bytes).fill(op)
}

function filled(options: { slots: number; memory: number; ops: number }): Log {
  const log = new Log(new Uint8Array(options.slots * LOG_HEADER_BYTES), new Uint8Array(options.memory))
  for (let op = 1; op <= options.ops; op += 1) {
    log.append(header(op), body(op), op - 1)
  }
  return log
}

describe("log", () => {
  test("holds what was appended", () => {
    const log = filled({ slots: 8, memory: 64, ops: 3 })
    expect([log.first, log.op]).toEqual([1, 3])
    expect(log.entry(2)?.body).toEqual(body(2))
    expect(log.checksum(0)).toBe(ROOT_CHECKSUM)
    expect(log.entry(4)).toBeUndefined()
  })

  test("drops the oldest committed entries when slots run out", () => {
    const log = filled({ slots: 4, memory: 1024, ops: 10 })
    expect([log.first, log.op]).toEqual([7, 10])
    expect(log.checksum(6)).toBe(checksum("a", 6))
    expect(log.checksum(5)).toBeUndefined()
    for (let op = 7; op <= 10; op += 1) {
      expect(log.entry(op)?.body).toEqual(body(op))
    }
  })

  test("drops the oldest when bytes run out, and never splits a body", () => {
    const log = new Log(new Uint8Array(100 * LOG_HEADER_BYTES), new Uint8Array(10))
    for (let op = 1; op <= 50; op += 1) {
      const bytes = 1 + (op % 4)
      log.append(header(op, { bytes }), body(op, bytes), op - 1)
      for (let held = log.first; held <= log.op; held += 1) {
        expect(log.entry(held)?.body).toEqual(body(held, 1 + (held % 4)))
      }
    }
  })

  test("never drops what is not committed", () => {
    const log = new Log(new Uint8Array(2 * LOG_HEADER_BYTES), new Uint8Array(64))
    log.append(header(1), body(1), 0)
    log.append(header(2), body(2), 0)
    expect(() => log.append(header(3), body(3), 0)).toThrow("full of uncommitted entries")
    log.append(header(3), body(3), 1)
    expect(log.first).toBe(2)
  })

  test("refuses a gap and a broken chain", () => {
    const log = filled({ slots: 8, memory: 64, ops: 2 })
    expect(() => log.append(header(4), body(4), 0)).toThrow("contiguous")
    expect(() => log.append(header(3, { parent: "x" }), body(3), 0)).toThrow("unbroken")
  })

  test("truncates a suffix and goes on with another branch", () => {
    const log = filled({ slots: 8, memory: 64, ops: 5 })
    log.truncateAfter(3)
    expect(log.op).toBe(3)
    log.append(header(4, { branch: "b", parent: checksum("a", 3) }), body(44), 3)
    expect(log.checksum(4)).toBe(checksum("b", 4))
    expect(log.entry(3)?.body).toEqual(body(3))
  })

  test("a checkpoint keeps the entries above it when they hang on it", () => {
    const log = filled({ slots: 8, memory: 64, ops: 5 })
    log.rebase(3, checksum("a", 3))
    expect([log.first, log.op]).toEqual([4, 5])
    expect(log.entry(5)?.body).toEqual(body(5))
  })

  test("a checkpoint drops entries that hang on another chain", () => {
    const log = filled({ slots: 8, memory: 64, ops: 5 })
    log.rebase(3, checksum("b", 3))
    expect([log.first, log.op]).toEqual([4, 3])
    log.append(header(4, { branch: "b", parent: checksum("b", 3) }), body(4), 3)
    expect(log.checksum(4)).toBe(checksum("b", 4))
  })

  test("a checkpoint beyond the log replaces it", () => {
    const log = filled({ slots: 8, memory: 64, ops: 2 })
    log.rebase(9, checksum("a", 9))
    expect([log.first, log.op]).toEqual([10, 9])
    log.append(header(10), body(10), 9)
    expect(log.entry(10)?.body).toEqual(body(10))
  })

  test("gives every header back as it was appended, the old ones too", () => {
    const log = filled({ slots: 300, memory: 2_000, ops: 900 })
    expect(log.op - log.first + 1).toBe(300)
    for (let op = log.first; op <= log.op; op += 1) {
      expect(log.header(op)).toEqual(header(op))
      expect(log.checksum(op)).toBe(checksum("a", op))
    }
    const digest = "0123456789abcdef".repeat(2)
    log.rebase(2_000, digest)
    expect(log.checksum(2_000)).toBe(digest)
    expect(log.header(900)).toBeUndefined()
  })

  test("shows its last headers", () => {
    const log = filled({ slots: 4, memory: 64, ops: 6 })
    expect(log.suffix(3).map((entry) => entry.op)).toEqual([4, 5, 6])
    expect(log.suffix(100).map((entry) => entry.op)).toEqual([3, 4, 5, 6])
  })
})

describe("half a ring behind", () => {
  test("by entries", () => {
    const log = filled({ slots: 8, memory: 1024, ops: 20 })
    expect(log.isHalfRingBehind(20)).toBe(false)
    expect(log.isHalfRingBehind(16)).toBe(false)
    expect(log.isHalfRingBehind(15)).toBe(true)
    expect(log.isHalfRingBehind(0)).toBe(true)
  })

  test("by bytes", () => {
    const log = new Log(new Uint8Array(64 * LOG_HEADER_BYTES), new Uint8Array(100))
    for (let op = 1; op <= 10; op += 1) {
      log.append(header(op, { bytes: 20 }), body(op, 20), op - 1)
    }
    expect(log.isHalfRingBehind(8)).toBe(false)
    expect(log.isHalfRingBehind(7)).toBe(true)
  })
})
