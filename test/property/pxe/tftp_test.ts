/** TFTP: packets survive their bytes, files arrive whole over a network that loses, no bytes throw. Plane: control. */
import fc from "fast-check"
import { expect, test } from "vitest"
import { PRNG } from "../../../appliance/types/prng.ts"
import { negotiate } from "../../../pxe/tftp/negotiate.ts"
import { decodeTFTP, encodeTFTP, type TFTPPacket } from "../../../pxe/tftp/packet.ts"
import { Transfer } from "../../../pxe/tftp/transfer.ts"
import { mutate } from "./mutate.ts"

const MUTATED_PACKETS = 100_000
const ROUND_TRIPS = 2_000
const SEED = 20_252
const STEPS_MAX = 20_000
/** Rounds in a row that bring the transfer no further; in the next nothing is lost. */
const SILENCES_MAX = 2

const u16 = fc.nat({ max: 0xffff })
const character = fc.integer({ min: 1, max: 255 }).map((one) => String.fromCharCode(one))
const text = (max: number) => fc.string({ unit: character, minLength: 1, maxLength: max })
const options = fc
  .array(fc.tuple(fc.constantFrom("blksize", "tsize", "windowsize", "timeout", "x"), text(8)), { maxLength: 5 })
  .map((pairs) => new Map(pairs))
const packet: fc.Arbitrary<TFTPPacket> = fc.oneof(
  fc.record({
    kind: fc.constantFrom("rrq" as const, "wrq" as const),
    file: text(100),
    mode: fc.constantFrom("octet", "netascii", "mail"),
    options,
  }),
  fc.record({ kind: fc.constant("data" as const), block: u16, bytes: fc.uint8Array({ maxLength: 600 }) }),
  fc.record({ kind: fc.constant("ack" as const), block: u16 }),
  fc.record({ kind: fc.constant("error" as const), code: u16, message: text(100) }),
  fc.record({ kind: fc.constant("oack" as const), options }),
)

test("what is encoded is decoded to the same", () => {
  const property = fc.property(packet, (one) => {
    expect(decodeTFTP(encodeTFTP(one))).toEqual({ ok: true, value: one })
  })
  fc.assert(property, { numRuns: ROUND_TRIPS })
})

test(`${MUTATED_PACKETS} mutated packets: each is refused or means something, and a transfer bears it`, () => {
  const prng = new PRNG(SEED)
  const sources: readonly TFTPPacket[] = [
    { kind: "rrq", file: "snponly.efi", mode: "octet", options: new Map([["blksize", "1468"]]) },
    { kind: "ack", block: 1 },
    { kind: "data", block: 7, bytes: new Uint8Array(20) },
    { kind: "error", code: 8, message: "User aborted the transfer" },
    { kind: "oack", options: new Map([["tsize", "5"]]) },
  ]
  const file = new Uint8Array(2_000)
  let transfer = new Transfer(file, negotiate(new Map(), file.length))
  transfer.start()
  const seen = { refused: 0, understood: 0, ended: 0 }
  for (let index = 0; index < MUTATED_PACKETS; index += 1) {
    const source = sources[prng.below(sources.length)] ?? { kind: "ack", block: 0 }
    const decoded = decodeTFTP(mutate(encodeTFTP(source), prng))
    if (!decoded.ok) {
      seen.refused += 1
      continue
    }
    seen.understood += 1
    transfer.onPacket(decoded.value)
    if (transfer.state !== "running") {
      seen.ended += 1
      transfer = new Transfer(file, negotiate(new Map([["windowsize", "4"]]), file.length))
      transfer.start()
    }
  }
  expect(Math.min(...Object.values(seen))).toBeGreaterThan(MUTATED_PACKETS / 100)
})

test("a file arrives whole through loss, repetition and any terms, as long as the client lives", () => {
  const property = fc.property(
    fc.nat({ max: 3_000 }),
    fc.integer({ min: 8, max: 600 }),
    fc.integer({ min: 1, max: 70 }),
    fc.nat({ max: 0xffff_ffff }),
    (fileBytes, blockBytes, windowBlocks, seed) => {
      const prng = new PRNG(seed)
      const file = Uint8Array.from({ length: fileBytes }, () => prng.below(256))
      const asked = new Map([
        ["blksize", String(blockBytes)],
        ["windowsize", String(windowBlocks)],
      ])
      const terms = negotiate(asked, fileBytes)
      const transfer = new Transfer(file, terms)
      expect(receive(transfer, { prng, blockBytes: terms.block_bytes, windowBlocks: terms.window_blocks })).toEqual(
        file,
      )
      expect(transfer.state).toBe("done")
    },
  )
  fc.assert(property, { numRuns: 300 })
})

type Receiver = { readonly prng: PRNG; readonly blockBytes: number; readonly windowBlocks: number }

/** RFC 7440's receiver: acknowledges a whole window, the last block, and the last one in order when one is missing. */
function receive(transfer: Transfer, { prng, blockBytes, windowBlocks }: Receiver): Uint8Array {
  const received: number[] = []
  let last = 0
  let isEnded = false
  let inFlight = transfer.start()
  let silences = 0
  for (let step = 0; step < STEPS_MAX && transfer.state === "running"; step += 1) {
    let ack: number | undefined
    let inWindow = 0
    // The network is never worse than the server's patience.
    const isLossy = silences < SILENCES_MAX
    for (const bytes of inFlight) {
      const isLost = isLossy && prng.chance(1, 8)
      const decoded = isLost ? undefined : decodeTFTP(bytes)
      if (decoded?.ok !== true) {
        continue
      }
      if (decoded.value.kind === "oack") {
        ack = 0
      } else if (decoded.value.kind === "data" && !isEnded && decoded.value.block === ((last + 1) & 0xffff)) {
        last += 1
        inWindow += 1
        received.push(...decoded.value.bytes)
        isEnded = decoded.value.bytes.length < blockBytes
        ack = isEnded || inWindow === windowBlocks ? last : ack
      } else {
        ack = last
      }
    }
    if (ack === undefined || (isLossy && prng.chance(1, 10))) {
      inFlight = transfer.onTimeout()
      silences += 1
      continue
    }
    inFlight = transfer.onPacket({ kind: "ack", block: ack & 0xffff })
    if (prng.chance(1, 10) && transfer.state === "running") {
      expect(transfer.onPacket({ kind: "ack", block: ack & 0xffff })).toEqual([])
    }
    silences = inFlight.length > 0 ? 0 : silences + 1
    if (inFlight.length === 0 && transfer.state === "running") {
      inFlight = transfer.onTimeout()
    }
  }
  return Uint8Array.from(received)
}
