/**
 * What the boot server knows of each machine: how far its boot has come, when, and why no further. Bounded; knows no
 * clock and no chance. A machine is its MAC. Plane: control.
 */
import { assert } from "../../appliance/types/assert.ts"
import { type Announce, isNormal } from "./announce.ts"
import {
  BEACON_SILENT_MS,
  FIRMWARE_SILENT_MS,
  FORGET_MS,
  LOOP_BOOTS_MAX,
  LOOP_WINDOW_MS,
  MACHINES_MAX,
  REASON_BYTES_MAX,
} from "./limits.ts"

/** In the order in which a boot passes them. */
export const STAGES = ["firmware", "nbp", "script", "kernel", "init", "joined"] as const
export type Stage = (typeof STAGES)[number]
export type StageTimes = { readonly [Name in Stage]: number | null }
export type Firmware = "bios" | "uefi" | "unknown"

/** What /init halts with when the machine has too little memory. */
const REASON_RAM = "ram_too_small"
export const REASON_SILENT = "no beacon from init: kernel or RAM"
const REASON_LOOP = "boot loop:"

const NO_TIMES: StageTimes = { firmware: null, nbp: null, script: null, kernel: null, init: null, joined: null }

/** What the machine says of itself, cut and whitelisted by whoever read it. */
export type Identity = { readonly uuid: string; readonly serial: string; readonly product: string }

export type Machine = {
  readonly machine: string
  readonly identity: Identity
  readonly address: string
  readonly firmware: Firmware
  /** Milliseconds since 1970, of this boot only. */
  readonly stage_times: StageTimes
  readonly boot_count: number
  /** Of the boot that last got a script; empty before. */
  readonly boot_id: string
  readonly reason: string
  /** Why the boots before this one came no further, as far as any of them said. */
  readonly reason_before: string
  /** When boots were sent their kernel since the machine was last heard as a member or spare; the newest last. */
  readonly kernels_at: readonly number[]
  readonly need_bytes: number | null
  readonly have_bytes: number | null
  /** What it said when it had too little memory; null if it never did. */
  readonly ram: { readonly need_bytes: number; readonly have_bytes: number; readonly at: number } | null
  /** The image's last transfer ended. */
  readonly image_at: number | null
  readonly discover_xid: number | null
  /** The last sign of life of any kind. */
  readonly seen_at: number
  readonly announce: Announce | null
  readonly announce_at: number | null
}

export type DiscoverKind = "firmware" | "ipxe"

export class Ledger {
  readonly #machines = new Map<string, Machine>()
  #refused = 0

  /** Machines that found the table full. */
  get refused(): number {
    return this.#refused
  }

  get count(): number {
    return this.#machines.size
  }

  find(machine: string): Machine | undefined {
    return this.#machines.get(machine)
  }

