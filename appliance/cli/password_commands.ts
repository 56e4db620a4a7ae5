/** `mandala password`: what clients say to use the data port from the network. Plane: control. */
import { randomBytes } from "node:crypto"
import type { Command } from "commander"
import { exitCodeOf, fetchDocument } from "./api_client.ts"
import { ExitCode } from "./exit_codes.ts"
import { PASSWORD_BYTES, PASSWORD_INPUT_BYTES_MAX } from "./limits.ts"
import { type CLIStreams, examples, queryCommand, type QueryOptions } from "./options.ts"
import { chooseTarget } from "./target.ts"

const PATH = "/v1/password"

type SetOptions = QueryOptions & { readonly stdin: boolean }

export function addPasswordCommands(program: Command, streams: CLIStreams, onCode: (code: number) => void): void {
  const password = program
    .command("password")
    .description("the data port's: without one, machines listen for clients on loopback only")
    .addHelpText("after", examples("mandala password set", "mandala password clear"))
  queryCommand(password.command("set"), ["text", "json"])
    .description("make a password, set it, and print it this once; clients that gave an earlier one must give it")
    .option("--stdin", "read it from standard input instead; never from the command line, where others see it", false)
    .addHelpText("after", examples("mandala password set", "mandala password set --stdin < password.txt"))
    .action(async (options: SetOptions) => {
      const chosen = options.stdin ? await readPassword(streams) : randomBytes(PASSWORD_BYTES).toString("base64url")
      onCode(await send(options, streams, { chosen, isShown: !options.stdin }))
    })
  queryCommand(password.command("clear"), ["text", "json"])
    .description("no password: clients from the network are disconnected, and machines listen on loopback only")
    .addHelpText("after", examples("mandala password clear", "mandala password clear --endpoint 10.0.0.11"))
    .action(async (options: QueryOptions) => onCode(await send(options, streams, { chosen: null, isShown: false })))
}

async function readPassword(streams: CLIStreams): Promise<string> {
  let text = ""
  for await (const chunk of streams.input) {
    text += Buffer.from(chunk).toString("utf8")
    if (text.length > PASSWORD_INPUT_BYTES_MAX) {
      break
    }
  }
  return text.replace(/\r?\n$/, "")
}

async function send(
  options: QueryOptions,
  streams: CLIStreams,
  { chosen, isShown }: { readonly chosen: string | null; readonly isShown: boolean },
): Promise<ExitCode> {
  const target = chooseTarget(options, streams.environment)
  if (!target.ok) {
    streams.err(`mandala: ${target.error.text}\n`)
    return ExitCode.usage
  }
  const body = { password: chosen }
  const answered = await fetchDocument({ ...target.value, path: PATH, timeoutMs: options.timeout * 1000, body })
  if (!answered.ok) {
    streams.err(`mandala: ${answered.error.text}\n`)
    return exitCodeOf(answered.error)
  }
  const shown = isShown ? { password: chosen } : {}
  if (options.output === "json") {
    streams.out(`${JSON.stringify({ ...answered.value, ...shown })}\n`)
  } else if (isShown) {
    streams.err("mandala: set; it is not shown again\n")
    streams.out(`${chosen ?? ""}\n`)
  } else {
    streams.err(chosen === null ? "mandala: no password is set\n" : "mandala: set\n")
  }
  return ExitCode.ok
}
