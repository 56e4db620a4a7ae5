/** Every message survives its bytes, and no bytes can make the decoder throw. Plane: control. */
import fc from "fast-check"
import { expect, test } from "vitest"
import type { Configuration } from "../../../appliance/replication/configuration.ts"
import type { Message, MessageType, PrepareHeader } from "../../../appliance/replication/message.ts"
import {
  decodeFrame,
  encodeMessage,
  FrameSplitter,
  frameBytesMax,
  messageFrameBytes,
  receiveBufferBytes,
  type WireOptions,
} from "../../../appliance/replication/wire.ts"
import { crc32 } from "../../../appliance/types/checksum.ts"
import { CLUSTER_LIMITS, type ClusterLimits, INCARNATION_MAX, STANDBYS_MAX } from "../../../appliance/types/limits.ts"
import { PRNG } from "../../../appliance/types/prng.ts"

const KIB = 1024
const LIMITS: ClusterLimits = {
  ...CLUSTER_LIMITS,
  batch_bytes_max: 512,
  session_reply_bytes_max: 600,
  read_reply_bytes_max: 700,
  chunk_bytes: 800,
}
const OPTIONS: WireOptions = {
  identity: { cluster_id: new Uint8Array(16).fill(7), generation: 3, limits_fingerprint: 0xdead_beef },
  limits: LIMITS,
  checksum: crc32,
}
const MUTATED_FRAMES = 100_000
const ROUND_TRIPS = 2_000

const incarnation = fc.integer({ min: 0, max: INCARNATION_MAX })
const u53 = fc.oneof(fc.nat(), fc.maxSafeNat())
const u32 = fc.nat({ max: 0xffff_ffff })
const hexDigits = fc.constantFrom(..."0123456789abcdef".split(""))
const digest = fc.string({ unit: hexDigits, minLength: 32, maxLength: 32 })
const piece = {
  part: fc.constantFrom("table" as const, "pages" as const),
  index: u32,
  mask_low: u32,
  mask_high: u32,
}
const token = fc.oneof(fc.constant(""), digest)
const operation = fc.constantFrom(1 as const, 2 as const, 3 as const, 4 as const, 5 as const)
const outcome = fc.constantFrom(
  "ok" as const,
  "not_primary" as const,
  "busy" as const,
  "evicted" as const,
  "invalid" as const,
  "stale" as const,
  "standby_missing" as const,
  "memory_disputed" as const,
)
const slot = fc.nat({ max: LIMITS.slots_max - 1 })
const configuration = fc
  .record({
    size: fc.constantFrom(1, 3, 5, 7),
    extra: fc.nat({ max: STANDBYS_MAX }),
    synchronous: fc.boolean(),
    order: fc.shuffledSubarray([...Array(LIMITS.slots_max).keys()], { minLength: LIMITS.slots_max }),
    nonces: fc.array(u32, { minLength: LIMITS.slots_max, maxLength: LIMITS.slots_max }),
    generation: u32,
    epoch: u32,
    op: u53,
    view: u32,
    grown_to: u32,
  })
  .map(({ size, extra, synchronous, order, nonces, ...rest }): Configuration => {
    const members = order.map((number, index) => ({ slot: number, nonce: nonces[index] ?? 0 }))
    const standbys = members.slice(size, size + extra)
    return {
      ...rest,
      synchronous: synchronous && size === 1 && extra === 1,
      voters: members.slice(0, size),
      standbys,
    }
  })
const probeStatus = fc.constantFrom("blank" as const, "recovering" as const, "operational" as const, "standby" as const)
const entry = fc.tuple(fc.nat({ max: INCARNATION_MAX }), u32).map(([high, low]) => high * 0x1_0000_0000 + low)
const envelope = {
  from: slot,
  epoch: u32,
  cv: fc.array(fc.oneof(fc.constant(0), entry), { minLength: LIMITS.slots_max, maxLength: LIMITS.slots_max }),
}

function body(bytesMax: number): fc.Arbitrary<Uint8Array> {
  return fc.uint8Array({ maxLength: bytesMax })
}

function headerOf(bodyBytes: fc.Arbitrary<number>): fc.Arbitrary<PrepareHeader> {
  return fc.record({
    view: u53,
    op: u53.map((op) => Math.max(op, 1)),
    timestamp: u53,
    operation,
    session: u53,
    request: u53,
    body_bytes: bodyBytes,
    parent: digest,
    checksum: digest,
  })
}

const logEntry = body(LIMITS.batch_bytes_max).chain((bytes) =>
  fc.record({ header: headerOf(fc.constant(bytes.length)), body: fc.constant(bytes) }),
)
const headers = fc.array(headerOf(fc.nat({ max: LIMITS.batch_bytes_max })), { maxLength: LIMITS.pipeline_max + 2 })

