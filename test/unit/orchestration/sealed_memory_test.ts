/** What a machine seals: the table in the README, at most three quarters of its memory, and nothing afterwards. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pino } from "pino"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { Gateway } from "../../../appliance/gateway/gateway.ts"
import { ORCHESTRATION_LIMITS } from "../../../appliance/orchestration/limits.ts"
import { growthBytesMin, growthShortage } from "../../../appliance/orchestration/growth.ts"
import { ProcessHost } from "../../../appliance/orchestration/process_host.ts"
import { arenaBytes } from "../../../appliance/state_machine/arena.ts"
import { AssertionError } from "../../../appliance/types/assert.ts"
import {
  CLUSTER_SIZES,
  type ClusterSize,
  limitsForSize,
  reportedBytesMin,
  SEALED_PART,
} from "../../../appliance/types/cluster_sizes.ts"
import { PROCESS_LIMITS } from "../../../appliance/types/limits.ts"

const README = readFileSync(join(import.meta.dirname, "../../../appliance/README.md"), "utf8")
const MIB = 1024 * 1024

let directory = ""
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "mandala-sealed-"))
})
afterAll(() => rmSync(directory, { recursive: true, force: true }))

/** A host and its gateway as main.ts joins them: memory that nobody touches costs nothing, whatever the size. */
function makeHost(size: ClusterSize, growTo?: ClusterSize): { readonly host: ProcessHost; readonly gateway: Gateway } {
  const limits = limitsForSize(size)
  const host = new ProcessHost({
    config: {
      cluster_id: "c1".repeat(16),
      generation: 1,
      epoch: 0,
      machine: "m0",
      boot_id: "",
      boot_count: 0,
      firmware: "unknown",
      slot: 0,
      voters: 3,
      size,
      grow_to: null,
      formation_token: "",
      boot_server: "",
      members: [],
    },
    slot: 0,
    facts: { interface: "lo", address: "127.0.0.1", mac: "" },
    advertise: "127.0.0.1",
    bind: "127.0.0.1",
    ports: { replica: 0, data: 0, api: 0 },
    version: "0.0.0",
    limits,
    ...(growTo === undefined ? {} : { growTo: limitsForSize(growTo) }),
    processLimits: PROCESS_LIMITS,
    orchestrationLimits: ORCHESTRATION_LIMITS,
    runDirectory: directory,
    log: pino({ level: "silent" }),
    onEnd: () => undefined,
  })
  const schedule = (): void => undefined
  const gateway = new Gateway({ limits, port: host, memory: host.memory, random: host.random, schedule })
  return { host, gateway }
}

/** The buffers by name, those of all links as one. */
function grouped(host: ProcessHost): Map<string, number> {
  const groups = new Map<string, number>()
  for (const { name, bytes } of host.memory.table()) {
    const group = name.replace(/^link (to|from) slot \d+$/, "links $1 the other slots")
    groups.set(group, (groups.get(group) ?? 0) + bytes)
  }
  return groups
}

describe("sealed memory", () => {
  test("is the README's table, line by line, and their sum", () => {
    const { host } = makeHost("small")
    const groups = grouped(host)
    const rows = [...groups, ["together", host.memory.bytesTotal] as const]
    const lines = rows.map(([name, bytes]) => `| ${name} | ${bytes.toLocaleString("en")} |`)
    const inReadme = README.split("\n").filter((line) =>
      /^\| (arena|replication|links|gateway|together)[^|]*\| [\d,]+ \|/.test(line),
    )
    expect(inReadme.map((line) => line.split("|").slice(0, 3).join("|") + "|")).toEqual(lines)
    expect([...groups.values()].reduce((sum, bytes) => sum + bytes, 0)).toBe(host.memory.bytesTotal)
  })

  test.each(CLUSTER_SIZES)("of size %s is three quarters of the machine's at most, and as the README says", (size) => {
    const { host } = makeHost(size)
    const limits = limitsForSize(size)
    const arena = arenaBytes(limits)
    expect(host.memory.bytesTotal).toBeLessThanOrEqual(SEALED_PART * reportedBytesMin(size))
    expect(arena).toBeLessThan(2 ** 31)
    // About half an arena: the log of a machine that lags is no longer than its state is large.
    expect(limits.log_bytes / arena).toBeGreaterThan(0.4)
    expect(limits.log_bytes / arena).toBeLessThan(0.6)
    const mib = (bytes: number): string => `${Math.round(bytes / MIB).toLocaleString("en")} MiB`
    const cells = [limits.kv_entries_max.toLocaleString("en"), mib(limits.kv_slab_bytes), mib(limits.log_bytes)]
    const row = `| \`${size}\` | ${mib((reportedBytesMin(size) * 8) / 7)} | ${cells.join(" | ")} | ${mib(arena)} |`
    expect(README).toContain(`${row} ${mib(host.memory.bytesTotal)} |`)
  })

  test.each([
    ["small", "medium"],
    ["small", "large"],
    ["medium", "large"],
    ["large", "huge"],
  ] as const)(
    "of a machine that grows from %s to %s is as the README says, and what it must have suffices",
    (from, to) => {
      const { host } = makeHost(from, to)
      const bytesMin = growthBytesMin(from, to)
      expect(host.memory.bytesTotal).toBeLessThanOrEqual(SEALED_PART * bytesMin)
      expect(growthShortage(from, to, bytesMin)).toBeUndefined()
      expect(growthShortage(from, to, bytesMin - 1)).toContain(`who grows from ${from} to ${to} holds both states`)
      const [sealed, needed] = [host.memory.bytesTotal, bytesMin].map((bytes) => Math.ceil(bytes / MIB))
      const cells = [sealed, needed].map((mib) => `${mib?.toLocaleString("en")} MiB`)
      expect(README).toContain(`| \`${from}\` to \`${to}\` | ${cells.join(" | ")} |`)
    },
  )

  test("nothing is allocated after it was sealed", async () => {
    const { host } = makeHost("small")
    const started = await host.start({ onReply: () => undefined, tick: () => undefined, onGrown: () => undefined })
    expect(started.ok).toBe(true)
    expect(() => host.memory.allocate("late", 1)).toThrow(AssertionError)
    host.stop()
  })
})
