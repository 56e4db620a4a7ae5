/** The marker that keeps restarted processes from founding an empty cluster anew. Plane: control. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { expect, test } from "vitest"
import { FormedMarker } from "../../../appliance/orchestration/formed_marker.ts"

const CLUSTER = { cluster_id: "a".repeat(32), generation: 1 }

test("written once, seen by the next process of the boot", () => {
  const directory = mkdtempSync(join(tmpdir(), "mandala-marker-"))
  const first = new FormedMarker(directory)
  expect(first.isWritten).toBe(false)
  expect(new FormedMarker(directory).isWritten).toBe(false)
  expect(first.write(CLUSTER).ok).toBe(true)
  expect(first.write(CLUSTER).ok).toBe(true)
  expect(first.isWritten).toBe(true)
  expect(new FormedMarker(directory).isWritten).toBe(true)
  rmSync(directory, { recursive: true })
})

test("where no supervisor made the directory there is none", () => {
  const marker = new FormedMarker("/nonexistent/mandala")
  expect(marker.write(CLUSTER).ok).toBe(true)
  expect(marker.isWritten).toBe(false)
})

test("a directory that cannot be written to is an error", () => {
  const directory = mkdtempSync(join(tmpdir(), "mandala-marker-"))
  const marker = new FormedMarker(directory)
  rmSync(directory, { recursive: true })
  expect(marker.write(CLUSTER).ok).toBe(false)
})
