/**
 * What the boot server asks of whoever holds the authority's key: certificates, and signatures over its decisions. It
 * never sees the key. The composition root brings it. Plane: control.
 */
import type { Result } from "../appliance/types/result.ts"

export type Decision = "accepted" | "refused" | "expelled" | "quarantined"

export type DecidedMachine = {
  readonly machine: string
  readonly decision: Decision
  /** Of the certificate that holds. */
  readonly slot: number | null
  readonly issue: number
}

export type SignedRoster = { readonly text: string; readonly signature: string }

export type Roster = {
  readonly version: number
  readonly cluster_id: string
  readonly machines: readonly DecidedMachine[]
}

export type KeysPort = {
  /** The authority's certificate, as PEM: public. */
  readonly certificate: string
  readonly mint: (
    identity: {
      readonly cluster_id: string
      readonly machine: string
      readonly boot_id: string
      readonly slot: number
      readonly issue: number
    },
    publicKey: string,
  ) => Promise<Result<string, "bad_key" | "bad_identity">>
  readonly sign: (roster: Roster) => SignedRoster | undefined
  /** Undefined: not signed by our authority, or no roster. */
  readonly read: (value: unknown) => Roster | undefined
}
