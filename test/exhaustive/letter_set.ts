/** A set of letters as bits, one a letter's number: copied, joined and compared 32 letters at a time. Plane: control. */

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

  /** Ascending. */
  letters(): number[] {
    const letters: number[] = []
    for (const [at, word] of this.#words.entries()) {
      collect(word, at * BITS, letters)
    }
    return letters
  }

  /** Letters of this set that are in `a` and, where it is given, not in `b`; ascending. */
  lettersIn(a: LetterSet, b?: LetterSet): number[] {
    const letters: number[] = []
    const end = Math.min(this.#words.length, a.words.length)
    for (let at = 0; at < end; at += 1) {
      const word = (this.#words[at] ?? 0) & (a.words[at] ?? 0) & ~(b?.words[at] ?? 0)
      collect(word, at * BITS, letters)
    }
    return letters
  }
}

function collect(word: number, first: number, letters: number[]): void {
  for (let rest = word; rest !== 0; rest &= rest - 1) {
    letters.push(first + 31 - Math.clz32(rest & -rest))
  }
}
