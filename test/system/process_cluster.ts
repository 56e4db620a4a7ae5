/** Real `mandala appliance` processes on loopback, one a machine: started, asked, killed. Plane: control. */
import { type ChildProcess, spawn } from "node:child_process"
import { randomBytes } from "node:crypto"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { Redis } from "ioredis"
import { type Credentials, writeConfig } from "../../appliance/cli/config_store.ts"
import { openRequest } from "../../appliance/cli/transport.ts"
import { writeKeyFile } from "../../appliance/keys/key_file.ts"
import type { MachineKeys } from "../../appliance/orchestration/link_security.ts"
import { assert } from "../../appliance/types/assert.ts"
import type { StatusDocument } from "../../appliance/gateway/status_document.ts"
import { Site } from "./site.ts"

const MAIN = resolve(import.meta.dirname, "../../appliance/main.ts")
const PATIENCE_MS = 40_000
const ANSWER_MS = 2_000
const POLL_MS = 25

export type Ports = { readonly replica: number; readonly data: number; readonly api: number }

type Member = {
  readonly slot: number
  readonly machine: string
  readonly address: string
  readonly replica_port: number
}

export type Machine = {
  readonly child: ChildProcess
  readonly ports: Ports
  /** An admin's, at this machine's site. */
  readonly credentials: Credentials | undefined
  readonly output: () => string
  readonly ended: Promise<number | null>
}

export type Cluster = {
  readonly ports: readonly Ports[]
  readonly node: Readonly<Record<string, unknown>>
  readonly site: Site
  /** By slot, as each machine's join would have left them. */
  readonly keys: readonly MachineKeys[]
  readonly credentials: Credentials
}

const machines: Machine[] = []
const clients: Redis[] = []
const directories: string[] = []

/** After each test: whatever it started is gone. */
export async function cleanUp(): Promise<void> {
  for (const client of clients.splice(0)) {
    client.disconnect()
  }
  for (const machine of machines.splice(0)) {
    await kill(machine)
  }
  for (const directory of directories.splice(0)) {
    rmSync(directory, { recursive: true, force: true })
  }
}

export function newDirectory(): string {
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

/** `machines` places, the first `founders` of which found the cluster together. */
export async function describeCluster(options: {
  readonly machines: number
  readonly founders: number
}): Promise<Cluster> {
  const free = await freePorts(3 * options.machines)
  const ports: Ports[] = []
  const members: Member[] = []
  for (let slot = 0; slot < options.machines; slot += 1) {
    const [replica = 0, data = 0, api = 0] = free.slice(3 * slot, 3 * slot + 3)
    ports.push({ replica, data, api })
    members.push({ slot, machine: `machine-${slot}`, address: "127.0.0.1", replica_port: replica })
  }
  const site = await Site.create(randomBytes(16).toString("hex"))
  const keys = await Promise.all(members.map(({ slot }) => site.keys(slot)))
  const credentials = await site.operator("admin")
  // The commands that a test runs find their key as an operator's would.
  const config = join(newDirectory(), "config.json")
  const context = { name: "test", endpoint: "", boot_endpoint: "", ...credentials }
  assert(writeConfig(config, { current: "test", contexts: [context] }).ok, "process cluster: a context is kept")
  process.env["MANDALA_CONFIG"] = config
  const node = {
    schema: 1,
    cluster_id: site.clusterID,
    generation: 1,
    epoch: 0,
    voters: options.founders,
    formation_token: randomBytes(16).toString("hex"),
    members,
  }
  return { ports, node, site, keys, credentials }
}

/** A machine that has just booted: an empty run directory, and node.json as its boot server would write it. */
export function boot(
  cluster: Cluster,
  slot: number,
  change: Readonly<Record<string, unknown>> = {},
  hooks: readonly string[] = [],
): Machine {
  const directory = newDirectory()
  const file = join(directory, "node.json")
  writeFileSync(file, JSON.stringify({ ...cluster.node, slot, machine: `machine-${slot}`, ...change }))
  // A machine with plain links has a plain API too.
  const secured = change["links"] === "insecure" ? {} : { credentials: cluster.credentials }
  const keys = cluster.keys[slot]
  assert(keys !== undefined, "process cluster: a slot has keys")
  assert(writeKeyFile(join(directory, "link.json"), { schema: 1, ...keys }).ok, "process cluster: keys are kept")
  const ports = cluster.ports[slot] ?? { replica: 0, data: 0, api: 0 }
  return start(ports, ["--node", file, "--run-directory", directory], { ...secured, hooks })
}

/** `hooks` are modules that the process loads before the appliance, and that may be asked by messages. */
export function start(
  ports: Ports,
  more: readonly string[],
  options: { readonly credentials?: Credentials; readonly hooks?: readonly string[] } = {},
): Machine {
  const { credentials, hooks = [] } = options
  const imports = hooks.flatMap((hook) => ["--import", hook])
  const args = [...imports, MAIN, "appliance", "--bind", "127.0.0.1", "--advertise", "127.0.0.1"]
  args.push("--replica-port", String(ports.replica), "--data-port", String(ports.data), "--api-port", String(ports.api))
  const ipc = hooks.length > 0 ? (["ipc"] as const) : []
  const child = spawn(process.execPath, [...args, ...more], { stdio: ["ignore", "pipe", "pipe", ...ipc] })
  let output = ""
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding("utf8")
    stream?.on("data", (text: string) => {
      output += text
    })
  }
  const ended = new Promise<number | null>((done) => child.on("exit", (code) => done(code)))
  const machine = { child, ports, credentials, output: () => output, ended }
  machines.push(machine)
  return machine
}

