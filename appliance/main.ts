/**
 * The composition root: the only file that joins everything. What an operator types is parsed by cli/; here each duty
 * gets its parts: a machine of the cluster, a boot server, a build. Plane: control.
 */
import { existsSync, readFileSync } from "node:fs"
import { totalmem } from "node:os"
import { join } from "node:path"
import { type Logger, pino } from "pino"
import { describeReadImageError, readImage } from "../builder/image_files.ts"
import { formatIPv4 } from "../pxe/address.ts"
import { type BootPrograms, type BootServer, startBootServer } from "../pxe/boot_server.ts"
import { examine } from "../pxe/doctor/doctor.ts"
import { reportText } from "../pxe/doctor/report.ts"
import { describeInterfaceError, findInterfaceAddress } from "../pxe/interface_address.ts"
import { ExitCode as CommandExitCode } from "./cli/exit_codes.ts"
import { type BuildOptions, type DoctorOptions, runProgram, type ServeOptions } from "./cli/program.ts"
import { RosterPush } from "./cli/roster_push.ts"
import { keysPort, openSite, type Site } from "./cli/site_keys.ts"
import { type AdmissionAPI, listenAdmissionAPI } from "./gateway/admission_api.ts"
import type { APISecurity } from "./gateway/api_access.ts"
import { Gateway } from "./gateway/gateway.ts"
import { listenOperatorAPI } from "./gateway/operator_api.ts"
import { RespDoors } from "./gateway/resp_doors.ts"
import type { SignedRoster } from "./keys/roster.ts"
import { Trust } from "./keys/trust.ts"
import { type ApplianceOptions, parseApplianceOptions } from "./orchestration/appliance_options.ts"
import { ExitCode, exitReason } from "./orchestration/exit_codes.ts"
import { LimitedLog } from "./orchestration/limited_log.ts"
import { ORCHESTRATION_LIMITS } from "./orchestration/limits.ts"
import { obtainSecurity } from "./orchestration/joiner.ts"
import type { LinkSecurity } from "./orchestration/link_security.ts"
import { MachineConsole } from "./orchestration/machine_console.ts"
import { MachineRegistration, type PutOutcome } from "./orchestration/machine_registration.ts"
import {
  describeConfigError,
  type NetworkFacts,
  type NodeConfig,
  readNetworkFacts,
  readNodeConfig,
} from "./orchestration/node_config.ts"
import { type Ports, ProcessHost, type Reply } from "./orchestration/process_host.ts"
import { growthShortage } from "./orchestration/growth.ts"
import { startSpare } from "./orchestration/spare.ts"
import { textLine } from "./orchestration/text_log.ts"
import { CommandCode, ResultKind } from "./state_machine/command.ts"
import { type ClusterSize, limitsForSize, memoryShortage } from "./types/cluster_sizes.ts"
import { growthFault } from "./types/growth.ts"
import { assertClusterLimits, assertProcessLimits, type ClusterLimits, PROCESS_LIMITS } from "./types/limits.ts"
import { err, ok, type Result } from "./types/result.ts"

/** As in package.json; a test compares them. */
const VERSION = "0.1.0"

const NBP_DIRECTORY = "/usr/lib/ipxe"
const BUILDER_DIRECTORY = join(import.meta.dirname, "../builder")
/** Where `mandala build` leaves the image, in the repository; a machine that was booted has none to give. */
const IMAGE_DIRECTORY = join(import.meta.dirname, "../build/image")

/** The boot server's operator API; its machine has no other. */
const DESK_PORT = 7443

/** One line for the person who started the process, and the code that it ends with. */
type Failure = { readonly code: number; readonly message: string }

// ---------------------------------------------------------------- a machine of the cluster

/** Runs until the process is told to end, or has to. */
async function runAppliance(args: readonly string[]): Promise<number> {
  const parsed = parseApplianceOptions(args, process.env)
  if (!parsed.ok) {
    return fail({ code: ExitCode.usage, message: parsed.error })
  }
  const options = parsed.value
  const log = pino({ base: null, timestamp: pino.stdTimeFunctions.isoTime })
  const config = readNodeConfig(options.nodeFile)
  if (!config.ok) {
    return fail({ code: ExitCode.config, message: describeConfigError(config.error) })
  }
  const facts = readNetworkFacts(options.networkFile)
  if (!facts.ok && options.advertise === undefined) {
    return fail({ code: ExitCode.config, message: describeConfigError(facts.error) })
  }
  const network = facts.ok ? facts.value : { interface: "", address: options.advertise ?? "", mac: "" }
  const advertise = options.advertise ?? network.address
  const { slot } = config.value
  if (slot === null) {
    return await runSpare({ options, config: config.value, network, advertise, log })
  }
  return await runReplica({ options, config: config.value, slot, network, advertise, log })
}

