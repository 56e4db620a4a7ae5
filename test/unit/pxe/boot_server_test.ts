/** The whole boot server on a virtual cable, with busybox's DHCP client and tshark for a referee. Plane: control. */
import { spawnSync } from "node:child_process"
import { beforeAll, describe, expect, test } from "vitest"
import { LEASE_SECONDS } from "../../../pxe/dhcp/limits.ts"
import { SCENE_FILE } from "./namespace_scene.ts"

const SCENE_MS_MAX = 50_000
/** Program and the Debian package that has it. */
const NEEDED = [
  ["unshare", "util-linux"],
  ["ip", "iproute2"],
  ["udhcpc", "udhcpc"],
  ["tshark", "tshark"],
] as const

let report: Readonly<Record<string, unknown>> = {}

beforeAll(() => {
  for (const [program, aptPackage] of NEEDED) {
    const found = spawnSync("sh", ["-c", `PATH="$PATH:/usr/sbin:/sbin" command -v ${program}`])
    expect(found.status, `${program} is missing: apt-get install ${aptPackage}`).toBe(0)
  }
  // Without root a user namespace makes us root over the network namespace only.
  const root = process.getuid?.() === 0 ? [] : ["--user", "--map-root-user"]
  const scene = spawnSync("unshare", [...root, "--net", process.execPath, SCENE_FILE], {
    encoding: "utf8",
    timeout: SCENE_MS_MAX,
    env: { ...process.env, PATH: `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin` },
  })
  expect(scene.status, scene.stderr).toBe(0)
  const parsed: unknown = JSON.parse(scene.stdout)
  report = typeof parsed === "object" && parsed !== null ? { ...parsed } : {}
})

describe("what keeps it from starting is said with what to do", () => {
  test.each([
    ["no_interface", 'interface_not_found: there is no interface "absent"; those with a link are:'],
    ["no_address", "interface_without_ipv4: interface here is down or has no IPv4 address: ip link set here up;"],
    ["bad_pool", "bad_option: the pool 10.9.0.1 to 10.9.0.2 is no range in the network of here"],
    ["twice", "port_in_use: port 7480 is in use: stop the program that has it"],
    ["second", "other_dhcp_server: 10.99.0.1 already gives addresses on there: use --dhcp proxy beside it"],
  ])("%s", (step, message) => {
    expect(String(report[step]).startsWith(message), String(report[step])).toBe(true)
  })

  test("an interface without a link keeps it from nothing", () => {
    expect(report["no_link"]).toBe("started")
  })

  test("after it was closed all is free again", () => {
    expect(report["after_close"]).toBe("started")
  })
})

test("busybox's client gets a lease, renews it, releases it, and gets the same address again", () => {
  const lease = /^bound (10\.99\.0\.1[01]\d) 10\.99\.0\.1 (\d+) 255\.255\.255\.0/
  const events: unknown = report["client"]
  const lines = Array.isArray(events) ? events.map(String) : []
  expect(lines.map((line) => line.split(" ")[0])).toEqual(["deconfig", "bound", "renew", "deconfig", "bound"])
  const [, address, seconds] = lease.exec(lines[1] ?? "") ?? []
  expect(address).toBeDefined()
  expect(Number(seconds)).toBe(LEASE_SECONDS)
  expect([lines[2], lines[4]].map((line) => line?.split(" ")[1])).toEqual([address, address])
})

test("the referee found nothing malformed in what the server sent", () => {
  expect(report["frames_ours"]).toBeGreaterThanOrEqual(5)
  expect(report["frames_malformed"]).toBe(0)
})

test("a plain client is no machine of the pool", () => {
  expect(report["status"]).toMatchObject({ schema: 1, machines: [], counters: { dhcp: { malformed: 0, naks: 0 } } })
})
