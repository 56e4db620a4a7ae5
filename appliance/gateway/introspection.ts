/** What a client may ask of the server itself, and what it is told of commands that there are not. Plane: control. */
import type { HostInfo } from "../orchestration/host_info.ts"
import type { Connection } from "./connection.ts"
import type { GatewayStatus } from "./gateway_status.ts"
import type { ReplicaPort } from "./port.ts"
import { COMMANDS, type CommandSpec, findCommand, isWord } from "./resp/command_table.ts"
import type { RequestParser } from "./resp/parser.ts"
import type { ReplyWriter } from "./resp/reply_writer.ts"

/** The Redis whose behaviour this is; clients choose by it which commands they send. */
const REDIS_VERSION = "7.2.0"
/** Quotes of a client's own words in errors, as long as Redis's. */
const QUOTE_BYTES_MAX = 128

export class Introspection {
  readonly #port: ReplicaPort
  readonly #status: () => GatewayStatus

  constructor(options: { readonly port: ReplicaPort; readonly status: () => GatewayStatus }) {
    this.#port = options.port
    this.#status = options.status
  }

  // ---------------------------------------------------------------- connection

  hello(connection: Connection, out: ReplyWriter): void {
    const problem = this.#helloOptions(connection)
    if (problem !== "") {
      out.error(problem)
      return
    }
    const { protocol } = connection
    out.map(7, protocol)
    out.bulkText("server")
    out.bulkText("redis")
    out.bulkText("version")
    out.bulkText(REDIS_VERSION)
    out.bulkText("proto")
    out.integer(protocol)
    out.bulkText("id")
    out.integer(connection.id)
    out.bulkText("mode")
    out.bulkText("standalone")
    // Every machine takes writes, so to a Redis client each is a master.
    out.bulkText("role")
    out.bulkText("master")
    out.bulkText("modules")
    out.array(0)
  }

