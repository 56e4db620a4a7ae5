/**
 * The bytes of a message: one frame each. Pure; the links of orchestration put frames on TCP.
 *
 * All integers little-endian. A u64 is a safe integer, so its upper half is below 2^21.
 *
 *   offset size
 *        0    4  magic "MDLF"
 *        4    4  CRC-32 of everything behind this field, but for the body of a checkpoint's pages (checksumEnd)
 *        8    4  bytes of the whole frame
 *       12    1  version (1)
 *       13    1  type (TYPE_CODES; 0 is a keepalive)
 *       14    1  from: the sender's slot
 *       15    1  entries of the crash vector: up to the last that is not 0
 *       16   16  cluster_id
 *       32    4  generation
 *       36    4  the sender's epoch; judged by the replica, not here
 *       40    4  fingerprint of the cluster limits
 *       44   8n  crash vector: incarnation u32, nonce u32 each
 *
 * then the type's fields in the order in which message.ts names them, a body last, to the frame's end:
 *
 *   u64: nonce, view, op, commit, round, log_view, op_first, op_last, session, request, read
 *   u32: claim, claimed, index, mask_low, mask_high, epoch_expected, epoch_now, grows_to; nonce and change in what is
 *        new with epochs
 *   u8: status, operation, outcome, part, slot, synchronous, drops_standby, grows, is_certified, is_read
 *   configuration: u8 length, then its bytes (configuration.ts)   slots: u8 count, then a u8 each
 *   digest: 16 bytes                   token: u8 length (0 or 16), then the bytes
 *   headers: u16 count, then HEADER_BYTES each, as below
 *
 *   offset size of a prepare's header
 *        0    8  view               40    1  operation
 *        8    8  op                 41    4  body bytes
 *       16    8  timestamp          45   16  parent
 *       24    8  session            61   16  checksum
 *       32    8  request
 *
 * Decoding is total over any bytes: whatever is not exactly this is a typed error, never a throw. Plane: control (one
 * frame a batch).
 */
import { assert, unreachable } from "../types/assert.ts"
import { CONFIGURATION_BYTES_MAX, type Digest, Operation } from "../types/contracts.ts"
import { type ClusterLimits, INCARNATION_MAX, inFlightMax } from "../types/limits.ts"
import type { Result } from "../types/result.ts"
import { type Configuration, configurationBytes, decodeConfiguration, encodeConfiguration } from "./configuration.ts"
import type {
  CheckpointPart,
  CrashVector,
  Message,
  MessageOf,
  MessageType,
  PrepareHeader,
  ProbeStatus,
  ReconfigureOutcome,
  RequestOutcome,
} from "./message.ts"

const WIRE_VERSION = 1
/** "MDLF" as its bytes lie in the frame. */
const MAGIC = 0x464c_444d
const FRAME_HEADER_BYTES = 44
const VECTOR_ENTRY_BYTES = 8
const PREPARE_HEADER_BYTES = 77
const DIGEST_BYTES = 16
export const CLUSTER_ID_BYTES = 16
/** Fields of any type without headers and body: the largest is probe_ok's with a configuration. */
const FIELDS_BYTES_MAX = 64 + CONFIGURATION_BYTES_MAX
/** Headers in a list: all that is in flight, the entry below it, and one of room for a peer that counts differently. */
const HEADERS_EXTRA = 2
/** Of a checkpoint_chunk, its part (a u8) at an offset among them. */
const CHUNK_FIELDS_BYTES = 29 + 2 * DIGEST_BYTES
const CHUNK_PART_AT = 16 + 2 * DIGEST_BYTES
const U32 = 0x1_0000_0000
const U53_HIGH_MAX = 0x1f_ffff

/** What both ends of a link must agree on before a word of the protocol counts. */
export type WireIdentity = {
  /** 16 bytes. */
  readonly cluster_id: Uint8Array
  readonly generation: number
  readonly limits_fingerprint: number
}

/** The checksum of `bytes[start, end)`; types/checksum.ts, or zlib's in production. */
export type ChecksumFunction = (bytes: Uint8Array, start: number, end: number) => number

export type WireOptions = {
  /** Replaced as a whole when a standby is promoted into a new generation. */
  identity: WireIdentity
  readonly limits: ClusterLimits
  readonly checksum: ChecksumFunction
}

/** Says that its sender's end of the link lives, and whether it holds the state. No part of the protocol. */
export type Keepalive = { readonly type: "keepalive"; readonly from: number; readonly holds_state: boolean }

export type FrameErrorKind =
  | "bad_magic"
  | "bad_version"
  | "bad_checksum"
  | "bad_length"
  | "wrong_cluster"
  | "wrong_generation"
  | "wrong_limits"
  | "unknown_type"
  | "bad_field"
export type FrameError = { readonly kind: FrameErrorKind }

