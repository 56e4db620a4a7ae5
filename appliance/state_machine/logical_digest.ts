/**
 * What an arena says, whatever its layout: 64 bits over every record of every table in a fixed order, so that two
 * arenas of different limits can be compared. Each record is preceded by its length, and each step is a bijection of
 * its lane: a change within one word always changes the digest. It guards against chance, not malice. Left out is what
 * depends on the layout (entry numbers, blocks, places in heap and index) and the op of the last checkpoint, which is
 * about pages. Plane: control.
 */
import { HeaderOffset } from "./arena.ts"
import type { ArenaTables } from "./arena_tables.ts"
import { EVENT_RECORD_BYTES } from "./record_tables.ts"

const PRIME_1 = 0x9e37_79b1 | 0
const PRIME_2 = 0x85eb_ca77 | 0
const PRIME_3 = 0xc2b2_ae3d | 0

class Digester {
  readonly #view: DataView
  #a = PRIME_1
  #b = PRIME_2

  constructor(view: DataView) {
    this.#view = view
  }

  number(value: number): void {
    this.#word(value | 0)
    this.#word(Math.floor(value / 0x1_0000_0000) | 0)
  }

  /** The arena's bytes [start, end), and how many they are. */
  bytes(start: number, end: number): void {
    this.#word(end - start)
    let at = start
    for (; at + 4 <= end; at += 4) {
      this.#word(this.#view.getInt32(at, true))
    }
    for (; at < end; at += 1) {
      this.#word(this.#view.getUint8(at))
    }
  }

  #word(word: number): void {
    const a = (this.#a + Math.imul(word, PRIME_2)) | 0
    this.#a = Math.imul((a << 13) | (a >>> 19), PRIME_1)
    const b = this.#b ^ Math.imul(word, PRIME_3)
    this.#b = Math.imul((b << 17) | (b >>> 15), PRIME_2)
  }

  /** 16 hexadecimal digits. */
  text(): string {
    return [this.#a, this.#b].map((lane) => (lane >>> 0).toString(16).padStart(8, "0")).join("")
  }
}

export function logicalDigest(tables: ArenaTables): string {
  const { view, keyedRecords } = tables
  const digester = new Digester(view)
  for (const offset of [HeaderOffset.commit, HeaderOffset.timestamp, HeaderOffset.wall_offset]) {
    digester.bytes(offset, offset + 8)
  }
  const configurationBytes = view.getUint16(HeaderOffset.configuration_bytes, true)
  digester.bytes(HeaderOffset.configuration, HeaderOffset.configuration + configurationBytes)
  digestSessions(tables, digester)
  for (const [number, table] of keyedRecords) {
    const count = table.count()
    digester.number(number)
    digester.number(count)
    for (let index = 0; index < count; index += 1) {
      digester.bytes(table.offset(index), table.offset(index) + table.recordBytes)
    }
  }
  digestEvents(tables, digester)
  digestKeyValues(tables, digester)
  return digester.text()
}

/** In the order of their places, of which only those that are taken count. */
function digestSessions({ sessions }: ArenaTables, digester: Digester): void {
  for (let index = 0; index < sessions.count; index += 1) {
    if (!sessions.isFree(index)) {
      digester.bytes(sessions.offset(index), sessions.offset(index) + sessions.usedBytes(index))
    }
  }
}

function digestEvents({ events }: ArenaTables, digester: Digester): void {
  digester.number(events.oldest())
  digester.number(events.newest())
  for (let number = events.oldest(); number <= events.newest(); number += 1) {
    digester.bytes(events.offset(number), events.offset(number) + EVENT_RECORD_BYTES)
  }
}

/** In the order of their entries, which decides what expires first among equal deadlines. */
function digestKeyValues({ kv }: ArenaTables, digester: Digester): void {
  const used = kv.used()
  digester.number(kv.count())
  for (let entry = 0; entry < used; entry += 1) {
    if (kv.isInUse(entry)) {
      digester.bytes(kv.keyOffset(entry), kv.keyOffset(entry) + kv.keyBytes(entry))
      digester.bytes(kv.valueOffset(entry), kv.valueOffset(entry) + kv.valueBytes(entry))
      digester.number(kv.deadline(entry))
    }
  }
}
