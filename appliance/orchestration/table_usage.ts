/** How full the arena's tables are, counted from its bytes when somebody asks. Plane: control. */
import { arenaLayout, getU53, HeaderOffset, SLAB_PAGE_HEAD_BYTES } from "../state_machine/arena.ts"
import { RECORD_TABLES, TableNumber } from "../state_machine/record_tables.ts"
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
  const records = RECORD_TABLES.map(({ name, recordBytes, limit }, number) => {
    const capacity = limits[limit]
    if (number === TableNumber.events) {
      return { table: name, used: Math.min(capacity, getU53(view, HeaderOffset.event_count)), capacity }
    }
    let used = 0
    while (used < capacity && view.getUint8((layout.records[number] ?? 0) + used * recordBytes) !== 0) {
      used += 1
    }
    return { table: name, used, capacity }
  })
  let slabPages = 0
  for (let index = 0; index < layout.slab_pages; index += 1) {
    slabPages += view.getUint8(layout.slab_heads + index * SLAB_PAGE_HEAD_BYTES) === 0 ? 0 : 1
  }
  return [
    { table: "sessions", used: sessions, capacity: limits.sessions_max },
    ...records,
    { table: "kv_entries", used: view.getUint32(HeaderOffset.kv_count, true), capacity: limits.kv_entries_max },
    { table: "kv_slab_pages", used: slabPages, capacity: layout.slab_pages },
  ]
}
