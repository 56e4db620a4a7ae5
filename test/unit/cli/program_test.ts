/** What an operator types, and what comes back: text, exit code, one line for every failure. Plane: control. */
import { createHash } from "node:crypto"
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { createServer, type Server, type ServerResponse } from "node:http"
import { tmpdir } from "node:os"
import { Readable } from "node:stream"
import { dirname, join } from "node:path"
import { afterEach, expect, test } from "vitest"
import { EXIT_CODE_HELP, ExitCode } from "../../../appliance/cli/exit_codes.ts"
import {
  type BuildOptions,
  type DoctorOptions,
  type Handlers,
  runProgram,
  type ServeOptions,
} from "../../../appliance/cli/program.ts"
import { assert } from "../../../appliance/types/assert.ts"

type Run = { readonly code: number; readonly out: string; readonly err: string; readonly calls: unknown[] }

async function run(args: readonly string[], environment: Record<string, string> = {}): Promise<Run> {
  const texts = { out: "", err: "" }
  const calls: unknown[] = []
  const handlers: Handlers = {
    version: "1.2.3",
    serve: async (options: ServeOptions) => calls.push({ serve: options }) - 1,
    build: async (options: BuildOptions) => calls.push({ build: options }) + 41,
    doctor: async (options: DoctorOptions) => calls.push({ doctor: options }) - 1,
    appliance: async (rest) => calls.push({ appliance: rest }) - 1,
  }
  const streams = {
    out: (text: string): void => void (texts.out += text),
    err: (text: string): void => void (texts.err += text),
    input: Readable.from([]),
    environment,
  }
  const code = await runProgram(args, handlers, streams)
  return { code, ...texts, calls }
}

test("exit codes never change, and the help says them all", () => {
  expect(ExitCode).toEqual({
    ok: 0,
    failed: 1,
    usage: 2,
    not_found: 3,
    unreachable: 4,
    degraded: 5,
    conflict: 6,
    timeout: 124,
  })
  for (const [name, code] of Object.entries(ExitCode)) {
    expect(EXIT_CODE_HELP).toMatch(new RegExp(`\\b${code} [a-z ]*${name.replace("_", " ")}`))
  }
})

test.each(["serve", "build", "status", "machines", "version"])(
  "%s --help has two examples and -o json",
  async (name) => {
    const { code, out } = await run([name, "--help"])
    expect(code).toBe(0)
    expect(out.split("Examples:\n")[1]?.trim().split("\n")).toHaveLength(2)
    expect(out).toMatch(/-o, --output <format> .*"json"/s)
  },
)

test("help names every command but the image's own", async () => {
  const { code, out } = await run(["--help"])
  expect(code).toBe(0)
  expect(out).toMatch(/serve.*build.*status.*machines.*salvage.*version/s)
  expect(out).not.toContain("appliance")
  expect(out).toContain(EXIT_CODE_HELP.trim())
})

const USAGE: readonly (readonly [readonly string[], RegExp])[] = [
  [["nope"], /unknown command 'nope'/],
  [["status", "--nope"], /unknown option '--nope'/],
  [["serve"], /required option '--interface <name>' not specified/],
  [["serve", "--interface", "x", "--dhcp", "on"], /Allowed choices are proxy, full, off/],
  [["serve", "--interface", "x", "--voters", "2"], /Allowed are 1, 3, 5 and 7/],
  [["serve", "--interface", "x", "--size", "enormous"], /Allowed choices are small, medium, large, huge/],
  [["salvage"], /required option '-o, --output <file>' not specified/],
  [["build", "--compression", "none"], /Allowed choices are fast, small/],
  [["status", "-o", "yaml"], /Allowed choices are table, json/],
  [["status", "--timeout", "0"], /Allowed are numbers above 0/],
  [["status", "surplus"], /too many arguments/],
  [["status", "--endpoint", "https://x"], /https:\/\/x:7443 needs a key: there is no context/],
  [["status", "--endpoint", "ftp://x"], /--endpoint 'ftp:\/\/x' is no address: give http:\/\/HOST:PORT/],
  [["serve", "--interface", "e", "--accept", "xyz=1"], /Allowed is PREFIX=COUNT/],
]

test.each(USAGE)("%j is a mistake, said in one line", async (args, line) => {
  const { code, err, out, calls } = await run(args)
  expect([code, out, calls]).toEqual([ExitCode.usage, "", []])
  expect(err).toMatch(/^mandala: [^\n]+\n$/)
  expect(err).toMatch(line)
})

