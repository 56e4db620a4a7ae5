/**
 * A copied replica does what its original does: each event of random schedules is run on a replica that lives through
 * it all, and on one that was made a copy a moment before, out of one in another state.
 */
import { createHash } from "node:crypto"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import fc from "fast-check"
import { describe, expect, test } from "vitest"
import type { Message } from "../../appliance/replication/message.ts"
import { Replica } from "../../appliance/replication/replica.ts"
import { allocateReplicaMemory } from "../../appliance/replication/replica_memory.ts"
import { arenaBytes } from "../../appliance/state_machine/arena.ts"
import { createStateMachine } from "../../appliance/state_machine/state_machine.ts"
import { Operation } from "../../appliance/types/contracts.ts"
import type { FingerprintValue } from "../../appliance/types/fingerprint.ts"
import { PRNG } from "../../appliance/types/prng.ts"
import { StaticMemory } from "../../appliance/types/static_memory.ts"
import { encodeGet, encodeWrites } from "../simulation/history.ts"
import { SIMULATED_LIMITS, SIMULATED_PROCESS_LIMITS } from "../simulation/limits.ts"

const VOTERS = 3
/** With a machine that has no vote, so that it follows and is taken in. */
const MACHINES = 4
const EVENTS = 4_000
const TOKEN = "5".repeat(32)
const ROOT = join(import.meta.dirname, "../..")

type Body = { readonly replica: Replica; readonly random: CountedRandom }
/** A replica that lives on, and two of which each becomes the other's copy in turn. */
type Machine = { readonly boot: number; readonly original: Body; copy: Body; spare: Body; now: number }
type Letter = { readonly to: number; readonly message: Message }

/** Random numbers by their count, so that a copy can go on where its original is. */
class CountedRandom {
  readonly #seed: string
  draws = 0

  constructor(seed: string) {
    this.#seed = seed
  }

  readonly next = (): number => {
    this.draws += 1
    return createHash("sha256").update(`${this.#seed}.${this.draws}`).digest().readUInt32LE(0)
  }
}

function body(slot: number, boot: number): Body {
  const memory = new StaticMemory()
  const bytes = arenaBytes(SIMULATED_LIMITS)
  const random = new CountedRandom(`${slot}.${boot}`)
  const limits = { limits: SIMULATED_LIMITS, processLimits: SIMULATED_PROCESS_LIMITS }
  const replica = new Replica({
    slot,
    voters: VOTERS,
    generation: 1,
    token: boot === 1 ? TOKEN : "",
    ...limits,
    stateMachine: createStateMachine({ limits: SIMULATED_LIMITS, arena: memory.allocate("arena", bytes) }),
    memory: allocateReplicaMemory(memory, { ...limits }),
    digest: (prefix, text, start, end) =>
      createHash("sha256").update(prefix).update(text.subarray(start, end)).digest("hex").slice(0, 32),
    random: random.next,
  })
  return { replica, random }
}

function boot(slot: number, number: number): Machine {
  return { boot: number, original: body(slot, number), copy: body(slot, number), spare: body(slot, number), now: 0 }
}

function outgoing(replica: Replica): Letter[] {
  const letters: Letter[] = []
  for (let out = replica.takeOutgoing(); out !== undefined; out = replica.takeOutgoing()) {
    // Bodies may be views into buffers.
    letters.push(structuredClone(out))
  }
  return letters
}

function fingerprintOf(replica: Replica): [string, FingerprintValue][] {
  const fields: [string, FingerprintValue][] = []
  replica.fingerprint((field, value) => fields.push([field, structuredClone(value)]))
  return fields
}

/** Runs one event on the original and on a fresh copy; what they say must be the same. */
function run(machine: Machine, event: (replica: Replica) => void): Letter[] {
  const { original, copy, spare } = machine
  spare.replica.copyFrom(copy.replica)
  spare.random.draws = copy.random.draws
  machine.copy = spare
  machine.spare = copy
  event(original.replica)
  event(spare.replica)
  const letters = outgoing(original.replica)
  expect(outgoing(spare.replica)).toEqual(letters)
  expect(spare.random.draws).toBe(original.random.draws)
  return letters
}

