/**
 * `images/lock.json`: the versions and hashes of all that an image takes from elsewhere, by flavour. A build takes what
 * is locked where that can be had, and says aloud where it cannot. Plane: control.
 */
import { err, ok, type Result } from "../appliance/types/result.ts"
import type { BuildError } from "./errors.ts"
import { discard, exists, move, readBytes, writeBytes } from "./files.ts"
import { BUILDER_LIMITS } from "./limits.ts"
import { FLAVOURS, type Flavour, type ImageInput } from "./manifest.ts"
import { STUB_PACKAGE } from "./uki.ts"

/** What a build may do about the lock: prefer it and go on without, refuse anything else, or move it. */
export type LockMode = "prefer" | "frozen" | "update"

export type LockedInput = Pick<ImageInput, "kind" | "name" | "version" | "file" | "sha256">
export type Lock = ReadonlyMap<Flavour, readonly LockedInput[]>

const LOCK_PATH = "images/lock.json"
const LOCK_SCHEMA = 1
const KINDS = ["debian_package", "npm_package", "tool"] as const
const FIELDS = ["kind", "name", "version", "file", "sha256"] as const

/** Those inputs that do not come from this repository. */
export function lockable(inputs: readonly ImageInput[]): LockedInput[] {
  return inputs
    .filter((input) => KINDS.some((kind) => kind === input.kind))
    .map(({ kind, name, version, file, sha256 }) => ({ kind, name, version, file, sha256 }))
}

/** An empty lock where there is no file. */
export async function readLock(root: string): Promise<Result<Lock, BuildError>> {
  const path = `${root}/${LOCK_PATH}`
  if (!(await exists(path))) {
    return ok(new Map())
  }
  const bytes = await readBytes(path)
  return bytes.ok ? parseLock(bytes.value.toString("utf8"), path) : bytes
}

export function parseLock(text: string, path: string): Result<Lock, BuildError> {
  const value = parseJSON(text)
  if (!isRecord(value) || value["schema"] !== LOCK_SCHEMA || !isRecord(value["flavours"])) {
    return err({ kind: "input_invalid", path, detail: `not a lock of schema ${LOCK_SCHEMA}` })
  }
  const lock = new Map<Flavour, readonly LockedInput[]>()
  for (const flavour of FLAVOURS) {
    const list: unknown = value["flavours"][flavour] ?? []
    if (!Array.isArray(list) || list.length > BUILDER_LIMITS.lock_inputs_max || !list.every(isLocked)) {
      return err({ kind: "input_invalid", path, detail: `${flavour} is no list of inputs with their hashes` })
    }
    lock.set(flavour, list)
  }
  return ok(lock)
}

function isLocked(value: unknown): value is LockedInput {
  return (
    isRecord(value) &&
    FIELDS.every((field) => typeof value[field] === "string") &&
    KINDS.some((kind) => kind === value["kind"]) &&
    /^[0-9a-f]{64}$/.test(String(value["sha256"]))
  )
}

export function encodeLock(lock: Lock): string {
  const flavours = Object.fromEntries(FLAVOURS.map((flavour) => [flavour, lock.get(flavour) ?? []]))
  return `${JSON.stringify({ schema: LOCK_SCHEMA, flavours }, undefined, 2)}\n`
}

/** Written beside, then renamed: an interrupted update leaves the lock that was there. */
export async function updateLock(
  root: string,
  flavour: Flavour,
  inputs: readonly ImageInput[],
): Promise<Result<void, BuildError>> {
  const lock = await readLock(root)
  if (!lock.ok) {
    return lock
  }
  const moving = lockable(inputs)
  // The form `pxe` takes no stub, and does not unlock it.
  const stub = moving.some(isStub) ? [] : (lock.value.get(flavour) ?? []).filter(isStub)
  const path = `${root}/${LOCK_PATH}`
  const partial = `${path}.partial-${process.pid}`
  const written = await writeBytes(partial, encodeLock(new Map([...lock.value, [flavour, [...moving, ...stub]]])))
  const moved = written.ok ? await move(partial, path) : written
  if (!moved.ok) {
    await discard(partial)
  }
  return moved
}

export type LockDifference = { readonly name: string; readonly locked: string; readonly found: string }

/** In the order of the names; nothing when the inputs are exactly those that are locked. */
export function compareWithLock(locked: readonly LockedInput[], inputs: readonly ImageInput[]): LockDifference[] {
  const before = describeAll(locked)
  const now = describeAll(lockable(inputs))
  const names = [...new Set([...before.keys(), ...now.keys()])].sort()
  return names
    .map((name) => ({ name, locked: before.get(name) ?? "nothing", found: now.get(name) ?? "nothing" }))
    .filter((difference) => difference.locked !== difference.found)
}

/** One package may bring several files. */
function nameOf(input: LockedInput): string {
  return `${input.name} (${input.file})`
}

function isStub(input: LockedInput): boolean {
  return input.name === STUB_PACKAGE
}

function describeAll(inputs: readonly LockedInput[]): Map<string, string> {
  return new Map(inputs.map((one) => [nameOf(one), `${one.version} ${one.sha256.slice(0, 12)}`]))
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
