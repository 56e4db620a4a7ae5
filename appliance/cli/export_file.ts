/** Exports as files: written beside and linked when they are whole, read as a stream. Plane: control. */
import { createHash } from "node:crypto"
import { closeSync, createReadStream, existsSync, fsyncSync, linkSync, openSync, unlinkSync, writeSync } from "node:fs"
import { FILE_CHUNK_BYTES } from "../archive/limits.ts"
import { err, ok, type Result } from "../types/result.ts"
import type { APIError } from "./api_client.ts"

export type Written = { readonly bytes: number; readonly sha256: string }

/** What takes the bytes of an export: a file, or standard output for "-". Nothing is left of what was not whole. */
export async function writeExportFile(
  path: string,
  pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): Promise<Result<Written, APIError>> {
  const checksum = createHash("sha256")
  let bytes = 0
  if (path === "-") {
    for await (const piece of pieces) {
      checksum.update(piece)
      bytes += piece.length
      if (!process.stdout.write(piece)) {
        await new Promise((resolve) => process.stdout.once("drain", resolve))
      }
    }
    return ok({ bytes, sha256: checksum.digest("hex") })
  }
  if (existsSync(path)) {
    return err({ kind: "failed", text: `${path} exists already: choose another name` })
  }
  const temporary = `${path}.${process.pid}.partial`
  let file: number | undefined
  try {
    file = openSync(temporary, "wx", 0o600)
    for await (const piece of pieces) {
      checksum.update(piece)
      bytes += piece.length
      for (let at = 0; at < piece.length; ) {
        at += writeSync(file, piece, at)
      }
    }
    fsyncSync(file)
    closeSync(file)
    file = undefined
    // Unlike a rename, this fails where somebody made a file of that name meanwhile.
    linkSync(temporary, path)
    return ok({ bytes, sha256: checksum.digest("hex") })
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    return err({ kind: "failed", text: `${path} cannot be written: ${reason}` })
  } finally {
    removeQuietly(temporary, file)
  }
}

function removeQuietly(path: string, file: number | undefined): void {
  try {
    if (file !== undefined) {
      closeSync(file)
    }
    unlinkSync(path)
  } catch {
    // It was never made, or its disk is gone: the reason has been said.
  }
}

/** The bytes of a file; an error of reading is thrown while it is read, as of any stream. */
export function readExportFile(path: string): AsyncIterable<Uint8Array> {
  return createReadStream(path, { highWaterMark: FILE_CHUNK_BYTES })
}
