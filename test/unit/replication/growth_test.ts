/** An epoch with larger limits: who may begin it, who must not, and what remains of those that it leaves behind. */
import { describe, expect, test } from "vitest"
import { Operation } from "../../../appliance/types/contracts.ts"
import type { ClusterLimits } from "../../../appliance/types/limits.ts"
import { SIMULATED_LIMITS } from "../../simulation/limits.ts"
import { SmallCluster } from "./small_cluster.ts"

const LARGER: ClusterLimits = {
  ...SIMULATED_LIMITS,
  log_slots: 2 * SIMULATED_LIMITS.log_slots,
  log_bytes: 2 * SIMULATED_LIMITS.log_bytes,
  sessions_max: 8,
  events_max: 4,
  kv_entries_max: 80,
  kv_slab_bytes: 32 * 1024,
}
const LARGEST: ClusterLimits = { ...LARGER, kv_entries_max: 200, kv_slab_bytes: 64 * 1024 }
const OLD = [0, 1, 2] as const
const NEW = [3, 4, 5] as const

/** Three small voters; three machines with room for more follow them. */
function beforeGrowth(): { readonly cluster: SmallCluster; readonly session: number } {
  const cluster = new SmallCluster(3)
  for (const slot of OLD) {
    cluster.boot(slot)
  }
  for (const slot of NEW) {
    cluster.boot(slot, { growsTo: LARGER })
  }
  const all = [...OLD, ...NEW]
  cluster.runUntil(() => all.every((slot) => cluster.replica(slot).status === "normal"), "everyone is in")
  cluster.run(200)
  return { cluster, session: cluster.register(0) }
}

function primaryOf(cluster: SmallCluster): number {
  const slot = cluster.slots().find((one) => cluster.replica(one).isPrimary)
  expect(slot).toBeDefined()
  return slot ?? -1
}

/** Requests `from` to `to` of the session, each a key of its own; all are acknowledged. */
function write(cluster: SmallCluster, session: number, from: number, to: number): void {
  for (let request = from; request <= to; request += 1) {
    cluster.set(primaryOf(cluster), session, request, `k${request}`)
    cluster.runUntil(() => cluster.outcomeOf(session, request) === "ok", `request ${request} is acknowledged`)
  }
}

function keys(cluster: SmallCluster, slot: number): number {
  return cluster.stateMachine(slot).keys()
}

function isIn(cluster: SmallCluster, slots: readonly number[], epoch: number): boolean {
  return slots.every((slot) => {
    const { status, epoch: present } = cluster.replica(slot)
    return status === "normal" && present === epoch
  })
}

function grown(): { readonly cluster: SmallCluster; readonly session: number } {
  const { cluster, session } = beforeGrowth()
  write(cluster, session, 1, 20)
  cluster.reconfigure(0, { voters: NEW, grows: true })
  cluster.runUntil(() => isIn(cluster, NEW, 1), "the larger machines are in")
  cluster.run(500)
  return { cluster, session }
}

