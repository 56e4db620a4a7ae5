/**
 * `npm run bench:links`: what encrypted links cost beside plain ones, in turn in one run: handshakes, writes a second,
 * their p99, and seven machines that are switched on at once. Plane: control.
 */
import { createHash } from "node:crypto"
import { cpus } from "node:os"
import { writeFileSync } from "node:fs"
import { connect, createServer, type Server, type Socket } from "node:net"
import { parseArgs } from "node:util"
import { Site } from "../../system/site.ts"
import {
  boot,
  cleanUp,
  clientOf,
  describeCluster,
  isMember,
  type Machine,
  until,
} from "../../system/process_cluster.ts"
import {
  CLIENTS,
  DEADLINE_MS,
  HANDSHAKES,
  KEYS,
  LARGE_PIPELINE,
  LARGE_VALUE_BYTES,
  PIPELINE,
  RESTART_MACHINES,
  ROUNDS_DEFAULT,
  ROUNDS_MAX,
  SECONDS_DEFAULT,
  SECONDS_MAX,
  STATE_BYTES,
  VALUE_BYTES,
  WARM_UP_SHARE,
} from "./limits.ts"

const USAGE = `usage: npm run bench:links -- [--rounds N] [--seconds N] [--out FILE] [-o table|json]

Three real machines on loopback, with plain and with encrypted links in turn: writes a second, p50 and p99. Handshakes
of both kinds in one process. Seven machines switched on at once, until all are members.

  npm run bench:links
  npm run bench:links -- --rounds 3 --seconds 2 -o json`

const EXIT_FAILED = 1
const EXIT_USAGE = 2
const MODES = ["plain", "encrypted"] as const
type Mode = (typeof MODES)[number]

type Options = {
  readonly rounds: number
  readonly seconds: number
  readonly out: string | undefined
  readonly isJSON: boolean
}

/** name → mode → one figure a round. */
type Figures = Map<string, Record<Mode, number[]>>

function readOptions(): Options | "help" | undefined {
  try {
    const { values } = parseArgs({
      options: {
        rounds: { type: "string", default: String(ROUNDS_DEFAULT) },
        seconds: { type: "string", default: String(SECONDS_DEFAULT) },
        out: { type: "string" },
        output: { type: "string", short: "o", default: "table" },
        help: { type: "boolean", default: false },
      },
    })
    const rounds = Number(values.rounds)
    const seconds = Number(values.seconds)
    const isCount = Number.isInteger(rounds) && rounds >= 1 && rounds <= ROUNDS_MAX
    if (!isCount || !(seconds > 0 && seconds <= SECONDS_MAX) || !["table", "json"].includes(values.output)) {
      return undefined
    }
    return values.help ? "help" : { rounds, seconds, out: values.out, isJSON: values.output === "json" }
  } catch {
    // An option that there is not: the usage says which there are.
    return undefined
  }
}

function progress(text: string): void {
  process.stderr.write(`${(performance.now() / 1_000).toFixed(0).padStart(5)} s  ${text}\n`)
}

function add(figures: Figures, name: string, mode: Mode, value: number): void {
  const known = figures.get(name) ?? { plain: [], encrypted: [] }
  known[mode].push(value)
  figures.set(name, known)
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN
}

function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}

// ---------------------------------------------------------------- handshakes

/** Connections one after the other, both ends in this process; milliseconds each. */
async function measureHandshakes(mode: Mode, site: Site): Promise<{ readonly ms: number; readonly cpuMs: number }> {
  const [acceptor, dialler] = [await site.secure(0), await site.secure(1)]
  const buffer = Buffer.alloc(65_536)
  const onread = { buffer: () => buffer, callback: () => true }
  const onSocket = (socket: Socket): void => void socket.on("error", () => undefined)
  const server: Server =
    mode === "plain" ? createServer(onSocket) : acceptor.createServer({ handshakeMs: 2_000 }, onSocket)
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done))
  const place = server.address()
  const port = typeof place === "object" && place !== null ? place.port : 0
  const startedAt = performance.now()
  const cpu = process.cpuUsage()
  for (let count = 0; count < HANDSHAKES; count += 1) {
    const socket =
      mode === "plain"
        ? connect({ host: "127.0.0.1", port, onread })
        : dialler.dial({ address: "127.0.0.1", port }, onread)
    await new Promise<void>((done, fail) => {
      socket.on(mode === "plain" ? "connect" : "secureConnect", () => done())
      socket.on("error", fail)
    })
    socket.destroy()
  }
  const used = process.cpuUsage(cpu)
  const ms = (performance.now() - startedAt) / HANDSHAKES
  await new Promise<void>((done) => server.close(() => done()))
  return { ms, cpuMs: (used.user + used.system) / 1_000 / HANDSHAKES }
}

// ---------------------------------------------------------------- a cluster under writes

const links = (mode: Mode): Readonly<Record<string, unknown>> => (mode === "plain" ? { links: "insecure" } : {})

async function startCluster(machines: number, mode: Mode): Promise<readonly Machine[]> {
  const cluster = await describeCluster({ machines, founders: machines })
  const booted = Array.from({ length: machines }, (_, slot) => boot(cluster, slot, links(mode)))
  await until(
    async () => (await Promise.all(booted.map(isMember))).every((one) => one),
    `${machines} machines are members`,
  )
  return booted
}

