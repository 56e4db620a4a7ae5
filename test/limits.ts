/** The bounds of a run of the whole suite, in seconds. Plane: control. */

/** What the suite may take on two cores; 25 minutes less what a fresh machine needs for apt and npm. */
export const RUN_SECONDS_MAX = 22 * 60
/** How long a phase that was told to end may take to clean up: the lab removes its namespace and machines. */
export const GRACE_SECONDS = 20
/** A phase that takes longer than this says that it lives, this often. */
export const HEARTBEAT_SECONDS = 30
/** Checks that only read the source run this many at a time. */
export const CHECKS_AT_ONCE = 2
/** Bytes of output that are kept of one phase; what is older is dropped. */
export const OUTPUT_BYTES_MAX = 8 * 1024 * 1024

/** A scene that acknowledged fewer writes than this has shown nothing. */
export const SCENE_WRITES_MIN = 1_000
/** Two whole builds, one after the other, with the packages at hand: half a minute on two quiet cores. */
export const BUILD_MS_MAX = 180_000
/** Machines that must halt: too little memory, and a damaged image. */
export const BAD_BOOT_CASES = 2

/** Far above what was measured (README.md): a slow machine passes, a hang doesn't. */
export const PHASE_SECONDS_MAX = {
  types: 120,
  format: 60,
  lint: 120,
  dead_code: 120,
  tidy: 120,
  unit: 480,
  property: 480,
  interaction: 120,
  exhaustive: 480,
  mutation: 480,
  simulation: 480,
  processes: 480,
  chaos: 240,
  scene: 900,
  bad_boots: 300,
} as const
