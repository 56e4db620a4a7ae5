/** The scopes that every run of the tests exhausts, the cheap ones first. Plane: control. */
import { CHECKPOINT_NEVER } from "./limits.ts"
import type { Scope } from "./scope.ts"

const ONE: Scope = {
  voters: 3,
  crashes: 1,
  ops: 1,
  views: 1,
  heartbeats: 0,
  retries: 0,
  checkpoint_ops: CHECKPOINT_NEVER,
}

export type Gate = { readonly name: string; readonly scope: Scope }

export const GATES: readonly Gate[] = [
  { name: "one crash, two writes, one view", scope: { ...ONE, views: 0, ops: 2 } },
  { name: "two crashes, one view", scope: { ...ONE, crashes: 2, views: 0 } },
  {
    name: "one crash, one view, a heartbeat and a new attempt",
    scope: { ...ONE, views: 0, heartbeats: 1, retries: 1 },
  },
  { name: "a checkpoint that is certified", scope: { ...ONE, crashes: 0, views: 0, heartbeats: 1, checkpoint_ops: 1 } },
  { name: "two writes, one view change", scope: { ...ONE, crashes: 0, ops: 2 } },
  { name: "one crash, one view change", scope: ONE },
  { name: "two view changes", scope: { ...ONE, crashes: 0, views: 2 } },
]
