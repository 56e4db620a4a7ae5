/**
 * Boots that must not succeed, on real firmware: a machine with too little memory, and one whose image arrived damaged.
 * Each must say why on its own screen and at the boot server, and must go no further. Plane: control.
 */
import { createHash } from "node:crypto"
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { err, ok, type Result } from "../../appliance/types/result.ts"
import { type LabError, labError } from "./host.ts"
import { LAN } from "./lan.ts"
import { HALT_MS, MEMORY_MIB_DEFAULT, MEMORY_MIB_SMALL, POLL_MS } from "./limits.ts"
import { type Acceleration, LabMachine } from "./machine.ts"
import { bootStatus, type MachineStatus } from "./status.ts"

export type BadBootCase = {
  readonly name: string
  readonly reason: string
  readonly need_bytes: number | null
  readonly have_bytes: number | null
  /** The line of the machine's own screen. */
  readonly screen: string
  readonly ms: number
}

export type BadBootsReport = {
  readonly schema: 1
  readonly cases: BadBootCase[]
  cases_passed: number
  failure: string | null
  ok: boolean
}

export type BadBootsOptions = {
  readonly directory: string
  readonly image: string
  readonly acceleration: Acceleration
  /** Machines that were powered on: whoever ends the lab cuts their power. */
  readonly machines: LabMachine[]
  /** Serves another image from now on. */
  readonly serve: (image: string) => Promise<Result<null, LabError>>
  readonly say: (text: string) => void
}

type Expectation = {
  readonly name: string
  readonly number: number
  readonly memoryMib: number
  readonly reason: string
  readonly isTold: (status: MachineStatus, screen: string) => boolean
}

/** Plays both cases; stops at the first that does not end as it should. */
export async function runBadBoots(options: BadBootsOptions): Promise<BadBootsReport> {
  const report: BadBootsReport = { schema: 1, cases: [], cases_passed: 0, failure: null, ok: false }
  const played = await play(options, report)
  report.cases_passed = report.cases.length
  report.failure = played.ok ? null : played.error.message
  report.ok = played.ok
  return report
}

async function play(options: BadBootsOptions, report: BadBootsReport): Promise<Result<null, LabError>> {
  const small = await expectHalt(options, report, {
    name: `a machine with ${MEMORY_MIB_SMALL} MiB`,
    number: 1,
    memoryMib: MEMORY_MIB_SMALL,
    reason: "ram_too_small",
    isTold: (status, screen) => {
      const { need_bytes, have_bytes } = status
      const isNumbers = need_bytes !== null && have_bytes !== null && have_bytes > 0 && have_bytes < need_bytes
      return isNumbers && screen.includes(String(need_bytes)) && screen.includes(String(have_bytes))
    },
  })
  if (!small.ok) {
    return small
  }
  const truncated = truncateImage(options)
  const served = await options.serve(truncated)
  if (!served.ok) {
    return served
  }
  return expectHalt(options, report, {
    name: "a machine whose base archive ends in the middle",
    number: 2,
    memoryMib: MEMORY_MIB_DEFAULT,
    // The archive of the machine's own follows at once: the kernel meets the end, or bytes that are none of zstd's.
    reason: "base_",
    isTold: (_status, screen) => /base_(truncated|corrupt)/.test(screen),
  })
}

async function expectHalt(
  options: BadBootsOptions,
  report: BadBootsReport,
  expectation: Expectation,
): Promise<Result<null, LabError>> {
  const { name, number, memoryMib, reason } = expectation
  const { directory, acceleration } = options
  const machine = new LabMachine({ number, kind: "bios-virtio", directory, memoryMib, acceleration })
  options.machines.push(machine)
  const plugged = machine.plugIn()
  const powered = plugged.ok ? machine.powerOn() : plugged
  if (!powered.ok) {
    return powered
  }
  const startedAt = Date.now()
  while (Date.now() - startedAt < HALT_MS) {
    const status = (await bootStatus(LAN.boot_server))?.machines.find((other) => other.mac === machine.mac)
    const screen = /HALTED: .*/.exec(machine.consoleText())?.[0] ?? ""
    if (status?.reason?.includes(reason) === true && expectation.isTold(status, machine.consoleText())) {
      await machine.cutPower()
      const { need_bytes, have_bytes } = status
      report.cases.push({ name, reason, need_bytes, have_bytes, screen, ms: Date.now() - startedAt })
      options.say(`ok     ${name}: ${screen}`)
      return ok(null)
    }
    if (machine.hasFailed || status?.stage === "joined") {
      return err(labError(name, `${name} did not halt: ${status?.stage ?? "its QEMU ended"} ${machine.qemuText()}`))
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
  const tail = machine.consoleText().slice(-2_000)
  return err(labError(name, `${name} did not say '${reason}' within ${HALT_MS / 1000} s; its screen:\n${tail}`))
}

/** An image whose base archive lacks its second half, with a manifest that calls that right: as if lost on the way. */
function truncateImage(options: BadBootsOptions): string {
  const directory = join(options.directory, "truncated")
  mkdirSync(directory)
  for (const file of ["kernel", "init.img"]) {
    copyFileSync(join(options.image, file), join(directory, file))
  }
  const whole = readFileSync(join(options.image, "base.img"))
  const half = whole.subarray(0, Math.floor(whole.length / 2))
  writeFileSync(join(directory, "base.img"), half)
  const oldHash = createHash("sha256").update(whole).digest("hex")
  const newHash = createHash("sha256").update(half).digest("hex")
  const manifest = readFileSync(join(options.image, "manifest.json"), "utf8")
  writeFileSync(
    join(directory, "manifest.json"),
    manifest.replaceAll(oldHash, newHash).replaceAll(`"bytes": ${whole.length}`, `"bytes": ${half.length}`),
  )
  return directory
}
