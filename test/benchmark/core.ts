/** Runs core_program.ts in a process of its own, with the flags that it needs. Plane: control. */
import { execFile } from "node:child_process"
import { join } from "node:path"
import { promisify } from "node:util"
import type { CoreResult, CoreTask } from "./core_program.ts"
import { PROGRAM_SECONDS_MAX } from "./limits.ts"

const PROGRAM = join(import.meta.dirname, "core_program.ts")
/** Room for what a thousand requests allocate without a collection. */
const FLAGS = ["--expose-gc", "--max-semi-space-size=128", "--min-semi-space-size=128"]

const execute = promisify(execFile)

export async function runCore(task: CoreTask, flags: readonly string[] = []): Promise<CoreResult> {
  const args = [...FLAGS, ...flags, PROGRAM, JSON.stringify(task)]
  const { stdout } = await execute(process.execPath, args, { timeout: PROGRAM_SECONDS_MAX * 1_000 })
  // Proof: core_program.ts prints one CoreResult and nothing else.
  return JSON.parse(stdout) as CoreResult
}
