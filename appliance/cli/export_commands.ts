/**
 * `mandala export` and what can be asked of its files, and `mandala restore`: the way out of the memory, and the way
 * back. Plane: control.
 */
import type { KeyObject } from "node:crypto"
import { readFileSync } from "node:fs"
import { type Command, InvalidArgumentError } from "commander"
import { compareExports } from "../archive/compare.ts"
import { type ReadOptions, readContainer, readContainerHeader, writeContainer } from "../archive/container.ts"
import type { ArchiveError } from "../archive/errors.ts"
import type { ExportHeader } from "../archive/header.ts"
import { copyImage } from "../archive/image_copy.ts"
import { COPY_PARALLEL } from "../archive/limits.ts"
import { csvOf, linesOf, TABLES, type TableName } from "../archive/records.ts"
import { type OpenWith, readKey, type SealFor } from "../archive/seal.ts"
import { digestTable, exportFault, isEmpty, makeExport, type StateExport } from "../archive/state_export.ts"
import { sha256Digest } from "../orchestration/system_ports.ts"
import { PAGE_BYTES } from "../state_machine/arena.ts"
import { CLUSTER_SIZES, limitsForSize } from "../types/cluster_sizes.ts"
import { err, ok, type Result } from "../types/result.ts"
import { type APIError, exitCodeOf } from "./api_client.ts"
import { ExitCode } from "./exit_codes.ts"
import { readExportFile, writeExportFile, type Written } from "./export_file.ts"
import { ImageClient } from "./image_client.ts"
import { type JSONObject, numberAt, textAt } from "./json.ts"
import { PASSPHRASE_BYTES_MAX, PROGRESS_MS, RESTORE_PAGES_MAX } from "./limits.ts"
import { type CLIStreams, examples, outputOption, queryCommand, type QueryOptions } from "./options.ts"
import { formatBytes } from "./table.ts"
import { chooseTarget } from "./target.ts"

type Format = "mandala" | "json" | "csv"
type ExportFlags = QueryOptions & {
  readonly format: Format
  readonly table: TableName
  readonly passphraseFile?: string
  readonly recipient: readonly string[]
}
type FileFlags = {
  readonly passphraseFile?: string
  readonly identity?: string
  readonly output: "text" | "json"
}
type RestoreFlags = QueryOptions & FileFlags & { readonly dryRun: boolean; readonly replace: string }

/** Whatever may go wrong is a line for a person and an exit code. */
type Failure = { readonly code: ExitCode; readonly text: string }

export function addExportCommands(program: Command, streams: CLIStreams, onCode: (code: number) => void): void {
  const command = program
    .command("export")
    .argument("[file]", "a file that is not there yet, or - for standard output")
    // What follows the name of a subcommand is that one's.
    .enablePositionalOptions()
  queryCommand(command, ["text", "json"])
    .description("the state of one moment, while writes go on: everything acknowledged before is in it")
    .option("--format <format>", "mandala: to restore from; json: lines; csv: one table", parseFormat, "mandala")
    .option("--table <name>", `of csv: ${TABLES.join(", ")}`, parseTable, "kv")
    .option("--passphrase-file <file>", "encrypt it, secrets included, for whoever knows what is in that file")
    .option(
      "--recipient <file>",
      "encrypt it for whoever has the other half of this X25519 key; again for more",
      collect,
      [],
    )
    .addHelpText("after", examples("mandala export monday.mandala", "mandala export --format csv --table kv - | head"))
    .action(async (file: string | undefined, options: ExportFlags) => {
      onCode(said(streams, await runExport(file, options, streams)))
    })
  fileCommand(command, "inspect", "what a file says of itself")
    .argument("<file>")
    .addHelpText("after", examples("mandala export inspect monday.mandala", "mandala export inspect a.mandala -o json"))
    .action(async (file: string, options: FileFlags) => onCode(said(streams, await inspect(file, options, streams))))
  fileCommand(command, "verify", "whether a file is whole: checksum, every page, every root, every key")
    .argument("<file>")
    .addHelpText("after", examples("mandala export verify monday.mandala", "mandala export verify a.mandala -o json"))
    .action(async (file: string, options: FileFlags) => onCode(said(streams, await verify(file, options, streams))))
  fileCommand(command, "diff", "what has changed from one file to another; exits with 5 when anything has")
    .argument("<before>")
    .argument("<after>")
    .addHelpText(
      "after",
      examples("mandala export diff monday.mandala friday.mandala", "mandala export diff a b -o json"),
    )
    .action(async (before: string, after: string, options: FileFlags) => {
      onCode(said(streams, await diff(before, after, options, streams)))
    })
  queryCommand(program.command("restore").argument("<file>"), ["text", "json"])
    .description("puts the state of an export into a blank cluster of one, as a new generation; others join it then")
    .option("--passphrase-file <file>", "what an encrypted file is opened with")
    .option("--identity <file>", "the X25519 key that an encrypted file is for")
    .option("--replace <cluster>", "give up what the cluster of this id holds", "")
    .option("--dry-run", "look at the file and ask the cluster, and change nothing", false)
    .addHelpText("after", examples("mandala restore monday.mandala --dry-run", "mandala restore monday.mandala"))
    .action(async (file: string, options: RestoreFlags) => onCode(said(streams, await restore(file, options, streams))))
}

