/** Opens UDP sockets and turns what can go wrong into values. Plane: control. */
import { createSocket, type RemoteInfo, type Socket } from "node:dgram"
import { err, ok, type Result } from "../appliance/types/result.ts"

export type BindError =
  | { readonly kind: "port_in_use"; readonly port: number }
  | { readonly kind: "not_permitted"; readonly port: number }
  | { readonly kind: "bind_failed"; readonly port: number; readonly code: string }

export type BindOptions = {
  readonly address: string
  readonly port: number
  /** Lets two of our own sockets share a port: one on every address, one on the interface's. */
  readonly isShared: boolean
  readonly isBroadcasting: boolean
}

export function bindUDP(options: BindOptions): Promise<Result<Socket, BindError>> {
  const { address, port } = options
  const { promise, resolve } = Promise.withResolvers<Result<Socket, BindError>>()
  const socket = createSocket({ type: "udp4", reuseAddr: options.isShared })
  const onError = (error: Error): void => {
    socket.close()
    resolve(err(bindErrorOf(error, port)))
  }
  socket.once("error", onError)
  socket.bind({ address, port, exclusive: true }, () => {
    socket.removeListener("error", onError)
    // An error that nobody listens for ends the process; who counts errors listens beside this.
    socket.on("error", () => undefined)
    if (options.isBroadcasting) {
      socket.setBroadcast(true)
    }
    resolve(ok(socket))
  })
  return promise
}

/**
 * Hears datagrams that can be answered. A source port of 0 is legal on the wire and means that no answer is wanted;
 * Node throws when told to send there.
 */
export function onDatagram(socket: Socket, handle: (bytes: Uint8Array, from: RemoteInfo) => void): void {
  socket.on("message", (bytes, from) => {
    if (from.port !== 0) {
      handle(bytes, from)
    }
  })
}

/** What the operating system said to a bind, of a datagram socket or another. */
export function bindErrorOf(error: Error, port: number): BindError {
  const code = "code" in error && typeof error.code === "string" ? error.code : error.message
  switch (code) {
    case "EADDRINUSE":
      return { kind: "port_in_use", port }
    case "EACCES":
    case "EPERM":
      return { kind: "not_permitted", port }
    default:
      return { kind: "bind_failed", port, code }
  }
}

/** Resolves when the socket is closed; harmless when it is already. */
export function closeUDP(socket: Socket): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  try {
    socket.close(() => resolve())
  } catch {
    // Closed before: an error on the socket closes it.
    resolve()
  }
  return promise
}
