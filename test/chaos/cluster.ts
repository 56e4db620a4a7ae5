/**
 * Real processes of `mandala appliance`, reaching each other through the relay only: started, killed, stopped, looked
 * at, and never left behind. Plane: control.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { createHash, randomBytes } from "node:crypto"
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { join, resolve } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import type { StatusDocument } from "../../appliance/gateway/status_document.ts"
import { assert } from "../../appliance/types/assert.ts"
import type { PRNG } from "../../appliance/types/prng.ts"
import { Relay } from "../lab/relay.ts"
import { HTTP_MS, POLL_MS, PORT_ATTEMPTS_MAX, PORT_FIRST, PORT_LAST, STOP_MS } from "./limits.ts"

const MAIN = resolve(import.meta.dirname, "../../appliance/main.ts")
const LOOPBACK = "127.0.0.1"
const KIB = 1024

type Ports = { readonly replica: number; readonly data: number; readonly api: number }

/** How a process ended that nobody had told to. */
export type SelfEnd = { readonly slot: number; readonly code: number | null; readonly signal: string | null }

/** A member's keys and machines at a commit number, as a digest. */
export type Copy = { readonly commit: number; readonly digest: string; readonly records: number }

export class Process {
  readonly slot: number
  readonly ports: Ports
  readonly logFile: string
  readonly startedAt = performance.now()
  readonly #child: ChildProcess
  readonly ended: Promise<void>
  isEnded = false
  isStopped = false
  #isToldToEnd = false
  code: number | null = null
  /** Resident bytes, as sampled. */
  rss: { readonly age_ms: number; readonly bytes: number }[] = []
  /** The last text of /metrics. */
  metrics = ""

  constructor(options: {
    readonly slot: number
    readonly ports: Ports
    readonly logFile: string
    readonly args: readonly string[]
    readonly onSelfEnd: (end: SelfEnd) => void
  }) {
    this.slot = options.slot
    this.ports = options.ports
    this.logFile = options.logFile
    const log = openSync(options.logFile, "a", 0o600)
    this.#child = spawn(process.execPath, [...options.args], { stdio: ["ignore", log, log] })
    closeSync(log)
    this.ended = new Promise((done) => {
      const end = (code: number | null, signal: string | null): void => {
        if (this.isEnded) {
          return
        }
        this.isEnded = true
        this.code = code
        if (!this.#isToldToEnd) {
          options.onSelfEnd({ slot: this.slot, code, signal })
        }
        done()
      }
      this.#child.once("exit", end)
      this.#child.once("error", () => end(null, null))
    })
  }

  get ageMs(): number {
    return performance.now() - this.startedAt
  }

  async kill(): Promise<void> {
    this.#isToldToEnd = true
    this.#child.kill("SIGKILL")
    await this.ended
  }

  /** SIGTERM; the code it ended with, or null when it had to be killed. */
  async terminate(): Promise<number | null> {
    this.#isToldToEnd = true
    this.#child.kill("SIGTERM")
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), STOP_MS)
    await this.ended
    clearTimeout(timer)
    return this.code
  }

  pause(): void {
    this.isStopped = true
    this.#child.kill("SIGSTOP")
  }

  resume(): void {
    this.isStopped = false
    this.#child.kill("SIGCONT")
  }

  sampleRss(): void {
    const path = `/proc/${this.#child.pid ?? 0}/status`
    const kib = existsSync(path) ? /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(path, "utf8"))?.[1] : undefined
    if (kib !== undefined) {
      this.rss.push({ age_ms: this.ageMs, bytes: Number(kib) * KIB })
    }
  }
}

export class Cluster {
  readonly voters: number
  readonly relay: Relay
  readonly clusterID = randomBytes(16)
  readonly generation = 1
  readonly selfEnds: SelfEnd[] = []
  /** Every process there ever was. */
  readonly all: Process[] = []
  readonly #directory: string
  readonly #ports: readonly Ports[]
  readonly #running: (Process | undefined)[]
  readonly #node: object
  /** SIGTERM's exit codes at the end. */
  readonly exitCodes: (number | null)[] = []

