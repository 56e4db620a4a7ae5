/** What the commands that ask a machine have in common: their streams, options and examples. Plane: control. */
import { type Command, InvalidArgumentError, Option } from "commander"
import { TIMEOUT_SECONDS, TIMEOUT_SECONDS_MAX } from "./limits.ts"

export type CLIStreams = {
  readonly out: (text: string) => void
  readonly err: (text: string) => void
  readonly input: AsyncIterable<Uint8Array>
  readonly environment: Readonly<Record<string, string | undefined>>
}

export type QueryOptions = {
  readonly endpoint?: string
  readonly context?: string
  readonly output: "table" | "text" | "wide" | "json"
  readonly timeout: number
}

export function queryCommand(command: Command, outputs: readonly string[]): Command {
  return command
    .option(
      "--endpoint <url>",
      "any machine's operator API (default: MANDALA_ENDPOINT, the context's, or this machine)",
    )
    .option("--context <name>", "as whom (default: MANDALA_CONTEXT, or the current one of 'mandala config')")
    .option("--timeout <seconds>", "how long to wait in all", parseSeconds, TIMEOUT_SECONDS)
    .addOption(outputOption(outputs))
}

export function outputOption(choices: readonly string[]): Option {
  return new Option("-o, --output <format>", "how to print").choices(choices).default(choices[0])
}

export function parseSeconds(text: string): number {
  const seconds = Number(text)
  if (text === "" || !(seconds > 0 && seconds <= TIMEOUT_SECONDS_MAX)) {
    throw new InvalidArgumentError(`Allowed are numbers above 0, up to ${TIMEOUT_SECONDS_MAX}.`)
  }
  return seconds
}

export function examples(...lines: readonly [string, string]): string {
  return `\nExamples:\n${lines.map((line) => `  ${line}\n`).join("")}`
}
