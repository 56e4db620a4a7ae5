/**
 * Real `mandala appliance` processes on loopback, three as a rule, started from any checkout: booted blank, killed,
 * stopped and continued. Plane: control.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { randomBytes } from "node:crypto"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import type { StatusDocument } from "../../appliance/gateway/status_document.ts"
import { assert } from "../../appliance/types/assert.ts"
import type { ClusterSize } from "../../appliance/types/cluster_sizes.ts"
import {
  HTTP_MS_MAX,
  LOG_BYTES_MAX,
  LOG_LINES_SHOWN,
  POLL_MS,
  READY_MS_MAX,
  REPORT_MS_MAX,
  STOP_MS_MAX,
  VOTERS,
} from "./limits.ts"
import type { ProcessCosts } from "./process_hook.ts"

/** In the measured checkout. */
const HOOK = "test/benchmark/process_hook.ts"
const LOOPBACK = "127.0.0.1"
/** As /init sets it on a machine. */
const NODE_OPTIONS = "--max-semi-space-size=16"

export type Ports = { readonly replica: number; readonly data: number; readonly api: number }

export type ClusterOptions = {
  /** Of all members; the smallest when absent. */
  readonly size?: ClusterSize
  readonly voters?: number
  readonly nodeFlags?: readonly string[]
  /** Modules of the checkout that are loaded into each process, beside the one that tells what it costs. */
  readonly hooks?: readonly string[]
}

type Machine = { readonly child: ChildProcess; readonly ended: Promise<void>; log: string }

export class Cluster {
  readonly clusterID = randomBytes(16).toString("hex")
  readonly generation = 1
  readonly ports: readonly Ports[]
  readonly size: ClusterSize
  readonly #checkout: string
  readonly #directory = mkdtempSync(join(tmpdir(), "mandala-bench-"))
  readonly #machines: (Machine | undefined)[]
  readonly #token = randomBytes(16).toString("hex")
  readonly #flags: readonly string[]
  #boots = 0

  private constructor(checkout: string, ports: readonly Ports[], options: ClusterOptions) {
    this.#checkout = checkout
    this.ports = ports
    this.size = options.size ?? "small"
    const hooks = [HOOK, ...(options.hooks ?? [])].flatMap((hook) => ["--import", join(checkout, hook)])
    this.#flags = [...(options.nodeFlags ?? []), ...hooks]
    this.#machines = ports.map(() => undefined)
  }

  /** A cluster that has just formed, of the sources in `checkout`. */
  static async start(checkout: string, options: ClusterOptions = {}): Promise<Cluster> {
    const voters = options.voters ?? VOTERS
    const free = await freePorts(3 * voters)
    const ports = Array.from({ length: voters }, (_, slot) => {
      const [replica = 0, data = 0, api = 0] = free.slice(3 * slot, 3 * slot + 3)
      return { replica, data, api }
    })
    const cluster = new Cluster(checkout, ports, options)
    try {
      for (let slot = 0; slot < voters; slot += 1) {
        cluster.boot(slot)
      }
      await cluster.untilWhole()
      return cluster
    } catch (error) {
      await cluster.close()
      throw error
    }
  }

