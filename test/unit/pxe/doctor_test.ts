/**
 * The doctor: pure judgements over answers and tables, and a LAN on which dnsmasq is set up in bad ways.
 * Plane: control.
 */
import { spawnSync } from "node:child_process"
import { beforeAll, describe, expect, test } from "vitest"
import { type Answer, isVendorSound } from "../../../pxe/doctor/answer.ts"
import { advertisementsOf, type HostFacts, inodeOf, iptablesDrops, nftDrops } from "../../../pxe/doctor/host.ts"
import { judgeAnswers, judgeHost } from "../../../pxe/doctor/judge.ts"
import { DOCTOR_SCENE_FILE } from "./doctor_scene.ts"

const SCENE_MS_MAX = 60_000

const PLAIN: Answer = {
  question: "plain",
  from: "10.0.0.2",
  port: 67,
  server: "10.0.0.2",
  ms: 3,
  offered: "10.0.0.100",
  next_server: "",
  file: "",
  boot_server_name: "",
  boot_file_name: "",
  vendor_class: "",
  vendor: "",
  is_vendor_sound: true,
}
const BIOS: Answer = { ...PLAIN, question: "bios" }
const PROXY: Answer = {
  ...BIOS,
  server: "10.0.0.3",
  offered: "",
  vendor_class: "PXEClient",
  next_server: "10.0.0.3",
  file: "ipxe",
}

function kinds(answers: readonly Answer[], own = "10.0.0.1"): string[] {
  return judgeAnswers(answers, own).map(({ level, kind }) => `${level} ${kind}`)
}

describe("answers", () => {
  test("a server that gives addresses and no more is what a proxy needs", () => {
    expect(kinds([PLAIN, BIOS])).toEqual([])
    expect(kinds([PLAIN, BIOS, PROXY])).toEqual([])
  })

  test.each([
    ["nobody", [], "error no_answer"],
    ["a proxy alone", [PROXY], "error no_address_server"],
    ["two that give addresses", [PLAIN, { ...PLAIN, server: "10.0.0.9" }], "error several_address_servers"],
    ["two that boot", [PLAIN, PROXY, { ...PROXY, server: "10.0.0.4" }], "error several_boot_servers"],
    [
      "an address and PXEClient and a file",
      [PLAIN, { ...BIOS, vendor_class: "PXEClient", file: "x", next_server: "10.0.0.2" }],
      "error other_server_boots",
    ],
    [
      "an address and a file",
      [PLAIN, { ...BIOS, boot_file_name: "x", next_server: "10.0.0.2" }],
      "warning other_server_names_file",
    ],
    ["an address and PXEClient", [PLAIN, { ...BIOS, vendor_class: "PXEClient" }], "error pxe_class_without_file"],
    [
      "a broken option 43",
      [PLAIN, { ...BIOS, vendor: "060901", is_vendor_sound: false }],
      "error vendor_options_malformed",
    ],
    ["a file that nobody has", [PLAIN, { ...PROXY, next_server: "" }], "warning file_without_server"],
    ["PXEClient for everybody", [{ ...PLAIN, vendor_class: "PXEClient" }], "warning class_for_everybody"],
    ["another source port", [{ ...PLAIN, port: 1067 }], "error wrong_source_port"],
    ["a server that pings first", [{ ...PLAIN, ms: 3_000 }], "warning slow_answer"],
  ] as const)("%s", (_, answers, finding) => {
    expect(kinds(answers)).toContain(finding)
  })

  test("what our own server does is nobody's fault but ours: it is not judged", () => {
    expect(kinds([PLAIN, { ...PROXY, server: "10.0.0.1", next_server: "" }])).toEqual([])
  })

  test("suboptions of option 43", () => {
    const cases: readonly (readonly [readonly number[], boolean])[] = [
      [[6, 1, 8, 255], true],
      [[6, 1, 8], true],
      [[0, 0, 6, 1, 8, 255, 9, 9], true],
      [[], true],
      [[6], false],
      [[6, 2, 8], false],
    ]
    expect(cases.map(([bytes]) => isVendorSound(Uint8Array.from(bytes)))).toEqual(cases.map(([, isSound]) => isSound))
  })
})

