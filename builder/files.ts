/** The file system as values: one call each, its failure turned into a BuildError at once. Plane: control. */
import { createHash } from "node:crypto"
import { mkdir, readdir, readFile, realpath, rename, rm, stat, statfs, writeFile } from "node:fs/promises"
import { assert } from "../appliance/types/assert.ts"
import { err, ok, type Result } from "../appliance/types/result.ts"
import type { BuildError } from "./errors.ts"

/** The one place where an exception of `node:fs` ends. */
async function attempt<T>(path: string, call: () => Promise<T>): Promise<Result<T, BuildError>> {
  try {
    return ok(await call())
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : "unknown"
    if (code === "ENOSPC" || code === "EDQUOT") {
      return err({ kind: "disk_full", path })
    }
    return err({ kind: "file_failed", path, detail: code })
  }
}

export function readBytes(path: string): Promise<Result<Buffer, BuildError>> {
  return attempt(path, () => readFile(path))
}

export function writeBytes(path: string, bytes: Uint8Array | string, mode = 0o644): Promise<Result<void, BuildError>> {
  return attempt(path, () => writeFile(path, bytes, { mode }))
}

export function makeDirectory(path: string): Promise<Result<void, BuildError>> {
  return attempt(path, async () => {
    await mkdir(path, { recursive: true })
  })
}

export function move(from: string, to: string): Promise<Result<void, BuildError>> {
  return attempt(to, () => rename(from, to))
}

/** A directory and what is in it, or one file; nothing there is no failure. */
export function remove(path: string): Promise<Result<void, BuildError>> {
  return attempt(path, () => rm(path, { recursive: true, force: true }))
}

/** Removes what a failed step left. If even that fails, the next build sweeps it: the step's own error matters more. */
export async function discard(path: string): Promise<void> {
  const removed = await remove(path)
  assert(removed.ok || removed.error.kind !== "interrupted", "files: removing is not interruptible")
}

/** Names in a directory, in an order that does not depend on the file system. */
export async function listNames(path: string): Promise<Result<string[], BuildError>> {
  const names = await attempt(path, () => readdir(path))
  return names.ok ? ok(names.value.sort()) : names
}

/** Paths of all files below a directory, relative to it, sorted. */
export function listFilesBelow(path: string): Promise<Result<string[], BuildError>> {
  return attempt(path, async () => {
    const entries = await readdir(path, { recursive: true, withFileTypes: true })
    return entries
      .filter((entry) => entry.isFile())
      .map((entry) => `${entry.parentPath}/${entry.name}`.slice(path.length + 1))
      .sort()
  })
}

export async function exists(path: string): Promise<boolean> {
  return (await attempt(path, () => stat(path))).ok
}

export function resolvePath(path: string): Promise<Result<string, BuildError>> {
  return attempt(path, () => realpath(path))
}

/** Bytes that an unprivileged user can still write where `path` is. */
export function freeBytes(path: string): Promise<Result<number, BuildError>> {
  return attempt(path, async () => {
    const info = await statfs(path)
    return info.bavail * info.bsize
  })
}

export function sha256(bytes: Uint8Array | string): string {
  return createHash("sha256").update(bytes).digest("hex")
}

/** The first 32 bytes of BLAKE2b-512, as images/base/init/blake2b.c computes them. */
export function blake2b(bytes: Uint8Array): string {
  return createHash("blake2b512").update(bytes).digest("hex").slice(0, 64)
}