export async function kill(machine: Machine): Promise<void> {
  machine.child.kill("SIGKILL")
  await machine.ended
}

export function endpointOf(machine: Machine): string {
  const scheme = machine.credentials === undefined ? "http" : "https"
  return `${scheme}://127.0.0.1:${machine.ports.api}`
}

/** What the machine answers to a GET; undefined when it doesn't. */
export async function askHTTP(
  machine: Machine,
  path: string,
): Promise<{ readonly status: number; readonly text: string } | undefined> {
  const url = new URL(path, endpointOf(machine))
  const { credentials } = machine
  const signal = AbortSignal.timeout(ANSWER_MS)
  try {
    const response = await openRequest({ url, method: "GET", body: undefined, credentials, signal })
    let text = ""
    for await (const chunk of response.setEncoding("utf8")) {
      text += String(chunk)
    }
    return { status: response.statusCode ?? 0, text }
  } catch {
    // Not up yet, or not any more: the caller asks again.
    return undefined
  }
}

export async function statusOf(machine: Machine): Promise<StatusDocument | undefined> {
  const answer = await askHTTP(machine, "/v1/status")
  if (answer?.status !== 200) {
    return undefined
  }
  // Proof: this very checkout's process answered, and it writes exactly this type.
  return JSON.parse(answer.text) as StatusDocument
}

export async function isMember(machine: Machine): Promise<boolean> {
  return (await statusOf(machine))?.machine.status === "normal"
}

export async function until(condition: () => Promise<boolean>, what: string): Promise<void> {
  const end = performance.now() + PATIENCE_MS
  while (!(await condition())) {
    if (performance.now() >= end) {
      const logs = machines.map((machine) => machine.output().split("\n").slice(-12).join("\n"))
      throw new Error(`not within ${PATIENCE_MS} ms: ${what}\n${logs.join("\n---\n")}`)
    }
    await sleep(POLL_MS)
  }
}

export function clientOf(
  machine: Machine,
  options: { readonly commandTimeout?: number; readonly enableOfflineQueue?: boolean } = {},
): Redis {
  const client = new Redis({
    host: "127.0.0.1",
    port: machine.ports.data,
    maxRetriesPerRequest: 100,
    // A command whose connection broke is not sent again by itself: it may have been applied.
    autoResendUnfulfilledCommands: false,
    retryStrategy: () => 50,
    ...options,
  })
  client.on("error", () => undefined)
  clients.push(client)
  return client
}

/** One `mandala` command as an operator types it. */
export async function mandala(...args: readonly string[]): Promise<{ code: number | null; out: string; err: string }> {
  const child = spawn(process.execPath, [MAIN, ...args], { stdio: ["ignore", "pipe", "pipe"] })
  let out = ""
  let err = ""
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text
  })
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    err += text
  })
  const code = await new Promise<number | null>((done) => child.on("close", (exitCode) => done(exitCode)))
  return { code, out, err }
}
