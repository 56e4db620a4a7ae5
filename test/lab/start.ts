/**
 * `npm start`: builds the image, makes a virtual LAN, starts the boot server on it, powers on three machines and
 * plays the scene. The process that the person started makes the network namespace and starts itself again inside;
 * when that one ends, however it ends, the namespace and all in it go. Plane: control.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { appendFileSync, readFileSync, readlinkSync, rmSync, writeFileSync } from "node:fs"
import { constants } from "node:os"
import { join, resolve } from "node:path"
import { parseArgs } from "node:util"
import { err, ok, type Result } from "../../appliance/types/result.ts"
import { runAdmission } from "./admission.ts"
import { runBadBoots } from "./bad_boots.ts"
import { Child, type LabError, labError } from "./host.ts"
import {
  checkTun,
  createDirectory,
  createLAN,
  createNamespace,
  LAN,
  namespaceName,
  removeLeftovers,
  removeNamespace,
} from "./lan.ts"
import {
  ADMISSION_MACHINES,
  CONSOLE_TAIL_LINES,
  MACHINES_MAX,
  MEMORY_MIB_DEFAULT,
  MEMORY_MIB_MAX,
  MEMORY_MIB_MIN,
  POLL_MS,
  SERVE_READY_MS,
  STOP_MS,
  TERMINAL_COLUMNS,
} from "./limits.ts"
import { type Acceleration, findAcceleration, LabMachine, MACHINE_KINDS, missingPrograms } from "./machine.ts"
import { Operator, operatorEnvironment } from "./operator.ts"
import { runScene, type SceneReport } from "./scene.ts"
import { bootStatus, imageSummary } from "./status.ts"
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

  npm run system -- admission               instead: machines accepted, refused, robbed of their ticket, expelled
  npm start                                 watch it, and try redis-cli on it
  npm start -- --once --report r.json       the same without a terminal`

const ROOT = resolve(import.meta.dirname, "../..")
const MAIN = join(ROOT, "appliance/main.ts")
const EXIT_FAILED = 1
const EXIT_USAGE = 2
/** As a shell counts: 130 for Ctrl-C. */
const EXIT_SIGNALLED = 128
const STOP_SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const
/** Set for the process inside the namespace by the one outside, which also removes what they name. */
const DIRECTORY_VARIABLE = "MANDALA_LAB_DIRECTORY"
const NAMESPACE_VARIABLE = "MANDALA_LAB_NAMESPACE"

type Options = {
  readonly once: boolean
  readonly report: string | undefined
  readonly memoryMib: number
  readonly machines: number
  readonly image: string | undefined
  readonly badBoots: boolean
  readonly play: "scene" | "admission"
}

async function main(): Promise<number> {
  const options = readOptions()
  if (options === undefined) {
    return EXIT_USAGE
  }
  if (options === "help") {
    process.stdout.write(`${USAGE}\n`)
    return 0
  }
  const directory = process.env[DIRECTORY_VARIABLE]
  return directory === undefined ? outside(options) : inside(options, directory)
}

