/** Asks apt and dpkg what a package is, and takes a package's files without installing it. Plane: control. */
import { assert } from "../appliance/types/assert.ts"
import { err, ok, type Result } from "../appliance/types/result.ts"
import type { BuildError } from "./errors.ts"
import { listNames, makeDirectory, move, readBytes, remove, sha256 } from "./files.ts"
import { lastLine, type RunOptions, run, runAny } from "./shell.ts"

export type DebianPackage = {
  readonly name: string
  readonly version: string
  /** Of the package's archive, as apt's signed lists promise it. */
  readonly sha256: string
  readonly depends: readonly string[]
}

/** The version asked for, else the one that apt would install now; undefined when apt knows no such package. */
export async function showPackage(
  name: string,
  options: RunOptions,
  version?: string,
): Promise<Result<DebianPackage | undefined, BuildError>> {
  const shown = await runAny(
    "apt-cache",
    ["show", "--no-all-versions", version === undefined ? name : `${name}=${version}`],
    options,
  )
  if (!shown.ok) {
    return shown
  }
  if (shown.value.exitCode !== 0) {
    return ok(undefined)
  }
  return ok(parseStanza(shown.value.stdout, name))
}

/** Reads the first stanza of `apt-cache show`; undefined when it is not the package asked for, or lacks a field. */
export function parseStanza(text: string, name: string): DebianPackage | undefined {
  const fields = new Map<string, string>()
  for (const line of (text.split("\n\n")[0] ?? "").split("\n")) {
    const match = /^([A-Za-z0-9-]+): (.*)$/.exec(line)
    if (match?.[1] !== undefined && match[2] !== undefined) {
      fields.set(match[1], match[2])
    }
  }
  const version = fields.get("Version")
  const hash = fields.get("SHA256")
  if (fields.get("Package") !== name || version === undefined || hash === undefined || !/^[0-9a-f]{64}$/.test(hash)) {
    return undefined
  }
  const depends = (fields.get("Depends") ?? "")
    .split(/[,|]/)
    .map((dependency) => dependency.trim().split(" ")[0] ?? "")
    .filter((dependency) => dependency !== "")
  return { name, version, sha256: hash, depends }
}

/** Path of the package's archive in `cache`, fetched if it is not there, its hash compared either way. */
export async function fetchPackage(
  wanted: DebianPackage,
  cache: string,
  options: RunOptions,
): Promise<Result<string, BuildError>> {
  const path = `${cache}/${wanted.sha256}.deb`
  const cached = await readBytes(path)
  if (cached.ok && sha256(cached.value) === wanted.sha256) {
    return ok(path)
  }
  const partial = `${cache}/fetch.partial-${process.pid}`
  const made = await makeDirectory(partial)
  if (!made.ok) {
    return made
  }
  const fetched = await fetchInto(wanted, partial, path, options)
  const removed = await remove(partial)
  return fetched.ok && !removed.ok ? removed : fetched
}

async function fetchInto(
  wanted: DebianPackage,
  directory: string,
  path: string,
  options: RunOptions,
): Promise<Result<string, BuildError>> {
  // As root apt would hand the download to a user that cannot write here, and say so in a warning.
  const sandbox = process.getuid?.() === 0 ? ["-o", "APT::Sandbox::User=root"] : []
  const parameters = ["-q", ...sandbox, "download", `${wanted.name}=${wanted.version}`]
  const finished = await runAny("apt-get", parameters, { ...options, directory })
  if (!finished.ok) {
    return finished
  }
  if (finished.value.exitCode !== 0) {
    const detail = lastLine(finished.value.stderr) || `exit code ${finished.value.exitCode}`
    return detail.includes("No space left")
      ? err({ kind: "disk_full", path: directory })
      : err({ kind: "apt_refused", package: wanted.name, detail })
  }
  const names = await listNames(directory)
  if (!names.ok) {
    return names
  }
  const name = names.value.find((candidate) => candidate.endsWith(".deb"))
  if (name === undefined) {
    return err({ kind: "apt_refused", package: wanted.name, detail: "no archive was written" })
  }
  const bytes = await readBytes(`${directory}/${name}`)
  if (!bytes.ok) {
    return bytes
  }
  const found = sha256(bytes.value)
  if (found !== wanted.sha256) {
    return err({ kind: "hash_changed", name: `${wanted.name} ${wanted.version}`, expected: wanted.sha256, found })
  }
  const moved = await move(`${directory}/${name}`, path)
  return moved.ok ? ok(path) : moved
}

/** Unpacks an archive's files; its scripts are not run and nothing is registered with dpkg. */
export async function unpackPackage(
  archive: string,
  directory: string,
  options: RunOptions,
): Promise<Result<void, BuildError>> {
  const unpacked = await run("dpkg-deb", ["-x", archive, directory], options)
  return unpacked.ok ? ok(undefined) : unpacked
}

export type Owner = { readonly name: string; readonly version: string }

/** The installed package that owns one of `paths` (aliases of one file: /lib is /usr/lib on a merged system). */
export async function ownerOf(
  paths: readonly string[],
  options: RunOptions,
): Promise<Result<Owner | undefined, BuildError>> {
  assert(paths.length > 0, "debian: a file has at least one path")
  const searched = await runAny("dpkg-query", ["-S", ...paths], options)
  if (!searched.ok) {
    return searched
  }
  const name = /^([a-z0-9][a-z0-9+.-]+)(:[a-z0-9]+)?: \//m.exec(searched.value.stdout)
  if (name?.[1] === undefined) {
    return ok(undefined)
  }
  const version = await run("dpkg-query", ["-W", "-f", "$" + "{Version}", `${name[1]}${name[2] ?? ""}`], options)
  return version.ok ? ok({ name: name[1], version: version.value.trim() }) : version
}
