/**
 * What the simulation knows to be true: the one history of committed ops, the view in which each was first committed, a
 * plain model of the keys and sessions after each of them, and the checks that no replica and no answer may contradict
 * it. The order of ops is a witness: an answer is linearizable when it fits there, after all that was answered before
 * it was asked. Plane: control.
 */
import { Operation } from "../../appliance/types/contracts.ts"
import type { LogEntry, PrepareHeader } from "../../appliance/replication/message.ts"
import { CommandCode, CommandFlag, COMMAND_HEADER_BYTES } from "../../appliance/state_machine/command.ts"

/** A violated property: the simulation stops at the first. */
export class Violation extends Error {
  override readonly name = "Violation"
}

export type Write =
  | { readonly kind: "set"; readonly key: string; readonly value: string; readonly expires: number }
  | { readonly kind: "del"; readonly key: string }
  | { readonly kind: "incr"; readonly key: string; readonly delta: number }

/** The value of one key from one op on; undefined is absent. */
type Version = { readonly op: number; readonly value: string | undefined }

/** What a batch did, by the model; undefined where its session had been evicted, so that it did nothing. */
export type Effect = readonly (string | number)[] | undefined

type Session = { readonly client: string; last_op: number; request: number }

/** Keys of this prefix carry deadlines: they exercise pulses and are in no read check. */
export const EXPIRING_PREFIX = "e"

const TEXT = new TextDecoder()
const ENCODER = new TextEncoder()

/** Views of all epochs in one order. */
const VIEWS_AN_EPOCH = 1_000_000

export function rankOf(epoch: number, view: number): number {
  return epoch * VIEWS_AN_EPOCH + view
}

export class History {
  readonly #sessionsMax: number
  readonly #headers: PrepareHeader[] = []
  /** Of each op, the lowest view in which a member of it committed it; Infinity while none did. */
  readonly #ranks: number[] = []
  readonly #versions = new Map<string, Version[]>()
  readonly #sessions = new Map<number, Session>()
  /** The op of each request that took effect. */
  readonly #requests = new Map<string, number>()
  readonly #effects = new Map<number, Effect>()
  readonly #digests = new Map<number, { readonly slot: number; readonly digest: number }>()
  /** The log of each view: which entry a member of it has at an op. */
  readonly #viewLogs = new Map<number, Map<number, string>>()
  /** Of each key, the op that a read has seen: no later read may see less. */
  readonly #seen = new Map<string, number>()
  /** The highest op that a client has been told of. */
  #acknowledgedOp = 0
  /** No majority remembers anything: nothing that was not prepared by then may be committed, and no read answered. */
  #sealedOp = Number.POSITIVE_INFINITY

  constructor(sessionsMax: number) {
    this.#sessionsMax = sessionsMax
  }

  get op(): number {
    return this.#headers.length
  }

  get acknowledgedOp(): number {
    return this.#acknowledgedOp
  }

  get isSealed(): boolean {
    return this.#sealedOp !== Number.POSITIVE_INFINITY
  }

  /** From now on nothing above `op` may be committed, until unseal(). */
  seal(op: number): void {
    this.#sealedOp = Math.max(op, this.op)
  }

  unseal(): void {
    this.#sealedOp = Number.POSITIVE_INFINITY
  }

  /** A replica's commit number passed this entry; `rank` is its view if it is a member of one, else Infinity. */
  committed(slot: number, entry: LogEntry, rank: number): void {
    const { header } = entry
    const known = this.#headers[header.op - 1]
    if (known !== undefined) {
      this.checkChecksum(slot, header.op, header.checksum)
      this.#ranks[header.op - 1] = Math.min(this.#ranks[header.op - 1] ?? rank, rank)
      return
    }
    if (header.op !== this.#headers.length + 1) {
      throw new Violation(`slot ${slot} commits op ${header.op} while the history ends at ${this.#headers.length}`)
    }
    if (header.op > this.#sealedOp) {
      throw new Violation(`slot ${slot} commits op ${header.op} though no majority remembers anything`)
    }
    const last = this.#headers.at(-1)
    if ((last?.checksum ?? "0".repeat(32)) !== header.parent) {
      throw new Violation(`op ${header.op} does not follow the committed op ${header.op - 1}`)
    }
    if (last !== undefined && header.timestamp < last.timestamp) {
      throw new Violation(`the timestamp of op ${header.op} falls`)
    }
    this.#headers.push(header)
    this.#ranks.push(rank)
    if (header.operation === Operation.register) {
      this.#register(header.op, entry.body)
    } else if (header.operation === Operation.batch) {
      this.#effects.set(header.op, this.#execute(header, entry.body))
    }
  }

