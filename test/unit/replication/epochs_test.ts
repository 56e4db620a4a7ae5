/**
 * Membership by epochs, standbys, and founding by agreement: what an operator can do, and what is refused.
 * Plane: control.
 */
import { describe, expect, test } from "vitest"
import { SmallCluster } from "./small_cluster.ts"

function founded(founders: number, others: readonly number[] = []): SmallCluster {
  const cluster = new SmallCluster(founders)
  for (let slot = 0; slot < founders; slot += 1) {
    cluster.boot(slot)
  }
  for (const slot of others) {
    cluster.boot(slot)
  }
  const slots = [...Array(founders).keys(), ...others]
  cluster.runUntil(() => slots.every((slot) => cluster.replica(slot).status === "normal"), "everyone is in")
  cluster.run(200)
  return cluster
}

function voters(cluster: SmallCluster, slot: number): number[] {
  return cluster.replica(slot).configuration.voters.map((member) => member.slot)
}

function follow(cluster: SmallCluster, slots: readonly number[], epoch: number): void {
  cluster.runUntil(
    () => slots.every((slot) => cluster.replica(slot).status === "normal" && cluster.replica(slot).epoch === epoch),
    `all are in epoch ${epoch}`,
  )
}

describe("a machine without a vote", () => {
  test("follows: it holds the whole state and counts for nothing", () => {
    const cluster = founded(1, [4])
    const session = cluster.register(0)
    cluster.set(0, session, 1, "k")
    cluster.run(100)
    expect(cluster.outcomeOf(session, 1)).toBe("ok")
    expect(cluster.replica(4).isVoter).toBe(false)
    expect(cluster.replica(4).commit).toBe(cluster.replica(0).commit)
    cluster.off(4)
    cluster.set(0, session, 2, "k")
    expect(cluster.outcomeOf(session, 2)).toBe("ok")
  })

  test("a blank machine never founds outside the founders' slots", () => {
    const cluster = new SmallCluster(1)
    cluster.boot(3)
    cluster.run(5_000)
    expect(cluster.replica(3).status).toBe("recovering")
  })
})

describe("a change of members", () => {
  test("one, three, five, three, one, while a client writes", () => {
    const cluster = founded(1, [1, 2, 3, 4])
    const session = cluster.register(0)
    let request = 0
    const write = (): void => {
      const primary = [0, 1, 2, 3, 4].find((slot) => cluster.replica(slot).isPrimary)
      expect(primary).toBeDefined()
      request += 1
      cluster.set(primary ?? 0, session, request, `k${request % 5}`)
      cluster.run(50)
      expect(cluster.outcomeOf(session, request)).toBe("ok")
    }
    const steps = [
      { voters: [0, 1, 2] },
      { voters: [0, 1, 2, 3, 4] },
      { voters: [2, 3, 4] },
      { voters: [2], standbys: [3], synchronous: true },
      { voters: [2] },
    ]
    for (const [epoch, step] of steps.entries()) {
      write()
      const primary = [0, 1, 2, 3, 4].find((slot) => cluster.replica(slot).isPrimary) ?? 0
      cluster.reconfigure(primary, step)
      follow(cluster, step.voters, epoch + 1)
      cluster.run(300)
      expect(cluster.lastChange()).toBe("ok 0")
      expect([...voters(cluster, step.voters[0] ?? 0)].sort((a, b) => a - b)).toEqual(step.voters)
      expect(cluster.replica(step.voters[0] ?? 0).isEpochSafe).toBe(true)
      write()
    }
    // Whoever was replaced follows.
    follow(cluster, [0, 1, 3, 4], 5)
    expect(cluster.replica(0).isVoter).toBe(false)
    expect(cluster.replica(0).commit).toBe(cluster.replica(2).commit)
  })

  test("a dead voter is replaced by another machine", () => {
    const cluster = founded(3, [5])
    cluster.off(2)
    cluster.reconfigure(0, { voters: [0, 1, 5] })
    follow(cluster, [0, 1, 5], 1)
    expect(voters(cluster, 5)).toEqual([0, 1, 5])
    // The dead one's board comes back: it has no vote any more.
    cluster.boot(2, { token: "" })
    follow(cluster, [2], 1)
    expect(cluster.replica(2).isVoter).toBe(false)
  })

  test("a member that reboots after the change recovers with a later incarnation", () => {
    const cluster = founded(1, [1, 2])
    cluster.reconfigure(0, { voters: [0, 1, 2] })
    follow(cluster, [0, 1, 2], 1)
    cluster.boot(2, { token: "" })
    follow(cluster, [2], 1)
    expect(cluster.replica(2).incarnation).toBe(2)
    expect(cluster.replica(2).isVoter).toBe(true)
  })

  test("what is refused, and why", () => {
    const cluster = founded(3, [4])
    cluster.reconfigure(1, { voters: [0, 1, 2] })
    expect(cluster.lastChange()).toBe("not_primary 0")
    cluster.reconfigure(0, { voters: [0, 1] })
    expect(cluster.lastChange()).toBe("invalid 0")
    cluster.reconfigure(0, { voters: [0] })
    expect(cluster.lastChange()).toBe("invalid 0")
    cluster.reconfigure(0, { voters: [0, 1, 2], epoch_expected: 7 })
    expect(cluster.lastChange()).toBe("wrong_epoch 0")
    cluster.reconfigure(0, { voters: [0, 1, 6] })
    expect(cluster.lastChange()).toBe("not_warm 6")
    cluster.reconfigure(0, { voters: [0, 1, 2], drops_standby: true })
    expect(cluster.lastChange()).toBe("invalid 0")
    // It followed a moment ago and is gone: found out before anything is sealed.
    cluster.off(4)
    cluster.reconfigure(0, { voters: [0, 1, 4] })
    cluster.run(1_000)
    expect(cluster.lastChange()).toBe("not_warm 4")
    expect(cluster.replica(0).epoch).toBe(0)
    const session = cluster.register(0)
    cluster.set(0, session, 1, "k")
    cluster.run(50)
    expect(cluster.outcomeOf(session, 1)).toBe("ok")
  })

  test("a member that slept through the change is told", () => {
    const cluster = founded(3, [3, 4])
    for (const other of [0, 1, 3, 4]) {
      cluster.cut(2, other)
    }
    cluster.reconfigure(0, { voters: [0, 1, 3] })
    follow(cluster, [0, 1, 3], 1)
    expect(cluster.replica(2).epoch).toBe(0)
    for (const other of [0, 1, 3, 4]) {
      cluster.cut(2, other, false)
    }
    follow(cluster, [2], 1)
    expect(cluster.replica(2).isVoter).toBe(false)
    expect(cluster.replica(0).counters.wrong_epoch + cluster.replica(1).counters.wrong_epoch).toBeGreaterThan(0)
  })
})

