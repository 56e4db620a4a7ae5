/** What a key costs: bytes of the arena in use for each byte stored, at 90 % of the keys, beside what Redis takes. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { expect, test } from "vitest"
import { arenaLayout, HeaderOffset, KV_ENTRY_BYTES, PAGE_BYTES } from "../../../appliance/state_machine/arena.ts"
import { CommandCode } from "../../../appliance/state_machine/command.ts"
import { CLUSTER_LIMITS } from "../../../appliance/types/limits.ts"
import { Driver } from "../../property/state_machine/driver.ts"

const README = readFileSync(join(import.meta.dirname, "../../../appliance/state_machine/README.md"), "utf8")
const KEY_BYTES = 16
const VALUE_BYTES = 100
const STORED_BYTES = KEY_BYTES + VALUE_BYTES
const KEYS = Math.floor(CLUSTER_LIMITS.kv_entries_max * 0.9)
const BATCH = 1_024
/** used_memory of Redis 7.0.15 with as many such keys, less that of an empty one: (24,711,832 - 914,664) / 117,964. */
const REDIS_BYTES_PER_KEY = 201.7

test("less than Redis takes, table by table as the README says", () => {
  const driver = new Driver(CLUSTER_LIMITS)
  const value = "v".repeat(VALUE_BYTES)
  for (let from = 0; from < KEYS; from += BATCH) {
    const commands = Array.from({ length: Math.min(BATCH, KEYS - from) }, (_, index) => {
      const key = `k${String(from + index).padStart(KEY_BYTES - 1, "0")}`
      return { code: CommandCode.set, flags: 0, argument: 0n, key, value }
    })
    expect(driver.batch(commands).every((answer) => answer === "ok")).toBe(true)
  }
  const { arena } = driver.machine
  const layout = arenaLayout(CLUSTER_LIMITS)
  const slabPages = new DataView(arena.buffer).getUint32(HeaderOffset.slab_used, true)
  const perKey = {
    block: (slabPages * layout.slab_page_bytes) / KEYS,
    entry: KV_ENTRY_BYTES,
    // Hashes are spread, so all of it is in use.
    index: (layout.kv_index_slots * 4) / KEYS,
  }
  const total = perKey.block + perKey.entry + perKey.index
  expect(total).toBeLessThan(REDIS_BYTES_PER_KEY)
  // The same counted from the bytes: pages that are no longer zeros, to the page.
  expect(pagesInUse(arena, layout.kv_entries) * PAGE_BYTES).toBeLessThan(total * KEYS + 20 * PAGE_BYTES)
  const cells = [perKey.block, perKey.entry, perKey.index, total, total / STORED_BYTES]
  expect(README).toContain(`| Mandala | ${cells.map((cell, index) => cell.toFixed(index < 4 ? 1 : 2)).join(" | ")} |`)
  expect(README).toContain(`| ${REDIS_BYTES_PER_KEY} | ${(REDIS_BYTES_PER_KEY / STORED_BYTES).toFixed(2)} |`)
})

function pagesInUse(arena: Uint8Array, start: number): number {
  const zeros = Buffer.alloc(PAGE_BYTES)
  let pages = 0
  for (let at = start; at < arena.length; at += PAGE_BYTES) {
    pages += zeros.equals(arena.subarray(at, at + PAGE_BYTES)) ? 0 : 1
  }
  return pages
}
