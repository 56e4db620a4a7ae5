/** What is searched, within which bounds, and what comes of it. Plane: control. */

export type Scope = {
  readonly voters: number
  /** Crashes, each with a reboot at once: a machine that is down does what one does that is up and hears nothing. */
  readonly crashes: number
  /** Requests of the one client, which may ask for each at any machine, at any time, any number of times. */
  readonly ops: number
  /** The highest view that anyone may enter. */
  readonly views: number
  /** Heartbeats beyond the one with which a view begins. */
  readonly heartbeats: number
  /** Times that a machine may try anew, with a new nonce or another donor. */
  readonly retries: number
  /** A checkpoint is due after so many ops. */
  readonly checkpoint_ops: number
}

export type SearchOptions = {
  readonly scope: Scope
  readonly statesMax: number
  readonly depthMax: number
  readonly secondsMax: number
  readonly megabytesMax: number
  /** Milliseconds. */
  readonly now: () => number
  /** What the process holds. */
  readonly megabytes: () => number
  readonly progress?: (progress: Progress) => void
}

export type Progress = {
  readonly depth: number
  readonly states: number
  /** Found and not expanded yet. */
  readonly waiting: number
  readonly local_states: number
  readonly letters: number
  readonly seconds: number
}

export type SearchResult = {
  /** `exhausted`: every schedule of the scope was searched. `bounded`: a bound ended the search before. */
  readonly outcome: "exhausted" | "violation" | "bounded"
  /** States that were found, and those of them for which another one turned out to stand. */
  readonly states: number
  readonly dominated: number
  /** Steps that changed something. */
  readonly transitions: number
  readonly depth: number
  /** States of single replicas, different messages, and events that were run on the production replica. */
  readonly local_states: number
  readonly letters: number
  readonly executions: number
  /** In how many states it was so: a search that reached nothing has shown nothing. */
  readonly reached: Reached
  readonly seconds: number
  readonly violation: string | undefined
  /** The shortest way to the violation. */
  readonly trace: readonly string[]
}

export type Reached = {
  committed: number
  view_changed: number
  recovered: number
  recovered_after_commit: number
  committed_in_later_view: number
  certified: number
  /** A machine that has booted again holds a checkpoint that was certified. */
  copied: number
}