describe("one voter with a synchronous standby", () => {
  function pair(): { cluster: SmallCluster; session: number } {
    const cluster = founded(1, [1])
    const session = cluster.register(0)
    cluster.reconfigure(0, { voters: [0], standbys: [1], synchronous: true })
    follow(cluster, [0, 1], 1)
    cluster.run(300)
    return { cluster, session }
  }

  test("nothing is answered that the two have not both confirmed", () => {
    const { cluster, session } = pair()
    cluster.set(0, session, 1, "k")
    cluster.run(100)
    expect(cluster.outcomeOf(session, 1)).toBe("ok")
    expect(cluster.replica(1).op).toBe(cluster.replica(0).op)
    cluster.cut(0, 1)
    cluster.set(0, session, 2, "k")
    const read = cluster.read(0, "k")
    cluster.run(100)
    expect(cluster.outcomeOf(session, 2)).toBe("none")
    expect(cluster.outcomeOfRead(read)).toBe("none")
    cluster.run(1_000)
    expect(cluster.replica(0).isStandbyMissing).toBe(true)
    expect(cluster.outcomeOfRead(read)).toBe("standby_missing")
    cluster.set(0, session, 3, "k")
    expect(cluster.outcomeOf(session, 3)).toBe("standby_missing")
    // The cut mends: the same two go on, and nothing was lost.
    cluster.cut(0, 1, false)
    cluster.run(500)
    expect(cluster.replica(0).isStandbyMissing).toBe(false)
    // Who waited was let go; asked again, the same request has its reply.
    cluster.set(0, session, 2, "k")
    expect(cluster.outcomeOf(session, 2)).toBe("ok")
  })

  test("a standby that rebooted confirms nothing; dropping it goes on with one copy", () => {
    const { cluster, session } = pair()
    cluster.boot(1, { token: "" })
    cluster.run(3_000)
    expect(cluster.replica(1).status).toBe("normal")
    expect(cluster.replica(0).isStandbyMissing).toBe(true)
    cluster.reconfigure(0, { voters: [0] })
    expect(cluster.lastChange()).toBe("standby_missing 1")
    cluster.reconfigure(0, { voters: [0], drops_standby: true })
    cluster.run(500)
    expect(cluster.lastChange()).toBe("ok 0")
    cluster.set(0, session, 1, "k")
    cluster.run(50)
    expect(cluster.outcomeOf(session, 1)).toBe("ok")
  })

  test("the voter is off: its standby is promoted into a new generation, with all that was acknowledged", () => {
    const { cluster, session } = pair()
    cluster.set(0, session, 1, "k")
    cluster.run(100)
    const { commit } = cluster.replica(0)
    cluster.off(0)
    cluster.run(1_000)
    expect(cluster.replica(1).promote()).toBe("ok")
    cluster.run(100)
    const promoted = cluster.replica(1)
    expect([promoted.generation, promoted.isPrimary, promoted.voters]).toEqual([2, true, 1])
    expect(promoted.commit).toBeGreaterThan(commit)
    cluster.set(1, session, 2, "k")
    expect(cluster.outcomeOf(session, 2)).toBe("ok")
  })

  test("a change that was under way when the voter died is finished by the promotion", () => {
    const { cluster, session } = pair()
    cluster.boot(2)
    follow(cluster, [2], 1)
    cluster.run(300)
    cluster.set(0, session, 1, "k")
    // The change reaches the standbys' logs; its commit reaches nobody.
    cluster.reconfigure(0, { voters: [0, 1, 2] })
    cluster.off(0)
    cluster.run(50)
    const { epoch } = cluster.replica(1)
    if (epoch === 1) {
      expect(cluster.replica(1).promote()).toBe("ok")
    }
    cluster.run(3_000)
    const live = [1, 2].filter((slot) => cluster.replica(slot).isVoter && cluster.replica(slot).status === "normal")
    expect(live.length).toBeGreaterThan(0)
  })

  test("only the process that was committed as synchronous may be promoted", () => {
    const { cluster } = pair()
    expect(cluster.replica(0).promote()).toBe("not_synchronous")
    cluster.boot(1, { token: "" })
    cluster.run(3_000)
    expect(cluster.replica(1).promote()).toBe("not_synchronous")
  })

  test("a blank voter never recovers from its standby", () => {
    const { cluster } = pair()
    cluster.boot(0, { token: "" })
    cluster.run(10_000)
    expect(cluster.replica(0).status).toBe("recovering")
  })
})

