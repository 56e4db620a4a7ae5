/**
 * The read-only server: a table of files in memory, a socket a transfer (its port is the transfer's identity, RFC 1350,
 * 4), or one socket for all where a firewall or a container lets only port 69 through. Plane: control.
 */
import type { RemoteInfo, Socket } from "node:dgram"
import { assert } from "../../appliance/types/assert.ts"
import { ok, type Result } from "../../appliance/types/result.ts"
import type { Clock } from "../clock.ts"
import type { Logger } from "../log.ts"
import { type BindError, bindUDP, closeUDP, onDatagram } from "../udp.ts"
import { PACKET_BYTES_MAX, TRANSFERS_MAX, TRANSFERS_PER_CLIENT_MAX } from "./limits.ts"
import { negotiate, normalizeFileName } from "./negotiate.ts"
import { decodeTFTP, ErrorCode, encodeTFTP, type TFTPPacket } from "./packet.ts"
import { Transfer } from "./transfer.ts"

export type TFTPServerOptions = {
  readonly address: string
  readonly port: number
  readonly files: ReadonlyMap<string, Uint8Array>
  /** Answer from the port that was asked. */
  readonly isSinglePort: boolean
  readonly clock: Clock
  readonly log: Logger
  /** A client asked for a file that there is. */
  readonly onRequest: (clientAddress: string, file: string) => void
}

export type TFTPCounters = {
  requests: number
  transfers_done: number
  transfers_refused: number
  transfers_given_up: number
  bytes_done: number
  not_found: number
  write_refused: number
  malformed: number
  stray: number
  too_many: number
  duplicate_requests: number
  send_errors: number
}

export type TFTPServer = {
  readonly counters: TFTPCounters
  /** The port in use: the one asked for, or the one chosen for 0. */
  readonly port: number
  readonly close: () => Promise<void>
}

export async function startTFTPServer(options: TFTPServerOptions): Promise<Result<TFTPServer, BindError>> {
  const { address, port } = options
  const socket = await bindUDP({ address, port, isShared: false, isBroadcasting: false })
  if (!socket.ok) {
    return socket
  }
  const server = new Server(options, socket.value)
  return ok({ counters: server.counters, port: socket.value.address().port, close: () => server.close() })
}

type Session = {
  readonly key: string
  readonly client: { readonly address: string; readonly port: number }
  readonly file: string
  readonly bytes: number
  readonly transfer: Transfer
  readonly socket: Socket
  readonly started_at: number
  timer: NodeJS.Timeout | undefined
}

class Server {
  readonly counters: TFTPCounters = {
    requests: 0,
    transfers_done: 0,
    transfers_refused: 0,
    transfers_given_up: 0,
    bytes_done: 0,
    not_found: 0,
    write_refused: 0,
    malformed: 0,
    stray: 0,
    too_many: 0,
    duplicate_requests: 0,
    send_errors: 0,
  }
  readonly #options: TFTPServerOptions
  readonly #socket: Socket
  /** By the client's address and port. A session is here before it has its socket, so that none is opened twice. */
  readonly #sessions = new Map<string, Session | "opening">()
  #isClosed = false

  constructor(options: TFTPServerOptions, socket: Socket) {
    this.#options = options
    this.#socket = socket
    onDatagram(socket, (bytes, from) => this.#onMessage(bytes, from))
    socket.on("error", () => {
      this.counters.send_errors += 1
    })
  }

  async close(): Promise<void> {
    this.#isClosed = true
    const closing = [closeUDP(this.#socket)]
    for (const session of this.#sessions.values()) {
      if (session !== "opening") {
        clearTimeout(session.timer)
        if (session.socket !== this.#socket) {
          closing.push(closeUDP(session.socket))
        }
      }
    }
    this.#sessions.clear()
    await Promise.all(closing)
  }

  #onMessage(bytes: Uint8Array, from: RemoteInfo): void {
    const packet = this.#decode(bytes)
    if (packet === undefined) {
      return
    }
    switch (packet.kind) {
      case "rrq":
        this.counters.requests += 1
        this.#onRead(packet, from)
        return
      case "wrq":
        this.counters.write_refused += 1
        this.#refuse(this.#socket, from, ErrorCode.access_violation, "this server is read-only")
        return
      case "ack":
      case "data":
      case "error":
      case "oack": {
        const session = this.#sessions.get(keyOf(from))
        if (this.#options.isSinglePort && session !== undefined && session !== "opening") {
          this.#onSessionPacket(session, packet)
        } else {
          this.counters.stray += 1
        }
        return
      }
    }
  }

  #decode(bytes: Uint8Array): TFTPPacket | undefined {
    const packet = bytes.length <= PACKET_BYTES_MAX ? decodeTFTP(bytes) : undefined
    if (packet?.ok === true) {
      return packet.value
    }
    this.counters.malformed += 1
    return undefined
  }

  #onRead(request: TFTPPacket & { readonly kind: "rrq" | "wrq" }, from: RemoteInfo): void {
    const key = keyOf(from)
    if (this.#sessions.has(key)) {
      // The client's own retransmission: the session's timer repeats what it misses.
      this.counters.duplicate_requests += 1
      return
    }
    if (request.mode !== "octet" && request.mode !== "netascii") {
      this.#refuse(this.#socket, from, ErrorCode.illegal_operation, "only mode octet is served")
      return
    }
    const name = normalizeFileName(request.file)
    const file = name === undefined ? undefined : this.#options.files.get(name)
    if (name === undefined || file === undefined) {
      this.counters.not_found += 1
      this.#refuse(this.#socket, from, ErrorCode.not_found, "no such file")
      return
    }
    if (!this.#hasRoomFor(from.address)) {
      // Silence, since an error would end what the client's next attempt may well get.
      this.counters.too_many += 1
      return
    }
    this.#options.onRequest(from.address, name)
    const transfer = new Transfer(file, negotiate(request.options, file.length))
    const client = { address: from.address, port: from.port }
    const session = { key, client, file: name, bytes: file.length, transfer }
    this.#sessions.set(key, "opening")
    assert(this.#sessions.size <= TRANSFERS_MAX, "tftp: no more transfers than there may be")
    if (this.#options.isSinglePort) {
      this.#open({ ...session, socket: this.#socket, started_at: this.#now(), timer: undefined })
      return
    }
    void this.#openSocket(session)
  }

  #hasRoomFor(address: string): boolean {
    let ofClient = 0
    for (const key of this.#sessions.keys()) {
      ofClient += key.startsWith(`${address} `) ? 1 : 0
    }
    return this.#sessions.size < TRANSFERS_MAX && ofClient < TRANSFERS_PER_CLIENT_MAX
  }