type Load = { readonly name: string; readonly depth: number; readonly bytes: number }

const LOADS: readonly Load[] = [
  { name: `SET of ${VALUE_BYTES} B, ${CLIENTS} clients x 1`, depth: 1, bytes: VALUE_BYTES },
  { name: `SET of ${VALUE_BYTES} B, ${CLIENTS} clients x ${PIPELINE}`, depth: PIPELINE, bytes: VALUE_BYTES },
  {
    name: `SET of ${LARGE_VALUE_BYTES} B, ${CLIENTS} clients x ${LARGE_PIPELINE}`,
    depth: LARGE_PIPELINE,
    bytes: LARGE_VALUE_BYTES,
  },
]

/** Clients at a backup and the primary, so that commands cross links too. */
async function measureLoad(
  machines: readonly Machine[],
  load: Load,
  seconds: number,
): Promise<{ perSecond: number; latencies: number[] }> {
  const clients = Array.from({ length: CLIENTS }, (_, index) => {
    const machine = machines[index % machines.length]
    if (machine === undefined) {
      throw new Error("there is no machine")
    }
    return clientOf(machine)
  })
  const value = createHash("sha512")
    .update("value")
    .digest("hex")
    .repeat(Math.ceil(load.bytes / 128))
    .slice(0, load.bytes)
  const startedAt = performance.now()
  const countedAt = startedAt + seconds * WARM_UP_SHARE * 1_000
  const end = countedAt + seconds * 1_000
  const latencies: number[] = []
  const keys = Math.min(KEYS, Math.floor(STATE_BYTES / load.bytes))
  let next = 0
  const run = async (client: (typeof clients)[number]): Promise<void> => {
    while (performance.now() < end) {
      const at = performance.now()
      next += 1
      await client.set(`${load.bytes}:${next % keys}`, value)
      if (at >= countedAt) {
        latencies.push(performance.now() - at)
      }
    }
  }
  await Promise.all(clients.flatMap((client) => Array.from({ length: load.depth }, () => run(client))))
  for (const client of clients) {
    client.disconnect()
  }
  return { perSecond: latencies.length / seconds, latencies }
}

async function measureCluster(mode: Mode, { seconds }: Options, figures: Figures): Promise<void> {
  const machines = await startCluster(3, mode)
  for (const load of LOADS) {
    const { perSecond, latencies } = await measureLoad(machines, load, seconds)
    add(figures, `${load.name}: a second`, mode, perSecond)
    add(figures, `${load.name}: p50 ms`, mode, percentile(latencies, 0.5))
    add(figures, `${load.name}: p99 ms`, mode, percentile(latencies, 0.99))
  }
  await cleanUp()
}

async function measureRestart(mode: Mode, figures: Figures): Promise<void> {
  const startedAt = performance.now()
  await startCluster(RESTART_MACHINES, mode)
  add(
    figures,
    `${RESTART_MACHINES} machines at once, to the last member: s`,
    mode,
    (performance.now() - startedAt) / 1_000,
  )
  await cleanUp()
}

// ---------------------------------------------------------------- the report

function tableOf(figures: Figures): string {
  const rows = [...figures].map(([name, { plain, encrypted }]) => {
    const [a, b] = [median(plain), median(encrypted)]
    return `| ${name} | ${shown(a)} | ${shown(b)} | ${(b / a).toFixed(2)} |`
  })
  return ["| what (median) | plain | encrypted | ratio |", "|---|---|---|---|", ...rows, ""].join("\n")
}

function shown(value: number): string {
  return value >= 100 ? Math.round(value).toLocaleString("en") : value.toFixed(value >= 10 ? 1 : 2)
}

async function measure(options: Options): Promise<Figures> {
  const figures: Figures = new Map()
  const site = await Site.create("09".repeat(16))
  for (let round = 0; round < options.rounds; round += 1) {
    for (const mode of round % 2 === 0 ? MODES : [...MODES].reverse()) {
      progress(`round ${round + 1} of ${options.rounds}, ${mode}`)
      const { ms, cpuMs } = await measureHandshakes(mode, site)
      add(figures, "connection: ms", mode, ms)
      add(figures, "connection: CPU ms, both ends", mode, cpuMs)
      await measureCluster(mode, options, figures)
      await measureRestart(mode, figures)
    }
  }
  return figures
}

async function main(): Promise<number> {
  const options = readOptions()
  if (options === undefined) {
    process.stderr.write(`${USAGE}\n`)
    return EXIT_USAGE
  }
  if (options === "help") {
    process.stdout.write(`${USAGE}\n`)
    return 0
  }
  const deadline = setTimeout(() => process.exit(EXIT_FAILED), DEADLINE_MS)
  try {
    const figures = await measure(options)
    const report = {
      schema: 1,
      cpu: cpus()[0]?.model ?? "",
      cores: cpus().length,
      figures: Object.fromEntries(figures),
    }
    const text = options.isJSON ? `${JSON.stringify(report, null, 2)}\n` : tableOf(figures)
    process.stdout.write(text)
    if (options.out !== undefined) {
      writeFileSync(options.out, text)
    }
    return 0
  } catch (error) {
    process.stderr.write(`bench:links: ${error instanceof Error ? error.message : String(error)}\n`)
    return EXIT_FAILED
  } finally {
    clearTimeout(deadline)
    await cleanUp()
  }
}

process.exitCode = await main()