/** One generator a type: the compiler refuses a catalogue that misses one. */
const MESSAGES: Readonly<Record<MessageType, fc.Arbitrary<Message>>> = {
  probe: fc.record({ type: fc.constant("probe"), ...envelope, nonce: u53, claim: incarnation, token }),
  probe_ok: fc.record({
    type: fc.constant("probe_ok"),
    ...envelope,
    nonce: u53,
    status: probeStatus,
    token,
    claimed: incarnation,
    configuration,
  }),
  prepare: fc
    .tuple(fc.record({ ...envelope, view: u53, commit: u53 }), logEntry)
    .map(([fields, one]) => ({ type: "prepare", ...fields, header: one.header, body: one.body })),
  prepare_ok: fc.record({ type: fc.constant("prepare_ok"), ...envelope, view: u53, op: u53, checksum: digest }),
  commit: fc.record({ type: fc.constant("commit"), ...envelope, view: u53, op: u53, commit: u53, round: u53 }),
  commit_ok: fc.record({ type: fc.constant("commit_ok"), ...envelope, view: u53, round: u53 }),
  standby_ok: fc.record({
    type: fc.constant("standby_ok"),
    ...envelope,
    nonce: u32,
    view: u53,
    op: u53,
    checksum: digest,
    round: u53,
    grows_to: u32,
  }),
  new_epoch: fc.record({ type: fc.constant("new_epoch"), ...envelope, configuration }),
  epoch_started: fc.record({ type: fc.constant("epoch_started"), ...envelope }),
  reconfigure: fc.record({
    type: fc.constant("reconfigure"),
    ...envelope,
    change: u32,
    epoch_expected: u32,
    voters: fc.array(slot, { maxLength: LIMITS.slots_max }),
    standbys: fc.array(slot, { maxLength: LIMITS.slots_max }),
    synchronous: fc.boolean(),
    drops_standby: fc.boolean(),
    grows: fc.boolean(),
  }),
  reconfigure_reply: fc.record({
    type: fc.constant("reconfigure_reply"),
    ...envelope,
    change: u32,
    outcome: fc.constantFrom(
      "ok" as const,
      "not_primary" as const,
      "busy" as const,
      "wrong_epoch" as const,
      "invalid" as const,
      "not_warm" as const,
      "not_grown" as const,
      "standby_missing" as const,
      "memory_disputed" as const,
    ),
    slot,
    epoch_now: u32,
  }),
  exit_view: fc.record({ type: fc.constant("exit_view"), ...envelope, view: u53 }),
  join_view: fc.record({
    type: fc.constant("join_view"),
    ...envelope,
    view: u53,
    log_view: u53,
    op: u53,
    commit: u53,
    headers,
  }),
  view: fc.record({ type: fc.constant("view"), ...envelope, view: u53, op: u53, commit: u53, headers }),
  get_view: fc.record({ type: fc.constant("get_view"), ...envelope, view: u53 }),
  recovery: fc.record({ type: fc.constant("recovery"), ...envelope, nonce: u53 }),
  recovery_response: fc.record({
    type: fc.constant("recovery_response"),
    ...envelope,
    nonce: u53,
    view: u53,
    op: u53,
    commit: u53,
    headers,
  }),
  get_log: fc.record({ type: fc.constant("get_log"), ...envelope, op_first: u53, op_last: u53 }),
  log: fc.record({ type: fc.constant("log"), ...envelope, view: u53, commit: u53, entry: logEntry }),
  log_gone: fc.record({ type: fc.constant("log_gone"), ...envelope, op: u53 }),
  get_checkpoint: fc.record({ type: fc.constant("get_checkpoint"), ...envelope, nonce: u53, ...piece }),
  checkpoint_ok: fc.record({
    type: fc.constant("checkpoint_ok"),
    ...envelope,
    op: u53,
    root: digest,
    is_certified: fc.boolean(),
    is_read: fc.boolean(),
  }),
  checkpoint_gone: fc.record({ type: fc.constant("checkpoint_gone"), ...envelope, nonce: u53 }),
  checkpoint_chunk: fc.record({
    type: fc.constant("checkpoint_chunk"),
    ...envelope,
    nonce: u53,
    op: u53,
    op_checksum: digest,
    root: digest,
    ...piece,
    body: body(LIMITS.chunk_bytes),
  }),
  request: fc.record({
    type: fc.constant("request"),
    ...envelope,
    operation,
    session: u53,
    request: u53,
    body: body(LIMITS.batch_bytes_max),
  }),
  read: fc.record({ type: fc.constant("read"), ...envelope, read: u53, body: body(LIMITS.batch_bytes_max) }),
  reply: fc.record({
    type: fc.constant("reply"),
    ...envelope,
    session: u53,
    request: u53,
    outcome,
    view: u53,
    body: body(LIMITS.session_reply_bytes_max),
  }),
  read_reply: fc.record({
    type: fc.constant("read_reply"),
    ...envelope,
    read: u53,
    outcome,
    view: u53,
    body: body(LIMITS.read_reply_bytes_max),
  }),
}
const message = fc.oneof(...Object.values(MESSAGES))

