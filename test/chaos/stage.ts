/**
 * One cluster from its founding to its end: clients work, episodes of the schedule happen to it, and at the end every
 * copy is read, one primary after the other. Plane: control.
 */
import { execFile } from "node:child_process"
import { mkdirSync } from "node:fs"
import { setTimeout as sleep } from "node:timers/promises"
import { PRNG } from "../../appliance/types/prng.ts"
import type { LinkRule } from "../lab/relay.ts"
import { Cluster, type Process } from "./cluster.ts"
import { flood, type FloodCounts } from "./flood.ts"
import { History, judge, wordsOf } from "./history.ts"
import {
  AGREE_MS,
  CALM_FIRST_MS,
  CONNECT_MS,
  FORM_MS,
  HEAL_MS,
  HTTP_MS,
  POLL_MS,
  READ_MS,
  SAMPLE_MS,
} from "./limits.ts"
import { Measures } from "./measures.ts"
import { RespClient } from "./resp_client.ts"
import { type Episode, makeEpisode, type NetworkFault, type ProcessFault, type Target } from "./schedule.ts"
import { Workload } from "./workload.ts"

export type StageOptions = {
  readonly voters: number
  readonly seed: number
  readonly milliseconds: number
  /** Where in the list of kinds the first episodes begin. */
  readonly firstKind: number
  /** Logs of the processes, and the history should it fail. */
  readonly directory: string
  readonly signal: AbortSignal
  readonly progress: (line: string) => void
}

export type StageResult = {
  readonly voters: number
  readonly milliseconds: number
  readonly episodes: number
  readonly history: History
  readonly measures: Measures
  readonly cluster: Cluster
  readonly flood: FloodCounts
  /** Copies that answered all final reads as primaries. */
  readonly copiesRead: number
  /** Records of each copy that were compared with the others' at one commit number. */
  readonly recordsCompared: number
  /** What should not have been; empty when all is well, but for what the checker has to say. */
  readonly problems: readonly string[]
}

/** The slots of the final readers, as clients of the history. */
const READER = 1_000
/** Views pass slots in turn; a view change that fails skips one. */
const TURNS_PER_VOTER = 3

export async function runStage(options: StageOptions): Promise<StageResult> {
  mkdirSync(options.directory, { recursive: true })
  const cluster = await Cluster.create({
    voters: options.voters,
    directory: options.directory,
    random: new PRNG(options.seed),
  })
  const stage = new Stage(options, cluster)
  try {
    return await stage.run()
  } finally {
    await cluster.destroy()
  }
}

class Stage {
  readonly #options: StageOptions
  readonly #cluster: Cluster
  readonly #history = new History()
  readonly #measures = new Measures()
  readonly #problems: string[] = []
  readonly #flood: FloodCounts = { served: 0, refused: 0, failed: 0 }
  readonly #slots: readonly number[]
  readonly #startedAt = performance.now()
  #episodes = 0
  #copiesRead = 0
  #recordsCompared = 0

  constructor(options: StageOptions, cluster: Cluster) {
    this.#options = options
    this.#cluster = cluster
    this.#slots = Array.from({ length: options.voters }, (_, slot) => slot)
  }

