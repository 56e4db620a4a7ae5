/** One end of a TCP connection between two Node processes that do nothing else; started by tcp.ts. Plane: control. */
import { connect, createServer } from "node:net"
import { TCP_BYTES, TCP_PIECE_BYTES } from "./limits.ts"

/** What the reading end found. */
export type TCPReport = { readonly bytes_per_second: number; readonly reader_us_per_mib: number }

const LOOPBACK = "127.0.0.1"
const MIB = 1024 * 1024

/** Says its port, then writes to the first who comes; the next piece when the last was taken, as a link does. */
function send(): void {
  const server = createServer({ noDelay: true }, (socket) => {
    const piece = new Uint8Array(2 * TCP_PIECE_BYTES).fill(7)
    let left = TCP_BYTES
    const next = (): void => {
      if (left === 0) {
        socket.end(() => server.close())
        return
      }
      const bytes = Math.min(left, piece.length)
      left -= bytes
      socket.write(piece.subarray(0, bytes), next)
    }
    next()
  })
  server.listen(0, LOOPBACK, () => {
    const address = server.address()
    process.stdout.write(`${typeof address === "object" && address !== null ? address.port : 0}\n`)
  })
}

/** Reads into one buffer, and says how many bytes a second it read, and what of the processor that took. */
function receive(port: number): void {
  let bytes = 0
  let startedAt = 0
  let cpu = process.cpuUsage()
  const callback = (length: number): boolean => {
    if (startedAt === 0) {
      startedAt = performance.now()
      cpu = process.cpuUsage()
    }
    bytes += length
    return true
  }
  const onread = { buffer: new Uint8Array(2 * TCP_PIECE_BYTES), callback }
  const socket = connect({ host: LOOPBACK, port, onread })
  socket.on("close", () => {
    const { user, system } = process.cpuUsage(cpu)
    const report: TCPReport = {
      bytes_per_second: (bytes * 1_000) / (performance.now() - startedAt),
      reader_us_per_mib: ((user + system) * MIB) / bytes,
    }
    process.stdout.write(`${JSON.stringify(report)}\n`)
  })
}

const port = process.argv[2]
if (port === undefined) {
  send()
} else {
  receive(Number(port))
}
