/**
 * What the lab's operator types: `mandala` commands, with the keys that the boot server made for them.
 * Plane: control.
 */
import { spawn } from "node:child_process"
import { join, resolve } from "node:path"
import { chooseContext, type Context } from "../../appliance/cli/config_store.ts"
import { API_PORT } from "../../appliance/cli/limits.ts"
import { openRequest } from "../../appliance/cli/transport.ts"
import type { StatusDocument } from "../../appliance/gateway/status_document.ts"
import { err, ok, type Result } from "../../appliance/types/result.ts"
import { type LabError, labError } from "./host.ts"
import { COMMAND_MS, HTTP_TIMEOUT_MS } from "./limits.ts"

const MAIN = resolve(import.meta.dirname, "../../appliance/main.ts")

/** Where the boot server and the commands keep the site's keys: in the lab's own directory, and gone with it. */
export function operatorEnvironment(directory: string): NodeJS.ProcessEnv {
  return { ...process.env, MANDALA_CONFIG: join(directory, "keys/config.json") }
}

export class Operator {
  readonly #environment: NodeJS.ProcessEnv
  #context: Context | undefined

  constructor(directory: string) {
    this.#environment = operatorEnvironment(directory)
  }

  /** What a machine says of itself, asked with the operator's key; undefined when it does not answer. */
  async status(address: string): Promise<StatusDocument | undefined> {
    if (this.#context === undefined) {
      const chosen = chooseContext(undefined, this.#environment)
      this.#context = chosen.ok ? chosen.value : undefined
    }
    const url = new URL(`https://${address}:${API_PORT}/v1/status`)
    const signal = AbortSignal.timeout(HTTP_TIMEOUT_MS)
    try {
      const asked = { url, method: "GET", body: undefined, credentials: this.#context, signal } as const
      const response = await openRequest(asked)
      let text = ""
      for await (const chunk of response.setEncoding("utf8")) {
        text += String(chunk)
      }
      // Proof: a machine of this very checkout answered, and it writes exactly this type.
      return response.statusCode === 200 ? (JSON.parse(text) as StatusDocument) : undefined
    } catch {
      // Not up yet, or no longer: the caller asks again, a bounded number of times.
      return undefined
    }
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
