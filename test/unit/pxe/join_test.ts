/**
 * From unknown to certified, and every way in which somebody else may try to be let in: the boot server's side over
 * real HTTP, the machine's side as the appliance does it. Plane: control.
 */
import { createHmac, timingSafeEqual } from "node:crypto"
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pino } from "pino"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import { keysPort } from "../../../appliance/cli/site_keys.ts"
import { Authority } from "../../../appliance/keys/authority.ts"
import { makeKey } from "../../../appliance/keys/key_pair.ts"
import { obtainSecurity } from "../../../appliance/orchestration/joiner.ts"
import { ORCHESTRATION_LIMITS } from "../../../appliance/orchestration/limits.ts"
import { type NodeConfig, parseNodeConfig } from "../../../appliance/orchestration/node_config.ts"
import { assert } from "../../../appliance/types/assert.ts"
import { AdmissionDesk } from "../../../pxe/admission_desk.ts"
import { Routes } from "../../../pxe/boot_routes.ts"
import { type HTTPServer, startHTTPServer } from "../../../pxe/http/server.ts"
import { JoinRoutes } from "../../../pxe/join_routes.ts"
import { Formation } from "../../../pxe/pool/formation.ts"
import { Ledger } from "../../../pxe/pool/ledger.ts"
import { CHALLENGE_MS, LISTEN_MS, MACHINES_MAX, TICKET_JOINS_MAX, TICKET_MS } from "../../../pxe/pool/limits.ts"
import { type AdmissionRule, Registry } from "../../../pxe/pool/registry.ts"
import { TraceBook } from "../../../pxe/pool/trace.ts"
import { clusterStatus, machineStatuses } from "../../../pxe/pool/status.ts"
import { joinText, Tickets } from "../../../pxe/pool/tickets.ts"
import { makeClock, makeLogger, type ManualClock } from "./ports.ts"

const A = "52-54-00-77-00-01"
const B = "52-54-00-77-00-02"
const CLUSTER = "a".repeat(32)
const START = 1_700_000_000_000

const authority = await Authority.create()
const keys = keysPort(authority)

type Scene = {
  readonly clock: ManualClock
  readonly registry: Registry
  readonly tickets: Tickets
  readonly formation: Formation
  readonly joins: JoinRoutes
  readonly desk: AdmissionDesk
  readonly server: HTTPServer
  readonly url: string
}

let directory = ""
const servers: HTTPServer[] = []
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "mandala-join-"))
})
afterEach(async () => {
  rmSync(directory, { recursive: true, force: true })
  for (const server of servers.splice(0)) {
    await server.close()
  }
})

async function makeScene(
  options: { readonly accept_all?: boolean; readonly rules?: readonly AdmissionRule[] } = {},
): Promise<Scene> {
  const clock = makeClock()
  clock.now = START
  const log = makeLogger()
  const ledger = new Ledger()
  let randoms = 0
  const randomHex = (bytes: number): string => {
    randoms += 1
    return randoms.toString(16).padStart(bytes * 2, "0")
  }
  const formation = new Formation({
    voters: 3,
    size: "small",
    grow_to: null,
    cluster_id: CLUSTER,
    formation_token: "c".repeat(32),
    started_at: clock.now - LISTEN_MS,
  })
  const { accept_all = false, rules = [] } = options
  const registry = new Registry({ keys, accept_all, rules, clusterID: () => formation.clusterID })
  const tickets = new Tickets({
    randomHex,
    mac: (key, text) => createHmac("sha256", Buffer.from(key, "hex")).update(text).digest("hex"),
    isEqual: (a, b) => a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b)),
  })
  const admission = { keys, registry, tickets }
  const joins = new JoinRoutes({ ...admission, formation, clock, log })
  const desk = new AdmissionDesk({ ...admission, formation, ledger, clock, log })
  const routes = new Routes({
    server_url: "http://127.0.0.1:1",
    files: new Map(),
    ledger,
    trace: new TraceBook(),
    formation,
    admission,
    clock,
    log,
    randomHex,
    status: () => ({
      schema: 1,
      cluster: clusterStatus(formation),
      machines: machineStatuses({ ledger, formation, registry }, clock.now),
      counters: { dhcp: {}, tftp: {}, http: {}, pool: {} },
    }),
  })
  const started = await startHTTPServer({
    address: "127.0.0.1",
    port: 0,
    log,
    random: () => 0,
    handle: (request) => joins.handle(request) ?? routes.handle(request),
  })
  assert(started.ok, "test: a port is free")
  servers.push(started.value)
  const url = `http://127.0.0.1:${started.value.port}`
  return { clock, registry, tickets, formation, joins, desk, server: started.value, url }
}

