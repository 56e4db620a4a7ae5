/**
 * How an object of the inner modules tells what it is, for a search that asks whether two of them would behave alike:
 * every field that decides behaviour, under its name, in a fixed order, and none that doesn't. Plane: control.
 */

/** Plain data: what two equal states must have equal. */
export type FingerprintValue =
  | number
  | string
  | boolean
  | undefined
  | Uint8Array
  | readonly FingerprintValue[]
  | { readonly [field: string]: FingerprintValue }

/** Takes one field. What it is given may be a view into a buffer: it is read before the call returns. */
export type FingerprintSink = (field: string, value: FingerprintValue) => void
