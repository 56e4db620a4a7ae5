/**
 * Keeps package-lock.json whole. `npm install` leaves optional packages for other platforms out of it when the
 * registry (a partial mirror) doesn't have them, and then every `npm ci` refuses the lockfile. Run this file after
 * `npm install`: it adds their entries, without hashes since nobody here ever fetches them: bootstrap.mjs runs on linux
 * x64 only.
 * Plane: control.
 */
import { readFileSync, writeFileSync } from "node:fs"
import { join, resolve } from "node:path"

export type LockEntry = {
  readonly version?: string
  readonly dependencies?: Readonly<Record<string, string>>
  readonly devDependencies?: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
  readonly [field: string]: unknown
}
export type Lockfile = { readonly packages: Readonly<Record<string, LockEntry>>; readonly [field: string]: unknown }

export type MissingPackage = { readonly name: string; readonly version: string }

const PLATFORMS = ["aix", "android", "darwin", "freebsd", "linux", "openharmony", "win32"]
const PROCESSORS = ["arm", "arm64", "ia32", "ppc64", "riscv64", "s390x", "x64"]

/** Optional packages that another entry names and that have no entry of their own. */
export function missingPackages(lockfile: Lockfile): MissingPackage[] {
  const missing: MissingPackage[] = []
  for (const [path, entry] of Object.entries(lockfile.packages)) {
    for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
      const places = [`node_modules/${name}`, `${path}/node_modules/${name}`]
      if (!places.some((place) => place in lockfile.packages)) {
        missing.push({ name, version })
      }
    }
  }
  return missing
}

/** The lockfile with an entry for each missing package; its name tells the platform, as `npm ci` must know it. */
function completed(lockfile: Lockfile): Lockfile {
  const packages: Record<string, LockEntry> = { ...lockfile.packages }
  for (const { name, version } of missingPackages(lockfile)) {
    const words = name.split(/[/-]/)
    const os = words.find((word) => PLATFORMS.includes(word))
    const cpu = words.find((word) => PROCESSORS.includes(word))
    if (os === undefined || cpu === undefined || (os === "linux" && cpu === "x64" && !words.includes("musl"))) {
      throw new Error(`${name} may be needed on linux x64: the registry in use must have it`)
    }
    const libc = words.includes("musl") ? { libc: ["musl"] } : {}
    packages[`node_modules/${name}`] = { version, cpu: [cpu], dev: true, ...libc, optional: true, os: [os] }
  }
  const sorted = Object.entries(packages).sort(([a], [b]) => a.localeCompare(b, "en"))
  return { ...lockfile, packages: Object.fromEntries(sorted) }
}

export function readLockfile(root: string): Lockfile {
  // npm writes this shape since its version 7 (lockfileVersion 2 and up).
  return JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")) as Lockfile
}

if (import.meta.main) {
  const root = resolve(import.meta.dirname, "../..")
  const lockfile = readLockfile(root)
  const count = missingPackages(lockfile).length
  writeFileSync(join(root, "package-lock.json"), `${JSON.stringify(completed(lockfile), undefined, 2)}\n`)
  process.stdout.write(`package-lock.json: ${count} entries added\n`)
}
