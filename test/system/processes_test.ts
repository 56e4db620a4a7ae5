/**
 * Three real `mandala appliance` processes on loopback: a Redis client writes through one and reads through another,
 * the primary is killed, and a blank process in its slot recovers from its peers; two are killed, and the survivor says
 * so, and what it holds. No virtual machines. Plane: control.
 */
import { randomBytes } from "node:crypto"
import { existsSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { afterEach, expect, test } from "vitest"
import {
  askHTTP,
  boot,
  cleanUp,
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

const VOTERS = 3
const KEYS = 200
const TEST_MS = 120_000
/** From the second loss to an answer that names it: what is published is two seconds, and this machine may be busy. */
const REFUSED_WITHIN_MS = 4_000
/** Longer than any formation or recovery takes. */
const BLANK_MS = 3_000
const EXIT_DEGRADED = 5
const EXIT_CONFLICT = 6
const EXIT_CONFIG = 78
const EXIT_UNAVAILABLE = 69

afterEach(cleanUp)

const THREE = { machines: VOTERS, founders: VOTERS }

async function primaryOf(machine: Machine): Promise<number | null | undefined> {
  return (await statusOf(machine))?.cluster.primary_slot
}

async function alarmsOf(machine: Machine): Promise<readonly string[]> {
  return (await statusOf(machine))?.cluster.alarms.map(({ kind }) => kind) ?? []
}

function someValues(): Map<string, string> {
  return new Map(Array.from({ length: KEYS }, (_, index) => [`key:${index}`, randomBytes(20).toString("hex")]))
}

test(
  "a value outlives the primary, and the machine that comes back blank has it",
  async () => {
    const cluster = await describeCluster(THREE)
    const [first, second, third] = [boot(cluster, 0), boot(cluster, 1), boot(cluster, 2)]
    for (const machine of [first, second, third]) {
      await until(() => isMember(machine), "all three are members")
    }
    const values = someValues()
    const writer = clientOf(second)
    await Promise.all([...values].map(([key, value]) => writer.set(key, value)))
    const reader = clientOf(third)
    expect(await reader.mget(...values.keys())).toEqual([...values.values()])
    await until(async () => (await statusOf(third))?.cluster.copies === VOTERS, "all three hold the state")

    expect(await primaryOf(third)).toBe(0)
    await kill(first)
    const killedAt = performance.now()
    expect(await reader.mget(...values.keys())).toEqual([...values.values()])
    const failoverMs = performance.now() - killedAt
    expect(await writer.set("after", "failover")).toBe("OK")
    expect(await reader.incr("counter")).toBe(1)

    const fresh = boot(cluster, 0)
    const bootedAt = performance.now()
    await until(() => isMember(fresh), "the blank machine is a member again")
    const recoveryMs = performance.now() - bootedAt
    const recovered = clientOf(fresh)
    expect(await recovered.mget(...values.keys())).toEqual([...values.values()])
    expect(await recovered.get("after")).toBe("failover")

    // With a second machine dead, the recovered one's copy is one of the two that carry the cluster.
    const primary = await primaryOf(fresh)
    const victim = primary === 1 ? second : third
    await kill(victim)
    expect(await recovered.mget(...values.keys())).toEqual([...values.values()])
    expect(await recovered.get("counter")).toBe("1")
    process.stdout.write(`failover ${failoverMs.toFixed(0)} ms, start to member ${recoveryMs.toFixed(0)} ms\n`)
  },
  TEST_MS,
)

/** From now until the machine refuses a command by name: milliseconds, and the words. */
async function refusalOf(machine: Machine, command: readonly [string, ...string[]]): Promise<[number, string]> {
  const client = clientOf(machine)
  const since = performance.now()
  for (;;) {
    const [name, ...words] = command
    const answer = await client.call(name, ...words).catch((error: unknown) => error)
    if (answer instanceof Error && /^(CLUSTERDOWN|UNKNOWN) quorum_lost/.test(answer.message)) {
      return [performance.now() - since, answer.message]
    }
    expect(performance.now() - since, String(answer)).toBeLessThan(TEST_MS / 4)
    await sleep(10)
  }
}

test(
  "two of three die: an alarm before, a typed refusal soon after, a salvage, and no empty cluster when they are back",
  async () => {
    const cluster = await describeCluster(THREE)
    const [first, second, third] = [boot(cluster, 0), boot(cluster, 1), boot(cluster, 2)]
    for (const machine of [first, second, third]) {
      await until(() => isMember(machine), "all three are members")
    }
    await until(async () => (await alarmsOf(third)).length === 0, "nothing is amiss")
    const values = someValues()
    const writer = clientOf(third)
    await Promise.all([...values].map(([key, value]) => writer.set(key, value)))
    await writer.set("expiring", "1", "PX", 600_000)
    const early = await mandala("salvage", "--endpoint", endpointOf(third), "-o", "json")
    expect([early.code, early.out]).toEqual([EXIT_CONFLICT, ""])
    expect(early.err).toContain("3 of 3 voters live and answer")

    await kill(first)
    await until(async () => (await alarmsOf(third)).includes("quorum_margin_0"), "the margin is 0, and said")
    expect(await writer.set("key:0", values.get("key:0") ?? "")).toBe("OK")
    const status = await mandala("status", "--endpoint", endpointOf(third))
    expect(status.out).toContain(
      "ALARM     quorum margin 0: 2 of 3 voters live; the loss of one more stops the cluster",
    )
    expect(status.code).toBe(0)
    const metrics = (await askHTTP(third, "/metrics"))?.text
    expect(metrics).toContain("\nmandala_quorum_margin 0\n")
    expect(metrics).toContain('\nmandala_alarm{kind="quorum_margin_0"} 1\n')
    expect(await writer.info("replication")).toMatch(/alarms:quorum_margin_0\r\n/)

    await kill(second)
    const [refusedMs, why] = await refusalOf(third, ["SET", "never", "1"])
    expect(refusedMs).toBeLessThan(REFUSED_WITHIN_MS)
    expect(why).toMatch(/quorum_lost: 1 of 3 voters hold the state and are within reach, 2 are needed/)
    // By now it is known before anything is sent: certainly not applied, and said without waiting.
    const since = performance.now()
    const read = await writer.get("key:0").catch((error: unknown) => String(error))
    expect(read).toMatch(/CLUSTERDOWN quorum_lost: .*no answer is given from the past; see 'mandala salvage'/)
    expect(await writer.set("never", "1").catch(String)).toMatch(/CLUSTERDOWN quorum_lost: .*was not applied/)
    expect(performance.now() - since).toBeLessThan(1_000)
    const machines = await askHTTP(third, "/v1/machines")
    expect([machines?.status, JSON.parse(machines?.text ?? "")]).toMatchObject([
      503,
      { error: { kind: "quorum_lost" } },
    ])
    const lost = await mandala("status", "--endpoint", endpointOf(third))
    expect([lost.code, lost.out]).toEqual([
      EXIT_DEGRADED,
      expect.stringContaining("ALARM     nothing is answered: 1 of 3"),
    ])
    expect(third.output().match(/"msg":"quorum_lost"/g)).toHaveLength(1)

    const file = join(newDirectory(), "salvage.jsonl")
    const salvaged = await mandala("salvage", "--endpoint", endpointOf(third), "-o", file)
    expect([salvaged.code, salvaged.out]).toEqual([0, ""])
    expect(salvaged.err).toContain("NOT AUTHORITATIVE")
    const records = readFileSync(file, "utf8").trimEnd().split("\n")
    expect(records[0]).toContain('"authoritative":false')
    for (const [key, value] of values) {
      expect(records).toContain(JSON.stringify({ record: "kv", key, value }))
    }
    expect(records.join("\n")).toMatch(/"key":"expiring","value":"1","expires_in_ms":\d{6}/)
    const again = await mandala("salvage", "--endpoint", endpointOf(third), "-o", file)
    expect([again.code, again.err]).toEqual([1, expect.stringContaining("exists already")])

    // The power is back on: what comes up is blank, with no token, and must not be taken for a cluster.
    const back = [0, 1].map((slot) => boot(cluster, slot, { formation_token: "" }))
    for (const machine of back) {
      await until(async () => (await statusOf(machine)) !== undefined, "the machines are back")
    }
    await sleep(BLANK_MS)
    for (const machine of back) {
      expect((await statusOf(machine))?.machine.status).toBe("recovering")
      const answer = await clientOf(machine).get("key:0").catch(String)
      expect(answer).toMatch(/CLUSTERDOWN quorum_lost/)
      const nothing = await mandala("salvage", "--endpoint", endpointOf(machine), "-o", `${file}.blank`, "--force")
      expect([nothing.code, nothing.err]).toEqual([EXIT_CONFLICT, expect.stringContaining("holds no state")])
      expect(existsSync(`${file}.blank`)).toBe(false)
    }
    expect((await statusOf(third))?.machine.status).not.toBe("recovering")
    process.stdout.write(`majority lost: refused by name after ${refusedMs.toFixed(0)} ms\n`)
  },
  TEST_MS,
)

test(
  "two of three stand still and go on: refused meanwhile, served again without a restart",
  async () => {
    const cluster = await describeCluster(THREE)
    const [first, second, third] = [boot(cluster, 0), boot(cluster, 1), boot(cluster, 2)]
    for (const machine of [first, second, third]) {
      await until(() => isMember(machine), "all three are members")
    }
    await until(async () => (await alarmsOf(third)).length === 0, "nothing is amiss")
    const writer = clientOf(third)
    expect(await writer.incr("counter")).toBe(1)
    for (const machine of [first, second]) {
      machine.child.kill("SIGSTOP")
    }
    const [refusedMs] = await refusalOf(third, ["INCR", "other"])
    expect(refusedMs).toBeLessThan(REFUSED_WITHIN_MS)
    for (const machine of [first, second]) {
      machine.child.kill("SIGCONT")
    }
    await until(async () => (await writer.get("counter").catch(() => "")) === "1", "reads are answered again")
    expect(await writer.incr("counter")).toBe(2)
  },
  TEST_MS,
)

test(
  "a machine's own record is in the replicated table",
  async () => {
    const cluster = await describeCluster(THREE)
    const booted = [boot(cluster, 0), boot(cluster, 1), boot(cluster, 2)]
    const [first] = booted
    expect(first).toBeDefined()
    await until(async () => {
      const text = (first && (await askHTTP(first, "/v1/machines")))?.text ?? ""
      return [0, 1, 2].every((slot) => text.includes(`machine-${slot}`))
    }, "all three are in the table")
  },
  TEST_MS,
)

test(
  "SIGTERM ends a machine cleanly; a wrong file, flag or port ends it with its own code and one line",
  async () => {
    const cluster = await describeCluster(THREE)
    const machine = boot(cluster, 0)
    await until(async () => (await statusOf(machine)) !== undefined, "it answers")
    const taken = boot({ ...cluster, ports: [machine.ports] }, 0)
    expect(await taken.ended).toBe(EXIT_UNAVAILABLE)
    expect(taken.output()).toContain("mandala: replica port")
    machine.child.kill("SIGTERM")
    expect(await machine.ended).toBe(0)

    const directory = newDirectory()
    const missing = start({ replica: 0, data: 0, api: 0 }, ["--node", join(directory, "node.json")])
    expect(await missing.ended).toBe(EXIT_CONFIG)
    expect(missing.output().trim().split("\n").length).toBe(1)
    const wrong = start({ replica: 70_000, data: 0, api: 0 }, [])
    expect(await wrong.ended).toBe(64)
  },
  TEST_MS,
)
