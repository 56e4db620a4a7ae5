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
import { POOL_ARENAS, SCRIPT_LIMITS, SCRIPT_PROCESS_LIMITS, type ScriptLimits } from "./limits.ts"

/** Counters that tell of work done; all others count what was refused or lost. */
const WORK = [
  "requests_refused",
  "view_changes",
  "recoveries",
  "checkpoints_received",
  "pages_received",
  "checkpoints_certified",
  "checkpoints_local",
  "memory_faults",
  "paced",
]

export class Process {
  readonly slot: number
  /** The how manieth process of its slot, from 1. */
  readonly boot: number
  readonly replica: Replica
  readonly arena: Uint8Array
  /** Where the bytes of pages lie that changed since the checkpoint. */
  readonly pool: Uint8Array
  now = 0
  /** Up to where the ledger has seen its commits. */
  commitSeen = 0
  /** The last state, and the last crash vector, that the golden text shows. */
  shown = ""
  shownVector = "⟨⟩"
  /** How many checkpoints it had copied when a bit of its arena flipped, undefined for never. */
  flippedAfter: number | undefined
  /** How many of them the ledger has seen. */
  copiesSeen = 0
  /** The last root of its own that the ledger has seen. */
  rootSeen = ""
  certifiedSeen = 0
  readonly #refused = new Map<string, number>()

  readonly #stateMachine: ArenaStateMachine

  /** `token` "" only recovers; `seed` decides all its random numbers, whatever other processes draw. */
  constructor(options: {
    readonly slot: number
    readonly boot: number
    readonly voters: number
    readonly token: string
    readonly seed: number
    readonly limits: ScriptLimits
  }) {
    this.slot = options.slot
    this.boot = options.boot
    const memory = new StaticMemory()
    const random = new PRNG(options.seed * 10_000 + options.slot * 100 + options.boot)
    const { cluster, process } = options.limits
    const limits = {
      limits: { ...SCRIPT_LIMITS, ...cluster },
      processLimits: { ...SCRIPT_PROCESS_LIMITS, ...process },
    }
    const bytes = arenaBytes(limits.limits)
    this.arena = memory.allocate("arena", bytes)
    this.pool = memory.allocate("pool", POOL_ARENAS * bytes)
    this.#stateMachine = createStateMachine({ limits: limits.limits, arena: this.arena, pool: this.pool })
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

  /** A bit of its arena has flipped, and no checkpoint was copied since. */
  get isFlipped(): boolean {
    return this.flippedAfter === this.replica.counters.checkpoints_received
  }

  /** Flips a bit of what is noted as the digest of a page of its image. */
  flipDigest(page: number): void {
    const { table } = this.#stateMachine.pages
    table[8 * page] = (table[8 * page] ?? 0) ^ 1
  }

  /** Flips a bit of the arena: of the first place that holds a text, or of a page's last byte; false for no such. */
  flip(where: string | number): boolean {
    const bytes = Buffer.from(this.arena.buffer, this.arena.byteOffset, this.arena.length)
    const at = typeof where === "string" ? bytes.indexOf(where) : (where + 1) * this.#stateMachine.pages.pageBytes - 1
    if (at >= 0 && at < bytes.length) {
      this.arena[at] = (this.arena[at] ?? 0) ^ 1
      this.flippedAfter = this.replica.counters.checkpoints_received
    }
    return at >= 0 && at < bytes.length
  }

  /** "normal v0 op2 c1 primary", "view_change v1 (log of v0) op2 c1", "blank (probe) op0 c0"; then its checkpoint. */
  state(): string {
    const { status, epoch, view, logView, op, commit, isPrimary, isVoter, incarnation, phase } = this.replica
    const { isTorn, certifiedOp } = this.replica
    const isBlank = status === "recovering" && phase === "probe" && incarnation === 0
    const name = status === "recovering" ? `${isBlank ? "blank" : status} (${phase})` : status
    const log = logView === view ? "" : ` (log of v${logView})`
    const where = status === "recovering" ? "" : ` ${epoch > 0 ? `e${epoch} ` : ""}v${view}${log}`
    const duty = isPrimary ? " primary" : isVoter ? "" : " no vote"
    // Whoever recovers has nothing yet that could be believed.
    const torn = isTorn && status !== "recovering" ? " torn" : ""
    const certified = certifiedOp > 0 ? ` certified op${certifiedOp}` : ""
    return `${name}${where} op${op} c${commit}${duty}${torn}${certified}`
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