describe("growth", () => {
  test("three small voters hand over to three larger ones; sessions go on, and more fits", () => {
    const { cluster, session } = grown()
    expect(cluster.lastChange()).toBe("ok 0")
    expect(cluster.replica(3).isEpochSafe).toBe(true)
    const [first] = NEW
    for (const slot of NEW) {
      expect(cluster.limits(slot)).toBe(LARGER)
      const { arena } = cluster.stateMachine(slot)
      expect(Buffer.compare(arena, cluster.stateMachine(first).arena)).toBe(0)
      expect(cluster.replica(slot).certifiedOp).toBeGreaterThanOrEqual(cluster.replica(slot).configuration.op)
      expect(cluster.replica(slot).incarnation).toBe(1)
    }
    for (const slot of OLD) {
      const { status, epoch, configuration, commit } = cluster.replica(slot)
      expect([status, epoch, commit]).toEqual(["outgrown", 1, configuration.op])
    }
    // The last request once more is answered from what has grown, not done again.
    cluster.answers = []
    const { commit } = cluster.replica(3)
    cluster.set(primaryOf(cluster), session, 20, "k20")
    expect(cluster.outcomeOf(session, 20)).toBe("ok")
    expect(cluster.replica(3).commit).toBe(commit)
    write(cluster, session, 21, 70)
    expect(keys(cluster, 3)).toBe(70)
    for (const slot of OLD) {
      cluster.off(slot)
    }
    write(cluster, session, 71, 75)
  })

  test("an old member answers nobody, and says where the primary is in no view of its own", () => {
    const { cluster, session } = grown()
    cluster.set(1, session, 21, "k21")
    expect(cluster.outcomeOf(session, 21)).toBe("not_primary")
    expect(cluster.outcomeOfRead(cluster.read(0, "k1"))).toBe("not_primary")
    cluster.reconfigure(0, { voters: [0, 1, 2] })
    expect(cluster.lastChange()).toBe("not_primary 0")
  })

  test("a blank machine of the larger size recovers in a new voter's slot; one of the old size does not", () => {
    const { cluster, session } = grown()
    cluster.off(4)
    write(cluster, session, 21, 40)
    cluster.boot(4, { limits: LARGER, token: "" })
    cluster.runUntil(() => isIn(cluster, [4], 1), "the blank one is back")
    expect(cluster.replica(4).incarnation).toBe(2)
    cluster.off(5)
    write(cluster, session, 41, 50)
    cluster.boot(5, { token: "" })
    cluster.run(5_000)
    expect(cluster.replica(5).status).toBe("recovering")
  })

  test("one voter grows into three, and three into one with a synchronous standby", () => {
    const cluster = new SmallCluster(1)
    cluster.boot(0)
    for (const slot of NEW) {
      cluster.boot(slot, { growsTo: LARGER })
    }
    cluster.runUntil(() => isIn(cluster, [0, ...NEW], 0), "everyone is in")
    cluster.run(200)
    const session = cluster.register(0)
    write(cluster, session, 1, 5)
    cluster.reconfigure(0, { voters: NEW, grows: true })
    cluster.runUntil(() => isIn(cluster, NEW, 1), "the larger machines are in")
    write(cluster, session, 6, 40)
    cluster.off(0)
    for (const slot of [0, 1]) {
      cluster.boot(slot, { limits: LARGER, growsTo: LARGEST, token: "" })
    }
    cluster.runUntil(() => isIn(cluster, [0, 1], 1), "they follow")
    cluster.run(300)
    cluster.reconfigure(primaryOf(cluster), { voters: [0], standbys: [1], synchronous: true, grows: true })
    cluster.runUntil(() => isIn(cluster, [0, 1], 2), "the largest are in")
    cluster.run(300)
    expect(cluster.limits(0)).toBe(LARGEST)
    expect(cluster.replica(0).isEpochSafe).toBe(true)
    write(cluster, session, 41, 150)
    cluster.run(100)
    expect(keys(cluster, 1)).toBe(150)
  })

  test("a change of members within the larger limits is one like any other, and standbys grow along", () => {
    const { cluster, session } = beforeGrowth()
    cluster.boot(6, { growsTo: LARGER })
    cluster.boot(7, { growsTo: LARGER })
    cluster.runUntil(() => isIn(cluster, [6, 7], 0), "two more follow")
    cluster.run(200)
    cluster.reconfigure(0, { voters: NEW, standbys: [6], grows: true })
    // 7 is not named: it follows all the same.
    cluster.runUntil(() => isIn(cluster, [...NEW, 6, 7], 1), "all five are in")
    expect([6, 7].map((slot) => cluster.replica(slot).isVoter)).toEqual([false, false])
    write(cluster, session, 1, 5)
    cluster.run(200)
    expect(cluster.replica(7).commit).toBe(cluster.replica(3).commit)
    cluster.reconfigure(primaryOf(cluster), { voters: [3, 6, 7] })
    cluster.runUntil(() => isIn(cluster, [3, 4, 5, 6, 7], 2), "others vote")
    expect(cluster.replica(6).configuration.grown_to).toBe(0)
    write(cluster, session, 6, 50)
  })
})