describe("this machine", () => {
  const Sound: HostFacts = {
    link: { name: "eth0", has_carrier: true, router_advertisements: 3, bridges: [] },
    ports: [],
    is_boot_server_here: false,
    firewall: { is_known: true, drops: [] },
  }

  test("with nothing in the way there is nothing to say", () => {
    expect(judgeHost(Sound)).toEqual([])
  })

  test("each thing that is in the way is named", () => {
    const facts: HostFacts = {
      link: {
        name: "br0",
        has_carrier: false,
        router_advertisements: 0,
        bridges: [{ name: "br0", stp: true, forward_delay_seconds: 15 }],
      },
      ports: [{ protocol: "UDP", port: 67, program: "dnsmasq (pid 9)" }],
      is_boot_server_here: false,
      firewall: { is_known: true, drops: ["UDP 69"] },
    }
    expect(judgeHost(facts).map(({ level, kind }) => `${level} ${kind}`)).toEqual([
      "warning no_carrier",
      "error port_in_use",
      "warning no_router_advertisement",
      "warning spanning_tree_delay",
      "error firewall_drops",
    ])
    expect(judgeHost({ ...facts, is_boot_server_here: true }).map(({ kind }) => kind)).toContain("boot_server_runs")
    expect(judgeHost({ ...Sound, firewall: { is_known: false, drops: [] } })[0]?.kind).toBe("firewall_unknown")
  })

  test("the kernel's tables", () => {
    const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
  11: 00000000:0043 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1234 2 0000 0
  12: 0100000A:0045 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 99 2 0000 0`
    expect([inodeOf(table, 67, "0100000A", false), inodeOf(table, 69, "0100000A", false)]).toEqual(["1234", "99"])
    expect([inodeOf(table, 69, "0200000A", false), inodeOf(table, 67, "0100000A", true)]).toEqual([
      undefined,
      undefined,
    ])
    expect(advertisementsOf("Icmp6InMsgs 4\nIcmp6InRouterAdvertisements     \t2\n")).toBe(2)
    expect(advertisementsOf("")).toBe(undefined)
  })

  test("firewalls: what drops by its policy and lets in by name", () => {
    const nft = (rules: string): string =>
      `table inet filter {\n chain input {\n  type filter hook input priority filter; policy drop;\n${rules}\n }\n}\n`
    expect(nftDrops(nft("    udp dport { 67, 69, 4011 } accept\n    tcp dport 7480 accept"))).toEqual([])
    expect(nftDrops(nft("    ct state established accept\n    udp dport 67 accept"))).toEqual([
      "UDP 69",
      "UDP 4011",
      "TCP 7480",
    ])
    expect(nftDrops(nft("    accept"))).toEqual([])
    expect(nftDrops(nft("").replace("policy drop", "policy accept"))).toEqual([])
    expect(iptablesDrops(":INPUT ACCEPT [0:0]\n")).toEqual([])
    expect(iptablesDrops(":INPUT DROP [0:0]\n-A INPUT -p udp -m udp --dport 67 -j ACCEPT\n")).toEqual([
      "UDP 69",
      "UDP 4011",
      "TCP 7480",
    ])
    expect(iptablesDrops(":INPUT DROP [0:0]\n-A INPUT -j ACCEPT\n")).toEqual([])
  })
})

describe("beside dnsmasq, set up well and badly", () => {
  let reports: Readonly<Record<string, unknown>> = {}

  beforeAll(() => {
    const root = process.getuid?.() === 0 ? [] : ["--user", "--map-root-user"]
    const scene = spawnSync("unshare", [...root, "--net", process.execPath, DOCTOR_SCENE_FILE], {
      encoding: "utf8",
      timeout: SCENE_MS_MAX,
      env: { ...process.env, PATH: `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin` },
    })
    expect(scene.status, scene.stderr).toBe(0)
    const parsed: unknown = JSON.parse(scene.stdout)
    reports = typeof parsed === "object" && parsed !== null ? { ...parsed } : {}
  }, SCENE_MS_MAX)

  test.each([
    ["nobody", false, ["no_answer"]],
    ["addresses_only", true, []],
    ["names_a_file", true, ["other_server_names_file"]],
    ["says_pxe", false, ["pxe_class_without_file", "class_for_everybody"]],
    ["boots_pxe", false, ["other_server_boots"]],
    ["bad_43", false, ["vendor_options_malformed"]],
    ["proxy_only", false, ["no_address_server"]],
  ] as const)("%s", (name, isHealthy, expected) => {
    const report = reports[name]
    const text = JSON.stringify(report)
    expect(report, text).toMatchObject({ schema: 1, interface: "here", address: "10.98.0.1", is_healthy: isHealthy })
    for (const kind of expected) {
      expect(text).toContain(`"kind":"${kind}"`)
    }
    if (expected.length === 0) {
      expect(text).not.toContain('"level":"error"')
    }
  })

  test("its text has a line for each answer and each finding", () => {
    const text = JSON.stringify(reports["boots_pxe"])
    expect(text).toMatch(/ASKED AS +SERVER/)
    expect(text).toContain("pxelinux.0")
    expect(text).toContain("not healthy: see the errors above")
  })

  test("an interface that is not there is said", () => {
    expect(reports["absent"]).toMatchObject({ ok: false, error: { kind: "interface_not_found" } })
  })
})
