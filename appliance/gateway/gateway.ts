/**
 * A gateway owns this machine's sessions and turns its connections' commands into requests, and replies into answers.
 * Without sockets and clocks of its own: whoever composes it brings them. Plane: control.
 */
import type { MessageOf } from "../replication/message.ts"
import { CommandCode } from "../state_machine/command.ts"
import { assert } from "../types/assert.ts"
import type { RandomU32 } from "../types/contracts.ts"
import type { ClusterLimits } from "../types/limits.ts"
import { Ring } from "../types/ring.ts"
import type { StaticMemory } from "../types/static_memory.ts"
import { Answers } from "./answers.ts"
import { Batch, type Caller, type CallOutcome, type CommandFields } from "./batch.ts"
import { CommandExecutor } from "./commands.ts"
import { Connection, type ConnectionHost, type ConnectionSink } from "./connection.ts"
import type { GatewayCounters, GatewayStatus } from "./gateway_status.ts"
import { Introspection } from "./introspection.ts"
import {
  assertGatewayLimits,
  BATCH_LOCAL_BYTES,
  CALLS_MAX,
  COMMAND_BYTES_MAX,
  CONNECTION_OUT_BUFFER_BYTES,
  CONNECTIONS_CHECK_MS,
  CONNECTIONS_MAX,
  PASSWORD_CHECK_MS,
  SESSIONS_PER_GATEWAY,
} from "./limits.ts"
import type { ReplicaPort } from "./port.ts"
import { PASSWORD_SECRET, RespAccess } from "./resp_access.ts"
import { Results } from "./results.ts"
import { Session } from "./session.ts"
import { Texts } from "./texts.ts"

export type GatewayOptions = {
  readonly limits: ClusterLimits
  readonly port: ReplicaPort
  readonly memory: StaticMemory
  /** From the operating system: session ids must never repeat, on any machine. */
  readonly random: RandomU32
  /** Calls `gateway.flush()` once, soon, when what happens now is over (setImmediate). */
  readonly schedule: () => void
}

/** One command of this process's own. */
export type Call = {
  readonly code: CommandCode
  readonly key: Buffer
  readonly value: Buffer
  /** A safe integer. */
  readonly argument: number
  /** A table's number, for commands that name one. */
  readonly flags?: number
}

const CLIENT_ID_WORDS = 4
const U32 = 0x1_0000_0000
/** Two batches a session: one under way, one that fills. */
const BATCHES_PER_SESSION = 2
/** A flush that finds more to do than this leaves the rest to the next. */
const FLUSH_ROUNDS_MAX = 4

export class Gateway implements ConnectionHost {
  readonly access = new RespAccess()
  readonly #port: ReplicaPort
  readonly #limits: ClusterLimits
  readonly #texts: Texts
  readonly #schedule: () => void
  readonly #random: RandomU32
  readonly #sessions: Session[] = []
  readonly #connections: Connection[] = []
  readonly #free: Ring<Connection>
  /** Connections with something to write, and those that wait for room. */
  readonly #listed: Ring<Connection>
  readonly #waiting: Ring<Connection>
  readonly #executor: CommandExecutor
  readonly #counters: GatewayCounters
  readonly #empty: Buffer
  #numbers: number
  #connectionIds = 0
  #calls = 0
  #now = 0
  #checkedAt = 0
  #passwordAt = Number.NEGATIVE_INFINITY
  #isScheduled = false
  #isFlushing = false

  constructor(options: GatewayOptions) {
    assertGatewayLimits(options.limits)
    this.#limits = options.limits
    this.#schedule = options.schedule
    this.#random = options.random
    this.#empty = Buffer.alloc(0)
    // Where an earlier process of this machine may have stopped, nobody knows: begin somewhere else.
    this.#numbers = options.random() * 2 ** 20
    this.#counters = noCounters()
    this.#free = new Ring(CONNECTIONS_MAX)
    this.#listed = new Ring(CONNECTIONS_MAX)
    this.#waiting = new Ring(CONNECTIONS_MAX)
    const texts = new Texts(options.limits)
    this.#texts = texts
    const introspection = new Introspection({ port: options.port, status: () => this.status() })
    const { access } = this
    const now = (): number => this.#now
    this.#executor = new CommandExecutor({ limits: options.limits, texts, introspection, access, now })
    this.#port = options.port
    this.#makeSessions(options, texts)
    this.#makeConnections(options.memory)
  }

