/** Programs of the host that the lab runs: bounded in time, ended by pid, never left behind. Plane: control. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process"
import { closeSync, openSync } from "node:fs"
import { err, ok, type Result } from "../../appliance/types/result.ts"
import { STOP_MS, TOOL_TIMEOUT_MS } from "./limits.ts"

export type LabError = { readonly kind: "lab_failed"; readonly step: string; readonly message: string }

export function labError(step: string, message: string): LabError {
  return { kind: "lab_failed", step, message }
}

/** Runs a short command to its end; its standard output. */
export function run(step: string, command: readonly string[]): Result<string, LabError> {
  const [program = "", ...args] = command
  const result = spawnSync(program, args, { encoding: "utf8", timeout: TOOL_TIMEOUT_MS })
  if (result.error !== undefined) {
    return err(
      labError(
        step,
        `${program} could not be run (${result.error.message}); run 'npm test' or 'npm start' to install it`,
      ),
    )
  }
  if (result.status !== 0) {
    return err(
      labError(step, `'${command.join(" ")}' failed: ${result.stderr.trim() || `exit code ${String(result.status)}`}`),
    )
  }
  return ok(result.stdout)
}

/** Runs commands in order; stops at the first that fails. */
export function runAll(step: string, commands: readonly (readonly string[])[]): Result<null, LabError> {
  for (const command of commands) {
    const result = run(step, command)
    if (!result.ok) {
      return result
    }
  }
  return ok(null)
}

/** A long-lived child whose output goes to a file. */
export class Child {
  readonly #process: ChildProcess
  #exited = false
  #code: number | null = null
  readonly #ended: Promise<void>

  constructor(options: {
    readonly command: readonly string[]
    readonly logFile: string
    readonly env?: NodeJS.ProcessEnv
  }) {
    const [program = "", ...args] = options.command
    const log = openSync(options.logFile, "a", 0o600)
    this.#process = spawn(program, args, { stdio: ["ignore", log, log], env: options.env ?? process.env })
    closeSync(log)
    this.#ended = new Promise((resolve) => {
      const end = (code: number | null): void => {
        this.#exited = true
        this.#code = code
        resolve()
      }
      this.#process.once("exit", end)
      this.#process.once("error", () => end(null))
    })
  }

  get pid(): number | undefined {
    return this.#process.pid
  }

  get exited(): boolean {
    return this.#exited
  }

  get exitCode(): number | null {
    return this.#code
  }

  /** SIGKILL, as a power cut is to a machine. */
  async kill(): Promise<void> {
    if (!this.#exited) {
      this.#process.kill("SIGKILL")
      await this.#ended
    }
  }

  /** SIGTERM, and SIGKILL for who does not listen. */
  async stop(): Promise<void> {
    if (this.#exited) {
      return
    }
    this.#process.kill("SIGTERM")
    const timer = setTimeout(() => this.#process.kill("SIGKILL"), STOP_MS)
    await this.#ended
    clearTimeout(timer)
  }
}
