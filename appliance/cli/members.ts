/**
 * Who a cluster consists of, and how an operator changes it: members, reconfigure, standby, epoch. Each command that
 * could lose something says what, and goes ahead only when told to. Plane: control.
 */
import { type Command, InvalidArgumentError } from "commander"
import { type APIError, chooseEndpoint, exitCodeOf, fetchDocument } from "./api_client.ts"
import { ExitCode } from "./exit_codes.ts"
import { isTrueAt, type JSONObject, numberAt, objectAt, objectsAt, textAt } from "./json.ts"
import { EPOCH_POLL_MS, SLOT_MAX } from "./limits.ts"
import { type CLIStreams, examples, queryCommand, type QueryOptions } from "./options.ts"
import { clean, type Column, formatDuration, formatTable } from "./table.ts"
import { rootText } from "./views.ts"
import { err, type Result } from "../types/result.ts"

const MEMBERS_PATH = "/v1/members"
const PROMOTE_PATH = "/v1/standby/promote"
const STATUS_PATH = "/v1/status"

type ReconfigureOptions = QueryOptions & {
  readonly voters: readonly number[]
  readonly standbys: readonly number[]
  readonly sync: boolean
  readonly grow: boolean
  readonly epoch?: number
}
type ConfirmOptions = QueryOptions & { readonly confirmOff: boolean }
type EpochOptions = QueryOptions & { readonly wait: boolean }

export function addMemberCommands(program: Command, streams: CLIStreams, onCode: (code: number) => void): void {
  addMembers(program, streams, onCode)
  addReconfigure(program, streams, onCode)
  addStandby(program, streams, onCode)
  addEpoch(program, streams, onCode)
}

function addMembers(program: Command, streams: CLIStreams, onCode: (code: number) => void): void {
  queryCommand(program.command("members"), ["table", "json"])
    .description("who votes, who stands by, and how far behind each is")
    .addHelpText("after", examples("mandala members", "mandala members --endpoint 10.0.0.11 -o json"))
    .action(async (options: QueryOptions) =>
      onCode(await report(options, streams, (api) => api.get(STATUS_PATH), membersText)),
    )
}

function addReconfigure(program: Command, streams: CLIStreams, onCode: (code: number) => void): void {
  queryCommand(program.command("reconfigure"), ["text", "json"])
    .description("begin an epoch with other members; machines that are named must be switched on and have caught up")
    .requiredOption("--voters <slots>", "1, 3, 5 or 7 slots, for instance 0,1,2", parseSlots)
    .option("--standbys <slots>", "slots that hold the state without a vote", parseSlots, [])
    .option("--sync", "the one standby confirms everything that the one voter answers", false)
    .option("--grow", "into the larger limits that all named machines were started with (--grow-to)", false)
    .option("--epoch <number>", "only if this epoch is the present one", parseEpoch)
    .addHelpText(
      "after",
      examples(
        "mandala reconfigure --voters 0 --standbys 1 --sync --epoch 4",
        "mandala reconfigure --voters 3,4,5 --grow",
      ),
    )
    .action(async (options: ReconfigureOptions) => {
      const { voters, standbys, sync, grow, epoch } = options
      const body = { voters, standbys, synchronous: sync, grow, ...(epoch === undefined ? {} : { epoch }) }
      onCode(await report(options, streams, (api) => api.post(MEMBERS_PATH, body), epochText))
    })
}

function addStandby(program: Command, streams: CLIStreams, onCode: (code: number) => void): void {
  const standby = program
    .command("standby")
    .description("what to do when one of two machines is gone: go on with one copy, or take over")
    .addHelpText("after", examples("mandala standby drop --confirm-off", "mandala standby promote --confirm-off"))
  queryCommand(standby.command("drop"), ["text", "json"])
    .description(
      "the voter goes on alone, with one copy; its standby must be switched off and stay so until it is wiped",
    )
    .option("--confirm-off", "the standby's machine is switched off: I have seen to it", false)
    .addHelpText(
      "after",
      examples("mandala standby drop", "mandala standby drop --confirm-off --endpoint http://10.0.0.11:7443"),
    )
    .action(async (options: ConfirmOptions) => onCode(await report(options, streams, drop(options), epochText)))
  queryCommand(standby.command("promote"), ["text", "json"])
    .description(
      "the standby takes over in a new generation; the voter must be switched off and stay so until it is wiped",
    )
    .option("--confirm-off", "the voter's machine is switched off: I have seen to it", false)
    .addHelpText(
      "after",
      examples("mandala standby promote", "mandala standby promote --confirm-off --endpoint http://10.0.0.12:7443"),
    )
    .action(async (options: ConfirmOptions) => onCode(await report(options, streams, promote(options), epochText)))
}

