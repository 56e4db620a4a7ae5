/** What each URL answers, from the script of a machine to the announce of a member. Plane: control. */
import { beforeEach, describe, expect, test } from "vitest"
import { Routes } from "../../../pxe/boot_routes.ts"
import { renderBootScript, renderChainScript } from "../../../pxe/boot_script.ts"
import type { HTTPRequest, HTTPResponse } from "../../../pxe/http/server.ts"
import { Formation } from "../../../pxe/pool/formation.ts"
import { Ledger } from "../../../pxe/pool/ledger.ts"
import { LISTEN_MS, LOOP_BOOTS_MAX, LOOP_WINDOW_MS, MACHINES_MAX } from "../../../pxe/pool/limits.ts"
import { TraceBook } from "../../../pxe/pool/trace.ts"
import { clusterStatus, machineStatuses } from "../../../pxe/pool/status.ts"
import { type ManualClock, makeClock, makeLogger, type RecordingLogger } from "./ports.ts"

const URL_BASE = "http://10.77.0.1:7480"
const A = "52-54-00-77-00-01"
const CLUSTER = "a".repeat(32)

let clock: ManualClock
let log: RecordingLogger
let ledger: Ledger
let formation: Formation
let routes: Routes
let randoms: number

beforeEach(() => {
  clock = makeClock()
  log = makeLogger()
  ledger = new Ledger()
  randoms = 0
  formation = new Formation({
    voters: 3,
    size: "medium",
    grow_to: "large",
    cluster_id: CLUSTER,
    formation_token: "c".repeat(32),
    started_at: clock.now - LISTEN_MS,
  })
  routes = new Routes({
    server_url: URL_BASE,
    files: new Map([
      ["/image/kernel", { bytes: Uint8Array.of(1, 2, 3), etag: '"k"', content_type: "application/octet-stream" }],
      ["/nbp/snponly.efi", { bytes: Uint8Array.of(4), etag: '"n"', content_type: "application/efi" }],
    ]),
    ledger,
    trace: new TraceBook(),
    formation,
    admission: undefined,
    clock,
    log,
    status: () => ({
      schema: 1,
      cluster: clusterStatus(formation),
      machines: machineStatuses({ ledger, formation, registry: undefined }, clock.now),
      counters: { dhcp: {}, tftp: {}, http: {}, pool: {} },
    }),
    randomHex: (bytes) => {
      randoms += 1
      return randoms.toString(16).padStart(bytes * 2, "0")
    },
  })
})

function call(target: string, body?: unknown): HTTPResponse {
  const url = new URL(target, URL_BASE)
  const request: HTTPRequest = {
    method: body === undefined ? "GET" : "POST",
    path: url.pathname,
    query: url.searchParams,
    body: new TextEncoder().encode(typeof body === "string" ? body : JSON.stringify(body)),
    remote_address: "10.77.0.140",
    user_agent: "iPXE/1.0.0",
  }
  return routes.handle(request)
}

function textOf(response: HTTPResponse): string {
  return new TextDecoder().decode(response.body)
}

/** Fetches the script of a machine; its boot id. */
function bootOf(machine = A): string {
  const script = textOf(call(`/boot.ipxe?mac=${machine}&uuid=u&serial=S1&product=P&platform=pcbios`))
  return /mandala\.boot=([0-9a-f]{32})/.exec(script)?.[1] ?? "none"
}

function nodeOf(machine: string, boot: string): Record<string, unknown> {
  const text = textOf(call(`/machine/${machine}/node.img?boot=${boot}`))
  const parsed: unknown = JSON.parse(text.slice(text.indexOf("{"), text.lastIndexOf("}") + 1))
  return typeof parsed === "object" && parsed !== null ? { ...parsed } : {}
}

function announceOf(fields: object): object {
  return {
    machine: A,
    boot_id: "0".repeat(32),
    slot: 0,
    address: "10.77.0.140",
    replica_port: 7400,
    status: "normal",
    view: 0,
    op: 0,
    commit: 0,
    primary_slot: 0,
    cluster_id: CLUSTER,
    generation: 1,
    epoch: 1,
    formed: true,
    ...fields,
  }
}

