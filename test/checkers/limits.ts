/** The bounds of the checkers. Plane: control. */

/** Operations of one key that may be under way at a time and will be answered: a bit each. */
export const CONCURRENT_MAX = 30
/** Configurations that one check may look at before it gives up; some 10 s. */
export const CONFIGURATIONS_MAX = 3_000_000
