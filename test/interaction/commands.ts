/** The few commands that a script's clients send, in the binary form of state_machine/command.ts. Plane: control. */
import { COMMAND_HEADER_BYTES, CommandCode, ResultKind } from "../../appliance/state_machine/command.ts"

export type Command =
  | { readonly kind: "set"; readonly key: string; readonly value: string }
  | { readonly kind: "incr"; readonly key: string }
  | { readonly kind: "get"; readonly key: string }

export function commandText(command: Command): string {
  return command.kind === "set" ? `${command.key}=${command.value}` : `${command.kind} ${command.key}`
}

export function encodeCommand(command: Command): Uint8Array {
  switch (command.kind) {
    case "set":
      return encode({ code: CommandCode.set, argument: 0 }, command.key, command.value)
    case "incr":
      return encode({ code: CommandCode.incr_by, argument: 1 }, command.key, "")
    case "get":
      return encode({ code: CommandCode.get, argument: 0 }, command.key, "")
    default:
      throw new Error("unknown command")
  }
}

/** A reply of one result: what a `get` or an `incr` answers, "ok" of a `set`, "" for a key that is absent. */
export function decodeResult(reply: Uint8Array): string {
  const view = new DataView(reply.buffer, reply.byteOffset, reply.byteLength)
  switch (reply[0]) {
    case ResultKind.ok:
      return "ok"
    case ResultKind.integer:
      return String(view.getBigInt64(1, true))
    case ResultKind.bytes:
      return new TextDecoder().decode(reply.subarray(5))
    case ResultKind.nil:
      return ""
    default:
      return "error"
  }
}

function encode(head: { readonly code: number; readonly argument: number }, key: string, value: string): Uint8Array {
  const bytes = new Uint8Array(COMMAND_HEADER_BYTES + key.length + value.length)
  const view = new DataView(bytes.buffer)
  view.setUint8(0, head.code)
  view.setUint16(2, key.length, true)
  view.setUint32(4, value.length, true)
  view.setBigInt64(8, BigInt(head.argument), true)
  new TextEncoder().encodeInto(key + value, bytes.subarray(COMMAND_HEADER_BYTES))
  return bytes
}
