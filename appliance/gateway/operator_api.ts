/**
 * The operator API: what the `mandala` commands, dashboards and probes ask. Over TLS with an operator's key, whose role
 * says how far it goes; only whether the machine is healthy is told to everybody. Plane: control.
 */
import type { IncomingMessage, Server, ServerResponse } from "node:http"
import type { OperatorRole } from "../keys/identity.ts"
import { parseSignedRoster, type SignedRoster } from "../keys/roster.ts"
import { assert } from "../types/assert.ts"
import { err, ok, type Result } from "../types/result.ts"
import {
  type APICounters,
  type APISecurity,
  createAPIServer,
  isKnown,
  judgeAccess,
  noAPICounters,
} from "./api_access.ts"
import { readBody } from "./api_body.ts"
import { answerArchive, type ArchivePort, isArchivePath, isArchiveRead } from "./archive_api.ts"
import type { Gateway } from "./gateway.ts"
import { API_ROSTER_BYTES_MAX } from "./limits.ts"
import { type ListenError, listen } from "./listen.ts"
import { readMachines } from "./machines_reader.ts"
import { answerMembers, isMembersPath, type MembersPort } from "./members_api.ts"
import { METRICS_CONTENT_TYPE, metricsText } from "./metrics.ts"
import { answerPassword, PASSWORD_PATH } from "./password_api.ts"
import type { ReplicaPort } from "./port.ts"
import { SalvageAnswers } from "./salvage_answer.ts"
import { API_SCHEMA, errorDocument, isHealthy, machinesDocument, statusDocument } from "./status_document.ts"

export type OperatorAPIOptions = {
  readonly host: string
  readonly port: number
  readonly gateway: Gateway
  readonly replica: Pick<ReplicaPort, "info" | "salvage">
  readonly members: MembersPort
  readonly roster: RosterPort
  readonly archive: ArchivePort
  readonly security: APISecurity | undefined
}

/** What the process host does with a roster. */
export interface RosterPort {
  learnRoster(roster: SignedRoster): string
}

export type OperatorAPI = {
  readonly port: number
  readonly counters: Readonly<APICounters>
  readonly close: () => Promise<void>
}

type Answer = {
  readonly status: number
  readonly type: string
  readonly text: string
  readonly headers?: Readonly<Record<string, string>>
}

const ROSTER_PATH = "/v1/roster"
const JSON_TYPE = "application/json; charset=utf-8"
const TEXT_TYPE = "text/plain; charset=utf-8"

export async function listenOperatorAPI(options: OperatorAPIOptions): Promise<Result<OperatorAPI, ListenError>> {
  const salvages = new SalvageAnswers(options.replica)
  const counters = noAPICounters()
  const server = createAPIServer(options.security, counters, (request, response) => {
    counters.requests += 1
    // Every failure is an answer already: what is left could only be a bug, and ends the process as one.
    void handle(options, { salvages, counters }, request, response)
  })
  const problem = await listen(server, options)
  if (problem !== undefined) {
    return err(problem)
  }
  const address = server.address()
  assert(address !== null && typeof address === "object", "operator api: a TCP server has a port")
  return ok({ port: address.port, counters, close: () => close(server) })
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
    server.closeAllConnections()
  })
}

async function handle(
  options: OperatorAPIOptions,
  { salvages, counters }: { readonly salvages: SalvageAnswers; readonly counters: APICounters },
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  // A client that went away in the middle: there is nobody left to tell.
  response.on("error", () => undefined)
  const url = urlOf(request)
  if (url.pathname === ROSTER_PATH && isKnown(options.security, request)) {
    send(request, response, { ...(await learnRoster(options, request)), headers: { connection: "close" } })
    return
  }
  const needed = isArchiveRead(url.pathname, request.method) ? "viewer" : roleFor(url.pathname)
  const access = needed === undefined ? undefined : judgeAccess(options.security, request, needed)
  if (access?.ok === false) {
    const { status, kind, text } = access.error
    counters[status === 401 ? "unauthenticated" : "forbidden"] += 1
    send(request, response, { ...refusal(status, kind, text), headers: { connection: "close" } })
    return
  }
  if (request.method === "GET" && url.pathname === "/v1/salvage" && !hasBodyOf(request)) {
    await salvages.answer(response, url.searchParams.get("force") === "1")
    return
  }
  if (isArchivePath(url.pathname)) {
    await answerArchive(options, { url, request, response })
    return
  }
  if (url.pathname === PASSWORD_PATH) {
    const { status, document } = await answerPassword(request, options.gateway)
    send(request, response, { ...json(status, document), headers: { connection: "close" } })
    return
  }
  if (isMembersPath(url.pathname)) {
    const { status, document } = await answerMembers(url.pathname, request, options.members)
    send(request, response, { ...json(status, document), headers: { connection: "close" } })
    return
  }
  const hasBody = hasBodyOf(request)
  const answer = hasBody ? refusal(413, "body_bytes_max", "a request has no body") : await route(options, request)
  // Whatever else such a client sends is not read.
  send(request, response, hasBody ? { ...answer, headers: { ...answer.headers, connection: "close" } } : answer)
}

