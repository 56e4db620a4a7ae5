/** A doctor's report as text: who answered what, then what it means, worst first. Pure. Plane: control. */
import { type Answer, bootFileOf } from "./answer.ts"
import type { DoctorReport } from "./doctor.ts"
import type { Finding } from "./judge.ts"

const HEADERS = ["ASKED AS", "SERVER", "FROM", "OFFERS", "60", "43", "66 / SIADDR", "67 / FILE", "MS"] as const
const COLUMN_GAP = 3
const RANKS: Readonly<Record<Finding["level"], number>> = { error: 0, warning: 1, note: 2 }

export function reportText(report: DoctorReport): string {
  const { findings } = report
  const lines = [`${report.interface} (${report.address}), ${report.seconds} s`, ""]
  if (report.answers.length > 0) {
    lines.push(...table([HEADERS, ...report.answers.map(cells)]), "")
  }
  const sorted = [...findings].sort((a, b) => RANKS[a.level] - RANKS[b.level])
  for (const { level, kind, text, advice } of sorted) {
    lines.push(`${level.padEnd(8)} ${text} [${kind}]`, `         ${advice}`)
  }
  lines.push(report.is_healthy ? "healthy: machines can boot here" : "not healthy: see the errors above")
  return `${lines.join("\n")}\n`
}

function cells(answer: Answer): string[] {
  const { question, server, from, offered, vendor_class: text, vendor, ms } = answer
  const boot = answer.boot_server_name === "" ? answer.next_server : answer.boot_server_name
  return [question, server, from, offered, text, vendor, boot, bootFileOf(answer), String(ms)].map((cell) =>
    cell === "" ? "-" : cell,
  )
}

function table(rows: readonly (readonly string[])[]): string[] {
  const widths = HEADERS.map((_, index) => Math.max(...rows.map((row) => row[index]?.length ?? 0)))
  return rows.map((row) =>
    row
      .map((cell, index) => cell.padEnd((widths[index] ?? 0) + COLUMN_GAP))
      .join("")
      .trimEnd(),
  )
}
