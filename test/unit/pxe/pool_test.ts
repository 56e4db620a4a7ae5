/** The ledger of machines, the formation of one cluster, and what machines say of themselves. Plane: control. */
import { describe, expect, test } from "vitest"
import { type Announce, decodeAnnounce } from "../../../pxe/pool/announce.ts"
import { Formation } from "../../../pxe/pool/formation.ts"
import { Ledger, REASON_SILENT, stageOf } from "../../../pxe/pool/ledger.ts"
import {
  BEACON_SILENT_MS,
  FIRMWARE_SILENT_MS,
  FORGET_MS,
  LISTEN_MS,
  LOOP_BOOTS_MAX,
  LOOP_WINDOW_MS,
  MACHINES_MAX,
} from "../../../pxe/pool/limits.ts"
import { encodeNodeArchive } from "../../../pxe/pool/node_file.ts"

const A = "52-54-00-77-00-01"
const B = "52-54-00-77-00-02"
const C = "52-54-00-77-00-03"
const D = "52-54-00-77-00-04"
const OURS = "a".repeat(32)
const THEIRS = "b".repeat(32)
const TOKEN = "c".repeat(32)
const boot = (digit: string): string => digit.repeat(32)
const IDENTITY = { uuid: "", serial: "", product: "" }

function announceOf(fields: Partial<Announce>): Announce {
  return {
    machine: A,
    boot_id: boot("1"),
    slot: 0,
    address: "10.77.0.140",
    replica_port: 7400,
    status: "normal",
    view: 0,
    op: 0,
    commit: 0,
    primary_slot: 0,
    cluster_id: OURS,
    generation: 1,
    epoch: 1,
    roster_version: 0,
    size: "small",
    formed: true,
    ...fields,
  }
}