  /** All options are judged before any has an effect. */
  #helloOptions(connection: Connection): string {
    const { parser } = connection
    if (parser.argumentCount === 1) {
      return ""
    }
    const version = text(parser, 1)
    if (!/^-?\d{1,18}$/.test(version)) {
      return "ERR Protocol version is not an integer or out of range"
    }
    if (version !== "2" && version !== "3") {
      return "NOPROTO unsupported protocol version"
    }
    let name = -1
    for (let argument = 2; argument < parser.argumentCount; argument += 1) {
      const left = parser.argumentCount - 1 - argument
      if (isArgument(parser, argument, "auth") && left >= 2) {
        // The executor has judged it.
        argument += 2
        continue
      }
      if (isArgument(parser, argument, "setname") && left >= 1) {
        argument += 1
        name = argument
      } else {
        return `ERR Syntax error in HELLO option '${text(parser, argument)}'`
      }
    }
    if (name !== -1) {
      const problem = this.setName(connection, name, Number.POSITIVE_INFINITY)
      if (problem !== "") {
        return problem
      }
    }
    connection.protocol = Number(version)
    return ""
  }

  /** Where HELLO names a user, whose password follows; 0 where it doesn't. */
  userInHello(parser: RequestParser): number {
    for (let argument = 2; argument + 2 < parser.argumentCount; argument += 1) {
      if (isArgument(parser, argument, "auth")) {
        return argument + 1
      }
    }
    return 0
  }

  acl(parser: RequestParser, out: ReplyWriter): void {
    if (isArgument(parser, 1, "whoami")) {
      if (parser.argumentCount === 2) {
        out.bulkText("default")
      } else {
        out.error("ERR wrong number of arguments for 'acl|whoami' command")
      }
    } else {
      out.error(this.unknownSubcommand(parser, "ACL"))
    }
  }

  /** The text of an error, or "". */
  setName(connection: Connection, argument: number, bytesMax: number): string {
    const name = text(connection.parser, argument)
    if (!/^[!-~]*$/.test(name)) {
      return "ERR Client names cannot contain spaces, newlines or special characters."
    }
    if (connection.parser.bytes(argument) > Math.min(bytesMax, QUOTE_BYTES_MAX)) {
      return `ERR client_name_bytes_max: a name has at most ${Math.min(bytesMax, QUOTE_BYTES_MAX)} bytes`
    }
    connection.name = name
    return ""
  }

  // ---------------------------------------------------------------- WAIT

  /**
   * How many machines besides the primary have what this connection's writes were answered OK for: a majority had it
   * before the answer, so there is nothing to wait for, and no more is promised.
   */
  wait(out: ReplyWriter): void {
    out.integer(Math.floor(this.#port.voterSlots().length / 2))
  }

  // ---------------------------------------------------------------- unknown

  /** Redis's own words (server.c), down to the blank at the end. */
  unknownCommand(parser: RequestParser): string {
    let quoted = ""
    for (let argument = 1; argument < parser.argumentCount && quoted.length < QUOTE_BYTES_MAX; argument += 1) {
      quoted += `'${text(parser, argument).slice(0, QUOTE_BYTES_MAX - quoted.length)}' `
    }
    return `ERR unknown command '${text(parser, 0)}', with args beginning with: ${quoted}`
  }

  unknownSubcommand(parser: RequestParser, command: string): string {
    return `ERR unknown subcommand '${text(parser, 1)}'. Try ${command} HELP.`
  }

  // ---------------------------------------------------------------- COMMAND

  command(connection: Connection, out: ReplyWriter): void {
    const { parser, protocol } = connection
    if (parser.argumentCount === 1) {
      out.array(COMMANDS.length)
      for (const spec of COMMANDS) {
        writeInfo(out, spec)
      }
    } else if (isArgument(parser, 1, "count") && parser.argumentCount === 2) {
      out.integer(COMMANDS.length)
    } else if (isArgument(parser, 1, "info")) {
      this.#commandInfo(parser, out, protocol)
    } else if (isArgument(parser, 1, "docs")) {
      this.#commandDocs(parser, out, protocol)
    } else {
      out.error(this.unknownSubcommand(parser, "COMMAND"))
    }
  }

  #commandInfo(parser: RequestParser, out: ReplyWriter, protocol: number): void {
    const specs = named(parser)
    out.array(specs.length)
    for (const spec of specs) {
      if (spec === undefined) {
        out.null(protocol)
      } else {
        writeInfo(out, spec)
      }
    }
  }

  #commandDocs(parser: RequestParser, out: ReplyWriter, protocol: number): void {
    const specs = named(parser).filter((spec) => spec !== undefined)
    out.map(specs.length, protocol)
    for (const spec of specs) {
      out.bulkText(spec.name)
      out.map(4, protocol)
      out.bulkText("summary")
      out.bulkText(spec.summary)
      out.bulkText("since")
      out.bulkText(spec.since)
      out.bulkText("group")
      out.bulkText(spec.group)
      out.bulkText("complexity")
      out.bulkText(spec.complexity)
    }
  }

  // ---------------------------------------------------------------- INFO

  info(parser: RequestParser, out: ReplyWriter): void {
    const wanted = new Set<string>()
    for (let argument = 1; argument < parser.argumentCount; argument += 1) {
      wanted.add(text(parser, argument).toLowerCase())
    }
    const isAll = wanted.size === 0 || ["all", "default", "everything"].some((name) => wanted.has(name))
    const sections = this.#sections().filter(([name]) => isAll || wanted.has(name.toLowerCase()))
    const texts = sections.map(([name, lines]) => {
      const body = Object.entries(lines).map(([key, value]) => `${key}:${value}\r\n`)
      return `# ${name}\r\n${body.join("")}`
    })
    out.bulkText(texts.join("\r\n"))
  }

  #sections(): (readonly [string, Readonly<Record<string, string | number>>])[] {
    const info = this.#port.info()
    const status = this.#status()
    const bytes = info.memory.reduce((sum, { bytes: one }) => sum + one, 0)
    const members = info.members.map(
      (member) =>
        [
          `member${member.slot}`,
          [
            `name=${member.name}`,
            `address=${member.address}`,
            `role=${member.role}`,
            `last_contact_ms=${member.last_contact_ms ?? -1}`,
          ].join(","),
        ] as const,
    )
    return [
      [
        "Server",
        {
          redis_version: REDIS_VERSION,
          redis_mode: "standalone",
          mandala_version: info.version,
          machine: info.name,
          uptime_in_seconds: Math.floor(info.uptime_ms / 1000),
        },
      ],
      [
        "Clients",
        {
          connected_clients: status.connections,
          maxclients: status.connections_max,
          clients_refused: status.counters.connections_refused,
          clients_slow_closed: status.counters.connections_slow_closed,
          password_required: Number(status.password_required),
          password_failures: status.password_failures,
        },
      ],
      ["Memory", { used_memory: bytes, arena_bytes: info.arena_bytes }],
      // Clients wait for `loading:0` before they send anything.
      ["Persistence", { loading: 0 }],
      [
        "Stats",
        {
          total_connections_received: status.counters.connections_accepted,
          total_commands_processed: status.counters.commands,
          batches: status.counters.batches,
          resends: status.counters.resends,
          unknown_outcomes: status.counters.unknown,
        },
      ],
      [
        "Replication",
        {
          // To a Redis client every machine is a master that takes writes; our own fields follow.
          role: "master",
          connected_slaves: Math.max(0, info.copies - 1),
          replica_role: info.primary_slot === info.slot ? "primary" : info.role === "voter" ? "backup" : info.role,
          status: info.status,
          link_security: info.link_security,
          slot: info.slot,
          voters: info.voters,
          incarnation: info.incarnation,
          view: info.view,
          op: info.op,
          commit: info.commit,
          epoch: info.epoch,
          primary_slot: info.primary_slot,
          copies: info.copies,
          voters_live: info.voters_live,
          quorum_margin: info.quorum_margin,
          alarms: info.alarms.map(({ kind }) => kind).join(",") || "none",
          outage: info.outage?.kind ?? "none",
          ...Object.fromEntries(members),
        },
      ],
      ["Checkpoint", checkpointLines(info)],
      ["Keyspace", keyspace(info.tables.find((table) => table.table === "kv")?.used ?? 0)],
    ]
  }
}