/** Numbers on the wire stay forever; a type that goes leaves a hole. */
const TYPE_CODES: Readonly<Record<MessageType, number>> = {
  probe: 1,
  probe_ok: 2,
  prepare: 3,
  prepare_ok: 4,
  commit: 5,
  commit_ok: 6,
  exit_view: 7,
  join_view: 8,
  view: 9,
  get_view: 10,
  recovery: 11,
  recovery_response: 12,
  get_log: 13,
  log: 14,
  log_gone: 15,
  get_checkpoint: 16,
  checkpoint_chunk: 17,
  request: 18,
  read: 19,
  reply: 20,
  read_reply: 21,
  standby_ok: 22,
  new_epoch: 23,
  epoch_started: 24,
  reconfigure: 25,
  reconfigure_reply: 26,
  checkpoint_ok: 27,
  checkpoint_gone: 28,
}
const KEEPALIVE_CODE = 0
const TYPES = byCode(TYPE_CODES)
const PROBE_STATUS_CODES: Readonly<Record<ProbeStatus, number>> = {
  blank: 1,
  recovering: 2,
  operational: 3,
  standby: 4,
}
const PROBE_STATUSES = byCode(PROBE_STATUS_CODES)
const PART_CODES: Readonly<Record<CheckpointPart, number>> = { table: 1, pages: 2 }
const PARTS = byCode(PART_CODES)
const OUTCOME_CODES: Readonly<Record<RequestOutcome, number>> = {
  ok: 1,
  not_primary: 2,
  busy: 3,
  evicted: 4,
  invalid: 5,
  stale: 6,
  standby_missing: 7,
  memory_disputed: 8,
}
const OUTCOMES = byCode(OUTCOME_CODES)
const CHANGE_OUTCOME_CODES: Readonly<Record<ReconfigureOutcome, number>> = {
  ok: 1,
  not_primary: 2,
  busy: 3,
  wrong_epoch: 4,
  invalid: 5,
  not_warm: 6,
  standby_missing: 7,
  memory_disputed: 8,
  not_grown: 9,
}
const CHANGE_OUTCOMES = byCode(CHANGE_OUTCOME_CODES)

/** The longest frame that these limits allow. Both ends refuse a longer one before they wait for its bytes. */
export function frameBytesMax(limits: ClusterLimits): number {
  const headers = (inFlightMax(limits) + HEADERS_EXTRA) * PREPARE_HEADER_BYTES
  const body = Math.max(
    limits.batch_bytes_max,
    limits.session_reply_bytes_max,
    limits.read_reply_bytes_max,
    limits.chunk_bytes,
  )
  const fixed = FRAME_HEADER_BYTES + limits.slots_max * VECTOR_ENTRY_BYTES + FIELDS_BYTES_MAX
  return fixed + Math.max(headers, PREPARE_HEADER_BYTES + body)
}

/** Bytes of the frame that encodeMessage would write. */
export function messageFrameBytes(message: Message): number {
  return FRAME_HEADER_BYTES + vectorEntries(message.cv) * VECTOR_ENTRY_BYTES + fieldsBytes(message)
}

/** Entries worth sending: slots behind the last that votes have none. */
function vectorEntries(cv: CrashVector): number {
  let entries = cv.length
  while (entries > 0 && cv[entries - 1] === 0) {
    entries -= 1
  }
  return entries
}

function fieldsBytes(message: Message): number {
  switch (message.type) {
    case "probe":
      return 12 + tokenBytes(message.token)
    case "probe_ok":
      return 14 + tokenBytes(message.token) + configurationBytes(message.configuration)
    case "prepare":
      return 16 + PREPARE_HEADER_BYTES + message.body.length
    case "prepare_ok":
      return 16 + DIGEST_BYTES
    case "commit":
      return 32
    case "commit_ok":
      return 16
    case "standby_ok":
      return 32 + DIGEST_BYTES
    case "exit_view":
    case "get_view":
    case "recovery":
    case "log_gone":
      return 8
    case "join_view":
      return 34 + message.headers.length * PREPARE_HEADER_BYTES
    case "view":
      return 26 + message.headers.length * PREPARE_HEADER_BYTES
    case "recovery_response":
      return 34 + message.headers.length * PREPARE_HEADER_BYTES
    case "get_log":
      return 16
    case "log":
      return 16 + PREPARE_HEADER_BYTES + message.entry.body.length
    case "get_checkpoint":
      return 21
    case "checkpoint_chunk":
      return CHUNK_FIELDS_BYTES + message.body.length
    case "checkpoint_ok":
      return 10 + DIGEST_BYTES
    case "checkpoint_gone":
      return 8
    case "new_epoch":
      return 1 + configurationBytes(message.configuration)
    case "epoch_started":
      return 0
    case "reconfigure":
      return 13 + message.voters.length + message.standbys.length
    case "reconfigure_reply":
      return 10
    case "request":
      return 17 + message.body.length
    case "read":
      return 8 + message.body.length
    case "reply":
      return 25 + message.body.length
    case "read_reply":
      return 17 + message.body.length
    default:
      return unreachable(message)
  }
}

function tokenBytes(token: string): number {
  return token === "" ? 1 : 1 + DIGEST_BYTES
}

/**
 * Where in the frame `bytes[start, end)` what the checksum covers ends. Pages are judged one by one, by the digests
 * that their checkpoint's root covers, wherever their bytes went wrong: a checksum over them all would find nothing
 * more, and is a third of what copying a checkpoint costs.
 */