describe("the ledger", () => {
  const uefi = (xid: number) => ({ kind: "firmware", firmware: "uefi", xid }) as const
  const ipxe = (xid: number) => ({ kind: "ipxe", firmware: "bios", xid }) as const
  const script = (digit: string) => {
    return { identity: IDENTITY, firmware: "bios", address: "10.77.0.140", boot_id: boot(digit) } as const
  }

  test("UEFI's way: firmware, boot program, script, kernel, init, joined", () => {
    const ledger = new Ledger()
    ledger.onDiscover(A, uefi(1), 100)
    expect(ledger.find(A)).toMatchObject({ boot_count: 1, firmware: "uefi" })
    ledger.onAddress(A, "10.77.0.140", 150)
    ledger.onBootProgram("10.77.0.140", 200)
    ledger.onDiscover(A, { ...ipxe(2), firmware: "uefi" }, 300)
    ledger.onScript(A, { ...script("1"), firmware: "uefi" }, 400)
    ledger.onImageSent(A, boot("1"), true, 500)
    expect(ledger.onInit(A, boot("1"), "10.77.0.141", 600)).toBe(true)
    expect(ledger.onAnnounce(announceOf({ status: "recovering" }), 650)).toBe(true)
    expect(ledger.find(A)?.stage_times.joined).toBeNull()
    expect(ledger.onAnnounce(announceOf({}), 700)).toBe(true)
    const machine = ledger.find(A)
    expect(machine?.stage_times).toEqual({ firmware: 100, nbp: 200, script: 400, kernel: 500, init: 600, joined: 700 })
    expect(machine).toMatchObject({ boot_count: 1, firmware: "uefi", address: "10.77.0.140", announce_at: 700 })
    expect(machine && stageOf(machine)).toBe("joined")
  })

  test("iPXE as the firmware is at its boot program at once", () => {
    const ledger = new Ledger()
    ledger.onDiscover(A, ipxe(1), 100)
    expect(ledger.find(A)?.stage_times).toMatchObject({ firmware: 100, nbp: 100, script: null })
  })

  test("repetitions are the same boot", () => {
    const ledger = new Ledger()
    for (const [xid, now] of [
      [1, 0],
      [2, 4_000],
      [3, 12_000],
      [4, 28_000],
    ] as const) {
      ledger.onDiscover(A, uefi(xid), now)
    }
    ledger.onDiscover(A, ipxe(9), 30_000)
    ledger.onScript(A, script("1"), 31_000)
    ledger.onDiscover(A, ipxe(9), 32_000)
    expect(ledger.find(A)).toMatchObject({ boot_count: 1, stage_times: { firmware: 0, script: 31_000 } })
  })

  test("a boot begins anew: firmware after a boot program, iPXE after a script, either after long silence", () => {
    const ledger = new Ledger()
    ledger.onDiscover(A, ipxe(1), 0)
    ledger.onScript(A, script("1"), 1)
    ledger.onImageSent(A, boot("1"), true, 2)
    ledger.onHalted(A, boot("1"), { reason: "ram_too_small", need_bytes: 10, have_bytes: 5 }, 3)
    ledger.onDiscover(A, ipxe(2), 4)
    expect(ledger.find(A)).toMatchObject({ boot_count: 2, reason: "", need_bytes: null, have_bytes: null })
    expect(ledger.find(A)?.stage_times).toMatchObject({ firmware: 4, nbp: 4, script: null, kernel: null })
    ledger.onDiscover(A, uefi(3), 5)
    expect(ledger.find(A)).toMatchObject({ boot_count: 3, stage_times: { firmware: 5, nbp: null } })
    ledger.onDiscover(A, uefi(4), 6 + FIRMWARE_SILENT_MS)
    expect(ledger.find(A)?.boot_count).toBe(4)
  })

  test("a script asked for twice is of one boot, until its kernel is fetched", () => {
    const ledger = new Ledger()
    ledger.onDiscover(A, ipxe(1), 0)
    expect(ledger.onScript(A, script("1"), 1)?.boot_id).toBe(boot("1"))
    expect(ledger.onScript(A, script("2"), 2)?.boot_id).toBe(boot("1"))
    ledger.onImageSent(A, boot("1"), true, 3)
    // Nobody saw its DHCP: the script is where this boot begins.
    expect(ledger.onScript(A, script("3"), 4)).toMatchObject({ boot_id: boot("3"), boot_count: 2 })
    expect(ledger.find(A)?.stage_times).toMatchObject({ firmware: 4, script: 4, kernel: null })
  })

  test("a boot after a boot has another id", () => {
    const ledger = new Ledger()
    ledger.onDiscover(A, ipxe(1), 0)
    ledger.onScript(A, script("1"), 1)
    ledger.onDiscover(A, ipxe(2), 2)
    expect(ledger.onScript(A, script("2"), 3)?.boot_id).toBe(boot("2"))
  })

  test("what is of another boot changes nothing", () => {
    const ledger = new Ledger()
    ledger.onDiscover(A, ipxe(1), 0)
    expect(ledger.onInit(A, "", "10.0.0.1", 1)).toBe(false)
    ledger.onScript(A, script("1"), 1)
    const before = ledger.find(A)
    ledger.onImageSent(A, boot("2"), true, 2)
    expect(ledger.onInit(A, boot("2"), "10.0.0.1", 2)).toBe(false)
    expect(ledger.onInit(B, boot("1"), "10.0.0.1", 2)).toBe(false)
    expect(ledger.onHalted(A, boot("2"), { reason: "x", need_bytes: null, have_bytes: null }, 2)).toBe(false)
    expect(ledger.onAnnounce(announceOf({ boot_id: boot("2") }), 2)).toBe(false)
    expect(ledger.find(A)).toBe(before)
  })

  test("a machine that fetched all and says nothing is found, once, until it speaks", () => {
    const ledger = new Ledger()
    ledger.onDiscover(A, ipxe(1), 0)
    ledger.onScript(A, script("1"), 0)
    ledger.onImageSent(A, boot("1"), true, 1_000)
    ledger.onImageSent(A, boot("1"), false, 5_000)
    expect(ledger.findSilent(5_000 + BEACON_SILENT_MS)).toEqual([])
    expect(ledger.findSilent(5_001 + BEACON_SILENT_MS)).toMatchObject([{ machine: A, reason: REASON_SILENT }])
    expect(ledger.findSilent(5_002 + BEACON_SILENT_MS)).toEqual([])
    expect(ledger.find(A)?.reason).toBe("no beacon from init: kernel or RAM")
    ledger.onInit(A, boot("1"), "10.77.0.140", 5_003 + BEACON_SILENT_MS)
    expect(ledger.find(A)?.reason).toBe("")
  })

  test("a machine that waits for its kernel is not silent", () => {
    const ledger = new Ledger()
    ledger.onDiscover(A, ipxe(1), 0)
    ledger.onScript(A, script("1"), 0)
    expect(ledger.findSilent(10 * BEACON_SILENT_MS)).toEqual([])
  })

  test("a restarted boot server learns a machine from its announce", () => {
    const ledger = new Ledger()
    expect(ledger.onAnnounce(announceOf({ boot_id: boot("7") }), 5)).toBe(true)
    expect(ledger.find(A)).toMatchObject({ boot_id: boot("7"), boot_count: 1, address: "10.77.0.140" })
  })

  test("a full table refuses, and forgets only who never got a script and was long silent", () => {
    const ledger = new Ledger()
    const name = (index: number): string =>
      `02-00-00-00-${index
        .toString(16)
        .padStart(4, "0")
        .replace(/(..)(..)/, "$1-$2")}`
    ledger.onScript(name(0), script("1"), 0)
    for (let index = 1; index < MACHINES_MAX; index += 1) {
      ledger.onDiscover(name(index), ipxe(index), index)
    }
    expect(ledger.count).toBe(MACHINES_MAX)
    ledger.onDiscover(A, ipxe(1), FORGET_MS)
    expect(ledger.onScript(A, script("2"), FORGET_MS)).toBeUndefined()
    expect(ledger.refused).toBe(2)
    ledger.onDiscover(A, ipxe(1), FORGET_MS + 2)
    expect(ledger.find(A)).toBeDefined()
    expect(ledger.find(name(1))).toBeUndefined()
    expect(ledger.find(name(0))).toBeDefined()
    expect(ledger.count).toBe(MACHINES_MAX)
  })

  test("boots that fetch a kernel and are never heard of are a loop, until the window has moved on", () => {
    const ledger = new Ledger()
    const bootAt = (digit: string, at: number): void => {
      ledger.onDiscover(A, ipxe(at), at)
      ledger.onScript(A, script(digit), at)
      ledger.onImageSent(A, boot(digit), true, at)
      ledger.onImageSent(A, boot(digit), true, at)
    }
    for (let count = 1; count <= LOOP_BOOTS_MAX; count += 1) {
      expect(ledger.findLoop(A, count * 1000)).toBeUndefined()
      bootAt(`${count}`, count * 1000)
    }
    ledger.onHalted(A, boot(`${LOOP_BOOTS_MAX}`), { reason: "base_corrupt", need_bytes: null, have_bytes: null }, 4000)
    ledger.onScript(A, script("7"), 5000)
    const reason = "boot loop: 3 boots in 15 minutes did not join: base_corrupt"
    expect(ledger.findLoop(A, 5000)).toBe(reason)
    // Held, it asks again and again: the reason stays, and does not swallow itself.
    ledger.onDiscover(A, ipxe(9), 6000)
    ledger.onScript(A, script("8"), 6000)
    expect(ledger.findLoop(A, 1000 + LOOP_WINDOW_MS - 1)).toBe(reason)
    expect(ledger.findLoop(A, 1000 + LOOP_WINDOW_MS)).toBeUndefined()
    expect(ledger.find(A)).toMatchObject({ reason: "", kernels_at: [2000, 3000] })
    bootAt("8", 1000 + LOOP_WINDOW_MS)
    expect(ledger.findLoop(A, 1000 + LOOP_WINDOW_MS)).toContain("boot loop")
  })

  test("a word of the machine or of an operator ends a loop", () => {
    for (const end of ["announce", "operator"]) {
      const ledger = new Ledger()
      for (const digit of ["1", "2", "3"]) {
        ledger.onDiscover(A, ipxe(Number(digit)), 0)
        ledger.onScript(A, script(digit), 0)
        ledger.onImageSent(A, boot(digit), true, 0)
      }
      expect(ledger.findLoop(A, 1)).toContain("none said why")
      if (end === "announce") {
        ledger.onAnnounce(announceOf({ boot_id: boot("3"), status: "recovering" }), 2)
      } else {
        ledger.forgetLoop(A)
      }
      expect(ledger.findLoop(A, 3)).toBeUndefined()
      expect(ledger.findLoop("52-54-00-77-00-99", 3)).toBeUndefined()
    }
  })

  test("an address that moved belongs to who used it last", () => {
    const ledger = new Ledger()
    ledger.onDiscover(A, ipxe(1), 0)
    ledger.onDiscover(B, ipxe(2), 0)
    ledger.onAddress(A, "10.77.0.140", 1)
    ledger.onAddress(B, "10.77.0.140", 2)
    expect(ledger.findByAddress("10.77.0.140")?.machine).toBe(B)
  })
})

