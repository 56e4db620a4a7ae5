/** The header `Range` with one range of bytes (RFC 9110, 14). Plane: control. */

export type RangeAnswer =
  /** No range, several, or one in another unit: the whole is sent, as the RFC allows. */
  | { readonly kind: "whole" }
  /** `end` is exclusive. */
  | { readonly kind: "part"; readonly start: number; readonly end: number }
  | { readonly kind: "unsatisfiable" }

const ONE_RANGE = /^bytes=([0-9]{0,15})-([0-9]{0,15})$/

export function decideRange(header: string | undefined, bytesTotal: number): RangeAnswer {
  const match = header === undefined ? null : ONE_RANGE.exec(header.replaceAll(" ", ""))
  if (match === null) {
    return { kind: "whole" }
  }
  const [, first = "", last = ""] = match
  if (first === "") {
    // The last so many bytes.
    const count = Number(last)
    if (last === "") {
      return { kind: "whole" }
    }
    if (count === 0 || bytesTotal === 0) {
      return { kind: "unsatisfiable" }
    }
    return { kind: "part", start: Math.max(0, bytesTotal - count), end: bytesTotal }
  }
  const start = Number(first)
  if (last !== "" && Number(last) < start) {
    return { kind: "whole" }
  }
  if (start >= bytesTotal) {
    return { kind: "unsatisfiable" }
  }
  return { kind: "part", start, end: last === "" ? bytesTotal : Math.min(Number(last) + 1, bytesTotal) }
}
