/**
 * Join tickets: one a machine and boot, in the archive that only that boot is given; good for one key, once, for a
 * while. Whoever presents it for another key has stolen it, or was stolen from, and nobody can tell which: both are
 * out. Bounded; its clock, chance and keyed hash come in. Plane: control.
 */
import { assert } from "../../appliance/types/assert.ts"
import { err, ok, type Result } from "../../appliance/types/result.ts"
import { CHALLENGE_MS, MACHINES_MAX, TICKET_JOINS_MAX, TICKET_MS } from "./limits.ts"

export type TicketsPorts = {
  /** So many random bytes in hexadecimal, from the operating system. */
  readonly randomHex: (bytes: number) => string
  /** HMAC-SHA256 under a key in hexadecimal; hexadecimal. */
  readonly mac: (key: string, text: string) => string
  /** Takes the same time whatever differs. */
  readonly isEqual: (a: string, b: string) => boolean
}

export type JoinRequest = {
  readonly machine: string
  readonly boot_id: string
  readonly challenge: string
  readonly public_key: string
  readonly proof: string
}

export type JoinError =
  /** Not given out here, or too long ago, or used by a join before: a replay. */
  | "bad_challenge"
  | "replayed"
  /** No ticket was given to this machine, or for another boot than this. */
  | "no_ticket"
  | "wrong_boot"
  | "ticket_expired"
  /** Not made with the ticket: who sent this does not have it. */
  | "bad_proof"
  /** It was used for another key: this machine is in quarantine now, and so is whoever used it first. */
  | "ticket_spent"
  /** The same key asked for too many certificates. */
  | "joins_max"

type Ticket = {
  readonly secret: string
  readonly boot_id: string
  readonly issuedAt: number
  /** The key that it was spent on; "" before. */
  publicKey: string
  /** Challenges of joins that were let through. */
  readonly used: string[]
}

const SECRET_BYTES = 32
const NONCE_BYTES = 16

/** What a proof is made over: each part has a form without line ends, but for the last. */
export function joinText(clusterID: string, request: Omit<JoinRequest, "proof">): string {
  const { machine, boot_id, challenge, public_key } = request
  return ["mandala join 1", challenge, clusterID, machine, boot_id, public_key].join("\n")
}

export class Tickets {
  readonly #ports: TicketsPorts
  readonly #tickets = new Map<string, Ticket>()
  /** Makes challenges recognizable, so that none has to be remembered: asking for many costs us nothing. */
  readonly #challengeKey: string

  constructor(ports: TicketsPorts) {
    this.#ports = ports
    this.#challengeKey = ports.randomHex(SECRET_BYTES)
  }

  get count(): number {
    return this.#tickets.size
  }

  /**
   * The machine's ticket for this boot: the same as often as its archive is fetched. Undefined when there is no room.
   */
  issue(machine: string, bootID: string, now: number): string | undefined {
    const known = this.#tickets.get(machine)
    if (known !== undefined && known.boot_id === bootID) {
      return known.secret
    }
    if (known === undefined && this.#tickets.size >= MACHINES_MAX && !this.#forgetOne(now)) {
      return undefined
    }
    const secret = this.#ports.randomHex(SECRET_BYTES)
    this.#tickets.set(machine, { secret, boot_id: bootID, issuedAt: now, publicKey: "", used: [] })
    assert(this.#tickets.size <= MACHINES_MAX, "tickets: the table is bounded")
    return secret
  }

  /** Of a machine that was put out. */
  revoke(machine: string): void {
    this.#tickets.delete(machine)
  }

  challenge(now: number): string {
    const text = `${Math.floor(now)}.${this.#ports.randomHex(NONCE_BYTES)}`
    return `${text}.${this.#ports.mac(this.#challengeKey, text)}`
  }

  /** Spends the ticket when all is right. Of the errors only `ticket_spent` says that somebody else has had it. */
  join(request: JoinRequest, clusterID: string, now: number): Result<void, JoinError> {
    if (!this.#isFresh(request.challenge, now)) {
      return err("bad_challenge")
    }
    const ticket = this.#tickets.get(request.machine)
    if (ticket === undefined) {
      return err("no_ticket")
    }
    if (ticket.boot_id !== request.boot_id) {
      return err("wrong_boot")
    }
    const proof = this.#ports.mac(ticket.secret, joinText(clusterID, request))
    if (!this.#ports.isEqual(proof, request.proof)) {
      return err("bad_proof")
    }
    if (ticket.used.includes(request.challenge)) {
      return err("replayed")
    }
    if (ticket.publicKey === "" && now - ticket.issuedAt > TICKET_MS) {
      return err("ticket_expired")
    }
    if (ticket.publicKey !== "" && ticket.publicKey !== request.public_key) {
      return err("ticket_spent")
    }
    if (ticket.used.length >= TICKET_JOINS_MAX) {
      return err("joins_max")
    }
    ticket.used.push(request.challenge)
    ticket.publicKey = request.public_key
    return ok(undefined)
  }

  #isFresh(challenge: string, now: number): boolean {
    const [at = "", nonce = "", mac = "", ...more] = challenge.split(".")
    const isOurs = more.length === 0 && this.#ports.isEqual(this.#ports.mac(this.#challengeKey, `${at}.${nonce}`), mac)
    return isOurs && Math.abs(now - Number(at)) <= CHALLENGE_MS
  }

  /** Makes room by the oldest ticket that nobody used in time. */
  #forgetOne(now: number): boolean {
    for (const [machine, { publicKey, issuedAt }] of this.#tickets) {
      if (publicKey === "" && now - issuedAt > TICKET_MS) {
        return this.#tickets.delete(machine)
      }
    }
    return false
  }
}
