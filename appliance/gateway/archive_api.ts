/**
 * What exports and restores ask of a machine: GET /v1/image (pieces of the certified state, which is copied as another
 * machine would copy it: the asker compares digests, and asks again for what has changed meanwhile), /v1/exports (the
 * log of exports) and /v1/restore. Every answer is bounded, and nothing is kept between two of them. Plane: control.
 */
import { randomBytes } from "node:crypto"
import type { IncomingMessage, ServerResponse } from "node:http"
import { setTimeout as sleep } from "node:timers/promises"
import type { HostInfo } from "../orchestration/host_info.ts"
import type { Restore, RestoreHead, RestoreRefusal, RestoreReport } from "../orchestration/restore.ts"
import type { Wanted } from "../replication/checkpoint_transfer.ts"
import type { ImageRefusal } from "../replication/replica.ts"
import type { Piece } from "../replication/state_image.ts"
import { CommandCode, ResultKind } from "../state_machine/command.ts"
import {
  EXPORT_PLACE_BYTES_MAX,
  type ExportRecord,
  ExportState,
  encodeExportRecord,
} from "../state_machine/export_record.ts"
import { TableNumber } from "../state_machine/record_tables.ts"
import type { ClusterLimits } from "../types/limits.ts"
import { err, ok, type Result } from "../types/result.ts"
import { type Fields, readBody } from "./api_body.ts"
import type { CallOutcome } from "./batch.ts"
import type { Call, Gateway } from "./gateway.ts"
import { EXPORT_SEEN_MS_MAX, EXPORT_SEEN_POLL_MS, RESTORE_PIECE_BYTES_MAX } from "./limits.ts"
import { API_SCHEMA, errorDocument } from "./status_document.ts"

const IMAGE_PATH = "/v1/image"
const EXPORTS_PATH = "/v1/exports"
const RESTORE_PATH = "/v1/restore"

/** What the API asks of the process host. */
export interface ArchivePort {
  info(): HostInfo
  clusterLimits(): ClusterLimits
  imagePiece(wanted: Wanted): Result<Piece, ImageRefusal>
  exportRecords(): readonly ExportRecord[]
  beginRestore(head: RestoreHead, isDry: boolean): Result<void, RestoreRefusal>
  readonly restore: Restore | undefined
  finishRestore(): Result<RestoreReport, RestoreRefusal>
}

export type ArchiveParts = { readonly gateway: Gateway; readonly archive: ArchivePort }

type Answer = { readonly status: number; readonly document: object }

export function isArchivePath(path: string): boolean {
  return path === IMAGE_PATH || path === EXPORTS_PATH || path === RESTORE_PATH
}

/** Only the log of exports can be read by everybody: the image holds every secret. */
export function isArchiveRead(path: string, method: string | undefined): boolean {
  return path === EXPORTS_PATH && method === "GET"
}

export async function answerArchive(
  parts: ArchiveParts,
  {
    url,
    request,
    response,
  }: { readonly url: URL; readonly request: IncomingMessage; readonly response: ServerResponse },
): Promise<void> {
  const isGet = request.method === "GET"
  if (url.pathname === IMAGE_PATH && isGet && url.searchParams.has("part")) {
    answerPiece(parts.archive, url.searchParams, response)
    return
  }
  let answer: Answer = refusal(405, "method_not_allowed", "GET reads, POST changes")
  if (url.pathname === IMAGE_PATH && isGet) {
    answer = imageHead(parts.archive)
  } else if (url.pathname === EXPORTS_PATH && isGet) {
    answer = { status: 200, document: { schema: API_SCHEMA, exports: parts.archive.exportRecords() } }
  } else if (url.pathname === EXPORTS_PATH && request.method === "POST") {
    answer = await noteExport(parts, request)
  } else if (url.pathname === RESTORE_PATH && request.method === "POST") {
    answer = await restore(parts.archive, url.searchParams, request)
  }
  send(response, answer)
}

// ---------------------------------------------------------------- the image

function imageHead(archive: ArchivePort): Answer {
  const info = archive.info()
  const { checkpoint } = info
  const { cluster_id, generation, epoch, size, commit } = info
  return {
    status: 200,
    document: {
      schema: API_SCHEMA,
      cluster_id,
      generation,
      epoch,
      size,
      commit,
      certified_op: checkpoint.certified_op,
      certified_root: checkpoint.certified_root,
      pages: checkpoint.pages,
      page_bytes: checkpoint.page_bytes,
      chunk_bytes: archive.clusterLimits().chunk_bytes,
      software: info.version,
      machine: info.name,
    },
  }
}

const IMAGE_TEXTS: Readonly<Record<ImageRefusal, string>> = {
  no_state: "this machine does not hold the state: ask another",
  copied: "another machine copies the state from here just now: it comes first; ask again, or another machine",
  not_certified: "the next checkpoint is not certified yet: ask again in a moment",
  not_whole: "the checkpoint has changed where it was asked for: another one is coming, ask again in a moment",
}

