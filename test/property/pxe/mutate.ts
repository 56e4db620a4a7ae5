/** Damages bytes the way networks and broken firmware do. Plane: control. */
import type { PRNG } from "../../../appliance/types/prng.ts"

const CHANGES_MAX = 8

/** A copy with some bytes changed, a piece cut out, or rubbish put in. */
export function mutate(bytes: Uint8Array, prng: PRNG): Uint8Array {
  const copy = [...bytes]
  for (let change = prng.between(1, CHANGES_MAX); change > 0; change -= 1) {
    const at = prng.below(copy.length + 1)
    switch (prng.below(4)) {
      case 0:
        copy[Math.min(at, Math.max(copy.length - 1, 0))] = prng.below(256)
        break
      case 1:
        copy.length = at
        break
      case 2:
        copy.splice(at, prng.below(16))
        break
      default:
        copy.splice(at, 0, ...Array.from({ length: prng.below(16) }, () => prng.below(256)))
    }
  }
  return Uint8Array.from(copy)
}
