/** What the person at the command line asked for. Plane: control. */
import { existsSync } from "node:fs"
import { join, resolve } from "node:path"
import { parseArgs } from "node:util"
import { err, ok, type Result } from "../../appliance/types/result.ts"
import { CRASHES_DEFAULT, CRASHES_MAX, ROUNDS_DEFAULT, ROUNDS_MAX, SECONDS_DEFAULT, SECONDS_MAX } from "./limits.ts"

export const MEASUREMENTS = ["core", "heap", "link", "resp", "degraded", "failover", "simulator"] as const
export type Measurement = (typeof MEASUREMENTS)[number]

export const USAGE = `usage: npm run bench:replication -- [--only NAME[,NAME…]] [--seconds S] [--rounds R] [options]

Three replicas on this machine: as processes that talk over loopback, and in one process without sockets. Measurements
take turns, and the median of the rounds is reported. Run it on a machine that does nothing else.

  core       the replicas alone in one process, with and without the bytes of messages
  heap       by how much the core's heap has grown after a million operations
  link       over the replicas' own links: latency, throughput, processor time and garbage
  resp       as Redis clients
  degraded   with one backup stopped, and with one dead
  failover   from the crash of the primary to the next acknowledged write
  simulator  events that the simulator runs in a second

  --only NAMES      these measurements (all)
  --seconds S       each lasts so long (${SECONDS_DEFAULT})
  --rounds R        each is repeated so often (${ROUNDS_DEFAULT})
  --crashes N       crashes of a primary in all (${CRASHES_DEFAULT})
  --against DIR     another checkout, measured in turn with this one; its figures begin with "against "
  -o json           the report as JSON
  --help            print this

  npm run bench:replication                                     everything, some ten minutes
  npm run bench:replication -- --only link --against ../before -o json

exit codes: 0 measured, 1 something failed, 2 usage; a target that is missed is no failure
`

export type Options = {
  readonly only: readonly Measurement[]
  readonly seconds: number
  readonly rounds: number
  readonly crashes: number
  readonly against: string | undefined
  readonly isJSON: boolean
}

export function readOptions(args: readonly string[]): Result<Options | "help", string> {
  const parsed = valuesOf(args)
  if (!parsed.ok) {
    return parsed
  }
  const { values } = parsed.value
  if (values.help) {
    return ok("help")
  }
  const only: Measurement[] = []
  for (const name of values.only?.split(",") ?? MEASUREMENTS) {
    const known = MEASUREMENTS.find((measurement) => measurement === name)
    if (known === undefined) {
      return err(`there is no measurement '${name}': ${MEASUREMENTS.join(", ")}`)
    }
    only.push(known)
  }
  const seconds = Number(values.seconds)
  if (!(seconds >= 0.1 && seconds <= SECONDS_MAX)) {
    return err(`--seconds is 0.1 to ${SECONDS_MAX}, not '${values.seconds}'`)
  }
  const rounds = Number(values.rounds)
  const crashes = Number(values.crashes)
  if (!isCount(rounds, ROUNDS_MAX)) {
    return err(`--rounds is 1 to ${ROUNDS_MAX}, not '${values.rounds}'`)
  }
  if (!isCount(crashes, CRASHES_MAX)) {
    return err(`--crashes is 1 to ${CRASHES_MAX}, not '${values.crashes}'`)
  }
  if (values.output !== "text" && values.output !== "json") {
    return err(`-o is text or json, not '${values.output}'`)
  }
  const against = values.against === undefined ? undefined : resolve(values.against)
  if (against !== undefined && !existsSync(join(against, "appliance/main.ts"))) {
    return err(`--against: ${against} is no checkout`)
  }
  return ok({ only, seconds, rounds, crashes, against, isJSON: values.output === "json" })
}

function isCount(value: number, most: number): boolean {
  return Number.isInteger(value) && value >= 1 && value <= most
}

function valuesOf(args: readonly string[]) {
  try {
    return ok(
      parseArgs({
        args: [...args],
        options: {
          only: { type: "string" },
          seconds: { type: "string", default: String(SECONDS_DEFAULT) },
          rounds: { type: "string", default: String(ROUNDS_DEFAULT) },
          crashes: { type: "string", default: String(CRASHES_DEFAULT) },
          against: { type: "string" },
          output: { type: "string", short: "o", default: "text" },
          help: { type: "boolean", default: false },
        },
      }),
    )
  } catch (error) {
    return err(error instanceof Error ? error.message : String(error))
  }
}
