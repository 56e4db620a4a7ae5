/**
 * What happened at each machine's boots, step by step, with the facts of the packets and requests: what an operator
 * reads when a machine does not come up. Bounded; knows no clock. Plane: control.
 */
import { assert } from "../../appliance/types/assert.ts"
import { MACHINES_MAX, TRACE_EVENTS_MAX, TRACE_TEXT_BYTES_MAX } from "./limits.ts"

export type TraceFacts = Readonly<Record<string, string | number>>
export type TraceEvent = {
  /** Milliseconds since 1970. */
  readonly at: number
  /** Empty before the boot got its script. */
  readonly boot_id: string
  readonly step: string
  readonly facts: TraceFacts
}

export class TraceBook {
  /** By machine, the oldest first; machines in the order of their last event. */
  readonly #events = new Map<string, TraceEvent[]>()
  #dropped = 0

  /** Events that made room for later ones. */
  get dropped(): number {
    return this.#dropped
  }

  note(machine: string, event: TraceEvent): void {
    const events = this.#events.get(machine) ?? []
    if (events.length === TRACE_EVENTS_MAX) {
      events.shift()
      this.#dropped += 1
    }
    events.push({ ...event, facts: cut(event.facts) })
    this.#events.delete(machine)
    if (this.#events.size === MACHINES_MAX) {
      const [quietest] = this.#events.keys()
      assert(quietest !== undefined, "trace: a full book has a machine")
      this.#dropped += this.#events.get(quietest)?.length ?? 0
      this.#events.delete(quietest)
    }
    this.#events.set(machine, events)
  }

  of(machine: string): readonly TraceEvent[] {
    return this.#events.get(machine) ?? []
  }
}

/** Facts come from the network: printable, and no longer than what a person reads. */
function cut(facts: TraceFacts): TraceFacts {
  const kept: Record<string, string | number> = {}
  for (const [name, value] of Object.entries(facts)) {
    const isText = typeof value === "string"
    kept[name] = isText ? value.slice(0, TRACE_TEXT_BYTES_MAX).replace(/[^\x20-\x7e]/g, "?") : value
  }
  return kept
}
