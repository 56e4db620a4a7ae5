/**
 * What an operator types: the commands, their options and examples. Data goes to stdout, talk to stderr, and every
 * failure is one line that says what to do. Serving and building are brought by main.ts. Plane: control.
 */
import { Command, CommanderError, InvalidArgumentError, Option } from "commander"
import { exitCodeOf, fetchDocument } from "./api_client.ts"
import { EXIT_CODE_HELP, ExitCode } from "./exit_codes.ts"
import type { JSONObject } from "./json.ts"
import { ACCEPT_RULES_MAX, LISTEN_SECONDS, PROGRESS_MS, TIMEOUT_SECONDS } from "./limits.ts"
import { addBootCommands } from "./boot_commands.ts"
import { addConfigCommands } from "./config_commands.ts"
import { addExportCommands } from "./export_commands.ts"
import { addMachineCommands } from "./machine_commands.ts"
import { addMemberCommands } from "./members.ts"
import { type CLIStreams, examples, outputOption, parseSeconds, queryCommand, type QueryOptions } from "./options.ts"
import { chooseTarget } from "./target.ts"
import { addPasswordCommands } from "./password_commands.ts"
import { fetchSalvage, fileSink, streamSink } from "./salvage.ts"
import { formatBytes } from "./table.ts"
import { isHealthyStatus, machinesText, salvageText, statusText } from "./views.ts"
import { CLUSTER_SIZES, type ClusterSize } from "../types/cluster_sizes.ts"
import { ok } from "../types/result.ts"

export type ServeOptions = {
  readonly interface: string
  readonly dhcp: "proxy" | "full" | "off"
  readonly voters: number
  readonly size: ClusterSize
  readonly growTo?: ClusterSize
  /** Where `build` left an image; undefined for where it leaves one by default. */
  readonly image?: string
  readonly force: boolean
  /** Boot programs come from port 69 itself. */
  readonly tftpSinglePort: boolean
  /** Who is accepted without being asked about: all, or so many of those whose address begins so. */
  readonly acceptAll: boolean
  readonly accept: readonly AcceptRule[]
  /** Where the authority is kept; undefined for beside the contexts. */
  readonly authority?: string
  readonly insecureLinks: boolean
  readonly output: "text" | "json"
}

export type AcceptRule = { readonly prefix: string; readonly count_max: number }

export type BuildOptions = {
  readonly out?: string
  readonly kernel: "stock" | "hardware" | "diskless"
  readonly form: "pxe" | "uki"
  readonly compression: "fast" | "small"
  readonly frozen?: boolean
  readonly update?: boolean
  readonly output: "text" | "json"
}

export type DoctorOptions = {
  readonly interface: string
  readonly seconds: number
  readonly output: "text" | "json"
}

/** What the commands do that this module must not know. Each answers with the exit code. */
export type Handlers = {
  readonly version: string
  readonly serve: (options: ServeOptions) => Promise<number>
  readonly build: (options: BuildOptions) => Promise<number>
  readonly doctor: (options: DoctorOptions) => Promise<number>
  /** What the image runs; gets its own arguments as they are. */
  readonly appliance: (args: readonly string[]) => Promise<number>
}

const PROCESS_STREAMS: CLIStreams = {
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
  input: process.stdin,
  environment: process.env,
}

type Query = {
  readonly path: string
  readonly view: (document: JSONObject, output: QueryOptions["output"]) => string
  readonly code: (document: JSONObject) => ExitCode
}

/** Runs one command line (without the program's own name); never throws for what a person typed. */
export async function runProgram(
  args: readonly string[],
  handlers: Handlers,
  streams: CLIStreams = PROCESS_STREAMS,
): Promise<number> {
  let code: number = ExitCode.ok
  const program = buildProgram(handlers, streams, (exitCode) => {
    code = exitCode
  })
  try {
    await program.parseAsync([...args], { from: "user" })
  } catch (error: unknown) {
    if (!(error instanceof CommanderError)) {
      throw error
    }
    // Commander has said it already. Help that was asked for is no error.
    return error.exitCode === 0 ? ExitCode.ok : ExitCode.usage
  }
  return code
}