/** What a schedule reached, summed over its machines. */
type Reach = { commits: number; views: number; recoveries: number; copies: number; epochs: number }

function play(seed: number): Reach {
  const random = new PRNG(seed)
  const machines = Array.from({ length: MACHINES }, (_, slot) => boot(slot, 1))
  const air: Letter[] = []
  const reach: Reach = { commits: 0, views: 0, recoveries: 0, copies: 0, epochs: 0 }
  let session = 0
  let request = 0
  const ask = (slot: number, wanted: object): void => {
    // A gateway's message: its fields are those of the type that it names.
    const message = { from: slot, epoch: 0, cv: [], ...wanted } as unknown as Message
    air.push({ to: slot, message })
  }
  for (let event = 0; event < EVENTS; event += 1) {
    const slot = random.below(MACHINES)
    const machine = machines[slot]
    expect(machine).toBeDefined()
    if (machine === undefined) {
      continue
    }
    const dice = random.below(100)
    if (dice < 30) {
      machine.now += random.chance(1, 40) ? 400 : 10
      const { now } = machine
      air.push(...run(machine, (replica) => replica.tick(now)))
    } else if (dice < 94) {
      const [letter] = air.splice(random.chance(1, 4) ? random.below(Math.max(air.length, 1)) : 0, 1)
      const target = letter && machines[letter.to]
      if (letter === undefined || target === undefined || random.chance(1, 20)) {
        continue
      }
      if (letter.message.type === "reply") {
        session =
          letter.message.session === 0 && letter.message.outcome === "ok" ? target.original.replica.commit : session
        continue
      }
      air.push(...run(target, (replica) => replica.receive(letter.message)))
      if (random.chance(1, 10)) {
        air.push(letter)
      }
    } else if (dice < 98) {
      request += session === 0 ? 0 : 1
      const write = encodeWrites([{ kind: "set", key: `k${event % 5}`, value: `v${event}`, expires: event % 3 }])
      ask(
        slot,
        session === 0
          ? { type: "request", operation: Operation.register, session: 0, request: 1, body: new Uint8Array(16).fill(1) }
          : { type: "request", operation: Operation.batch, session, request, body: write },
      )
      ask(slot, { type: "read", read: event, body: encodeGet("k1") })
    } else if (dice < 99 && random.chance(1, 8)) {
      reach.views += machine.original.replica.counters.view_changes
      machines[slot] = boot(slot, machine.boot + 1)
    } else if (random.chance(1, 3)) {
      const voters = random.chance(1, 2) ? [0, 1, 2] : [0, 1, 3]
      const { epoch } = machine.original.replica
      const change = {
        change: event,
        epoch_expected: epoch,
        voters,
        standbys: [],
        synchronous: false,
        drops_standby: false,
        grows: false,
      }
      ask(slot, { type: "reconfigure", ...change })
    }
  }
  for (const { original, copy } of machines) {
    expect(fingerprintOf(copy.replica)).toEqual(fingerprintOf(original.replica))
    const { counters, commit, epoch } = original.replica
    reach.commits = Math.max(reach.commits, commit)
    reach.epochs = Math.max(reach.epochs, epoch)
    reach.views += counters.view_changes
    reach.recoveries += counters.recoveries
    reach.copies += counters.checkpoints_received
  }
  return reach
}

describe("a copy", () => {
  test("does what its original does, over random schedules", { timeout: 120_000 }, () => {
    const sum: Reach = { commits: 0, views: 0, recoveries: 0, copies: 0, epochs: 0 }
    fc.assert(
      fc.property(fc.nat(), (seed) => {
        const reach = play(seed)
        for (const key of ["commits", "views", "recoveries", "copies", "epochs"] as const) {
          sum[key] += reach[key]
        }
      }),
      { numRuns: 20, seed: 1 },
    )
    expect(Object.entries(sum).filter(([, reached]) => reached === 0)).toEqual([])
  })
})

