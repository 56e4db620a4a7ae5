/** The port through which the boot server says what happens; pino's loggers fit as they are. Plane: control. */

export type LogFields = { readonly [name: string]: string | number | boolean | null }

export type Logger = {
  readonly info: (fields: LogFields, message: string) => void
  readonly warn: (fields: LogFields, message: string) => void
  readonly error: (fields: LogFields, message: string) => void
}
