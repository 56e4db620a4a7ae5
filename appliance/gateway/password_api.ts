/** Setting the data port's password, and taking it away: through the log, like every change. Plane: control. */
import type { IncomingMessage } from "node:http"
import { CommandCode, ResultKind } from "../state_machine/command.ts"
import { TableNumber } from "../state_machine/record_tables.ts"
import { describeBodyError, readBody } from "./api_body.ts"
import type { CallOutcome } from "./batch.ts"
import type { Call, Gateway } from "./gateway.ts"
import { PASSWORD_CHARS_MAX, PASSWORD_CHARS_MIN } from "./limits.ts"
import { encodePassword, PASSWORD_SECRET } from "./resp_access.ts"
import { API_SCHEMA, errorDocument } from "./status_document.ts"

export const PASSWORD_PATH = "/v1/password"

type PasswordAnswer = { readonly status: number; readonly document: object }

export async function answerPassword(request: IncomingMessage, gateway: Gateway): Promise<PasswordAnswer> {
  if (request.method !== "POST") {
    return refusal(405, "method_not_allowed", `${PASSWORD_PATH} takes POST: a password is never read back`)
  }
  const body = await readBody(request)
  if (!body.ok) {
    return refusal(body.error === "body_bytes_max" ? 413 : 400, body.error, describeBodyError(body.error))
  }
  const { password } = body.value
  if (password !== null && (typeof password !== "string" || !isPassword(password))) {
    const text = `a password has ${PASSWORD_CHARS_MIN} to ${PASSWORD_CHARS_MAX} visible characters; null takes it away`
    return refusal(400, "bad_password", text)
  }
  const key = Buffer.from(PASSWORD_SECRET)
  const table = { flags: TableNumber.secrets, argument: 0 }
  const call: Call =
    password === null
      ? { code: CommandCode.record_remove, key, value: Buffer.alloc(0), ...table }
      : { code: CommandCode.record_put, key, value: encodePassword(password), ...table }
  const outcome = await callOnce(gateway, call)
  switch (outcome) {
    case "ok":
      return { status: 200, document: { schema: API_SCHEMA, outcome: "ok", is_set: password !== null } }
    case "busy":
      return refusal(503, "busy", "calls_max: too many questions wait for an answer already; ask again later")
    case "refused":
      return refusal(409, "secrets_max", "the table of secrets is full")
    case "unknown":
      return refusal(504, "unknown", "no answer in time: it may have been set; set it again")
  }
}

function isPassword(text: string): boolean {
  return text.length >= PASSWORD_CHARS_MIN && text.length <= PASSWORD_CHARS_MAX && /^[!-~]*$/.test(text)
}

function callOnce(gateway: Gateway, call: Call): Promise<"ok" | "busy" | "refused" | "unknown"> {
  return new Promise((resolve) => {
    const onResult = (outcome: CallOutcome, reply: Buffer, start: number): void => {
      if (outcome === "ok") {
        resolve(reply[start] === ResultKind.error ? "refused" : "ok")
      } else {
        resolve("unknown")
      }
    }
    if (!gateway.call(call, { onResult })) {
      resolve("busy")
    }
  })
}

function refusal(status: number, kind: string, text: string): PasswordAnswer {
  return { status, document: errorDocument(kind, text) }
}
