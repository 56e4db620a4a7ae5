/** Each way in which a build can fail is one line that says what to do. Plane: control. */
import { expect, test } from "vitest"
import { type BuildError, describeBuildError } from "../../../builder/errors.ts"

/** One of each kind; the type refuses a table that lacks one. */
const ERRORS: { readonly [Kind in BuildError["kind"]]: Extract<BuildError, { kind: Kind }> } = {
  package_unavailable: { kind: "package_unavailable", package: "linux-image-amd64" },
  apt_refused: { kind: "apt_refused", package: "linux-image-6", detail: "E: Failed to fetch" },
  tool_missing: { kind: "tool_missing", tool: "musl-gcc" },
  tool_failed: { kind: "tool_failed", tool: "strip", detail: "file format not recognized" },
  disk_full: { kind: "disk_full", path: "build" },
  file_failed: { kind: "file_failed", path: "build/image", detail: "EACCES" },
  hash_changed: { kind: "hash_changed", name: "linux-image-6", expected: "aa", found: "bb" },
  input_missing: { kind: "input_missing", path: "node", advice: 'run "npm ci"' },
  input_invalid: { kind: "input_invalid", path: "kernel.json", detail: "not a JSON object" },
  library_missing: { kind: "library_missing", library: "libc.so.6" },
  module_missing: { kind: "module_missing", module: "e1000", package: "linux-image-6" },
  bundle_failed: { kind: "bundle_failed", detail: "Could not resolve" },
  limit_exceeded: { kind: "limit_exceeded", limit: "modules_max", maximum: 64, found: 65 },
  lock_differs: { kind: "lock_differs", name: "libc6", locked: "2.36-9", found: "2.36-10" },
  interrupted: { kind: "interrupted" },
}

test.each(Object.values(ERRORS))("$kind", (error) => {
  const line = describeBuildError(error)
  expect(line).not.toMatch(/\n|undefined|\[object/)
  expect(line.length).toBeGreaterThan(20)
  for (const value of Object.values(error).filter((field) => field !== error.kind)) {
    expect(line).toContain(String(value))
  }
})

test("a missing tool names the package that brings it", () => {
  expect(describeBuildError(ERRORS.tool_missing)).toContain("apt-get install musl-tools")
})
