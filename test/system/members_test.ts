/**
 * Members of a cluster come and go while a client writes, on real processes and by the operator's own commands: from
 * one machine to two, three, five and back to three; a dead machine is replaced; a standby takes over or is let go.
 * What was acknowledged is there in the end, what was rejected is not. Plane: control.
 */
import type { Redis } from "ioredis"
import { afterEach, expect, test } from "vitest"
import {
  clusterOf,
  COMMAND_MS,
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
  statusOf,
  until,
} from "./process_cluster.ts"

const TEST_MS = 180_000
const EXIT_OK = 0
/** Longer than any wait in the protocol that could let a process that stood still answer after all. */
const ZOMBIE_MS = 4_000
/** From a standby's silence to a refusal by name: abdicate_ms, with room for a busy machine. */
const REFUSED_WITHIN_MS = 4_000

afterEach(cleanUp)

test(
  "one machine, two, three, five, and three others, while a client writes",
  async () => {
    const cluster = await describeCluster({ machines: 5, founders: 1 })
    const writer = new Writer()
    const first = boot(cluster, 0)
    await until(() => isMember(first), "one machine is a cluster of one")
    expect((await clusterOf(first)).alarms.map(({ kind }) => kind)).toEqual(["quorum_margin_0", "copies_1"])
    const alone = await mandala("status", "--endpoint", endpointOf(first))
    expect(alone.out).toContain("ALARM     copies 1: ")
    writer.add(first)
    writer.start()
    await writer.goesOn()

    const second = boot(cluster, 1)
    await until(() => follows(second, first, 1), "the second follows")
    await reconfigure(first, "--voters", "0", "--standbys", "1", "--sync")
    expect(await memberOf(first, 1)).toMatchObject({ role: "standby", is_synchronous: true })
    await until(async () => (await clusterOf(first)).copies === 2, "two copies")
    expect((await clusterOf(first)).quorum_margin).toBe(0)
    writer.add(second)
    await writer.goesOn()

    const third = boot(cluster, 2)
    await until(() => follows(third, first, 2), "the third follows")
    await reconfigure(first, "--voters", "0,1,2")
    await epochIsSafe(first)
    await until(async () => (await clusterOf(second)).quorum_margin === 1, "one of three may be lost")
    writer.add(third)
    await writer.goesOn()

    const [fourth, fifth] = [boot(cluster, 3), boot(cluster, 4)]
    await until(() => follows(fourth, first, 3), "the fourth follows")
    await until(() => follows(fifth, first, 4), "the fifth follows")
    await reconfigure(second, "--voters", "0,1,2,3,4")
    await epochIsSafe(fifth)
    await until(async () => (await clusterOf(fifth)).quorum_margin === 2, "two of five may be lost")
    writer.add(fourth)
    writer.add(fifth)
    await writer.goesOn()

    await reconfigure(fourth, "--voters", "2,3,4")
    await epochIsSafe(fourth)
    for (const machine of [first, second]) {
      writer.remove(machine)
      await kill(machine)
    }
    await writer.goesOn()
    expect(await clusterOf(third)).toMatchObject({ epoch: 4, voters: 3, quorum_margin: 1 })
    await writer.stop()
    await writer.verify(third)
    const members = await mandala("members", "--endpoint", endpointOf(fifth))
    const [head, , columns] = members.out.split("\n")
    const counts = /^generation 1, epoch 4, size small, quorum margin 1, copies 3, /
    expect(head?.replace(counts, "")).toMatch(/^certified op \d+ \([0-9a-f]{8}\)$/)
    expect(columns).toMatch(/^SLOT +MACHINE +ADDRESS +ROLE/)
    const { acknowledged, rejected, unknown } = writer
    process.stdout.write(`${acknowledged.size} acknowledged, ${rejected.size} rejected, ${unknown} unknown\n`)
  },
  TEST_MS,
)

