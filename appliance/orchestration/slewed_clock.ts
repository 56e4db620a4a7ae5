/**
 * The replica's clock: real time, but for the time in which this process stood still. After a stall everything that
 * peers said lies unread, and a clock that jumps would take that for their silence and ask to leave the view. So it
 * takes short steps at most, and makes up for what it is behind at a rate at which no timeout is missed.
 * Plane: control.
 */
import { assert } from "../types/assert.ts"

export class SlewedClock {
  readonly #stepMsMax: number
  readonly #slewDivisor: number
  #real: number
  #now: number

  /** At most `stepMsMax` at a time; behind by any amount, it runs faster by one part in `slewDivisor`. */
  constructor(options: { readonly start: number; readonly stepMsMax: number; readonly slewDivisor: number }) {
    assert(options.stepMsMax > 0 && options.slewDivisor > 0, "slewed clock: bounds are positive")
    this.#stepMsMax = options.stepMsMax
    this.#slewDivisor = options.slewDivisor
    this.#real = options.start
    this.#now = options.start
  }

  get now(): number {
    return this.#now
  }

  /** It is `realMs` now. */
  advance(realMs: number): number {
    assert(realMs >= this.#real, "slewed clock: time only rises")
    const gap = realMs - this.#real
    this.#real = realMs
    const step = Math.min(gap + Math.ceil(gap / this.#slewDivisor), this.#stepMsMax)
    this.#now = Math.min(realMs, this.#now + step)
    return this.#now
  }
}
