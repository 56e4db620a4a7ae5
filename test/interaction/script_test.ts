/** That the scripts would notice: each check of theirs is given something to find. Plane: control. */
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, test } from "vitest"
import type { PrepareHeader } from "../../appliance/replication/message.ts"
import { Operation } from "../../appliance/types/contracts.ts"
import { Ledger } from "./ledger.ts"
import { parsePattern } from "./letters.ts"
import { Script } from "./script.ts"

const FOLDER = import.meta.dirname

function header(op: number, checksum: string, request: number): PrepareHeader {
  const fixed = { view: 0, timestamp: 0, operation: Operation.batch, session: 1, body_bytes: 0, parent: "" }
  return { ...fixed, op, request, checksum }
}

/** A ledger in which session 1 has set x to "1" and then to "2", as ops 1 and 2, and was told so in view 0. */
function writtenTwice(): Ledger {
  const ledger = new Ledger()
  for (const request of [1, 2]) {
    ledger.asked(`1:${request}`, { kind: "set", key: "x", value: String(request) })
    ledger.committed("0", header(request, `entry ${request}`, request))
    ledger.answered({ request: `1:${request}`, result: "ok", epoch: 0, view: 0 })
  }
  return ledger
}

describe("the ledger", () => {
  test("has nothing to say of what is right", () => {
    const ledger = writtenTwice()
    ledger.committed("1", header(2, "entry 2", 2))
    ledger.read("x", "2", ledger.acknowledgedOp)
    ledger.read("x", "1", 1)
    ledger.read("x", "2", 1)
    expect(ledger.violations).toEqual([])
  })

  test("finds two entries at one op", () => {
    const ledger = writtenTwice()
    ledger.committed("1", header(2, "another entry", 2))
    expect(ledger.violations).toEqual(["1 commits another entry at op 2 than was committed there"])
  })

  test("finds a request that is committed twice", () => {
    const ledger = writtenTwice()
    ledger.committed("0", header(3, "entry 3", 2))
    expect(ledger.violations).toEqual(["request 1:2 is committed twice"])
  })

  test("finds an answer to what was not committed, and an answer that is another's", () => {
    const ledger = writtenTwice()
    ledger.answered({ request: "1:3", result: "ok", epoch: 0, view: 0 })
    ledger.asked("1:4", { kind: "incr", key: "n" })
    ledger.committed("0", header(3, "entry 3", 4))
    ledger.answered({ request: "1:4", result: "7", epoch: 0, view: 0 })
    expect(ledger.violations).toEqual([
      "request 1:3 is answered and was not committed",
      "request 1:4 is answered 7, which is not its own reply",
    ])
  })

  test("finds a certified root that is not a sound machine's, and an arena that is another", () => {
    const ledger = writtenTwice()
    ledger.root("0", 2, "root")
    ledger.root("1", 2, "root")
    ledger.applied("0", 2, 7)
    expect(ledger.violations).toEqual([])
    ledger.root("1", 2, "another")
    ledger.applied("1", 2, 8)
    expect(ledger.violations).toEqual([
      "1 goes by another root of op 2 than a sound machine's",
      "the arena of 1 at op 2 differs from another machine's",
    ])
  })

  test("finds a read from the past", () => {
    const ledger = writtenTwice()
    ledger.read("x", "1", ledger.acknowledgedOp)
    expect(ledger.violations).toEqual(['a read of x answers "1", which is older than what was acknowledged'])
  })

  test("finds a member of a later view that lacks what was acknowledged", () => {
    const script = new Script({ voters: 3 })
    script.form()
    const ledger = writtenTwice()
    ledger.inspect("1", script.replica(1))
    expect(ledger.violations).toEqual([])
    script.run([1, 2], "leave view 0", () => script.replica(1).isPrimary)
    ledger.inspect("1", script.replica(1))
    expect(ledger.violations).toEqual([
      "acknowledged request 1:1 (op 1) is not in the log of 1 in view 1",
      "acknowledged request 1:2 (op 2) is not in the log of 1 in view 1",
    ])
  })
})

describe("a script", () => {
  test("notes what is not as it expects, in its text too, and goes on", () => {
    const script = new Script({ voters: 3 })
    script.form()
    script.deliver("view 1→2")
    script.expect(1, "view_change v1")
    script.timeout(1, "prepare")
    expect(script.unexpected).toEqual([
      "no view 1→2 is under way",
      '1 is "normal v0 op0 c0", not "view_change v1"',
      "1 sends no prepare, however long it waits",
    ])
    expect(script.text().match(/^!! /gm)).toHaveLength(3)
  })

  test("is the same again", () => {
    const text = (): string => {
      const script = new Script({ voters: 3 })
      script.form()
      const client = script.client("a")
      client.set("x", "1", 0)
      script.settle()
      script.reboot(2, [0, 1])
      script.finish()
      expect(script.unexpected).toEqual([])
      return script.text()
    }
    expect(text()).toBe(text())
  })

  test("picks letters by type, op, sender and addressee", () => {
    const script = new Script({ voters: 3 })
    script.form()
    const client = script.client("a")
    client.set("x", "1", 0)
    expect(script.count("prepare 0→1")).toBe(1)
    expect(script.count("prepare(op2) 0→*")).toBe(2)
    expect(script.count("prepare(op3) 0→*")).toBe(0)
    expect(script.count("commit|prepare 0,1→1,2")).toBe(2)
    expect(script.count("old prepare 0→1")).toBe(0)
    script.crash(0)
    script.boot(0)
    expect(script.count("old prepare 0→1")).toBe(1)
    expect(() => parsePattern("prepare from 0 to 1")).toThrow("script: a pattern is")
  })
})

test("every golden text is a scenario's, and every scenario has one", () => {
  const sources = readdirSync(FOLDER).filter((name) => name.endsWith("_test.ts") && name !== "script_test.ts")
  const names = sources.flatMap((source) =>
    [...readFileSync(join(FOLDER, source), "utf8").matchAll(/^ {2}name: "([a-z0-9_]+)",$/gm)].map((match) => match[1]),
  )
  expect(names.length).toBeGreaterThan(0)
  expect(new Set(names).size).toBe(names.length)
  const golden = readdirSync(join(FOLDER, "golden")).map((name) => name.replace(/\.txt$/, ""))
  expect(new Set(golden)).toEqual(new Set(names))
})