  /** The checksum that a replica has for a committed op must be the history's. */
  checkChecksum(slot: number, op: number, checksum: string): void {
    const known = this.#headers[op - 1]
    if (known?.checksum !== checksum) {
      throw new Violation(`slot ${slot} has another entry at committed op ${op}`)
    }
  }

  /** Two members of one view never have two entries at one op: neither acknowledged nor committed ones. */
  checkViewLog(slot: number, rank: number, op: number, checksum: string): void {
    let log = this.#viewLogs.get(rank)
    if (log === undefined) {
      log = new Map()
      this.#viewLogs.set(rank, log)
    }
    const known = log.get(op)
    if (known === undefined) {
      log.set(op, checksum)
    } else if (known !== checksum) {
      throw new Violation(`slot ${slot} has another entry at op ${op} of its view than another member`)
    }
  }

  /**
   * The log with which `slot` begins view `rank` as its primary holds every op that was committed in an earlier view.
   * `checksumAt` is undefined where the log does not reach back.
   */
  checkStart(slot: number, rank: number, op: number, checksumAt: (op: number) => string | undefined): void {
    for (let committed = this.op; committed > 0; committed -= 1) {
      if ((this.#ranks[committed - 1] ?? 0) >= rank) {
        continue
      }
      if (committed > op) {
        throw new Violation(`slot ${slot} begins its view at op ${op} without op ${committed} of an earlier one`)
      }
      const checksum = checksumAt(committed)
      if (checksum === undefined) {
        return
      }
      this.checkChecksum(slot, committed, checksum)
    }
  }

  /** Equal ops have equal bytes. */
  checkDigest(slot: number, op: number, digest: number): void {
    const known = this.#digests.get(op)
    if (known === undefined) {
      this.#digests.set(op, { slot, digest })
    } else if (known.digest !== digest) {
      throw new Violation(`at op ${op} the arenas of slot ${known.slot} and slot ${slot} differ`)
    }
  }

  /** A client, who asked when `since` was the highest op that anyone had been told of, hears that it is done. */
  acknowledged(request: { readonly session: number; readonly request: number; readonly since: number }): Effect {
    const id = `${request.session}:${request.request}`
    const op = this.#requests.get(id)
    if (op === undefined) {
      throw new Violation(`request ${id} is acknowledged and took no effect in any committed op`)
    }
    if (op <= request.since) {
      throw new Violation(`request ${id} is op ${op}, though op ${request.since} was acknowledged before it was asked`)
    }
    this.#acknowledgedOp = Math.max(this.#acknowledgedOp, op)
    return this.#effects.get(op)
  }

  /** A client hears that its session is gone: true when it is, false when whoever said so was behind. */
  isEvicted(session: number): boolean {
    return !this.#sessions.has(session)
  }

  /** A session was answered to its client: it is in the history. */
  registered(session: number): void {
    if (this.#headers[session - 1]?.operation !== Operation.register) {
      throw new Violation(`session ${session} is acknowledged and nowhere registered`)
    }
    this.#acknowledgedOp = Math.max(this.#acknowledgedOp, session)
  }

  /**
   * What a read of `key` that is asked now must see at least: the op up to which writes or reads have been answered.
   */
  floorOf(key: string): number {
    return Math.max(this.#acknowledgedOp, this.#seen.get(key) ?? 0)
  }

  /** A read that was asked when the key's floor was `since` sees the key as it was after some op from there on. */
  checkRead(key: string, value: string | undefined, since: number): void {
    const versions = this.#versions.get(key) ?? []
    let first = -1
    let index = versions.length - 1
    for (; index >= 0; index -= 1) {
      const version = versions[index]
      if (version === undefined || version.op <= since) {
        break
      }
      first = version.value === value ? version.op : first
    }
    // The version that was current at `since`, or none yet.
    if (versions[index]?.value === value) {
      return
    }
    if (first < 0) {
      throw new Violation(`a read of ${key} saw ${String(value)}, which is older than op ${since}`)
    }
    this.#seen.set(key, Math.max(this.#seen.get(key) ?? 0, first))
  }

  /** Whether the key had this value after one of the ops from `from` to `to`. */
  isValue(key: string, value: string | undefined, ops: { readonly from: number; readonly to: number }): boolean {
    const versions = this.#versions.get(key) ?? []
    let index = versions.length - 1
    while (index >= 0 && (versions[index]?.op ?? 0) > ops.to) {
      index -= 1
    }
    for (; index >= 0 && (versions[index]?.op ?? 0) > ops.from; index -= 1) {
      if (versions[index]?.value === value) {
        return true
      }
    }
    return versions[index]?.value === value
  }

  /** As the production table does it: a client that is known keeps its session, a full table evicts its oldest. */
  #register(op: number, body: Uint8Array): void {
    const client = String(body)
    let oldest = 0
    let oldestOp = Number.POSITIVE_INFINITY
    for (const [number, session] of this.#sessions) {
      if (session.client === client) {
        return
      }
      if (session.last_op < oldestOp) {
        oldest = number
        oldestOp = session.last_op
      }
    }
    if (this.#sessions.size >= this.#sessionsMax) {
      this.#sessions.delete(oldest)
    }
    this.#sessions.set(op, { client, last_op: op, request: 0 })
  }

  #execute(header: PrepareHeader, body: Uint8Array): Effect {
    const session = this.#sessions.get(header.session)
    if (session === undefined) {
      return undefined
    }
    const id = `${header.session}:${header.request}`
    if (header.request !== session.request + 1) {
      throw new Violation(`request ${id} takes effect after request ${session.request}: at most once, and in order`)
    }
    session.request = header.request
    session.last_op = header.op
    this.#requests.set(id, header.op)
    const results: (string | number)[] = []
    for (const write of decodeWrites(body)) {
      results.push(this.#apply(header.op, write))
    }
    return results
  }

  #apply(op: number, write: Write): string | number {
    const now = this.#versions.get(write.key)?.at(-1)?.value
    if (write.kind === "set") {
      this.#put(write.key, op, write.value)
      return "ok"
    }
    if (write.kind === "del") {
      this.#put(write.key, op, undefined)
      return now === undefined ? 0 : 1
    }
    const sum = Number(now ?? "0") + write.delta
    this.#put(write.key, op, String(sum))
    return sum
  }

