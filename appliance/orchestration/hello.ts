/**
 * The greeting of a link: the dialler, which will read, says who it is and whom it means; the acceptor, which will
 * write, accepts or says why not. Pure; all integers little-endian.
 *
 *   offset size  hello                          offset size  answer
 *        0    4  magic "MDLH"                        0    4  magic "MDLA"
 *        4    4  CRC-32 of what follows              4    4  CRC-32 of what follows
 *        8    1  version (1)                         8    1  version (1)
 *        9    1  from: the dialler's slot            9    1  code (ANSWER_CODES; 1 accepts)
 *       10    1  to: the slot that it means         10    1  from: the acceptor's slot
 *       11    1  0                                  11    1  0
 *       12   16  cluster_id                         12    4  nonce of the acceptor's process; where it says
 *                                                           wrong_limits, the fingerprint of its own
 *       28    4  generation
 *       32    4  epoch
 *       36    4  fingerprint of the cluster limits
 *       40    4  incarnation
 *       44    4  nonce of the dialler's process
 *       48    4  IPv4 address where the dialler accepts links
 *       52    2  port
 *       54    2  0
 *
 * Plane: control.
 */
import { type ChecksumFunction, CLUSTER_ID_BYTES, type WireIdentity } from "../replication/wire.ts"
import { assert } from "../types/assert.ts"
import { err, ok, type Result } from "../types/result.ts"

export const HELLO_BYTES = 56
export const ANSWER_BYTES = 16
const VERSION = 1
const HELLO_MAGIC = 0x484c_444d
const ANSWER_MAGIC = 0x414c_444d

export type Hello = {
  readonly from: number
  readonly to: number
  /** The epoch that the dialler is in; members of different epochs must talk, so that they come together. */
  readonly epoch: number
  readonly identity: WireIdentity
  readonly incarnation: number
  /** Random, one a process: a peer that came back is another process. */
  readonly nonce: number
  readonly address: string
  readonly port: number
}

export type Refusal =
  | "bad_hello"
  | "bad_version"
  | "wrong_cluster"
  | "wrong_generation"
  | "wrong_limits"
  | "wrong_slot"
  /** Another process has taken this slot's place a moment ago. */
  | "displaced"

export type Answer = {
  readonly outcome: "accepted" | Refusal
  readonly from: number
  /** Of the acceptor's process; with `wrong_limits` the fingerprint of its limits, for a cluster that has grown. */
  readonly nonce: number
}

const ANSWER_CODES: Readonly<Record<Answer["outcome"], number>> = {
  accepted: 1,
  bad_hello: 2,
  bad_version: 3,
  wrong_cluster: 4,
  wrong_generation: 5,
  wrong_limits: 7,
  wrong_slot: 9,
  displaced: 10,
}

export function encodeHello(hello: Hello, checksum: ChecksumFunction): Uint8Array {
  const bytes = new Uint8Array(HELLO_BYTES)
  const view = new DataView(bytes.buffer)
  assert(hello.identity.cluster_id.length === CLUSTER_ID_BYTES, "hello: a cluster_id is 16 bytes")
  const address = ipv4Bytes(hello.address)
  assert(address !== undefined, "hello: an address is IPv4")
  view.setUint32(0, HELLO_MAGIC, true)
  bytes[8] = VERSION
  bytes[9] = hello.from
  bytes[10] = hello.to
  bytes.set(hello.identity.cluster_id, 12)
  view.setUint32(28, hello.identity.generation, true)
  view.setUint32(32, hello.epoch, true)
  view.setUint32(36, hello.identity.limits_fingerprint, true)
  view.setUint32(40, hello.incarnation, true)
  view.setUint32(44, hello.nonce, true)
  bytes.set(address, 48)
  view.setUint16(52, hello.port, true)
  view.setUint32(4, checksum(bytes, 8, HELLO_BYTES), true)
  return bytes
}

