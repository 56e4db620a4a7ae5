/** UDP sockets: what can't be answered is not heard, and what goes wrong is a value. Plane: control. */
import type { RemoteInfo } from "node:dgram"
import { expect, test } from "vitest"
import { bindErrorOf, bindUDP, closeUDP, onDatagram } from "../../../pxe/udp.ts"

const ANY = { address: "127.0.0.1", port: 0, isShared: false, isBroadcasting: false }

test("a datagram from port 0 is not heard, and an error nobody counts ends nothing", async () => {
  const socket = await bindUDP(ANY)
  if (!socket.ok) {
    throw new Error(socket.error.kind)
  }
  const heard: number[] = []
  onDatagram(socket.value, (_bytes, from) => heard.push(from.port))
  const from: RemoteInfo = { address: "127.0.0.1", family: "IPv4", port: 0, size: 1 }
  socket.value.emit("message", Buffer.from("x"), from)
  socket.value.emit("message", Buffer.from("x"), { ...from, port: 68 })
  socket.value.emit("error", new Error("ENETDOWN"))
  expect(heard).toEqual([68])
  await closeUDP(socket.value)
  await closeUDP(socket.value)
})

test("an address that is not ours is said by its code", async () => {
  expect(await bindUDP({ ...ANY, address: "192.0.2.1" })).toEqual({
    ok: false,
    error: { kind: "bind_failed", port: 0, code: "EADDRNOTAVAIL" },
  })
})

test.each([
  ["EADDRINUSE", { kind: "port_in_use", port: 67 }],
  ["EACCES", { kind: "not_permitted", port: 67 }],
  ["EPERM", { kind: "not_permitted", port: 67 }],
  ["ENODEV", { kind: "bind_failed", port: 67, code: "ENODEV" }],
])("%s", (code, error) => {
  expect(bindErrorOf(Object.assign(new Error("bind"), { code }), 67)).toEqual(error)
})
