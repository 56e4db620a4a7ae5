/**
 * Executes one parsed command: answers it here, or encodes it into the batch that its session fills. Every answer,
 * refusals included, takes its turn behind the earlier ones of its connection. Plane: data.
 */
import { EXPIRES_AT_MS_MAX, EXPIRES_MS_MAX } from "../state_machine/batch_reader.ts"
import { CommandCode, CommandFlag } from "../state_machine/command.ts"
import { assert, unreachable } from "../types/assert.ts"
import type { ClusterLimits } from "../types/limits.ts"
import { type CommandFields, EntryKind } from "./batch.ts"
import type { Connection } from "./connection.ts"
import type { Introspection } from "./introspection.ts"
import { argumentBytes, type RespAccess } from "./resp_access.ts"
import { CLIENT_NAME_BYTES_MAX, ECHO_BYTES_MAX, KEYS_COUNT_MAX, SCAN_COUNT, SCAN_COUNT_MAX } from "./limits.ts"
import { CommandId, type CommandSpec, findCommand, isArity, isWord } from "./resp/command_table.ts"
import { type IntegerHalves, isMinimum, negate, readInteger, toSafeInteger } from "./resp/integer.ts"
import type { RequestParser } from "./resp/parser.ts"
import type { ReplyWriter } from "./resp/reply_writer.ts"
import type { Texts } from "./texts.ts"

const MS_PER_SECOND = 1000
const SYNTAX_ERROR = "ERR syntax error"
/** The pattern of a SCAN without one. */
const STAR_BYTES = Buffer.from("*")
const POSITION_MAX = 0x7fff_ffff

export type ExecutorOptions = {
  readonly limits: ClusterLimits
  readonly texts: Texts
  readonly introspection: Introspection
  readonly access: RespAccess
  /** Milliseconds of the gateway's clock. */
  readonly now: () => number
}

const AUTH_REFUSED =
  "ERR AUTH <password> called without any password configured for the default user. " +
  "Are you sure your configuration is correct?"
const NOAUTH = "NOAUTH Authentication required."
const HELLO_NOAUTH =
  "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> " +
  "option can be used to authenticate the client and select the RESP protocol version at the same time"
const WRONGPASS = "WRONGPASS invalid username-password pair or user is disabled."

function isBeforeLogin(id: CommandId): boolean {
  return id === CommandId.auth || id === CommandId.hello || id === CommandId.quit
}

