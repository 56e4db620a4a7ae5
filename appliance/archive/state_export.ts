/**
 * The state of one op as an export has it: the arena's bytes, and what they are. The pages that the file does not hold
 * are empty here. Plane: control.
 */
import { rootPrefix } from "../replication/checkpoint_transfer.ts"
import { arenaLayout, getU53, HeaderOffset, isArena, PAGE_BYTES } from "../state_machine/arena.ts"
import { type ArenaTables, openTables } from "../state_machine/arena_tables.ts"
import { PAGE_DIGEST_BYTES, pageDigest, type PageDigest } from "../state_machine/page_digest.ts"
import { RECORD_TABLES, TableNumber } from "../state_machine/record_tables.ts"
import { assert } from "../types/assert.ts"
import { CLUSTER_SIZES, limitsForSize } from "../types/cluster_sizes.ts"
import type { Digest, DigestFunction } from "../types/contracts.ts"
import { type ClusterLimits, limitsFingerprint } from "../types/limits.ts"
import { type ExportHeader, HEADER_SCHEMA, type OmittedPage } from "./header.ts"

/** What the cluster said of the image that was copied. */
export type ImageIdentity = {
  readonly cluster_id: string
  readonly generation: number
  readonly epoch: number
  readonly op: number
  readonly op_checksum: Digest
  readonly root: Digest
  readonly software: string
  readonly created: string
}

export type StateExport = {
  readonly header: ExportHeader
  readonly limits: ClusterLimits
  readonly arena: Uint8Array
}

/** The limits that a cluster of this version may have. */
export const KNOWN_LIMITS: readonly ClusterLimits[] = CLUSTER_SIZES.map(limitsForSize)

/** The digest of every page, as the replicas' tables have it. */
export function digestTable(arena: Uint8Array): Uint8Array {
  const words = new Int32Array(arena.buffer, arena.byteOffset, arena.length / 4)
  const pages = arena.length / PAGE_BYTES
  const table = new Uint8Array(pages * PAGE_DIGEST_BYTES)
  const digests = new Uint32Array(table.buffer)
  const digest: PageDigest = { low: 0, high: 0 }
  for (let page = 0; page < pages; page += 1) {
    pageDigest(words, (page * PAGE_BYTES) / 4, PAGE_BYTES / 4, digest)
    digests[2 * page] = digest.low
    digests[2 * page + 1] = digest.high
  }
  return table
}

export function rootOf(
  table: Uint8Array,
  { op, op_checksum }: { readonly op: number; readonly op_checksum: Digest },
  digest: DigestFunction,
): Digest {
  return digest(rootPrefix(op, op_checksum), table, 0, table.length)
}

/** Puts the digests of omitted pages into a table of what is stored: then its root is that of the whole state. */
function withOmitted(table: Uint8Array, omitted: readonly OmittedPage[]): Uint8Array {
  const whole = table.slice()
  const digests = new Uint32Array(whole.buffer)
  for (const [page, low, high] of omitted) {
    if (2 * page + 1 < digests.length) {
      digests[2 * page] = low
      digests[2 * page + 1] = high
    }
  }
  return whole
}

/** First and last page of the table of secrets: nothing else lies in them. */
function secretPages(limits: ClusterLimits): { readonly first: number; readonly end: number } {
  const start = arenaLayout(limits).records[TableNumber.secrets] ?? 0
  const bytes = (RECORD_TABLES[TableNumber.secrets]?.recordBytes ?? 0) * limits.secrets_max
  assert(start % PAGE_BYTES === 0 && bytes % PAGE_BYTES === 0, "export: secrets have pages of their own")
  return { first: start / PAGE_BYTES, end: (start + bytes) / PAGE_BYTES }
}

/** Takes the secrets out of the arena, in place; the pages that held any, with their digests. */
function omitSecrets(arena: Uint8Array, table: Uint8Array, limits: ClusterLimits): OmittedPage[] {
  const { first, end } = secretPages(limits)
  const digests = new Uint32Array(table.buffer, table.byteOffset, table.length / 4)
  const omitted: OmittedPage[] = []
  for (let page = first; page < end; page += 1) {
    const bytes = arena.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES)
    if (!isEmpty(bytes)) {
      omitted.push([page, digests[2 * page] ?? 0, digests[2 * page + 1] ?? 0])
      bytes.fill(0)
    }
  }
  return omitted
}

export function isEmpty(bytes: Uint8Array): boolean {
  const words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4)
  for (const word of words) {
    if (word !== 0) {
      return false
    }
  }
  return true
}