function fileCommand(parent: Command, name: string, description: string): Command {
  return parent
    .command(name)
    .description(description)
    .option("--passphrase-file <file>", "what an encrypted file is opened with")
    .option("--identity <file>", "the X25519 key that an encrypted file is for")
    .addOption(outputOption(["text", "json"]))
}

function parseFormat(text: string): Format {
  return oneOf(["mandala", "json", "csv"] as const, text)
}

function parseTable(text: string): TableName {
  return oneOf(TABLES, text)
}

function oneOf<Name extends string>(names: readonly Name[], text: string): Name {
  const found = names.find((name) => name === text)
  if (found === undefined) {
    throw new InvalidArgumentError(`Allowed are ${names.join(", ")}.`)
  }
  return found
}

function collect(value: string, before: readonly string[]): readonly string[] {
  return [...before, value]
}

function said(streams: CLIStreams, outcome: Result<ExitCode, Failure>): ExitCode {
  if (outcome.ok) {
    return outcome.value
  }
  streams.err(`mandala: ${outcome.error.text}\n`)
  return outcome.error.code
}

function failure(text: string, code: ExitCode = ExitCode.failed): Result<never, Failure> {
  return err({ code, text })
}

function apiFailure(error: APIError): Result<never, Failure> {
  return err({ code: exitCodeOf(error), text: error.text })
}

function archiveFailure(file: string, error: ArchiveError): Result<never, Failure> {
  return failure(`${file}: ${error.text}`)
}

// ---------------------------------------------------------------- out

async function runExport(
  file: string | undefined,
  options: ExportFlags,
  streams: CLIStreams,
): Promise<Result<ExitCode, Failure>> {
  if (file === undefined) {
    return failure("a file is wanted, or - for standard output", ExitCode.usage)
  }
  const seal = sealOf(options)
  if (!seal.ok) {
    return seal
  }
  if (seal.value !== undefined && options.format !== "mandala") {
    return failure("only the format mandala can be encrypted", ExitCode.usage)
  }
  const target = chooseTarget(options, streams.environment)
  if (!target.ok) {
    return failure(target.error.text, ExitCode.usage)
  }
  const client = new ImageClient(target.value, options.timeout * 1000)
  try {
    return await exportBy(client, { file, options, seal: seal.value, streams })
  } finally {
    client.close()
  }
}

type ExportRun = {
  readonly file: string
  readonly options: ExportFlags
  readonly seal: SealFor | undefined
  readonly streams: CLIStreams
}

