/** Counts what happened per key within a window of time, for rate limits and rare log lines. Plane: control. */
import { assert } from "../appliance/types/assert.ts"

export type RecentOptions = {
  readonly window_ms: number
  readonly count_max: number
  /** Keys remembered; the one seen first goes. */
  readonly keys_max: number
}

export class Recent {
  readonly #options: RecentOptions
  readonly #windows = new Map<string, { start: number; count: number }>()

  constructor(options: RecentOptions) {
    assert(options.window_ms > 0 && options.count_max > 0 && options.keys_max > 0, "recent: every bound is positive")
    this.#options = options
  }

  /** Whether this is one of the first `count_max` within the key's window. */
  isAllowed(key: string, now: number): boolean {
    const window = this.#windows.get(key)
    if (window !== undefined && now - window.start < this.#options.window_ms) {
      window.count += 1
      return window.count <= this.#options.count_max
    }
    this.#windows.delete(key)
    this.#windows.set(key, { start: now, count: 1 })
    if (this.#windows.size > this.#options.keys_max) {
      const [oldest] = this.#windows.keys()
      this.#windows.delete(oldest ?? key)
    }
    assert(this.#windows.size <= this.#options.keys_max, "recent: bounded")
    return true
  }
}
