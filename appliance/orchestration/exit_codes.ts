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
  /** node.json or an option makes no sense. */
  config: 78,
} as const
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode]
