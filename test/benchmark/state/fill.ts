/** Brings a cluster to a given state: so many keys with values of one length, each written once. Plane: control. */
import { setTimeout as sleep } from "node:timers/promises"
import { CommandCode, COMMAND_HEADER_BYTES } from "../../../appliance/state_machine/command.ts"
import { assert } from "../../../appliance/types/assert.ts"
import { POLL_MS } from "../limits.ts"
import type { Cluster } from "../cluster.ts"
import type { LinkClient } from "../link_load.ts"
import { FILL_ATTEMPTS_MAX, FILL_BATCH_BYTES, FILL_SECONDS_MAX, FILL_SESSIONS, KEY_BYTES } from "./limits.ts"

export type Filling = { readonly keys: number; readonly valueBytes: number }

/** Writes every key; what a view change has left unanswered is written again, to the next primary. */
export async function fill(cluster: Cluster, client: LinkClient, filling: Filling): Promise<void> {
  const batch = Math.floor(FILL_BATCH_BYTES / commandBytes(filling))
  let first = 0
  for (let attempt = 0; attempt < FILL_ATTEMPTS_MAX; attempt += 1) {
    const load = await client.start(await cluster.primary(), {
      sessions: FILL_SESSIONS,
      batch,
      nextBody: bodiesOf(filling, batch, first),
    })
    await untilEnd(load, filling)
    await client.stop()
    if (load.failure() === undefined) {
      return
    }
    // Answers come in any order within what is in flight.
    first += Math.max(0, load.answered() - FILL_SESSIONS * batch)
  }
  throw new Error(`${filling.keys} keys are not written in ${FILL_ATTEMPTS_MAX} attempts`)
}

async function untilEnd(load: Awaited<ReturnType<LinkClient["start"]>>, filling: Filling): Promise<void> {
  const end = performance.now() + FILL_SECONDS_MAX * 1_000
  while (!load.isDone && load.failure() === undefined) {
    if (performance.now() >= end) {
      throw new Error(`${filling.keys} keys are not written in ${FILL_SECONDS_MAX} s`)
    }
    await sleep(POLL_MS)
  }
}

/** Batches of SETs of all keys from `first` in turn; undefined after the last. */
export function bodiesOf(filling: Filling, batch: number, first = 0): () => Uint8Array | undefined {
  const { keys, valueBytes } = filling
  const bytes = commandBytes(filling)
  assert(batch > 0, "fill: a batch has commands")
  let key = first
  return () => {
    const commands = Math.min(batch, keys - key)
    if (commands === 0) {
      return undefined
    }
    const body = Buffer.alloc(commands * bytes, "v")
    for (let command = 0; command < commands; command += 1) {
      const at = command * bytes
      body.fill(0, at, at + COMMAND_HEADER_BYTES)
      body.writeUInt8(CommandCode.set, at)
      body.writeUInt16LE(KEY_BYTES, at + 2)
      body.writeUInt32LE(valueBytes, at + 4)
      body.write(keyOf(key), at + COMMAND_HEADER_BYTES, "latin1")
      key += 1
    }
    return body
  }
}

export function keyOf(number: number): string {
  return `s${String(number).padStart(KEY_BYTES - 1, "0")}`
}

function commandBytes(filling: Filling): number {
  return COMMAND_HEADER_BYTES + KEY_BYTES + filling.valueBytes
}
