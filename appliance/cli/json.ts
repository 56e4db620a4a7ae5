/** Reads fields of JSON that another program wrote, without believing its types. Plane: control. */

export type JSONObject = { readonly [key: string]: unknown }

export function parseObject(text: string): JSONObject | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  return isObject(value) ? value : undefined
}

function isObject(value: unknown): value is JSONObject {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}

export function objectAt(object: JSONObject | undefined, key: string): JSONObject | undefined {
  const value = object?.[key]
  return isObject(value) ? value : undefined
}

export function objectsAt(object: JSONObject | undefined, key: string): readonly JSONObject[] {
  const value = object?.[key]
  return Array.isArray(value) ? value.filter(isObject) : []
}

export function textAt(object: JSONObject | undefined, key: string): string | undefined {
  const value = object?.[key]
  return typeof value === "string" ? value : undefined
}

export function textsAt(object: JSONObject | undefined, key: string): readonly string[] {
  const value = object?.[key]
  return Array.isArray(value) ? value.filter((one) => typeof one === "string") : []
}

export function numberAt(object: JSONObject | undefined, key: string): number | undefined {
  const value = object?.[key]
  return typeof value === "number" ? value : undefined
}

export function isTrueAt(object: JSONObject | undefined, key: string): boolean {
  return object?.[key] === true
}