export class CommandExecutor {
  readonly #limits: ClusterLimits
  readonly #texts: Texts
  readonly #introspection: Introspection
  readonly #access: RespAccess
  readonly #now: () => number
  readonly #fields: CommandFields = {
    code: 0,
    flags: 0,
    keyStart: 0,
    keyBytes: 0,
    valueStart: 0,
    valueBytes: 0,
    high: 0,
    low: 0,
  }
  readonly #integer: IntegerHalves = { high: 0, low: 0 }
  /** Where the local answer that is being written starts. */
  #localStart = 0
  refused = 0

  constructor(options: ExecutorOptions) {
    this.#limits = options.limits
    this.#texts = options.texts
    this.#introspection = options.introspection
    this.#access = options.access
    this.#now = options.now
  }

  /** False: there is no room for it yet. Nothing was done then, and the same command may be executed again. */
  execute(connection: Connection): boolean {
    const { parser } = connection
    const spec = findCommand(parser.buffer, parser.start(0), parser.keptBytes(0))
    if (spec === undefined) {
      return this.#unknown(connection)
    }
    if (!isArity(spec, parser.argumentCount)) {
      return this.#error(connection, spec.arityError)
    }
    if (!this.#access.isAllowed(connection.login) && !isBeforeLogin(spec.id)) {
      return this.#error(connection, NOAUTH)
    }
    return this.#dispatch(connection, spec)
  }

  #dispatch(connection: Connection, spec: CommandSpec): boolean {
    switch (spec.id) {
      case CommandId.ping:
        return this.#ping(connection, spec)
      case CommandId.echo:
        return this.#echo(connection, 1)
      case CommandId.set:
        return this.#set(connection, spec)
      case CommandId.get:
        return this.#keyed(connection, CommandCode.get, 0, 0)
      case CommandId.del:
      case CommandId.unlink:
        return this.#keys(connection, CommandCode.del, EntryKind.sum)
      case CommandId.exists:
      case CommandId.touch:
        return this.#keys(connection, CommandCode.exists, EntryKind.sum)
      case CommandId.mget:
        return this.#keys(connection, CommandCode.get, EntryKind.values)
      case CommandId.incr:
        return this.#keyed(connection, CommandCode.incr_by, 0, 1)
      case CommandId.decr:
        return this.#keyed(connection, CommandCode.incr_by, -1, 0xffff_ffff)
      case CommandId.incrby:
      case CommandId.decrby:
        return this.#addition(connection, spec.id === CommandId.decrby)
      case CommandId.dbsize:
        return this.#dbSize(connection)
      case CommandId.getdel:
        return this.#keyed(connection, CommandCode.get_del, 0, 0)
      case CommandId.getex:
        return this.#getEx(connection, spec)
      case CommandId.setex:
        return this.#setFor(connection, spec, MS_PER_SECOND)
      case CommandId.psetex:
        return this.#setFor(connection, spec, 1)
      case CommandId.setnx:
        return this.#setAs(connection, CommandFlag.nx, EntryKind.flag)
      case CommandId.getset:
        return this.#setAs(connection, CommandFlag.get, EntryKind.single)
      case CommandId.mset:
        return this.#pairs(connection, spec)
      case CommandId.append:
        this.#clearFields(CommandCode.append)
        return this.#valued(connection, 2, EntryKind.single)
      case CommandId.strlen:
        return this.#keyed(connection, CommandCode.str_len, 0, 0)
      case CommandId.setrange:
        return this.#setRange(connection)
      case CommandId.getrange:
      case CommandId.substr:
        return this.#getRange(connection)
      case CommandId.type:
        this.#clearFields(CommandCode.exists)
        return this.#keyedFields(connection, EntryKind.type)
      case CommandId.expire:
        return this.#expire(connection, spec, MS_PER_SECOND, 0)
      case CommandId.pexpire:
        return this.#expire(connection, spec, 1, 0)
      case CommandId.expireat:
        return this.#expire(connection, spec, MS_PER_SECOND, CommandFlag.absolute)
      case CommandId.pexpireat:
        return this.#expire(connection, spec, 1, CommandFlag.absolute)
      case CommandId.ttl:
        return this.#ttl(connection, EntryKind.seconds, 0)
      case CommandId.pttl:
        return this.#ttl(connection, EntryKind.single, 0)
      case CommandId.expiretime:
        return this.#ttl(connection, EntryKind.seconds, CommandFlag.absolute)
      case CommandId.pexpiretime:
        return this.#ttl(connection, EntryKind.single, CommandFlag.absolute)
      case CommandId.persist:
        return this.#keyed(connection, CommandCode.persist, 0, 0)
      case CommandId.rename:
        return this.#rename(connection, 0)
      case CommandId.renamenx:
        return this.#rename(connection, CommandFlag.nx)
      case CommandId.scan:
        return this.#scan(connection)
      case CommandId.keys:
        this.#clearFields(CommandCode.scan)
        this.#fields.high = KEYS_COUNT_MAX
        return this.#matched(connection, 1, EntryKind.keys)
      case CommandId.hello:
        return this.#hello(connection)
      case CommandId.auth:
        return this.#auth(connection)
      case CommandId.acl:
      case CommandId.wait:
      case CommandId.info:
      case CommandId.command:
      case CommandId.client:
      case CommandId.select:
      case CommandId.quit:
        return this.#local(connection, spec.id)
      default:
        return unreachable(spec.id)
    }
  }

  // ---------------------------------------------------------------- answered here

  /** Where the next local answer goes; undefined when there is no room for one. */
  #beginLocal(connection: Connection): ReplyWriter | undefined {
    if (connection.pending === 0) {
      return connection.out
    }
    const batch = connection.session.filling
    if (!batch.hasLocalRoom()) {
      return undefined
    }
    this.#localStart = batch.local.length
    return batch.local
  }

  #endLocal(connection: Connection, out: ReplyWriter, closes: boolean): boolean {
    if (out === connection.out) {
      connection.onAnswer(closes)
    } else {
      connection.session.filling.addLocal(connection, this.#localStart, closes)
    }
    return true
  }

  #error(connection: Connection, text: string): boolean {
    const out = this.#beginLocal(connection)
    if (out === undefined) {
      return false
    }
    this.refused += 1
    out.error(text)
    return this.#endLocal(connection, out, false)
  }

  /** The last words to a client whose stream is broken. */
  executeError(connection: Connection): boolean {
    const out = this.#beginLocal(connection)
    if (out === undefined) {
      return false
    }
    this.refused += 1
    connection.beginClosing()
    out.error(connection.parser.error)
    return this.#endLocal(connection, out, true)
  }

  #unknown(connection: Connection): boolean {
    const { parser } = connection
    const start = parser.start(0)
    const bytes = parser.keptBytes(0)
    // As Redis: a browser that was made to talk to this port says one of these, and whatever follows is not for us.
    if (isWord(parser.buffer, start, bytes, "post") || isWord(parser.buffer, start, bytes, "host:")) {
      this.refused += 1
      connection.destroy()
      return true
    }
    return this.#error(connection, this.#introspection.unknownCommand(parser))
  }

  #ping(connection: Connection, spec: CommandSpec): boolean {
    if (connection.parser.argumentCount > 2) {
      return this.#error(connection, spec.arityError)
    }
    if (connection.parser.argumentCount === 2) {
      return this.#echo(connection, 1)
    }
    const out = this.#beginLocal(connection)
    if (out === undefined) {
      return false
    }
    out.simple("PONG")
    return this.#endLocal(connection, out, false)
  }

  #echo(connection: Connection, argument: number): boolean {
    const { parser } = connection
    const bytes = parser.bytes(argument)
    if (bytes > ECHO_BYTES_MAX) {
      return this.#error(connection, this.#texts.echoTooLong)
    }
    const out = this.#beginLocal(connection)
    if (out === undefined) {
      return false
    }
    out.bulk(parser.buffer, parser.start(argument), bytes)
    return this.#endLocal(connection, out, false)
  }

  #local(connection: Connection, id: CommandId): boolean {
    const out = this.#beginLocal(connection)
    if (out === undefined) {
      return false
    }
    switch (id) {
      case CommandId.hello:
        this.#introspection.hello(connection, out)
        break
      case CommandId.acl:
        this.#introspection.acl(connection.parser, out)
        break
      case CommandId.info:
        this.#introspection.info(connection.parser, out)
        break
      case CommandId.command:
        this.#introspection.command(connection, out)
        break
      case CommandId.client:
        this.#client(connection, out)
        break
      case CommandId.select:
        this.#select(connection.parser, out)
        break
      case CommandId.wait:
        this.#wait(connection.parser, out)
        break
      default:
        assert(id === CommandId.quit, "executor: the last local command is QUIT")
        connection.beginClosing()
        out.simple("OK")
    }
    return this.#endLocal(connection, out, id === CommandId.quit)
  }

  #auth(connection: Connection): boolean {
    const { parser } = connection
    if (parser.argumentCount > 3 || !this.#access.isRequired) {
      return this.#error(connection, parser.argumentCount > 3 ? "ERR syntax error" : AUTH_REFUSED)
    }
    const out = this.#beginLocal(connection)
    if (out === undefined || !this.#login(connection, parser.argumentCount === 3 ? 1 : 0)) {
      return false
    }
    if (this.#access.isAllowed(connection.login)) {
      out.simple("OK")
    } else {
      this.refused += 1
      out.error(WRONGPASS)
    }
    return this.#endLocal(connection, out, false)
  }

  #hello(connection: Connection): boolean {
    const user = this.#introspection.userInHello(connection.parser)
    if (this.#access.isRequired && user > 0) {
      if (!this.#login(connection, user)) {
        return false
      }
      if (!this.#access.isAllowed(connection.login)) {
        return this.#error(connection, WRONGPASS)
      }
    } else if (!this.#access.isAllowed(connection.login)) {
      return this.#error(connection, HELLO_NOAUTH)
    } else if (user > 0) {
      return this.#error(connection, AUTH_REFUSED)
    }
    return this.#local(connection, CommandId.hello)
  }

  /** The user stands in argument `user`, 0 for the default one, and the password behind it. False: wait. */
  #login(connection: Connection, user: number): boolean {
    const { parser, login } = connection
    const name = user === 0 ? undefined : argumentBytes(parser, user)
    return this.#access.login(login, name, argumentBytes(parser, user + 1), this.#now())
  }

  #wait(parser: RequestParser, out: ReplyWriter): void {
    if (!readInteger(parser.buffer, parser.start(1), parser.keptBytes(1), this.#integer)) {
      out.error(this.#texts.notAnInteger)
    } else if (!readInteger(parser.buffer, parser.start(2), parser.keptBytes(2), this.#integer)) {
      out.error("ERR timeout is not an integer or out of range")
    } else if (this.#integer.high < 0) {
      out.error("ERR timeout is negative")
    } else {
      this.#introspection.wait(out)
    }
  }

  #select(parser: RequestParser, out: ReplyWriter): void {
    if (!readInteger(parser.buffer, parser.start(1), parser.keptBytes(1), this.#integer)) {
      out.error("ERR value is not an integer or out of range")
    } else if (this.#integer.high !== 0 || this.#integer.low !== 0) {
      out.error("ERR DB index is out of range")
    } else {
      out.simple("OK")
    }
  }

  #client(connection: Connection, out: ReplyWriter): void {
    const { parser } = connection
    const start = parser.start(1)
    const bytes = parser.keptBytes(1)
    const count = parser.argumentCount
    if (isWord(parser.buffer, start, bytes, "id")) {
      if (count === 2) {
        out.integer(connection.id)
      } else {
        out.error("ERR wrong number of arguments for 'client|id' command")
      }
    } else if (isWord(parser.buffer, start, bytes, "getname")) {
      if (count !== 2) {
        out.error("ERR wrong number of arguments for 'client|getname' command")
      } else if (connection.name === "") {
        out.null(connection.protocol)
      } else {
        out.bulkText(connection.name)
      }
    } else if (isWord(parser.buffer, start, bytes, "setname")) {
      if (count === 3) {
        this.#setName(connection, out, 2)
      } else {
        out.error("ERR wrong number of arguments for 'client|setname' command")
      }
    } else if (isWord(parser.buffer, start, bytes, "setinfo")) {
      if (count === 4) {
        out.simple("OK")
      } else {
        out.error("ERR wrong number of arguments for 'client|setinfo' command")
      }
    } else {
      out.error(this.#introspection.unknownSubcommand(parser, "CLIENT"))
    }
  }

  #setName(connection: Connection, out: ReplyWriter, argument: number): void {
    const problem = this.#introspection.setName(connection, argument, CLIENT_NAME_BYTES_MAX)
    if (problem === "") {
      out.simple("OK")
    } else {
      out.error(problem)
    }
  }

  // ---------------------------------------------------------------- answered by the cluster

  /** No room in the batch: wait for it, unless that could take long. */
  #full(connection: Connection): boolean {
    if (connection.session.isStalled(this.#now())) {
      return this.#error(connection, this.#texts.busy)
    }
    return false
  }

  /** Fills in the key; false when it is too long. */
  #setKey(parser: RequestParser, argument: number): boolean {
    const { key_bytes_max } = this.#limits
    this.#fields.keyStart = parser.start(argument)
    this.#fields.keyBytes = parser.bytes(argument)
    return this.#fields.keyBytes <= key_bytes_max
  }

  #clearFields(code: number): void {
    const fields = this.#fields
    fields.code = code
    fields.flags = 0
    fields.keyStart = 0
    fields.keyBytes = 0
    fields.valueStart = 0
    fields.valueBytes = 0
    fields.high = 0
    fields.low = 0
  }

  /** A command whose first argument is its key, with a number that stands in the command. */
  #keyed(connection: Connection, code: number, high: number, low: number): boolean {
    this.#clearFields(code)
    this.#fields.high = high
    this.#fields.low = low
    return this.#keyedFields(connection, EntryKind.single)
  }

  /** The fields with the first argument as the key, and no value. */
  #keyedFields(connection: Connection, kind: EntryKind): boolean {
    const { parser } = connection
    if (!this.#setKey(parser, 1)) {
      return this.#error(connection, this.#texts.keyTooLong(parser.bytes(1)))
    }
    return this.#single(connection, kind)
  }

  /** The fields as one entry. */
  #single(connection: Connection, kind: EntryKind, source = connection.parser.buffer): boolean {
    const batch = connection.session.filling
    if (!batch.hasRoom(1, this.#fields.keyBytes + this.#fields.valueBytes)) {
      return this.#full(connection)
    }
    batch.put(this.#fields, source)
    batch.endEntry(connection, kind, connection.protocol)
    return true
  }

  #addition(connection: Connection, isSubtraction: boolean): boolean {
    const { parser } = connection
    if (!readInteger(parser.buffer, parser.start(2), parser.keptBytes(2), this.#integer)) {
      return this.#error(connection, this.#texts.notAnInteger)
    }
    if (isSubtraction) {
      if (isMinimum(this.#integer)) {
        return this.#error(connection, "ERR decrement would overflow")
      }
      negate(this.#integer)
    }
    return this.#keyed(connection, CommandCode.incr_by, this.#integer.high, this.#integer.low)
  }

  #dbSize(connection: Connection): boolean {
    this.#clearFields(CommandCode.db_size)
    return this.#single(connection, EntryKind.single)
  }

  /** A command for each key, one answer for all. */
  #keys(connection: Connection, code: number, kind: EntryKind): boolean {
    const { parser } = connection
    const keys = parser.argumentCount - 1
    let bytes = 0
    for (let argument = 1; argument <= keys; argument += 1) {
      const keyBytes = parser.bytes(argument)
      if (keyBytes > this.#limits.key_bytes_max) {
        return this.#error(connection, this.#texts.keyTooLong(keyBytes))
      }
      bytes += keyBytes
    }
    const batch = connection.session.filling
    if (!batch.hasRoom(keys, bytes)) {
      return this.#full(connection)
    }
    this.#clearFields(code)
    for (let argument = 1; argument <= keys; argument += 1) {
      const isShort = this.#setKey(parser, argument)
      assert(isShort, "executor: keys were measured above")
      batch.put(this.#fields, parser.buffer)
    }
    batch.endEntry(connection, kind, connection.protocol)
    return true
  }

  /** MSET: keys and values in turn, one answer for all. */
  #pairs(connection: Connection, spec: CommandSpec): boolean {
    const { parser } = connection
    const words = parser.argumentCount
    if (words % 2 === 0) {
      return this.#error(connection, spec.arityError)
    }
    let bytes = 0
    for (let argument = 1; argument < words; argument += 2) {
      const problem = this.#tooLong(parser, argument, argument + 1)
      if (problem !== "") {
        return this.#error(connection, problem)
      }
      bytes += parser.bytes(argument) + parser.bytes(argument + 1)
    }
    const batch = connection.session.filling
    if (!batch.hasRoom((words - 1) / 2, bytes)) {
      return this.#full(connection)
    }
    this.#clearFields(CommandCode.set)
    for (let argument = 1; argument < words; argument += 2) {
      this.#setValue(parser, argument, argument + 1)
      batch.put(this.#fields, parser.buffer)
    }
    batch.endEntry(connection, EntryKind.all, connection.protocol)
    return true
  }

  /** What is wrong with the length of a key and its value, or "". */
  #tooLong(parser: RequestParser, key: number, value: number): string {
    if (parser.bytes(key) > this.#limits.key_bytes_max) {
      return this.#texts.keyTooLong(parser.bytes(key))
    }
    return parser.bytes(value) > this.#limits.value_bytes_max ? this.#texts.valueTooLong(parser.bytes(value)) : ""
  }

  /** Fills in key and value, which were measured. */
  #setValue(parser: RequestParser, key: number, value: number): void {
    const isShort = this.#setKey(parser, key)
    assert(isShort, "executor: a key and its value were measured before")
    this.#fields.valueStart = parser.start(value)
    this.#fields.valueBytes = parser.bytes(value)
  }

  /** The fields with the first argument as the key and argument `value` as the value. */
  #valued(connection: Connection, value: number, kind: EntryKind): boolean {
    const { parser } = connection
    const problem = this.#tooLong(parser, 1, value)
    if (problem !== "") {
      return this.#error(connection, problem)
    }
    this.#setValue(parser, 1, value)
    return this.#single(connection, kind)
  }

  /** A SET under another name. */
  #setAs(connection: Connection, flags: number, kind: EntryKind): boolean {
    this.#clearFields(CommandCode.set)
    this.#fields.flags = flags
    return this.#valued(connection, 2, kind)
  }

  #set(connection: Connection, spec: CommandSpec): boolean {
    this.#clearFields(CommandCode.set)
    const problem = this.#options(connection.parser, spec, 3)
    return problem === "" ? this.#valued(connection, 2, EntryKind.single) : this.#error(connection, problem)
  }

  /** SETEX and PSETEX. */
  #setFor(connection: Connection, spec: CommandSpec, unit: number): boolean {
    this.#clearFields(CommandCode.set)
    const problem = this.#expiry(connection.parser, spec, 2, unit)
    return problem === "" ? this.#valued(connection, 3, EntryKind.single) : this.#error(connection, problem)
  }

  #getEx(connection: Connection, spec: CommandSpec): boolean {
    this.#clearFields(CommandCode.get_ex)
    const problem = this.#options(connection.parser, spec, 2)
    return problem === "" ? this.#keyedFields(connection, EntryKind.single) : this.#error(connection, problem)
  }

  /** Flags and expiry of SET and GETEX; the text of an error, or "". As Redis: the form first, then the time. */
  #options(parser: RequestParser, spec: CommandSpec, first: number): string {
    const fields = this.#fields
    const isSet = spec.id === CommandId.set
    let time = 0
    let timeKind = 0
    let unit = 1
    for (let argument = first; argument < parser.argumentCount; argument += 1) {
      const start = parser.start(argument)
      const bytes = parser.keptBytes(argument)
      if (isSet && isWord(parser.buffer, start, bytes, "nx") && (fields.flags & CommandFlag.xx) === 0) {
        fields.flags |= CommandFlag.nx
      } else if (isSet && isWord(parser.buffer, start, bytes, "xx") && (fields.flags & CommandFlag.nx) === 0) {
        fields.flags |= CommandFlag.xx
      } else if (isSet && isWord(parser.buffer, start, bytes, "get")) {
        fields.flags |= CommandFlag.get
      } else if (isWord(parser.buffer, start, bytes, isSet ? "keepttl" : "persist") && time === 0) {
        fields.flags |= CommandFlag.keeps
      } else {
        const isSeconds = isWord(parser.buffer, start, bytes, "ex")
        const isLast = isWord(parser.buffer, start, bytes, "exat") || isWord(parser.buffer, start, bytes, "pxat")
        if (!isSeconds && !isLast && !isWord(parser.buffer, start, bytes, "px")) {
          return SYNTAX_ERROR
        }
        argument += 1
        const isKept = (fields.flags & CommandFlag.keeps) !== 0
        const isInSeconds = isSeconds || isWord(parser.buffer, start, bytes, "exat")
        const kind = (isLast ? CommandFlag.absolute : 0) + (isInSeconds ? MS_PER_SECOND : 1)
        // As Redis: the same option twice is none too many, and its last word counts.
        if (isKept || (time !== 0 && kind !== timeKind) || argument === parser.argumentCount) {
          return SYNTAX_ERROR
        }
        time = argument
        timeKind = kind
        unit = isInSeconds ? MS_PER_SECOND : 1
        fields.flags |= isLast ? CommandFlag.absolute : 0
      }
    }
    return time === 0 ? "" : this.#expiry(parser, spec, time, unit)
  }

  /** Reads a time that must lie in the future as far as can be told here. */
  #expiry(parser: RequestParser, spec: CommandSpec, argument: number, unit: number): string {
    if (!readInteger(parser.buffer, parser.start(argument), parser.keptBytes(argument), this.#integer)) {
      return this.#texts.notAnInteger
    }
    const ms = toSafeInteger(this.#integer) * unit
    // NaN, a number beyond 2^53, is neither.
    if (!(ms > 0 && ms <= this.#msMax())) {
      return this.#texts.invalidExpiry(spec.name)
    }
    this.#fields.flags |= CommandFlag.expires
    this.#setMs(ms)
    return ""
  }

  #msMax(): number {
    return (this.#fields.flags & CommandFlag.absolute) === 0 ? EXPIRES_MS_MAX : EXPIRES_AT_MS_MAX
  }

  #setMs(ms: number): void {
    this.#fields.high = Math.floor(ms / 0x1_0000_0000)
    this.#fields.low = ms - this.#fields.high * 0x1_0000_0000
  }

  /** The EXPIRE family. */
  #expire(connection: Connection, spec: CommandSpec, unit: number, absolute: number): boolean {
    const { parser } = connection
    this.#clearFields(CommandCode.expire)
    this.#fields.flags = absolute
    const problem = this.#expireOptions(parser)
    if (problem !== "") {
      return this.#error(connection, problem)
    }
    if (!readInteger(parser.buffer, parser.start(2), parser.keptBytes(2), this.#integer)) {
      return this.#error(connection, this.#texts.notAnInteger)
    }
    // How long ago makes no difference.
    const isNegative = this.#integer.high < 0
    const ms = isNegative && Number.isNaN(toSafeInteger(this.#integer)) ? -EXPIRES_MS_MAX : this.#ms(unit)
    if (!(ms <= this.#msMax())) {
      return this.#error(connection, this.#texts.invalidExpiry(spec.name))
    }
    this.#setMs(Math.max(ms, -EXPIRES_MS_MAX))
    return this.#keyedFields(connection, EntryKind.single)
  }

  #ms(unit: number): number {
    return toSafeInteger(this.#integer) * unit
  }

  #expireOptions(parser: RequestParser): string {
    const fields = this.#fields
    for (let argument = 3; argument < parser.argumentCount; argument += 1) {
      const start = parser.start(argument)
      const bytes = parser.keptBytes(argument)
      if (isWord(parser.buffer, start, bytes, "nx")) {
        fields.flags |= CommandFlag.nx
      } else if (isWord(parser.buffer, start, bytes, "xx")) {
        fields.flags |= CommandFlag.xx
      } else if (isWord(parser.buffer, start, bytes, "gt")) {
        fields.flags |= CommandFlag.gt
      } else if (isWord(parser.buffer, start, bytes, "lt")) {
        fields.flags |= CommandFlag.lt
      } else {
        return this.#texts.unsupportedOption(parser.buffer.toString("latin1", start, start + bytes))
      }
    }
    const isWith = (fields.flags & (CommandFlag.xx | CommandFlag.gt | CommandFlag.lt)) !== 0
    if ((fields.flags & CommandFlag.nx) !== 0 && isWith) {
      return "ERR NX and XX, GT or LT options at the same time are not compatible"
    }
    const isBoth = (fields.flags & CommandFlag.gt) !== 0 && (fields.flags & CommandFlag.lt) !== 0
    return isBoth ? "ERR GT and LT options at the same time are not compatible" : ""
  }

  #ttl(connection: Connection, kind: EntryKind, absolute: number): boolean {
    this.#clearFields(CommandCode.ttl)
    this.#fields.flags = absolute
    return this.#keyedFields(connection, kind)
  }

  #setRange(connection: Connection): boolean {
    const { parser } = connection
    if (!readInteger(parser.buffer, parser.start(2), parser.keptBytes(2), this.#integer)) {
      return this.#error(connection, this.#texts.notAnInteger)
    }
    if (this.#integer.high < 0) {
      return this.#error(connection, "ERR offset is out of range")
    }
    this.#clearFields(CommandCode.set_range)
    this.#fields.high = this.#integer.high
    this.#fields.low = this.#integer.low
    return this.#valued(connection, 3, EntryKind.single)
  }

  #getRange(connection: Connection): boolean {
    const { parser } = connection
    this.#clearFields(CommandCode.get_range)
    if (!readInteger(parser.buffer, parser.start(2), parser.keptBytes(2), this.#integer)) {
      return this.#error(connection, this.#texts.notAnInteger)
    }
    this.#fields.low = clamp(this.#integer) >>> 0
    if (!readInteger(parser.buffer, parser.start(3), parser.keptBytes(3), this.#integer)) {
      return this.#error(connection, this.#texts.notAnInteger)
    }
    this.#fields.high = clamp(this.#integer)
    return this.#keyedFields(connection, EntryKind.single)
  }

  #rename(connection: Connection, flags: number): boolean {
    const { parser } = connection
    this.#clearFields(CommandCode.rename)
    this.#fields.flags = flags
    if (parser.bytes(2) > this.#limits.key_bytes_max) {
      return this.#error(connection, this.#texts.keyTooLong(parser.bytes(2)))
    }
    return this.#valued(connection, 2, EntryKind.renamed)
  }

  #scan(connection: Connection): boolean {
    const { parser } = connection
    this.#clearFields(CommandCode.scan)
    const isCursor = readInteger(parser.buffer, parser.start(1), parser.keptBytes(1), this.#integer)
    if (!isCursor || this.#integer.high !== 0) {
      return this.#error(connection, "ERR invalid cursor")
    }
    this.#fields.low = this.#integer.low
    this.#fields.high = SCAN_COUNT
    let pattern = 0
    for (let argument = 2; argument < parser.argumentCount; argument += 2) {
      const start = parser.start(argument)
      const bytes = parser.keptBytes(argument)
      if (argument + 1 === parser.argumentCount) {
        return this.#error(connection, SYNTAX_ERROR)
      }
      if (isWord(parser.buffer, start, bytes, "match")) {
        pattern = argument + 1
      } else if (isWord(parser.buffer, start, bytes, "count")) {
        const at = argument + 1
        if (!readInteger(parser.buffer, parser.start(at), parser.keptBytes(at), this.#integer)) {
          return this.#error(connection, this.#texts.notAnInteger)
        }
        const count = clamp(this.#integer)
        if (count < 1) {
          return this.#error(connection, SYNTAX_ERROR)
        }
        this.#fields.high = Math.min(count, SCAN_COUNT_MAX)
      } else {
        return this.#error(connection, SYNTAX_ERROR)
      }
    }
    return this.#matched(connection, pattern, EntryKind.scan)
  }

  /** A scan with the pattern that argument `pattern` is; 0 for all. */
  #matched(connection: Connection, pattern: number, kind: EntryKind): boolean {
    const { parser } = connection
    if (pattern === 0) {
      this.#fields.valueBytes = STAR_BYTES.length
      return this.#single(connection, kind, STAR_BYTES)
    }
    if (parser.bytes(pattern) > this.#limits.key_bytes_max) {
      return this.#error(connection, this.#texts.patternTooLong(parser.bytes(pattern)))
    }
    this.#fields.valueStart = parser.start(pattern)
    this.#fields.valueBytes = parser.bytes(pattern)
    return this.#single(connection, kind)
  }
}

/** Within 32 signed bits: no value has as many bytes. */
function clamp(value: IntegerHalves): number {
  if (value.high > 0 || (value.high === 0 && value.low > POSITION_MAX)) {
    return POSITION_MAX
  }
  if (value.high < -1 || (value.high === -1 && value.low < POSITION_MAX)) {
    return -POSITION_MAX
  }
  return value.low | 0
}
