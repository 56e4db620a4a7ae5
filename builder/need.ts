/**
 * The need-manifest: the lines by which /init judges whether a machine got the whole image and has the memory for it.
 * It travels in the first archive, so it says nothing that the first archive's bytes depend on. Plane: control.
 */
import { assert } from "../appliance/types/assert.ts"
import { err, ok, type Result } from "../appliance/types/result.ts"
import type { BuildError } from "./errors.ts"
import { BUILDER_LIMITS } from "./limits.ts"

/** `hash` is the first half of BLAKE2b-512: /init computes it of 120 MB on processors that have no help for SHA. */
export type NeededFile = { readonly path: string; readonly bytes: number; readonly hash: string }

export type Need = {
  readonly ramNeedBytes: number
  /** Names the base archive's content; the sentinel, its last file, repeats it. */
  readonly imageID: string
  readonly sentinel: string
  readonly files: readonly NeededFile[]
}

const FIRST_LINE = "mandala-need 2"

export function encodeNeed(need: Need): Result<string, BuildError> {
  assert(/^[0-9a-f]{64}$/.test(need.imageID), "need: an image id is a SHA-256")
  if (need.files.length > BUILDER_LIMITS.need_files_max) {
    return limitExceeded("need_files_max", BUILDER_LIMITS.need_files_max, need.files.length)
  }
  assert(
    need.files.every((file) => isHash(file.hash)),
    "need: each file has its hash",
  )
  for (const { path } of [...need.files, { path: need.sentinel }]) {
    // /init reads words between spaces.
    assert(/^[\x21-\x7e]+$/.test(path), "need: a path has no space and is ASCII")
    if (path.length > BUILDER_LIMITS.need_path_bytes_max) {
      return limitExceeded("need_path_bytes_max", BUILDER_LIMITS.need_path_bytes_max, path.length)
    }
  }
  const lines = [
    FIRST_LINE,
    `ram_need_bytes ${need.ramNeedBytes}`,
    `image_id ${need.imageID}`,
    ...need.files.map((file) => `file ${file.bytes} ${file.hash} ${file.path}`),
    `sentinel ${need.sentinel}`,
  ]
  const text = `${lines.join("\n")}\n`
  if (text.length > BUILDER_LIMITS.need_bytes_max) {
    return limitExceeded("need_bytes_max", BUILDER_LIMITS.need_bytes_max, text.length)
  }
  assert(parseNeed(text).ok, "need: what was written can be read")
  return ok(text)
}

export type NeedError = { readonly kind: "need_invalid"; readonly line: string }

/** Reads the lines as /init does. The builder checks its own writing with it. */
export function parseNeed(text: string): Result<Need, NeedError> {
  const lines = text.split("\n").filter((line) => line !== "")
  if (lines[0] !== FIRST_LINE) {
    return err({ kind: "need_invalid", line: lines[0] ?? "" })
  }
  let ramNeedBytes = 0
  let imageID = ""
  let sentinel = ""
  const files: NeededFile[] = []
  for (const line of lines.slice(1)) {
    const [word = "", first = "", second = "", third = "", ...more] = line.split(" ")
    const number = /^[0-9]{1,15}$/.test(first) ? Number(first) : -1
    if (word === "ram_need_bytes" && number > 0 && second === "") {
      ramNeedBytes = number
    } else if (word === "image_id" && /^[0-9a-f]{64}$/.test(first) && second === "") {
      imageID = first
    } else if (word === "sentinel" && first !== "" && second === "") {
      sentinel = first
    } else if (word === "file" && number >= 0 && isHash(second) && third !== "" && more.length === 0) {
      files.push({ path: third, bytes: number, hash: second })
    } else {
      return err({ kind: "need_invalid", line })
    }
  }
  if (ramNeedBytes === 0 || imageID === "" || sentinel === "" || files.length === 0) {
    return err({ kind: "need_invalid", line: "a line is missing" })
  }
  return ok({ ramNeedBytes, imageID, sentinel, files })
}

function isHash(text: string): boolean {
  return /^[0-9a-f]{64}$/.test(text)
}

function limitExceeded(limit: string, maximum: number, found: number): Result<never, BuildError> {
  return err({ kind: "limit_exceeded", limit, maximum, found })
}
