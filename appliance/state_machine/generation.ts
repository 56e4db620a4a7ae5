/**
 * What a generation begins with, when a state was restored: the machines of the one before were seen, no more; and the
 * event that says so. Plane: control (once in a generation).
 */
import { assert } from "../types/assert.ts"
import { forgetMachineState } from "./machine_record.ts"
import type { PageWrites } from "./pages.ts"
import type { RecordTable } from "./record_table.ts"

/** Every machine keeps its name and what it is made of; slot, roles and incarnation were of the generation before. */
export function markMachinesSeen(machines: RecordTable, arena: Uint8Array, pages: PageWrites): void {
  const count = machines.count()
  for (let index = 0; index < count; index += 1) {
    const at = machines.offset(index)
    pages.willWrite(at, at + machines.recordBytes)
    forgetMachineState(arena, at)
  }
  assert(machines.count() === count, "generation: no machine is forgotten")
}

/** The event's text for the op's body at `start` (types/contracts.ts), padded with zeros to `bytes`. */
export function generationEvent(body: Uint8Array, start: number, bytes: number): Uint8Array {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength)
  const op = view.getUint32(start + 8, true) * 0x1_0000_0000 + view.getUint32(start + 4, true)
  const event = new Uint8Array(bytes)
  const text = `generation_started generation ${view.getUint32(start, true)} restored from op ${op}`
  assert(text.length <= bytes, "generation: its event fits")
  for (let index = 0; index < text.length; index += 1) {
    event[index] = text.charCodeAt(index)
  }
  return event
}