/** The program as commander knows it. `onCode` gets the exit code of the command that ran. */
function buildProgram(handlers: Handlers, streams: CLIStreams, onCode: (code: number) => void): Command {
  const program = new Command("mandala")
    .description("Turns a pile of recycled machines into one computer that lives only in memory.")
    .exitOverride()
    .enablePositionalOptions()
    .configureOutput({
      writeOut: streams.out,
      writeErr: streams.err,
      outputError: (text, write) => write(`mandala: ${oneLine(text)}; see 'mandala --help'\n`),
    })
    .addHelpText("after", examples("mandala serve --interface eth0", "mandala status --endpoint http://10.0.0.11:7443"))
    .addHelpText("after", EXIT_CODE_HELP)
  addServe(program, handlers, onCode)
  addBuild(program, handlers, onCode)
  addDoctor(program, handlers, onCode)
  addStatus(program, streams, onCode)
  addMachines(program, streams, onCode)
  addSalvage(program, streams, onCode)
  addExportCommands(program, streams, onCode)
  addMemberCommands(program, streams, onCode)
  addMachineCommands(program, streams, onCode)
  addBootCommands(program, streams, onCode)
  addPasswordCommands(program, streams, onCode)
  addConfigCommands(program, streams, onCode)
  addVersion(program, handlers, streams)
  program
    .command("appliance", { hidden: true })
    .description("what the image runs")
    .argument("[args...]")
    .allowUnknownOption()
    .passThroughOptions()
    .helpOption(false)
    .action(async (args: readonly string[]) => onCode(await handlers.appliance(args)))
  return program
}

function addServe(program: Command, handlers: Handlers, onCode: (code: number) => void): void {
  program
    .command("serve")
    .description("boot the machines of a network: DHCP, TFTP and HTTP on one interface")
    .requiredOption("--interface <name>", "the network interface to serve on")
    .addOption(
      new Option("--dhcp <mode>", "proxy: beside the network's DHCP server; full: be it; off: not at all")
        .choices(["proxy", "full", "off"])
        .default("proxy"),
    )
    .option("--voters <number>", "machines that vote: 1, 3, 5 or 7", parseVoters, 3)
    .addOption(
      new Option(
        "--size <size>",
        "the limits of a cluster that is founded, for machines of 768 MiB, 2, 4 or 8 GiB and up",
      )
        .choices(CLUSTER_SIZES)
        .default("small"),
    )
    .addOption(
      new Option(
        "--grow-to <size>",
        "machines are to have room for this size too, so that the cluster can grow",
      ).choices(CLUSTER_SIZES),
    )
    .option("--image <directory>", "the image that `mandala build` made")
    .option("--force", "go on where a check would stop", false)
    .option(
      "--tftp-single-port",
      "answer TFTP from port 69: where a firewall or a container lets nothing else out",
      false,
    )
    .option("--accept-all", "a lab: every machine that asks is accepted", false)
    .option("--accept <rule>", "PREFIX=COUNT: so many machines whose address begins so; again for more", parseRule, [])
    .option("--authority <file>", "the site's authority (default: authority.json beside the contexts; made if missing)")
    .option("--insecure-links", "no certificates, no encryption, nobody is asked about: for benchmarks", false)
    .addOption(outputOption(["text", "json"]))
    .addHelpText(
      "after",
      examples("mandala serve --interface eth0", "mandala serve --interface br0 --dhcp full --accept 52:54:00=3"),
    )
    .action(async (options: ServeOptions) => onCode(await handlers.serve(options)))
}

