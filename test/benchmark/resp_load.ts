/**
 * Redis clients in a closed loop: each connection writes a pipeline of SETs, and the next when all of it is answered.
 * Plane: control.
 */
import { connect, type Socket } from "node:net"
import { makePipelines } from "./commands.ts"
import type { Load } from "./load.ts"
import { Latencies } from "./statistics.ts"

const OK_BYTES = "+OK\r\n".length
const MINUS = "-".charCodeAt(0)
const READ_BYTES = 64 * 1024

export type RespLoadOptions = {
  /** One connection for each. */
  readonly ports: readonly number[]
  readonly pipeline: number
}

export class RespLoad implements Load {
  readonly latencies = new Latencies()
  readonly #options: RespLoadOptions
  readonly #pipelines: readonly Buffer[]
  readonly #sockets: Socket[] = []
  #answered = 0
  #next = 0
  #isStopped = false
  #failure: string | undefined

  private constructor(options: RespLoadOptions) {
    this.#options = options
    this.#pipelines = makePipelines(options.pipeline)
  }

  static async start(options: RespLoadOptions): Promise<RespLoad> {
    const load = new RespLoad(options)
    await Promise.all(options.ports.map((port) => load.#connect(port)))
    for (const go of load.#starts) {
      go()
    }
    return load
  }

  readonly #starts: (() => void)[] = []

  readonly answered = (): number => this.#answered
  readonly failure = (): string | undefined => this.#failure

  stop(): void {
    this.#isStopped = true
    for (const socket of this.#sockets) {
      socket.destroy()
    }
  }

  async #connect(port: number): Promise<void> {
    const { pipeline } = this.#options
    let missing = 0
    let sentAt = 0
    await new Promise<void>((done, fail) => {
      const send = (): void => {
        missing = pipeline * OK_BYTES
        sentAt = performance.now()
        this.#next = (this.#next + 1) % this.#pipelines.length
        socket.write(this.#pipelines[this.#next] ?? "")
      }
      const onBytes = (bytes: number, buffer: Uint8Array): boolean => {
        for (let index = 0; index < bytes; index += 1) {
          if (buffer[index] === MINUS) {
            this.#failure ??= Buffer.from(buffer.subarray(index, bytes)).toString("latin1").split("\r\n")[0] ?? "error"
          }
        }
        missing -= bytes
        this.#answered += bytes / OK_BYTES
        if (missing === 0 && !this.#isStopped && this.#failure === undefined) {
          this.latencies.add(performance.now() - sentAt)
          send()
        }
        return true
      }
      const onread = { buffer: new Uint8Array(READ_BYTES), callback: onBytes }
      const socket: Socket = connect({ host: "127.0.0.1", port, noDelay: true, onread })
      this.#sockets.push(socket)
      socket.once("connect", () => done())
      socket.on("error", (error) => {
        this.#failure ??= error.message
        fail(error)
      })
      this.#starts.push(send)
    })
  }
}
