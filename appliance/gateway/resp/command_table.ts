/** The commands that are served, as COMMAND describes them and as the executor looks them up. Plane: control. */
import { assert } from "../../types/assert.ts"
import { lower } from "./characters.ts"

export const CommandId = {
  ping: 0,
  echo: 1,
  hello: 2,
  auth: 3,
  info: 4,
  command: 5,
  set: 6,
  get: 7,
  del: 8,
  exists: 9,
  incr: 10,
  decr: 11,
  incrby: 12,
  decrby: 13,
  mget: 14,
  dbsize: 15,
  client: 16,
  select: 17,
  quit: 18,
  acl: 19,
  getdel: 20,
  getex: 21,
  setex: 22,
  psetex: 23,
  setnx: 24,
  getset: 25,
  mset: 26,
  append: 27,
  strlen: 28,
  setrange: 29,
  getrange: 30,
  substr: 31,
  unlink: 32,
  touch: 33,
  type: 34,
  expire: 35,
  pexpire: 36,
  expireat: 37,
  pexpireat: 38,
  ttl: 39,
  pttl: 40,
  expiretime: 41,
  pexpiretime: 42,
  persist: 43,
  rename: 44,
  renamenx: 45,
  scan: 46,
  keys: 47,
  wait: 48,
} as const
export type CommandId = (typeof CommandId)[keyof typeof CommandId]

export type CommandSpec = {
  readonly id: CommandId
  readonly name: string
  /** As Redis counts: with the name; negative is "at least". */
  readonly arity: number
  readonly flags: readonly string[]
  readonly firstKey: number
  readonly lastKey: number
  readonly keyStep: number
  readonly group: string
  readonly since: string
  readonly complexity: string
  readonly summary: string
  /** What a client is told that sent another number of arguments. */
  readonly arityError: string
}

type Row = readonly [
  id: CommandId,
  name: string,
  arity: number,
  flags: string,
  keys: readonly [number, number, number],
  group: string,
  since: string,
  complexity: string,
  summary: string,
]

const NO_KEYS = [0, 0, 0] as const
const ONE_KEY = [1, 1, 1] as const
const MANY_KEYS = [1, -1, 1] as const
const PAIRS = [1, -1, 2] as const
const TWO_KEYS = [1, 2, 1] as const

