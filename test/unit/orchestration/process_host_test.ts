/**
 * Three hosts over real loopback links, in one process: they found a cluster, answer a gateway's messages wherever they
 * are asked, survive the loss of their primary, and take it back blank. Plane: control.
 */
import { randomBytes } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { createServer as createHTTPServer } from "node:http"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { pino } from "pino"
import { afterEach, describe, expect, test } from "vitest"
import { isHealthy } from "../../../appliance/gateway/status_document.ts"
import { ORCHESTRATION_LIMITS } from "../../../appliance/orchestration/limits.ts"
import { type HostOptions, ProcessHost, type Reply } from "../../../appliance/orchestration/process_host.ts"
import { monotonicMs } from "../../../appliance/orchestration/system_ports.ts"
import { COMMAND_HEADER_BYTES, CommandCode, ResultKind } from "../../../appliance/state_machine/command.ts"
import { Operation } from "../../../appliance/types/contracts.ts"
import { CLUSTER_LIMITS, PROCESS_LIMITS, type ProcessLimits } from "../../../appliance/types/limits.ts"

const KIB = 1024
const MIB = 1024 * KIB
const LIMITS = {
  ...CLUSTER_LIMITS,
  log_bytes: 4 * MIB,
  checkpoint_bytes: 1 * MIB,
  batch_bytes_max: 128 * KIB,
  read_reply_bytes_max: 128 * KIB,
  sessions_max: 8,
  kv_entries_max: 1_024,
  kv_slab_bytes: 1 * MIB,
}
const CLUSTER_ID = "c1".repeat(16)
const PATIENCE_MS = 20_000

type Line = { readonly msg: string; readonly level: number; readonly [field: string]: unknown }

type Node = {
  readonly host: ProcessHost
  readonly lines: Line[]
  readonly replies: Reply[]
  readonly ended: number[]
  readonly directory: string
}
type Member = {
  readonly slot: number
  readonly machine: string
  readonly address: string
  readonly replica_port: number
}

const nodes: Node[] = []
afterEach(() => {
  for (const node of nodes.splice(0)) {
    node.host.stop()
    rmSync(node.directory, { recursive: true, force: true })
  }
})

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer())
  const ports: number[] = []
  for (const server of servers) {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", () => resolve()))
    const address = server.address()
    ports.push(typeof address === "object" && address !== null ? address.port : 0)
  }
  for (const server of servers) {
    await new Promise<void>((resolve) => server.close(() => resolve()))
  }
  return ports
}

async function membersOf(count: number): Promise<Member[]> {
  const ports = await freePorts(count)
  return ports.map((port, slot) => ({ slot, machine: `m${slot}`, address: "127.0.0.1", replica_port: port }))
}

async function startNode(
  members: readonly Member[],
  slot: number,
  change: {
    readonly directory?: string
    readonly token?: string
    readonly bootServer?: string
    readonly processLimits?: ProcessLimits
  } = {},
): Promise<Node> {
  const directory = change.directory ?? mkdtempSync(join(tmpdir(), "mandala-host-"))
  const replies: Reply[] = []
  const ended: number[] = []
  const lines: Line[] = []
  // Proof: pino writes objects with a message and a level, and the rest is looked at field by field.
  const write = (line: string): void => void lines.push(JSON.parse(line) as Line)
  const options: HostOptions = {
    config: {
      cluster_id: CLUSTER_ID,
      generation: 1,
      epoch: 0,
      machine: `m${slot}`,
      boot_id: "",
      boot_count: 0,
      firmware: "unknown",
      slot,
      voters: members.length,
      size: "small",
      grow_to: null,
      formation_token: change.token ?? "f".repeat(32),
      links: "insecure",
      ticket: "",
      authority: "",
      boot_server: change.bootServer ?? "",
      members,
    },
    slot,
    facts: { interface: "lo", address: "127.0.0.1", mac: "" },
    advertise: "127.0.0.1",
    bind: "127.0.0.1",
    ports: { replica: members[slot]?.replica_port ?? 0, data: 0, api: 0 },
    version: "0.0.0",
    limits: LIMITS,
    processLimits: change.processLimits ?? PROCESS_LIMITS,
    orchestrationLimits: ORCHESTRATION_LIMITS,
    runDirectory: directory,
    security: undefined,
    log: pino({ level: "info" }, { write }),
    onEnd: (code) => ended.push(code),
  }
  const host = new ProcessHost(options)
  const sink = {
    onReply: (reply: Reply) => replies.push({ ...reply, body: reply.body.slice() }),
    tick: () => undefined,
    onGrown: () => undefined,
  }
  const started = await host.start(sink)
  expect(started.ok).toBe(true)
  const node = { host, lines, replies, ended, directory }
  nodes.push(node)
  return node
}

