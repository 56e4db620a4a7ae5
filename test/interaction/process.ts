/** One process of a scripted machine: a production replica, its clock, and how far it has been seen. Plane: control. */
import { createHash } from "node:crypto"
import { Replica } from "../../appliance/replication/replica.ts"
import { allocateReplicaMemory } from "../../appliance/replication/replica_memory.ts"
import { arenaBytes } from "../../appliance/state_machine/arena.ts"
import { type ArenaStateMachine, createStateMachine } from "../../appliance/state_machine/state_machine.ts"
import { crc32 } from "../../appliance/types/checksum.ts"
import { PRNG } from "../../appliance/types/prng.ts"
import { StaticMemory } from "../../appliance/types/static_memory.ts"
import { vectorText } from "./letters.ts"
import { SCRIPT_LIMITS, SCRIPT_PROCESS_LIMITS } from "./limits.ts"

/** Counters that tell of work done; all others count what was refused or lost. */
const WORK = ["requests_refused", "view_changes", "recoveries", "checkpoints_received", "paced"]

export class Process {
  readonly slot: number
  /** The how manieth process of its slot, from 1. */
  readonly boot: number
  readonly replica: Replica
  readonly arena: Uint8Array
  now = 0
  /** Up to where the ledger has seen its commits. */
  commitSeen = 0
  /** The last state, and the last crash vector, that the golden text shows. */
  shown = ""
  shownVector = "⟨⟩"
  readonly #refused = new Map<string, number>()

  readonly #stateMachine: ArenaStateMachine

  /** `token` "" only recovers; `seed` decides all its random numbers, whatever other processes draw. */
  constructor(options: {
    readonly slot: number
    readonly boot: number
    readonly voters: number
    readonly token: string
    readonly seed: number
  }) {
    this.slot = options.slot
    this.boot = options.boot
    const memory = new StaticMemory()
    const random = new PRNG(options.seed * 10_000 + options.slot * 100 + options.boot)
    const bytes = arenaBytes(SCRIPT_LIMITS)
    this.arena = memory.allocate("arena", bytes)
    this.#stateMachine = createStateMachine({ limits: SCRIPT_LIMITS, arena: this.arena })
    const limits = { limits: SCRIPT_LIMITS, processLimits: SCRIPT_PROCESS_LIMITS }
    this.replica = new Replica({
      slot: options.slot,
      voters: options.voters,
      generation: 1,
      token: options.token,
      ...limits,
      stateMachine: this.#stateMachine,
      memory: allocateReplicaMemory(memory, { ...limits }),
      digest: (prefix, body, start, end) =>
        createHash("sha256").update(prefix).update(body.subarray(start, end)).digest("hex").slice(0, 32),
      random: () => random.u32(),
    })
  }

  tick(): void {
    this.now += SCRIPT_PROCESS_LIMITS.tick_ms
    this.replica.tick(this.now)
  }

  /** The last checkpoint that it has applied is certified. */
  isCertified(): boolean {
    return this.replica.certifiedOp === this.#stateMachine.checkpointOp()
  }

  digest(): number {
    return crc32(this.arena, 0, this.arena.length)
  }

  /** "normal v0 op2 c1 primary", "view_change v1 (log of v0) op2 c1", "blank (probe) op0 c0". */
  state(): string {
    const { status, epoch, view, logView, op, commit, isPrimary, isVoter, incarnation, phase } = this.replica
    const isBlank = status === "recovering" && phase === "probe" && incarnation === 0
    const name = status === "recovering" ? `${isBlank ? "blank" : status} (${phase})` : status
    const log = logView === view ? "" : ` (log of v${logView})`
    const where = status === "recovering" ? "" : ` ${epoch > 0 ? `e${epoch} ` : ""}v${view}${log}`
    const duty = isPrimary ? " primary" : isVoter ? "" : " no vote"
    return `${name}${where} op${op} c${commit}${duty}`
  }

  /** What it knows of crashes: "⟨1 1 2⟩"; "⟨⟩" for a blank process. */
  vector(): string {
    return vectorText(this.replica.cv)
  }

  /** What has changed since the text last showed this process; "" for nothing. */
  news(): string {
    const state = this.state()
    const vector = this.vector()
    const knows = vector === this.shownVector ? "" : ` knows ${vector}`
    const news = state === this.shown && knows === "" ? "" : `${state}${knows}`
    this.shown = state
    this.shownVector = vector
    return news
  }

  /** Why the last message was refused, by the replica's own counters; "" when it was not. */
  refusal(): string {
    const names: string[] = []
    for (const [name, count] of Object.entries(this.replica.counters)) {
      if (count > (this.#refused.get(name) ?? 0) && !WORK.includes(name)) {
        names.push(name)
      }
      this.#refused.set(name, count)
    }
    return names.join(", ")
  }
}