type Machine = {
  readonly options: ApplianceOptions
  readonly config: NodeConfig
  readonly network: NetworkFacts
  readonly advertise: string
  readonly log: Logger
}

async function runSpare({ options, config, network, advertise, log }: Machine): Promise<number> {
  const ending = endOfProcess(log)
  const spare = startSpare({
    config,
    facts: network,
    advertise,
    ports: options.ports,
    limits: ORCHESTRATION_LIMITS,
    log,
  })
  if (spare === undefined) {
    return fail({ code: ExitCode.config, message: "node.json gives this machine neither a slot nor a boot server" })
  }
  log.info({ machine: config.machine }, "spare_waits")
  const code = await ending.code
  spare.stop()
  return code
}

async function runReplica({
  options,
  config,
  slot,
  network,
  advertise,
  log,
}: Machine & { readonly slot: number }): Promise<number> {
  const shortage = memoryShortage(config.size, memoryBytes())
  if (shortage !== undefined) {
    return fail({ code: ExitCode.config, message: shortage })
  }
  const limits = limitsForSize(config.size)
  assertClusterLimits(limits)
  const growTo = growToOf(config, options.growTo, log)
  if (!growTo.ok) {
    return fail({ code: ExitCode.config, message: growTo.error })
  }
  assertProcessLimits(PROCESS_LIMITS)
  const obtained = await securityFor({ options, config, slot, log })
  if (!obtained.ok) {
    return fail(obtained.error)
  }
  const security = obtained.value
  const ending = endOfProcess(log)
  const host = new ProcessHost({
    config,
    slot,
    facts: network,
    advertise,
    bind: options.bind,
    ports: options.ports,
    version: VERSION,
    limits,
    ...(growTo.value === undefined ? {} : { growTo: growTo.value }),
    processLimits: PROCESS_LIMITS,
    orchestrationLimits: ORCHESTRATION_LIMITS,
    runDirectory: options.runDirectory,
    security,
    log,
    onEnd: ending.end,
  })
  const gateway = new Gateway({
    limits,
    port: host,
    memory: host.memory,
    random: host.random,
    schedule: () => setImmediate(() => gateway.flush()),
  })
  const registration = makeRegistration({ host, gateway, config, address: advertise, log })
  const screen = new MachineConsole(options.console, ORCHESTRATION_LIMITS.console_ms)
  const machine = { info: () => host.info(), address: advertise, clusterID: config.cluster_id }
  let tickDoors = (_nowMs: number): void => undefined
  const sink = {
    onReply: (message: Reply) => gateway.onReply(message),
    tick: (nowMs: number) => {
      gateway.tick(nowMs)
      registration.tick(nowMs)
      tickDoors(nowMs)
      screen.tick(nowMs, machine)
    },
    onGrown: (grown: ClusterLimits) => gateway.onGrown(grown),
  }
  const started = await startReplica({ host, gateway, options, advertise, security, log, sink })
  if (!started.ok) {
    host.stop()
    screen.close()
    return fail(started.error)
  }
  tickDoors = started.value.tick
  log.info({ machine: config.machine, address: advertise, ...started.value.ports }, "machine_ready")
  const code = await ending.code
  screen.print(`mandala: ${config.machine} ends with code ${code}: ${exitReason(code)}\n`)
  host.stop()
  await started.value.close()
  screen.close()
  return code
}

/** Undefined: plain links, because somebody said so. */
async function securityFor(parts: {
  readonly options: ApplianceOptions
  readonly config: NodeConfig
  readonly slot: number
  readonly log: Logger
}): Promise<Result<LinkSecurity | undefined, Failure>> {
  const { options, config, slot, log } = parts
  if (options.insecureLinks || config.links === "insecure") {
    log.warn({ machine: config.machine }, "links_insecure")
    return ok(undefined)
  }
  const { runDirectory } = options
  const joiner = { config, slot, runDirectory, limits: ORCHESTRATION_LIMITS, log, now: () => Date.now() }
  const security = await obtainSecurity(joiner)
  if (security.ok) {
    log.info({ issue: security.value.identity.issue, roster: security.value.trust.rosterVersion }, "machine_admitted")
    return security
  }
  const { kind, text } = security.error
  log.fatal({ reason: kind }, text)
  return err({ code: kind === "not_admitted" ? ExitCode.not_admitted : ExitCode.config, message: text })
}

