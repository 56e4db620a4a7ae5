/** Runs one command in a process group of its own, with a time limit; nothing of it is left behind. Plane: control. */
import { spawn } from "node:child_process"
import { GRACE_SECONDS, OUTPUT_BYTES_MAX } from "../limits.ts"

export type CommandEnd = {
  /** Undefined when a signal ended it or it never started. */
  readonly code: number | undefined
  readonly output: string
  readonly seconds: number
  readonly end: "exited" | "late" | "stopped" | "not_started"
}

export type Command = {
  readonly file: string
  readonly args: readonly string[]
  readonly secondsMax: number
  readonly cwd: string
  /** Ends the command early when it fires. */
  readonly stop: AbortSignal
  readonly graceSeconds?: number
}

export function runCommand(command: Command): Promise<CommandEnd> {
  const since = performance.now()
  const chunks: Buffer[] = []
  let bytes = 0
  let end: CommandEnd["end"] = "exited"
  // Tools ask the environment whether to draw; what we print is plain text.
  const { FORCE_COLOR: _, ...environment } = process.env
  const child = spawn(command.file, command.args, {
    cwd: command.cwd,
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...environment, NO_COLOR: "1" },
  })
  for (const stream of [child.stdout, child.stderr]) {
    stream.on("data", (chunk: Buffer) => {
      chunks.push(chunk)
      bytes += chunk.length
      while (bytes > OUTPUT_BYTES_MAX && chunks.length > 1) {
        bytes -= chunks.shift()?.length ?? 0
      }
    })
  }
  return new Promise((resolve) => {
    let killTimer: NodeJS.Timeout | undefined
    const endEarly = (why: "late" | "stopped"): void => {
      end = why
      signalGroup(child.pid, "SIGTERM")
      const graceSeconds = command.graceSeconds ?? GRACE_SECONDS
      killTimer ??= setTimeout(() => signalGroup(child.pid, "SIGKILL"), graceSeconds * 1000)
    }
    const lateTimer = setTimeout(() => endEarly("late"), command.secondsMax * 1000)
    const onStop = (): void => endEarly("stopped")
    command.stop.addEventListener("abort", onStop, { once: true })
    child.once("error", (error) => {
      end = "not_started"
      chunks.push(Buffer.from(`${error.message}\n`))
    })
    // Whatever the command left running would hold the pipes open and disturb the next phase.
    child.once("exit", () => signalGroup(child.pid, "SIGKILL"))
    child.once("close", (code) => {
      clearTimeout(lateTimer)
      clearTimeout(killTimer)
      command.stop.removeEventListener("abort", onStop)
      const output = Buffer.concat(chunks).toString("utf8")
      resolve({ code: code ?? undefined, output, seconds: (performance.now() - since) / 1000, end })
    })
  })
}

function signalGroup(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) {
    return
  }
  try {
    process.kill(-pid, signal)
  } catch (error) {
    // ESRCH: the whole group is gone already, which is what we want.
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) {
      throw error
    }
  }
}
