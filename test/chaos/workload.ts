/**
 * Clients that work on a few hot keys, each with one command under way, and record what they asked and were told. When
 * a machine doesn't answer they go to the next; beside them one reader stays with each machine. The keys change before
 * their histories grow too long to be checked. Plane: control.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { PRNG } from "../../appliance/types/prng.ts"
import type { RegisterCall } from "../checkers/register.ts"
import { type History, judge, type Outcome, wordsOf } from "./history.ts"
import { CLIENTS, COMMAND_MS, CONNECT_MS, HOT_KEYS, KEYS_MS, MOVE_PERCENT, RETRY_MS, THINK_MS_MAX } from "./limits.ts"
import { RespClient } from "./resp_client.ts"

/** An acknowledged command, for whoever measures how long there was none. */
export type Acknowledged = { readonly called_at: number; readonly answered_at: number; readonly isWrite: boolean }

export type WorkloadOptions = {
  readonly history: History
  /** The ports of the gateways, by slot. */
  readonly ports: readonly number[]
  readonly seed: number
  readonly onAcknowledged: (command: Acknowledged) => void
}

export class Workload {
  readonly #options: WorkloadOptions
  readonly #startedAt = performance.now()
  #isOver = false
  #running: Promise<void>[] = []

  constructor(options: WorkloadOptions) {
    this.#options = options
  }

  start(): void {
    for (let client = 0; client < CLIENTS; client += 1) {
      this.#running.push(this.#runClient(client, new PRNG(this.#options.seed + client)))
    }
    for (const gateway of this.#options.ports.keys()) {
      const client = CLIENTS + gateway
      this.#running.push(this.#runReader({ client, gateway }, new PRNG(this.#options.seed + client)))
    }
  }

  /** When every client's last command has its outcome. */
  async stop(): Promise<void> {
    this.#isOver = true
    await Promise.all(this.#running)
  }

  async #runClient(client: number, random: PRNG): Promise<void> {
    const { ports } = this.#options
    let gateway = client % ports.length
    let connection: RespClient | undefined
    for (let serial = 1; !this.#isOver; serial += 1) {
      if (connection !== undefined && random.chance(MOVE_PERCENT, 100)) {
        connection.close()
        gateway = random.below(ports.length)
      }
      if (connection === undefined || connection.isClosed) {
        connection = await RespClient.connect(ports[gateway] ?? 0, CONNECT_MS)
      }
      if (connection === undefined) {
        gateway = (gateway + 1) % ports.length
        await sleep(RETRY_MS)
        continue
      }
      const key = this.#key(random)
      const call = randomCall(random, { key, value: `${client}.${serial}` })
      const outcome = await this.#execute({ client, connection, port: ports[gateway] ?? 0, key, call })
      if (outcome !== "ok") {
        connection.close()
        connection = undefined
        gateway = (gateway + 1) % ports.length
        await sleep(RETRY_MS)
      }
      await sleep(random.below(THINK_MS_MAX + 1))
    }
    connection?.close()
  }

  /**
   * Only reads, and stays with its machine: clients that write all hang when a primary is cut off, and nobody would be
   * left to see it answer from the past.
   */
  async #runReader(at: { readonly client: number; readonly gateway: number }, random: PRNG): Promise<void> {
    const { client } = at
    const port = this.#options.ports[at.gateway] ?? 0
    let connection: RespClient | undefined
    while (!this.#isOver) {
      if (connection === undefined || connection.isClosed) {
        connection = await RespClient.connect(port, CONNECT_MS)
      }
      const isOK =
        connection !== undefined &&
        (await this.#execute({ client, connection, port, key: this.#key(random), call: { kind: "get" } })) === "ok"
      await sleep(isOK ? random.below(THINK_MS_MAX + 1) : RETRY_MS)
    }
    connection?.close()
  }

  async #execute(command: {
    readonly client: number
    readonly connection: RespClient
    readonly port: number
    readonly key: string
    readonly call: RegisterCall
  }): Promise<Outcome> {
    const { client, connection, port, key, call } = command
    const { history, onAcknowledged } = this.#options
    const calledAt = performance.now()
    const reply = await connection.command(wordsOf(key, call), COMMAND_MS)
    const now = performance.now()
    const { outcome, answer } = judge(reply)
    const answeredAt = outcome === "ok" ? now : undefined
    history.add(key, { client, port, call, called_at: calledAt, answered_at: answeredAt, answer }, outcome)
    if (outcome === "ok") {
      onAcknowledged({ called_at: calledAt, answered_at: now, isWrite: call.kind !== "get" })
    } else if (reply.kind === "answered" && reply.value.kind === "error") {
      history.addRefusal(reply.value.text)
    } else if (reply.kind === "unanswered") {
      history.addRefusal(`(${reply.why})`)
    }
    return outcome
  }

  /** `r` for values that are set, `n` for numbers that are counted up. */
  #key(random: PRNG): string {
    const round = Math.floor((performance.now() - this.#startedAt) / KEYS_MS)
    const index = random.below(HOT_KEYS)
    return `chaos:${round}:${index % 2 === 0 ? "r" : "n"}${index}`
  }
}

function randomCall(random: PRNG, options: { readonly key: string; readonly value: string }): RegisterCall {
  const { value } = options
  const percent = random.below(100)
  if (/:n\d+$/.test(options.key)) {
    if (percent < 55) {
      return { kind: "incr" }
    }
    return percent < 95 ? { kind: "get" } : { kind: "del" }
  }
  if (percent < 45) {
    return { kind: "get" }
  }
  if (percent < 70) {
    return { kind: "set", value }
  }
  if (percent < 78) {
    return { kind: "swap", value }
  }
  if (percent < 86) {
    return { kind: "set_absent", value }
  }
  return percent < 92 ? { kind: "set_present", value } : { kind: "del" }
}
