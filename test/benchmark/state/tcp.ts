/** What TCP alone does between two Node processes of this machine: the measure for every copy. Plane: control. */
import { execFile, spawn } from "node:child_process"
import { once } from "node:events"
import { join } from "node:path"
import { promisify } from "node:util"
import { PROGRAM_SECONDS_MAX } from "./limits.ts"

const PROGRAM = join(import.meta.dirname, "tcp_program.ts")
const execute = promisify(execFile)

/** Bytes a second. */
export async function measureTCP(): Promise<number> {
  const sender = spawn(process.execPath, [PROGRAM], { stdio: ["ignore", "pipe", "inherit"] })
  try {
    // Proof: a stream that was given no encoding brings Buffers.
    const [port] = (await once(sender.stdout, "data")) as [Buffer]
    const { stdout } = await execute(process.execPath, [PROGRAM, port.toString().trim()], {
      timeout: PROGRAM_SECONDS_MAX * 1_000,
    })
    const rate = Number(stdout)
    if (!(rate > 0)) {
      throw new Error("nothing came over TCP")
    }
    return rate
  } finally {
    sender.kill("SIGKILL")
  }
}
