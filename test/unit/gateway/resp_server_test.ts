/** RESP over real sockets, spoken by clients of other hands: redis-cli and ioredis. Plane: control. */
import { execFile } from "node:child_process"
import { connect } from "node:net"
import { promisify } from "node:util"
import { Redis } from "ioredis"
import { afterAll, beforeAll, expect, test } from "vitest"
import { CONNECTIONS_MAX } from "../../../appliance/gateway/limits.ts"
import { listenResp, type RespServer } from "../../../appliance/gateway/resp_server.ts"
import { assert } from "../../../appliance/types/assert.ts"
import { ClusterOfOne } from "./cluster_of_one.ts"

const run = promisify(execFile)
const TICK_MS = 10
const FLOOD = 10_000

let cluster: ClusterOfOne
let server: RespServer
let timer: NodeJS.Timeout

beforeAll(async () => {
  cluster = new ClusterOfOne()
  cluster.onDue = () => void setImmediate(() => cluster.settle())
  timer = setInterval(() => cluster.tick(), TICK_MS)
  const listening = await listenResp({ host: "127.0.0.1", port: 0, gateway: cluster.gateway })
  assert(listening.ok, "test: a free port can be listened on")
  server = listening.value
})

afterAll(async () => {
  clearInterval(timer)
  await server.close()
})

async function cli(...args: readonly string[]): Promise<string> {
  const { stdout } = await run("redis-cli", ["-p", String(server.port), ...args])
  return stdout.trimEnd()
}

test("redis-cli, RESP2 and RESP3", async () => {
  expect(await cli("SET", "cli", "a b")).toBe("OK")
  expect(await cli("GET", "cli")).toBe("a b")
  expect(await cli("-3", "GET", "cli")).toBe("a b")
  expect(await cli("-3", "GET", "no such key")).toBe("")
  expect(await cli("INCRBY", "cli-n", "5")).toBe("5")
  expect(await cli("MGET", "cli", "cli-n")).toBe("a b\n5")
  expect(await cli("-n", "0", "EXISTS", "cli", "cli")).toBe("2")
  expect(await cli("NOPE", "x")).toBe("ERR unknown command 'NOPE', with args beginning with: 'x'")
  expect(await cli("INFO", "replication")).toContain("replica_role:primary")
  expect(await cli("COMMAND", "COUNT")).toBe("49")
})

test("redis-cli, 20,000 commands through its pipe", async () => {
  const child = run("redis-cli", ["-p", String(server.port), "--pipe"])
  const words = (index: number): string => `*3\r\n$3\r\nSET\r\n$5\r\npiped\r\n$5\r\n${10_000 + index}\r\n`
  child.child.stdin?.end(Array.from({ length: 20_000 }, (_, index) => words(index)).join(""))
  expect((await child).stdout).toContain("errors: 0, replies: 20000")
  expect(await cli("GET", "piped")).toBe("29999")
})

test("ioredis, 10,000 commands without waiting", async () => {
  const redis = new Redis({ port: server.port, host: "127.0.0.1" })
  expect(await redis.ping()).toBe("PONG")
  expect(await redis.set("io", "1", "EX", 100)).toBe("OK")
  expect(await redis.set("io", "2", "NX")).toBeNull()
  expect(await redis.getBuffer("io")).toEqual(Buffer.from("1"))
  expect(await redis.mget("io", "nothing")).toEqual(["1", null])
  const counted = await Promise.all(Array.from({ length: 10_000 }, () => redis.incr("io-n")))
  expect(counted).toEqual(Array.from({ length: 10_000 }, (_, index) => index + 1))
  const mixed = await redis.pipeline().set("io", "x").get("io").ping().incr("io").del("io").exec()
  expect(mixed?.map(([error, value]) => error?.message ?? value)).toEqual([
    "OK",
    "x",
    "PONG",
    "ERR value is not an integer or out of range",
    1,
  ])
  await expect(redis.set("io", "v".repeat(70_000))).rejects.toThrow(/value_bytes_max: the value has 70000 bytes/)
  expect(await redis.quit()).toBe("OK")
})

test("ioredis that names its connection", async () => {
  const redis = new Redis({ port: server.port, host: "127.0.0.1", connectionName: "tester" })
  expect(await redis.client("GETNAME")).toBe("tester")
  await redis.quit()
})

test("values of 64 KiB, many at once, come back whole", async () => {
  const redis = new Redis({ port: server.port, host: "127.0.0.1" })
  const values = Array.from({ length: 40 }, (_, index) => Buffer.alloc(65_536, index))
  await Promise.all(values.map((value, index) => redis.set(`large-${index}`, value)))
  const read = await Promise.all(values.map((_, index) => redis.getBuffer(`large-${index}`)))
  expect(read.every((value, index) => value?.equals(values[index] ?? Buffer.alloc(0)))).toBe(true)
  await redis.quit()
})

/** What a connection is told until it is closed by the other side. */
function conversation(text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = ""
    const socket = connect(server.port, "127.0.0.1", () => socket.write(text))
    socket.on("data", (chunk: Buffer) => {
      answer += chunk.toString()
    })
    socket.on("error", reject)
    socket.on("close", () => resolve(answer))
  })
}

test("a protocol error is said before the connection is closed", async () => {
  expect(await conversation("PING\r\n*1\r\n$600000\r\n")).toBe("+PONG\r\n-ERR Protocol error: invalid bulk length\r\n")
  expect(await conversation("SET q 1\r\nGET q\r\nQUIT\r\n")).toBe("+OK\r\n$1\r\n1\r\n+OK\r\n")
})

test("one connection too many is told so", async () => {
  const open = CONNECTIONS_MAX - cluster.gateway.status().connections
  const sockets = await Promise.all(
    Array.from({ length: open }, async () => {
      const socket = connect(server.port, "127.0.0.1")
      await new Promise<void>((resolve) => {
        socket.once("data", () => resolve())
        socket.write("PING\r\n")
      })
      return socket
    }),
  )
  expect(await conversation("PING\r\n")).toBe("-ERR max number of clients reached: connections_max is 256\r\n")
  for (const socket of sockets) {
    socket.destroy()
  }
  await expect.poll(() => cluster.gateway.status().connections).toBe(0)
})

test(`${FLOOD} connections at once are bounded, and a client is served afterwards`, async () => {
  const sockets = Array.from({ length: FLOOD }, () => connect(server.port, "127.0.0.1").on("error", () => undefined))
  await expect.poll(() => cluster.gateway.status().counters.connections_refused, { timeout: 20_000 }).toBeGreaterThan(0)
  expect(cluster.gateway.status().connections).toBeLessThanOrEqual(CONNECTIONS_MAX)
  for (const socket of sockets) {
    socket.destroy()
  }
  await expect.poll(async () => cli("PING").catch(() => ""), { timeout: 30_000, interval: 200 }).toBe("PONG")
}, 60_000)

test("a client that vanishes amid a command takes nobody with it", async () => {
  await new Promise<void>((resolve) => {
    const socket = connect(server.port, "127.0.0.1", () => {
      socket.write("*3\r\n$3\r\nSET\r\n$1\r\nq\r\n$5\r\nab", () => socket.resetAndDestroy())
    })
    socket.on("close", () => resolve())
  })
  await expect.poll(() => cluster.gateway.status().connections).toBe(0)
  expect(await cli("PING")).toBe("PONG")
})

test("a port in use is said, with what to do", async () => {
  const second = await listenResp({ host: "127.0.0.1", port: server.port, gateway: cluster.gateway })
  expect(second).toMatchObject({ ok: false, error: { kind: "address_in_use" } })
})
