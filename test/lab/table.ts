/** The live table of machines: redrawn in place on a terminal, one line a change elsewhere. Plane: control. */
import type { LabMachine } from "./machine.ts"
import { type Announce, type BootStatus, type MachineStatus, primaryOf, STAGES } from "./status.ts"

export type TableOutput = {
  readonly isTTY: boolean
  /** A line that is wider would wrap, and the next redraw would leave its rest behind. */
  readonly columns: () => number
  readonly write: (text: string) => void
}

/** What the table shows of a machine of the lab. */
export type ShownMachine = Pick<LabMachine, "kind" | "name" | "mac" | "isOn" | "powerOns">

const COLUMNS = ["KIND", "STAGE", "ADDRESS", "ROLE", "STATUS", "VIEW", "COMMIT", ...STAGES.map(upper), "MACHINE"]

export class LiveTable {
  readonly #output: TableOutput
  readonly #startedAt = Date.now()
  /** Of the table that stands on the terminal. */
  #lines: string[] = []
  readonly #last = new Map<string, string>()

  constructor(output: TableOutput) {
    this.#output = output
  }

  show(machines: readonly ShownMachine[], status: BootStatus | undefined): void {
    if (this.#output.isTTY) {
      this.#redraw(tableLines(machines, status, this.#output.columns()))
      return
    }
    for (const machine of machines) {
      const line = changeLine(machine, statusOf(machine, status))
      if (this.#last.get(machine.name) !== line) {
        this.#last.set(machine.name, line)
        const elapsed = ((Date.now() - this.#startedAt) / 1000).toFixed(1)
        this.#output.write(`${elapsed.padStart(6)} s  ${line}\n`)
      }
    }
  }

  /** A line that stays, above the table. */
  say(text: string): void {
    const table = this.#lines
    this.#clear()
    this.#output.write(`${text}\n`)
    this.#redraw(table)
  }

  #clear(): void {
    if (this.#lines.length > 0) {
      this.#output.write(`\u001b[${this.#lines.length}A\u001b[J`)
      this.#lines = []
    }
  }

  #redraw(lines: string[]): void {
    if (lines.join("\n") !== this.#lines.join("\n")) {
      this.#clear()
      this.#output.write(`${lines.join("\n")}\n`)
      this.#lines = lines
    }
  }
}

/** The whole table, no line wider than `columns`. */
export function tableLines(
  machines: readonly ShownMachine[],
  status: BootStatus | undefined,
  columns: number,
): string[] {
  const rows = [COLUMNS, ...machines.map((machine) => row(machine, statusOf(machine, status)))]
  const widths = COLUMNS.map((_, column) => Math.max(...rows.map((cells) => cells[column]?.length ?? 0)))
  const lines = rows.map((cells) => cells.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  "))
  return [...lines, clusterLine(status)].map((line) => line.slice(0, Math.max(1, columns - 1)).trimEnd())
}

function row(machine: ShownMachine, status: MachineStatus | undefined): string[] {
  const powerOn = machine.powerOns.at(-1) ?? 0
  const times = STAGES.map((stage) => {
    const at = status?.stage_times[stage] ?? null
    return at === null || at < powerOn ? "-" : `${((at - powerOn) / 1000).toFixed(1)} s`
  })
  const announce = currentAnnounce(machine, status)
  return [
    machine.kind,
    stageText(machine, status),
    status?.address || "-",
    roleText(status),
    statusText(machine, status),
    announce === undefined ? "-" : String(announce.view),
    announce === undefined ? "-" : String(announce.commit),
    ...times,
    machine.name,
  ]
}

/** What is worth a line of a log when it changes: no numbers that always do. */
function changeLine(machine: ShownMachine, status: MachineStatus | undefined): string {
  const stage = stageText(machine, status)
  const cells = [stage, status?.address || "-", roleText(status), statusText(machine, status)]
  return `${machine.kind.padEnd(11)}  ${cells.join("  ")}`
}

function statusOf(machine: ShownMachine, status: BootStatus | undefined): MachineStatus | undefined {
  return status?.machines.find((other) => other.mac === machine.mac)
}

/** The boot server still remembers the last boot of a machine whose new one it has not heard of. */
function isOfThisBoot(machine: ShownMachine, status: MachineStatus | undefined): boolean {
  return machine.isOn && (status?.stage_times.firmware ?? 0) >= (machine.powerOns.at(-1) ?? 0)
}

function stageText(machine: ShownMachine, status: MachineStatus | undefined): string {
  if (!machine.isOn) {
    return "off"
  }
  return isOfThisBoot(machine, status) && status !== undefined ? status.stage : "power on"
}

function roleText(status: MachineStatus | undefined): string {
  const roles = status?.roles.join(",") || "-"
  return status === undefined || status.slot === null ? roles : `${roles} ${String(status.slot)}`
}

function statusText(machine: ShownMachine, status: MachineStatus | undefined): string {
  const announce = currentAnnounce(machine, status)
  if (status?.reason && isOfThisBoot(machine, status)) {
    return status.reason
  }
  if (announce === undefined) {
    return "-"
  }
  const isPrimary = announce.status === "normal" && announce.slot === announce.primary_slot
  return isPrimary ? "primary" : announce.status.replace("normal", "backup")
}

function currentAnnounce(machine: ShownMachine, status: MachineStatus | undefined): Announce | undefined {
  return isOfThisBoot(machine, status) ? (status?.announce ?? undefined) : undefined
}

function clusterLine(status: BootStatus | undefined): string {
  if (status === undefined) {
    return "cluster: the boot server does not answer"
  }
  const { cluster } = status
  const primary = primaryOf(status)
  const name = primary === undefined ? "none" : `slot ${String(primary.slot)} (${primary.address ?? "?"})`
  const state = cluster.formed ? "formed" : "not formed yet"
  const position = `view ${String(cluster.view ?? "-")}, commit ${String(cluster.commit ?? "-")}`
  return `cluster ${cluster.cluster_id.slice(0, 8)}: ${state}, primary ${name}, ${position}`
}

function upper(text: string): string {
  return text.toUpperCase()
}