/**
 * The larger limits that this machine is to have room for; undefined for none. Who asks for it by hand is told why it
 * can't be. A boot server says the same to every machine: one that can't is a member all the same, and does not grow.
 */
function growToOf(
  config: NodeConfig,
  byHand: ClusterSize | null,
  log: Logger,
): Result<ClusterLimits | undefined, string> {
  const { size } = config
  const growTo = byHand ?? config.grow_to
  if (growTo === null) {
    return ok(undefined)
  }
  const limits = limitsForSize(growTo)
  const fault = growthFault(limitsForSize(size), limits)
  const reason =
    fault === undefined
      ? growthShortage(size, growTo, memoryBytes())
      : `a cluster of size ${size} does not grow to ${growTo}: ${fault} would not be larger`
  if (reason !== undefined && byHand !== null) {
    return err(reason)
  }
  if (reason !== undefined) {
    log.warn({ size, grow_to: growTo, reason }, "grows_not")
    return ok(undefined)
  }
  assertClusterLimits(limits)
  return ok(limits)
}

/** What this process may have of the machine's memory: a container may have less than all. */
function memoryBytes(): number {
  const constrained = process.constrainedMemory()
  return constrained > 0 ? Math.min(totalmem(), constrained) : totalmem()
}

type Started = { readonly ports: Ports; readonly tick: (nowMs: number) => void; readonly close: () => Promise<void> }

async function startReplica(parts: {
  readonly host: ProcessHost
  readonly gateway: Gateway
  readonly options: ApplianceOptions
  readonly advertise: string
  readonly security: LinkSecurity | undefined
  readonly log: Logger
  readonly sink: Parameters<ProcessHost["start"]>[0]
}): Promise<Result<Started, Failure>> {
  const { host, gateway, options, advertise, security, log, sink } = parts
  const linked = await host.start(sink)
  if (!linked.ok) {
    const { port, detail } = linked.error
    return err({ code: ExitCode.unavailable, message: `replica port ${port} cannot be opened: ${detail}` })
  }
  const resp = await RespDoors.open({
    bind: options.bind,
    advertise,
    port: options.ports.data,
    gateway,
    onChange: (state) => log.info({ door: typeof state === "string" ? state : state.text }, "data_port"),
  })
  if (!resp.ok) {
    return err({ code: ExitCode.unavailable, message: resp.error.text })
  }
  const served = { gateway, replica: host, members: host, roster: host, archive: host, security: apiSecurity(security) }
  const api = await listenOperatorAPI({ host: options.bind, port: options.ports.api, ...served })
  if (!api.ok) {
    await resp.value.close()
    return err({ code: ExitCode.unavailable, message: api.error.text })
  }
  const ports = { replica: host.links.port, data: resp.value.port, api: api.value.port }
  return ok({
    ports,
    tick: (nowMs) => resp.value.tick(nowMs),
    close: async () => {
      await Promise.all([resp.value.close(), api.value.close()])
    },
  })
}

/** The operator API shows the same certificate as the links. */
function apiSecurity(security: LinkSecurity | undefined): APISecurity | undefined {
  return security && { trust: security.trust, ...security.keys }
}

/** The machine's record goes the way of every command: through the gateway and the log. */
function makeRegistration(parts: {
  readonly host: ProcessHost
  readonly gateway: Gateway
  readonly config: NodeConfig
  readonly address: string
  readonly log: Logger
}): MachineRegistration {
  const { host, gateway, config, address, log } = parts
  const limits = ORCHESTRATION_LIMITS
  return new MachineRegistration({
    config,
    address,
    replicaPort: () => host.links.port,
    ramBytes: totalmem(),
    wallMs: () => Date.now(),
    info: () => host.info(),
    retryMs: limits.own_request_ms,
    log: new LimitedLog(log, { repeatMs: limits.log_repeat_ms, kindsMax: limits.log_kinds_max }),
    put: (machine, record, onDone) => {
      const call = { code: CommandCode.machine_put, key: Buffer.from(machine), value: Buffer.from(record), argument: 0 }
      return gateway.call(call, {
        onResult: (outcome, reply, start) => onDone(putOutcome(outcome === "ok" ? reply[start] : undefined)),
      })
    },
  })
}

