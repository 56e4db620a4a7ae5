/** A thousand clients at once: each is served, or refused by an error that says why. Plane: control. */
import { setTimeout as sleep } from "node:timers/promises"
import { CONNECT_MS, FLOOD_CONNECTIONS, FLOOD_HOLD_MS, FLOOD_OPENING_AT_ONCE, READ_MS } from "./limits.ts"
import { RespClient } from "./resp_client.ts"

/** `refused` by an error that says why; `failed` without an answer. */
export type FloodCounts = { served: number; refused: number; failed: number }

export async function flood(ports: readonly number[], counts: FloodCounts): Promise<void> {
  const clients: RespClient[] = []
  for (let opened = 0; opened < FLOOD_CONNECTIONS; opened += FLOOD_OPENING_AT_ONCE) {
    const some = Array.from({ length: FLOOD_OPENING_AT_ONCE }, (_, index) => openOne(ports, opened + index, counts))
    clients.push(...(await Promise.all(some)).filter((client) => client !== undefined))
  }
  await sleep(FLOOD_HOLD_MS)
  await Promise.all(clients.map((client) => askOnce(client, counts)))
  for (const client of clients) {
    client.close()
  }
}

async function openOne(ports: readonly number[], index: number, counts: FloodCounts): Promise<RespClient | undefined> {
  const client = await RespClient.connect(ports[index % ports.length] ?? 0, CONNECT_MS)
  if (client === undefined) {
    counts.failed += 1
    return undefined
  }
  const reply = await client.command(["PING"], READ_MS)
  if (reply.kind === "answered" && reply.value.kind === "text") {
    return client
  }
  counts[reply.kind === "answered" ? "refused" : "failed"] += 1
  client.close()
  return undefined
}

async function askOnce(client: RespClient, counts: FloodCounts): Promise<void> {
  const reply = await client.command(["GET", "chaos:flood"], READ_MS)
  const isServed = reply.kind === "answered" && reply.value.kind !== "error"
  counts[isServed ? "served" : reply.kind === "answered" ? "refused" : "failed"] += 1
}