test("no command at all is a mistake, and the help says what there is", async () => {
  const { code, err } = await run([])
  expect(code).toBe(ExitCode.usage)
  expect(err).toContain("Usage: mandala")
})

test("serve and build get their options, and their exit codes are the program's", async () => {
  expect(await run(["serve", "--interface", "eth0"])).toMatchObject({
    code: 0,
    calls: [{ serve: { interface: "eth0", dhcp: "proxy", voters: 3, size: "small", force: false, output: "text" } }],
  })
  const all = [
    "--interface",
    "e",
    "--dhcp",
    "full",
    "--voters",
    "5",
    "--size",
    "large",
    "--image",
    "/i",
    "--force",
    "--tftp-single-port",
    "--accept-all",
    "--accept",
    "52:54:00=3",
    "--accept",
    "=1",
    "--authority",
    "/a",
    "--insecure-links",
    "-o",
    "json",
  ]
  expect((await run(["serve", ...all])).calls).toEqual([
    {
      serve: {
        interface: "e",
        dhcp: "full",
        voters: 5,
        size: "large",
        image: "/i",
        force: true,
        tftpSinglePort: true,
        acceptAll: true,
        accept: [
          { prefix: "52-54-00", count_max: 3 },
          { prefix: "", count_max: 1 },
        ],
        authority: "/a",
        insecureLinks: true,
        output: "json",
      },
    },
  ])
  expect(await run(["build", "--out", "/o", "--compression", "small"])).toMatchObject({
    code: 42,
    calls: [{ build: { out: "/o", compression: "small", output: "text" } }],
  })
})

test("appliance gets its arguments as they are", async () => {
  expect((await run(["appliance", "--slot", "1", "-o", "json", "--help"])).calls).toEqual([
    { appliance: ["--slot", "1", "-o", "json", "--help"] },
  ])
})

test("version", async () => {
  expect((await run(["version"])).out).toBe(`mandala 1.2.3, node ${process.versions.node}\n`)
  expect(JSON.parse((await run(["version", "-o", "json"])).out)).toMatchObject({ schema: 1, version: "1.2.3" })
})

// ---------------------------------------------------------------- against a server

let server: Server | undefined

afterEach(() => {
  server?.closeAllConnections()
  server?.close()
  server = undefined
})

async function serve(answer: (path: string, response: ServerResponse) => void): Promise<string> {
  const started = createServer((request, response) => answer(request.url ?? "", response))
  server = started
  await new Promise<void>((resolve) => started.listen(0, "127.0.0.1", resolve))
  const address = started.address()
  assert(address !== null && typeof address === "object", "test: a server has a port")
  return `127.0.0.1:${address.port}`
}

function json(status: number, document: object): (path: string, response: ServerResponse) => void {
  return (_, response) => void response.writeHead(status).end(JSON.stringify(document))
}

const STATUS = {
  schema: 1,
  machine: {
    name: "m1",
    version: "0.1.0",
    slot: 1,
    status: "normal",
    incarnation: 2,
    uptime_ms: 192_000,
    link_security: "tls1.3",
    roster_version: 0,
    grows_to: "medium",
  },
  cluster: {
    is_healthy: true,
    view: 4,
    op: 12,
    commit: 11,
    primary_slot: 1,
    epoch: 2,
    size: "small",
    voters: 3,
    voters_live: 2,
    copies: 2,
    quorum_margin: 0,
    alarms: [{ kind: "quorum_margin_0", text: "quorum margin 0: 2 of 3 voters live\u0007" }],
    members: [
      { slot: 0, name: "m0\u001b[31m", address: "10.0.0.10:7400", is_primary: false, last_contact_ms: null },
      { slot: 1, name: "m1", address: "10.0.0.11:7400", is_primary: true, last_contact_ms: 0 },
    ],
  },
  arena: { bytes: 64_516_096, tables: [{ table: "kv", used: 3, capacity: 4096 }] },
  checkpoint: {
    certified_op: 10,
    certified_root: "0123456789abcdef".repeat(2),
    certified_age_ms: 2_100,
    is_torn: false,
    copying: null,
    pages: 16_131,
    pages_changed: 12,
    pages_pending: 0,
    scrub_page: 640,
    scrub_round_ms: 2_530,
  },
  memory: { bytes_total: 1024, buffers: [], faults: 0, faults_max: 3 },
}

