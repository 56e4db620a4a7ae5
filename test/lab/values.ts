/**
 * The scene's data: random values of this run, written through one machine and read back through another, with a real
 * Redis client. Every write is acknowledged, refused or unknown, and only the acknowledged must be there.
 * Plane: control.
 */
import { randomBytes } from "node:crypto"
import { Redis } from "ioredis"
import { CLIENT_COMMAND_MS, CLIENT_CONNECT_MS, LARGE_READ_EVERY, PIPELINE } from "./limits.ts"

export type WriteCounts = { acknowledged: number; unknown: number; refused: number }
export type ReadCounts = { verified: number; wrong: number; failed: number }

const DATA_PORT = 6379
const SMALL_BYTES = 32

/** What was acknowledged, by key. */
export class Values {
  readonly #values = new Map<string, string>()
  readonly #run = randomBytes(6).toString("hex")
  #next = 0
  /** What clients must give; "" before it is set. */
  password = ""

  get count(): number {
    return this.#values.size
  }

  /** The value that was acknowledged before all others: where it lies in a machine's memory, nothing else is new. */
  get oldest(): string {
    return [...this.#values.values()][0] ?? ""
  }

  /** Writes `count` new values of so many bytes through one machine. */
  async write(address: string, count: number, bytes = SMALL_BYTES): Promise<WriteCounts> {
    const counts = { acknowledged: 0, unknown: 0, refused: 0 }
    const client = await connect(address, this.password)
    if (client === undefined) {
      return { ...counts, refused: count }
    }
    for (let written = 0; written < count; written += PIPELINE) {
      await this.#writeSome(client, { count: Math.min(PIPELINE, count - written), bytes }, counts)
    }
    client.disconnect()
    return counts
  }

  async #writeSome(
    client: Redis,
    what: { readonly count: number; readonly bytes: number },
    counts: WriteCounts,
  ): Promise<void> {
    const pairs: (readonly [string, string])[] = []
    for (let index = 0; index < what.count; index += 1) {
      this.#next += 1
      pairs.push([`${this.#run}:${this.#next}`, randomBytes((what.bytes * 3) / 4).toString("base64url")])
    }
    const answers = await Promise.allSettled(pairs.map(([key, value]) => client.set(key, value)))
    for (const [index, answer] of answers.entries()) {
      const pair = pairs[index]
      if (answer.status === "fulfilled" && answer.value === "OK" && pair !== undefined) {
        this.#values.set(pair[0], pair[1])
        counts.acknowledged += 1
      } else if (answer.status === "rejected" && isRefusal(String(answer.reason))) {
        counts.refused += 1
      } else {
        counts.unknown += 1
      }
    }
  }

  /** Whether a machine lets a client with the password in. */
  async isServed(address: string): Promise<boolean> {
    const client = await connect(address, this.password)
    const answer = await client?.ping().catch(() => undefined)
    client?.disconnect()
    return answer === "PONG"
  }

  /** Reads through one machine what was ever acknowledged, but of the large values a part, and compares. */
  async verify(address: string): Promise<ReadCounts> {
    const counts = { verified: 0, wrong: 0, failed: 0 }
    const client = await connect(address, this.password)
    if (client === undefined) {
      return { ...counts, failed: this.#values.size }
    }
    const pairs = [...this.#values].filter(
      ([, value], index) => value.length === SMALL_BYTES || index % LARGE_READ_EVERY === 0,
    )
    for (let read = 0; read < pairs.length; read += PIPELINE) {
      const some = pairs.slice(read, read + PIPELINE)
      const answers = await Promise.allSettled(some.map(([key]) => client.get(key)))
      for (const [index, answer] of answers.entries()) {
        if (answer.status === "rejected") {
          counts.failed += 1
        } else if (answer.value === some[index]?.[1]) {
          counts.verified += 1
        } else {
          counts.wrong += 1
        }
      }
    }
    client.disconnect()
    return counts
  }
}

/** A refusal names its cause and changed nothing; an answer that never came, or says UNKNOWN, may have. */
function isRefusal(reason: string): boolean {
  return /ReplyError: (?!UNKNOWN )/.test(reason)
}

/** A connection to one machine that gives up rather than waits: what to do then is the scene's to say. */
async function connect(address: string, password: string): Promise<Redis | undefined> {
  const client = new Redis({
    host: address,
    port: DATA_PORT,
    password,
    lazyConnect: true,
    connectTimeout: CLIENT_CONNECT_MS,
    commandTimeout: CLIENT_COMMAND_MS,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
  })
  // Errors reach the caller as rejected commands; without a listener they would end the process.
  client.on("error", () => undefined)
  try {
    await client.connect()
    return client
  } catch {
    client.disconnect()
    return undefined
  }
}