function addBuild(program: Command, handlers: Handlers, onCode: (code: number) => void): void {
  program
    .command("build")
    .description("make the image: kernel, initramfs, manifest")
    .option("--out <directory>", "where the image goes")
    .addOption(
      new Option(
        "--kernel <flavour>",
        "stock: Debian's for virtual machines; hardware: Debian's generic one with drivers; diskless: ours, compiled",
      )
        .choices(["stock", "hardware", "diskless"])
        .default("hardware"),
    )
    .addOption(
      new Option("--form <form>", "pxe: files for a boot server; uki: one EFI program besides")
        .choices(["pxe", "uki"])
        .default("pxe"),
    )
    .addOption(
      new Option("--compression <level>", "fast to make, or small to send").choices(["fast", "small"]).default("fast"),
    )
    .addOption(new Option("--frozen", "refuse whatever is not as images/lock.json has it").conflicts("update"))
    .option("--update", "take what is there now, and lock it")
    .addOption(outputOption(["text", "json"]))
    .addHelpText("after", examples("mandala build", "mandala build --kernel diskless --compression small"))
    .action(async (options: BuildOptions) => onCode(await handlers.build(options)))
}

function addDoctor(program: Command, handlers: Handlers, onCode: (code: number) => void): void {
  program
    .command("doctor")
    .description("look at a network before machines boot on it; exits with 5 when something keeps them from it")
    .requiredOption("--interface <name>", "the network interface to ask on")
    .option("--seconds <number>", "how long to listen for answers", parseSeconds, LISTEN_SECONDS)
    .addOption(outputOption(["text", "json"]))
    .addHelpText("after", examples("mandala doctor --interface eth0", "mandala doctor --interface br0 -o json"))
    .action(async (options: DoctorOptions) => onCode(await handlers.doctor(options)))
}

function addStatus(program: Command, streams: CLIStreams, onCode: (code: number) => void): void {
  const query: Query = {
    path: "/v1/status",
    view: statusText,
    code: (document) => (isHealthyStatus(document) ? ExitCode.ok : ExitCode.degraded),
  }
  queryCommand(program.command("status"), ["table", "json"])
    .description("how one machine sees itself and its cluster; exits with 5 when it is not healthy")
    .addHelpText("after", examples("mandala status", "mandala status --endpoint 10.0.0.11 -o json"))
    .action(async (options: QueryOptions) => onCode(await runQuery(options, query, streams)))
}

function addMachines(program: Command, streams: CLIStreams, onCode: (code: number) => void): void {
  const query: Query = {
    path: "/v1/machines",
    view: (document, output) => machinesText(document, output === "wide"),
    code: () => ExitCode.ok,
  }
  queryCommand(program.command("machines"), ["table", "wide", "json"])
    .description("the machines that the cluster knows, and when they were last heard")
    .addHelpText("after", examples("mandala machines", "mandala machines -o wide --endpoint http://10.0.0.11:7443"))
    .action(async (options: QueryOptions) => onCode(await runQuery(options, query, streams)))
}

type SalvageFlags = {
  readonly endpoint?: string
  readonly context?: string
  readonly output: string
  readonly timeout: number
  readonly force: boolean
}

function addSalvage(program: Command, streams: CLIStreams, onCode: (code: number) => void): void {
  program
    .command("salvage")
    .description("after the loss of the majority: what one survivor holds, which nobody vouches for")
    .option(
      "--endpoint <url>",
      "the survivor's operator API (default: MANDALA_ENDPOINT, the context's, or this machine)",
    )
    .option("--context <name>", "as whom (default: MANDALA_CONTEXT, or the current one of 'mandala config')")
    .option("--timeout <seconds>", "how long to wait without a byte", parseSeconds, TIMEOUT_SECONDS)
    .requiredOption("-o, --output <file>", "a file that is not there yet, or json for JSON lines on standard output")
    .option("--force", "salvage although the cluster answers; given up when it commits meanwhile", false)
    .addHelpText(
      "after",
      examples(
        "mandala salvage --endpoint http://10.0.0.11:7443 -o salvage.jsonl",
        "mandala salvage --endpoint 10.0.0.11 -o json | head -1",
      ),
    )
    .action(async (options: SalvageFlags) => onCode(await runSalvage(options, streams)))
}

