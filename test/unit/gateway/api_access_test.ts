/** The operator API over TLS: who is let in, how far, and what somebody without a key can do to it. Plane: control. */
import { connect, type Socket } from "node:net"
import { connect as connectTLS } from "node:tls"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { fetchDocument } from "../../../appliance/cli/api_client.ts"
import type { Credentials } from "../../../appliance/cli/config_store.ts"
import { type AdmissionAPI, listenAdmissionAPI } from "../../../appliance/gateway/admission_api.ts"
import type { APISecurity } from "../../../appliance/gateway/api_access.ts"
import { API_CONNECTIONS_MAX } from "../../../appliance/gateway/limits.ts"
import { listenOperatorAPI, type OperatorAPI } from "../../../appliance/gateway/operator_api.ts"
import { Trust } from "../../../appliance/keys/trust.ts"
import { assert } from "../../../appliance/types/assert.ts"
import { err, ok } from "../../../appliance/types/result.ts"
import { Site } from "../../system/site.ts"
import { ClusterOfOne } from "./cluster_of_one.ts"

const TIMEOUT_MS = 5_000
const FLOOD = 10_000

const site = await Site.create("ab".repeat(16))
const otherSite = await Site.create("ab".repeat(16))
const acted: unknown[] = []
const learned: string[] = []

let api: OperatorAPI
let desk: AdmissionAPI

beforeAll(async () => {
  const cluster = new ClusterOfOne()
  cluster.onDue = () => void setImmediate(() => cluster.settle())
  const keys = await site.keys(0)
  const trust = new Trust({ authority: site.authority.x509, cluster_id: site.clusterID, now: () => Date.now() })
  const security: APISecurity = { trust, ...keys }
  const opened = await listenOperatorAPI({
    host: "127.0.0.1",
    port: 0,
    gateway: cluster.gateway,
    replica: cluster,
    members: {
      change: () => Promise.resolve({ outcome: "ok", slot: 0, epoch: 7 }),
      promote: () => "not_synchronous",
      epoch: () => 0,
      generation: () => 1,
    },
    archive: cluster,
    roster: {
      learnRoster: (roster) => {
        learned.push(roster.text)
        return trust.learn(roster)
      },
    },
    security,
  })
  assert(opened.ok, "test: a free port")
  api = opened.value
  const openedDesk = await listenAdmissionAPI({
    host: "127.0.0.1",
    port: 0,
    security,
    desk: {
      list: () => [{ machine: "m", admission: "seen" }],
      act: (action, machine, isForced) => {
        acted.push([action, machine, isForced])
        return machine === "known" ? ok({ machine }) : err({ kind: "unknown_machine", text: "none" })
      },
    },
  })
  assert(openedDesk.ok, "test: a free port")
  desk = openedDesk.value
})

afterAll(async () => {
  await api.close()
  await desk.close()
})

async function ask(
  credentials: Credentials | undefined,
  path: string,
  body?: Record<string, unknown>,
  port = api.port,
) {
  const scheme = credentials === undefined ? "http" : "https"
  const endpoint = new URL(`${scheme}://127.0.0.1:${port}`)
  const common = { endpoint, credentials, path, timeoutMs: TIMEOUT_MS }
  return await fetchDocument(body === undefined ? common : { ...common, body })
}

/** The answer to a GET without any key, over TLS. */
async function askWithoutKey(path: string): Promise<string> {
  const socket = connectTLS({
    host: "127.0.0.1",
    port: api.port,
    ca: site.authority.certificate,
    checkServerIdentity: () => undefined,
  })
  socket.write(`GET ${path} HTTP/1.1\r\nhost: m\r\nconnection: close\r\n\r\n`)
  let text = ""
  for await (const chunk of socket.setEncoding("utf8")) {
    text += String(chunk)
  }
  return text
}

