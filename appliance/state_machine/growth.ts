/**
 * Growth: a state is copied record by record into a larger arena, when an epoch begins whose limits are larger. The
 * larger arena then answers as the old one did, its bytes are a function of the old one's, and so every machine that
 * grows gets the same root; a logical digest over both says that nothing was changed on the way. The old arena is only
 * read. Plane: control (once in an epoch that grows).
 */
import { assert } from "../types/assert.ts"
import { growthFault } from "../types/growth.ts"
import type { ClusterLimits } from "../types/limits.ts"
import { err, ok, type Result } from "../types/result.ts"
import { getU53, HeaderOffset, PAGE_BYTES, setU53 } from "./arena.ts"
import { type ArenaTables, openTables } from "./arena_tables.ts"
import { ENTRY_NONE, hashKey, PutStatus } from "./kv.ts"
import { logicalDigest } from "./logical_digest.ts"
import type { ArenaPages } from "./pages.ts"
import { EVENT_RECORD_BYTES } from "./record_tables.ts"

export type GrownArena = { readonly arena: Uint8Array; readonly limits: ClusterLimits; readonly pages: ArenaPages }

/** All three mean that this machine's memory is wrong, or its code: what came of it must not be used. */
export type GrowthError =
  /** A page of the old arena is not what was written: `at` is the page. */
  | { readonly kind: "page_corrupt"; readonly at: number }
  /** A key or value of the old arena is not what was written: `at` is its entry. */
  | { readonly kind: "entry_corrupt"; readonly at: number }
  /** The two arenas don't say the same. */
  | { readonly kind: "digest_differs"; readonly at: number }

/** Fills `to`, which is empty, with all that `from` holds; the digest that both have. */
export function growArena(from: GrownArena, to: GrownArena): Result<string, GrowthError> {
  assert(growthFault(from.limits, to.limits) === undefined, "growth: no table becomes smaller")
  const source = openTables(from.arena, from.limits, { willWrite: refuseWrite })
  const target = openTables(to.arena, to.limits, to.pages)
  assert(getU53(target.view, HeaderOffset.commit) === 0, "growth: the larger arena is empty")
  const page = from.pages.scrub(from.pages.count)
  if (page >= 0) {
    return err({ kind: "page_corrupt", at: page })
  }
  copyHeader(source, target)
  copySessions(source, target)
  copyRecords(source, target)
  copyEvents(source, target)
  const entry = copyKeyValues(source, target)
  if (entry !== ENTRY_NONE) {
    return err({ kind: "entry_corrupt", at: entry })
  }
  // What the larger arena holds is its first checkpoint, with the digest of every page.
  to.pages.freeze()
  to.pages.takeDigests(to.pages.count)
  const digest = logicalDigest(target)
  return digest === logicalDigest(source) ? ok(digest) : err({ kind: "digest_differs", at: 0 })
}

function refuseWrite(): void {
  assert(false, "growth: the old arena is only read")
}

function copyHeader(source: ArenaTables, target: ArenaTables): void {
  const {
    commit,
    timestamp,
    wall_offset,
    configuration_bytes,
    wall_offset: configurationEnd,
    checkpoint,
  } = HeaderOffset
  target.pages.willWrite(0, PAGE_BYTES)
  for (const offset of [commit, timestamp, wall_offset]) {
    setU53(target.view, offset, getU53(source.view, offset))
  }
  target.bytes.set(source.bytes.subarray(configuration_bytes, configurationEnd), configuration_bytes)
  setU53(target.view, checkpoint, getU53(source.view, commit))
}

/** To the same places; those that are new are free. */
function copySessions({ sessions: from, bytes }: ArenaTables, target: ArenaTables): void {
  assert(from.count <= target.sessions.count, "growth: every session has a place")
  for (let index = 0; index < from.count; index += 1) {
    if (!from.isFree(index)) {
      copy(bytes, from.offset(index), from.usedBytes(index), target, target.sessions.offset(index))
    }
  }
}

function copyRecords(source: ArenaTables, target: ArenaTables): void {
  for (const [place, [, from]] of source.keyedRecords.entries()) {
    const to = target.keyedRecords[place]?.[1]
    assert(to !== undefined && to.recordBytes === from.recordBytes, "growth: both arenas have the same tables")
    const count = from.count()
    if (count > 0) {
      copy(source.bytes, from.offset(0), count * from.recordBytes, target, to.offset(0))
    }
    assert(to.count() === count, "growth: as many records as there were")
  }
}

/** Events keep their numbers: their places are others. */
function copyEvents({ events: from, bytes }: ArenaTables, target: ArenaTables): void {
  const newest = from.newest()
  for (let number = from.oldest(); number <= newest; number += 1) {
    copy(bytes, from.offset(number), EVENT_RECORD_BYTES, target, target.events.offset(number))
  }
  target.pages.willWrite(0, PAGE_BYTES)
  setU53(target.view, HeaderOffset.event_count, newest)
  setU53(target.view, HeaderOffset.event_first, newest === 0 ? 0 : from.oldest())
  assert(target.events.oldest() === from.oldest(), "growth: no event has appeared that had made room")
}

/** In the order of their entries, without the free ones between; the entry that is not intact, or ENTRY_NONE. */
function copyKeyValues(source: ArenaTables, target: ArenaTables): number {
  const { kv: from, view, bytes } = source
  const used = from.used()
  for (let entry = 0; entry < used; entry += 1) {
    if (!from.isInUse(entry)) {
      continue
    }
    if (!from.isIntact(entry)) {
      return entry
    }
    const keyStart = from.keyOffset(entry)
    const valueStart = from.valueOffset(entry)
    const status = target.kv.put(ENTRY_NONE, {
      hash: hashKey(bytes, keyStart, valueStart),
      keys: view,
      keyStart,
      keyEnd: valueStart,
      value: view,
      valueStart,
      valueEnd: valueStart + from.valueBytes(entry),
      deadline: from.deadline(entry),
    })
    assert(status === PutStatus.ok, "growth: what fitted the smaller arena fits the larger")
  }
  return ENTRY_NONE
}

function copy(source: Uint8Array, start: number, bytes: number, target: ArenaTables, at: number): void {
  target.pages.willWrite(at, at + bytes)
  target.bytes.set(source.subarray(start, start + bytes), at)
}
