/**
 * The primary is killed again and again; what a Redis client at each survivor waits until the next write is
 * acknowledged. Plane: control.
 */
import { connect, type Socket } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import type { Cluster } from "./cluster.ts"
import { makePipelines } from "./commands.ts"
import { CRASH_PAUSE_MS_MAX, FAILOVER_MS_MAX, POLL_MS, VOTERS } from "./limits.ts"
import type { Figures } from "./report.ts"
import { percentile } from "./statistics.ts"

const FIRST_TARGET_MS = 500

export type Failover = {
  /** Milliseconds from the crash to the first acknowledgement of a write that was sent after it, anywhere. */
  readonly first: number
  /** To the last of the survivors' first ones: everybody is served again. */
  readonly all: number
}

export async function measureFailovers(
  cluster: Cluster,
  run: { readonly crashes: number; readonly progress: (text: string) => void },
): Promise<Failover[]> {
  const failovers: Failover[] = []
  for (let crash = 0; crash < run.crashes; crash += 1) {
    const failover = await measureFailover(cluster)
    failovers.push(failover)
    run.progress(`crash ${crash + 1}: ${failover.first.toFixed(0)} ms, all served ${failover.all.toFixed(0)} ms`)
  }
  return failovers
}

export function addFailovers(figures: Figures, label: string, failovers: readonly Failover[]): void {
  const first = failovers.map((failover) => failover.first)
  const all = failovers.map((failover) => failover.all)
  figures.add(`${label}failover: p50`, "ms", percentile(first, 50))
  figures.add(`${label}failover: p99`, "ms", percentile(first, 99), { at_most: FIRST_TARGET_MS })
  figures.add(`${label}failover, everybody served: p50`, "ms", percentile(all, 50))
  figures.add(`${label}failover, everybody served: p99`, "ms", percentile(all, 99))
}

async function measureFailover(cluster: Cluster): Promise<Failover> {
  const primary = await cluster.primary()
  const survivors = [1, 2].map((step) => (primary + step) % VOTERS)
  const probes = await Promise.all(survivors.map((slot) => Probe.start(cluster.portsOf(slot).data)))
  // Writes are under way at the crash, and the crash keeps no step with anything.
  await sleep(Math.random() * CRASH_PAUSE_MS_MAX)
  const crashedAt = performance.now()
  await cluster.kill(primary)
  const goneAt = performance.now()
  for (const probe of probes) {
    probe.arm(goneAt)
  }
  const isServed = (): boolean => probes.every((probe) => probe.servedAt > 0)
  while (!isServed() && performance.now() < goneAt + FAILOVER_MS_MAX) {
    await sleep(POLL_MS)
  }
  for (const probe of probes) {
    probe.stop()
  }
  if (!isServed()) {
    throw new Error(`no write was acknowledged within ${FAILOVER_MS_MAX} ms of a crash`)
  }
  const times = probes.map((probe) => probe.servedAt)
  cluster.boot(primary)
  await cluster.untilWhole()
  return { first: Math.min(...times) - crashedAt, all: Math.max(...times) - crashedAt }
}

/** One write under way at a time; a pipelined probe would see the same wait. */
class Probe {
  readonly #socket: Socket
  readonly #writes = makePipelines(1)
  #index = 0
  #sentAt = 0
  /** From here on a write counts. */
  #armedAt = Number.POSITIVE_INFINITY
  /** When the first write that was sent since then was acknowledged; 0 for not yet. */
  servedAt = 0
  #isStopped = false

  private constructor(socket: Socket) {
    this.#socket = socket
  }

  static async start(port: number): Promise<Probe> {
    const socket = connect({ host: "127.0.0.1", port, noDelay: true })
    await new Promise<void>((done, fail) => {
      socket.once("connect", done)
      socket.once("error", fail)
    })
    const probe = new Probe(socket)
    socket.on("error", () => probe.stop())
    // An error is an answer to a crash as well: the write is tried again, and only an OK counts.
    socket.on("data", (chunk: Buffer) => probe.#onAnswer(chunk.toString("latin1") === "+OK\r\n"))
    probe.#send()
    return probe
  }

  arm(at: number): void {
    this.#armedAt = at
  }

  stop(): void {
    this.#isStopped = true
    this.#socket.destroy()
  }

  #send(): void {
    this.#index = (this.#index + 1) % this.#writes.length
    this.#sentAt = performance.now()
    this.#socket.write(this.#writes[this.#index] ?? "")
  }

  #onAnswer(isOk: boolean): void {
    if (isOk && this.servedAt === 0 && this.#sentAt >= this.#armedAt) {
      this.servedAt = performance.now()
    }
    if (!this.#isStopped) {
      this.#send()
    }
  }
}
