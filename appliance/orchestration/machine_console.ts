/**
 * One line for the person in front of the machine, whenever something changed that a person would look for.
 * Plane: control.
 */
import { closeSync, existsSync, openSync, write } from "node:fs"
import type { HostInfo } from "./host_info.ts"

export type ConsoleLineOptions = { readonly info: HostInfo; readonly address: string; readonly clusterID: string }

export type ConsoleMachine = {
  readonly info: () => HostInfo
  readonly address: string
  readonly clusterID: string
}

const CLUSTER_DIGITS = 8

export function consoleLine({ info, address, clusterID }: ConsoleLineOptions): string {
  const cluster = clusterID.slice(0, CLUSTER_DIGITS)
  const place = `${info.name} ${address}, slot ${info.slot} of ${info.voters}, cluster ${cluster}`
  const peer = info.role === "voter" ? "backup" : "standby"
  const role = info.status === "normal" ? (info.primary_slot === info.slot ? "primary" : peer) : info.status
  const primary = info.primary_slot < 0 ? "unknown" : String(info.primary_slot)
  const state = `view ${info.view} (primary ${primary}), op ${info.op}, commit ${info.commit}, copies ${info.copies}`
  const { is_torn, copying } = info.checkpoint
  const what =
    copying === null || copying.op === null
      ? "waits"
      : `${copying.pages_left} pages to copy from slot ${copying.from_slot}`
  const whole = is_torn ? `, state not whole: ${what}` : ""
  const insecure = info.link_security === "insecure" ? ", links INSECURE" : ""
  const alarms = info.alarms.map(({ text }) => `mandala: ALARM: ${text}\n`)
  const margin = `quorum margin ${info.quorum_margin}`
  return `mandala: ${place}: ${role}, ${state}, ${margin}${whole}${insecure}\n${alarms.join("")}`
}

export class MachineConsole {
  readonly #everyMs: number
  #fd: number | undefined
  #isWriting = false
  #shown = ""
  #lookedAt = Number.NEGATIVE_INFINITY

  /** Writes to the device at `path`, where there is one. */
  constructor(path: string, everyMs: number) {
    this.#fd = openDevice(path)
    this.#everyMs = everyMs
  }

  tick(nowMs: number, machine: ConsoleMachine): void {
    if (this.#fd === undefined || nowMs - this.#lookedAt < this.#everyMs) {
      return
    }
    this.#lookedAt = nowMs
    const info = machine.info()
    const alarms = info.alarms.map(({ kind }) => kind).join(" ")
    const faults = `${info.checkpoint.is_torn} ${info.memory_faults.faults}`
    const place = `${info.view} ${info.primary_slot} ${info.copies} ${info.quorum_margin}`
    const state = `${info.status} ${place} ${faults} ${alarms}`
    if (state !== this.#shown) {
      this.#shown = state
      this.print(consoleLine({ info, address: machine.address, clusterID: machine.clusterID }))
    }
  }

  /** One line at a time: a serial line that is slow loses lines, never the process's time. */
  print(text: string): void {
    if (this.#fd === undefined || this.#isWriting) {
      return
    }
    this.#isWriting = true
    write(this.#fd, text, (error) => {
      this.#isWriting = false
      if (error !== null) {
        this.close()
      }
    })
  }

  close(): void {
    if (this.#fd !== undefined) {
      closeSync(this.#fd)
      this.#fd = undefined
    }
  }
}

function openDevice(path: string): number | undefined {
  if (path === "" || !existsSync(path)) {
    return undefined
  }
  try {
    return openSync(path, "a")
  } catch {
    // No console that takes writes, as in a container: the log has it all.
    return undefined
  }
}
