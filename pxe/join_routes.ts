/**
 * Joining: a machine that has booted trades its ticket for a certificate over a key that it made itself. Anybody may
 * ask; what is wrong is answered by name, and nothing is kept of it. Plane: control.
 */
import type { Clock } from "./clock.ts"
import { type HTTPRequest, type HTTPResponse, jsonResponse } from "./http/server.ts"
import type { KeysPort } from "./keys_port.ts"
import type { Logger } from "./log.ts"
import type { Formation } from "./pool/formation.ts"
import { PUBLIC_KEY_BYTES_MAX } from "./pool/limits.ts"
import type { Registry } from "./pool/registry.ts"
import type { JoinError, JoinRequest, Tickets } from "./pool/tickets.ts"

export type JoinOptions = {
  readonly keys: KeysPort
  readonly registry: Registry
  readonly tickets: Tickets
  readonly formation: Formation
  readonly clock: Clock
  readonly log: Logger
}

type JoinRefusal = JoinError | "malformed" | "not_accepted" | "no_slot" | "bad_key"

export type JoinCounters = {
  joins: number
  joins_refused: number
  readonly joins_refused_by: Record<JoinRefusal, number>
}

const PATH_CHALLENGE = "/join/challenge"
const PATH_JOIN = "/join"
const STATUS_REFUSED = 403
const FIELDS: readonly (readonly [keyof JoinRequest, RegExp])[] = [
  ["machine", /^[0-9a-f]{2}(-[0-9a-f]{2}){5}$/],
  ["boot_id", /^[0-9a-f]{32}$/],
  ["challenge", /^[0-9a-f.]{1,128}$/],
  ["public_key", new RegExp(`^[A-Za-z0-9+/= \\n-]{1,${PUBLIC_KEY_BYTES_MAX}}$`)],
  ["proof", /^[0-9a-f]{64}$/],
]

export class JoinRoutes {
  readonly counters: JoinCounters = {
    joins: 0,
    joins_refused: 0,
    joins_refused_by: {
      malformed: 0,
      bad_challenge: 0,
      replayed: 0,
      no_ticket: 0,
      wrong_boot: 0,
      ticket_expired: 0,
      bad_proof: 0,
      ticket_spent: 0,
      joins_max: 0,
      not_accepted: 0,
      no_slot: 0,
      bad_key: 0,
    },
  }
  readonly #options: JoinOptions

  constructor(options: JoinOptions) {
    this.#options = options
  }

  /** Undefined: not for us. */
  handle(request: HTTPRequest): HTTPResponse | Promise<HTTPResponse> | undefined {
    if (request.path === PATH_CHALLENGE && request.method === "GET") {
      const { tickets, clock } = this.#options
      return jsonResponse(200, { schema: 1, challenge: tickets.challenge(clock.epochMs()) })
    }
    return request.path === PATH_JOIN && request.method === "POST" ? this.#join(request) : undefined
  }

  async #join({ body, remote_address: address }: HTTPRequest): Promise<HTTPResponse> {
    const { registry, tickets, formation, clock, keys, log } = this.#options
    const request = parseRequest(body)
    if (request === undefined) {
      return this.#refuse("malformed", "", address)
    }
    const { machine } = request
    const now = clock.epochMs()
    const spent = tickets.join(request, formation.clusterID, now)
    if (!spent.ok) {
      if (spent.error === "ticket_spent") {
        this.#quarantine(machine, now)
      }
      return this.#refuse(spent.error, machine, address)
    }
    if (registry.admissionOf(machine) !== "accepted") {
      return this.#refuse("not_accepted", machine, address)
    }
    const slot = formation.slotOf(machine)
    if (slot === null) {
      return this.#refuse("no_slot", machine, address)
    }
    const issue = registry.certify(machine, slot, now)
    const { boot_id, public_key } = request
    const minted = await keys.mint({ cluster_id: formation.clusterID, machine, boot_id, slot, issue }, public_key)
    if (!minted.ok) {
      return this.#refuse("bad_key", machine, address)
    }
    this.counters.joins += 1
    log.info({ machine, slot, issue }, "keys: a machine joined, its ticket is spent")
    const { certificate: authority } = keys
    return jsonResponse(200, { schema: 1, certificate: minted.value, authority, roster: registry.roster ?? null })
  }

  /** Two have had one ticket, and nobody can tell which of them is the machine. */
  #quarantine(machine: string, now: number): void {
    const { registry, tickets, log } = this.#options
    const decided = registry.decide(machine, "quarantined", now)
    tickets.revoke(machine)
    log.error({ machine, is_out: decided.ok }, "keys: a ticket was presented twice: both are out until accepted again")
  }

  #refuse(kind: JoinRefusal, machine: string, address: string): HTTPResponse {
    this.counters.joins_refused += 1
    this.counters.joins_refused_by[kind] += 1
    this.#options.log.warn({ machine, address, reason: kind }, "keys: a join was refused")
    return jsonResponse(kind === "malformed" ? 400 : STATUS_REFUSED, { schema: 1, error: kind })
  }
}

function parseRequest(body: Uint8Array): JoinRequest | undefined {
  const value = parseJSON(body)
  const sent = new Map<string, unknown>(typeof value === "object" && value !== null ? Object.entries(value) : [])
  const read: Partial<Record<keyof JoinRequest, string>> = {}
  for (const [field, pattern] of FIELDS) {
    const text = sent.get(field)
    if (typeof text !== "string" || !pattern.test(text)) {
      return undefined
    }
    read[field] = text
  }
  const { machine = "", boot_id = "", challenge = "", public_key = "", proof = "" } = read
  return { machine, boot_id, challenge, public_key, proof }
}

function parseJSON(body: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body))
  } catch {
    // Not UTF-8 or not JSON: malformed, as the caller says.
    return undefined
  }
}
