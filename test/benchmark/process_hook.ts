/**
 * Loaded into a measured process with --import, never shipped: counts collections of garbage, and says over the
 * process's channel what they and the processor cost so far. Plane: control.
 */
import { constants, PerformanceObserver } from "node:perf_hooks"

/** Since the process started. */
export type ProcessCosts = {
  readonly gc_minor: number
  readonly gc_major: number
  readonly gc_ms: number
  readonly gc_ms_max: number
  readonly cpu_us: number
  readonly heap_bytes: number
}

let minor = 0
let major = 0
let totalMs = 0
let longestMs = 0

const observer = new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) {
    // Proof: entries of type "gc" have a detail with the kind of collection (Node's documentation of perf_hooks); the
    // common type of all entries does not say so.
    const { kind } = (entry as unknown as { readonly detail: { readonly kind: number } }).detail
    minor += kind === constants.NODE_PERFORMANCE_GC_MINOR ? 1 : 0
    major += kind === constants.NODE_PERFORMANCE_GC_MAJOR ? 1 : 0
    totalMs += entry.duration
    longestMs = Math.max(longestMs, entry.duration)
  }
})
observer.observe({ entryTypes: ["gc"] })

process.on("message", (question) => {
  if (question !== "costs") {
    // Another hook's.
    return
  }
  const { user, system } = process.cpuUsage()
  const costs: ProcessCosts = {
    gc_minor: minor,
    gc_major: major,
    gc_ms: totalMs,
    gc_ms_max: longestMs,
    cpu_us: user + system,
    heap_bytes: process.memoryUsage().heapUsed,
  }
  // Asked means that a new stretch begins: the longest pause is each stretch's own.
  longestMs = 0
  process.send?.(costs)
})
// Whoever measures is gone, however it ended: nothing of a run stays behind.
process.on("disconnect", () => process.exit(0))
// The channel must not keep a process alive that wants to end.
process.channel?.unref()
