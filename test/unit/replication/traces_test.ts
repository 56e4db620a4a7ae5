/**
 * The schedules that lose an acknowledged write in Viewstamped Replication without crash vectors, played against the
 * production replica. In each, messages from before a crash arrive after it, in time to make up a quorum; the write `a`
 * that a client was told of must stay. Primary of view v is slot v modulo N.
 */
import { describe, expect, test } from "vitest"
import { Script } from "./script.ts"

/** Longer than a backup bears a silent primary. */
const SILENCE_MS = 320
/** Enough for a blank machine to probe, copy, and recover. */
const RECOVERY_MS = 3_000

const KEY = "a"
const VALUE = "acknowledged"

describe("messages from before a crash lose no acknowledged write", () => {
  test("T1: three machines, one crash", () => {
    const script = new Script({ voters: 3 })
    const session = script.register(0, [0, 1, 2])
    script.drop()

    // 1 and 2 hear nothing of the primary and wish to leave view 0. 2 hears of 1's wish and joins view 1.
    script.pass(1, SILENCE_MS)
    script.pass(2, SILENCE_MS)
    script.deliver({ type: "exit_view", from: 1, to: 2 })
    expect(script.replica(2)).toMatchObject({ status: "view_change", view: 1 })

    // What 2 said on the way stays under way: its wish, and its promise to view 1 with a log without `a`.
    const oldExit = script.hold({ type: "exit_view", from: 2, to: 1 })
    const oldJoin = script.hold({ type: "join_view", from: 2, to: 1 })
    script.drop()

    // 2 crashes and recovers into view 0, of which 0 and 1 are still members: it has forgotten its promise.
    script.crash(2)
    recoverWithoutPrimaryTo1(script, 2)
    expect(script.replica(2)).toMatchObject({ status: "normal", view: 0, incarnation: 2 })
    expect(script.replica(1)).toMatchObject({ status: "normal", view: 0 })

    // The primary commits `a` with the new 2 and tells the client. 1 hears nothing of it.
    script.set({ to: 0, session, request: 1, key: KEY, value: VALUE })
    script.settle([0, 2])
    expect(script.reply(0, session, 1)?.outcome).toBe("ok")
    script.drop({ to: 1 })

    // The old 2 speaks: with 1's own wish and promise these would be two quorums, and view 1 would start without `a`.
    script.pass(1, SILENCE_MS)
    script.drop({ from: 1 })
    script.postAll(oldExit)
    script.postAll(oldJoin)
    expect(script.replica(1)).toMatchObject({ status: "normal", view: 0 })
    expect(script.replica(1).counters.stale_incarnation).toBe(2)
    expect(script.readAtEveryPrimary(KEY)).toEqual([VALUE, VALUE, VALUE])
  })
})

/** `slot` recovers from all the others while 1 hears nothing else of the primary: its wish to leave stands. */
function recoverWithoutPrimaryTo1(script: Script, slot: number): void {
  for (let ms = 0; ms < RECOVERY_MS && script.replica(slot).status !== "normal"; ms += 10) {
    script.pass(slot, 10)
    for (let round = 0; round < 8; round += 1) {
      script.postAll(script.take({ from: slot }))
      script.postAll(script.take({ to: slot }))
    }
  }
}
