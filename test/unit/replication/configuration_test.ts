/** Who a cluster may consist of, and the bytes that say so. Plane: control. */
import { crc32 as zlibCRC32 } from "node:zlib"
import { describe, expect, test } from "vitest"
import {
  type Configuration,
  configurationFault,
  decodeConfiguration,
  encodeConfiguration,
  foundingConfiguration,
  memberAt,
  votes,
} from "../../../appliance/replication/configuration.ts"
import { CONFIGURATION_BYTES_MAX } from "../../../appliance/types/contracts.ts"
import { STANDBYS_MAX, VOTERS_MAX } from "../../../appliance/types/limits.ts"

const SLOTS = VOTERS_MAX + STANDBYS_MAX
const PAIR: Configuration = {
  generation: 2,
  epoch: 3,
  op: 0x1_0000_0005,
  view: 9,
  synchronous: true,
  grown_to: 0xa1b2_c3d4,
  voters: [{ slot: 4, nonce: 0xffff_fffe }],
  standbys: [{ slot: 1, nonce: 7 }],
}

function fault(voters: number[], standbys: number[] = [], synchronous = false): string | undefined {
  return configurationFault({ voters, standbys, synchronous, slotsMax: SLOTS })
}

describe("bytes", () => {
  test("field by field", () => {
    const hex = Buffer.from(encodeConfiguration(PAIR)).toString("hex")
    const fields = [
      ...["02000000", "03000000", "0500000001000000", "09000000", "010101", "d4c3b2a1"],
      ...["04feffffff", "0107000000"],
    ].join("")
    const checksum = Buffer.alloc(4)
    checksum.writeUInt32LE(zlibCRC32(Buffer.from(fields, "hex")))
    expect(hex).toBe(fields + checksum.toString("hex"))
    expect(decodeConfiguration(encodeConfiguration(PAIR), SLOTS)).toEqual(PAIR)
  })

  test("the largest fits its bound", () => {
    const members = Array.from({ length: SLOTS }, (_, slot) => ({ slot, nonce: slot + 1 }))
    const [voters, standbys] = [members.slice(0, VOTERS_MAX), members.slice(VOTERS_MAX)]
    const bytes = encodeConfiguration({ ...PAIR, synchronous: false, voters, standbys })
    expect(bytes.length).toBeLessThanOrEqual(CONFIGURATION_BYTES_MAX)
    expect(decodeConfiguration(bytes, SLOTS)?.standbys).toEqual(standbys)
  })

  test("no bytes but a configuration's are one", () => {
    const bytes = encodeConfiguration(PAIR)
    expect(decodeConfiguration(bytes.subarray(1), SLOTS)).toBeUndefined()
    expect(decodeConfiguration(bytes.subarray(0, 26), SLOTS)).toBeUndefined()
    expect(decodeConfiguration(new Uint8Array(CONFIGURATION_BYTES_MAX + 1), SLOTS)).toBeUndefined()
    for (const [offset, value] of [
      [12 + 3, 0xff], // an op above 2^53
      [20, 2], // neither true nor false
      [21, 2], // two voters
      [22, 0], // synchronous with nobody
      [27, SLOTS], // a slot that does not exist
      [32, 4], // a slot named twice
    ] as const) {
      const forged = bytes.slice()
      forged[offset] = value
      const end = forged.length - 4
      new DataView(forged.buffer).setUint32(end, zlibCRC32(forged.subarray(0, end)), true)
      expect(decodeConfiguration(forged, SLOTS), `offset ${offset}`).toBeUndefined()
    }
  })

  test("a flipped bit is seen, wherever it is", () => {
    const bytes = encodeConfiguration(PAIR)
    for (let bit = 0; bit < 8 * bytes.length; bit += 1) {
      const flipped = bytes.slice()
      flipped[bit >>> 3] = (flipped[bit >>> 3] ?? 0) ^ (1 << (bit & 7))
      expect(decodeConfiguration(flipped, SLOTS), `bit ${bit}`).toBeUndefined()
    }
  })
})

describe("members", () => {
  test("1, 3, 5 or 7 voters, each slot once, standbys bounded", () => {
    expect(fault([0])).toBeUndefined()
    expect(fault([2, 0, 1], [3, 4])).toBeUndefined()
    expect(fault([])).toMatch(/voters are/)
    expect(fault([0, 1])).toMatch(/voters are/)
    expect(fault([0, 1, 1])).toMatch(/once/)
    expect(fault([0, 1, 2], [2])).toMatch(/once/)
    expect(fault([0, 1, SLOTS])).toMatch(/a slot is/)
    expect(fault([0], [1, 2, 3, 4, 5])).toMatch(/standbys/)
  })

  test("a synchronous standby stands beside one voter, alone", () => {
    expect(fault([0], [1], true)).toBeUndefined()
    expect(fault([0], [], true)).toMatch(/alone/)
    expect(fault([0], [1, 2], true)).toMatch(/alone/)
    expect(fault([0, 1, 2], [3], true)).toMatch(/alone/)
  })

  test("a cluster is founded by the first slots", () => {
    const founding = foundingConfiguration(1, 3)
    expect(founding.voters.map((member) => member.slot)).toEqual([0, 1, 2])
    expect(votes(founding, 2)).toBe(true)
    expect(votes(founding, 3)).toBe(false)
    expect(memberAt(PAIR, 1)?.nonce).toBe(7)
    expect(memberAt(PAIR, 0)).toBeUndefined()
  })
})
