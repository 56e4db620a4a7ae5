/**
 * Who a cluster is, epoch by epoch: which slots vote, in which order they become primary, which stand by. The last op
 * of an epoch is the next one's configuration (VRR, section 7). Pure data with its bytes; all integers little-endian:
 *
 *   offset size
 *        0    4  generation
 *        4    4  epoch
 *        8    8  op: the entry that began the epoch
 *       16    4  view: the one in which that entry was prepared
 *       20    1  1 when the only voter answers nothing that its standby has not confirmed, else 0
 *       21    1  voters
 *       22    1  standbys
 *       23    4  fingerprint of the limits that begin with the epoch, 0 where they stay as they are
 *       27   5n  members, voters first: slot u8, nonce of its process u32
 *    27+5n    4  CRC-32 of what stands before: a flipped bit in a machine's memory must not become who the cluster is
 *
 * Plane: control.
 */
import { assert } from "../types/assert.ts"
import { CONFIGURATION_BYTES_MAX } from "../types/contracts.ts"
import { crc32 } from "../types/checksum.ts"
import { GROWS_TO_NONE } from "../types/growth.ts"
import { STANDBYS_MAX, VOTER_COUNTS, VOTERS_MAX } from "../types/limits.ts"

export type Member = {
  readonly slot: number
  /**
   * The nonce of the very process that may enter the epoch without recovering: it has promised nothing in it, and
   * forgotten nothing. Any other process of the slot recovers (rule 27). 0 in the founding configuration.
   */
  readonly nonce: number
}

export type Configuration = {
  readonly generation: number
  /** 0 when the cluster is founded, one more with each reconfiguration. */
  readonly epoch: number
  /** The op that began the epoch, committed in the one before; 0 in the founding one. */
  readonly op: number
  /**
   * The view, of the epoch before, in which that op was prepared: with the op it names the very entry, so that who
   * holds that entry needs nobody's word for it.
   */
  readonly view: number
  /** One voter and one standby: nothing is answered that the two have not both confirmed (rule 6). */
  readonly synchronous: boolean
  /**
   * Fingerprint of the limits that begin with this epoch; 0 where they are those of the epoch before. Who is of other
   * limits cannot follow into it.
   */
  readonly grown_to: number
  /** The primary of view v is voters[v mod N]. */
  readonly voters: readonly Member[]
  readonly standbys: readonly Member[]
}

const HEAD_BYTES = 27
const MEMBER_BYTES = 5
const CRC_BYTES = 4
const U32 = 0x1_0000_0000
const U53_HIGH_MAX = 0x1f_ffff

/** What a cluster is founded with: slots 0 to voters - 1. */
export function foundingConfiguration(generation: number, voters: number): Configuration {
  assert(VOTER_COUNTS.includes(voters), "configuration: voters are 1, 3, 5 or 7")
  return {
    generation,
    epoch: 0,
    op: 0,
    view: 0,
    synchronous: false,
    grown_to: GROWS_TO_NONE,
    voters: Array.from({ length: voters }, (_, slot) => ({ slot, nonce: 0 })),
    standbys: [],
  }
}

/** f of the paper: how many voters may be down. */
export function faultsOf(configuration: Configuration): number {
  return (configuration.voters.length - 1) / 2
}

export function votes(configuration: Configuration, slot: number): boolean {
  return configuration.voters.some((member) => member.slot === slot)
}

export function memberAt(configuration: Configuration, slot: number): Member | undefined {
  const isSlot = (member: Member): boolean => member.slot === slot
  return configuration.voters.find(isSlot) ?? configuration.standbys.find(isSlot)
}

