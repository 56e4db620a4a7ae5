/**
 * A machine without a slot: announces itself and waits in the pool. It holds nothing and answers nothing.
 * Plane: control.
 */
import type { Logger } from "pino"
import { type Announcement, Announcer } from "./announcer.ts"
import { LimitedLog } from "./limited_log.ts"
import type { OrchestrationLimits } from "./limits.ts"
import type { NetworkFacts, NodeConfig } from "./node_config.ts"
import type { Ports } from "./process_host.ts"
import { monotonicMs, systemRandom } from "./system_ports.ts"

export type SpareOptions = {
  readonly config: NodeConfig
  readonly facts: NetworkFacts
  readonly advertise: string
  readonly ports: Ports
  readonly limits: OrchestrationLimits
  readonly log: Logger
}

/** Undefined without a boot server: then there is nobody to wait for. */
export function startSpare(options: SpareOptions): Announcer | undefined {
  const { config, facts, advertise, ports, limits, log } = options
  if (config.boot_server === "") {
    return undefined
  }
  const announcement: Announcement = {
    machine: config.machine,
    boot_id: config.boot_id,
    slot: null,
    address: advertise,
    mac: facts.mac,
    replica_port: ports.replica,
    data_port: ports.data,
    api_port: ports.api,
    status: "spare",
    view: 0,
    op: 0,
    commit: 0,
    incarnation: 0,
    primary_slot: null,
    cluster_id: config.cluster_id,
    generation: config.generation,
    epoch: config.epoch,
    size: null,
    formed: false,
  }
  const announcer = new Announcer({
    bootServer: config.boot_server,
    limits,
    log: new LimitedLog(log, { repeatMs: limits.log_repeat_ms, kindsMax: limits.log_kinds_max }),
    random: systemRandom(),
    now: monotonicMs,
    announcement: () => announcement,
    onAnswer: () => undefined,
  })
  announcer.start()
  return announcer
}
