/**
 * The play of admission, on real firmware: machines that nobody knows get nothing; three are accepted and found a
 * cluster, a fourth is refused; a thief presents a spent ticket, and the machine that it belongs to is out until it is
 * accepted again; a voter is expelled, is cut off while it goes on talking, and the fourth takes its place.
 * Plane: control.
 */
import { createHmac } from "node:crypto"
import type { StatusDocument } from "../../appliance/gateway/status_document.ts"
import { makeKey } from "../../appliance/keys/key_pair.ts"
import { err, ok, type Result } from "../../appliance/types/result.ts"
import { joinText } from "../../pxe/pool/tickets.ts"
import { type LabError, labError } from "./host.ts"
import { LAN } from "./lan.ts"
import { CUT_MS, HTTP_TIMEOUT_MS, JOIN_MS, POLL_MS, SEEN_MS } from "./limits.ts"
import type { Acceleration, LabMachine } from "./machine.ts"
import type { Operator } from "./operator.ts"
import { bootStatus, type BootStatus, type MachineStatus } from "./status.ts"

export type AdmissionReport = {
  readonly schema: 1
  readonly date: string
  readonly acceleration: Acceleration
  readonly timeline: { readonly ms: number; readonly what: string }[]
  /** From the operator's or the thief's word until no member has a link to the machine any more. */
  stolen_cut_ms: number | null
  expelled_cut_ms: number | null
  failure: string | null
  ok: boolean
}

export type AdmissionOptions = {
  /** Three that are accepted, and one more. */
  readonly machines: readonly LabMachine[]
  readonly acceleration: Acceleration
  readonly operator: Operator
  readonly isStopping: () => boolean
  readonly say: (text: string) => void
}

export async function runAdmission(options: AdmissionOptions): Promise<AdmissionReport> {
  return await new AdmissionPlay(options).run()
}

type Step = Promise<Result<null, LabError>>

class AdmissionPlay {
  readonly #options: AdmissionOptions
  readonly #startedAt = Date.now()
  readonly #report: AdmissionReport
  #status: BootStatus | undefined

