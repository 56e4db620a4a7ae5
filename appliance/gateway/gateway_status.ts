/** What a gateway knows of itself. snake_case: it leaves the process in INFO and /v1/status. Plane: control. */
import type { SessionCounters } from "./session.ts"

export type GatewayCounters = SessionCounters & {
  connections_accepted: number
  /** More than CONNECTIONS_MAX at a time. */
  connections_refused: number
  /** Took more than they read. */
  connections_slow_closed: number
  commands: number
  /** Commands answered with an error by this gateway itself. */
  commands_refused: number
  /** Replies to nobody: of requests that were answered or given up before. */
  replies_late: number
}

export type GatewayStatus = {
  readonly connections: number
  readonly connections_max: number
  readonly sessions_registered: number
  /** Commands that wait for an answer or to be sent. */
  readonly commands_waiting: number
  /** A password is set: only then machines listen beyond loopback. */
  readonly password_required: boolean
  readonly password_failures: number
  readonly counters: Readonly<GatewayCounters>
}
