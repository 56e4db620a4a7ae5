/**
 * What an export says of itself before its pages: JSON, so that a person can read it, and checked field by field when
 * it is read: nothing of it is believed before. Plane: control.
 */
import type { Digest } from "../types/contracts.ts"
import { type ClusterLimits, limitsFingerprint } from "../types/limits.ts"
import { err, ok, type Result } from "../types/result.ts"
import type { ArchiveError } from "./errors.ts"
import { ARGON2_MEMORY_KIB_MAX, ARGON2_PASSES_MAX, OMITTED_PAGES_MAX, RECIPIENTS_MAX } from "./limits.ts"

export const HEADER_SCHEMA = 1

/** A way to the file's key. Bytes are hexadecimal. */
export type Recipient =
  | {
      readonly kind: "passphrase"
      readonly kdf: "argon2id"
      readonly memory_kib: number
      readonly passes: number
      readonly salt: string
      readonly wrapped: string
    }
  | { readonly kind: "x25519"; readonly ephemeral: string; readonly wrapped: string }

export type Encryption = { readonly cipher: "chacha20-poly1305"; readonly recipients: readonly Recipient[] }

/** A page that is not in the file: its number and the two halves of its digest. */
export type OmittedPage = readonly [page: number, low: number, high: number]

export type ExportHeader = {
  readonly schema: number
  readonly kind: "mandala_export"
  readonly created: string
  readonly software: string
  readonly cluster_id: string
  readonly generation: number
  readonly epoch: number
  /** The state after this op, all of it and nothing later. */
  readonly op: number
  readonly op_checksum: Digest
  /** Of the whole state, as the cluster certified it. */
  readonly root: Digest
  /** Of what is in the file: the same, but where pages are left out. */
  readonly root_stored: Digest
  readonly limits_fingerprint: number
  readonly size: string
  readonly page_bytes: number
  readonly pages: number
  /** Pages with anything in them. */
  readonly pages_stored: number
  readonly secrets: "included" | "left_out"
  readonly omitted: readonly OmittedPage[]
  readonly keys: number
  readonly machines: number
  readonly events: number
  readonly cluster_ms: number
  /** null where nobody has told the cluster the time. */
  readonly wall_ms: number | null
  readonly compression: "zstd"
  readonly encryption: Encryption | null
}

const HEX = /^[0-9a-f]*$/

/** Reads a header without believing a field of it. */
export function parseHeader(text: string): Result<ExportHeader, ArchiveError> {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return damaged("its header is no JSON")
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return damaged("its header is no object")
  }
  // Proof: an object that is no array has string keys, and its values are not assumed to be anything.
  const fields = value as Readonly<Record<string, unknown>>
  if (fields["kind"] !== "mandala_export") {
    return err({ kind: "not_an_export", text: "its header is not that of an export" })
  }
  if (fields["schema"] !== HEADER_SCHEMA) {
    const schema = String(fields["schema"])
    const text = `its header has schema ${schema}, and this program reads ${HEADER_SCHEMA}: use a newer one`
    return err({ kind: "newer_version", text })
  }
  const reader = new HeaderReader(fields)
  const header: ExportHeader = {
    schema: HEADER_SCHEMA,
    kind: "mandala_export",
    created: reader.text("created", 64),
    software: reader.text("software", 64),
    cluster_id: reader.hex("cluster_id", 32),
    generation: reader.count("generation"),
    epoch: reader.count("epoch"),
    op: reader.count("op"),
    op_checksum: reader.hex("op_checksum", 32),
    root: reader.hex("root", 32),
    root_stored: reader.hex("root_stored", 32),
    limits_fingerprint: reader.count("limits_fingerprint"),
    size: reader.text("size", 16),
    page_bytes: reader.count("page_bytes"),
    pages: reader.count("pages"),
    pages_stored: reader.count("pages_stored"),
    secrets: fields["secrets"] === "included" ? "included" : "left_out",
    omitted: omittedOf(fields["omitted"], reader),
    keys: reader.count("keys"),
    machines: reader.count("machines"),
    events: reader.count("events"),
    cluster_ms: reader.count("cluster_ms"),
    wall_ms: fields["wall_ms"] === null ? null : reader.count("wall_ms"),
    compression: "zstd",
    encryption: encryptionOf(fields["encryption"], reader),
  }
  if (fields["compression"] !== "zstd") {
    reader.fail("compression")
  }
  return reader.failed === undefined ? ok(header) : damaged(`its header has no usable ${reader.failed}`)
}

