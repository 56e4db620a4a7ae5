/**
 * Remembers, for as long as the machine is powered, that a process on it was a member of the cluster. The formation
 * token lets blank processes found a cluster; if three members' processes ended and started again, each would be blank
 * with its token still in node.json, and they would found an empty cluster over the lost one.
 *
 * The marker is written when the replica has become a member and before any of its messages leaves the process, so no
 * vote of a process without a marker was ever counted: whatever was acknowledged, a majority of machines has markers,
 * and founding needs all machines without. The file lies in RAM (/run) and ends with the power, as the memory does.
 * Plane: control.
 */
import { existsSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { err, ok, type Result } from "../types/result.ts"

export class FormedMarker {
  readonly #path: string
  readonly #isPossible: boolean
  #isWritten: boolean

  /** Where `directory` doesn't exist there is no supervisor that would restart the process, and no marker. */
  constructor(directory: string) {
    this.#path = join(directory, "formed")
    this.#isPossible = existsSync(directory)
    this.#isWritten = this.#isPossible && existsSync(this.#path)
  }

  /** True when an earlier process of this boot was a member: the formation token is void. */
  get isWritten(): boolean {
    return this.#isWritten
  }

  write(cluster: { readonly cluster_id: string; readonly generation: number }): Result<void, string> {
    if (this.#isWritten || !this.#isPossible) {
      return ok(undefined)
    }
    try {
      writeFileSync(this.#path, `${JSON.stringify(cluster)}\n`)
    } catch (cause) {
      return err(cause instanceof Error ? cause.message : String(cause))
    }
    this.#isWritten = true
    return ok(undefined)
  }
}
