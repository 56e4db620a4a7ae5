/** Stand-ins for the ports of the boot server: a clock that stands still, a logger that remembers. Plane: control. */
import type { Clock } from "../../../pxe/clock.ts"
import type { LogFields, Logger } from "../../../pxe/log.ts"

export type ManualClock = Clock & { now: number }

export function makeClock(now = 1_000_000): ManualClock {
  const clock: ManualClock = { now, monotonicMs: () => clock.now, epochMs: () => clock.now }
  return clock
}

export type LogLine = { readonly level: string; readonly fields: LogFields; readonly message: string }

export type RecordingLogger = Logger & { readonly lines: LogLine[] }

export function makeLogger(): RecordingLogger {
  const lines: LogLine[] = []
  const write = (level: string) => (fields: LogFields, message: string) => {
    lines.push({ level, fields, message })
  }
  return { lines, info: write("info"), warn: write("warn"), error: write("error") }
}
