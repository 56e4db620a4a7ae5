/**
 * The schedules that lose an acknowledged write in Viewstamped Replication without crash vectors, played against the
 * production replica. In each, messages from before a crash arrive after it, in time to make up a quorum; the write `a`
 * that a client was told of must stay. Primary of view v is slot v modulo N.
 */
import { describe, expect, test } from "vitest"
import { Script } from "./script.ts"

/** Longer than a backup bears a silent primary. */
const SILENCE_MS = 320

const KEY = "a"
const VALUE = "acknowledged"

/** A client writes `a` at primary 0, which reaches nobody but `backups`, and is told that it is done. */
function acknowledge(script: Script, options: { session: number; request: number; backups: number[] }): void {
  const { session, request } = options
  script.set({ to: 0, session, request, key: KEY, value: VALUE })
  script.settle([0, ...options.backups])
  expect(script.reply(0, session, request)?.outcome).toBe("ok")
  script.drop({ from: 0 })
}

/** The network is whole again: one primary after the other must know `a`. */
function expectKept(script: Script): void {
  expect(script.readAtEveryPrimary(KEY)).toEqual(script.slots().map(() => VALUE))
}

describe("messages from before a crash lose no acknowledged write", () => {
  test("T1: three machines, one crash; the old machine speaks after its reboot is known", () => {
    const script = new Script({ voters: 3 })
    const session = script.register(0, [0, 1, 2])

    // 1 and 2 hear nothing of the primary and wish to leave view 0. 2 hears of 1's wish and joins view 1.
    script.pass(1, SILENCE_MS)
    script.pass(2, SILENCE_MS)
    script.deliver({ type: "exit_view", from: 1, to: 2 })
    expect(script.state(2)).toBe("view_change in view 1, incarnation 1")

    // What 2 said is still under way: its wish, and its promise to view 1 with a log that lacks `a`.
    const oldWish = script.hold({ type: "exit_view", from: 2, to: 1 })
    const oldPromise = script.hold({ type: "join_view", from: 2, to: 1 })
    script.drop()

    // 2 crashes and recovers into view 0, whose members 0 and 1 still are: the promise is forgotten.
    script.reboot(2, [0, 1])
    expect(script.state(1)).toBe("normal in view 0, incarnation 1")
    expect(script.state(2)).toBe("normal in view 0, incarnation 2")

    // The primary commits `a` with the new 2; 1 hears nothing of it.
    acknowledge(script, { session, request: 1, backups: [2] })

    // The old 2 speaks. With 1's own wish and promise these would be two quorums, and view 1 would begin without `a`.
    script.pass(1, SILENCE_MS)
    script.drop({ from: 1 })
    script.postAll(oldWish)
    script.postAll(oldPromise)
    expect(script.state(1)).toBe("normal in view 0, incarnation 1")
    expect(script.replica(1).counters.stale_incarnation).toBe(2)
    expectKept(script)
  })

  test("T1: the same, but 1 holds the old wish since before the crash", () => {
    const script = new Script({ voters: 3 })
    const session = script.register(0, [0, 1, 2])

    // 2 wishes to leave view 0 and 1, which is content, keeps its wish.
    script.pass(2, SILENCE_MS)
    script.deliver({ type: "exit_view", from: 2, to: 1 })
    // 1's wish comes later, 2 hears of it, joins view 1, and its promise to 1 stays under way.
    const wishOf1 = (): void => script.pass(1, SILENCE_MS)
    expect(script.state(1)).toBe("normal in view 0, incarnation 1")
    script.drop()

    // 2 crashes and recovers into view 0: with that, 1 must forget the wish that it keeps.
    script.reboot(2, [0, 1])
    acknowledge(script, { session, request: 1, backups: [2] })
    wishOf1()
    expect(script.state(1)).toBe("normal in view 0, incarnation 1")
    script.drop()
    expectKept(script)
  })

  test("T2: three machines, two crashes one after the other", () => {
    const script = new Script({ voters: 3 })
    const session = script.register(0, [0, 1, 2])

    // 1 wishes to leave view 0, crashes, and recovers into view 0 from {0, 2}.
    script.pass(1, SILENCE_MS)
    const oldWish = script.hold({ type: "exit_view", from: 1, to: 2 })
    script.drop()
    script.reboot(1, [0, 2])
    expect(script.state(1)).toBe("normal in view 0, incarnation 2")

    // 2 wishes too and gets the wish of the old 1. It would join view 1 on it, crash, recover into view 0 from {0, 1},
    // and its promise would outlive it.
    script.pass(2, SILENCE_MS)
    script.postAll(oldWish)
    expect(script.state(2)).toBe("normal in view 0, incarnation 1")
    const promise = script.take({ type: "join_view", from: 2, to: 1 })
    const wish = script.hold({ type: "exit_view", from: 2, to: 1 })
    expect(promise).toEqual([])
    script.drop()
    script.reboot(2, [0, 1])

    // `a` is committed by {0, 2}; 1 wishes to leave, and what is under way of the old 2 arrives.
    acknowledge(script, { session, request: 1, backups: [2] })
    script.pass(1, SILENCE_MS)
    script.drop()
    script.postAll(wish)
    expect(script.state(1)).toBe("normal in view 0, incarnation 2")
    expectKept(script)
  })

  test("T3: five machines; the new primary hears of a reboot from a third machine only", () => {
    const script = new Script({ voters: 5 })
    const session = script.register(0, [0, 1, 2, 3, 4])

    // 3 and 1 wish to leave view 0. 3 crashes and recovers from {0, 1, 4}: 2 does not know.
    script.pass(3, SILENCE_MS)
    script.pass(1, SILENCE_MS)
    const oldWishOf3 = script.hold({ type: "exit_view", from: 3, to: 2 })
    const wishOf1 = script.hold({ type: "exit_view", from: 1, to: 2 })
    const wishOf1To3 = script.hold({ type: "exit_view", from: 1, to: 3 })
    script.drop()
    script.reboot(3, [0, 1, 4])
    expect(script.state(3)).toBe("normal in view 0, incarnation 2")

    // 2 wishes too and joins view 1 on {1, old 3, 2}; its promise is a log without `a`.
    script.pass(2, SILENCE_MS)
    const oldWishOf2 = script.hold({ type: "exit_view", from: 2, to: 1 })
    script.postAll(wishOf1)
    script.postAll(oldWishOf3)
    expect(script.state(2)).toBe("view_change in view 1, incarnation 1")
    const oldPromiseOf2 = script.hold({ type: "join_view", from: 2, to: 1 })
    script.drop()

    // The new 3 wishes to leave view 0. With 1's own wish and that of the old 2, 1 joins view 1 rightly.
    script.pass(3, SILENCE_MS)
    const wishOf3 = script.hold({ type: "exit_view", from: 3, to: 1 })
    script.drop()

    // 2 crashes and recovers into view 0 from {0, 3, 4}: 1 does not know. `a` is committed by {0, 2, 4}.
    script.reboot(2, [0, 3, 4])
    expect(script.state(2)).toBe("normal in view 0, incarnation 2")
    acknowledge(script, { session, request: 1, backups: [2, 4] })

    // 1 joins view 1 on {1, old 2, 3} and keeps the promise of the old 2, of whose crash it has not heard.
    script.postAll(oldWishOf2)
    script.postAll(wishOf3)
    expect(script.state(1)).toBe("view_change in view 1, incarnation 1")
    script.postAll(oldPromiseOf2)
    expect(script.state(1)).toBe("view_change in view 1, incarnation 1")
    script.drop()

    // 3 joins view 1 on {1, new 2, 3}. Its promise is the third that 1 needs, and lacks `a` too; but its vector knows
    // of the crash of 2, which takes the promise of the old 2 away.
    script.pass(2, SILENCE_MS)
    const wishOf2 = script.hold({ type: "exit_view", from: 2, to: 3 })
    script.drop()
    script.pass(3, SILENCE_MS)
    script.postAll(wishOf1To3)
    script.postAll(wishOf2)
    expect(script.state(3)).toBe("view_change in view 1, incarnation 2")
    script.deliver({ type: "join_view", from: 3, to: 1 })
    expect(script.state(1)).toBe("view_change in view 1, incarnation 1")
    script.drop()
    expectKept(script)
  })

  test("T4: three machines; commits in view 0 separate two crashes", () => {
    const script = new Script({ voters: 3 })
    const session = script.register(0, [0, 1, 2])

    // 1 wishes to leave view 0 and crashes. {0, 2} commit, and 1 comes back into view 0.
    script.pass(1, SILENCE_MS)
    const oldWishOf1 = script.hold({ type: "exit_view", from: 1, to: 2 })
    script.drop()
    script.set({ to: 0, session, request: 1, key: "b", value: "barrier" })
    script.settle([0, 2])
    script.reboot(1, [0, 2])

    // The old wish of 1 gives 2 no quorum, a wish of the new 1 does: 2 joins view 1 rightly, without `a`.
    script.pass(2, SILENCE_MS)
    script.postAll(oldWishOf1)
    expect(script.state(2)).toBe("normal in view 0, incarnation 1")
    script.pass(1, SILENCE_MS)
    script.deliver({ type: "exit_view", from: 1, to: 2 })
    expect(script.state(2)).toBe("view_change in view 1, incarnation 1")
    const oldWishOf2 = script.hold({ type: "exit_view", from: 2, to: 1 })
    const oldPromiseOf2 = script.hold({ type: "join_view", from: 2, to: 1 })
    script.drop()

    // 2 crashes, {0, 1} commit, and 2 comes back into view 0. Then {0, 2} commit `a`.
    script.crash(2)
    script.set({ to: 0, session, request: 2, key: "b", value: "second" })
    script.settle([0, 1])
    // 0 lent its one copy to 1 and has it back by now.
    script.pass(0, 1_000)
    script.drop()
    script.reboot(2, [0, 1])
    expect(script.state(2)).toBe("normal in view 0, incarnation 2")
    acknowledge(script, { session, request: 3, backups: [2] })

    // 1 wishes to leave, and the old 2 speaks.
    script.pass(1, SILENCE_MS)
    script.drop()
    script.postAll(oldWishOf2)
    script.postAll(oldPromiseOf2)
    expect(script.state(1)).toBe("normal in view 0, incarnation 2")
    expectKept(script)
  })

  test("a machine does not come back while another has promised to leave its view", () => {
    const script = new Script({ voters: 3 })
    const session = script.register(0, [0, 1, 2])

    // 2 joins view 1 on {1, 2} before 1 crashes: what 1 forgets, 2 still knows, and gives no answer to 1's recovery.
    script.pass(1, SILENCE_MS)
    script.pass(2, SILENCE_MS)
    script.deliver({ type: "exit_view", from: 1, to: 2 })
    script.drop()
    script.crash(1)
    for (let turn = 0; turn < 50; turn += 1) {
      script.pass(1, 20)
      script.postAll(script.take({ from: 1 }))
      script.postAll(script.take({ to: 1 }))
    }
    expect(script.state(1)).toBe("recovering in view 0, incarnation 2")

    // So the primary of view 0 is alone and may acknowledge nothing.
    script.set({ to: 0, session, request: 1, key: KEY, value: VALUE })
    script.settle([0, 2])
    expect(script.reply(0, session, 1)).toBeUndefined()
    script.drop()

    // And the three get out of it once they hear each other.
    script.run(script.slots(), 15_000)
    expect(script.isOneView()).toBe(true)
  })

  test("an acknowledgement from before a crash commits nothing", () => {
    const script = new Script({ voters: 3 })
    const session = script.register(0, [0, 1, 2])
    script.run(script.slots(), 100)

    // 2 holds `a`, says so, and crashes before the primary hears of it. It comes back while its word is under way.
    script.set({ to: 0, session, request: 1, key: KEY, value: VALUE })
    script.drop({ type: "prepare", to: 1 })
    script.deliver({ type: "prepare", to: 2 })
    const oldWord = script.hold({ type: "prepare_ok", from: 2, to: 0 })
    script.drop()
    script.crash(2)
    for (let turn = 0; turn < 20 && script.replica(2).incarnation < 2; turn += 1) {
      script.pass(2, 10)
      script.postAll(script.take({ from: 2 }))
      script.postAll(script.take({ to: 2 }))
    }
    script.deliver({ type: "get_checkpoint", from: 2 })

    script.postAll(oldWord)
    expect(script.reply(0, session, 1)).toBeUndefined()
    expect(script.replica(0).commit).toBe(script.replica(1).commit)
  })

  test("a log from before a crash is given up when a later view has committed another entry", () => {
    const script = new Script({ voters: 5 })
    const session = script.register(0, script.slots())
    script.run(script.slots(), 200)

    // View 1 begins without 4. Its primary prepares op 2, which reaches nobody, and shows its log to 4.
    script.run([1, 2, 3], 1_000)
    script.drop()
    script.run([0, 1, 2, 3], 1_000)
    script.drop()
    expect(script.state(1)).toBe("normal in view 1, incarnation 1")
    script.set({ to: 1, session, request: 1, key: KEY, value: "never acknowledged" })
    script.drop()
    script.pass(4, SILENCE_MS)
    script.deliver({ type: "exit_view", from: 4, to: 1 })
    const oldLog = script.hold({ type: "view", from: 1, to: 4 })
    script.drop()

    // 1 crashes. View 2 commits another op 2, and 1 comes back with a checkpoint that ends there.
    script.crash(1)
    script.run([0, 2, 3], 3_000)
    script.drop()
    const { primary } = script.replica(0)
    script.set({ to: primary, session, request: 1, key: KEY, value: VALUE })
    script.run([0, 2, 3], 300)
    expect(script.reply(primary, session, 1)?.outcome).toBe("ok")
    script.run([0, 1, 2, 3], 5_000)
    script.drop()
    expect(script.replica(1).log.first).toBe(3)

    // 4 begins to install the old log, is told by the new 1 that its entries are gone, and gets the checkpoint.
    script.postAll(oldLog)
    expect(script.state(4)).toBe("state_transfer in view 0, incarnation 1")
    script.run([1, 4], 1_000)
    expect(script.replica(4).commit).toBe(2)
    expectKept(script)
  })
})