test(
  "a dead machine is replaced by another, and comes back without a vote; what can't be is refused by name",
  async () => {
    const cluster = await describeCluster({ machines: 4, founders: 3 })
    const founders = [boot(cluster, 0), boot(cluster, 1), boot(cluster, 2)] as const
    const [first, second, third] = founders
    for (const machine of founders) {
      await until(() => isMember(machine), "all three are members")
    }
    const writer = new Writer()
    writer.add(first)
    writer.add(third)
    writer.start()
    await writer.goesOn()
    await kill(second)

    const unwarm = await mandala("reconfigure", "--endpoint", endpointOf(first), "--voters", "0,2,3")
    expect([unwarm.code, unwarm.err]).toEqual([EXIT_CONFLICT, expect.stringContaining("slot 3 does not follow")])
    const even = await mandala("reconfigure", "--endpoint", endpointOf(first), "--voters", "0,2")
    expect([even.code, even.err]).toEqual([1, expect.stringContaining("voters are 1, 3, 5 or 7")])
    const late = await mandala("reconfigure", "--endpoint", endpointOf(first), "--voters", "0,2,3", "--epoch", "7")
    expect([late.code, late.err]).toEqual([EXIT_CONFLICT, expect.stringContaining("the cluster is in epoch 0")])

    const fourth = boot(cluster, 3)
    await until(async () => {
      const primary = (await clusterOf(first)).primary_slot === 0 ? first : third
      return await follows(fourth, primary, 3)
    }, "the fourth follows")
    await reconfigure(third, "--voters", "0,2,3")
    await epochIsSafe(third)
    await until(async () => (await clusterOf(fourth)).quorum_margin === 1, "one may be lost again")
    await writer.goesOn()

    const back = boot(cluster, 1, { formation_token: "" })
    await until(() => isMember(back), "the dead machine's slot is back")
    expect((await statusOf(back))?.machine).toMatchObject({ role: "follower", incarnation: 0 })
    expect((await clusterOf(back)).members.filter(({ role }) => role === "voter").map(({ slot }) => slot)).toEqual([
      0, 2, 3,
    ])
    // One copy more and no vote more: the margin is the voters'.
    await until(async () => (await clusterOf(fourth)).copies === 4, "four copies")
    expect((await clusterOf(fourth)).quorum_margin).toBe(1)
    // The replacement carries the cluster with one other: the loss of a founder is the one that may be.
    writer.remove(first)
    await kill(first)
    await writer.goesOn()
    await writer.stop()
    await writer.verify(back)
    await writer.verify(fourth)
  },
  TEST_MS,
)

/** One voter with its synchronous standby, and a client that has written. */
async function twoMachines(): Promise<{ cluster: Cluster; voter: Machine; standby: Machine; writer: Writer }> {
  const cluster = await describeCluster({ machines: 2, founders: 1 })
  const voter = boot(cluster, 0)
  await until(() => isMember(voter), "one machine is a cluster of one")
  const standby = boot(cluster, 1)
  await until(() => follows(standby, voter, 1), "the standby follows")
  await reconfigure(voter, "--voters", "0", "--standbys", "1", "--sync")
  await until(async () => (await clusterOf(voter)).copies === 2, "two copies")
  const writer = new Writer()
  writer.add(voter)
  writer.start()
  await writer.goesOn(WRITES_MIN + 1)
  return { cluster, voter, standby, writer }
}

async function refusal(client: Redis, pattern: RegExp): Promise<number> {
  const since = performance.now()
  await until(async () => {
    const answer = await client.set("refused", "1").catch((error: unknown) => error)
    return answer instanceof Error && pattern.test(answer.message)
  }, `refused as ${pattern}`)
  return performance.now() - since
}

