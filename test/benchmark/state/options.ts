/** What the person at the command line asked of `npm run bench:state`. Plane: control. */
import { existsSync } from "node:fs"
import { dirname, join, resolve } from "node:path"
import { parseArgs } from "node:util"
import { err, ok, type Result } from "../../../appliance/types/result.ts"
import { ROUNDS_DEFAULT, ROUNDS_MAX, SECONDS_DEFAULT, SECONDS_MAX, STATE_CASES, type StateCase } from "./limits.ts"

export const MEASUREMENTS = ["rejoin", "checkpoints", "scrub", "memory", "startup"] as const
export type Measurement = (typeof MEASUREMENTS)[number]

export const USAGE = `usage: npm run bench:state -- [--only NAME[,NAME…]] [--state SIZE[,SIZE…]] [--rounds R] [options]

What it costs to have all of the state in memory, three times over: machines as processes that talk over loopback.
Measurements take turns, and the median of the rounds is reported. Run it on a machine that does nothing else.

  rejoin       a blank machine copies the state: idle, and under half of the full write load; beside what one Node
               process sends another over TCP
  checkpoints  what they cost by how often they are made; full digests beside incremental ones
  scrub        how long a round through the memory takes, and its share of a core
  memory       bytes in use for each byte stored, at 90 % of the keys, beside redis-server
  startup      from the start of a process to its first answer, by the size of its memory

  --only NAMES      these measurements (all)
  --state SIZES     what a machine copies: ${STATE_CASES.map(({ name }) => name.replace(" ", "")).join(", ")} (both)
  --seconds S       load before a machine is taken away (${SECONDS_DEFAULT})
  --rounds R        each is repeated so often (${ROUNDS_DEFAULT})
  --redis FILE      the redis-server beside which memory is measured (the one on the PATH, if there is one)
  --against DIR     another checkout, measured in turn with this one; its figures begin with "against "
  --out FILE        writes the table that the README shows, too
  -o json           the report as JSON
  --help            print this

  npm run bench:state                                           everything, some ten minutes and 10 GiB of memory
  npm run bench:state -- --only rejoin --state 64MiB --rounds 5 -o json

exit codes: 0 measured, 1 something failed, 2 usage; a target that is missed is no failure
`

export type Options = {
  readonly only: readonly Measurement[]
  readonly states: readonly StateCase[]
  readonly seconds: number
  readonly rounds: number
  readonly redis: string
  readonly against: string | undefined
  /** Where the README's table goes. */
  readonly out: string | undefined
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
  const states: StateCase[] = []
  for (const name of values.state?.split(",") ?? STATE_CASES.map((one) => one.name)) {
    const known = STATE_CASES.find((one) => one.name.replace(" ", "") === name.replace(" ", ""))
    if (known === undefined) {
      return err(`--state is 64MiB, 1GiB or both, not '${name}'`)
    }
    states.push(known)
  }
  const seconds = Number(values.seconds)
  if (!(seconds >= 0.1 && seconds <= SECONDS_MAX)) {
    return err(`--seconds is 0.1 to ${SECONDS_MAX}, not '${values.seconds}'`)
  }
  const rounds = Number(values.rounds)
  if (!(Number.isInteger(rounds) && rounds >= 1 && rounds <= ROUNDS_MAX)) {
    return err(`--rounds is 1 to ${ROUNDS_MAX}, not '${values.rounds}'`)
  }
  if (values.output !== "text" && values.output !== "json") {
    return err(`-o is text or json, not '${values.output}'`)
  }
  const against = values.against === undefined ? undefined : resolve(values.against)
  if (against !== undefined && !existsSync(join(against, "test/benchmark/state/pages_program.ts"))) {
    return err(`--against: ${against} is no checkout that has this benchmark`)
  }
  const out = values.out === undefined ? undefined : resolve(values.out)
  if (out !== undefined && !existsSync(dirname(out))) {
    return err(`--out: there is no folder ${dirname(out)}`)
  }
  return ok({ only, states, seconds, rounds, redis: values.redis, against, out, isJSON: values.output === "json" })
}

function valuesOf(args: readonly string[]) {
  try {
    return ok(
      parseArgs({
        args: [...args],
        options: {
          only: { type: "string" },
          state: { type: "string" },
          seconds: { type: "string", default: String(SECONDS_DEFAULT) },
          rounds: { type: "string", default: String(ROUNDS_DEFAULT) },
          redis: { type: "string", default: "redis-server" },
          against: { type: "string" },
          out: { type: "string" },
          output: { type: "string", short: "o", default: "text" },
          help: { type: "boolean", default: false },
        },
      }),
    )
  } catch (error) {
    return err(error instanceof Error ? error.message : String(error))
  }
}
