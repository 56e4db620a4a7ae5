/**
 * What this machine has found wrong with its own memory (rule 22c): one line a fault in the log, and an alarm for as
 * long as the process lives, since memory that failed once is not to be trusted. Plane: control.
 */
import type { Logger } from "pino"
import type { MemoryFault } from "../replication/replica.ts"
import { arenaTables } from "../state_machine/arena.ts"
import { assert, unreachable } from "../types/assert.ts"
import type { ClusterLimits } from "../types/limits.ts"
import type { Alarm } from "./alarms.ts"

/** snake_case: it leaves the process as it is. */
export type MemoryFaultReport = {
  /**
   * `page`: it changed though nobody wrote it. `root`: its checkpoint is not the one that a majority has. `table`: the
   * digests of a checkpoint's pages changed.
   */
  readonly kind: MemoryFault["kind"]
  /** null where a root tells that something is wrong and not where; so are those that follow. */
  readonly page: number | null
  /** First and last byte of the page in the arena. */
  readonly byte_first: number | null
  readonly byte_last: number | null
  /** Which of the arena's tables begins in the page or goes on in it. */
  readonly table: string | null
}

export type MemoryWatchOptions = {
  readonly machine: string
  readonly slot: number
  readonly limits: ClusterLimits
  readonly pageBytes: number
  /** So many, and the machine leaves the cluster. */
  readonly faultsMax: number
  readonly log: Pick<Logger, "error">
}

export class MemoryWatch {
  readonly #options: MemoryWatchOptions
  #limits: ClusterLimits
  #count = 0
  #last: MemoryFaultReport | undefined

  constructor(options: MemoryWatchOptions) {
    this.#options = options
    this.#limits = options.limits
  }

  /** The arena has become a larger one: what was wrong before was told in the words of the old. */
  useLimits(limits: ClusterLimits): void {
    this.#limits = limits
  }

  get last(): MemoryFaultReport | undefined {
    return this.#last
  }

  /** Called before anything that a fault leads to is seen from outside. */
  observe(count: number, fault: MemoryFault | undefined): void {
    if (count === this.#count) {
      return
    }
    assert(count > this.#count && fault !== undefined, "memory watch: faults are counted up, and the last is known")
    this.#count = count
    this.#last = this.#reportOf(fault)
    const { machine, slot, faultsMax } = this.#options
    this.#options.log.error({ machine, slot, ...this.#last, count, count_max: faultsMax }, "memory_fault")
  }

  alarms(): Alarm[] {
    return this.#last === undefined ? [] : [{ kind: "memory_fault", text: this.text(this.#last) }]
  }

  text(fault: MemoryFaultReport): string {
    const { faultsMax } = this.#options
    const advice = `test this machine's memory, at ${faultsMax} it leaves`
    return `memory fault ${this.#count} of ${faultsMax}: ${whatOf(fault)}; ${advice}`
  }

  #reportOf({ kind, page }: MemoryFault): MemoryFaultReport {
    if (kind !== "page") {
      return { kind, page: null, byte_first: null, byte_last: null, table: null }
    }
    const { pageBytes } = this.#options
    const first = page * pageBytes
    const table = arenaTables(this.#limits).findLast(({ start }) => start <= first)
    assert(table !== undefined, "memory watch: a page lies in a table, the header is the first")
    return { kind, page, byte_first: first, byte_last: first + pageBytes - 1, table: table.name }
  }
}

function whatOf(fault: MemoryFaultReport): string {
  switch (fault.kind) {
    case "page":
      return `page ${fault.page} (${fault.table}, arena bytes ${bytesOf(fault)}) changed by itself`
    case "root":
      return "a checkpoint here was not the majority's"
    case "table":
      return "the digests of a checkpoint here changed by themselves"
    default:
      return unreachable(fault.kind)
  }
}

function bytesOf({ byte_first, byte_last }: MemoryFaultReport): string {
  return `${byte_first} to ${byte_last}`
}