  async run(): Promise<StageResult> {
    const { voters, seed } = this.#options
    for (const slot of this.#slots) {
      this.#cluster.start(slot)
    }
    const sampler = setInterval(() => void this.#cluster.sample(), SAMPLE_MS)
    if (!(await this.#cluster.untilWhole(FORM_MS, () => this.#isOver()))) {
      await this.#addProblem("the cluster was not founded")
    } else {
      const workload = new Workload({
        history: this.#history,
        ports: this.#slots.map((slot) => this.#cluster.dataPort(slot)),
        seed,
        onAcknowledged: (command) => this.#measures.onAcknowledged(command),
      })
      await this.#tryRedisCli()
      workload.start()
      await this.#runEpisodes()
      await workload.stop()
      await this.#close()
    }
    clearInterval(sampler)
    await this.#cluster.sample()
    await this.#end()
    return {
      voters,
      milliseconds: performance.now() - this.#startedAt,
      episodes: this.#episodes,
      history: this.#history,
      measures: this.#measures,
      cluster: this.#cluster,
      flood: this.#flood,
      copiesRead: this.#copiesRead,
      recordsCompared: this.#recordsCompared,
      problems: this.#problems,
    }
  }

  /** A process that ended by itself ends the stage: what it did is to be looked at, not covered up by a restart. */
  #isOver(): boolean {
    return this.#options.signal.aborted || this.#cluster.selfEnds.length > 0 || this.#problems.length > 0
  }

  async #addProblem(text: string): Promise<void> {
    const documents = await this.#cluster.documents()
    const states = documents.map(({ machine, cluster }) => {
      const { view, op, commit, primary_slot, copies } = cluster
      const { slot, status, incarnation } = machine
      return JSON.stringify({ slot, status, incarnation, view, op, commit, primary_slot, copies })
    })
    this.#problems.push(`${text}; ${states.join(" ")}`)
  }

  // ---------------------------------------------------------------- episodes

