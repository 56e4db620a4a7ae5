/** Every command over a real replica, in one chunk and byte by byte, byte-exact. Plane: control. */
import { beforeAll, beforeEach, expect, test } from "vitest"
import { LOCAL_REPLY_BYTES_MAX } from "../../../appliance/gateway/limits.ts"
import { encodeMachineRecord, type MachineRecord } from "../../../appliance/state_machine/machine_record.ts"
import { CommandCode } from "../../../appliance/state_machine/command.ts"
import { readMachines } from "../../../appliance/gateway/machines_reader.ts"
import { ClusterOfOne } from "./cluster_of_one.ts"
import { encodeCommand, TestClient } from "./test_client.ts"

const AUTH_ERROR =
  "-ERR AUTH <password> called without any password configured for the default user. " +
  "Are you sure your configuration is correct?"
const NOT_AN_INTEGER = "-ERR value is not an integer or out of range"

const greeting = (protocol: number): string =>
  `$6|server|$5|redis|$7|version|$5|7.2.0|$5|proto|:${protocol}|$2|id|:1|` +
  "$4|mode|$10|standalone|$4|role|$6|master|$7|modules|*0|"

type Case = readonly [command: string, reply: string]

/** One connection's life: each line is a command and its reply, `|` for CR LF. */
const LIFE: readonly Case[] = [
  ["PING", "+PONG|"],
  ["ping hello", "$5|hello|"],
  ["PING a b", "-ERR wrong number of arguments for 'ping' command|"],
  ["ECHO hi", "$2|hi|"],
  ["ECHO", "-ERR wrong number of arguments for 'echo' command|"],
  ["SET a 1", "+OK|"],
  ["GET a", "$1|1|"],
  ["GET nothing", "$-1|"],
  ["get", "-ERR wrong number of arguments for 'get' command|"],
  ["SET a", "-ERR wrong number of arguments for 'set' command|"],
  ["INCR a", ":2|"],
  ["DECR a", ":1|"],
  ["INCRBY a 41", ":42|"],
  ["DECRBY a 50", ":-8|"],
  ["INCRBY a x", `${NOT_AN_INTEGER}|`],
  ["INCRBY a 9223372036854775808", `${NOT_AN_INTEGER}|`],
  ["DECRBY a -9223372036854775808", "-ERR decrement would overflow|"],
  ["SET big 9223372036854775807", "+OK|"],
  ["INCR big", "-ERR increment or decrement would overflow|"],
  ["DECR big", ":9223372036854775806|"],
  ["SET text abc", "+OK|"],
  ["INCR text", `${NOT_AN_INTEGER}|`],
  ["MGET a b text", "*3|$2|-8|$-1|$3|abc|"],
  ["EXISTS a a b", ":2|"],
  ["DBSIZE", ":3|"],
  ["DEL a b text", ":2|"],
  ["DEL a", ":0|"],
  ["SET n 1 NX", "+OK|"],
  ["SET n 2 NX", "$-1|"],
  ["SET n 3 nx get", "$1|1|"],
  ["SET m 3 XX", "$-1|"],
  ["SET n 4 XX GET", "$1|1|"],
  ["GET n", "$1|4|"],
  ["SET n 5 EX 10", "+OK|"],
  ["SET n 5 px 10", "+OK|"],
  ["SET n 5 EX 0", "-ERR invalid expire time in 'set' command|"],
  ["SET n 5 PX -1", "-ERR invalid expire time in 'set' command|"],
  ["SET n 5 EX 9223372036854775807", "-ERR invalid expire time in 'set' command|"],
  ["SET n 5 PX 3155760000001", "-ERR invalid expire time in 'set' command|"],
  ["SET n 5 PX 3155760000000", "+OK|"],
  ["SET n 5 EX x", `${NOT_AN_INTEGER}|`],
  ["SET n 5 EX", "-ERR syntax error|"],
  ["SET n 5 NX XX", "-ERR syntax error|"],
  ["SET n 5 EX 1 PX 1", "-ERR syntax error|"],
  ["SET n 5 KEEPTTL", "+OK|"],
  ["WAIT 1 0", ":0|"],
  ["SELECT 0", "+OK|"],
  ["SELECT 1", "-ERR DB index is out of range|"],
  ["SELECT x", `${NOT_AN_INTEGER}|`],
  ["AUTH secret", `${AUTH_ERROR}|`],
  ["AUTH user secret", `${AUTH_ERROR}|`],
  ["CLIENT ID", ":1|"],
  ["CLIENT GETNAME", "$-1|"],
  ["CLIENT SETNAME bob", "+OK|"],
  ["CLIENT GETNAME", "$3|bob|"],
  ["CLIENT SETNAME a b", "-ERR wrong number of arguments for 'client|setname' command|".replace("t|s", "t\0s")],
  ["CLIENT SETINFO LIB-NAME x", "+OK|"],
  ["CLIENT KILL", "-ERR unknown subcommand 'KILL'. Try CLIENT HELP.|"],
  ["CLIENT", "-ERR wrong number of arguments for 'client' command|"],
  ["COMMAND COUNT", ":49|"],
  ["COMMAND INFO dbsize", "*1|*10|$6|dbsize|:1|*2|+readonly|+fast|:0|:0|:0|*0|*0|*0|*0|"],
  ["COMMAND INFO nope", "*1|$-1|"],
  ["COMMAND NOPE", "-ERR unknown subcommand 'NOPE'. Try COMMAND HELP.|"],
  ["HELLO 4", "-NOPROTO unsupported protocol version|"],
  ["HELLO x", "-ERR Protocol version is not an integer or out of range|"],
  ["HELLO 3 FOO", "-ERR Syntax error in HELLO option 'FOO'|"],
  ["HELLO 3 AUTH user secret", `${AUTH_ERROR}|`],
  ["HELLO 2 SETNAME eve", `*14|${greeting(2)}`],
  ["CLIENT GETNAME", "$3|eve|"],
  ["ACL WHOAMI", "$7|default|"],
  ["ACL WHOAMI x", "-ERR wrong number of arguments for 'acl\0whoami' command|"],
  ["ACL LIST", "-ERR unknown subcommand 'LIST'. Try ACL HELP.|"],
  ["foo bar", "-ERR unknown command 'foo', with args beginning with: 'bar' |"],
  ["FLUSHALL", "-ERR unknown command 'FLUSHALL', with args beginning with: |"],
  ["HELLO 3", `%7|${greeting(3)}`],
  ["GET nothing", "_|"],
  ["MGET nothing", "*1|_|"],
  [
    "COMMAND DOCS dbsize",
    "%1|$6|dbsize|%4|$7|summary|$16|Counts the keys.|$5|since|$5|1.0.0|$5|group|$6|server|$10|complexity|$4|O(1)|",
  ],
  ["QUIT", "+OK|"],
]

