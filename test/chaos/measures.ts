/** What a stage measures as it goes: acknowledgements, the gaps between them, failovers, recoveries. Plane: control. */
import type { Acknowledged } from "./workload.ts"

/** A crash of the primary that waits for the next acknowledged write. */
type Failover = {
  /** When it was killed, and when it was surely gone. */
  readonly killedAt: number
  readonly goneAt: number
  readonly isNetworkWell: boolean
}

export class Measures {
  readonly faults = new Map<string, number>()
  /** Longest time without an acknowledged write, by the faults that were under way. */
  readonly unavailableMs = new Map<string, number>()
  readonly failoversMs: number[] = []
  /** The same while the network was faulty too. */
  readonly failoversInFaultsMs: number[] = []
  readonly recoveriesMs: number[] = []
  #lastWriteAt: number | undefined
  #window: { readonly kinds: readonly string[]; longestMs: number } | undefined
  #failover: Failover | undefined

  onAcknowledged({ called_at, answered_at, isWrite }: Acknowledged): void {
    if (!isWrite) {
      return
    }
    this.#noteGap(answered_at)
    this.#lastWriteAt = answered_at
    // What was asked before the crash may have been answered by the dead.
    if (this.#failover !== undefined && called_at > this.#failover.goneAt) {
      const list = this.#failover.isNetworkWell ? this.failoversMs : this.failoversInFaultsMs
      list.push(answered_at - this.#failover.killedAt)
      this.#failover = undefined
    }
  }

  beginFaults(kinds: readonly string[]): void {
    for (const kind of kinds) {
      this.faults.set(kind, (this.faults.get(kind) ?? 0) + 1)
    }
    this.#window = { kinds, longestMs: 0 }
  }

  endFaults(): void {
    const window = this.#window
    this.#noteGap(performance.now())
    for (const kind of window?.kinds ?? []) {
      this.unavailableMs.set(kind, Math.max(this.unavailableMs.get(kind) ?? 0, window?.longestMs ?? 0))
    }
    this.#window = undefined
  }

  onPrimaryGone(crash: { readonly killedAt: number; readonly isNetworkWell: boolean }): void {
    this.#failover = { ...crash, goneAt: performance.now() }
  }

  #noteGap(now: number): void {
    if (this.#window !== undefined && this.#lastWriteAt !== undefined) {
      this.#window.longestMs = Math.max(this.#window.longestMs, now - this.#lastWriteAt)
    }
  }
}

/** The value below which `fraction` of them lie; null of none. */
export function percentile(values: readonly number[], fraction: number): number | null {
  const sorted = [...values].sort((a, b) => a - b)
  const at = Math.min(sorted.length - 1, Math.floor(sorted.length * fraction))
  return at < 0 ? null : Math.round(sorted[at] ?? 0)
}
