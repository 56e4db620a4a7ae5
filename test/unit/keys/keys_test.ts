/** Certificates, identities and rosters: what is believed, and each thing that is not, by name. Plane: control. */
import { chmodSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs"
import { X509Certificate } from "node:crypto"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeAll, describe, expect, test } from "vitest"
import { Authority } from "../../../appliance/keys/authority.ts"
import {
  formatIdentity,
  identityOfNames,
  type MachineIdentity,
  parseIdentity,
} from "../../../appliance/keys/identity.ts"
import { readKeyFile, writeKeyFile } from "../../../appliance/keys/key_file.ts"
import { makeKey } from "../../../appliance/keys/key_pair.ts"
import { KEY_FILE_BYTES_MAX, ROSTER_BYTES_MAX, ROSTER_MACHINES_MAX } from "../../../appliance/keys/limits.ts"
import { parseSignedRoster, type Roster, type SignedRoster, verifyRoster } from "../../../appliance/keys/roster.ts"
import { Trust } from "../../../appliance/keys/trust.ts"
import { assert } from "../../../appliance/types/assert.ts"
import type { Result } from "../../../appliance/types/result.ts"

const CLUSTER = "0123456789abcdef0123456789abcdef"
const OTHER_CLUSTER = "f".repeat(32)

let authority: Authority
let stranger: Authority

beforeAll(async () => {
  authority = await Authority.create()
  stranger = await Authority.create()
})

const directories: string[] = []
afterEach(() => {
  for (const directory of directories.splice(0)) {
    rmSync(directory, { recursive: true, force: true })
  }
})

function machine(change: Partial<MachineIdentity> = {}): MachineIdentity {
  return { kind: "machine", cluster_id: CLUSTER, machine: "m-0", boot_id: "b0", slot: 0, issue: 10, ...change }
}

function valueOf<T, E>(result: Result<T, E>): T {
  assert(result.ok, "test: it is a value")
  return result.value
}

async function certificate(by: Authority, identity: Parameters<Authority["mint"]>[0]): Promise<X509Certificate> {
  const { publicKey } = await makeKey()
  return new X509Certificate(valueOf(await by.mint(identity, publicKey)))
}

function trustAt(now = Date.now()): Trust {
  return new Trust({ authority: authority.x509, cluster_id: CLUSTER, now: () => now })
}

function signed(roster: Partial<Roster>, by = authority): SignedRoster {
  const made = by.sign({ version: 1, cluster_id: CLUSTER, machines: [], ...roster })
  assert(made !== undefined, "test: a roster fits")
  return made
}

describe("identity", () => {
  test("what is written is read again, and nothing else is", () => {
    const identities = [
      machine(),
      machine({ machine: "52-54-00-77-00-01", boot_id: "a_b-C", slot: 10, issue: Number.MAX_SAFE_INTEGER }),
      { kind: "operator", name: "ann", role: "admin" } as const,
      { kind: "server", name: "boot" } as const,
    ]
    for (const identity of identities) {
      const text = formatIdentity(identity) ?? ""
      expect(parseIdentity(text)).toEqual(identity)
      expect(identityOfNames(`URI:${text}`)).toEqual(identity)
      expect(identityOfNames(`URI:${text}, URI:${text}`)).toBeUndefined()
      expect(identityOfNames(`DNS:${text}`)).toBeUndefined()
      expect(parseIdentity(`${text}/`)).toBeUndefined()
      expect(parseIdentity(text.toUpperCase())).toBeUndefined()
    }
  })

  test("parts that could mean two things have no form", () => {
    expect(formatIdentity(machine({ machine: "a/b" }))).toBeUndefined()
    expect(formatIdentity(machine({ machine: "a,URI:x" }))).toBeUndefined()
    expect(formatIdentity(machine({ cluster_id: "abc" }))).toBeUndefined()
    expect(formatIdentity(machine({ boot_id: "" }))).toBeUndefined()
    expect(formatIdentity(machine({ slot: 11 }))).toBeUndefined()
    expect(formatIdentity(machine({ issue: 1.5 }))).toBeUndefined()
    expect(formatIdentity({ kind: "operator", name: "a b", role: "admin" })).toBeUndefined()
    expect(parseIdentity(`mandala://machine/${CLUSTER}/m/b/01/1`)).toBeUndefined()
    expect(parseIdentity("mandala://operator/ann/root")).toBeUndefined()
  })
})

