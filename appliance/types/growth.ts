/**
 * Which limits a cluster may grow to: tables and the log may become larger with an epoch, and none of them smaller.
 * What travels between machines, and what a session keeps of it, stays as it is, so that links and gateways go on with
 * the buffers that they have. Plane: control.
 */
import { type ClusterLimits, limitsFingerprint } from "./limits.ts"

/** In the place of a fingerprint: grows to nothing. */
export const GROWS_TO_NONE = 0

const GROWS: Readonly<Record<keyof ClusterLimits, boolean>> = {
  slots_max: false,
  pipeline_max: false,
  control_slots: false,
  log_slots: true,
  log_bytes: true,
  checkpoint_ops: true,
  checkpoint_bytes: true,
  batch_bytes_max: false,
  batch_commands_max: false,
  session_reply_bytes_max: false,
  read_reply_bytes_max: false,
  sessions_max: true,
  machines_max: true,
  leases_max: true,
  rules_max: true,
  secrets_max: true,
  images_max: true,
  templates_max: true,
  workloads_max: true,
  events_max: true,
  exports_max: true,
  kv_entries_max: true,
  kv_slab_bytes: true,
  key_bytes_max: false,
  value_bytes_max: false,
  pulse_keys_max: false,
  chunk_bytes: false,
}

/** Why a cluster with the limits `from` can't grow to `to`: the limit that stands against it; undefined when it can. */
export function growthFault(from: ClusterLimits, to: ClusterLimits): keyof ClusterLimits | undefined {
  // The keys of an object literal are its type's.
  for (const name of Object.keys(GROWS) as (keyof ClusterLimits)[]) {
    if (GROWS[name] ? to[name] < from[name] : to[name] !== from[name]) {
      return name
    }
  }
  // 0 means that nothing grows: limits with that fingerprint could not be told from none.
  return limitsFingerprint(to) === GROWS_TO_NONE || limitsFingerprint(to) === limitsFingerprint(from)
    ? "kv_entries_max"
    : undefined
}
