/**
 * Loaded into an appliance's process with --import, never shipped: finds bytes in its static memory and flips bits of
 * them, as a particle or a weak cell would, behind the back of all code. Wraps the ledger of buffers before main.ts
 * runs; Node has one instance of each module, so that this is the ledger which the process uses. Plane: control.
 */
import { createHash } from "node:crypto"
import { StaticMemory } from "../../appliance/types/static_memory.ts"

/** `buffer` is a name of the table that the machine prints at boot. */
export type MemoryQuestion =
  | { readonly kind: "find"; readonly buffer: string; readonly text: string }
  | { readonly kind: "flip"; readonly buffer: string; readonly byte: number; readonly bit: number }
  | { readonly kind: "digest"; readonly buffer: string }

/** Of `find`: the first byte, or -1; of `digest`: SHA-256 in hex. */
export type MemoryAnswer = { readonly byte: number; readonly digest: string }

const buffers = new Map<string, Uint8Array>()

const allocate = Reflect.get<StaticMemory, "allocate">(StaticMemory.prototype, "allocate")
StaticMemory.prototype.allocate = function (name, bytes) {
  const buffer = allocate.call(this, name, bytes)
  buffers.set(name, buffer)
  return buffer
}

function answer(question: MemoryQuestion): MemoryAnswer {
  const buffer = buffers.get(question.buffer)
  if (buffer === undefined) {
    return { byte: -1, digest: "" }
  }
  switch (question.kind) {
    case "find":
      return { byte: Buffer.from(buffer.buffer).indexOf(question.text), digest: "" }
    case "flip":
      buffer[question.byte] = (buffer[question.byte] ?? 0) ^ (1 << question.bit)
      return { byte: question.byte, digest: "" }
    case "digest":
      return { byte: -1, digest: createHash("sha256").update(buffer).digest("hex") }
    default:
      throw new Error("memory hook: no such question")
  }
}

// Proof: only this repository's tests talk to a process that they started with this module.
process.on("message", (question) => process.send?.(answer(question as MemoryQuestion)))
