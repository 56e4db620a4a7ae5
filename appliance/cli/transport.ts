/**
 * One HTTP request to a machine: over TLS 1.3 with an operator's key, and only to whom the same authority vouches for;
 * in plain where the endpoint says http. Plane: control.
 */
import { type IncomingMessage, request as requestPlain } from "node:http"
import { request as requestTLS } from "node:https"
import { identityOfNames } from "../keys/identity.ts"
import type { Credentials } from "./config_store.ts"

export type Request = {
  readonly url: URL
  readonly method: "GET" | "POST"
  readonly body: string | undefined
  readonly credentials: Credentials | undefined
  readonly signal: AbortSignal
}

/** The answer, of which nothing but the head has been read; rejects when there is none. */
export function openRequest({ url, method, body, credentials, signal }: Request): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { "content-length": Buffer.byteLength(body) }
    const options = { method, headers, signal, agent: false }
    const outgoing =
      credentials === undefined
        ? requestPlain(url, options, resolve)
        : requestTLS(url, { ...options, ...securedOptions(credentials) }, resolve)
    outgoing.on("error", reject)
    outgoing.end(body)
  })
}

export function securedOptions({ authority: ca, certificate: cert, key }: Credentials) {
  return { ca, cert, key, minVersion: "TLSv1.3", rejectUnauthorized: true, checkServerIdentity: judgeServer } as const
}

/** Machines have no names here: what counts is that our authority says it is a machine, or a boot server. */
function judgeServer(_host: string, certificate: { readonly subjectaltname?: string }): Error | undefined {
  const kind = identityOfNames(certificate.subjectaltname)?.kind
  return kind === "machine" || kind === "server" ? undefined : new Error("its certificate is not that of a machine")
}