  /** A blank process in the slot. */
  boot(slot: number): void {
    assert(this.#machines[slot] === undefined, "cluster: one process a slot")
    this.#boots += 1
    const run = mkdtempSync(join(this.#directory, `run-${this.#boots}-`))
    const file = join(run, "node.json")
    writeFileSync(file, JSON.stringify(this.#nodeDocument(slot)))
    const { replica, data, api } = this.portsOf(slot)
    const ports = ["--replica-port", `${replica}`, "--data-port", `${data}`, "--api-port", `${api}`]
    const where = ["--bind", LOOPBACK, "--advertise", LOOPBACK, "--node", file, "--run-directory", run]
    const main = join(this.#checkout, "appliance/main.ts")
    const child = spawn(process.execPath, [...this.#flags, main, "appliance", ...where, ...ports], {
      stdio: ["ignore", "pipe", "pipe", "ipc"],
      env: { ...process.env, NODE_OPTIONS },
    })
    const ended = new Promise<void>((done) => child.once("exit", () => done()))
    const machine: Machine = { child, ended, log: "" }
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on("data", (chunk: Buffer) => {
        machine.log = (machine.log + chunk.toString()).slice(-LOG_BYTES_MAX)
      })
    }
    this.#machines[slot] = machine
  }

  portsOf(slot: number): Ports {
    const ports = this.ports[slot]
    assert(ports !== undefined, "cluster: a slot has ports")
    return ports
  }

  /** As a power cut; resolves when the process is gone. */
  async kill(slot: number): Promise<void> {
    const machine = this.#machine(slot)
    machine.child.kill("SIGKILL")
    await machine.ended
    this.#machines[slot] = undefined
  }

  stop(slot: number): void {
    this.#machine(slot).child.kill("SIGSTOP")
  }

  continue(slot: number): void {
    this.#machine(slot).child.kill("SIGCONT")
  }

  async status(slot: number): Promise<StatusDocument | undefined> {
    try {
      const signal = AbortSignal.timeout(HTTP_MS_MAX)
      const response = await fetch(`http://${LOOPBACK}:${this.portsOf(slot).api}/v1/status`, { signal })
      // Proof: a process that this cluster started answers, and it writes this type.
      return (await response.json()) as StatusDocument
    } catch {
      // Not up, or stopped: who asked asks again.
      return undefined
    }
  }

  /** The slot that every live machine takes for the primary. */
  async primary(): Promise<number> {
    let primary = -1
    await this.until("all agree on a primary", async () => {
      const slots = this.#machines.flatMap((machine, slot) => (machine === undefined ? [] : [slot]))
      const known = await Promise.all(slots.map(async (slot) => (await this.status(slot))?.cluster.primary_slot))
      primary = known[0] ?? -1
      return primary >= 0 && known.every((other) => other === primary)
    })
    return primary
  }

  /** Everybody is a member, holds the state and lacks nothing. */
  async untilWhole(): Promise<void> {
    await this.until("all hold the state", async () => {
      const all = await Promise.all(this.#machines.map((_, slot) => this.status(slot)))
      const commits = all.map((status) => status?.cluster.commit ?? -1)
      const isWhole = all.every((status) => status?.machine.status === "normal" && status.cluster.copies === all.length)
      return isWhole && commits.every((commit) => commit === commits[0])
    })
  }

  /** What the process has used so far; asking begins a new stretch for its longest pause. */
  async costs(slot: number): Promise<ProcessCosts> {
    // Proof: process_hook.ts, which the child was started with, answers so.
    return (await this.ask(slot, "costs")) as ProcessCosts
  }

  /** One of the process's hooks is asked for something. One question at a time. */
  async ask(slot: number, question: string): Promise<unknown> {
    const { child } = this.#machine(slot)
    const answer = new Promise<unknown>((done, fail) => {
      const timer = setTimeout(() => fail(new Error(`slot ${slot} says nothing of its ${question}`)), REPORT_MS_MAX)
      child.once("message", (message) => {
        clearTimeout(timer)
        done(message)
      })
    })
    child.send(question)
    return await answer
  }

  /** The kernel's word on the process: bytes of memory that are its own at this moment. */
  residentBytes(slot: number): number {
    return residentBytes(this.#machine(slot).child.pid)
  }

  async until(what: string, condition: () => Promise<boolean>, msMax = READY_MS_MAX): Promise<void> {
    const end = performance.now() + msMax
    while (!(await condition())) {
      const isDead = this.#machines.some((machine) => machine !== undefined && machine.child.exitCode !== null)
      if (isDead || performance.now() >= end) {
        const why = isDead ? "a process ended" : `${msMax} ms are over`
        throw new Error(`${why} before ${what}\n${this.#logs()}`)
      }
      await sleep(POLL_MS)
    }
  }

  /** Ends all that was started, and leaves nothing behind. `isClean`: lets them end by themselves, for a profile. */
  async close(isClean = false): Promise<void> {
    const machines = this.#machines.filter((machine) => machine !== undefined)
    for (const { child, ended } of machines) {
      child.kill(isClean ? "SIGTERM" : "SIGKILL")
      await Promise.race([ended, sleep(STOP_MS_MAX, undefined, { ref: false })])
      child.kill("SIGKILL")
      await ended
    }
    this.#machines.fill(undefined)
    rmSync(this.#directory, { recursive: true, force: true })
  }

  #machine(slot: number): Machine {
    const machine = this.#machines[slot]
    assert(machine !== undefined, "cluster: the slot has a process")
    return machine
  }

  #logs(): string {
    return this.#machines
      .map((machine, slot) => `slot ${slot}: ${machine?.log.split("\n").slice(-LOG_LINES_SHOWN).join("\n") ?? "off"}`)
      .join("\n")
  }

  #nodeDocument(slot: number): object {
    return {
      schema: 1,
      cluster_id: this.clusterID,
      generation: this.generation,
      epoch: 0,
      voters: this.ports.length,
      size: this.size,
      links: "insecure",
      formation_token: this.#token,
      members: this.ports.map((ports, member) => ({
        slot: member,
        machine: `machine-${member}`,
        address: LOOPBACK,
        replica_port: ports.replica,
      })),
      slot,
      machine: `machine-${slot}`,
    }
  }
}

export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer())
  const ports: number[] = []
  for (const server of servers) {
    await new Promise<void>((done) => server.listen(0, LOOPBACK, done))
    const address = server.address()
    ports.push(typeof address === "object" && address !== null ? address.port : 0)
  }
  for (const server of servers) {
    await new Promise<void>((done) => server.close(() => done()))
  }
  return ports
}

/** VmRSS of a process of this machine. */
export function residentBytes(pid: number | undefined): number {
  const found = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))
  assert(found !== null, "cluster: a live process has resident memory")
  return Number(found[1]) * 1024
}
