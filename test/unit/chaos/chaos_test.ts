/**
 * What a chaos run rests on, without a process: the schedule, the measures, and what an answer means. Plane: control.
 */
import { spawnSync } from "node:child_process"
import { resolve } from "node:path"
import { describe, expect, test } from "vitest"
import { PRNG } from "../../../appliance/types/prng.ts"
import { History, judge } from "../../chaos/history.ts"
import { Measures, percentile } from "../../chaos/measures.ts"
import { checkHistories } from "../../chaos/report.ts"
import { decode } from "../../chaos/resp_client.ts"
import { type Episode, FIRST_KINDS, makeEpisode } from "../../chaos/schedule.ts"
import { NOT_AN_INTEGER } from "../../checkers/register.ts"

const MAIN = resolve(import.meta.dirname, "../../chaos/main.ts")

function schedule(seed: number, voters: number, episodes: number, firstKind = 0): Episode[] {
  const random = new PRNG(seed)
  return Array.from({ length: episodes }, (_, number) => makeEpisode(random, { number, voters, firstKind }))
}

function kindsOf(episodes: readonly Episode[]): Set<string> {
  return new Set(episodes.flatMap(({ network, process }) => [network?.kind ?? "", process?.kind ?? ""]))
}

describe("the command", () => {
  const run = (...args: string[]) => spawnSync(process.execPath, [MAIN, ...args], { encoding: "utf8" })

  test("says how it is used, with two examples", () => {
    const { status, stdout } = run("--help")
    expect(status).toBe(0)
    expect(stdout.match(/^ {2}npm run chaos -- /gm)).toHaveLength(2)
  })

  test.each([
    ["--minutes", "0"],
    ["--minutes", "x"],
    ["--voters", "4"],
    ["--seed", "-1"],
    ["-o", "xml"],
    ["--unknown"],
  ])("refuses %s %s", (...args) => {
    const { status, stdout, stderr } = run(...args)
    expect(status).toBe(2)
    expect(stdout).toBe("")
    expect(stderr).toContain("usage:")
  })
})

describe("the schedule", () => {
  test("follows from the seed", () => {
    expect(schedule(5, 3, 200)).toEqual(schedule(5, 3, 200))
    expect(schedule(6, 3, 200)).not.toEqual(schedule(5, 3, 200))
  })

  test("meets every kind in its first episodes, and never nothing", () => {
    const kinds = ["crash_primary", "crash_gateway", "crash_two", "crash_again", "flood", "loss", "slow_links"]
    kinds.push("pause_primary", "pause_backup", "pause_majority", "spoilt_frames", "one_way_cut", "partition")
    for (const firstKind of [0, 7]) {
      const met = [...kindsOf(schedule(1, 5, FIRST_KINDS.length, firstKind))].filter((kind) => kind !== "")
      expect(met.sort()).toEqual(kinds.sort())
    }
    for (const { network, process } of schedule(1, 5, 500)) {
      expect(network ?? process).toBeDefined()
    }
  })

  test("takes from three voters never more than one at a time", () => {
    expect(kindsOf(schedule(1, 3, 500)).has("crash_two")).toBe(false)
  })
})

describe("an answer", () => {
  const judged = (text: string): string => judge({ kind: "answered", value: { kind: "error", text } }).outcome

  test("is ok, rejected or unknown", () => {
    expect(judge({ kind: "answered", value: { kind: "text", text: "OK" } })).toEqual({ outcome: "ok", answer: "OK" })
    expect(judge({ kind: "answered", value: { kind: "nil" } })).toEqual({ outcome: "ok", answer: null })
    expect(judge({ kind: "unanswered", why: "closed" }).outcome).toBe("unknown")
    expect(judged(NOT_AN_INTEGER)).toBe("ok")
    expect(judged("UNKNOWN quorum_lost: 1 of 3 voters")).toBe("unknown")
    expect(judged("CLUSTERDOWN quorum_lost: 1 of 3 voters")).toBe("rejected")
    expect(judged("ERR unknown command 'X'")).toBe("rejected")
  })

  test("is read whole or byte by byte, and nothing behind it", () => {
    const texts = ["+OK\r\n", ":12\r\n", "-ERR no\r\n", "$-1\r\n", "$5\r\na\r\nbc\r\n", "$0\r\n\r\n"]
    const values = texts.map((text) => decode(Buffer.from(text)))
    expect(values).toEqual([
      { kind: "text", text: "OK" },
      { kind: "text", text: "12" },
      { kind: "error", text: "ERR no" },
      { kind: "nil" },
      { kind: "text", text: "a\r\nbc" },
      { kind: "text", text: "" },
    ])
    for (const text of texts) {
      for (let bytes = 0; bytes < text.length; bytes += 1) {
        expect(decode(Buffer.from(text.slice(0, bytes)))).toBe("more")
      }
      expect(decode(Buffer.from(`${text}+`))).toBe("unreadable")
    }
    expect(decode(Buffer.from("*1\r\n"))).toBe("unreadable")
    expect(decode(Buffer.from("$99999999\r\n"))).toBe("unreadable")
  })
})

describe("histories", () => {
  const get = (answer: string | null, at: number) =>
    ({ client: 1, port: 1, call: { kind: "get" }, called_at: at, answered_at: at + 1, answer }) as const

  test("a value that nobody wrote is a violation; what was rejected counts, and is nowhere", () => {
    const history = new History()
    history.add("well", get(null, 1), "ok")
    history.add("well", { ...get(null, 3), call: { kind: "set", value: "x" } }, "rejected")
    expect(checkHistories(history)).toMatchObject({ keys: 1, decided: 1, operations: 1, violations: [] })
    history.add("well", get("x", 5), "ok")
    const { violations, excerpts } = checkHistories(history)
    expect(violations).toHaveLength(1)
    expect(excerpts[0]).toContain("> client 1, 5.00 to 6.00: get -> x")
    expect(history.counts).toEqual({ ok: 2, rejected: 1, unknown: 0 })
  })
})

describe("measures", () => {
  test("percentiles", () => {
    expect(percentile([], 0.5)).toBe(null)
    expect(percentile([3, 1, 2], 0.5)).toBe(2)
    expect(percentile([3, 1, 2], 0.99)).toBe(3)
  })

  test("a failover ends with the first write that was asked for when the primary was surely gone", () => {
    const measures = new Measures()
    const now = Math.ceil(performance.now())
    measures.onPrimaryGone({ killedAt: now - 10, isNetworkWell: true })
    measures.onAcknowledged({ called_at: now - 5, answered_at: now + 1, isWrite: true })
    measures.onAcknowledged({ called_at: now + 100, answered_at: now + 101, isWrite: false })
    expect(measures.failoversMs).toEqual([])
    measures.onAcknowledged({ called_at: now + 200, answered_at: now + 300, isWrite: true })
    expect(measures.failoversMs.map(Math.round)).toEqual([310])
  })
})
