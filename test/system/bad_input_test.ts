/**
 * Three real processes that are sent what no member sends: frames and greetings of another cluster, generation, epoch,
 * incarnation and limits, and broken ones. Each is refused, counted by kind and logged once; none stops a process.
 * Plane: control.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { connect } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { decodeAnswer, encodeHello, type Hello } from "../../appliance/orchestration/hello.ts"
import { zlibChecksum } from "../../appliance/orchestration/system_ports.ts"
import { makeEntry } from "../../appliance/replication/crash_vector.ts"
import type { Message } from "../../appliance/replication/message.ts"
import { encodeMessage, messageFrameBytes, type WireOptions } from "../../appliance/replication/wire.ts"
import { CLUSTER_LIMITS, limitsFingerprint } from "../../appliance/types/limits.ts"
import { PRNG } from "../../appliance/types/prng.ts"
import { Cluster, type Process } from "../chaos/cluster.ts"
import { FORM_MS } from "../chaos/limits.ts"
import { RespClient } from "../chaos/resp_client.ts"

const PATIENCE_MS = 20_000
const TEST_MS = 120_000
/** Who gets the bad input, and in whose name. */
const VICTIM = 0
const FORGED = 1
const TIMES = 2
const DIGEST = "00112233445566778899aabbccddeeff"

let directory = ""
let cluster: Cluster
let victim: Process

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "mandala-bad-input-"))
  cluster = await Cluster.create({ voters: 3, directory, random: new PRNG(1) })
  victim = cluster.start(VICTIM)
  cluster.start(1)
  cluster.start(2)
  expect(await cluster.untilWhole(FORM_MS, () => cluster.selfEnds.length > 0)).toBe(true)
}, TEST_MS)

afterAll(async () => {
  await cluster.destroy()
  rmSync(directory, { recursive: true, force: true })
})

function wire(change: Partial<WireOptions["identity"]>): WireOptions {
  const identity = {
    cluster_id: cluster.clusterID,
    generation: cluster.generation,
    limits_fingerprint: limitsFingerprint(CLUSTER_LIMITS),
    ...change,
  }
  return { identity, limits: CLUSTER_LIMITS, checksum: zlibChecksum }
}

/** A vote of slot 1's first incarnation, with a nonce that is below any that it may have. */
function vote(change: { readonly from?: number; readonly epoch?: number; readonly incarnation?: number }): Message {
  const { from = FORGED, epoch = 0, incarnation = 1 } = change
  const cv = new Array<number>(CLUSTER_LIMITS.slots_max).fill(0)
  cv[from] = incarnation === 0 ? 0 : makeEntry(incarnation, 0)
  return { type: "prepare_ok", from, epoch, cv, view: 0, op: 1_000_000, checksum: DIGEST }
}

function frameOf(message: Message, identity: Partial<WireOptions["identity"]> = {}): Uint8Array {
  const out = new Uint8Array(messageFrameBytes(message))
  expect(encodeMessage(message, wire(identity), out, 0)).toBe(out.length)
  return out
}

/** One byte changed, and the checksum made right again. */
function forged(offset: number, value: number): Uint8Array {
  const frame = frameOf(vote({}))
  frame[offset] = value
  new DataView(frame.buffer).setUint32(4, zlibChecksum(frame, 8, frame.length), true)
  return frame
}

function spoilt(offset: number): Uint8Array {
  const frame = frameOf(vote({}))
  frame[offset] = (frame[offset] ?? 0) ^ 1
  return frame
}

/** A counter of the victim's /metrics. */
async function counted(name: string, kind: string): Promise<number> {
  await cluster.sample()
  const pattern = new RegExp(`^mandala_${name}_total\\{kind="${kind}"\\} (\\d+)$`, "m")
  const found = pattern.exec(victim.metrics)?.[1]
  expect(found, `there is a counter ${name} of kind ${kind}`).toBeDefined()
  return Number(found)
}

async function until(condition: () => Promise<boolean>, what: string): Promise<void> {
  const end = performance.now() + PATIENCE_MS
  while (!(await condition())) {
    expect(performance.now(), what).toBeLessThan(end)
    await sleep(20)
  }
}

function linesOf(kind: string): number {
  return readFileSync(victim.logFile, "utf8")
    .split("\n")
    .filter((line) => line.includes(`"msg":"${kind}"`)).length
}

async function inject(bytes: Uint8Array): Promise<void> {
  const direction = { from: FORGED, to: VICTIM }
  await until(() => Promise.resolve(cluster.relay.inject(direction, bytes)), "the link is open")
}

