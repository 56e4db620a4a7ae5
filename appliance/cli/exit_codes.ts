/** What a command's exit code means to whoever scripts it. The numbers never change. Plane: control. */

export const ExitCode = {
  ok: 0,
  failed: 1,
  /** The command line is wrong. */
  usage: 2,
  not_found: 3,
  /** Nobody answered at the endpoint. */
  unreachable: 4,
  /** It answered, and the cluster is not as it should be. */
  degraded: 5,
  /** Somebody else changed it first. */
  conflict: 6,
  /** As timeout(1). */
  timeout: 124,
} as const
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode]

/** The table that `mandala --help` ends with. */
export const EXIT_CODE_HELP = `
Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 unreachable, 5 unhealthy or degraded, 6 conflict, 124 timeout.
`
