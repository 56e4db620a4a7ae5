/** Where files are, what they are called, what no line of them may hold. Plane: control. */
import { spawnSync } from "node:child_process"
import { expect, test } from "vitest"
import { PHASES } from "../runner/phases.ts"
import { checkColumns, checkName, checkText, isSource, isText, readText, TOP_FOLDERS, TOP_LEVEL } from "./files.ts"
import { missingPackages, readLockfile } from "./lockfile.ts"
import { describe, ROOT, repositoryFiles } from "./source.ts"

const files = repositoryFiles()

test("the top level holds what it should and nothing else", () => {
  const found = new Set(files.map((path) => path.split("/", 1).join()))
  expect([...found].sort()).toEqual([...TOP_LEVEL].sort())
})

test.each(TOP_FOLDERS)("%s/ says what it is for", (folder) => {
  expect(files).toContain(`${folder}/README.md`)
})

test("files are named alike", () => {
  expect(describe(files.flatMap(checkName))).toEqual([])
})

const NAME_BAITS = [
  "appliance/types/staticMemory.ts",
  "appliance/Types/ring.ts",
  "pxe/dhcp-packet.ts",
  "test/unit/ring.test.ts",
  "appliance/types/ring_test.ts",
  "appliance/types/utils.ts",
  "appliance/types/index.ts",
]

test.each(NAME_BAITS)("the bait is caught: %s", (path) => {
  expect(checkName(path)).toHaveLength(1)
})

test("no line of source is too long", () => {
  const sources = files.filter(isSource)
  expect(sources.length).toBeGreaterThan(0)
  expect(describe(sources.flatMap((path) => checkColumns(path, readText(path))))).toEqual([])
  expect(checkColumns("builder/bait.ts", `${"x".repeat(120)}\n${"x".repeat(121)}\n`)).toHaveLength(1)
})

test("no line is unfinished, or tied to one machine or registry", () => {
  const texts = files.filter(isText)
  expect(texts.length).toBeGreaterThan(0)
  expect(describe(texts.flatMap((path) => checkText(path, readText(path))))).toEqual([])
})

const registry = ["registry", "npmjs", "org"].join(".")
const TEXT_BAITS = [
  `// ${"TO"}${"DO"}: later`,
  `// ${"FIX"}${"ME"}`,
  `const url = "https://${registry}/zx"`,
  `const url = "http://${["deb", "debian", "org"].join(".")}/debian"`,
  `const path = "/${"home"}/somebody/x"`,
]

test.each(TEXT_BAITS)("the bait is caught: %s", (line) => {
  expect(checkText("builder/bait.ts", `const x = 1\n${line}\n`)).toHaveLength(1)
})

test("an address in the lockfile is caught", () => {
  const line = `      "${"resolved"}": "https://mirror.example/zx-1.0.0.tgz",`
  expect(checkText("package-lock.json", line)).toHaveLength(1)
})

test("no file names the registry that this machine uses", () => {
  const config = spawnSync("npm", ["config", "get", "registry"], { cwd: ROOT, encoding: "utf8" })
  const { hostname } = new URL(config.stdout.trim())
  const isLocal = hostname === "localhost" || /^[\d.]+$/.test(hostname)
  const pattern = isLocal ? new RegExp(registry) : new RegExp(hostname.replaceAll(".", "\\."), "i")
  const forbidden = [{ what: "this machine's registry", pattern }]
  expect(describe(files.filter(isText).flatMap((path) => checkText(path, readText(path), forbidden)))).toEqual([])
})

test("the lockfile is whole, so that npm ci accepts it with any registry; if not, run test/tidy/lockfile.ts", () => {
  const lockfile = readLockfile(ROOT)
  expect(missingPackages(lockfile)).toEqual([])
  const { "node_modules/lightningcss-darwin-arm64": removed, ...packages } = lockfile.packages
  expect(removed).toBeDefined()
  expect(missingPackages({ ...lockfile, packages }).map(({ name }) => name)).toEqual(["lightningcss-darwin-arm64"])
})

test("every version is exact", () => {
  const { dependencies, devDependencies, optionalDependencies } = readLockfile(ROOT).packages[""] ?? {}
  const versions = Object.values({ ...dependencies, ...devDependencies, ...optionalDependencies })
  expect(versions.length).toBeGreaterThan(0)
  expect(versions.filter((version) => !/^\d+\.\d+\.\d+$/.test(String(version)))).toEqual([])
})

test("every test is in a folder that a phase runs", () => {
  const folders = PHASES.flatMap((phase) => phase.args("")).filter((arg) => /^test\/\w+\/$/.test(arg))
  const tests = files.filter((path) => path.endsWith("_test.ts"))
  expect(tests.length).toBeGreaterThan(0)
  expect(tests.filter((path) => !folders.some((folder) => path.startsWith(folder)))).toEqual([])
})
