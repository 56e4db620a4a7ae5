/**
 * The boot server's operator API: which machines were seen, and what is decided about them. The decisions themselves
 * are the boot server's; this is their door. Plane: control.
 */
import type { IncomingMessage, ServerResponse } from "node:http"
import { assert } from "../types/assert.ts"
import { err, ok, type Result } from "../types/result.ts"
import { type APISecurity, createAPIServer, judgeAccess, noAPICounters } from "./api_access.ts"
import { describeBodyError, readBody } from "./api_body.ts"
import { type ListenError, listen } from "./listen.ts"
import { API_SCHEMA, errorDocument } from "./status_document.ts"

/** What the boot server offers (pxe/admission_desk.ts fits as it is). */
export interface AdmissionPort {
  list(): readonly object[]
  act(
    action: "accept" | "refuse" | "expel",
    machine: string,
    isForced: boolean,
  ): Result<object, { readonly kind: string; readonly text: string }>
}

export type AdmissionAPIOptions = {
  readonly host: string
  readonly port: number
  readonly security: APISecurity
  readonly desk: AdmissionPort
}

export type AdmissionAPI = { readonly port: number; readonly close: () => Promise<void> }

const PATH = "/v1/machine"

export async function listenAdmissionAPI(options: AdmissionAPIOptions): Promise<Result<AdmissionAPI, ListenError>> {
  const server = createAPIServer(options.security, noAPICounters(), (request, response) => {
    // Every failure is an answer already: what is left could only be a bug, and ends the process as one.
    void handle(options, request, response)
  })
  const problem = await listen(server, options)
  if (problem !== undefined) {
    return err(problem)
  }
  const address = server.address()
  assert(address !== null && typeof address === "object", "admission api: a TCP server has a port")
  const close = async (): Promise<void> => {
    await new Promise<void>((resolve) => {
      server.close(() => resolve())
      server.closeAllConnections()
    })
  }
  return ok({ port: address.port, close })
}

async function handle(
  { security, desk }: AdmissionAPIOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  response.on("error", () => undefined)
  const path = (request.url ?? "").split("?")[0]
  const access = judgeAccess(security, request, request.method === "GET" ? "viewer" : "operator")
  if (!access.ok) {
    const { status, kind, text } = access.error
    send(response, status, errorDocument(kind, text))
    return
  }
  if (path !== PATH) {
    send(response, 404, errorDocument("not_found", `a boot server has ${PATH}; ask a machine of the cluster`))
    return
  }
  if (request.method === "GET") {
    send(response, 200, { schema: API_SCHEMA, machines: desk.list() })
    return
  }
  if (request.method !== "POST") {
    send(response, 405, errorDocument("method_not_allowed", `${PATH} takes GET and POST`))
    return
  }
  const body = await readBody(request)
  if (!body.ok) {
    send(
      response,
      body.error === "body_bytes_max" ? 413 : 400,
      errorDocument(body.error, describeBodyError(body.error)),
    )
    return
  }
  const { action, machine, force } = body.value
  if ((action !== "accept" && action !== "refuse" && action !== "expel") || typeof machine !== "string") {
    send(
      response,
      400,
      errorDocument("bad_field", "action is accept, refuse or expel; machine is its hardware address"),
    )
    return
  }
  const needed = judgeAccess(security, request, action === "expel" ? "admin" : "operator")
  if (!needed.ok) {
    send(response, needed.error.status, errorDocument(needed.error.kind, needed.error.text))
    return
  }
  const done = desk.act(action, machine, force === true)
  if (done.ok) {
    send(response, 200, { schema: API_SCHEMA, machines: [done.value] })
  } else {
    const { kind, text } = done.error
    send(response, kind === "not_a_machine" ? 400 : kind === "unknown_machine" ? 404 : 409, errorDocument(kind, text))
  }
}

function send(response: ServerResponse, status: number, document: object): void {
  const body = Buffer.from(`${JSON.stringify(document)}\n`)
  response.writeHead(status, {
    "content-type": "application/json; charset=utf-8",
    "content-length": body.length,
    "cache-control": "no-store",
    // Whatever else a client sends behind what was refused is not read.
    ...(status === 200 ? {} : { connection: "close" }),
  })
  response.end(body)
}