function encoded(one: Message): Uint8Array {
  const out = new Uint8Array(messageFrameBytes(one))
  expect(encodeMessage(one, OPTIONS, out, 0)).toBe(out.length)
  return out
}

for (const [type, arbitrary] of Object.entries(MESSAGES)) {
  test(`${type} survives its bytes`, () => {
    fc.assert(
      fc.property(arbitrary, fc.nat({ max: 9 }), (one, offset) => {
        const bytes = messageFrameBytes(one)
        const out = new Uint8Array(offset + bytes + 5)
        expect(encodeMessage(one, OPTIONS, out, offset)).toBe(bytes)
        expect(bytes).toBeLessThanOrEqual(frameBytesMax(LIMITS))
        expect(decodeFrame(out, offset, offset + bytes, OPTIONS)).toEqual({ ok: true, value: one })
      }),
      { numRuns: Math.ceil(ROUND_TRIPS / Object.keys(MESSAGES).length) },
    )
  })
}

test("a stream of frames is split the same whole, in pieces and byte by byte", () => {
  fc.assert(
    fc.property(
      fc.array(message, { minLength: 1, maxLength: 6 }),
      fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 4 * KIB })),
      (messages, piece) => {
        const stream = Buffer.concat(messages.map(encoded))
        const splitter = new FrameSplitter(new Uint8Array(receiveBufferBytes(LIMITS)), LIMITS)
        const found: unknown[] = []
        for (let offset = 0; offset < stream.length; offset += piece) {
          const part = stream.subarray(offset, offset + piece)
          splitter.writable().set(part)
          splitter.advance(part.length)
          while (splitter.next()) {
            const decoded = decodeFrame(splitter.buffer, splitter.frameStart, splitter.frameEnd, OPTIONS)
            found.push(decoded.ok ? structuredClone(decoded.value) : decoded.error)
          }
        }
        expect(found).toEqual(messages)
      },
    ),
    { numRuns: 150 },
  )
})

/** Mutants whose checksum was made right again reach the fields; the others end at the checksum. */
test("100,000 mutated frames never throw, and what decodes is in bounds", () => {
  const seed = Number(process.env["MANDALA_SEED"] ?? 1)
  const random = new PRNG(seed)
  const frames = fc.sample(message, { numRuns: 500, seed }).map(encoded)
  const kinds = new Map<string, number>()
  const scratch = new Uint8Array(frameBytesMax(LIMITS) + 64)
  for (let count = 0; count < MUTATED_FRAMES; count += 1) {
    const frame = frames[random.below(frames.length)]
    expect(frame).toBeDefined()
    scratch.set(frame ?? new Uint8Array(0))
    let length = frame?.length ?? 0
    if (random.chance(1, 3)) {
      length = random.below(Math.min(length + 32, scratch.length))
    }
    for (let flips = random.between(1, 4); flips > 0 && length > 0; flips -= 1) {
      scratch[random.below(length)] = random.below(256)
    }
    if (random.chance(9, 10) && length >= 12) {
      const view = new DataView(scratch.buffer)
      view.setUint32(0, 0x464c_444d, true)
      view.setUint32(8, length, true)
      view.setUint32(4, crc32(scratch, 8, length), true)
    }
    const result = decodeFrame(scratch, 0, length, OPTIONS)
    const kind = result.ok ? "ok" : result.error.kind
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1)
    // What was taken in can be said again: every field is one that the encoder's assertions allow.
    const isSayable =
      !result.ok ||
      result.value.type === "keepalive" ||
      encodeMessage(result.value, OPTIONS, new Uint8Array(length), 0) === length
    expect(isSayable, `seed ${seed}`).toBe(true)
  }
  for (const kind of [
    "ok",
    "bad_checksum",
    "bad_length",
    "bad_version",
    "wrong_cluster",
    "unknown_type",
    "bad_field",
  ]) {
    expect(kinds.get(kind) ?? 0, `${kind} was reached, seed ${seed}`).toBeGreaterThan(100)
  }
})