  async #openSocket(session: Omit<Session, "socket" | "started_at" | "timer">): Promise<void> {
    const { address } = this.#options
    const socket = await bindUDP({ address, port: 0, isShared: false, isBroadcasting: false })
    if (!socket.ok) {
      this.counters.send_errors += 1
      this.#sessions.delete(session.key)
      return
    }
    if (this.#isClosed) {
      await closeUDP(socket.value)
      return
    }
    const opened: Session = { ...session, socket: socket.value, started_at: this.#now(), timer: undefined }
    onDatagram(socket.value, (bytes, from) => {
      const packet = this.#decode(bytes)
      if (packet === undefined) {
        return
      }
      if (keyOf(from) !== opened.key) {
        // The stranger is told so, the transfer goes on (RFC 1350, 4); no error is answered by an error.
        this.counters.stray += 1
        if (packet.kind !== "error") {
          this.#refuse(socket.value, from, ErrorCode.unknown_transfer, "unknown transfer")
        }
        return
      }
      this.#onSessionPacket(opened, packet)
    })
    socket.value.on("error", () => {
      this.counters.send_errors += 1
    })
    this.#open(opened)
  }

  #open(session: Session): void {
    this.#sessions.set(session.key, session)
    this.#send(session, session.transfer.start())
  }

  #onSessionPacket(session: Session, packet: TFTPPacket): void {
    // A socket that is closing may still deliver what it had.
    if (this.#sessions.get(session.key) !== session) {
      this.counters.stray += 1
      return
    }
    const packets = session.transfer.onPacket(packet)
    if (session.transfer.state !== "running") {
      this.#end(session)
    } else if (packets.length > 0) {
      this.#send(session, packets)
    }
  }

  #send(session: Session, packets: readonly Uint8Array[]): void {
    for (const packet of packets) {
      session.socket.send(packet, session.client.port, session.client.address, (error) => {
        this.counters.send_errors += error === null ? 0 : 1
      })
    }
    clearTimeout(session.timer)
    session.timer = setTimeout(() => {
      const again = session.transfer.onTimeout()
      if (session.transfer.state === "running") {
        this.#send(session, again)
      } else {
        this.#end(session)
      }
    }, session.transfer.timeoutMs)
  }

  #end(session: Session): void {
    clearTimeout(session.timer)
    this.#sessions.delete(session.key)
    if (session.socket !== this.#socket) {
      void closeUDP(session.socket)
    }
    const { state } = session.transfer
    const fields = { client: session.client.address, file: session.file }
    assert(state !== "running", "tftp: a transfer ends once it has ended")
    if (state === "done") {
      this.counters.transfers_done += 1
      this.counters.bytes_done += session.bytes
      const elapsedMs = Math.round(this.#now() - session.started_at)
      this.#options.log.info({ ...fields, bytes: session.bytes, elapsed_ms: elapsedMs }, "tftp: a file was sent")
    } else if (state === "refused") {
      // EDK2 asks for the size, refuses, then asks for the file: nothing to tell a person.
      this.counters.transfers_refused += 1
    } else {
      this.counters.transfers_given_up += 1
      this.#options.log.warn(fields, "tftp: the client fell silent")
    }
  }

  #refuse(socket: Socket, to: RemoteInfo, code: number, message: string): void {
    socket.send(encodeTFTP({ kind: "error", code, message }), to.port, to.address, (error) => {
      this.counters.send_errors += error === null ? 0 : 1
    })
  }

  #now(): number {
    return this.#options.clock.monotonicMs()
  }
}

function keyOf(from: { readonly address: string; readonly port: number }): string {
  return `${from.address} ${from.port}`
}