const STATUS_TEXT = `machine   m1, slot 1, normal, up 3m12s, version 0.1.0, grows to medium
cluster   healthy, 2 copies, 2 of 3 voters live, quorum margin 0, epoch 2, size small
ALARM     quorum margin 0: 2 of 3 voters live?
primary   m1, slot 1
log       view 4, op 12, commit 11
arena     61.5 MiB: kv 3/4096
state     certified op 10 (01234567), 2.1s ago, 12 pages changed, 0 pending, scrub at 640 of 16131 (2.5s a round)
links     TLS 1.3, no roster yet
memory    1.0 KiB of static buffers, no faults

SLOT   MACHINE   ADDRESS          ROLE      LAST CONTACT
0      m0?[31m   10.0.0.10:7400   backup    never
1      m1        10.0.0.11:7400   primary   0.0s
`

test("status as a table: what a machine says of itself moves no cursor", async () => {
  const endpoint = await serve(json(200, STATUS))
  expect(await run(["status", "--endpoint", endpoint])).toEqual({ code: 0, out: STATUS_TEXT, err: "", calls: [] })
})

test("status of a machine whose state is not whole, and whose memory was wrong", async () => {
  const copying = { from_slot: 2, op: 9, pages_left: 512 }
  const checkpoint = { ...STATUS.checkpoint, is_torn: true, copying }
  const torn = { ...STATUS, checkpoint, memory: { ...STATUS.memory, faults: 1 } }
  const { out } = await run(["status", "--endpoint", await serve(json(200, torn))])
  expect(out).toContain("state     COPYING from slot 2, op 9, at most 512 of 16131 pages left\n")
  expect(out).toContain("memory    1.0 KiB of static buffers, 1 of 3 FAULTS\n")
})

test("status says of plain links what they are", async () => {
  const plain = { ...STATUS, machine: { ...STATUS.machine, link_security: "insecure" } }
  const { out } = await run(["status", "--endpoint", await serve(json(200, plain))])
  expect(out).toContain("links     INSECURE: in plain, and whoever reaches them is believed\n")
})

test("status of a machine that waits for a copy", async () => {
  const checkpoint = { ...STATUS.checkpoint, is_torn: true }
  const { out } = await run(["status", "--endpoint", await serve(json(200, { ...STATUS, checkpoint }))])
  expect(out).toContain(
    "state     TORN: not believed and not answered from until another machine's checkpoint is copied\n",
  )
})

const MEMBERS_TEXT = `generation -, epoch 2, size small, quorum margin 0, copies 2, certified op 10 (01234567)

SLOT   MACHINE   ADDRESS          ROLE   BOOT NONCE   INCARNATION   LAG   GROWS TO   UNCERTIFIED   LAST CONTACT
0      m0        10.0.0.10:7400   -      -            -             -     -          12 aaaaaaaa   never
1      m1        10.0.0.11:7400   -      -            -             -     medium     -             0.0s
`

test("members: what each reported last, so that a dispute can be seen", async () => {
  const [one, two] = [{ ...STATUS.cluster.members[0], name: "m0" }, STATUS.cluster.members[1]]
  const members = [
    { ...one, uncertified: { op: 12, root: "a".repeat(32) } },
    { ...two, uncertified: null, grows_to: "medium", is_primary: false },
  ]
  const endpoint = await serve(json(200, { ...STATUS, cluster: { ...STATUS.cluster, members } }))
  expect(await run(["members", "--endpoint", endpoint])).toEqual({ code: 0, out: MEMBERS_TEXT, err: "", calls: [] })
})

test("status as JSON is the API's own document", async () => {
  const endpoint = await serve(json(200, STATUS))
  const { out, code } = await run(["status", "--endpoint", `http://${endpoint}/`, "-o", "json"])
  expect([code, JSON.parse(out)]).toEqual([0, STATUS])
})

test("a cluster that is not healthy is shown, and the exit code says so", async () => {
  const endpoint = await serve(json(200, { ...STATUS, cluster: { ...STATUS.cluster, is_healthy: false } }))
  const { out, code } = await run(["status", "--endpoint", endpoint])
  expect(code).toBe(ExitCode.degraded)
  expect(out).toContain("cluster   NOT HEALTHY, ")
})

// ---------------------------------------------------------------- salvage

const HEADER =
  '{"record":"header","schema":1,"kind":"mandala_salvage","authoritative":false,"machine":"m2","commit":7}\n'
