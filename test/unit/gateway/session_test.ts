/**
 * Sessions over a port whose replicas are scripted: one request in flight, a repeat is the same number with the same
 * bytes, and whatever is not known to be applied or not is called unknown (rules 25 and 26). Plane: control.
 */
import { beforeEach, expect, test } from "vitest"
import {
  REQUEST_TIMEOUT_MS,
  RETRY_REFUSED_MS,
  RETRY_SILENT_MS,
  SESSION_STALLED_MS,
  SESSIONS_PER_GATEWAY,
} from "../../../appliance/gateway/limits.ts"
import type { Outage } from "../../../appliance/orchestration/quorum_watch.ts"
import { ResultError, ResultKind } from "../../../appliance/state_machine/command.ts"
import { Operation } from "../../../appliance/types/contracts.ts"
import { CLUSTER_LIMITS } from "../../../appliance/types/limits.ts"
import { integer, NIL, OK, refusal, ScriptedPort } from "./scripted_port.ts"
import { encodeCommand, TestClient } from "./test_client.ts"

const FULL = refusal(ResultError.reply_bytes_max)
const WITHIN = `within ${REQUEST_TIMEOUT_MS} ms`
const UNKNOWN = `-UNKNOWN no_answer: none came ${WITHIN}; the command may or may not have been applied\r\n`
const NOT_APPLIED = `-CLUSTERDOWN no_primary: no machine took the command ${WITHIN}; it was not applied\r\n`
const READ_TIMEOUT = `-CLUSTERDOWN no_primary: no machine answered the read ${WITHIN}\r\n`

let port: ScriptedPort
let client: TestClient

beforeEach(() => {
  port = new ScriptedPort()
  client = new TestClient(port.gateway)
})

function send(...commands: readonly string[]): void {
  client.send(Buffer.concat(commands.map((command) => encodeCommand(command.split(" ")))))
  port.settle()
}

/** Sends a write and answers the registration that comes before it. */
function sendRegistered(...commands: readonly string[]): void {
  send(...commands)
  port.register(1001)
}

test("connecting registers nothing, nor does reading", () => {
  expect(port.sent).toEqual([])
  send("GET a", "DBSIZE")
  expect(port.sent.map(({ type, slot }) => [type, slot])).toEqual([["read", 0]])
  port.answer("ok", Buffer.concat([NIL, integer(0)]))
  expect(client.take()).toBe("$-1\r\n:0\r\n")
})

test("the first write registers a session, with 16 random bytes", () => {
  send("SET a 1")
  expect(port.last).toMatchObject({ type: "request", operation: Operation.register, session: 0 })
  expect(port.last.body).toHaveLength(16)
  port.register(1001)
  expect(port.last).toMatchObject({ type: "request", operation: Operation.batch, session: 1001, request: 1 })
  port.answer("ok", OK)
  expect(client.take()).toBe("+OK\r\n")
  send("SET a 2", "GET a")
  expect(port.last).toMatchObject({ session: 1001, request: 2 })
})

test("one request in flight: what comes meanwhile is the next batch", () => {
  sendRegistered("SET a 1")
  send("SET b 1")
  send("PING", "SET c 1", "GET a")
  expect(port.sent).toHaveLength(2)
  port.answer("ok", OK)
  expect(client.take()).toBe("+OK\r\n")
  expect(port.sent).toHaveLength(3)
  port.answer("ok", Buffer.concat([OK, OK, NIL]))
  expect(client.take()).toBe("+OK\r\n+PONG\r\n+OK\r\n$-1\r\n")
})

test("replies leave in the order of the commands, those of our own included", () => {
  sendRegistered("SET a 1", "PING", "ECHO x", "HELLO 3", "GET a", "nonsense", "INCR a")
  expect(client.take()).toBe("")
  port.answer("ok", Buffer.concat([OK, NIL, integer(7)]))
  const replies = client.take()
  expect(replies).toMatch(/^\+OK\r\n\+PONG\r\n\$1\r\nx\r\n%7\r\n.*_\r\n-ERR unknown command 'nonsense'.*:7\r\n$/s)
})

