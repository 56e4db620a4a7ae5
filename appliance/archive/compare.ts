/** What differs between two exports, record by record. Plane: control. */
import type { ExportLine } from "./records.ts"
import { linesOf } from "./records.ts"
import { DIFFERENCES_MAX } from "./limits.ts"
import type { StateExport } from "./state_export.ts"

export type Difference = {
  readonly table: string
  readonly key: string
  readonly change: "added" | "removed" | "changed"
}

export type Comparison = {
  readonly added: number
  readonly removed: number
  readonly changed: number
  readonly same: number
  /** The first DIFFERENCES_MAX of them. */
  readonly differences: readonly Difference[]
}

/** From `before` to `after`; deadlines count as dates, so that a later export of the same key is the same. */
export function compareExports(before: StateExport, after: StateExport): Comparison {
  const old = new Map<string, string>()
  for (const line of linesOf(before)) {
    if (isCompared(line)) {
      old.set(keyOf(line), bodyOf(line, before))
    }
  }
  const counts = { added: 0, removed: 0, changed: 0, same: 0 }
  const differences: Difference[] = []
  const note = (change: Difference["change"], name: string): void => {
    counts[change] += 1
    if (differences.length < DIFFERENCES_MAX) {
      const gap = name.indexOf(" ")
      differences.push({ table: name.slice(0, gap), key: name.slice(gap + 1), change })
    }
  }
  for (const line of linesOf(after)) {
    if (!isCompared(line)) {
      continue
    }
    const name = keyOf(line)
    const body = old.get(name)
    old.delete(name)
    if (body === bodyOf(line, after)) {
      counts.same += 1
    } else {
      note(body === undefined ? "added" : "changed", name)
    }
  }
  for (const name of old.keys()) {
    note("removed", name)
  }
  return { ...counts, differences }
}

function isCompared({ record }: ExportLine): boolean {
  return record !== "header" && record !== "trailer"
}

function keyOf(line: ExportLine): string {
  const key = line["key"] ?? line["machine"] ?? line["number"] ?? line["id"] ?? `base64:${String(line["key_base64"])}`
  return `${line.record} ${String(key)}`
}

function bodyOf(line: ExportLine, state: StateExport): string {
  const { expires_in_ms: left, ...rest } = line
  return JSON.stringify(typeof left === "number" ? { ...rest, deadline: left + state.header.cluster_ms } : rest)
}
