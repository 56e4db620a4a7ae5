/**
 * A connection is lent to one client after the other, and with all of them in use the next client gets it at once:
 * what is left of the one before, a socket that lingers or is about to close, must not reach it. Plane: control.
 */
import { connect, type Socket } from "node:net"
import { setTimeout as sleep } from "node:timers/promises"
import { afterAll, afterEach, beforeAll, expect, test } from "vitest"
import { CONNECTIONS_MAX } from "../../../appliance/gateway/limits.ts"
import { listenResp, type RespServer } from "../../../appliance/gateway/resp_server.ts"
import { assert } from "../../../appliance/types/assert.ts"
import { ClusterOfOne } from "./cluster_of_one.ts"

const TICK_MS = 10
const POLLS_MAX = 1_000
const SETTLE_MS = 50

let cluster: ClusterOfOne
let server: RespServer
let timer: NodeJS.Timeout
const clients: Client[] = []

type Client = { readonly socket: Socket; said: string }

beforeAll(async () => {
  cluster = new ClusterOfOne()
  cluster.onDue = () => void setImmediate(() => cluster.settle())
  timer = setInterval(() => cluster.tick(), TICK_MS)
  const listening = await listenResp({ host: "127.0.0.1", port: 0, gateway: cluster.gateway })
  assert(listening.ok, "test: a free port can be listened on")
  server = listening.value
})

afterEach(async () => {
  for (const { socket } of clients.splice(0)) {
    socket.destroy()
  }
  await until(() => cluster.gateway.status().connections === 0, "all connections are free")
})

afterAll(async () => {
  clearInterval(timer)
  await server.close()
})

async function until(condition: () => boolean, what: string): Promise<void> {
  for (let poll = 0; poll < POLLS_MAX && !condition(); poll += 1) {
    await sleep(2)
  }
  expect(condition(), what).toBe(true)
}

/** It keeps its own side open when the server ends the other. */
function dial(): Promise<Client> {
  return new Promise((resolve) => {
    const socket = connect({ port: server.port, host: "127.0.0.1", allowHalfOpen: true })
    const client: Client = { socket, said: "" }
    clients.push(client)
    socket.on("error", () => undefined)
    socket.on("data", (chunk: Buffer) => {
      client.said += chunk.toString()
    })
    socket.once("connect", () => resolve(client))
  })
}

async function ask(client: Client, command: string, answer: string): Promise<void> {
  client.said = ""
  client.socket.write(`${command}\r\n`)
  await until(() => client.said.length >= answer.length, `${command} is answered`)
  expect(client.said).toBe(answer)
}

/** All connections but one are lent. */
async function fillUp(): Promise<void> {
  for (let count = 0; count < CONNECTIONS_MAX - 1; count += 1) {
    await dial()
  }
  await until(() => cluster.gateway.status().connections === CONNECTIONS_MAX - 1, "all but one are lent")
}

test("who was told goodbye and goes on talking does not speak for the next client", async () => {
  await fillUp()
  const before = await dial()
  await ask(before, "SET kept yes", "+OK\r\n")
  await ask(before, "QUIT", "+OK\r\n")
  await until(() => cluster.gateway.status().connections === CONNECTIONS_MAX - 1, "its connection is free")
  const next = await dial()
  await ask(next, "GET kept", "$3\r\nyes\r\n")

  next.said = ""
  before.socket.write("SET kept stolen\r\nGET kept\r\n")
  await sleep(SETTLE_MS)
  expect(next.said).toBe("")
  await ask(next, "GET kept", "$3\r\nyes\r\n")

  // And what its socket still has to say, that it ends and that it closes, is not said of the next.
  before.socket.destroy()
  await sleep(SETTLE_MS)
  await ask(next, "GET kept", "$3\r\nyes\r\n")
})
