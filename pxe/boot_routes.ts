/**
 * Which URL means what: joins the decisions of pool/ and the scripts to HTTP. Total for every request.
 * Plane: control.
 */
import { unreachable } from "../appliance/types/assert.ts"
import { parseMAC } from "./address.ts"
import { decideBoot } from "./boot_rules.ts"
import { renderBootScript, renderChainScript, renderHoldScript } from "./boot_script.ts"
import type { Clock } from "./clock.ts"
import { type HTTPRequest, type HTTPResponse, jsonResponse, textResponse } from "./http/server.ts"
import type { KeysPort } from "./keys_port.ts"
import { LISTEN_RETRY_SECONDS, SEEN_SECONDS } from "./limits.ts"
import type { Logger } from "./log.ts"
import { type Announce, decodeAnnounce, HEX_128, isNormal, rosterIn } from "./pool/announce.ts"
import type { Formation } from "./pool/formation.ts"
import type { Firmware, Ledger, Machine } from "./pool/ledger.ts"
import { MACHINES_MAX, REASON_BYTES_MAX, TEXT_BYTES_MAX } from "./pool/limits.ts"
import { encodeNodeArchive } from "./pool/node_file.ts"
import type { Registry } from "./pool/registry.ts"
import type { BootStatus } from "./pool/status.ts"
import type { Tickets } from "./pool/tickets.ts"
import type { TraceBook, TraceFacts } from "./pool/trace.ts"

export type ServedFile = {
  readonly bytes: Uint8Array
  readonly etag: string
  readonly content_type: string
}

export type RoutesOptions = {
  readonly server_url: string
  /** By path: the image's files and the boot programs. */
  readonly files: ReadonlyMap<string, ServedFile>
  readonly ledger: Ledger
  readonly trace: TraceBook
  readonly formation: Formation
  /** Undefined with plain links: then whoever asks is booted, and believed. */
  readonly admission: Admission | undefined
  readonly clock: Clock
  readonly log: Logger
  readonly status: () => BootStatus
  /** So many random bytes in hexadecimal, from the operating system. */
  readonly randomHex: (bytes: number) => string
}

/** Who may boot, and what it is given to prove itself with. */
export type Admission = { readonly keys: KeysPort; readonly registry: Registry; readonly tickets: Tickets }

export type RoutesCounters = {
  scripts: number
  /** Scripts that held a machine whose boots go in a circle, or that has too little memory. */
  held: number
  archives: number
  beacons: number
  beacons_refused: number
  announces: number
  announces_refused: number
}

const PATH_KERNEL = "/image/kernel"
const PATH_IMAGE = "/image/"
const NODE_ARCHIVE = /^\/machine\/([0-9a-f-]{17})\/node\.img$/
/** Reasons of /init to halt before it starts the appliance: such a machine has promised nothing to anybody. */
const NEVER_STARTED = ["ram_too_small", "base_truncated", "base_corrupt", "base_of_another_build"]
const QUESTION = /^\/boot\/(trace|explain|render)$/
const BEACON = /^\/beacon\/(script|init|halted)$/
const BOOT_ID_BYTES = 16
const SEED_BYTES = 64
const DECIMAL = /^[0-9]{1,15}$/

export class Routes {
  readonly counters: RoutesCounters = {
    scripts: 0,
    held: 0,
    archives: 0,
    beacons: 0,
    beacons_refused: 0,
    announces: 0,
    announces_refused: 0,
  }
  readonly #options: RoutesOptions

  constructor(options: RoutesOptions) {
    this.#options = options
  }