async function until(condition: () => boolean, what: string): Promise<void> {
  const end = monotonicMs() + PATIENCE_MS
  while (!condition()) {
    expect(monotonicMs(), what).toBeLessThan(end)
    await sleep(5)
  }
}

function isMember(node: Node): boolean {
  return node.host.info().status === "normal"
}

/** Asks wherever the primary is said to be, again and again, as a gateway does. */
async function ask(node: Node, message: Parameters<ProcessHost["sendTo"]>[1]): Promise<Reply> {
  const end = monotonicMs() + PATIENCE_MS
  for (let slot = 0; monotonicMs() < end; slot += 1) {
    node.replies.length = 0
    const primary = node.host.primarySlot()
    node.host.sendTo(primary < 0 ? slot % node.host.voterSlots().length : primary, message)
    const patience = monotonicMs() + 300
    while (node.replies.length === 0 && monotonicMs() < patience) {
      await sleep(2)
    }
    const reply = node.replies[0]
    if (reply?.outcome === "ok") {
      return reply
    }
    await sleep(20)
  }
  throw new Error("nobody answered")
}

function command(code: number, key: string, value: string): Uint8Array {
  const body = Buffer.alloc(COMMAND_HEADER_BYTES + key.length + value.length)
  body[0] = code
  body.writeUInt16LE(key.length, 2)
  body.writeUInt32LE(value.length, 4)
  body.write(key + value, COMMAND_HEADER_BYTES)
  return body
}

async function register(node: Node): Promise<number> {
  const body = randomBytes(16)
  const reply = await ask(node, { type: "request", operation: Operation.register, session: 0, request: 77, body })
  expect(reply.body[0]).toBe(ResultKind.integer)
  return Number(Buffer.from(reply.body).readBigInt64LE(1))
}

async function write(node: Node, session: number, request: number, value: string): Promise<void> {
  const body = command(CommandCode.set, "key", value)
  const reply = await ask(node, { type: "request", operation: Operation.batch, session, request, body })
  expect(reply.body[0]).toBe(ResultKind.ok)
}

async function read(node: Node): Promise<string> {
  const reply = await ask(node, { type: "read", read: 5, body: command(CommandCode.get, "key", "") })
  return reply.body[0] === ResultKind.bytes ? Buffer.from(reply.body.subarray(5)).toString() : "nothing"
}