describe("scripts", () => {
  test("without knowledge of the machine iPXE is sent to fetch it with all it knows", () => {
    const script = textOf(call("/boot.ipxe"))
    expect(script).toBe(renderChainScript(URL_BASE))
    expect(script.startsWith("#!ipxe\n")).toBe(true)
    expect(script).toContain(
      `chain --replace --autofree ${URL_BASE}/boot.ipxe?mac=\${netX/mac:hexhyp}&uuid=\${uuid}` +
        "&serial=${serial:uristring}&manufacturer=${manufacturer:uristring}&product=${product:uristring}" +
        "&platform=${platform} ||\n",
    )
  })

  test("the real one, line by line", () => {
    const boot = "1".repeat(32)
    const query = `mac=${A}&boot=${boot}`
    const lines = renderBootScript({ server_url: URL_BASE, machine: A, boot_id: boot }).split("\n")
    expect(lines.slice(0, 2)).toEqual(["#!ipxe", "imgfree"])
    const kernel = lines.find((line) => line.startsWith("kernel ")) ?? ""
    expect(kernel).toContain(`kernel --name kernel ${URL_BASE}/image/kernel?${query} initrd=init.img initrd=base.img`)
    expect(kernel).toContain(" initrd=node.img console=tty0 console=ttyS0,115200 BOOTIF=01-${netX/mac:hexhyp} ")
    expect(kernel).toContain(` mandala.boot=${boot} mandala.server=${URL_BASE} rootfstype=ramfs `)
    expect(kernel).toMatch(/ panic=10 \|\| goto failed$/)
    expect(lines.filter((line) => line.startsWith("initrd "))).toEqual([
      `initrd --name init.img ${URL_BASE}/image/init.img?${query} || goto failed`,
      `initrd --name base.img ${URL_BASE}/image/base.img?${query} || goto failed`,
      `initrd --name node.img ${URL_BASE}/machine/${A}/node.img?boot=${boot} || goto failed`,
    ])
  })

  test("nothing of what a machine says of itself gets into its script", () => {
    const evil = encodeURIComponent("x\nreboot ||;${}")
    const script = textOf(call(`/boot.ipxe?mac=${A}&uuid=${evil}&serial=${evil}&product=${evil}&platform=efi`))
    expect(script).not.toContain("x_reboot")
    expect(script).not.toContain("x\nreboot")
    expect(ledger.find(A)?.identity).toEqual({
      uuid: "x_reboot ______",
      serial: "x_reboot ______",
      product: "x_reboot ______",
    })
  })

  test.each([
    ["a MAC that is none", "/boot.ipxe?mac=x&platform=efi", "hardware address"],
    ["a MAC with a command in it", `/boot.ipxe?mac=${A}%0areboot&platform=efi`, "hardware address"],
    ["another platform", `/boot.ipxe?mac=${A}&platform=riscv`, "platform"],
  ])("%s gets a script that holds and says why", (_name, target, what) => {
    const script = textOf(call(target))
    expect(script).toContain(`echo mandala: the ${what} of this machine was not understood\n`)
    expect(ledger.count).toBe(0)
  })

  test("the log has what fetched the script, whitelisted, and the boot's id", () => {
    const boot = bootOf()
    const line = log.lines.find(({ message }) => message === "boot: a machine got its script")
    // The slash of iPXE/1.0.0 is not in the whitelist.
    expect(line?.fields).toMatchObject({ machine: A, boot, user_agent: "iPXE_1.0.0" })
  })

  test("holds a machine whose boots go in a circle, with the reason on its screen, and warns once", () => {
    const ids = new Set<string>()
    for (let count = 0; count < LOOP_BOOTS_MAX; count += 1) {
      const boot = bootOf()
      ids.add(boot)
      call(`/image/kernel?mac=${A}&boot=${boot}`).on_sent?.()
      call(`/beacon/halted?mac=${A}&boot=${boot}&reason=ram_too_small`)
    }
    expect(ids.size).toBe(LOOP_BOOTS_MAX)
    for (let count = 0; count < 3; count += 1) {
      const script = textOf(call(`/boot.ipxe?mac=${A}&platform=pcbios`))
      expect(script).toContain("echo mandala: boot loop: 3 boots in 15 minutes did not join: ram_too_small\n")
      expect(script).not.toContain("kernel ")
    }
    expect(routes.counters).toMatchObject({ scripts: LOOP_BOOTS_MAX, held: 3 })
    expect(log.lines.filter(({ message }) => message === "boot: a machine is held")).toHaveLength(1)
    expect(ledger.find(A)?.reason).toContain("boot loop")
    // Another machine is not held for it.
    expect(bootOf("52-54-00-77-00-02")).toMatch(/^[0-9a-f]{32}$/)
    clock.now += LOOP_WINDOW_MS
    expect(bootOf()).toMatch(/^[0-9a-f]{32}$/)
    expect(ledger.find(A)?.reason).toBe("")
  })

  test("a full table too", () => {
    for (let index = 0; index < MACHINES_MAX; index += 1) {
      bootOf(`02-00-00-00-0${index >> 8}-${(index & 0xff).toString(16).padStart(2, "0")}`)
    }
    const script = textOf(call(`/boot.ipxe?mac=${A}&platform=efi`))
    expect(script).toContain(`machines_max is ${MACHINES_MAX}`)
  })

  test("colons and capitals in a MAC are the same machine", () => {
    call("/boot.ipxe?mac=52:54:00:AB:00:01&platform=efi")
    expect(ledger.find("52-54-00-ab-00-01")).toMatchObject({ firmware: "uefi", boot_count: 1 })
  })
})