  handle(request: HTTPRequest): HTTPResponse {
    const { path } = request
    if (request.method === "POST") {
      return path === "/cluster/announce" ? this.#onAnnounce(request) : textResponse(404, "not found")
    }
    if (path === "/boot.ipxe" || path === "/autoexec.ipxe") {
      return this.#onScript(request)
    }
    if (path === "/status") {
      return jsonResponse(200, this.#options.status())
    }
    const file = this.#options.files.get(path)
    if (file !== undefined) {
      return this.#onFile(request, file)
    }
    const question = QUESTION.exec(path)?.[1]
    if (question !== undefined) {
      return this.#onQuestion(request, question)
    }
    const archiveOf = NODE_ARCHIVE.exec(path)?.[1]
    if (archiveOf !== undefined) {
      return this.#onNodeArchive(request, archiveOf)
    }
    const beacon = BEACON.exec(path)?.[1]
    return beacon === undefined ? textResponse(404, "not found") : this.#onBeacon(request, beacon)
  }

  #onScript(request: HTTPRequest): HTTPResponse {
    const { server_url: server, ledger, clock, log, randomHex } = this.#options
    const { query } = request
    if (!query.has("mac") || !query.has("platform")) {
      return scriptResponse(renderChainScript(server))
    }
    const machine = parseMAC(query.get("mac") ?? "")
    const firmware = firmwareOf(query.get("platform"))
    if (machine === undefined || firmware === "unknown") {
      const what = machine === undefined ? "hardware address" : "platform"
      log.warn({ address: request.remote_address, reason: what }, "boot: a request for a script was not understood")
      return scriptResponse(renderHoldScript(server, `the ${what} of this machine was not understood`))
    }
    const known = ledger.onScript(
      machine,
      {
        identity: {
          uuid: whitelisted(query.get("uuid")),
          serial: whitelisted(query.get("serial")),
          product: whitelisted(`${query.get("manufacturer") ?? ""} ${query.get("product") ?? ""}`.trim()),
        },
        firmware,
        address: request.remote_address,
        boot_id: randomHex(BOOT_ID_BYTES),
      },
      clock.epochMs(),
    )
    if (known === undefined) {
      log.warn({ machine, machines_max: MACHINES_MAX }, "pool: the table of machines is full")
      return scriptResponse(renderHoldScript(server, `the table of machines is full: machines_max is ${MACHINES_MAX}`))
    }
    const held = this.#heldBack(known)
    if (held !== undefined) {
      return held
    }
    this.#note(known, "script", { firmware: known.firmware, user_agent: whitelisted(request.user_agent) })
    this.counters.scripts += 1
    const userAgent = whitelisted(request.user_agent)
    log.info(
      { machine, boot: known.boot_id, boot_count: known.boot_count, firmware: known.firmware, user_agent: userAgent },
      "boot: a machine got its script",
    )
    return scriptResponse(renderBootScript({ server_url: server, machine, boot_id: known.boot_id }))
  }