  #put(key: string, op: number, value: string | undefined): void {
    const versions = this.#versions.get(key)
    if (versions === undefined) {
      this.#versions.set(key, [{ op, value }])
    } else {
      versions.push({ op, value })
    }
  }
}

export function encodeWrites(writes: readonly Write[]): Uint8Array {
  return concat(
    writes.map((write) => {
      switch (write.kind) {
        case "set":
          return encodeCommand(
            { code: CommandCode.set, flags: write.expires > 0 ? CommandFlag.expires : 0, argument: write.expires },
            write.key,
            write.value,
          )
        case "del":
          return encodeCommand({ code: CommandCode.del, flags: 0, argument: 0 }, write.key, "")
        case "incr":
          return encodeCommand({ code: CommandCode.incr_by, flags: 0, argument: write.delta }, write.key, "")
        default:
          throw new Violation("unknown write")
      }
    }),
  )
}

export function encodeGet(key: string): Uint8Array {
  return encodeCommand({ code: CommandCode.get, flags: 0, argument: 0 }, key, "")
}

function encodeCommand(
  head: { readonly code: number; readonly flags: number; readonly argument: number },
  key: string,
  value: string,
): Uint8Array {
  const bytes = new Uint8Array(COMMAND_HEADER_BYTES + key.length + value.length)
  const view = new DataView(bytes.buffer)
  view.setUint8(0, head.code)
  view.setUint8(1, head.flags)
  view.setUint16(2, key.length, true)
  view.setUint32(4, value.length, true)
  view.setBigInt64(8, BigInt(head.argument), true)
  ENCODER.encodeInto(key + value, bytes.subarray(COMMAND_HEADER_BYTES))
  return bytes
}

function decodeWrites(body: Uint8Array): Write[] {
  const writes: Write[] = []
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength)
  for (let at = 0; at < body.length; ) {
    const code = view.getUint8(at)
    const keyBytes = view.getUint16(at + 2, true)
    const valueBytes = view.getUint32(at + 4, true)
    const argument = Number(view.getBigInt64(at + 8, true))
    const keyAt = at + COMMAND_HEADER_BYTES
    const key = TEXT.decode(body.subarray(keyAt, keyAt + keyBytes))
    const value = TEXT.decode(body.subarray(keyAt + keyBytes, keyAt + keyBytes + valueBytes))
    at = keyAt + keyBytes + valueBytes
    if (code === CommandCode.set) {
      writes.push({
        kind: "set",
        key,
        value,
        expires: (view.getUint8(keyAt - 15) & CommandFlag.expires) === 0 ? 0 : argument,
      })
    } else if (code === CommandCode.del) {
      writes.push({ kind: "del", key })
    } else {
      writes.push({ kind: "incr", key, delta: argument })
    }
  }
  return writes
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    bytes.set(part, at)
    at += part.length
  }
  return bytes
}
