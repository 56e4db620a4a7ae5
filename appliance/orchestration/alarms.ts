/** What an operator must see, by name: in the status, INFO, metrics, the log and on the console. Plane: control. */

/** The first two exclude each other. */
export type AlarmKind =
  | "quorum_lost"
  | "quorum_margin_0"
  | "standby_missing"
  | "memory_disputed"
  | "copies_1"
  | "checkpoint_overdue"
  | "memory_fault"
  | "outgrown"

export const ALARM_KINDS: readonly AlarmKind[] = [
  "quorum_lost",
  "quorum_margin_0",
  "standby_missing",
  "memory_disputed",
  "copies_1",
  "checkpoint_overdue",
  "memory_fault",
  "outgrown",
]

/** The text says what it means, and what to do where there is something to do. */
export type Alarm = { readonly kind: AlarmKind; readonly text: string }
