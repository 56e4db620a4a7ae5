/**
 * What a script knows to be true, whatever its golden text says: the one history of committed ops, what clients were
 * told, and the properties that no replica and no answer may break. Plane: control.
 */
import type { PrepareHeader } from "../../appliance/replication/message.ts"
import type { Replica } from "../../appliance/replication/replica.ts"
import type { Command } from "./commands.ts"

type Committed = { readonly checksum: string; readonly request: string; readonly key: string; readonly value: string }

/** An answered op, and the view whose primary answered: every later view must have it. */
type Acknowledged = { readonly op: number; readonly epoch: number; readonly view: number }

export class Ledger {
  /** What went wrong, each once, in the order in which it was seen. */
  readonly violations: string[] = []
  readonly #committed = new Map<number, Committed>()
  readonly #acknowledged: Acknowledged[] = []
  readonly #commands = new Map<string, Command>()
  readonly #opOfRequest = new Map<string, number>()
  readonly #digests = new Map<number, number>()
  readonly #roots = new Map<number, string>()

  /** The youngest op that a client was told of. */
  get acknowledgedOp(): number {
    return Math.max(0, ...this.#acknowledged.map((acknowledged) => acknowledged.op))
  }

  violated(what: string): void {
    if (!this.violations.includes(what)) {
      this.violations.push(what)
    }
  }

  /** A client is about to send this command under this id, for the first time. */
  asked(request: string, command: Command): void {
    this.#commands.set(request, command)
  }

  /** Who commits an op says which; the first to say so decides. */
  committed(who: string, header: PrepareHeader): void {
    const known = this.#committed.get(header.op)
    if (known !== undefined) {
      if (known.checksum !== header.checksum) {
        this.violated(`${who} commits another entry at op ${header.op} than was committed there`)
      }
      return
    }
    const request = requestId(header)
    if (header.session > 0 && this.#opOfRequest.has(request)) {
      this.violated(`request ${request} is committed twice`)
    }
    this.#opOfRequest.set(request, header.op)
    const command = this.#commands.get(request)
    const key = command?.key ?? ""
    const value = command === undefined ? "" : this.#valueAfter(command, header.op)
    this.#committed.set(header.op, { checksum: header.checksum, request, key, value })
  }

  /** Equal ops have equal bytes. */
  applied(who: string, op: number, digest: number): void {
    const known = this.#digests.get(op)
    this.#digests.set(op, known ?? digest)
    if (known !== undefined && known !== digest) {
      this.violated(`the arena of ${who} at op ${op} differs from another machine's`)
    }
  }

  /** The root of a checkpoint, by a machine in which no bit has flipped, or by what it holds to be certified. */
  root(who: string, op: number, root: string): void {
    const known = this.#roots.get(op)
    this.#roots.set(op, known ?? root)
    if (known !== undefined && known !== root) {
      this.violated(`${who} goes by another root of op ${op} than a sound machine's`)
    }
  }

  /** A reply `ok` leaves a primary. */
  answered(reply: {
    readonly request: string
    readonly result: string
    readonly epoch: number
    readonly view: number
  }): void {
    const { request, result, epoch, view } = reply
    const op = this.#opOfRequest.get(request)
    if (op === undefined) {
      this.violated(`request ${request} is answered and was not committed`)
      return
    }
    this.#acknowledged.push({ op, epoch, view })
    const command = this.#commands.get(request)
    const expected = command?.kind === "incr" ? this.#committed.get(op)?.value : "ok"
    if (command !== undefined && result !== expected) {
      this.violated(`request ${request} is answered ${result}, which is not its own reply`)
    }
  }

  /** A read answers what the key was after some op from `since`, acknowledged when it was asked, to the end. */
  read(key: string, value: string, since: number): void {
    const allowed = new Set([this.#valueAt(key, since)])
    for (const [op, committed] of this.#committed) {
      if (op > since && committed.key === key) {
        allowed.add(committed.value)
      }
    }
    if (!allowed.has(value)) {
      this.violated(`a read of ${key} answers "${value}", which is older than what was acknowledged`)
    }
  }

  /** Whoever is a member of a later view than the one that answered has the answered op in its log. */
  inspect(who: string, replica: Replica): void {
    if (replica.status !== "normal") {
      return
    }
    const { epoch } = replica
    for (const acknowledged of this.#acknowledged) {
      const isLater =
        epoch > acknowledged.epoch || (epoch === acknowledged.epoch && replica.logView > acknowledged.view)
      const { op } = acknowledged
      const held = replica.log.checksum(op)
      const isThere = replica.op >= op && (held === undefined || held === this.#committed.get(op)?.checksum)
      if (isLater && !isThere) {
        const request = this.#committed.get(op)?.request ?? ""
        this.violated(`acknowledged request ${request} (op ${op}) is not in the log of ${who} in view ${replica.view}`)
      }
    }
  }

  /** Keys that were ever written. */
  keys(): string[] {
    return [...new Set([...this.#committed.values()].map((committed) => committed.key))].filter((key) => key !== "")
  }

  #valueAfter(command: Command, op: number): string {
    const before = this.#valueAt(command.key, op - 1)
    return command.kind === "set" ? command.value : String(Number(before) + 1)
  }

  /** "" when absent. */
  #valueAt(key: string, op: number): string {
    for (let at = op; at >= 1; at -= 1) {
      const committed = this.#committed.get(at)
      if (committed?.key === key) {
        return committed.value
      }
    }
    return ""
  }
}

export function requestId(header: { readonly session: number; readonly request: number }): string {
  return `${header.session}:${header.request}`
}
