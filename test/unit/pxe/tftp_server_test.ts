/** The TFTP server against clients that others wrote, and against one that misbehaves, on loopback. Plane: control. */
import { spawn } from "node:child_process"
import { randomBytes } from "node:crypto"
import { createSocket, type Socket } from "node:dgram"
import { once } from "node:events"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, afterEach, beforeEach, describe, expect, test } from "vitest"
import { SYSTEM_CLOCK } from "../../../pxe/clock.ts"
import { TRANSFERS_PER_CLIENT_MAX } from "../../../pxe/tftp/limits.ts"
import { decodeTFTP, encodeTFTP, type TFTPPacket } from "../../../pxe/tftp/packet.ts"
import { startTFTPServer, type TFTPServer } from "../../../pxe/tftp/server.ts"
import { makeLogger } from "./ports.ts"

const FILES = new Map<string, Uint8Array>([
  ["snponly.efi", randomBytes(173_792)],
  ["whole.bin", randomBytes(512 * 4)],
  ["empty.bin", new Uint8Array(0)],
])
const folder = mkdtempSync(join(tmpdir(), "mandala-tftp-"))

let server: TFTPServer
let requested: string[]

async function start(isSinglePort: boolean): Promise<TFTPServer> {
  const started = await startTFTPServer({
    address: "127.0.0.1",
    port: 0,
    files: FILES,
    isSinglePort,
    clock: SYSTEM_CLOCK,
    log: makeLogger(),
    onRequest: (client, file) => requested.push(`${client} ${file}`),
  })
  if (!started.ok) {
    throw new Error(started.error.kind)
  }
  return started.value
}

beforeEach(async () => {
  requested = []
  server = await start(false)
})
afterEach(async () => {
  await server.close()
})
afterAll(() => rmSync(folder, { recursive: true }))

/** Fails with the name of the package when the program is not there. */
async function run(command: string, args: readonly string[], aptPackage: string): Promise<number | null> {
  const child = spawn(command, args, { stdio: "ignore" })
  const { promise, resolve, reject } = Promise.withResolvers<number | null>()
  child.on("error", () => reject(new Error(`${command} is missing: apt-get install ${aptPackage}`)))
  child.on("exit", resolve)
  return await promise
}

describe("curl", () => {
  // Not the empty file: curl takes a tsize of 0 for an error.
  test.each(["snponly.efi", "whole.bin"].flatMap((name) => ["8", "512", "1432", "65464"].map((size) => [name, size])))(
    "gets %s with blocks of %s",
    async (name = "", size = "") => {
      const target = join(folder, `${name}.${size}`)
      const url = `tftp://127.0.0.1:${server.port}/${name}`
      const args = ["--silent", "--fail", "--max-time", "30", "--tftp-blksize", size, "--output", target, url]
      expect(await run("curl", args, "curl")).toBe(0)
      expect(readFileSync(target).equals(FILES.get(name) ?? Buffer.from("absent"))).toBe(true)
      expect(requested).toEqual([`127.0.0.1 ${name}`])
    },
  )

  test("gets a file through a single port", async () => {
    await server.close()
    server = await start(true)
    const target = join(folder, "single")
    const args = ["--silent", "--max-time", "30", "--output", target, `tftp://127.0.0.1:${server.port}/snponly.efi`]
    expect(await run("curl", args, "curl")).toBe(0)
    expect(readFileSync(target).equals(FILES.get("snponly.efi") ?? Buffer.alloc(0))).toBe(true)
    expect(server.counters).toMatchObject({ transfers_done: 1, stray: 0 })
  })

  test("is told of a file that is not there (its exit code 68)", async () => {
    const url = `tftp://127.0.0.1:${server.port}/../etc/passwd`
    expect(await run("curl", ["--silent", "--path-as-is", "--max-time", "10", url], "curl")).toBe(68)
    expect(server.counters.not_found).toBe(1)
  })

  test("can't write (its exit code 69)", async () => {
    const url = `tftp://127.0.0.1:${server.port}/snponly.efi`
    const args = ["--silent", "--max-time", "10", "--upload-file", join(import.meta.dirname, "ports.ts"), url]
    expect(await run("curl", args, "curl")).toBe(69)
    expect(server.counters.write_refused).toBe(1)
  })
})

