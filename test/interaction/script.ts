/**
 * A scripted cluster: production replicas over a network whose every letter waits until the script delivers, loses,
 * holds or replays it, and whose clocks the script moves one by one. Writes down what happens, a line an event, and
 * checks the ledger after each. A replica that does something else than the script expects does not stop it: that is
 * noted in `unexpected`, so that a schedule reaches its end and the harm shows. Plane: control.
 */
import type { Message, PrepareHeader } from "../../appliance/replication/message.ts"
import type { Replica } from "../../appliance/replication/replica.ts"
import { assert, unreachable } from "../../appliance/types/assert.ts"
import { Operation } from "../../appliance/types/contracts.ts"
import { type Command, commandText, decodeResult, encodeCommand } from "./commands.ts"
import { Ledger, requestId } from "./ledger.ts"
import {
  copyOf,
  type Letter,
  matches,
  messageText,
  Names,
  parsePattern,
  type Pattern,
  spoilt,
  vectorText,
  type Wording,
} from "./letters.ts"
import {
  CONVERGE_MS_MAX,
  DELIVERIES_MAX,
  PROSE_COLUMNS,
  REBOOT_MS_MAX,
  SCRIPT_PROCESS_LIMITS,
  type ScriptLimits,
  TIMEOUT_MS_MAX,
} from "./limits.ts"
import { Process } from "./process.ts"

const TOKEN = "5".repeat(32)
const TICK_MS = SCRIPT_PROCESS_LIMITS.tick_ms
/** Register requests are numbered apart from all others, so that a number says whose it is. */
const REGISTER_BASE = 1_000
const OPERATOR = "operator"

/** A machine by its slot, or the older of two live processes of one slot: `"2'"`. */
export type Who = number | `${number}'`

type Asked = { readonly client: string; readonly command: Command; readonly since: number }

export class Script {
  readonly voters: number
  readonly ledger = new Ledger()
  /** What went otherwise than the script says: another state, a letter that is not there. */
  readonly unexpected: string[] = []
  readonly #seed: number
  readonly #limits: ScriptLimits
  readonly #lines: string[] = []
  readonly #machines: (Process | undefined)[] = []
  readonly #boots: number[] = []
  readonly #twins = new Map<number, Process>()
  readonly #clients: Client[] = []
  readonly #clientOfSession = new Map<number, string>()
  readonly #commandOf = new Map<string, Command>()
  readonly #reads: Asked[] = []
  readonly #wording: Wording
  #pool: Letter[] = []
  /** Letters are written down unless this is positive; states always are. */
  #quiet = 0
  /** Nothing at all is. */
  #mute = 0
  #isBroken = false
  #changes = 0
  #told = ""