/** The limits that an export was made with, of those that this program knows. */
export function limitsOfHeader(
  header: ExportHeader,
  known: readonly ClusterLimits[],
): Result<ClusterLimits, ArchiveError> {
  const limits = known.find((one) => limitsFingerprint(one) === header.limits_fingerprint)
  const text = `it has limits that this program does not know (${header.size}): use the version that wrote it`
  return limits === undefined ? err({ kind: "unknown_size", text }) : ok(limits)
}

class HeaderReader {
  readonly #fields: Readonly<Record<string, unknown>>
  failed: string | undefined

  constructor(fields: Readonly<Record<string, unknown>>) {
    this.#fields = fields
  }

  fail(name: string): void {
    this.failed ??= name
  }

  text(name: string, charsMax: number): string {
    const value = this.#fields[name]
    if (typeof value === "string" && value.length <= charsMax && /^[ -~]*$/.test(value)) {
      return value
    }
    this.fail(name)
    return ""
  }

  hex(name: string, digits: number): string {
    const value = this.#fields[name]
    if (typeof value === "string" && value.length === digits && HEX.test(value)) {
      return value
    }
    this.fail(name)
    return ""
  }

  count(name: string): number {
    const value = this.#fields[name]
    if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) {
      return value
    }
    this.fail(name)
    return 0
  }
}

function omittedOf(value: unknown, reader: HeaderReader): OmittedPage[] {
  const isU32 = (one: unknown): one is number =>
    typeof one === "number" && Number.isInteger(one) && one >= 0 && one < 2 ** 32
  const pages: OmittedPage[] = []
  if (!Array.isArray(value) || value.length > OMITTED_PAGES_MAX) {
    reader.fail("omitted")
    return pages
  }
  for (const one of value) {
    const fields: readonly unknown[] = Array.isArray(one) ? one : []
    const [page, low, high] = fields
    if (isU32(page) && isU32(low) && isU32(high)) {
      pages.push([page, low, high])
    } else {
      reader.fail("omitted")
    }
  }
  return pages
}

function encryptionOf(value: unknown, outer: HeaderReader): Encryption | null {
  if (value === null) {
    return null
  }
  // Proof: what is no object has no recipients, and is refused.
  const fields = (typeof value === "object" ? value : {}) as Readonly<Record<string, unknown>>
  const list = fields["recipients"]
  if (
    fields["cipher"] !== "chacha20-poly1305" ||
    !Array.isArray(list) ||
    list.length < 1 ||
    list.length > RECIPIENTS_MAX
  ) {
    outer.fail("encryption")
    return null
  }
  const recipients: Recipient[] = []
  for (const one of list) {
    const recipient = recipientOf(one)
    if (recipient === undefined) {
      outer.fail("encryption")
    } else {
      recipients.push(recipient)
    }
  }
  return { cipher: "chacha20-poly1305", recipients }
}

function recipientOf(value: unknown): Recipient | undefined {
  // Proof: as above.
  const fields = (typeof value === "object" && value !== null ? value : {}) as Readonly<Record<string, unknown>>
  const reader = new HeaderReader(fields)
  const wrapped = reader.hex("wrapped", 96)
  if (fields["kind"] === "x25519") {
    const ephemeral = reader.hex("ephemeral", 64)
    return reader.failed === undefined ? { kind: "x25519", ephemeral, wrapped } : undefined
  }
  const [memoryKib, passes] = [reader.count("memory_kib"), reader.count("passes")]
  const salt = reader.hex("salt", 32)
  const isBounded = memoryKib >= 8 && memoryKib <= ARGON2_MEMORY_KIB_MAX && passes >= 1 && passes <= ARGON2_PASSES_MAX
  const isKnown = fields["kind"] === "passphrase" && fields["kdf"] === "argon2id"
  return reader.failed === undefined && isBounded && isKnown
    ? { kind: "passphrase", kdf: "argon2id", memory_kib: memoryKib, passes, salt, wrapped }
    : undefined
}

function damaged(text: string): Result<never, ArchiveError> {
  return err({ kind: "damaged", text })
}