function readOptions(): Options | "help" | undefined {
  try {
    const { values, positionals } = parseArgs({
      options: {
        once: { type: "boolean", default: false },
        report: { type: "string" },
        memory: { type: "string", default: String(MEMORY_MIB_DEFAULT) },
        machines: { type: "string", default: "3" },
        image: { type: "string" },
        "bad-boots": { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
      allowPositionals: true,
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
    const [play = "scene", ...more] = positionals
    if ((play !== "scene" && play !== "admission") || more.length > 0) {
      process.stderr.write(`there are the plays 'scene' and 'admission', not '${positionals.join(" ")}'\n`)
      return undefined
    }
    const { once, report, image, "bad-boots": badBoots } = values
    return { play, once, report, image, badBoots, memoryMib, machines }
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n${USAGE}\n`)
    return undefined
  }
}

// ---------------------------------------------------------------- outside: the image and the namespace

async function outside(options: Options): Promise<number> {
  // Where Debian keeps radvd; it is not in every user's path.
  process.env["PATH"] = `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin`
  const isRoot = process.getuid?.() === 0
  const ready = checkHost(options)
  if (!ready.ok) {
    process.stderr.write(`npm start: ${ready.error.message}\n`)
    return EXIT_FAILED
  }
  const foreground = new Foreground()
  if (options.image === undefined) {
    const code = await foreground.run([process.execPath, MAIN, "build"], process.env)
    if (code !== 0) {
      return fail(options, labError("build", "the image could not be built: see above"), code)
    }
  }
  await removeLeftovers()
  const directory = createDirectory()
  const env = { ...process.env, [DIRECTORY_VARIABLE]: directory }
  const self = [process.execPath, import.meta.filename, ...process.argv.slice(2)]
  let code: number
  if (isRoot) {
    const name = namespaceName(process.pid)
    const created = createNamespace(name)
    if (created.ok) {
      code = await foreground.run(["ip", "netns", "exec", name, ...self], { ...env, [NAMESPACE_VARIABLE]: name })
      const removed = await removeNamespace(name)
      if (!removed.ok) {
        process.stderr.write(`npm start: ${removed.error.message}\n`)
      }
    } else {
      code = fail(options, created.error)
    }
  } else {
    // Rootless: namespaces of a user, where the kernel allows them. The first process in one for pids takes all others
    // with it, as `ip netns pids` lets us do as root.
    code = await foreground.run(["unshare", "-Urnmpf", "--kill-child", ...self], env)
  }
  rmSync(directory, { recursive: true, force: true })
  // Ctrl-C after a scene that held is how one leaves it.
  const isCut = code !== 0 && foreground.stoppedBy !== undefined
  return isCut ? EXIT_SIGNALLED + constants.signals[foreground.stoppedBy ?? "SIGTERM"] : code
}

/** What only a person can put right is said before minutes go into a build. */
function checkHost(options: Options): Result<null, LabError> {
  const missing = missingPrograms()
  if (missing !== undefined) {
    return err(labError("host", missing))
  }
  const tun = checkTun()
  if (!tun.ok) {
    return tun
  }
  return options.report === undefined ? ok(null) : checkWritable(options.report)
}

function checkWritable(file: string): Result<null, LabError> {
  try {
    appendFileSync(resolve(file), "")
    return ok(null)
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    return err(labError("report", `the report cannot be written (${why}): give --report a path that can`))
  }
}

/** Ends with one line, and with a report when one was asked for: who reads only that must see the failure too. */
function fail(options: Options, error: LabError, code = EXIT_FAILED): number {
  process.stderr.write(`npm start: ${error.message}\n`)
  const failure = {
    schema: 1,
    date: new Date().toISOString(),
    failed_step: error.step,
    failure: error.message,
    ok: false,
  }
  writeReport(failure, options.report)
  return code === 0 ? EXIT_FAILED : code
}

/** Runs one child at a time on our terminal, and hands on to it whatever signal should end us. */
class Foreground {
  stoppedBy: "SIGINT" | "SIGTERM" | "SIGHUP" | undefined
  #child: ChildProcess | undefined

  constructor() {
    for (const signal of STOP_SIGNALS) {
      process.on(signal, () => {
        this.stoppedBy ??= signal
        // A terminal's Ctrl-C reached it already; being asked twice is the same to it.
        this.#child?.kill("SIGTERM")
      })
    }
  }

  async run(command: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
    if (this.stoppedBy !== undefined) {
      return EXIT_FAILED
    }
    const [program = "", ...args] = command
    // The fourth stream is how the child learns that we were killed: it closes.
    const child = spawn(program, args, { cwd: ROOT, stdio: ["inherit", "inherit", "inherit", "ipc"], env })
    this.#child = child
    return new Promise((done) => {
      child.once("error", (error) => {
        process.stderr.write(`${program} could not be run (${error.message}): run as root, or allow user namespaces\n`)
        done(EXIT_FAILED)
      })
      child.once("exit", (code, signal) => {
        if (signal !== null && this.stoppedBy === undefined) {
          process.stderr.write(`npm start: ${program} was killed by ${signal}\n`)
        }
        done(code ?? EXIT_FAILED)
      })
    })
  }
}

// ---------------------------------------------------------------- inside: the LAN, the boot server, the scene

async function inside(options: Options, directory: string): Promise<number> {
  let stopping = false
  const stop = (): void => {
    if (!stopping) {
      stopping = true
      // Whatever a wait is stuck in: the process outside removes all that is left of us.
      setTimeout(() => process.exit(EXIT_FAILED), STOP_MS).unref()
    }
  }
  for (const signal of STOP_SIGNALS) {
    process.on(signal, stop)
  }
  process.on("disconnect", stop)
  process.channel?.unref()
  // Whoever read us has gone (`npm start | head`).
  process.stdout.on("error", stop)
  const children: Child[] = []
  const machines: LabMachine[] = []
  const result = await play({ options, directory, children, machines, isStopping: () => stopping })
  for (const machine of machines) {
    await machine.cutPower()
  }
  for (const child of children.reverse()) {
    await child.stop()
  }
  if (!result.ok) {
    return fail(options, result.error)
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
  // Machines that halt are not asked about; those of the scene are.
  const served = await startBootServer(stage, image, options.badBoots ? ["--accept-all"] : [])
  if (!served.ok) {
    return served
  }
  const acceleration = await findAcceleration(image)
  if (options.badBoots) {
    return playBadBoots(stage, { image, acceleration })
  }
  // In the play of admission the fourth is one more than the cluster has places for.
  const count = options.play === "admission" ? ADMISSION_MACHINES : options.machines
  for (let number = 1; number <= count; number += 1) {
    const kind = MACHINE_KINDS[(number - 1) % MACHINE_KINDS.length] ?? "bios-virtio"
    machines.push(new LabMachine({ number, kind, directory, memoryMib: options.memoryMib, acceleration }))
  }
  if (options.play === "admission") {
    return await playAdmission(stage, acceleration)
  }
  const table = new LiveTable({
    isTTY: process.stdout.isTTY === true && !options.once,
    columns: () => process.stdout.columns ?? TERMINAL_COLUMNS,
    write: (text) => process.stdout.write(text),
  })
  const manifest = imageSummary(readFileSync(join(image, "manifest.json"), "utf8"))
  const { memoryMib } = options
  const report = await runScene({
    machines,
    table,
    operator: new Operator(directory),
    acceleration,
    memoryMib,
    image: manifest,
    isStopping: stage.isStopping,
  })
  writeReport(report, options.report)
  // Through the table, which would otherwise take these lines for its own and erase them.
  table.say(summary(report, { machines, directory }))
  if (process.stdout.isTTY === true && !options.once && !stage.isStopping()) {
    await stayUp(machines, table, stage.isStopping)
  }
  return ok(report.ok)
}

async function playAdmission(stage: Stage, acceleration: Acceleration): Promise<Result<boolean, LabError>> {
  const { machines, directory, options } = stage
  const report = await runAdmission({
    machines,
    acceleration,
    operator: new Operator(directory),
    isStopping: stage.isStopping,
    say: (text) => void process.stdout.write(`${text}\n`),
  })
  writeReport(report, options.report)
  process.stdout.write(report.ok ? "admission: ok\n" : `admission: failed: ${report.failure ?? ""}\n`)
  if (!report.ok) {
    process.stdout.write(
      `${readFileSync(join(directory, "boot-server.log"), "utf8").split("\n").slice(-20).join("\n")}\n`,
    )
  }
  return ok(report.ok)
}

async function playBadBoots(
  stage: Stage,
  lab: { readonly image: string; readonly acceleration: Acceleration },
): Promise<Result<boolean, LabError>> {
  const { directory, machines, options } = stage
  const report = await runBadBoots({
    directory,
    machines,
    ...lab,
    serve: async (image) => {
      await stage.children.pop()?.stop()
      return startBootServer(stage, image, ["--accept-all"])
    },
    say: (text) => void process.stdout.write(`${text}\n`),
  })
  writeReport(report, options.report)
  process.stdout.write(report.ok ? "bad boots: ok\n" : `bad boots: failed: ${report.failure ?? ""}\n`)
  return ok(report.ok)
}

async function startBootServer(stage: Stage, image: string, more: readonly string[]): Promise<Result<null, LabError>> {
  const logFile = join(stage.directory, "boot-server.log")
  const args = ["serve", "--interface", LAN.bridge, "--dhcp", "full", "--image", image, ...more]
  const env = operatorEnvironment(stage.directory)
  const server = new Child({ command: [process.execPath, MAIN, ...args], logFile, env })
  stage.children.push(server)
  const deadline = Date.now() + SERVE_READY_MS
  while (Date.now() < deadline) {
    if ((await bootStatus(LAN.boot_server)) !== undefined) {
      return ok(null)
    }
    if (stage.isStopping()) {
      return err(labError("stop", "stopped on request"))
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

function writeReport(report: object, file: string | undefined): void {
  if (file !== undefined) {
    writeFileSync(resolve(file), `${JSON.stringify(report, null, 2)}\n`)
  }
}

/** What the scene came to; when it failed, the ends of the consoles and of the boot server's log first. */
function summary(
  report: SceneReport,
  lab: { readonly machines: readonly LabMachine[]; readonly directory: string },
): string {
  const joined = Object.entries(report.power_on_to_joined_ms).map(([name, ms]) => `${name} ${inSeconds(ms)}`)
  const counts = [
    `power-on to joined: ${joined.join(", ")}`,
    `${report.writes_acknowledged} writes acknowledged, ${report.writes_unknown} unknown, ` +
      `${report.writes_refused} refused`,
    `${report.reads_verified} reads verified, ${report.wrong_answers} wrong, ${report.reads_failed} without an answer`,
    `failover ${inSeconds(report.failover_ms)}, recovery ${inSeconds(report.recovery_ms)} from power-on`,
    ...(report.memory_fault === null
      ? []
      : [
          `a flipped bit was found after ${inSeconds(report.memory_fault.found_ms)} and mended after ` +
            inSeconds(report.memory_fault.repaired_ms),
        ]),
  ]
  if (report.ok) {
    return [...counts, "scene: ok"].join("\n")
  }
  const consoles = lab.machines.flatMap((machine) => [
    `--- console of ${machine.name} (${machine.kind})`,
    `${machine.qemuText()}${tailOf(machine.consoleText())}`,
  ])
  const server = tailOf(readFileSync(join(lab.directory, "boot-server.log"), "utf8"))
  const failure = `'${report.failed_step ?? "the end"}': ${report.failure ?? "see the counts above"}`
  return [...consoles, "--- boot server", server, ...counts, `scene: failed at ${failure}`].join("\n")
}

function tailOf(text: string): string {
  return text.trimEnd().split("\n").slice(-CONSOLE_TAIL_LINES).join("\n")
}

function inSeconds(ms: number | null): string {
  return ms === null ? "not reached" : `${(ms / 1000).toFixed(1)} s`
}

/** Keeps the machines up until Ctrl-C and says what can be typed meanwhile. */
async function stayUp(machines: readonly LabMachine[], table: LiveTable, isStopping: () => boolean): Promise<void> {
  const namespace = process.env[NAMESPACE_VARIABLE]
  // The rootless namespaces have no name, only the processes in them; our /proc is still the one outside.
  const target = readlinkSync("/proc/self")
  const enter =
    namespace === undefined ? `nsenter -t ${target} -U -n --preserve-credentials` : `ip netns exec ${namespace}`
  const status = await bootStatus(LAN.boot_server)
  const address =
    status?.machines.find((machine) => machine.announce?.status === "normal")?.announce?.address ?? "ADDRESS"
  const lines = [
    "The machines stay up until Ctrl-C. In another terminal, in this directory:",
    `  ${enter} redis-cli -h ${address} set hello world`,
    `  ${enter} npm run -s mandala -- status --endpoint http://${address}:7443`,
    `  ${enter} npm run -s mandala -- machines --endpoint http://${address}:7443`,
  ]
  table.say(lines.join("\n"))
  while (!isStopping()) {
    table.show(machines, await bootStatus(LAN.boot_server))
    await new Promise((done) => setTimeout(done, POLL_MS))
  }
}

process.exitCode = await main()
