/**
 * The scene: three machines without disks boot from the network, hold values, lose their primary, get it back, lose
 * another, and have every acknowledged value still. What happened is the report. Plane: control.
 */
import type { MemoryFaultReport as FoundFault } from "../../appliance/orchestration/memory_watch.ts"
import { cpus, release, totalmem } from "node:os"
import { err, ok, type Result } from "../../appliance/types/result.ts"
import { type LabError, labError } from "./host.ts"
import { LAN } from "./lan.ts"
import {
  FAILOVER_MS,
  JOIN_MS,
  LARGE_VALUE_BYTES,
  LARGE_VALUES,
  POLL_MS,
  PROGRESS_MS,
  REPAIR_MS,
  SEEN_MS,
  SETTLE_MS,
  WRITES_FIRST,
  WRITES_SECOND,
} from "./limits.ts"
import type { Acceleration, LabMachine } from "./machine.ts"
import type { Operator } from "./operator.ts"
import { bootStatus, type BootStatus, type MachineStatus, primaryOf, STAGES } from "./status.ts"
import type { LiveTable } from "./table.ts"
import { type ReadCounts, Values, type WriteCounts } from "./values.ts"

export type BootReport = {
  readonly power_on: string
  /** Milliseconds from power-on, null where the stage was not seen. */
  readonly stages_ms: Readonly<Record<string, number | null>>
}

export type MachineReport = {
  readonly machine: string
  readonly kind: string
  readonly firmware: string
  readonly address: string | null
  readonly slot: number | null
  readonly boots: BootReport[]
  kernel_command_line: string | null
  console: string
}

export type SceneReport = {
  readonly schema: 1
  readonly date: string
  readonly host: {
    readonly cpus: number
    readonly cpu_model: string
    readonly ram_bytes: number
    readonly kernel: string
  }
  readonly acceleration: Acceleration
  readonly memory_mib: number
  image: unknown
  machines: MachineReport[]
  power_on_to_joined_ms: Record<string, number>
  power_on_to_joined_ms_max: number
  writes_acknowledged: number
  writes_unknown: number
  writes_refused: number
  reads_verified: number
  reads_failed: number
  wrong_answers: number
  failover_ms: number | null
  recovery_ms: number | null
  /** What the machines hold when the primary is lost: the arena, and the bytes of it that are in use. */
  state: { readonly arena_bytes: number; readonly values_bytes: number } | null
  memory_fault: MemoryFaultReport | null
  steps: { readonly step: string; readonly ms: number }[]
  failed_step: string | null
  failure: string | null
  ok: boolean
}

/** A bit that was flipped in a live machine's memory, and what the machine said of it. */
export type MemoryFaultReport = {
  readonly machine: string
  /** Where the value stood in all of the machine's memory: in its arena, and where copies of it were forgotten. */
  readonly places: number
  readonly kind: string
  readonly page: number | null
  readonly table: string | null
  readonly found_ms: number
  /** Until it had copied the page, and was a member as before. */
  readonly repaired_ms: number
}

export type SceneOptions = {
  readonly machines: readonly LabMachine[]
  readonly table: LiveTable
  readonly operator: Operator
  readonly acceleration: Acceleration
  readonly memoryMib: number
  readonly image: unknown
  /** True once the person or the parent asked to stop. */
  readonly isStopping: () => boolean
}

/** Plays the scene to its end or its first failure. The report is complete either way. */
export async function runScene(options: SceneOptions): Promise<SceneReport> {
  const scene = new Scene(options)
  return scene.run()
}

class Scene {
  readonly #options: SceneOptions
  readonly #report: SceneReport
  readonly #values = new Values()
  readonly #boots = new Map<string, BootReport[]>()
  readonly #commandLines = new Map<string, string>()
  #status: BootStatus | undefined

