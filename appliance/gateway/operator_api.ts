/**
 * The operator API: what the `mandala` commands, dashboards and probes ask. Plain HTTP and read-only in this part: who
 * reaches the port may read it. Nothing secret is in any answer. Plane: control.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import { assert } from "../types/assert.ts"
import { err, ok, type Result } from "../types/result.ts"
import type { Gateway } from "./gateway.ts"
import {
  API_CONNECTIONS_MAX,
  API_HEADER_BYTES_MAX,
  API_HEADERS_MAX,
  API_HEADERS_TIMEOUT_MS,
  API_KEEP_ALIVE_MS,
  API_REQUEST_TIMEOUT_MS,
  API_REQUESTS_PER_SOCKET_MAX,
} from "./limits.ts"
import { type ListenError, listen } from "./listen.ts"
import { readMachines } from "./machines_reader.ts"
import { METRICS_CONTENT_TYPE, metricsText } from "./metrics.ts"
import type { ReplicaPort } from "./port.ts"
import { API_SCHEMA, type ErrorDocument, isHealthy, machinesDocument, statusDocument } from "./status_document.ts"

export type OperatorAPIOptions = {
  readonly host: string
  readonly port: number
  readonly gateway: Gateway
  readonly replica: Pick<ReplicaPort, "info">
}

export type OperatorAPI = { readonly port: number; readonly close: () => Promise<void> }

type Answer = {
  readonly status: number
  readonly type: string
  readonly text: string
  readonly headers?: Readonly<Record<string, string>>
}

const JSON_TYPE = "application/json; charset=utf-8"
const TEXT_TYPE = "text/plain; charset=utf-8"

export async function listenOperatorAPI(options: OperatorAPIOptions): Promise<Result<OperatorAPI, ListenError>> {
  const server = createServer(
    {
      maxHeaderSize: API_HEADER_BYTES_MAX,
      headersTimeout: API_HEADERS_TIMEOUT_MS,
      requestTimeout: API_REQUEST_TIMEOUT_MS,
      keepAliveTimeout: API_KEEP_ALIVE_MS,
      connectionsCheckingInterval: API_HEADERS_TIMEOUT_MS,
    },
    (request, response) => {
      // Every failure is an answer already: what is left could only be a bug, and ends the process as one.
      void handle(options, request, response)
    },
  )
  server.maxConnections = API_CONNECTIONS_MAX
  server.maxHeadersCount = API_HEADERS_MAX
  server.maxRequestsPerSocket = API_REQUESTS_PER_SOCKET_MAX
  const problem = await listen(server, options)
  if (problem !== undefined) {
    return err(problem)
  }
  const address = server.address()
  assert(address !== null && typeof address === "object", "operator api: a TCP server has a port")
  return ok({ port: address.port, close: () => close(server) })
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
    server.closeAllConnections()
  })
}

async function handle(options: OperatorAPIOptions, request: IncomingMessage, response: ServerResponse): Promise<void> {
  // A client that went away in the middle: there is nobody left to tell.
  response.on("error", () => undefined)
  const hasBody =
    (request.headers["content-length"] ?? "0") !== "0" || request.headers["transfer-encoding"] !== undefined
  const answer = hasBody ? refusal(413, "body_bytes_max", "a request has no body") : await route(options, request)
  const body = Buffer.from(answer.text)
  response.writeHead(answer.status, {
    "content-type": answer.type,
    "content-length": body.length,
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    // Whatever else such a client sends is not read.
    ...(hasBody ? { connection: "close" } : {}),
    ...answer.headers,
  })
  response.end(request.method === "HEAD" ? undefined : body)
}

async function route(options: OperatorAPIOptions, request: IncomingMessage): Promise<Answer> {
  const { gateway, replica } = options
  const [path = ""] = (request.url ?? "").split("?", 1)
  if (request.method !== "GET" && request.method !== "HEAD") {
    return { ...refusal(405, "method_not_allowed", "only GET and HEAD are served"), headers: { allow: "GET, HEAD" } }
  }
  switch (path) {
    case "/v1/status":
      return json(200, statusDocument(replica.info(), gateway.status()))
    case "/v1/machines":
      return machines(options)
    case "/healthz":
      return health(options)
    case "/metrics":
      return { status: 200, type: METRICS_CONTENT_TYPE, text: metricsText(replica.info(), gateway.status()) }
    default:
      return refusal(404, "not_found", "there are /v1/status, /v1/machines, /healthz and /metrics")
  }
}

async function machines({ gateway, replica }: OperatorAPIOptions): Promise<Answer> {
  const read = await readMachines(gateway)
  return read.ok
    ? json(200, machinesDocument(read.value, replica.info()))
    : refusal(503, read.error.kind, read.error.text)
}

function health({ replica }: OperatorAPIOptions): Answer {
  const info = replica.info()
  if (isHealthy(info)) {
    return { status: 200, type: TEXT_TYPE, text: "ok\n" }
  }
  const primary = info.primary_slot < 0 ? "no primary known" : `primary in slot ${info.primary_slot}`
  const text = `not healthy: status ${info.status}, ${primary}, quorum margin ${info.quorum_margin}\n`
  return { status: 503, type: TEXT_TYPE, text }
}

function json(status: number, document: object): Answer {
  return { status, type: JSON_TYPE, text: `${JSON.stringify(document)}\n` }
}

function refusal(status: number, kind: string, text: string): Answer {
  const document: ErrorDocument = { schema: API_SCHEMA, error: { kind, text } }
  return json(status, document)
}
