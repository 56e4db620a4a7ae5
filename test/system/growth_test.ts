/**
 * A cluster grows while a client writes, on real processes and by the operator's own commands: three small voters that
 * are full hand over to three machines with room for more. What was acknowledged is there, and more fits.
 * Plane: control.
 */
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { afterEach, expect, test } from "vitest"
import { CLUSTER_LIMITS } from "../../appliance/types/limits.ts"
import {
  clusterOf,
  epochIsSafe,
  EXIT_CONFLICT,
  EXIT_DEGRADED,
  follows,
  memberOf,
  reconfigure,
  Writer,
  WRITES_MIN,
} from "./members.ts"
import {
  boot,
  cleanUp,
  type Cluster,
  clientOf,
  describeCluster,
  endpointOf,
  isMember,
  kill,
  type Machine,
  mandala,
  newDirectory,
  start,
  statusOf,
  until,
} from "./process_cluster.ts"

const TEST_MS = 240_000
const BATCH = 2_000
const PLACES = 6
/** Keys beyond what the smaller cluster could hold. */
const MORE = 20_000

afterEach(cleanUp)

/** Three voters in slots 0 to 2; machines that grow to `medium` follow in the slots behind. */
async function smallCluster(growing: number): Promise<{ cluster: Cluster; voters: Machine[]; larger: Machine[] }> {
  const cluster = await describeCluster({ machines: PLACES, founders: 3 })
  const voters = [0, 1, 2].map((slot) => boot(cluster, slot))
  for (const voter of voters) {
    await until(() => isMember(voter), "three small machines are a cluster")
  }
  const larger = Array.from({ length: growing }, (_, index) => boot(cluster, 3 + index, { grow_to: "medium" }))
  for (const [index, machine] of larger.entries()) {
    await until(() => followsAny(machine, voters, 3 + index), `slot ${3 + index} follows`)
  }
  return { cluster, voters, larger }
}

async function followsAny(machine: Machine, voters: readonly Machine[], slot: number): Promise<boolean> {
  for (const voter of voters) {
    if (await follows(machine, voter, slot).catch(() => false)) {
      return true
    }
  }
  return false
}

/** Keys with small values, from `from` on, until there are `count` or one is refused; how many were stored. */
async function fill(machine: Machine, from: number, count: number): Promise<{ stored: number; refusal: string }> {
  const client = clientOf(machine)
  let stored = 0
  for (let at = 0; at < count; at += BATCH) {
    const pipeline = client.pipeline()
    for (let index = 0; index < Math.min(BATCH, count - at); index += 1) {
      pipeline.set(`fill:${from + at + index}`, `${from + at + index}`)
    }
    for (const [error] of (await pipeline.exec()) ?? []) {
      if (error !== null) {
        return { stored, refusal: error.message }
      }
      stored += 1
    }
  }
  return { stored, refusal: "" }
}

function stateOf(machine: Machine): Promise<string | undefined> {
  return statusOf(machine).then((status) => status?.machine.status)
}

