/** A state machine that is driven op by op, and the bytes of its batches and replies. */
import { expect } from "vitest"
import { arenaBytes } from "../../../appliance/state_machine/arena.ts"
import { COMMAND_HEADER_BYTES, ResultKind } from "../../../appliance/state_machine/command.ts"
import { type ArenaStateMachine, createStateMachine } from "../../../appliance/state_machine/state_machine.ts"
import { Operation } from "../../../appliance/types/contracts.ts"
import { CLUSTER_LIMITS, type ClusterLimits } from "../../../appliance/types/limits.ts"

export const SMALL_LIMITS: ClusterLimits = {
  ...CLUSTER_LIMITS,
  batch_bytes_max: 4096,
  log_bytes: 64 * 1024,
  batch_commands_max: 32,
  session_reply_bytes_max: 1024,
  read_reply_bytes_max: 2048,
  sessions_max: 4,
  machines_max: 4,
  leases_max: 3,
  rules_max: 2,
  secrets_max: 6,
  images_max: 1,
  templates_max: 2,
  workloads_max: 2,
  events_max: 5,
  exports_max: 2,
  kv_entries_max: 24,
  kv_slab_bytes: 32 * 1024,
  key_bytes_max: 16,
  value_bytes_max: 512,
  pulse_keys_max: 4,
}

export type Command = { code: number; flags: number; argument: bigint; key: string; value: string }
export type Answer = string | number | bigint | null

export function encode(commands: readonly Command[]): Uint8Array {
  const parts = commands.map(({ code, flags, argument, key, value }) => {
    const head = Buffer.alloc(COMMAND_HEADER_BYTES)
    head[0] = code
    head[1] = flags
    head.writeUInt16LE(key.length, 2)
    head.writeUInt32LE(value.length, 4)
    head.writeBigInt64LE(argument, 8)
    return Buffer.concat([head, Buffer.from(key, "latin1"), Buffer.from(value, "latin1")])
  })
  return new Uint8Array(Buffer.concat(parts))
}

export function decode(reply: Uint8Array): Answer[] {
  const buffer = Buffer.from(reply)
  const answers: Answer[] = []
  for (let at = 0; at < buffer.length; ) {
    const kind = buffer[at]
    if (kind === ResultKind.nil) {
      answers.push(null)
      at += 1
    } else if (kind === ResultKind.ok) {
      answers.push("ok")
      at += 1
    } else if (kind === ResultKind.integer) {
      answers.push(buffer.readBigInt64LE(at + 1))
      at += 9
    } else if (kind === ResultKind.bytes) {
      const bytes = buffer.readUInt32LE(at + 1)
      answers.push(`=${buffer.toString("latin1", at + 5, at + 5 + bytes)}`)
      at += 5 + bytes
    } else {
      answers.push(`error ${String(buffer[at + 1])}`)
      at += 2
    }
  }
  return answers
}

export class Driver {
  readonly machine: ArenaStateMachine
  readonly #reply: Uint8Array
  op = 0
  now = 1_000
  session = 0
  request = 0

  /**
   * With a session of its own, or, where `continued` is another's machine, as that driver's successor. `pool` is the
   * room for pages of a checkpoint that change, where it is not to be the usual.
   */
  constructor(
    limits: ClusterLimits = SMALL_LIMITS,
    pool?: Uint8Array,
    continued?: { machine: ArenaStateMachine; driver: Driver },
  ) {
    this.#reply = new Uint8Array(limits.read_reply_bytes_max)
    if (continued !== undefined) {
      const { op, now, session, request } = continued.driver
      this.machine = continued.machine
      Object.assign(this, { op, now, session, request })
      return
    }
    const arena = new Uint8Array(arenaBytes(limits))
    this.machine = createStateMachine({ limits, arena, ...(pool === undefined ? {} : { pool }) })
    this.session = Number(this.apply(Operation.register, new Uint8Array(16).fill(7))[0])
  }

  apply(operation: Operation, body: Uint8Array): Answer[] {
    this.op += 1
    const isBatch = operation === Operation.batch
    this.request += isBatch ? 1 : 0
    const committed = {
      op: this.op,
      timestamp: this.now,
      operation,
      session: isBatch ? this.session : 0,
      request: isBatch ? this.request : 0,
    }
    const bytes = this.machine.apply(committed, body, 0, body.length, this.#reply)
    return decode(this.#reply.slice(0, bytes))
  }

  batch(commands: readonly Command[]): Answer[] {
    const body = encode(commands)
    expect(this.machine.isValidBatch(body, 0, body.length)).toBe(true)
    return this.apply(Operation.batch, body)
  }

  read(commands: readonly Command[]): Answer[] {
    const body = encode(commands)
    const bytes = this.machine.read(body, 0, body.length, this.#reply)
    return decode(this.#reply.slice(0, bytes))
  }
}

/** Another state machine that goes on from the bytes of this one's arena. */
export function rebuilt(driver: Driver, limits: ClusterLimits = SMALL_LIMITS): Driver {
  const copy = new Driver(limits)
  copy.machine.arena.set(driver.machine.arena)
  expect(copy.machine.restored()).toBe(true)
  copy.op = driver.op
  copy.now = driver.now
  copy.session = driver.session
  copy.request = driver.request
  return copy
}
