/** What an image is made of and what came out: the schema of `manifest.json`, written and read. Plane: control. */
import { err, ok, type Result } from "../appliance/types/result.ts"

export const MANIFEST_SCHEMA = 2

/** Which kernel: for virtual machines, for any machine by modules, or one of our own that has no block layer. */
export const FLAVOURS = ["stock", "hardware", "diskless"] as const
export type Flavour = (typeof FLAVOURS)[number]

/** `pxe` is three files for a boot server; `uki` has besides one EFI program with all of them in it. */
export const FORMS = ["pxe", "uki"] as const
export type Form = (typeof FORMS)[number]

export const COMPRESSIONS = ["fast", "small"] as const
export type Compression = (typeof COMPRESSIONS)[number]

/** One thing that went in. `sha256` is of the file named in `file`. */
export type ImageInput = {
  readonly kind: "debian_package" | "npm_package" | "source" | "tool" | "bundle"
  readonly name: string
  readonly version: string
  readonly file: string
  readonly sha256: string
}

export type ImageFile = { readonly path: string; readonly bytes: number; readonly sha256: string }

export type ImageManifest = {
  readonly schema: typeof MANIFEST_SCHEMA
  /** Hash of every input: two builds of one key have the same outputs. */
  readonly key: string
  /** Hash of the base archive's files; also in the need-manifest and in the sentinel. */
  readonly image_id: string
  readonly flavour: Flavour
  readonly compression: Compression
  readonly kernel_release: string
  /** MemTotal below which /init halts with both numbers. */
  readonly ram_need_bytes: number
  readonly unpacked_bytes: number
  readonly inputs: readonly ImageInput[]
  /** Inputs that are not the locked ones, as "name: version, not version". */
  readonly unlocked: readonly string[]
  readonly sbom: ImageFile
  /** `kernel`, `init.img` and `base.img`, in this order. */
  readonly outputs: readonly ImageFile[]
  /** `mandala.efi` where the form is `uki`, else none. */
  readonly programs: readonly ImageFile[]
  /** The files of the base archive, in its order. */
  readonly base_files: readonly ImageFile[]
  readonly modules: {
    readonly loadable: readonly string[]
    readonly builtin: readonly string[]
    /** Asked for by images/FLAVOUR/kernel.json, not in this kernel package. */
    readonly absent: readonly string[]
  }
}

export const OUTPUT_NAMES = ["kernel", "init.img", "base.img"] as const
export type OutputName = (typeof OUTPUT_NAMES)[number]

export function encodeManifest(manifest: ImageManifest): string {
  return `${JSON.stringify(manifest, undefined, 2)}\n`
}

export type ManifestError =
  | { readonly kind: "manifest_not_json" }
  | { readonly kind: "manifest_schema"; readonly found: string }
  | { readonly kind: "manifest_field"; readonly field: string }

/** Reads a manifest that anybody may have written: every field is looked at. */
export function parseManifest(text: string): Result<ImageManifest, ManifestError> {
  const value = parseJSON(text)
  if (!isRecord(value)) {
    return err({ kind: "manifest_not_json" })
  }
  if (value["schema"] !== MANIFEST_SCHEMA) {
    return err({ kind: "manifest_schema", found: String(value["schema"]) })
  }
  for (const [field, holds] of Object.entries(FIELDS)) {
    if (!holds(value[field])) {
      return err({ kind: "manifest_field", field })
    }
  }
  // Proof: FIELDS names every field of ImageManifest (its type says so) and each one's check has passed.
  return ok(value as unknown as ImageManifest)
}

type Check = (value: unknown) => boolean

const FIELDS: { readonly [Field in keyof ImageManifest]: Check } = {
  schema: (value) => value === MANIFEST_SCHEMA,
  key: isSHA256,
  image_id: isSHA256,
  flavour: (value) => FLAVOURS.some((flavour) => flavour === value),
  compression: (value) => COMPRESSIONS.some((compression) => compression === value),
  kernel_release: isText,
  ram_need_bytes: isSize,
  unpacked_bytes: isSize,
  inputs: (value) => isArrayOf(value, isInput),
  programs: (value) => isArrayOf(value, isFile),
  unlocked: (value) => isArrayOf(value, isText),
  sbom: isFile,
  outputs: (value) =>
    isArrayOf(value, isFile) &&
    Array.isArray(value) &&
    value.length === OUTPUT_NAMES.length &&
    OUTPUT_NAMES.every((name, index) => isRecord(value[index]) && value[index]["path"] === name),
  base_files: (value) => isArrayOf(value, isFile),
  modules: (value) =>
    isRecord(value) &&
    isArrayOf(value["loadable"], isText) &&
    isArrayOf(value["builtin"], isText) &&
    isArrayOf(value["absent"], isText),
}

function isInput(value: unknown): boolean {
  return (
    isRecord(value) &&
    ["kind", "name", "version", "file"].every((field) => isText(value[field])) &&
    isSHA256(value["sha256"])
  )
}

function isFile(value: unknown): boolean {
  return isRecord(value) && isText(value["path"]) && isSize(value["bytes"]) && isSHA256(value["sha256"])
}

function isText(value: unknown): boolean {
  return typeof value === "string"
}

function isSize(value: unknown): boolean {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0
}

function isSHA256(value: unknown): boolean {
  return typeof value === "string" && /^[0-9a-f]{64}$/.test(value)
}

function isArrayOf(value: unknown, check: Check): boolean {
  return Array.isArray(value) && value.every(check)
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value)
}

function parseJSON(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    // Not JSON: undefined is no record, and the caller says so.
    return undefined
  }
}