function checksumEnd(bytes: Uint8Array, start: number, end: number): number {
  const fields = start + FRAME_HEADER_BYTES + VECTOR_ENTRY_BYTES * (bytes[start + 15] ?? 0)
  const isPages =
    bytes[start + 13] === TYPE_CODES.checkpoint_chunk && bytes[fields + CHUNK_PART_AT] === PART_CODES.pages
  return isPages ? Math.min(end, fields + CHUNK_FIELDS_BYTES) : end
}

// ---------------------------------------------------------------- encoding

/**
 * Writes the message's frame into `out` from `offset`; its bytes, or -1 when it doesn't fit before the end of `out`.
 */
export function encodeMessage(message: Message, options: WireOptions, out: Uint8Array, offset: number): number {
  assert(message.cv.length === options.limits.slots_max, "wire: a crash vector has an entry for each slot")
  assert(message.from >= 0 && message.from < options.limits.slots_max, "wire: a sender has a slot")
  const bytes = messageFrameBytes(message)
  assert(bytes <= frameBytesMax(options.limits), "wire: a frame is bounded")
  if (offset + bytes > out.length) {
    return -1
  }
  const writer = new Writer(out, offset)
  const entries = vectorEntries(message.cv)
  const { from, epoch } = message
  writeFrameHeader(writer, options, { bytes, code: TYPE_CODES[message.type], from, epoch, entries })
  writer.vector(message.cv, entries)
  writeFields(writer, message)
  assert(writer.offset === offset + bytes, "wire: what was written is as long as what was counted")
  writer.patchU32(offset + 4, options.checksum(out, offset + 8, checksumEnd(out, offset, offset + bytes)))
  return bytes
}

/** A keepalive has one field: 1 when its sender holds the state, else 0. */
export const KEEPALIVE_BYTES = FRAME_HEADER_BYTES + 1

/** Writes a keepalive; its bytes, or -1 when it doesn't fit. */
export function encodeKeepalive(keepalive: Keepalive, options: WireOptions, out: Uint8Array, offset: number): number {
  const { from } = keepalive
  assert(from >= 0 && from < options.limits.slots_max, "wire: a sender has a slot")
  if (offset + KEEPALIVE_BYTES > out.length) {
    return -1
  }
  const writer = new Writer(out, offset)
  writeFrameHeader(writer, options, { bytes: KEEPALIVE_BYTES, code: KEEPALIVE_CODE, from, epoch: 0, entries: 0 })
  writer.u8(keepalive.holds_state ? 1 : 0)
  writer.patchU32(offset + 4, options.checksum(out, offset + 8, offset + KEEPALIVE_BYTES))
  return KEEPALIVE_BYTES
}

function writeFrameHeader(
  writer: Writer,
  options: WireOptions,
  frame: {
    readonly bytes: number
    readonly code: number
    readonly from: number
    readonly epoch: number
    readonly entries: number
  },
): void {
  const { identity } = options
  assert(identity.cluster_id.length === CLUSTER_ID_BYTES, "wire: a cluster_id is 16 bytes")
  writer.u32(MAGIC)
  writer.u32(0)
  writer.u32(frame.bytes)
  writer.u8(WIRE_VERSION)
  writer.u8(frame.code)
  writer.u8(frame.from)
  writer.u8(frame.entries)
  writer.bytes(identity.cluster_id)
  writer.u32(identity.generation)
  writer.u32(frame.epoch)
  writer.u32(identity.limits_fingerprint)
}

