/**
 * Writes this machine's own record into the replicated table of machines, once it is a member: through the log, like
 * any command, and again until it is committed. Plane: control.
 */
import {
  encodeMachineRecord,
  Firmware,
  MachineRole,
  MachineStage,
  type MachineRecord,
} from "../state_machine/machine_record.ts"
import { assert } from "../types/assert.ts"
import type { LimitedLog } from "./limited_log.ts"
import type { HostInfo } from "./host_info.ts"
import type { NodeConfig } from "./node_config.ts"

export type MachineRegistrationOptions = {
  readonly config: NodeConfig
  readonly address: string
  readonly replicaPort: () => number
  readonly ramBytes: number
  /** Milliseconds since 1970, by this machine's clock: for people, nothing depends on it. */
  readonly wallMs: () => number
  readonly info: () => HostInfo
  readonly retryMs: number
  readonly log: LimitedLog
  /** Puts `record` under `machine` through the log. False: not now; else `onDone` is called once. */
  readonly put: (machine: string, record: Uint8Array, onDone: (outcome: PutOutcome) => void) => boolean
}

/** `refused`: the table is full, and repeating won't help soon. */
export type PutOutcome = "ok" | "refused" | "unknown"

export class MachineRegistration {
  readonly #options: MachineRegistrationOptions
  #state: "due" | "asked" | "done" = "due"
  #dueAt = 0

  constructor(options: MachineRegistrationOptions) {
    assert(options.retryMs > 0, "machine registration: retries have a pause")
    this.#options = options
  }

  get isDone(): boolean {
    return this.#state === "done"
  }

  tick(nowMs: number): void {
    if (this.#state !== "due" || nowMs < this.#dueAt) {
      return
    }
    this.#dueAt = nowMs + this.#options.retryMs
    const info = this.#options.info()
    if (info.status !== "normal" || info.primary_slot < 0) {
      return
    }
    this.#state = "asked"
    const record = encodeMachineRecord(this.#record(info))
    const isTaken = this.#options.put(this.#options.config.machine, record, (outcome) => this.#onDone(outcome, nowMs))
    if (!isTaken) {
      this.#state = "due"
    }
  }

  #onDone(outcome: PutOutcome, askedAt: number): void {
    // The same record again does no harm, so an unknown outcome is simply repeated.
    this.#state = outcome === "ok" ? "done" : "due"
    if (outcome === "refused") {
      this.#options.log.warn("machine_record_refused", askedAt, { limit: "machines_max" })
    }
  }

  #record(info: HostInfo): MachineRecord {
    const { config, address, ramBytes } = this.#options
    return {
      machine: config.machine,
      address,
      replica_port: this.#options.replicaPort(),
      slot: info.slot,
      roles: MachineRole.replica,
      stage: MachineStage.ready,
      firmware: Firmware[config.firmware],
      ram_bytes: ramBytes,
      incarnation: info.incarnation,
      boot_count: config.boot_count,
      boot_id: config.boot_id,
      joined_ms: this.#options.wallMs(),
    }
  }
}