const expected = (reply: string): string => reply.replaceAll("|", "\r\n").replaceAll("\0", "|")

test.each([
  ["one command at a time", "turns", Number.POSITIVE_INFINITY],
  ["all in one chunk", "pipeline", Number.POSITIVE_INFINITY],
  ["byte by byte", "pipeline", 1],
  ["in chunks of seven", "pipeline", 7],
] as const)("%s", (_, mode, chunkBytes) => {
  const cluster = new ClusterOfOne()
  const client = new TestClient(cluster.gateway)
  const encoded = LIFE.map(([command]) => encodeCommand(command.split(" ")))
  const chunks = mode === "turns" ? encoded : [Buffer.concat(encoded)]
  let answered = ""
  for (const [index, chunk] of chunks.entries()) {
    for (let start = 0; start < chunk.length; start += chunkBytes) {
      client.send(chunk.subarray(start, Math.min(chunk.length, start + chunkBytes)))
    }
    cluster.settle()
    const reply = client.take()
    answered += reply
    if (mode === "turns") {
      expect(`${LIFE[index]?.[0]} => ${reply}`).toBe(`${LIFE[index]?.[0]} => ${expected(LIFE[index]?.[1] ?? "")}`)
    }
  }
  expect(answered).toBe(LIFE.map(([, reply]) => expected(reply)).join(""))
  expect(client.isEnded).toBe(true)
})

let cluster: ClusterOfOne
let client: TestClient

beforeAll(() => {
  cluster = new ClusterOfOne()
})

beforeEach(() => {
  client = new TestClient(cluster.gateway)
  return () => client.connection.onClosed()
})

function ask(...words: readonly (string | Buffer)[]): string {
  client.command(...words)
  cluster.settle()
  return client.take()
}

test("what is too long is refused by the name of its limit, and nothing else is lost", () => {
  const value = "v".repeat(65_536)
  expect(ask("SET", "long", value)).toBe("+OK\r\n")
  expect(ask("SET", "long", `${value}v`)).toBe(
    "-ERR value_bytes_max: the value has 65537 bytes, at most 65536 are stored\r\n",
  )
  expect(ask("SET", "long", Buffer.alloc(500_000))).toBe(
    "-ERR value_bytes_max: the value has 500000 bytes, at most 65536 are stored\r\n",
  )
  expect(ask("GET", "long")).toBe(`$65536\r\n${value}\r\n`)
  const key = "k".repeat(257)
  for (const command of [
    ["GET", key],
    ["SET", key, "v"],
    ["DEL", "a", key],
    ["MGET", key],
    ["INCR", key],
  ]) {
    expect(ask(...command)).toBe("-ERR key_bytes_max: the key has 257 bytes, at most 256 are stored\r\n")
  }
  expect(ask("SET", "k".repeat(256), "v")).toBe("+OK\r\n")
  expect(ask("ECHO", Buffer.alloc(70_000))).toBe("-ERR echo_bytes_max: a message has at most 65536 bytes\r\n")
  expect(ask("CLIENT", "SETNAME", "n".repeat(65))).toBe("-ERR client_name_bytes_max: a name has at most 64 bytes\r\n")
  expect(ask("CLIENT", "SETNAME", "a b")).toMatch(/^-ERR Client names cannot contain/)
})