  /** Machines that are all off. `machines` counts those beyond the voters too; `seed` decides all random numbers. */
  constructor(options: {
    readonly voters: number
    readonly machines?: number
    readonly seed?: number
    readonly limits?: ScriptLimits
  }) {
    this.voters = options.voters
    this.#seed = options.seed ?? 1
    this.#limits = options.limits ?? { cluster: {}, process: {} }
    for (let slot = 0; slot < (options.machines ?? options.voters); slot += 1) {
      this.#machines.push(undefined)
      this.#boots.push(0)
    }
    this.#wording = {
      requestOf: (request) => this.#requestText(request),
      entryOf: (header) => this.#entryText(header),
      resultOf: (message) => {
        const isRegister = message.type === "reply" && message.session === 0
        return `${isRegister ? "session " : ""}${decodeResult(message.body)}`
      },
      readOf: (read) => this.#readText(read),
      nonces: new Names("n"),
      rounds: new Names("round "),
      roots: new Names("root "),
    }
  }

  /** All machines boot and found the cluster: it is in view 0, and nothing is under way. */
  form(): void {
    this.#mute += 1
    for (let slot = 0; slot < this.#machines.length; slot += 1) {
      this.#start(slot, slot < this.voters ? TOKEN : "")
    }
    const isFormed = this.#runUntil(this.slots(), () => this.isOneView())
    this.#check(isFormed && this.replica(0).isPrimary, "the cluster forms in view 0")
    this.#pool = []
    this.#mute -= 1
    this.#forgetShown()
    this.#lines.push("", `A cluster of ${this.voters} has formed: all are normal v0, and 0 is the primary.`)
  }

  // ---------------------------------------------------------------- what a script reads

  text(): string {
    return `${this.#lines.join("\n")}\n`
  }

  slots(): number[] {
    return this.#machines.flatMap((process, slot) => (process === undefined ? [] : [slot]))
  }

  replica(who: Who): Replica {
    return this.#process(who).replica
  }

  isCertified(who: Who): boolean {
    return this.#process(who).isCertified()
  }

  state(who: Who): string {
    return this.#process(who).state()
  }

  /** Every machine of `slots` that is up is a member of one view. */
  isOneView(slots: readonly number[] = this.slots()): boolean {
    const first = slots[0]
    return slots.every((slot) => {
      const { status, view } = this.replica(slot)
      return status === "normal" && view === this.replica(first ?? slot).view
    })
  }

  /** How many letters under way match. */
  count(text: string): number {
    return this.#find(parsePattern(text)).length
  }

  // ---------------------------------------------------------------- prose and expectations

  /** A paragraph for the reader. */
  say(text: string): void {
    this.#lines.push("", ...wrap(text))
  }

  /** The state must begin so. */
  expect(who: Who, state: string): void {
    const actual = this.state(who)
    this.#check(`${actual} `.startsWith(`${state} `), `${who} is "${actual}", not "${state}"`)
  }

  /** The newest checkpoint that `who` knows to be certified; 0 for none. */
  expectCertified(who: Who, op: number): void {
    const { certifiedOp } = this.replica(who)
    this.#check(certifiedOp === op, `${who} holds op${certifiedOp} to be certified, not op${op}`)
  }

  /** `who` has heard of another root of its newest checkpoint, and nobody can say whose is right. */
  expectDisputed(who: Who): void {
    this.#check(this.replica(who).isCheckpointDisputed, `${who} hears no other root than its own`)
  }

  /** Pattern: such a letter is under way. */
  expectUnderWay(text: string): void {
    this.#check(this.count(text) > 0, `no ${text} is under way`)
  }

  expectNone(text: string): void {
    this.#check(this.count(text) === 0, `${text} is under way`)
  }

  /** The answer to the client's last command: what it returns, a refusal, or undefined for none yet. */
  expectAnswer(client: Client, answer: string | undefined): void {
    const told = String(client.answer)
    this.#check(client.answer === answer, `client ${client.name} was answered "${told}", not "${String(answer)}"`)
  }

  /** Writes down whose log has which entries; committed ones stand before the bar. */
  show(...slots: readonly number[]): void {
    for (const slot of slots) {
      const { log, commit } = this.replica(slot)
      const entries: string[] = log.first > 1 ? [`checkpoint to op${log.first - 1}`] : []
      for (let op = log.first; op <= log.op; op += 1) {
        const header = log.header(op)
        entries.push(...(op === commit + 1 ? ["|"] : []), header === undefined ? "?" : this.#entryText(header))
      }
      this.#lines.push(`      log of ${slot}: ${entries.join("  ")}${commit === log.op ? "  |" : ""}`)
    }
  }

  // ---------------------------------------------------------------- the network

  /** Delivers the letters that match, oldest first. */
  deliver(text: string): void {
    const pattern = parsePattern(text)
    for (const letter of this.#wanted(text)) {
      this.#pool = this.#pool.filter((other) => other !== letter)
      this.#post(letter, pattern.toTwin)
    }
    this.#showUnderWay()
  }

  /** Delivers the letters that match, and keeps a copy of each under way: the network says things twice. */
  replay(text: string): void {
    for (const letter of this.#wanted(text)) {
      this.#post(letter, parsePattern(text).toTwin)
    }
    this.#showUnderWay()
  }

  /** Loses the letters that match, held or not. */
  drop(text: string): void {
    this.#lose(this.#wanted(text))
  }

  /** Loses all that is under way and not held. */
  dropRest(): void {
    this.#lose(this.#pool.filter((letter) => !letter.isHeld))
  }

  /** From now on these letters stay under way until the script delivers or drops them by their pattern. */
  hold(text: string): void {
    const letters = this.#wanted(text)
    for (const letter of letters) {
      letter.isHeld = true
      letter.isShown = true
    }
    this.#showGrouped(letters, "┤ held back from")
  }

  /** A bit of the first letter that matches flips; no checksum of a frame tells, since its sender took that after. */
  spoil(text: string): void {
    const [letter] = this.#wanted(text)
    if (letter !== undefined) {
      this.#pool = this.#pool.map((other) => (other === letter ? spoilt(letter) : other))
      this.#line(
        `a bit flips in ${letter.from} ──${messageText(letter.message, this.#wording)}──▷ ${addressee(letter)}`,
      )
    }
  }

  /** As `hold` and `deliver`, of letters that only a defect would send. */
  holdIfAny(text: string): void {
    if (this.count(text) > 0) {
      this.hold(text)
    }
  }

  deliverIfAny(text: string): void {
    if (this.count(text) > 0) {
      this.deliver(text)
    }
  }

  /**
   * Delivers all that is under way among `slots`, their clients included, and what that causes, until nothing is;
   letters
   * that match `lost` are.
   */
  settle(slots: readonly number[] = this.slots(), lost = ""): void {
    const isLost = (letter: Letter): boolean => lost !== "" && matches(letter, parsePattern(lost), this.#isOld(letter))
    const isInside = (letter: Letter): boolean =>
      !letter.isHeld && !this.#isOld(letter) && slots.includes(letter.from) && slots.includes(letter.to)
    for (let delivered = 0; ; delivered += 1) {
      const letter = this.#pool.find(isInside)
      if (letter === undefined) {
        break
      }
      if (delivered === DELIVERIES_MAX) {
        this.#check(false, "the letters of one command have no end")
        break
      }
      if (isLost(letter)) {
        this.#lose([letter])
        continue
      }
      this.#pool = this.#pool.filter((other) => other !== letter)
      this.#post(letter, false)
    }
    this.#showUnderWay()
  }

  // ---------------------------------------------------------------- time

  /** The clock of `who` moves until it sends a letter of this type; what else it says meanwhile is lost. */
  timeout(who: Who, type: string): void {
    const process = this.#process(who)
    const lost: Letter[] = []
    let sent: Letter[] = []
    for (let ms = 0; ms < TIMEOUT_MS_MAX && sent.length === 0; ms += TICK_MS) {
      const before = this.#pool
      this.#pool = []
      this.#tick(process)
      sent = this.#pool.some((letter) => letter.message.type === type) ? this.#pool : []
      lost.push(...(sent.length === 0 ? this.#pool : []))
      this.#pool = [...before, ...sent]
    }
    this.#line(`${who}: its timer runs out${lostText(lost)}`)
    this.#showState(process)
    this.#check(sent.length > 0, `${who} sends no ${type}, however long it waits`)
    this.#showUnderWay()
  }

  /** The clock of `who` moves by `ms`; all that it says meanwhile is lost. */
  wait(who: Who, ms: number): void {
    const process = this.#process(who)
    const before = this.#pool
    this.#pool = []
    for (let passed = 0; passed < ms; passed += TICK_MS) {
      this.#tick(process)
    }
    const lost = this.#pool
    this.#pool = before
    this.#line(`${who}: time passes${lostText(lost)}`)
    this.#showState(process)
  }

  /** The machines of `slots` hear each other and nobody else, time passes, letters are not written down, until
  `until`. */
  run(slots: readonly number[], what: string, until: () => boolean): void {
    this.#line(`${slots.join(" ")}: ${what}`)
    const before = [...this.#pool]
    this.#quiet += 1
    this.#check(this.#runUntil(slots, until), `${what}: it does not come to that`)
    this.#quiet -= 1
    this.#pool = this.#pool.filter((letter) => before.includes(letter))
  }

  /** What `steps` do is told in one line, and in the states that come of it. */
  briefly(what: string, steps: () => void): void {
    this.#line(what)
    this.#mute += 1
    steps()
    this.#mute -= 1
    for (const letter of this.#pool) {
      letter.isShown = true
    }
    for (const slot of this.slots()) {
      this.#showState(this.#process(slot))
    }
  }

  // ---------------------------------------------------------------- machines

  /** The machine loses all that it had. What it sent stays under way. */
  crash(slot: number): void {
    this.#process(slot)
    this.#machines[slot] = undefined
    this.#twins.delete(slot)
    this.#line(`${slot}: CRASHES and has lost all that it had`)
  }

  /** A blank process starts on a machine that is off; with `token` it may found the cluster with others. */
  boot(slot: number, options: { readonly token?: boolean } = {}): void {
    assert(this.#machines[slot] === undefined, "script: the machine is off")
    this.#line(`${slot}: boots blank${options.token === true ? ", with the token" : ""}`)
    this.#start(slot, options.token === true ? TOKEN : "")
  }

  /** A second process of the slot starts while the first, from now on `slot'`, lives on. */
  twin(slot: number): void {
    this.#twins.set(slot, this.#process(slot))
    this.#line(`${slot}: a second process of this slot boots blank; the first lives on as ${slot}'`)
    this.#start(slot, "")
  }

  /**
   * Crashes `slot`, boots it and lets it come back with the help of `helpers`, who hear nothing else meanwhile and
   whose
   * clocks stand still: whatever they wished before, they still wish.
   */
  reboot(slot: number, helpers: readonly number[]): void {
    if (this.#machines[slot] !== undefined) {
      this.crash(slot)
    }
    this.#line(`${slot}: boots blank and recovers with the help of ${helpers.join(" ")}`)
    this.#quiet += 1
    this.#start(slot, "")
    const process = this.#process(slot)
    const isHelp = (letter: Letter): boolean =>
      !letter.isHeld &&
      !this.#isOld(letter) &&
      ((letter.from === slot && helpers.includes(letter.to)) || (letter.to === slot && helpers.includes(letter.from)))
    for (let ms = 0; ms < REBOOT_MS_MAX && process.replica.status !== "normal"; ms += TICK_MS) {
      this.#tick(process)
      for (let letter = this.#pool.find(isHelp); letter !== undefined; letter = this.#pool.find(isHelp)) {
        const next = letter
        this.#pool = this.#pool.filter((other) => other !== next)
        this.#post(next, false)
      }
    }
    this.#pool = this.#pool.filter(
      (letter) => letter.isHeld || this.#isOld(letter) || ![letter.from, letter.to].includes(slot),
    )
    this.#quiet -= 1
    this.#check(process.replica.status === "normal", `${slot} does not come back with the help of ${helpers.join(" ")}`)
  }

  /** A bit flips in the memory of `who`, where its state holds a text, or in a page. */
  flip(who: Who, where: string | number): void {
    const place = typeof where === "string" ? `in "${where}"` : `in page ${where}`
    this.#line(`${who}: A BIT FLIPS in its memory, ${place}`)
    this.#check(this.#process(who).flip(where), `${who} has no bit ${place}`)
  }

  // ---------------------------------------------------------------- clients

  /** A client that has no session yet. */
  newcomer(name: string): Client {
    const client = new Client(name, this.#clients.length + 1, this)
    this.#clients.push(client)
    return client
  }

  /** A client that registers at primary `at`, whom only `slots` hear; nothing of it is written down but that. */
  client(name: string, at = 0, slots: readonly number[] = this.slots()): Client {
    const client = this.newcomer(name)
    this.#line(`client ${name} registers`)
    this.#mute += 1
    client.register(at)
    this.settle(slots)
    this.#mute -= 1
    this.#forgetShown()
    this.#check(client.session > 0, `client ${name} has a session`)
    return client
  }

  /** Sends a client's request or read to `at`; for Client only. */
  ask(options: {
    readonly client: Client
    readonly at: Who
    readonly command: Command | undefined
    readonly request: number
  }): void {
    const { client, at, command, request } = options
    const process = this.#process(at)
    const from = process.slot
    const who = `client ${client.name}`
    const body = command === undefined ? new Uint8Array(16).fill(request % 251) : encodeCommand(command)
    const envelope = { from, epoch: 0, cv: [], body }
    const { session } = client
    if (command?.kind === "get") {
      this.#reads.push({ client: client.name, command, since: this.ledger.acknowledgedOp })
      this.#hand(process, who, { type: "read", read: this.#reads.length, ...envelope })
    } else if (command === undefined) {
      this.#hand(process, who, { type: "request", operation: Operation.register, session: 0, request, ...envelope })
    } else {
      const id = requestId({ session, request })
      this.ledger.asked(id, command)
      this.#commandOf.set(id, command)
      this.#hand(process, who, { type: "request", operation: Operation.batch, session, request, ...envelope })
    }
  }

  /** An operator's command (VRR, section 7), asked of the machine `at`. */
  reconfigure(options: {
    readonly at: number
    readonly voters: readonly number[]
    readonly standbys?: readonly number[]
    readonly synchronous?: boolean
  }): void {
    const { at, voters, standbys = [], synchronous = false } = options
    this.#changes += 1
    const process = this.#process(at)
    const message: Message = {
      type: "reconfigure",
      change: this.#changes,
      epoch_expected: process.replica.epoch,
      voters,
      standbys,
      synchronous,
      drops_standby: false,
      grows: false,
      from: at,
      epoch: 0,
      cv: [],
    }
    this.#told = ""
    this.#hand(process, OPERATOR, message)
  }

  /** An operator's command to a synchronous standby, whose voter is off (rule 6). */
  promote(slot: number): void {
    const process = this.#process(slot)
    this.#told = process.replica.promote()
    this.#line(`operator: promotes ${slot}, which says ${this.#told}`)
    this.#drain(process)
    this.#showState(process)
    this.#showUnderWay()
  }

  /** What the operator was told last; "" for nothing yet. */
  expectTold(outcome: string): void {
    this.#check(this.#told === outcome, `the operator was told "${this.#told}", not "${outcome}"`)
  }

  // ---------------------------------------------------------------- the end

  /**
   * Every machine is up, the network is whole and forgets what it held back; then one primary after the other falls
   * silent, and each tells what it knows.
   */
  finish(): void {
    if (this.#isBroken) {
      return
    }
    this.#lines.push("", "The network is whole again, and one machine after the other is primary:")
    this.#mute += 1
    this.#pool = []
    this.#twins.clear()
    for (let slot = 0; slot < this.#machines.length; slot += 1) {
      if (this.#machines[slot] === undefined) {
        this.#start(slot, "")
      }
    }
    const reader = this.newcomer("reader")
    const answers = this.ledger.keys().map((key): [string, string[]] => [key, []])
    const turns = this.replica(this.slots()[0] ?? 0).voters
    for (let turn = 0; turn < turns; turn += 1) {
      if (!this.#runUntil(this.slots(), () => this.#isSettled())) {
        this.ledger.violated("the cluster does not settle on one view when the network is whole")
        break
      }
      const { primary } = this.replica(this.slots()[0] ?? 0)
      for (const [key, values] of answers) {
        reader.get(key, primary)
        this.settle()
        // The round under way may have lost its letters: the next one comes with the clock.
        this.#runUntil(this.slots(), () => reader.answer !== undefined)
        const { answer } = reader
        this.#check(answer !== undefined, `primary ${primary} answers a read of ${key} in a whole network`)
        values.push(`${primary}: ${answer === "" ? "nothing" : String(answer)}`)
      }
      const others = this.slots().filter((slot) => slot !== primary)
      const { view } = this.replica(primary)
      if (turn + 1 < turns) {
        this.#runUntil(others, () => others.every((slot) => this.replica(slot).view > view))
        this.#pool = []
      }
    }
    this.#mute -= 1
    for (const [key, values] of answers) {
      this.#line(`${key} is ${values.join(", ")}`)
    }
    if (answers.length === 0) {
      this.#line("nothing was ever written")
    }
  }

  /** One view, and everybody has all of its log. */
  #isSettled(): boolean {
    const first = this.replica(this.slots()[0] ?? 0)
    const isSame = (slot: number): boolean => {
      const { op, commit } = this.replica(slot)
      return op === first.op && commit === first.op
    }
    return this.isOneView() && this.slots().every(isSame)
  }

  /** The script ends without a whole network: more is lost than the cluster survives by itself. */
  endsHere(): void {
    this.#isBroken = true
  }

  // ---------------------------------------------------------------- inside: processes

  /** What happened unseen is not told later. */
  #forgetShown(): void {
    for (const slot of this.slots()) {
      this.#process(slot).news()
    }
  }

  #start(slot: number, token: string): void {
    const boot = (this.#boots[slot] ?? 0) + 1
    this.#boots[slot] = boot
    const process = new Process({ slot, boot, voters: this.voters, token, seed: this.#seed, limits: this.#limits })
    process.news()
    this.#machines[slot] = process
    this.#tick(process)
    this.#showState(process)
    this.#showUnderWay()
  }

  #process(who: Who): Process {
    const slot = typeof who === "number" ? who : Number.parseInt(who, 10)
    const process = typeof who === "number" ? this.#machines[slot] : this.#twins.get(slot)
    assert(process !== undefined, "script: the machine is up")
    return process
  }

  #name(process: Process): string {
    return this.#twins.get(process.slot) === process ? `${process.slot}'` : String(process.slot)
  }

  #tick(process: Process): void {
    process.tick()
    this.#drain(process)
  }

  /** Collects what a process has committed and said, and holds it against the ledger. */
  #drain(process: Process): void {
    const { replica } = process
    const who = this.#name(process)
    for (let op = process.commitSeen + 1; op <= replica.commit; op += 1) {
      const header = replica.log.header(op)
      if (header !== undefined) {
        this.#noteSession(header)
        this.ledger.committed(who, header)
      }
    }
    this.#noteCheckpoints(process)
    const { checkpoints_received: copies } = replica.counters
    if (replica.commit > process.commitSeen || copies > process.copiesSeen) {
      process.commitSeen = replica.commit
      process.copiesSeen = copies
      if (!process.isFlipped && !replica.isTorn) {
        this.ledger.applied(who, replica.commit, process.digest())
      }
    }
    for (let out = replica.takeOutgoing(); out !== undefined; out = replica.takeOutgoing()) {
      if (out.to < this.#machines.length) {
        this.#send(process, out.to, copyOf(out.message))
      }
    }
    this.ledger.inspect(who, replica)
  }

  #noteCheckpoints(process: Process): void {
    const { replica } = process
    const who = this.#name(process)
    const own = replica.checkpointOf(replica.slot)
    if (own !== undefined && own.root !== process.rootSeen && !process.isFlipped) {
      process.rootSeen = own.root
      this.ledger.root(who, own.op, own.root)
    }
    if (replica.certifiedOp > process.certifiedSeen) {
      process.certifiedSeen = replica.certifiedOp
      this.ledger.root(who, replica.certifiedOp, replica.certifiedRoot)
    }
  }

  #send(process: Process, to: number, message: Message): void {
    const client = this.#clientOf(message)
    const isHeld = false
    this.#pool.push({ from: process.slot, boot: process.boot, to, client, message, isHeld, isShown: false })
    if (message.type === "reply" && message.outcome === "ok") {
      const result = message.session === 0 ? "ok" : decodeResult(message.body)
      const { epoch } = process.replica
      this.ledger.answered({ request: requestId(message), result, epoch, view: message.view })
    } else if (message.type === "read_reply" && message.outcome === "ok") {
      const asked = this.#reads[message.read - 1]
      assert(asked !== undefined, "script: what is answered was asked")
      this.ledger.read(asked.command.key, decodeResult(message.body), asked.since)
    }
  }

  #runUntil(slots: readonly number[], until: () => boolean): boolean {
    for (let ms = 0; ms < CONVERGE_MS_MAX && !until(); ms += TICK_MS) {
      for (const slot of slots) {
        this.#tick(this.#process(slot))
        this.#showState(this.#process(slot))
        this.settle(slots)
      }
    }
    return until()
  }

  // ---------------------------------------------------------------- inside: letters

  #isOld(letter: Letter): boolean {
    return letter.boot !== this.#boots[letter.from]
  }

  #find(pattern: Pattern): Letter[] {
    return this.#pool.filter((letter) => matches(letter, pattern, this.#isOld(letter)))
  }

  #wanted(text: string): Letter[] {
    const letters = this.#find(parsePattern(text))
    this.#check(letters.length > 0, `no ${text} is under way`)
    return letters
  }

  #post(letter: Letter, toTwin: boolean): void {
    letter.isShown = true
    const process = toTwin ? this.#twins.get(letter.to) : this.#machines[letter.to]
    if (letter.client !== "") {
      this.#letterLine(letter, `▶ ${addressee(letter)}`)
      if (letter.message.type === "reconfigure_reply") {
        this.#told = letter.message.outcome
      } else {
        this.#clientNamed(letter.client).receive(letter.message)
      }
      return
    }
    if (process === undefined) {
      this.#letterLine(letter, `✗ ${letter.to} is off`)
      return
    }
    this.#letterLine(letter, `▶ ${this.#name(process)}`, process)
    process.refusal()
    process.replica.receive(copyOf(letter.message))
    const refusal = process.refusal()
    // What tells of a new epoch is of another one by its nature.
    if (refusal !== "" && letter.message.type !== "new_epoch" && this.#isShowing()) {
      this.#line(`    ${this.#name(process)}: refuses it (${refusal})`)
    }
    this.#drain(process)
    this.#showState(process)
  }

  #lose(letters: readonly Letter[]): void {
    this.#pool = this.#pool.filter((letter) => !letters.includes(letter))
    this.#showGrouped(letters, "✗")
  }

  /** What a person or a client asks arrives at once: the network to the machine is theirs to repeat. */
  #hand(process: Process, asker: string, message: Message): void {
    if (this.#isShowing()) {
      this.#line(`${asker} ──${messageText(message, this.#wording)}──▶ ${this.#name(process)}`)
    }
    process.replica.receive(message)
    this.#drain(process)
    this.#showState(process)
    this.#showUnderWay()
  }

  // ---------------------------------------------------------------- inside: text

  #check(isAsExpected: boolean, what: string): void {
    if (!isAsExpected) {
      this.unexpected.push(what)
      this.#lines.push(`!! ${what}`)
    }
  }

  #line(text: string): void {
    if (this.#mute === 0) {
      this.#lines.push(`  ${text}`)
    }
  }

  #isShowing(): boolean {
    return this.#mute === 0 && this.#quiet === 0
  }

  /** With its crash vector where that is news to the receiver, or old. */
  #letterLine(letter: Letter, end: string, receiver?: Process): void {
    if (this.#isShowing()) {
      const { message } = letter
      const vector = vectorText(message.cv)
      const known = receiver?.replica.epoch === message.epoch ? receiver.vector() : vector
      const news = vector === "⟨⟩" || known === "⟨⟩" || vector === known ? "" : ` ${vector}`
      this.#line(`${this.#sender(letter)} ──${messageText(message, this.#wording)}${news}──${end}`)
    }
  }

  #showState(process: Process): void {
    const news = this.#mute === 0 ? process.news() : ""
    if (news !== "") {
      this.#line(`    ${this.#name(process)}: ${news}`)
    }
  }

  /** What was sent since the last command and not delivered in it. */
  #showUnderWay(): void {
    if (this.#isShowing()) {
      const letters = this.#pool.filter((letter) => !letter.isShown)
      for (const letter of letters) {
        letter.isShown = true
      }
      this.#showGrouped(letters, "▷")
    }
  }

  /** The same message to several in one line. */
  #showGrouped(letters: readonly Letter[], end: string): void {
    const dash = end === "▷" ? "╌╌" : "──"
    const lines = new Map<string, string[]>()
    for (const letter of this.#isShowing() ? letters : []) {
      const text = `${this.#sender(letter)} ${dash}${messageText(letter.message, this.#wording)}${dash}${end}`
      lines.set(text, [...(lines.get(text) ?? []), addressee(letter)])
    }
    for (const [text, addressees] of lines) {
      this.#line(`${text} ${addressees.join(" ")}`)
    }
  }

  #sender(letter: Letter): string {
    if (!this.#isOld(letter)) {
      return String(letter.from)
    }
    return this.#twins.has(letter.from) ? `${letter.from}'` : `old ${letter.from}`
  }

  #clientOf(message: Message): string {
    if (message.type === "reconfigure_reply") {
      return OPERATOR
    }
    if (message.type === "read_reply") {
      return this.#reads[message.read - 1]?.client ?? ""
    }
    if (message.type !== "reply") {
      return ""
    }
    const registering = this.#clients[Math.floor(message.request / REGISTER_BASE) - 1]
    return message.session === 0 ? (registering?.name ?? "") : (this.#clientOfSession.get(message.session) ?? "")
  }

  #clientNamed(name: string): Client {
    const client = this.#clients.find((other) => other.name === name)
    assert(client !== undefined, "script: a reply goes to a client")
    return client
  }

  #noteSession(header: PrepareHeader): void {
    const client = this.#clients[Math.floor(header.request / REGISTER_BASE) - 1]
    if (header.operation === Operation.register && client !== undefined) {
      this.#clientOfSession.set(header.op, client.name)
    }
  }

  #requestText(request: { readonly session: number; readonly request: number }): string {
    if (request.session === 0) {
      return `register ${this.#clients[Math.floor(request.request / REGISTER_BASE) - 1]?.name ?? "?"}`
    }
    const command = this.#commandOf.get(requestId(request))
    const client = this.#clientOfSession.get(request.session) ?? "?"
    return `${client}#${request.request}${command === undefined ? "" : ` ${commandText(command)}`}`
  }

  #readText(read: number): string {
    const asked = this.#reads[read - 1]
    return asked === undefined ? `read ${read}` : commandText(asked.command)
  }

  #entryText(header: PrepareHeader): string {
    switch (header.operation) {
      case Operation.register:
      case Operation.batch:
        return this.#requestText(header)
      case Operation.pulse:
        return "barrier"
      case Operation.reconfigure:
        return "configuration"
      case Operation.wall_clock:
        return "wall clock"
      case Operation.checkpoint:
        return "checkpoint"
      default:
        return unreachable(header.operation)
    }
  }
}