async function scriptOf({ url }: Scene, machine = A): Promise<string> {
  return await (await fetch(`${url}/boot.ipxe?mac=${machine}&uuid=u&serial=S1&product=P&platform=pcbios`)).text()
}

/** What is in the archive that the machine's present boot is given; the status when there is none. */
async function bootOf(scene: Scene, machine = A): Promise<NodeConfig | number> {
  const boot = /mandala\.boot=([0-9a-f]{32})/.exec(await scriptOf(scene, machine))?.[1] ?? ""
  const answer = await fetch(`${scene.url}/machine/${machine}/node.img?boot=${boot}`)
  if (answer.status !== 200) {
    return answer.status
  }
  const archive = await answer.text()
  // The mode stands in the header of the file's entry (newc: 8 digits behind magic and inode).
  expect(archive.includes("00008100")).toBe(true)
  const parsed = parseNodeConfig(archive.slice(archive.indexOf("{"), archive.indexOf("}\n") + 1))
  assert(parsed.ok, "test: an archive has a node.json")
  return { ...parsed.value, boot_server: scene.url }
}

async function configOf(scene: Scene, machine = A): Promise<NodeConfig> {
  const config = await bootOf(scene, machine)
  assert(typeof config !== "number", "test: the machine got its archive")
  return config
}

function obtain(config: NodeConfig, runDirectory = directory) {
  const limits = { ...ORCHESTRATION_LIMITS, join_attempts_max: 2, join_retry_ms: 10 }
  const log = pino({ level: "silent" })
  return obtainSecurity({ config, slot: config.slot ?? 0, runDirectory, limits, log, now: () => START })
}

type Said = { readonly status: number; readonly error: unknown; readonly body: Record<string, unknown> }

/** A join as somebody who knows the protocol would write it. */
async function joinBy(
  scene: Scene,
  config: NodeConfig,
  change: { readonly challenge?: string; readonly publicKey?: string; readonly ticket?: string } = {},
): Promise<Said & { readonly sent: Record<string, string> }> {
  const asked = await (await fetch(`${scene.url}/join/challenge`)).json()
  assert(typeof asked === "object" && asked !== null && "challenge" in asked, "test: a challenge")
  const { machine, boot_id, cluster_id } = config
  const challenge = change.challenge ?? String(asked.challenge)
  const publicKey = change.publicKey ?? (await makeKey()).publicKey
  const text = joinText(cluster_id, { machine, boot_id, challenge, public_key: publicKey })
  const secret = Buffer.from(change.ticket ?? config.ticket, "hex")
  const proof = createHmac("sha256", secret).update(text).digest("hex")
  const sent = { machine, boot_id, challenge, public_key: publicKey, proof }
  return { ...(await post(scene, sent)), sent }
}

async function post({ url }: Scene, body: object | string): Promise<Said> {
  const text = typeof body === "string" ? body : JSON.stringify(body)
  const answer = await fetch(`${url}/join`, { method: "POST", body: text })
  const document: unknown = await answer.json()
  const fields = Object.fromEntries(Object.entries(typeof document === "object" && document !== null ? document : {}))
  return { status: answer.status, error: fields["error"], body: fields }
}

