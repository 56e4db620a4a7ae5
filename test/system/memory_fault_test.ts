/**
 * Bits that flip in the memory of live processes: three machines with as much state as the default size holds, clients
 * that write and read all the time. A flipped bit is found within a round of the scrub or a checkpoint, by machine and
 * page; the machine copies what it lost and goes on; nothing acknowledged is lost, and no answer is wrong.
 * Plane: control.
 */
import { resolve } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import type { Redis } from "ioredis"
import { afterEach, expect, test } from "vitest"
import type { StatusDocument } from "../../appliance/gateway/status_document.ts"
import { ExitCode } from "../../appliance/orchestration/exit_codes.ts"
import { PAGE_BYTES } from "../../appliance/state_machine/arena.ts"
import { PROCESS_LIMITS } from "../../appliance/types/limits.ts"
import type { MemoryAnswer, MemoryQuestion } from "./memory_hook.ts"
import {
  askHTTP,
  boot,
  cleanUp,
  clientOf,
  describeCluster,
  endpointOf,
  isMember,
  type Machine,
  mandala,
  statusOf,
  until,
} from "./process_cluster.ts"

const TEST_MS = 180_000
const HOOK = resolve(import.meta.dirname, "memory_hook.ts")
/** 40 MiB of values: most of what the smallest size holds. */
const VALUES = 2_560
const VALUE_BYTES = 15_000
const PIPELINE = 64
/** In the arena's first page, which every op changes: a byte that nothing uses. */
const SPARE_BYTE = 4_000
/** A reader that had fewer answers than this has shown nothing. */
const READS_MIN = 100

afterEach(cleanUp)

function ask(machine: Machine, question: MemoryQuestion): Promise<MemoryAnswer> {
  return new Promise((done) => {
    // Proof: memory_hook.ts is all that answers, and it answers with exactly this.
    machine.child.once("message", (answer) => done(answer as MemoryAnswer))
    machine.child.send(question)
  })
}

async function flip(machine: Machine, buffer: string, byte: number): Promise<void> {
  await ask(machine, { kind: "flip", buffer, byte, bit: 3 })
}

/** Where a value lies: in the same place on all machines. */
async function placeOf(machine: Machine, value: string): Promise<number> {
  const { byte } = await ask(machine, { kind: "find", buffer: "arena", text: value })
  expect(byte).toBeGreaterThan(0)
  return byte
}

function valueOf(number: number): string {
  return `value ${number} `.padEnd(VALUE_BYTES, String(number % 10))
}

function at(machines: readonly Machine[], slot: number): Machine {
  const machine = machines[slot]
  if (machine === undefined) {
    throw new Error(`no machine is in slot ${slot}`)
  }
  return machine
}

async function faultsOf(machine: Machine): Promise<number> {
  return (await statusOf(machine))?.memory.faults ?? -1
}

async function sound(machine: Machine): Promise<StatusDocument> {
  await until(async () => (await isMember(machine)) && !(await statusOf(machine))?.checkpoint.is_torn, "it is sound")
  const status = await statusOf(machine)
  expect(status).toBeDefined()
  // Proof: the line above fails where it is undefined.
  return status as StatusDocument
}

/** Writes counters and reads values through every machine, one after the other, and judges each answer. */
class Clients {
  readonly #clients: Redis[]
  readonly counters = new Map<string, number>()
  reads = 0
  /** Refused by name: the value's own checksum, a machine between views, a connection that broke. */
  refused = 0
  #isStopping = false
  readonly #loop: Promise<void>

  constructor(machines: readonly Machine[]) {
    this.#clients = machines.map((machine) => clientOf(machine, { commandTimeout: 10_000 }))
    this.#loop = this.#run()
  }

  async stop(): Promise<void> {
    this.#isStopping = true
    await this.#loop
  }

  async #run(): Promise<void> {
    for (let turn = 0; !this.#isStopping; turn += 1) {
      const client = this.#clients[turn % this.#clients.length]
      const counter = `counter:${turn}`
      const number = (turn * 7) % VALUES
      try {
        const [count, value] = await Promise.all([client?.incrby(counter, turn), client?.get(`k:${number}`)])
        this.counters.set(counter, turn)
        expect([count, value]).toEqual([turn, valueOf(number)])
        this.reads += 1
      } catch (error: unknown) {
        if (error instanceof Error && error.name === "AssertionError") {
          throw error
        }
        this.refused += 1
      }
      await sleep(5)
    }
  }
}