test("a repeat has the same number and the same bytes, and goes to the next machine", () => {
  sendRegistered("INCR a")
  const first = port.last
  port.wait(RETRY_SILENT_MS)
  expect(port.last.at - first.at).toBe(RETRY_SILENT_MS)
  expect(port.last).toEqual({ ...first, slot: 1, at: port.last.at })
  port.answer("ok", integer(1), { to: first })
  expect(client.take()).toBe(":1\r\n")
  const sent = port.sent.length
  port.wait(REQUEST_TIMEOUT_MS)
  expect(port.sent).toHaveLength(sent)
})

test("an answer that comes twice is one answer", () => {
  sendRegistered("INCR a")
  const first = port.last
  port.answer("ok", integer(1))
  port.answer("ok", integer(1), { to: first })
  send("INCR a")
  port.answer("ok", integer(1), { to: first })
  expect(client.take()).toBe(":1\r\n")
  port.answer("ok", integer(2))
  expect(client.take()).toBe(":2\r\n")
  expect(port.gateway.status().counters.replies_late).toBe(2)
})

test("a view in a refusal is where the next copy goes, at once the first time", () => {
  sendRegistered("INCR a")
  port.answer("not_primary", undefined, { view: 5 })
  expect(port.sent.slice(1).map(({ slot }) => slot)).toEqual([0, 2])
  expect(port.last).toMatchObject({ request: 1, session: 1001 })
})

test("two machines that name each other don't hold a request for ever", () => {
  sendRegistered("INCR a")
  for (let turn = 0; turn < 20; turn += 1) {
    const { slot } = port.last
    port.answer("not_primary", undefined, { view: slot === 0 ? 1 : 0 })
    port.wait(200)
  }
  expect(new Set(port.sent.map(({ slot }) => slot))).toEqual(new Set([0, 1, 2]))
})

test("news of another primary is followed at once", () => {
  sendRegistered("INCR a")
  port.wait(50)
  port.primary = 2
  port.wait(10)
  expect(port.last).toMatchObject({ slot: 2, request: 1 })
})

test("who refused before he became primary is asked again at once, whenever that is", () => {
  for (let waited = RETRY_SILENT_MS; waited < 2 * RETRY_SILENT_MS; waited += 10) {
    port = new ScriptedPort()
    client = new TestClient(port.gateway)
    sendRegistered("INCR a")
    port.down.add(0)
    let refused = port.sent.length
    for (let passed = 0; passed < waited; passed += 10) {
      port.wait(10)
      if (port.sent.length > refused) {
        refused = port.sent.length
        port.answer("not_primary", undefined, { view: 0 })
      }
    }
    port.primary = 1
    port.wait(10)
    expect(port.last).toMatchObject({ slot: 1, request: 1, at: port.now })
  }
})

test("busy and stale mean the same again, later", () => {
  for (const outcome of ["busy", "stale"] as const) {
    send("INCR a")
    if (outcome === "busy") {
      port.register(1001)
    }
    const { at } = port.last
    port.answer(outcome)
    port.wait(RETRY_REFUSED_MS)
    expect(port.last).toMatchObject({ slot: 0, at: at + RETRY_REFUSED_MS })
    port.answer("ok", integer(1))
    expect(client.take()).toBe(":1\r\n")
  }
})

test("a machine that can't be reached is passed over", () => {
  port.down.add(0)
  send("GET a")
  port.wait(RETRY_REFUSED_MS)
  expect(port.last.slot).toBe(1)
})

