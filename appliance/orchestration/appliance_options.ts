/** The arguments of `mandala appliance`, which /init starts and tests start by hand. Plane: control. */
import { existsSync } from "node:fs"
import { parseArgs } from "node:util"
import { CLUSTER_SIZES, type ClusterSize } from "../types/cluster_sizes.ts"
import { err, ok, type Result } from "../types/result.ts"
import { ipv4Bytes } from "./hello.ts"
import { PORT_MAX } from "./limits.ts"
import type { Ports } from "./process_host.ts"

export type ApplianceOptions = {
  readonly nodeFile: string
  readonly networkFile: string
  readonly ports: Ports
  /** The address that others are told; by default the machine's own. */
  readonly advertise: string | undefined
  /** The address on which ports are opened. */
  readonly bind: string
  /** As in node.json, which it overrules; null where nothing was said. */
  readonly growTo: ClusterSize | null
  readonly runDirectory: string
  /** The device for the person in front of the machine; "" for none. */
  readonly console: string
}

const NODE_FILE = "/etc/mandala/node.json"
const NETWORK_FILE = "/run/mandala/network.json"
const RUN_DIRECTORY = "/run/mandala"
const CONSOLE = "/dev/console"
const REPLICA_PORT = 7400
const DATA_PORT = 6379
const API_PORT = 7443

const FLAGS = {
  node: { type: "string" },
  network: { type: "string" },
  "replica-port": { type: "string" },
  "data-port": { type: "string" },
  "api-port": { type: "string" },
  advertise: { type: "string" },
  bind: { type: "string" },
  "run-directory": { type: "string" },
  console: { type: "string" },
  "grow-to": { type: "string" },
} as const

export function parseApplianceOptions(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): Result<ApplianceOptions, string> {
  const parsed = parseFlags(args)
  if (!parsed.ok) {
    return parsed
  }
  const flags = parsed.value
  const replica = portOf(flags["replica-port"], REPLICA_PORT)
  const data = portOf(flags["data-port"], DATA_PORT)
  const api = portOf(flags["api-port"], API_PORT)
  if (replica === undefined || data === undefined || api === undefined) {
    return err(`a port is a number from 0 to ${PORT_MAX}; 0 takes a free one`)
  }
  for (const address of [flags.advertise, flags.bind]) {
    if (address !== undefined && ipv4Bytes(address) === undefined) {
      return err(`${JSON.stringify(address)} is no IPv4 address`)
    }
  }
  const growTo = CLUSTER_SIZES.find((size) => size === flags["grow-to"])
  if (flags["grow-to"] !== undefined && growTo === undefined) {
    return err(`--grow-to is one of ${CLUSTER_SIZES.join(", ")}`)
  }
  const runDirectory = flags["run-directory"] ?? RUN_DIRECTORY
  return ok({
    nodeFile: flags.node ?? environment["MANDALA_NODE_JSON"] ?? NODE_FILE,
    networkFile: flags.network ?? environment["MANDALA_NETWORK"] ?? NETWORK_FILE,
    ports: { replica, data, api },
    advertise: flags.advertise,
    bind: flags.bind ?? "0.0.0.0",
    growTo: growTo ?? null,
    runDirectory,
    // Only a machine that /init booted is ours to write on the console of.
    console: flags.console ?? (runDirectory === RUN_DIRECTORY && existsSync(RUN_DIRECTORY) ? CONSOLE : ""),
  })
}

type Flags = Readonly<Partial<Record<keyof typeof FLAGS, string | undefined>>>

function parseFlags(args: readonly string[]): Result<Flags, string> {
  try {
    return ok(parseArgs({ args: [...args], options: FLAGS }).values)
  } catch (cause) {
    return err(cause instanceof Error ? cause.message : String(cause))
  }
}

function portOf(text: string | undefined, otherwise: number): number | undefined {
  if (text === undefined) {
    return otherwise
  }
  const port = Number(text)
  return /^\d{1,5}$/.test(text) && port <= PORT_MAX ? port : undefined
}
