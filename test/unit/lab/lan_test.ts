/** What a lab that was killed left behind is found by name and dead process, and nothing else is. Plane: control. */
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { spawnSync } from "node:child_process"
import { afterEach, expect, test } from "vitest"
import { createDirectory, namespaceName, removeLeftovers } from "../../lab/lan.ts"

const made: string[] = []

afterEach(() => {
  for (const path of made.splice(0)) {
    rmSync(path, { recursive: true, force: true })
  }
})

/** A process that has ended and was reaped. */
function deadPid(): number {
  return spawnSync(process.execPath, ["--eval", ""]).pid
}

test("the directory of a dead lab goes, with all in it", async () => {
  const path = join(tmpdir(), `mandala-lab-${deadPid()}-abcdef`)
  made.push(path)
  mkdirSync(path)
  writeFileSync(join(path, "console"), "text")
  expect(await removeLeftovers()).toBeGreaterThanOrEqual(1)
  expect(existsSync(path)).toBe(false)
})

test("the directory of a living lab stays, and so does what only looks similar", async () => {
  const own = createDirectory()
  const other = mkdtempSync(join(tmpdir(), "mandala-labour-"))
  made.push(own, other)
  expect(own).toContain(`${namespaceName(process.pid)}-`)
  await removeLeftovers()
  expect(existsSync(own)).toBe(true)
  expect(existsSync(other)).toBe(true)
})
