/** What `status` and `machines` print for people. Plane: control. */
import { isTrueAt, type JSONObject, numberAt, objectAt, objectsAt, textAt, textsAt } from "./json.ts"
import { LINE_COLUMNS_MAX, NOTE_COLUMNS_MAX, ROOT_DIGITS } from "./limits.ts"
import type { SalvageReport } from "./salvage.ts"
import { clean, type Column, formatBytes, formatDuration, formatTable } from "./table.ts"

export function isHealthyStatus(document: JSONObject): boolean {
  return isTrueAt(objectAt(document, "cluster"), "is_healthy")
}

export function statusText(document: JSONObject): string {
  const machine = objectAt(document, "machine")
  const cluster = objectAt(document, "cluster")
  const arena = objectAt(document, "arena")
  const members = objectsAt(cluster, "members")
  const primary = members.find((member) => isTrueAt(member, "is_primary"))
  const copies = numberAt(cluster, "copies") ?? 0
  const memory = numberAt(objectAt(document, "memory"), "bytes_total") ?? 0
  const used = objectsAt(arena, "tables").map(
    (table) => `${clean(textAt(table, "table") ?? "")} ${show(table, "used")}/${show(table, "capacity")}`,
  )
  const facts: readonly (readonly [string, string])[] = [
    [
      "machine",
      [
        name(machine),
        `slot ${show(machine, "slot")}`,
        clean(textAt(machine, "status") ?? ""),
        `up ${since(machine, "uptime_ms")}`,
        `version ${clean(textAt(machine, "version") ?? "")}`,
        ...growsText(machine),
      ].join(", "),
    ],
    [
      "cluster",
      [
        isTrueAt(cluster, "is_healthy") ? "healthy" : "NOT HEALTHY",
        `${copies} ${copies === 1 ? "copy" : "copies"}`,
        `${show(cluster, "voters_live")} of ${show(cluster, "voters")} voters live`,
        `quorum margin ${show(cluster, "quorum_margin")}`,
        `epoch ${show(cluster, "epoch")}`,
        `size ${clean(textAt(cluster, "size") ?? "-")}`,
      ].join(", "),
    ],
    ...objectsAt(cluster, "alarms").map(
      (alarm) => ["ALARM", clean(textAt(alarm, "text") ?? "", LINE_COLUMNS_MAX)] as const,
    ),
    ["primary", primary === undefined ? "none known" : `${name(primary)}, slot ${show(primary, "slot")}`],
    ["log", `view ${show(cluster, "view")}, op ${show(cluster, "op")}, commit ${show(cluster, "commit")}`],
    ["arena", `${formatBytes(numberAt(arena, "bytes") ?? 0)}${used.length === 0 ? "" : `: ${used.join(", ")}`}`],
    ["state", stateText(objectAt(document, "checkpoint"))],
    ["memory", `${formatBytes(memory)} of static buffers, ${faultsText(objectAt(document, "memory"))}`],
  ]
  const lines = facts.map(([key, value]) => `${key.padEnd(10)}${value}\n`)
  return `${lines.join("")}\n${formatTable(MEMBER_COLUMNS, members)}`
}

/** What of the state is certified and checked; or, of a machine whose state is not whole, what is missing. */
function stateText(checkpoint: JSONObject | undefined): string {
  const copying = objectAt(checkpoint, "copying")
  if (numberAt(copying, "op") !== undefined) {
    const left = `at most ${show(copying, "pages_left")} of ${show(checkpoint, "pages")} pages left`
    return `COPYING from slot ${show(copying, "from_slot")}, op ${show(copying, "op")}, ${left}`
  }
  if (isTrueAt(checkpoint, "is_torn")) {
    return "TORN: not believed and not answered from until another machine's checkpoint is copied"
  }
  const page = numberAt(checkpoint, "scrub_page") ?? 0
  const round = numberAt(checkpoint, "scrub_round_ms") ?? 0
  return [
    `certified op ${show(checkpoint, "certified_op")} (${rootText(checkpoint, "certified_root")})`,
    `${since(checkpoint, "certified_age_ms")} ago`,
    `${show(checkpoint, "pages_changed")} pages changed`,
    `${show(checkpoint, "pages_pending")} pending`,
    `scrub at ${page} of ${show(checkpoint, "pages")} (${formatDuration(round)} a round)`,
  ].join(", ")
}

