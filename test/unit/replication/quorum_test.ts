import { describe, expect, test } from "vitest"
import { BodyQueue } from "../../../appliance/replication/body_queue.ts"
import {
  blankVector,
  incarnationOf,
  knowsLater,
  makeEntry,
  withEntry,
} from "../../../appliance/replication/crash_vector.ts"
import { HeldReplies } from "../../../appliance/replication/held_replies.ts"
import { INCARNATION_MAX } from "../../../appliance/types/limits.ts"

describe("crash vector", () => {
  test("compares incarnations first, then nonces", () => {
    expect(makeEntry(2, 0)).toBeGreaterThan(makeEntry(1, 0xffff_ffff))
    expect(makeEntry(1, 5)).toBeGreaterThan(makeEntry(1, 4))
    expect(incarnationOf(makeEntry(INCARNATION_MAX, 0xffff_ffff))).toBe(INCARNATION_MAX)
    expect(Number.isSafeInteger(makeEntry(INCARNATION_MAX, 0xffff_ffff))).toBe(true)
  })

  test("a blank entry is no knowledge", () => {
    const blank = withEntry(blankVector(3), 1, makeEntry(0, 77))
    expect(knowsLater(blank, blankVector(3), 1)).toBe(false)
    expect(knowsLater(withEntry(blank, 1, makeEntry(1, 0)), blank, 1)).toBe(true)
  })
})

describe("held replies", () => {
  const reply = (from: number, cv: number[]): { from: number; cv: number[] } => ({ from, cv })

  test("one vote a slot", () => {
    const held = new HeldReplies(3)
    held.add(reply(1, [1, 1, 1]))
    held.add(reply(1, [1, 1, 1]))
    expect(held.count).toBe(1)
  })

  test("drops what an earlier incarnation said", () => {
    const held = new HeldReplies(3)
    held.add(reply(1, [1, 1, 1]))
    held.add(reply(2, [1, 1, 1]))
    expect(held.prune(1, 2)).toBe(true)
    expect(held.prune(2, 1)).toBe(false)
    expect(held.all().map((other) => other.from)).toEqual([2])
  })

  test("a quorum in which one member knows of another's crash is refused by assertion", () => {
    const held = new HeldReplies(3)
    held.add(reply(1, [1, 1, 2]))
    held.add(reply(2, [1, 1, 1]))
    expect(() => held.assertCrashConsistent()).toThrow("not crash-consistent")
    held.prune(2, 2)
    expect(() => held.assertCrashConsistent()).not.toThrow()
  })
})

describe("body queue", () => {
  test("gives back bodies in order through many wraps", () => {
    const queue = new BodyQueue<{ readonly id: number }>(4, new Uint8Array(16))
    let added = 0
    let taken = 0
    for (let round = 0; round < 200; round += 1) {
      const bytes = 1 + (added % 7)
      while (queue.hasRoom(bytes)) {
        queue.add({ id: added }, new Uint8Array(bytes).fill(added % 251))
        added += 1
        if (queue.count === 3) {
          break
        }
      }
      const out = queue.take()
      expect(out?.item.id).toBe(taken)
      expect(out?.body.every((byte) => byte === taken % 251)).toBe(true)
      taken += 1
    }
    expect(taken).toBe(200)
  })

  test("is full by count and by bytes", () => {
    const queue = new BodyQueue<{ readonly id: number }>(2, new Uint8Array(8))
    expect(queue.hasRoom(9)).toBe(false)
    queue.add({ id: 1 }, new Uint8Array(8))
    expect(queue.hasRoom(1)).toBe(false)
    expect(() => queue.add({ id: 2 }, new Uint8Array(1))).toThrow("without room")
    queue.take()
    expect(queue.hasRoom(8)).toBe(true)
  })
})