test("without an answer the outcome is unknown, and the session is not used again", () => {
  sendRegistered("INCR a", "GET a", "PING")
  const lost = port.last
  send("SET behind 1")
  port.wait(REQUEST_TIMEOUT_MS)
  expect(client.take()).toBe(`${UNKNOWN}${READ_TIMEOUT}+PONG\r\n${NOT_APPLIED}`)
  expect(port.gateway.status()).toMatchObject({ sessions_registered: 0, counters: { unknown: 1 } })
  const firstId = port.sent[0]?.body
  send("INCR a")
  expect(port.last).toMatchObject({ operation: Operation.register })
  expect(port.last.body).not.toEqual(firstId)
  // The old number commits after all: nobody may take it for an answer to the new one.
  port.answer("ok", integer(1), { to: lost })
  expect(client.take()).toBe("")
  port.register(2002)
  expect(port.last).toMatchObject({ session: 2002, request: 1 })
})

const LOST: Outage = { kind: "quorum_lost", text: "1 of 3 voters hold the state and are within reach, 2 are needed" }
const WHY = `quorum_lost: ${LOST.text}`
const LOST_UNKNOWN = `-UNKNOWN ${WHY}; the command may or may not have been applied\r\n`
const LOST_REJECTED = `-CLUSTERDOWN ${WHY}; the command was not applied; see 'mandala salvage'\r\n`
const LOST_READ = `-CLUSTERDOWN ${WHY}; no answer is given from the past; see 'mandala salvage'\r\n`

test("a lost majority is said at once: of what was sent nobody knows, the rest was not applied", () => {
  sendRegistered("INCR a", "GET a", "PING")
  send("SET behind 1", "GET behind")
  port.stopped = LOST
  port.wait(10)
  expect(client.take()).toBe(`${LOST_UNKNOWN}${LOST_READ}+PONG\r\n${LOST_REJECTED}${LOST_READ}`)
  const sent = port.sent.length
  send("SET c 1", "GET c", "PING")
  expect(client.take()).toBe(`${LOST_REJECTED}${LOST_READ}+PONG\r\n`)
  expect(port.sent).toHaveLength(sent)
  expect(port.gateway.status()).toMatchObject({ sessions_registered: 0, counters: { unknown: 1, not_applied: 2 } })
})

test("when the majority is back, so is the service, with a new session where the old one's outcome is unknown", () => {
  sendRegistered("INCR a")
  const lost = port.last
  port.stopped = LOST
  port.wait(10)
  expect(client.take()).toBe(LOST_UNKNOWN)
  port.stopped = undefined
  send("INCR a")
  expect(port.last).toMatchObject({ operation: Operation.register })
  // It was committed after all, which is what unknown means: not an answer to anything that is asked now.
  port.answer("ok", integer(1), { to: lost })
  expect(client.take()).toBe("")
  port.register(2002)
  port.answer("ok", integer(2))
  expect(client.take()).toBe(":2\r\n")
})

test("a lost majority before anything was sent keeps the session and its number", () => {
  sendRegistered("SET a 1")
  port.answer("ok", OK)
  expect(client.take()).toBe("+OK\r\n")
  port.stopped = LOST
  send("SET a 2")
  expect(client.take()).toBe(LOST_REJECTED)
  port.stopped = undefined
  send("SET a 3")
  expect(port.last).toMatchObject({ session: 1001, request: 2 })
})

test("a registration under way when the majority is lost: the write behind it was not applied", () => {
  send("SET a 1")
  expect(port.last).toMatchObject({ operation: Operation.register })
  port.stopped = LOST
  port.wait(10)
  expect(client.take()).toBe(LOST_REJECTED)
})

test("a voter without its standby says so at once: refused once is rejected, after two copies unknown", () => {
  sendRegistered("INCR a", "GET a")
  port.answer("standby_missing")
  const why = "standby_missing: the only voter answers nothing that its synchronous standby has not confirmed"
  const [write = "", read = ""] = client.take().split("\r\n")
  expect(write).toBe(`-CLUSTERDOWN ${why}, and that is silent; the command was not applied; see 'mandala standby drop'`)
  expect(read).toContain("no answer is given from the past")
  send("INCR a")
  expect(port.last).toMatchObject({ session: 1001, request: 1 })
  port.wait(RETRY_SILENT_MS)
  port.answer("standby_missing")
  expect(client.take()).toMatch(/^-UNKNOWN standby_missing: .*may or may not have been applied\r\n$/)
})