const ROWS: readonly Row[] = [
  [CommandId.ping, "ping", -1, "fast", NO_KEYS, "connection", "1.0.0", "O(1)", "Answers, so the server lives."],
  [CommandId.echo, "echo", 2, "fast", NO_KEYS, "connection", "1.0.0", "O(1)", "Answers its argument."],
  [
    CommandId.hello,
    "hello",
    -1,
    "noscript loading stale fast no_auth",
    NO_KEYS,
    "connection",
    "6.0.0",
    "O(1)",
    "Chooses RESP2 or RESP3.",
  ],
  [
    CommandId.auth,
    "auth",
    -2,
    "noscript loading stale fast no_auth",
    NO_KEYS,
    "connection",
    "1.0.0",
    "O(N)",
    "Says the password.",
  ],
  [CommandId.acl, "acl", -2, "noscript loading stale", NO_KEYS, "server", "6.0.0", "O(1)", "WHOAMI: the one user."],
  [CommandId.info, "info", -1, "loading stale", NO_KEYS, "server", "1.0.0", "O(1)", "Says how the server is."],
  [
    CommandId.command,
    "command",
    -1,
    "loading stale",
    NO_KEYS,
    "server",
    "2.8.13",
    "O(N)",
    "Describes the commands that are served.",
  ],
  [
    CommandId.set,
    "set",
    -3,
    "write denyoom",
    ONE_KEY,
    "string",
    "1.0.0",
    "O(1)",
    "Sets a key, with NX, XX, GET, KEEPTTL, EX, PX, EXAT and PXAT.",
  ],
  [CommandId.get, "get", 2, "readonly fast", ONE_KEY, "string", "1.0.0", "O(1)", "Answers the value of a key."],
  [CommandId.del, "del", -2, "write", MANY_KEYS, "generic", "1.0.0", "O(N)", "Deletes keys."],
  [CommandId.exists, "exists", -2, "readonly fast", MANY_KEYS, "generic", "1.0.0", "O(N)", "Counts keys that exist."],
  [CommandId.incr, "incr", 2, "write denyoom fast", ONE_KEY, "string", "1.0.0", "O(1)", "Adds one to a number."],
  [CommandId.decr, "decr", 2, "write denyoom fast", ONE_KEY, "string", "1.0.0", "O(1)", "Takes one from a number."],
  [CommandId.incrby, "incrby", 3, "write denyoom fast", ONE_KEY, "string", "1.0.0", "O(1)", "Adds to a number."],
  [CommandId.decrby, "decrby", 3, "write denyoom fast", ONE_KEY, "string", "1.0.0", "O(1)", "Takes from a number."],
  [
    CommandId.mget,
    "mget",
    -2,
    "readonly fast",
    MANY_KEYS,
    "string",
    "1.0.0",
    "O(N)",
    "Answers the values of keys, all of one moment.",
  ],
  [CommandId.dbsize, "dbsize", 1, "readonly fast", NO_KEYS, "server", "1.0.0", "O(1)", "Counts the keys."],
  [
    CommandId.client,
    "client",
    -2,
    "noscript loading stale",
    NO_KEYS,
    "connection",
    "2.4.0",
    "O(1)",
    "SETNAME, GETNAME, SETINFO and ID of this connection.",
  ],
  [CommandId.select, "select", 2, "loading stale fast", NO_KEYS, "connection", "1.0.0", "O(1)", "There is database 0."],
  [
    CommandId.quit,
    "quit",
    -1,
    "noscript loading stale fast no_auth",
    NO_KEYS,
    "connection",
    "1.0.0",
    "O(1)",
    "Closes the connection.",
  ],
  [
    CommandId.getdel,
    "getdel",
    2,
    "write fast",
    ONE_KEY,
    "string",
    "6.2.0",
    "O(1)",
    "Answers the value of a key and deletes it.",
  ],
  [
    CommandId.getex,
    "getex",
    -2,
    "write fast",
    ONE_KEY,
    "string",
    "6.2.0",
    "O(1)",
    "Answers the value of a key and changes its deadline.",
  ],
  [
    CommandId.setex,
    "setex",
    4,
    "write denyoom",
    ONE_KEY,
    "string",
    "2.0.0",
    "O(1)",
    "Sets a key with seconds to live.",
  ],
  [
    CommandId.psetex,
    "psetex",
    4,
    "write denyoom",
    ONE_KEY,
    "string",
    "2.6.0",
    "O(1)",
    "Sets a key with milliseconds to live.",
  ],
  [
    CommandId.setnx,
    "setnx",
    3,
    "write denyoom fast",
    ONE_KEY,
    "string",
    "1.0.0",
    "O(1)",
    "Sets a key that is not there.",
  ],
  [
    CommandId.getset,
    "getset",
    3,
    "write denyoom fast",
    ONE_KEY,
    "string",
    "1.0.0",
    "O(1)",
    "Sets a key and answers its old value.",
  ],
  [CommandId.mset, "mset", -3, "write denyoom", PAIRS, "string", "1.0.1", "O(N)", "Sets keys, all in one moment."],
  [
    CommandId.append,
    "append",
    3,
    "write denyoom fast",
    ONE_KEY,
    "string",
    "2.0.0",
    "O(N)",
    "Puts bytes behind the value of a key.",
  ],
  [CommandId.strlen, "strlen", 2, "readonly fast", ONE_KEY, "string", "2.2.0", "O(1)", "Counts the bytes of a value."],
  [
    CommandId.setrange,
    "setrange",
    4,
    "write denyoom",
    ONE_KEY,
    "string",
    "2.2.0",
    "O(N)",
    "Overwrites bytes of a value.",
  ],
  [CommandId.getrange, "getrange", 4, "readonly", ONE_KEY, "string", "2.4.0", "O(N)", "Answers bytes of a value."],
  [CommandId.substr, "substr", 4, "readonly", ONE_KEY, "string", "1.0.0", "O(N)", "As GETRANGE."],
  [CommandId.unlink, "unlink", -2, "write fast", MANY_KEYS, "generic", "4.0.0", "O(N)", "As DEL."],
  [CommandId.touch, "touch", -2, "readonly fast", MANY_KEYS, "generic", "3.2.1", "O(N)", "As EXISTS."],
  [CommandId.type, "type", 2, "readonly fast", ONE_KEY, "generic", "1.0.0", "O(1)", "Answers string or none."],
  [
    CommandId.expire,
    "expire",
    -3,
    "write fast",
    ONE_KEY,
    "generic",
    "1.0.0",
    "O(log N)",
    "Gives a key seconds to live; NX, XX, GT, LT.",
  ],
  [
    CommandId.pexpire,
    "pexpire",
    -3,
    "write fast",
    ONE_KEY,
    "generic",
    "2.6.0",
    "O(log N)",
    "Gives a key milliseconds to live; NX, XX, GT, LT.",
  ],
  [
    CommandId.expireat,
    "expireat",
    -3,
    "write fast",
    ONE_KEY,
    "generic",
    "1.2.0",
    "O(log N)",
    "Gives a key a last second; NX, XX, GT, LT.",
  ],
  [
    CommandId.pexpireat,
    "pexpireat",
    -3,
    "write fast",
    ONE_KEY,
    "generic",
    "2.6.0",
    "O(log N)",
    "Gives a key a last millisecond; NX, XX, GT, LT.",
  ],
  [
    CommandId.ttl,
    "ttl",
    2,
    "readonly fast",
    ONE_KEY,
    "generic",
    "1.0.0",
    "O(1)",
    "Answers the seconds that a key has to live.",
  ],
  [
    CommandId.pttl,
    "pttl",
    2,
    "readonly fast",
    ONE_KEY,
    "generic",
    "2.6.0",
    "O(1)",
    "Answers the milliseconds that a key has to live.",
  ],
  [
    CommandId.expiretime,
    "expiretime",
    2,
    "readonly fast",
    ONE_KEY,
    "generic",
    "7.0.0",
    "O(1)",
    "Answers a key's last second.",
  ],
  [
    CommandId.pexpiretime,
    "pexpiretime",
    2,
    "readonly fast",
    ONE_KEY,
    "generic",
    "7.0.0",
    "O(1)",
    "Answers a key's last millisecond.",
  ],
  [
    CommandId.persist,
    "persist",
    2,
    "write fast",
    ONE_KEY,
    "generic",
    "2.2.0",
    "O(log N)",
    "Takes a key's deadline away.",
  ],
  [CommandId.rename, "rename", 3, "write", TWO_KEYS, "generic", "1.0.0", "O(N)", "Gives a key another name."],
  [
    CommandId.renamenx,
    "renamenx",
    3,
    "write fast",
    TWO_KEYS,
    "generic",
    "1.0.0",
    "O(N)",
    "Gives a key a name that no key has.",
  ],
  [
    CommandId.scan,
    "scan",
    -2,
    "readonly",
    NO_KEYS,
    "generic",
    "2.8.0",
    "O(N)",
    "Lists keys in pieces; MATCH and COUNT.",
  ],
  [
    CommandId.keys,
    "keys",
    2,
    "readonly",
    NO_KEYS,
    "generic",
    "1.0.0",
    "O(N)",
    "Lists keys that match, if they are not too many.",
  ],
  [
    CommandId.wait,
    "wait",
    3,
    "noscript",
    NO_KEYS,
    "generic",
    "3.0.0",
    "O(1)",
    "Counts the other copies of what was set.",
  ],
]

