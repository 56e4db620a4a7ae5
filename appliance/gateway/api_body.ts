/** The body of an operator's request. Plane: control. */
import type { IncomingMessage } from "node:http"
import { err, ok, type Result } from "../types/result.ts"
import { API_BODY_BYTES_MAX as BODY_BYTES_MAX } from "./limits.ts"

export type Fields = Readonly<Record<string, unknown>>
export type BodyError = "body_bytes_max" | "not_json"

export function describeBodyError(error: BodyError): string {
  return error === "body_bytes_max" ? `a body has at most ${BODY_BYTES_MAX} bytes` : "the body is no JSON object"
}

/** A JSON object of bounded length, or why there is none. */
export async function readBody(
  request: IncomingMessage,
  bytesMax = BODY_BYTES_MAX,
): Promise<Result<Fields, BodyError>> {
  const chunks: Buffer[] = []
  let bytes = 0
  try {
    for await (const chunk of request) {
      // Proof: no encoding was set, so Node's stream hands out buffers.
      const buffer = chunk as Buffer
      bytes += buffer.length
      if (bytes > bytesMax) {
        return err("body_bytes_max")
      }
      chunks.push(buffer)
    }
    const value: unknown = JSON.parse(Buffer.concat(chunks).toString("utf8"))
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value)
    // Proof: an object that is no array has string keys, and its values are not assumed to be anything.
    return isObject ? ok(value as Fields) : err("not_json")
  } catch {
    // The client went away in the middle, or sent something else.
    return err("not_json")
  }
}