/** Fields that are given at construction, or scratch that no event leaves anything in. */
const NOT_COPIED: Readonly<Record<string, readonly string[]>> = {
  // Slot, founders, nonce and token are asserted equal, the outbox empty; a reply is written before it is read.
  Replica: [
    "limits",
    "process",
    "digest",
    "random",
    "reply",
    "founders",
    "bootNonce",
    "limitsFingerprint",
    "growsTo",
    "token",
    "outbox",
  ],
  // Slots are asserted equal by their bytes; words and floats are one buffer.
  Log: ["slots", "words"],
  HeldReplies: [],
  BodyQueue: [],
  // The pages are the state machine's, which the image copies and tells; counts of what came decide nothing.
  CheckpointReceiver: ["pages", "shape", "digest", "pagesSpoilt", "pagesReceived"],
  StateImage: ["digest", "shape", "chunk"],
  Checkpoints: [],
  Ring: [],
}
/** Beyond those: what another field decides. Voters, peers and faults follow from the configuration. */
const NOT_TOLD: Readonly<Record<string, readonly string[]>> = {
  Replica: ["isVoter", "peers", "faults"],
  // Told entry by entry.
  Log: ["young", "floats"],
}

describe("no field is forgotten", () => {
  test.each([
    ["Replica", "appliance/replication/replica.ts"],
    ["Log", "appliance/replication/log.ts"],
    ["HeldReplies", "appliance/replication/held_replies.ts"],
    ["BodyQueue", "appliance/replication/body_queue.ts"],
    ["StateImage", "appliance/replication/state_image.ts"],
    ["Checkpoints", "appliance/replication/checkpoints.ts"],
    ["CheckpointReceiver", "appliance/replication/checkpoint_transfer.ts"],
    ["Ring", "appliance/types/ring.ts"],
  ])("%s", (name, path) => {
    const source = classIn(readFileSync(join(ROOT, path), "utf8"), name)
    const fields = fieldsOf(source)
    expect(fields.length).toBeGreaterThan(1)
    expect(missing(fields, methodIn(source, "copyFrom"), NOT_COPIED[name] ?? [])).toEqual([])
    if (source.includes("  fingerprint(")) {
      const exempt = [...(NOT_COPIED[name] ?? []), ...(NOT_TOLD[name] ?? [])]
      expect(missing(fields, methodIn(source, "fingerprint"), exempt)).toEqual([])
    }
  })

  test("a forgotten one is seen", () => {
    const method = "  copyFrom(other: A): void {\n    assert(this.#two > 0)\n    this.#one = other.#one\n  }\n"
    const source = `class A {\n  #one = 1\n  readonly #two: number[]\n${method}}\n`
    expect(missing(fieldsOf(source), methodIn(source, "copyFrom"), [])).toEqual(["two"])
  })
})

function classIn(text: string, name: string): string {
  const start = text.search(new RegExp(`^export class ${name}\\b`, "m"))
  expect(start).toBeGreaterThanOrEqual(0)
  return text.slice(start, text.indexOf("\n}\n", start))
}

function fieldsOf(source: string): string[] {
  return [...source.matchAll(/^ {2}(?:readonly )?#(\w+)(?::| =)/gm)].map((match) => match[1] ?? "")
}

/** The method without its assertions, which copy nothing. */
function methodIn(source: string, name: string): string {
  const start = source.search(new RegExp(`^ {2}${name}\\(`, "m"))
  const method = start < 0 ? "" : source.slice(start, source.indexOf("\n  }\n", start))
  return method.replaceAll(/^ +assert\(.*$/gm, "")
}

function missing(fields: readonly string[], method: string, exempt: readonly string[]): string[] {
  return fields.filter((field) => !exempt.includes(field) && !new RegExp(`this\\.#${field}\\b`).test(method))
}
