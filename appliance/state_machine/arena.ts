/**
 * The arena's layout: one preallocated buffer of 4 KiB pages, every table at a fixed place that the cluster limits
 * alone decide. All replicated state lies in these bytes and nowhere else. The first page is the header:
 *
 *   offset size
 *        0    4  magic "MNDL"
 *        4    4  format version
 *        8    4  fingerprint of the cluster limits
 *       16    8  commit: the op that the bytes reflect
 *       24    8  timestamp of that op, milliseconds
 *       32    4  keys stored
 *       36    4  kv entries ever used (the free list holds those given back)
 *       40    4  head of the free list of kv entries, 0 for none
 *       44    4  keys with a deadline (length of the heap)
 *       48    4  slab pages ever used
 *       52    4  head of the free list of slab pages, 0 for none
 *       64  4*n  per size class: head of the list of slab pages with room, 0 for none
 *      512    2  bytes of the configuration of the epoch, 0 in the founding one
 *      514  128  the configuration (replication/configuration.ts knows what it says)
 *      648    8  wall time less cluster time, milliseconds, plus one; 0 before the first word on it
 *      656    8  op of the last checkpoint, 0 before the first
 *      664    8  events ever appended
 *      672    8  number of the oldest event that was there when the arena last grew, 0 before that
 *     1024  4*n  per size class: free blocks of slab pages that hold others of the class
 *
 * Plane: data.
 */
import { assert } from "../types/assert.ts"
import { CONFIGURATION_BYTES_MAX } from "../types/contracts.ts"
import { type ClusterLimits, limitsFingerprint } from "../types/limits.ts"
import { RECORD_TABLES } from "./record_tables.ts"

export const PAGE_BYTES = 4096
const MAGIC = 0x4c44_4e4d
const FORMAT_VERSION = 2

export const HeaderOffset = {
  magic: 0,
  version: 4,
  fingerprint: 8,
  commit: 16,
  timestamp: 24,
  kv_count: 32,
  kv_used: 36,
  kv_free: 40,
  heap_count: 44,
  slab_used: 48,
  slab_free: 52,
  class_heads: 64,
  configuration_bytes: 512,
  configuration: 514,
  wall_offset: 648,
  checkpoint: 656,
  event_count: 664,
  event_first: 672,
  class_free: 1024,
} as const

/**
 * Size classes of slab blocks: steps of a quarter, each then as large as its number in a slab page allows, so that
 * nothing is left over behind the last: a quarter of a block is waste at most, more only in blocks of a third of a page
 * and up.
 */
const SIZE_CLASS_BYTES_MIN = 32
const SIZE_CLASSES_MAX = 64
const SIZE_CLASS_ALIGNMENT = 8

export const SESSION_HEAD_BYTES = 48
export const KV_ENTRY_BYTES = 32
export const SLAB_PAGE_HEAD_BYTES = 16
/** Of a block, before key and value: whose it is. */
export const BLOCK_HEAD_BYTES = 4

/** Where every table begins (bytes from the arena's start) and how large its parts are. */
export type ArenaLayout = {
  readonly bytes: number
  readonly sessions: number
  readonly session_bytes: number
  /** Of each table of records, by its number. They lie without gaps: together they are whole pages. */
  readonly records: readonly number[]
  readonly kv_entries: number
  readonly kv_index: number
  /** Slots of the index: a power of two, at least twice the entries. */
  readonly kv_index_slots: number
  readonly kv_heap: number
  readonly slab_heads: number
  readonly slab: number
  readonly slab_page_bytes: number
  readonly slab_pages: number
  /** Block size of each class, ascending; the last is a whole slab page. */
  readonly class_bytes: readonly number[]
}

export type ArenaTable = { readonly name: string; readonly start: number; readonly bytes: number }

