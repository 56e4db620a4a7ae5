/**
 * What a stored byte costs in memory at 90 % of the keys that fit, beside redis-server with the very same keys; and how
 * long a process takes to start, by the size of its memory. One machine each: every other has the same. Plane: control.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { connect, type Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { arenaBytes } from "../../../appliance/state_machine/arena.ts"
import { assert } from "../../../appliance/types/assert.ts"
import { type ClusterSize, limitsForSize } from "../../../appliance/types/cluster_sizes.ts"
import { Cluster, freePorts, residentBytes } from "../cluster.ts"
import { POLL_MS } from "../limits.ts"
import { LinkClient } from "../link_load.ts"
import type { Figures } from "../report.ts"
import { fill, keyOf } from "./fill.ts"
import {
  FILLED_SHARE,
  FILLED_SIZE,
  FILLED_VALUE_BYTES,
  KEY_BYTES,
  REDIS_ANSWER_MS_MAX,
  REDIS_ANSWER_BYTES_MAX,
  REDIS_PIPELINE,
  REDIS_READY_MS_MAX,
  STARTUP_SIZES,
} from "./limits.ts"
import { reportOf, STATE_HOOK } from "./rejoin.ts"
import type { ArenaReport } from "./state_hook.ts"

const LOOPBACK = "127.0.0.1"
const MIB = 1024 * 1024

type MemoryRun = {
  readonly checkout: string
  readonly label: string
  readonly redis: string
  readonly figures: Figures
  readonly progress: (text: string) => void
}

type Used = { readonly used: number; readonly resident: number }

export async function measureMemory(run: MemoryRun): Promise<void> {
  const { figures, label } = run
  const keys = Math.floor(limitsForSize(FILLED_SIZE).kv_entries_max * FILLED_SHARE)
  const stored = keys * (KEY_BYTES + FILLED_VALUE_BYTES)
  const ours = await measureOurs(run, keys)
  const name = `${label}memory of ${keys} keys`
  figures.add(name, "ratio", ours.used / stored)
  figures.add(`${name}: resident`, "ratio", ours.resident / stored)
  const theirs = await measureRedis(run, keys)
  if (theirs === undefined) {
    run.progress(`skipped: memory beside Redis, since there is no ${run.redis} (Debian: apt-get install redis-server)`)
    return
  }
  figures.add(`${name}: redis`, "ratio", theirs.used / stored)
  figures.add(`${name}: redis resident`, "ratio", theirs.resident / stored)
  figures.add(`${name}: ours of redis's`, "share", ours.used / theirs.used, { at_most: 1 })
  // The log's ring among it, which is full of the last SETs; Redis has no log here.
  figures.add(`${name}: resident of redis's`, "share", ours.resident / theirs.resident, { at_most: 1 })
}

/** What has come on top of an empty table. */
async function measureOurs(run: MemoryRun, keys: number): Promise<Used> {
  const cluster = await Cluster.start(run.checkout, { size: FILLED_SIZE, voters: 1, hooks: [STATE_HOOK] })
  try {
    const client = await LinkClient.connect(cluster)
    try {
      const before = { used: await arenaInUse(cluster), resident: cluster.residentBytes(0) }
      await fill(cluster, client, { keys, valueBytes: FILLED_VALUE_BYTES })
      const used = (await arenaInUse(cluster)) - before.used
      return { used, resident: cluster.residentBytes(0) - before.resident }
    } finally {
      client.close()
    }
  } finally {
    await cluster.close()
  }
}

async function arenaInUse(cluster: Cluster): Promise<number> {
  // Proof: state_hook.ts, which the process was started with, answers so.
  return ((await cluster.ask(0, "arena")) as ArenaReport).bytes_in_use
}

