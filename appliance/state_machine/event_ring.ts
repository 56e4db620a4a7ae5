/**
 * The table `events`: who changed what, append only; the oldest makes room for the newest. Event n, from 1 up, lies at
 * place (n - 1) mod events_max; how many there ever were stands in the header. A record:
 *
 *   offset size
 *        0    8  its number
 *        8    8  the op that it came with
 *       16    8  timestamp of that op
 *       24  232  what happened, as its writer says
 *
 * Plane: control.
 */
import { assert } from "../types/assert.ts"
import { getU53, HeaderOffset, setU53 } from "./arena.ts"
import type { PageWrites } from "./pages.ts"
import { EVENT_RECORD_BYTES, TableNumber } from "./record_tables.ts"
import type { TableOptions } from "./table_options.ts"

const EVENT_HEAD_BYTES = 24
/** What a put to `events` brings: the rest is filled in where it is applied. */
export const EVENT_BODY_BYTES = EVENT_RECORD_BYTES - EVENT_HEAD_BYTES

export class EventRing {
  readonly #view: DataView
  readonly #bytes: Uint8Array
  readonly #pages: PageWrites
  readonly #start: number
  readonly #eventsMax: number

  constructor(options: TableOptions) {
    const start = options.layout.records[TableNumber.events]
    assert(start !== undefined, "event ring: it has its place")
    this.#view = options.view
    this.#bytes = new Uint8Array(options.view.buffer, options.view.byteOffset, options.view.byteLength)
    this.#pages = options.pages
    this.#start = start
    this.#eventsMax = options.limits.events_max
  }

  /** Number of the newest event: how many there ever were. */
  newest(): number {
    return getU53(this.#view, HeaderOffset.event_count)
  }

  /** Number of the oldest that is still here; one more than the newest when there is none. */
  oldest(): number {
    // A ring that has grown has places for events that had made room before.
    const first = getU53(this.#view, HeaderOffset.event_first)
    return Math.max(1, first, this.newest() - this.#eventsMax + 1)
  }

  append(op: number, timestamp: number, body: Uint8Array, start: number): void {
    const number = this.newest() + 1
    const at = this.offset(number)
    this.#pages.willWrite(at, at + EVENT_RECORD_BYTES)
    setU53(this.#view, HeaderOffset.event_count, number)
    setU53(this.#view, at, number)
    setU53(this.#view, at + 8, op)
    setU53(this.#view, at + 16, timestamp)
    this.#bytes.set(body.subarray(start, start + EVENT_BODY_BYTES), at + EVENT_HEAD_BYTES)
    assert(this.newest() >= this.oldest(), "event ring: what was appended is here")
  }

  /** Offset of the event's record in the arena. */
  offset(number: number): number {
    assert(number >= 1, "event ring: events are numbered from 1")
    return this.#start + ((number - 1) % this.#eventsMax) * EVENT_RECORD_BYTES
  }

  /** How many events from this number on lie without the end of the ring between them. */
  contiguous(number: number): number {
    const toEnd = this.#eventsMax - ((number - 1) % this.#eventsMax)
    return Math.max(0, Math.min(this.newest() - number + 1, toEnd))
  }
}
