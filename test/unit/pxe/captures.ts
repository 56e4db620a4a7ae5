/**
 * Packets as firmware sent them, from a capture of QEMU 7.2 with its iPXE ROM and with OVMF 2022.11. Plane: control.
 */

/** Pairs of digits; `..N` stands for N zero bytes, blanks for nothing. */
export function fromHex(text: string): Uint8Array {
  const bytes: number[] = []
  for (const word of text.trim().split(/\s+/)) {
    if (word.startsWith("..")) {
      bytes.push(...new Array<number>(Number(word.slice(2))).fill(0))
    } else {
      bytes.push(...(word.match(/../g) ?? []).map((pair) => Number.parseInt(pair, 16)))
    }
  }
  return Uint8Array.from(bytes)
}

export function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex")
}

/** QEMU's BIOS ROM of e1000, which is iPXE: options 53 57 93 94 60 77 (raw) 55 175 61 97. */
export const IPXE_DISCOVER = `
  01010600 9fea611e 0004 0000 ..16 525400770001 ..10 ..64 ..128 63825363
  350101 390205c0 5d020000 5e03010201 3c20505845436c69656e743a417263683a30303030303a554e44493a303032303031
  4d0469505845 3717010306070c0f111a2b3c4243778081828384858687afcb
  af30 b105018086100e eb03010000 170101 220101 130101 110101 270101 190101 290101 100102 210101 150101 180101 120101
  3d0701525400770001 6111 ..17 ff`

/** OVMF's own PXE client on virtio. */
export const OVMF_DISCOVER = `
  01010600 dada5bf5 0000 8000 ..16 525400770003 ..10 ..64 ..128 63825363
  350101 390205c0 37230102030405060c0d0f111216171c28292a2b3233363a3b3c4243618081828384858687
  6111 ..17 5e03010300 5d020007 3c20505845436c69656e743a417263683a30303030373a554e44493a303033303030 ff`

/** The same after its lease, to port 4011: ciaddr set, neither 50 nor 54. */
export const OVMF_BOOT_SERVER_REQUEST = `
  01010600 c894f05d 0000 0000 0a4d0039 ..12 525400770003 ..10 ..64 ..128 63825363
  350103 37230102030405060c0d0f111216171c28292a2b3233363a3b3c4243618081828384858687 390205c0
  3c20505845436c69656e743a417263683a30303030373a554e44493a303033303030 5d020007 5e03010300 6111 ..17 ff`
