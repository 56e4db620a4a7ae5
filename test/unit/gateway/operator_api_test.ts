/** The operator API over real HTTP. Plane: control. */
import { request as httpRequest } from "node:http"
import { connect } from "node:net"
import { afterAll, beforeAll, expect, test } from "vitest"
import { API_HEADER_BYTES_MAX } from "../../../appliance/gateway/limits.ts"
import type { MembersPort } from "../../../appliance/gateway/members_api.ts"
import { listenOperatorAPI, type OperatorAPI } from "../../../appliance/gateway/operator_api.ts"
import { Salvage } from "../../../appliance/orchestration/salvage.ts"
import { CommandCode } from "../../../appliance/state_machine/command.ts"
import { encodeMachineRecord } from "../../../appliance/state_machine/machine_record.ts"
import { noLinkCounters } from "../../../appliance/orchestration/links.ts"
import { ALARM_KINDS } from "../../../appliance/orchestration/alarms.ts"
import { assert } from "../../../appliance/types/assert.ts"
import { ok } from "../../../appliance/types/result.ts"
import { ClusterOfOne } from "./cluster_of_one.ts"
import { ScriptedPort } from "./scripted_port.ts"
import { TestClient } from "./test_client.ts"

/** Nothing here changes who the members are; members_api_test.ts does. */
const NO_MEMBERS: MembersPort = {
  change: () => Promise.resolve({ outcome: "no_primary", slot: 0, epoch: 0 }),
  promote: () => "not_synchronous",
  epoch: () => 0,
  generation: () => 1,
}

let cluster: ClusterOfOne
let api: OperatorAPI
let sick: OperatorAPI
const scripted = new ScriptedPort()

async function listenOn(gateway: ClusterOfOne["gateway"], replica: ClusterOfOne | ScriptedPort): Promise<OperatorAPI> {
  const listening = await listenOperatorAPI({
    archive: cluster,
    roster: { learnRoster: () => "older" },
    security: undefined,
    host: "127.0.0.1",
    port: 0,
    gateway,
    replica,
    members: NO_MEMBERS,
  })
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
  // Every kind of refusal and every alarm is there before it happens: a dashboard sees the first one.
  for (const kind of Object.keys(noLinkCounters().frames_refused_by)) {
    expect(body).toContain(`mandala_frames_refused_total{kind="${kind}"} 0\n`)
  }
  for (const kind of Object.keys(noLinkCounters().hellos_refused_by)) {
    expect(body).toContain(`mandala_hellos_refused_total{kind="${kind}"} 0\n`)
    expect(body).toContain(`mandala_hellos_declined_total{kind="${kind}"} 0\n`)
  }
  for (const kind of ALARM_KINDS) {
    expect(body).toContain(`mandala_alarm{kind="${kind}"} `)
  }
  expect(body).toContain('mandala_protocol_total{kind="wrong_epoch"} 0\n')
})

test("a lost majority: typed, and nothing is read from the past", async () => {
  const lost = new ScriptedPort()
  lost.stopped = { kind: "quorum_lost", text: "1 of 3 voters hold the state and are within reach, 2 are needed" }
  const stopped = await listenOn(lost.gateway, lost)
  const answer = get("/v1/machines", stopped)
  for (let turn = 0; lost.gateway.status().commands_waiting === 0; turn += 1) {
    assert(turn < 1000, "test: the question reaches the gateway")
    await new Promise((resolve) => setImmediate(resolve))
  }
  lost.wait(10)
  const { status, body } = await answer
  expect([status, JSON.parse(body)]).toMatchObject([503, { error: { kind: "quorum_lost" } }])
  expect(JSON.parse((await get("/v1/status", stopped)).body)).toMatchObject({
    cluster: { is_healthy: false, outage: { kind: "quorum_lost" } },
  })
  expect((await get("/healthz", stopped)).body).toContain("quorum_lost: 1 of 3 voters")
  await stopped.close()
})

test("salvage: lines that end with a trailer, one at a time; refused where the cluster answers", async () => {
  const client = new TestClient(cluster.gateway)
  for (let index = 0; index < 500; index += 1) {
    client.command("SET", `key:${index}`, "x".repeat(1_000))
    cluster.settle()
  }
  const [first, second] = await Promise.all([get("/v1/salvage"), get("/v1/salvage")])
  expect(new Set([first.status, second.status])).toEqual(new Set([200, 503]))
  const good = first.status === 200 ? first : second
  expect(good.type).toBe("application/x-ndjson; charset=utf-8")
  const lines = good.body.trimEnd().split("\n")
  expect(lines[0]).toContain('"authoritative":false')
  expect(lines.at(-1)).toMatch(/^\{"record":"trailer",.*"kv":500,.*"sha256":"[0-9a-f]{64}"\}$/)
  expect(await get("/v1/salvage", sick)).toMatchObject({ status: 409 })
  expect((await get("/v1/salvage", sick)).body).toContain('"kind":"quorum_present"')
})

test("salvage: something committed meanwhile breaks it off, without a trailer", async () => {
  const { limits, stateMachine, replica } = cluster
  let asked = 0
  const { log, counters } = replica
  const busy = {
    log,
    counters,
    isTorn: false,
    copying: undefined,
    get commit(): number {
      asked += 1
      return replica.commit + (asked > 3 ? 1 : 0)
    },
  }
  const moving = {
    info: () => cluster.info(),
    salvage: () => ok(new Salvage({ info: cluster.info(), limits, stateMachine, replica: busy })),
  }
  const common = { host: "127.0.0.1", port: 0, gateway: cluster.gateway, members: NO_MEMBERS }
  const listening = await listenOperatorAPI({
    archive: cluster,
    roster: { learnRoster: () => "older" },
    security: undefined,
    ...common,
    replica: moving,
  })
  assert(listening.ok, "test: a free port can be listened on")
  const { body } = await get("/v1/salvage", listening.value)
  expect(body).toContain('{"record":"aborted","error":{"kind":"commit_moved"')
  expect(body.includes('"record":"trailer"')).toBe(false)
  // And the next one is served.
  asked = Number.NEGATIVE_INFINITY
  expect((await get("/v1/salvage", listening.value)).body.includes('"record":"trailer"')).toBe(true)
  await listening.value.close()
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
    archive: cluster,
    roster: { learnRoster: () => "older" },
    security: undefined,
    host: "127.0.0.1",
    port: api.port,
    gateway: cluster.gateway,
    replica: cluster,
    members: NO_MEMBERS,
  })
  expect(second).toMatchObject({ ok: false, error: { kind: "address_in_use" } })
})
