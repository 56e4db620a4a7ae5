/** Exports and restores over the operator API: many small requests over few connections. Plane: control. */
import { Agent as PlainAgent, type IncomingMessage, request as requestPlain } from "node:http"
import { Agent as TLSAgent, request as requestTLS } from "node:https"
import type { PieceError } from "../archive/image_copy.ts"
import type { Wanted } from "../replication/checkpoint_transfer.ts"
import type { Piece } from "../replication/state_image.ts"
import { err, ok, type Result } from "../types/result.ts"
import { type APIError, apiErrorOf } from "./api_client.ts"
import { type JSONObject, objectAt, parseObject, textAt } from "./json.ts"
import { IMAGE_ATTEMPT_PAUSE_MS, IMAGE_ATTEMPTS_MAX, IMAGE_CONNECTIONS_MAX, IMAGE_PIECE_BYTES_MAX } from "./limits.ts"
import type { Target } from "./target.ts"
import { securedOptions } from "./transport.ts"

type Answered = { readonly status: number; readonly headers: IncomingMessage["headers"]; readonly body: Buffer }

export class ImageClient {
  readonly #target: Target
  readonly #timeoutMs: number
  readonly #agent: PlainAgent | TLSAgent

  constructor(target: Target, timeoutMs: number) {
    this.#target = target
    this.#timeoutMs = timeoutMs
    const options = { keepAlive: true, maxSockets: IMAGE_CONNECTIONS_MAX }
    const { credentials } = target
    this.#agent =
      credentials === undefined ? new PlainAgent(options) : new TLSAgent({ ...options, ...securedOptions(credentials) })
  }

  close(): void {
    this.#agent.destroy()
  }

  async get(path: string): Promise<Result<JSONObject, APIError>> {
    return this.#document(await this.#ask("GET", path, undefined))
  }

  async post(path: string, body: JSONObject | Uint8Array): Promise<Result<JSONObject, APIError>> {
    const bytes = body instanceof Uint8Array ? Buffer.from(body.buffer, body.byteOffset, body.length) : undefined
    return this.#document(await this.#ask("POST", path, bytes ?? Buffer.from(JSON.stringify(body))))
  }

  /** A piece of the image; what is not there just now is asked for again later. */
  async piece(wanted: Wanted): Promise<Result<Piece, PieceError>> {
    const { part, index, mask_low, mask_high } = wanted
    const path = `/v1/image?part=${part}&index=${index}&low=${mask_low}&high=${mask_high}`
    const answered = await this.#ask("GET", path, undefined)
    if (!answered.ok) {
      return err({ kind: "failed", text: answered.error.text })
    }
    const { status, headers, body } = answered.value
    if (status !== 200) {
      const text = textAt(objectAt(parseObject(body.toString("utf8")), "error"), "text") ?? `HTTP ${status}`
      return err({ kind: status === 503 ? "later" : "failed", text })
    }
    const number = (name: string): number => Number(headers[`mandala-${name}`] ?? Number.NaN)
    const text = (name: string): string => String(headers[`mandala-${name}`] ?? "")
    const piece = {
      op: number("op"),
      op_checksum: text("op-checksum"),
      root: text("root"),
      mask_low: number("low"),
      mask_high: number("high"),
      body,
    }
    const isWhole = [piece.op, piece.mask_low, piece.mask_high].every((value) => Number.isSafeInteger(value))
    return isWhole ? ok(piece) : err({ kind: "failed", text: "what came is no piece of a state" })
  }

  #document(answered: Result<Answered, APIError>): Result<JSONObject, APIError> {
    if (!answered.ok) {
      return answered
    }
    const { status, body } = answered.value
    const document = parseObject(body.toString("utf8"))
    if (document === undefined) {
      return err({ kind: "failed", text: `${this.#target.endpoint.origin} answered with something else than JSON` })
    }
    return status === 200 ? ok(document) : err(apiErrorOf(status, document, this.#target.endpoint.origin))
  }

  /** Tried again where the connection broke: everything that is asked here may be asked twice. */
  async #ask(method: "GET" | "POST", path: string, body: Buffer | undefined): Promise<Result<Answered, APIError>> {
    let last = "not tried"
    for (let attempt = 0; attempt < IMAGE_ATTEMPTS_MAX; attempt += 1) {
      try {
        return ok(await this.#once(method, path, body))
      } catch (cause) {
        last = cause instanceof Error ? cause.message : String(cause)
      }
      await new Promise((resolve) => setTimeout(resolve, IMAGE_ATTEMPT_PAUSE_MS))
    }
    const { origin } = this.#target.endpoint
    return err({ kind: "unreachable", text: `${origin} does not answer (${last}): check the machine and --endpoint` })
  }

  #once(method: "GET" | "POST", path: string, body: Buffer | undefined): Promise<Answered> {
    const url = new URL(path, this.#target.endpoint)
    const headers = body === undefined ? {} : { "content-length": body.length }
    const signal = AbortSignal.timeout(this.#timeoutMs)
    return new Promise((resolve, reject) => {
      const onAnswer = (response: IncomingMessage): void => {
        const chunks: Buffer[] = []
        let bytes = 0
        response.on("data", (chunk: Buffer) => {
          bytes += chunk.length
          chunks.push(chunk)
          if (bytes > IMAGE_PIECE_BYTES_MAX) {
            response.destroy(new Error(`an answer has more than ${IMAGE_PIECE_BYTES_MAX} bytes`))
          }
        })
        response.on("error", reject)
        response.on("end", () => {
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) })
        })
      }
      const options = { method, headers, signal, agent: this.#agent }
      const outgoing =
        this.#target.credentials === undefined
          ? requestPlain(url, options, onAnswer)
          : requestTLS(url, options, onAnswer)
      outgoing.on("error", reject)
      outgoing.end(body)
    })
  }
}