describe("admission", () => {
  test("an unknown machine is seen and gets nothing until it is accepted", async () => {
    const scene = await makeScene()
    expect(await scriptOf(scene)).toContain(`echo mandala: ${A} waits to be accepted`)
    expect(await scriptOf(scene)).not.toContain("kernel")
    expect(await bootOf(scene)).toBe(403)
    expect(scene.desk.list()).toMatchObject([{ machine: A, admission: "seen", slot: null }])
    expect(scene.desk.act("accept", "52:54:00:77:00:01", false)).toMatchObject({
      ok: true,
      value: { admission: "accepted" },
    })
    expect(await configOf(scene)).toMatchObject({
      machine: A,
      slot: 0,
      links: "tls1.3",
      authority: authority.certificate,
    })
    const boot = /mandala\.boot=([0-9a-f]{32})/.exec(await scriptOf(scene))?.[1] ?? ""
    expect(scene.desk.act("refuse", A, false).ok).toBe(true)
    expect(await scriptOf(scene)).toContain(`echo mandala: ${A} was refused`)
    // Nor does it get its archive by the boot that it was given before.
    const late = await fetch(`${scene.url}/machine/${A}/node.img?boot=${boot}`)
    expect([late.status, await late.text()]).toEqual([403, "this machine is not accepted\n"])
    expect(await bootOf(scene)).toBe(403)
  })

  test("a rule accepts so many and no more; a refusal weighs more than a rule; a lab accepts all", async () => {
    const scene = await makeScene({ rules: [{ prefix: "52-54-00", count_max: 2 }] })
    expect(scene.desk.act("refuse", A, false).ok).toBe(true)
    expect(await bootOf(scene, A)).toBe(403)
    expect(await configOf(scene, B)).toMatchObject({ slot: 0 })
    expect(await configOf(scene, "52-54-00-77-00-03")).toMatchObject({ slot: 1 })
    expect(await bootOf(scene, "52-54-00-77-00-04")).toBe(403)
    expect(await bootOf(scene, "52-55-00-77-00-05")).toBe(403)
    // Who came by a rule stays when the rule is used up.
    expect(await configOf(scene, B)).toMatchObject({ slot: 0 })
    const lab = await makeScene({ accept_all: true })
    expect(await configOf(lab)).toMatchObject({ slot: 0 })
  })

  test("nobody is expelled who was never decided about, and the table is bounded", async () => {
    const scene = await makeScene()
    expect(scene.desk.act("expel", A, false)).toMatchObject({ error: { kind: "unknown_machine" } })
    expect(scene.desk.act("accept", "nonsense", false)).toMatchObject({ error: { kind: "not_a_machine" } })
    for (let count = 0; count < MACHINES_MAX; count += 1) {
      const mac = `02-00-00-00-00-${count.toString(16).padStart(2, "0")}`
      expect(scene.desk.act("accept", mac, false).ok).toBe(true)
    }
    expect(scene.desk.act("accept", A, false)).toMatchObject({ error: { kind: "machines_max" } })
    expect(scene.desk.list()).toHaveLength(MACHINES_MAX)
    // The largest roster still is one.
    expect(keys.read(scene.desk.roster())?.machines).toHaveLength(MACHINES_MAX)
  })
})

describe("joining", () => {
  test("a ticket is traded for a certificate, and a process that starts again has it without a ticket", async () => {
    const scene = await makeScene({ accept_all: true })
    const config = await configOf(scene)
    const first = await obtain(config)
    expect(first).toMatchObject({ ok: true, value: { identity: { machine: A, slot: 0, boot_id: config.boot_id } } })
    expect(statSync(join(directory, "link.json")).mode & 0o777).toBe(0o600)
    expect(scene.joins.counters).toMatchObject({ joins: 1, joins_refused: 0 })
    const again = await obtain({ ...config, ticket: "" })
    expect(again).toMatchObject({ ok: true, value: { identity: first.ok ? first.value.identity : {} } })
    expect(again.ok && again.value.trust.rosterVersion).toBe(scene.registry.version)
    expect(scene.joins.counters.joins).toBe(1)
    // The private half never left: neither the answer nor the request had it.
    expect(readFileSync(join(directory, "link.json"), "utf8")).toContain("PRIVATE KEY")
  })

  test("an answer that was lost is asked for again, with the same key, a bounded number of times", async () => {
    const scene = await makeScene({ accept_all: true })
    const config = await configOf(scene)
    const { publicKey } = await makeKey()
    for (let count = 0; count < TICKET_JOINS_MAX; count += 1) {
      expect((await joinBy(scene, config, { publicKey })).status).toBe(200)
    }
    expect(await joinBy(scene, config, { publicKey })).toMatchObject({ status: 403, error: "joins_max" })
    expect(scene.registry.admissionOf(A)).toBe("accepted")
  })

  test("the same archive comes with the same ticket; the next boot's is another", async () => {
    const scene = await makeScene({ accept_all: true })
    const first = await configOf(scene)
    expect((await configOf(scene)).ticket).toBe(first.ticket)
    await fetch(`${scene.url}/beacon/init?mac=${A}&boot=${first.boot_id}`)
    const next = await configOf(scene)
    expect(next.boot_id).not.toBe(first.boot_id)
    expect(next.ticket).not.toBe(first.ticket)
    expect(await joinBy(scene, first)).toMatchObject({ status: 403, error: "wrong_boot" })
    expect((await joinBy(scene, next)).status).toBe(200)
  })

  test("keys of another boot, slot or machine are not taken for one's own", async () => {
    const scene = await makeScene({ accept_all: true })
    const config = await configOf(scene)
    expect((await obtain(config)).ok).toBe(true)
    expect(await obtain({ ...config, boot_id: "f".repeat(32) })).toMatchObject({ error: { kind: "keys_unusable" } })
    expect(await obtain({ ...config, slot: 1 })).toMatchObject({ error: { kind: "keys_unusable" } })
    expect(await obtain({ ...config, machine: B })).toMatchObject({ error: { kind: "keys_unusable" } })
    expect(await obtain({ ...config, cluster_id: "b".repeat(32) })).toMatchObject({ error: { kind: "keys_unusable" } })
  })

  test("without keys, a ticket or a boot server it says what is missing", async () => {
    const scene = await makeScene({ accept_all: true })
    const config = await configOf(scene)
    expect(await obtain({ ...config, ticket: "" })).toMatchObject({ error: { kind: "no_keys" } })
    await scene.server.close()
    expect(await obtain(config)).toMatchObject({ error: { kind: "not_admitted" } })
    expect(existsSync(join(directory, "link.json"))).toBe(false)
  })
})