  async #runEpisodes(): Promise<void> {
    const random = new PRNG(this.#options.seed)
    const { voters, firstKind, milliseconds } = this.#options
    const end = performance.now() + milliseconds
    await this.#pass(CALM_FIRST_MS)
    while (performance.now() < end && !this.#isOver()) {
      const episode = makeEpisode(random, { number: this.#episodes, voters, firstKind })
      await this.#runEpisode(episode)
      this.#episodes += 1
    }
  }

  async #runEpisode(episode: Episode): Promise<void> {
    const { network, process, number } = episode
    const kinds = [network?.kind, process?.kind].filter((kind) => kind !== undefined)
    const elapsed = Math.round((performance.now() - this.#startedAt) / 1000)
    this.#options.progress(`${elapsed} s, ${this.#options.voters} voters, episode ${number}: ${kinds.join(" and ")}`)
    const primary = (await this.#cluster.primary()) ?? episode.draw % this.#options.voters
    this.#measures.beginFaults(kinds)
    if (network !== undefined) {
      this.#applyNetwork(network, primary, episode.draw)
      await this.#pass(episode.before_ms)
    }
    if (process !== undefined) {
      await this.#applyProcess(process, { primary, draw: episode.draw, isNetworkWell: network === undefined })
    }
    await this.#pass(episode.after_ms)
    this.#cluster.relay.heal()
    if (!(await this.#cluster.untilWhole(HEAL_MS, () => this.#isOver())) && !this.#isOver()) {
      await this.#addProblem(`not whole again ${HEAL_MS} ms after episode ${number}: ${kinds.join(" and ")}`)
    }
    this.#measures.endFaults()
    for (const bypass of await this.#cluster.bypasses()) {
      this.#problems.push(`a way past the relay: ${bypass}`)
    }
    await this.#pass(episode.calm_ms)
  }

  /** Time passes, but not when there is nothing more to wait for. */
  async #pass(milliseconds: number): Promise<void> {
    const end = performance.now() + milliseconds
    while (performance.now() < end && !this.#isOver()) {
      await sleep(Math.min(POLL_MS, Math.max(1, end - performance.now())))
    }
  }

  #target(target: Target, primary: number, draw: number): number {
    switch (target) {
      case "primary":
        return primary
      case "backup":
        return (primary + 1 + (draw % (this.#options.voters - 1))) % this.#options.voters
      case "any":
        return draw % this.#options.voters
    }
  }

  #applyNetwork(fault: NetworkFault, primary: number, draw: number): void {
    const { relay } = this.#cluster
    switch (fault.kind) {
      case "loss":
        this.#setAll({ lost_per_mille: 300, repeated_per_mille: 50 })
        return
      case "slow_links": {
        const { delay_ms, jitter_ms, kib_per_s } = fault
        this.#setAll({ delay_ms, jitter_ms, bytes_per_second: kib_per_s * 1024 })
        return
      }
      case "spoilt_frames":
        this.#setAll({ spoilt_per_mille: fault.per_mille })
        return
      case "one_way_cut": {
        const slot = this.#target(fault.target, primary, draw)
        const one = this.#target("backup", slot, draw >>> 8)
        for (const direction of relay.directions()) {
          const [subject, peer] = fault.side === "out" ? [direction.from, direction.to] : [direction.to, direction.from]
          if (subject === slot && (fault.peers === "all" || peer === one)) {
            relay.set(direction, { flow: fault.flow })
          }
        }
        return
      }
      case "partition": {
        const minority = this.#minority(this.#target(fault.target, primary, draw), draw >>> 8)
        for (const direction of relay.directions()) {
          if (minority.has(direction.from) !== minority.has(direction.to)) {
            relay.set(direction, { flow: fault.flow })
          }
        }
      }
    }
  }

  #setAll(rule: Partial<LinkRule>): void {
    for (const direction of this.#cluster.relay.directions()) {
      this.#cluster.relay.set(direction, rule)
    }
  }

  /** The slot, and with five voters sometimes one more. */
  #minority(slot: number, draw: number): ReadonlySet<number> {
    const isTwo = this.#options.voters >= 5 && draw % 2 === 0
    return new Set(isTwo ? [slot, this.#target("backup", slot, draw >>> 1)] : [slot])
  }

  async #applyProcess(
    fault: ProcessFault,
    at: { readonly primary: number; readonly draw: number; readonly isNetworkWell: boolean },
  ): Promise<void> {
    const backup = this.#target("backup", at.primary, at.draw >>> 4)
    switch (fault.kind) {
      case "crash_primary":
        await this.#crash([at.primary], fault.down_ms, at.isNetworkWell)
        return
      case "crash_gateway":
        await this.#crash([backup], fault.down_ms)
        return
      case "crash_two":
        await this.#crash([at.primary, backup], fault.down_ms, at.isNetworkWell)
        return
      case "crash_again":
        await this.#crash([backup], fault.down_ms)
        await this.#pass(fault.again_after_ms)
        await this.#crash([backup], fault.down_ms)
        return
      case "pause_primary":
        await this.#pause([at.primary], fault.pause_ms)
        return
      case "pause_backup":
        await this.#pause([backup], fault.pause_ms)
        return
      case "pause_majority": {
        const count = (this.#options.voters + 1) / 2
        const slots = this.#slots.map((_, index) => (at.primary + index) % this.#options.voters)
        await this.#pause(slots.slice(0, count), fault.pause_ms)
        return
      }
      case "flood":
        await flood(
          this.#slots.map((slot) => this.#cluster.dataPort(slot)),
          this.#flood,
        )
    }
  }

  /** `isNetworkWell` where the primary is among them: a failover is measured. */
  async #crash(slots: readonly number[], downMs: number, isNetworkWell?: boolean): Promise<void> {
    const killedAt = performance.now()
    await Promise.all(slots.map((slot) => this.#cluster.kill(slot)))
    if (isNetworkWell !== undefined) {
      this.#measures.onPrimaryGone({ killedAt, isNetworkWell })
    }
    await this.#pass(downMs)
    for (const slot of slots) {
      void this.#timeRecovery(this.#cluster.start(slot))
    }
  }

  /** From the start of a blank process until it is a member again. */
  async #timeRecovery(process: Process): Promise<void> {
    while (!process.isEnded && !this.#options.signal.aborted && process.ageMs < HEAL_MS) {
      const documents = await this.#cluster.documents()
      if (documents.some(({ machine }) => machine.slot === process.slot && machine.status === "normal")) {
        this.#measures.recoveriesMs.push(process.ageMs)
        return
      }
      await sleep(POLL_MS)
    }
  }

  async #pause(slots: readonly number[], pauseMs: number): Promise<void> {
    const processes = slots.map((slot) => this.#cluster.at(slot)).filter((process) => process !== undefined)
    for (const process of processes) {
      process.pause()
    }
    await this.#pass(pauseMs)
    for (const process of processes) {
      process.resume()
    }
  }

  // ---------------------------------------------------------------- the end

  /** No client works any more: what is there now is what will be read, through every machine and from every copy. */
  async #close(): Promise<void> {
    if (this.#isOver()) {
      return
    }
    await this.#compareCopies()
    for (const slot of this.#slots) {
      await this.#readAll(slot)
    }
    const read = new Set<number>()
    for (let turn = 0; turn < TURNS_PER_VOTER * this.#options.voters && !this.#isOver(); turn += 1) {
      const primary = await this.#cluster.primary()
      if (primary === undefined || read.size === this.#options.voters) {
        break
      }
      this.#options.progress(`final reads from the copy of slot ${primary}`)
      await this.#readAll(this.#target("backup", primary, turn))
      read.add(primary)
      await this.#crash([primary], 0)
      if (!(await this.#cluster.untilWhole(HEAL_MS, () => this.#isOver()))) {
        await this.#addProblem(`not whole again ${HEAL_MS} ms after slot ${primary} was restarted at the end`)
      }
    }
    this.#copiesRead = read.size
    if (read.size < this.#options.voters) {
      this.#problems.push(`only ${read.size} copies were read at the end`)
    }
  }

  /** All copies, record by record, as soon as they are of one commit number. */
  async #compareCopies(): Promise<void> {
    const end = performance.now() + AGREE_MS
    while (performance.now() < end && !this.#isOver()) {
      const copies = await this.#cluster.copies()
      const commits = new Set(copies.map(({ commit }) => commit))
      if (copies.length === this.#options.voters && commits.size === 1) {
        this.#recordsCompared = copies[0]?.records ?? 0
        if (new Set(copies.map(({ digest }) => digest)).size !== 1) {
          await this.#addProblem(`the copies differ at one commit number: ${JSON.stringify(copies)}`)
        }
        return
      }
      await sleep(POLL_MS)
    }
    await this.#addProblem(`the copies do not agree on a commit number within ${AGREE_MS} ms`)
  }

  /** Every key there ever was, through one machine, into the history: a lost write of any age is seen. */
  async #readAll(slot: number): Promise<void> {
    const port = this.#cluster.dataPort(slot)
    const client = await RespClient.connect(port, CONNECT_MS)
    for (const key of this.#history.keys()) {
      if (client === undefined || client.isClosed) {
        this.#problems.push(`slot ${slot} does not answer the final reads`)
        return
      }
      const calledAt = performance.now()
      const reply = await client.command(wordsOf(key, { kind: "get" }), READ_MS)
      const { outcome, answer } = judge(reply)
      if (outcome !== "ok") {
        this.#problems.push(`slot ${slot} does not answer a final read: ${JSON.stringify(reply)}`)
        client.close()
        return
      }
      const answeredAt = performance.now()
      const call = { kind: "get" } as const
      this.#history.add(
        key,
        { client: READER + slot, port, call, called_at: calledAt, answered_at: answeredAt, answer },
        outcome,
      )
    }
    client?.close()
  }

  async #end(): Promise<void> {
    if (this.#isOver()) {
      await this.#cluster.destroy()
    } else {
      await this.#cluster.terminate()
      for (const code of this.#cluster.exitCodes) {
        if (code !== 0) {
          this.#problems.push(`a process ended with ${String(code)} when it was told to end`)
        }
      }
    }
    for (const { slot, code, signal } of this.#cluster.selfEnds) {
      this.#problems.push(`the process of slot ${slot} ended by itself: code ${String(code)}, signal ${String(signal)}`)
    }
  }

  /** A client that is not ours, once. */
  async #tryRedisCli(): Promise<void> {
    const said = (words: readonly string[]): Promise<string> =>
      new Promise((done) => {
        const args = ["-p", String(this.#cluster.dataPort(0)), ...words]
        execFile("redis-cli", args, { timeout: HTTP_MS }, (error, output) => done(error?.message ?? output.trim()))
      })
    const answers = [await said(["SET", "chaos:cli", "seen"]), await said(["GET", "chaos:cli"])]
    if (answers.join(" ") !== "OK seen") {
      await this.#addProblem(`redis-cli was told ${JSON.stringify(answers)}`)
    }
  }
}