test(
  "three small machines that are full hand over to three larger ones while a client writes, and more fits",
  async () => {
    const { cluster, voters, larger } = await smallCluster(3)
    const [first, second, third] = voters
    const [fourth, fifth, sixth] = larger
    if (first === undefined || second === undefined || third === undefined) {
      throw new Error("three voters")
    }
    if (fourth === undefined || fifth === undefined || sixth === undefined) {
      throw new Error("three larger machines")
    }
    const writer = new Writer()
    for (const machine of [first, fourth, fifth]) {
      writer.add(machine)
    }
    writer.start()
    await writer.goesOn(WRITES_MIN + 1)
    await writer.stop()
    const full = await fill(second, 0, CLUSTER_LIMITS.kv_entries_max + 1)
    expect(full.refusal).toBe(`ERR kv_entries_max: at most ${CLUSTER_LIMITS.kv_entries_max} keys are stored`)

    // Overwriting goes on all the while: the table is full, the same keys are written again.
    const counter = clientOf(fourth, { commandTimeout: 3_000, enableOfflineQueue: false })
    let added = 0
    let addedAt = performance.now()
    let longestGapMs = 0
    let unknown = 0
    let isAdding = true
    const adding = (async () => {
      while (isAdding) {
        await counter
          .incr("fill:7")
          .then(() => {
            added += 1
            longestGapMs = Math.max(longestGapMs, performance.now() - addedAt)
            addedAt = performance.now()
          })
          .catch(async (error: unknown) => {
            // What was rejected was not done.
            unknown += /CLUSTERDOWN|ERR|enableOfflineQueue/.test(String(error)) ? 0 : 1
            await sleep(10)
          })
      }
    })()
    await until(async () => added > 50, "a counter rises")

    await until(async () => {
      const wrong = await mandala("reconfigure", "--endpoint", endpointOf(first), "--voters", "2,3,4", "--grow")
      expect([EXIT_CONFLICT, EXIT_DEGRADED]).toContain(wrong.code)
      return wrong.err.includes("slot 2 can't begin an epoch")
    }, "a machine that votes already is refused by name")
    await reconfigure(second, "--voters", "3,4,5", "--grow")
    await epochIsSafe(fourth)
    const before = added
    await until(async () => added > before + 100, "the counter goes on, through the larger machines")
    isAdding = false
    await adding
    const count = Number(await counter.get("fill:7"))
    expect(count).toBeGreaterThanOrEqual(7 + added)
    expect(count).toBeLessThanOrEqual(7 + added + unknown)

    // Those that were outgrown say so, answer nobody, and keep what they had.
    await until(async () => (await stateOf(first)) === "outgrown", "the old machines are outgrown")
    const old = await clientOf(first)
      .set("k", "v")
      .catch((error: unknown) => String(error))
    expect(old).toContain(
      "CLUSTERDOWN outgrown: epoch 1 has larger limits than this machine, and votes in slots 3, 4, 5",
    )
    expect((await clusterOf(first)).alarms.map(({ kind }) => kind)).toContain("outgrown")
    for (const machine of voters) {
      writer.remove(machine)
      await kill(machine)
    }
    const more = await fill(fifth, CLUSTER_LIMITS.kv_entries_max, MORE)
    expect(more).toEqual({ stored: MORE, refusal: "" })
    await writer.verify(sixth)
    expect(await clientOf(sixth).get("fill:100")).toBe("100")
    expect(await clusterOf(sixth)).toMatchObject({ epoch: 1, voters: 3, quorum_margin: 1, copies: 3 })

    // A machine of the larger size that lost everything recovers from the two others.
    await kill(fourth)
    const back = boot(cluster, 3, { size: "medium", formation_token: "" })
    await until(() => isMember(back), "the larger machine is back")
    expect(await memberOf(back, 3)).toMatchObject({ role: "voter", incarnation: 2 })
    expect(Number(await clientOf(back).dbsize())).toBe(CLUSTER_LIMITS.kv_entries_max + MORE)
    const grownMs = larger.map((machine) => /"ms":(\d+),"msg":"grown"/.exec(machine.output())?.[1] ?? "?")
    process.stdout.write(
      `${added} added, ${unknown} unknown, ${full.stored + MORE} keys; grown in ${grownMs.join(", ")} ms, ` +
        `longest silence ${Math.round(longestGapMs)} ms\n`,
    )
  },
  TEST_MS,
)

