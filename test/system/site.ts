/** A site for tests: its authority, and keys for whichever machine a test wants to be. Plane: control. */
import type { Credentials } from "../../appliance/cli/config_store.ts"
import { Authority } from "../../appliance/keys/authority.ts"
import type { MachineIdentity, OperatorRole } from "../../appliance/keys/identity.ts"
import type { RosterMachine, SignedRoster } from "../../appliance/keys/roster.ts"
import { LinkSecurity, type MachineKeys } from "../../appliance/orchestration/link_security.ts"
import { assert } from "../../appliance/types/assert.ts"

export class Site {
  readonly authority: Authority
  readonly clusterID: string

  private constructor(authority: Authority, clusterID: string) {
    this.authority = authority
    this.clusterID = clusterID
  }

  static async create(clusterID: string): Promise<Site> {
    return new Site(await Authority.create(), clusterID)
  }

  /** The keys of the machine in `slot`, as its join would have left them in its tmpfs. */
  async keys(slot: number, change: Partial<MachineIdentity> = {}): Promise<MachineKeys> {
    const identity: MachineIdentity = {
      kind: "machine",
      cluster_id: this.clusterID,
      machine: `machine-${slot}`,
      boot_id: "boot",
      slot,
      issue: 1,
      ...change,
    }
    const pair = await this.authority.mintPair(identity)
    assert(pair.ok, "site: an identity of a test is one")
    return { authority: this.authority.certificate, ...pair.value }
  }

  async operator(role: OperatorRole): Promise<Credentials> {
    const pair = await this.authority.mintPair({ kind: "operator", name: `test-${role}`, role })
    assert(pair.ok, "site: an operator of a test is one")
    return { authority: this.authority.certificate, ...pair.value }
  }

  async secure(slot: number, change: Partial<MachineIdentity> = {}): Promise<LinkSecurity> {
    const clusterId = change.cluster_id ?? this.clusterID
    const created = LinkSecurity.create(await this.keys(slot, change), { cluster_id: clusterId, now: () => Date.now() })
    assert(created.ok, "site: keys of a machine are taken")
    return created.value
  }

  roster(version: number, machines: readonly RosterMachine[]): SignedRoster {
    const signed = this.authority.sign({ version, cluster_id: this.clusterID, machines })
    assert(signed !== undefined, "site: a roster fits")
    return signed
  }
}