  /** In the order in which they were first seen. */
  list(): Machine[] {
    return [...this.#machines.values()]
  }

  findByAddress(address: string): Machine | undefined {
    // The latest to use it, should an address have moved.
    let found: Machine | undefined
    for (const machine of this.#machines.values()) {
      if (machine.address === address && (found === undefined || machine.seen_at >= found.seen_at)) {
        found = machine
      }
    }
    return found
  }

  /** Firmware, or iPXE, asks for an address: a new boot, unless it is a step or a repetition of the running one. */
  onDiscover(
    machine: string,
    { kind, firmware, xid }: { readonly kind: DiscoverKind; readonly firmware: Firmware; readonly xid: number },
    now: number,
  ): void {
    const old = this.#machines.get(machine)
    const known = old ?? this.#insert(machine, now)
    if (known === undefined) {
      return
    }
    const { stage_times: times, seen_at: seenAt } = known
    // Firmware that asks has no boot program yet, and iPXE that asks has no script.
    const isPast = kind === "firmware" ? times.nbp !== null : times.script !== null
    const isRepeated = known.discover_xid === xid
    const isLate = times.firmware !== null && now - seenAt > FIRMWARE_SILENT_MS
    const isNew = times.firmware === null || (!isRepeated && (isPast || isLate))
    const current = isNew ? restarted(known, now) : known
    const nbp = kind === "ipxe" ? (current.stage_times.nbp ?? now) : current.stage_times.nbp
    this.#put({
      ...current,
      // UEFI's own client has said it right; iPXE in its place has said the same.
      firmware,
      stage_times: { ...current.stage_times, nbp },
      discover_xid: xid,
      seen_at: now,
    })
  }

  onAddress(machine: string, address: string, now: number): void {
    this.#update(machine, (known) => ({ ...known, address, seen_at: now }))
  }

  /** Somebody at this address fetches a boot program. */
  onBootProgram(address: string, now: number): void {
    const known = this.findByAddress(address)
    if (known !== undefined && known.stage_times.script === null) {
      const stageTimes = { ...known.stage_times, nbp: known.stage_times.nbp ?? now }
      this.#put({ ...known, stage_times: stageTimes, seen_at: now })
    }
  }

  /**
   * The machine asks for its script. A boot that nobody announced by DHCP (another server's, or a hand-typed chain)
   * begins here. Undefined when the table is full.
   */
  onScript(
    machine: string,
    details: {
      readonly identity: Identity
      readonly firmware: Firmware
      readonly address: string
      /** Taken when this is a new boot. */
      readonly boot_id: string
    },
    now: number,
  ): Machine | undefined {
    const known = this.#machines.get(machine) ?? this.#insert(machine, now)
    if (known === undefined) {
      return undefined
    }
    const isPast = known.stage_times.kernel !== null || known.stage_times.init !== null
    const isUnannounced = isPast || known.stage_times.joined !== null || known.stage_times.firmware === null
    const current = isUnannounced ? restarted(known, now) : known
    // The same boot that asks again keeps its id, or the archive that is on its way would not fit any more.
    const isSameBoot = current.stage_times.script !== null && current.boot_id !== ""
    const updated: Machine = {
      ...current,
      identity: details.identity,
      firmware: details.firmware === "unknown" ? current.firmware : details.firmware,
      address: details.address,
      boot_id: isSameBoot ? current.boot_id : details.boot_id,
      stage_times: {
        ...current.stage_times,
        nbp: current.stage_times.nbp ?? now,
        script: current.stage_times.script ?? now,
      },
      seen_at: now,
    }
    this.#put(updated)
    return updated
  }

  /** The last byte of a part of the image went to the machine. */
  onImageSent(machine: string, bootId: string, isKernel: boolean, now: number): void {
    this.#updateBoot(machine, bootId, (known) => {
      const isFirst = isKernel && known.stage_times.kernel === null
      const kernel = isFirst ? now : known.stage_times.kernel
      const kernelsAt = isFirst ? [...known.kernels_at, now].slice(-LOOP_BOOTS_MAX) : known.kernels_at
      const stageTimes = { ...known.stage_times, kernel }
      return { ...known, stage_times: stageTimes, kernels_at: kernelsAt, image_at: now, seen_at: now }
    })
  }

  /** True when the beacon is of this machine's present boot. */
  onInit(machine: string, bootId: string, address: string, now: number): boolean {
    return this.#updateBoot(machine, bootId, (known) => ({
      ...known,
      address,
      stage_times: { ...known.stage_times, init: known.stage_times.init ?? now },
      reason: known.reason === REASON_SILENT ? "" : known.reason,
      seen_at: now,
    }))
  }

  onHalted(
    machine: string,
    bootId: string,
    details: { readonly reason: string; readonly need_bytes: number | null; readonly have_bytes: number | null },
    now: number,
  ): boolean {
    assert(details.reason.length <= REASON_BYTES_MAX, "ledger: a reason is bounded by whoever read it")
    const { reason, need_bytes: needBytes, have_bytes: haveBytes } = details
    const isRAM = reason === REASON_RAM && needBytes !== null && haveBytes !== null
    const ram = isRAM ? { need_bytes: needBytes, have_bytes: haveBytes, at: now } : undefined
    return this.#updateBoot(machine, bootId, (known) => ({ ...known, ...details, ram: ram ?? known.ram, seen_at: now }))
  }

  /** True when it was taken: not of an earlier boot, and the table had room. */
  onAnnounce(announce: Announce, now: number): boolean {
    const old = this.#machines.get(announce.machine)
    if (old !== undefined && old.boot_id !== "" && old.boot_id !== announce.boot_id) {
      return false
    }
    // Unknown to a boot server that was restarted: the machine itself says which boot it is at.
    const known = old ?? this.#insert(announce.machine, now)
    if (known === undefined) {
      return false
    }
    const joined = known.stage_times.joined ?? (isNormal(announce) ? now : null)
    this.#put({
      ...known,
      boot_id: announce.boot_id,
      boot_count: Math.max(known.boot_count, 1),
      address: announce.address,
      stage_times: { ...known.stage_times, joined },
      ram: null,
      reason: isNormal(announce) ? "" : known.reason,
      // Whoever speaks is in no silent loop, and may be the one that a quorum lacks: never held for this boot.
      reason_before: "",
      kernels_at: [],
      announce,
      announce_at: now,
      seen_at: now,
    })
    return true
  }

  setReason(machine: string, reason: string, now: number): void {
    assert(reason.length <= REASON_BYTES_MAX, "ledger: a reason is bounded")
    this.#update(machine, (known) => ({ ...known, reason, seen_at: now }))
  }

  /**
   * Whether the machine's boots go in a circle: so many were sent a kernel within the window, and none was heard of.
   * Says so as its reason, until the window has moved on. To be asked before a script is given.
   */
  findLoop(machine: string, now: number): string | undefined {
    const known = this.#machines.get(machine)
    if (known === undefined) {
      return undefined
    }
    const recent = known.kernels_at.filter((at) => now - at < LOOP_WINDOW_MS)
    assert(recent.length <= LOOP_BOOTS_MAX, "ledger: no more boots are remembered than make a loop")
    if (recent.length < LOOP_BOOTS_MAX) {
      const isOver = known.reason.startsWith(REASON_LOOP)
      this.#put({ ...known, kernels_at: recent, reason: isOver ? "" : known.reason })
      return undefined
    }
    const minutes = Math.round(LOOP_WINDOW_MS / 60_000)
    const last = known.reason_before === "" ? "none said why" : known.reason_before
    const reason = `${REASON_LOOP} ${recent.length} boots in ${minutes} minutes did not join: ${last}`
    this.#put({ ...known, reason: reason.slice(0, REASON_BYTES_MAX) })
    return reason.slice(0, REASON_BYTES_MAX)
  }

  /** An operator wants this machine to boot. */
  forgetLoop(machine: string): void {
    this.#update(machine, (known) => ({ ...known, kernels_at: [], reason_before: "" }))
  }

  /** Machines that fetched their image, should have spoken and have not; each is returned once a boot. */
  findSilent(now: number): Machine[] {
    const silent: Machine[] = []
    for (const known of this.#machines.values()) {
      const { kernel, init, joined } = known.stage_times
      const isWaiting = kernel !== null && init === null && joined === null && known.reason === ""
      if (isWaiting && now - (known.image_at ?? kernel) > BEACON_SILENT_MS) {
        const updated = { ...known, reason: REASON_SILENT }
        this.#put(updated)
        silent.push(updated)
      }
    }
    return silent
  }

  #insert(machine: string, now: number): Machine | undefined {
    assert(!this.#machines.has(machine), "ledger: a machine is inserted once")
    if (this.#machines.size >= MACHINES_MAX && !this.#forgetOne(now)) {
      this.#refused += 1
      return undefined
    }
    const inserted: Machine = {
      machine,
      identity: { uuid: "", serial: "", product: "" },
      address: "",
      firmware: "unknown",
      stage_times: NO_TIMES,
      boot_count: 0,
      boot_id: "",
      reason: "",
      reason_before: "",
      kernels_at: [],
      need_bytes: null,
      have_bytes: null,
      ram: null,
      image_at: null,
      discover_xid: null,
      seen_at: now,
      announce: null,
      announce_at: null,
    }
    this.#put(inserted)
    return inserted
  }

  /** Makes room by the machine that was silent the longest of those that never got as far as a script. */
  #forgetOne(now: number): boolean {
    let oldest: Machine | undefined
    for (const known of this.#machines.values()) {
      const mayGo = known.boot_id === "" && now - known.seen_at > FORGET_MS
      if (mayGo && (oldest === undefined || known.seen_at < oldest.seen_at)) {
        oldest = known
      }
    }
    return oldest !== undefined && this.#machines.delete(oldest.machine)
  }

  #update(machine: string, change: (known: Machine) => Machine): boolean {
    const known = this.#machines.get(machine)
    if (known === undefined) {
      return false
    }
    this.#put(change(known))
    return true
  }

  #updateBoot(machine: string, bootId: string, change: (known: Machine) => Machine): boolean {
    const known = this.#machines.get(machine)
    return known !== undefined && known.boot_id !== "" && known.boot_id === bootId && this.#update(machine, change)
  }

  #put(machine: Machine): void {
    this.#machines.set(machine.machine, machine)
    assert(this.#machines.size <= MACHINES_MAX, "ledger: no more machines than there may be")
  }
}

function restarted(known: Machine, now: number): Machine {
  // That it is held is what this server said, and nothing that the machine said.
  const isOfBoot = known.reason !== "" && !known.reason.startsWith(REASON_LOOP)
  return {
    ...known,
    stage_times: { ...NO_TIMES, firmware: now },
    boot_count: known.boot_count + 1,
    reason: "",
    reason_before: isOfBoot ? known.reason : known.reason_before,
    need_bytes: null,
    have_bytes: null,
    image_at: null,
    announce: null,
    announce_at: null,
  }
}

/** The furthest stage that this boot has reached. */
export function stageOf({ stage_times: times }: Machine): Stage {
  return STAGES.findLast((stage) => times[stage] !== null) ?? "firmware"
}