test(
  "machines that die while the cluster grows come back with the node.json that they had, and hold the larger state",
  async () => {
    const { cluster, voters, larger } = await smallCluster(3)
    const [first, second, third] = voters
    const [fourth, fifth, sixth] = larger
    if (first === undefined || second === undefined || third === undefined) {
      throw new Error("three voters")
    }
    if (fourth === undefined || fifth === undefined || sixth === undefined) {
      throw new Error("three larger machines")
    }
    const writer = new Writer()
    for (const machine of [first, second, third, fourth, fifth, sixth]) {
      writer.add(machine)
    }
    writer.start()
    await writer.goesOn(WRITES_MIN)
    const { primary_slot: primary } = await clusterOf(fourth)
    const oldPrimary = voters[primary ?? -1] ?? first
    const asked = oldPrimary === second ? third : second
    await reconfigure(asked, "--voters", "3,4,5", "--grow")
    // Whoever has grown by now, and whoever has not: one of each side.
    await Promise.all([kill(fifth), kill(oldPrimary)])
    writer.remove(fifth)
    writer.remove(oldPrimary)
    expect((await mandala("epoch", "--endpoint", endpointOf(fourth))).code).toBe(EXIT_DEGRADED)

    const asBefore = { grow_to: "medium", formation_token: "" }
    const back = boot(cluster, 4, asBefore)
    await epochIsSafe(fourth)
    await until(() => isMember(back), "it votes again")
    expect(back.output()).toContain('"msg":"begun_larger"')
    expect(await memberOf(fourth, 4)).toMatchObject({ role: "voter", incarnation: 2 })
    expect(await clusterOf(back)).toMatchObject({ epoch: 1, size: "medium", copies: 3 })
    writer.add(back)
    await writer.goesOn()
    await writer.stop()
    await writer.verify(back)

    const outgrown = await mandala("epoch", "--endpoint", endpointOf(asked))
    expect([outgrown.code, outgrown.out]).toEqual([EXIT_DEGRADED, expect.stringContaining("larger limits than this")])
    for (const machine of voters) {
      await kill(machine)
    }
    // Switched on again, an old machine has a place in the larger cluster too, without a vote.
    const old = boot(cluster, 0, asBefore)
    await until(() => follows(old, fourth, 0), "an old machine follows")
    expect(await clusterOf(old)).toMatchObject({ size: "medium", voters: 3 })
  },
  TEST_MS,
)

test(
  "what can't be is refused by name; three machines grow into one with a synchronous standby",
  async () => {
    const { cluster, voters, larger } = await smallCluster(2)
    const [first] = voters
    if (first === undefined) {
      throw new Error("three voters")
    }
    const smaller = await saidAtStart(cluster, ["--grow-to", "small"])
    expect(smaller).toContain("a cluster of size small does not grow to small")
    const unknown = await saidAtStart(cluster, ["--grow-to", "gigantic"])
    expect(unknown).toContain("--grow-to is one of small, medium, large, huge")
    const small = boot(cluster, 5, { formation_token: "" })
    await until(() => followsAny(small, voters, 5), "a machine without more room follows")
    await until(async () => {
      const wrong = await mandala("reconfigure", "--endpoint", endpointOf(first), "--voters", "3,4,5", "--grow")
      expect([EXIT_CONFLICT, EXIT_DEGRADED]).toContain(wrong.code)
      return wrong.err.includes("slot 5 can't begin an epoch")
    }, "a machine without more room is refused by name")
    const table = await mandala("members", "--endpoint", endpointOf(first))
    expect(table.out).toContain("GROWS TO")
    const missing = await mandala("reconfigure", "--endpoint", endpointOf(first), "--voters", "3", "--grow")
    expect([missing.code, missing.err]).toEqual([1, expect.stringContaining("voters are 1, 3, 5 or 7")])
    await reconfigure(first, "--voters", "3", "--standbys", "4", "--sync", "--grow")
    const [fourth] = larger
    if (fourth === undefined) {
      throw new Error("two larger machines")
    }
    await epochIsSafe(fourth)
    expect(await clientOf(fourth).set("after", "1")).toBe("OK")
    expect(await memberOf(fourth, 4)).toMatchObject({ role: "standby", is_synchronous: true })
  },
  TEST_MS,
)

/** What a machine says that does not start. */
async function saidAtStart(cluster: Cluster, more: readonly string[]): Promise<string> {
  const directory = newDirectory()
  const file = join(directory, "node.json")
  writeFileSync(file, JSON.stringify({ ...cluster.node, slot: 5, machine: "machine-5" }))
  const machine = start({ replica: 0, data: 0, api: 0 }, ["--node", file, "--run-directory", directory, ...more])
  expect(await machine.ended).not.toBe(0)
  return machine.output()
}