describe("growth is refused", () => {
  test("where a member has no room, votes already, or has room for other limits; nothing is lost by it", () => {
    const { cluster, session } = beforeGrowth()
    cluster.boot(6)
    cluster.boot(7, { growsTo: LARGEST })
    cluster.runUntil(() => isIn(cluster, [6, 7], 0), "two more follow")
    cluster.run(200)
    const refused = (change: Parameters<SmallCluster["reconfigure"]>[1]): string => {
      cluster.reconfigure(0, { ...change, grows: true })
      cluster.run(100)
      return cluster.lastChange()
    }
    expect(refused({ voters: [3, 4, 6] })).toBe("not_grown 6")
    expect(refused({ voters: [3, 4, 7] })).toBe("not_grown 7")
    expect(refused({ voters: [3, 4, 0] })).toBe("not_grown 0")
    expect(refused({ voters: [1, 3, 4] })).toBe("not_grown 1")
    expect(refused({ voters: NEW, standbys: [6] })).toBe("not_grown 6")
    expect(refused({ voters: [3] })).toBe("invalid 0")
    cluster.off(5)
    cluster.run(2_000)
    expect(refused({ voters: NEW })).toBe("not_warm 5")
    expect(cluster.replica(0).epoch).toBe(0)
    write(cluster, session, 1, 5)
    // Without the word, they are voters like any others.
    cluster.reconfigure(0, { voters: [0, 3, 6] })
    cluster.runUntil(() => isIn(cluster, [0, 3, 6], 1), "an epoch of the present limits")
    write(cluster, session, 6, 10)
  })

  test("where a machine that has room votes since it was last heard to have it", () => {
    const { cluster } = beforeGrowth()
    cluster.boot(6, { growsTo: LARGER })
    cluster.runUntil(() => isIn(cluster, [6], 0), "another follows")
    cluster.run(200)
    cluster.reconfigure(0, { voters: [0, 1, 3] })
    cluster.runUntil(() => isIn(cluster, [0, 1, 3], 1), "it votes, in the limits that they have")
    cluster.run(200)
    cluster.reconfigure(0, { voters: [3, 4, 5], grows: true })
    cluster.run(200)
    expect(cluster.lastChange()).toBe("not_grown 3")
    cluster.reconfigure(0, { voters: [4, 5, 6], grows: true })
    cluster.runUntil(() => isIn(cluster, [4, 5, 6], 2), "those without a vote grow")
  })

  test("when a member's process is replaced by one without room while the change waits", () => {
    const { cluster } = beforeGrowth()
    // 5 does not get the barrier.
    for (const slot of OLD) {
      cluster.cut(slot, 5)
    }
    cluster.reconfigure(0, { voters: NEW, grows: true })
    for (const slot of OLD) {
      cluster.cut(slot, 5, false)
    }
    cluster.boot(5, { token: "" })
    cluster.runUntil(() => cluster.lastChange() !== "none", "it is answered")
    expect(cluster.lastChange()).toMatch(/^not_(grown|warm) 5$/)
    expect(cluster.replica(0).epoch).toBe(0)
  })
})