test(
  "a silent standby stops its voter, by name; it goes on when the standby does, or is dropped on an operator's word",
  async () => {
    const { voter, standby, writer } = await twoMachines()
    await writer.stop()
    const client = clientOf(voter)
    standby.child.kill("SIGSTOP")
    expect(await refusal(client, /^CLUSTERDOWN standby_missing: /)).toBeLessThan(REFUSED_WITHIN_MS)
    const status = await mandala("status", "--endpoint", endpointOf(voter))
    expect([status.code, status.out]).toEqual([
      EXIT_DEGRADED,
      expect.stringContaining("ALARM     nothing is answered: "),
    ])
    standby.child.kill("SIGCONT")
    await until(async () => (await client.set("again", "1").catch(String)) === "OK", "it goes on with its standby")

    await kill(standby)
    await refusal(client, /^CLUSTERDOWN standby_missing: /)
    const unsure = await mandala("standby", "drop", "--endpoint", endpointOf(voter))
    expect([unsure.code, unsure.err]).toEqual([
      EXIT_CONFLICT,
      expect.stringMatching(/the standby is machine-1, last heard .* ago: switch it off/),
    ])
    const dropped = await mandala("standby", "drop", "--confirm-off", "--endpoint", endpointOf(voter))
    expect([dropped.code, dropped.out]).toEqual([EXIT_OK, "epoch 2 has begun\n"])
    await until(async () => (await client.set("alone", "1").catch(String)) === "OK", "it goes on alone")
    expect((await clusterOf(voter)).alarms.map(({ kind }) => kind)).toContain("copies_1")
    await writer.verify(voter)
  },
  TEST_MS,
)

test(
  "the voter dies: its standby says so, holds all that was acknowledged, and takes over on an operator's word",
  async () => {
    const { cluster, voter, standby, writer } = await twoMachines()
    // While it writes: what the two have not both confirmed was not acknowledged.
    await kill(voter)
    writer.remove(voter)
    writer.add(standby)
    await until(async () => writer.rejected.size > 0, "the standby refuses to answer for a voter that it can't reach")
    expect((await clusterOf(standby)).outage?.kind).toBe("quorum_lost")
    const unsure = await mandala("standby", "promote", "--endpoint", endpointOf(standby))
    expect([unsure.code, unsure.err]).toEqual([
      EXIT_CONFLICT,
      expect.stringContaining("the voter is machine-0, last heard"),
    ])
    const promoted = await mandala("standby", "promote", "--confirm-off", "--endpoint", endpointOf(standby))
    expect([promoted.code, promoted.err]).toEqual([EXIT_OK, ""])
    expect(promoted.out).toMatch(/^epoch \d+ has begun in generation 2\n$/)
    await writer.goesOn()
    await writer.stop()
    await writer.verify(standby)
    const twice = await mandala("standby", "promote", "--confirm-off", "--endpoint", endpointOf(standby))
    expect(twice.code).toBe(EXIT_CONFLICT)

    // The old voter is switched on again: blank, of the generation before, and heard by nobody.
    const back = boot(cluster, 0, { formation_token: "" })
    await until(async () => {
      const metrics = await fetch(`${endpointOf(back)}/metrics`).catch(() => undefined)
      const text = (await metrics?.text()) ?? ""
      return /mandala_hellos_declined_total\{kind="wrong_generation"\} [1-9]/.test(text)
    }, "its greeting is turned away by name")
    expect((await statusOf(back))?.machine.status).toBe("recovering")
    expect(await writerOf(standby)).toBe("OK")
  },
  TEST_MS,
)

async function writerOf(machine: Machine): Promise<string> {
  return await clientOf(machine)
    .set("after", "1")
    .catch((error: unknown) => String(error))
}

test(
  "a voter that stood still while its standby took over answers nobody when it goes on",
  async () => {
    const { voter, standby, writer } = await twoMachines()
    await writer.stop()
    const client = clientOf(voter, { commandTimeout: COMMAND_MS })
    expect(await client.set("shared", "old")).toBe("OK")
    voter.child.kill("SIGSTOP")
    await until(async () => (await clusterOf(standby)).outage !== null, "the standby misses its voter")
    const promoted = await mandala("standby", "promote", "--confirm-off", "--endpoint", endpointOf(standby))
    expect([promoted.code, promoted.err]).toEqual([EXIT_OK, ""])
    expect(await clientOf(standby).set("shared", "new")).toBe("OK")
    voter.child.kill("SIGCONT")
    // The operator was wrong: it was not off. It may not answer all the same, neither at once nor later.
    for (const end = performance.now() + ZOMBIE_MS; performance.now() < end; ) {
      expect(await client.get("shared").catch((error: unknown) => String(error))).toMatch(/CLUSTERDOWN|timed out/)
      expect(await client.set("shared", "old again").catch(String)).toMatch(/CLUSTERDOWN|UNKNOWN|timed out/)
    }
    expect(await clientOf(standby).get("shared")).toBe("new")
  },
  TEST_MS,
)
