/**
 * Reads the fields of a JSON object that somebody else wrote: each by hand, with its form and bounds. Plane: control.
 */
import { err, ok, type Result } from "../types/result.ts"

export type JSONObject = Readonly<Record<string, unknown>>
export type FieldError = { readonly kind: "not_json" } | { readonly kind: "bad_field"; readonly field: string }

export function parseObject(text: string): Result<JSONObject, FieldError> {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return err({ kind: "not_json" })
  }
  return isObject(value) ? ok(value) : err({ kind: "not_json" })
}

export function isObject(value: unknown): value is JSONObject {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}

/** Reads fields and remembers the first that was wrong; what was read counts only when `error` is undefined. */
export class FieldReader {
  readonly #object: JSONObject
  #error: FieldError | undefined

  constructor(object: JSONObject) {
    this.#object = object
  }

  get error(): FieldError | undefined {
    return this.#error
  }

  fail(field: string): void {
    this.#error ??= { kind: "bad_field", field }
  }

  /** A string that `pattern` matches. */
  text(field: string, pattern: RegExp): string {
    const value = this.#object[field]
    if (typeof value === "string" && pattern.test(value)) {
      return value
    }
    this.fail(field)
    return ""
  }

  optionalText(field: string, pattern: RegExp, otherwise: string): string {
    const value = this.#object[field]
    return value === undefined || value === null ? otherwise : this.text(field, pattern)
  }

  integer(field: string, bounds: { readonly min: number; readonly max: number }): number {
    const value = this.#object[field]
    if (typeof value === "number" && Number.isSafeInteger(value) && value >= bounds.min && value <= bounds.max) {
      return value
    }
    this.fail(field)
    return bounds.min
  }

  optionalInteger(
    field: string,
    bounds: { readonly min: number; readonly max: number; readonly otherwise: number },
  ): number {
    const value = this.#object[field]
    return value === undefined || value === null ? bounds.otherwise : this.integer(field, bounds)
  }

  /** At most `countMax` elements; an absent field is an empty list. */
  list(field: string, countMax: number): readonly unknown[] {
    const value = this.#object[field]
    if (value === undefined || value === null) {
      return []
    }
    if (Array.isArray(value) && value.length <= countMax) {
      return value
    }
    this.fail(field)
    return []
  }
}