/** Why these slots can be no configuration; undefined when they can (rule 6). */
export function configurationFault(slots: {
  readonly voters: readonly number[]
  readonly standbys: readonly number[]
  readonly synchronous: boolean
  readonly slotsMax: number
}): string | undefined {
  const { voters, standbys, synchronous, slotsMax } = slots
  const all = [...voters, ...standbys]
  if (!VOTER_COUNTS.includes(voters.length)) {
    return "voters are 1, 3, 5 or 7"
  }
  if (standbys.length > STANDBYS_MAX) {
    return `standbys are at most ${STANDBYS_MAX}`
  }
  if (!all.every((slot) => Number.isInteger(slot) && slot >= 0 && slot < slotsMax)) {
    return `a slot is 0 to ${slotsMax - 1}`
  }
  if (new Set(all).size !== all.length) {
    return "a slot is named once"
  }
  return synchronous && (voters.length !== 1 || standbys.length !== 1)
    ? "a synchronous standby stands beside one voter, alone"
    : undefined
}

export function configurationBytes(configuration: Configuration): number {
  return HEAD_BYTES + (configuration.voters.length + configuration.standbys.length) * MEMBER_BYTES + CRC_BYTES
}

export function encodeConfiguration(configuration: Configuration): Uint8Array {
  const bytes = new Uint8Array(configurationBytes(configuration))
  assert(bytes.length <= CONFIGURATION_BYTES_MAX, "configuration: its bytes are bounded")
  const view = new DataView(bytes.buffer)
  view.setUint32(0, configuration.generation, true)
  view.setUint32(4, configuration.epoch, true)
  view.setUint32(8, configuration.op % U32, true)
  view.setUint32(12, Math.floor(configuration.op / U32), true)
  view.setUint32(16, configuration.view, true)
  view.setUint8(20, configuration.synchronous ? 1 : 0)
  view.setUint8(21, configuration.voters.length)
  view.setUint8(22, configuration.standbys.length)
  view.setUint32(23, configuration.grown_to, true)
  let offset = HEAD_BYTES
  for (const member of [...configuration.voters, ...configuration.standbys]) {
    view.setUint8(offset, member.slot)
    view.setUint32(offset + 1, member.nonce, true)
    offset += MEMBER_BYTES
  }
  view.setUint32(offset, crc32(bytes, 0, offset), true)
  assert(offset + CRC_BYTES === bytes.length, "configuration: what was written is as long as what was counted")
  return bytes
}

/** `bytes` as a configuration; undefined when they are not intact, or none that rule 6 allows. Total over any bytes. */
export function decodeConfiguration(bytes: Uint8Array, slotsMax: number): Configuration | undefined {
  if (bytes.length < HEAD_BYTES + CRC_BYTES || bytes.length > CONFIGURATION_BYTES_MAX) {
    return undefined
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const voterCount = view.getUint8(21)
  const standbyCount = view.getUint8(22)
  const high = view.getUint32(12, true)
  const flag = view.getUint8(20)
  const isCounted = voterCount <= VOTERS_MAX && standbyCount <= STANDBYS_MAX
  if (!isCounted || flag > 1 || high > U53_HIGH_MAX) {
    return undefined
  }
  const end = bytes.length - CRC_BYTES
  const isWhole = end === HEAD_BYTES + (voterCount + standbyCount) * MEMBER_BYTES
  if (!isWhole || view.getUint32(end, true) !== crc32(bytes, 0, end)) {
    return undefined
  }
  const members: Member[] = []
  for (let offset = HEAD_BYTES; offset < end; offset += MEMBER_BYTES) {
    members.push({ slot: view.getUint8(offset), nonce: view.getUint32(offset + 1, true) })
  }
  const configuration: Configuration = {
    generation: view.getUint32(0, true),
    epoch: view.getUint32(4, true),
    op: high * U32 + view.getUint32(8, true),
    view: view.getUint32(16, true),
    synchronous: flag === 1,
    grown_to: view.getUint32(23, true),
    voters: members.slice(0, voterCount),
    standbys: members.slice(voterCount),
  }
  const fault = configurationFault({
    voters: configuration.voters.map((member) => member.slot),
    standbys: configuration.standbys.map((member) => member.slot),
    synchronous: configuration.synchronous,
    slotsMax,
  })
  return fault === undefined ? configuration : undefined
}
