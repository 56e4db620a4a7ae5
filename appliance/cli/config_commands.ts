/** `mandala config`: the contexts that an operator keeps, and which one counts. Plane: control. */
import type { Command } from "commander"
import { ok, type Result } from "../types/result.ts"
import {
  type Config,
  configPath,
  type ConfigStoreError,
  type Environment,
  readConfig,
  writeConfig,
} from "./config_store.ts"
import { ExitCode } from "./exit_codes.ts"
import { type CLIStreams, examples, outputOption } from "./options.ts"
import { formatTable } from "./table.ts"

export function addConfigCommands(program: Command, streams: CLIStreams, onCode: (code: number) => void): void {
  const config = program
    .command("config")
    .description("the contexts: where a site answers, and the key that you have there")
    .addHelpText("after", examples("mandala config list", "mandala config use site-2"))
  config
    .command("list")
    .description("the contexts, without their keys; * marks the current one")
    .addOption(outputOption(["table", "json"]))
    .addHelpText("after", examples("mandala config list", "mandala config list -o json"))
    .action(({ output }: { readonly output: "table" | "json" }) => onCode(listContexts(streams, output)))
  config
    .command("use")
    .argument("<context>")
    .description("which context counts where none is named")
    .addHelpText("after", examples("mandala config use default", "MANDALA_CONTEXT=site-2 mandala status"))
    .action((name: string) => {
      onCode(change(streams, name, (kept) => ({ ...kept, current: name })))
    })
  config
    .command("endpoint")
    .argument("<context>")
    .argument("<url>", "any machine of the cluster")
    .description("the machine that is asked where no --endpoint is given")
    .addHelpText(
      "after",
      examples("mandala config endpoint default 10.0.0.11", "mandala config endpoint site-2 https://10.0.0.11:7443"),
    )
    .action((name: string, url: string) => {
      const contexts = (kept: Config) =>
        kept.contexts.map((one) => (one.name === name ? { ...one, endpoint: url } : one))
      onCode(change(streams, name, (kept) => ({ ...kept, contexts: contexts(kept) })))
    })
  config
    .command("remove")
    .argument("<context>")
    .description("forget a context, and the key in it")
    .addHelpText("after", examples("mandala config remove site-2", "mandala config remove default"))
    .action((name: string) => {
      onCode(
        change(streams, name, (kept) => ({
          current: kept.current === name ? "" : kept.current,
          contexts: kept.contexts.filter((one) => one.name !== name),
        })),
      )
    })
}

type Kept = { readonly path: string; readonly config: Config }

function read(environment: Environment): Result<Kept, ConfigStoreError> {
  const path = configPath(environment)
  if (path === undefined) {
    return { ok: false, error: { kind: "config", text: "there is no home directory: set MANDALA_CONFIG" } }
  }
  const config = readConfig(path)
  return config.ok ? ok({ path, config: config.value }) : config
}

function listContexts(streams: CLIStreams, output: "table" | "json"): ExitCode {
  const kept = read(streams.environment)
  if (!kept.ok) {
    streams.err(`mandala: ${kept.error.text}\n`)
    return ExitCode.failed
  }
  const { current } = kept.value.config
  const contexts = kept.value.config.contexts.map(({ name, endpoint, boot_endpoint }) => {
    return { name, endpoint, boot_endpoint, is_current: name === current }
  })
  if (output === "json") {
    streams.out(`${JSON.stringify({ schema: 1, path: kept.value.path, contexts }, null, 2)}\n`)
    return ExitCode.ok
  }
  streams.out(
    formatTable(
      [
        { header: "CURRENT", cell: (one) => (one.is_current ? "*" : "") },
        { header: "NAME", cell: (one) => one.name },
        { header: "ENDPOINT", cell: (one) => one.endpoint },
        { header: "BOOT SERVER", cell: (one) => one.boot_endpoint },
      ],
      contexts,
    ),
  )
  return ExitCode.ok
}

function change(streams: CLIStreams, name: string, changed: (config: Config) => Config): ExitCode {
  const kept = read(streams.environment)
  if (!kept.ok) {
    streams.err(`mandala: ${kept.error.text}\n`)
    return ExitCode.failed
  }
  const { path, config } = kept.value
  if (!config.contexts.some((one) => one.name === name)) {
    const names = config.contexts.map((one) => one.name).join(", ") || "none"
    streams.err(`mandala: there is no context '${name}'; there are: ${names}\n`)
    return ExitCode.not_found
  }
  const written = writeConfig(path, changed(config))
  if (!written.ok) {
    streams.err(`mandala: ${written.error.text}\n`)
    return ExitCode.failed
  }
  return ExitCode.ok
}
