/** Who is primary as far as the boot server heard, and what of a manifest goes into the report. Plane: control. */
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { expect, test } from "vitest"
import { HTTP_BYTES_MAX } from "../../lab/limits.ts"
import { type BootStatus, bootStatus, imageSummary, primaryOf } from "../../lab/status.ts"

type Heard = {
  readonly slot: number
  readonly view: number
  readonly primary: number
  readonly ageMs: number
  readonly status?: string
}

function statusOf(heard: readonly Heard[]): BootStatus {
  const cluster = {
    cluster_id: "",
    generation: 1,
    voters: 3,
    formed: true,
    primary_slot: null,
    view: null,
    commit: null,
  }
  const machines = heard.map(({ slot, view, primary, ageMs, status = "normal" }) => {
    const machine = `52-54-00-77-00-0${slot}`
    const announce = { machine, slot, address: "", status, view, op: 0, commit: 0, primary_slot: primary }
    const stageTimes = { firmware: 1, nbp: 1, script: 1, kernel: 1, init: 1, joined: 1 }
    const base = {
      mac: machine,
      address: null,
      firmware: "bios",
      admission: "accepted",
      roles: [],
      boot_count: 1,
      reason: null,
    }
    return {
      ...base,
      machine,
      slot,
      stage: "joined",
      stage_times: stageTimes,
      need_bytes: null,
      have_bytes: null,
      announce,
      announce_age_ms: ageMs,
    }
  })
  return { cluster, machines, counters: {} }
}

test("the newest view says who is primary", () => {
  const status = statusOf([
    { slot: 0, view: 3, primary: 0, ageMs: 100 },
    { slot: 1, view: 4, primary: 1, ageMs: 100 },
  ])
  expect(primaryOf(status)?.slot).toBe(1)
})

test("a machine that fell silent, or is between views, says nothing", () => {
  const status = statusOf([
    { slot: 0, view: 9, primary: 0, ageMs: 60_000 },
    { slot: 1, view: 8, primary: 2, ageMs: 100, status: "view_change" },
    { slot: 2, view: 4, primary: 1, ageMs: 100 },
  ])
  expect(primaryOf(status)?.slot).toBe(1)
  expect(primaryOf(statusOf([]))).toBeUndefined()
})

test("the report names the image and its sizes, not its inputs", () => {
  const summary = imageSummary(
    JSON.stringify({ image_id: "ab", inputs: [1, 2], outputs: [{ path: "kernel", bytes: 8 }] }),
  )
  expect(summary).toMatchObject({ image_id: "ab", outputs: [{ path: "kernel", bytes: 8 }], unpacked_bytes: null })
  expect(summary).not.toHaveProperty("inputs")
  expect(imageSummary("null")).toMatchObject({ image_id: null })
})

test("a server that is not there, says no JSON or too much of it, is one that did not answer", async () => {
  const long = JSON.stringify({ machines: [], counters: "a".repeat(HTTP_BYTES_MAX) })
  const bodies = new Map([
    ["/good/status", '{"machines":[]}'],
    ["/half/status", '{"machines":['],
    ["/other/status", "[]"],
    ["/long/status", long],
  ])
  const server = createServer((request, response) => response.end(bodies.get(request.url ?? "")))
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  // An IP server's address is never a string.
  const { port } = server.address() as AddressInfo
  const url = `http://127.0.0.1:${port}`
  expect(await bootStatus(`${url}/good`)).toEqual({ machines: [] })
  for (const path of ["half", "other", "long", "missing"]) {
    expect(await bootStatus(`${url}/${path}`)).toBeUndefined()
  }
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
  expect(await bootStatus(`${url}/good`)).toBeUndefined()
})