/** A client with its session, as a gateway has it: one request in flight, numbers that rise by one. */
class Client {
  readonly name: string
  readonly number: number
  /** 0 until it has registered. */
  session = 0
  /** What its last command was answered: a result ("" for an absent key), or a refusal; undefined for nothing yet. */
  answer: string | undefined
  readonly #script: Script
  #request = 0
  #registers = 0
  #command: Command | undefined

  constructor(name: string, number: number, script: Script) {
    this.name = name
    this.number = number
    this.#script = script
  }

  /** A new life, with an id of its own. */
  register(at: Who): void {
    this.#registers += 1
    this.#request = this.number * REGISTER_BASE + this.#registers
    this.#command = undefined
    this.session = 0
    this.#ask(at, undefined, this.#request)
  }

  set(key: string, value: string, at: Who): void {
    this.#next({ kind: "set", key, value }, at)
  }

  incr(key: string, at: Who): void {
    this.#next({ kind: "incr", key }, at)
  }

  get(key: string, at: Who): void {
    this.#ask(at, { kind: "get", key }, 0)
  }

  /** The same number, the same bytes (rule 26). */
  retry(at: Who): void {
    this.#ask(at, this.#command, this.#request)
  }

  /** An answer to another life of this client, or to an earlier request, is nothing to it. */
  receive(message: Message): void {
    if (message.type === "reply" && message.session === this.session && message.request === this.#request) {
      this.answer = message.outcome === "ok" ? decodeResult(message.body) : message.outcome
      if (message.session === 0 && message.outcome === "ok") {
        this.session = Number(this.answer)
        this.#request = 0
      }
    } else if (message.type === "read_reply") {
      this.answer = message.outcome === "ok" ? decodeResult(message.body) : message.outcome
    }
  }

  #next(command: Command, at: Who): void {
    this.#request += 1
    this.#command = command
    this.#ask(at, command, this.#request)
  }

  #ask(at: Who, command: Command | undefined, request: number): void {
    this.answer = undefined
    this.#script.ask({ client: this, at, command, request })
  }
}

function addressee(letter: Letter): string {
  if (letter.client === OPERATOR) {
    return OPERATOR
  }
  return letter.client === "" ? String(letter.to) : `client ${letter.client}`
}

function lostText(letters: readonly Letter[]): string {
  const types = [...new Set(letters.map((letter) => letter.message.type))].sort()
  return types.length === 0 ? "" : ` (lost meanwhile: ${types.join(", ")})`
}

function wrap(text: string): string[] {
  const lines: string[] = []
  let line = ""
  for (const word of text.split(/\s+/)) {
    if (line !== "" && line.length + 1 + word.length > PROSE_COLUMNS) {
      lines.push(line)
      line = ""
    }
    line = line === "" ? word : `${line} ${word}`
  }
  return [...lines, line]
}