function checkpointLines({ checkpoint, memory_faults }: HostInfo): Record<string, string | number> {
  const { copying } = checkpoint
  return {
    certified_op: checkpoint.certified_op,
    certified_root: checkpoint.certified_root,
    certified_age_ms: Math.round(checkpoint.certified_age_ms ?? -1),
    disputed: Number(checkpoint.is_disputed),
    log_full: Number(checkpoint.is_log_full),
    pages: checkpoint.pages,
    pages_changed: checkpoint.pages_changed,
    pages_pending: checkpoint.pages_pending,
    torn: Number(checkpoint.is_torn),
    copying_from: copying === null ? "none" : copying.from_slot,
    copying_pages_left: copying?.pages_left ?? 0,
    scrub_page: checkpoint.scrub_page,
    scrub_round_ms: checkpoint.scrub_round_ms,
    memory_faults: memory_faults.faults,
    memory_faults_max: memory_faults.faults_max,
  }
}

function keyspace(keys: number): Record<string, string> {
  return keys > 0 ? { db0: `keys=${keys},expires=0,avg_ttl=0` } : {}
}

function writeInfo(out: ReplyWriter, spec: CommandSpec): void {
  out.array(10)
  out.bulkText(spec.name)
  out.integer(spec.arity)
  out.array(spec.flags.length)
  for (const flag of spec.flags) {
    out.simple(flag)
  }
  out.integer(spec.firstKey)
  out.integer(spec.lastKey)
  out.integer(spec.keyStep)
  // ACL categories, tips, key specifications and subcommands: none.
  out.array(0)
  out.array(0)
  out.array(0)
  out.array(0)
}

/** The commands that the arguments from the third on name; all when there are none. */
function named(parser: RequestParser): readonly (CommandSpec | undefined)[] {
  if (parser.argumentCount === 2) {
    return COMMANDS
  }
  const specs: (CommandSpec | undefined)[] = []
  // As many names as there are commands: more would ask for the same again, and the answer is bounded.
  for (let argument = 2; argument < Math.min(parser.argumentCount, 2 + COMMANDS.length); argument += 1) {
    specs.push(findCommand(parser.buffer, parser.start(argument), parser.keptBytes(argument)))
  }
  return specs
}

function isArgument(parser: RequestParser, argument: number, word: string): boolean {
  return isWord(parser.buffer, parser.start(argument), parser.keptBytes(argument), word)
}

/** The first bytes of an argument as characters, one a byte, so that an error can quote them. */
function text(parser: RequestParser, argument: number): string {
  const start = parser.start(argument)
  return parser.buffer.toString("latin1", start, start + Math.min(parser.keptBytes(argument), QUOTE_BYTES_MAX))
}
