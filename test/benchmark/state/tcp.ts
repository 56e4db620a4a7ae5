/** What TCP alone does between two Node processes of this machine: the measure for every copy. Plane: control. */
import { execFile, spawn } from "node:child_process"
import { once } from "node:events"
import { join } from "node:path"
import { promisify } from "node:util"
import { assert } from "../../../appliance/types/assert.ts"
import { PROGRAM_SECONDS_MAX } from "./limits.ts"
import type { TCPReport } from "./tcp_program.ts"

const PROGRAM = join(import.meta.dirname, "tcp_program.ts")
const execute = promisify(execFile)

export async function measureTCP(): Promise<TCPReport> {
  const sender = spawn(process.execPath, [PROGRAM], { stdio: ["ignore", "pipe", "inherit"] })
  try {
    // Proof: a stream that was given no encoding brings Buffers.
    const [port] = (await once(sender.stdout, "data")) as [Buffer]
    const { stdout } = await execute(process.execPath, [PROGRAM, port.toString().trim()], {
      timeout: PROGRAM_SECONDS_MAX * 1_000,
    })
    // Proof: tcp_program.ts prints one TCPReport and nothing else.
    const report = JSON.parse(stdout) as TCPReport
    assert(report.bytes_per_second > 0, "tcp: something was read")
    return report
  } finally {
    sender.kill("SIGKILL")
  }
}