export function arenaLayout(limits: ClusterLimits): ArenaLayout {
  const slabPageBytes = roundToPage(BLOCK_HEAD_BYTES + limits.key_bytes_max + limits.value_bytes_max)
  const slabPages = Math.floor(limits.kv_slab_bytes / slabPageBytes)
  assert(slabPages > 0, "arena: kv_slab_bytes holds at least one slab page")
  let kvIndexSlots = 2
  while (kvIndexSlots < 2 * limits.kv_entries_max) {
    kvIndexSlots *= 2
  }
  const sessionBytes = SESSION_HEAD_BYTES + limits.session_reply_bytes_max
  const sessions = PAGE_BYTES
  const records: number[] = []
  let recordsEnd = sessions + roundToPage(limits.sessions_max * sessionBytes)
  for (const { recordBytes, limit } of RECORD_TABLES) {
    records.push(recordsEnd)
    recordsEnd += recordBytes * limits[limit]
  }
  const kvEntries = roundToPage(recordsEnd)
  const kvIndex = kvEntries + roundToPage(limits.kv_entries_max * KV_ENTRY_BYTES)
  const kvHeap = kvIndex + roundToPage(kvIndexSlots * 4)
  const slabHeads = kvHeap + roundToPage(limits.kv_entries_max * 4)
  const slab = slabHeads + roundToPage(slabPages * SLAB_PAGE_HEAD_BYTES)
  const bytes = slab + slabPages * slabPageBytes
  const classBytes = sizeClasses(slabPageBytes)
  assert(bytes % PAGE_BYTES === 0, "arena: whole pages")
  assert(bytes < 0x8000_0000, "arena: offsets are 31 bits")
  assert(HeaderOffset.class_heads + classBytes.length * 4 <= HeaderOffset.configuration_bytes, "arena: class heads fit")
  assert(HeaderOffset.class_free + classBytes.length * 4 <= PAGE_BYTES, "arena: free blocks of each class fit")
  assert(
    HeaderOffset.configuration + CONFIGURATION_BYTES_MAX <= HeaderOffset.wall_offset,
    "arena: a configuration fits",
  )
  return {
    bytes,
    sessions,
    session_bytes: sessionBytes,
    records,
    kv_entries: kvEntries,
    kv_index: kvIndex,
    kv_index_slots: kvIndexSlots,
    kv_heap: kvHeap,
    slab_heads: slabHeads,
    slab,
    slab_page_bytes: slabPageBytes,
    slab_pages: slabPages,
    class_bytes: classBytes,
  }
}

/** Bytes of an arena with these limits. */
export function arenaBytes(limits: ClusterLimits): number {
  return arenaLayout(limits).bytes
}

/** The tables by name, for the README and the console. */
export function arenaTables(limits: ClusterLimits): ArenaTable[] {
  const layout = arenaLayout(limits)
  const starts: readonly (readonly [string, number])[] = [
    ["header", 0],
    ["sessions", layout.sessions],
    ...RECORD_TABLES.map(({ name }, number) => [name, layout.records[number] ?? 0] as const),
    ["kv entries", layout.kv_entries],
    ["kv index", layout.kv_index],
    ["kv deadlines", layout.kv_heap],
    ["kv slab heads", layout.slab_heads],
    ["kv slabs", layout.slab],
  ]
  return starts.map(([name, start], index) => {
    const end = starts[index + 1]?.[1] ?? layout.bytes
    return { name, start, bytes: end - start }
  })
}

/** Writes the header of an empty arena. */
export function formatArena(view: DataView, limits: ClusterLimits): void {
  view.setUint32(HeaderOffset.magic, MAGIC, true)
  view.setUint32(HeaderOffset.version, FORMAT_VERSION, true)
  view.setUint32(HeaderOffset.fingerprint, limitsFingerprint(limits), true)
  assert(isArena(view, limits), "arena: what was formatted is an arena")
}

/** True when the bytes are an arena of this format and these limits. */
export function isArena(view: DataView, limits: ClusterLimits): boolean {
  return (
    view.getUint32(HeaderOffset.magic, true) === MAGIC &&
    view.getUint32(HeaderOffset.version, true) === FORMAT_VERSION &&
    view.getUint32(HeaderOffset.fingerprint, true) === limitsFingerprint(limits) &&
    view.byteLength === arenaBytes(limits)
  )
}

/** A safe integer as two u32, low first: 2.2 ns where BigInt costs 17.6. */
export function getU53(view: DataView, offset: number): number {
  return view.getUint32(offset + 4, true) * 0x1_0000_0000 + view.getUint32(offset, true)
}

export function setU53(view: DataView, offset: number, value: number): void {
  assert(value >= 0 && value <= Number.MAX_SAFE_INTEGER, "arena: an integer is safe")
  view.setUint32(offset, value >>> 0, true)
  view.setUint32(offset + 4, Math.floor(value / 0x1_0000_0000), true)
}

function sizeClasses(slabPageBytes: number): number[] {
  const classes: number[] = []
  for (let power = SIZE_CLASS_BYTES_MIN; power < slabPageBytes; power *= 2) {
    for (let quarter = 0; quarter < 4; quarter += 1) {
      const step = power + (power / 4) * quarter
      const blocks = Math.floor(slabPageBytes / step)
      const bytes = Math.floor(slabPageBytes / blocks / SIZE_CLASS_ALIGNMENT) * SIZE_CLASS_ALIGNMENT
      if (step < slabPageBytes && bytes < slabPageBytes && bytes !== classes.at(-1)) {
        classes.push(bytes)
      }
    }
  }
  classes.push(slabPageBytes)
  assert(classes.length <= SIZE_CLASSES_MAX, "arena: too many size classes")
  return classes
}

function roundToPage(bytes: number): number {
  return Math.ceil(bytes / PAGE_BYTES) * PAGE_BYTES
}
