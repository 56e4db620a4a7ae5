/** The commands that every load consists of: SET of one of many keys, 64 bytes in a batch. Plane: control. */
import { COMMAND_HEADER_BYTES, CommandCode } from "../../appliance/state_machine/command.ts"
import { PRNG } from "../../appliance/types/prng.ts"
import { BODIES_BYTES, BODIES_MAX, KEY_BYTES, KEYS, VALUE_BYTES } from "./limits.ts"

const COMMAND_BYTES = COMMAND_HEADER_BYTES + KEY_BYTES + VALUE_BYTES

/** Many different binary batches of `commands` each, so that none is in the cache when its turn comes again. */
export function makeBodies(commands: number): Uint8Array[] {
  const random = new PRNG(commands)
  return Array.from({ length: countOf(commands * COMMAND_BYTES) }, () => {
    const body = Buffer.alloc(commands * COMMAND_BYTES)
    for (let command = 0; command < commands; command += 1) {
      const at = command * COMMAND_BYTES
      body.writeUInt8(CommandCode.set, at)
      body.writeUInt16LE(KEY_BYTES, at + 2)
      body.writeUInt32LE(VALUE_BYTES, at + 4)
      body.write(keyOf(random), at + COMMAND_HEADER_BYTES, "latin1")
      body.fill("v", at + COMMAND_HEADER_BYTES + KEY_BYTES, at + COMMAND_BYTES)
    }
    return body
  })
}

/** The same for a Redis client: pipelines of `commands` each. */
export function makePipelines(commands: number): Buffer[] {
  const random = new PRNG(commands)
  const value = "v".repeat(VALUE_BYTES)
  const sample = set(keyOf(random), value).length * commands
  return Array.from({ length: countOf(sample) }, () =>
    Buffer.from(Array.from({ length: commands }, () => set(keyOf(random), value)).join(""), "latin1"),
  )
}

function set(key: string, value: string): string {
  return `*3\r\n$3\r\nSET\r\n$${key.length}\r\n${key}\r\n$${value.length}\r\n${value}\r\n`
}

function keyOf(random: PRNG): string {
  return `key:${random
    .below(KEYS)
    .toString()
    .padStart(KEY_BYTES - 4, "0")}`
}

function countOf(bytes: number): number {
  return Math.max(1, Math.min(BODIES_MAX, Math.floor(BODIES_BYTES / bytes)))
}
