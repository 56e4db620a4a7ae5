/**
 * HTTP for firmware: every answer has its length, HEAD and one range work, nothing redirects. What to answer is the
 * caller's; every bound of sockets, headers, bodies and time is here. Plane: control.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import { assert } from "../../appliance/types/assert.ts"
import { err, ok, type Result } from "../../appliance/types/result.ts"
import type { Logger } from "../log.ts"
import { type BindError, bindErrorOf } from "../udp.ts"
import {
  BODY_BYTES_MAX,
  CHECK_INTERVAL_MS,
  CONNECTIONS_MAX,
  HEADERS_BYTES_MAX,
  HEADERS_COUNT_MAX,
  HEADERS_MS_MAX,
  IDLE_MS_MAX,
  KEEP_ALIVE_MS,
  REQUEST_MS_MAX,
  RETRY_SECONDS_MAX,
  RETRY_SECONDS_MIN,
  TRANSFERS_MAX,
  TRANSFERS_URGENT_MAX,
  URL_BYTES_MAX,
} from "./limits.ts"
import { decideRange } from "./range.ts"

export type HTTPRequest = {
  readonly method: "GET" | "HEAD" | "POST"
  readonly path: string
  readonly query: URLSearchParams
  /** Empty but for POST. */
  readonly body: Uint8Array
  readonly remote_address: string
  readonly user_agent: string
}

export type HTTPResponse = {
  readonly status: number
  readonly content_type: string
  /** Sent as it is, by reference: one buffer serves all clients. */
  readonly body: Uint8Array
  readonly etag?: string
  readonly retry_seconds?: number
  /** An image file: at most TRANSFERS_MAX of these are on their way at once. */
  readonly is_image?: boolean
  /** One that goes first: TRANSFERS_URGENT_MAX more may be on their way. */
  readonly is_urgent?: boolean
  /** The last byte of a GET's whole body was handed to the network. */
  readonly on_sent?: () => void
}

export type HTTPCounters = {
  requests: number
  responses_2xx: number
  responses_4xx: number
  responses_5xx: number
  malformed: number
  body_too_large: number
  busy: number
  aborted: number
  accept_errors: number
  /** There were CONNECTIONS_MAX already. */
  connections_refused: number
  transfers_active: number
  bytes_sent: number
}

export type HTTPServerOptions = {
  readonly address: string
  readonly port: number
  readonly log: Logger
  /** Uniform over 32 bits; spreads retries. */
  readonly random: () => number
  /** Total: answers every request. */
  readonly handle: (request: HTTPRequest) => HTTPResponse | Promise<HTTPResponse>
}

export type HTTPServer = {
  readonly counters: HTTPCounters
  readonly port: number
  readonly close: () => Promise<void>
}

export async function startHTTPServer(options: HTTPServerOptions): Promise<Result<HTTPServer, BindError>> {
  const adapter = new HTTPAdapter(options)
  const server = createServer(
    {
      maxHeaderSize: HEADERS_BYTES_MAX,
      headersTimeout: HEADERS_MS_MAX,
      requestTimeout: REQUEST_MS_MAX,
      keepAliveTimeout: KEEP_ALIVE_MS,
      connectionsCheckingInterval: CHECK_INTERVAL_MS,
      noDelay: true,
    },
    (request, response) => adapter.onRequest(request, response),
  )
  server.maxHeadersCount = HEADERS_COUNT_MAX
  server.maxConnections = CONNECTIONS_MAX
  server.timeout = IDLE_MS_MAX
  server.on("drop", () => {
    adapter.counters.connections_refused += 1
  })
  server.on("clientError", (_error, socket) => {
    adapter.counters.malformed += 1
    if (socket.writable) {
      socket.end("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    } else {
      socket.destroy()
    }
  })
  const listening = await listen(server, options)
  if (!listening.ok) {
    return listening
  }
  server.on("error", (error) => {
    // Out of file descriptors, for one: those that are connected go on.
    adapter.counters.accept_errors += 1
    options.log.warn({ error: error.message }, "http: a connection could not be accepted")
  })
  const address = server.address()
  assert(address !== null && typeof address === "object", "http: a listening server has an address")
  return ok({ counters: adapter.counters, port: address.port, close: () => closeServer(server) })
}

function listen(server: Server, { address, port }: HTTPServerOptions): Promise<Result<undefined, BindError>> {
  const { promise, resolve } = Promise.withResolvers<Result<undefined, BindError>>()
  const onError = (error: Error): void => resolve(err(bindErrorOf(error, port)))
  server.once("error", onError)
  server.listen({ host: address, port, exclusive: true }, () => {
    server.removeListener("error", onError)
    resolve(ok(undefined))
  })
  return promise
}

function closeServer(server: Server): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  server.close(() => resolve())
  server.closeAllConnections()
  return promise
}

class HTTPAdapter {
  readonly counters: HTTPCounters = {
    requests: 0,
    responses_2xx: 0,
    responses_4xx: 0,
    responses_5xx: 0,
    malformed: 0,
    body_too_large: 0,
    busy: 0,
    aborted: 0,
    accept_errors: 0,
    connections_refused: 0,
    transfers_active: 0,
    bytes_sent: 0,
  }
  readonly #options: HTTPServerOptions

  constructor(options: HTTPServerOptions) {
    this.#options = options
  }

