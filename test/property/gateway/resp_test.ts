/** Any commands, split anywhere, are the same commands; and no bytes of any kind stop the gateway. Plane: control. */
import fc from "fast-check"
import { expect, test } from "vitest"
import { COMMAND_BYTES_MAX } from "../../../appliance/gateway/limits.ts"
import { ParseStatus, RequestParser } from "../../../appliance/gateway/resp/parser.ts"
import { PRNG } from "../../../appliance/types/prng.ts"
import { ClusterOfOne } from "../../unit/gateway/cluster_of_one.ts"
import { encodeCommand, TestClient } from "../../unit/gateway/test_client.ts"

const MUTATED_INPUTS = 100_000
/** Those that go through commands, session, replica and state machine as well. */
const MUTATED_CONVERSATIONS = 20_000
const SEED = 20_261_123

const commandArbitrary = fc.array(fc.uint8Array({ maxLength: 40 }), { minLength: 1, maxLength: 8 })
const wordArbitrary = fc.stringMatching(/^[!#-&(-~]{1,12}$/).filter((word) => !word.startsWith("*"))

function parseChunks(bytes: Buffer, cuts: readonly number[]): { commands: string[][]; error: string } {
  const parser = new RequestParser(Buffer.alloc(COMMAND_BYTES_MAX))
  const edges = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]
  const commands: string[][] = []
  for (let index = 1; index < edges.length; index += 1) {
    const chunk = Buffer.from(bytes.subarray(edges[index - 1], edges[index]))
    feed(parser, chunk, (command) => commands.push(command))
  }
  return { commands, error: parser.error }
}

function feed(parser: RequestParser, chunk: Buffer, onCommand: (command: string[]) => void): void {
  for (let offset = 0; offset < chunk.length; ) {
    offset += parser.write(chunk, offset)
    let status = parser.next()
    for (; status === ParseStatus.command; status = parser.next()) {
      const command: string[] = []
      for (let index = 0; index < parser.argumentCount; index += 1) {
        const start = parser.start(index)
        command.push(parser.buffer.toString("latin1", start, start + parser.keptBytes(index)))
      }
      onCommand(command)
    }
    if (status === ParseStatus.error) {
      return
    }
  }
}

test("arrays of any bytes, split anywhere", () => {
  fc.assert(
    fc.property(
      fc.array(commandArbitrary, { maxLength: 10 }),
      fc.array(fc.nat(), { maxLength: 10 }),
      (commands, cuts) => {
        const bytes = Buffer.concat(commands.map((command) => encodeCommand(command.map((word) => Buffer.from(word)))))
        const expected = commands.map((command) => command.map((word) => Buffer.from(word).toString("latin1")))
        expect(parseChunks(bytes, cuts)).toEqual({ commands: expected, error: "" })
      },
    ),
    { seed: SEED, numRuns: 500 },
  )
})

test("lines of plain words, split anywhere", () => {
  const lineArbitrary = fc.array(wordArbitrary, { minLength: 1, maxLength: 6 })
  fc.assert(
    fc.property(fc.array(lineArbitrary, { maxLength: 10 }), fc.array(fc.nat(), { maxLength: 10 }), (lines, cuts) => {
      const bytes = Buffer.from(lines.map((line) => `${line.join(" ")}\r\n`).join(""))
      expect(parseChunks(bytes, cuts)).toEqual({ commands: lines, error: "" })
    }),
    { seed: SEED, numRuns: 500 },
  )
})

test("how a broken stream is split makes no difference to what it is", () => {
  const random = new PRNG(SEED)
  for (let run = 0; run < 2_000; run += 1) {
    const bytes = mutate(random, conversation(random))
    const whole = parseChunks(bytes, [])
    const split = parseChunks(bytes, [random.below(1_000), random.below(1_000), random.below(1_000)])
    expect(split, `seed ${SEED}, run ${run}`).toEqual(whole)
  }
})

test("mutated inputs never throw, and the parser says no more than it was given", { timeout: 120_000 }, () => {
  const random = new PRNG(SEED)
  const parser = new RequestParser(Buffer.alloc(COMMAND_BYTES_MAX))
  let commands = 0
  let errors = 0
  for (let run = 0; run < MUTATED_INPUTS; run += 1) {
    parser.reset()
    const bytes = mutate(random, conversation(random))
    const cut = random.below(bytes.length + 1)
    const count = (): void => {
      commands += 1
    }
    feed(parser, Buffer.from(bytes.subarray(0, cut)), count)
    feed(parser, Buffer.from(bytes.subarray(cut)), count)
    errors += parser.error === "" ? 0 : 1
  }
  // Mutants that are all refused at once, or none, would have tested nothing.
  expect(commands).toBeGreaterThan(MUTATED_INPUTS / 2)
  expect(errors).toBeGreaterThan(MUTATED_INPUTS / 10)
})

test("mutated conversations get whole replies and stop nothing behind the parser", { timeout: 120_000 }, () => {
  const random = new PRNG(SEED)
  const cluster = new ClusterOfOne()
  let replies = 0
  for (let run = 0; run < MUTATED_CONVERSATIONS; run += 1) {
    const client = new TestClient(cluster.gateway)
    const bytes = mutate(random, conversation(random))
    const cut = random.below(bytes.length + 1)
    client.send(bytes.subarray(0, cut))
    cluster.settle()
    client.send(bytes.subarray(cut))
    cluster.settle()
    client.connection.onClosed()
    const answer = client.take()
    replies += answer === "" ? 0 : 1
    expect(answer === "" || answer.endsWith("\r\n"), `seed ${SEED}, run ${run}: ${JSON.stringify(answer)}`).toBe(true)
  }
  const witness = new TestClient(cluster.gateway)
  witness.send("SET witness 1\r\nGET witness\r\n")
  cluster.settle()
  expect(witness.take()).toBe("+OK\r\n$1\r\n1\r\n")
  expect(cluster.gateway.status()).toMatchObject({ connections: 1, commands_waiting: 0 })
  expect(replies).toBeGreaterThan(MUTATED_CONVERSATIONS / 2)
})

const WORDS = [
  "SET",
  "get",
  "MGET",
  "DEL",
  "INCRBY",
  "HELLO",
  "3",
  "CLIENT",
  "setname",
  "NX",
  "GET",
  "EX",
  "10",
  "k",
  "v",
]
const NAMES = ["PING", "ECHO x", 'SET "a\\x41" b', "COMMAND DOCS", "INFO", "EXISTS a b", "DBSIZE", "QUIT", "SELECT 1"]

function conversation(random: PRNG): Buffer {
  const parts: Buffer[] = []
  for (let count = random.between(1, 5); count > 0; count -= 1) {
    if (random.chance(1, 3)) {
      parts.push(Buffer.from(`${NAMES[random.below(NAMES.length)] ?? ""}\r\n`))
    } else {
      const words = Array.from({ length: random.between(1, 5) }, () => WORDS[random.below(WORDS.length)] ?? "")
      parts.push(encodeCommand(words))
    }
  }
  return Buffer.concat(parts)
}

const TOKENS = [
  "\r\n",
  "*",
  "$",
  "-",
  "*-1\r\n",
  "$-1\r\n",
  '"',
  "'",
  "\0",
  "99999999999999999999",
  "*1025\r\n",
  "$524288\r\n",
]

function mutate(random: PRNG, bytes: Buffer): Buffer {
  let mutant = bytes
  for (let count = random.between(0, 4); count > 0; count -= 1) {
    const at = random.below(mutant.length + 1)
    const kind = random.below(5)
    if (kind === 0 && at < mutant.length) {
      mutant = Buffer.from(mutant)
      mutant[at] = random.below(256)
    } else if (kind === 1) {
      mutant = Buffer.concat([mutant.subarray(0, at), mutant.subarray(at + random.between(1, 8))])
    } else if (kind === 2) {
      const token = Buffer.from(TOKENS[random.below(TOKENS.length)] ?? "")
      mutant = Buffer.concat([mutant.subarray(0, at), token, mutant.subarray(at)])
    } else if (kind === 3) {
      mutant = Buffer.concat([mutant.subarray(0, at), mutant.subarray(random.below(mutant.length + 1))])
    } else {
      mutant = Buffer.from(mutant.subarray(0, at))
    }
  }
  return mutant
}
