/** The HTTP server through real sockets: lengths, ranges, bounds, and bytes that come one at a time. Plane: control. */
import { once } from "node:events"
import { connect, type Socket } from "node:net"
import { afterEach, beforeEach, describe, expect, test } from "vitest"
import {
  BODY_BYTES_MAX,
  CHECK_INTERVAL_MS,
  REQUEST_MS_MAX,
  RETRY_SECONDS_MAX,
  RETRY_SECONDS_MIN,
  TRANSFERS_MAX,
  TRANSFERS_URGENT_MAX,
} from "../../../pxe/http/limits.ts"
import {
  type HTTPRequest,
  type HTTPResponse,
  type HTTPServer,
  startHTTPServer,
  textResponse,
} from "../../../pxe/http/server.ts"
import { makeLogger } from "./ports.ts"

/** Larger than what the kernel buffers for a client that does not read. */
const IMAGE = new Uint8Array(16 * 1024 * 1024).fill(7)
const SMALL = new TextEncoder().encode("0123456789")

/** Far more than the server takes at once. */
const FLOOD = 10_000

let server: HTTPServer
let asked: HTTPRequest[]
let sent: string[]
let sockets: Socket[]

function answer(request: HTTPRequest): HTTPResponse {
  asked.push(request)
  const file = { status: 200, content_type: "application/octet-stream", etag: '"e"' }
  switch (request.path) {
    case "/small":
      return { ...file, body: SMALL, on_sent: () => sent.push(request.path) }
    case "/image":
      return { ...file, body: IMAGE, is_image: true }
    case "/urgent":
      return { ...file, body: IMAGE, is_image: true, is_urgent: true }
    case "/echo":
      return textResponse(200, new TextDecoder().decode(request.body))
    default:
      return textResponse(404, "not found")
  }
}

beforeEach(async () => {
  asked = []
  sent = []
  sockets = []
  const started = await startHTTPServer({
    address: "127.0.0.1",
    port: 0,
    log: makeLogger(),
    random: () => 5,
    handle: answer,
  })
  if (!started.ok) {
    throw new Error(started.error.kind)
  }
  server = started.value
})
afterEach(async () => {
  for (const socket of sockets) {
    socket.destroy()
  }
  await server.close()
})

function open(): Socket {
  const socket = connect(server.port, "127.0.0.1")
  socket.on("error", () => undefined)
  sockets.push(socket)
  return socket
}

/** What comes back until the server closes. */
async function exchange(text: string): Promise<string> {
  const socket = open()
  socket.write(text)
  let answered = ""
  socket.setEncoding("latin1")
  socket.on("data", (chunk: string) => {
    answered += chunk
  })
  await once(socket, "close")
  return answered
}

function get(path: string, ...headers: readonly string[]): Promise<string> {
  return exchange(["GET", ...headers].join("\r\n").replace("GET", `GET ${path} HTTP/1.1\r\nHost: x`) + END)
}

const END = "\r\nConnection: close\r\n\r\n"

describe("answers", () => {
  test("have their length, never chunks", async () => {
    const text = await get("/small")
    expect(text).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
    expect(text).toContain("Content-Length: 10\r\n")
    expect(text).toContain('ETag: "e"\r\n')
    expect(text).not.toContain("Transfer-Encoding")
    expect(text.endsWith("\r\n\r\n0123456789")).toBe(true)
    await expect.poll(() => sent).toEqual(["/small"])
  })

  test("to HEAD have the same headers and no body", async () => {
    const text = await exchange(`HEAD /small HTTP/1.1\r\nHost: x${END}`)
    expect(text).toContain("Content-Length: 10\r\n")
    expect(text.endsWith("\r\n\r\n")).toBe(true)
    expect(sent).toEqual([])
  })

  test("to one range are 206 with that part", async () => {
    const text = await get("/small", "Range: bytes=2-4")
    expect(text).toMatch(/^HTTP\/1\.1 206 /)
    expect(text).toContain("Content-Range: bytes 2-4/10\r\n")
    expect(text.endsWith("\r\n\r\n234")).toBe(true)
  })

  test("to a range past the end are 416 with the size", async () => {
    const text = await get("/small", "Range: bytes=10-")
    expect(text).toMatch(/^HTTP\/1\.1 416 /)
    expect(text).toContain("Content-Range: bytes */10\r\n")
  })

  test("to a range of another version are the whole", async () => {
    expect(await get("/small", "Range: bytes=2-4", 'If-Range: "old"')).toMatch(/^HTTP\/1\.1 200 /)
    expect(await get("/small", "Range: bytes=2-4", 'If-Range: "e"')).toMatch(/^HTTP\/1\.1 206 /)
  })

  test("of 40 MB for many come from one buffer", async () => {
    const text = await get("/image")
    expect(text.length).toBeGreaterThan(IMAGE.length)
    expect(server.counters.bytes_sent).toBe(IMAGE.length)
  })
})