function putOutcome(kind: number | undefined): PutOutcome {
  if (kind === undefined) {
    return "unknown"
  }
  return kind === ResultKind.error ? "refused" : "ok"
}

/**
 * When and with what the process ends: a signal asks it to, the host has to, or a bug was found. A machine with a
 * broken invariant must not go on: whoever supervises it starts a blank one, which recovers from its peers.
 */
function endOfProcess(log: Logger): { readonly code: Promise<ExitCode>; readonly end: (code: ExitCode) => void } {
  const { promise, resolve } = Promise.withResolvers<ExitCode>()
  const end = (code: ExitCode): void => {
    resolve(code)
    // Should something not let go in time, the process ends all the same.
    setTimeout(() => process.exit(code), ORCHESTRATION_LIMITS.shutdown_ms).unref()
  }
  for (const signal of ["SIGINT", "SIGTERM"]) {
    // Asked twice is asked once: a terminal's Ctrl-C comes from the terminal and again from mandala.mjs.
    process.on(signal, () => {
      log.info({ signal }, "process_ends")
      end(ExitCode.ok)
    })
  }
  process.on("uncaughtException", (error) => {
    log.fatal({ error: error.message, stack: error.stack }, "bug")
    process.exit(ExitCode.bug)
  })
  return { code: promise, end }
}

// ---------------------------------------------------------------- the boot server

/** Serves until it is told to end. */
async function runServe(options: ServeOptions): Promise<number> {
  const growTo = options.growTo ?? null
  const fault = growTo === null ? undefined : growthFault(limitsForSize(options.size), limitsForSize(growTo))
  if (fault !== undefined) {
    const message = `--size ${options.size} does not grow to ${growTo}: ${fault} would not be larger`
    return fail({ code: CommandExitCode.usage, message })
  }
  const log = logFor(options.output)
  const image = await readImage(options.image ?? IMAGE_DIRECTORY)
  if (!image.ok) {
    return fail({ code: CommandExitCode.failed, message: describeReadImageError(image.error) })
  }
  const programs = readBootPrograms(NBP_DIRECTORY)
  if (!programs.ok) {
    return fail(programs.error)
  }
  const ending = endOfProcess(log)
  const { interface: interfaceName, dhcp, voters, size, force, tftpSinglePort } = options
  const site = await siteFor(options)
  if (!site.ok) {
    return fail(site.error)
  }
  const admission = site.value && admissionOf(site.value, options)
  const served = { image: image.value, nbp: programs.value, log, admission }
  const server = await startBootServer({
    interfaceName,
    dhcp,
    voters,
    size,
    growTo,
    force,
    isTFTPSinglePort: tftpSinglePort,
    ...served,
  })
  if (!server.ok) {
    return fail({ code: CommandExitCode.failed, message: server.error.message })
  }
  const desk = await openDesk(server.value, site.value)
  if (!desk.ok) {
    await server.value.close()
    return fail(desk.error)
  }
  process.stderr.write(`mandala: ${server.value.url} boots machines; Ctrl-C ends it\n`)
  const code = await ending.code
  await Promise.all([server.value.close(), desk.value?.close()])
  return code
}

/** Undefined with plain links: then nobody is asked about, and nothing is signed. */
async function siteFor(options: ServeOptions): Promise<Result<Site | undefined, Failure>> {
  if (options.insecureLinks) {
    process.stderr.write("mandala: INSECURE: plain links, and every machine that asks is booted and believed\n")
    return ok(undefined)
  }
  const found = findInterfaceAddress(options.interface)
  const address = found.ok ? formatIPv4(found.value.address) : "127.0.0.1"
  const bootEndpoint = `https://${address}:${DESK_PORT}`
  const site = await openSite({ environment: process.env, file: options.authority, bootEndpoint })
  if (!site.ok) {
    return err({ code: CommandExitCode.failed, message: site.error.text })
  }
  for (const line of site.value.made) {
    process.stderr.write(`mandala: ${line}\n`)
  }
  return site
}

function admissionOf({ authority, server }: Site, options: ServeOptions) {
  const pushes = new RosterPush({ authority: authority.certificate, ...server })
  return {
    keys: keysPort(authority),
    accept_all: options.acceptAll,
    rules: options.accept,
    onRoster: (roster: SignedRoster, addresses: readonly string[]) => pushes.push(roster, addresses),
  }
}

