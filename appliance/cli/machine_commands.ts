/** `mandala machine`: which machines were seen, and who may boot and join. Asks the boot server. Plane: control. */
import type { Command } from "commander"
import { exitCodeOf, fetchDocument } from "./api_client.ts"
import { ExitCode } from "./exit_codes.ts"
import { type JSONObject, numberAt, objectsAt, textAt } from "./json.ts"
import { type CLIStreams, examples, queryCommand, type QueryOptions } from "./options.ts"
import { clean, formatDuration, formatTable } from "./table.ts"
import { chooseTarget } from "./target.ts"

const PATH = "/v1/machine"

type ExpelOptions = QueryOptions & { readonly force: boolean }

export function addMachineCommands(program: Command, streams: CLIStreams, onCode: (code: number) => void): void {
  const machine = program
    .command("machine")
    .description("who may boot and join: a machine that nobody accepted gets nothing")
    .addHelpText("after", examples("mandala machine list", "mandala machine accept 52:54:00:00:00:01"))
  queryCommand(machine.command("list"), ["table", "json"])
    .description("the machines that asked the boot server, and what was decided about each")
    .addHelpText("after", examples("mandala machine list", "mandala machine list -o json"))
    .action(async (options: QueryOptions) => onCode(await ask(options, streams)))
  queryCommand(machine.command("accept").argument("<mac>"), ["text", "json"])
    .description("it may boot and join, from the next time it asks; also beforehand, or after it was put out")
    .addHelpText(
      "after",
      examples("mandala machine accept 52:54:00:00:00:01", "mandala machine accept 52-54-00-00-00-01 -o json"),
    )
    .action(async (mac: string, options: QueryOptions) =>
      onCode(await ask(options, streams, { action: "accept", machine: mac })),
    )
  queryCommand(machine.command("refuse").argument("<mac>"), ["text", "json"])
    .description("it gets nothing, whatever a rule says")
    .addHelpText(
      "after",
      examples("mandala machine refuse 52:54:00:00:00:01", "mandala machine refuse 52-54-00-00-00-01 -o json"),
    )
    .action(async (mac: string, options: QueryOptions) =>
      onCode(await ask(options, streams, { action: "refuse", machine: mac })),
    )
  queryCommand(machine.command("expel").argument("<mac>"), ["text", "json"])
    .description("its certificate is void and its links are cut; its place goes to the next machine that is accepted")
    .option("--force", "also when the cluster has no majority without it", false)
    .addHelpText(
      "after",
      examples("mandala machine expel 52:54:00:00:00:01", "mandala machine expel 52-54-00-00-00-01 --force"),
    )
    .action(async (mac: string, options: ExpelOptions) => {
      onCode(await ask(options, streams, { action: "expel", machine: mac, force: options.force }))
    })
}

async function ask(options: QueryOptions, streams: CLIStreams, body?: JSONObject): Promise<ExitCode> {
  const target = chooseTarget({ ...options, place: "boot" }, streams.environment)
  if (!target.ok) {
    streams.err(`mandala: ${target.error.text}\n`)
    return ExitCode.usage
  }
  const common = { ...target.value, path: PATH, timeoutMs: options.timeout * 1000 }
  const answered = await fetchDocument(body === undefined ? common : { ...common, body })
  if (!answered.ok) {
    streams.err(`mandala: ${answered.error.text}\n`)
    return exitCodeOf(answered.error)
  }
  const document = answered.value
  const shown = options.output === "json" ? `${JSON.stringify(document, null, 2)}\n` : deskText(document)
  streams.out(shown)
  return ExitCode.ok
}

function deskText(document: JSONObject): string {
  return formatTable(
    [
      { header: "MACHINE", cell: (one) => clean(textAt(one, "machine") ?? "") },
      { header: "ADMISSION", cell: (one) => clean(textAt(one, "admission") ?? "") },
      { header: "SLOT", cell: (one) => String(numberAt(one, "slot") ?? "-") },
      { header: "ADDRESS", cell: (one) => clean(textAt(one, "address") ?? "") },
      { header: "STAGE", cell: (one) => clean(textAt(one, "stage") ?? "") },
      { header: "SEEN", cell: (one) => seenText(numberAt(one, "seen_ms")) },
      { header: "SERIAL", cell: (one) => clean(textAt(one, "serial") ?? "") },
      { header: "PRODUCT", cell: (one) => clean(textAt(one, "product") ?? "") },
    ],
    objectsAt(document, "machines"),
  )
}

function seenText(ms: number | undefined): string {
  return ms === undefined ? "never" : `${formatDuration(ms)} ago`
}
