/** The port through which time comes in: tests bring their own. Plane: control. */

export type Clock = {
  /** Milliseconds since some moment, never going back: leases, timeouts. */
  readonly monotonicMs: () => number
  /** Milliseconds since 1970: what people read. */
  readonly epochMs: () => number
}

export const SYSTEM_CLOCK: Clock = {
  monotonicMs: () => performance.now(),
  epochMs: () => Date.now(),
}