/** `arena` is the image of that identity; without secrets where they are not to be had, which changes it. */
export function makeExport(options: {
  readonly identity: ImageIdentity
  readonly arena: Uint8Array
  readonly limits: ClusterLimits
  readonly withSecrets: boolean
  readonly digest: DigestFunction
}): StateExport {
  const { identity, arena, limits, withSecrets, digest } = options
  const table = digestTable(arena)
  assert(rootOf(table, identity, digest) === identity.root, "export: what was copied has its root")
  const omitted = withSecrets ? [] : omitSecrets(arena, table, limits)
  let pagesStored = 0
  for (let at = 0; at < arena.length; at += PAGE_BYTES) {
    pagesStored += isEmpty(arena.subarray(at, at + PAGE_BYTES)) ? 0 : 1
  }
  const tables = tablesOf(arena, limits)
  const offset = getU53(tables.view, HeaderOffset.wall_offset)
  const clusterMs = getU53(tables.view, HeaderOffset.timestamp)
  const header: ExportHeader = {
    schema: HEADER_SCHEMA,
    kind: "mandala_export",
    ...identity,
    root_stored: omitted.length === 0 ? identity.root : rootOf(digestTable(arena), identity, digest),
    limits_fingerprint: limitsFingerprint(limits),
    size: CLUSTER_SIZES.find((size) => limitsForSize(size) === limits || isSize(size, limits)) ?? "",
    page_bytes: PAGE_BYTES,
    pages: arena.length / PAGE_BYTES,
    pages_stored: pagesStored,
    secrets: withSecrets ? "included" : "left_out",
    omitted,
    keys: tables.kv.count(),
    machines: tables.keyedRecords.find(([number]) => number === TableNumber.machines)?.[1].count() ?? 0,
    events: tables.events.newest(),
    cluster_ms: clusterMs,
    wall_ms: offset === 0 ? null : clusterMs + offset - 1,
    compression: "zstd",
    encryption: null,
  }
  return { header, limits, arena }
}

function isSize(size: (typeof CLUSTER_SIZES)[number], limits: ClusterLimits): boolean {
  return limitsFingerprint(limitsForSize(size)) === limitsFingerprint(limits)
}

/** The tables of an export, to be read only. */
export function tablesOf(arena: Uint8Array, limits: ClusterLimits): ArenaTables {
  return openTables(arena, limits, { willWrite: () => assert(false, "export: nothing is written") })
}

/** Why the bytes can't be what the header says; undefined when they are. */
export function exportFault({ header, limits, arena }: StateExport, digest: DigestFunction): string | undefined {
  const table = digestTable(arena)
  if (rootOf(table, header, digest) !== header.root_stored) {
    return "its pages are not those that its root was taken of"
  }
  if (rootOf(withOmitted(table, header.omitted), header, digest) !== header.root) {
    return "with the digests of the pages that are left out it has another root than the cluster certified"
  }
  const view = new DataView(arena.buffer, arena.byteOffset, arena.byteLength)
  if (!isArena(view, limits) || getU53(view, HeaderOffset.commit) !== header.op) {
    return "its pages are no state of that size at that op"
  }
  return contentFault(tablesOf(arena, limits), limits)
}

/** Every key where its index says, with the bytes that were written: what no digest of pages can say. */
function contentFault({ kv, view, bytes }: ArenaTables, limits: ClusterLimits): string | undefined {
  const { slab, bytes: end } = arenaLayout(limits)
  const used = kv.used()
  if (used > limits.kv_entries_max) {
    return "it has more keys than its limits allow"
  }
  let count = 0
  for (let entry = 0; entry < used; entry += 1) {
    if (!kv.isInUse(entry)) {
      continue
    }
    count += 1
    const keyBytes = kv.keyBytes(entry)
    const at = kv.keyOffset(entry)
    const last = at + keyBytes + kv.valueBytes(entry)
    const isBounded =
      keyBytes >= 1 && keyBytes <= limits.key_bytes_max && kv.valueBytes(entry) <= limits.value_bytes_max
    if (!isBounded || at < slab || last > end || !kv.isIntact(entry)) {
      return `entry ${entry} of its keys is not what was written`
    }
    if (
      kv.find(view.getUint32(arenaLayout(limits).kv_entries + entry * 32, true), bytes, at, at + keyBytes) !== entry
    ) {
      return `entry ${entry} of its keys is not to be found`
    }
  }
  return count === kv.count() ? undefined : `it counts ${kv.count()} keys and has ${count}`
}
