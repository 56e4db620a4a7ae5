/**
 * What the simulation knows to be true: the one history of committed ops, a plain model of the keys after each of them,
 * and the checks that no replica and no answer may contradict it. Plane: control.
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

/** Keys of this prefix carry deadlines: they exercise pulses and are in no read check. */
export const EXPIRING_PREFIX = "e"

export class History {
  readonly #headers: PrepareHeader[] = []
  readonly #versions = new Map<string, Version[]>()
  readonly #requests = new Map<string, number>()
  readonly #results = new Map<number, readonly (string | number)[]>()
  readonly #digests = new Map<number, { readonly slot: number; readonly digest: number }>()
  /** The highest op that a client has been told of. */
  acknowledgedOp = 0

  get op(): number {
    return this.#headers.length
  }

  /** A replica's commit number passed this entry. */
  committed(slot: number, entry: LogEntry): void {
    const { header } = entry
    const known = this.#headers[header.op - 1]
    if (known !== undefined) {
      this.checkChecksum(slot, header.op, header.checksum)
      return
    }
    if (header.op !== this.#headers.length + 1) {
      throw new Violation(`slot ${slot} commits op ${header.op} while the history ends at ${this.#headers.length}`)
    }
    const parent = this.#headers[header.op - 2]?.checksum ?? "0".repeat(32)
    if (parent !== header.parent) {
      throw new Violation(`op ${header.op} does not follow the committed op ${header.op - 1}`)
    }
    this.#headers.push(header)
    if (header.operation === Operation.batch) {
      const id = `${header.session}:${header.request}`
      const before = this.#requests.get(id)
      if (before !== undefined) {
        throw new Violation(`request ${id} is committed twice: as op ${before} and as op ${header.op}`)
      }
      this.#requests.set(id, header.op)
      this.#apply(header.op, decodeWrites(entry.body))
    }
  }

  /** The checksum that a replica has for a committed op must be the history's. */
  checkChecksum(slot: number, op: number, checksum: string): void {
    const known = this.#headers[op - 1]
    if (known?.checksum !== checksum) {
      throw new Violation(`slot ${slot} has another entry at committed op ${op}`)
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

  /** A client was told that its request is done. */
  acknowledged(session: number, request: number): number {
    const op = this.#requests.get(`${session}:${request}`)
    if (op === undefined) {
      throw new Violation(`request ${session}:${request} is acknowledged and nowhere committed`)
    }
    this.acknowledgedOp = Math.max(this.acknowledgedOp, op)
    return op
  }

  /** What the writes of an op answer, by the model. */
  results(op: number): readonly (string | number)[] {
    return this.#results.get(op) ?? []
  }

  /**
   * A read that was issued when `since` was the highest acknowledged op must see the key as it was after some op from
   * `since` to the end of the history: the order of ops is the order of the register, so this is linearizability.
   */
  checkRead(key: string, value: string | undefined, since: number): void {
    const versions = this.#versions.get(key) ?? []
    let atSince: string | undefined
    const allowed = new Set<string | undefined>()
    for (const version of versions) {
      if (version.op <= since) {
        atSince = version.value
      } else {
        allowed.add(version.value)
      }
    }
    allowed.add(atSince)
    if (!allowed.has(value)) {
      throw new Violation(`a read of ${key} saw ${String(value)}, which is older than acknowledged op ${since}`)
    }
  }

  #apply(op: number, writes: readonly Write[]): void {
    const results: (string | number)[] = []
    for (const write of writes) {
      const now = this.#versions.get(write.key)?.at(-1)?.value
      if (write.kind === "set") {
        this.#put(write.key, op, write.value)
        results.push("ok")
      } else if (write.kind === "del") {
        this.#put(write.key, op, undefined)
        results.push(now === undefined ? 0 : 1)
      } else {
        const sum = Number(now ?? "0") + write.delta
        this.#put(write.key, op, String(sum))
        results.push(sum)
      }
    }
    this.#results.set(op, results)
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
  new TextEncoder().encodeInto(key + value, bytes.subarray(COMMAND_HEADER_BYTES))
  return bytes
}

function decodeWrites(body: Uint8Array): Write[] {
  const writes: Write[] = []
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength)
  const text = new TextDecoder()
  for (let at = 0; at < body.length; ) {
    const code = view.getUint8(at)
    const keyBytes = view.getUint16(at + 2, true)
    const valueBytes = view.getUint32(at + 4, true)
    const argument = Number(view.getBigInt64(at + 8, true))
    const keyAt = at + COMMAND_HEADER_BYTES
    const key = text.decode(body.subarray(keyAt, keyAt + keyBytes))
    const value = text.decode(body.subarray(keyAt + keyBytes, keyAt + keyBytes + valueBytes))
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
