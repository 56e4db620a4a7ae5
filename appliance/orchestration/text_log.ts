/** Log lines for a person at a terminal: time, level, what happened, and the fields behind it. Plane: control. */
import { parseObject } from "./json_fields.ts"

const LEVEL_WARN = 40
const LEVEL_ERROR = 50

/** One line of pino as text; a line that is none stays as it is. */
export function textLine(json: string): string {
  const parsed = parseObject(json)
  if (!parsed.ok) {
    return json
  }
  const { time, level, msg, ...fields } = parsed.value
  const rank = typeof level === "number" ? level : 0
  const mark = rank >= LEVEL_ERROR ? "error: " : rank >= LEVEL_WARN ? "warning: " : ""
  const clock = typeof time === "string" ? `${time.slice(11, 19)} ` : ""
  const details = Object.entries(fields).map(([name, value]) => {
    return `${name}=${typeof value === "string" && /^[\w.:/-]+$/.test(value) ? value : JSON.stringify(value)}`
  })
  return `${[`${clock}${mark}${String(msg)}`, ...details].join("  ")}\n`
}