describe("roles", () => {
  test.each([
    ["viewer", "/v1/status", undefined, "ok"],
    ["viewer", "/v1/members", { voters: [0] }, "denied"],
    ["viewer", "/v1/salvage", undefined, "denied"],
    ["viewer", "/v1/password", { password: "x".repeat(20) }, "denied"],
    ["operator", "/v1/status", undefined, "ok"],
    ["operator", "/v1/members", { voters: [0] }, "ok"],
    ["operator", "/v1/password", { password: "x".repeat(20) }, "denied"],
    ["admin", "/v1/members", { voters: [0] }, "ok"],
    ["admin", "/v1/password", { password: "x".repeat(20) }, "ok"],
    ["admin", "/v1/password", { password: "short" }, "failed"],
    ["admin", "/v1/password", { password: null }, "ok"],
  ] as const)("%s asks %s %j: %s", async (role, path, body, expected) => {
    const answered = await ask(await site.operator(role), path, body)
    expect(answered.ok ? "ok" : answered.error.kind, answered.ok ? "" : answered.error.text).toBe(expected)
  })

  test("a machine's key is no operator's, and another authority's is nobody's", async () => {
    const machine = await ask(await site.keys(1), "/v1/status")
    expect(machine.ok ? "" : machine.error.text).toMatch(/: that key is a machine's, not an operator's$/)
    const foreign = { ...(await otherSite.operator("admin")), authority: site.authority.certificate }
    expect(await ask(foreign, "/v1/status")).toMatchObject({ error: { kind: "denied" } })
    // And the operator of another site does not speak to this machine in the first place.
    expect(await ask(await otherSite.operator("admin"), "/v1/status")).toMatchObject({ error: { kind: "unreachable" } })
  })

  test("without a key there is only whether the machine is healthy", async () => {
    expect(await askWithoutKey("/healthz")).toMatch(/^HTTP\/1.1 200 /)
    for (const path of ["/v1/status", "/v1/machines", "/metrics", "/v1/salvage", "/v1/members", "/none"]) {
      expect(await askWithoutKey(path)).toMatch(/^HTTP\/1.1 401 [^]*"kind":"no_certificate"/)
    }
    expect(api.counters.unauthenticated).toBeGreaterThanOrEqual(6)
    expect(api.counters.forbidden).toBeGreaterThanOrEqual(4)
  })

  test("a roster is taken from whoever has a key of ours, and believed by its signature", async () => {
    const roster = site.roster(5, [{ machine: "m", decision: "expelled", slot: null, issue: 0 }])
    const path = "/v1/roster"
    expect(await ask(await site.keys(1), path, roster)).toMatchObject({ ok: true, value: { outcome: "newer" } })
    expect(await ask(await site.keys(1), path, roster)).toMatchObject({ ok: true, value: { outcome: "older" } })
    const forged = otherSite.roster(9, [])
    expect(await ask(await site.operator("viewer"), path, forged)).toMatchObject({ error: { kind: "conflict" } })
    expect(await ask(await site.operator("viewer"), path, { text: 1 })).toMatchObject({ error: { kind: "failed" } })
    expect(learned).toHaveLength(3)
    expect(await askWithoutKey(path)).toMatch(/^HTTP\/1.1 401 /)
  })

  test("an operator lets machines in, only an admin puts them out", async () => {
    const operator = await site.operator("operator")
    const at = (credentials: Credentials, body?: Record<string, unknown>) =>
      ask(credentials, "/v1/machine", body, desk.port)
    expect(await at(await site.operator("viewer"))).toMatchObject({
      ok: true,
      value: { machines: [{ admission: "seen" }] },
    })
    expect(await at(await site.operator("viewer"), { action: "accept", machine: "known" })).toMatchObject({
      error: { kind: "denied" },
    })
    expect(await at(operator, { action: "accept", machine: "known" })).toMatchObject({ ok: true })
    expect(await at(operator, { action: "expel", machine: "known" })).toMatchObject({ error: { kind: "denied" } })
    expect(await at(operator, { action: "shoot", machine: "known" })).toMatchObject({ error: { kind: "failed" } })
    const admin = await site.operator("admin")
    expect(await at(admin, { action: "expel", machine: "known", force: true })).toMatchObject({ ok: true })
    expect(await at(admin, { action: "expel", machine: "unknown" })).toMatchObject({ error: { kind: "not_found" } })
    expect(acted).toEqual([
      ["accept", "known", false],
      ["expel", "known", true],
      ["expel", "unknown", false],
    ])
  })
})

describe("strangers", () => {
  function plain(bytes: string | Buffer): Promise<string> {
    return new Promise((resolve) => {
      const socket = connect({ host: "127.0.0.1", port: api.port })
      let text = ""
      socket.on("error", () => undefined)
      socket.on("data", (chunk) => {
        // A TLS alert is no answer.
        text += chunk[0] === 0x15 ? "" : chunk.toString("latin1")
      })
      socket.on("close", () => resolve(text))
      socket.write(bytes)
    })
  }

  test("plain HTTP, an older TLS and noise are not answered", async () => {
    const before = api.counters.handshakes_failed
    expect(await plain("GET /v1/status HTTP/1.1\r\nhost: m\r\n\r\n")).toBe("")
    expect(await plain(Buffer.alloc(100_000, 0x16))).toBe("")
    const old = connectTLS({ host: "127.0.0.1", port: api.port, maxVersion: "TLSv1.2", rejectUnauthorized: false })
    old.on("error", () => undefined)
    await new Promise((resolve) => old.on("close", resolve))
    expect(api.counters.handshakes_failed - before).toBe(3)
  })

  test("a body is not read before its sender is known, and never beyond its bound", async () => {
    const before = process.memoryUsage().rss
    const socket = connectTLS({
      host: "127.0.0.1",
      port: api.port,
      ca: site.authority.certificate,
      checkServerIdentity: () => undefined,
    })
    socket.on("error", () => undefined)
    socket.write("POST /v1/password HTTP/1.1\r\nhost: m\r\ncontent-length: 1000000000\r\n\r\n")
    let answer = ""
    socket.on("data", (chunk: Buffer) => {
      answer += chunk.toString("latin1")
    })
    const piece = Buffer.alloc(1_000_000)
    for (let count = 0; count < 50 && !socket.destroyed; count += 1) {
      await new Promise((resolve) => socket.write(piece, resolve))
    }
    socket.destroy()
    expect(answer).toMatch(/^HTTP\/1.1 401 /)
    expect(process.memoryUsage().rss - before).toBeLessThan(300_000_000)
    const admin = await site.operator("admin")
    expect(await ask(admin, "/v1/password", { password: "x".repeat(10_000) })).toMatchObject({
      error: { kind: "failed" },
    })
  })

  test(`who drips or says nothing is closed, and ${FLOOD} connections are bounded`, async () => {
    const sockets: Socket[] = []
    for (let count = 0; count < FLOOD; count += 1) {
      const socket = connect({ host: "127.0.0.1", port: api.port })
      socket.on("error", () => undefined)
      sockets.push(socket)
    }
    const dripping = sockets[0]
    dripping?.write(Buffer.from([0x16, 0x03]))
    await new Promise((resolve) => dripping?.on("close", resolve).resume())
    for (const socket of sockets) {
      socket.destroy()
    }
    // The places of those who held them are free again, and an operator is served.
    await expect
      .poll(async () => (await ask(await site.operator("viewer"), "/v1/status")).ok, { timeout: 30_000, interval: 200 })
      .toBe(true)
    expect(API_CONNECTIONS_MAX).toBeLessThan(FLOOD)
  }, 60_000)
})