/** `bytes[start, start + HELLO_BYTES)` as a hello of somebody, not yet judged. */
export function decodeHello(
  bytes: Uint8Array,
  start: number,
  checksum: ChecksumFunction,
): Result<Hello, "bad_hello" | "bad_version"> {
  assert(start >= 0 && start + HELLO_BYTES <= bytes.length, "hello: range outside the buffer")
  const view = new DataView(bytes.buffer, bytes.byteOffset + start, HELLO_BYTES)
  if (view.getUint32(0, true) !== HELLO_MAGIC) {
    return err("bad_hello")
  }
  if (view.getUint8(8) !== VERSION) {
    return err("bad_version")
  }
  const port = view.getUint16(52, true)
  const isIntact = view.getUint32(4, true) === checksum(bytes, start + 8, start + HELLO_BYTES)
  if (!isIntact || port === 0 || view.getUint8(48) === 0) {
    return err("bad_hello")
  }
  return ok({
    from: view.getUint8(9),
    to: view.getUint8(10),
    epoch: view.getUint32(32, true),
    identity: {
      cluster_id: bytes.slice(start + 12, start + 28),
      generation: view.getUint32(28, true),
      limits_fingerprint: view.getUint32(36, true),
    },
    incarnation: view.getUint32(40, true),
    nonce: view.getUint32(44, true),
    address: `${view.getUint8(48)}.${view.getUint8(49)}.${view.getUint8(50)}.${view.getUint8(51)}`,
    port,
  })
}

/** What the slot `slot` of this cluster answers to a hello. */
export function judgeHello(
  hello: Hello,
  own: { readonly slot: number; readonly slotsMax: number; readonly identity: WireIdentity },
): Answer["outcome"] {
  const { identity } = own
  if (!hello.identity.cluster_id.every((byte, index) => byte === identity.cluster_id[index])) {
    return "wrong_cluster"
  }
  if (hello.identity.generation !== identity.generation) {
    return "wrong_generation"
  }
  if (hello.identity.limits_fingerprint !== identity.limits_fingerprint) {
    return "wrong_limits"
  }
  const isPeer = hello.to === own.slot && hello.from !== own.slot && hello.from < own.slotsMax
  return isPeer ? "accepted" : "wrong_slot"
}

export function encodeAnswer(answer: Answer, checksum: ChecksumFunction): Uint8Array {
  const bytes = new Uint8Array(ANSWER_BYTES)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, ANSWER_MAGIC, true)
  bytes[8] = VERSION
  bytes[9] = ANSWER_CODES[answer.outcome]
  bytes[10] = answer.from
  view.setUint32(12, answer.nonce, true)
  view.setUint32(4, checksum(bytes, 8, ANSWER_BYTES), true)
  return bytes
}

export function decodeAnswer(
  bytes: Uint8Array,
  start: number,
  checksum: ChecksumFunction,
): Result<Answer, "bad_answer" | "bad_version"> {
  assert(start >= 0 && start + ANSWER_BYTES <= bytes.length, "hello: range outside the buffer")
  const view = new DataView(bytes.buffer, bytes.byteOffset + start, ANSWER_BYTES)
  if (view.getUint32(0, true) !== ANSWER_MAGIC) {
    return err("bad_answer")
  }
  if (view.getUint8(8) !== VERSION) {
    return err("bad_version")
  }
  const outcome = outcomeOf(view.getUint8(9))
  if (view.getUint32(4, true) !== checksum(bytes, start + 8, start + ANSWER_BYTES) || outcome === undefined) {
    return err("bad_answer")
  }
  return ok({ outcome, from: view.getUint8(10), nonce: view.getUint32(12, true) })
}

function outcomeOf(code: number): Answer["outcome"] | undefined {
  for (const [outcome, known] of Object.entries(ANSWER_CODES)) {
    if (known === code) {
      // The keys of ANSWER_CODES are exactly the outcomes: its type says so, Object.entries forgets it.
      return outcome as Answer["outcome"]
    }
  }
  return undefined
}

/** The four bytes of a dotted address, or undefined when the text is none. */
export function ipv4Bytes(text: string): Uint8Array | undefined {
  const parts = text.split(".")
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) <= 255)) {
    return undefined
  }
  return Uint8Array.from(parts, Number)
}