function writeFields(writer: Writer, message: Message): void {
  switch (message.type) {
    case "probe":
      writer.u64(message.nonce)
      writer.u32(message.claim)
      writer.token(message.token)
      return
    case "probe_ok":
      writer.u64(message.nonce)
      writer.u32(message.claimed)
      writer.u8(PROBE_STATUS_CODES[message.status])
      writer.token(message.token)
      writer.configuration(message.configuration)
      return
    case "prepare":
      assert(message.header.body_bytes === message.body.length, "wire: a header says how long its body is")
      writer.u64(message.view)
      writer.u64(message.commit)
      writer.header(message.header)
      writer.bytes(message.body)
      return
    case "prepare_ok":
      writer.u64(message.view)
      writer.u64(message.op)
      writer.digest(message.checksum)
      return
    case "commit":
      writer.u64(message.view)
      writer.u64(message.op)
      writer.u64(message.commit)
      writer.u64(message.round)
      return
    case "commit_ok":
      writer.u64(message.view)
      writer.u64(message.round)
      return
    case "standby_ok":
      writer.u32(message.nonce)
      writer.u64(message.view)
      writer.u64(message.op)
      writer.digest(message.checksum)
      writer.u64(message.round)
      writer.u32(message.grows_to)
      return
    case "exit_view":
    case "get_view":
      writer.u64(message.view)
      return
    case "join_view":
      writer.u64(message.view)
      writer.u64(message.log_view)
      writer.u64(message.op)
      writer.u64(message.commit)
      writer.headers(message.headers)
      return
    case "view":
      writer.u64(message.view)
      writer.u64(message.op)
      writer.u64(message.commit)
      writer.headers(message.headers)
      return
    case "recovery":
      writer.u64(message.nonce)
      return
    case "recovery_response":
      writer.u64(message.nonce)
      writer.u64(message.view)
      writer.u64(message.op)
      writer.u64(message.commit)
      writer.headers(message.headers)
      return
    case "get_log":
      writer.u64(message.op_first)
      writer.u64(message.op_last)
      return
    case "log":
      assert(message.entry.header.body_bytes === message.entry.body.length, "wire: a header says how long its body is")
      writer.u64(message.view)
      writer.u64(message.commit)
      writer.header(message.entry.header)
      writer.bytes(message.entry.body)
      return
    case "log_gone":
      writer.u64(message.op)
      return
    case "get_checkpoint":
      writer.u64(message.nonce)
      writer.u8(PART_CODES[message.part])
      writer.u32(message.index)
      writer.u32(message.mask_low)
      writer.u32(message.mask_high)
      return
    case "checkpoint_chunk":
      writer.u64(message.nonce)
      writer.u64(message.op)
      writer.digest(message.op_checksum)
      writer.digest(message.root)
      writer.u8(PART_CODES[message.part])
      writer.u32(message.index)
      writer.u32(message.mask_low)
      writer.u32(message.mask_high)
      writer.bytes(message.body)
      return
    case "checkpoint_ok":
      writer.u64(message.op)
      writer.digest(message.root)
      writer.u8(message.is_certified ? 1 : 0)
      writer.u8(message.is_read ? 1 : 0)
      return
    case "checkpoint_gone":
      writer.u64(message.nonce)
      return
    case "new_epoch":
      writer.configuration(message.configuration)
      return
    case "epoch_started":
      return
    case "reconfigure":
      writer.u32(message.change)
      writer.u32(message.epoch_expected)
      writer.slots(message.voters)
      writer.slots(message.standbys)
      writer.u8(message.synchronous ? 1 : 0)
      writer.u8(message.drops_standby ? 1 : 0)
      writer.u8(message.grows ? 1 : 0)
      return
    case "reconfigure_reply":
      writer.u32(message.change)
      writer.u8(CHANGE_OUTCOME_CODES[message.outcome])
      writer.u8(message.slot)
      writer.u32(message.epoch_now)
      return
    case "request":
      writer.u8(message.operation)
      writer.u64(message.session)
      writer.u64(message.request)
      writer.bytes(message.body)
      return
    case "read":
      writer.u64(message.read)
      writer.bytes(message.body)
      return
    case "reply":
      writer.u64(message.session)
      writer.u64(message.request)
      writer.u8(OUTCOME_CODES[message.outcome])
      writer.u64(message.view)
      writer.bytes(message.body)
      return
    case "read_reply":
      writer.u64(message.read)
      writer.u8(OUTCOME_CODES[message.outcome])
      writer.u64(message.view)
      writer.bytes(message.body)
      return
    default:
      return unreachable(message)
  }
}

/** Which piece of a checkpoint is asked for, or comes. */
function readPiece(reader: Reader): Pick<MessageOf<"get_checkpoint">, "part" | "index" | "mask_low" | "mask_high"> {
  const part = reader.part()
  const index = reader.u32()
  const low = reader.u32()
  return { part, index, mask_low: low, mask_high: reader.u32() }
}

/** Writes fields one behind the other; the caller has made sure of the room. */
class Writer {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  offset: number

  constructor(bytes: Uint8Array, offset: number) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.offset = offset
  }

  u8(value: number): void {
    assert(value >= 0 && value <= 0xff, "wire: u8 out of range")
    this.#view.setUint8(this.offset, value)
    this.offset += 1
  }

  u16(value: number): void {
    assert(value >= 0 && value <= 0xffff, "wire: u16 out of range")
    this.#view.setUint16(this.offset, value, true)
    this.offset += 2
  }

  u32(value: number): void {
    assert(Number.isSafeInteger(value) && value >= 0 && value < U32, "wire: u32 out of range")
    this.#view.setUint32(this.offset, value, true)
    this.offset += 4
  }

  patchU32(offset: number, value: number): void {
    this.#view.setUint32(offset, value, true)
  }

  u64(value: number): void {
    assert(Number.isSafeInteger(value) && value >= 0, "wire: a u64 is a safe integer")
    this.#view.setUint32(this.offset, value % U32, true)
    this.#view.setUint32(this.offset + 4, Math.floor(value / U32), true)
    this.offset += 8
  }

  bytes(value: Uint8Array): void {
    this.#bytes.set(value, this.offset)
    this.offset += value.length
  }

  vector(cv: CrashVector, entries: number): void {
    for (let slot = 0; slot < entries; slot += 1) {
      const entry = cv[slot] ?? 0
      assert(Number.isSafeInteger(entry) && entry >= 0, "wire: a vector entry is a safe integer")
      this.u32(Math.floor(entry / U32))
      this.u32(entry % U32)
    }
  }

  digest(digest: Digest): void {
    assert(digest.length === 2 * DIGEST_BYTES, "wire: a digest is 32 hexadecimal digits")
    for (let index = 0; index < DIGEST_BYTES; index += 1) {
      const high = hexValue(digest.charCodeAt(2 * index))
      const low = hexValue(digest.charCodeAt(2 * index + 1))
      assert(high >= 0 && low >= 0, "wire: a digest is hexadecimal")
      this.#view.setUint8(this.offset + index, high * 16 + low)
    }
    this.offset += DIGEST_BYTES
  }

  configuration(configuration: Configuration): void {
    const bytes = encodeConfiguration(configuration)
    this.u8(bytes.length)
    this.bytes(bytes)
  }

  slots(slots: readonly number[]): void {
    this.u8(slots.length)
    for (const slot of slots) {
      this.u8(slot)
    }
  }

  token(token: string): void {
    this.u8(token === "" ? 0 : DIGEST_BYTES)
    if (token !== "") {
      this.digest(token)
    }
  }

  header(header: PrepareHeader): void {
    this.u64(header.view)
    this.u64(header.op)
    this.u64(header.timestamp)
    this.u64(header.session)
    this.u64(header.request)
    this.u8(header.operation)
    this.u32(header.body_bytes)
    this.digest(header.parent)
    this.digest(header.checksum)
  }

  headers(headers: readonly PrepareHeader[]): void {
    this.u16(headers.length)
    for (const header of headers) {
      this.header(header)
    }
  }
}