describe("the archive of a machine", () => {
  test("has its slot, the token and a fresh seed", () => {
    const boot = bootOf()
    const node = nodeOf(A, boot)
    expect(node).toEqual({
      schema: 1,
      machine: A,
      boot_id: boot,
      slot: 0,
      voters: 3,
      size: "medium",
      grow_to: "large",
      cluster_id: CLUSTER,
      generation: 1,
      epoch: 1,
      formation_token: "c".repeat(32),
      boot_server: URL_BASE,
      seed: node["seed"],
      firmware: "bios",
      // This server was told so: with certificates see join_test.ts.
      links: "insecure",
      ticket: "",
      authority: "",
    })
    expect(node["seed"]).toMatch(/^[0-9a-f]{128}$/)
    expect(nodeOf(A, boot)["seed"]).not.toBe(node["seed"])
  })

  test("is for nobody who does not know the boot", () => {
    bootOf()
    for (const query of ["", "?boot=", `?boot=${"f".repeat(32)}`]) {
      expect(call(`/machine/${A}/node.img${query}`).status).toBe(403)
    }
    expect(call("/machine/02-00-00-00-00-09/node.img?boot=").status).toBe(403)
    expect(formation.slotOf(A)).toBeNull()
  })

  test("waits until an existing cluster would have been heard", () => {
    clock.now -= 1
    const boot = bootOf()
    expect(call(`/machine/${A}/node.img?boot=${boot}`)).toMatchObject({ status: 503, retry_seconds: 2 })
    clock.now += 1
    expect(nodeOf(A, boot)["slot"]).toBe(0)
  })

  test("of a machine that boots again after the formation has its slot and no token", () => {
    const first = bootOf()
    nodeOf(A, first)
    expect(call("/cluster/announce", announceOf({ boot_id: first })).status).toBe(200)
    const second = bootOf()
    expect(second).not.toBe(first)
    expect(nodeOf(A, second)).toMatchObject({ slot: 0, formation_token: "" })
    expect(call(`/machine/${A}/node.img?boot=${first}`).status).toBe(403)
  })
})

