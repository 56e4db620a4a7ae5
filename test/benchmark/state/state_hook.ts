/**
 * Loaded into a measured process with --import, never shipped: when it copied the state and how, what its checkpoints
 * took, its longest pause, and how much of its arena is in use. Wraps what it measures before main.ts runs; Node has
 * one instance of each module, so that these are the classes which the process uses. Plane: control.
 */
import { FrameSplitter } from "../../../appliance/replication/wire.ts"
import { CheckpointReceiver } from "../../../appliance/replication/checkpoint_transfer.ts"
import { Replica } from "../../../appliance/replication/replica.ts"
import { ArenaPages } from "../../../appliance/state_machine/pages.ts"
import { PAGE_BYTES } from "../../../appliance/state_machine/arena.ts"
import { StaticMemory } from "../../../appliance/types/static_memory.ts"

/** All times are milliseconds since 1970, with fractions: processes of one machine share the clock. */
export type StateReport = {
  readonly process_started_at: number
  /** The first tick: buffers are allocated, the port is open. */
  readonly first_tick_at: number
  /** The first question to a donor, and the last piece that was installed; 0 for never. */
  readonly copy_started_at: number
  readonly copy_ended_at: number
  /** Of all threads, between the two. */
  readonly copy_cpu_us: number
  readonly normal_at: number
  /** Images of which at least one piece was taken, and pages that came. */
  readonly images: number
  readonly pages_received: number
  /**
   * Since the last such question: the longest stretch without a look at the clock, by the wall and by the processor.
   */
  readonly pause_ms_max: number
  readonly pause_cpu_ms_max: number
  /** Milliseconds since the process started that went into … */
  readonly digests_ms: number
  readonly roots_ms: number
  readonly freezes_ms: number
  readonly scrub_ms: number
  readonly freezes: number
}

/** Pages of the arena that are not zeros: O(arena), so it is a question of its own. */
export type ArenaReport = { readonly arena_bytes: number; readonly bytes_in_use: number }

let firstTickAt = 0
let copyStartedAt = 0
let copyEndedAt = 0
let copyStartedCPU = 0
let copyEndedCPU = 0
let normalAt = 0
let images = 0
let pagesReceived = 0
let pauseMsMax = 0
let pauseCPUMsMax = 0
let stepAt = -1
let stepCPU = 0
let arena: Uint8Array | undefined
const spent = { takeDigests: 0, root: 0, freeze: 0, scrub: 0 }
let freezes = 0

function clock(): number {
  return performance.timeOrigin + performance.now()
}

function processUs(): number {
  const { user, system } = process.cpuUsage()
  return user + system
}

function cpuMs(): number {
  const { user, system } = process.threadCpuUsage()
  return (user + system) / 1_000
}

// ---------------------------------------------------------------- one event: from its first byte, or tick, to its
// writes

function beginStep(): void {
  if (stepAt < 0) {
    stepAt = performance.now()
    stepCPU = cpuMs()
    // Whatever begins here ends before the next event does.
    setImmediate(endStep)
  }
}

function endStep(): void {
  pauseMsMax = Math.max(pauseMsMax, performance.now() - stepAt)
  pauseCPUMsMax = Math.max(pauseCPUMsMax, cpuMs() - stepCPU)
  stepAt = -1
}

const advance = Reflect.get<FrameSplitter, "advance">(FrameSplitter.prototype, "advance")
FrameSplitter.prototype.advance = function (bytes: number): void {
  beginStep()
  advance.call(this, bytes)
}

const tick = Reflect.get<Replica, "tick">(Replica.prototype, "tick")
const receive = Reflect.get<Replica, "receive">(Replica.prototype, "receive")
Replica.prototype.tick = function (now: number): void {
  beginStep()
  if (firstTickAt === 0) {
    firstTickAt = clock()
  }
  tick.call(this, now)
  noteStatus(this)
}
Replica.prototype.receive = function (message): void {
  receive.call(this, message)
  noteStatus(this)
}

function noteStatus(replica: Replica): void {
  if (normalAt === 0 && replica.status === "normal") {
    normalAt = clock()
  }
}