test("a full table is refused by the name of its limit, and what is stored stays", () => {
  const other = new ClusterOfOne()
  const filler = new TestClient(other.gateway)
  const pipeline = Array.from({ length: 4_097 }, (_, index) => encodeCommand(["SET", `k${index}`, "v"]))
  for (const command of pipeline) {
    filler.send(command)
    other.settle()
  }
  const replies = filler.take().split("\r\n")
  expect(replies.filter((reply) => reply === "+OK")).toHaveLength(4_096)
  expect(replies.at(-2)).toBe("-ERR kv_entries_max: at most 4096 keys are stored")
  filler.command("GET", "k0")
  other.settle()
  expect(filler.take()).toBe("$1\r\nv\r\n")
})

test("an unknown command is quoted as Redis does, at most 128 characters of its arguments", () => {
  const long = "x".repeat(200)
  expect(ask("nope", long, "more")).toBe(
    `-ERR unknown command 'nope', with args beginning with: '${"x".repeat(128)}' \r\n`,
  )
  expect(ask("a\r\nb", "c\nd")).toBe("-ERR unknown command 'a  b', with args beginning with: 'c d' \r\n")
})

test("keys and values are bytes", () => {
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, index) => index))
  expect(ask("SET", bytes, bytes)).toBe("+OK\r\n")
  expect(ask("GET", bytes)).toBe(`$256\r\n${bytes.toString("latin1")}\r\n`)
})

test("INFO has our own fields, whole or by section", () => {
  const info = ask("INFO")
  for (const line of ["redis_version:7.2.0", "loading:0", "role:master", "replica_role:primary", "copies:1"]) {
    expect(info).toContain(`${line}\r\n`)
  }
  expect(ask("INFO", "Memory")).toMatch(/^\$\d+\r\n# Memory\r\nused_memory:\d+\r\narena_bytes:\d+\r\n\r\n$/)
  expect(ask("INFO", "nonsense")).toBe("$0\r\n\r\n")
})

test("the longest local answers fit what is kept free for one", () => {
  for (const command of [["INFO"], ["COMMAND"], ["COMMAND", "DOCS"], ["HELLO", "3"]]) {
    expect(ask(...command).length).toBeLessThan(LOCAL_REPLY_BYTES_MAX / 4)
  }
})

test("a browser that was led to this port gets nothing", () => {
  client.send("POST / HTTP/1.1\r\nHost: x\r\n\r\nSET a 1\r\n")
  cluster.settle()
  expect(client.take()).toBe("")
  expect(client.isDestroyed).toBe(true)
})

test("a broken stream gets its earlier answers, one error, and the end", () => {
  client.send("*3\r\n$3\r\nSET\r\n$1\r\nq\r\n$1\r\n1\r\n*1\r\n$524289\r\nPING\r\n")
  cluster.settle()
  expect(client.take()).toBe("+OK\r\n-ERR Protocol error: invalid bulk length\r\n")
  expect(client.isEnded).toBe(true)
})

test("a key expires by cluster time", () => {
  expect(ask("SET", "short", "v", "PX", "100")).toBe("+OK\r\n")
  for (let tick = 0; tick < 20; tick += 1) {
    cluster.tick()
  }
  expect(ask("GET", "short")).toBe("$-1\r\n")
})

test("the machines table is read back page by page", async () => {
  const records = Array.from({ length: 5 }, (_, index) => machineRecord(index))
  for (const record of records) {
    const outcomes: string[] = []
    const onResult = (outcome: string): void => void outcomes.push(outcome)
    const call = {
      code: CommandCode.machine_put,
      key: Buffer.from(record.machine),
      value: Buffer.from(encodeMachineRecord(record)),
      argument: 0,
    }
    expect(cluster.gateway.call(call, { onResult })).toBe(true)
    cluster.settle()
    expect(outcomes).toEqual(["ok"])
  }
  cluster.onDue = () => void setImmediate(() => cluster.settle())
  const read = await readMachines(cluster.gateway)
  cluster.onDue = undefined
  expect(read).toEqual({ ok: true, value: records })
})

function machineRecord(index: number): MachineRecord {
  return {
    machine: `m${index}`,
    address: `10.0.0.${index}`,
    replica_port: 7400,
    slot: index < 3 ? index : -1,
    roles: 1,
    stage: 2,
    firmware: 2,
    ram_bytes: 2 ** 33,
    incarnation: 1,
    boot_count: index,
    boot_id: "0123456789abcdef".repeat(2),
    joined_ms: 1_790_000_000_000,
  }
}

test("WAIT counts the other copies that a majority has", () => {
  class ClusterOfFive extends ClusterOfOne {
    override voterSlots(): readonly number[] {
      return [0, 1, 2, 3, 4]
    }
  }
  const five = new ClusterOfFive()
  const waiter = new TestClient(five.gateway)
  waiter.send(Buffer.concat([encodeCommand(["SET", "a", "1"]), encodeCommand(["WAIT", "4", "0"])]))
  expect(waiter.take()).toBe("")
  five.settle()
  expect(waiter.take()).toBe("+OK\r\n:2\r\n")
})
