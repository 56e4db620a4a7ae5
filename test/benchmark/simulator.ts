/** Events that the simulator of test/simulation runs in a second, on one core. Plane: control. */
import { execFile } from "node:child_process"
import { join } from "node:path"
import { promisify } from "node:util"
import { PROGRAM_SECONDS_MAX, SIMULATOR_SEEDS } from "./limits.ts"

const execute = promisify(execFile)
const BYTES_MAX = 16 * 1024 * 1024

export async function measureSimulator(checkout: string, mode: "swarm" | "hold_back"): Promise<number> {
  const program = join(checkout, "test/simulation/main.ts")
  const args = [program, "--seeds", `1..${SIMULATOR_SEEDS}`, "--mode", mode, "--jobs", "1", "-o", "json"]
  const options = { timeout: PROGRAM_SECONDS_MAX * 1_000, maxBuffer: BYTES_MAX }
  const { stdout } = await execute(process.execPath, args, options)
  // Proof: the simulator's report (test/simulation/report.ts) has this field.
  return (JSON.parse(stdout) as { readonly events_per_second: number }).events_per_second
}
