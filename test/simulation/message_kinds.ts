/** Message types as small numbers, for masks and hashes, and those that an adversary likes to keep. Plane: control. */
import type { Message, MessageType } from "../../appliance/replication/message.ts"

const CODES: { readonly [Type in MessageType]: number } = {
  probe: 0,
  probe_ok: 1,
  prepare: 2,
  prepare_ok: 3,
  commit: 4,
  commit_ok: 5,
  exit_view: 6,
  join_view: 7,
  view: 8,
  get_view: 9,
  recovery: 10,
  recovery_response: 11,
  get_log: 12,
  log: 13,
  log_gone: 14,
  get_checkpoint: 15,
  checkpoint_chunk: 16,
  request: 17,
  read: 18,
  reply: 19,
  read_reply: 20,
  standby_ok: 21,
  new_epoch: 22,
  epoch_started: 23,
  reconfigure: 24,
  reconfigure_reply: 25,
  checkpoint_ok: 26,
  checkpoint_gone: 27,
}

export function codeOf(type: MessageType): number {
  return CODES[type]
}

export function maskOf(...types: readonly MessageType[]): number {
  return types.reduce((mask, type) => mask | (1 << CODES[type]), 0)
}

/** Promises and answers that count in a quorum: what must not count any more once its sender has rebooted. */
export const QUORUM_MASK = maskOf(
  "exit_view",
  "join_view",
  "view",
  "recovery_response",
  "prepare_ok",
  "commit_ok",
  "probe_ok",
  "epoch_started",
)
export const VIEW_CHANGE_MASK = maskOf("exit_view", "join_view", "view", "get_view")
/** Between a gateway and a replica, and no part of the protocol between replicas. */
export const CLIENT_MASK = maskOf("request", "read", "reply", "read_reply", "reconfigure", "reconfigure_reply")

/**
 * A message that may be kept: what lies in its sender's buffers is copied, everything else is never changed in place.
 */
export function keep(message: Message): Message {
  if ("body" in message) {
    return message.body.length === 0 ? message : { ...message, body: message.body.slice() }
  }
  if (message.type === "log") {
    return { ...message, entry: { header: message.entry.header, body: message.entry.body.slice() } }
  }
  return message
}
