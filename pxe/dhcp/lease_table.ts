/**
 * Which machine has which address, and until when. Keyed by hardware address alone, since firmware, iPXE and kernel of
 * one machine send three different client ids. Bounded by the pool; knows no clock. Plane: control.
 */
import { assert } from "../../appliance/types/assert.ts"
import { crc32 } from "../../appliance/types/checksum.ts"
import { LEASES_MAX, OFFER_HOLD_MS, QUARANTINE_MS } from "./limits.ts"

export type LeaseState = "offered" | "bound" | "free"

export type Lease = {
  readonly machine: string
  readonly address: number
  readonly state: LeaseState
  /** Milliseconds of the clock that `now` is of. A lease past it holds nothing, but its address is given away last. */
  readonly expires_at: number
}

/** Both ends included. */
export type AddressPool = { readonly first: number; readonly last: number }

export class LeaseTable {
  readonly #pool: AddressPool
  readonly #size: number
  /** Addresses that are never given away: the server's own. */
  readonly #reserved: ReadonlySet<number>
  readonly #byMachine = new Map<string, Lease>()
  readonly #byAddress = new Map<number, Lease>()
  readonly #quarantine = new Map<number, number>()

  constructor(pool: AddressPool, reserved: readonly number[]) {
    assert(pool.first <= pool.last, "lease table: a pool has at least one address")
    this.#pool = pool
    this.#size = Math.min(pool.last - pool.first + 1, LEASES_MAX)
    this.#reserved = new Set(reserved)
  }

  get count(): number {
    return this.#byMachine.size
  }

  /** The machine's lease as long as it holds. */
  leaseOf(machine: string, now: number): Lease | undefined {
    const lease = this.#byMachine.get(machine)
    return lease !== undefined && lease.state !== "free" && lease.expires_at > now ? lease : undefined
  }

  /** The address of this machine's latest lease, held or not. */
  addressOf(machine: string): number | undefined {
    return this.#byMachine.get(machine)?.address
  }

  machineAt(address: number): string | undefined {
    return this.#byAddress.get(address)?.machine
  }

  /** Holds an address for the machine until it asks for it; undefined when the pool is exhausted. */
  offer(machine: string, wanted: number | undefined, now: number): Lease | undefined {
    const held = this.leaseOf(machine, now)
    if (held !== undefined) {
      return held.state === "bound" ? held : this.#put(machine, held.address, "offered", now + OFFER_HOLD_MS)
    }
    const address = this.#choose(machine, wanted, now)
    return address === undefined ? undefined : this.#put(machine, address, "offered", now + OFFER_HOLD_MS)
  }

  /** Binds the address to the machine, if it may have it. */
  bind(machine: string, address: number, now: number, durationMs: number): Lease | undefined {
    return this.mayHave(machine, address, now) ? this.#put(machine, address, "bound", now + durationMs) : undefined
  }

  /** Whether the address is in the pool and nobody else's at the moment. */
  mayHave(machine: string, address: number, now: number): boolean {
    if (!this.#isInPool(address) || (this.#quarantine.get(address) ?? 0) > now) {
      return false
    }
    const lease = this.#byAddress.get(address)
    return lease === undefined || lease.machine === machine || lease.state === "free" || lease.expires_at <= now
  }

  /** The machine gives its address back; remembered, so that it gets the same one again while nobody else needs it. */
  release(machine: string, address: number): boolean {
    const lease = this.#byMachine.get(machine)
    if (lease === undefined || lease.address !== address) {
      return false
    }
    this.#put(machine, address, "free", 0)
    return true
  }

  /** The machine found the address in use by somebody that this table doesn't know. */
  decline(machine: string, address: number, now: number): boolean {
    const lease = this.#byMachine.get(machine)
    if (lease === undefined || lease.address !== address) {
      return false
    }
    this.#remove(lease)
    this.#quarantine.set(address, now + QUARANTINE_MS)
    assert(this.#quarantine.size <= this.#size, "lease table: only addresses of the pool rest")
    return true
  }

  /** The machine chose another server's offer. */
  withdraw(machine: string): void {
    const lease = this.#byMachine.get(machine)
    if (lease?.state === "offered") {
      this.#put(machine, lease.address, "free", 0)
    }
  }

  #isInPool(address: number): boolean {
    const index = address - this.#pool.first
    return index >= 0 && index < this.#size && !this.#reserved.has(address)
  }

  /**
   * The machine's last address, the one it asks for, else one never used, else one no longer held. The search starts at
   * a place that the machine's name gives: a server that forgot everything then gives the same addresses again.
   */
  #choose(machine: string, wanted: number | undefined, now: number): number | undefined {
    for (const address of [this.addressOf(machine), wanted]) {
      if (address !== undefined && this.mayHave(machine, address, now)) {
        return address
      }
    }
    const name = new TextEncoder().encode(machine)
    const start = crc32(name, 0, name.length) % this.#size
    let reusable: number | undefined
    for (let step = 0; step < this.#size; step += 1) {
      const address = this.#pool.first + ((start + step) % this.#size)
      if (!this.mayHave(machine, address, now)) {
        continue
      }
      if (!this.#byAddress.has(address)) {
        return address
      }
      reusable ??= address
    }
    return reusable
  }

  #put(machine: string, address: number, state: LeaseState, expiresAt: number): Lease {
    assert(this.#isInPool(address), "lease table: an address of the pool")
    for (const old of [this.#byMachine.get(machine), this.#byAddress.get(address)]) {
      if (old !== undefined) {
        this.#remove(old)
      }
    }
    const lease: Lease = { machine, address, state, expires_at: expiresAt }
    this.#byMachine.set(machine, lease)
    this.#byAddress.set(address, lease)
    assert(this.#byMachine.size === this.#byAddress.size, "lease table: one address a machine, one machine an address")
    assert(this.#byMachine.size <= this.#size, "lease table: no more leases than addresses")
    return lease
  }

  #remove(lease: Lease): void {
    this.#byMachine.delete(lease.machine)
    this.#byAddress.delete(lease.address)
  }
}

/** .100 to .200 of a /24 or larger; the upper half of a smaller network. Undefined where there are no two hosts. */
export function defaultPool(address: number, netmask: number): AddressPool | undefined {
  const network = (address & netmask) >>> 0
  const broadcast = (network | ~netmask) >>> 0
  const hosts = broadcast - network - 1
  if (hosts < 2) {
    return undefined
  }
  if (hosts >= 254) {
    return { first: network + 100, last: network + 200 }
  }
  return { first: network + 1 + Math.floor(hosts / 2), last: broadcast - 1 }
}
