/** Letters under way, the patterns by which a script picks them, and the words for each. Plane: control. */
import type { CrashVector, Message, MessageOf, PrepareHeader } from "../../appliance/replication/message.ts"
import { VIEW_NONE } from "../../appliance/replication/message.ts"
import { incarnationOf } from "../../appliance/replication/crash_vector.ts"
import type { Configuration, Member } from "../../appliance/replication/configuration.ts"
import { assert, unreachable } from "../../appliance/types/assert.ts"

/** A message under way. `boot` says which process of its sender's slot wrote it, from 1. */
export type Letter = {
  readonly from: number
  readonly boot: number
  /** A slot; a reply goes on from there to the client that asked. */
  readonly to: number
  /** Who asked, for a reply: a client, or the operator; "" for all else. */
  readonly client: string
  readonly message: Message
  /** Stays under way until the script asks for it by its pattern. */
  isHeld: boolean
  /** Has been written into the golden text as sent. */
  isShown: boolean
}

/** `old`: from a process that no longer is its slot's. `toTwin`: to the older of two processes of a slot. */
export type Pattern = {
  readonly old: boolean
  readonly types: readonly string[]
  /** Of the entry that the letter is about; undefined for any. */
  readonly op: number | undefined
  /** Of a checkpoint's pages; undefined for any. */
  readonly window: number | undefined
  readonly from: readonly string[]
  readonly to: readonly string[]
  readonly toTwin: boolean
}