  private constructor(options: {
    readonly voters: number
    readonly directory: string
    readonly ports: readonly Ports[]
    readonly relay: Relay
  }) {
    this.voters = options.voters
    this.#directory = options.directory
    this.#ports = options.ports
    this.relay = options.relay
    this.#running = new Array<Process | undefined>(options.voters).fill(undefined)
    this.#node = {
      schema: 1,
      cluster_id: this.clusterID.toString("hex"),
      generation: this.generation,
      epoch: 0,
      voters: options.voters,
      // Its relay cuts, repeats and alters frames, so that the replicas' own defences are seen: under TLS none arrives.
      links: "insecure",
      // A blank process that comes back still has it: founding again would need all of them blank.
      formation_token: randomBytes(16).toString("hex"),
    }
  }

  /** The relay listens, no process runs yet. */
  static async create(options: {
    readonly voters: number
    readonly directory: string
    readonly random: PRNG
  }): Promise<Cluster> {
    const { voters, directory, random } = options
    const taken = new Set<number>()
    const ports: Ports[] = []
    for (let slot = 0; slot < voters; slot += 1) {
      const [replica, data, api] = [await freePort(taken), await freePort(taken), await freePort(taken)]
      ports.push({ replica, data, api })
    }
    const relay = new Relay({ slots: voters, seed: random.u32(), portOf: (slot) => ports[slot]?.replica ?? 0 })
    await relay.listen()
    return new Cluster({ voters, directory, ports, relay })
  }

  /** A machine that has just booted: blank, and it knows its peers by the relay's ports. */
  start(slot: number): Process {
    assert(this.#running[slot] === undefined, "chaos: a slot has one process")
    const ports = this.#ports[slot]
    assert(ports !== undefined, "chaos: a slot has ports")
    const run = join(this.#directory, `slot_${slot}_run_${this.all.length}`)
    mkdirSync(run)
    const slots = Array.from({ length: this.voters }, (_, index) => index)
    const members = slots
      .filter((peer) => peer !== slot)
      .map((peer) => ({
        slot: peer,
        machine: `machine-${peer}`,
        address: LOOPBACK,
        replica_port: this.relay.port({ dialler: slot, acceptor: peer }),
      }))
    const file = join(run, "node.json")
    writeFileSync(file, JSON.stringify({ ...this.#node, slot, machine: `machine-${slot}`, members }))
    const args = [MAIN, "appliance", "--node", file, "--run-directory", run, "--bind", LOOPBACK]
    args.push("--advertise", LOOPBACK, "--replica-port", String(ports.replica))
    args.push("--data-port", String(ports.data), "--api-port", String(ports.api))
    const process = new Process({
      slot,
      ports,
      logFile: join(run, "log.jsonl"),
      args,
      onSelfEnd: (end) => this.selfEnds.push(end),
    })
    this.all.push(process)
    this.#running[slot] = process
    return process
  }

  async kill(slot: number): Promise<void> {
    const process = this.at(slot)
    this.#running[slot] = undefined
    await process?.kill()
  }

  /** The process that runs in a slot. */
  at(slot: number): Process | undefined {
    return this.#running[slot]
  }

  running(): Process[] {
    return this.#running.filter((process) => process !== undefined)
  }

  dataPort(slot: number): number {
    return this.#ports[slot]?.data ?? 0
  }

  /** The slot that the member with the newest view holds for the primary; undefined while nobody knows of one. */
  async primary(): Promise<number | undefined> {
    const documents = await this.documents()
    let best: StatusDocument | undefined
    for (const document of documents) {
      const isMember = document.machine.status === "normal"
      if (isMember && (best === undefined || document.cluster.view > best.cluster.view)) {
        best = document
      }
    }
    return best?.cluster.primary_slot ?? undefined
  }

  async documents(): Promise<StatusDocument[]> {
    const asked = this.running().filter((process) => !process.isStopped)
    const documents = await Promise.all(asked.map((process) => statusOf(process)))
    return documents.filter((document) => document !== undefined)
  }

  /** Every slot has a process, every process is a member, and each counts all copies. */
  async isWhole(): Promise<boolean> {
    const documents = await this.documents()
    return (
      documents.length === this.voters &&
      documents.every(({ machine, cluster }) => machine.status === "normal" && cluster.copies === this.voters)
    )
  }

  /** False: it is not whole within the time. */
  async untilWhole(withinMs: number, isOver: () => boolean): Promise<boolean> {
    const end = performance.now() + withinMs
    while (performance.now() < end && !isOver()) {
      if (await this.isWhole()) {
        return true
      }
      await sleep(POLL_MS)
    }
    return false
  }

  async sample(): Promise<void> {
    await Promise.all(
      this.running().map(async (process) => {
        process.sampleRss()
        if (!process.isStopped) {
          process.metrics = (await textOf(process, "/metrics")) ?? process.metrics
        }
      }),
    )
  }

  /** Members' addresses that are no port of the relay: ways past it, which must not be. */
  async bypasses(): Promise<string[]> {
    const known = this.relay.ports()
    const documents = await this.documents()
    return documents.flatMap(({ machine, cluster }) =>
      cluster.members
        .filter(({ slot, address }) => slot !== machine.slot && !known.has(Number(address.split(":")[1])))
        .map(({ slot, address }) => `machine-${machine.slot} reaches slot ${slot} at ${address}`),
    )
  }

  /** What each member holds, of one commit number each; those that answer whole. */
  async copies(): Promise<Copy[]> {
    const texts = await Promise.all(this.running().map((process) => textOf(process, "/v1/salvage?force=1")))
    return texts.map((text) => copyOf(text ?? "")).filter((copy) => copy !== undefined)
  }

  /** Ends every process cleanly. */
  async terminate(): Promise<void> {
    const codes = await Promise.all(this.running().map((process) => process.terminate()))
    this.exitCodes.push(...codes)
    this.#running.fill(undefined)
    this.relay.close()
  }

  /** Ends every process at once, whatever state it is in. */
  async destroy(): Promise<void> {
    await Promise.all(this.running().map((process) => process.kill()))
    this.#running.fill(undefined)
    this.relay.close()
  }
}

/** Undefined when the salvage was cut off: its last record says so. */
function copyOf(text: string): Copy | undefined {
  const lines = text.split("\n").filter((line) => line !== "")
  const [header = "", trailer = ""] = [lines[0], lines.at(-1)]
  const commit = /^\{"record":"header".*"commit":(\d+)/.exec(header)?.[1]
  if (commit === undefined || !trailer.startsWith('{"record":"trailer"')) {
    return undefined
  }
  const records = lines.filter((line) => /^\{"record":"(machine|kv|corrupt)"/.test(line))
  const digest = createHash("sha256").update(records.join("\n")).digest("hex")
  return { commit: Number(commit), digest, records: records.length }
}

async function statusOf(process: Process): Promise<StatusDocument | undefined> {
  const text = await textOf(process, "/v1/status")
  // Proof: this very checkout's process answered, and it writes exactly this type.
  return text === undefined ? undefined : (JSON.parse(text) as StatusDocument)
}

async function textOf(process: Process, path: string): Promise<string | undefined> {
  try {
    const signal = AbortSignal.timeout(HTTP_MS)
    const response = await fetch(`http://${LOOPBACK}:${process.ports.api}${path}`, { signal })
    return response.ok ? await response.text() : undefined
  } catch {
    // Not up yet, stopped or dead: the caller asks again.
    return undefined
  }
}

/** A port that nobody has, outside of the range that clients' connections are given. */
async function freePort(taken: Set<number>): Promise<number> {
  for (let attempt = 0; attempt < PORT_ATTEMPTS_MAX; attempt += 1) {
    const port = PORT_FIRST + (randomBytes(2).readUInt16LE() % (PORT_LAST - PORT_FIRST + 1))
    if (!taken.has(port) && (await isFree(port))) {
      taken.add(port)
      return port
    }
  }
  throw new Error("chaos: no free port was found")
}

function isFree(port: number): Promise<boolean> {
  return new Promise((done) => {
    const server = createServer()
    server.once("error", () => done(false))
    server.listen({ host: LOOPBACK, port }, () => server.close(() => done(true)))
  })
}