export const COMMANDS: readonly CommandSpec[] = ROWS.map(
  ([id, name, arity, flags, [firstKey, lastKey, keyStep], group, since, complexity, summary]) => ({
    id,
    name,
    arity,
    flags: flags.split(" "),
    firstKey,
    lastKey,
    keyStep,
    group,
    since,
    complexity,
    summary,
    arityError: `ERR wrong number of arguments for '${name}' command`,
  }),
)

const NAME_BYTES_MAX = 16
const BY_HASH = hashCommands()

function hashCommands(): ReadonlyMap<number, CommandSpec> {
  const byHash = new Map<number, CommandSpec>()
  for (const spec of COMMANDS) {
    const name = Buffer.from(spec.name)
    const hash = hashName(name, 0, name.length)
    assert(!byHash.has(hash), "command table: two names of one hash")
    byHash.set(hash, spec)
  }
  assert(byHash.size === COMMANDS.length, "command table: every command is found by its hash")
  return byHash
}

/** Small integers only, so that a map finds them without allocating. */
function hashName(buffer: Buffer, start: number, bytes: number): number {
  let hash = bytes
  for (let index = start; index < start + bytes; index += 1) {
    hash = (hash * 31 + lower(buffer[index] ?? 0)) & 0x3fff_ffff
  }
  return hash
}

/** The command of this name in any case of letters. */
export function findCommand(buffer: Buffer, start: number, bytes: number): CommandSpec | undefined {
  if (bytes > NAME_BYTES_MAX) {
    return undefined
  }
  const spec = BY_HASH.get(hashName(buffer, start, bytes))
  return spec !== undefined && isWord(buffer, start, bytes, spec.name) ? spec : undefined
}

/** Whether the bytes are `word`, which is in lower case, in any case of letters. */
export function isWord(buffer: Buffer, start: number, bytes: number, word: string): boolean {
  if (bytes !== word.length) {
    return false
  }
  for (let index = 0; index < bytes; index += 1) {
    if (lower(buffer[start + index] ?? 0) !== word.charCodeAt(index)) {
      return false
    }
  }
  return true
}

export function isArity(spec: CommandSpec, argumentCount: number): boolean {
  return spec.arity >= 0 ? argumentCount === spec.arity : argumentCount >= -spec.arity
}
