/** The live table of machines: redrawn in place on a terminal, one line a change elsewhere. Plane: control. */
import type { LabMachine } from "./machine.ts"
import { type BootStatus, type MachineStatus, primaryOf, STAGES } from "./status.ts"

export type TableOutput = { readonly isTTY: boolean; readonly write: (text: string) => void }

const COLUMNS = [
  "MACHINE",
  "KIND",
  "POWER",
  "STAGE",
  "ADDRESS",
  "SLOT",
  "STATUS",
  "VIEW",
  "COMMIT",
  ...STAGES.map((s) => s.toUpperCase()),
]

export class LiveTable {
  readonly #output: TableOutput
  #lines = 0
  readonly #last = new Map<string, string>()

  constructor(output: TableOutput) {
    this.#output = output
  }

  show(machines: readonly LabMachine[], status: BootStatus | undefined): void {
    const rows = machines.map((machine) =>
      row(
        machine,
        status?.machines.find((other) => other.mac === machine.mac),
      ),
    )
    if (this.#output.isTTY) {
      this.#redraw(rows, status)
    } else {
      this.#changes(machines, rows)
    }
  }

  /** A line that stays, above the table. */
  say(text: string): void {
    this.#clear()
    this.#output.write(`${text}\n`)
  }

  #clear(): void {
    if (this.#lines > 0) {
      this.#output.write(`\u001b[${this.#lines}A\u001b[J`)
      this.#lines = 0
    }
  }

  #redraw(rows: readonly string[][], status: BootStatus | undefined): void {
    this.#clear()
    const lines = [...layOut([COLUMNS, ...rows]), clusterLine(status)]
    this.#output.write(`${lines.join("\n")}\n`)
    this.#lines = lines.length
  }

  #changes(machines: readonly LabMachine[], rows: readonly string[][]): void {
    for (const [index, machine] of machines.entries()) {
      const cells = rows[index] ?? []
      const line = `${machine.kind.padEnd(11)} ${cells.slice(2, 8).join(" ")}`
      if (this.#last.get(machine.name) !== line) {
        this.#last.set(machine.name, line)
        this.#output.write(`${line}\n`)
      }
    }
  }
}

function row(machine: LabMachine, status: MachineStatus | undefined): string[] {
  const powerOn = machine.powerOns.at(-1) ?? 0
  const times = STAGES.map((stage) => {
    const at = status?.stage_times[stage] ?? null
    return at === null || at < powerOn ? "-" : `${((at - powerOn) / 1000).toFixed(1)}s`
  })
  const announce = status?.announce ?? null
  return [
    machine.name,
    machine.kind,
    machine.isOn ? "on" : "off",
    machine.isOn ? (status?.stage ?? "-") : "-",
    status?.address ?? "-",
    status?.slot === null || status?.slot === undefined ? "-" : String(status.slot),
    machine.isOn ? (status?.reason ?? announce?.status ?? "-") : "-",
    announce === null ? "-" : String(announce.view),
    announce === null ? "-" : String(announce.commit),
    ...times,
  ]
}

function clusterLine(status: BootStatus | undefined): string {
  if (status === undefined) {
    return "cluster: the boot server does not answer yet"
  }
  const primary = primaryOf(status)
  const name = primary === undefined ? "none yet" : `slot ${String(primary.slot)} (${primary.address ?? "?"})`
  const commit = Math.max(0, ...status.machines.map((machine) => machine.announce?.commit ?? 0))
  return `cluster: ${status.cluster.formed ? "formed" : "not formed yet"}, primary ${name}, commit ${commit}`
}

function layOut(rows: readonly (readonly string[])[]): string[] {
  const widths = COLUMNS.map((_, column) => Math.max(...rows.map((cells) => cells[column]?.length ?? 0)))
  return rows.map((cells) =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd(),
  )
}
