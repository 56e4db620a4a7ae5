/** The data port's password: what clients may before it, with it, and how wrong ones are slowed. Plane: control. */
import { networkInterfaces } from "node:os"
import { connect } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import {
  AUTH_DELAY_DOUBLINGS_MAX,
  AUTH_DELAY_MS,
  AUTH_PAUSE_MS,
  CONNECTION_LOGIN_MS,
} from "../../../appliance/gateway/limits.ts"
import { encodePassword, RespAccess } from "../../../appliance/gateway/resp_access.ts"
import { RespDoors } from "../../../appliance/gateway/resp_doors.ts"
import { assert } from "../../../appliance/types/assert.ts"
import { ClusterOfOne } from "./cluster_of_one.ts"
import { TestClient } from "./test_client.ts"

const PASSWORD = "correct horse battery".replaceAll(" ", "-")
const OTHER = "another-one-of-sixteen"
const NOAUTH = "-NOAUTH Authentication required.\r\n"
const WRONGPASS = "-WRONGPASS invalid username-password pair or user is disabled.\r\n"

let cluster: ClusterOfOne
beforeEach(() => {
  cluster = new ClusterOfOne()
})

function setPassword(password: string | undefined): void {
  cluster.password = password === undefined ? undefined : encodePassword(password)
  pass(1_000)
}

/** Time passes at this machine, in ticks. */
function pass(ms: number): void {
  for (let at = 0; at < ms; at += 10) {
    cluster.tick(10)
    cluster.settle()
  }
}

function say(client: TestClient, ...words: readonly string[]): string {
  client.command(...words)
  cluster.settle()
  return client.take()
}

describe("a connection", () => {
  test("needs no password as long as none is set, and must give it from then on", () => {
    const client = new TestClient(cluster.gateway)
    expect(say(client, "SET", "a", "1")).toBe("+OK\r\n")
    setPassword(PASSWORD)
    for (const words of [
      ["GET", "a"],
      ["SET", "a", "2"],
      ["PING"],
      ["INFO"],
      ["COMMAND"],
      ["CLIENT", "ID"],
      ["ACL", "WHOAMI"],
    ]) {
      expect(say(client, ...words)).toBe(NOAUTH)
    }
    expect(say(client, "HELLO", "3")).toMatch(/^-NOAUTH HELLO must be called/)
    expect(say(client, "AUTH", PASSWORD)).toBe("+OK\r\n")
    expect(say(client, "GET", "a")).toBe("$1\r\n1\r\n")
    expect(say(client, "ACL", "WHOAMI")).toBe("$7\r\ndefault\r\n")
    setPassword(OTHER)
    expect(say(client, "GET", "a")).toBe(NOAUTH)
    setPassword(undefined)
    expect(say(client, "GET", "a")).toBe("$1\r\n1\r\n")
  })

  test("may give it in HELLO, which then has its effect, and by the name of the one user", () => {
    setPassword(PASSWORD)
    const client = new TestClient(cluster.gateway)
    expect(say(client, "HELLO", "3", "AUTH", "default", PASSWORD, "SETNAME", "eve")).toMatch(/^%7\r\n/)
    expect(say(client, "CLIENT", "GETNAME")).toBe("$3\r\neve\r\n")
    const named = new TestClient(cluster.gateway)
    expect(say(named, "AUTH", "default", PASSWORD)).toBe("+OK\r\n")
    expect(say(named, "QUIT")).toBe("+OK\r\n")
  })

  test("that is lent again has forgotten who used it", () => {
    setPassword(PASSWORD)
    const clients = Array.from({ length: 256 }, () => new TestClient(cluster.gateway))
    for (const client of clients) {
      expect(say(client, "AUTH", PASSWORD)).toBe("+OK\r\n")
    }
    for (const client of clients) {
      client.connection.onClosed()
    }
    const next = Array.from({ length: 256 }, () => new TestClient(cluster.gateway))
    for (const client of next) {
      expect(say(client, "GET", "a")).toBe(NOAUTH)
    }
  })

  test("that does not give it in time is closed, and its place is free", () => {
    setPassword(PASSWORD)
    const clients = Array.from({ length: 256 }, () => new TestClient(cluster.gateway))
    const [known, ...strangers] = clients
    assert(known !== undefined, "test: there is one")
    expect(say(known, "AUTH", PASSWORD)).toBe("+OK\r\n")
    pass(CONNECTION_LOGIN_MS - 2_000)
    expect(strangers.some((client) => client.isDestroyed)).toBe(false)
    pass(4_000)
    expect(strangers.every((client) => client.isDestroyed)).toBe(true)
    expect(say(known, "GET", "a")).not.toBe(NOAUTH)
    expect(cluster.gateway.status()).toMatchObject({ connections: 1, counters: { connections_slow_closed: 255 } })
  })

  test("that is wrong waits, ever longer, and is counted; what is right is answered at once", () => {
    setPassword(PASSWORD)
    const client = new TestClient(cluster.gateway)
    for (let failures = 0; failures < 4; failures += 1) {
      expect(say(client, "AUTH", `${PASSWORD}x`)).toBe("")
      expect(client.isPaused).toBe(true)
      pass(AUTH_DELAY_MS * 2 ** failures - 20)
      expect(client.take()).toBe("")
      pass(40)
      expect(client.take()).toBe(WRONGPASS)
    }
    expect(cluster.gateway.status()).toMatchObject({ password_required: true, password_failures: 4 })
    expect(say(client, "AUTH", PASSWORD)).toBe("+OK\r\n")
    const wrongUser = new TestClient(cluster.gateway)
    expect(say(wrongUser, "AUTH", "root", PASSWORD)).toBe("")
    pass(AUTH_DELAY_MS + 40)
    expect(wrongUser.take()).toBe(WRONGPASS)
    const hello = new TestClient(cluster.gateway)
    expect(say(hello, "HELLO", "3", "AUTH", "default", "x")).toBe("")
    pass(AUTH_DELAY_MS + 40)
    expect(hello.take()).toBe(WRONGPASS)
    expect(say(hello, "GET", "a")).toBe(NOAUTH)
  })
})