describe("authority", () => {
  test("kept as text it is the same; halves of two are none", () => {
    const text = authority.toText()
    expect(Authority.parse(text)?.certificate).toBe(authority.certificate)
    expect(Authority.parse({ ...text, key: stranger.toText().key })).toBeUndefined()
    expect(Authority.parse({ certificate: "x", key: "y" })).toBeUndefined()
  })

  test("only a public key of our kind gets a certificate", async () => {
    const { privateKey } = await makeKey()
    for (const key of ["", "x", privateKey, "x".repeat(10_000)]) {
      expect(await authority.mint(machine(), key)).toEqual({ ok: false, error: "bad_key" })
    }
    const { publicKey } = await makeKey()
    expect(await authority.mint(machine({ machine: "a/b" }), publicKey)).toEqual({ ok: false, error: "bad_identity" })
  })

  test("a machine's certificate can neither sign others nor be what it is not", async () => {
    const x509 = await certificate(authority, machine())
    expect(x509.ca).toBe(false)
    const pair = valueOf(await authority.mintPair(machine()))
    expect(Authority.parse(pair)).toBeUndefined()
  })
})

describe("trust", () => {
  test("the machine that is meant is believed, whatever the clock says", async () => {
    const x509 = await certificate(authority, machine())
    for (const now of [0, Date.now(), Date.parse("2099-01-01")]) {
      expect(trustAt(now).judgePeer(x509, 0)).toBe("ok")
    }
  })

  test("everybody else is not, each by name", async () => {
    const trust = trustAt()
    expect(trust.judgePeer(undefined, 0)).toBe("no_certificate")
    expect(trust.judgePeer(await certificate(stranger, machine()), 0)).toBe("wrong_authority")
    // One that calls itself what ours is called.
    const twin = await Authority.create(authority.x509.subject.replace("CN=", ""))
    const forged = await certificate(twin, machine())
    expect(forged.checkIssued(authority.x509) || forged.issuer === authority.x509.subject).toBe(true)
    expect(trust.judgePeer(forged, 0)).toBe("wrong_authority")
    expect(trust.judgePeer(await certificate(authority, machine({ slot: 1 })), 0)).toBe("wrong_identity")
    expect(trust.judgePeer(await certificate(authority, machine({ cluster_id: OTHER_CLUSTER })), 0)).toBe(
      "wrong_identity",
    )
    expect(trust.judgePeer(await certificate(authority, { kind: "server", name: "s" }), 0)).toBe("wrong_identity")
    expect(trust.judgePeer(authority.x509, 0)).toBe("wrong_identity")
    const operator = await certificate(authority, { kind: "operator", name: "ann", role: "admin" })
    expect(trust.judgePeer(operator, 0)).toBe("wrong_identity")
    expect(trustAt(Date.parse("2099-01-01")).identify(operator)).toEqual({ ok: false, error: "expired" })
    expect(trust.identify(operator)).toEqual({ ok: true, value: { kind: "operator", name: "ann", role: "admin" } })
  })

  test("a roster takes certificates back: of a slot's earlier boots, and of machines that were expelled", async () => {
    const trust = trustAt()
    const x509 = await certificate(authority, machine())
    expect(
      trust.learn(signed({ version: 5, machines: [{ machine: "m-0", decision: "accepted", slot: 0, issue: 10 }] })),
    ).toBe("newer")
    expect(trust.judgePeer(x509, 0)).toBe("ok")
    expect(
      trust.learn(signed({ version: 6, machines: [{ machine: "m-0", decision: "accepted", slot: 0, issue: 11 }] })),
    ).toBe("newer")
    expect(trust.judgePeer(x509, 0)).toBe("superseded")
    for (const decision of ["refused", "expelled", "quarantined"] as const) {
      const version = trust.rosterVersion + 1
      expect(trust.learn(signed({ version, machines: [{ machine: "m-0", decision, slot: null, issue: 0 }] }))).toBe(
        "newer",
      )
      expect(trust.judgePeer(x509, 0)).toBe("expelled")
    }
  })

  test("only a newer roster of our authority and cluster is taken", () => {
    const trust = trustAt()
    const good = signed({ version: 5 })
    expect(trust.learn(good)).toBe("newer")
    expect(trust.learn(good)).toBe("older")
    expect(trust.learn(signed({ version: 4 }))).toBe("older")
    expect(trust.learn(signed({ version: 9, cluster_id: OTHER_CLUSTER }))).toBe("wrong_cluster")
    expect(trust.learn(signed({ version: 9 }, stranger))).toBe("wrong_authority")
    expect(trust.learn({ ...good, text: good.text.replace("5", "9") })).toBe("wrong_authority")
    expect(trust.learn({ ...good, signature: "" })).toBe("wrong_authority")
    expect(trust.learn({ text: "x".repeat(ROSTER_BYTES_MAX + 1), signature: "" })).toBe("roster_too_large")
    expect(trust.rosterVersion).toBe(5)
    expect(trust.roster).toEqual(good)
  })
})

