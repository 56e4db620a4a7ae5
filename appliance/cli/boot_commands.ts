/** `mandala boot`: how a machine's boots went, what it would get now, and why. Asks the boot server. Plane: control. */
import type { Command } from "commander"
import { exitCodeOf, fetchDocument } from "./api_client.ts"
import { ExitCode } from "./exit_codes.ts"
import { type JSONObject, numberAt, objectAt, objectsAt, textAt } from "./json.ts"
import { BOOT_PORT } from "./limits.ts"
import { type CLIStreams, examples, queryCommand, type QueryOptions } from "./options.ts"
import { clean, formatTable } from "./table.ts"
import { chooseTarget } from "./target.ts"

const LINE_COLUMNS_MAX = 200
/** What a script is cut to: far more than any that the boot server renders. */
const SCRIPT_COLUMNS_MAX = 1_000

type Question = {
  readonly name: "trace" | "explain" | "render"
  readonly description: string
  readonly view: (document: JSONObject) => string
}

const QUESTIONS: readonly Question[] = [
  { name: "trace", description: "each step of its last boots, with times and the packets' facts", view: traceText },
  { name: "explain", description: "which rule decides what it gets now, and why the others do not", view: explainText },
  { name: "render", description: "exactly the script that it would be sent now", view: renderText },
]

export function addBootCommands(program: Command, streams: CLIStreams, onCode: (code: number) => void): void {
  const boot = program
    .command("boot")
    .description("how a machine boots, as the boot server sees it")
    .addHelpText(
      "after",
      examples("mandala boot trace 52:54:00:00:00:01", "mandala boot explain 52:54:00:00:00:01 --endpoint 10.0.0.1"),
    )
  for (const question of QUESTIONS) {
    const { name, description } = question
    queryCommand(boot.command(name).argument("<mac>"), ["text", "json"])
      .description(description)
      .addHelpText(
        "after",
        examples(`mandala boot ${name} 52:54:00:00:00:01`, `mandala boot ${name} 52-54-00-00-00-01 -o json`),
      )
      .action(async (mac: string, options: QueryOptions) => onCode(await ask(question, mac, options, streams)))
  }
}

/** Booting itself is in plain, so its questions are as well: the operator's endpoint only says which host it is. */
async function ask(question: Question, mac: string, options: QueryOptions, streams: CLIStreams): Promise<ExitCode> {
  const target = chooseTarget({ ...options, place: "boot" }, streams.environment)
  if (!target.ok) {
    streams.err(`mandala: ${target.error.text}\n`)
    return ExitCode.usage
  }
  const { hostname, port, protocol } = target.value.endpoint
  const endpoint = new URL(`http://${hostname}:${protocol === "http:" && port !== "" ? port : BOOT_PORT}`)
  const path = `/boot/${question.name}?machine=${encodeURIComponent(mac)}`
  const answered = await fetchDocument({ endpoint, credentials: undefined, path, timeoutMs: options.timeout * 1000 })
  if (!answered.ok) {
    streams.err(`mandala: ${answered.error.text}\n`)
    return exitCodeOf(answered.error)
  }
  const document = answered.value
  streams.out(options.output === "json" ? `${JSON.stringify(document, null, 2)}\n` : question.view(document))
  return ExitCode.ok
}

function traceText(document: JSONObject): string {
  const events = objectsAt(document, "events")
  const first = numberAt(events[0], "at") ?? 0
  const reason = textAt(document, "reason") ?? ""
  const table = formatTable(
    [
      { header: "SECONDS", cell: (event) => (((numberAt(event, "at") ?? first) - first) / 1000).toFixed(1) },
      { header: "BOOT", cell: (event) => clean((textAt(event, "boot_id") ?? "").slice(0, 8)) },
      { header: "STEP", cell: (event) => clean(textAt(event, "step") ?? "") },
      { header: "FACTS", cell: (event) => factsText(objectAt(event, "facts")) },
    ],
    events,
  )
  return `${table}${reason === "" ? "" : `\n${clean(reason, LINE_COLUMNS_MAX)}\n`}`
}

function factsText(facts: JSONObject | undefined): string {
  const words = Object.entries(facts ?? {}).map(([name, value]) => `${name}=${String(value)}`)
  return clean(words.join(" "), LINE_COLUMNS_MAX)
}

function explainText(document: JSONObject): string {
  return formatTable(
    [
      { header: "RULE", cell: (rule) => clean(textAt(rule, "rule") ?? "") },
      { header: "VERDICT", cell: (rule) => clean(textAt(rule, "verdict") ?? "") },
      { header: "WHY", cell: (rule) => clean(textAt(rule, "why") ?? "", LINE_COLUMNS_MAX) },
    ],
    objectsAt(document, "rules"),
  )
}

function renderText(document: JSONObject): string {
  const lines = (textAt(document, "script") ?? "").trimEnd().split("\n")
  return `${lines.map((line) => clean(line, SCRIPT_COLUMNS_MAX)).join("\n")}\n`
}
