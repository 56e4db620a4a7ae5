/**
 * Tells the boot server about once a second who this machine is and how it is, and learns from the answers where the
 * others are. The cluster does not need it: without a boot server the process goes on with the addresses that it has.
 * Plane: control.
 */
import { Agent, type IncomingMessage, request } from "node:http"
import type { RandomU32 } from "../types/contracts.ts"
import type { ClusterSize } from "../types/cluster_sizes.ts"
import { err, ok, type Result } from "../types/result.ts"
import { CLUSTER_LIMITS } from "../types/limits.ts"
import { FieldReader, parseObject } from "./json_fields.ts"
import type { LimitedLog } from "./limited_log.ts"
import type { OrchestrationLimits } from "./limits.ts"
import { type Member, parseMember } from "./member.ts"

export type Announcement = {
  readonly machine: string
  readonly boot_id: string
  readonly slot: number | null
  readonly address: string
  readonly mac: string
  readonly replica_port: number
  readonly data_port: number
  readonly api_port: number
  readonly status: string
  readonly view: number
  readonly op: number
  readonly commit: number
  readonly incarnation: number
  /** Null when this machine knows of none. */
  readonly primary_slot: number | null
  readonly cluster_id: string
  readonly generation: number
  readonly epoch: number
  /** The limits of that epoch; null where they have no name. */
  readonly size: ClusterSize | null
  /** True once this machine has been a member: the formation token has done its work. */
  readonly formed: boolean
}

export type AnnounceAnswer = {
  readonly cluster_id: string
  readonly generation: number
  readonly members: readonly Member[]
}

export type AnnouncerOptions = {
  /** http://address:port */
  readonly bootServer: string
  readonly limits: OrchestrationLimits
  readonly log: LimitedLog
  readonly random: RandomU32
  readonly now: () => number
  readonly announcement: () => Announcement
  readonly onAnswer: (answer: AnnounceAnswer) => void
}

const PATH = "/cluster/announce"
const U32 = 0x1_0000_0000
const HEX_128 = /^[0-9a-f]{32}$/

/** The answer in form; whether it speaks of our cluster is the caller's to judge. */
export function parseAnnounceAnswer(text: string): Result<AnnounceAnswer, string> {
  const object = parseObject(text)
  if (!object.ok) {
    return err(object.error.kind)
  }
  const fields = new FieldReader(object.value)
  const members: Member[] = []
  for (const value of fields.list("members", CLUSTER_LIMITS.slots_max)) {
    // A member whose address is not known yet, or not usable, must not hide the others.
    const member = parseMember(value)
    if (member !== undefined) {
      members.push(member)
    }
  }
  const answer = {
    cluster_id: fields.text("cluster_id", HEX_128),
    generation: fields.integer("generation", { min: 0, max: U32 - 1 }),
    members,
  }
  return fields.error === undefined ? ok(answer) : err("bad_field")
}

export class Announcer {
  readonly #options: AnnouncerOptions
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 })
  #timer: NodeJS.Timeout | undefined
  #stopped = false

  constructor(options: AnnouncerOptions) {
    this.#options = options
  }

  start(): void {
    this.#announce()
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
    this.#agent.destroy()
  }

  /** One more announcement, the last; `onDone` when it was heard, or when the time for it is over. */
  sayLast(onDone: () => void): void {
    clearTimeout(this.#timer)
    this.#stopped = true
    this.#announce(() => {
      this.#agent.destroy()
      onDone()
    })
  }

  /** The status changed: whoever waits for this machine should not wait for the next turn. */
  announceSoon(): void {
    if (this.#timer !== undefined && !this.#stopped) {
      clearTimeout(this.#timer)
      this.#timer = setTimeout(() => this.#announce(), this.#options.limits.announce_soon_ms)
    }
  }

  /** One announcement at a time; the next is due when this one has ended, well or not. */
  #announce(onDone?: () => void): void {
    this.#timer = undefined
    const body = JSON.stringify(this.#options.announcement())
    let isOver = false
    const finish = (failure: string): void => {
      if (isOver) {
        return
      }
      isOver = true
      clearTimeout(deadline)
      if (failure !== "" && !this.#stopped) {
        this.#options.log.warn(`announce_${failure}`, this.#options.now(), { boot_server: this.#options.bootServer })
      }
      this.#schedule()
      onDone?.()
    }
    const outgoing = request(this.#options.bootServer + PATH, {
      agent: this.#agent,
      method: "POST",
      headers: { "content-type": "application/json", "content-length": Buffer.byteLength(body) },
    })
    // The whole exchange has one deadline: a server that drips bytes is as good as none.
    const deadline = setTimeout(() => {
      finish("timeout")
      outgoing.destroy()
    }, this.#options.limits.announce_timeout_ms)
    outgoing.on("response", (response) => this.#onResponse(response, finish))
    outgoing.on("error", () => finish("unreachable"))
    outgoing.end(body)
  }

  #onResponse(response: IncomingMessage, finish: (failure: string) => void): void {
    const bytesMax = this.#options.limits.announce_answer_bytes_max
    let text = ""
    response.setEncoding("utf8")
    response.on("data", (chunk: string) => {
      if (text.length + chunk.length > bytesMax) {
        finish("answer_too_long")
        response.destroy()
        return
      }
      text += chunk
    })
    response.on("error", () => finish("unreachable"))
    response.on("end", () => {
      if (response.statusCode !== 200) {
        finish("refused")
        return
      }
      const answer = parseAnnounceAnswer(text)
      if (answer.ok) {
        this.#options.onAnswer(answer.value)
      }
      finish(answer.ok ? "" : "answer_malformed")
    })
  }

  /** Jitter keeps a rack that was switched on at once from announcing at once forever. */
  #schedule(): void {
    if (this.#stopped) {
      return
    }
    const jitter = 0.75 + this.#options.random() / U32 / 2
    this.#timer = setTimeout(() => this.#announce(), Math.ceil(this.#options.limits.announce_ms * jitter))
  }
}
