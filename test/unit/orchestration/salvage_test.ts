/**
 * A salvage of a real state machine: every key with its expiry, the machines, one commit number, a checksum; and what
 * is left out or given up. Plane: control.
 */
import { createHash } from "node:crypto"
import { beforeEach, expect, test } from "vitest"
import { Salvage, type SalvagePiece } from "../../../appliance/orchestration/salvage.ts"
import { arenaLayout, HeaderOffset, KV_ENTRY_BYTES, PAGE_BYTES } from "../../../appliance/state_machine/arena.ts"
import { encodePassword, PASSWORD_SECRET } from "../../../appliance/gateway/resp_access.ts"
import { TableNumber } from "../../../appliance/state_machine/record_tables.ts"
import { CommandCode } from "../../../appliance/state_machine/command.ts"
import { encodeMachineRecord } from "../../../appliance/state_machine/machine_record.ts"
import { assert } from "../../../appliance/types/assert.ts"
import { PROCESS_LIMITS } from "../../../appliance/types/limits.ts"
import { PRNG } from "../../../appliance/types/prng.ts"
import { ClusterOfOne } from "../gateway/cluster_of_one.ts"
import { TestClient } from "../gateway/test_client.ts"

type Line = Readonly<Record<string, unknown>>

let cluster: ClusterOfOne
let client: TestClient

beforeEach(() => {
  cluster = new ClusterOfOne()
  client = new TestClient(cluster.gateway)
})

function salvageOf(one: ClusterOfOne): Salvage {
  const salvage = one.salvage()
  assert(salvage.ok, "test: a cluster of one can be salvaged")
  return salvage.value
}

function readAll(salvage: Salvage): string {
  let text = ""
  let piece: SalvagePiece = salvage.next()
  for (; piece.kind === "lines"; piece = salvage.next()) {
    text += piece.text
  }
  expect(piece).toEqual({ kind: "end" })
  return text
}

function linesOf(text: string): Line[] {
  expect(text.endsWith("\n")).toBe(true)
  const lines = text.slice(0, -1).split("\n")
  // Proof: every line was written as an object by the code under test, and is looked at field by field.
  return lines.map((line) => JSON.parse(line) as Line)
}

test("every key with its bytes and expiry, the machines, a header that says what it is, and a checksum", () => {
  client.command("SET", "text", "grüße")
  client.command("SET", Buffer.from([0xff, 0x00]), Buffer.from([0x80]))
  client.command("SET", "empty", "")
  client.command("SET", "later", "1", "PX", "60000")
  client.command("SET", "soon", "1", "PX", "1")
  client.command("DEL", "empty")
  client.command("SET", "empty", "")
  cluster.settle()
  const value = Buffer.from(
    encodeMachineRecord({
      machine: "m0",
      address: "10.0.0.10",
      replica_port: 7400,
      slot: 0,
      roles: 1,
      stage: 2,
      firmware: 1,
      ram_bytes: 1024,
      incarnation: 1,
      boot_count: 1,
      boot_id: "ab".repeat(16),
      joined_ms: 5,
    }),
  )
  cluster.gateway.call(
    { code: CommandCode.machine_put, key: Buffer.from("m0"), value, argument: 0 },
    { onResult: () => undefined },
  )
  cluster.settle()
  cluster.tick(50)
  cluster.tick(50)
  const text = readAll(salvageOf(cluster))
  const lines = linesOf(text)
  expect(lines[0]).toMatchObject({
    record: "header",
    kind: "mandala_salvage",
    authoritative: false,
    machine: "m0",
    cluster_id: "c1".repeat(16),
    commit: cluster.replica.commit,
  })
  expect(lines.find(({ record }) => record === "machine")).toMatchObject({ machine: "m0", boot_id: "ab".repeat(16) })
  const kv = lines.filter(({ record }) => record === "kv")
  expect(kv).toHaveLength(4)
  expect(kv).toContainEqual({ record: "kv", key: "text", value: "grüße" })
  expect(kv).toContainEqual({ record: "kv", key_base64: "/wA=", value_base64: "gA==" })
  expect(kv).toContainEqual({ record: "kv", key: "empty", value: "" })
  const later = kv.find(({ key }) => key === "later")
  expect(later?.["expires_in_ms"]).toBeGreaterThan(50_000)
  expect(lines.at(-1)).toEqual({
    record: "trailer",
    commit: cluster.replica.commit,
    machines: 1,
    kv: 4,
    expired: 0,
    corrupt: 0,
    uncommitted: 0,
    sha256: createHash("sha256")
      .update(text.slice(0, text.trimEnd().lastIndexOf("\n") + 1))
      .digest("hex"),
  })
})

test("large states come in bounded pieces, and nothing is lost between them", () => {
  const keys = 3_000
  for (let index = 0; index < keys; index += 1) {
    client.command("SET", `key:${index}`, "x".repeat(index % 700))
    cluster.settle()
  }
  client.take()
  const salvage = salvageOf(cluster)
  let pieces = 0
  let text = ""
  for (let piece = salvage.next(); piece.kind === "lines"; piece = salvage.next()) {
    expect(piece.text.length).toBeLessThan(128 * 1024)
    pieces += 1
    text += piece.text
  }
  expect(pieces).toBeGreaterThan(10)
  const found = new Set(linesOf(text).map(({ key }) => key))
  for (let index = 0; index < keys; index += 1) {
    expect(found.has(`key:${index}`)).toBe(true)
  }
})