  #makeSessions({ limits, memory, port }: GatewayOptions, texts: Texts): void {
    const count = SESSIONS_PER_GATEWAY * BATCHES_PER_SESSION
    const bodies = memory.allocate("gateway batches", count * limits.batch_bytes_max)
    const locals = memory.allocate("gateway local answers", count * BATCH_LOCAL_BYTES)
    const makeBatch = (index: number): Batch =>
      new Batch({
        body: slice(bodies, index, limits.batch_bytes_max),
        local: slice(locals, index, BATCH_LOCAL_BYTES),
        commandsMax: limits.batch_commands_max,
      })
    for (let index = 0; index < SESSIONS_PER_GATEWAY; index += 1) {
      const flight = makeBatch(index * BATCHES_PER_SESSION)
      const filling = makeBatch(index * BATCHES_PER_SESSION + 1)
      this.#sessions.push(
        new Session({
          flight,
          filling,
          port,
          answers: new Answers(texts, flight.entriesMax, this.#empty),
          texts,
          results: new Results(limits.batch_commands_max, this.#empty),
          counters: this.#counters,
          nextNumber: () => this.#nextNumber(),
          clientId: () => this.#clientId(),
        }),
      )
    }
  }

  #makeConnections(memory: StaticMemory): void {
    const inputs = memory.allocate("gateway connection input", CONNECTIONS_MAX * COMMAND_BYTES_MAX)
    const outputs = memory.allocate("gateway connection output", CONNECTIONS_MAX * CONNECTION_OUT_BUFFER_BYTES)
    for (let index = 0; index < CONNECTIONS_MAX; index += 1) {
      const input = slice(inputs, index, COMMAND_BYTES_MAX)
      const output = slice(outputs, index, CONNECTION_OUT_BUFFER_BYTES)
      const connection = new Connection({ host: this, input, output })
      this.#connections.push(connection)
      this.#free.add(connection)
    }
  }

  #nextNumber(): number {
    this.#numbers += 1
    assert(Number.isSafeInteger(this.#numbers), "gateway: numbers stay safe integers")
    return this.#numbers
  }

  #clientId(): Uint8Array {
    const id = new Uint32Array(CLIENT_ID_WORDS)
    for (let word = 0; word < CLIENT_ID_WORDS; word += 1) {
      id[word] = this.#random()
    }
    return new Uint8Array(id.buffer)
  }

  // ---------------------------------------------------------------- what the process host calls

  /** An answer of a replica, to whatever this gateway asked. */
  onReply(message: MessageOf<"reply"> | MessageOf<"read_reply">): void {
    for (const session of this.#sessions) {
      const isTaken =
        message.type === "reply" ? session.onReply(message, this.#now) : session.onReadReply(message, this.#now)
      if (isTaken) {
        this.#wake()
        return
      }
    }
    // A repeat of an answer, or one to a request that was given up.
    this.#counters.replies_late += 1
  }

  /** Time passes: the only clock that this gateway knows. Milliseconds of a monotonic clock, at least every 50. */
  tick(nowMs: number): void {
    assert(nowMs >= this.#now, "gateway: time does not run backwards")
    this.#now = nowMs
    for (const session of this.#sessions) {
      session.tick(nowMs)
    }
    if (nowMs - this.#checkedAt >= CONNECTIONS_CHECK_MS) {
      this.#checkedAt = nowMs
      for (const connection of this.#connections) {
        connection.checkProgress(nowMs, this.access.isAllowed(connection.login))
      }
    }
    this.#updateAccess(nowMs)
    this.#retryWaiting()
    this.flush()
  }

  #updateAccess(nowMs: number): void {
    if (nowMs - this.#passwordAt < PASSWORD_CHECK_MS) {
      return
    }
    this.#passwordAt = nowMs
    const secret = this.#port.secret(PASSWORD_SECRET)
    // A machine that lost its state goes by what it knew: it must not open for want of knowledge.
    if (secret !== null) {
      this.access.update(secret)
    }
  }

  /** Sends what the sessions hold and writes what the connections are owed. */
  flush(): void {
    if (this.#isFlushing) {
      return
    }
    this.#isFlushing = true
    this.#isScheduled = false
    for (let round = 0; round < FLUSH_ROUNDS_MAX && this.#flushSessions(); round += 1) {
      // A batch that left made room for those who waited.
      this.#retryWaiting()
    }
    this.#flushConnections()
    this.#isFlushing = false
    if (!this.#listed.isEmpty() || this.#sessions.some((session) => session.needsFlush())) {
      this.#wake()
    }
  }

  #flushSessions(): boolean {
    let hasWork = false
    for (const session of this.#sessions) {
      if (session.needsFlush()) {
        session.flush(this.#now)
        hasWork = true
      }
    }
    return hasWork
  }

  #flushConnections(): void {
    for (let count = this.#listed.count; count > 0; count -= 1) {
      const connection = this.#listed.take()
      assert(connection !== undefined, "gateway: a ring that is not empty has a first")
      connection.isListed = false
      connection.flush()
    }
  }

  #retryWaiting(): void {
    for (let count = this.#waiting.count; count > 0; count -= 1) {
      const connection = this.#waiting.take()
      assert(connection !== undefined, "gateway: a ring that is not empty has a first")
      connection.isWaiting = false
      connection.retry()
    }
  }

  /** Asks for a flush, once. */
  #wake(): void {
    if (!this.#isScheduled && !this.#isFlushing) {
      this.#isScheduled = true
      this.#schedule()
    }
  }

  // ---------------------------------------------------------------- connections

  /** A client came. Undefined: CONNECTIONS_MAX are served already, and it must be told so. */
  connect(sink: ConnectionSink): Connection | undefined {
    const connection = this.#free.take()
    if (connection === undefined) {
      this.#counters.connections_refused += 1
      return undefined
    }
    let session = this.#session(0)
    for (const other of this.#sessions) {
      session = other.connections < session.connections ? other : session
    }
    this.#counters.connections_accepted += 1
    this.#connectionIds += 1
    connection.open(sink, session, this.#connectionIds)
    return connection
  }

  #session(index: number): Session {
    const session = this.#sessions[index]
    assert(session !== undefined, "gateway: has its sessions")
    return session
  }

  execute(connection: Connection): boolean {
    const isDone = this.#executor.execute(connection)
    this.#counters.commands += isDone ? 1 : 0
    return isDone
  }

  executeError(connection: Connection): boolean {
    return this.#executor.executeError(connection)
  }

  onWork(connection: Connection): void {
    if (!connection.isListed) {
      connection.isListed = true
      this.#listed.add(connection)
    }
    this.#wake()
  }

  onWait(connection: Connection): void {
    if (!connection.isWaiting) {
      connection.isWaiting = true
      this.#waiting.add(connection)
    }
  }

  onSlow(): void {
    this.#counters.connections_slow_closed += 1
  }

  onReleased(connection: Connection): void {
    this.#free.add(connection)
  }

  // ---------------------------------------------------------------- this process's own commands

  /** False: CALLS_MAX are waiting already, or there is no room; nothing was done. */
  call(call: Call, caller: Caller): boolean {
    assert(Number.isSafeInteger(call.argument), "gateway: an argument is a safe integer")
    assert(call.key.length <= this.#limits.key_bytes_max, "gateway: a call's key is short enough")
    assert(call.value.length <= this.#limits.value_bytes_max, "gateway: a call's value is short enough")
    const { filling } = this.#session(0)
    if (this.#calls >= CALLS_MAX || !filling.hasRoom(1, call.key.length + call.value.length)) {
      return false
    }
    const fields: CommandFields = {
      code: call.code,
      flags: call.flags ?? 0,
      keyStart: 0,
      keyBytes: call.key.length,
      valueStart: call.key.length,
      valueBytes: call.value.length,
      high: Math.floor(call.argument / U32),
      low: ((call.argument % U32) + U32) % U32,
    }
    filling.put(fields, Buffer.concat([call.key, call.value]))
    this.#calls += 1
    filling.endCall({
      onResult: (outcome: CallOutcome, reply: Buffer, start: number, end: number): void => {
        this.#calls -= 1
        caller.onResult(outcome, reply, start, end)
      },
    })
    this.#wake()
    return true
  }

  /** Asks for the records of the machines table from `index` on. */
  listMachines(index: number, caller: Caller): boolean {
    return this.call({ code: CommandCode.machine_list, key: this.#empty, value: this.#empty, argument: index }, caller)
  }

  /** The cluster has grown. Sessions go on: what they know of the state is in the larger one too. */
  onGrown(limits: ClusterLimits): void {
    this.#texts.useLimits(limits)
  }

  status(): GatewayStatus {
    return {
      connections: CONNECTIONS_MAX - this.#free.count,
      connections_max: CONNECTIONS_MAX,
      sessions_registered: this.#sessions.filter((session) => session.isRegistered).length,
      password_required: this.access.isRequired,
      password_failures: this.access.failures,
      commands_waiting: this.#sessions.reduce((sum, session) => sum + session.waiting, 0),
      counters: { ...this.#counters, commands_refused: this.#executor.refused },
    }
  }
}

function slice(memory: Uint8Array<ArrayBuffer>, index: number, bytes: number): Buffer {
  assert((index + 1) * bytes <= memory.length, "gateway: a slice lies in its memory")
  return Buffer.from(memory.buffer, memory.byteOffset + index * bytes, bytes)
}

function noCounters(): GatewayCounters {
  return {
    batches: 0,
    batch_commands: 0,
    reads: 0,
    registrations: 0,
    resends: 0,
    unknown: 0,
    not_applied: 0,
    evicted: 0,
    malformed_replies: 0,
    connections_accepted: 0,
    connections_refused: 0,
    connections_slow_closed: 0,
    commands: 0,
    commands_refused: 0,
    replies_late: 0,
  }
}