describe("access", () => {
  test("tries are bounded over all connections, and no delay grows without end", () => {
    const access = new RespAccess()
    access.update(encodePassword(PASSWORD))
    const wrong = Buffer.from("wrong")
    const states = Array.from({ length: 1_000 }, () => ({ generation: 0, failures: 0, answerAt: 0 }))
    for (const state of states) {
      expect(access.login(state, undefined, wrong, 1_000)).toBe(false)
    }
    const last = Math.max(...states.map(({ answerAt }) => answerAt))
    expect(last).toBeGreaterThanOrEqual(1_000 + (states.length - 1) * AUTH_PAUSE_MS)
    const stubborn = { generation: 0, failures: 1_000, answerAt: 0 }
    access.login(stubborn, undefined, wrong, 1_000_000)
    expect(stubborn.answerAt - 1_000_000).toBe(AUTH_DELAY_MS * 2 ** AUTH_DELAY_DOUBLINGS_MAX)
  })

  test("a record of another version lets nobody in", () => {
    const access = new RespAccess()
    const record = encodePassword(PASSWORD)
    record[64] = 2
    access.update(record)
    const state = { generation: 0, failures: 0, answerAt: 0 }
    expect(access.isAllowed(state)).toBe(false)
    access.login(state, undefined, Buffer.from(PASSWORD), 0)
    expect(access.isAllowed(state)).toBe(false)
  })

  test("two records of one password are not alike", () => {
    expect(encodePassword(PASSWORD).equals(encodePassword(PASSWORD))).toBe(false)
  })
})

describe("doors", () => {
  let doors: RespDoors | undefined
  afterEach(async () => {
    await doors?.close()
    doors = undefined
  })

  const outside = Object.values(networkInterfaces())
    .flat()
    .find((address) => address?.family === "IPv4" && !address.internal)?.address

  async function isOpen(host: string, port: number): Promise<boolean> {
    return await new Promise((resolve) => {
      const socket = connect({ host, port }, () => {
        socket.destroy()
        resolve(true)
      })
      socket.on("error", () => resolve(false))
    })
  }

  test.skipIf(outside === undefined)("the network's opens with a password and closes without", async () => {
    const changes: unknown[] = []
    const { gateway } = cluster
    const advertise = outside ?? ""
    const opened = await RespDoors.open({
      bind: "0.0.0.0",
      advertise,
      port: 0,
      gateway,
      onChange: (state) => changes.push(state),
    })
    assert(opened.ok, "test: a port is free")
    doors = opened.value
    const { port } = doors
    doors.tick(1_000)
    await sleep(50)
    expect([await isOpen("127.0.0.1", port), await isOpen(advertise, port)]).toEqual([true, false])
    setPassword(PASSWORD)
    doors.tick(2_000)
    await expect.poll(() => changes).toEqual(["open"])
    expect(await isOpen(advertise, port)).toBe(true)
    setPassword(undefined)
    doors.tick(3_000)
    await expect.poll(() => changes).toEqual(["open", "closed"])
    expect([await isOpen("127.0.0.1", port), await isOpen(advertise, port)]).toEqual([true, false])
  })
})
