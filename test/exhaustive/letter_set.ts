/**
 * A set of letters as bits, one a letter's number: copied, joined and compared 32 letters at a time. Plane: control.
 */

const BITS = 32

export class LetterSet {
  /** Words beyond the end are zeros. */
  #words: Uint32Array

  constructor(words: Uint32Array = new Uint32Array(0)) {
    this.#words = words
  }

  get words(): Uint32Array {
    return this.#words
  }

  copy(): LetterSet {
    return new LetterSet(this.#words.slice())
  }

  has(letter: number): boolean {
    return ((this.#words[letter >>> 5] ?? 0) & (1 << (letter & 31))) !== 0
  }

  add(letter: number): void {
    const at = letter >>> 5
    if (at >= this.#words.length) {
      const longer = new Uint32Array(at + 1)
      longer.set(this.#words)
      this.#words = longer
    }
    this.#words[at] = (this.#words[at] ?? 0) | (1 << (letter & 31))
  }

  remove(letter: number): void {
    if (this.has(letter)) {
      this.#words[letter >>> 5] = (this.#words[letter >>> 5] ?? 0) & ~(1 << (letter & 31))
    }
  }

  /** The letters that are in both, ascending. */
  lettersIn(other: LetterSet): number[] {
    const letters: number[] = []
    const end = Math.min(this.#words.length, other.words.length)
    for (let at = 0; at < end; at += 1) {
      for (let rest = (this.#words[at] ?? 0) & (other.words[at] ?? 0); rest !== 0; rest &= rest - 1) {
        // The lowest bit that is set.
        letters.push(at * BITS + BITS - 1 - Math.clz32(rest & -rest))
      }
    }
    return letters
  }
}