describe("somebody else", () => {
  test("who presents a spent ticket for another key puts both out, until an operator accepts again", async () => {
    const scene = await makeScene({ accept_all: true })
    const config = await configOf(scene)
    const mine = await obtain(config)
    assert(mine.ok, "test: the machine joined")
    expect(await joinBy(scene, config)).toMatchObject({ status: 403, error: "ticket_spent" })
    expect(scene.registry.admissionOf(A)).toBe("quarantined")
    const roster = scene.desk.roster()
    assert(roster !== undefined, "test: there is a roster")
    expect(mine.value.trust.learn(roster)).toBe("newer")
    expect(keys.read(roster)?.machines).toMatchObject([{ machine: A, decision: "quarantined" }])
    expect(await scriptOf(scene)).toContain(`${A} was quarantined`)
    expect(await joinBy(scene, config)).toMatchObject({ error: "no_ticket" })
    expect(scene.desk.act("accept", A, false).ok).toBe(true)
    expect((await obtain(await configOf(scene), mkdtempSync(join(directory, "again-")))).ok).toBe(true)
  })

  test("a thief who comes first is put out as well, when the machine comes", async () => {
    const scene = await makeScene({ accept_all: true })
    const config = await configOf(scene)
    const thief = await joinBy(scene, config)
    expect(thief.status).toBe(200)
    expect(await obtain(config)).toMatchObject({
      error: { kind: "not_admitted", text: `${scene.url} did not let this machine join: ticket_spent` },
    })
    expect(scene.registry.admissionOf(A)).toBe("quarantined")
  })

  test("a join that was recorded is worth nothing", async () => {
    const scene = await makeScene({ accept_all: true })
    const config = await configOf(scene)
    const { sent } = await joinBy(scene, config)
    expect(await post(scene, sent)).toMatchObject({ status: 403, error: "replayed" })
    expect(scene.registry.admissionOf(A)).toBe("accepted")
    scene.clock.now += CHALLENGE_MS + 1
    expect(await post(scene, sent)).toMatchObject({ status: 403, error: "bad_challenge" })
    expect(await joinBy(scene, config, { challenge: `${START}.00.ff` })).toMatchObject({ error: "bad_challenge" })
  })

  test("a ticket is good for its own machine only, and nothing is worth guessing", async () => {
    const scene = await makeScene({ accept_all: true })
    const config = await configOf(scene, A)
    const other = await configOf(scene, B)
    expect(await joinBy(scene, other, { ticket: config.ticket })).toMatchObject({ status: 403, error: "bad_proof" })
    expect(await joinBy(scene, config, { ticket: "0".repeat(64) })).toMatchObject({ status: 403, error: "bad_proof" })
    expect(await joinBy(scene, { ...config, machine: "52-54-00-77-00-09" })).toMatchObject({ error: "no_ticket" })
    // Nobody was put out by somebody who has no ticket.
    expect([scene.registry.admissionOf(A), scene.registry.admissionOf(B)]).toEqual(["accepted", "accepted"])
    expect((await joinBy(scene, config)).status).toBe(200)
  })

  test("a ticket ends", async () => {
    const scene = await makeScene({ accept_all: true })
    const config = await configOf(scene)
    scene.clock.now += TICKET_MS + 1
    expect(await joinBy(scene, config)).toMatchObject({ status: 403, error: "ticket_expired" })
  })

  test("who was refused or expelled meanwhile does not join with the ticket that it has", async () => {
    const scene = await makeScene({ accept_all: true })
    const config = await configOf(scene)
    expect(scene.desk.act("refuse", A, false).ok).toBe(true)
    expect(await joinBy(scene, config)).toMatchObject({ status: 403, error: "no_ticket" })
  })

  test("what is no join, or brings a key of another kind, is refused by name", async () => {
    const scene = await makeScene({ accept_all: true })
    const config = await configOf(scene)
    for (const body of ["", "{", "[]", { machine: A }, { ...config, proof: 1 }]) {
      expect(await post(scene, body)).toMatchObject({ status: 400, error: "malformed" })
    }
    expect(await joinBy(scene, config, { publicKey: "AAAA" })).toMatchObject({ status: 403, error: "bad_key" })
    const { privateKey } = await makeKey()
    expect(await joinBy(scene, config, { publicKey: privateKey })).toMatchObject({ status: 403, error: "ticket_spent" })
  })
})

