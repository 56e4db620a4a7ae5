/** Why an export can't be read or written. Plane: control. */

export type ArchiveError = {
  readonly kind:
    | "not_an_export"
    | "newer_version"
    | "truncated"
    | "damaged"
    | "wrong_key"
    | "key_needed"
    | "unknown_size"
    | "too_large"
    | "io"
  readonly text: string
}
