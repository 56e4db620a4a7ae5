/** The greeting, byte for byte, and every reason to refuse one. Plane: control. */
import { describe, expect, test } from "vitest"
import {
  ANSWER_BYTES,
  decodeAnswer,
  decodeHello,
  encodeAnswer,
  encodeHello,
  HELLO_BYTES,
  type Hello,
  ipv4Bytes,
  judgeHello,
} from "../../../appliance/orchestration/hello.ts"
import { crc32 } from "../../../appliance/types/checksum.ts"
import { PRNG } from "../../../appliance/types/prng.ts"

const IDENTITY = {
  cluster_id: Uint8Array.from({ length: 16 }, (_, index) => index + 1),
  generation: 2,
  limits_fingerprint: 0xaabb_ccdd,
}
const HELLO: Hello = {
  from: 1,
  to: 0,
  epoch: 3,
  identity: IDENTITY,
  incarnation: 7,
  nonce: 0x0102_0304,
  address: "10.0.0.12",
  port: 7400,
}
const OWN = { slot: 0, slotsMax: 3, identity: IDENTITY }
const MUTATED = 20_000

function sealed(bytes: Uint8Array): Uint8Array {
  new DataView(bytes.buffer).setUint32(4, crc32(bytes, 8, bytes.length), true)
  return bytes
}

describe("hello", () => {
  test("bytes", () => {
    const bytes = encodeHello(HELLO, crc32)
    expect(bytes.length).toBe(HELLO_BYTES)
    expect(Buffer.from(bytes.subarray(0, 4)).toString()).toBe("MDLH")
    expect(Buffer.from(bytes.subarray(8)).toString("hex")).toBe(
      "01010000" +
        "0102030405060708090a0b0c0d0e0f10" +
        "0200000003000000ddccbbaa" +
        "0700000004030201" +
        "0a00000c" +
        "e81c0000",
    )
    expect(decodeHello(bytes, 0, crc32)).toEqual({ ok: true, value: HELLO })
  })

  test("every reason to refuse", () => {
    const refused = (change: Partial<Hello>): string => judgeHello({ ...HELLO, ...change }, OWN)
    const identity = (change: Partial<typeof IDENTITY>): string => refused({ identity: { ...IDENTITY, ...change } })
    expect(refused({})).toBe("accepted")
    expect(identity({ cluster_id: new Uint8Array(16) })).toBe("wrong_cluster")
    expect(identity({ generation: 1 })).toBe("wrong_generation")
    expect(identity({ limits_fingerprint: 1 })).toBe("wrong_limits")
    // Members of two epochs must talk, or the one that is behind never hears of the other.
    expect(refused({ epoch: 4 })).toBe("accepted")
    expect(refused({ to: 2 })).toBe("wrong_slot")
    expect(refused({ from: 0 })).toBe("wrong_slot")
    expect(refused({ from: 3 })).toBe("wrong_slot")
  })

  test("damaged, of another version, or somebody else's", () => {
    const bytes = encodeHello(HELLO, crc32)
    bytes[20] = (bytes[20] ?? 0) ^ 1
    expect(decodeHello(bytes, 0, crc32)).toEqual({ ok: false, error: "bad_hello" })
    const other = encodeHello(HELLO, crc32)
    other[8] = 2
    expect(decodeHello(sealed(other), 0, crc32)).toEqual({ ok: false, error: "bad_version" })
    const http = new Uint8Array(HELLO_BYTES)
    http.set(new TextEncoder().encode("GET /cluster HTTP/1.1"))
    expect(decodeHello(http, 0, crc32)).toEqual({ ok: false, error: "bad_hello" })
    const portless = encodeHello(HELLO, crc32)
    portless[52] = 0
    portless[53] = 0
    expect(decodeHello(sealed(portless), 0, crc32)).toEqual({ ok: false, error: "bad_hello" })
  })

  test("no mutation makes it throw", () => {
    const random = new PRNG(3)
    let whole = 0
    for (let count = 0; count < MUTATED; count += 1) {
      const bytes = encodeHello(HELLO, crc32)
      bytes[random.below(HELLO_BYTES)] = random.below(256)
      const decoded = decodeHello(random.chance(1, 2) ? sealed(bytes) : bytes, 0, crc32)
      whole += decoded.ok ? 1 : 0
      expect(decoded.ok ? ipv4Bytes(decoded.value.address) !== undefined : true).toBe(true)
    }
    expect(whole).toBeGreaterThan(1_000)
  })
})

test("answer", () => {
  const bytes = encodeAnswer({ outcome: "wrong_limits", from: 2, nonce: 9 }, crc32)
  expect(bytes.length).toBe(ANSWER_BYTES)
  expect(Buffer.from(bytes.subarray(8)).toString("hex")).toBe("0107020009000000")
  expect(decodeAnswer(bytes, 0, crc32)).toEqual({ ok: true, value: { outcome: "wrong_limits", from: 2, nonce: 9 } })
  bytes[9] = 99
  expect(decodeAnswer(sealed(bytes), 0, crc32)).toEqual({ ok: false, error: "bad_answer" })
  bytes[8] = 2
  expect(decodeAnswer(sealed(bytes), 0, crc32)).toEqual({ ok: false, error: "bad_version" })
  bytes[0] = 0
  expect(decodeAnswer(bytes, 0, crc32)).toEqual({ ok: false, error: "bad_answer" })
})

test("addresses", () => {
  expect(ipv4Bytes("10.0.0.255")).toEqual(Uint8Array.of(10, 0, 0, 255))
  for (const text of ["", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "a.b.c.d", "1.2.3.-4", "::1"]) {
    expect(ipv4Bytes(text), text).toBeUndefined()
  }
})
