/** One backup dead, and one stopped, each beside the whole cluster in the same run. Plane: control. */
import type { Cluster } from "./cluster.ts"
import { VOTERS } from "./limits.ts"
import type { LinkClient } from "./link_load.ts"
import { measureStretch, type Stretch } from "./load.ts"
import type { Figures } from "./report.ts"

/** As many operations in flight as 512, batched as a gateway batches them. */
const LOAD = { sessions: 16, batch: 32 }

export async function measureDegraded(
  cluster: Cluster,
  client: LinkClient,
  run: { readonly seconds: number; readonly figures: Figures; readonly label: string },
): Promise<void> {
  const { seconds, figures, label } = run
  const primary = await cluster.primary()
  const backup = (primary + 1) % VOTERS
  const load = await client.start(primary, LOAD)
  await measureStretch(load, seconds / 2, 0)
  const add = (name: string, whole: Stretch, less: Stretch): void => {
    const figure = `${label}${name}`
    figures.add(`${figure}: throughput`, "share", less.ops_per_second / whole.ops_per_second, { at_least: 0.8 })
    figures.add(`${figure}: p99`, "ratio", less.p99 / whole.p99, { at_most: 2 })
  }
  const beforeStop = await measureStretch(load, seconds, 0)
  cluster.stop(backup)
  // From the very moment on: what it takes to notice counts.
  const stopped = await measureStretch(load, seconds, 0)
  cluster.continue(backup)
  add("one backup stopped", beforeStop, stopped)
  await measureStretch(load, seconds, 0)

  const beforeKill = await measureStretch(load, seconds, 0)
  await cluster.kill(backup)
  const dead = await measureStretch(load, seconds, 0)
  add("one backup dead", beforeKill, dead)
  await client.stop()
  cluster.boot(backup)
  await cluster.untilWhole()
}
