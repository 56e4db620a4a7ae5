/**
 * A small RESP2 client with one command under way: what a test of outcomes needs to know exactly is whether a command
 * was sent, and whether its answer came. Plane: control.
 */
import { connect, type Socket } from "node:net"
import { ANSWER_BYTES_MAX } from "./limits.ts"

export type RespValue = { readonly kind: "text" | "error"; readonly text: string } | { readonly kind: "nil" }

export type CommandOutcome =
  | { readonly kind: "answered"; readonly value: RespValue }
  /** It was given to the socket, and no answer came. */
  | { readonly kind: "unanswered"; readonly why: "closed" | "late" | "unreadable" }

type Waiting = { readonly finish: (outcome: CommandOutcome) => void }

export class RespClient {
  readonly #socket: Socket
  #received: Buffer = Buffer.alloc(0)
  #waiting: Waiting | undefined
  #isClosed = false

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.setNoDelay(true)
    socket.on("data", (chunk: Buffer) => this.#onData(chunk))
    socket.on("close", () => {
      this.#isClosed = true
      this.#finish({ kind: "unanswered", why: "closed" })
    })
  }

  /** Undefined when nobody accepts within the time. */
  static connect(port: number, withinMs: number): Promise<RespClient | undefined> {
    return new Promise((resolve) => {
      const socket = connect({ host: "127.0.0.1", port })
      const timer = setTimeout(() => socket.destroy(), withinMs)
      // An error is followed by "close".
      socket.on("error", () => undefined)
      const onClose = (): void => {
        clearTimeout(timer)
        resolve(undefined)
      }
      socket.once("close", onClose)
      socket.once("connect", () => {
        clearTimeout(timer)
        socket.removeListener("close", onClose)
        resolve(new RespClient(socket))
      })
    })
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  close(): void {
    this.#isClosed = true
    this.#socket.destroy()
  }

  /** One at a time. */
  command(words: readonly string[], withinMs: number): Promise<CommandOutcome> {
    if (this.#isClosed) {
      return Promise.resolve({ kind: "unanswered", why: "closed" })
    }
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#finish({ kind: "unanswered", why: "late" })
        // The answer may still come, to nobody: this connection is of no more use.
        this.close()
      }, withinMs)
      this.#waiting = {
        finish: (outcome) => {
          clearTimeout(timer)
          resolve(outcome)
        },
      }
      this.#socket.write(encode(words))
    })
  }

  #finish(outcome: CommandOutcome): void {
    const waiting = this.#waiting
    this.#waiting = undefined
    waiting?.finish(outcome)
  }

  #onData(chunk: Buffer): void {
    this.#received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk])
    const value = decode(this.#received)
    if (value === "unreadable" || (value === "more" && this.#received.length > ANSWER_BYTES_MAX)) {
      this.#finish({ kind: "unanswered", why: "unreadable" })
      this.close()
    } else if (value !== "more") {
      this.#received = Buffer.alloc(0)
      this.#finish({ kind: "answered", value })
    }
  }
}

function encode(words: readonly string[]): string {
  const parts = words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`)
  return `*${words.length}\r\n${parts.join("")}`
}

/** The one value that the bytes are, exactly: with one command under way nothing may follow it. */
export function decode(bytes: Buffer): RespValue | "more" | "unreadable" {
  const lineEnd = bytes.indexOf("\r\n")
  if (lineEnd < 0) {
    return "more"
  }
  const line = bytes.toString("utf8", 1, lineEnd)
  const rest = bytes.length - (lineEnd + 2)
  switch (bytes[0]) {
    case 0x2b: // +
    case 0x3a: // :
      return rest === 0 ? { kind: "text", text: line } : "unreadable"
    case 0x2d: // -
      return rest === 0 ? { kind: "error", text: line } : "unreadable"
    case 0x24: // $
      return decodeBulk(bytes, { line, start: lineEnd + 2, rest })
    default:
      return "unreadable"
  }
}

function decodeBulk(
  bytes: Buffer,
  bulk: { readonly line: string; readonly start: number; readonly rest: number },
): RespValue | "more" | "unreadable" {
  const { line, start, rest } = bulk
  if (line === "-1") {
    return rest === 0 ? { kind: "nil" } : "unreadable"
  }
  const length = Number(line)
  if (!Number.isInteger(length) || length < 0 || length > ANSWER_BYTES_MAX || rest > length + 2) {
    return "unreadable"
  }
  return rest < length + 2 ? "more" : { kind: "text", text: bytes.toString("utf8", start, start + length) }
}
