/** The operator API over real HTTP. Plane: control. */
import { request as httpRequest } from "node:http"
import { connect } from "node:net"
import { afterAll, beforeAll, expect, test } from "vitest"
import { API_HEADER_BYTES_MAX } from "../../../appliance/gateway/limits.ts"
import { listenOperatorAPI, type OperatorAPI } from "../../../appliance/gateway/operator_api.ts"
import { CommandCode } from "../../../appliance/state_machine/command.ts"
import { encodeMachineRecord } from "../../../appliance/state_machine/machine_record.ts"
import { assert } from "../../../appliance/types/assert.ts"
import { ClusterOfOne } from "./cluster_of_one.ts"
import { ScriptedPort } from "./scripted_port.ts"

let cluster: ClusterOfOne
let api: OperatorAPI
let sick: OperatorAPI
const scripted = new ScriptedPort()

async function listenOn(gateway: ClusterOfOne["gateway"], replica: ClusterOfOne | ScriptedPort): Promise<OperatorAPI> {
  const listening = await listenOperatorAPI({ host: "127.0.0.1", port: 0, gateway, replica })
  assert(listening.ok, "test: a free port can be listened on")
  return listening.value
}

beforeAll(async () => {
  cluster = new ClusterOfOne()
  cluster.onDue = () => void setImmediate(() => cluster.settle())
  api = await listenOn(cluster.gateway, cluster)
  scripted.primary = -1
  sick = await listenOn(scripted.gateway, scripted)
})

afterAll(async () => {
  await api.close()
  await sick.close()
})

async function get(path: string, from = api): Promise<{ status: number; type: string; body: string }> {
  const response = await fetch(`http://127.0.0.1:${from.port}${path}`)
  return { status: response.status, type: response.headers.get("content-type") ?? "", body: await response.text() }
}

test("status: this machine, its cluster, the arena, memory", async () => {
  const { status, type, body } = await get("/v1/status?x=1")
  expect([status, type]).toEqual([200, "application/json; charset=utf-8"])
  expect(JSON.parse(body)).toMatchObject({
    schema: 1,
    machine: { name: "m0", slot: 0, status: "normal", incarnation: 1 },
    cluster: { is_healthy: true, primary_slot: 0, voters: 1, copies: 1, quorum_margin: 0 },
    arena: { tables: [{ table: "kv", used: 0, capacity: 4096 }] },
    gateway: { connections: 0, connections_max: 256, counters: { unknown: 0 } },
  })
})

test("machines: the replicated table, with the last contact of those that are there", async () => {
  expect(JSON.parse((await get("/v1/machines")).body)).toEqual({ schema: 1, machines: [] })
  const record = {
    machine: "m0",
    address: "10.0.0.10",
    replica_port: 7400,
    slot: 0,
    roles: 5,
    stage: 2,
    firmware: 1,
    ram_bytes: 1024 ** 3,
    incarnation: 1,
    boot_count: 1,
    boot_id: "ab".repeat(16),
    joined_ms: 1_790_000_000_000,
  }
  for (const machine of ["m0", "gone"]) {
    const value = Buffer.from(encodeMachineRecord({ ...record, machine }))
    const call = { code: CommandCode.machine_put, key: Buffer.from(machine), value, argument: 0 }
    await new Promise<void>((resolve) => {
      cluster.gateway.call(call, { onResult: () => resolve() })
    })
  }
  const document: unknown = JSON.parse((await get("/v1/machines")).body)
  const machines = [
    { ...record, roles: ["replica", "boot"], stage: "ready", firmware: "bios", is_primary: true, last_contact_ms: 0 },
    // Its slot is another machine's by now.
    expect.objectContaining({ machine: "gone", is_primary: false, last_contact_ms: null }),
  ]
  expect(document).toEqual({ schema: 1, machines })
})

test("without a primary the machines are unavailable, and the machine is not healthy", async () => {
  const answer = get("/v1/machines", sick)
  for (let turn = 0; scripted.gateway.status().commands_waiting === 0; turn += 1) {
    assert(turn < 1000, "test: the question reaches the gateway")
    await new Promise((resolve) => setImmediate(resolve))
  }
  scripted.wait(11_000)
  const { status, body } = await answer
  expect(status).toBe(503)
  expect(JSON.parse(body)).toMatchObject({ schema: 1, error: { kind: "no_primary" } })
  expect(await get("/healthz", sick)).toMatchObject({
    status: 503,
    body: "not healthy: status normal, no primary known, quorum margin 1\n",
  })
})

test("healthz and metrics", async () => {
  expect(await get("/healthz")).toMatchObject({ status: 200, body: "ok\n" })
  const { body, type } = await get("/metrics")
  expect(type).toBe("text/plain; version=0.0.4; charset=utf-8")
  for (const line of body.split("\n")) {
    expect(line).toMatch(/^(# (HELP|TYPE) \w+ .+|\w+(\{\w+="[^"]*"(,\w+="[^"]*")*\})? -?\d+(\.\d+)?|)$/)
  }
  expect(body).toContain('mandala_info{machine="m0",version="0.0.0-test",slot="0"} 1\n')
  expect(body).toContain("mandala_healthy 1\n")
  expect(body.match(/^# TYPE/gm)?.length).toBeGreaterThan(12)
})

test("what is not there, not allowed, or too long", async () => {
  expect(await get("/nope")).toMatchObject({ status: 404 })
  expect(JSON.parse((await get("/nope")).body)).toMatchObject({ schema: 1, error: { kind: "not_found" } })
  const options = { method: "DELETE" }
  const refused = await fetch(`http://127.0.0.1:${api.port}/v1/status`, options)
  expect([refused.status, refused.headers.get("allow")]).toEqual([405, "GET, HEAD"])
  const posted = await fetch(`http://127.0.0.1:${api.port}/v1/status`, { method: "POST", body: "x".repeat(1000) })
  expect([posted.status, await posted.json()]).toMatchObject([413, { error: { kind: "body_bytes_max" } }])
  const headers = { "x-long": "x".repeat(API_HEADER_BYTES_MAX) }
  const status = await new Promise((resolve) => {
    httpRequest({ port: api.port, host: "127.0.0.1", headers }, (response) => resolve(response.statusCode)).end()
  })
  expect(status).toBe(431)
})

test("HEAD has no body", async () => {
  const response = await fetch(`http://127.0.0.1:${api.port}/healthz`, { method: "HEAD" })
  expect([response.status, await response.text()]).toEqual([200, ""])
})

test("what is no HTTP at all ends its own connection only", async () => {
  const answered = await new Promise<string>((resolve) => {
    let text = ""
    const socket = connect(api.port, "127.0.0.1", () => socket.write("*1\r\n$4\r\nPING\r\n\r\n"))
    socket.on("data", (chunk: Buffer) => {
      text += chunk.toString()
    })
    socket.on("close", () => resolve(text))
  })
  expect(answered).toMatch(/^HTTP\/1\.1 400 /)
  expect(await get("/healthz")).toMatchObject({ status: 200 })
})

test("a port in use is said, with what to do", async () => {
  const second = await listenOperatorAPI({
    host: "127.0.0.1",
    port: api.port,
    gateway: cluster.gateway,
    replica: cluster,
  })
  expect(second).toMatchObject({ ok: false, error: { kind: "address_in_use" } })
})
