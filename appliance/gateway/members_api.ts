/**
 * Changing the members of a cluster over the operator API: a body in, an outcome out, each refusal with what to do
 * about it. Who the members are is in /v1/status. Plane: control.
 */
import type { IncomingMessage } from "node:http"
import type { Change, ChangeAnswer } from "../orchestration/membership.ts"
import type { PromoteOutcome } from "../replication/replica.ts"
import { STANDBYS_MAX, VOTERS_MAX } from "../types/limits.ts"
import { err, ok, type Result } from "../types/result.ts"
import { API_SCHEMA, type ErrorDocument } from "./status_document.ts"

/** What the API asks of the process host. */
export interface MembersPort {
  change(wanted: Change): Promise<ChangeAnswer>
  promote(): PromoteOutcome
  epoch(): number
  generation(): number
}

const MEMBERS_PATH = "/v1/members"
const PROMOTE_PATH = "/v1/standby/promote"
const BODY_BYTES_MAX = 4_096

export type MembersAnswer = { readonly status: number; readonly document: object }

export function isMembersPath(path: string): boolean {
  return path === MEMBERS_PATH || path === PROMOTE_PATH
}

export async function answerMembers(path: string, request: IncomingMessage, port: MembersPort): Promise<MembersAnswer> {
  if (request.method !== "POST") {
    return refusal(405, "method_not_allowed", `${path} takes POST; the members are in /v1/status`)
  }
  const body = await readBody(request)
  if (!body.ok) {
    return refusal(body.error === "body_bytes_max" ? 413 : 400, body.error, bodyText(body.error))
  }
  return path === PROMOTE_PATH ? promote(body.value, port) : await change(body.value, port)
}

function promote(body: Fields, port: MembersPort): MembersAnswer {
  if (body["is_voter_off"] !== true) {
    const text = "say is_voter_off: true once the voter's machine is off; two that both serve would part for good"
    return refusal(409, "unconfirmed", text)
  }
  const outcome = port.promote()
  if (outcome === "ok") {
    return {
      status: 200,
      document: { schema: API_SCHEMA, outcome, generation: port.generation(), epoch: port.epoch() },
    }
  }
  const text =
    outcome === "not_ready"
      ? "this standby lacks a part of the state or has not finished a change: try again in a moment"
      : "this process is not the one that was committed as the synchronous standby: ask that machine"
  return refusal(409, outcome, text)
}

async function change(body: Fields, port: MembersPort): Promise<MembersAnswer> {
  const voters = slotsIn(body["voters"], VOTERS_MAX)
  const standbys = slotsIn(body["standbys"] ?? [], STANDBYS_MAX)
  const epoch = body["epoch"] ?? port.epoch()
  if (voters === undefined || standbys === undefined || typeof epoch !== "number" || !Number.isSafeInteger(epoch)) {
    return refusal(400, "bad_field", "voters and standbys are lists of slots, epoch is a number or left out")
  }
  const drops = body["drops_standby"] === true
  if (drops && body["is_standby_off"] !== true) {
    const text = "say is_standby_off: true once the standby's machine is off; it may otherwise be promoted behind a cut"
    return refusal(409, "unconfirmed", text)
  }
  const synchronous = body["synchronous"] === true
  const grows = body["grow"] === true
  const answer = await port.change({ epoch, voters, standbys, synchronous, drops_standby: drops, grows })
  if (answer.outcome === "ok") {
    return { status: 200, document: { schema: API_SCHEMA, outcome: "ok", epoch: answer.epoch } }
  }
  return refusal(statusOf(answer), answer.outcome, changeText(answer))
}

function statusOf({ outcome }: ChangeAnswer): number {
  switch (outcome) {
    case "invalid":
      return 400
    case "unknown":
      return 504
    case "no_primary":
    case "not_primary":
      return 503
    default:
      return 409
  }
}

function changeText({ outcome, slot, epoch }: ChangeAnswer): string {
  switch (outcome) {
    case "busy":
      return "another change is under way, or the primary has not settled: try again in a moment"
    case "wrong_epoch":
      return `the cluster is in epoch ${epoch}: look at its members, then ask again`
    case "invalid":
      return "voters are 1, 3, 5 or 7 slots, each named once; from several to one only with a synchronous standby"
    case "not_warm":
      return `slot ${slot} does not follow closely: switch it on, or wait until it has caught up`
    case "not_grown":
      return (
        `slot ${slot} can't begin an epoch with larger limits: it votes, or was not booted with the --grow-to of the ` +
        "first voter that was named"
      )
    case "standby_missing":
      return `the synchronous standby in slot ${slot} is silent: bring it back, or drop it`
    case "memory_disputed":
      return "the memories of two machines differ: start a third, or one of the two anew, then ask again"
    case "unknown":
      return "no answer in time: the epoch shows whether it happened; ask again only if it has not risen"
    default:
      return "no primary was found: the cluster has no majority, or is changing views; nothing was changed"
  }
}

type Fields = Readonly<Record<string, unknown>>
type BodyError = "body_bytes_max" | "not_json"

function bodyText(error: BodyError): string {
  return error === "body_bytes_max" ? `a body has at most ${BODY_BYTES_MAX} bytes` : "the body is no JSON object"
}

async function readBody(request: IncomingMessage): Promise<Result<Fields, BodyError>> {
  const chunks: Buffer[] = []
  let bytes = 0
  try {
    for await (const chunk of request) {
      // Proof: no encoding was set, so Node's stream hands out buffers.
      const buffer = chunk as Buffer
      bytes += buffer.length
      if (bytes > BODY_BYTES_MAX) {
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

function slotsIn(value: unknown, countMax: number): number[] | undefined {
  if (!Array.isArray(value) || value.length > countMax) {
    return undefined
  }
  const slots = value.filter((slot): slot is number => Number.isSafeInteger(slot) && slot >= 0 && slot <= 0xff)
  return slots.length === value.length ? slots : undefined
}

function refusal(status: number, kind: string, text: string): MembersAnswer {
  const document: ErrorDocument = { schema: API_SCHEMA, error: { kind, text } }
  return { status, document }
}