function answerPiece(archive: ArchivePort, query: URLSearchParams, response: ServerResponse): void {
  const wanted = wantedOf(query)
  if (wanted === undefined) {
    send(response, refusal(400, "bad_field", "part is table or pages; index, low and high are numbers of 32 bits"))
    return
  }
  const piece = archive.imagePiece(wanted)
  if (!piece.ok) {
    send(response, refusal(503, piece.error, IMAGE_TEXTS[piece.error]))
    return
  }
  const { op, op_checksum, root, mask_low, mask_high, body } = piece.value
  response.writeHead(200, {
    "content-type": "application/octet-stream",
    "content-length": body.length,
    "cache-control": "no-store",
    "mandala-op": op,
    "mandala-op-checksum": op_checksum,
    "mandala-root": root,
    "mandala-low": mask_low,
    "mandala-high": mask_high,
  })
  // The piece lies where the next one will: the socket gets bytes of its own.
  response.end(Buffer.from(body))
}

function wantedOf(query: URLSearchParams): Wanted | undefined {
  const part = query.get("part")
  const [index, low, high] = ["index", "low", "high"].map((name) => u32Of(query.get(name) ?? "0"))
  if ((part !== "table" && part !== "pages") || index === undefined || low === undefined || high === undefined) {
    return undefined
  }
  return { part, index, mask_low: low, mask_high: high }
}

function u32Of(text: string): number | undefined {
  const value = /^[0-9]{1,10}$/.test(text) ? Number(text) : Number.NaN
  return value <= 0xffff_ffff ? value : undefined
}

// ---------------------------------------------------------------- the log of exports

/**
 * `begin` puts a record through the log and answers when this machine has applied it: a certified state of that op or
 * later holds all that was acknowledged before. `end` says what came of it.
 */
async function noteExport({ gateway, archive }: ArchiveParts, request: IncomingMessage): Promise<Answer> {
  const body = await readBody(request)
  if (!body.ok) {
    return refusal(400, body.error, "an export is noted by a JSON object")
  }
  const named = body.value["place"]
  const place = (typeof named === "string" ? named : "").replace(/[^ -~]/g, "?")
  const now = Date.now()
  if (body.value["phase"] === "begin") {
    const id = `${new Date(now).toISOString().slice(0, 19)}Z-${randomBytes(4).toString("hex")}`
    const record = {
      ...{ id, state: ExportState.begun, op: 0, bytes: 0, begun_ms: now, ended_ms: 0, root: "", sha256: "" },
      place: place.slice(0, EXPORT_PLACE_BYTES_MAX),
    }
    const outcome = await putRecord({ gateway, archive }, record)
    if (outcome !== "ok") {
      return refusal(outcome === "refused" ? 409 : 503, outcome, "the export was not noted: ask again")
    }
    const op = await opWithRecord(archive, id)
    return op === undefined
      ? refusal(503, "lagging", "this machine lags behind: ask another")
      : { status: 200, document: { schema: API_SCHEMA, id, after_op: op } }
  }
  const record = endedRecord(body.value, archive.exportRecords(), now)
  if (record === undefined) {
    return refusal(400, "bad_field", "phase is begin or end; end names an export that has begun, op, root and bytes")
  }
  const outcome = await putRecord({ gateway, archive }, record)
  return outcome === "ok"
    ? { status: 200, document: { schema: API_SCHEMA, id: record.id } }
    : refusal(503, outcome, "the end of the export was not noted: ask again")
}

function endedRecord(body: Fields, records: readonly ExportRecord[], now: number): ExportRecord | undefined {
  const begun = records.find(({ id }) => id === body["id"])
  const { op, bytes, root, sha256 } = body
  if (begun === undefined || body["phase"] !== "end") {
    return undefined
  }
  if (body["failed"] === true) {
    return { ...begun, state: ExportState.failed, ended_ms: now }
  }
  const isNumber = (value: unknown): value is number =>
    typeof value === "number" && Number.isSafeInteger(value) && value >= 0
  const isHex = (value: unknown, digits: number): value is string =>
    typeof value === "string" && value.length === digits && /^[0-9a-f]*$/.test(value)
  if (!isNumber(op) || !isNumber(bytes) || !isHex(root, 32) || !isHex(sha256, 64)) {
    return undefined
  }
  return { ...begun, state: ExportState.done, op, bytes, root, sha256, ended_ms: now }
}

/** Where the log of exports is full, the oldest makes room. */
async function putRecord(
  { gateway, archive }: ArchiveParts,
  record: ExportRecord,
): Promise<"ok" | "busy" | "refused" | "unknown"> {
  const table = { flags: TableNumber.export_log, argument: 0 }
  const records = archive.exportRecords()
  const oldest = records[0]
  if (records.length >= archive.clusterLimits().exports_max && oldest !== undefined) {
    const key = Buffer.from(oldest.id)
    await callOnce(gateway, { code: CommandCode.record_remove, key, value: Buffer.alloc(0), ...table })
  }
  const [key, value] = [Buffer.from(record.id), Buffer.from(encodeExportRecord(record))]
  return await callOnce(gateway, { code: CommandCode.record_put, key, value, ...table })
}