const VALUE = '{"record":"kv","key":"ä","value":"1"}\n'

function trailer(lines: string, change: object = {}): string {
  const sha256 = createHash("sha256").update(lines).digest("hex")
  const counts = { machines: 0, kv: 1, expired: 0, corrupt: 0, uncommitted: 0 }
  return `${JSON.stringify({ record: "trailer", commit: 7, ...counts, sha256, ...change })}\n`
}

const WHOLE = HEADER + VALUE + trailer(HEADER + VALUE)

/** The bytes in one piece, or one by one. */
async function serveBytes(text: string, piece: number): Promise<string> {
  return await serve((path, response) => {
    expect(path).toBe("/v1/salvage")
    const bytes = Buffer.from(text)
    response.writeHead(200)
    for (let at = 0; at < bytes.length; at += piece) {
      response.write(bytes.subarray(at, at + piece))
    }
    response.end()
  })
}

let directory: string | undefined

function newFile(): string {
  directory = mkdtempSync(join(tmpdir(), "mandala-salvage-"))
  return join(directory, "out.jsonl")
}

afterEach(() => {
  if (directory !== undefined) {
    rmSync(directory, { recursive: true })
  }
  directory = undefined
})

test.each([1_000_000, 1])(
  "a salvage becomes a file, whole (%d bytes at a time), and never over another",
  async (piece) => {
    const endpoint = await serveBytes(WHOLE, piece)
    const file = newFile()
    const { code, out, err } = await run(["salvage", "--endpoint", endpoint, "-o", file])
    expect([code, out]).toEqual([ExitCode.ok, ""])
    expect(err).toMatch(/^mandala: salvaged 1 kv, 0 machines, .* at commit 7 from m2 into .*; NOT AUTHORITATIVE: /)
    expect(readFileSync(file, "utf8")).toBe(WHOLE)
    expect(readdirSync(dirname(file))).toEqual(["out.jsonl"])
    const again = await run(["salvage", "--endpoint", endpoint, "-o", file])
    expect([again.code, again.err]).toEqual([ExitCode.failed, `mandala: ${file} exists already: choose another name\n`])
  },
)

test("a salvage to standard output", async () => {
  const endpoint = await serveBytes(WHOLE, 10)
  expect(await run(["salvage", "--endpoint", endpoint, "-o", "json"])).toMatchObject({ code: 0, out: WHOLE })
})

const BROKEN: readonly (readonly [string, string, number, RegExp])[] = [
  ["cut off before its trailer", HEADER + VALUE, 1, /cut off: it has no trailer/],
  ["cut off within its trailer", WHOLE.slice(0, -5), 1, /cut off: it has no trailer/],
  ["a changed value", WHOLE.replace('"1"', '"2"'), 1, /damaged on its way/],
  ["a line less", HEADER + trailer(HEADER + VALUE), 1, /damaged on its way/],
  ["another commit", HEADER + VALUE + trailer(HEADER + VALUE, { commit: 8 }), 1, /damaged on its way/],
  ["no salvage at all", "<html>\n", 1, /what came is no salvage/],
  ["nothing", "", 1, /what came is no salvage/],
  ["a claim to be the truth", WHOLE.replace("false", "true"), 1, /what came is no salvage/],
  [
    "a commit meanwhile",
    `${HEADER}{"record":"aborted","error":{"kind":"commit_moved","text":"op 8 was committed"}}\n`,
    6,
    /not one state: op 8 was committed/,
  ],
]

test.each(BROKEN)("a salvage with %s leaves nothing behind", async (_, text, code, line) => {
  const endpoint = await serveBytes(text, 1_000)
  const file = newFile()
  const result = await run(["salvage", "--endpoint", endpoint, "-o", file])
  expect(result.code).toBe(code)
  expect(result.err).toMatch(/^mandala: [^\n]+\n$/)
  expect(result.err).toMatch(line)
  expect(readdirSync(dirname(file))).toEqual([])
})