describe("beacons", () => {
  test("move the stage", () => {
    const boot = bootOf()
    expect(call(`/beacon/script?mac=${A}&boot=${boot}`).status).toBe(200)
    clock.now += 500
    expect(call(`/beacon/init?mac=${A}&boot=${boot}`).status).toBe(200)
    expect(ledger.find(A)?.stage_times.init).toBe(clock.now)
  })

  test("of a machine that halted show the reason and both numbers", () => {
    const boot = bootOf()
    const numbers = "need_bytes=315621376&have_bytes=209715200"
    expect(call(`/beacon/halted?mac=${A}&boot=${boot}&reason=ram_too_small&${numbers}`).status).toBe(200)
    const status: unknown = JSON.parse(textOf(call("/status")))
    expect(status).toMatchObject({
      machines: [{ reason: "ram_too_small", need_bytes: 315_621_376, have_bytes: 209_715_200, stage: "script" }],
    })
  })

  test.each([
    ["ram_too_small", null],
    ["app_keeps_ending", 0],
  ])("of a machine that halted for %s leave it slot %s", (reason, slot) => {
    const boot = bootOf()
    clock.now += 10_000
    expect(call(`/machine/${A}/node.img?boot=${boot}`).status).toBe(200)
    expect(call(`/beacon/halted?mac=${A}&boot=${boot}&reason=${reason}`).status).toBe(200)
    expect(JSON.parse(textOf(call("/status")))).toMatchObject({ machines: [{ reason, slot }] })
  })

  test.each([
    ["no machine", (boot: string) => `/beacon/init?boot=${boot}`, 400],
    ["no boot", () => `/beacon/init?mac=${A}`, 400],
    ["another boot", () => `/beacon/init?mac=${A}&boot=${"f".repeat(32)}`, 409],
    ["another machine", (boot: string) => `/beacon/init?mac=02-00-00-00-00-01&boot=${boot}`, 409],
    ["another stage", (boot: string) => `/beacon/joined?mac=${A}&boot=${boot}`, 404],
  ])("refused: %s", (_name, target, status) => {
    expect(call(target(bootOf())).status).toBe(status)
    expect(ledger.find(A)?.stage_times.init).toBeNull()
  })

  test("numbers that are none are none, a long reason is cut", () => {
    const boot = bootOf()
    call(`/beacon/halted?mac=${A}&boot=${boot}&reason=${"r".repeat(900)}&need_bytes=-5&have_bytes=1e9`)
    expect(ledger.find(A)).toMatchObject({ need_bytes: null, have_bytes: null, reason: "r".repeat(160) })
  })
})

describe("announces", () => {
  test("are answered with the members that are known", () => {
    const boot = bootOf()
    nodeOf(A, boot)
    const response = call("/cluster/announce", announceOf({ boot_id: boot }))
    expect(response.status).toBe(200)
    expect(JSON.parse(textOf(response))).toEqual({
      cluster_id: CLUSTER,
      generation: 1,
      members: [{ slot: 0, machine: A, address: "10.77.0.140", replica_port: 7400 }],
    })
    expect(ledger.find(A)?.stage_times.joined).toBe(clock.now)
    expect(formation.isFormed).toBe(true)
  })

  test("refused: what is no announce, of an earlier boot, of a foreign cluster, for another's slot", () => {
    const boot = bootOf()
    nodeOf(A, boot)
    expect(call("/cluster/announce", "{").status).toBe(400)
    expect(textOf(call("/cluster/announce", announceOf({ view: -1 })))).toContain('"field":"view"')
    expect(textOf(call("/cluster/announce", announceOf({ boot_id: "f".repeat(32) })))).toContain("stale_boot")
    const conflict = announceOf({ machine: "02-00-00-00-00-01", slot: 0 })
    expect(textOf(call("/cluster/announce", conflict))).toContain("slot_conflict")
    expect(call("/cluster/announce", announceOf({ boot_id: boot })).status).toBe(200)
    const foreign = announceOf({ boot_id: boot, cluster_id: "b".repeat(32) })
    expect(textOf(call("/cluster/announce", foreign))).toContain("foreign")
    expect(routes.counters).toMatchObject({ announces: 1, announces_refused: 5 })
  })

  test("of a cluster that exists are adopted; who booted for ours is told to start over", () => {
    const boot = bootOf()
    nodeOf(A, boot)
    const theirs = { machine: "02-00-00-00-00-01", cluster_id: "b".repeat(32), generation: 3, slot: 2 }
    expect(call("/cluster/announce", announceOf(theirs)).status).toBe(200)
    expect(ledger.find(A)?.reason).toContain("given up")
    expect(formation).toMatchObject({ clusterID: "b".repeat(32), generation: 3 })
    const again = bootOf()
    expect(nodeOf(A, again)).toMatchObject({ cluster_id: "b".repeat(32), slot: null, formation_token: "" })
  })
})