/** The value of a lower-case hexadecimal digit, or -1. */
function hexValue(code: number): number {
  if (code >= 0x30 && code <= 0x39) {
    return code - 0x30
  }
  return code >= 0x61 && code <= 0x66 ? code - 0x61 + 10 : -1
}

// ---------------------------------------------------------------- decoding

const ERRORS: Readonly<Record<FrameErrorKind, Result<never, FrameError>>> = {
  bad_magic: failure("bad_magic"),
  bad_version: failure("bad_version"),
  bad_checksum: failure("bad_checksum"),
  bad_length: failure("bad_length"),
  wrong_cluster: failure("wrong_cluster"),
  wrong_generation: failure("wrong_generation"),
  wrong_limits: failure("wrong_limits"),
  unknown_type: failure("unknown_type"),
  bad_field: failure("bad_field"),
}

function failure(kind: FrameErrorKind): Result<never, FrameError> {
  return { ok: false, error: { kind } }
}

/**
 * The message in `bytes[start, end)`, which must be exactly one frame. Bodies are views into `bytes`: whoever keeps one
 * copies it.
 */
export function decodeFrame(
  bytes: Uint8Array,
  start: number,
  end: number,
  options: WireOptions,
): Result<Message | Keepalive, FrameError> {
  assert(start >= 0 && start <= end && end <= bytes.length, "wire: range outside the buffer")
  const length = end - start
  if (length < FRAME_HEADER_BYTES || length > frameBytesMax(options.limits)) {
    return ERRORS.bad_length
  }
  const reader = new Reader(bytes, start, end)
  if (reader.u32() !== MAGIC) {
    return ERRORS.bad_magic
  }
  const checksum = reader.u32()
  if (reader.u32() !== length) {
    return ERRORS.bad_length
  }
  if (reader.u8() !== WIRE_VERSION) {
    return ERRORS.bad_version
  }
  if (options.checksum(bytes, start + 8, checksumEnd(bytes, start, end)) !== checksum) {
    return ERRORS.bad_checksum
  }
  const code = reader.u8()
  const from = reader.u8()
  const entries = reader.u8()
  if (!reader.isNext(options.identity.cluster_id)) {
    return ERRORS.wrong_cluster
  }
  if (reader.u32() !== options.identity.generation) {
    return ERRORS.wrong_generation
  }
  const epoch = reader.u32()
  if (reader.u32() !== options.identity.limits_fingerprint) {
    return ERRORS.wrong_limits
  }
  if (from >= options.limits.slots_max) {
    return ERRORS.bad_field
  }
  if (code === KEEPALIVE_CODE) {
    const state = reader.u8()
    const isSound = entries === 0 && state <= 1 && reader.left === 0 && !reader.isBroken
    return isSound ? { ok: true, value: { type: "keepalive", from, holds_state: state === 1 } } : ERRORS.bad_field
  }
  const type = TYPES[code]
  if (type === undefined) {
    return ERRORS.unknown_type
  }
  if (entries > options.limits.slots_max) {
    return ERRORS.bad_field
  }
  const envelope = { from, epoch, cv: reader.vector(entries, options.limits.slots_max) }
  const message = readMessage(reader, options.limits, type, envelope)
  return reader.isBroken || reader.left !== 0 ? ERRORS.bad_field : { ok: true, value: message }
}

type Envelope = { readonly from: number; readonly epoch: number; readonly cv: CrashVector }