test("a salvage that is refused, stalls, or finds nobody; and a place where no file can be", async () => {
  const refused = await serve(json(409, { schema: 1, error: { kind: "quorum_present", text: "3 of 3 voters live" } }))
  expect(await run(["salvage", "--endpoint", refused, "-o", newFile()])).toMatchObject({ code: ExitCode.conflict })
  server?.close()
  const stalled = await serve((_, response) => void response.writeHead(200).write(HEADER))
  const waiting = await run(["salvage", "--endpoint", stalled, "--timeout", "0.2", "-o", newFile()])
  expect([waiting.code, waiting.err]).toEqual([ExitCode.timeout, expect.stringContaining("sent nothing for 0.2 s")])
  server?.closeAllConnections()
  server?.close()
  const nobody = await run(["salvage", "--endpoint", stalled, "-o", newFile()])
  expect(nobody.code).toBe(ExitCode.unreachable)
  const nowhere = await run(["salvage", "--endpoint", stalled, "-o", join(newFile(), "below", "out")])
  expect([nowhere.code, nowhere.err]).toEqual([ExitCode.failed, expect.stringContaining("cannot be written")])
})

const MACHINE = {
  machine: "m0",
  address: "10.0.0.10",
  replica_port: 7400,
  slot: 0,
  roles: ["replica", "boot"],
  stage: "ready",
  firmware: "uefi",
  ram_bytes: 1024 ** 3,
  incarnation: 2,
  boot_count: 3,
  boot_id: "ab".repeat(16),
  joined_ms: 1,
  is_primary: true,
  last_contact_ms: 7_500,
}

test("machines as a table, wide, and from the environment's endpoint", async () => {
  const endpoint = await serve(json(200, { schema: 1, machines: [MACHINE, { machine: "spare", slot: null }] }))
  const { out, code } = await run(["machines"], { MANDALA_ENDPOINT: endpoint })
  expect(code).toBe(0)
  expect(out).toBe(`MACHINE   ADDRESS     STAGE   ROLES          SLOT   PRIMARY   LAST CONTACT
m0        10.0.0.10   ready   replica,boot   0      yes       7.5s
spare     -           -       -              -      -         never
`)
  const wide = await run(["machines", "-o", "wide", "--endpoint", endpoint], { MANDALA_ENDPOINT: "http://127.0.0.1:9" })
  expect(wide.out).toContain("uefi")
  expect(wide.out).toContain("1.0 GiB")
})

const FAILURES: readonly (readonly [number, object | string, number, RegExp])[] = [
  [
    503,
    { schema: 1, error: { kind: "no_primary", text: "no primary just now" } },
    ExitCode.degraded,
    /no primary just now/,
  ],
  [404, { schema: 1, error: { kind: "not_found", text: "nothing there" } }, ExitCode.not_found, /nothing there/],
  [409, { schema: 1, error: { kind: "conflict", text: "changed" } }, ExitCode.conflict, /changed/],
  [500, { schema: 1 }, ExitCode.failed, /HTTP 500/],
  [200, { schema: 2 }, ExitCode.failed, /speaks schema 2, this command 1: use the same version/],
  [200, "<html>", ExitCode.failed, /something else than our JSON: is it a Mandala machine/],
  [200, "[]", ExitCode.failed, /something else than our JSON/],
]

test.each(FAILURES)("HTTP %d with %j exits with %d", async (status, document, expected, line) => {
  const text = typeof document === "string" ? document : JSON.stringify(document)
  const endpoint = await serve((_, response) => void response.writeHead(status).end(text))
  const { code, out, err } = await run(["machines", "--endpoint", endpoint])
  expect([code, out]).toEqual([expected, ""])
  expect(err).toMatch(/^mandala: http:[^\n]+\n$/)
  expect(err).toMatch(line)
})

test("an answer without end is cut off", async () => {
  const endpoint = await serve((_, response) => {
    const more = (): void => {
      if (!response.destroyed) {
        response.write("x".repeat(100_000), more)
      }
    }
    more()
  })
  expect(await run(["status", "--endpoint", endpoint])).toMatchObject({ code: ExitCode.failed })
})

test("nobody there, and somebody who says nothing", async () => {
  const endpoint = await serve(() => undefined)
  expect(await run(["status", "--endpoint", endpoint, "--timeout", "0.2"])).toMatchObject({
    code: ExitCode.timeout,
    err: `mandala: http://${endpoint} did not answer within 0.2 s: is its cluster stuck?\n`,
  })
  server?.closeAllConnections()
  await new Promise((resolve) => server?.close(resolve))
  const { code, err } = await run(["status", "--endpoint", endpoint])
  expect(code).toBe(ExitCode.unreachable)
  expect(err).toBe(`mandala: http://${endpoint} does not answer (ECONNREFUSED): check the machine and --endpoint\n`)
})
