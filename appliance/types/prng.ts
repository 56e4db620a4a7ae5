/**
 * A small deterministic generator (xoshiro128**, Blackman and Vigna) for jitter, nonces in simulation and test data.
 * Not for secrets: those come from the operating system through a port. Plane: control.
 */
import { assert } from "./assert.ts"

export class PRNG {
  #a: number
  #b: number
  #c: number
  #d: number

  constructor(seed: number) {
    assert(Number.isSafeInteger(seed) && seed >= 0, "prng: a seed is a non-negative integer")
    let state = (seed >>> 0) ^ (Math.floor(seed / 0x1_0000_0000) >>> 0)
    const splitmix = (): number => {
      state = (state + 0x9e37_79b9) >>> 0
      let z = state
      z = Math.imul(z ^ (z >>> 16), 0x85eb_ca6b)
      z = Math.imul(z ^ (z >>> 13), 0xc2b2_ae35)
      return (z ^ (z >>> 16)) >>> 0
    }
    this.#a = splitmix()
    this.#b = splitmix()
    this.#c = splitmix()
    this.#d = splitmix() | 1
  }

  /** Uniform over [0, 2^32). */
  u32(): number {
    const scrambled = Math.imul(rotateLeft(Math.imul(this.#b, 5), 7), 9) >>> 0
    const shifted = this.#b << 9
    this.#c ^= this.#a
    this.#d ^= this.#b
    this.#b ^= this.#c
    this.#a ^= this.#d
    this.#c ^= shifted
    this.#d = rotateLeft(this.#d, 11)
    return scrambled
  }

  /** Uniform over [0, bound). Bias is below bound / 2^32. */
  below(bound: number): number {
    assert(Number.isSafeInteger(bound) && bound > 0 && bound <= 0x1_0000_0000, "prng: bound out of range")
    return Math.floor((this.u32() / 0x1_0000_0000) * bound)
  }

  /** Uniform over [min, max], both included. */
  between(min: number, max: number): number {
    return min + this.below(max - min + 1)
  }

  /** True `numerator` times in `denominator`. */
  chance(numerator: number, denominator: number): boolean {
    return this.below(denominator) < numerator
  }
}

function rotateLeft(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits))
}