function addEpoch(program: Command, streams: CLIStreams, onCode: (code: number) => void): void {
  queryCommand(program.command("epoch"), ["text", "json"])
    .description("whether the present epoch can do without the machines that it replaced; exits with 5 when not yet")
    .option("--wait", "wait for it, as long as --timeout says", false)
    .addHelpText("after", examples("mandala epoch", "mandala epoch --wait --timeout 60"))
    .action(async (options: EpochOptions) => {
      let isSafe = false
      const code = await report(
        options,
        streams,
        async (api) => {
          const status = await awaitEpoch(api, options)
          isSafe = status.ok && isTrueAt(objectAt(status.value, "cluster"), "is_epoch_safe")
          return status
        },
        safetyText,
      )
      onCode(code === ExitCode.ok && !isSafe ? ExitCode.degraded : code)
    })
}

// ---------------------------------------------------------------- asking

type Answered = Result<JSONObject, APIError>
type API = {
  readonly get: (path: string) => Promise<Answered>
  readonly post: (path: string, body: JSONObject) => Promise<Answered>
}

async function report(
  options: QueryOptions,
  streams: CLIStreams,
  ask: (api: API) => Promise<Answered>,
  view: (document: JSONObject) => string,
): Promise<ExitCode> {
  const endpoint = chooseEndpoint(options.endpoint, streams.environment["MANDALA_ENDPOINT"])
  if (!endpoint.ok) {
    streams.err(`mandala: ${endpoint.error.text}\n`)
    return ExitCode.usage
  }
  const common = { endpoint: endpoint.value, timeoutMs: options.timeout * 1000 }
  const answered = await ask({
    get: (path) => fetchDocument({ ...common, path }),
    post: (path, body) => fetchDocument({ ...common, path, body }),
  })
  if (!answered.ok) {
    streams.err(`mandala: ${answered.error.text}\n`)
    return exitCodeOf(answered.error)
  }
  streams.out(options.output === "json" ? `${JSON.stringify(answered.value, null, 2)}\n` : view(answered.value))
  return ExitCode.ok
}

/** The sole voter stays what it is, without its standby. */
function drop(options: ConfirmOptions): (api: API) => Promise<Answered> {
  return async (api) => {
    const status = await api.get(STATUS_PATH)
    if (!status.ok) {
      return status
    }
    const members = objectsAt(objectAt(status.value, "cluster"), "members")
    const standby = members.find((member) => isTrueAt(member, "is_synchronous"))
    if (standby === undefined) {
      return err({ kind: "conflict", text: "there is no synchronous standby to drop" })
    }
    if (!options.confirmOff) {
      return err(unconfirmed("standby", standby))
    }
    const voters = members
      .filter((member) => textAt(member, "role") === "voter")
      .map((member) => numberAt(member, "slot"))
    const body = { voters, standbys: [], synchronous: false, drops_standby: true, is_standby_off: true }
    return await api.post(MEMBERS_PATH, body)
  }
}

function promote(options: ConfirmOptions): (api: API) => Promise<Answered> {
  return async (api) => {
    if (options.confirmOff) {
      return await api.post(PROMOTE_PATH, { is_voter_off: true })
    }
    const status = await api.get(STATUS_PATH)
    if (!status.ok) {
      return status
    }
    const members = objectsAt(objectAt(status.value, "cluster"), "members")
    return err(
      unconfirmed(
        "voter",
        members.find((member) => textAt(member, "role") === "voter"),
      ),
    )
  }
}

/** Two machines cannot tell a dead peer from a cut cable: a person must. */
function unconfirmed(what: "standby" | "voter", member: JSONObject | undefined): APIError {
  const machine = member === undefined ? "unknown" : clean(textAt(member, "name") ?? "")
  const ms = numberAt(member, "last_contact_ms")
  const contact = ms === undefined ? "never heard" : `last heard ${formatDuration(ms)} ago`
  const text = `the ${what} is ${machine}, ${contact}: switch it off and say --confirm-off; two that serve lose writes`
  return { kind: "conflict", text }
}

