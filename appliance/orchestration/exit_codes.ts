/** With what the process ends, for whoever started it: /init, a service manager or a person. Plane: control. */
export const ExitCode = {
  ok: 0,
  /** The command line is wrong. */
  usage: 64,
  /** A port is taken, an interface is missing: something outside must change first. */
  unavailable: 69,
  /** A broken invariant: this machine must not go on as it is. */
  bug: 70,
  /** A later incarnation of this slot lives: start again blank. */
  fenced: 75,
  /** The memory was wrong too often: not to be started again before somebody has looked at it; /init halts. */
  quarantined: 76,
  /** The boot server did not let this machine join. */
  not_admitted: 77,
  /** node.json or an option makes no sense. */
  config: 78,
} as const
/** For the person in front of the machine. */
export function exitReason(code: ExitCode): string {
  switch (code) {
    case ExitCode.ok:
      return "it was told to end"
    case ExitCode.fenced:
      return "a later process of this slot lives"
    case ExitCode.quarantined:
      return "its memory was wrong too often: test it before this machine is switched on again"
    case ExitCode.not_admitted:
      return "the boot server did not let it join: look at 'mandala machine list'"
    default:
      return "the log says why"
  }
}

export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode]
