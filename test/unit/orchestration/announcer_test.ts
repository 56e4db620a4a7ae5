/** Announcements to a real HTTP server on loopback, well-behaved and otherwise. Plane: control. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http"
import { setTimeout as sleep } from "node:timers/promises"
import { pino } from "pino"
import { afterEach, describe, expect, test } from "vitest"
import {
  type AnnounceAnswer,
  type Announcement,
  Announcer,
  parseAnnounceAnswer,
} from "../../../appliance/orchestration/announcer.ts"
import { LimitedLog } from "../../../appliance/orchestration/limited_log.ts"
import { ORCHESTRATION_LIMITS } from "../../../appliance/orchestration/limits.ts"
import { monotonicMs, systemRandom } from "../../../appliance/orchestration/system_ports.ts"
import { decodeAnnounce } from "../../../pxe/pool/announce.ts"

const QUICK = { ...ORCHESTRATION_LIMITS, announce_ms: 20, announce_timeout_ms: 200 }
const ANNOUNCEMENT: Announcement = {
  machine: "m1",
  boot_id: "",
  slot: 0,
  address: "10.0.0.11",
  mac: "",
  replica_port: 7400,
  data_port: 6379,
  api_port: 7443,
  status: "normal",
  view: 1,
  op: 2,
  commit: 2,
  incarnation: 1,
  primary_slot: 1,
  cluster_id: "a".repeat(32),
  generation: 1,
  epoch: 0,
  size: "small",
  formed: true,
}
const ANSWER: AnnounceAnswer = {
  cluster_id: "a".repeat(32),
  generation: 1,
  members: [{ slot: 1, machine: "m2", address: "10.0.0.12", replica_port: 7400 }],
}

const open: (() => void)[] = []
afterEach(() => {
  for (const close of open.splice(0)) {
    close()
  }
})

type Scene = {
  readonly announcer: Announcer
  readonly answers: AnnounceAnswer[]
  readonly lines: string[]
  readonly requests: () => number
}

async function scene(respond: (request: IncomingMessage, response: ServerResponse) => void): Promise<Scene> {
  let requests = 0
  const server: Server = createServer((request, response) => {
    requests += 1
    respond(request, response)
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()))
  const address = server.address()
  const port = typeof address === "object" && address !== null ? address.port : 0
  const answers: AnnounceAnswer[] = []
  const lines: string[] = []
  const announcer = new Announcer({
    bootServer: `http://127.0.0.1:${port}`,
    limits: QUICK,
    log: new LimitedLog(pino({}, { write: (line: string) => lines.push(line) }), { repeatMs: 60_000, kindsMax: 10 }),
    random: systemRandom(),
    now: monotonicMs,
    announcement: () => ANNOUNCEMENT,
    onAnswer: (answer) => answers.push(answer),
  })
  announcer.start()
  open.push(() => {
    announcer.stop()
    server.closeAllConnections()
    server.close()
  })
  return { announcer, answers, lines, requests: () => requests }
}

async function until(condition: () => boolean): Promise<void> {
  const end = monotonicMs() + 5_000
  while (!condition()) {
    expect(monotonicMs()).toBeLessThan(end)
    await sleep(5)
  }
}

describe("announcer", () => {
  test("says who it is, again and again, and hears who the others are", async () => {
    let body = ""
    const { answers } = await scene((request, response) => {
      body = ""
      request.setEncoding("utf8")
      request.on("data", (chunk: string) => {
        body += chunk
      })
      request.on("end", () => response.end(JSON.stringify(ANSWER)))
    })
    await until(() => answers.length >= 3)
    expect(answers[0]).toEqual(ANSWER)
    expect(JSON.parse(body)).toEqual(ANNOUNCEMENT)
  })

  const failures: readonly [string, (request: IncomingMessage, response: ServerResponse) => void][] = [
    ["timeout", () => undefined],
    ["refused", (_, response) => response.writeHead(503).end()],
    ["answer_malformed", (_, response) => response.end("<html>")],
    ["answer_too_long", (_, response) => response.end("x".repeat(QUICK.announce_answer_bytes_max + 1))],
    ["unreachable", (request) => request.socket.destroy()],
  ]
  for (const [kind, respond] of failures) {
    test(`goes on after ${kind}, and says so once`, async () => {
      const { answers, lines, requests } = await scene(respond)
      await until(() => requests() >= 3)
      expect(answers).toEqual([])
      expect(lines.length).toBe(1)
      expect(lines[0]).toContain(`announce_${kind}`)
    })
  }

  const servers: readonly [string, (request: IncomingMessage, response: ServerResponse) => void][] = [
    ["hears it", (_, response) => response.end(JSON.stringify(ANSWER))],
    ["hangs", () => undefined],
    ["is gone", (request) => request.socket.destroy()],
  ]
  for (const [what, respond] of servers) {
    test(`says a last word once, and is done whether the boot server ${what} or not`, async () => {
      const { announcer, requests } = await scene(respond)
      await until(() => requests() >= 1)
      const started = monotonicMs()
      let done = 0
      announcer.sayLast(() => {
        done += 1
      })
      await until(() => done > 0)
      expect(monotonicMs() - started).toBeLessThan(QUICK.announce_timeout_ms + 1_000)
      const heard = requests()
      announcer.announceSoon()
      await sleep(5 * QUICK.announce_ms)
      expect([requests(), done]).toEqual([heard, 1])
    })
  }
})

test("an answer in form; a member that is not does not hide the others", () => {
  const [member] = ANSWER.members
  const members = [{ ...member, address: "" }, member, { ...member, slot: 11 }, 5]
  expect(parseAnnounceAnswer(JSON.stringify({ ...ANSWER, members }))).toEqual({ ok: true, value: ANSWER })
  expect(parseAnnounceAnswer(JSON.stringify({ ...ANSWER, generation: "1" })).ok).toBe(false)
  expect(parseAnnounceAnswer(JSON.stringify({ ...ANSWER, members: new Array(12).fill(member) })).ok).toBe(false)
  expect(parseAnnounceAnswer("{}").ok).toBe(false)
})

test("the boot server understands what a machine says", () => {
  const real = { ...ANNOUNCEMENT, machine: "52-54-00-00-00-01", boot_id: "b".repeat(32) }
  for (const announcement of [real, { ...real, slot: null, status: "spare", primary_slot: null, formed: false }]) {
    const decoded = decodeAnnounce(new TextEncoder().encode(JSON.stringify(announcement)))
    expect(decoded.ok).toBe(true)
    expect(announcement).toMatchObject(decoded.ok ? decoded.value : {})
  }
})