/** The fields of one type. A field that is wrong marks the reader as broken; what was read is then dropped. */
function readMessage(reader: Reader, limits: ClusterLimits, type: MessageType, envelope: Envelope): Message {
  const { from, epoch, cv } = envelope
  const headersMax = inFlightMax(limits) + HEADERS_EXTRA
  const batchMax = limits.batch_bytes_max
  switch (type) {
    case "probe":
      return { type, from, epoch, cv, nonce: reader.u64(), claim: reader.incarnation(), token: reader.token() }
    case "probe_ok":
      return {
        type,
        from,
        epoch,
        cv,
        nonce: reader.u64(),
        claimed: reader.incarnation(),
        status: reader.probeStatus(),
        token: reader.token(),
        configuration: reader.configuration(limits.slots_max),
      }
    case "prepare": {
      const view = reader.u64()
      const commit = reader.u64()
      const header = reader.header(batchMax)
      return { type, from, epoch, cv, view, commit, header, body: reader.exactBody(header.body_bytes) }
    }
    case "prepare_ok":
      return { type, from, epoch, cv, view: reader.u64(), op: reader.u64(), checksum: reader.digest() }
    case "commit":
      return { type, from, epoch, cv, view: reader.u64(), op: reader.u64(), commit: reader.u64(), round: reader.u64() }
    case "commit_ok":
      return { type, from, epoch, cv, view: reader.u64(), round: reader.u64() }
    case "standby_ok": {
      const nonce = reader.u32()
      const view = reader.u64()
      const op = reader.u64()
      const checksum = reader.digest()
      return { type, from, epoch, cv, nonce, view, op, checksum, round: reader.u64(), grows_to: reader.u32() }
    }
    case "exit_view":
    case "get_view":
      return { type, from, epoch, cv, view: reader.u64() }
    case "join_view": {
      const view = reader.u64()
      const logView = reader.u64()
      const op = reader.u64()
      return {
        type,
        from,
        epoch,
        cv,
        view,
        log_view: logView,
        op,
        commit: reader.u64(),
        headers: reader.headers(headersMax, batchMax),
      }
    }
    case "view": {
      const view = reader.u64()
      const op = reader.u64()
      return { type, from, epoch, cv, view, op, commit: reader.u64(), headers: reader.headers(headersMax, batchMax) }
    }
    case "recovery":
      return { type, from, epoch, cv, nonce: reader.u64() }
    case "recovery_response": {
      const nonce = reader.u64()
      const view = reader.u64()
      const op = reader.u64()
      return {
        type,
        from,
        epoch,
        cv,
        nonce,
        view,
        op,
        commit: reader.u64(),
        headers: reader.headers(headersMax, batchMax),
      }
    }
    case "get_log":
      return { type, from, epoch, cv, op_first: reader.u64(), op_last: reader.u64() }
    case "log": {
      const view = reader.u64()
      const commit = reader.u64()
      const header = reader.header(batchMax)
      return { type, from, epoch, cv, view, commit, entry: { header, body: reader.exactBody(header.body_bytes) } }
    }
    case "log_gone":
      return { type, from, epoch, cv, op: reader.u64() }
    case "get_checkpoint":
      return { type, from, epoch, cv, nonce: reader.u64(), ...readPiece(reader) }
    case "checkpoint_chunk": {
      const nonce = reader.u64()
      const op = reader.u64()
      const opChecksum = reader.digest()
      const root = reader.digest()
      const piece = readPiece(reader)
      const body = reader.body(limits.chunk_bytes)
      return { type, from, epoch, cv, nonce, op, op_checksum: opChecksum, root, ...piece, body }
    }
    case "checkpoint_ok": {
      const op = reader.u64()
      const root = reader.digest()
      const isCertified = reader.flag()
      return { type, from, epoch, cv, op, root, is_certified: isCertified, is_read: reader.flag() }
    }
    case "checkpoint_gone":
      return { type, from, epoch, cv, nonce: reader.u64() }
    case "new_epoch":
      return { type, from, epoch, cv, configuration: reader.configuration(limits.slots_max) }
    case "epoch_started":
      return { type, from, epoch, cv }
    case "reconfigure": {
      const change = reader.u32()
      const expected = reader.u32()
      const voters = reader.slots(limits.slots_max)
      const standbys = reader.slots(limits.slots_max)
      const synchronous = reader.flag()
      return {
        type,
        from,
        epoch,
        cv,
        change,
        epoch_expected: expected,
        voters,
        standbys,
        synchronous,
        drops_standby: reader.flag(),
        grows: reader.flag(),
      }
    }
    case "reconfigure_reply": {
      const change = reader.u32()
      const outcome = reader.changeOutcome()
      const slot = reader.u8()
      return { type, from, epoch, cv, change, outcome, slot, epoch_now: reader.u32() }
    }
    case "request": {
      const operation = reader.operation()
      const session = reader.u64()
      return { type, from, epoch, cv, operation, session, request: reader.u64(), body: reader.body(batchMax) }
    }
    case "read":
      return { type, from, epoch, cv, read: reader.u64(), body: reader.body(batchMax) }
    case "reply": {
      const session = reader.u64()
      const request = reader.u64()
      const outcome = reader.outcome()
      const view = reader.u64()
      return {
        type,
        from,
        epoch,
        cv,
        session,
        request,
        outcome,
        view,
        body: reader.body(limits.session_reply_bytes_max),
      }
    }
    case "read_reply": {
      const read = reader.u64()
      const outcome = reader.outcome()
      return {
        type,
        from,
        epoch,
        cv,
        read,
        outcome,
        view: reader.u64(),
        body: reader.body(limits.read_reply_bytes_max),
      }
    }
    default:
      return unreachable(type)
  }
}

const NO_BODY = new Uint8Array(0)
/** What a broken reader answers for a configuration; dropped with the message. */
const NO_CONFIGURATION: Configuration = {
  generation: 0,
  epoch: 0,
  op: 0,
  view: 0,
  synchronous: false,
  grown_to: 0,
  voters: [{ slot: 0, nonce: 0 }],
  standbys: [],
}
const NO_DIGEST: Digest = "0".repeat(2 * DIGEST_BYTES)
const HEX_CODES = Array.from({ length: 16 }, (_, value) => value.toString(16).charCodeAt(0))
/** A digest's characters, made into one flat string at once: sixteen pieces joined would be read much more slowly. */
const DIGITS = new Array<number>(2 * DIGEST_BYTES).fill(0)

