/**
 * How a machine gets its keys: it makes a key pair, trades its join ticket for a certificate over it, and keeps both in
 * its run directory, which is RAM and ends with the power. A process that starts again in the same boot finds them
 * there, since the ticket is spent by then. Plane: control.
 */
import { createHmac } from "node:crypto"
import { type IncomingMessage, request } from "node:http"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import type { Logger } from "pino"
import { describeKeyFileError, readKeyFile, writeKeyFile } from "../keys/key_file.ts"
import { makeKey } from "../keys/key_pair.ts"
import { ROSTER_BYTES_MAX } from "../keys/limits.ts"
import { parseSignedRoster, type SignedRoster } from "../keys/roster.ts"
import { err, ok, type Result } from "../types/result.ts"
import { type JSONObject, parseObject } from "./json_fields.ts"
import { LinkSecurity, type MachineKeys } from "./link_security.ts"
import type { OrchestrationLimits } from "./limits.ts"
import type { NodeConfig } from "./node_config.ts"

export type JoinFailure = {
  /** `not_admitted`: the boot server has answered, and said no. */
  readonly kind: "no_keys" | "keys_unusable" | "not_admitted" | "not_saved"
  /** One line that says what to do. */
  readonly text: string
}

export type JoinerOptions = {
  readonly config: NodeConfig
  readonly slot: number
  readonly runDirectory: string
  readonly limits: OrchestrationLimits
  readonly log: Logger
  /** Milliseconds since 1970. */
  readonly now: () => number
}

const LINK_FILE = "link.json"
const ROSTER_FILE = "roster.json"
const PATH_CHALLENGE = "/join/challenge"
const PATH_JOIN = "/join"
/** As an answer, a certificate and a roster, whose quotes are escaped. */
const ANSWER_BYTES_MAX = 2 * ROSTER_BYTES_MAX

/** The keys of this boot: those that lie in the run directory, else those that the ticket is good for. */
export async function obtainSecurity(options: JoinerOptions): Promise<Result<LinkSecurity, JoinFailure>> {
  const { config, runDirectory } = options
  const kept = readKeyFile(join(runDirectory, LINK_FILE))
  if (kept.ok) {
    const security = securityOf(options, kept.value)
    if (security.ok) {
      learnKept(security.value, runDirectory)
    }
    return security
  }
  if (kept.error.kind !== "file_missing") {
    return err({ kind: "keys_unusable", text: describeKeyFileError(kept.error) })
  }
  if (config.ticket === "" || config.boot_server === "") {
    const text =
      `this machine has no keys: neither ${join(runDirectory, LINK_FILE)} nor a ticket in its node.json; ` +
      "boot it from a boot server, or add --insecure-links on a network of its own"
    return err({ kind: "no_keys", text })
  }
  return await joinCluster(options)
}

/** For the next process of this boot; a failure is told, and repeated with the next roster. */
export function keepRoster(runDirectory: string, roster: SignedRoster): Result<void, string> {
  const written = writeKeyFile(join(runDirectory, ROSTER_FILE), roster)
  return written.ok ? ok(undefined) : err(describeKeyFileError(written.error))
}

function learnKept(security: LinkSecurity, runDirectory: string): void {
  const kept = readKeyFile(join(runDirectory, ROSTER_FILE), ANSWER_BYTES_MAX)
  const roster = kept.ok ? parseSignedRoster(kept.value) : undefined
  if (roster !== undefined) {
    security.trust.learn(roster)
  }
}

function securityOf(options: JoinerOptions, texts: JSONObject): Result<LinkSecurity, JoinFailure> {
  const { config, slot, now } = options
  const { authority, certificate, key } = texts
  if (typeof authority !== "string" || typeof certificate !== "string" || typeof key !== "string") {
    return err({ kind: "keys_unusable", text: "the keys of this machine lack authority, certificate or key" })
  }
  const keys: MachineKeys = { authority, certificate, key }
  const created = LinkSecurity.create(keys, { cluster_id: config.cluster_id, now })
  if (!created.ok) {
    return err({ kind: "keys_unusable", text: `the keys of this machine cannot be used: ${created.error}` })
  }
  const { identity } = created.value
  const isBoot = config.boot_id === "" || identity.boot_id === config.boot_id
  if (identity.slot !== slot || identity.machine !== config.machine || !isBoot) {
    const text = `the keys here are those of ${identity.machine} in slot ${identity.slot}, boot ${identity.boot_id}`
    return err({ kind: "keys_unusable", text })
  }
  return created
}

