/**
 * A machine is taken away and a blank one comes in its place: how long it copies, how fast beside TCP alone, and what
 * those who write notice of it. Plane: control.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { PAGE_BYTES } from "../../../appliance/state_machine/arena.ts"
import { Cluster } from "../cluster.ts"
import { VOTERS } from "../limits.ts"
import { LinkClient } from "../link_load.ts"
import { measureStretch } from "../load.ts"
import type { Figures } from "../report.ts"
import { percentile } from "../statistics.ts"
import { fill } from "./fill.ts"
import {
  KEY_BYTES,
  LOAD_BATCH,
  LOAD_SESSIONS,
  LOAD_SHARE,
  REJOIN_SECONDS_MAX,
  STATE_VALUE_BYTES,
  type StateCase,
} from "./limits.ts"
import type { StateReport } from "./state_hook.ts"
import { measureTCP } from "./tcp.ts"
import type { TCPReport } from "./tcp_program.ts"

export const STATE_HOOK = "test/benchmark/state/state_hook.ts"

const TCP_SHARE_MIN = 0.5
/** Rule K: 1 GiB at half write load. */
const LOADED_SECONDS_MAX = 15
const P99_RATIO_MAX = 2
/** The load goes on for so long with one machine less before the blank one starts. */
const AWAY_MS = 1_000
const ANSWERS_MAX = 4_000_000
const MIB = 1024 * 1024

export type RejoinRun = {
  readonly checkout: string
  readonly state: StateCase
  readonly seconds: number
  readonly figures: Figures
  readonly label: string
  readonly progress: (text: string) => void
}

export async function measureRejoin(run: RejoinRun): Promise<void> {
  const tcp = await measureTCP()
  run.figures.add("tcp", "MB/s", tcp.bytes_per_second / 1e6)
  run.figures.add("tcp: the reader's processor time a MiB", "us", tcp.reader_us_per_mib)
  const cluster = await Cluster.start(run.checkout, { size: run.state.size, hooks: [STATE_HOOK] })
  try {
    const client = await LinkClient.connect(cluster)
    try {
      const keys = run.state.bytes / (KEY_BYTES + STATE_VALUE_BYTES)
      await fill(cluster, client, { keys, valueBytes: STATE_VALUE_BYTES })
      run.progress(`${run.state.name} are written`)
      await measureIdle(cluster, run, tcp)
      await measureLoaded(cluster, client, run, tcp)
    } finally {
      client.close()
    }
  } finally {
    await cluster.close()
  }
}

async function measureIdle(cluster: Cluster, run: RejoinRun, tcp: TCPReport): Promise<void> {
  await untilCertified(cluster)
  const primary = await cluster.primary()
  const victim = (primary + 1) % VOTERS
  await cluster.kill(victim)
  await startWatch(cluster, victim)
  cluster.boot(victim)
  await untilThere(cluster)
  const name = `${run.label}rejoin ${run.state.name} idle`
  addCopy(run, name, await reportOf(cluster, victim), tcp, { at_least: TCP_SHARE_MIN })
  await addPauses(cluster, run, name, victim)
}

async function measureLoaded(cluster: Cluster, client: LinkClient, run: RejoinRun, tcp: TCPReport): Promise<void> {
  const { figures, seconds } = run
  const name = `${run.label}rejoin ${run.state.name} half load`
  const primary = await cluster.primary()
  const load = { sessions: LOAD_SESSIONS, batch: LOAD_BATCH }
  const full = await measureStretch(await client.start(primary, load), seconds)
  await client.stop()
  const dueAt = new Float64Array(ANSWERS_MAX)
  const tookMs = new Float64Array(ANSWERS_MAX)
  let answers = 0
  const onAnswer = (due: number, ms: number): void => {
    if (answers < ANSWERS_MAX) {
      dueAt[answers] = performance.timeOrigin + due
      tookMs[answers] = ms
      answers += 1
    }
  }
  const pace = (full.ops_per_second * LOAD_SHARE) / LOAD_BATCH
  const paced = await client.start(primary, { ...load, pace, onAnswer })
  const before = await measureStretch(paced, seconds)
  const startedAt = performance.timeOrigin + performance.now() - seconds * 1_000
  const victim = (primary + 1) % VOTERS
  const killedAt = performance.timeOrigin + performance.now()
  await cluster.kill(victim)
  await sleep(AWAY_MS)
  await startWatch(cluster, victim)
  cluster.boot(victim)
  await untilThere(cluster)
  const endedAt = performance.timeOrigin + performance.now()
  await client.stop()
  const failure = paced.failure()
  if (failure !== undefined) {
    throw new Error(`the load failed: ${failure}`)
  }
  const report = await reportOf(cluster, victim)
  const times = tookMs.subarray(0, answers)
  const p99 = (from: number, to: number): number => {
    const within = [...times.filter((_, index) => (dueAt[index] ?? 0) >= from && (dueAt[index] ?? 0) < to)]
    return within.length === 0 ? 0 : percentile(within, 99)
  }
  addCopy(run, name, report, tcp)
  await addPauses(cluster, run, name, victim)
  const p99Before = p99(startedAt, killedAt)
  const p99During = p99(report.copy_started_at, report.normal_at)
  figures.add(`${name}: full load`, "ops/s", full.ops_per_second)
  figures.add(`${name}: load before`, "ops/s", before.ops_per_second)
  figures.add(`${name}: p99 before`, "ms", p99Before)
  figures.add(`${name}: p99 with two machines`, "ms", p99(killedAt + AWAY_MS / 2, report.process_started_at))
  figures.add(`${name}: p99 while a process starts`, "ms", p99(report.process_started_at, report.copy_started_at))
  figures.add(`${name}: p99 while it copies`, "ms", p99During)
  figures.add(`${name}: p99 from start to end`, "ms", p99(report.process_started_at, endedAt))
  figures.add(`${name}: p99 while it copies to before`, "ratio", p99During / p99Before, { at_most: P99_RATIO_MAX })
}