describe("founding", () => {
  test("two live processes of one slot cannot found two clusters", () => {
    // 0 hears one process of slot 2, and 1 hears another: no vector is everybody's.
    const cluster = new SmallCluster(3)
    const other = new SmallCluster(3)
    cluster.boot(0)
    cluster.boot(1)
    cluster.boot(2)
    const twin = other.boot(2)
    cluster.cut(1, 2)
    for (let step = 0; step < 300; step += 1) {
      cluster.run(10)
      twin.tick(cluster.now)
      for (let out = twin.takeOutgoing(); out !== undefined; out = twin.takeOutgoing()) {
        if (out.to === 1) {
          cluster.ask(1, out.message)
        }
      }
    }
    expect([0, 1, 2].map((slot) => cluster.replica(slot).status)).toEqual(["recovering", "recovering", "recovering"])
  })

  test("a machine that reboots while the others are founding does not hold them up", () => {
    const cluster = new SmallCluster(3)
    cluster.boot(0)
    cluster.boot(1)
    cluster.run(100)
    cluster.boot(2)
    cluster.boot(2)
    cluster.boot(1)
    cluster.runUntil(() => [0, 1, 2].every((slot) => cluster.replica(slot).status === "normal"), "founded", 2_000)
    expect([0, 1, 2].map((slot) => cluster.replica(slot).incarnation)).toEqual([1, 1, 1])
  })
})

describe("backpressure", () => {
  test("a live backup that lags is slowed for; a silent one is not", () => {
    const cluster = founded(3)
    const session = cluster.register(0)
    const write = (from: number, to: number): void => {
      for (let request = from; request <= to; request += 1) {
        cluster.set(0, session, request, "k")
        cluster.run(10)
      }
    }
    cluster.cut(0, 2)
    // It acknowledged a moment ago and falls behind by more than half the ring of 16: writes go out at a pace.
    write(1, 12)
    const { paced } = cluster.replica(0).counters
    expect(paced).toBeGreaterThan(0)
    cluster.run(300)
    // It has been silent for longer than live_ms: nobody waits for it.
    write(13, 40)
    expect(cluster.replica(0).counters.paced).toBe(paced)
    cluster.cut(0, 2, false)
    cluster.run(1_000)
    expect(cluster.replica(2).commit).toBe(cluster.replica(0).commit)
  })
})

describe("what an attacker found", () => {
  function pairOf(cluster: SmallCluster): number {
    const session = cluster.register(0)
    cluster.reconfigure(0, { voters: [0], standbys: [1], synchronous: true })
    follow(cluster, [0, 1], 1)
    cluster.run(300)
    return session
  }

  test("a drop that is refused has dropped nothing", () => {
    const cluster = founded(1, [1])
    const session = pairOf(cluster)
    cluster.reconfigure(0, { voters: [0, 1, 2], drops_standby: true })
    expect(cluster.lastChange()).toBe("invalid 0")
    cluster.cut(0, 1)
    cluster.set(0, session, 1, "k")
    cluster.run(300)
    expect(cluster.outcomeOf(session, 1)).toBe("none")
  })

  test("keys that expire all the time do not stop the writes of a cluster that waits for a laggard", () => {
    const cluster = founded(3)
    const session = cluster.register(0)
    cluster.cut(0, 2)
    for (let request = 1; request <= 40; request += 1) {
      cluster.set(0, session, request, "k")
      cluster.run(30)
      expect(cluster.outcomeOf(session, request)).toBe("ok")
    }
  })
})
