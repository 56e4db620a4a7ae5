/**
 * What one machine still holds, line by line, for an operator whose majority is gone: a copy that nobody vouches for.
 * Acknowledged writes may be missing in it (the machines that are gone may have been the majority that held them), and
 * what is marked uncommitted may never have been acknowledged. One JSON object a line: a header, the machines, the
 * keys, the ops in the log that this machine does not know to be committed, and a trailer with counts and a checksum of
 * all lines before it. A file without a trailer was cut off. All lines are of one commit number, unless the header says
 * that the state is torn: then its pages may be of different ops. Plane: control.
 */
import { isUtf8 } from "node:buffer"
import { createHash } from "node:crypto"
import { decodeConfiguration } from "../replication/configuration.ts"
import type { Replica } from "../replication/replica.ts"
import { arenaLayout, HeaderOffset, type ArenaLayout, KV_ENTRY_BYTES } from "../state_machine/arena.ts"
import { BatchReader } from "../state_machine/batch_reader.ts"
import { CommandCode } from "../state_machine/command.ts"
import { KeyValues } from "../state_machine/kv.ts"
import { decodeMachineRecord, MACHINE_RECORD_BYTES } from "../state_machine/machine_record.ts"
import { TableNumber } from "../state_machine/record_tables.ts"
import { assert } from "../types/assert.ts"
import { Operation, type StateMachine } from "../types/contracts.ts"
import type { ClusterLimits } from "../types/limits.ts"
import type { HostInfo } from "./host_info.ts"
import { SALVAGE_ENTRIES_PER_PIECE_MAX, SALVAGE_PIECE_BYTES } from "./limits.ts"

const SALVAGE_SCHEMA = 1

export type SalvageRefusal = {
  /** `quorum_present`: the cluster answers; ask it. `no_state`: this machine holds nothing. */
  readonly kind: "quorum_present" | "no_state"
  readonly text: string
}

/** `moved`: something was committed or copied meanwhile, so that what follows would be of another state. */
export type SalvagePiece =
  | { readonly kind: "lines"; readonly text: string }
  | { readonly kind: "end" }
  | { readonly kind: "moved"; readonly text: string }

export type SalvageOptions = {
  readonly info: HostInfo
  readonly limits: ClusterLimits
  readonly stateMachine: StateMachine
  readonly replica: Pick<Replica, "log" | "commit" | "isTorn" | "copying" | "counters">
}

/** As long as none of it changes, the state stays as it is. */
type Moment = {
  readonly commit: number
  readonly is_torn: boolean
  /** Checkpoints that were copied here, and the pages left of one that is. */
  readonly copies: number
  readonly pages_left: number
}

function momentOf(replica: SalvageOptions["replica"]): Moment {
  return {
    commit: replica.commit,
    is_torn: replica.isTorn,
    copies: replica.counters.checkpoints_received,
    pages_left: replica.copying?.pages_left ?? 0,
  }
}

const NOTE = "what one machine held: acknowledged writes may be missing, uncommitted ones may never have been"

/** Why the pages of this machine's state do not belong together, and which ops they may be of. */
function tornNote({ checkpoint: { copying }, commit, memory_faults: { last_fault } }: HostInfo): string {
  let why = "a copy of another machine's state was broken off"
  if (copying !== null && copying.op !== null) {
    const { from_slot, op, pages_left } = copying
    why = `pages of op ${op} of slot ${from_slot} were being copied over it, ${pages_left} were left`
  } else if (last_fault !== null) {
    why = `its memory was found to be wrong (${last_fault.page === null ? "somewhere" : `page ${last_fault.page}`})`
  }
  return `${NOTE}; its state is torn: ${why}; keys may be missing, there twice, or of another op than ${commit}`
}

type Phase = "header" | "machines" | "kv" | "uncommitted" | "trailer" | "end"