async function exportBy(client: ImageClient, run: ExportRun): Promise<Result<ExitCode, Failure>> {
  const { file, options, seal, streams } = run
  const begun = await client.post("/v1/exports", { phase: "begin", place: file })
  if (!begun.ok) {
    return apiFailure(begun.error)
  }
  const id = textAt(begun.value, "id") ?? ""
  const copied = await copyState(client, numberAt(begun.value, "after_op") ?? 0, seal !== undefined, streams)
  const written: Result<Written, Failure> = copied.ok
    ? failed(await writeExportFile(file, piecesOf(copied.value, options, seal)))
    : copied
  if (!copied.ok || !written.ok) {
    // Whoever looks at the log of exports sees that this one came to nothing.
    const told = await client.post("/v1/exports", { phase: "end", id, failed: true })
    if (!told.ok) {
      streams.err(`mandala: the cluster was not told that the export failed: ${told.error.text}\n`)
    }
    return copied.ok && !written.ok ? written : copied.ok ? failure("the export failed") : copied
  }
  const { op, root } = copied.value.header
  const { bytes, sha256 } = written.value
  const ended = await client.post("/v1/exports", { phase: "end", id, op, root, bytes, sha256 })
  if (!ended.ok) {
    streams.err(`mandala: the file is whole, but the cluster was not told: ${ended.error.text}\n`)
  }
  const report = { schema: 1, id, file, op, root, bytes, sha256, keys: copied.value.header.keys }
  const text = `${file}: op ${op}, ${report.keys} keys, ${formatBytes(bytes)}, root ${root.slice(0, 8)}\n`
  const out = options.output === "json" ? `${JSON.stringify(report, null, 2)}\n` : text
  if (file === "-") {
    streams.err(out)
  } else {
    streams.out(out)
  }
  return ok(ExitCode.ok)
}

function failed(written: Result<Written, APIError>): Result<Written, Failure> {
  return written.ok ? written : apiFailure(written.error)
}

/** The certified state of an op at or behind `afterOp`, as a joining machine would copy it. */
async function copyState(
  client: ImageClient,
  afterOp: number,
  withSecrets: boolean,
  streams: CLIStreams,
): Promise<Result<StateExport, Failure>> {
  const head = await client.get("/v1/image")
  if (!head.ok) {
    return apiFailure(head.error)
  }
  const size = CLUSTER_SIZES.find((name) => name === textAt(head.value, "size"))
  if (size === undefined) {
    return failure("the cluster is of a size that this program does not know: use a newer one")
  }
  const limits = limitsForSize(size)
  let saidAt = performance.now()
  const copied = await copyImage({
    limits,
    digest: sha256Digest,
    source: (wanted) => client.piece(wanted),
    afterOp,
    parallel: COPY_PARALLEL,
    now: () => performance.now(),
    progress: ({ pages, pages_left: left }) => {
      if (performance.now() - saidAt >= PROGRESS_MS) {
        saidAt = performance.now()
        streams.err(`mandala: ${pages - left} of ${pages} pages are here\n`)
      }
    },
  })
  if (!copied.ok) {
    return failure(copied.error.text)
  }
  const { arena, op, op_checksum, root } = copied.value
  const identity = {
    cluster_id: textAt(head.value, "cluster_id") ?? "",
    generation: numberAt(head.value, "generation") ?? 0,
    epoch: numberAt(head.value, "epoch") ?? 0,
    op,
    op_checksum,
    root,
    software: textAt(head.value, "software") ?? "",
    created: new Date().toISOString(),
  }
  return ok(makeExport({ identity, arena, limits, withSecrets, digest: sha256Digest }))
}

function piecesOf(
  state: StateExport,
  { format, table }: ExportFlags,
  seal: SealFor | undefined,
): AsyncIterable<Uint8Array> | Iterable<Uint8Array> {
  switch (format) {
    case "mandala":
      return writeContainer(state, seal === undefined ? {} : { seal })
    case "json":
      return bytesOf(linesOf(state), (line) => `${JSON.stringify(line)}\n`)
    case "csv":
      return bytesOf(csvOf(table, state), (line) => line)
  }
}

function* bytesOf<Line>(lines: Iterable<Line>, textOf: (line: Line) => string): Generator<Uint8Array> {
  for (const line of lines) {
    yield Buffer.from(textOf(line))
  }
}

// ---------------------------------------------------------------- keys

function sealOf({ passphraseFile, recipient }: ExportFlags): Result<SealFor | undefined, Failure> {
  if (passphraseFile === undefined && recipient.length === 0) {
    return ok(undefined)
  }
  const recipients = []
  for (const path of recipient) {
    const key = keyAt(path, "public")
    if (!key.ok) {
      return key
    }
    recipients.push(key.value)
  }
  if (passphraseFile === undefined) {
    return ok({ recipients })
  }
  const passphrase = passphraseAt(passphraseFile)
  return passphrase.ok ? ok({ recipients, passphrase: passphrase.value }) : passphrase
}

