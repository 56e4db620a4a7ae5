/**
 * A machine beside the cluster that applies every committed op once and whose memory never fails: what arenas, roots of
 * checkpoints and replies should be. Plane: control.
 */
import { crc32 } from "node:zlib"
import { rootPrefix } from "../../appliance/replication/checkpoint_transfer.ts"
import { ROOT_CHECKSUM } from "../../appliance/replication/log.ts"
import type { LogEntry } from "../../appliance/replication/message.ts"
import { arenaBytes } from "../../appliance/state_machine/arena.ts"
import { type ArenaStateMachine, createStateMachine } from "../../appliance/state_machine/state_machine.ts"
import { type Digest, Operation } from "../../appliance/types/contracts.ts"
import type { ClusterLimits } from "../../appliance/types/limits.ts"
import { simulatedDigest } from "./digest.ts"

export class ModelMachine {
  readonly #machine: ArenaStateMachine
  readonly #reply: Uint8Array
  /** Of each checkpoint its root, of each op the arena's CRC. */
  readonly #roots = new Map<number, Digest>()
  readonly #arenas = new Map<number, number>()
  /** Of each request, by session and number. */
  readonly #replies = new Map<string, Uint8Array>()

  constructor(limits: ClusterLimits) {
    this.#machine = createStateMachine({ limits, arena: new Uint8Array(arenaBytes(limits)) })
    this.#reply = new Uint8Array(Math.max(limits.read_reply_bytes_max, limits.session_reply_bytes_max))
    this.#noteRoot(0, ROOT_CHECKSUM)
    this.#arenas.set(0, crc32(this.#machine.arena))
  }

  /** An op that somebody has committed; only the first time counts. */
  apply(entry: LogEntry): void {
    const { header, body } = entry
    if (header.op !== this.#machine.commit() + 1) {
      return
    }
    const bytes = this.#machine.apply(header, body, 0, body.length, this.#reply)
    this.#arenas.set(header.op, crc32(this.#machine.arena))
    if (header.operation === Operation.checkpoint) {
      this.#noteRoot(header.op, header.checksum)
    } else if (header.operation === Operation.batch || header.operation === Operation.register) {
      this.#replies.set(`${header.session}:${header.request}`, this.#reply.slice(0, bytes))
    }
  }

  /** The CRC of the arena after `op`; undefined for one that nobody has committed. */
  arenaAt(op: number): number | undefined {
    return this.#arenas.get(op)
  }

  /** The root of the checkpoint that `op` made; undefined for any other op. */
  rootAt(op: number): Digest | undefined {
    return this.#roots.get(op)
  }

  isReply(session: number, request: number, body: Uint8Array): boolean {
    const right = this.#replies.get(`${session}:${request}`)
    return right !== undefined && Buffer.compare(right, body) === 0
  }

  #noteRoot(op: number, checksum: Digest): void {
    const { pages } = this.#machine
    pages.takeDigests(pages.count)
    this.#roots.set(op, pages.root(simulatedDigest, rootPrefix(op, checksum)))
  }
}