  constructor(options: AdmissionOptions) {
    this.#options = options
    this.#report = {
      schema: 1,
      date: new Date().toISOString(),
      acceleration: options.acceleration,
      timeline: [],
      stolen_cut_ms: null,
      expelled_cut_ms: null,
      failure: null,
      ok: false,
    }
  }

  async run(): Promise<AdmissionReport> {
    const played = await this.#play()
    this.#report.failure = played.ok ? null : played.error.message
    this.#report.ok = played.ok
    return this.#report
  }

  async #play(): Step {
    const [first, second, third, fourth] = this.#options.machines
    if (first === undefined || second === undefined || third === undefined || fourth === undefined) {
      return err(labError("admission", "four machines are wanted"))
    }
    const steps: readonly (() => Step)[] = [
      () => this.#powerOnAll(),
      () => this.#accept([first, second, third]),
      () => this.#refuse(fourth),
      () => this.#steal(third, first),
      () => this.#letBackIn(third),
      () => this.#expel(second, first),
      () => this.#replace(fourth, first),
    ]
    for (const step of steps) {
      const done = await step()
      if (!done.ok) {
        return done
      }
    }
    return ok(null)
  }

  // ---------------------------------------------------------------- the steps

  async #powerOnAll(): Step {
    for (const machine of this.#options.machines) {
      const plugged = machine.plugIn()
      const powered = plugged.ok ? machine.powerOn() : plugged
      if (!powered.ok) {
        return powered
      }
      this.#say(`${machine.name} (${machine.kind}) is switched on`)
    }
    const seen = await this.#waitFor("every machine asked to boot", SEEN_MS, () =>
      this.#options.machines.every((machine) => this.#of(machine)?.admission === "seen"),
    )
    const hasKernel = this.#options.machines.some((machine) => (this.#of(machine)?.stage_times.kernel ?? null) !== null)
    if (seen.ok && hasKernel) {
      return err(labError("seen", "a machine got a kernel that nobody had accepted"))
    }
    this.#say("all are seen, and none was given anything")
    return seen
  }

  async #accept(machines: readonly LabMachine[]): Step {
    for (const { mac } of machines) {
      const accepted = await this.#mandala("machine", "accept", mac)
      if (!accepted.ok) {
        return accepted
      }
    }
    const joined = await this.#waitFor("the three joined", JOIN_MS, () => machines.every((one) => this.#isMember(one)))
    if (joined.ok) {
      this.#say("the three have formed a cluster, its links encrypted")
    }
    return joined
  }

  async #refuse(machine: LabMachine): Step {
    const refused = await this.#mandala("machine", "refuse", machine.mac)
    if (!refused.ok) {
      return refused
    }
    return await this.#waitFor(`${machine.name} is refused and was given no kernel`, CUT_MS, () => {
      const status = this.#of(machine)
      return status?.admission === "refused" && status.stage_times.kernel === null
    })
  }

  /** Somebody on the LAN has seen the machine's archive go by, and joins with the ticket that was in it. */
  async #steal(robbed: LabMachine, witness: LabMachine): Step {
    const before = await this.#linksCutAt(witness)
    const boot = /mandala\.boot=([0-9a-f]{32})/.exec(robbed.consoleText())?.[1]
    if (boot === undefined || before === undefined) {
      return err(labError("steal", `the boot of ${robbed.name} is not on its console, or ${witness.name} is silent`))
    }
    const since = Date.now()
    const answer = await joinAsThief(robbed.name, boot)
    this.#say(`a thief joins with the ticket of ${robbed.name}: ${answer}`)
    if (answer !== "ticket_spent") {
      return err(labError("steal", `a spent ticket was answered with ${answer}`))
    }
    const cut = await this.#waitFor(`${robbed.name} is in quarantine and cut off`, CUT_MS, async () => {
      const now = await this.#linksCutAt(witness)
      return this.#of(robbed)?.admission === "quarantined" && now !== undefined && now > before
    })
    this.#report.stolen_cut_ms = Date.now() - since
    return cut
  }

  async #letBackIn(machine: LabMachine): Step {
    const accepted = await this.#mandala("machine", "accept", machine.mac)
    if (!accepted.ok) {
      return accepted
    }
    await machine.cutPower()
    const powered = machine.powerOn()
    if (!powered.ok) {
      return powered
    }
    this.#say(`${machine.name} is switched off and on: a new boot, a new ticket, a new key`)
    return await this.#waitFor(`${machine.name} is a member again`, JOIN_MS, () => this.#isMember(machine))
  }

  async #expel(machine: LabMachine, witness: LabMachine): Step {
    const before = await this.#linksCutAt(witness)
    if (before === undefined) {
      return err(labError("expel", `${witness.name} does not answer`))
    }
    const since = Date.now()
    // Where machines share their cores with much else an announce may be late, and then nobody is to be expelled.
    const expelled = await this.#waitFor(`${machine.name} is expelled`, CUT_MS, async () => {
      return (await this.#mandala("machine", "expel", machine.mac)).ok
    })
    if (!expelled.ok) {
      return expelled
    }
    const cut = await this.#waitFor(`${machine.name} is cut off`, CUT_MS, async () => {
      const now = await this.#linksCutAt(witness)
      return now !== undefined && now > before
    })
    this.#report.expelled_cut_ms = Date.now() - since
    if (!cut.ok) {
      return cut
    }
    // It is still switched on, has its old key, and tries again and again.
    return await this.#waitFor(`${machine.name} goes on talking and is turned away as expelled`, CUT_MS, async () => {
      const links = (await this.#statusOf(witness))?.links
      const turned = (links?.hellos_refused_by.expelled ?? 0) + (links?.handshakes_refused_by.expelled ?? 0)
      return turned > 0
    })
  }

  async #replace(machine: LabMachine, witness: LabMachine): Step {
    const accepted = await this.#mandala("machine", "accept", machine.mac)
    if (!accepted.ok) {
      return accepted
    }
    const joined = await this.#waitFor(`${machine.name} has taken the place`, JOIN_MS, () => this.#isMember(machine))
    if (!joined.ok) {
      return joined
    }
    return await this.#waitFor("the cluster has three voters again", CUT_MS, async () => {
      const cluster = (await this.#statusOf(witness))?.cluster
      return cluster?.voters_live === 3 && cluster.is_healthy
    })
  }

  // ---------------------------------------------------------------- what the steps are made of

  async #waitFor(what: string, limitMs: number, isDone: () => boolean | Promise<boolean>): Step {
    const end = Date.now() + limitMs
    while (Date.now() < end) {
      this.#status = (await bootStatus(LAN.boot_server)) ?? this.#status
      if (await isDone()) {
        this.#say(what)
        return ok(null)
      }
      if (this.#options.isStopping()) {
        return err(labError("stop", "stopped on request"))
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS))
    }
    return err(labError("wait", `not within ${limitMs / 1000} s: ${what}`))
  }

  async #mandala(...args: readonly string[]): Promise<Result<string, LabError>> {
    this.#say(`$ mandala ${args.join(" ")}`)
    return await this.#options.operator.run(args)
  }

  #of(machine: LabMachine): MachineStatus | undefined {
    return this.#status?.machines.find((other) => other.mac === machine.mac)
  }

  #isMember(machine: LabMachine): boolean {
    const status = this.#of(machine)
    const isOfThisBoot = (status?.stage_times.joined ?? 0) >= (machine.powerOns.at(-1) ?? 0)
    return machine.isOn && isOfThisBoot && status?.announce?.status === "normal"
  }

  async #linksCutAt(machine: LabMachine): Promise<number | undefined> {
    return (await this.#statusOf(machine))?.links.links_cut
  }

  async #statusOf(machine: LabMachine): Promise<StatusDocument | undefined> {
    const address = this.#of(machine)?.announce?.address
    return address === undefined ? undefined : await this.#options.operator.status(address)
  }

  #say(what: string): void {
    const ms = Date.now() - this.#startedAt
    this.#report.timeline.push({ ms, what })
    this.#options.say(`${(ms / 1000).toFixed(1).padStart(6)} s  ${what}`)
  }
}

/** As a program would that has read the machine's archive on its way: the word with which it is turned away. */
async function joinAsThief(machine: string, boot: string): Promise<string> {
  const get = async (path: string, body?: object): Promise<string> => {
    const sent = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) }
    const response = await fetch(`${LAN.boot_server}${path}`, { signal: AbortSignal.timeout(HTTP_TIMEOUT_MS), ...sent })
    return await response.text()
  }
  const archive = await get(`/machine/${machine}/node.img?boot=${boot}`)
  const ticket = /"ticket":"([0-9a-f]{64})"/.exec(archive)?.[1] ?? ""
  const cluster = /"cluster_id":"([0-9a-f]{32})"/.exec(archive)?.[1] ?? ""
  const challenge = /"challenge":"([^"]+)"/.exec(await get("/join/challenge"))?.[1] ?? ""
  const { publicKey } = await makeKey()
  const text = joinText(cluster, { machine, boot_id: boot, challenge, public_key: publicKey })
  const proof = createHmac("sha256", Buffer.from(ticket, "hex")).update(text).digest("hex")
  const answer = await get("/join", { machine, boot_id: boot, challenge, public_key: publicKey, proof })
  return /"error":"([a-z_]+)"/.exec(answer)?.[1] ?? answer.slice(0, 80)
}
