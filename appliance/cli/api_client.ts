/** Asks a machine's operator API for one document, with bounded tries in a bounded time. Plane: control. */
import { API_SCHEMA } from "../gateway/status_document.ts"
import { unreachable } from "../types/assert.ts"
import { err, ok, type Result } from "../types/result.ts"
import type { Credentials } from "./config_store.ts"
import { ExitCode } from "./exit_codes.ts"
import { type JSONObject, numberAt, objectAt, parseObject, textAt } from "./json.ts"
import { API_PORT, ATTEMPT_PAUSE_MS, ATTEMPTS_MAX, RESPONSE_BYTES_MAX } from "./limits.ts"
import { openRequest } from "./transport.ts"

export type APIError = {
  readonly kind: "unreachable" | "timeout" | "not_found" | "degraded" | "conflict" | "denied" | "failed"
  /** One line that says what to do. */
  readonly text: string
}

export type EndpointError = { readonly kind: "endpoint"; readonly text: string }

export type EndpointSources = {
  readonly flag: string | undefined
  readonly environment: string | undefined
  /** The name of that environment variable. */
  readonly variable: string
  /** What the context says. */
  readonly kept: string | undefined
  /** There is a key: then an endpoint without a scheme means TLS. */
  readonly isSecured: boolean
}

/** Flag before environment before the context's file before this machine. */
export function chooseEndpoint(sources: EndpointSources): Result<URL, EndpointError> {
  const { flag, environment, variable, kept, isSecured } = sources
  const isSet = environment !== undefined && environment !== ""
  const text = flag ?? (isSet ? environment : (kept ?? `127.0.0.1:${API_PORT}`))
  const from = flag !== undefined ? "--endpoint" : isSet ? variable : "the context's endpoint"
  const scheme = isSecured ? "https" : "http"
  const url = URL.parse(text.includes("://") ? text : `${scheme}://${text}`)
  if (url === null || !["http:", "https:"].includes(url.protocol) || url.hostname === "") {
    return err({ kind: "endpoint", text: `${from} '${text}' is no address: give ${scheme}://HOST:PORT` })
  }
  // Ports 80 and 443 are what a URL without one means, and never what is meant here.
  if (url.port === "" && !/:(80|443)$/.test(text.replace(/\/+$/, ""))) {
    url.port = String(API_PORT)
  }
  return ok(url)
}

export type FetchOptions = {
  readonly endpoint: URL
  readonly credentials: Credentials | undefined
  readonly path: string
  readonly timeoutMs: number
  /** Sent as JSON with POST; without it the request is a GET. */
  readonly body?: JSONObject
}

export async function fetchDocument(options: FetchOptions): Promise<Result<JSONObject, APIError>> {
  const signal = AbortSignal.timeout(options.timeoutMs)
  let last: APIError = { kind: "unreachable", text: "not tried" }
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt += 1) {
    if (attempt > 0) {
      await new Promise((resolve) => setTimeout(resolve, ATTEMPT_PAUSE_MS))
    }
    const fetched = await fetchOnce(options, signal)
    if (fetched.ok || fetched.error.kind !== "unreachable") {
      return fetched
    }
    last = fetched.error
  }
  return err(last)
}

async function fetchOnce(
  { endpoint, credentials, path, timeoutMs, body }: FetchOptions,
  signal: AbortSignal,
): Promise<Result<JSONObject, APIError>> {
  const where = endpoint.origin
  let status: number
  let text: string | undefined
  try {
    const sent = body === undefined ? undefined : JSON.stringify(body)
    const method = body === undefined ? "GET" : "POST"
    const response = await openRequest({ url: new URL(path, endpoint), method, body: sent, credentials, signal })
    status = response.statusCode ?? 0
    text = await readText(response)
  } catch (error: unknown) {
    if (signal.aborted) {
      return err({
        kind: "timeout",
        text: `${where} did not answer within ${timeoutMs / 1000} s: is its cluster stuck?`,
      })
    }
    return err({
      kind: "unreachable",
      text: `${where} does not answer (${reasonOf(error)}): check the machine and --endpoint`,
    })
  }
  const document = text === undefined ? undefined : parseObject(text)
  if (document === undefined) {
    return err({
      kind: "failed",
      text: `${where} answered ${status} with something else than our JSON: is it a Mandala machine?`,
    })
  }
  if (numberAt(document, "schema") !== API_SCHEMA) {
    const schema = numberAt(document, "schema") ?? "none"
    return err({
      kind: "failed",
      text: `${where} speaks schema ${schema}, this command ${API_SCHEMA}: use the same version`,
    })
  }
  return status === 200 ? ok(document) : err(apiErrorOf(status, document, where))
}

/** Undefined: longer than RESPONSE_BYTES_MAX. */
async function readText(response: AsyncIterable<Uint8Array>): Promise<string | undefined> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of response) {
    bytes += chunk.length
    if (bytes > RESPONSE_BYTES_MAX) {
      return undefined
    }
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString("utf8")
}

/** The innermost error says it best. */
function reasonOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
  if (cause instanceof Error) {
    return "code" in cause && typeof cause.code === "string" ? cause.code : cause.message
  }
  return String(cause)
}

/** An answer that is not 200, in a line for whoever asked. */
export function apiErrorOf(status: number, document: JSONObject, where: string): APIError {
  const said = textAt(objectAt(document, "error"), "text") ?? `HTTP ${status}`
  const text = `${where}: ${said}`
  switch (status) {
    case 401:
    case 403:
      return { kind: "denied", text }
    case 404:
      return { kind: "not_found", text }
    case 409:
      return { kind: "conflict", text }
    case 503:
      return { kind: "degraded", text }
    default:
      return { kind: "failed", text }
  }
}

export function exitCodeOf(error: APIError): ExitCode {
  switch (error.kind) {
    case "unreachable":
      return ExitCode.unreachable
    case "timeout":
      return ExitCode.timeout
    case "not_found":
      return ExitCode.not_found
    case "degraded":
      return ExitCode.degraded
    case "conflict":
      return ExitCode.conflict
    case "denied":
    case "failed":
      return ExitCode.failed
    default:
      return unreachable(error.kind)
  }
}
