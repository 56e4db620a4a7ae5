/** The live table: what it shows of each state of a machine, on a terminal and in a log. Plane: control. */
import { expect, test } from "vitest"
import type { Announce, BootStatus, MachineStatus } from "../../lab/status.ts"
import { LiveTable, type ShownMachine, tableLines } from "../../lab/table.ts"

const POWER_ON = 1_000_000
const WIDE = 200

const announce: Announce = {
  machine: "52-54-00-77-00-01",
  slot: 0,
  address: "10.77.0.101",
  status: "normal",
  view: 3,
  op: 9,
  commit: 8,
  primary_slot: 0,
}

const status: MachineStatus = {
  machine: "52-54-00-77-00-01",
  mac: "52:54:00:77:00:01",
  address: "10.77.0.101",
  firmware: "bios",
  slot: 0,
  admission: "accepted",
  roles: ["replica"],
  stage: "joined",
  stage_times: {
    firmware: 1_002_100,
    nbp: 1_002_100,
    script: 1_003_000,
    kernel: 1_004_000,
    init: 1_010_000,
    joined: 1_014_500,
  },
  boot_count: 1,
  reason: "",
  need_bytes: null,
  have_bytes: null,
  announce,
  announce_age_ms: 100,
}

function bootStatusOf(machine: MachineStatus): BootStatus {
  const cluster = { cluster_id: "0123456789abcdef", generation: 1, voters: 3, formed: true, primary_slot: 0 }
  return { cluster: { ...cluster, view: 3, commit: 8 }, machines: [machine], counters: {} }
}

function machineOf(changes: Partial<ShownMachine> = {}): ShownMachine {
  const mac = "52:54:00:77:00:01"
  return { kind: "bios-e1000", name: mac.replaceAll(":", "-"), mac, isOn: true, powerOns: [POWER_ON], ...changes }
}

/** The table's one machine, its cells. */
function cells(machine: ShownMachine, machineStatus: MachineStatus | undefined): string[] {
  const lines = tableLines([machine], machineStatus && bootStatusOf(machineStatus), WIDE)
  return (lines[1] ?? "").split(/ {2,}/)
}

test("a machine that joined shows its times since power-on", () => {
  expect(cells(machineOf(), status)).toEqual([
    ...["bios-e1000", "joined", "10.77.0.101", "replica 0", "primary", "3", "8"],
    ...["2.1 s", "2.1 s", "3.0 s", "4.0 s", "10.0 s", "14.5 s", "52-54-00-77-00-01"],
  ])
})

test("a machine that was powered on again shows nothing of its last boot", () => {
  const again = cells(machineOf({ powerOns: [POWER_ON, 2_000_000] }), status)
  expect(again.slice(1, 5)).toEqual(["power on", "10.77.0.101", "replica 0", "-"])
  expect(again.slice(5, 13)).toEqual(Array.from({ length: 8 }, () => "-"))
})

test("a machine without power is off, whatever the boot server remembers", () => {
  expect(cells(machineOf({ isOn: false }), status)[1]).toBe("off")
  expect(cells(machineOf({ isOn: false }), status)[4]).toBe("-")
})

test("a machine that nobody has heard of is powered on, and a machine that halted says why", () => {
  expect(cells(machineOf(), undefined)[1]).toBe("power on")
  expect(cells(machineOf(), { ...status, stage: "kernel", announce: null, reason: "ram_too_small" })[4]).toBe(
    "ram_too_small",
  )
})

test("the cluster's line names its primary, view and commit", () => {
  const line = "cluster 01234567: formed, primary slot 0 (10.77.0.101), view 3, commit 8"
  expect(tableLines([machineOf()], bootStatusOf(status), WIDE).at(-1)).toBe(line)
  expect(tableLines([], undefined, WIDE).at(-1)).toBe("cluster: the boot server does not answer")
  const silent = bootStatusOf({ ...status, announce_age_ms: 60_000 })
  expect(tableLines([machineOf()], silent, WIDE).at(-1)).toContain("primary none")
})

test.each([1, 20, 80, 200])("no line is as wide as a terminal of %d columns", (columns) => {
  for (const line of tableLines([machineOf()], bootStatusOf(status), columns)) {
    expect(line.length).toBeLessThanOrEqual(Math.max(1, columns - 1))
  }
})

test("on a terminal the table is replaced in place, only when it changed, and what is said stays above it", () => {
  let written = ""
  const table = new LiveTable({ isTTY: true, columns: () => WIDE, write: (text) => (written += text) })
  table.show([machineOf()], bootStatusOf(status))
  const first = written
  table.show([machineOf()], bootStatusOf(status))
  expect(written).toBe(first)
  table.say("hello")
  expect(written).toBe(`${first}\u001b[3A\u001b[Jhello\n${first}`)
})

test("in a log a machine has a line for each change, and none for numbers that always change", () => {
  const lines: string[] = []
  const table = new LiveTable({ isTTY: false, columns: () => WIDE, write: (text) => lines.push(text) })
  table.show([machineOf()], undefined)
  table.show([machineOf()], bootStatusOf(status))
  table.show([machineOf()], bootStatusOf({ ...status, announce: { ...announce, commit: 9, op: 10 } }))
  table.say("hello")
  expect(lines.map((line) => line.replace(/^ *\d+\.\d s /, ""))).toEqual([
    " bios-e1000   power on  -  -  -\n",
    " bios-e1000   joined  10.77.0.101  replica 0  primary\n",
    "hello\n",
  ])
})
