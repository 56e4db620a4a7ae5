/**
 * Who may use the data port: nobody from outside until a password is set, and then whoever knows it. The password lies
 * salted and hashed in the replicated secrets, so each machine judges by its own copy. Wrong tries are answered late:
 * ever later on a connection, and never more than a bounded number a second on all of them. Plane: control.
 */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto"
import { RECORD_KEY_BYTES_MAX } from "../state_machine/record_table.ts"
import { RECORD_TABLES, TableNumber } from "../state_machine/record_tables.ts"
import { assert } from "../types/assert.ts"
import { AUTH_DELAY_DOUBLINGS_MAX, AUTH_DELAY_MS, AUTH_PAUSE_MS } from "./limits.ts"
import type { RequestParser } from "./resp/parser.ts"

/** The secret's name. */
export const PASSWORD_SECRET = "resp_password"
/** The one user there is, as Redis names it. */
const USER = Buffer.from("default")

/**
 *   offset size  the password's record
 *        0   64  key (record_table.ts)
 *       64    1  version (1)
 *       65   16  salt
 *       81   32  SHA-256 of salt and password
 */
const RECORD_BYTES = RECORD_TABLES[TableNumber.secrets]?.recordBytes ?? 0
const AT_VERSION = RECORD_KEY_BYTES_MAX + 1
const AT_SALT = AT_VERSION + 1
const SALT_BYTES = 16
const AT_HASH = AT_SALT + SALT_BYTES
const HASH_BYTES = 32
const VERSION = 1

export function encodePassword(password: string): Buffer {
  assert(PASSWORD_SECRET.length <= RECORD_KEY_BYTES_MAX, "password: its name is a key")
  const record = Buffer.alloc(RECORD_BYTES)
  record[0] = PASSWORD_SECRET.length
  record.write(PASSWORD_SECRET, 1, "latin1")
  record[AT_VERSION] = VERSION
  const salt = randomBytes(SALT_BYTES)
  salt.copy(record, AT_SALT)
  hashOf(salt, Buffer.from(password)).copy(record, AT_HASH)
  return record
}

function hashOf(salt: Uint8Array, password: Uint8Array): Buffer {
  return createHash("sha256").update(salt).update(password).digest()
}

/** What a connection remembers of its tries; made once a connection. */
export type LoginState = {
  /** The generation of the password that it gave; 0 for none. */
  generation: number
  failures: number
  /** When the answer to a wrong try is due; 0 while there is none. */
  answerAt: number
}

/** Of a login only: nothing else needs an argument as an object of its own. */
export function argumentBytes(parser: RequestParser, argument: number): Uint8Array {
  const start = parser.start(argument)
  return new Uint8Array(parser.buffer.buffer, parser.buffer.byteOffset + start, parser.keptBytes(argument))
}

export class RespAccess {
  /** Wrong tries, on all connections. */
  failures = 0
  #record: Buffer | undefined
  /** Rises with each password: connections that gave an earlier one must give the new one. */
  #generation = 0
  #nextAnswerAt = 0

  get isRequired(): boolean {
    return this.#record !== undefined
  }

  /** The secret as this machine's state has it now; undefined for none. */
  update(record: Uint8Array | undefined): void {
    const isSame = record === undefined ? this.#record === undefined : this.#record?.equals(record) === true
    if (isSame) {
      return
    }
    const isKnown = record !== undefined && record.length === RECORD_BYTES && record[AT_VERSION] === VERSION
    // A record of a later version than this: nobody gets in by it, and nobody without.
    this.#record = record === undefined ? undefined : isKnown ? Buffer.from(record) : Buffer.alloc(RECORD_BYTES)
    this.#generation += 1
  }

  isAllowed(state: LoginState): boolean {
    return this.#record === undefined || state.generation === this.#generation
  }

  /** False: the answer is not due yet, ask again. True: `state` says whether it went well. */
  login(state: LoginState, user: Uint8Array | undefined, password: Uint8Array, now: number): boolean {
    if (state.answerAt > 0) {
      const isDue = now >= state.answerAt
      state.answerAt = isDue ? 0 : state.answerAt
      return isDue
    }
    const record = this.#record
    assert(record !== undefined, "access: a login needs a password")
    const wanted = record.subarray(AT_HASH, AT_HASH + HASH_BYTES)
    const given = hashOf(record.subarray(AT_SALT, AT_HASH), password)
    const isRight = timingSafeEqual(wanted, given) && record[AT_VERSION] === VERSION
    if (isRight && (user === undefined || USER.equals(user))) {
      state.generation = this.#generation
      state.failures = 0
      return true
    }
    state.generation = 0
    this.failures += 1
    this.#nextAnswerAt = Math.max(now, this.#nextAnswerAt + AUTH_PAUSE_MS)
    const delay = AUTH_DELAY_MS * 2 ** Math.min(state.failures, AUTH_DELAY_DOUBLINGS_MAX)
    state.failures += 1
    state.answerAt = Math.max(now + delay, this.#nextAnswerAt)
    return false
  }
}