test(
  "a bit flips in a backup, in the primary, in a digest, and in a page that changes all the time",
  async () => {
    const cluster = await describeCluster({ machines: 3, founders: 3 })
    const machines = cluster.ports.map((_, slot) => boot(cluster, slot, {}, [HOOK]))
    const filler = clientOf(at(machines, 0))
    await until(async () => (await Promise.all(machines.map(isMember))).every(Boolean), "all are members")
    for (let from = 0; from < VALUES; from += PIPELINE) {
      const numbers = Array.from({ length: PIPELINE }, (_, index) => from + index)
      await Promise.all(numbers.map((number) => filler.set(`k:${number}`, valueOf(number))))
    }
    const clients = new Clients(machines)
    const primarySlot = async (): Promise<number> => (await statusOf(at(machines, 0)))?.cluster.primary_slot ?? -1
    const faults = [0, 0, 0]
    /** What a flip of `machine` leads to, once it was found. */
    const found = async (slot: number, kind: "page" | "root"): Promise<StatusDocument> => {
      const machine = at(machines, slot)
      faults[slot] = (faults[slot] ?? 0) + 1
      await until(async () => (await faultsOf(machine)) === faults[slot], `slot ${slot} finds its flipped bit`)
      const status = await sound(machine)
      expect(status.memory.last_fault?.kind).toBe(kind)
      const alarm = status.cluster.alarms.find((other) => other.kind === "memory_fault")
      expect(alarm?.text).toContain(`memory fault ${faults[slot]} of ${PROCESS_LIMITS.memory_faults_max}`)
      const metrics = (await askHTTP(machine, "/metrics"))?.text
      expect(metrics).toMatch(new RegExp(`^mandala_memory_faults_total ${faults[slot]}$`, "m"))
      return status
    }

    // A value that nobody writes, in a backup: the scrub comes past it.
    const primary = await primarySlot()
    const backup = (primary + 1) % 3
    const other = (primary + 2) % 3
    const byte = await placeOf(at(machines, backup), valueOf(77))
    await flip(at(machines, backup), "arena", byte + 100)
    const page = Math.floor((byte + 100) / PAGE_BYTES)
    expect((await found(backup, "page")).memory.last_fault).toMatchObject({ page, table: "kv slabs" })
    expect(at(machines, backup).output()).toMatch(new RegExp(`"page":${page},.*"msg":"memory_fault"`))
    const shown = await mandala("status", "--endpoint", endpointOf(at(machines, backup)))
    expect(shown.out).toContain(`page ${page}`)

    // The same in the primary: it steps down, another serves, and it comes back.
    await flip(at(machines, primary), "arena", (await placeOf(at(machines, primary), valueOf(78))) + 100)
    await found(primary, "page")
    expect(await primarySlot()).not.toBe(primary)

    // The digest is wrong, not the page: nobody can tell, and it does not matter.
    await flip(at(machines, other), "arena page notes", 8 * (page + 3))
    await found(other, "page")

    // A page that is written all the time has no digest to be compared with: the next checkpoint differs.
    await flip(at(machines, backup), "arena", SPARE_BYTE)
    await found(backup, "root")

    await clients.stop()
    expect(clients.reads).toBeGreaterThan(READS_MIN)
    const reader = clientOf(at(machines, other))
    for (const [counter, value] of clients.counters) {
      expect(await reader.get(counter)).toBe(String(value))
    }
    const digests = async (): Promise<Set<string>> => {
      const answers = await Promise.all(machines.map((machine) => ask(machine, { kind: "digest", buffer: "arena" })))
      return new Set(answers.map(({ digest }) => digest))
    }
    await until(async () => (await digests()).size === 1, "all copies are equal")

    // Once too often: the machine leaves, with an exit code that its /init takes for a halt.
    await flip(at(machines, backup), "arena", byte + 100)
    expect(await at(machines, backup).ended).toBe(ExitCode.quarantined)
    await until(async () => (await reader.get("k:77")) === valueOf(77), "the others go on")
  },
  TEST_MS,
)
