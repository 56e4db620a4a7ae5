/** Reads the machines table from the cluster, linearizably, page by page. Plane: control. */
import { ResultKind } from "../state_machine/command.ts"
import { decodeMachineRecord, MACHINE_RECORD_BYTES, type MachineRecord } from "../state_machine/machine_record.ts"
import { err, ok, type Result } from "../types/result.ts"
import type { CallOutcome } from "./batch.ts"
import type { Gateway } from "./gateway.ts"
import { MACHINE_PAGES_MAX } from "./limits.ts"

export type MachinesError = { readonly kind: "busy" | "no_primary" | "malformed"; readonly text: string }

const RESULT_BYTES_HEAD = 5

export async function readMachines(gateway: Gateway): Promise<Result<readonly MachineRecord[], MachinesError>> {
  const records: MachineRecord[] = []
  for (let page = 0; page < MACHINE_PAGES_MAX; page += 1) {
    const read = await readPage(gateway, records.length)
    if (!read.ok) {
      return read
    }
    if (read.value.length === 0) {
      return ok(records)
    }
    records.push(...read.value)
  }
  return err({ kind: "malformed", text: "the machines table has more pages than machine_pages_max" })
}

function readPage(gateway: Gateway, index: number): Promise<Result<readonly MachineRecord[], MachinesError>> {
  return new Promise((resolve) => {
    const onResult = (outcome: CallOutcome, reply: Buffer, start: number, end: number): void => {
      if (outcome === "ok") {
        resolve(decodePage(reply, start, end))
      } else {
        resolve(err({ kind: "no_primary", text: "no machine answered: the cluster has no primary just now" }))
      }
    }
    if (!gateway.listMachines(index, { onResult })) {
      resolve(err({ kind: "busy", text: "calls_max: too many questions wait for an answer already; ask again later" }))
    }
  })
}

function decodePage(reply: Buffer, start: number, end: number): Result<readonly MachineRecord[], MachinesError> {
  const bytes = end - start - RESULT_BYTES_HEAD
  if (reply[start] !== ResultKind.bytes || bytes % MACHINE_RECORD_BYTES !== 0) {
    return err({ kind: "malformed", text: "a machine answered with something else than records of machines" })
  }
  const records: MachineRecord[] = []
  for (let at = start + RESULT_BYTES_HEAD; at < end; at += MACHINE_RECORD_BYTES) {
    const record = decodeMachineRecord(reply, at)
    if (record === undefined) {
      return err({ kind: "malformed", text: "a machine answered with a record that is none" })
    }
    records.push(record)
  }
  return ok(records)
}
