/**
 * Warnings that somebody else can cause, kept to one line a kind in a while, so that no peer fills a log.
 * Plane: control.
 */
import type { Logger } from "pino"
import { assert } from "../types/assert.ts"

type Kind = { writtenAt: number; keptBack: number }

export class LimitedLog {
  readonly #log: Logger
  readonly #repeatMs: number
  readonly #kindsMax: number
  readonly #kinds = new Map<string, Kind>()

  constructor(log: Logger, options: { readonly repeatMs: number; readonly kindsMax: number }) {
    assert(options.repeatMs > 0 && options.kindsMax > 0, "limited log: bounds are positive")
    this.#log = log
    this.#repeatMs = options.repeatMs
    this.#kindsMax = options.kindsMax
  }

  /** `kind` names the event and may carry a slot, never anything that a peer chose. */
  warn(kind: string, nowMs: number, fields: Readonly<Record<string, unknown>>): void {
    let known = this.#kinds.get(kind)
    if (known === undefined) {
      if (this.#kinds.size >= this.#kindsMax) {
        return
      }
      known = { writtenAt: Number.NEGATIVE_INFINITY, keptBack: 0 }
      this.#kinds.set(kind, known)
    }
    if (nowMs - known.writtenAt < this.#repeatMs) {
      known.keptBack += 1
      return
    }
    this.#log.warn({ ...fields, kept_back: known.keptBack }, kind)
    known.writtenAt = nowMs
    known.keptBack = 0
  }
}
