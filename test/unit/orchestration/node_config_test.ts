/**
 * node.json and network.json as a boot server and /init write them, and every field that can be wrong. Plane: control.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import {
  describeConfigError,
  parseNodeConfig,
  readNetworkFacts,
  readNodeConfig,
} from "../../../appliance/orchestration/node_config.ts"
import { CLUSTER_LIMITS } from "../../../appliance/types/limits.ts"
import { encodeNodeArchive } from "../../../pxe/pool/node_file.ts"

const CONFIG = {
  schema: 1,
  cluster_id: "0123456789abcdef0123456789abcdef",
  generation: 1,
  epoch: 0,
  machine: "m1",
  boot_id: "b-1",
  slot: 0,
  voters: 3,
  formation_token: "f".repeat(32),
  boot_server: "http://10.0.0.1:7480",
  seed: "00ff",
}

let directory = ""
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "mandala-config-"))
})
afterEach(() => {
  rmSync(directory, { recursive: true })
})

function parsed(change: Record<string, unknown>): string {
  const result = parseNodeConfig(JSON.stringify({ ...CONFIG, ...change }))
  if (result.ok) {
    return "ok"
  }
  return result.error.kind === "bad_field" ? result.error.field : result.error.kind
}

describe("node.json", () => {
  test("what the boot server writes, and what may be left out", () => {
    const full = parseNodeConfig(JSON.stringify(CONFIG))
    expect(full.ok && full.value).toMatchObject({ machine: "m1", slot: 0, voters: 3, members: [] })
    const { cluster_id, generation, machine, slot, voters } = CONFIG
    const short = parseNodeConfig(JSON.stringify({ cluster_id, generation, machine, slot, voters }))
    expect(short.ok && short.value).toEqual({
      cluster_id,
      generation,
      machine,
      slot,
      voters,
      size: "small",
      grow_to: null,
      epoch: 0,
      boot_id: "",
      boot_count: 0,
      firmware: "unknown",
      formation_token: "",
      boot_server: "",
      members: [],
    })
  })

  test("what the boot server puts into a machine's archive is understood, field by field", () => {
    const written = {
      machine: "52-54-00-00-00-01",
      boot_id: "b".repeat(32),
      slot: 2,
      voters: 3,
      size: "large",
      grow_to: "huge",
      cluster_id: "c".repeat(32),
      generation: 1,
      epoch: 1,
      formation_token: "f".repeat(32),
      boot_server: "http://10.77.0.1:7480",
      seed: "5".repeat(128),
      firmware: "uefi",
    } as const
    const archive = new TextDecoder("latin1").decode(encodeNodeArchive(written))
    const text = archive.slice(archive.indexOf("{"), archive.indexOf("}") + 1)
    const { seed, ...kept } = written
    const parsedFile = parseNodeConfig(text)
    expect(text).toContain(seed)
    expect(parsedFile.ok && parsedFile.value).toMatchObject(kept)
  })

  test("a spare has no slot; members may be named", () => {
    expect(parsed({ slot: null })).toBe("ok")
    expect([parsed({ grow_to: null }), parsed({ size: "small", grow_to: "large" })]).toEqual(["ok", "ok"])
    expect(parsed({ members: [{ slot: 1, machine: "m2", address: "10.0.0.12", replica_port: 7400 }] })).toBe("ok")
  })

  test("every field that can be wrong is named", () => {
    expect(parsed({ schema: 2 })).toBe("schema")
    expect(parsed({ cluster_id: "xyz" })).toBe("cluster_id")
    expect(parsed({ cluster_id: CONFIG.cluster_id.toUpperCase() })).toBe("cluster_id")
    expect(parsed({ generation: -1 })).toBe("generation")
    expect(parsed({ generation: 2 ** 32 })).toBe("generation")
    expect(parsed({ machine: "" })).toBe("machine")
    expect(parsed({ machine: "a b" })).toBe("machine")
    expect(parsed({ slot: CLUSTER_LIMITS.slots_max })).toBe("slot")
    expect(parsed({ slot: undefined })).toBe("slot")
    expect(parsed({ voters: 2 })).toBe("voters")
    expect(parsed({ voters: "3" })).toBe("voters")
    expect(parsed({ size: "enormous" })).toBe("size")
    expect(parsed({ size: "" })).toBe("size")
    expect(parsed({ grow_to: "enormous" })).toBe("grow_to")
    expect(parsed({ formation_token: "f" })).toBe("formation_token")
    expect(parsed({ boot_server: "ftp://10.0.0.1" })).toBe("boot_server")
    expect(parsed({ boot_server: "http://10.0.0.1:7480/path" })).toBe("boot_server")
    expect(parsed({ members: [{ slot: 1 }] })).toBe("members")
    expect(parsed({ members: new Array(8).fill({}) })).toBe("members")
    for (const text of ["", "[]", "null", "3", "{"]) {
      expect(parseNodeConfig(text), text).toEqual({ ok: false, error: { kind: "not_json" } })
    }
  })

  test("a file that is missing, too long or no JSON says what to do", () => {
    const path = join(directory, "node.json")
    const problem = (): string => {
      const result = readNodeConfig(path)
      return result.ok ? "ok" : describeConfigError(result.error)
    }
    expect(problem()).toContain("does not exist")
    writeFileSync(path, "{")
    expect(problem()).toContain("is not a JSON object")
    writeFileSync(path, " ".repeat(70_000))
    expect(problem()).toContain("longer than 65536 bytes")
    writeFileSync(path, JSON.stringify({ ...CONFIG, voters: 4 }))
    expect(problem()).toContain('no usable "voters"')
    writeFileSync(path, JSON.stringify(CONFIG))
    expect(problem()).toBe("ok")
  })
})

describe("network.json", () => {
  test("as /init writes it", () => {
    const path = join(directory, "network.json")
    const text =
      '{"schema":1,"interface":"eth0","mac":"52-54-00-00-00-01","address":"10.0.0.11","netmask":"255.255.255.0",' +
      '"gateway":"","server":"http://10.0.0.1:7480","boot":"abc"}\n'
    writeFileSync(path, text)
    const facts = { interface: "eth0", address: "10.0.0.11", mac: "52-54-00-00-00-01" }
    expect(readNetworkFacts(path)).toEqual({ ok: true, value: facts })
    writeFileSync(path, text.replace("10.0.0.11", "10.0.0.999"))
    expect(readNetworkFacts(path)).toEqual({ ok: false, error: { kind: "config_bad_field", path, field: "address" } })
  })

  test("without the file the system is asked", () => {
    const facts = readNetworkFacts(join(directory, "absent.json"))
    expect(facts.ok ? facts.value.address : facts.error.kind).toMatch(/^[0-9.]+$|^no_address$/)
  })
})
