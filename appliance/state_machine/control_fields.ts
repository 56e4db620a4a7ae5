/**
 * What the control operations leave in the arena's header: the configuration of the epoch, and wall time as a clamped
 * offset. Plane: control (a few ops a day).
 */
import { assert } from "../types/assert.ts"
import { CONFIGURATION_BYTES_MAX, WALL_CLOCK_BYTES, WALL_CLOCK_STEP_MS_MAX } from "../types/contracts.ts"
import { getU53, HeaderOffset, setU53 } from "./arena.ts"

export class ControlFields {
  readonly #arena: Uint8Array
  readonly #view: DataView

  constructor(arena: Uint8Array) {
    this.#arena = arena
    this.#view = new DataView(arena.buffer, arena.byteOffset, arena.byteLength)
  }

  configuration(): Uint8Array {
    const bytes = this.#view.getUint16(HeaderOffset.configuration_bytes, true)
    return this.#arena.subarray(HeaderOffset.configuration, HeaderOffset.configuration + bytes)
  }

  setConfiguration(body: Uint8Array, start: number, end: number): void {
    const bytes = end - start
    assert(bytes <= CONFIGURATION_BYTES_MAX, "control fields: a configuration is bounded")
    this.#view.setUint16(HeaderOffset.configuration_bytes, bytes, true)
    this.#arena.set(body.subarray(start, end), HeaderOffset.configuration)
    // Nothing of a longer predecessor stays: the bytes are a function of the ops alone.
    const last = HeaderOffset.configuration + CONFIGURATION_BYTES_MAX
    this.#arena.fill(0, HeaderOffset.configuration + bytes, last)
  }

  wallOffset(): number | undefined {
    const offset = getU53(this.#view, HeaderOffset.wall_offset)
    return offset === 0 ? undefined : offset - 1
  }

  /** `timestamp` is the op's: cluster time at which the word was given. */
  setWallClock(timestamp: number, body: Uint8Array, start: number, end: number): void {
    assert(end - start === WALL_CLOCK_BYTES, "control fields: a word on wall time is 8 bytes")
    const wall = getU53(new DataView(body.buffer, body.byteOffset, body.byteLength), start)
    const wanted = Math.max(wall - timestamp, 0)
    const known = this.wallOffset() ?? wanted
    const step = Math.min(Math.max(wanted - known, -WALL_CLOCK_STEP_MS_MAX), WALL_CLOCK_STEP_MS_MAX)
    setU53(this.#view, HeaderOffset.wall_offset, known + step + 1)
  }

  /** What was known of wall time is of another generation's: the next word on it is the first. */
  forgetWallClock(): void {
    setU53(this.#view, HeaderOffset.wall_offset, 0)
  }

  /** The op of the last checkpoint. */
  checkpointOp(): number {
    return getU53(this.#view, HeaderOffset.checkpoint)
  }

  setCheckpoint(op: number): void {
    setU53(this.#view, HeaderOffset.checkpoint, op)
  }
}
