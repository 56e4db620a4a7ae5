/** The arena's layout, and that the README says it as it is. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, test } from "vitest"
import { arenaBytes, arenaLayout, arenaTables } from "../../../appliance/state_machine/arena.ts"
import {
  decodeMachineRecord,
  encodeMachineRecord,
  MACHINE_RECORD_BYTES,
  MachineRole,
  MachineStage,
} from "../../../appliance/state_machine/machine_record.ts"
import { createStateMachine } from "../../../appliance/state_machine/state_machine.ts"
import { CLUSTER_LIMITS } from "../../../appliance/types/limits.ts"

const README = join(import.meta.dirname, "../../../appliance/state_machine/README.md")

describe("arena", () => {
  test("tables follow one another without overlap, on whole pages", () => {
    const tables = arenaTables(CLUSTER_LIMITS)
    let at = 0
    for (const table of tables) {
      expect(table.start).toBe(at)
      expect(table.start % 4096).toBe(0)
      at += table.bytes
    }
    expect(at).toBe(arenaBytes(CLUSTER_LIMITS))
    expect(tables.length).toBeGreaterThan(5)
  })

  test("size classes rise by a quarter at most and end with a whole slab page", () => {
    const { class_bytes, slab_page_bytes } = arenaLayout(CLUSTER_LIMITS)
    expect(class_bytes.at(-1)).toBe(slab_page_bytes)
    for (const [index, bytes] of class_bytes.entries()) {
      expect(bytes).toBeGreaterThan(class_bytes[index - 1] ?? 0)
    }
  })

  test("the README's table is the arena's", () => {
    const readme = readFileSync(README, "utf8")
    for (const { name, bytes } of arenaTables(CLUSTER_LIMITS)) {
      expect(readme).toContain(`| ${name} | ${bytes.toLocaleString("en")} |`)
    }
    expect(readme).toContain(`| together | ${arenaBytes(CLUSTER_LIMITS).toLocaleString("en")} |`)
  })

  test("bytes that are no arena of these limits are refused", () => {
    const machine = createStateMachine({
      limits: CLUSTER_LIMITS,
      arena: new Uint8Array(arenaBytes(CLUSTER_LIMITS)),
    })
    expect(machine.restored()).toBe(true)
    machine.arena[8] = (machine.arena[8] ?? 0) ^ 1
    expect(machine.restored()).toBe(false)
  })
})

describe("machine record", () => {
  test("comes back as it went", () => {
    const record = {
      machine: "52-54-00-77-00-01",
      address: "10.77.0.101",
      replica_port: 7400,
      slot: 2,
      roles: MachineRole.replica,
      stage: MachineStage.ready,
      firmware: 1,
      ram_bytes: 8 * 2 ** 30,
      incarnation: 3,
      boot_count: 4,
      boot_id: "00112233445566778899aabbccddeeff",
      joined_ms: 1_790_000_000_000,
    }
    const bytes = encodeMachineRecord(record)
    expect(bytes.length).toBe(MACHINE_RECORD_BYTES)
    expect(decodeMachineRecord(bytes, 0)).toEqual(record)
    expect(decodeMachineRecord(encodeMachineRecord({ ...record, slot: -1 }), 0)?.slot).toBe(-1)
    expect(decodeMachineRecord(new Uint8Array(MACHINE_RECORD_BYTES), 0)).toBeUndefined()
    expect(decodeMachineRecord(bytes.subarray(1), 0)).toBeUndefined()
  })
})