  onRequest(request: IncomingMessage, response: ServerResponse): void {
    this.counters.requests += 1
    // A connection that breaks is the client's affair; without a listener it would end the process.
    request.on("error", () => undefined)
    response.on("error", () => undefined)
    const { method } = request
    if (method !== "GET" && method !== "HEAD" && method !== "POST") {
      this.#send(request, response, textResponse(405, "only GET, HEAD and POST"))
      return
    }
    if (method !== "POST") {
      this.#handle(request, response, { method, body: new Uint8Array(0) })
      return
    }
    this.#readBody(request, response)
  }

  #readBody(request: IncomingMessage, response: ServerResponse): void {
    const chunks: Buffer[] = []
    let bytesTotal = 0
    request.on("data", (chunk: Buffer) => {
      bytesTotal += chunk.length
      if (bytesTotal <= BODY_BYTES_MAX) {
        chunks.push(chunk)
        return
      }
      if (!response.headersSent) {
        this.counters.body_too_large += 1
        response.shouldKeepAlive = false
        this.#send(request, response, textResponse(413, `body_bytes_max is ${BODY_BYTES_MAX}`))
        chunks.length = 0
      }
    })
    request.on("end", () => {
      if (!response.headersSent) {
        this.#handle(request, response, { method: "POST", body: Buffer.concat(chunks) })
      }
    })
  }

  #handle(
    request: IncomingMessage,
    response: ServerResponse,
    { method, body }: Pick<HTTPRequest, "method" | "body">,
  ): void {
    const target = request.url ?? ""
    const url = target.length <= URL_BYTES_MAX ? URL.parse(target, "http://boot.invalid") : null
    if (url === null) {
      this.#send(request, response, textResponse(414, `url_bytes_max is ${URL_BYTES_MAX}`))
      return
    }
    const answer = this.#options.handle({
      method,
      path: url.pathname,
      query: url.searchParams,
      body,
      // A socket that is already gone has no address any more.
      remote_address: request.socket.remoteAddress ?? "",
      user_agent: (request.headers["user-agent"] ?? "").slice(0, 128),
    })
    if (answer instanceof Promise) {
      // Total too: a rejection could only be a bug, and ends the process as one.
      void answer.then((late) => this.#send(request, response, late))
      return
    }
    if (answer.is_image !== true) {
      this.#send(request, response, answer)
      return
    }
    const transfersMax = TRANSFERS_MAX + (answer.is_urgent === true ? TRANSFERS_URGENT_MAX : 0)
    if (this.counters.transfers_active >= transfersMax) {
      this.counters.busy += 1
      const seconds = RETRY_SECONDS_MIN + (this.#options.random() % (RETRY_SECONDS_MAX - RETRY_SECONDS_MIN + 1))
      const busy = textResponse(503, `transfers_max is ${transfersMax}`)
      this.#send(request, response, { ...busy, retry_seconds: seconds })
      return
    }
    this.counters.transfers_active += 1
    response.on("close", () => {
      this.counters.transfers_active -= 1
      assert(this.counters.transfers_active >= 0, "http: a transfer ends once")
    })
    this.#send(request, response, answer)
  }

  #send(request: IncomingMessage, response: ServerResponse, answer: HTTPResponse): void {
    const bytesTotal = answer.body.length
    const { "if-range": ifRange, range: asked } = request.headers
    // A client that goes on with another version's file must get all of the new one.
    const isSameFile = ifRange === undefined || ifRange === answer.etag
    const isRanged = answer.status === 200 && answer.etag !== undefined && request.method !== "POST" && isSameFile
    const range = decideRange(isRanged ? asked : undefined, bytesTotal)
    const headers: Record<string, string | number> = {
      "Content-Type": answer.content_type,
      "Cache-Control": "no-store",
    }
    if (answer.etag !== undefined) {
      headers["ETag"] = answer.etag
      headers["Accept-Ranges"] = "bytes"
    }
    if (answer.retry_seconds !== undefined) {
      headers["Retry-After"] = answer.retry_seconds
    }
    let status = answer.status
    let body: Uint8Array = answer.body
    if (range.kind === "part") {
      status = 206
      headers["Content-Range"] = `bytes ${range.start}-${range.end - 1}/${bytesTotal}`
      body = answer.body.subarray(range.start, range.end)
    } else if (range.kind === "unsatisfiable") {
      status = 416
      headers["Content-Range"] = `bytes */${bytesTotal}`
      body = new Uint8Array(0)
    }
    headers["Content-Length"] = body.length
    this.#count(status)
    response.on("close", () => {
      if (!response.writableFinished) {
        this.counters.aborted += 1
        return
      }
      if (request.method !== "HEAD") {
        this.counters.bytes_sent += body.length
        // A client that resumes ends with a part that reaches the last byte.
        const isLastByteSent = status < 300 && (range.kind === "part" ? range.end : body.length) === bytesTotal
        if (isLastByteSent) {
          answer.on_sent?.()
        }
      }
    })
    response.writeHead(status, headers)
    response.end(request.method === "HEAD" ? undefined : body)
  }

  #count(status: number): void {
    if (status < 300) {
      this.counters.responses_2xx += 1
    } else if (status < 500) {
      this.counters.responses_4xx += 1
    } else {
      this.counters.responses_5xx += 1
    }
  }
}

const ENCODER = new TextEncoder()

export function textResponse(status: number, text: string): HTTPResponse {
  return { status, content_type: "text/plain; charset=utf-8", body: ENCODER.encode(`${text}\n`) }
}

export function jsonResponse(status: number, value: unknown): HTTPResponse {
  return { status, content_type: "application/json", body: ENCODER.encode(`${JSON.stringify(value)}\n`) }
}