describe("bounds", () => {
  test("too many images at once: 503 and when to ask again; scripts still go, and some that are urgent", async () => {
    for (let index = 0; index < TRANSFERS_MAX; index += 1) {
      const socket = open()
      socket.pause()
      socket.write("GET /image HTTP/1.1\r\nHost: x\r\n\r\n")
    }
    await expect.poll(() => server.counters.transfers_active).toBe(TRANSFERS_MAX)
    const text = await get("/image")
    expect(text).toMatch(/^HTTP\/1\.1 503 /)
    const seconds = Number(/Retry-After: (\d+)/.exec(text)?.[1])
    expect(seconds).toBeGreaterThanOrEqual(RETRY_SECONDS_MIN)
    expect(seconds).toBeLessThanOrEqual(RETRY_SECONDS_MAX)
    expect(text).toContain(`transfers_max is ${TRANSFERS_MAX}`)
    expect(await get("/small")).toMatch(/^HTTP\/1\.1 200 /)
    for (let index = 0; index < TRANSFERS_URGENT_MAX; index += 1) {
      const socket = open()
      socket.pause()
      socket.write("GET /urgent HTTP/1.1\r\nHost: x\r\n\r\n")
    }
    await expect.poll(() => server.counters.transfers_active).toBe(TRANSFERS_MAX + TRANSFERS_URGENT_MAX)
    expect(await get("/urgent")).toMatch(/^HTTP\/1\.1 503 /)
    for (const socket of sockets) {
      socket.destroy()
    }
    await expect.poll(() => server.counters.transfers_active).toBe(0)
    expect(await get("/image")).toMatch(/^HTTP\/1\.1 200 /)
  })

  test("a body too large is 413, whether it says so or not", async () => {
    const head = "POST /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    const body = "x".repeat(BODY_BYTES_MAX + 1)
    expect(await exchange(`${head}Content-Length: ${body.length}\r\n\r\n${body}`)).toMatch(/^HTTP\/1\.1 413 /)
    const chunked = `${head}Transfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`
    expect(await exchange(chunked)).toContain(`body_bytes_max is ${BODY_BYTES_MAX}`)
    expect(asked).toEqual([])
  })

  test("a body of exactly the bound is taken", async () => {
    const body = "y".repeat(BODY_BYTES_MAX)
    const text = await exchange(`POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}${END}${body}`)
    expect(text).toMatch(/^HTTP\/1\.1 200 /)
    expect(asked[0]?.body).toHaveLength(BODY_BYTES_MAX)
  })

  test.each([
    ["a URL too long", `GET /${"a".repeat(3_000)} HTTP/1.1\r\nHost: x${END}`, 414],
    ["headers too long", `GET / HTTP/1.1\r\nHost: x\r\nX: ${"a".repeat(20_000)}${END}`, 400],
    ["another method", `DELETE /small HTTP/1.1\r\nHost: x${END}`, 405],
    ["no HTTP", "\x16\x03\x01 hello\r\n\r\n", 400],
    ["a target that is no URL", `GET http://[ HTTP/1.1\r\nHost: x${END}`, 414],
  ])("%s", async (_name, text, status) => {
    expect(await exchange(text)).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `))
    expect(await get("/small")).toMatch(/^HTTP\/1\.1 200 /)
  })
})

describe("a request that comes byte by byte", () => {
  test("is the same request", async () => {
    const body = JSON.stringify({ machine: "52-54-00-77-00-01" })
    const text = `POST /echo?a=1 HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}${END}${body}`
    const socket = open()
    socket.setNoDelay(true)
    let answered = ""
    socket.on("data", (chunk: Buffer) => {
      answered += chunk.toString("latin1")
    })
    for (const byte of Buffer.from(text)) {
      const { promise, resolve } = Promise.withResolvers<void>()
      socket.write(Uint8Array.of(byte), () => resolve())
      await promise
    }
    await once(socket, "close")
    expect(answered.endsWith(`\r\n\r\n${body}\n`)).toBe(true)
    expect(asked[0]?.query.get("a")).toBe("1")
  })
})

test("headers or a body that drip are cut off in time", async () => {
  const slowHeaders = open()
  slowHeaders.write("GET /small HTTP/1.1\r\nHost: x\r\n")
  const slowBody = open()
  slowBody.write("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
  const timer = setInterval(() => {
    slowHeaders.write("A: b\r\n")
    slowBody.write("x")
  }, 500)
  const startedAt = performance.now()
  for (const socket of [slowHeaders, slowBody]) {
    socket.resume()
  }
  await Promise.all([once(slowHeaders, "close"), once(slowBody, "close")])
  clearInterval(timer)
  expect(performance.now() - startedAt).toBeLessThan(REQUEST_MS_MAX + 3 * CHECK_INTERVAL_MS)
  expect(await get("/small")).toContain("0123456789")
}, 60_000)

test(`${FLOOD} connections at once are bounded, and a machine gets its script afterwards`, async () => {
  const flood = Array.from({ length: FLOOD }, () => open())
  // Those who only wait are closed in time as well: it is the refusals that show the bound.
  await expect.poll(() => server.counters.connections_refused, { timeout: 60_000 }).toBeGreaterThan(0)
  for (const socket of flood) {
    socket.destroy()
  }
  await expect.poll(() => get("/small"), { timeout: 30_000, interval: 200 }).toContain("0123456789")
}, 120_000)

test("a port in use is named", async () => {
  const { port } = server
  const options = { address: "127.0.0.1", port, log: makeLogger(), random: () => 0, handle: answer }
  expect(await startHTTPServer(options)).toEqual({ ok: false, error: { kind: "port_in_use", port } })
})
