/**
 * What a machine that asks for its script gets, and why: rules in their order, the first that holds decides. The same
 * function answers the machine and the operator who asks why. Pure. Plane: control.
 */
import { RAM_HOLD_MS } from "./pool/limits.ts"
import type { Machine } from "./pool/ledger.ts"
import type { Admission } from "./pool/registry.ts"

export type RuleName = "admission" | "boot_loop" | "ram_fit" | "boot"
export type Verdict = {
  readonly rule: RuleName
  readonly verdict: "decided" | "passed" | "not_reached"
  readonly why: string
}
export type BootDecision = {
  /** Undefined: it boots. */
  readonly hold: { readonly rule: RuleName; readonly reason: string } | undefined
  readonly rules: readonly Verdict[]
}

const MIB = 1024 * 1024
const MINUTE_MS = 60_000

/** `loop` is what the ledger says of its last boots; undefined when they lead somewhere. */
export function decideBoot(asked: {
  readonly machine: Machine
  readonly admission: Admission
  readonly loop: string | undefined
  readonly now: number
}): BootDecision {
  const { machine, admission, loop, now } = asked
  const checks: readonly { readonly rule: RuleName; readonly holds: string | undefined; readonly why: string }[] = [
    { rule: "admission", holds: admissionHold(machine, admission), why: `it is ${admission}` },
    { rule: "boot_loop", holds: loop, why: `${machine.kernels_at.length} kernels since it was last heard of` },
    { rule: "ram_fit", holds: ramHold(machine, now), why: ramText(machine) },
  ]
  const rules: Verdict[] = []
  let hold: BootDecision["hold"]
  for (const { rule, holds, why } of checks) {
    if (hold !== undefined) {
      rules.push({ rule, verdict: "not_reached", why: "an earlier rule has decided" })
    } else if (holds === undefined) {
      rules.push({ rule, verdict: "passed", why })
    } else {
      hold = { rule, reason: holds }
      rules.push({ rule, verdict: "decided", why: holds })
    }
  }
  const isHeld = hold !== undefined
  const why = isHeld ? "an earlier rule has decided" : "nothing keeps it"
  rules.push({ rule: "boot", verdict: isHeld ? "not_reached" : "decided", why })
  return { hold, rules }
}

function admissionHold({ machine }: Machine, admission: Admission): string | undefined {
  if (admission === "accepted") {
    return undefined
  }
  return admission === "seen" ? `${machine} waits to be accepted` : `${machine} was ${admission}`
}

/** What it had at its last try, in /init's own words; memory may have been added since. */
function ramHold({ ram }: Machine, now: number): string | undefined {
  if (ram === null || now - ram.at >= RAM_HOLD_MS) {
    return undefined
  }
  const minutes = Math.ceil((RAM_HOLD_MS - (now - ram.at)) / MINUTE_MS)
  const need = Math.ceil(ram.need_bytes / MIB)
  const have = Math.floor(ram.have_bytes / MIB)
  return `needs ${need} MiB of memory and has ${have}: held for ${minutes} minutes`
}

function ramText({ ram }: Machine): string {
  return ram === null ? "nothing is known against its memory" : "it is time to try its memory again"
}