describe("the formation", () => {
  const make = (): Formation => {
    const identity = { cluster_id: OURS, formation_token: TOKEN }
    return new Formation({ voters: 3, size: "small", grow_to: "medium", ...identity, started_at: 0 })
  }

  test("the first three machines have the slots and keep them; the fourth is a spare", () => {
    const formation = make()
    expect([A, B, C, D].map((machine) => formation.assign(machine))).toEqual([0, 1, 2, null])
    expect([C, A, B].map((machine) => formation.assign(machine))).toEqual([2, 0, 1])
    expect([A, B, C, D].map((machine) => formation.tokenFor(machine))).toEqual([TOKEN, TOKEN, TOKEN, ""])
  })

  test("a machine that never started gives its slot back, but not once there is a cluster", () => {
    const formation = make()
    for (const machine of [A, B, C]) {
      formation.assign(machine)
    }
    expect(formation.release(B)).toBe(true)
    expect(formation.tokenFor(B)).toBe("")
    expect([formation.assign(D), formation.assign(B)]).toEqual([1, null])
    expect(formation.release(B)).toBe(false)
    expect(formation.onAnnounce(announceOf({}))).toBe("accepted")
    expect(formation.release(D)).toBe(false)
    expect(formation.slotOf(D)).toBe(1)
  })

  test("once a cluster is formed nobody gets a token any more, whoever asks", () => {
    const formation = make()
    for (const machine of [A, B, C]) {
      formation.assign(machine)
    }
    expect(formation.onAnnounce(announceOf({ status: "recovering", formed: false }))).toBe("accepted")
    expect(formation.tokenFor(A)).toBe(TOKEN)
    expect(formation.onAnnounce(announceOf({ view: 2, commit: 7, primary_slot: 2 }))).toBe("accepted")
    expect([A, B, C].map((machine) => formation.tokenFor(machine))).toEqual(["", "", ""])
    expect(formation.slotOf(B)).toBe(1)
    expect(formation).toMatchObject({ isFormed: true, view: 2, commit: 7, primarySlot: 2 })
  })

  test("an older view's announce does not turn the primary back", () => {
    const formation = make()
    formation.assign(A)
    formation.onAnnounce(announceOf({ view: 2, commit: 7, primary_slot: 2 }))
    formation.onAnnounce(announceOf({ view: 1, commit: 9, primary_slot: 1 }))
    formation.onAnnounce(announceOf({ view: 2, commit: 6, primary_slot: 0 }))
    expect(formation).toMatchObject({ view: 2, commit: 7, primarySlot: 2 })
  })

  test("slots that were free when it was formed stay free", () => {
    const formation = make()
    formation.assign(A)
    formation.onAnnounce(announceOf({}))
    expect(formation.assign(B)).toBeNull()
  })

  test("a spare's word forms nothing", () => {
    const formation = make()
    formation.onAnnounce(announceOf({ slot: null }))
    expect(formation.isFormed).toBe(false)
  })

  test("restarted, it adopts the cluster that it hears, with its slots, and founds none", () => {
    const formation = make()
    formation.assign(D)
    const theirs = { cluster_id: THEIRS, generation: 4, epoch: 2 }
    expect(
      formation.onAnnounce(announceOf({ ...theirs, machine: B, slot: 1, formed: false, status: "recovering" })),
    ).toBe("foreign")
    expect(formation.onAnnounce(announceOf({ ...theirs, machine: B, slot: 1 }))).toBe("adopted")
    expect(formation).toMatchObject({ clusterID: THEIRS, generation: 4, epoch: 2, isFormed: true })
    expect(formation.onAnnounce(announceOf({ ...theirs, machine: A, slot: 0 }))).toBe("accepted")
    expect([A, B, C, D].map((machine) => formation.slotOf(machine))).toEqual([0, 1, null, null])
    // The third member may be alive and not yet heard: nobody else becomes it.
    expect([C, D].map((machine) => formation.assign(machine))).toEqual([null, null])
    expect([A, B, C, D].map((machine) => formation.tokenFor(machine))).toEqual(["", "", "", ""])
  })

  test("a cluster that is formed is never given up for another", () => {
    const formation = make()
    formation.assign(A)
    formation.onAnnounce(announceOf({}))
    expect(formation.onAnnounce(announceOf({ cluster_id: THEIRS, machine: B }))).toBe("foreign")
    expect(formation.clusterID).toBe(OURS)
  })

  test("two machines can't have one slot, one machine can't have two, and there are no more than there are", () => {
    const formation = make()
    formation.assign(A)
    formation.assign(B)
    expect(formation.onAnnounce(announceOf({ machine: B, slot: 0 }))).toBe("slot_conflict")
    expect(formation.onAnnounce(announceOf({ machine: A, slot: 2 }))).toBe("slot_conflict")
    expect(formation.onAnnounce(announceOf({ slot: 3 }))).toBe("slot_conflict")
    expect(formation.isFormed).toBe(false)
  })

  test("a cluster that has grown is heard, from those that were outgrown too, and machines boot for it", () => {
    const formation = make()
    for (const machine of [A, B, C]) {
      formation.assign(machine)
    }
    formation.onAnnounce(announceOf({ size: "small" }))
    expect([formation.size, formation.growTo]).toEqual(["small", "medium"])
    const grown = { epoch: 1, size: "medium", status: "outgrown", formed: true } as const
    expect(formation.onAnnounce(announceOf({ ...grown, status: "recovering", formed: false, size: "huge" }))).toBe(
      "accepted",
    )
    expect(formation.size).toBe("small")
    expect(formation.onAnnounce(announceOf(grown))).toBe("accepted")
    expect([formation.size, formation.growTo]).toEqual(["medium", null])
    formation.onAnnounce(announceOf({ size: "small" }))
    expect(formation.size).toBe("medium")
  })

  test("a member in a slot that no founder had keeps it; a machine that is new gets none", () => {
    const formation = make()
    formation.assign(A)
    expect(formation.onAnnounce(announceOf({ machine: D, slot: 3 }))).toBe("slot_conflict")
    formation.onAnnounce(announceOf({}))
    expect(formation.onAnnounce(announceOf({ machine: D, slot: 3 }))).toBe("accepted")
    expect(formation.onAnnounce(announceOf({ machine: C, slot: 3 }))).toBe("slot_conflict")
    expect(formation.onAnnounce(announceOf({ machine: C, slot: 11 }))).toBe("slot_conflict")
    expect([formation.slotOf(D), formation.assign(D), formation.tokenFor(D)]).toEqual([3, 3, ""])
    expect(formation.assign(B)).toBeNull()
  })

  test("restarted, it adopts a grown cluster from a member in any slot, in that cluster's size", () => {
    const formation = new Formation({
      voters: 3,
      size: "huge",
      grow_to: null,
      cluster_id: OURS,
      formation_token: TOKEN,
      started_at: 0,
    })
    expect(formation.onAnnounce(announceOf({ cluster_id: THEIRS, machine: D, slot: 4, size: "medium" }))).toBe(
      "adopted",
    )
    expect([formation.size, formation.slotOf(D)]).toEqual(["medium", 4])
  })

  test("it listens before it founds", () => {
    const formation = make()
    expect(formation.isListening(LISTEN_MS - 1)).toBe(true)
    expect(formation.isListening(LISTEN_MS)).toBe(false)
    formation.onAnnounce(announceOf({ cluster_id: THEIRS }))
    expect(formation.isListening(0)).toBe(false)
  })
})