async function joinCluster(options: JoinerOptions): Promise<Result<LinkSecurity, JoinFailure>> {
  const { limits, log, config } = options
  const pair = await makeKey()
  for (let attempt = 0; attempt < limits.join_attempts_max; attempt += 1) {
    if (attempt > 0) {
      await sleep(limits.join_retry_ms)
    }
    const joined = await joinOnce(options, pair)
    if (joined.ok) {
      return keep(options, joined.value, pair.privateKey)
    }
    if (joined.error.isFinal) {
      const text = `${config.boot_server} did not let this machine join: ${joined.error.kind}`
      return err({ kind: "not_admitted", text })
    }
    log.warn({ boot_server: config.boot_server, reason: joined.error.kind, attempt }, "join_retry")
  }
  return err({ kind: "not_admitted", text: `${config.boot_server} did not answer a join in time` })
}

type Joined = { readonly certificate: string; readonly roster: SignedRoster | undefined }
type JoinError = { readonly kind: string; readonly isFinal: boolean }

async function joinOnce(
  { config, limits }: JoinerOptions,
  pair: { readonly publicKey: string },
): Promise<Result<Joined, JoinError>> {
  const { boot_server, boot_id, machine, ticket, cluster_id } = config
  const asked = await exchange(boot_server + PATH_CHALLENGE, limits.announce_timeout_ms)
  const challenge = asked.ok ? asked.value.document["challenge"] : undefined
  if (typeof challenge !== "string") {
    return err({ kind: asked.ok ? "no_challenge" : asked.error, isFinal: false })
  }
  const text = ["mandala join 1", challenge, cluster_id, machine, boot_id, pair.publicKey].join("\n")
  const proof = createHmac("sha256", Buffer.from(ticket, "hex")).update(text).digest("hex")
  const body = { machine, boot_id, challenge, public_key: pair.publicKey, proof }
  const answered = await exchange(boot_server + PATH_JOIN, limits.announce_timeout_ms, body)
  if (!answered.ok) {
    return err({ kind: answered.error, isFinal: false })
  }
  const { status, document } = answered.value
  const { certificate, error, roster } = document
  if (status !== 200 || typeof certificate !== "string") {
    const kind = typeof error === "string" ? error.slice(0, 32) : `http_${status}`
    // A challenge that was too old is asked for anew; everything else stays as it is.
    return err({ kind, isFinal: status === 403 && kind !== "bad_challenge" })
  }
  return ok({ certificate, roster: parseSignedRoster(roster) })
}

function keep(options: JoinerOptions, joined: Joined, key: string): Result<LinkSecurity, JoinFailure> {
  const { config, runDirectory } = options
  // The authority is the one that came with the ticket: an answer over the network can't bring another.
  const texts = { schema: 1, authority: config.authority, certificate: joined.certificate, key }
  const security = securityOf(options, texts)
  if (!security.ok) {
    return security
  }
  const written = writeKeyFile(join(runDirectory, LINK_FILE), texts)
  if (!written.ok) {
    return err({ kind: "not_saved", text: describeKeyFileError(written.error) })
  }
  if (joined.roster !== undefined && security.value.trust.learn(joined.roster) === "newer") {
    const kept = keepRoster(runDirectory, joined.roster)
    if (!kept.ok) {
      return err({ kind: "not_saved", text: kept.error })
    }
  }
  return security
}

type Exchanged = { readonly status: number; readonly document: JSONObject }

/** One request and its JSON answer, bounded in time and bytes. */
function exchange(url: string, timeoutMs: number, body?: object): Promise<Result<Exchanged, string>> {
  const text = body === undefined ? "" : JSON.stringify(body)
  return new Promise((resolve) => {
    const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(text) }
    const outgoing = request(url, { method: body === undefined ? "GET" : "POST", headers, agent: false })
    const deadline = setTimeout(() => outgoing.destroy(new Error("timeout")), timeoutMs)
    const finish = (result: Result<Exchanged, string>): void => {
      clearTimeout(deadline)
      resolve(result)
    }
    outgoing.on("error", (error) => finish(err(error.message === "timeout" ? "timeout" : "unreachable")))
    outgoing.on("response", (response) => readAnswer(response, finish))
    outgoing.end(text)
  })
}

function readAnswer(response: IncomingMessage, finish: (result: Result<Exchanged, string>) => void): void {
  let text = ""
  response.setEncoding("utf8")
  response.on("data", (chunk: string) => {
    text += chunk
    if (text.length > ANSWER_BYTES_MAX) {
      finish(err("answer_too_long"))
      response.destroy()
    }
  })
  response.on("error", () => finish(err("unreachable")))
  response.on("end", () => {
    const document = parseObject(text)
    const status = response.statusCode ?? 0
    finish(document.ok ? ok({ status, document: document.value }) : err("answer_malformed"))
  })
}
