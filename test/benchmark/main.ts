/** `npm run bench:replication`: measures replication in rounds and prints what came of it. Plane: control. */
import { resolve } from "node:path"
import { Cluster } from "./cluster.ts"
import { runCore } from "./core.ts"
import { measureDegraded } from "./degraded.ts"
import { addFailovers, type Failover, measureFailovers } from "./failover.ts"
import { CORE_SESSIONS, HEAP_BATCH, HEAP_OPS } from "./limits.ts"
import { LinkClient } from "./link_load.ts"
import { type Measurement, type Options, readOptions, USAGE } from "./options.ts"
import { Figures, makeReport, textOfReport } from "./report.ts"
import { measureSimulator } from "./simulator.ts"
import { LINK_CASES, measureLink, measureResp, RESP_CASES } from "./throughput.ts"

const ROOT = resolve(import.meta.dirname, "../..")
const EXIT_FAILED = 1
const EXIT_USAGE = 2
/** A round in which the primary changed is measured again: somebody else used the machine. */
const ATTEMPTS_MAX = 3
const CORE_CASES = [
  { name: "core 8 x 1", batch: 1, codec: false },
  { name: "core 8 x 1 with bytes", batch: 1, codec: true },
  { name: "core 8 x 512", batch: 512, codec: false },
  { name: "core 8 x 512 with bytes", batch: 512, codec: true },
] as const
const HEAP_DELTA_MAX = 64 * 1024
const EVENTS_PER_SECOND_MIN = 100_000

type Side = { readonly label: string; readonly checkout: string; readonly failovers: Failover[] }
type Run = { readonly options: Options; readonly figures: Figures; readonly side: Side }

function progress(text: string): void {
  process.stderr.write(`${(performance.now() / 1_000).toFixed(0).padStart(5)} s  ${text}\n`)
}

const MEASURE: Readonly<Record<Measurement, (run: Run, round: number) => Promise<void>>> = {
  core: async ({ options, figures, side }) => {
    for (const { name, batch, codec } of CORE_CASES) {
      const { seconds } = options
      const result = await runCore({
        checkout: side.checkout,
        sessions: CORE_SESSIONS,
        batch,
        codec,
        seconds,
        ops: 0,
      })
      figures.add(`${side.label}${name}`, "ops/s", result.ops_per_second)
      figures.add(`${side.label}${name}: allocated a request`, "bytes", result.allocated_per_request)
    }
  },
  heap: async ({ figures, side }) => {
    const task = { checkout: side.checkout, sessions: CORE_SESSIONS, batch: HEAP_BATCH, codec: false, seconds: 0 }
    const result = await runCore({ ...task, ops: HEAP_OPS })
    const target = { at_most: HEAP_DELTA_MAX }
    figures.add(`${side.label}core heap delta over 1e6 ops`, "bytes", result.heap_delta, target)
  },
  link: async ({ options, figures, side }) => {
    await withClient(side, async (cluster, client) => {
      for (const link of LINK_CASES) {
        await measureLink(cluster, client, { link, seconds: options.seconds, figures, label: side.label })
      }
    })
  },
  resp: async ({ options, figures, side }) => {
    await withCluster(side, async (cluster) => {
      for (const resp of RESP_CASES) {
        await measureResp(cluster, { resp, seconds: options.seconds, figures, label: side.label })
      }
    })
  },
  degraded: async ({ options, figures, side }) => {
    await withClient(side, async (cluster, client) => {
      await measureDegraded(cluster, client, { seconds: options.seconds, figures, label: side.label })
    })
  },
  failover: async ({ options, side }, round) => {
    const { crashes, rounds } = options
    const share = Math.floor(((round + 1) * crashes) / rounds) - Math.floor((round * crashes) / rounds)
    await withCluster(side, async (cluster) => {
      side.failovers.push(...(await measureFailovers(cluster, { crashes: share, progress })))
    })
  },
  simulator: async ({ figures, side }) => {
    for (const mode of ["swarm", "hold_back"] as const) {
      const target = { at_least: EVENTS_PER_SECOND_MIN }
      figures.add(`${side.label}simulator, ${mode}`, "events/s", await measureSimulator(side.checkout, mode), target)
    }
  },
}

async function withCluster(side: Side, use: (cluster: Cluster) => Promise<void>): Promise<void> {
  const cluster = await Cluster.start(side.checkout)
  try {
    await use(cluster)
  } finally {
    await cluster.close()
  }
}

async function withClient(side: Side, use: (cluster: Cluster, client: LinkClient) => Promise<void>): Promise<void> {
  await withCluster(side, async (cluster) => {
    const client = await LinkClient.connect(cluster)
    try {
      await use(cluster, client)
    } finally {
      client.close()
    }
  })
}

async function measureRound(run: Run, name: Measurement, round: number): Promise<void> {
  const { side } = run
  for (let attempt = 1; ; attempt += 1) {
    // What a round that failed half-way has measured counts for nothing.
    const figures = new Figures()
    const failovers: Failover[] = []
    progress(`round ${round + 1} of ${run.options.rounds}: ${side.label}${name}`)
    try {
      await MEASURE[name]({ ...run, figures, side: { ...side, failovers } }, round)
      run.figures.addAll(figures)
      side.failovers.push(...failovers)
      return
    } catch (error) {
      if (attempt >= ATTEMPTS_MAX) {
        throw error
      }
      progress(`measured again, since ${error instanceof Error ? error.message : String(error)}`)
    }
  }
}

async function main(): Promise<number> {
  const read = readOptions(process.argv.slice(2))
  if (!read.ok) {
    process.stderr.write(`bench:replication: ${read.error}\n`)
    return EXIT_USAGE
  }
  if (read.value === "help") {
    process.stdout.write(USAGE)
    return 0
  }
  const options = read.value
  const sides: Side[] = [{ label: "", checkout: ROOT, failovers: [] }]
  if (options.against !== undefined) {
    sides.push({ label: "against ", checkout: options.against, failovers: [] })
  }
  const figures = new Figures()
  for (let round = 0; round < options.rounds; round += 1) {
    for (const name of options.only) {
      for (const side of sides) {
        await measureRound({ options, figures, side }, name, round)
      }
    }
  }
  for (const { label, failovers } of sides) {
    if (failovers.length > 0) {
      addFailovers(figures, label, failovers)
    }
  }
  const report = makeReport("replication", figures.all())
  process.stdout.write(options.isJSON ? `${JSON.stringify(report, undefined, 2)}\n` : `${textOfReport(report)}\n`)
  return 0
}

process.exitCode = await main().catch((error: unknown) => {
  process.stderr.write(
    `bench:replication: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
  )
  return EXIT_FAILED
})