async function runSalvage(options: SalvageFlags, streams: CLIStreams): Promise<ExitCode> {
  const target = chooseTarget(options, streams.environment)
  if (!target.ok) {
    streams.err(`mandala: ${target.error.text}\n`)
    return ExitCode.usage
  }
  const isStream = options.output === "json"
  const sink = isStream ? ok(streamSink(streams.out)) : fileSink(options.output)
  if (!sink.ok) {
    streams.err(`mandala: ${sink.error.text}\n`)
    return exitCodeOf(sink.error)
  }
  let saidAt = performance.now()
  const progress = (bytes: number): void => {
    if (performance.now() - saidAt >= PROGRESS_MS) {
      saidAt = performance.now()
      streams.err(`mandala: ${formatBytes(bytes)} so far\n`)
    }
  }
  const isForced = options.force
  const timeoutMs = options.timeout * 1000
  const fetched = await fetchSalvage({ ...target.value, isForced, timeoutMs, progress }, sink.value)
  if (!fetched.ok) {
    streams.err(`mandala: ${fetched.error.text}\n`)
    return exitCodeOf(fetched.error)
  }
  streams.err(salvageText(fetched.value, isStream ? "standard output" : options.output))
  return ExitCode.ok
}

function addVersion(program: Command, handlers: Handlers, streams: CLIStreams): void {
  program
    .command("version")
    .description("the version of this command and of its Node")
    .addOption(outputOption(["text", "json"]))
    .addHelpText("after", examples("mandala version", "mandala version -o json"))
    .action(({ output }: { readonly output: "text" | "json" }) => {
      const { version } = handlers
      const node = process.versions.node
      streams.out(
        output === "json" ? `${JSON.stringify({ schema: 1, version, node })}\n` : `mandala ${version}, node ${node}\n`,
      )
    })
}

async function runQuery(options: QueryOptions, query: Query, streams: CLIStreams): Promise<ExitCode> {
  const target = chooseTarget(options, streams.environment)
  if (!target.ok) {
    streams.err(`mandala: ${target.error.text}\n`)
    return ExitCode.usage
  }
  const timeoutMs = options.timeout * 1000
  const fetched = await fetchDocument({ ...target.value, path: query.path, timeoutMs })
  if (!fetched.ok) {
    streams.err(`mandala: ${fetched.error.text}\n`)
    return exitCodeOf(fetched.error)
  }
  const { output } = options
  streams.out(output === "json" ? `${JSON.stringify(fetched.value, null, 2)}\n` : query.view(fetched.value, output))
  return query.code(fetched.value)
}

function parseRule(text: string, before: readonly AcceptRule[]): AcceptRule[] {
  const [, prefix = "", count = ""] = /^((?:[0-9a-fA-F]{2}[:-]?){0,6})=([1-9][0-9]{0,2})$/.exec(text) ?? []
  if (count === "" || before.length >= ACCEPT_RULES_MAX) {
    throw new InvalidArgumentError(`Allowed is PREFIX=COUNT, as 52:54:00=3 or =3, ${ACCEPT_RULES_MAX} times at most.`)
  }
  const normal = prefix.toLowerCase().replaceAll(":", "-").replace(/-$/, "")
  return [...before, { prefix: normal, count_max: Number(count) }]
}

function parseVoters(text: string): number {
  if (!["1", "3", "5", "7"].includes(text)) {
    throw new InvalidArgumentError("Allowed are 1, 3, 5 and 7.")
  }
  return Number(text)
}

function oneLine(text: string): string {
  return text
    .replace(/^error: /, "")
    .trim()
    .replace(/\s*\n\s*/g, " ")
    .replace(/\.$/, "")
}
