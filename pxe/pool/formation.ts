/**
 * Who is which replica, and who may take part in founding the cluster. Exactly one cluster may come of one boot server:
 * a token is handed out only while no cluster is known, and a restarted server adopts the one it hears. Plane: control.
 */
import { assert } from "../../appliance/types/assert.ts"
import { CLUSTER_SIZES, type ClusterSize } from "../../appliance/types/cluster_sizes.ts"
import { CLUSTER_LIMITS, VOTERS_MAX } from "../../appliance/types/limits.ts"
import { type Announce, provesFormed } from "./announce.ts"
import { LISTEN_MS } from "./limits.ts"

export type FormationOptions = {
  readonly voters: number
  readonly size: ClusterSize
  /** What machines are to have room for, so that the cluster can grow; null for nothing. */
  readonly grow_to: ClusterSize | null
  /** 32 hexadecimal digits each, fresh. */
  readonly cluster_id: string
  readonly formation_token: string
  readonly started_at: number
}

export type AnnounceOutcome =
  | "accepted"
  /** Another cluster than ours exists, and ours was never formed: it is ours now. */
  | "adopted"
  /** Of another cluster than the one that this server knows to exist. */
  | "foreign"
  /** Claims a slot that is another machine's. */
  | "slot_conflict"

export class Formation {
  readonly #voters: number
  #size: ClusterSize
  readonly #growTo: ClusterSize | null
  readonly #token: string
  readonly #startedAt: number
  readonly #slots: (string | null)[]
  #clusterID: string
  #generation = 1
  #epoch = 1
  #isFormed = false
  #primarySlot: number | null = null
  #view = 0
  #commit = 0

  constructor(options: FormationOptions) {
    const { voters } = options
    assert(
      voters >= 1 && voters <= VOTERS_MAX && voters % 2 === 1,
      "formation: voters are an odd number up to the most",
    )
    this.#voters = voters
    this.#size = options.size
    this.#growTo = options.grow_to
    this.#token = options.formation_token
    this.#clusterID = options.cluster_id
    this.#startedAt = options.started_at
    this.#slots = new Array<string | null>(CLUSTER_LIMITS.slots_max).fill(null)
  }

  get clusterID(): string {
    return this.#clusterID
  }

  get generation(): number {
    return this.#generation
  }

  get epoch(): number {
    return this.#epoch
  }

  get voters(): number {
    return this.#voters
  }

  /** That of the cluster's members: who is booted with another is turned away by them. */
  get size(): ClusterSize {
    return this.#size
  }

  /** Null when the cluster has that size already, or a larger one. */
  get growTo(): ClusterSize | null {
    return this.#growTo !== null && isLarger(this.#growTo, this.#size) ? this.#growTo : null
  }

  get isFormed(): boolean {
    return this.#isFormed
  }

  get primarySlot(): number | null {
    return this.#primarySlot
  }

  get view(): number {
    return this.#view
  }

  get commit(): number {
    return this.#commit
  }

  slotOf(machine: string): number | null {
    const slot = this.#slots.indexOf(machine)
    return slot === -1 ? null : slot
  }

  machineIn(slot: number): string | null {
    return this.#slots[slot] ?? null
  }

  /** True while it is too early to found a cluster: one that exists may not have been heard yet. */
  isListening(now: number): boolean {
    return !this.#isFormed && now - this.#startedAt < LISTEN_MS
  }

  /**
   * The machine's slot: the one it has, else the first free one, else null. Once a cluster exists its slots are given
   * to nobody new: who has a slot that this server doesn't know may be alive, and two replicas of one slot are fatal.
   */
  assign(machine: string): number | null {
    const slot = this.slotOf(machine)
    if (slot !== null || this.#isFormed) {
      return slot
    }
    const free = this.#slots.indexOf(null)
    if (free === -1 || free >= this.#voters) {
      return null
    }
    this.#slots[free] = machine
    assert(this.slotOf(machine) === free, "formation: one slot a machine")
    return free
  }

  /**
   * Gives back the slot of a machine whose process never started, so that another can take its place before there is a
   * cluster. Once there is one the slot stays: who comes back to it recovers.
   */
  release(machine: string): boolean {
    const slot = this.slotOf(machine)
    if (slot === null || this.#isFormed) {
      return false
    }
    this.#slots[slot] = null
    assert(this.slotOf(machine) === null, "formation: a released machine has no slot")
    return true
  }

  /** What entitles to found: only those with a slot, only while there is no cluster. Otherwise empty. */
  tokenFor(machine: string): string {
    return this.#isFormed || this.slotOf(machine) === null ? "" : this.#token
  }

  onAnnounce(announce: Announce): AnnounceOutcome {
    if (announce.slot !== null && announce.slot >= this.#slotsMax(announce)) {
      return "slot_conflict"
    }
    if (announce.cluster_id !== this.#clusterID) {
      if (this.#isFormed || !provesFormed(announce)) {
        return "foreign"
      }
      this.#adopt(announce)
      return "adopted"
    }
    if (!this.#claim(announce)) {
      return "slot_conflict"
    }
    if (provesFormed(announce)) {
      this.#isFormed = true
      this.#follow(announce)
    }
    return "accepted"
  }

  /** Founders have the first slots; a cluster that exists may have members in all of them, whoever founded it. */
  #slotsMax({ cluster_id }: Announce): number {
    const isFormed = this.#isFormed || cluster_id !== this.#clusterID
    return isFormed ? CLUSTER_LIMITS.slots_max : this.#voters
  }

  /** The slots of a cluster that was never formed mean nothing; the adopted one's are learned from its members. */
  #adopt(announce: Announce): void {
    assert(!this.#isFormed, "formation: a cluster that exists is never given up for another")
    this.#clusterID = announce.cluster_id
    this.#isFormed = true
    this.#slots.fill(null)
    this.#size = announce.size ?? this.#size
    const isClaimed = this.#claim(announce)
    assert(isClaimed, "formation: all slots were free")
    this.#follow(announce)
  }

  /** Whether the announced slot is the machine's, or may become it. */
  #claim({ slot, machine }: Announce): boolean {
    if (slot === null) {
      return true
    }
    const holder = this.machineIn(slot)
    if (holder === null && this.#isFormed && this.slotOf(machine) === null) {
      // A member of an adopted cluster, or in a slot that is no founder's; the founders' were all given here.
      this.#slots[slot] = machine
      return true
    }
    return holder === machine
  }

  #follow(announce: Announce): void {
    this.#generation = Math.max(this.#generation, announce.generation)
    this.#epoch = Math.max(this.#epoch, announce.epoch)
    if (announce.size !== null && isLarger(announce.size, this.#size)) {
      // A cluster grows and never shrinks.
      this.#size = announce.size
    }
    const isNewer = announce.view > this.#view || (announce.view === this.#view && announce.commit >= this.#commit)
    if (isNewer) {
      this.#view = announce.view
      this.#commit = announce.commit
      this.#primarySlot = announce.primary_slot ?? this.#primarySlot
    }
  }
}

function isLarger(one: ClusterSize, other: ClusterSize): boolean {
  return CLUSTER_SIZES.indexOf(one) > CLUSTER_SIZES.indexOf(other)
}