export class Salvage {
  readonly #options: SalvageOptions
  readonly #layout: ArenaLayout
  readonly #view: DataView
  readonly #kv: KeyValues
  readonly #moment: Moment
  readonly #reader = new BatchReader()
  readonly #checksum = createHash("sha256")
  readonly #counts = { machines: 0, kv: 0, expired: 0, corrupt: 0, uncommitted: 0 }
  #phase: Phase = "header"
  /** The next machine, entry or op. */
  #next = 0

  constructor(options: SalvageOptions) {
    const { arena } = options.stateMachine
    this.#options = options
    this.#layout = arenaLayout(options.limits)
    assert(arena.length === this.#layout.bytes, "salvage: the arena is as long as its layout")
    this.#view = new DataView(arena.buffer, arena.byteOffset, arena.byteLength)
    const pages = { willWrite: () => assert(false, "salvage: nothing is written") }
    this.#kv = new KeyValues({ view: this.#view, layout: this.#layout, limits: options.limits, pages })
    this.#moment = momentOf(options.replica)
  }

  /** The next lines, a bounded number of bytes and of entries looked at, so that the loop goes on in between. */
  next(): SalvagePiece {
    const now = momentOf(this.#options.replica)
    const { commit, is_torn, copies, pages_left } = this.#moment
    if (now.commit !== commit) {
      return { kind: "moved", text: `op ${now.commit} was committed while op ${commit} was read: the cluster lives` }
    }
    if (now.is_torn !== is_torn || now.copies !== copies || now.pages_left !== pages_left) {
      return { kind: "moved", text: "the state here is being copied from another machine: ask that one" }
    }
    if (this.#phase === "end") {
      return { kind: "end" }
    }
    let text = ""
    for (let seen = 0; seen < SALVAGE_ENTRIES_PER_PIECE_MAX && text.length < SALVAGE_PIECE_BYTES; seen += 1) {
      const record = this.#step()
      if (record !== undefined) {
        const line = `${JSON.stringify(record)}\n`
        this.#checksum.update(line)
        text += line
      }
      if (this.#phase === "trailer") {
        this.#phase = "end"
        text += `${JSON.stringify(this.#trailer())}\n`
        break
      }
    }
    return { kind: "lines", text }
  }

  /** One entry, which may have nothing to say. */
  #step(): object | undefined {
    switch (this.#phase) {
      case "header":
        this.#begin("machines", 0)
        return this.#header()
      case "machines":
        return this.#machine()
      case "kv":
        return this.#keyValue()
      case "uncommitted":
        return this.#uncommitted()
      default:
        assert(false, "salvage: nothing is read behind its end")
    }
  }

  #begin(phase: Phase, next: number): void {
    this.#phase = phase
    this.#next = next
  }

