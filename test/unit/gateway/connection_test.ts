/** Connections that come, go, don't read, or are too many. Plane: control. */
import { beforeEach, expect, test } from "vitest"
import {
  CONNECTION_COMMAND_MS,
  CONNECTION_OUT_BYTES_MAX,
  CONNECTION_OUT_PAUSE_BYTES,
  CONNECTION_OUT_STALLED_MS,
  CONNECTIONS_MAX,
} from "../../../appliance/gateway/limits.ts"
import { integer, OK, ScriptedPort } from "./scripted_port.ts"
import { encodeCommand, TestClient } from "./test_client.ts"

let port: ScriptedPort

beforeEach(() => {
  port = new ScriptedPort()
})

test("a chunk of commands is answered in one turn", () => {
  const client = new TestClient(port.gateway)
  client.send("PING\r\n".repeat(100))
  port.settle()
  expect(client.take()).toBe("+PONG\r\n".repeat(100))
  expect([client.writes, client.turns]).toEqual([1, 1])
})

test("CONNECTIONS_MAX are served, and a place that is left is taken", () => {
  const clients = Array.from({ length: CONNECTIONS_MAX }, () => new TestClient(port.gateway))
  const [first] = clients
  expect(first && port.gateway.connect(first)).toBeUndefined()
  expect(port.gateway.status()).toMatchObject({ connections: CONNECTIONS_MAX, counters: { connections_refused: 1 } })
  first?.connection.onClosed()
  const late = new TestClient(port.gateway)
  late.send("PING\r\n")
  port.settle()
  expect(late.take()).toBe("+PONG\r\n")
})

test("what was asked by who left is answered to nobody", () => {
  const client = new TestClient(port.gateway)
  client.send("INCR a\r\nPING\r\n*1\r\n$4\r\nPI")
  port.settle()
  client.connection.onClosed()
  const others = Array.from({ length: CONNECTIONS_MAX - 1 }, () => new TestClient(port.gateway))
  // The last place is held until the answer that is owed has come.
  expect(port.gateway.status().connections).toBe(CONNECTIONS_MAX)
  expect(port.gateway.connect(client)).toBeUndefined()
  port.register(1001)
  port.answer("ok", integer(1))
  const next = new TestClient(port.gateway)
  expect(next.connection).toBe(client.connection)
  next.send("PING\r\n")
  port.settle()
  expect(next.take()).toBe("+PONG\r\n")
  expect(client.take()).toBe("")
  expect(others.every((other) => other.take() === "")).toBe(true)
})

test("who doesn't read is not served on, and goes on when it reads", () => {
  const client = new TestClient(port.gateway)
  client.isReading = false
  const echo = encodeCommand(["ECHO", "x".repeat(60_000)])
  let sent = 0
  for (; !client.isPaused && sent < 100; sent += 1) {
    client.send(echo)
    port.settle()
  }
  expect(client.pending).toBeGreaterThan(CONNECTION_OUT_PAUSE_BYTES)
  expect(client.pending).toBeLessThan(CONNECTION_OUT_PAUSE_BYTES + 200_000)
  client.pending = 0
  client.connection.onDrained()
  port.settle()
  expect(client.isPaused).toBe(false)
  expect(client.take().length).toBe(sent * (60_000 + "$60000\r\n\r\n".length))
})

test("who reads nothing for long is disconnected, and counted", () => {
  const client = new TestClient(port.gateway)
  client.isReading = false
  client.send("PING\r\n")
  port.settle()
  port.wait(CONNECTION_OUT_STALLED_MS - 2_000)
  expect(client.isDestroyed).toBe(false)
  port.wait(4_000)
  expect(client.isDestroyed).toBe(true)
  expect(port.gateway.status()).toMatchObject({ connections: 0, counters: { connections_slow_closed: 1 } })
})

test("who drips a command is disconnected, and counted; who takes his time between commands is not", () => {
  const dripping = new TestClient(port.gateway)
  const patient = new TestClient(port.gateway)
  patient.send("PING\r\n")
  for (let passed = 0; passed < CONNECTION_COMMAND_MS + 2_000; passed += 1_000) {
    if (!dripping.isDestroyed) {
      dripping.send(passed === 0 ? "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1000\r\n" : "x")
    }
    port.settle()
    port.wait(1_000)
    expect(dripping.isDestroyed).toBe(passed >= CONNECTION_COMMAND_MS)
  }
  expect(patient.isDestroyed).toBe(false)
  expect(port.gateway.status()).toMatchObject({ connections: 1, counters: { connections_slow_closed: 1 } })
})

test("many commands in pieces are many commands, not a slow one", () => {
  const client = new TestClient(port.gateway)
  client.send("PI")
  for (let passed = 0; passed < 2 * CONNECTION_COMMAND_MS; passed += 1_000) {
    client.send("NG\r\nPI")
    port.settle()
    port.wait(1_000)
  }
  expect(client.isDestroyed).toBe(false)
})

test("answers of the cluster that pile up are bounded", () => {
  const client = new TestClient(port.gateway)
  client.isReading = false
  client.pending = CONNECTION_OUT_BYTES_MAX
  client.send("SET a 1\r\n")
  port.settle()
  port.register(1001)
  port.answer("ok", OK)
  expect(client.isDestroyed).toBe(true)
  expect(port.gateway.status()).toMatchObject({ connections: 0, counters: { connections_slow_closed: 1 } })
})

test("a client that is cut off amid its own answers is let go once", () => {
  const client = new TestClient(port.gateway)
  client.isReading = false
  client.pending = CONNECTION_OUT_BYTES_MAX - 10
  client.send(`ECHO ${"x".repeat(60_000)}\r\nCOMMAND DOCS\r\nPING\r\n`)
  port.settle()
  expect(client.isDestroyed).toBe(true)
  expect(port.gateway.status().connections).toBe(0)
})

test("QUIT waits for what was asked before, and nothing after it is done", () => {
  const client = new TestClient(port.gateway)
  client.send("SET a 1\r\nQUIT\r\nSET a 2\r\n")
  port.settle()
  port.register(1001)
  expect(client.isEnded).toBe(false)
  port.answer("ok", OK)
  expect(client.take()).toBe("+OK\r\n+OK\r\n")
  expect(client.isEnded).toBe(true)
  expect(port.sent).toHaveLength(2)
  expect(port.gateway.status().connections).toBe(0)
})