  constructor(options: SceneOptions) {
    this.#options = options
    this.#report = {
      schema: 1,
      date: new Date().toISOString(),
      host: {
        cpus: cpus().length,
        cpu_model: cpus()[0]?.model ?? "unknown",
        ram_bytes: totalmem(),
        kernel: release(),
      },
      acceleration: options.acceleration,
      memory_mib: options.memoryMib,
      image: options.image,
      machines: [],
      power_on_to_joined_ms: {},
      power_on_to_joined_ms_max: 0,
      writes_acknowledged: 0,
      writes_unknown: 0,
      writes_refused: 0,
      reads_verified: 0,
      reads_failed: 0,
      wrong_answers: 0,
      failover_ms: null,
      recovery_ms: null,
      state: null,
      memory_fault: null,
      steps: [],
      failed_step: null,
      failure: null,
      ok: false,
    }
  }

  async run(): Promise<SceneReport> {
    const report = this.#report
    const played = await this.#play()
    if (!played.ok) {
      report.failed_step = played.error.step
      report.failure = played.error.message
    }
    await this.#poll()
    report.machines = this.#options.machines.map((machine) => this.#machineReport(machine))
    report.ok =
      played.ok && report.wrong_answers === 0 && report.reads_failed === 0 && report.writes_acknowledged >= 1_000
    return report
  }

  async #play(): Promise<Result<null, LabError>> {
    const { machines } = this.#options
    const steps: readonly (readonly [string, () => Promise<Result<null, LabError>>])[] = [
      ["power on, boot, join", () => this.#bootAll()],
      ["set a password", () => this.#setPassword()],
      ["write and read", () => this.#writeAndRead()],
      ["fill the state", () => this.#fill()],
      ["lose the primary", () => this.#loseThePrimary()],
      ["bring it back", () => this.#bringBack()],
      ["flip a bit in a machine's memory", () => this.#flipBit()],
      ["lose another, read through the recovered one", () => this.#loseAnother()],
    ]
    this.#say(`scene: ${machines.length} machines of ${this.#options.memoryMib} MiB, ${this.#options.acceleration}`)
    for (const [name, play] of steps) {
      const startedAt = Date.now()
      const result = await play()
      this.#report.steps.push({ step: name, ms: Date.now() - startedAt })
      this.#say(`${result.ok ? "ok    " : "failed"} ${name} (${seconds(Date.now() - startedAt)})`)
      if (!result.ok) {
        return err(labError(name, result.error.message))
      }
    }
    return ok(null)
  }

  // ---------------------------------------------------------------- the steps

  async #bootAll(): Promise<Result<null, LabError>> {
    for (const machine of this.#options.machines) {
      const plugged = machine.plugIn()
      const powered = plugged.ok ? machine.powerOn() : plugged
      if (!powered.ok) {
        return powered
      }
    }
    const accepted = await this.#acceptAll()
    if (!accepted.ok) {
      return accepted
    }
    const joined = await this.#waitFor("every machine joined", JOIN_MS, () =>
      this.#options.machines.every((machine) => this.#hasJoined(machine)),
    )
    if (!joined.ok) {
      return joined
    }
    for (const machine of this.#options.machines) {
      this.#noteBoot(machine)
      this.#noteCommandLine(machine)
    }
    this.#report.power_on_to_joined_ms_max = Math.max(...Object.values(this.#report.power_on_to_joined_ms))
    return ok(null)
  }

  /** Machines that nobody knows get nothing; the operator looks at each and lets it in. */
  async #acceptAll(): Promise<Result<null, LabError>> {
    const { machines, operator } = this.#options
    for (const machine of machines) {
      const seen = await this.#waitFor(`${machine.name} asks to boot`, SEEN_MS, () => {
        const status = this.#statusOf(machine)
        return status?.admission === "seen" && (status.stage_times.script ?? 0) >= (machine.powerOns.at(-1) ?? 0)
      })
      if (!seen.ok) {
        return seen
      }
      this.#say(
        `       ${machine.name} (${machine.kind}) is seen and gets nothing; mandala machine accept ${machine.mac}`,
      )
      const done = await operator.run(["machine", "accept", machine.mac])
      if (!done.ok) {
        return done
      }
    }
    return ok(null)
  }

  /** Until there is one, no machine listens for clients from the network. */
  async #setPassword(): Promise<Result<null, LabError>> {
    const [first] = this.#backups()
    if (first === undefined) {
      return err(labError("password", "there is no machine beside the primary"))
    }
    if (await this.#values.isServed(first)) {
      return err(labError("password", `${first} serves clients from the network although no password is set`))
    }
    const set = await this.#options.operator.run(["password", "set", "--endpoint", `https://${first}:7443`])
    if (!set.ok) {
      return set
    }
    this.#values.password = set.value.trim()
    const addresses = this.#members().map((machine) => this.#addressOf(machine))
    return await this.#waitFor("every machine serves who has the password", SETTLE_MS, async () => {
      const served = await Promise.all(addresses.map((address) => this.#values.isServed(address)))
      return served.every((isServed) => isServed)
    })
  }

  async #writeAndRead(): Promise<Result<null, LabError>> {
    const [first, second] = this.#backups()
    if (first === undefined || second === undefined) {
      return err(labError("write", "there are no two machines beside the primary"))
    }
    this.#countWrites(await this.#values.write(first, WRITES_FIRST))
    if (this.#values.count < 1_000) {
      return err(labError("write", `only ${this.#values.count} of ${WRITES_FIRST} writes were acknowledged`))
    }
    return this.#verify(second)
  }

  async #fill(): Promise<Result<null, LabError>> {
    const [first, second] = this.#backups()
    if (first === undefined || second === undefined) {
      return err(labError("fill", "there are no two machines beside the primary"))
    }
    const counts = await this.#values.write(first, LARGE_VALUES, LARGE_VALUE_BYTES)
    this.#countWrites(counts)
    if (counts.acknowledged < LARGE_VALUES) {
      const text = `${counts.acknowledged} of ${LARGE_VALUES} large values were acknowledged`
      return err(labError("fill", `only ${text}`))
    }
    let arenaBytes = 0
    const told = await this.#waitFor("a machine says how large its arena is", SETTLE_MS, async () => {
      arenaBytes = (await this.#options.operator.status(second))?.arena.bytes ?? 0
      return arenaBytes > 0
    })
    if (!told.ok) {
      return told
    }
    const valuesBytes = LARGE_VALUES * LARGE_VALUE_BYTES
    this.#report.state = { arena_bytes: arenaBytes, values_bytes: valuesBytes }
    this.#say(`       ${mebibytes(valuesBytes)} of values in an arena of ${mebibytes(arenaBytes)}`)
    return this.#verify(second)
  }

  async #flipBit(): Promise<Result<null, LabError>> {
    const machine = this.#members().find((member) => member !== this.#primaryMachine() && member !== this.#lost)
    if (machine === undefined) {
      return err(labError("flip", "there is no backup that was never lost"))
    }
    const address = this.#addressOf(machine)
    const places = machine.flipBits(this.#values.oldest)
    const flippedAt = Date.now()
    if (places === 0) {
      return err(labError("flip", `the oldest value is not in the memory of ${machine.name}`))
    }
    this.#say(`flipped a bit of the oldest value in the memory of ${machine.name} (${machine.kind}), ${places} times`)
    const found: { ms: number | undefined; fault: FoundFault | null } = { ms: undefined, fault: null }
    const repaired = await this.#waitFor(`${machine.name} finds it and copies the page`, REPAIR_MS, async () => {
      const status = await this.#options.operator.status(address)
      if (status === undefined || status.memory.faults === 0) {
        return false
      }
      found.ms ??= Date.now() - flippedAt
      found.fault = status.memory.last_fault
      return status.machine.status === "normal" && !status.checkpoint.is_torn
    })
    const { fault } = found
    if (!repaired.ok || fault === null) {
      return repaired.ok ? err(labError("flip", "the machine does not say what it found")) : repaired
    }
    const { kind, page, table } = fault
    const repairedMs = Date.now() - flippedAt
    const foundMs = found.ms ?? repairedMs
    this.#report.memory_fault = {
      machine: machine.name,
      places,
      kind,
      page,
      table,
      found_ms: foundMs,
      repaired_ms: repairedMs,
    }
    this.#say(`       found in page ${page} (${table}) after ${seconds(foundMs)}, sound after ${seconds(repairedMs)}`)
    return this.#verify(address)
  }

  async #loseThePrimary(): Promise<Result<null, LabError>> {
    const primary = this.#primaryMachine()
    if (primary === undefined) {
      return err(labError("kill", "no machine is primary"))
    }
    this.#lost = primary
    this.#say(`cutting the power of the primary, ${primary.name} (${primary.kind})`)
    await primary.cutPower()
    const cutAt = Date.now()
    const survivor = this.#addressOf(this.#members()[0])
    const deadline = cutAt + FAILOVER_MS
    while (Date.now() < deadline && !this.#options.isStopping()) {
      const counts = await this.#values.write(survivor, 1)
      this.#countWrites(counts)
      if (counts.acknowledged === 1) {
        this.#report.failover_ms = Date.now() - cutAt
        await this.#poll()
        const verified = await this.#verify(survivor)
        if (!verified.ok) {
          return verified
        }
        this.#countWrites(await this.#values.write(survivor, WRITES_SECOND))
        return ok(null)
      }
      await this.#poll()
    }
    return err(labError("failover", `no write was acknowledged within ${seconds(FAILOVER_MS)} of the loss`))
  }

  #lost: LabMachine | undefined

  async #bringBack(): Promise<Result<null, LabError>> {
    const machine = this.#lost
    if (machine === undefined) {
      return err(labError("recover", "no machine was lost"))
    }
    const powered = machine.powerOn()
    if (!powered.ok) {
      return powered
    }
    const joined = await this.#waitFor(`${machine.name} recovered from its peers`, JOIN_MS, () =>
      this.#hasJoined(machine),
    )
    if (!joined.ok) {
      return joined
    }
    this.#report.recovery_ms = Date.now() - (machine.powerOns.at(-1) ?? 0)
    this.#noteBoot(machine)
    this.#noteCommandLine(machine)
    return ok(null)
  }

  async #loseAnother(): Promise<Result<null, LabError>> {
    const recovered = this.#lost
    const others = this.#members().filter((machine) => machine !== recovered)
    // The primary of now, so that the recovered machine must also help to choose the next one.
    const other = others.find((machine) => machine === this.#primaryMachine()) ?? others[0]
    if (recovered === undefined || other === undefined) {
      return err(labError("kill", "there is no second machine to lose"))
    }
    this.#say(
      `cutting the power of ${other.name} (${other.kind}); reading through ${recovered.name}, which came back blank`,
    )
    await other.cutPower()
    const address = this.#addressOf(recovered)
    const settled = await this.#waitFor("the recovered machine answers", SETTLE_MS, async () => {
      const counts = await this.#values.write(address, 1)
      this.#countWrites(counts)
      return counts.acknowledged === 1
    })
    return settled.ok ? this.#verify(address) : settled
  }

  // ---------------------------------------------------------------- what the steps are made of

  async #verify(address: string): Promise<Result<null, LabError>> {
    const counts: ReadCounts = await this.#values.verify(address)
    this.#report.reads_verified += counts.verified
    this.#report.reads_failed += counts.failed
    this.#report.wrong_answers += counts.wrong
    this.#say(
      `       ${counts.verified} of ${this.#values.count} values read back through ${address}, ${counts.wrong} wrong`,
    )
    if (counts.wrong > 0 || counts.failed > 0) {
      return err(
        labError("read", `${counts.wrong} wrong answers and ${counts.failed} without an answer through ${address}`),
      )
    }
    return ok(null)
  }

  #countWrites(counts: WriteCounts): void {
    this.#report.writes_acknowledged += counts.acknowledged
    this.#report.writes_unknown += counts.unknown
    this.#report.writes_refused += counts.refused
  }

  async #waitFor(
    what: string,
    limitMs: number,
    isDone: () => boolean | Promise<boolean>,
  ): Promise<Result<null, LabError>> {
    const startedAt = Date.now()
    let saidAt = startedAt
    while (Date.now() - startedAt < limitMs) {
      await this.#poll()
      if (await isDone()) {
        return ok(null)
      }
      if (this.#options.isStopping()) {
        return err(labError("stop", "stopped on request"))
      }
      const broken = this.#options.machines.find((machine) => machine.hasFailed)
      if (broken !== undefined) {
        return err(labError("wait", `the QEMU process of ${broken.name} ended by itself: ${broken.qemuText().trim()}`))
      }
      if (Date.now() - saidAt >= PROGRESS_MS) {
        saidAt = Date.now()
        this.#say(`       waiting since ${seconds(saidAt - startedAt)}: ${what}`)
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS))
    }
    return err(labError("wait", `not within ${seconds(limitMs)}: ${what}`))
  }

  async #poll(): Promise<void> {
    this.#status = (await bootStatus(LAN.boot_server)) ?? this.#status
    this.#options.table.show(this.#options.machines, this.#status)
  }

  #statusOf(machine: LabMachine | undefined): MachineStatus | undefined {
    return this.#status?.machines.find((other) => other.mac === machine?.mac)
  }

  /** Joined in this boot, and said so itself a moment ago; a spare has nothing to join. */
  #hasJoined(machine: LabMachine): boolean {
    const status = this.#statusOf(machine)
    const powerOn = machine.powerOns.at(-1) ?? 0
    const { firmware, joined } = status?.stage_times ?? {}
    if (!machine.isOn || (firmware ?? 0) < powerOn) {
      return false
    }
    const isSpare = status?.slot === null && status.announce?.status === "spare"
    return isSpare || (status?.announce?.status === "normal" && (joined ?? 0) >= powerOn)
  }

  /** Machines with power that hold the state. */
  #members(): LabMachine[] {
    return this.#options.machines.filter((machine) => machine.isOn && (this.#statusOf(machine)?.slot ?? null) !== null)
  }

  #primaryMachine(): LabMachine | undefined {
    const primary = this.#status === undefined ? undefined : primaryOf(this.#status)
    return this.#options.machines.find((machine) => machine.mac === primary?.mac)
  }

  #backups(): string[] {
    const primary = this.#primaryMachine()
    return this.#members()
      .filter((machine) => machine !== primary)
      .map((machine) => this.#addressOf(machine))
  }

  #addressOf(machine: LabMachine | undefined): string {
    return this.#statusOf(machine)?.announce?.address ?? this.#statusOf(machine)?.address ?? "0.0.0.0"
  }

  #noteBoot(machine: LabMachine): void {
    const powerOn = machine.powerOns.at(-1) ?? 0
    const times = this.#statusOf(machine)?.stage_times
    const stages: Record<string, number | null> = {}
    for (const stage of STAGES) {
      const at = times?.[stage] ?? null
      stages[stage] = at === null || at < powerOn ? null : at - powerOn
    }
    const boots = this.#boots.get(machine.name) ?? []
    boots.push({ power_on: new Date(powerOn).toISOString(), stages_ms: stages })
    this.#boots.set(machine.name, boots)
    const joined = stages["joined"] ?? null
    if (joined !== null) {
      const isOnlyOne = this.#options.machines.filter(({ kind }) => kind === machine.kind).length === 1
      const name = isOnlyOne ? machine.kind : `${machine.kind} ${machine.name}`
      this.#report.power_on_to_joined_ms[`${name} boot ${boots.length}`] = joined
    }
  }

  /** /init prints what /proc/cmdline says; the console is cut at its beginning later, so it is read at once. */
  #noteCommandLine(machine: LabMachine): void {
    const line = /mandala: \/proc\/cmdline: (.*)/.exec(machine.consoleText())?.[1]
    if (line !== undefined) {
      this.#commandLines.set(machine.name, line)
    }
  }

  #machineReport(machine: LabMachine): MachineReport {
    const status = this.#statusOf(machine)
    return {
      machine: machine.name,
      kind: machine.kind,
      firmware: status?.firmware ?? "unknown",
      address: status?.address ?? null,
      slot: status?.slot ?? null,
      boots: this.#boots.get(machine.name) ?? [],
      kernel_command_line: this.#commandLines.get(machine.name) ?? null,
      console: machine.consoleText(),
    }
  }

  #say(text: string): void {
    this.#options.table.say(text)
  }
}

function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(0)} MiB`
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`
}