/** Where an operator decides about machines. */
async function openDesk(
  server: BootServer,
  site: Site | undefined,
): Promise<Result<AdmissionAPI | undefined, Failure>> {
  if (site === undefined || server.desk === undefined) {
    return ok(undefined)
  }
  const { authority } = site
  const trust = new Trust({ authority: authority.x509, cluster_id: "", now: () => Date.now() })
  const security = { trust, authority: authority.certificate, ...site.server }
  const opened = await listenAdmissionAPI({ host: server.address, port: DESK_PORT, security, desk: server.desk })
  return opened.ok ? opened : err({ code: CommandExitCode.failed, message: opened.error.text })
}

/** JSON lines for programs; for a person the same lines as text. */
function logFor(output: "text" | "json"): Logger {
  const options = { base: null, timestamp: pino.stdTimeFunctions.isoTime }
  return output === "json" ? pino(options) : pino(options, { write: (line) => process.stdout.write(textLine(line)) })
}

/** The network boot programs of Debian's package ipxe. */
function readBootPrograms(directory: string): Result<BootPrograms, Failure> {
  const read = (name: string): Buffer | undefined => {
    const path = join(directory, name)
    return existsSync(path) ? readFileSync(path) : undefined
  }
  const snponly = read("snponly.efi")
  const undionly = read("undionly.kpxe")
  const ipxe = read("ipxe.efi")
  if (snponly === undefined || undionly === undefined || ipxe === undefined) {
    const message = `${directory} has no boot programs: run "sudo apt-get install ipxe"`
    return err({ code: CommandExitCode.failed, message })
  }
  return ok({ "snponly.efi": snponly, "undionly.kpxe": undionly, "ipxe.efi": ipxe })
}

// ---------------------------------------------------------------- the build

/** Loaded when it is wanted: an image does not build images, so its bundle has none of it. */
async function loadBuilder() {
  if (!existsSync(BUILDER_DIRECTORY)) {
    return undefined
  }
  const { buildImage } = await import("../builder/build.ts")
  const { showProgress } = await import("../builder/progress.ts")
  const { describeBuildError } = await import("../builder/errors.ts")
  return { buildImage, showProgress, describeBuildError }
}

async function runBuild(options: BuildOptions): Promise<number> {
  const builder = await loadBuilder()
  if (builder === undefined) {
    return fail({
      code: CommandExitCode.failed,
      message: "an image does not build images: use a checkout of the source",
    })
  }
  const { buildImage, showProgress, describeBuildError } = builder
  const interruption = new AbortController()
  for (const signal of ["SIGINT", "SIGTERM"]) {
    process.on(signal, () => interruption.abort())
  }
  const outDir = options.out ?? IMAGE_DIRECTORY
  const built = await buildImage({
    outDir,
    flavour: options.kernel,
    form: options.form,
    lock: options.frozen === true ? "frozen" : options.update === true ? "update" : "prefer",
    compression: options.compression,
    progress: showProgress(process.stderr),
    signal: interruption.signal,
  })
  if (!built.ok) {
    return fail({ code: CommandExitCode.failed, message: describeBuildError(built.error) })
  }
  const manifest = options.output === "json" ? JSON.stringify(built.value, null, 2) : outDir
  process.stdout.write(`${manifest}\n`)
  return CommandExitCode.ok
}

// ---------------------------------------------------------------- a look at a network

async function runDoctor(options: DoctorOptions): Promise<number> {
  const examined = await examine({ interfaceName: options.interface, seconds: options.seconds })
  if (!examined.ok) {
    const message = describeInterfaceError(options.interface, examined.error)
    return fail({ code: CommandExitCode.usage, message })
  }
  const report = examined.value
  process.stdout.write(options.output === "json" ? `${JSON.stringify(report, null, 2)}\n` : reportText(report))
  return report.is_healthy ? CommandExitCode.ok : CommandExitCode.degraded
}

// ---------------------------------------------------------------- the command line

function fail(failure: Failure): number {
  process.stderr.write(`mandala: ${failure.message}\n`)
  return failure.code
}

const handlers = { version: VERSION, serve: runServe, build: runBuild, doctor: runDoctor, appliance: runAppliance }

// No `await` at the top: the image's bundle is CommonJS. What is thrown here is a bug and ends the process as one.
void runProgram(process.argv.slice(2), handlers).then((code) => {
  process.exitCode = code
})
