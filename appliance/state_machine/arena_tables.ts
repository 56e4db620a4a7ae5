/**
 * The tables of an arena, for who goes through all of it: copies it, or sums it up. The state machine has objects of
 * its own over the same bytes; nothing lies in any of them. Plane: control.
 */
import { assert } from "../types/assert.ts"
import type { ClusterLimits } from "../types/limits.ts"
import { arenaLayout, type ArenaLayout, isArena } from "./arena.ts"
import { EventRing } from "./event_ring.ts"
import { KeyValues } from "./kv.ts"
import type { PageWrites } from "./pages.ts"
import { RecordTable } from "./record_table.ts"
import { RECORD_TABLES, TableNumber } from "./record_tables.ts"
import { Sessions } from "./sessions.ts"

export type ArenaTables = {
  readonly bytes: Uint8Array
  readonly view: DataView
  readonly layout: ArenaLayout
  readonly limits: ClusterLimits
  /** Is told of every write before it happens. */
  readonly pages: PageWrites
  readonly sessions: Sessions
  /** All tables of records but `events`, with their numbers. */
  readonly keyedRecords: readonly (readonly [number, RecordTable])[]
  readonly events: EventRing
  readonly kv: KeyValues
}

export function openTables(arena: Uint8Array, limits: ClusterLimits, pages: PageWrites): ArenaTables {
  const view = new DataView(arena.buffer, arena.byteOffset, arena.byteLength)
  assert(isArena(view, limits), "arena tables: the bytes are an arena of these limits")
  const layout = arenaLayout(limits)
  const options = { view, layout, limits, pages }
  const numbers = RECORD_TABLES.map((_, number) => number).filter((number) => number !== TableNumber.events)
  return {
    bytes: arena,
    ...options,
    sessions: new Sessions(options),
    keyedRecords: numbers.map((number) => [number, new RecordTable(options, number)] as const),
    events: new EventRing(options),
    kv: new KeyValues(options),
  }
}
