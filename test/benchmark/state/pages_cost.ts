/**
 * What checkpoints and scrubbing cost: the pages alone in one process, and within a cluster at full load.
 * Plane: control.
 */
import { execFile } from "node:child_process"
import { join } from "node:path"
import { promisify } from "node:util"
import { arenaBytes, PAGE_BYTES } from "../../../appliance/state_machine/arena.ts"
import { assert } from "../../../appliance/types/assert.ts"
import { limitsForSize } from "../../../appliance/types/cluster_sizes.ts"
import { PROCESS_LIMITS } from "../../../appliance/types/limits.ts"
import { Cluster } from "../cluster.ts"
import { LinkClient } from "../link_load.ts"
import { measureStretch } from "../load.ts"
import type { Figures } from "../report.ts"
import {
  FULL_BATCH,
  FULL_SESSIONS,
  FULL_SETS_PER_SECOND,
  INTERVAL_SETS,
  INTERVAL_TARGET_SETS,
  PROGRAM_SECONDS_MAX,
  SCRUB_ROUNDS,
  STARTUP_SIZES,
} from "./limits.ts"
import type { PagesCost } from "./pages_program.ts"
import { reportOf, STATE_HOOK } from "./rejoin.ts"

const PROGRAM = "test/benchmark/state/pages_program.ts"
const CHECKPOINT_SHARE_MAX = 0.1
const execute = promisify(execFile)

type CostRun = {
  readonly checkout: string
  readonly label: string
  readonly seconds: number
  readonly figures: Figures
}

export async function measureCheckpoints(run: CostRun): Promise<void> {
  const { figures, label } = run
  const cost = await costOf(run.checkout, 1)
  const bare = cost.intervals.find(({ sets }) => sets === 0)
  assert(bare !== undefined, "pages cost: SETs without checkpoints are measured")
  // Of one SET to the milliseconds of a second at full load.
  const share = (ms: number): number => ((ms / INTERVAL_SETS) * FULL_SETS_PER_SECOND) / 1_000
  figures.add(`${label}a SET without checkpoints`, "us", (bare.total_ms * 1_000) / INTERVAL_SETS)
  for (const { sets, checkpoints, total_ms, digests_ms } of cost.intervals) {
    if (sets > 0) {
      const name = `${label}checkpoint each ${sets} SETs`
      const target = sets === INTERVAL_TARGET_SETS ? { at_most: CHECKPOINT_SHARE_MAX } : undefined
      figures.add(name, "share", share(total_ms - bare.total_ms), target)
      figures.add(`${name}: digests in ticks`, "share", share(digests_ms))
      figures.add(`${name}: digests of all pages instead`, "share", share(checkpoints * cost.full_ms))
    }
  }
  await measureCluster(run)
}

/** As it is: three machines, the limits that ship, all that a primary does beside. */
async function measureCluster(run: CostRun): Promise<void> {
  const { figures, label, seconds } = run
  const cluster = await Cluster.start(run.checkout, { hooks: [STATE_HOOK] })
  try {
    const client = await LinkClient.connect(cluster)
    try {
      const primary = await cluster.primary()
      const load = await client.start(primary, { sessions: FULL_SESSIONS, batch: FULL_BATCH })
      await measureStretch(load, seconds, 0)
      const before = await reportOf(cluster, primary)
      const startedAt = performance.now()
      const stretch = await measureStretch(load, seconds, 0)
      const elapsedMs = performance.now() - startedAt
      const after = await reportOf(cluster, primary)
      await client.stop()
      // By the wall: no more than this, on a machine that others use too.
      const name = `${label}checkpoints at full load`
      const ms = (of: "digests_ms" | "roots_ms" | "freezes_ms" | "scrub_ms"): number => after[of] - before[of]
      figures.add(name, "ops/s", stretch.ops_per_second)
      figures.add(`${name}: a second`, "count", ((after.freezes - before.freezes) * 1_000) / elapsedMs)
      figures.add(`${name}: digests`, "share", ms("digests_ms") / elapsedMs)
      figures.add(`${name}: roots`, "share", ms("roots_ms") / elapsedMs)
      figures.add(`${name}: freezes`, "share", ms("freezes_ms") / elapsedMs)
      figures.add(`${name}: scrub`, "share", ms("scrub_ms") / elapsedMs)
    } finally {
      client.close()
    }
  } finally {
    await cluster.close()
  }
}

export async function measureScrub(run: CostRun): Promise<void> {
  const { figures, label } = run
  const { tick_ms: tickMs, scrub_pages: shipped } = PROCESS_LIMITS
  for (const { pages, tick_ms: cpuMs } of (await costOf(run.checkout, SCRUB_ROUNDS)).scrubs) {
    const name = `${label}scrub of ${pages} pages a tick${pages === shipped ? " (ships)" : ""}`
    figures.add(name, "share", cpuMs / tickMs)
    for (const size of STARTUP_SIZES) {
      const count = arenaBytes(limitsForSize(size)) / PAGE_BYTES
      figures.add(`${name}: round of ${size}`, "s", (Math.ceil(count / pages) * tickMs) / 1_000)
    }
  }
}

async function costOf(checkout: string, scrubRounds: number): Promise<PagesCost> {
  const { stdout } = await execute(process.execPath, [join(checkout, PROGRAM), String(scrubRounds)], {
    timeout: PROGRAM_SECONDS_MAX * 1_000,
  })
  // Proof: pages_program.ts prints one PagesCost and nothing else.
  return JSON.parse(stdout) as PagesCost
}
