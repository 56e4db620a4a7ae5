/** What the boot server and the machines say of themselves over HTTP, bounded in time and bytes. Plane: control. */
import { HTTP_BYTES_MAX, HTTP_TIMEOUT_MS } from "./limits.ts"

export const STAGES = ["firmware", "nbp", "script", "kernel", "init", "joined"] as const
export type Stage = (typeof STAGES)[number]

const IMAGE_FIELDS = [
  "image_id",
  "flavour",
  "compression",
  "kernel_release",
  "ram_need_bytes",
  "unpacked_bytes",
  "outputs",
]

export type MachineStatus = {
  readonly machine: string
  readonly mac: string
  readonly address: string | null
  readonly firmware: string
  readonly slot: number | null
  /** What was decided about it; "seen" before. */
  readonly admission: string
  readonly roles: readonly string[]
  readonly stage: string
  /** Milliseconds since 1970, or null where the stage was not reached. */
  readonly stage_times: Readonly<Record<Stage, number | null>>
  readonly boot_count: number
  readonly reason: string | null
  readonly need_bytes: number | null
  readonly have_bytes: number | null
  readonly announce: Announce | null
  readonly announce_age_ms: number | null
}

export type Announce = {
  readonly machine: string
  readonly slot: number
  readonly address: string
  readonly status: string
  readonly view: number
  readonly op: number
  readonly commit: number
  readonly primary_slot: number
}

export type BootStatus = {
  readonly cluster: {
    readonly cluster_id: string
    readonly generation: number
    readonly voters: number
    readonly formed: boolean
    readonly primary_slot: number | null
    readonly view: number | null
    readonly commit: number | null
  }
  readonly machines: readonly MachineStatus[]
  readonly counters: unknown
}

/** JSON from a server of ours; undefined when it did not answer in time, or not with JSON. */
async function fetchJSON(url: string): Promise<unknown> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(HTTP_TIMEOUT_MS) })
    const text = await response.text()
    return text.length <= HTTP_BYTES_MAX ? JSON.parse(text) : undefined
  } catch {
    // Not up yet, or no longer: the caller asks again, a bounded number of times.
    return undefined
  }
}

export async function bootStatus(bootServer: string): Promise<BootStatus | undefined> {
  const status = await fetchJSON(`${bootServer}/status`)
  // The boot server of this very checkout answered: pxe/http writes exactly this type.
  return typeof status === "object" && status !== null && "machines" in status ? (status as BootStatus) : undefined
}

/** The member that most machines, by the newest view, hold for the primary; undefined while there is none. */
export function primaryOf(status: BootStatus): MachineStatus | undefined {
  let best: Announce | undefined
  for (const { announce, announce_age_ms } of status.machines) {
    const isFresh = announce !== null && (announce_age_ms ?? Number.POSITIVE_INFINITY) < 3_000
    if (isFresh && announce.status === "normal" && (best === undefined || announce.view > best.view)) {
      best = announce
    }
  }
  return best === undefined ? undefined : status.machines.find((machine) => machine.slot === best.primary_slot)
}

/** What the report says of the image: which it was and how large, not each of its inputs. */
export function imageSummary(manifest: string): Record<string, unknown> {
  const whole: unknown = JSON.parse(manifest)
  const fields = new Map(Object.entries(typeof whole === "object" && whole !== null ? whole : {}))
  return Object.fromEntries(IMAGE_FIELDS.map((name) => [name, fields.get(name) ?? null]))
}
