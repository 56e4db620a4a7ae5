/** Tables as kubectl prints them: columns as wide as their widest cell, no lines. Plane: control. */
import { CELL_COLUMNS_MAX } from "./limits.ts"

const COLUMN_GAP = 3

export type Column<Row> = { readonly header: string; readonly cell: (row: Row) => string }

export function formatTable<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): string {
  const lines = [columns.map(({ header }) => header), ...rows.map((row) => columns.map(({ cell }) => clean(cell(row))))]
  const widths = columns.map((_, index) => Math.max(...lines.map((line) => columnsOf(line[index] ?? ""))))
  return lines
    .map((line) => {
      const cells = line.map((cell, index) => cell + " ".repeat((widths[index] ?? 0) - columnsOf(cell) + COLUMN_GAP))
      return `${cells.join("").trimEnd()}\n`
    })
    .join("")
}

/** What a machine says of itself goes to a terminal: no control characters, no line longer than a cell. */
export function clean(text: string, columnsMax = CELL_COLUMNS_MAX): string {
  const printable = Array.from(text).map((character) => (/\p{C}/u.test(character) ? "?" : character))
  const cut = printable.length > columnsMax ? [...printable.slice(0, columnsMax - 1), "…"] : printable
  return cut.length === 0 ? "-" : cut.join("")
}

function columnsOf(text: string): number {
  return Array.from(text).length
}

/** 0.3s, 42s, 7m5s, 3h20m, 12d4h. */
export function formatDuration(ms: number): string {
  const seconds = ms / 1000
  if (seconds < 10) {
    return `${seconds.toFixed(1)}s`
  }
  const whole = Math.floor(seconds)
  if (whole < 60) {
    return `${whole}s`
  }
  if (whole < 3_600) {
    return `${Math.floor(whole / 60)}m${whole % 60}s`
  }
  if (whole < 86_400) {
    return `${Math.floor(whole / 3_600)}h${Math.floor((whole % 3_600) / 60)}m`
  }
  return `${Math.floor(whole / 86_400)}d${Math.floor((whole % 86_400) / 3_600)}h`
}

/** 512 B, 1.5 MiB, 16.0 GiB. */
export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"]
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit += 1
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit] ?? ""}`
}