/** An op of this machine's state that has the record; undefined when it does not come here in time. */
async function opWithRecord(archive: ArchivePort, id: string): Promise<number | undefined> {
  for (let waited = 0; waited < EXPORT_SEEN_MS_MAX; waited += EXPORT_SEEN_POLL_MS) {
    if (archive.exportRecords().some((record) => record.id === id)) {
      return archive.info().commit
    }
    await sleep(EXPORT_SEEN_POLL_MS)
  }
  return undefined
}

function callOnce(gateway: Gateway, call: Call): Promise<"ok" | "busy" | "refused" | "unknown"> {
  return new Promise((resolve) => {
    const onResult = (outcome: CallOutcome, reply: Buffer, start: number): void => {
      const isError = reply[start] === ResultKind.error
      resolve(outcome === "ok" ? (isError ? "refused" : "ok") : "unknown")
    }
    if (!gateway.call(call, { onResult })) {
      resolve("busy")
    }
  })
}

// ---------------------------------------------------------------- restoring

async function restore(archive: ArchivePort, query: URLSearchParams, request: IncomingMessage): Promise<Answer> {
  const phase = query.get("phase")
  if (phase === "begin" || phase === "check") {
    const body = await readBody(request)
    const head = body.ok ? headOf(body.value) : undefined
    if (head === undefined) {
      return refusal(400, "bad_field", "a restore begins with op, op_checksum, root, generation and limits_fingerprint")
    }
    const begun = archive.beginRestore(head, phase === "check")
    const { cluster_id, generation, commit } = archive.info()
    return begun.ok
      ? { status: 200, document: { schema: API_SCHEMA, cluster_id, generation, commit, phase } }
      : refusal(409, begun.error.kind, begun.error.text)
  }
  const body = await readBytes(request, RESTORE_PIECE_BYTES_MAX)
  const at = u32Of(query.get("at") ?? "")
  const count = u32Of(query.get("count") ?? "0")
  const { restore: running } = archive
  if (!body.ok || at === undefined || count === undefined || running === undefined) {
    return running === undefined
      ? refusal(409, "not_begun", "no restore is under way here: begin")
      : refusal(400, "bad_field", `a piece has at most ${RESTORE_PIECE_BYTES_MAX} bytes, and says where it belongs`)
  }
  switch (phase) {
    case "table":
      return judged(running.table(at, body.value))
    case "pages":
      return judged(running.pages(at, body.value))
    case "zeros":
      return judged(running.zeros(at, count))
    case "end": {
      const finished = archive.finishRestore()
      return finished.ok
        ? { status: 200, document: { schema: API_SCHEMA, ...finished.value } }
        : refusal(409, finished.error.kind, finished.error.text)
    }
    default:
      return refusal(400, "bad_field", "phase is check, begin, table, pages, zeros or end")
  }
}

function judged(outcome: Result<void, RestoreRefusal>): Answer {
  return outcome.ok
    ? { status: 200, document: { schema: API_SCHEMA, outcome: "ok" } }
    : refusal(400, outcome.error.kind, outcome.error.text)
}

function headOf(body: Fields): RestoreHead | undefined {
  const { op, op_checksum, root, generation, limits_fingerprint, replace } = body
  const isDigest = (value: unknown): value is string => typeof value === "string" && /^[0-9a-f]{32}$/.test(value)
  const isCount = (value: unknown): value is number =>
    typeof value === "number" && Number.isSafeInteger(value) && value >= 0
  if (!isCount(op) || !isDigest(op_checksum) || !isDigest(root) || !isCount(generation) || generation > 0xffff_ff00) {
    return undefined
  }
  const isNamed = typeof replace === "string"
  return isCount(limits_fingerprint)
    ? { op, op_checksum, root, generation, limits_fingerprint, replace: isNamed ? replace : "" }
    : undefined
}

async function readBytes(request: IncomingMessage, bytesMax: number): Promise<Result<Buffer, "bytes_max" | "broken">> {
  const chunks: Buffer[] = []
  let bytes = 0
  try {
    for await (const chunk of request) {
      // Proof: no encoding was set, so Node's stream hands out buffers.
      const buffer = chunk as Buffer
      bytes += buffer.length
      if (bytes > bytesMax) {
        return err("bytes_max")
      }
      chunks.push(buffer)
    }
  } catch {
    // The client went away in the middle.
    return err("broken")
  }
  return ok(Buffer.concat(chunks))
}

// ---------------------------------------------------------------- answers

function refusal(status: number, kind: string, text: string): Answer {
  return { status, document: errorDocument(kind, text) }
}

function send(response: ServerResponse, { status, document }: Answer): void {
  const body = Buffer.from(`${JSON.stringify(document)}\n`)
  response.writeHead(status, {
    "content-type": "application/json; charset=utf-8",
    "content-length": body.length,
    "cache-control": "no-store",
    // What is left of a body that was refused is not read.
    ...(status === 200 ? {} : { connection: "close" }),
  })
  response.end(body)
}
