/** Prometheus's text exposition, version 0.0.4. Plane: control. */
import { ALARM_KINDS } from "../orchestration/alarms.ts"
import type { HostInfo } from "../orchestration/host_info.ts"
import type { GatewayStatus } from "./gateway_status.ts"
import { isHealthy } from "./status_document.ts"

type Metric = {
  readonly name: string
  readonly type: "gauge" | "counter"
  readonly help: string
  readonly samples: readonly (readonly [labels: string, value: number])[]
}

export const METRICS_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

export function metricsText(info: HostInfo, status: GatewayStatus): string {
  return metrics(info, status)
    .map(({ name, type, help, samples }) => {
      const lines = samples.map(([labels, value]) => `${name}${labels} ${value}\n`)
      return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join("")}`
    })
    .join("")
}

function metrics(info: HostInfo, { counters, ...status }: GatewayStatus): Metric[] {
  const gauge = (name: string, help: string, value: number): Metric => ({
    name: `mandala_${name}`,
    type: "gauge",
    help,
    samples: [["", value]],
  })
  const counter = (name: string, help: string, value: number): Metric => ({
    name: `mandala_${name}_total`,
    type: "counter",
    help,
    samples: [["", value]],
  })
  const byKind = (name: string, help: string, counts: Readonly<Record<string, number>>): Metric => ({
    name: `mandala_${name}_total`,
    type: "counter",
    help,
    samples: Object.entries(counts).map(([kind, count]) => [`{kind="${label(kind)}"}`, count] as const),
  })
  const { frames_refused_by, hellos_refused_by, hellos_declined_by, handshakes_refused_by, ...links } = info.links
  const { checkpoint } = info
  const isAlarm = (kind: string): number => (info.alarms.some((alarm) => alarm.kind === kind) ? 1 : 0)
  const heard = info.members.filter((member) => member.last_contact_ms !== null)
  return [
    {
      name: "mandala_info",
      type: "gauge",
      help: "What runs here; always 1.",
      samples: [[`{machine="${label(info.name)}",version="${label(info.version)}",slot="${info.slot}"}`, 1]],
    },
    gauge("healthy", "1 with a primary, a live majority and a whole state here.", isHealthy(info) ? 1 : 0),
    gauge(
      "links_encrypted",
      "0 where links are plain, by an explicit option.",
      info.link_security === "tls1.3" ? 1 : 0,
    ),
    gauge("roster_version", "The authority's decisions that this machine goes by.", info.roster_version),
    gauge("is_primary", "1 on the primary.", info.primary_slot === info.slot ? 1 : 0),
    gauge("view", "The view.", info.view),
    gauge("op", "The youngest op in the log.", info.op),
    gauge("commit", "The commit number.", info.commit),
    gauge("epoch", "The epoch: rises with each change of the members.", info.epoch),
    gauge("copies", "Machines that hold the state.", info.copies),
    gauge("voters", "Machines that vote.", info.voters),
    gauge("voters_live", "Voters that hold the state and are within reach.", info.voters_live),
    gauge(
      "quorum_margin",
      "Live voters beyond a majority; 0 is an alarm, below nothing is answered.",
      info.quorum_margin,
    ),
    gauge("outage", "1 while commands are refused since nothing can be committed.", info.outage === undefined ? 0 : 1),
    {
      name: "mandala_alarm",
      type: "gauge",
      help: "1 while there is something that an operator must see.",
      samples: ALARM_KINDS.map((kind) => [`{kind="${kind}"}`, isAlarm(kind)] as const),
    },
    gauge("checkpoint_certified_op", "The newest checkpoint that a majority agrees on.", checkpoint.certified_op),
    {
      name: "mandala_checkpoint_age_seconds",
      type: "gauge",
      help: "Time since a checkpoint was certified.",
      samples: checkpoint.certified_age_ms === null ? [] : [["", checkpoint.certified_age_ms / 1000]],
    },
    gauge("log_full", "1 while writes wait for a checkpoint to be certified.", checkpoint.is_log_full ? 1 : 0),
    gauge("pages", "Pages of the replicated state.", checkpoint.pages),
    gauge("pages_changed", "Pages changed since the last checkpoint.", checkpoint.pages_changed),
    gauge("pages_pending", "Pages of the last checkpoint without a digest so far.", checkpoint.pages_pending),
    gauge("state_torn", "1 while the state here is copied, or was found to be wrong.", checkpoint.is_torn ? 1 : 0),
    gauge("copy_pages_left", "Pages that are still to be copied, at most.", checkpoint.copying?.pages_left ?? 0),
    gauge("scrub_page", "The page that is compared with its digest next.", checkpoint.scrub_page),
    gauge("scrub_round_seconds", "Time to compare every page once.", checkpoint.scrub_round_ms / 1000),
    counter("memory_faults", "Times that this process found its own memory wrong.", info.memory_faults.faults),
    gauge("uptime_seconds", "Age of this process.", info.uptime_ms / 1000),
    gauge("arena_bytes", "Bytes of the replicated state.", info.arena_bytes),
    {
      name: "mandala_table_used",
      type: "gauge",
      help: "Used entries of a table of the arena.",
      samples: info.tables.map(({ table, used }) => [`{table="${label(table)}"}`, used] as const),
    },
    {
      name: "mandala_table_capacity",
      type: "gauge",
      help: "Entries that a table of the arena has room for.",
      samples: info.tables.map(({ table, capacity }) => [`{table="${label(table)}"}`, capacity] as const),
    },
    {
      name: "mandala_last_contact_seconds",
      type: "gauge",
      help: "Time since a member was last heard.",
      samples: heard.map(({ slot, last_contact_ms }) => [`{slot="${slot}"}`, (last_contact_ms ?? 0) / 1000] as const),
    },
    byKind("frames_refused", "Frames of peers that closed their link.", frames_refused_by),
    byKind("hellos_refused", "Links that this replica turned away.", hellos_refused_by),
    byKind("hellos_declined", "Links that a peer turned away.", hellos_declined_by),
    byKind("handshakes_refused", "Connections without a handshake that counts.", handshakes_refused_by),
    byKind("links", "What the links did.", links),
    byKind("protocol", "What the replica refused, lost or went through.", info.protocol),
    gauge("connections", "RESP connections.", status.connections),
    gauge("commands_waiting", "Commands that wait for an answer.", status.commands_waiting),
    gauge("password_required", "1 where the data port asks for a password.", status.password_required ? 1 : 0),
    counter("password_failures", "Wrong passwords at the data port.", status.password_failures),
    counter("commands", "RESP commands executed.", counters.commands),
    counter("commands_refused", "RESP commands answered with an error by this gateway.", counters.commands_refused),
    counter("batches", "Requests through the log.", counters.batches),
    counter("reads", "Reads by read-index.", counters.reads),
    counter("resends", "Requests sent again to the same machine.", counters.resends),
    counter("unknown_outcomes", "Requests of which nobody knows whether they were applied.", counters.unknown),
    counter("rejected", "Batches that were not applied for want of a primary or a quorum.", counters.not_applied),
    counter("sessions_evicted", "Requests that found their session gone.", counters.evicted),
    counter("connections_refused", "RESP connections refused for connections_max.", counters.connections_refused),
    counter(
      "connections_slow_closed",
      "RESP connections that took more than they read.",
      counters.connections_slow_closed,
    ),
    {
      name: "process_resident_memory_bytes",
      type: "gauge",
      help: "Resident memory.",
      samples: [["", process.memoryUsage.rss()]],
    },
  ]
}

function label(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n")
}
