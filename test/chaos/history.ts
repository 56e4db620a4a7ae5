/** What clients did and were told, key by key; the checker's input, and the evidence when it fails. Plane: control. */
import { writeFileSync } from "node:fs"
import type { Operation } from "../checkers/linearizability.ts"
import { NOT_AN_INTEGER, type RegisterAnswer, type RegisterCall } from "../checkers/register.ts"
import type { CommandOutcome } from "./resp_client.ts"

/** As rule 26 has it. `unsent` is rejected too: there was no connection to send it on. */
export type Outcome = "ok" | "rejected" | "unknown"

/** What the answer to a command means; the words are gateway/texts.ts's. */
export function judge(outcome: CommandOutcome): { readonly outcome: Outcome; readonly answer: RegisterAnswer } {
  if (outcome.kind === "unanswered") {
    return { outcome: "unknown", answer: null }
  }
  const { value } = outcome
  switch (value.kind) {
    case "nil":
      return { outcome: "ok", answer: null }
    case "text":
      return { outcome: "ok", answer: value.text }
    case "error":
      if (value.text === NOT_AN_INTEGER) {
        return { outcome: "ok", answer: value.text }
      }
      return { outcome: /^(ERR unknown:|UNKNOWN\b)/.test(value.text) ? "unknown" : "rejected", answer: null }
  }
}

export function wordsOf(key: string, call: RegisterCall): readonly string[] {
  switch (call.kind) {
    case "get":
      return ["GET", key]
    case "set":
      return ["SET", key, call.value]
    case "set_absent":
      return ["SET", key, call.value, "NX"]
    case "set_present":
      return ["SET", key, call.value, "XX"]
    case "swap":
      return ["SET", key, call.value, "GET"]
    case "incr":
      return ["INCR", key]
    case "del":
      return ["DEL", key]
  }
}

export type Recorded = Operation & { readonly client: number; readonly port: number }

export class History {
  readonly #byKey = new Map<string, Recorded[]>()
  readonly counts: Record<Outcome, number> = { ok: 0, rejected: 0, unknown: 0 }
  /** Refusals by their first two words. */
  readonly refusals = new Map<string, number>()

  /** Rejected operations happened nowhere, so they are counted only: if one did happen, a read will show it. */
  add(key: string, operation: Recorded, outcome: Outcome): void {
    this.counts[outcome] += 1
    if (outcome === "rejected") {
      return
    }
    const operations = this.#byKey.get(key)
    if (operations === undefined) {
      this.#byKey.set(key, [operation])
    } else {
      operations.push(operation)
    }
  }

  addRefusal(text: string): void {
    const kind = text.split(" ", 2).join(" ").replace(/:$/, "")
    this.refusals.set(kind, (this.refusals.get(kind) ?? 0) + 1)
  }

  keys(): string[] {
    return [...this.#byKey.keys()]
  }

  of(key: string): readonly Recorded[] {
    return this.#byKey.get(key) ?? []
  }

  /** One operation a line. */
  write(path: string): void {
    const lines = [...this.#byKey].flatMap(([key, operations]) =>
      operations.map((operation) => JSON.stringify({ key, ...operation })),
    )
    writeFileSync(path, `${lines.join("\n")}\n`)
  }
}
