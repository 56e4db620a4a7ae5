/**
 * RESP on a TCP port: the only file that knows both sockets and the gateway. Accepted sockets have no `onread` in
 * Node 24, so chunks come as `data` events; each turn's answers leave in one write. Plane: control.
 */
import { createServer, type Server, type Socket } from "node:net"
import { assert } from "../types/assert.ts"
import { err, ok, type Result } from "../types/result.ts"
import type { Connection, ConnectionSink } from "./connection.ts"
import type { Gateway } from "./gateway.ts"
import { CONNECTION_KEEPALIVE_MS, CONNECTION_LINGER_MS, CONNECTIONS_MAX } from "./limits.ts"
import { type ListenError, listen } from "./listen.ts"

const REFUSAL = `-ERR max number of clients reached: connections_max is ${CONNECTIONS_MAX}\r\n`

export type RespServerOptions = { readonly host: string; readonly port: number; readonly gateway: Gateway }

export type RespServer = {
  /** The port that was bound: another than asked for when that was 0. */
  readonly port: number
  readonly close: () => Promise<void>
}

export async function listenResp(options: RespServerOptions): Promise<Result<RespServer, ListenError>> {
  const sockets = new Set<Socket>()
  const server = createServer({ allowHalfOpen: false, noDelay: true }, (socket) => {
    accept(socket, options.gateway, sockets)
  })
  // Ours are refused by name; these are refused by the kernel, should the first not be quick enough.
  server.maxConnections = CONNECTIONS_MAX * 2
  const problem = await listen(server, options)
  if (problem !== undefined) {
    return err(problem)
  }
  const address = server.address()
  assert(address !== null && typeof address === "object", "resp server: a TCP server has a port")
  return ok({ port: address.port, close: () => close(server, sockets) })
}

function close(server: Server, sockets: ReadonlySet<Socket>): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
    for (const socket of sockets) {
      socket.destroy()
    }
  })
}

function accept(socket: Socket, gateway: Gateway, sockets: Set<Socket>): void {
  sockets.add(socket)
  socket.setKeepAlive(true, CONNECTION_KEEPALIVE_MS)
  const sink = new SocketSink(socket)
  sink.connection = gateway.connect(sink)
  socket.on("close", () => {
    sockets.delete(socket)
    sink.leave()
  })
  // Resets and broken pipes are the client's business; `close` follows.
  socket.on("error", () => undefined)
  if (sink.connection === undefined) {
    socket.write(REFUSAL)
    sink.end()
    return
  }
  socket.on("data", (chunk: Buffer) => sink.connection?.receive(chunk))
  socket.on("drain", () => sink.connection?.onDrained())
  // As in Redis, a client that ends its side wants no more answers.
  socket.on("end", () => sink.leave())
}

class SocketSink implements ConnectionSink {
  readonly #socket: Socket
  #isCorked = false
  /**
   * Only while it is this socket's: a socket lingers after its last answer, and closes after it ended, and by then the
   * connection may be lent to another client.
   */
  connection: Connection | undefined

  constructor(socket: Socket) {
    this.#socket = socket
  }

  write(bytes: Buffer, length: number): void {
    if (!this.#isCorked) {
      this.#isCorked = true
      this.#socket.cork()
    }
    // What is given to write() belongs to the socket until it is sent, so it gets a copy of its own.
    const copy = Buffer.allocUnsafe(length)
    bytes.copy(copy, 0, 0, length)
    this.#socket.write(copy)
  }

  endTurn(): void {
    if (this.#isCorked) {
      this.#isCorked = false
      this.#socket.uncork()
    }
  }

  pendingBytes(): number {
    return this.#socket.writableLength
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  /** The client is gone. */
  leave(): void {
    const { connection } = this
    this.connection = undefined
    connection?.onClosed()
  }

  end(): void {
    this.connection = undefined
    this.endTurn()
    // Whoever neither reads nor closes is not waited for.
    this.#socket.setTimeout(CONNECTION_LINGER_MS, () => this.#socket.destroy())
    this.#socket.end()
    this.#socket.resume()
  }

  destroy(): void {
    this.connection = undefined
    this.#socket.destroy()
  }
}
