/** Runs the tools of the host. The only file that imports zx. Plane: control. */
import { $ } from "zx"
import { err, ok, type Result } from "../appliance/types/result.ts"
import type { BuildError } from "./errors.ts"
import { BUILDER_LIMITS } from "./limits.ts"

export type RunOptions = { readonly directory?: string; readonly signal: AbortSignal }

/** The shell's own answers when there is nothing to run. */
const EXIT_NOT_EXECUTABLE = 126
const EXIT_NOT_FOUND = 127

/** Standard output of a tool that succeeded. Arguments are passed as they are; no shell syntax is read in them. */
export async function run(
  tool: string,
  parameters: readonly string[],
  options: RunOptions,
): Promise<Result<string, BuildError>> {
  const finished = await runAny(tool, parameters, options)
  if (!finished.ok) {
    return finished
  }
  const { exitCode, stdout, stderr } = finished.value
  if (exitCode === 0) {
    return ok(stdout)
  }
  if (stderr.includes("No space left on device")) {
    return err({ kind: "disk_full", path: options.directory ?? tool })
  }
  return err({ kind: "tool_failed", tool, detail: lastLine(stderr) || `exit code ${exitCode}` })
}

export type Finished = { readonly exitCode: number; readonly stdout: string; readonly stderr: string }

/** Like run(), for tools whose failure is an answer too. */
export async function runAny(
  tool: string,
  parameters: readonly string[],
  options: RunOptions,
): Promise<Result<Finished, BuildError>> {
  if (options.signal.aborted) {
    return err({ kind: "interrupted" })
  }
  // With nothrow a command that cannot run is an exit code, as in a shell. LC_ALL: messages are compared.
  const output = await $({
    nothrow: true,
    quiet: true,
    signal: options.signal,
    env: { ...process.env, LC_ALL: "C" },
    ...(options.directory === undefined ? {} : { cwd: options.directory }),
  })`${tool} ${[...parameters]}`
  if (options.signal.aborted) {
    return err({ kind: "interrupted" })
  }
  const exitCode = output.exitCode ?? 1
  if (exitCode === EXIT_NOT_FOUND || exitCode === EXIT_NOT_EXECUTABLE) {
    return err({ kind: "tool_missing", tool })
  }
  return ok({ exitCode, stdout: output.stdout, stderr: output.stderr })
}

export function lastLine(text: string): string {
  const line = text.trimEnd().split("\n").at(-1) ?? ""
  return line.slice(0, BUILDER_LIMITS.detail_chars_max)
}