/** Signed by the authority, or nothing: who brings it does not matter. */
async function learnRoster({ roster }: OperatorAPIOptions, request: IncomingMessage): Promise<Answer> {
  const body = await readBody(request, API_ROSTER_BYTES_MAX)
  const signed = body.ok ? parseSignedRoster(body.value) : undefined
  if (signed === undefined) {
    return refusal(400, "bad_roster", "a roster is its text and its signature, by POST")
  }
  const outcome = roster.learnRoster(signed)
  const isTaken = outcome === "newer" || outcome === "older"
  return isTaken
    ? json(200, { schema: API_SCHEMA, outcome })
    : refusal(409, outcome, "this roster is not believed here")
}

/** What it takes to ask for a path; undefined: nothing, so that a probe needs no key. */
function roleFor(path: string): OperatorRole | undefined {
  if (path === "/healthz") {
    return undefined
  }
  if (path === "/v1/salvage" || path === PASSWORD_PATH || isArchivePath(path)) {
    // All that the machine holds, and the way to it.
    return "admin"
  }
  return isMembersPath(path) ? "operator" : "viewer"
}

function send(request: IncomingMessage, response: ServerResponse, answer: Answer): void {
  const body = Buffer.from(answer.text)
  response.writeHead(answer.status, {
    "content-type": answer.type,
    "content-length": body.length,
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    ...answer.headers,
  })
  response.end(request.method === "HEAD" ? undefined : body)
}

function hasBodyOf(request: IncomingMessage): boolean {
  return (request.headers["content-length"] ?? "0") !== "0" || request.headers["transfer-encoding"] !== undefined
}

/** Only the path and the query count; what is no path is one that there is not. */
function urlOf(request: IncomingMessage): URL {
  return URL.parse(request.url ?? "", "http://machine") ?? new URL("http://machine/none")
}

async function route(options: OperatorAPIOptions, request: IncomingMessage): Promise<Answer> {
  const { gateway, replica } = options
  if (request.method !== "GET" && request.method !== "HEAD") {
    return { ...refusal(405, "method_not_allowed", "only GET and HEAD are served"), headers: { allow: "GET, HEAD" } }
  }
  switch (urlOf(request).pathname) {
    case "/v1/status":
      return json(200, statusDocument(replica.info(), gateway.status()))
    case "/v1/machines":
      return machines(options)
    case "/healthz":
      return health(options)
    case "/metrics":
      return { status: 200, type: METRICS_CONTENT_TYPE, text: metricsText(replica.info(), gateway.status()) }
    default:
      return refusal(
        404,
        "not_found",
        "there are /v1/status, /v1/machines, /v1/members, /v1/password, /v1/salvage, /v1/image, /v1/exports, " +
          "/v1/restore, " +
          "/healthz and /metrics",
      )
  }
}

async function machines({ gateway, replica }: OperatorAPIOptions): Promise<Answer> {
  const read = await readMachines(gateway)
  if (read.ok) {
    return json(200, machinesDocument(read.value, replica.info()))
  }
  const { outage } = replica.info()
  return outage === undefined
    ? refusal(503, read.error.kind, read.error.text)
    : refusal(503, outage.kind, `${outage.text}; nothing is read from the past`)
}

function health({ replica }: OperatorAPIOptions): Answer {
  const info = replica.info()
  if (isHealthy(info)) {
    return { status: 200, type: TEXT_TYPE, text: "ok\n" }
  }
  const primary = info.primary_slot < 0 ? "no primary known" : `primary in slot ${info.primary_slot}`
  const outage = info.outage === undefined ? "" : `, ${info.outage.kind}: ${info.outage.text}`
  const text = `not healthy: status ${info.status}, ${primary}, quorum margin ${info.quorum_margin}${outage}\n`
  return { status: 503, type: TEXT_TYPE, text }
}

function json(status: number, document: object): Answer {
  return { status, type: JSON_TYPE, text: `${JSON.stringify(document)}\n` }
}

function refusal(status: number, kind: string, text: string): Answer {
  return json(status, errorDocument(kind, text))
}