describe("files", () => {
  test("of the image count as transfers, and the kernel's end is a stage", () => {
    const boot = bootOf()
    const response = call(`/image/kernel?mac=${A}&boot=${boot}`)
    expect(response).toMatchObject({ status: 200, is_image: true, etag: '"k"' })
    expect(ledger.find(A)?.stage_times.kernel).toBeNull()
    response.on_sent?.()
    expect(ledger.find(A)?.stage_times.kernel).toBe(clock.now)
  })

  test("go first to machines that have a slot, on the word of their own boot only", () => {
    const boot = bootOf()
    const isUrgent = (query: string): boolean => call(`/image/kernel?${query}`).is_urgent === true
    expect(isUrgent(`mac=${A}&boot=${boot}`)).toBe(false)
    nodeOf(A, boot)
    expect(formation.slotOf(A)).toBe(0)
    expect(isUrgent(`mac=${A}&boot=${boot}`)).toBe(true)
    expect(isUrgent(`mac=${A}&boot=${"f".repeat(32)}`)).toBe(false)
    expect(isUrgent(`mac=${A}&boot=`)).toBe(false)
    expect(isUrgent(`mac=${A}`)).toBe(false)
    expect(isUrgent(`mac=52-54-00-77-00-02&boot=${boot}`)).toBe(false)
  })

  test("fetched by hand move nothing", () => {
    expect(call("/image/kernel").on_sent).toBeUndefined()
  })

  test("for UEFI's HTTP boot have its type", () => {
    expect(call("/nbp/snponly.efi")).toMatchObject({ content_type: "application/efi", is_image: false })
  })

  test.each(["/", "/image/", "/image/../kernel2", "/machine/x/node.img", "/cluster/announce"])(
    "%s is not found",
    (path) => {
      expect(call(path).status).toBe(404)
    },
  )

  test("a POST elsewhere is not found", () => {
    expect(call("/status", {}).status).toBe(404)
  })
})

describe("what an operator asks", () => {
  const ask = (question: string, machine = A): HTTPResponse => call(`/boot/${question}?machine=${machine}`)
  const script = (): HTTPResponse => call(`/boot.ipxe?mac=${A}&platform=pcbios`)

  test("of a machine that nobody has seen, or that is none", () => {
    expect(ask("trace").status).toBe(404)
    expect(ask("explain", "x").status).toBe(400)
  })

  test("render is what the machine was sent, and explain says why", () => {
    const sent = textOf(script())
    const rendered: unknown = JSON.parse(textOf(ask("render")))
    expect(rendered).toMatchObject({ schema: 1, machine: A, script: sent })
    expect(JSON.parse(textOf(ask("explain")))).toMatchObject({
      outcome: "boot",
      rules: [{}, {}, {}, { rule: "boot", verdict: "decided" }],
    })
    const events: unknown = JSON.parse(textOf(ask("trace")))
    expect(events).toMatchObject({ boot_count: 1, events: [{ step: "script", facts: { firmware: "bios" } }] })
  })

  test("a machine that is held is explained and rendered as such", () => {
    for (let boot = 0; boot < LOOP_BOOTS_MAX; boot += 1) {
      script()
      ledger.onImageSent(A, ledger.find(A)?.boot_id ?? "", true, clock.now)
    }
    expect(textOf(script())).toContain("echo mandala: boot loop:")
    expect(JSON.parse(textOf(ask("explain")))).toMatchObject({ outcome: "hold" })
    expect(textOf(ask("render"))).toContain("boot loop:")
    expect(textOf(ask("trace"))).toContain('"rule":"boot_loop"')
  })
})

test("status has all that a table needs", () => {
  const boot = bootOf()
  nodeOf(A, boot)
  call("/cluster/announce", announceOf({ boot_id: boot }))
  clock.now += 250
  expect(JSON.parse(textOf(call("/status")))).toMatchObject({
    schema: 1,
    cluster: {
      cluster_id: CLUSTER,
      generation: 1,
      epoch: 1,
      voters: 3,
      formed: true,
      primary_slot: 0,
      view: 0,
      commit: 0,
    },
    machines: [
      {
        machine: A,
        mac: "52:54:00:77:00:01",
        uuid: "u",
        serial: "S1",
        address: "10.77.0.140",
        firmware: "bios",
        slot: 0,
        roles: ["replica"],
        stage: "joined",
        stage_times: { init: null, kernel: null },
        boot_count: 1,
        reason: "",
        need_bytes: null,
        have_bytes: null,
        announce: { machine: A, status: "normal" },
        announce_age_ms: 250,
      },
    ],
  })
})