/** Reads fields one behind the other; a read past the end or a value out of range breaks it, and it stays broken. */
class Reader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  readonly #end: number
  #offset: number
  #broken = false

  constructor(bytes: Uint8Array, start: number, end: number) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#offset = start
    this.#end = end
  }

  get isBroken(): boolean {
    return this.#broken
  }

  get left(): number {
    return this.#end - this.#offset
  }

  /** The offset of the next `bytes` bytes, or -1 when they are not there. */
  #take(bytes: number): number {
    if (this.left < bytes) {
      this.#broken = true
      return -1
    }
    const offset = this.#offset
    this.#offset += bytes
    return offset
  }

  #need<T>(value: T | undefined, otherwise: T): T {
    if (value === undefined) {
      this.#broken = true
      return otherwise
    }
    return value
  }

  u8(): number {
    const offset = this.#take(1)
    return offset < 0 ? 0 : this.#view.getUint8(offset)
  }

  u16(): number {
    const offset = this.#take(2)
    return offset < 0 ? 0 : this.#view.getUint16(offset, true)
  }

  u32(): number {
    const offset = this.#take(4)
    return offset < 0 ? 0 : this.#view.getUint32(offset, true)
  }

  u64(): number {
    const offset = this.#take(8)
    if (offset < 0) {
      return 0
    }
    const high = this.#view.getUint32(offset + 4, true)
    if (high > U53_HIGH_MAX) {
      this.#broken = true
      return 0
    }
    return high * U32 + this.#view.getUint32(offset, true)
  }

  /** True, and past them, when exactly these bytes come next. */
  isNext(expected: Uint8Array): boolean {
    const offset = this.#take(expected.length)
    if (offset < 0) {
      return false
    }
    for (let index = 0; index < expected.length; index += 1) {
      if (this.#bytes[offset + index] !== expected[index]) {
        return false
      }
    }
    return true
  }

  incarnation(): number {
    const incarnation = this.u32()
    if (incarnation > INCARNATION_MAX) {
      this.#broken = true
    }
    return this.#broken ? 0 : incarnation
  }

  /** `entries` of them, and zeros up to `slots`. */
  vector(entries: number, slots: number): CrashVector {
    const cv: number[] = []
    for (let index = 0; index < entries; index += 1) {
      const incarnation = this.incarnation()
      const nonce = this.u32()
      cv.push(this.#broken ? 0 : incarnation * U32 + nonce)
    }
    // One message has one form: what ends with a zero entry was not written by encodeMessage.
    if (cv.at(-1) === 0) {
      this.#broken = true
    }
    while (cv.length < slots) {
      cv.push(0)
    }
    return cv
  }

  digest(): Digest {
    const offset = this.#take(DIGEST_BYTES)
    if (offset < 0) {
      return NO_DIGEST
    }
    for (let index = 0; index < DIGEST_BYTES; index += 1) {
      const value = this.#view.getUint8(offset + index)
      DIGITS[2 * index] = HEX_CODES[value >>> 4] ?? 0
      DIGITS[2 * index + 1] = HEX_CODES[value & 15] ?? 0
    }
    return String.fromCharCode.apply(undefined, DIGITS)
  }

  token(): string {
    const bytes = this.u8()
    if (bytes === 0) {
      return ""
    }
    if (bytes !== DIGEST_BYTES) {
      this.#broken = true
      return ""
    }
    return this.digest()
  }

  probeStatus(): ProbeStatus {
    return this.#need(PROBE_STATUSES[this.u8()], "recovering")
  }

  changeOutcome(): ReconfigureOutcome {
    return this.#need(CHANGE_OUTCOMES[this.u8()], "invalid")
  }

  flag(): boolean {
    const value = this.u8()
    this.#broken = this.#broken || value > 1
    return value === 1
  }

  slots(countMax: number): number[] {
    const count = this.u8()
    const slots: number[] = []
    if (count > countMax) {
      this.#broken = true
      return slots
    }
    for (let index = 0; index < count; index += 1) {
      slots.push(this.u8())
    }
    return slots
  }

  configuration(slotsMax: number): Configuration {
    const bytes = this.u8()
    const offset = this.#take(bytes)
    const configuration =
      offset < 0 ? undefined : decodeConfiguration(this.#bytes.subarray(offset, offset + bytes), slotsMax)
    return this.#need(configuration, NO_CONFIGURATION)
  }

  part(): CheckpointPart {
    return this.#need(PARTS[this.u8()], "table")
  }

  outcome(): RequestOutcome {
    return this.#need(OUTCOMES[this.u8()], "invalid")
  }

  operation(): Operation {
    const code = this.u8()
    switch (code) {
      case Operation.register:
      case Operation.batch:
      case Operation.pulse:
      case Operation.reconfigure:
      case Operation.wall_clock:
      case Operation.checkpoint:
        return code
      default:
        this.#broken = true
        return Operation.pulse
    }
  }

  header(bodyBytesMax: number): PrepareHeader {
    const view = this.u64()
    const op = this.u64()
    const timestamp = this.u64()
    const session = this.u64()
    const request = this.u64()
    const operation = this.operation()
    const bodyBytes = this.u32()
    const parent = this.digest()
    const checksum = this.digest()
    if (op === 0 || bodyBytes > bodyBytesMax) {
      this.#broken = true
    }
    return { view, op, timestamp, operation, session, request, body_bytes: bodyBytes, parent, checksum }
  }

  headers(countMax: number, bodyBytesMax: number): PrepareHeader[] {
    const headers: PrepareHeader[] = []
    const count = this.u16()
    // Compared before anything is read or allocated for it.
    if (count > countMax || this.left < count * PREPARE_HEADER_BYTES) {
      this.#broken = true
      return headers
    }
    for (let index = 0; index < count; index += 1) {
      headers.push(this.header(bodyBytesMax))
    }
    return headers
  }

  /** The rest of the frame. */
  body(bytesMax: number): Uint8Array {
    const bytes = this.left
    if (this.#broken || bytes > bytesMax) {
      this.#broken = true
      return NO_BODY
    }
    const offset = this.#take(bytes)
    return this.#bytes.subarray(offset, offset + bytes)
  }

  /** The rest of the frame, which must be as long as its header says. */
  exactBody(bytes: number): Uint8Array {
    if (this.left !== bytes) {
      this.#broken = true
    }
    return this.body(bytes)
  }
}

function byCode<T extends string>(codes: Readonly<Record<T, number>>): readonly (T | undefined)[] {
  const names: (T | undefined)[] = []
  for (const name in codes) {
    const code = codes[name]
    assert(names[code] === undefined && code > 0, "wire: a code names one thing, and 0 is none")
    names[code] = name
  }
  return names
}

// ---------------------------------------------------------------- splitting a stream

/** Room that the splitter keeps free for one read; smaller reads cost a system call each. */
const READ_ROOM_BYTES = 64 * 1024

/** A receive buffer for these limits: a frame that is under way, a whole one behind it, and room to read. */
export function receiveBufferBytes(limits: ClusterLimits): number {
  return 2 * frameBytesMax(limits) + READ_ROOM_BYTES
}

/**
 * Finds the frames in a stream that arrives in pieces of any size, in one static buffer: the reader writes into
 * `writable()`, says how much with `advance()`, and takes frames with `next()` until it returns false. What `next()`
 * showed is valid until `writable()` is called again.
 */
export class FrameSplitter {
  readonly #buffer: Uint8Array
  readonly #view: DataView
  readonly #frameBytesMax: number
  #start = 0
  #end = 0
  /** The frame that next() found. */
  frameStart = 0
  frameEnd = 0
  /** Set for good when the stream cannot be split any further: the link must be closed. */
  error: "bad_magic" | "bad_length" | undefined

  constructor(buffer: Uint8Array, limits: ClusterLimits) {
    assert(buffer.length >= receiveBufferBytes(limits), "wire: a receive buffer holds two frames and room to read")
    this.#buffer = buffer
    this.#view = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength)
    this.#frameBytesMax = frameBytesMax(limits)
  }

  get buffer(): Uint8Array {
    return this.#buffer
  }

  /** Forgets everything: a new connection begins. */
  reset(): void {
    this.#start = 0
    this.#end = 0
    this.error = undefined
  }

  /** Where the next read goes; never empty (Node answers an empty buffer with ENOBUFS). */
  writable(): Uint8Array {
    if (this.#start === this.#end) {
      this.#start = 0
      this.#end = 0
    } else if (this.#buffer.length - this.#end < READ_ROOM_BYTES) {
      this.#buffer.copyWithin(0, this.#start, this.#end)
      this.#end -= this.#start
      this.#start = 0
    }
    assert(this.#end < this.#buffer.length, "wire: there is room for a read")
    return this.#end === 0 ? this.#buffer : this.#buffer.subarray(this.#end)
  }

  advance(bytes: number): void {
    assert(bytes >= 0 && this.#end + bytes <= this.#buffer.length, "wire: more was read than there was room for")
    this.#end += bytes
  }

  /**
   * Takes so many bytes that are no frame, such as a greeting, from the front: their offset, or -1 until they are here.
   */
  take(bytes: number): number {
    if (this.#end - this.#start < bytes) {
      return -1
    }
    this.#start += bytes
    return this.#start - bytes
  }

  /** True when `[frameStart, frameEnd)` is a whole frame; false when more bytes are needed or the stream is broken. */
  next(): boolean {
    const have = this.#end - this.#start
    if (this.error !== undefined || have < 12) {
      return false
    }
    if (this.#view.getUint32(this.#start, true) !== MAGIC) {
      this.error = "bad_magic"
      return false
    }
    const bytes = this.#view.getUint32(this.#start + 8, true)
    if (bytes < FRAME_HEADER_BYTES || bytes > this.#frameBytesMax) {
      this.error = "bad_length"
      return false
    }
    if (have < bytes) {
      return false
    }
    this.frameStart = this.#start
    this.frameEnd = this.#start + bytes
    this.#start = this.frameEnd
    return true
  }
}
