/** The machine's own record: written when it is a member, repeated until it is committed. Plane: control. */
import { pino } from "pino"
import { expect, test } from "vitest"
import { LimitedLog } from "../../../appliance/orchestration/limited_log.ts"
import { consoleLine } from "../../../appliance/orchestration/machine_console.ts"
import { MachineRegistration, type PutOutcome } from "../../../appliance/orchestration/machine_registration.ts"
import { parseNodeConfig } from "../../../appliance/orchestration/node_config.ts"
import type { HostInfo } from "../../../appliance/orchestration/host_info.ts"
import { textLine } from "../../../appliance/orchestration/text_log.ts"
import { decodeMachineRecord } from "../../../appliance/state_machine/machine_record.ts"
import { makeHostInfo } from "../gateway/make_host_info.ts"

const INFO: HostInfo = makeHostInfo({
  name: "m1",
  slot: 1,
  voters: 3,
  incarnation: 2,
  status: "recovering",
  view: 3,
  op: 9,
  commit: 8,
  primary_slot: -1,
  copies: 2,
})

test("asks once at a time, again after a failure, never after success", () => {
  const config = parseNodeConfig(
    JSON.stringify({
      cluster_id: "a".repeat(32),
      generation: 1,
      machine: "52-54-00-00-00-01",
      boot_id: "b".repeat(32),
      firmware: "uefi",
      slot: 1,
      voters: 3,
    }),
  )
  expect(config.ok).toBe(true)
  if (!config.ok) {
    return
  }
  let info = INFO
  let isBusy = true
  const puts: { record: Uint8Array; done: (outcome: PutOutcome) => void }[] = []
  const registration = new MachineRegistration({
    config: config.value,
    address: "10.0.0.12",
    replicaPort: () => 7400,
    ramBytes: 2 ** 33,
    wallMs: () => 1_700_000_000_000,
    info: () => info,
    retryMs: 100,
    log: new LimitedLog(pino({ level: "silent" }), { repeatMs: 1, kindsMax: 1 }),
    put: (_, record, done) => {
      if (!isBusy) {
        puts.push({ record, done })
      }
      return !isBusy
    },
  })
  registration.tick(0)
  info = { ...INFO, status: "normal", primary_slot: 0 }
  registration.tick(50)
  registration.tick(100)
  isBusy = false
  registration.tick(150)
  expect(puts.length).toBe(0)
  registration.tick(200)
  registration.tick(1_000)
  expect(puts.length).toBe(1)
  puts[0]?.done("unknown")
  registration.tick(1_100)
  puts[1]?.done("refused")
  registration.tick(1_200)
  expect(registration.isDone).toBe(false)
  puts[2]?.done("ok")
  registration.tick(9_000)
  expect(puts.length).toBe(3)
  expect(registration.isDone).toBe(true)
  expect(decodeMachineRecord(puts[0]?.record ?? new Uint8Array(0), 0)).toMatchObject({
    machine: "52-54-00-00-00-01",
    address: "10.0.0.12",
    slot: 1,
    firmware: 2,
    incarnation: 2,
    boot_id: "b".repeat(32),
  })
})

test("the console's line", () => {
  const line = consoleLine({ info: INFO, address: "10.0.0.12", clusterID: "0123456789abcdef" })
  expect(line).toBe(
    "mandala: m1 10.0.0.12, slot 1 of 3, cluster 01234567: recovering, view 3 (primary unknown), op 9, commit 8, " +
      "copies 2, quorum margin 0\n",
  )
  const alarms = [{ kind: "copies_1", text: "copies 1: no other has it" }] as const
  const alarmed = consoleLine({ info: { ...INFO, alarms }, address: "10.0.0.12", clusterID: "0123456789abcdef" })
  expect(alarmed).toBe(`${line}mandala: ALARM: copies 1: no other has it\n`)
  const primary = { ...INFO, status: "normal", primary_slot: 1 } as const
  expect(consoleLine({ info: primary, address: "a", clusterID: "" })).toContain(": primary, view 3 (primary 1)")
})

test("a log line as text", () => {
  const line = { level: 40, time: "2026-01-02T03:04:05.678Z", machine: "a-b", reason: "two words", msg: "boot: late" }
  expect(textLine(JSON.stringify(line))).toBe('03:04:05 warning: boot: late  machine=a-b  reason="two words"\n')
  expect(textLine("no json\n")).toBe("no json\n")
})
