/** Bounds of the mutation gate: what a catcher may spend on one mutant. Plane: control. */

/** Mutants that are worked on at a time: one a core. */
export const MUTANTS_AT_ONCE = 2
/** The adversary alone must catch this share of them. */
export const HOLD_BACK_SHARE_MIN = 0.5

export const SCRIPTED_SECONDS_MAX = 60
export const EXHAUSTIVE_SECONDS = 10
export const HOLD_BACK_SEEDS = 32
export const HOLD_BACK_SECONDS_MAX = 90
export const SWARM_SEEDS = 8
export const MEMORY_FAULTS_SEEDS = 24
export const MEMORY_FAULTS_SECONDS_MAX = 90
export const SWARM_SECONDS_MAX = 60
/** Beyond its own bound a search may take this long to start and to end. */
export const SEARCH_GRACE_SECONDS = 30
export const GRACE_SECONDS = 5
