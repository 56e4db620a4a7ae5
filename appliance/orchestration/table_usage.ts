/** How full the arena's tables are, counted from its bytes when somebody asks. Plane: control. */
import { arenaLayout, getU53, HeaderOffset, SLAB_PAGE_HEAD_BYTES } from "../state_machine/arena.ts"
import { MACHINE_RECORD_BYTES } from "../state_machine/machine_record.ts"
import { assert } from "../types/assert.ts"
import type { ClusterLimits } from "../types/limits.ts"

export type TableUsage = { readonly table: string; readonly used: number; readonly capacity: number }

/** Named after the limits that bound them; slabs are counted in pages. */
export function tableUsage(arena: Uint8Array, limits: ClusterLimits): TableUsage[] {
  const layout = arenaLayout(limits)
  assert(arena.length === layout.bytes, "table usage: the arena is as long as its layout")
  const view = new DataView(arena.buffer, arena.byteOffset, arena.byteLength)
  let sessions = 0
  for (let index = 0; index < limits.sessions_max; index += 1) {
    sessions += getU53(view, layout.sessions + index * layout.session_bytes) === 0 ? 0 : 1
  }
  let machines = 0
  for (let index = 0; index < limits.machines_max; index += 1) {
    machines += view.getUint8(layout.machines + index * MACHINE_RECORD_BYTES) === 0 ? 0 : 1
  }
  let slabPages = 0
  for (let index = 0; index < layout.slab_pages; index += 1) {
    slabPages += view.getUint8(layout.slab_heads + index * SLAB_PAGE_HEAD_BYTES) === 0 ? 0 : 1
  }
  return [
    { table: "sessions", used: sessions, capacity: limits.sessions_max },
    { table: "machines", used: machines, capacity: limits.machines_max },
    { table: "kv_entries", used: view.getUint32(HeaderOffset.kv_count, true), capacity: limits.kv_entries_max },
    { table: "kv_slab_pages", used: slabPages, capacity: layout.slab_pages },
  ]
}
