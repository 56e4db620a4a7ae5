/**
 * What a machine gets that asks for its script, and why: as it is decided, and as an operator is told.
 * Plane: control.
 */
import { beforeEach, describe, expect, test } from "vitest"
import { decideBoot } from "../../../pxe/boot_rules.ts"
import { Ledger, type Machine } from "../../../pxe/pool/ledger.ts"
import { LOOP_BOOTS_MAX, MACHINES_MAX, RAM_HOLD_MS, TRACE_EVENTS_MAX } from "../../../pxe/pool/limits.ts"
import type { Admission } from "../../../pxe/pool/registry.ts"
import { TraceBook } from "../../../pxe/pool/trace.ts"

const A = "52-54-00-77-00-01"
const MIB = 1024 * 1024
const IDENTITY = { uuid: "", serial: "", product: "" }

let ledger: Ledger
let boots: number

beforeEach(() => {
  ledger = new Ledger()
  boots = 0
})

/** Power on, and as far as its script; the kernel's end tells the next start from a repetition. */
function start(now: number): Machine {
  boots += 1
  const bootID = boots.toString(16).padStart(32, "0")
  const details = { identity: IDENTITY, firmware: "bios", address: "10.0.0.9", boot_id: bootID } as const
  const machine = ledger.onScript(A, details, now)
  expect(machine?.boot_id).toBe(bootID)
  ledger.onImageSent(A, bootID, true, now + 1)
  const known = ledger.find(A)
  if (known === undefined) {
    throw new Error("the machine is in the table")
  }
  return known
}

function judge(machine: Machine, now: number, admission: Admission = "accepted"): ReturnType<typeof decideBoot> {
  return decideBoot({ machine, admission, loop: undefined, now })
}

function outcome(machine: Machine, now: number): string {
  return judge(machine, now).hold?.rule ?? "boot"
}

describe("rules", () => {
  test("the first that holds decides, and the others say why they did not", () => {
    const machine = start(0)
    expect(judge(machine, 0, "accepted")).toEqual({
      hold: undefined,
      rules: [
        { rule: "admission", verdict: "passed", why: "it is accepted" },
        { rule: "boot_loop", verdict: "passed", why: "1 kernels since it was last heard of" },
        { rule: "ram_fit", verdict: "passed", why: "nothing is known against its memory" },
        { rule: "boot", verdict: "decided", why: "nothing keeps it" },
      ],
    })
    const seen = judge(machine, 0, "seen")
    expect(seen.hold).toEqual({ rule: "admission", reason: `${A} waits to be accepted` })
    expect(seen.rules.map(({ verdict }) => verdict)).toEqual(["decided", "not_reached", "not_reached", "not_reached"])
    expect(judge(machine, 0, "expelled").hold?.reason).toBe(`${A} was expelled`)
  })

  test("boots that go in a circle are held, in the ledger's words", () => {
    for (let boot = 0; boot < LOOP_BOOTS_MAX; boot += 1) {
      expect(outcome(start(boot), boot)).toBe("boot")
    }
    const machine = ledger.find(A)
    expect(machine).toBeDefined()
    const loop = ledger.findLoop(A, LOOP_BOOTS_MAX)
    expect(loop).toContain("boot loop:")
    expect(machine && decideBoot({ machine, admission: "accepted", loop, now: 9 }).hold).toEqual({
      rule: "boot_loop",
      reason: loop,
    })
  })

  test("a machine with too little memory is not sent an image again for a while", () => {
    const { boot_id: bootID } = start(0)
    const halted = { reason: "ram_too_small", need_bytes: 672 * MIB, have_bytes: 320 * MIB }
    expect(ledger.onHalted(A, bootID, halted, 1_000)).toBe(true)
    const again = start(2_000)
    expect(judge(again, 61_000, "accepted").hold).toEqual({
      rule: "ram_fit",
      reason: "needs 672 MiB of memory and has 320: held for 14 minutes",
    })
    expect(outcome(again, 1_000 + RAM_HOLD_MS)).toBe("boot")
  })

  test("another reason to halt keeps nobody from trying again", () => {
    const { boot_id: bootID } = start(0)
    ledger.onHalted(A, bootID, { reason: "base_truncated", need_bytes: null, have_bytes: null }, 1_000)
    expect(outcome(start(2_000), 2_000)).toBe("boot")
  })
})

describe("a trace", () => {
  const event = (at: number): { at: number; boot_id: string; step: string; facts: Record<string, string> } => {
    return { at, boot_id: "", step: "dhcp", facts: { client: `bios\u0007${"x".repeat(500)}` } }
  }

  test("keeps so many steps of a machine, cut to what a person reads", () => {
    const book = new TraceBook()
    for (let at = 0; at < TRACE_EVENTS_MAX + 5; at += 1) {
      book.note(A, event(at))
    }
    const events = book.of(A)
    expect([events.length, events[0]?.at, book.dropped]).toEqual([TRACE_EVENTS_MAX, 5, 5])
    expect(String(events[0]?.facts["client"])).toMatch(/^bios\?x{155}$/)
    expect(book.of("52-54-00-77-00-99")).toEqual([])
  })

  test("forgets the machine that was quiet the longest", () => {
    const book = new TraceBook()
    for (let index = 0; index <= MACHINES_MAX; index += 1) {
      book.note(String(index), event(index))
      book.note("0", event(index))
    }
    expect([book.of("0").length > 0, book.of("1").length, book.of("2").length]).toEqual([true, 0, 1])
  })
})
