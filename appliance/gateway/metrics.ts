/** Prometheus's text exposition, version 0.0.4. Plane: control. */
import type { GatewayStatus } from "./gateway_status.ts"
import type { ReplicaInfo } from "./port.ts"
import { isHealthy } from "./status_document.ts"

type Metric = {
  readonly name: string
  readonly type: "gauge" | "counter"
  readonly help: string
  readonly samples: readonly (readonly [labels: string, value: number])[]
}

export const METRICS_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

export function metricsText(info: ReplicaInfo, status: GatewayStatus): string {
  return metrics(info, status)
    .map(({ name, type, help, samples }) => {
      const lines = samples.map(([labels, value]) => `${name}${labels} ${value}\n`)
      return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join("")}`
    })
    .join("")
}

function metrics(info: ReplicaInfo, { counters, ...status }: GatewayStatus): Metric[] {
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
  const heard = info.members.filter((member) => member.last_contact_ms !== null)
  return [
    {
      name: "mandala_info",
      type: "gauge",
      help: "What runs here; always 1.",
      samples: [[`{machine="${label(info.name)}",version="${label(info.version)}",slot="${info.slot}"}`, 1]],
    },
    gauge("healthy", "1 when a primary is known and a majority lives.", isHealthy(info) ? 1 : 0),
    gauge("is_primary", "1 on the primary.", info.primary_slot === info.slot ? 1 : 0),
    gauge("view", "The view.", info.view),
    gauge("op", "The youngest op in the log.", info.op),
    gauge("commit", "The commit number.", info.commit),
    gauge("copies", "Machines that hold the state.", info.copies),
    gauge("quorum_margin", "Live voters beyond a majority.", info.quorum_margin),
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
    gauge("connections", "RESP connections.", status.connections),
    gauge("commands_waiting", "Commands that wait for an answer.", status.commands_waiting),
    counter("commands", "RESP commands executed.", counters.commands),
    counter("commands_refused", "RESP commands answered with an error by this gateway.", counters.commands_refused),
    counter("batches", "Requests through the log.", counters.batches),
    counter("reads", "Reads by read-index.", counters.reads),
    counter("resends", "Requests sent again to the same machine.", counters.resends),
    counter("unknown_outcomes", "Requests of which nobody knows whether they were applied.", counters.unknown),
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
