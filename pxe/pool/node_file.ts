/** The archive of one machine and one boot: the kernel unpacks it over the image, later files win. Plane: control. */
import { assert } from "../../appliance/types/assert.ts"
import type { ClusterSize } from "../../appliance/types/cluster_sizes.ts"
import { encodeCpio } from "../../appliance/types/cpio.ts"
import { HEX_128 } from "./announce.ts"
import type { Firmware } from "./ledger.ts"

/** Where it lies in the booted machine. The directory comes with the archive. */
const NODE_FILE_PATH = "etc/mandala/node.json"
/** It carries a token and a seed. */
const NODE_FILE_MODE = 0o400
const NODE_SCHEMA = 1
const SEED_HEX = /^[0-9a-f]{128}$/

export type NodeFile = {
  readonly machine: string
  readonly boot_id: string
  /** Null for a spare. */
  readonly slot: number | null
  readonly voters: number
  readonly size: ClusterSize
  /** The larger size that the machine is to have room for; null for none. */
  readonly grow_to: ClusterSize | null
  readonly cluster_id: string
  readonly generation: number
  readonly epoch: number
  /** Empty: may recover or join, never found. */
  readonly formation_token: string
  readonly boot_server: string
  /** 64 random bytes: processors without RDRAND wait seconds for the kernel to gather its own. */
  readonly seed: string
  readonly firmware: Firmware
}

export function encodeNodeArchive(file: NodeFile): Uint8Array<ArrayBuffer> {
  assert(HEX_128.test(file.boot_id) && HEX_128.test(file.cluster_id), "node file: ids are 32 hexadecimal digits")
  assert(file.formation_token === "" || HEX_128.test(file.formation_token), "node file: a token or none")
  assert(file.formation_token === "" || file.slot !== null, "node file: a spare founds nothing")
  assert(SEED_HEX.test(file.seed), "node file: a seed is 64 bytes in hexadecimal")
  const text = `${JSON.stringify({ schema: NODE_SCHEMA, ...file })}\n`
  return encodeCpio([{ path: NODE_FILE_PATH, mode: NODE_FILE_MODE, bytes: new TextEncoder().encode(text) }])
}