async function awaitEpoch(api: API, options: EpochOptions): Promise<Answered> {
  const end = performance.now() + options.timeout * 1000
  for (;;) {
    const status = await api.get(STATUS_PATH)
    const isSafe = status.ok && isTrueAt(objectAt(status.value, "cluster"), "is_epoch_safe")
    if (isSafe || !options.wait || !status.ok) {
      return status
    }
    if (performance.now() + EPOCH_POLL_MS >= end) {
      return err({ kind: "timeout", text: `too few of the new members vote after ${options.timeout} s` })
    }
    await new Promise((resolve) => setTimeout(resolve, EPOCH_POLL_MS))
  }
}

// ---------------------------------------------------------------- what people read

const MEMBER_COLUMNS: readonly Column<JSONObject>[] = [
  { header: "SLOT", cell: (member) => show(member, "slot") },
  { header: "MACHINE", cell: (member) => clean(textAt(member, "name") ?? "") },
  { header: "ADDRESS", cell: (member) => textAt(member, "address") ?? "" },
  { header: "ROLE", cell: roleText },
  { header: "BOOT NONCE", cell: (member) => numberAt(member, "boot_nonce")?.toString(16).padStart(8, "0") ?? "-" },
  { header: "INCARNATION", cell: (member) => show(member, "incarnation") },
  { header: "LAG", cell: (member) => show(member, "lag_ops") },
  { header: "GROWS TO", cell: (member) => clean(textAt(member, "grows_to") ?? "-") },
  { header: "UNCERTIFIED", cell: uncertifiedText },
  { header: "LAST CONTACT", cell: (member) => contactText(member) },
]

function membersText(document: JSONObject): string {
  const cluster = objectAt(document, "cluster")
  const certified = objectAt(document, "checkpoint")
  const head =
    `generation ${show(cluster, "generation")}, epoch ${show(cluster, "epoch")}, ` +
    `size ${clean(textAt(cluster, "size") ?? "-")}, ` +
    `quorum margin ${show(cluster, "quorum_margin")}, copies ${show(cluster, "copies")}, ` +
    `certified op ${show(certified, "certified_op")} (${rootText(certified, "certified_root")})\n\n`
  return head + formatTable(MEMBER_COLUMNS, objectsAt(cluster, "members"))
}

function roleText(member: JSONObject): string {
  const role = clean(textAt(member, "role") ?? "")
  if (isTrueAt(member, "is_primary")) {
    return "primary"
  }
  return isTrueAt(member, "is_synchronous") ? "synchronous standby" : role
}

function epochText(document: JSONObject): string {
  const generation = numberAt(document, "generation")
  return `epoch ${show(document, "epoch")} has begun${generation === undefined ? "" : ` in generation ${generation}`}\n`
}

function safetyText(document: JSONObject): string {
  const cluster = objectAt(document, "cluster")
  const isSafe = isTrueAt(cluster, "is_epoch_safe")
  const isOutgrown = textAt(objectAt(document, "machine"), "status") === "outgrown"
  if (isOutgrown) {
    return `epoch ${show(cluster, "epoch")} has larger limits than this machine: ask a machine of that epoch\n`
  }
  const what = isSafe ? "the machines that it replaced can be switched off" : "keep the machines that it replaced on"
  return `epoch ${show(cluster, "epoch")}: ${what}\n`
}

/** The checkpoint that it reports: those of one op whose roots differ are what a dispute is about. */
function uncertifiedText(member: JSONObject): string {
  const checkpoint = objectAt(member, "uncertified")
  return checkpoint === undefined ? "-" : `${show(checkpoint, "op")} ${rootText(checkpoint, "root")}`
}

function contactText(member: JSONObject): string {
  const ms = numberAt(member, "last_contact_ms")
  return ms === undefined ? "never" : formatDuration(ms)
}

function show(object: JSONObject | undefined, key: string): string {
  return String(numberAt(object, key) ?? "-")
}

function parseSlots(text: string): number[] {
  const slots = text === "" ? [] : text.split(",").map(Number)
  if (!slots.every((slot) => Number.isInteger(slot) && slot >= 0 && slot <= SLOT_MAX)) {
    throw new InvalidArgumentError("Slots are numbers with commas between, for instance 0,1,2.")
  }
  return slots
}

function parseEpoch(text: string): number {
  const epoch = Number(text)
  if (text === "" || !Number.isSafeInteger(epoch) || epoch < 0) {
    throw new InvalidArgumentError("An epoch is a whole number.")
  }
  return epoch
}
