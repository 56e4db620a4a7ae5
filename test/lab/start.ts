/**
 * `npm start`: builds the image, makes a virtual LAN, starts the boot server on it, powers on three machines and
 * plays the scene. The process that the person started makes the network namespace and starts itself again inside;
 * when that one ends, however it ends, the namespace and all in it go. Plane: control.
 */
import { spawn, spawnSync } from "node:child_process"
import { readFileSync, rmSync, writeFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { parseArgs } from "node:util"
import { err, ok, type Result } from "../../appliance/types/result.ts"
import { type BadBootsReport, runBadBoots } from "./bad_boots.ts"
import { Child, type LabError, labError } from "./host.ts"
import {
  createDirectory,
  createLAN,
  createNamespace,
  LAN,
  namespaceName,
  removeLeftovers,
  removeNamespace,
} from "./lan.ts"
import {
  CONSOLE_TAIL_LINES,
  MACHINES_MAX,
  MEMORY_MIB_DEFAULT,
  MEMORY_MIB_MAX,
  MEMORY_MIB_MIN,
  POLL_MS,
  SERVE_READY_MS,
} from "./limits.ts"
import { type Acceleration, findAcceleration, LabMachine, MACHINE_KINDS } from "./machine.ts"
import { runScene, type SceneReport } from "./scene.ts"
import { bootStatus } from "./status.ts"
import { LiveTable } from "./table.ts"

const USAGE = `usage: npm start -- [--once] [--report FILE] [--memory MIB] [--machines N] [--image DIR] [--bad-boots]

Boots three machines without disks in a virtual LAN, writes values, cuts the power of the primary and of another,
and reads the values back. On a terminal it then stays up until Ctrl-C.

  --once          end after the scene; exit code 0 only when all of it held
  --report FILE   write what happened as JSON
  --memory MIB    RAM of each machine (default ${MEMORY_MIB_DEFAULT})
  --machines N    machines to power on, 3 to ${MACHINES_MAX} (default 3; more than three are spares)
  --image DIR     the image to boot (default build/image, built first)
  --bad-boots     instead: a machine with too little memory, and one whose image arrived damaged

  npm start                                 watch it, and try redis-cli on it
  npm start -- --once --report r.json       the same without a terminal`

const ROOT = resolve(import.meta.dirname, "../..")
const MAIN = join(ROOT, "appliance/main.ts")
const EXIT_FAILED = 1
const EXIT_USAGE = 2

type Options = {
  readonly once: boolean
  readonly report: string | undefined
  readonly memoryMib: number
  readonly machines: number
  readonly image: string | undefined
  readonly badBoots: boolean
}

process.exitCode = await main()

async function main(): Promise<number> {
  const options = readOptions()
  if (options === undefined) {
    return EXIT_USAGE
  }
  if (options === "help") {
    process.stdout.write(`${USAGE}\n`)
    return 0
  }
  return process.env["MANDALA_LAB_INSIDE"] === "1" ? inside(options) : outside(options)
}

function readOptions(): Options | "help" | undefined {
  try {
    const { values } = parseArgs({
      options: {
        once: { type: "boolean", default: false },
        report: { type: "string" },
        memory: { type: "string", default: String(MEMORY_MIB_DEFAULT) },
        machines: { type: "string", default: "3" },
        image: { type: "string" },
        "bad-boots": { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    })
    const memoryMib = Number(values.memory)
    const machines = Number(values.machines)
    if (!Number.isInteger(memoryMib) || memoryMib < MEMORY_MIB_MIN || memoryMib > MEMORY_MIB_MAX) {
      process.stderr.write(`--memory is ${MEMORY_MIB_MIN} to ${MEMORY_MIB_MAX} MiB, not '${values.memory}'\n`)
      return undefined
    }
    if (!Number.isInteger(machines) || machines < 3 || machines > MACHINES_MAX) {
      process.stderr.write(`--machines is 3 to ${MACHINES_MAX}, not '${values.machines}'\n`)
      return undefined
    }
    if (values.help) {
      return "help"
    }
    const { once, report, image, "bad-boots": badBoots } = values
    return { once, report, image, badBoots, memoryMib, machines }
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n${USAGE}\n`)
    return undefined
  }
}

// ---------------------------------------------------------------- outside: the image and the namespace

async function outside(options: Options): Promise<number> {
  if (options.image === undefined) {
    const built = spawnSync(process.execPath, [MAIN, "build"], { cwd: ROOT, stdio: "inherit" })
    if (built.status !== 0) {
      process.stderr.write("the image could not be built: see above\n")
      return built.status ?? EXIT_FAILED
    }
  }
  const env = { ...process.env, MANDALA_LAB_INSIDE: "1" }
  const self = [process.execPath, import.meta.filename, ...process.argv.slice(2)]
  if (process.getuid?.() !== 0) {
    // Rootless: a user namespace with a network of its own, where the kernel allows it; it ends with its process.
    return runInside(["unshare", "-Urnm", "--kill-child", ...self], env)
  }
  removeLeftovers()
  const name = namespaceName(process.pid)
  const created = createNamespace(name)
  if (!created.ok) {
    process.stderr.write(`${created.error.message}\n`)
    return EXIT_FAILED
  }
  const code = await runInside(["ip", "netns", "exec", name, ...self], { ...env, MANDALA_LAB_NAMESPACE: name })
  removeNamespace(name)
  removeLeftovers()
  return code
}

function runInside(command: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  const [program = "", ...args] = command
  const child = spawn(program, args, { cwd: ROOT, stdio: "inherit", env })
  // A terminal's Ctrl-C reaches the child by itself; a signal to this process alone is passed on.
  process.on("SIGINT", () => undefined)
  process.on("SIGTERM", () => child.kill("SIGTERM"))
  return new Promise((done) => {
    child.once("error", (error) => {
      process.stderr.write(`${program} could not be run (${error.message}): run as root, or allow user namespaces\n`)
      done(EXIT_FAILED)
    })
    child.once("exit", (code) => done(code ?? EXIT_FAILED))
  })
}

// ---------------------------------------------------------------- inside: the LAN, the boot server, the scene

async function inside(options: Options): Promise<number> {
  let stopping = false
  const stop = (): void => {
    stopping = true
  }
  process.on("SIGINT", stop)
  process.on("SIGTERM", stop)
  const directory = createDirectory()
  const children: Child[] = []
  const machines: LabMachine[] = []
  const result = await play({ options, directory, children, machines, isStopping: () => stopping })
  for (const machine of machines) {
    await machine.cutPower()
  }
  for (const child of children.reverse()) {
    await child.stop()
  }
  rmSync(directory, { recursive: true, force: true })
  if (!result.ok) {
    process.stderr.write(`${result.error.message}\n`)
    return EXIT_FAILED
  }
  return result.value ? 0 : EXIT_FAILED
}

type Stage = {
  readonly options: Options
  readonly directory: string
  readonly children: Child[]
  readonly machines: LabMachine[]
  readonly isStopping: () => boolean
}

/** True when all of it held. */
async function play(stage: Stage): Promise<Result<boolean, LabError>> {
  const { options, directory, children, machines } = stage
  const radvd = createLAN(directory)
  if (!radvd.ok) {
    return radvd
  }
  children.push(radvd.value)
  const image = resolve(ROOT, options.image ?? "build/image")
  const served = await startBootServer({ image, directory, children })
  if (!served.ok) {
    return served
  }
  const acceleration = await findAcceleration(image)
  if (options.badBoots) {
    return playBadBoots(stage, { image, acceleration })
  }
  for (let number = 1; number <= options.machines; number += 1) {
    const kind = MACHINE_KINDS[(number - 1) % MACHINE_KINDS.length] ?? "bios-virtio"
    machines.push(new LabMachine({ number, kind, directory, memoryMib: options.memoryMib, acceleration }))
  }
  const table = new LiveTable({
    isTTY: process.stdout.isTTY === true && !options.once,
    write: (text) => process.stdout.write(text),
  })
  const manifest: unknown = JSON.parse(readFileSync(join(image, "manifest.json"), "utf8"))
  const { memoryMib } = options
  const report = await runScene({
    machines,
    table,
    acceleration,
    memoryMib,
    image: manifest,
    isStopping: stage.isStopping,
  })
  writeReport(report, options.report)
  summarize(report, { machines, directory })
  if (process.stdout.isTTY === true && !options.once && !stage.isStopping()) {
    await stayUp(machines, table, stage.isStopping)
  }
  return ok(report.ok)
}

async function playBadBoots(
  stage: Stage,
  lab: { readonly image: string; readonly acceleration: Acceleration },
): Promise<Result<boolean, LabError>> {
  const { directory, children, machines, options } = stage
  const report = await runBadBoots({
    directory,
    machines,
    ...lab,
    serve: async (image) => {
      await children.pop()?.stop()
      return startBootServer({ image, directory, children })
    },
    say: (text) => void process.stdout.write(`${text}\n`),
  })
  writeReport(report, options.report)
  process.stdout.write(report.ok ? "bad boots: ok\n" : `bad boots: failed: ${report.failure ?? ""}\n`)
  return ok(report.ok)
}

async function startBootServer(start: {
  readonly image: string
  readonly directory: string
  readonly children: Child[]
}): Promise<Result<null, LabError>> {
  const logFile = join(start.directory, "boot-server.log")
  const args = ["serve", "--interface", LAN.bridge, "--dhcp", "full", "--image", start.image]
  const server = new Child({ command: [process.execPath, MAIN, ...args], logFile })
  start.children.push(server)
  const deadline = Date.now() + SERVE_READY_MS
  while (Date.now() < deadline) {
    if ((await bootStatus(LAN.boot_server)) !== undefined) {
      return ok(null)
    }
    if (server.exited) {
      const text = readFileSync(logFile, "utf8").trim()
      return err(labError("serve", `the boot server ended with exit code ${String(server.exitCode)}:\n${text}`))
    }
    await new Promise((done) => setTimeout(done, POLL_MS))
  }
  return err(
    labError(
      "serve",
      `the boot server did not answer within ${SERVE_READY_MS / 1000} s:\n${readFileSync(logFile, "utf8")}`,
    ),
  )
}

function writeReport(report: SceneReport | BadBootsReport, file: string | undefined): void {
  if (file !== undefined) {
    writeFileSync(resolve(file), `${JSON.stringify(report, null, 2)}\n`)
  }
}

function summarize(
  report: SceneReport,
  lab: { readonly machines: readonly LabMachine[]; readonly directory: string },
): void {
  const joined = Object.entries(report.power_on_to_joined_ms).map(([name, ms]) => `${name} ${(ms / 1000).toFixed(1)} s`)
  const lines = [
    `power-on to joined: ${joined.join(", ")}`,
    `${report.writes_acknowledged} writes acknowledged, ${report.writes_unknown} unknown, ` +
      `${report.writes_refused} refused`,
    `${report.reads_verified} reads verified, ${report.wrong_answers} wrong, ${report.reads_failed} without an answer`,
    `failover ${inSeconds(report.failover_ms)}, recovery ${inSeconds(report.recovery_ms)} from power-on`,
  ]
  process.stdout.write(`${lines.join("\n")}\n`)
  if (report.ok) {
    process.stdout.write("scene: ok\n")
    return
  }
  for (const machine of lab.machines) {
    const tail = machine.consoleText().split("\n").slice(-CONSOLE_TAIL_LINES).join("\n")
    process.stdout.write(`--- console of ${machine.name} (${machine.kind})\n${machine.qemuText()}${tail}\n`)
  }
  const log = readFileSync(join(lab.directory, "boot-server.log"), "utf8")
    .split("\n")
    .slice(-CONSOLE_TAIL_LINES)
    .join("\n")
  process.stdout.write(`--- boot server\n${log}\n`)
  process.stdout.write(
    `scene: failed at '${report.failed_step ?? "the end"}': ${report.failure ?? "see the counts above"}\n`,
  )
}

function inSeconds(ms: number | null): string {
  return ms === null ? "not reached" : `${(ms / 1000).toFixed(1)} s`
}

/** Keeps the machines up until Ctrl-C and says what can be typed meanwhile. */
async function stayUp(machines: readonly LabMachine[], table: LiveTable, isStopping: () => boolean): Promise<void> {
  const namespace = process.env["MANDALA_LAB_NAMESPACE"]
  const prefix = namespace === undefined ? "" : `ip netns exec ${namespace} `
  const status = await bootStatus(LAN.boot_server)
  const address =
    status?.machines.find((machine) => machine.announce?.status === "normal")?.announce?.address ?? "ADDRESS"
  const lines = [
    "The machines stay up until Ctrl-C. In another terminal, in this directory:",
    `  ${prefix}redis-cli -h ${address} set hello world`,
    `  ${prefix}npm run -s mandala -- status --endpoint http://${address}:7443`,
    `  ${prefix}npm run -s mandala -- machines --endpoint http://${address}:7443`,
  ]
  table.say(lines.join("\n"))
  while (!isStopping()) {
    table.show(machines, await bootStatus(LAN.boot_server))
    await new Promise((done) => setTimeout(done, POLL_MS))
  }
}