/** undefined when there is no such program. */
async function measureRedis(run: MemoryRun, keys: number): Promise<Used | undefined> {
  const directory = mkdtempSync(join(tmpdir(), "mandala-redis-"))
  const [port = 0] = await freePorts(1)
  const where = ["--bind", LOOPBACK, "--port", String(port), "--dir", directory]
  const child = spawn(run.redis, [...where, "--save", "", "--appendonly", "no"], { stdio: "ignore" })
  // A program that is not there has no number, and says why by an event that must be listened to.
  child.on("error", (error) => run.progress(error.message))
  try {
    if (child.pid === undefined) {
      return undefined
    }
    const socket = await connectTo(port, child)
    try {
      const before = await redisUsed(socket, child.pid)
      await fillRedis(socket, keys)
      const after = await redisUsed(socket, child.pid)
      return { used: after.used - before.used, resident: after.resident - before.resident }
    } finally {
      socket.destroy()
    }
  } finally {
    child.kill("SIGKILL")
    rmSync(directory, { recursive: true, force: true })
  }
}

async function connectTo(port: number, child: ChildProcess): Promise<Socket> {
  const end = performance.now() + REDIS_READY_MS_MAX
  while (performance.now() < end && child.exitCode === null) {
    const socket = connect({ host: LOOPBACK, port, noDelay: true })
    try {
      await once(socket, "connect")
      return socket
    } catch {
      // Not up yet: asked again.
      socket.destroy()
      await sleep(POLL_MS)
    }
  }
  throw new Error(`redis-server is not up in ${REDIS_READY_MS_MAX} ms`)
}

async function fillRedis(socket: Socket, keys: number): Promise<void> {
  const value = "v".repeat(FILLED_VALUE_BYTES)
  for (let key = 0; key < keys; key += REDIS_PIPELINE) {
    const sets = Math.min(REDIS_PIPELINE, keys - key)
    const pipeline = Array.from({ length: sets }, (_, index) => {
      return `*3\r\n$3\r\nSET\r\n$${KEY_BYTES}\r\n${keyOf(key + index)}\r\n$${FILLED_VALUE_BYTES}\r\n${value}\r\n`
    })
    const expected = "+OK\r\n".repeat(sets)
    const answer = await ask(socket, pipeline.join(""), (text) => text.length >= expected.length)
    assert(answer === expected, "memory: redis takes every SET")
  }
}

async function redisUsed(socket: Socket, pid: number): Promise<Used> {
  const answer = await ask(socket, "INFO memory\r\n", (text) => text.includes("mem_allocator") && text.endsWith("\r\n"))
  const found = /^used_memory:(\d+)\r$/m.exec(answer)
  assert(found !== null, "memory: redis says how much it uses")
  return { used: Number(found[1]), resident: residentBytes(pid) }
}

/** One question at a time; the answer is whole when `isWhole` says so. */
async function ask(socket: Socket, question: string, isWhole: (text: string) => boolean): Promise<string> {
  return await new Promise((done, fail) => {
    let answer = ""
    const end = (how: () => void): void => {
      clearTimeout(timer)
      socket.off("data", onData)
      how()
    }
    const onData = (chunk: Buffer): void => {
      answer += chunk.toString("latin1")
      if (isWhole(answer)) {
        end(() => done(answer))
      } else if (answer.length > REDIS_ANSWER_BYTES_MAX) {
        end(() => fail(new Error("redis answers without end")))
      }
    }
    const timer = setTimeout(() => end(() => fail(new Error("redis does not answer"))), REDIS_ANSWER_MS_MAX)
    socket.on("data", onData)
    socket.write(question)
  })
}

export async function measureStartup(run: Pick<MemoryRun, "checkout" | "label" | "figures">): Promise<void> {
  for (const size of STARTUP_SIZES) {
    await measureStart(run, size)
  }
}

async function measureStart(run: Pick<MemoryRun, "checkout" | "label" | "figures">, size: ClusterSize): Promise<void> {
  const cluster = await Cluster.start(run.checkout, { size, voters: 1, hooks: [STATE_HOOK] })
  try {
    const report = await reportOf(cluster, 0)
    const mib = Math.round(arenaBytes(limitsForSize(size)) / MIB)
    const name = `${run.label}start with an arena of ${mib} MiB (${size})`
    run.figures.add(name, "s", (report.first_tick_at - report.process_started_at) / 1_000)
    run.figures.add(`${name}: to member`, "s", (report.normal_at - report.process_started_at) / 1_000)
    run.figures.add(`${name}: resident`, "bytes", cluster.residentBytes(0))
  } finally {
    await cluster.close()
  }
}