/** In each test: sent twice, counted twice, logged once, and afterwards the cluster is whole and serves. */
async function expectRefused(refused: {
  readonly counter: string
  readonly kind: string
  readonly line: string
  readonly send: () => Promise<void>
}): Promise<void> {
  const { counter, kind, line, send } = refused
  const before = await counted(counter, kind)
  for (let time = 1; time <= TIMES; time += 1) {
    await send()
    await until(async () => (await counted(counter, kind)) >= before + time, `${kind} is counted`)
    // What was counted in a message's event is logged by the tick after it, and then goes through a pipe.
    await until(() => Promise.resolve(linesOf(line) > 0), `${line} is logged`)
    await until(() => cluster.isWhole(), "the cluster is whole")
  }
  expect(linesOf(line)).toBe(1)
  expect(cluster.selfEnds).toEqual([])
}

describe("a frame on a member's link", () => {
  const frames: readonly (readonly [kind: string, make: () => Uint8Array])[] = [
    ["wrong_cluster", () => frameOf(vote({}), { cluster_id: new Uint8Array(16).fill(1) })],
    ["wrong_generation", () => frameOf(vote({}), { generation: 2 })],
    ["wrong_limits", () => frameOf(vote({}), { limits_fingerprint: 1 })],
    ["bad_checksum", () => spoilt(60)],
    ["bad_length", () => forged(8, 1)],
    ["bad_version", () => forged(12, 9)],
    ["bad_magic", () => spoilt(0)],
    ["unknown_type", () => forged(13, 200)],
    ["bad_field", () => frameOf(vote({ from: 2 }))],
  ]
  test.each(frames)("%s", async (kind, make) => {
    const send = (): Promise<void> => inject(make())
    await expectRefused({ counter: "frames_refused", kind, line: `frame_${kind}`, send })
  })

  test("of another epoch", async () => {
    const send = (): Promise<void> => inject(frameOf(vote({ epoch: 7 })))
    await expectRefused({ counter: "protocol", kind: "wrong_epoch", line: "replica_wrong_epoch", send })
  })

  test("of an incarnation that is over", async () => {
    const send = (): Promise<void> => inject(frameOf(vote({})))
    await expectRefused({ counter: "protocol", kind: "stale_incarnation", line: "replica_stale_incarnation", send })
  })

  test("of a process that has no incarnation", async () => {
    const send = (): Promise<void> => inject(frameOf(vote({ incarnation: 0 })))
    await expectRefused({ counter: "protocol", kind: "unexpected_message", line: "replica_unexpected_message", send })
  })
})

describe("a greeting", () => {
  const greeting = (change: Partial<Hello>): Uint8Array =>
    encodeHello(
      {
        from: FORGED,
        to: VICTIM,
        epoch: 0,
        identity: wire({}).identity,
        incarnation: 1,
        nonce: 1,
        address: "127.0.0.1",
        port: 1,
        ...change,
      },
      zlibChecksum,
    )
  const identity = (change: Partial<WireOptions["identity"]>): Uint8Array =>
    greeting({ identity: { ...wire({}).identity, ...change } })
  const broken = (offset: number, value: number): Uint8Array => {
    const bytes = greeting({})
    bytes[offset] = value
    return bytes
  }

  /** What the victim answers before it closes. */
  function say(bytes: Uint8Array): Promise<string> {
    return new Promise((done) => {
      const socket = connect({ host: "127.0.0.1", port: victim.ports.replica }, () => socket.write(bytes))
      let answer = Buffer.alloc(0)
      socket.on("data", (chunk: Buffer) => {
        answer = Buffer.concat([answer, chunk])
      })
      socket.on("error", () => undefined)
      socket.on("close", () => {
        const decoded = answer.length === 16 ? decodeAnswer(answer, 0, zlibChecksum) : undefined
        done(decoded?.ok === true ? decoded.value.outcome : "none")
      })
    })
  }

  const greetings: readonly (readonly [kind: string, make: () => Uint8Array])[] = [
    ["wrong_cluster", () => identity({ cluster_id: new Uint8Array(16).fill(1) })],
    ["wrong_generation", () => identity({ generation: 2 })],
    ["wrong_limits", () => identity({ limits_fingerprint: 1 })],
    ["wrong_slot", () => greeting({ to: 2 })],
    ["bad_version", () => broken(8, 9)],
    ["bad_hello", () => broken(20, 0xff)],
  ]
  test.each(greetings)("%s", async (kind, make) => {
    const send = async (): Promise<void> => {
      expect(await say(make())).toBe(kind)
    }
    await expectRefused({ counter: "hellos_refused", kind, line: `link_refused_${kind}`, send })
  })
})

test(
  "after all of it every process is the one that was started, serves, and ends cleanly",
  async () => {
    expect(cluster.all.length).toBe(3)
    for (const process of cluster.all) {
      const client = await RespClient.connect(process.ports.data, PATIENCE_MS)
      const reply = await client?.command(["INCR", "bad_input"], PATIENCE_MS)
      expect(reply).toEqual({ kind: "answered", value: { kind: "text", text: String(process.slot + 1) } })
      client?.close()
    }
    await cluster.terminate()
    expect(cluster.exitCodes).toEqual([0, 0, 0])
    expect(cluster.selfEnds).toEqual([])
  },
  TEST_MS,
)
