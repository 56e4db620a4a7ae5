/**
 * Where each slot is reached: learned from the boot server's answers and from hellos, since a machine that rebooted may
 * come back with another address. The latest word wins. Plane: control.
 */
import { assert } from "../types/assert.ts"

export type Place = { readonly address: string; readonly port: number }

export class AddressBook {
  readonly #places: (Place | undefined)[]

  constructor(voters: number) {
    this.#places = new Array<Place | undefined>(voters).fill(undefined)
  }

  at(slot: number): Place | undefined {
    return this.#places[slot]
  }

  /** True when this is news. */
  learn(slot: number, place: Place): boolean {
    assert(slot >= 0 && slot < this.#places.length, "address book: slot out of range")
    const known = this.#places[slot]
    if (known?.address === place.address && known.port === place.port) {
      return false
    }
    this.#places[slot] = place
    return true
  }
}
