/**
 * Where the data port listens: on loopback always, to the network only as long as a password is set. Plane: control.
 */
import { err, ok, type Result } from "../types/result.ts"
import type { Gateway } from "./gateway.ts"
import { DOOR_RETRY_MS } from "./limits.ts"
import type { ListenError } from "./listen.ts"
import { listenResp, type RespServer } from "./resp_server.ts"

const LOOPBACK = "127.0.0.1"
const ANY = "0.0.0.0"

export type RespDoorsOptions = {
  /** The address that ports are opened on; 0.0.0.0 stands for `advertise`, since loopback is open already. */
  readonly bind: string
  readonly advertise: string
  readonly port: number
  readonly gateway: Gateway
  /** The network's door opened, closed, or did not open. */
  readonly onChange: (state: "open" | "closed" | ListenError) => void
}

export class RespDoors {
  readonly #options: RespDoorsOptions
  readonly #inside: RespServer
  readonly #outsideHost: string
  #outside: RespServer | undefined
  #isMoving = false
  #isClosed = false
  #triedAt = Number.NEGATIVE_INFINITY

  private constructor(options: RespDoorsOptions, inside: RespServer) {
    this.#options = options
    this.#inside = inside
    this.#outsideHost = options.bind === ANY ? options.advertise : options.bind
  }

  static async open(options: RespDoorsOptions): Promise<Result<RespDoors, ListenError>> {
    // Another loopback address is one that somebody chose.
    const host = isLoopback(options.bind) ? options.bind : LOOPBACK
    const inside = await listenResp({ host, port: options.port, gateway: options.gateway })
    return inside.ok ? ok(new RespDoors(options, inside.value)) : err(inside.error)
  }

  /** The port that was bound. */
  get port(): number {
    return this.#inside.port
  }

  get isOutsideOpen(): boolean {
    return this.#outside !== undefined
  }

  tick(nowMs: number): void {
    const isWanted = this.#options.gateway.access.isRequired && !isLoopback(this.#outsideHost)
    if (isWanted === this.isOutsideOpen || this.#isMoving || this.#isClosed || nowMs - this.#triedAt < DOOR_RETRY_MS) {
      return
    }
    this.#triedAt = nowMs
    this.#isMoving = true
    // Total: what can go wrong is told; anything else could only be a bug, and ends the process as one.
    void (isWanted ? this.#open() : this.#shut())
  }

  async #open(): Promise<void> {
    const { gateway, onChange } = this.#options
    const opened = await listenResp({ host: this.#outsideHost, port: this.port, gateway })
    this.#isMoving = false
    if (!opened.ok) {
      onChange(opened.error)
    } else if (this.#isClosed) {
      await opened.value.close()
    } else {
      this.#outside = opened.value
      onChange("open")
    }
  }

  /** Whoever came in by it is disconnected. */
  async #shut(): Promise<void> {
    const outside = this.#outside
    this.#outside = undefined
    await outside?.close()
    this.#isMoving = false
    this.#options.onChange("closed")
  }

  async close(): Promise<void> {
    this.#isClosed = true
    await Promise.all([this.#inside.close(), this.#outside?.close()])
  }
}

function isLoopback(host: string): boolean {
  return host.startsWith("127.")
}