describe("roster", () => {
  test("the largest fits, one more does not", () => {
    const entry = { decision: "quarantined", slot: 10, issue: Number.MAX_SAFE_INTEGER } as const
    const machines = Array.from({ length: ROSTER_MACHINES_MAX }, (_, index) => ({
      ...entry,
      machine: String(index).padStart(63, "m"),
    }))
    const full = signed({ machines })
    expect(verifyRoster(full, authority.x509.publicKey)).toMatchObject({ ok: true, value: { machines } })
    expect(
      authority.sign({ version: 1, cluster_id: CLUSTER, machines: [...machines, ...machines.slice(0, 1)] }),
    ).toBeUndefined()
  })

  test("what is no signed roster in form is none", () => {
    for (const value of [null, 1, "x", {}, { text: 1, signature: "" }, { text: "", signature: "x".repeat(200) }]) {
      expect(parseSignedRoster(value)).toBeUndefined()
    }
    expect(parseSignedRoster(signed({}))).toEqual(signed({}).text === "" ? undefined : expect.objectContaining({}))
  })
})

describe("a file of keys", () => {
  test("is its owner's alone, is written whole, and is not believed when others could read it", () => {
    const directory = mkdtempSync(join(tmpdir(), "mandala-keys-"))
    directories.push(directory)
    const path = join(directory, "link.json")
    expect(readKeyFile(path)).toMatchObject({ error: { kind: "file_missing" } })
    expect(writeKeyFile(path, { key: "k" }).ok).toBe(true)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(readKeyFile(path)).toEqual({ ok: true, value: { key: "k" } })
    chmodSync(path, 0o640)
    expect(readKeyFile(path)).toMatchObject({ error: { kind: "file_mode" } })
    writeFileSync(path, "x".repeat(KEY_FILE_BYTES_MAX + 1))
    chmodSync(path, 0o600)
    expect(readKeyFile(path)).toMatchObject({ error: { kind: "file_unusable" } })
    writeFileSync(path, "{")
    expect(readKeyFile(path)).toMatchObject({ error: { kind: "file_unusable" } })
    expect(writeKeyFile(join(directory, "none", "x"), {})).toMatchObject({ error: { kind: "file_unusable" } })
  })
})