describe("an announce", () => {
  const encode = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value))

  test("survives its bytes, and loses what has no name here", () => {
    const announce = announceOf({ slot: null, primary_slot: null })
    expect(decodeAnnounce(encode({ ...announce, extra: "x".repeat(100) }))).toEqual({ ok: true, value: announce })
    expect(decodeAnnounce(encode({ ...announce, size: undefined }))).toEqual({
      ok: true,
      value: { ...announce, size: null },
    })
  })

  test.each([
    ["nothing", new Uint8Array(0)],
    ["no UTF-8", Uint8Array.of(0x22, 0xff, 0x22)],
    ["half of it", encode(announceOf({})).subarray(0, 50)],
    ["a number", encode(5)],
    ["null", encode(null)],
  ])("refused: %s", (_name, bytes) => {
    expect(decodeAnnounce(bytes)).toEqual({ ok: false, error: { kind: "not_json" } })
  })

  test.each([
    ["machine", "52:54:00:77:00:01"],
    ["machine", "52-54-00-77-00-0G"],
    ["boot_id", "abc"],
    ["slot", -1],
    ["slot", 1.5],
    ["slot", undefined],
    ["address", "10.77.0.256"],
    ["replica_port", 0],
    ["replica_port", 65_536],
    ["status", "Normal; reboot"],
    ["view", 2 ** 53],
    ["commit", "1"],
    ["primary_slot", 256],
    ["size", "enormous"],
    ["cluster_id", "A".repeat(32)],
    ["formed", 1],
  ])("refused: %s %j", (field, value) => {
    expect(decodeAnnounce(encode({ ...announceOf({}), [field]: value }))).toEqual({
      ok: false,
      error: { kind: "field", field },
    })
  })
})

test("the archive of one machine: directories, then the file that only root may read", () => {
  const archive = encodeNodeArchive({
    machine: A,
    boot_id: boot("1"),
    slot: 0,
    voters: 3,
    size: "small",
    grow_to: null,
    cluster_id: OURS,
    generation: 1,
    epoch: 1,
    formation_token: TOKEN,
    boot_server: "http://10.77.0.1:7480",
    seed: "0".repeat(128),
    links: "tls1.3",
    ticket: "",
    authority: "",
    firmware: "bios",
  })
  const text = new TextDecoder().decode(archive)
  expect(archive.length % 512).toBe(0)
  expect(text.slice(0, 22)).toBe("07070100000001000041ed")
  const names = ["etc\0", "etc/mandala\0", "etc/mandala/node.json\0", "TRAILER!!!\0"]
  expect(names.map((name) => text.indexOf(name) > 0)).toEqual([true, true, true, true])
  const header = text.slice(text.indexOf("etc/mandala/node.json\0") - 110)
  expect(header.slice(14, 22)).toBe("00008100")
  expect(JSON.parse(text.slice(text.indexOf("{"), text.indexOf("}") + 1))).toMatchObject({ schema: 1, machine: A })
})