test.each([...FILES.keys()])("busybox gets %s", async (name) => {
  const target = join(folder, `${name}.busybox`)
  const args = ["tftp", "-g", "-b", "1400", "-r", name, "-l", target, "127.0.0.1", String(server.port)]
  expect(await run("busybox", args, "busybox")).toBe(0)
  expect(readFileSync(target).equals(FILES.get(name) ?? Buffer.from("absent"))).toBe(true)
})

describe("a client by hand", () => {
  let client: Socket
  beforeEach(async () => {
    client = createSocket("udp4")
    client.bind(0, "127.0.0.1")
    await once(client, "listening")
  })
  afterEach(() => {
    client.close()
  })

  const rrq = (file: string, mode = "octet"): Uint8Array => encodeTFTP({ kind: "rrq", file, mode, options: new Map() })

  type Answer = { readonly packet: TFTPPacket; readonly port: number }

  function nextMessage(socket: Socket): Promise<Answer> {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>()
    socket.once("message", (bytes, from) => {
      const packet = decodeTFTP(bytes)
      if (packet.ok) {
        resolve({ packet: packet.value, port: from.port })
      } else {
        reject(new Error(packet.error.kind))
      }
    })
    return promise
  }

  async function ask(bytes: Uint8Array, port: number): Promise<Answer> {
    const answered = nextMessage(client)
    client.send(bytes, port, "127.0.0.1")
    return await answered
  }

  test("is answered from a fresh port, and a stranger at that port with an error that ends nothing", async () => {
    const first = await ask(rrq("whole.bin"), server.port)
    expect(first.packet).toMatchObject({ kind: "data", block: 1 })
    expect(first.port).not.toBe(server.port)

    const stranger = createSocket("udp4")
    const told = nextMessage(stranger)
    stranger.send(encodeTFTP({ kind: "ack", block: 1 }), first.port, "127.0.0.1")
    expect((await told).packet).toMatchObject({ kind: "error", code: 5 })
    stranger.close()

    const second = await ask(encodeTFTP({ kind: "ack", block: 1 }), first.port)
    expect(second).toMatchObject({ packet: { kind: "data", block: 2 }, port: first.port })
  })

  test("that sends rubbish is counted, and the next request is served", async () => {
    for (const bytes of [new Uint8Array(0), Uint8Array.of(0, 9), new Uint8Array(2_000), Uint8Array.of(0, 1, 97)]) {
      client.send(bytes, server.port, "127.0.0.1")
    }
    expect((await ask(rrq("whole.bin"), server.port)).packet.kind).toBe("data")
    expect(server.counters.malformed).toBe(4)
  })

  test("that asks in another mode is refused; in netascii it is served as octet", async () => {
    expect((await ask(rrq("whole.bin", "mail"), server.port)).packet).toMatchObject({ kind: "error", code: 4 })
    expect((await ask(rrq("whole.bin", "NetASCII"), server.port)).packet.kind).toBe("data")
  })

  test("has so many transfers at once and no more", async () => {
    const sockets = Array.from({ length: TRANSFERS_PER_CLIENT_MAX + 1 }, () => createSocket("udp4"))
    const answers: Promise<unknown>[] = []
    for (const [index, socket] of sockets.entries()) {
      if (index < TRANSFERS_PER_CLIENT_MAX) {
        answers.push(once(socket, "message"))
      }
      socket.send(rrq("whole.bin"), server.port, "127.0.0.1")
      // One after the other, or the kernel may deliver them in another order.
      await answers[index]
    }
    // The server reads in order: its answer to this comes after the last of the above.
    await ask(encodeTFTP({ kind: "wrq", file: "x", mode: "octet", options: new Map() }), server.port)
    expect(server.counters).toMatchObject({ too_many: 1, requests: TRANSFERS_PER_CLIENT_MAX + 1 })
    for (const socket of sockets) {
      socket.close()
    }
  })
})

test("a port in use is named", async () => {
  const second = await startTFTPServer({
    address: "127.0.0.1",
    port: server.port,
    files: FILES,
    isSinglePort: false,
    clock: SYSTEM_CLOCK,
    log: makeLogger(),
    onRequest: () => undefined,
  })
  expect(second).toEqual({ ok: false, error: { kind: "port_in_use", port: server.port } })
})