describe("three hosts", () => {
  test("found a cluster, keep what was acknowledged when the primary dies, and take it back blank", async () => {
    const members = await membersOf(3)
    const [first, second, third] = await Promise.all([0, 1, 2].map((slot) => startNode(members, slot)))
    expect(first !== undefined && second !== undefined && third !== undefined).toBe(true)
    if (first === undefined || second === undefined || third === undefined) {
      return
    }
    await until(() => [first, second, third].every(isMember), "all three are members")
    expect(first.host.replica.isPrimary).toBe(true)
    const session = await register(second)
    await write(second, session, 1, "one")
    expect(await read(third)).toBe("one")
    const isWhole = (): boolean => third.host.info().copies === 3 && third.host.info().quorum_margin === 1
    await until(isWhole, "three copies are heard of, and a machine more than needed")
    expect(third.host.info()).toMatchObject({ primary_slot: 0, slot: 2 })

    first.host.stop()
    expect(await read(third)).toBe("one")
    await write(third, session, 2, "two")
    expect(third.host.primarySlot()).not.toBe(0)
    await until(() => third.host.info().copies === 2, "the loss is noticed")

    // A new machine in the slot: blank, with the token still in its node.json.
    const fresh = await startNode(members, 0)
    await until(() => isMember(fresh), "it recovers")
    expect(fresh.host.info()).toMatchObject({ incarnation: 2 })
    expect(await read(fresh)).toBe("two")
    await until(() => fresh.host.info().commit === third.host.info().commit, "it has what the others have")
    expect(fresh.host.info().tables.find((table) => table.table === "kv_entries")?.used).toBe(1)
  })

  test("restarted processes of one boot never found an empty cluster", async () => {
    const members = await membersOf(3)
    const before = await Promise.all([0, 1, 2].map((slot) => startNode(members, slot)))
    await until(() => before.every(isMember), "all three are members")
    for (const node of before) {
      node.host.stop()
    }
    await until(() => before.every((node) => !node.host.links.isOpen(0)), "they are gone")
    const after = await Promise.all(before.map((node, slot) => startNode(members, slot, { directory: node.directory })))
    await until(
      () => after.every((node) => node.host.links.heardAt(0) > 0 || node === after[0]),
      "they hear each other",
    )
    await sleep(1_000)
    expect(after.map((node) => node.host.info().status)).toEqual(["recovering", "recovering", "recovering"])
  })

  test("without a token nothing is founded, and two of three do not found either", async () => {
    const members = await membersOf(3)
    const two = await Promise.all([0, 1].map((slot) => startNode(members, slot)))
    await sleep(700)
    expect(two.some(isMember)).toBe(false)
    await startNode(members, 2, { token: "" })
    await sleep(700)
    expect(two.some(isMember)).toBe(false)
  })

  test("a process whose slot has a later incarnation ends with the code for it", async () => {
    const members = await membersOf(3)
    const [zombie, second, third] = await Promise.all([0, 1, 2].map((slot) => startNode(members, slot)))
    expect(zombie !== undefined && second !== undefined && third !== undefined).toBe(true)
    if (zombie === undefined || second === undefined || third === undefined) {
      return
    }
    await until(() => [zombie, second, third].every(isMember), "all three are members")
    const ports = await freePorts(1)
    const moved = members.map((member) => (member.slot === 0 ? { ...member, replica_port: ports[0] ?? 0 } : member))
    const fresh = await startNode(moved, 0)
    await until(() => zombie.ended.length > 0 || fresh.ended.length > 0, "one of the two ends")
    expect([...zombie.ended, ...fresh.ended]).toEqual([75])
  })
})