function openOf({ passphraseFile, identity }: Omit<FileFlags, "output">): Result<OpenWith, Failure> {
  const passphrase = passphraseFile === undefined ? ok(undefined) : passphraseAt(passphraseFile)
  if (!passphrase.ok) {
    return passphrase
  }
  const key = identity === undefined ? ok(undefined) : keyAt(identity, "private")
  if (!key.ok) {
    return key
  }
  return ok({
    ...(passphrase.value === undefined ? {} : { passphrase: passphrase.value }),
    ...(key.value === undefined ? {} : { identity: key.value }),
  })
}

function passphraseAt(path: string): Result<string, Failure> {
  const text = textOfFile(path)
  if (!text.ok) {
    return text
  }
  const passphrase = text.value.replace(/\r?\n$/, "")
  return passphrase === "" ? failure(`${path} is empty: a passphrase is wanted`, ExitCode.usage) : ok(passphrase)
}

function keyAt(path: string, kind: "public" | "private"): Result<KeyObject, Failure> {
  const text = textOfFile(path)
  if (!text.ok) {
    return text
  }
  const key = readKey(text.value, kind)
  return key.ok ? key : failure(`${path}: ${key.error.text}`, ExitCode.usage)
}

function textOfFile(path: string): Result<string, Failure> {
  try {
    const text = readFileSync(path, "utf8")
    return text.length > PASSPHRASE_BYTES_MAX ? failure(`${path} is too long`, ExitCode.usage) : ok(text)
  } catch (cause) {
    return failure(`${path}: ${cause instanceof Error ? cause.message : String(cause)}`, ExitCode.usage)
  }
}

// ---------------------------------------------------------------- files

async function inspect(file: string, { output }: FileFlags, streams: CLIStreams): Promise<Result<ExitCode, Failure>> {
  const header = await readContainerHeader(readExportFile(file))
  if (!header.ok) {
    return archiveFailure(file, header.error)
  }
  streams.out(output === "json" ? `${JSON.stringify(header.value, null, 2)}\n` : headerText(header.value))
  return ok(ExitCode.ok)
}

function headerText(header: ExportHeader): string {
  const { cluster_id: cluster, generation, epoch, op, root, created, size, keys, machines, events, secrets } = header
  const lines = [
    ["cluster", `${cluster}, generation ${generation}, epoch ${epoch}, size ${size}`],
    ["state", `op ${op}, root ${root}`],
    ["made", `${created} by ${header.software}`],
    ["holds", `${keys} keys, ${machines} machines, ${events} events, ${header.pages_stored} of ${header.pages} pages`],
    ["secrets", secrets === "included" ? "included" : "left out"],
    ["encrypted", header.encryption === null ? "no" : header.encryption.recipients.map(({ kind }) => kind).join(", ")],
  ]
  return lines.map(([name = "", value = ""]) => `${name.padEnd(10)} ${value}\n`).join("")
}

async function load(file: string, flags: Omit<FileFlags, "output">): Promise<Result<StateExport, Failure>> {
  const open = openOf(flags)
  if (!open.ok) {
    return open
  }
  const options: ReadOptions = { open: open.value }
  const state = await readContainer(readExportFile(file), options)
  if (!state.ok) {
    return archiveFailure(file, state.error)
  }
  const fault = exportFault(state.value, sha256Digest)
  return fault === undefined ? state : failure(`${file}: ${fault}`)
}

async function verify(file: string, flags: FileFlags, streams: CLIStreams): Promise<Result<ExitCode, Failure>> {
  const state = await load(file, flags)
  if (!state.ok) {
    return state
  }
  const { op, root, keys } = state.value.header
  const report = { schema: 1, file, is_whole: true, op, root, keys }
  const text = `${file}: whole; op ${op}, ${keys} keys, root ${root}\n`
  streams.out(flags.output === "json" ? `${JSON.stringify(report, null, 2)}\n` : text)
  return ok(ExitCode.ok)
}

async function diff(
  before: string,
  after: string,
  flags: FileFlags,
  streams: CLIStreams,
): Promise<Result<ExitCode, Failure>> {
  const old = await load(before, flags)
  if (!old.ok) {
    return old
  }
  const young = await load(after, flags)
  if (!young.ok) {
    return young
  }
  const found = compareExports(old.value, young.value)
  const { added, removed, changed, same, differences } = found
  const marks = { added: "+", removed: "-", changed: "~" } as const
  const lines = differences.map(({ table, key, change }) => `${marks[change]} ${table} ${key}\n`)
  const text = `${lines.join("")}${added} added, ${removed} removed, ${changed} changed, ${same} the same\n`
  streams.out(flags.output === "json" ? `${JSON.stringify({ schema: 1, ...found }, null, 2)}\n` : text)
  return ok(added + removed + changed === 0 ? ExitCode.ok : ExitCode.degraded)
}

