/** HTTP: whatever a request says, it is answered, nothing of it is in a script, and no table grows. Plane: control. */
import { expect, test } from "vitest"
import { PRNG } from "../../../appliance/types/prng.ts"
import { Routes } from "../../../pxe/boot_routes.ts"
import type { HTTPRequest } from "../../../pxe/http/server.ts"
import { Formation } from "../../../pxe/pool/formation.ts"
import { TraceBook } from "../../../pxe/pool/trace.ts"
import { Ledger } from "../../../pxe/pool/ledger.ts"
import { LISTEN_MS, MACHINES_MAX } from "../../../pxe/pool/limits.ts"
import { clusterStatus, machineStatuses } from "../../../pxe/pool/status.ts"
import { makeClock, makeLogger } from "../../unit/pxe/ports.ts"
import { mutate } from "./mutate.ts"

const MUTATED_REQUESTS = 100_000
const SEED = 20_253
const URL_BASE = "http://10.77.0.1:7480"
const ID = "0".repeat(31)
const STATUSES = new Set([200, 400, 403, 404, 409, 503])
/** The letter that every machine here says of itself, and no script has in it. */
const SAID = "~"
const TARGETS = [
  "/boot.ipxe",
  "/boot.ipxe?mac=52-54-00-77-00-01&uuid=~&serial=~~&manufacturer=~&product=~&platform=efi",
  "/boot.ipxe?mac=52-54-00-77-00-02&serial=~;||~&platform=pcbios",
  `/image/kernel?mac=52-54-00-77-00-01&boot=${ID}1`,
  `/machine/52-54-00-77-00-01/node.img?boot=${ID}1`,
  `/beacon/init?mac=52-54-00-77-00-01&boot=${ID}1`,
  `/beacon/halted?mac=52-54-00-77-00-01&boot=${ID}1&reason=~ram~&need_bytes=10&have_bytes=5`,
  "/status",
]
const ANNOUNCE = {
  machine: "52-54-00-77-00-01",
  boot_id: `${ID}1`,
  slot: 0,
  address: "10.77.0.140",
  replica_port: 7400,
  status: "normal",
  view: 0,
  op: 0,
  commit: 0,
  primary_slot: 0,
  cluster_id: "a".repeat(32),
  generation: 1,
  epoch: 1,
  formed: true,
}

test(`${MUTATED_REQUESTS} mutated requests: each is answered, in few words`, () => {
  const prng = new PRNG(SEED)
  const clock = makeClock()
  const ledger = new Ledger()
  const formation = new Formation({
    voters: 3,
    size: "small",
    grow_to: null,
    cluster_id: "a".repeat(32),
    formation_token: "c".repeat(32),
    started_at: clock.now - LISTEN_MS,
  })
  const silent = { info: () => undefined, warn: () => undefined, error: () => undefined }
  const routes = new Routes({
    server_url: URL_BASE,
    files: new Map([["/image/kernel", { bytes: Uint8Array.of(1), etag: '"k"', content_type: "x/y" }]]),
    ledger,
    trace: new TraceBook(),
    formation,
    admission: undefined,
    clock,
    log: { ...makeLogger(), ...silent },
    status: () => ({
      schema: 1,
      cluster: clusterStatus(formation),
      machines: machineStatuses({ ledger, formation, registry: undefined }, clock.now),
      counters: { dhcp: {}, tftp: {}, http: {}, pool: {} },
    }),
    // Every boot has one id, so that what is asked for later is of the boot that the machine is at.
    randomHex: (bytes) => "1".padStart(bytes * 2, "0"),
  })
  const seen = { scripts: 0, refused: 0, held: 0, unnamed: 0, spoilt: 0 }
  for (let index = 0; index < MUTATED_REQUESTS; index += 1) {
    clock.now += 10
    const isPost = prng.below(4) === 0
    const source = isPost ? "/cluster/announce" : (TARGETS[prng.below(TARGETS.length)] ?? "/")
    const bytes = isPost ? new TextEncoder().encode(JSON.stringify(ANNOUNCE)) : new TextEncoder().encode(source)
    const isChanged = prng.below(8) > 0
    const changed = isChanged ? mutate(bytes, prng) : bytes
    const target = isPost ? source : new TextDecoder("latin1").decode(changed)
    const url = URL.parse(target, URL_BASE)
    if (url === null) {
      continue
    }
    const request: HTTPRequest = {
      method: isPost ? "POST" : "GET",
      path: url.pathname,
      query: url.searchParams,
      body: isPost ? changed : new Uint8Array(0),
      remote_address: "10.77.0.140",
      user_agent: "iPXE",
    }
    const response = routes.handle(request)
    response.on_sent?.()
    seen.unnamed += STATUSES.has(response.status) ? 0 : 1
    if (url.pathname.endsWith(".ipxe") && response.status === 200) {
      seen.scripts += 1
      const script = new TextDecoder("latin1").decode(response.body)
      seen.spoilt += script.startsWith("#!ipxe\n") && !script.includes(SAID) ? 0 : 1
      seen.held += script.includes("boot loop") ? 1 : 0
    }
    seen.refused += response.status >= 400 ? 1 : 0
  }
  expect(ledger.count).toBeLessThanOrEqual(MACHINES_MAX)
  expect(seen).toMatchObject({ unnamed: 0, spoilt: 0 })
  expect(seen.held).toBeGreaterThan(0)
  expect(seen.scripts).toBeGreaterThan(1000)
  expect(seen.refused).toBeGreaterThan(1000)
})