describe("a boot server that was restarted", () => {
  const Other = "b".repeat(32)
  const announce = {
    machine: A,
    boot_id: "1".repeat(32),
    slot: 1,
    address: "127.0.0.1",
    replica_port: 7400,
    status: "normal",
    view: 1,
    op: 1,
    commit: 1,
    primary_slot: 1,
    cluster_id: Other,
    generation: 1,
    epoch: 0,
    formed: true,
    roster_version: START + 7,
  }

  async function say({ url }: Scene, body: object): Promise<Said> {
    const answer = await fetch(`${url}/cluster/announce`, { method: "POST", body: JSON.stringify(body) })
    const document: unknown = await answer.json()
    const fields = Object.fromEntries(Object.entries(typeof document === "object" && document !== null ? document : {}))
    return { status: answer.status, error: fields["error"], body: fields }
  }

  test("believes that a cluster exists on a roster of its own authority, and knows its slots again", async () => {
    const scene = await makeScene()
    const machines = [
      { machine: A, decision: "accepted", slot: 1, issue: 5 },
      { machine: B, decision: "accepted", slot: 2, issue: 6 },
    ] as const
    const roster = authority.sign({ version: START + 7, cluster_id: Other, machines })
    const forged = (await Authority.create()).sign({ version: START + 7, cluster_id: Other, machines })
    expect(await say(scene, announce)).toMatchObject({ status: 409, body: { wants_roster: true } })
    expect(await say(scene, { ...announce, roster: forged })).toMatchObject({
      status: 409,
      body: { wants_roster: true },
    })
    const others = authority.sign({ version: START + 7, cluster_id: "d".repeat(32), machines })
    expect(await say(scene, { ...announce, roster: others })).toMatchObject({ status: 409 })
    expect(scene.formation.isFormed).toBe(false)
    const taken = await say(scene, { ...announce, roster })
    expect(taken).toMatchObject({ status: 200, body: { cluster_id: Other } })
    // The member goes by an older roster than the server's now, and is sent the newest.
    expect(keys.read(taken.body["roster"])?.version).toBeGreaterThan(START + 7)
    // B was off all the time, and has its place all the same.
    expect([scene.formation.slotOf(A), scene.formation.slotOf(B)]).toEqual([1, 2])
    expect(await configOf(scene, B)).toMatchObject({ slot: 2, cluster_id: Other, formation_token: "" })
    const stranger = { ...announce, machine: "52-54-00-77-00-09", slot: 0 }
    expect(await say(scene, stranger)).toMatchObject({ status: 403, error: "not_accepted" })
  })

  test("goes on from a member's roster; what was put out stays out", async () => {
    const before = await makeScene({ accept_all: true })
    expect((await joinBy(before, await configOf(before, A))).status).toBe(200)
    expect((await joinBy(before, await configOf(before, B))).status).toBe(200)
    expect(before.desk.act("expel", B, true).ok).toBe(true)
    const kept = keys.read(before.desk.roster())
    assert(kept !== undefined, "test: a roster")
    const after = await makeScene({ accept_all: true })
    expect(after.registry.adopt(kept, START)).toBe(true)
    expect(after.registry.adopt(kept, START)).toBe(false)
    expect([after.registry.admissionOf(A), after.registry.admissionOf(B)]).toEqual(["accepted", "expelled"])
    expect(after.registry.version).toBeGreaterThan(kept.version)
    expect(await bootOf(after, B)).toBe(403)
    // Numbers of certificates go on rising, though its clock may be behind.
    const issue = Math.max(...kept.machines.map((one) => one.issue))
    expect(after.registry.certify(A, 0, 0)).toBeGreaterThan(issue)
    expect(after.registry.adopt({ ...kept, version: kept.version + 9e9, cluster_id: "b".repeat(32) }, START)).toBe(
      false,
    )
  })
})