  /** What a machine gets that may not boot: a reason on its screen, and nothing else. */
  #heldBack(known: Machine): HTTPResponse | undefined {
    const { admission, clock, ledger, server_url: server, log } = this.#options
    const { machine } = known
    const now = clock.epochMs()
    const admitted = admission?.registry.onSeen(machine, now) ?? "accepted"
    const { hold } = decideBoot({ machine: known, admission: admitted, loop: ledger.findLoop(machine, now), now })
    if (hold === undefined) {
      return undefined
    }
    const { rule, reason } = hold
    this.#note(known, "hold", { rule, reason })
    if (rule === "admission") {
      log.info({ machine, admission: admitted }, "boot: a machine that is not accepted gets nothing")
      return scriptResponse(renderHoldScript(server, reason, SEEN_SECONDS))
    }
    this.counters.held += 1
    if (known.reason !== reason) {
      log.warn({ machine, rule, reason }, "boot: a machine is held")
      ledger.setReason(machine, reason, now)
    }
    return scriptResponse(renderHoldScript(server, reason))
  }

  #note({ machine, boot_id }: Pick<Machine, "machine" | "boot_id">, step: string, facts: TraceFacts): void {
    this.#options.trace.note(machine, { at: this.#options.clock.epochMs(), boot_id, step, facts })
  }

  /** What an operator asks about one machine's boots. */
  #onQuestion({ query }: HTTPRequest, question: string): HTTPResponse {
    const { ledger, trace, admission, clock, server_url: server } = this.#options
    const machine = parseMAC(query.get("machine") ?? "")
    if (machine === undefined) {
      return jsonResponse(400, { error: "machine is wanted: a hardware address" })
    }
    const known = ledger.find(machine)
    if (known === undefined) {
      return jsonResponse(404, { error: `${machine} was never seen by this boot server` })
    }
    if (question === "trace") {
      const { boot_count: boots, stage_times: stages, reason } = known
      return jsonResponse(200, {
        schema: 1,
        machine,
        boot_count: boots,
        stage_times: stages,
        reason,
        events: trace.of(machine),
      })
    }
    const now = clock.epochMs()
    const admitted = admission?.registry.admissionOf(machine) ?? "accepted"
    const decision = decideBoot({ machine: known, admission: admitted, loop: ledger.findLoop(machine, now), now })
    if (question === "explain") {
      const { hold, rules } = decision
      return jsonResponse(200, { schema: 1, machine, outcome: hold === undefined ? "boot" : "hold", rules })
    }
    const { hold } = decision
    // The id is made when the machine asks.
    const bootID = known.boot_id === "" ? "0".repeat(2 * BOOT_ID_BYTES) : known.boot_id
    const script =
      hold === undefined
        ? renderBootScript({ server_url: server, machine, boot_id: bootID })
        : renderHoldScript(server, hold.reason, hold.rule === "admission" ? SEEN_SECONDS : undefined)
    return jsonResponse(200, { schema: 1, machine, script })
  }

  #onFile({ path, query }: HTTPRequest, file: ServedFile): HTTPResponse {
    const { ledger, formation, clock, log } = this.#options
    const response: HTTPResponse = {
      status: 200,
      content_type: file.content_type,
      body: file.bytes,
      etag: file.etag,
      is_image: path.startsWith(PATH_IMAGE),
    }
    const machine = parseMAC(query.get("mac") ?? "")
    const bootID = query.get("boot") ?? ""
    if (machine === undefined || !path.startsWith(PATH_IMAGE)) {
      return response
    }
    const onSent = (): void => {
      ledger.onImageSent(machine, bootID, path === PATH_KERNEL, clock.epochMs())
      this.#note({ machine, boot_id: bootID }, "file_sent", { file: path, bytes: file.bytes.length })
      log.info({ machine, file: path, bytes: file.bytes.length }, "boot: a file of the image was sent")
    }
    // Only on the word of this server's own script: a boot id can't be guessed.
    const isOfBoot = bootID !== "" && ledger.find(machine)?.boot_id === bootID
    return { ...response, is_urgent: isOfBoot && formation.slotOf(machine) !== null, on_sent: onSent }
  }

  #onNodeArchive({ query }: HTTPRequest, machine: string): HTTPResponse {
    const { server_url, ledger, formation, admission, clock, randomHex, log } = this.#options
    const known = ledger.find(machine)
    if (known === undefined || known.boot_id === "" || known.boot_id !== query.get("boot")) {
      return textResponse(403, "this is not the boot that this machine is at; fetch /boot.ipxe first")
    }
    if (admission !== undefined && admission.registry.admissionOf(machine) !== "accepted") {
      return textResponse(403, "this machine is not accepted")
    }
    const isNew = formation.slotOf(machine) === null
    if (isNew && formation.isListening(clock.epochMs())) {
      return { ...textResponse(503, "listening for a cluster that exists"), retry_seconds: LISTEN_RETRY_SECONDS }
    }
    const slot = formation.assign(machine)
    const token = formation.tokenFor(machine)
    if (isNew && slot !== null) {
      log.info({ machine, slot, voters: formation.voters }, "pool: a machine got its slot")
    }
    const ticket = slot === null ? "" : admission?.tickets.issue(machine, known.boot_id, clock.epochMs())
    if (admission !== undefined && ticket === undefined) {
      return textResponse(503, `the table of tickets is full: machines_max is ${MACHINES_MAX}`)
    }
    this.counters.archives += 1
    this.#note(known, "archive", { slot: slot ?? "none", may_form: token === "" ? "no" : "yes" })
    const body = encodeNodeArchive({
      machine,
      boot_id: known.boot_id,
      slot,
      voters: formation.voters,
      size: formation.size,
      grow_to: formation.growTo,
      cluster_id: formation.clusterID,
      generation: formation.generation,
      epoch: formation.epoch,
      formation_token: token,
      boot_server: server_url,
      seed: randomHex(SEED_BYTES),
      firmware: known.firmware,
      links: admission === undefined ? "insecure" : "tls1.3",
      ticket: ticket ?? "",
      authority: admission?.keys.certificate ?? "",
    })
    return { status: 200, content_type: "application/octet-stream", body }
  }

  #onBeacon({ query, remote_address: address }: HTTPRequest, stage: string): HTTPResponse {
    const { ledger, formation, clock, log } = this.#options
    const machine = parseMAC(query.get("mac") ?? "")
    const bootID = query.get("boot") ?? ""
    if (machine === undefined || !HEX_128.test(bootID)) {
      this.counters.beacons_refused += 1
      return textResponse(400, "mac and boot are wanted")
    }
    const now = clock.epochMs()
    const reason = whitelisted(query.get("reason"), REASON_BYTES_MAX)
    const needBytes = decimalOf(query.get("need_bytes"))
    const haveBytes = decimalOf(query.get("have_bytes"))
    let isTaken = ledger.find(machine)?.boot_id === bootID
    if (stage === "init") {
      isTaken = ledger.onInit(machine, bootID, address, now)
    } else if (stage === "halted") {
      isTaken = ledger.onHalted(machine, bootID, { reason, need_bytes: needBytes, have_bytes: haveBytes }, now)
    }
    if (!isTaken) {
      this.counters.beacons_refused += 1
      return textResponse(409, "this is not the boot that this machine is at")
    }
    this.counters.beacons += 1
    this.#note(
      { machine, boot_id: bootID },
      stage === "halted" ? "halted" : `beacon_${stage}`,
      reason === "" ? {} : { reason },
    )
    if (stage === "halted") {
      log.warn({ machine, reason, need_bytes: needBytes, have_bytes: haveBytes }, "boot: a machine halted")
      if (NEVER_STARTED.includes(reason) && formation.release(machine)) {
        log.info({ machine }, "pool: its slot is free for another machine")
      }
    } else {
      log.info({ machine, stage }, "boot: a machine says how far it is")
    }
    return textResponse(200, "ok")
  }

  #onAnnounce({ body }: HTTPRequest): HTTPResponse {
    const { ledger, formation, clock, log } = this.#options
    const announce = decodeAnnounce(body)
    if (!announce.ok) {
      this.counters.announces_refused += 1
      const { error } = announce
      return jsonResponse(400, { error: error.kind, ...(error.kind === "field" ? { field: error.field } : {}) })
    }
    const { machine, slot, cluster_id } = announce.value
    const known = ledger.find(machine)
    if (known !== undefined && known.boot_id !== "" && known.boot_id !== announce.value.boot_id) {
      this.counters.announces_refused += 1
      return jsonResponse(409, { error: "stale_boot" })
    }
    const refusal = this.#judgeAnnounce(announce.value, body)
    if (refusal !== undefined) {
      this.counters.announces_refused += 1
      return refusal
    }
    const wasFormed = formation.isFormed
    const before = ledger.list().filter((other) => formation.slotOf(other.machine) !== null)
    const outcome = formation.onAnnounce(announce.value)
    switch (outcome) {
      case "foreign":
      case "slot_conflict":
        this.counters.announces_refused += 1
        log.warn({ machine, slot, cluster_id, reason: outcome }, "pool: an announce was refused")
        return jsonResponse(409, { error: outcome, cluster_id: formation.clusterID })
      case "adopted":
        log.warn({ machine, cluster_id }, "pool: an existing cluster was heard and adopted")
        for (const other of before) {
          ledger.setReason(
            other.machine,
            "booted for a cluster that was given up: power it off and on",
            clock.epochMs(),
          )
        }
        break
      case "accepted":
        break
      default:
        return unreachable(outcome)
    }
    this.#adoptRoster(body)
    const wasJoined = typeof known?.stage_times.joined === "number"
    if (!wasJoined && isNormal(announce.value)) {
      this.#note(announce.value, "joined", { slot: slot ?? "none", status: announce.value.status })
    }
    if (!ledger.onAnnounce(announce.value, clock.epochMs())) {
      this.counters.announces_refused += 1
      return jsonResponse(503, { error: "machines_max", limit: MACHINES_MAX })
    }
    if (!wasFormed && formation.isFormed) {
      log.info({ cluster_id, voters: formation.voters }, "pool: the cluster is formed")
    }
    this.counters.announces += 1
    const roster = this.#rosterFor(announce.value)
    return jsonResponse(200, { cluster_id, generation: formation.generation, members: this.#members(), ...roster })
  }

  /**
   * Only accepted machines are heard, and a cluster that this server does not know is believed only on a roster of its
   * own authority: anybody can send an announce.
   */
  #judgeAnnounce({ machine, cluster_id }: Announce, body: Uint8Array): HTTPResponse | undefined {
    const { admission, formation, log } = this.#options
    if (admission === undefined) {
      return undefined
    }
    const { registry, keys } = admission
    const roster = keys.read(rosterIn(body))
    if (cluster_id !== formation.clusterID && !formation.isFormed && roster?.cluster_id !== cluster_id) {
      return jsonResponse(409, { error: "wants_roster", wants_roster: true, cluster_id: formation.clusterID })
    }
    const decision = registry.admissionOf(machine)
    const isOfRoster = roster?.machines.some((one) => one.machine === machine && one.decision === "accepted") ?? false
    if (decision === "accepted" || (decision === "seen" && isOfRoster)) {
      return undefined
    }
    log.warn({ machine, admission: decision }, "pool: an announce of a machine that is not accepted")
    const isSeen = decision === "seen"
    return jsonResponse(403, { error: isSeen ? "not_accepted" : decision, wants_roster: isSeen })
  }

  #adoptRoster(body: Uint8Array): void {
    const { admission, formation, clock, log } = this.#options
    const roster = admission?.keys.read(rosterIn(body))
    if (roster !== undefined && admission?.registry.adopt(roster, clock.epochMs()) === true) {
      for (const { machine, decision, slot } of roster.machines) {
        if (decision === "accepted" && slot !== null && formation.remember(machine, slot)) {
          log.info({ machine, slot }, "pool: a slot is known again from a roster")
        }
      }
      log.info({ version: roster.version, machines: roster.machines.length }, "keys: a member's roster was taken over")
    }
  }

  /** Whoever goes by an older roster is sent the newest; from whoever has a newer one it is asked for. */
  #rosterFor({ roster_version: version }: Announce): object {
    const registry = this.#options.admission?.registry
    if (registry === undefined) {
      return {}
    }
    if (version > registry.version) {
      return { wants_roster: true }
    }
    return version < registry.version && registry.roster !== undefined ? { roster: registry.roster } : {}
  }

  #members(): object[] {
    const members: object[] = []
    for (const { machine, announce } of this.#options.ledger.list()) {
      const slot = this.#options.formation.slotOf(machine)
      if (slot !== null && announce !== null) {
        members.push({ slot, machine, address: announce.address, replica_port: announce.replica_port })
      }
    }
    return members
  }
}

function scriptResponse(script: string): HTTPResponse {
  return { status: 200, content_type: "text/plain; charset=utf-8", body: new TextEncoder().encode(script) }
}

function firmwareOf(platform: string | null): Firmware {
  if (platform === "pcbios") {
    return "bios"
  }
  return platform === "efi" ? "uefi" : "unknown"
}

/** Serials and products come from whoever wrote the machine's tables: anything unexpected becomes an underscore. */
function whitelisted(text: string | null, bytesMax = TEXT_BYTES_MAX): string {
  return (text ?? "").slice(0, bytesMax).replace(/[^A-Za-z0-9._: -]/g, "_")
}

function decimalOf(text: string | null): number | null {
  return text !== null && DECIMAL.test(text) ? Number(text) : null
}