// ---------------------------------------------------------------- back

async function restore(file: string, options: RestoreFlags, streams: CLIStreams): Promise<Result<ExitCode, Failure>> {
  const state = await load(file, options)
  if (!state.ok) {
    return state
  }
  const target = chooseTarget(options, streams.environment)
  if (!target.ok) {
    return failure(target.error.text, ExitCode.usage)
  }
  const client = new ImageClient(target.value, options.timeout * 1000)
  try {
    return await restoreBy(client, state.value, options, streams)
  } finally {
    client.close()
  }
}

async function restoreBy(
  client: ImageClient,
  state: StateExport,
  { dryRun, replace, output }: RestoreFlags,
  streams: CLIStreams,
): Promise<Result<ExitCode, Failure>> {
  const { header } = state
  const { op, op_checksum, generation, limits_fingerprint } = header
  // Of what is in the file: secrets that were left out stay out.
  const root = header.root_stored
  const head = { op, op_checksum, root, generation, limits_fingerprint, ...(replace === "" ? {} : { replace }) }
  const checked = await client.post("/v1/restore?phase=check", head)
  if (!checked.ok) {
    return apiFailure(checked.error)
  }
  const into = textAt(checked.value, "cluster_id") ?? ""
  if (dryRun) {
    const report = { schema: 1, dry_run: true, cluster_id: into, op, root, keys: header.keys }
    const text = `would restore op ${op} with ${header.keys} keys into cluster ${into}; nothing was changed\n`
    streams.out(output === "json" ? `${JSON.stringify(report, null, 2)}\n` : text)
    return ok(ExitCode.ok)
  }
  const begun = await client.post("/v1/restore?phase=begin", head)
  const sent = begun.ok ? await sendState(client, state, streams) : begun
  const ended = sent.ok ? await client.post("/v1/restore?phase=end&at=0", new Uint8Array(0)) : sent
  if (!ended.ok) {
    return apiFailure(ended.error)
  }
  const report = { ...ended.value, cluster_id: into, keys: header.keys }
  const number = numberAt(ended.value, "generation") ?? 0
  const text = `op ${op} with ${header.keys} keys is restored as generation ${number} of ${into}\n`
  streams.out(output === "json" ? `${JSON.stringify(report, null, 2)}\n` : text)
  return ok(ExitCode.ok)
}

/** The digests, then the pages in runs; empty ones are only counted. */
async function sendState(
  client: ImageClient,
  { arena, limits, header }: StateExport,
  streams: CLIStreams,
): Promise<Result<JSONObject, APIError>> {
  const table = digestTable(arena)
  const chunk = limits.chunk_bytes
  for (let index = 0; index * chunk < table.length; index += 1) {
    const body = table.subarray(index * chunk, Math.min((index + 1) * chunk, table.length))
    const sent = await client.post(`/v1/restore?phase=table&at=${index}`, body)
    if (!sent.ok) {
      return sent
    }
  }
  let saidAt = performance.now()
  for (let page = 0; page < header.pages; ) {
    const isZeros = isEmptyPage(arena, page)
    const pagesMax = isZeros ? header.pages : RESTORE_PAGES_MAX
    let end = page + 1
    while (end < header.pages && end - page < pagesMax && isEmptyPage(arena, end) === isZeros) {
      end += 1
    }
    const sent = isZeros
      ? await client.post(`/v1/restore?phase=zeros&at=${page}&count=${end - page}`, new Uint8Array(0))
      : await client.post(`/v1/restore?phase=pages&at=${page}`, arena.subarray(page * PAGE_BYTES, end * PAGE_BYTES))
    if (!sent.ok) {
      return sent
    }
    page = end
    if (performance.now() - saidAt >= PROGRESS_MS) {
      saidAt = performance.now()
      streams.err(`mandala: ${page} of ${header.pages} pages are there\n`)
    }
  }
  return ok({})
}

function isEmptyPage(arena: Uint8Array, page: number): boolean {
  return isEmpty(arena.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES))
}