const PATTERN = /^(old )?([a-z_|]+|\*)(?:\(op(\d+)\)|\(window(\d+)\))? (\*|[\d,]+)→(\*|[a-z0-9,]+)('?)$/

/**
 * "prepare 0→1", "prepare(op5) 0→1", "get_checkpoint(window1) 2→0", "exit_view|join_view 2→*", "old view 2→1",
 * "reply 0→a", "* *→*".
 */
export function parsePattern(text: string): Pattern {
  const [, old, types, op, window, from, to, twin] = PATTERN.exec(text) ?? []
  assert(types !== undefined && from !== undefined && to !== undefined, 'script: a pattern is "type from→to"')
  return {
    old: old !== undefined,
    types: types.split("|"),
    op: op === undefined ? undefined : Number(op),
    window: window === undefined ? undefined : Number(window),
    from: from.split(","),
    to: to.split(","),
    toTwin: twin === "'",
  }
}

export function matches(letter: Letter, pattern: Pattern, isOld: boolean): boolean {
  const { types, from, to } = pattern
  const addressee = letter.client === "" ? String(letter.to) : letter.client
  return (
    isOld === pattern.old &&
    (types.includes("*") || types.includes(letter.message.type)) &&
    (pattern.op === undefined || pattern.op === opOf(letter.message)) &&
    (pattern.window === undefined || pattern.window === windowOf(letter.message)) &&
    (from.includes("*") || from.includes(String(letter.from))) &&
    (to.includes("*") || to.includes(addressee))
  )
}

function opOf(message: Message): number | undefined {
  if (message.type === "prepare") {
    return message.header.op
  }
  if (message.type === "log") {
    return message.entry.header.op
  }
  return "op" in message ? message.op : undefined
}

function windowOf(message: Message): number | undefined {
  return "part" in message && message.part === "pages" ? message.index : undefined
}

/** A message's body may be a view into a ring that is written again: a letter has bytes of its own. */
export function copyOf(message: Message): Message {
  if (message.type === "log") {
    return { ...message, entry: { header: message.entry.header, body: message.entry.body.slice() } }
  }
  return "body" in message ? { ...message, body: message.body.slice() } : message
}

/** Short stable names for numbers that are random or depend on time, in the order in which they first occur. */
export class Names {
  readonly #prefix: string
  readonly #names = new Map<string, string>()

  constructor(prefix: string) {
    this.#prefix = prefix
  }

  of(key: string): string {
    const known = this.#names.get(key) ?? `${this.#prefix}${this.#names.size + 1}`
    this.#names.set(key, known)
    return known
  }
}

/** The letter as it is after a bit of its body has flipped on the way, or in its sender's memory. */
export function spoilt(letter: Letter): Letter {
  const { message } = letter
  assert("body" in message && message.body.length > 0, "script: what is spoilt has a body")
  const body = message.body.slice()
  body[0] = (body[0] ?? 0) ^ 1
  return { ...letter, message: { ...message, body } }
}

/** What a text needs to know besides the message itself. */
export type Wording = {
  /** "a#1", "register a", "pulse". */
  readonly requestOf: (request: { readonly session: number; readonly request: number }) => string
  readonly entryOf: (header: PrepareHeader) => string
  readonly resultOf: (message: MessageOf<"reply"> | MessageOf<"read_reply">) => string
  readonly readOf: (read: number) => string
  readonly nonces: Names
  readonly rounds: Names
  readonly roots: Names
}

/** "prepare(v0 op2 a#1 x=1 c1)": an epoch only after the first. */
export function messageText(message: Message, wording: Wording): string {
  const fields = fieldsOf(message, wording).filter((field) => field !== "")
  const { epoch } = message
  const all = epoch > 0 ? [`e${epoch}`, ...fields] : fields
  return all.length === 0 ? message.type : `${message.type}(${all.join(" ")})`
}

/** The incarnations that a vector knows, "⟨1 1 2⟩"; slots that never had a vote are left off its end. */
export function vectorText(cv: CrashVector): string {
  const incarnations = cv.map(incarnationOf)
  while (incarnations.at(-1) === 0) {
    incarnations.pop()
  }
  return `⟨${incarnations.join(" ")}⟩`
}

function fieldsOf(message: Message, wording: Wording): string[] {
  const { nonces, rounds } = wording
  switch (message.type) {
    case "probe":
      return [nonces.of(String(message.nonce)), message.claim > 0 ? `claims incarnation ${message.claim}` : ""]
    case "probe_ok":
      return [
        message.nonce === 0 ? "" : nonces.of(String(message.nonce)),
        message.status === "blank" ? `blank, holds ${message.cv.filter((entry) => entry > 0).length}` : message.status,
        message.claimed > 0 ? `knows incarnation ${message.claimed}` : "",
      ]
    case "prepare":
      return [`v${message.view}`, `op${message.header.op}`, wording.entryOf(message.header), `c${message.commit}`]
    case "prepare_ok":
      return [`v${message.view}`, `op${message.op}`]
    case "commit":
      return [`v${message.view}`, `op${message.op}`, `c${message.commit}`, rounds.of(roundKey(message))]
    case "commit_ok":
      return [`v${message.view}`, rounds.of(roundKey(message))]
    case "exit_view":
    case "get_view":
      return [`v${message.view}`]
    case "join_view":
      return [`v${message.view}`, `log of v${message.log_view}`, `op${message.op}`, `c${message.commit}`]
    case "view":
      return [`v${message.view}`, `op${message.op}`, `c${message.commit}`]
    case "recovery":
      return [nonces.of(String(message.nonce))]
    case "recovery_response":
      return [
        nonces.of(String(message.nonce)),
        `v${message.view}`,
        `op${message.op}`,
        `c${message.commit}`,
        message.headers.length > 0 ? "with its log" : "",
      ]
    case "get_log":
      return [
        message.op_first === message.op_last ? `op${message.op_first}` : `op${message.op_first}–${message.op_last}`,
      ]
    case "log":
      return [
        message.view === VIEW_NONE ? "no view" : `v${message.view}`,
        `op${message.entry.header.op}`,
        wording.entryOf(message.entry.header),
        `c${message.commit}`,
      ]
    case "log_gone":
      return [`op${message.op}`]
    case "get_checkpoint":
      return [nonces.of(String(message.nonce)), pieceOf(message)]
    case "checkpoint_chunk":
      return [nonces.of(String(message.nonce)), `op${message.op}`, pieceOf(message)]
    case "checkpoint_ok":
      return [`op${message.op}`, wording.roots.of(message.root), message.is_certified ? "certified" : ""]
    case "checkpoint_gone":
      return [nonces.of(String(message.nonce))]
    case "request":
      return [wording.requestOf(message)]
    case "read":
      return [wording.readOf(message.read)]
    case "reply":
      return [wording.requestOf(message), ...outcomeOf(message, wording)]
    case "read_reply":
      return [wording.readOf(message.read), ...outcomeOf(message, wording)]
    case "standby_ok":
      return [`v${message.view}`, `op${message.op}`, message.round > 0 ? rounds.of(roundKey(message)) : ""]
    case "new_epoch":
      return membersOf(message.configuration)
    case "epoch_started":
      return []
    case "reconfigure":
      return [
        `voters ${message.voters.join(" ")}`,
        message.standbys.length > 0 ? `standbys ${message.standbys.join(" ")}` : "",
        message.synchronous ? "synchronous" : "",
        message.drops_standby ? "without the standby's word" : "",
      ]
    case "reconfigure_reply":
      return [message.outcome, message.outcome === "not_warm" ? String(message.slot) : ""]
    default:
      return unreachable(message)
  }
}

function pieceOf(message: MessageOf<"get_checkpoint"> | MessageOf<"checkpoint_chunk">): string {
  if (message.part === "table") {
    return "digests"
  }
  const bits = `${message.mask_high.toString(2)}${message.mask_low.toString(2)}`
  const pages = bits.replaceAll("0", "").length
  return `window ${message.index}: ${pages === 1 ? "1 page" : `${pages} pages`}`
}

function membersOf(configuration: Configuration): string[] {
  const { voters, standbys, synchronous } = configuration
  const slotsOf = (members: readonly Member[]): string => members.map((member) => member.slot).join(" ")
  return [
    `voters ${slotsOf(voters)}`,
    standbys.length > 0 ? `standbys ${slotsOf(standbys)}` : "",
    synchronous ? "synchronous" : "",
  ]
}

function roundKey(message: { readonly epoch: number; readonly view: number; readonly round: number }): string {
  return `${message.epoch} ${message.view} ${message.round}`
}

function outcomeOf(message: MessageOf<"reply"> | MessageOf<"read_reply">, wording: Wording): string[] {
  if (message.outcome === "ok") {
    return [wording.resultOf(message)]
  }
  return [message.outcome, message.outcome === "not_primary" ? `hint v${message.view}` : ""]
}
