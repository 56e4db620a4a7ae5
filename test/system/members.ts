/**
 * What tests of changing members need: a client that writes all the time and keeps books, and the operator's commands,
 * repeated where the answer is to try again. Plane: control.
 */
import { setTimeout as sleep } from "node:timers/promises"
import type { Redis } from "ioredis"
import { expect } from "vitest"
import type { MemberDocument, StatusDocument } from "../../appliance/gateway/status_document.ts"
import { clientOf, endpointOf, isMember, type Machine, mandala, statusOf, until } from "./process_cluster.ts"

const EXIT_OK = 0
export const EXIT_DEGRADED = 5
export const EXIT_CONFLICT = 6
export const COMMAND_MS = 3_000
/** A test that acknowledged fewer writes than this has shown nothing. */
export const WRITES_MIN = 200

/** Writes one key after the other, each once, through whichever machine is next, and keeps books. */
export class Writer {
  readonly acknowledged = new Map<string, string>()
  readonly rejected = new Set<string>()
  unknown = 0
  readonly #clients = new Map<Machine, Redis>()
  #isStopping = false
  #loop: Promise<void> | undefined
  #next = 0

  start(): void {
    this.#loop = this.#run()
  }

  add(machine: Machine): void {
    // Its own patience is shorter than any machine's: nobody waits for one that is gone.
    this.#clients.set(machine, clientOf(machine, { commandTimeout: COMMAND_MS, enableOfflineQueue: false }))
  }

  remove(machine: Machine): void {
    this.#clients.get(machine)?.disconnect()
    this.#clients.delete(machine)
  }

  async stop(): Promise<void> {
    this.#isStopping = true
    await this.#loop
  }

  /** Until so many more were acknowledged: the service goes on. */
  async goesOn(count = 20): Promise<void> {
    const goal = this.acknowledged.size + count
    await until(async () => this.acknowledged.size >= goal, `${count} more writes are acknowledged`)
  }

  async #run(): Promise<void> {
    while (!this.#isStopping) {
      const clients = [...this.#clients.values()]
      const client = clients[this.#next % Math.max(clients.length, 1)]
      if (client === undefined || client.status !== "ready") {
        // Nothing was sent: not a write yet. Another machine's turn.
        this.#next += 1
        await sleep(10)
        continue
      }
      const key = `w:${this.#next}`
      const value = `${this.#next * 7}`
      this.#next += 1
      try {
        await client.set(key, value)
        this.acknowledged.set(key, value)
      } catch (error: unknown) {
        // What the machine itself rejected was not applied; of a broken connection or UNKNOWN nobody knows.
        const isRejected = error instanceof Error && /^(CLUSTERDOWN|ERR) /.test(error.message)
        if (isRejected) {
          this.rejected.add(key)
          await sleep(10)
        } else {
          this.unknown += 1
        }
      }
    }
  }

  /** Every acknowledged write, read through `machine`; and none of those that were rejected. */
  async verify(machine: Machine): Promise<void> {
    const client = clientOf(machine)
    const keys = [...this.acknowledged.keys()]
    expect(keys.length).toBeGreaterThan(WRITES_MIN)
    for (let at = 0; at < keys.length; at += 500) {
      const some = keys.slice(at, at + 500)
      expect(await client.mget(some)).toEqual(some.map((key) => this.acknowledged.get(key)))
    }
    if (this.rejected.size > 0) {
      expect(await client.exists(...[...this.rejected].slice(0, 1_000))).toBe(0)
    }
  }
}

export async function clusterOf(machine: Machine): Promise<StatusDocument["cluster"]> {
  const status = await statusOf(machine)
  expect(status).toBeDefined()
  // Proof: the line above fails where it is undefined.
  return (status as StatusDocument).cluster
}

export async function memberOf(machine: Machine, slot: number): Promise<MemberDocument | undefined> {
  return (await clusterOf(machine)).members.find((member) => member.slot === slot)
}

/** The machine follows: warm enough to be named in a change, as far as the primary can tell. */
export async function follows(machine: Machine, primary: Machine, slot: number): Promise<boolean> {
  const member = await memberOf(primary, slot)
  return (await isMember(machine)) && member?.role !== "none" && member?.lag_ops !== null
}

/** `mandala reconfigure`, repeated where the answer is to try again. */
export async function reconfigure(machine: Machine, ...words: readonly string[]): Promise<void> {
  await until(
    async () => {
      const { code, out, err } = await mandala("reconfigure", "--endpoint", endpointOf(machine), ...words)
      expect([EXIT_OK, EXIT_CONFLICT, EXIT_DEGRADED], `${out}${err}`).toContain(code)
      return code === EXIT_OK
    },
    `reconfigure ${words.join(" ")}`,
  )
}

export async function epochIsSafe(machine: Machine): Promise<void> {
  const { code, out } = await mandala("epoch", "--wait", "--endpoint", endpointOf(machine))
  expect([code, out]).toEqual([EXIT_OK, expect.stringMatching(/^epoch \d+: the machines that it replaced can be/)])
}