// ---------------------------------------------------------------- copying

const start = Reflect.get<CheckpointReceiver, "start">(CheckpointReceiver.prototype, "start")
const stop = Reflect.get<CheckpointReceiver, "stop">(CheckpointReceiver.prototype, "stop")
const accept = Reflect.get<CheckpointReceiver, "accept">(CheckpointReceiver.prototype, "accept")
CheckpointReceiver.prototype.start = function (options): void {
  if (copyStartedAt === 0) {
    copyStartedAt = clock()
    copyStartedCPU = processUs()
  }
  start.call(this, options)
}
CheckpointReceiver.prototype.accept = function (message, now): boolean {
  const { op } = this
  const isNew = accept.call(this, message, now)
  images += isNew && this.op !== op ? 1 : 0
  pagesReceived = this.pagesReceived
  return isNew
}
CheckpointReceiver.prototype.stop = function (): void {
  if (this.isComplete) {
    copyEndedAt = clock()
    copyEndedCPU = processUs()
  }
  stop.call(this)
}

// ---------------------------------------------------------------- checkpoints

const takeDigests = Reflect.get<ArenaPages, "takeDigests">(ArenaPages.prototype, "takeDigests")
const root = Reflect.get<ArenaPages, "root">(ArenaPages.prototype, "root")
const freeze = Reflect.get<ArenaPages, "freeze">(ArenaPages.prototype, "freeze")
const scrub = Reflect.get<ArenaPages, "scrub">(ArenaPages.prototype, "scrub")
ArenaPages.prototype.takeDigests = function (pagesMax): void {
  const since = performance.now()
  takeDigests.call(this, pagesMax)
  spent.takeDigests += performance.now() - since
}
ArenaPages.prototype.root = function (digest, prefix) {
  const since = performance.now()
  const value = root.call(this, digest, prefix)
  spent.root += performance.now() - since
  return value
}
ArenaPages.prototype.freeze = function (): void {
  const since = performance.now()
  freeze.call(this)
  spent.freeze += performance.now() - since
  freezes += 1
}
ArenaPages.prototype.scrub = function (pagesMax): number {
  const since = performance.now()
  const page = scrub.call(this, pagesMax)
  spent.scrub += performance.now() - since
  return page
}

const allocate = Reflect.get<StaticMemory, "allocate">(StaticMemory.prototype, "allocate")
StaticMemory.prototype.allocate = function (name, bytes) {
  const buffer = allocate.call(this, name, bytes)
  if (name === "arena") {
    arena = buffer
  }
  return buffer
}

// ---------------------------------------------------------------- answers

function stateReport(): StateReport {
  const report: StateReport = {
    process_started_at: performance.timeOrigin,
    first_tick_at: firstTickAt,
    copy_started_at: copyStartedAt,
    copy_ended_at: copyEndedAt,
    copy_cpu_us: copyEndedCPU - copyStartedCPU,
    normal_at: normalAt,
    images,
    pages_received: pagesReceived,
    pause_ms_max: pauseMsMax,
    pause_cpu_ms_max: pauseCPUMsMax,
    digests_ms: spent.takeDigests,
    roots_ms: spent.root,
    freezes_ms: spent.freeze,
    scrub_ms: spent.scrub,
    freezes,
  }
  pauseMsMax = 0
  pauseCPUMsMax = 0
  return report
}

function arenaReport(): ArenaReport {
  const bytes = arena ?? new Uint8Array(0)
  const zeros = Buffer.alloc(PAGE_BYTES)
  let pages = 0
  for (let at = 0; at < bytes.length; at += PAGE_BYTES) {
    pages += zeros.equals(bytes.subarray(at, at + PAGE_BYTES)) ? 0 : 1
  }
  return { arena_bytes: bytes.length, bytes_in_use: pages * PAGE_BYTES }
}

process.on("message", (question) => {
  if (question === "state") {
    process.send?.(stateReport())
  } else if (question === "arena") {
    process.send?.(arenaReport())
  }
})
process.channel?.unref()
