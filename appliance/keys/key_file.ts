/**
 * Keys in a file, readable by its owner only, whole or not at all. A machine's lie in its tmpfs and end with its power;
 * an authority's and an operator's are where the operator keeps them. Plane: control.
 */
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, statSync, writeSync } from "node:fs"
import { err, ok, type Result } from "../types/result.ts"
import { KEY_FILE_BYTES_MAX } from "./limits.ts"

export type KeyFileError =
  | { readonly kind: "file_missing"; readonly path: string }
  | { readonly kind: "file_unusable"; readonly path: string; readonly detail: string }
  /** Others than its owner may read or write it. */
  | { readonly kind: "file_mode"; readonly path: string }

export function describeKeyFileError(error: KeyFileError): string {
  switch (error.kind) {
    case "file_missing":
      return `${error.path} does not exist`
    case "file_unusable":
      return `${error.path} cannot be used: ${error.detail}`
    case "file_mode":
      return `${error.path} can be read by others than its owner: chmod 600 it, and think about who has read it`
  }
}

export type Texts = Readonly<Record<string, unknown>>

/** The fields of a file that only its owner may read. */
export function readKeyFile(path: string, bytesMax = KEY_FILE_BYTES_MAX): Result<Texts, KeyFileError> {
  try {
    const { mode, size } = statSync(path)
    if ((mode & 0o077) !== 0) {
      return err({ kind: "file_mode", path })
    }
    if (size > bytesMax) {
      return err({ kind: "file_unusable", path, detail: `it is longer than ${bytesMax} bytes` })
    }
    const value: unknown = JSON.parse(readFileSync(path, "utf8"))
    if (typeof value !== "object" || value === null) {
      return err({ kind: "file_unusable", path, detail: "it is no JSON object" })
    }
    return ok(Object.fromEntries(Object.entries(value)))
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") {
      return err({ kind: "file_missing", path })
    }
    return err({ kind: "file_unusable", path, detail: cause instanceof Error ? cause.message : String(cause) })
  }
}

/** Written beside and renamed: who reads sees the old file or the new one. */
export function writeKeyFile(path: string, texts: Texts): Result<void, KeyFileError> {
  const beside = `${path}.new`
  try {
    const file = openSync(beside, "w", 0o600)
    writeSync(file, `${JSON.stringify(texts)}\n`)
    fsyncSync(file)
    closeSync(file)
    renameSync(beside, path)
    return ok(undefined)
  } catch (cause) {
    return err({ kind: "file_unusable", path, detail: cause instanceof Error ? cause.message : String(cause) })
  }
}
