/** Latency and throughput of real processes, over the replicas' own links and as Redis clients. Plane: control. */
import type { Cluster } from "./cluster.ts"
import { VOTERS } from "./limits.ts"
import type { LinkClient, LinkLoadOptions } from "./link_load.ts"
import { measureStretch, type Stretch } from "./load.ts"
import type { ProcessCosts } from "./process_hook.ts"
import { RespLoad } from "./resp_load.ts"
import type { Figures, Target } from "./report.ts"

type Targets = { readonly rate?: Target; readonly p50?: Target; readonly p99?: Target }

type LinkCase = LinkLoadOptions & { readonly name: string } & Targets

/** The targets are for a quiet machine of two cores; the session table holds 64 sessions, so that many are the most. */
export const LINK_CASES: readonly LinkCase[] = [
  { name: "link 1 x 1", sessions: 1, batch: 1, p50: { at_most: 0.25 }, p99: { at_most: 1.5 } },
  { name: "link 16 x 1", sessions: 16, batch: 1 },
  { name: "link 56 x 1", sessions: 56, batch: 1 },
  { name: "link 16 x 32", sessions: 16, batch: 32, rate: { at_least: 300_000 }, p99: { at_most: 5 } },
  { name: "link 8 x 512", sessions: 8, batch: 512, rate: { at_least: 1_500_000 } },
]

/** `everywhere`: the connections are spread over all machines, else all are at the primary's gateway. */
type RespCase = {
  readonly name: string
  readonly connections: number
  readonly pipeline: number
  readonly everywhere: boolean
} & Targets

export const RESP_CASES: readonly RespCase[] = [
  { name: "resp 1 x 1", connections: 1, pipeline: 1, everywhere: false },
  { name: "resp 16 x 1", connections: 16, pipeline: 1, everywhere: false },
  { name: "resp 250 x 1", connections: 250, pipeline: 1, everywhere: false },
  { name: "resp 32 x 16", connections: 32, pipeline: 16, everywhere: false, rate: { at_least: 400_000 } },
  { name: "resp 750 x 1 everywhere", connections: 750, pipeline: 1, everywhere: true },
  { name: "resp 48 x 16 everywhere", connections: 48, pipeline: 16, everywhere: true },
]

export async function measureLink(
  cluster: Cluster,
  client: LinkClient,
  run: { readonly link: LinkCase; readonly seconds: number; readonly figures: Figures; readonly label: string },
): Promise<void> {
  const { link, seconds, figures, label } = run
  const load = await client.start(await cluster.primary(), link)
  const before = await costsOf(cluster)
  const stretch = await measureStretch(load, seconds, 0)
  const after = await costsOf(cluster)
  await client.stop()
  addStretch(figures, `${label}${link.name}`, stretch, link)
  addCosts(figures, `${label}${link.name}`, { before, after, ops: stretch.ops })
}

export async function measureResp(
  cluster: Cluster,
  run: { readonly resp: RespCase; readonly seconds: number; readonly figures: Figures; readonly label: string },
): Promise<void> {
  const { resp, seconds, figures, label } = run
  const primary = await cluster.primary()
  const slotOf = (index: number): number => (resp.everywhere ? index % VOTERS : primary)
  const ports = Array.from({ length: resp.connections }, (_, index) => cluster.portsOf(slotOf(index)).data)
  const load = await RespLoad.start({ ports, pipeline: resp.pipeline })
  await measureStretch(load, seconds / 4, 0)
  const before = await costsOf(cluster)
  const batched = await batchesOf(cluster)
  const stretch = await measureStretch(load, seconds, 0)
  const after = await costsOf(cluster)
  const batches = await batchesOf(cluster)
  load.stop()
  addStretch(figures, `${label}${resp.name}`, stretch, resp)
  const commands = (batches.commands - batched.commands) / Math.max(1, batches.batches - batched.batches)
  figures.add(`${label}${resp.name}: commands a batch`, "count", commands)
  addCosts(figures, `${label}${resp.name}`, { before, after, ops: stretch.ops })
}

function addStretch(figures: Figures, name: string, stretch: Stretch, targets: Targets): void {
  figures.add(name, "ops/s", stretch.ops_per_second, targets.rate)
  figures.add(`${name}: p50`, "ms", stretch.p50, targets.p50)
  figures.add(`${name}: p99`, "ms", stretch.p99, targets.p99)
}

async function costsOf(cluster: Cluster): Promise<ProcessCosts[]> {
  return await Promise.all(cluster.ports.map((_, slot) => cluster.costs(slot)))
}

async function batchesOf(cluster: Cluster): Promise<{ readonly batches: number; readonly commands: number }> {
  let batches = 0
  let commands = 0
  for (const slot of cluster.ports.keys()) {
    const counters = (await cluster.status(slot))?.gateway.counters
    batches += counters?.batches ?? 0
    commands += counters?.batch_commands ?? 0
  }
  return { batches, commands }
}

/** Collections of the busiest process, the primary as a rule; processor time of all three together. */
function addCosts(
  figures: Figures,
  name: string,
  costs: { readonly before: readonly ProcessCosts[]; readonly after: readonly ProcessCosts[]; readonly ops: number },
): void {
  const { before, after, ops } = costs
  const spent = (pick: (one: ProcessCosts) => number): number[] =>
    after.map((one, slot) => pick(one) - (before[slot] === undefined ? 0 : pick(before[slot])))
  const perMillion = (value: number): number => (value * 1e6) / ops
  const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)
  figures.add(`${name}: cpu of all replicas per op`, "us", sum(spent((one) => one.cpu_us)) / ops)
  figures.add(`${name}: minor gc per 1e6 ops`, "count", perMillion(Math.max(...spent((one) => one.gc_minor))))
  figures.add(`${name}: major gc per 1e6 ops`, "count", perMillion(Math.max(...spent((one) => one.gc_major))))
  figures.add(`${name}: longest gc pause`, "ms", Math.max(...after.map((one) => one.gc_ms_max)))
}
