/**
 * One file on its way to one client: which blocks go out next. Packets in, packets out; the caller owns socket and
 * timer. Numbers here count blocks from 1 without wrapping; on the wire they wrap to 0. Plane: control.
 */
import { assert } from "../../appliance/types/assert.ts"
import { ATTEMPTS_MAX } from "./limits.ts"
import type { Terms } from "./negotiate.ts"
import { encodeTFTP, type TFTPPacket } from "./packet.ts"

export type TransferState = "running" | "done" | "refused" | "given_up"

export class Transfer {
  readonly #file: Uint8Array
  readonly #terms: Terms
  readonly #blocks: number
  /** The last block that the client has, in order. */
  #acked = 0
  /** The last block sent. */
  #sent = 0
  /** The client has not yet answered our OACK. */
  #isNegotiating: boolean
  #attempts = 1
  #state: TransferState = "running"

  constructor(file: Uint8Array, terms: Terms) {
    this.#file = file
    this.#terms = terms
    // A file of whole blocks ends with an empty one, which tells the client that it is the end.
    this.#blocks = Math.floor(file.length / terms.block_bytes) + 1
    this.#isNegotiating = terms.options.size > 0
  }

  get state(): TransferState {
    return this.#state
  }

  get timeoutMs(): number {
    return this.#terms.timeout_ms
  }

  /** The first packets. */
  start(): Uint8Array[] {
    return this.#isNegotiating ? [this.#optionsPacket()] : this.#window()
  }

  /** What to send in answer to the client's packet: nothing for what is old, wrong or not ours. */
  onPacket(packet: TFTPPacket): Uint8Array[] {
    assert(this.#state === "running", "tftp: a transfer that ended gets no packets")
    switch (packet.kind) {
      case "ack":
        return this.#onAck(packet.block)
      case "error":
        // An error is never answered (RFC 1350, 7).
        this.#state = "refused"
        return []
      case "rrq":
      case "wrq":
      case "data":
      case "oack":
        return []
    }
  }

  #onAck(wire: number): Uint8Array[] {
    if (this.#isNegotiating) {
      if (wire !== 0) {
        return []
      }
      this.#isNegotiating = false
      this.#attempts = 1
      return this.#window()
    }
    // The block that `wire` means lies between what is acknowledged and what is sent, or it means nothing.
    const block = this.#acked + ((wire - this.#acked) & 0xffff)
    // A second ACK of one block must not make us send again: that doubles every packet from then on (the Sorcerer's
    // Apprentice, RFC 1123, 4.2.3.1).
    if (block === this.#acked || block > this.#sent) {
      return []
    }
    this.#acked = block
    this.#attempts = 1
    if (block === this.#blocks) {
      this.#state = "done"
      return []
    }
    // An ACK inside the window says that what follows it was lost (RFC 7440, 4).
    return this.#window()
  }

  /** The client was silent for `timeoutMs`. */
  onTimeout(): Uint8Array[] {
    assert(this.#state === "running", "tftp: a transfer that ended has no timer")
    if (this.#attempts >= ATTEMPTS_MAX) {
      this.#state = "given_up"
      return []
    }
    this.#attempts += 1
    return this.#isNegotiating ? [this.#optionsPacket()] : this.#window()
  }

  #optionsPacket(): Uint8Array {
    return encodeTFTP({ kind: "oack", options: this.#terms.options })
  }

  /** The blocks behind the last acknowledged one, as many as a window has. */
  #window(): Uint8Array[] {
    const last = Math.min(this.#acked + this.#terms.window_blocks, this.#blocks)
    const packets: Uint8Array[] = []
    for (let block = this.#acked + 1; block <= last; block += 1) {
      const start = (block - 1) * this.#terms.block_bytes
      const bytes = this.#file.subarray(start, start + this.#terms.block_bytes)
      packets.push(encodeTFTP({ kind: "data", block: block & 0xffff, bytes }))
    }
    assert(packets.length > 0, "tftp: a running transfer has a block to send")
    this.#sent = last
    return packets
  }
}
