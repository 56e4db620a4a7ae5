/** Changing members over real HTTP: what is asked, what comes back, what is refused and why. Plane: control. */
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest"
import { listenOperatorAPI, type OperatorAPI } from "../../../appliance/gateway/operator_api.ts"
import type { Change, ChangeOutcome } from "../../../appliance/orchestration/membership.ts"
import type { PromoteOutcome } from "../../../appliance/replication/replica.ts"
import { assert } from "../../../appliance/types/assert.ts"
import { ClusterOfOne } from "./cluster_of_one.ts"

let api: OperatorAPI
let asked: Change[] = []
let outcome: ChangeOutcome = "ok"
let promoted: PromoteOutcome = "ok"

beforeAll(async () => {
  const cluster = new ClusterOfOne()
  const members = {
    change: (wanted: Change) => {
      asked.push(wanted)
      return Promise.resolve({ outcome, slot: 3, epoch: outcome === "ok" ? 8 : 7 })
    },
    promote: () => promoted,
    epoch: () => 7,
    generation: () => 2,
  }
  const common = { host: "127.0.0.1", port: 0, gateway: cluster.gateway, replica: cluster }
  const listening = await listenOperatorAPI({ ...common, members })
  assert(listening.ok, "test: a free port can be listened on")
  api = listening.value
})

beforeEach(() => {
  asked = []
  outcome = "ok"
  promoted = "ok"
})

afterAll(async () => await api.close())

async function post(path: string, body: string): Promise<{ readonly status: number; readonly body: unknown }> {
  const response = await fetch(`http://127.0.0.1:${api.port}${path}`, { method: "POST", body })
  return { status: response.status, body: await response.json() }
}

test("a change is asked for as it was said, in the present epoch unless another is named", async () => {
  const said = await post("/v1/members", JSON.stringify({ voters: [0, 1, 2], standbys: [3] }))
  expect(said).toEqual({ status: 200, body: { schema: 1, outcome: "ok", epoch: 8 } })
  await post("/v1/members", JSON.stringify({ voters: [0], standbys: [1], synchronous: true, epoch: 5 }))
  await post("/v1/members", JSON.stringify({ voters: [3, 4, 5], grow: true }))
  expect(asked).toEqual([
    { epoch: 7, voters: [0, 1, 2], standbys: [3], synchronous: false, drops_standby: false, grows: false },
    { epoch: 5, voters: [0], standbys: [1], synchronous: true, drops_standby: false, grows: false },
    { epoch: 7, voters: [3, 4, 5], standbys: [], synchronous: false, drops_standby: false, grows: true },
  ])
})

test.each([
  ["busy", 409],
  ["wrong_epoch", 409],
  ["invalid", 400],
  ["not_warm", 409],
  ["not_grown", 409],
  ["standby_missing", 409],
  ["memory_disputed", 409],
  ["unknown", 504],
  ["no_primary", 503],
] as const)("%s is refused with what to do", async (kind, status) => {
  outcome = kind
  const said = await post("/v1/members", JSON.stringify({ voters: [0, 1, 3] }))
  expect(said.status).toBe(status)
  expect(said.body).toMatchObject({ schema: 1, error: { kind } })
})

test.each([
  ["no JSON", "voters", 400],
  ["a list", "[]", 400],
  ["no voters", "{}", 400],
  ["slots that are none", JSON.stringify({ voters: [0.5] }), 400],
  ["too many", JSON.stringify({ voters: [0, 1, 2, 3, 4, 5, 6, 7] }), 400],
  ["an epoch that is none", JSON.stringify({ voters: [0], epoch: "new" }), 400],
  ["a long body", `{"voters":[0],"x":"${"y".repeat(5_000)}"}`, 413],
])("%s is refused before anything is asked", async (_, body, status) => {
  expect((await post("/v1/members", body)).status).toBe(status)
  expect(asked).toEqual([])
})

test("who could lose something must say so", async () => {
  const drop = { voters: [0], drops_standby: true }
  expect(await post("/v1/members", JSON.stringify(drop))).toMatchObject({
    status: 409,
    body: { error: { kind: "unconfirmed" } },
  })
  expect((await post("/v1/members", JSON.stringify({ ...drop, is_standby_off: true }))).status).toBe(200)
  expect(await post("/v1/standby/promote", "{}")).toMatchObject({
    status: 409,
    body: { error: { kind: "unconfirmed" } },
  })
  const off = JSON.stringify({ is_voter_off: true })
  expect(await post("/v1/standby/promote", off)).toMatchObject({ status: 200, body: { generation: 2, epoch: 7 } })
  promoted = "not_synchronous"
  expect(await post("/v1/standby/promote", off)).toMatchObject({
    status: 409,
    body: { error: { kind: "not_synchronous" } },
  })
})

test("other methods are told what there is", async () => {
  const response = await fetch(`http://127.0.0.1:${api.port}/v1/members`)
  expect(response.status).toBe(405)
})