function growsText(machine: JSONObject | undefined): string[] {
  const growsTo = textAt(machine, "grows_to")
  return growsTo === undefined ? [] : [`grows to ${clean(growsTo)}`]
}

function faultsText(memory: JSONObject | undefined): string {
  const faults = numberAt(memory, "faults") ?? 0
  return faults === 0 ? "no faults" : `${faults} of ${show(memory, "faults_max")} FAULTS`
}

const MEMBER_COLUMNS: readonly Column<JSONObject>[] = [
  { header: "SLOT", cell: (member) => show(member, "slot") },
  { header: "MACHINE", cell: (member) => name(member) },
  { header: "ADDRESS", cell: (member) => textAt(member, "address") ?? "" },
  { header: "ROLE", cell: roleText },
  { header: "LAST CONTACT", cell: (member) => since(member, "last_contact_ms") },
]

function roleText(member: JSONObject): string {
  const role = textAt(member, "role") ?? "voter"
  const peer = role === "voter" ? "backup" : clean(role)
  return isTrueAt(member, "is_primary") ? "primary" : peer
}

const MACHINE_COLUMNS: readonly Column<JSONObject>[] = [
  { header: "MACHINE", cell: (machine) => textAt(machine, "machine") ?? "" },
  { header: "ADDRESS", cell: (machine) => textAt(machine, "address") ?? "" },
  { header: "STAGE", cell: (machine) => textAt(machine, "stage") ?? "" },
  { header: "ROLES", cell: (machine) => textsAt(machine, "roles").join(",") },
  { header: "SLOT", cell: (machine) => show(machine, "slot") },
  { header: "PRIMARY", cell: (machine) => (isTrueAt(machine, "is_primary") ? "yes" : "") },
  { header: "LAST CONTACT", cell: (machine) => since(machine, "last_contact_ms") },
]

const WIDE_COLUMNS: readonly Column<JSONObject>[] = [
  ...MACHINE_COLUMNS,
  { header: "FIRMWARE", cell: (machine) => textAt(machine, "firmware") ?? "" },
  { header: "RAM", cell: (machine) => formatBytes(numberAt(machine, "ram_bytes") ?? 0) },
  { header: "INCARNATION", cell: (machine) => show(machine, "incarnation") },
  { header: "BOOTS", cell: (machine) => show(machine, "boot_count") },
  { header: "BOOT ID", cell: (machine) => textAt(machine, "boot_id") ?? "" },
]

export function machinesText(document: JSONObject, isWide: boolean): string {
  return formatTable(isWide ? WIDE_COLUMNS : MACHINE_COLUMNS, objectsAt(document, "machines"))
}

export function salvageText(report: SalvageReport, where: string): string {
  const { header, trailer, bytes } = report
  const counts = ["kv", "machines", "expired", "corrupt", "uncommitted"].map((name) => `${show(trailer, name)} ${name}`)
  return (
    `mandala: salvaged ${counts.join(", ")} at commit ${show(header, "commit")} from ` +
    `${clean(textAt(header, "machine") ?? "")} into ${where}, ${formatBytes(bytes)}; ` +
    "NOT AUTHORITATIVE: acknowledged writes may be missing\n" +
    (isTrueAt(header, "torn") ? `mandala: TORN: ${clean(textAt(header, "note") ?? "", NOTE_COLUMNS_MAX)}\n` : "")
  )
}

function show(object: JSONObject | undefined, key: string): string {
  return String(numberAt(object, key) ?? "-")
}

function name(object: JSONObject | undefined): string {
  return clean(textAt(object, "name") ?? "")
}

/** Enough of a root to compare two by eye. */
export function rootText(object: JSONObject | undefined, key: string): string {
  return clean(textAt(object, key) ?? "").slice(0, ROOT_DIGITS)
}

function since(object: JSONObject | undefined, key: string): string {
  const ms = numberAt(object, key)
  return ms === undefined ? "never" : formatDuration(ms)
}