function addCopy(
  run: RejoinRun,
  name: string,
  report: StateReport,
  tcp: TCPReport,
  target?: { readonly at_least: number },
): void {
  const { figures } = run
  const seconds = (report.copy_ended_at - report.copy_started_at) / 1_000
  const bytes = report.pages_received * PAGE_BYTES
  const rate = bytes / seconds
  figures.add(name, "MB/s", rate / 1e6)
  figures.add(`${name}: of tcp`, "share", rate / tcp.bytes_per_second, target)
  figures.add(`${name}: the copier's processor time a MiB`, "us", (report.copy_cpu_us * MIB) / bytes)
  figures.add(`${name}: copied in`, "s", seconds)
  figures.add(`${name}: start of the process to the first question`, "s", sinceStart(report, report.copy_started_at))
  figures.add(`${name}: start of the process to member`, "s", sinceStart(report, report.normal_at), {
    at_most: LOADED_SECONDS_MAX,
  })
  figures.add(`${name}: images`, "count", report.images)
  figures.add(`${name}: pages`, "count", report.pages_received)
}

function sinceStart(report: StateReport, at: number): number {
  return (at - report.process_started_at) / 1_000
}

/** From now on the others' longest pause counts. */
async function startWatch(cluster: Cluster, victim: number): Promise<void> {
  for (const slot of othersOf(cluster, victim)) {
    await reportOf(cluster, slot)
  }
}

/** The donor was chosen by chance: the longest pause of all that could be one. */
async function addPauses(cluster: Cluster, run: RejoinRun, name: string, victim: number): Promise<void> {
  let wall = 0
  let cpu = 0
  for (const slot of othersOf(cluster, victim)) {
    const report = await reportOf(cluster, slot)
    wall = Math.max(wall, report.pause_ms_max)
    cpu = Math.max(cpu, report.pause_cpu_ms_max)
  }
  run.figures.add(`${name}: longest pause of a donor`, "ms", wall)
  run.figures.add(`${name}: its processor time`, "ms", cpu)
}

function othersOf(cluster: Cluster, victim: number): number[] {
  return [...cluster.ports.keys()].filter((slot) => slot !== victim)
}

export async function reportOf(cluster: Cluster, slot: number): Promise<StateReport> {
  // Proof: state_hook.ts, which the process was started with, answers so.
  return (await cluster.ask(slot, "state")) as StateReport
}

/** Everything written is in a checkpoint that a majority certified, and everybody has all of the log. */
async function untilCertified(cluster: Cluster): Promise<void> {
  const written = (await cluster.status(await cluster.primary()))?.cluster.commit ?? 0
  const isCertified = async (slot: number): Promise<boolean> => {
    const status = await cluster.status(slot)
    return (status?.checkpoint.certified_op ?? -1) >= written && (status?.cluster.commit ?? -1) >= written
  }
  await cluster.until("a checkpoint of all that was written", async () => {
    const all = await Promise.all([...cluster.ports.keys()].map(isCertified))
    return all.every((one) => one)
  })
}

/** All hold the state; what is written meanwhile may be on its way. */
async function untilThere(cluster: Cluster): Promise<void> {
  await cluster.until(
    "the blank machine holds the state",
    async () => {
      const all = await Promise.all([...cluster.ports.keys()].map((slot) => cluster.status(slot)))
      return all.every((status) => status?.machine.status === "normal" && status.cluster.copies === VOTERS)
    },
    REJOIN_SECONDS_MAX * 1_000,
  )
}