test("a commit meanwhile ends it: what follows would be of another state", () => {
  client.command("SET", "a", "1")
  cluster.settle()
  const salvage = salvageOf(cluster)
  client.command("SET", "b", "1")
  cluster.settle()
  expect(salvage.next()).toMatchObject({ kind: "moved" })
})

test("a flipped bit is reported, not handed out as a value", () => {
  client.command("SET", "good", "1")
  client.command("SET", "bad", "unmistakable")
  cluster.settle()
  const { arena } = cluster.stateMachine
  const at = Buffer.from(arena.buffer, arena.byteOffset, arena.length).indexOf("unmistakable")
  arena[at] = 0
  const lines = linesOf(readAll(salvageOf(cluster)))
  expect(lines.filter(({ record }) => record === "kv")).toEqual([{ record: "kv", key: "good", value: "1" }])
  expect(lines.filter(({ record }) => record === "corrupt")).toHaveLength(1)
  expect(lines.at(-1)).toMatchObject({ kv: 1, corrupt: 1 })
})

/** A bit of a page that nobody writes, so that the next round of the scrub finds it. */
function flipUntilTorn(one: ClusterOfOne, at: number): void {
  const { arena, pages } = one.stateMachine
  const ticksMax = 2 * Math.ceil(pages.count / PROCESS_LIMITS.scrub_pages) + PROCESS_LIMITS.checkpoint_ms / 10
  for (let tick = 0; tick < ticksMax && (pages.changed > 0 || pages.pending > 0); tick += 1) {
    one.tick()
  }
  arena[at] = (arena[at] ?? 0) ^ 0x40
  for (let tick = 0; tick < ticksMax && !one.replica.isTorn; tick += 1) {
    one.tick()
  }
  expect(one.replica.isTorn).toBe(true)
}

test("from a machine whose memory was wrong: it says so, and gives what can be believed", () => {
  client.command("SET", "good", "1")
  client.command("SET", "bad", "unmistakable")
  cluster.settle()
  const { arena } = cluster.stateMachine
  flipUntilTorn(cluster, Buffer.from(arena.buffer, arena.byteOffset, arena.length).indexOf("unmistakable"))
  const lines = linesOf(readAll(salvageOf(cluster)))
  expect(lines[0]).toMatchObject({ authoritative: false, torn: true })
  expect(lines[0]?.["note"]).toMatch(
    /its state is torn: .*; keys may be missing, there twice, or of another op than \d+$/,
  )
  expect(lines.filter(({ record }) => record === "kv")).toEqual([{ record: "kv", key: "good", value: "1" }])
  expect(lines.at(-1)).toMatchObject({ kv: 1, corrupt: 1 })
})

test("whatever stands in a torn arena, a salvage ends, and every key in it was written once", () => {
  const keys = 500
  for (let index = 0; index < keys; index += 1) {
    client.command("SET", `key:${index}`, `value:${index}`)
    cluster.settle()
  }
  flipUntilTorn(cluster, HeaderOffset.kv_used)
  const { arena } = cluster.stateMachine
  const view = new DataView(arena.buffer, arena.byteOffset)
  for (const used of [0, 0xffff_ffff]) {
    // Nothing that the arena says of itself is believed.
    view.setUint32(HeaderOffset.kv_used, used, true)
    expect(linesOf(readAll(salvageOf(cluster))).at(-1)).toMatchObject({ kv: keys })
  }
  const prng = new PRNG(7)
  for (let round = 0; round < 20; round += 1) {
    const layout = arenaLayout(cluster.limits)
    for (let flips = 0; flips < 50; flips += 1) {
      arena[layout.kv_entries + prng.below(keys * KV_ENTRY_BYTES)] = prng.below(256)
      arena[prng.below(PAGE_BYTES)] = prng.below(256)
      arena[layout.kv_heap + prng.below(layout.bytes - layout.kv_heap)] = prng.below(256)
    }
    for (const line of linesOf(readAll(salvageOf(cluster)))) {
      if (line["record"] === "kv") {
        expect(line["value"]).toBe(String(line["key"]).replace("key", "value"))
      }
    }
  }
})

test("a secret is in no salvage: not from the state, and not from an op that is not known to be committed", () => {
  const before = cluster.replica.commit
  client.command("SET", "plain", "1")
  cluster.settle()
  const secret = encodePassword("correct-horse-battery")
  cluster.gateway.call(
    {
      code: CommandCode.record_put,
      key: Buffer.from(PASSWORD_SECRET),
      value: secret,
      argument: 0,
      flags: TableNumber.secrets,
    },
    { onResult: () => undefined },
  )
  cluster.settle()
  cluster.tick(50)
  expect(cluster.replica.commit).toBeGreaterThan(before)
  const { log, isTorn, copying, counters } = cluster.replica
  const { stateMachine, limits } = cluster
  // As a machine sees it that has not heard of the commits.
  const replica = { log, isTorn, copying, counters, commit: before }
  const text = readAll(new Salvage({ info: cluster.info(), limits, stateMachine, replica }))
  const uncommitted = linesOf(text).filter(({ record }) => record === "uncommitted")
  expect(uncommitted.filter((line) => line["withheld"] === "secret")).toHaveLength(1)
  expect(uncommitted.some((line) => typeof line["body_base64"] === "string")).toBe(true)
  // Neither the record nor any 48 bytes in a row of it, however they lie in base64.
  for (let at = 64; at < 112; at += 1) {
    expect(text).not.toContain(secret.subarray(at, at + 12).toString("base64"))
  }
  expect(text).not.toContain(PASSWORD_SECRET)
})