describe("a flipped bit", () => {
  /** In the last page, which these few keys never reach. */
  function flip({ host }: Node): number {
    const { arena, pages } = host.stateMachine
    arena[arena.length - 5] = (arena[arena.length - 5] ?? 0) ^ 0x10
    return pages.count - 1
  }

  test("in a backup is found, named and made good; one too many ends the process, which says so", async () => {
    const words: string[] = []
    const server = createHTTPServer((request, response) => {
      let body = ""
      request.on("data", (chunk: Buffer) => {
        body += chunk.toString()
      })
      request.on("end", () => {
        words.push(/"status":"([a-z_]+)"/.exec(body)?.[1] ?? "")
        response.end(JSON.stringify({ cluster_id: CLUSTER_ID, generation: 1, members: [] }))
      })
    })
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
    const address = server.address()
    const bootServer = `http://127.0.0.1:${typeof address === "object" && address !== null ? address.port : 0}`
    const processLimits = { ...PROCESS_LIMITS, checkpoint_ms: 300, checkpoint_soon_ms: 100, memory_faults_max: 2 }
    const members = await membersOf(3)
    const before = await Promise.all(
      [0, 1, 2].map((slot) => startNode(members, slot, { processLimits, ...(slot === 2 ? { bootServer } : {}) })),
    )
    const [primary, other, victim] = before
    expect(primary !== undefined && other !== undefined && victim !== undefined).toBe(true)
    if (primary === undefined || other === undefined || victim === undefined) {
      return
    }
    await until(() => before.every(isMember), "all three are members")
    const session = await register(primary)
    await write(primary, session, 1, "one")
    await until(() => victim.host.info().checkpoint.certified_op > 0, "a checkpoint is certified")

    const page = flip(victim)
    await until(() => victim.host.info().memory_faults.faults === 1, "the fault is found")
    await until(() => isMember(victim) && !victim.host.info().checkpoint.is_torn, "it is made good")
    const first = page * 4_096
    const where = { page, byte_first: first, byte_last: first + 4_095, table: "kv slabs" }
    expect(victim.host.info().memory_faults).toEqual({
      faults: 1,
      faults_max: 2,
      last_fault: { kind: "page", ...where },
    })
    expect(victim.lines.filter(({ msg }) => msg === "memory_fault")).toMatchObject([
      { level: 50, machine: "m2", slot: 2, kind: "page", ...where, count: 1, count_max: 2 },
    ])
    const alarms = ({ host }: Node): string[] => host.info().alarms.map(({ kind }) => kind)
    await until(() => alarms(victim).join() === "memory_fault", "that it had one stays an alarm, and no other does")
    await until(() => alarms(primary).length === 0, "the others have none")
    expect(await read(victim)).toBe("one")

    flip(victim)
    await until(() => victim.ended.length > 0, "the process ends")
    expect(victim.ended).toEqual([76])
    expect(words.at(-1)).toBe("quarantined")
    expect(victim.lines.filter(({ level }) => level === 60)).toMatchObject([{ exit_code: 76 }])
    expect(await read(other)).toBe("one")
    await write(other, session, 2, "two")
    server.closeAllConnections()
    server.close()
  })

  test("in the primary: another takes over, and it comes back with what was acknowledged", async () => {
    const members = await membersOf(3)
    const nodes = await Promise.all([0, 1, 2].map((slot) => startNode(members, slot)))
    await until(() => nodes.every(isMember), "all three are members")
    const [primary, other] = nodes
    if (primary === undefined || other === undefined) {
      return
    }
    const session = await register(other)
    await write(other, session, 1, "one")
    flip(primary)
    await until(() => primary.host.info().checkpoint.is_torn, "it is found")
    // Its copy does not count, and it answers nothing.
    expect(primary.host.info().members[0]?.holds_state).toBe(false)
    expect(isHealthy(primary.host.info())).toBe(false)
    await until(() => other.host.info().view > 0 && isMember(other), "the others go on")
    await write(other, session, 2, "two")
    await until(() => isMember(primary) && !primary.host.info().checkpoint.is_torn, "it copied the state")
    expect(await read(primary)).toBe("two")
    expect(primary.host.info().copies).toBe(3)
  })

  test("in the only machine: it stops and says so, and what it held can be salvaged, marked as torn", async () => {
    const members = await membersOf(1)
    const node = await startNode(members, 0)
    await until(() => isMember(node), "it is a member")
    const session = await register(node)
    await write(node, session, 1, "alone")
    flip(node)
    await until(() => node.host.outage() !== undefined, "nothing is answered any more")
    expect(node.host.info().alarms.map(({ kind }) => kind)).toEqual(["quorum_lost", "memory_fault"])
    const salvage = node.host.salvage(false)
    expect(salvage.ok).toBe(true)
    const piece = salvage.ok ? salvage.value.next() : undefined
    expect(piece?.kind === "lines" ? piece.text : "").toMatch(/"torn":true,"note":".*its memory was found to be wrong/)
    expect(node.ended).toEqual([])
  })
})

test("a cluster of one answers at once", async () => {
  const members = await membersOf(1)
  const node = await startNode(members, 0)
  await until(() => isMember(node), "it is a member")
  const session = await register(node)
  await write(node, session, 1, "alone")
  expect(await read(node)).toBe("alone")
  expect(node.host.info()).toMatchObject({ copies: 1, quorum_margin: 0 })
})

test("a port that is taken is an error with its number", async () => {
  const members = await membersOf(1)
  const node = await startNode(members, 0)
  const links = await node.host.links.listen({ host: "127.0.0.1", port: node.host.links.port }).catch(() => undefined)
  expect(links?.ok ?? false).toBe(false)
})
