/**
 * The way out of the memory and the way back, on real processes and by the operator's own commands: a cluster of
 * three is exported while a client writes, all of it dies, and a new cluster of one has what was acknowledged.
 * Plane: control.
 */
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { afterEach, expect, test } from "vitest"
import {
  boot,
  cleanUp,
  clientOf,
  describeCluster,
  endpointOf,
  isMember,
  kill,
  type Machine,
  mandala,
  newDirectory,
  until,
} from "./process_cluster.ts"

const TEST_MS = 180_000
const KEYS = 3_000
const EXIT_FAILED = 1
const EXIT_DEGRADED = 5
const EXIT_CONFLICT = 6

afterEach(cleanUp)

async function founded(machines: number): Promise<Machine[]> {
  const cluster = await describeCluster({ machines, founders: machines })
  const booted = Array.from({ length: machines }, (_, slot) => boot(cluster, slot))
  for (const machine of booted) {
    await until(() => isMember(machine), "the machines are a cluster")
  }
  return booted
}

function parsed(text: string): Record<string, unknown> {
  const value: unknown = JSON.parse(text)
  return typeof value === "object" && value !== null ? { ...value } : {}
}

test(
  "what was acknowledged survives the death of every machine",
  async () => {
    const directory = newDirectory()
    const at = (name: string): string => join(directory, name)
    const machines = await founded(3)
    const [first] = machines
    expect(first).toBeDefined()
    if (first === undefined) {
      return
    }
    const endpoint = ["--endpoint", endpointOf(first)] as const
    const client = clientOf(first)
    for (let key = 0; key < KEYS; key += 100) {
      const batch = client.pipeline()
      for (let one = key; one < key + 100; one += 1) {
        batch.set(`key:${one}`, `value of ${one}`)
      }
      await batch.exec()
    }
    // Writes go on while it is copied; what is acknowledged before it begins is in it.
    let isWriting = true
    let written = 0
    const writing = (async () => {
      while (isWriting) {
        await client.set("counter", String(written + 1))
        written += 1
      }
    })()
    await until(async () => written > 20, "a client writes")
    const before = written
    const exported = await mandala("export", at("a.mandala"), ...endpoint, "-o", "json")
    isWriting = false
    await writing
    expect([exported.code, exported.err.includes("error")]).toEqual([0, false])
    const report = parsed(exported.out)
    expect(report).toMatchObject({ schema: 1, keys: KEYS + 1 })

    // What a file says of itself, and whether it is whole.
    const inspected = await mandala("export", "inspect", at("a.mandala"), "-o", "json")
    expect(parsed(inspected.out)).toMatchObject({
      root: report["root"],
      op: report["op"],
      secrets: "left_out",
      encryption: null,
    })
    expect((await mandala("export", "verify", at("a.mandala"))).code).toBe(0)
    const bytes = readFileSync(at("a.mandala"))
    const middle = Math.floor(bytes.length / 2)
    writeFileSync(
      at("flipped"),
      Buffer.concat([bytes.subarray(0, middle), Buffer.of((bytes[middle] ?? 0) ^ 4), bytes.subarray(middle + 1)]),
    )
    writeFileSync(at("cut"), bytes.subarray(0, middle))
    for (const name of ["flipped", "cut", "absent"]) {
      const judged = await mandala("export", "verify", at(name))
      expect([name, judged.code, judged.err.split("\n").length]).toEqual([name, EXIT_FAILED, 2])
    }
    expect((await mandala("export", at("a.mandala"), ...endpoint)).err).toContain("exists already")

    // Lines and tables, and what has changed since.
    const lines = (await mandala("export", "-", "--format", "json", ...endpoint)).out.trimEnd().split("\n")
    const trailer = parsed(lines.at(-1) ?? "{}")
    expect([parsed(lines[0] ?? "{}")["record"], trailer["record"], trailer["kv"]]).toEqual([
      "header",
      "trailer",
      KEYS + 1,
    ])
    const table = (await mandala("export", "-", "--format", "csv", "--table", "kv", ...endpoint)).out
    expect(table).toContain("key:7,")
    await client.del("key:0")
    await client.set("key:1", "another")
    await client.set("new", "1")
    writeFileSync(at("passphrase"), "correct horse\n")
    const sealed = await mandala("export", at("b.mandala"), "--passphrase-file", at("passphrase"), ...endpoint)
    expect(sealed.code, sealed.err).toBe(0)
    expect((await mandala("export", "verify", at("b.mandala"))).err).toContain("it is encrypted")
    const changed = await mandala(
      "export",
      "diff",
      at("a.mandala"),
      at("b.mandala"),
      "--passphrase-file",
      at("passphrase"),
    )
    expect(changed.code, changed.err).toBe(EXIT_DEGRADED)
    expect(changed.out).toContain("+ kv new")
    expect(changed.out).toContain("- kv key:0")
    expect(changed.out).toContain("~ kv key:1")

    // The electricity is gone.
    client.disconnect()
    for (const machine of machines) {
      await kill(machine)
    }
    const [one] = await founded(1)
    expect(one).toBeDefined()
    if (one === undefined) {
      return
    }
    const there = ["--endpoint", endpointOf(one)] as const
    const dry = await mandala("restore", at("a.mandala"), "--dry-run", ...there)
    expect([dry.code, dry.out.includes("nothing was changed")]).toEqual([0, true])
    const fresh = clientOf(one)
    expect(await fresh.dbsize()).toBe(0)
    const restored = await mandala("restore", at("a.mandala"), "-o", "json", ...there)
    expect(restored.code, restored.err).toBe(0)
    expect(parsed(restored.out)).toMatchObject({ keys: KEYS + 1, generation: 2 })
    await until(() => isMember(one), "it goes on with what was restored")
    expect(await fresh.dbsize()).toBe(KEYS + 1)
    expect(await fresh.get("key:2999")).toBe("value of 2999")
    expect(Number(await fresh.get("counter"))).toBeGreaterThanOrEqual(before)
    await fresh.set("after", "1")
    expect(await fresh.get("after")).toBe("1")
    const again = await mandala("restore", at("a.mandala"), ...there)
    expect([again.code, again.err.includes("--replace")]).toEqual([EXIT_CONFLICT, true])
  },
  TEST_MS,
)
