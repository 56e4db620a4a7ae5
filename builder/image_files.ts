/**
 * Reads a built image back into memory and proves that it is the one its manifest describes. It imports no tool, so a
 * machine that boots others can carry it. Plane: control.
 */
import { createHash } from "node:crypto"
import { readFile } from "node:fs/promises"
import { join } from "node:path"
import { unreachable } from "../appliance/types/assert.ts"
import { err, ok, type Result } from "../appliance/types/result.ts"
import { BUILDER_LIMITS } from "./limits.ts"
import { type ImageManifest, type ManifestError, type OutputName, parseManifest } from "./manifest.ts"

export type Image = {
  readonly kernel: Buffer
  readonly init: Buffer
  readonly base: Buffer
  readonly manifest: ImageManifest
}

export type ReadImageError =
  | { readonly kind: "image_missing"; readonly path: string }
  | { readonly kind: "image_unreadable"; readonly path: string; readonly detail: string }
  | { readonly kind: "image_too_large"; readonly path: string; readonly bytes_max: number }
  | { readonly kind: "image_changed"; readonly path: string }
  | ManifestError

export function describeReadImageError(error: ReadImageError): string {
  switch (error.kind) {
    case "image_missing":
      return `${error.path} does not exist: run "mandala build"`
    case "image_unreadable":
      return `${error.path} cannot be read: ${error.detail}`
    case "image_too_large":
      return `${error.path} is larger than ${error.bytes_max} bytes and is no image of ours`
    case "image_changed":
      return `${error.path} is not what its manifest says: run "mandala build" again`
    case "manifest_not_json":
      return `the image's manifest is damaged: run "mandala build" again`
    case "manifest_schema":
      return `the image's manifest has schema ${error.found}, unknown to this version: run "mandala build" again`
    case "manifest_field":
      return `the image's manifest has no usable "${error.field}": run "mandala build" again`
    default:
      return unreachable(error)
  }
}

/** The image in `directory`, every byte of it checked against the manifest. */
export async function readImage(directory: string): Promise<Result<Image, ReadImageError>> {
  const text = await readBounded(join(directory, "manifest.json"), BUILDER_LIMITS.manifest_bytes_max)
  if (!text.ok) {
    return text
  }
  const manifest = parseManifest(text.value.toString("utf8"))
  if (!manifest.ok) {
    return manifest
  }
  const kernel = await readOutput(directory, manifest.value, "kernel", BUILDER_LIMITS.kernel_bytes_max)
  if (!kernel.ok) {
    return kernel
  }
  const init = await readOutput(directory, manifest.value, "init.img", BUILDER_LIMITS.init_image_bytes_max)
  if (!init.ok) {
    return init
  }
  const base = await readOutput(directory, manifest.value, "base.img", BUILDER_LIMITS.base_bytes_max)
  if (!base.ok) {
    return base
  }
  return ok({ kernel: kernel.value, init: init.value, base: base.value, manifest: manifest.value })
}

async function readOutput(
  directory: string,
  manifest: ImageManifest,
  name: OutputName,
  bytesMax: number,
): Promise<Result<Buffer, ReadImageError>> {
  const path = join(directory, name)
  const bytes = await readBounded(path, bytesMax)
  if (!bytes.ok) {
    return bytes
  }
  const expected = manifest.outputs.find((output) => output.path === name)
  const found = createHash("sha256").update(bytes.value).digest("hex")
  if (expected === undefined || expected.bytes !== bytes.value.length || expected.sha256 !== found) {
    return err({ kind: "image_changed", path })
  }
  return bytes
}

async function readBounded(path: string, bytesMax: number): Promise<Result<Buffer, ReadImageError>> {
  try {
    const bytes = await readFile(path)
    return bytes.length > bytesMax ? err({ kind: "image_too_large", path, bytes_max: bytesMax }) : ok(bytes)
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : "unknown"
    return code === "ENOENT"
      ? err({ kind: "image_missing", path })
      : err({ kind: "image_unreadable", path, detail: code })
  }
}
