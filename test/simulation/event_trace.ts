/**
 * The hash of everything that happened in a run, in order: equal for equal seeds, or the simulator is not deterministic
 * (rule 33). A line of text is made only when someone listens. Plane: control.
 */
import { hexOf } from "./digest.ts"

export class EventTrace {
  readonly #listen: ((line: string) => void) | undefined
  #a = 0x9e37_79b9
  #b = 0x85eb_ca6b

  constructor(listen: ((line: string) => void) | undefined) {
    this.#listen = listen
  }

  /** True when `say` is worth calling. */
  get isHeard(): boolean {
    return this.#listen !== undefined
  }

  note(kind: number, x: number, y: number, z: number): void {
    this.#mix(kind)
    this.#mix(x)
    this.#mix(y)
    this.#mix(z)
  }

  say(line: string): void {
    this.#listen?.(line)
  }

  digest(): string {
    return hexOf(this.#a) + hexOf(this.#b)
  }

  #mix(value: number): void {
    this.#a = Math.imul(this.#a ^ value, 0x9e37_79b1) ^ (this.#a >>> 15)
    this.#b = Math.imul(this.#b ^ (value + 0x51), 0x85eb_ca77) ^ (this.#b >>> 13)
  }
}
