/** What the lab's operator types: `mandala` commands, with the keys that the boot server made for them. Plane: control. */
import { spawn } from "node:child_process"
import { join, resolve } from "node:path"
import { err, ok, type Result } from "../../appliance/types/result.ts"
import { type LabError, labError } from "./host.ts"
import { COMMAND_MS } from "./limits.ts"

const MAIN = resolve(import.meta.dirname, "../../appliance/main.ts")

/** Where the boot server and the commands keep the site's keys: in the lab's own directory, and gone with it. */
export function operatorEnvironment(directory: string): NodeJS.ProcessEnv {
  return { ...process.env, MANDALA_CONFIG: join(directory, "keys/config.json") }
}

export class Operator {
  readonly #environment: NodeJS.ProcessEnv

  constructor(directory: string) {
    this.#environment = operatorEnvironment(directory)
  }

  /** One command; what it printed. `input` is what is typed into it. */
  async run(args: readonly string[], input = ""): Promise<Result<string, LabError>> {
    const command = `mandala ${args.join(" ")}`
    const child = spawn(process.execPath, [MAIN, ...args], { env: this.#environment, timeout: COMMAND_MS })
    let out = ""
    let said = ""
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      out += text
    })
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      said += text
    })
    child.stdin.on("error", () => undefined)
    child.stdin.end(input)
    const code = await new Promise<number | null>((done) => {
      child.on("close", done)
      child.on("error", () => done(null))
    })
    return code === 0 ? ok(out) : err(labError("operator", `'${command}' ended with ${String(code)}: ${said.trim()}`))
  }
}