describe("who dies on the way", () => {
  /** The change is committed, and nobody has grown. */
  function sealed(): { readonly cluster: SmallCluster; readonly session: number } {
    const { cluster, session } = beforeGrowth()
    write(cluster, session, 1, 20)
    cluster.growsByItself = false
    cluster.reconfigure(0, { voters: NEW, grows: true })
    cluster.runUntil(() => NEW.every((slot) => cluster.replica(slot).grownStart !== undefined), "all may grow")
    return { cluster, session }
  }

  test("a new voter before it grows: the two others go on, and its slot recovers with the larger size", () => {
    const { cluster, session } = sealed()
    cluster.off(3)
    expect([cluster.grow(4), cluster.grow(5)]).toEqual([true, true])
    cluster.runUntil(() => [4, 5].some((slot) => cluster.replica(slot).isPrimary), "one of the two is primary")
    write(cluster, session, 21, 50)
    // A majority votes: the old machines are kept all the same, for whoever still needs them.
    expect(cluster.replica(4).isEpochSafe).toBe(false)
    cluster.boot(3, { limits: LARGER, token: "" })
    cluster.runUntil(() => isIn(cluster, [3], 1), "it is back")
    cluster.run(200)
    expect(cluster.replica(4).isEpochSafe).toBe(true)
  })

  test("its process does not come back as the one that was named", () => {
    const { cluster } = sealed()
    cluster.boot(3, { growsTo: LARGER, token: "" })
    cluster.run(3_000)
    expect(cluster.replica(3).grownStart).toBe(undefined)
    expect(cluster.replica(3).status).toBe("recovering")
  })

  test("a new voter after it has grown, before the others have: it recovers once they are a majority", () => {
    const { cluster, session } = sealed()
    expect(cluster.grow(3)).toBe(true)
    cluster.run(100)
    cluster.boot(3, { limits: LARGER, token: "" })
    cluster.run(1_000)
    expect(cluster.replica(3).status).toBe("recovering")
    expect([cluster.grow(4), cluster.grow(5)]).toEqual([true, true])
    cluster.runUntil(() => isIn(cluster, NEW, 1), "all are in")
    write(cluster, session, 21, 50)
  })

  test("one that has grown alone answers nobody, and its epoch is not safe", () => {
    const { cluster, session } = sealed()
    expect(cluster.grow(3)).toBe(true)
    cluster.run(1_000)
    expect(cluster.replica(3).isEpochSafe).toBe(false)
    cluster.set(3, session, 21, "k21")
    cluster.run(100)
    expect(cluster.outcomeOf(session, 21)).not.toBe("ok")
    const read = cluster.read(3, "k1")
    cluster.run(1_000)
    expect(cluster.outcomeOfRead(read)).not.toBe("ok")
  })

  test("the old primary, when no new member knows that the change is committed", () => {
    const { cluster, session } = beforeGrowth()
    write(cluster, session, 1, 20)
    cluster.delayMsMax = 40
    cluster.reconfigure(0, { voters: NEW, grows: true })
    cluster.runUntil(() => cluster.replica(0).epoch === 1, "the old primary has committed it")
    expect(NEW.map((slot) => cluster.replica(slot).epoch)).toEqual([0, 0, 0])
    cluster.off(0)
    cluster.runUntil(() => isIn(cluster, NEW, 1), "the others carry it through")
    write(cluster, session, 21, 60)
  })

  test("a new member that missed the change gets it from the old ones, the state included", () => {
    const { cluster, session } = beforeGrowth()
    write(cluster, session, 1, 20)
    cluster.delayMsMax = 40
    cluster.reconfigure(0, { voters: NEW, grows: true })
    const isChange = (): boolean =>
      cluster.replica(0).log.header(cluster.replica(0).log.op)?.operation === Operation.reconfigure
    cluster.runUntil(isChange, "the change is prepared")
    for (const other of [...OLD, 3, 4]) {
      cluster.cut(other, 5)
    }
    cluster.runUntil(() => isIn(cluster, [3, 4], 1), "the two others are in")
    write(cluster, session, 21, 50)
    cluster.run(3_000)
    expect(cluster.replica(5).epoch).toBe(0)
    expect(cluster.replica(3).isEpochSafe).toBe(false)
    cluster.off(0)
    cluster.cut(1, 5, false)
    cluster.runUntil(() => cluster.limits(5) === LARGER, "it has grown")
    cluster.cut(3, 5, false)
    cluster.cut(4, 5, false)
    cluster.runUntil(() => isIn(cluster, [5], 1) && keys(cluster, 5) === 50, "it has caught up")
  })

  test("memory that is wrong in a machine that was outgrown: it copies from another, and holds all again", () => {
    const { cluster } = sealed()
    const { arena } = cluster.stateMachine(2)
    const good = arena.slice()
    arena[arena.length - 4_000] = 0xff
    cluster.runUntil(() => cluster.replica(2).counters.memory_faults === 1, "it is found")
    cluster.runUntil(() => cluster.replica(2).status === "outgrown" && !cluster.replica(2).isTorn, "it is mended")
    expect(Buffer.compare(arena, good)).toBe(0)
    expect(NEW.map((slot) => cluster.grow(slot))).toEqual([true, true, true])
  })
})
