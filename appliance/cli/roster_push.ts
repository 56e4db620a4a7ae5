/**
 * Tells the members at once what was decided: who is put out must not go on until its peers ask the next time. A member
 * that does not answer hears it with its next announce. Plane: control.
 */
import type { SignedRoster } from "../keys/roster.ts"
import type { Credentials } from "./config_store.ts"
import { API_PORT, PUSH_MS_MAX } from "./limits.ts"
import { openRequest } from "./transport.ts"

const PATH = "/v1/roster"

export class RosterPush {
  readonly #credentials: Credentials
  /** One at a time to each: it gets the newest when the one before is over. */
  readonly #busy = new Map<string, SignedRoster | undefined>()

  /** The boot server's own key: any certificate of the authority will do, since the roster is signed. */
  constructor(credentials: Credentials) {
    this.#credentials = credentials
  }

  /** `addresses` are those of members that were heard a moment ago: as many as there are slots. */
  push(roster: SignedRoster, addresses: readonly string[]): void {
    for (const address of addresses) {
      const isBusy = this.#busy.has(address)
      this.#busy.set(address, roster)
      if (!isBusy) {
        // Total: what fails is repeated by the announce.
        void this.#send(address)
      }
    }
  }

  async #send(address: string): Promise<void> {
    const url = new URL(`https://${address}:${API_PORT}${PATH}`)
    for (let roster = this.#take(address); roster !== undefined; roster = this.#take(address)) {
      const signal = AbortSignal.timeout(PUSH_MS_MAX)
      const body = JSON.stringify(roster)
      try {
        const response = await openRequest({ url, method: "POST", body, credentials: this.#credentials, signal })
        response.destroy()
      } catch {
        // It is off, or cut: its announce, if it ever comes, is answered with the roster.
      }
    }
    this.#busy.delete(address)
  }

  #take(address: string): SignedRoster | undefined {
    const roster = this.#busy.get(address)
    this.#busy.set(address, undefined)
    return roster
  }
}