test("a DEL that was answered in part when the majority was lost says that some keys are gone", () => {
  sendRegistered("SET x 1", "DEL a b c")
  port.answer("ok", Buffer.concat([OK, integer(1), FULL, FULL]))
  expect(client.take()).toBe("+OK\r\n")
  port.stopped = LOST
  port.wait(10)
  expect(client.take()).toMatch(/^-UNKNOWN partial: some of the command's keys were deleted/)
})

test("a view of another epoch is no hint: the next machine is asked", () => {
  sendRegistered("INCR a")
  port.epoch = 4
  port.answer("not_primary", undefined, { view: 5 })
  expect(port.sent).toHaveLength(2)
  port.wait(RETRY_REFUSED_MS)
  expect(port.last.slot).toBe(1)
})

test("what was never sent was not applied", () => {
  for (const slot of [0, 1, 2]) {
    port.down.add(slot)
  }
  port.primary = -1
  send("INCR a", "GET a")
  port.wait(REQUEST_TIMEOUT_MS)
  expect(client.take()).toBe(`${NOT_APPLIED}${READ_TIMEOUT}`)
  expect(port.gateway.status().counters).toMatchObject({ unknown: 0, not_applied: 1 })
})

test("an evicted session is registered again; what was surely refused is sent again", () => {
  sendRegistered("INCR a")
  port.answer("evicted")
  expect(client.take()).toBe("")
  port.register(2002)
  expect(port.last).toMatchObject({ session: 2002, request: 1 })
  port.answer("ok", integer(1))
  expect(client.take()).toBe(":1\r\n")
})

test("evicted between prepare and commit: an answer without results", () => {
  sendRegistered("INCR a")
  port.answer("ok")
  port.register(2002)
  port.answer("ok", integer(1))
  expect(client.take()).toBe(":1\r\n")
})

test("evicted after a second copy was sent: nobody knows of the first", () => {
  sendRegistered("INCR a", "GET a")
  port.wait(RETRY_SILENT_MS)
  port.answer("evicted")
  expect(client.take()).toMatch(/^-UNKNOWN evicted: .*may or may not have been applied\r\n-CLUSTERDOWN evicted/)
  send("INCR a")
  expect(port.last).toMatchObject({ operation: Operation.register })
})

test("an answer that is none is as good as silence", () => {
  sendRegistered("INCR a")
  for (const body of [
    [9],
    [ResultKind.integer, 1],
    [ResultKind.ok, ResultKind.ok],
    [ResultKind.bytes, 255, 0, 0, 0, 1],
  ]) {
    port.answer("ok", Buffer.from(body), { to: port.sent[1] ?? port.last })
  }
  expect(client.take()).toBe("")
  expect(port.gateway.status().counters.malformed_replies).toBe(4)
  port.answer("ok", integer(1))
  expect(client.take()).toBe(":1\r\n")
})

test("invalid is said, and the session goes on with the same number", () => {
  sendRegistered("INCR a")
  port.answer("invalid")
  expect(client.take()).toMatch(/^-ERR invalid: /)
  send("INCR a")
  expect(port.last).toMatchObject({ session: 1001, request: 1 })
})

test("a full queue makes a connection wait, and says busy once the cluster is stuck", () => {
  sendRegistered("SET a 1")
  const { batch_commands_max } = CLUSTER_LIMITS
  const pipeline = Buffer.concat(Array.from({ length: batch_commands_max + 10 }, () => encodeCommand(["INCR", "a"])))
  client.send(pipeline)
  port.settle()
  expect(client.isPaused).toBe(true)
  port.answer("ok", OK)
  expect(client.isPaused).toBe(false)
  port.answer("ok", Buffer.concat(Array.from({ length: batch_commands_max }, () => integer(1))))
  port.answer("ok", Buffer.concat(Array.from({ length: 10 }, () => integer(2))))
  expect(client.take()).toBe(`+OK\r\n${":1\r\n".repeat(batch_commands_max)}${":2\r\n".repeat(10)}`)

  send("SET a 1")
  client.send(pipeline)
  port.settle()
  expect(client.isPaused).toBe(true)
  port.wait(SESSION_STALLED_MS + 10)
  expect(client.isPaused).toBe(false)
  port.wait(REQUEST_TIMEOUT_MS)
  const replies = client.take().split("\r\n")
  expect(replies.filter((reply) => reply.startsWith("-UNKNOWN no_answer: "))).toHaveLength(1)
  expect(replies.filter((reply) => reply.startsWith("-CLUSTERDOWN no_primary: "))).toHaveLength(batch_commands_max)
  expect(replies.filter((reply) => reply.startsWith("-ERR busy: requests_queue_max: 4096 "))).toHaveLength(10)
})

test("connections are spread over all sessions, and each stays with one", () => {
  const clients = Array.from({ length: SESSIONS_PER_GATEWAY }, () => new TestClient(port.gateway))
  for (const one of [client, ...clients]) {
    one.command("SET", "a", "1")
  }
  port.settle()
  // The ninth shares the first one's session.
  expect(port.sent).toHaveLength(SESSIONS_PER_GATEWAY)
  expect(new Set(port.sent.map((message) => (message.type === "request" ? message.request : 0))).size).toBe(8)
})

test("commands that found the reply full are sent again when that keeps the order", () => {
  sendRegistered("SET a 1", "GET big", "GET b")
  port.answer("ok", Buffer.concat([OK, FULL, FULL]))
  expect(client.take()).toBe("+OK\r\n")
  expect(port.last.type).toBe("read")
  port.answer("ok", Buffer.concat([NIL, NIL]))
  expect(client.take()).toBe("$-1\r\n$-1\r\n")
})

test("a reply that was full from some command on is asked for again from there, writes behind reads", () => {
  sendRegistered("DEL a b c", "PING", "GET big", "SET a 1", "GET a")
  port.answer("ok", Buffer.concat([integer(1), FULL, FULL, FULL, FULL, FULL]))
  expect(client.take()).toBe("")
  port.answer("ok", Buffer.concat([integer(0), integer(1), FULL, FULL, FULL]))
  expect(client.take()).toBe(":2\r\n+PONG\r\n")
  // The read at the front goes alone, for a read may answer more.
  expect(port.last.type).toBe("read")
  port.answer("ok", NIL)
  expect(client.take()).toBe("$-1\r\n")
  expect(port.last).toMatchObject({ type: "request", request: 3 })
  port.answer("ok", Buffer.concat([OK, NIL]))
  expect(client.take()).toBe("+OK\r\n$-1\r\n")
})

test("a command that found the reply full is refused when a later one was applied", () => {
  const other = Array.from({ length: SESSIONS_PER_GATEWAY }, () => new TestClient(port.gateway)).at(-1)
  client.command("GET", "big")
  client.command("SET", "a", "1")
  other?.command("GET", "big")
  port.settle()
  const registration = port.sent[0]
  expect(registration).toMatchObject({ operation: Operation.register })
  port.answer("ok", integer(1001), registration === undefined ? {} : { to: registration })
  port.answer("ok", Buffer.concat([FULL, OK, FULL]))
  expect(client.take()).toBe("-ERR session_reply_bytes_max: a batch is answered with at most 131072 bytes\r\n+OK\r\n")
  expect(other?.take()).toBe("")
  port.answer("ok", NIL)
  expect(other?.take()).toBe("$-1\r\n")
})

test("an answer that is too long for any reply is refused by name", () => {
  send("MGET a b", "GET c")
  port.answer("ok", Buffer.concat([NIL, FULL, NIL]))
  expect(client.take()).toBe("-ERR read_reply_bytes_max: one answer has at most 1048576 bytes\r\n$-1\r\n")
})