  #header(): object {
    const { info, stateMachine, limits } = this.#options
    const configuration = decodeConfiguration(stateMachine.configuration(), limits.slots_max)
    return {
      record: "header",
      schema: SALVAGE_SCHEMA,
      kind: "mandala_salvage",
      authoritative: false,
      torn: this.#moment.is_torn,
      note: this.#moment.is_torn ? tornNote(info) : NOTE,
      cluster_id: info.cluster_id,
      generation: info.generation,
      epoch: info.epoch,
      machine: info.name,
      slot: info.slot,
      role: info.role,
      status: info.status,
      view: info.view,
      op: info.op,
      commit: this.#moment.commit,
      /** Of that op, in milliseconds of cluster time; and wall time less cluster time, where it was ever said. */
      cluster_ms: stateMachine.timestamp(),
      wall_offset_ms: stateMachine.wallOffset() ?? null,
      voters: info.members.filter(({ role }) => role === "voter").map(({ slot }) => slot),
      voters_live: info.voters_live,
      synchronous: configuration?.synchronous ?? false,
    }
  }

  #machine(): object | undefined {
    const at = (this.#layout.records[TableNumber.machines] ?? 0) + this.#next * MACHINE_RECORD_BYTES
    const isFree = this.#next < this.#options.limits.machines_max && this.#view.getUint8(at) === 0
    if (this.#next >= this.#options.limits.machines_max || (isFree && !this.#moment.is_torn)) {
      this.#begin("kv", 0)
      return undefined
    }
    this.#next += 1
    if (isFree) {
      return undefined
    }
    const record = decodeMachineRecord(this.#options.stateMachine.arena, at)
    if (record === undefined) {
      this.#counts.corrupt += 1
      return { record: "corrupt", table: "machines", index: this.#next - 1 }
    }
    this.#counts.machines += 1
    return { record: "machine", ...record }
  }

  #keyValue(): object | undefined {
    const entry = this.#next
    if (entry >= this.#kvUsed()) {
      this.#begin("uncommitted", this.#moment.commit + 1)
      return undefined
    }
    this.#next += 1
    const at = this.#layout.kv_entries + entry * KV_ENTRY_BYTES
    if (this.#view.getUint8(at + 7) !== 1) {
      return undefined
    }
    const bytesMax = this.#options.limits.value_bytes_max
    if (this.#kv.valueBytes(entry) > bytesMax || !this.#kv.isIntact(entry)) {
      // A flipped bit: better no value than another one.
      this.#counts.corrupt += 1
      return { record: "corrupt", table: "kv", index: entry }
    }
    if (this.#kv.isExpired(entry, this.#options.stateMachine.timestamp())) {
      this.#counts.expired += 1
      return undefined
    }
    this.#counts.kv += 1
    const value = this.#kv.valueOffset(entry)
    const key = value - this.#view.getUint16(at + 4, true)
    const deadline = this.#kv.deadline(entry)
    return {
      record: "kv",
      ...this.#text("key", key, value),
      ...this.#text("value", value, value + this.#kv.valueBytes(entry)),
      ...(deadline === 0 ? {} : { expires_in_ms: deadline - this.#options.stateMachine.timestamp() }),
    }
  }

  /** Entries to look at: a number in an arena that is torn may be any. */
  #kvUsed(): number {
    const { kv_entries_max: entriesMax } = this.#options.limits
    return this.#moment.is_torn ? entriesMax : Math.min(entriesMax, this.#view.getUint32(HeaderOffset.kv_used, true))
  }

  /** Bytes as text where they are UTF-8, else in base64 under a name that says so. */
  #text(name: string, start: number, end: number): Readonly<Record<string, string>> {
    const { arena } = this.#options.stateMachine
    const bytes = Buffer.from(arena.buffer, arena.byteOffset + start, end - start)
    return isUtf8(bytes) ? { [name]: bytes.toString("utf8") } : { [`${name}_base64`]: bytes.toString("base64") }
  }

  #uncommitted(): object | undefined {
    const { log } = this.#options.replica
    const entry = this.#next <= log.op ? log.entry(this.#next) : undefined
    if (entry === undefined) {
      this.#begin("trailer", 0)
      return undefined
    }
    this.#next += 1
    this.#counts.uncommitted += 1
    const { op, view, timestamp, operation, session, request } = entry.header
    // A secret leaves a machine in no form that is not encrypted.
    const body =
      entry.header.operation === Operation.batch && this.#holdsSecret(entry.body)
        ? { withheld: "secret" }
        : { body_base64: Buffer.from(entry.body).toString("base64") }
    return {
      record: "uncommitted",
      op,
      view,
      cluster_ms: timestamp,
      operation,
      session,
      request,
      ...body,
    }
  }

  /** A batch that cannot be read to its end is withheld too. */
  #holdsSecret(body: Uint8Array): boolean {
    this.#reader.begin(body, 0, body.length)
    while (!this.#reader.isAtEnd()) {
      if (!this.#reader.next()) {
        return true
      }
      const { code, flags } = this.#reader
      if (code === CommandCode.record_put && flags === TableNumber.secrets) {
        return true
      }
    }
    return false
  }

  #trailer(): object {
    const { machines, kv, expired, corrupt, uncommitted } = this.#counts
    const sha256 = this.#checksum.digest("hex")
    return { record: "trailer", commit: this.#moment.commit, machines, kv, expired, corrupt, uncommitted, sha256 }
  }
}
