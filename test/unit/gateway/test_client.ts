/** A RESP client without a socket: what it was answered, as text. Plane: control. */
import type { Connection, ConnectionSink } from "../../../appliance/gateway/connection.ts"
import type { Gateway } from "../../../appliance/gateway/gateway.ts"
import { assert } from "../../../appliance/types/assert.ts"

export class TestClient implements ConnectionSink {
  readonly connection: Connection
  isPaused = false
  isEnded = false
  isDestroyed = false
  writes = 0
  turns = 0
  /** Bytes that a slow reader has not taken. */
  pending = 0
  isReading = true
  #received: Buffer[] = []

  constructor(gateway: Gateway) {
    const connection = gateway.connect(this)
    assert(connection !== undefined, "test: the gateway takes one more client")
    this.connection = connection
  }

  write(bytes: Buffer, length: number): void {
    this.writes += 1
    this.#received.push(Buffer.from(bytes.subarray(0, length)))
    this.pending += this.isReading ? 0 : length
  }
  endTurn(): void {
    this.turns += 1
  }
  pendingBytes(): number {
    return this.pending
  }
  pause(): void {
    this.isPaused = true
  }
  resume(): void {
    this.isPaused = false
  }
  end(): void {
    this.isEnded = true
  }
  destroy(): void {
    this.isDestroyed = true
  }

  /** A chunk of bytes, in a buffer of its own as a socket's are. */
  send(bytes: string | Buffer): void {
    assert(!this.isPaused, "test: a paused socket brings nothing")
    this.connection.receive(Buffer.from(bytes))
  }

  command(...words: readonly (string | Buffer)[]): void {
    this.send(encodeCommand(words))
  }

  /** All that was answered since the last call. */
  take(): string {
    const text = Buffer.concat(this.#received).toString("latin1")
    this.#received = []
    return text
  }
}

export function encodeCommand(words: readonly (string | Buffer)[]): Buffer {
  const parts: Buffer[] = [Buffer.from(`*${words.length}\r\n`)]
  for (const word of words) {
    const bytes = Buffer.from(word)
    parts.push(Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from("\r\n"))
  }
  return Buffer.concat(parts)
}
