/**
 * Who is at the other end of an operator's connection, and what that one may do: TLS 1.3, a key of our authority, and
 * the role that stands in its certificate. Plane: control.
 */
import { createServer as createPlainServer, type IncomingMessage, type RequestListener, type Server } from "node:http"
import { createServer as createTLSServer } from "node:https"
import { TLSSocket } from "node:tls"
import { OPERATOR_ROLES, type OperatorRole } from "../keys/identity.ts"
import type { Trust } from "../keys/trust.ts"
import { err, ok, type Result } from "../types/result.ts"
import {
  API_CONNECTIONS_MAX,
  API_HEADER_BYTES_MAX,
  API_HEADERS_MAX,
  API_HEADERS_TIMEOUT_MS,
  API_KEEP_ALIVE_MS,
  API_REQUEST_TIMEOUT_MS,
  API_REQUESTS_PER_SOCKET_MAX,
} from "./limits.ts"

/** Undefined where links are plain, by an explicit option: then everybody is an admin, over plain HTTP. */
export type APISecurity = {
  readonly trust: Pick<Trust, "identify">
  readonly authority: string
  readonly certificate: string
  readonly key: string
}

export type AccessError = {
  readonly status: 401 | 403
  readonly kind: "no_certificate" | "wrong_authority" | "expired" | "no_operator" | "role"
  readonly text: string
}

export type APICounters = {
  requests: number
  /** Without a key of ours, and with one whose role does not allow it. */
  unauthenticated: number
  forbidden: number
  /** Connections that came to no handshake: plain HTTP, an older TLS, noise, or nothing in time. */
  handshakes_failed: number
}

export function noAPICounters(): APICounters {
  return { requests: 0, unauthenticated: 0, forbidden: 0, handshakes_failed: 0 }
}

/** Every bound of an operator's connection; a handshake must be over as soon as a request's head. */
export function createAPIServer(
  security: APISecurity | undefined,
  counters: APICounters,
  listener: RequestListener,
): Server {
  const bounds = {
    maxHeaderSize: API_HEADER_BYTES_MAX,
    headersTimeout: API_HEADERS_TIMEOUT_MS,
    requestTimeout: API_REQUEST_TIMEOUT_MS,
    keepAliveTimeout: API_KEEP_ALIVE_MS,
    connectionsCheckingInterval: API_HEADERS_TIMEOUT_MS,
  }
  const server = security === undefined ? createPlainServer(bounds, listener) : secured(security, bounds, listener)
  server.maxConnections = API_CONNECTIONS_MAX
  server.maxHeadersCount = API_HEADERS_MAX
  server.maxRequestsPerSocket = API_REQUESTS_PER_SOCKET_MAX
  server.on("tlsClientError", (_error: Error, socket: TLSSocket) => {
    counters.handshakes_failed += 1
    socket.destroy()
  })
  return server
}

function secured(security: APISecurity, bounds: object, listener: RequestListener): Server {
  const { authority: ca, certificate: cert, key } = security
  return createTLSServer(
    {
      ...bounds,
      ca,
      cert,
      key,
      minVersion: "TLSv1.3",
      requestCert: true,
      // Who brings none is told so in words.
      rejectUnauthorized: false,
      handshakeTimeout: API_HEADERS_TIMEOUT_MS,
    },
    listener,
  )
}

/** The role of whoever asks, when it is `needed` at least. */
export function judgeAccess(
  security: APISecurity | undefined,
  request: IncomingMessage,
  needed: OperatorRole,
): Result<OperatorRole, AccessError> {
  if (security === undefined) {
    return ok("admin")
  }
  const { socket } = request
  const certificate = socket instanceof TLSSocket && socket.authorized ? socket.getPeerX509Certificate() : undefined
  const hasOne = socket instanceof TLSSocket && socket.getPeerX509Certificate() !== undefined
  const identified = security.trust.identify(certificate)
  if (!identified.ok || identified.value.kind !== "operator") {
    return err(accessError(identified.ok ? "no_operator" : hasOne ? refusedKind(socket) : "no_certificate"))
  }
  const { name, role } = identified.value
  if (OPERATOR_ROLES.indexOf(role) < OPERATOR_ROLES.indexOf(needed)) {
    return err({ status: 403, kind: "role", text: `${name} is ${role}, and this needs ${needed}` })
  }
  return ok(role)
}

/** A key of our authority, whoever's: what such a one brings is judged by itself. */
export function isKnown(security: APISecurity | undefined, request: IncomingMessage): boolean {
  const { socket } = request
  const certificate = socket instanceof TLSSocket && socket.authorized ? socket.getPeerX509Certificate() : undefined
  return security !== undefined && security.trust.identify(certificate).ok
}

function refusedKind(socket: IncomingMessage["socket"]): "wrong_authority" | "expired" {
  const why = socket instanceof TLSSocket ? String(socket.authorizationError) : ""
  return why === "CERT_HAS_EXPIRED" || why === "CERT_NOT_YET_VALID" ? "expired" : "wrong_authority"
}

function accessError(kind: Exclude<AccessError["kind"], "role">): AccessError {
  switch (kind) {
    case "no_certificate":
      return { status: 401, kind, text: "this needs an operator's key: choose a context with 'mandala config use'" }
    case "wrong_authority":
      return { status: 401, kind, text: "that key is of another authority: choose a context of this site" }
    case "expired":
      return { status: 401, kind, text: "that key's time is over: have the boot server make another" }
    case "no_operator":
      return { status: 403, kind, text: "that key is a machine's, not an operator's" }
  }
}
