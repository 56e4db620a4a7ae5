/** Debian's redis-server on a free port of loopback, and its replies byte by byte. Plane: control. */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, rmSync } from "node:fs"
import { connect, createServer, type Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { assert } from "../../../appliance/types/assert.ts"

const START_TRIES_MAX = 200
const START_PAUSE_MS = 25

export class RedisPeer {
  readonly #child: ChildProcess
  readonly #folder: string
  readonly #socket: Socket
  #received = Buffer.alloc(0)
  #wake: () => void = () => undefined

  private constructor(child: ChildProcess, folder: string, socket: Socket) {
    this.#child = child
    this.#folder = folder
    this.#socket = socket
    socket.on("data", (bytes: Buffer) => {
      this.#received = Buffer.concat([this.#received, bytes])
      this.#wake()
    })
  }

  static async start(): Promise<RedisPeer> {
    const folder = mkdtempSync(join(tmpdir(), "mandala-redis-"))
    const port = await freePort()
    const args = ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder]
    const child = spawn("redis-server", args, { stdio: "ignore" })
    for (let attempt = 0; attempt < START_TRIES_MAX; attempt += 1) {
      const socket = connect(port, "127.0.0.1")
      const isConnected = await Promise.race([
        once(socket, "connect").then(
          () => true,
          () => false,
        ),
        sleep(1_000, false),
      ])
      if (isConnected) {
        return new RedisPeer(child, folder, socket)
      }
      socket.destroy()
      await sleep(START_PAUSE_MS)
    }
    child.kill("SIGKILL")
    throw new Error("redis-server did not start")
  }

  async stop(): Promise<void> {
    this.#socket.destroy()
    const ended = once(this.#child, "exit")
    this.#child.kill("SIGKILL")
    await ended
    rmSync(this.#folder, { recursive: true, force: true })
  }

  /** Sends encoded commands and waits for as many replies. */
  async ask(commands: Buffer, count: number): Promise<string[]> {
    this.#socket.write(commands)
    const replies: string[] = []
    while (replies.length < count) {
      const end = replyEnd(this.#received, 0)
      if (end > 0) {
        replies.push(this.#received.toString("latin1", 0, end))
        this.#received = this.#received.subarray(end)
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
      }
    }
    assert(this.#received.length === 0, "test: Redis answers each command once")
    return replies
  }
}

/** The replies in `text`, one behind the other. */
export function splitReplies(text: string): string[] {
  const bytes = Buffer.from(text, "latin1")
  const replies: string[] = []
  for (let at = 0; at < bytes.length; ) {
    const end = replyEnd(bytes, at)
    assert(end > at, "test: a stream of whole replies")
    replies.push(bytes.toString("latin1", at, end))
    at = end
  }
  return replies
}

/** Where the reply at `at` ends, or -1 when it is not whole yet. */
function replyEnd(bytes: Buffer, at: number): number {
  const lineEnd = bytes.indexOf("\r\n", at)
  if (lineEnd < 0) {
    return -1
  }
  const type = bytes.toString("latin1", at, at + 1)
  const count = Number(bytes.toString("latin1", at + 1, lineEnd))
  let end = lineEnd + 2
  if (type === "$" && count >= 0) {
    end += count + 2
  }
  const parts = type === "*" || type === "~" ? count : type === "%" ? 2 * count : 0
  for (let part = 0; part < parts && end > 0; part += 1) {
    end = replyEnd(bytes, end)
  }
  return end <= bytes.length ? end : -1
}

async function freePort(): Promise<number> {
  const server = createServer()
  server.listen(0, "127.0.0.1")
  await once(server, "listening")
  const address = server.address()
  assert(address !== null && typeof address === "object", "test: a listening socket has an address")
  server.close()
  await once(server, "close")
  return address.port
}
