/**
 * Three real `mandala appliance` processes on loopback: a Redis client writes through one and reads through another,
 * the primary is killed, and a blank process in its slot recovers from its peers. No virtual machines. Plane: control.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { randomBytes } from "node:crypto"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { Redis } from "ioredis"
import { afterEach, expect, test } from "vitest"
import type { StatusDocument } from "../../appliance/gateway/status_document.ts"

const MAIN = resolve(import.meta.dirname, "../../appliance/main.ts")
const VOTERS = 3
const KEYS = 200
const PATIENCE_MS = 40_000
const ANSWER_MS = 2_000
const TEST_MS = 120_000
const EXIT_CONFIG = 78
const EXIT_UNAVAILABLE = 69

type Ports = { readonly replica: number; readonly data: number; readonly api: number }
type Member = {
  readonly slot: number
  readonly machine: string
  readonly address: string
  readonly replica_port: number
}
type Machine = {
  readonly child: ChildProcess
  readonly ports: Ports
  readonly output: () => string
  readonly ended: Promise<number | null>
}
const machines: Machine[] = []
const clients: Redis[] = []
const directories: string[] = []
afterEach(async () => {
  for (const client of clients.splice(0)) {
    client.disconnect()
  }
  for (const machine of machines.splice(0)) {
    machine.child.kill("SIGKILL")
    await machine.ended
  }
  for (const directory of directories.splice(0)) {
    rmSync(directory, { recursive: true, force: true })
  }
})

function newDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "mandala-processes-"))
  directories.push(directory)
  return directory
}

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer())
  const ports: number[] = []
  for (const server of servers) {
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", () => done()))
    const address = server.address()
    ports.push(typeof address === "object" && address !== null ? address.port : 0)
  }
  for (const server of servers) {
    await new Promise<void>((done) => server.close(() => done()))
  }
  return ports
}

type Cluster = { readonly members: readonly Member[]; readonly ports: readonly Ports[]; readonly node: object }

async function describeCluster(): Promise<Cluster> {
  const free = await freePorts(3 * VOTERS)
  const ports: Ports[] = []
  const members: Member[] = []
  for (let slot = 0; slot < VOTERS; slot += 1) {
    const [replica = 0, data = 0, api = 0] = free.slice(3 * slot, 3 * slot + 3)
    ports.push({ replica, data, api })
    members.push({ slot, machine: `machine-${slot}`, address: "127.0.0.1", replica_port: replica })
  }
  const node = {
    schema: 1,
    cluster_id: randomBytes(16).toString("hex"),
    generation: 1,
    epoch: 0,
    voters: VOTERS,
    formation_token: randomBytes(16).toString("hex"),
    members,
  }
  return { members, ports, node }
}

/** A machine that has just booted: an empty run directory, and node.json from its boot server. */
function boot(cluster: Cluster, slot: number): Machine {
  const directory = newDirectory()
  const file = join(directory, "node.json")
  writeFileSync(file, JSON.stringify({ ...cluster.node, slot, machine: `machine-${slot}` }))
  const ports = cluster.ports[slot] ?? { replica: 0, data: 0, api: 0 }
  return start(ports, ["--node", file, "--run-directory", directory])
}

function start(ports: Ports, more: readonly string[]): Machine {
  const args = [MAIN, "appliance", "--bind", "127.0.0.1", "--advertise", "127.0.0.1"]
  args.push("--replica-port", String(ports.replica), "--data-port", String(ports.data), "--api-port", String(ports.api))
  const child = spawn(process.execPath, [...args, ...more], { stdio: ["ignore", "pipe", "pipe"] })
  let output = ""
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8")
    stream.on("data", (text: string) => {
      output += text
    })
  }
  const ended = new Promise<number | null>((done) => child.on("exit", (code) => done(code)))
  const machine = { child, ports, output: () => output, ended }
  machines.push(machine)
  return machine
}

async function statusOf(machine: Machine): Promise<StatusDocument | undefined> {
  try {
    const signal = AbortSignal.timeout(ANSWER_MS)
    const response = await fetch(`http://127.0.0.1:${machine.ports.api}/v1/status`, { signal })
    // Proof: this very checkout's process answered, and it writes exactly this type.
    return (await response.json()) as StatusDocument
  } catch {
    // Not up yet: the caller asks again.
    return undefined
  }
}

async function primaryOf(machine: Machine): Promise<number | null | undefined> {
  return (await statusOf(machine))?.cluster.primary_slot
}

async function until(condition: () => Promise<boolean>, what: string): Promise<void> {
  const end = performance.now() + PATIENCE_MS
  while (!(await condition())) {
    if (performance.now() >= end) {
      const logs = machines.map((machine) => machine.output().split("\n").slice(-12).join("\n"))
      throw new Error(`not within ${PATIENCE_MS} ms: ${what}\n${logs.join("\n---\n")}`)
    }
    await sleep(25)
  }
}

function clientOf(machine: Machine): Redis {
  const client = new Redis({
    host: "127.0.0.1",
    port: machine.ports.data,
    maxRetriesPerRequest: 100,
    retryStrategy: () => 50,
  })
  client.on("error", () => undefined)
  clients.push(client)
  return client
}

const isMember = async (machine: Machine): Promise<boolean> => (await statusOf(machine))?.machine.status === "normal"

test(
  "a value outlives the primary, and the machine that comes back blank has it",
  async () => {
    const cluster = await describeCluster()
    const [first, second, third] = [boot(cluster, 0), boot(cluster, 1), boot(cluster, 2)]
    for (const machine of [first, second, third]) {
      await until(() => isMember(machine), "all three are members")
    }
    const values = new Map(
      Array.from({ length: KEYS }, (_, index) => [`key:${index}`, randomBytes(20).toString("hex")]),
    )
    const writer = clientOf(second)
    await Promise.all([...values].map(([key, value]) => writer.set(key, value)))
    const reader = clientOf(third)
    expect(await reader.mget(...values.keys())).toEqual([...values.values()])
    await until(async () => (await statusOf(third))?.cluster.copies === VOTERS, "all three hold the state")

    expect(await primaryOf(third)).toBe(0)
    first.child.kill("SIGKILL")
    await first.ended
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
    victim.child.kill("SIGKILL")
    await victim.ended
    expect(await recovered.mget(...values.keys())).toEqual([...values.values()])
    expect(await recovered.get("counter")).toBe("1")
    process.stdout.write(`failover ${failoverMs.toFixed(0)} ms, start to member ${recoveryMs.toFixed(0)} ms\n`)
  },
  TEST_MS,
)

test(
  "a machine's own record is in the replicated table",
  async () => {
    const cluster = await describeCluster()
    const booted = [boot(cluster, 0), boot(cluster, 1), boot(cluster, 2)]
    const [first] = booted
    expect(first).toBeDefined()
    await until(async () => {
      const response = await fetch(`http://127.0.0.1:${first?.ports.api}/v1/machines`).catch(() => undefined)
      const text = response?.ok === true ? await response.text() : ""
      return [0, 1, 2].every((slot) => text.includes(`machine-${slot}`))
    }, "all three are in the table")
  },
  TEST_MS,
)

test(
  "SIGTERM ends a machine cleanly; a wrong file, flag or port ends it with its own code and one line",
  async () => {
    const cluster = await describeCluster()
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
