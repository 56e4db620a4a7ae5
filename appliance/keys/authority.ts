/**
 * The authority: the key that all certificates of a site are signed with, and what it signs. Whoever has it can mint;
 * everybody else can only verify. The only file that knows the X.509 library, which is loaded when the first
 * certificate is made: a machine that mints nothing never loads it. Plane: control.
 */
import { createPrivateKey, createPublicKey, type KeyObject, randomBytes, webcrypto, X509Certificate } from "node:crypto"
import { assert } from "../types/assert.ts"
import { err, ok, type Result } from "../types/result.ts"
import { formatIdentity, type Identity } from "./identity.ts"
import { type KeyPair, makeKey } from "./key_pair.ts"
import { OPERATOR_DAYS, PEM_BYTES_MAX } from "./limits.ts"
import { type Roster, type SignedRoster, signRoster } from "./roster.ts"

/** Elliptic curve P-256: every OpenSSL has it, and an old processor signs some thousand times a second. */
const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const
const DAY_MS = 86_400_000
const SERIAL_BYTES = 16
/**
 * Recycled machines have clocks that stand at 1970, 2000 or the day their battery died, and a cluster must outlive its
 * boot server: time neither begins nor ends a machine's certificate. The roster does.
 */
const TIME_BEGINS = new Date(0)
const TIME_ENDS = new Date("9999-12-31T23:59:59Z")
const SERVER_AUTHENTICATION = "1.3.6.1.5.5.7.3.1"
const CLIENT_AUTHENTICATION = "1.3.6.1.5.5.7.3.2"

export type MintError = "bad_key" | "bad_identity"

/** What an authority is, as text: its certificate is public, its key is everything. */
export type AuthorityText = { readonly certificate: string; readonly key: string }

export class Authority {
  readonly certificate: string
  readonly #x509: X509Certificate
  readonly #key: KeyObject

  private constructor(x509: X509Certificate, key: KeyObject) {
    this.#x509 = x509
    this.#key = key
    this.certificate = x509.toString()
  }

  static async create(name = `Mandala authority ${randomBytes(4).toString("hex")}`): Promise<Authority> {
    const { x509, subtle } = await loadLibrary()
    const keys = await subtle.generateKey(ALGORITHM, true, ["sign", "verify"])
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      serialNumber: serialNumber(),
      name: `CN=${name}`,
      notBefore: TIME_BEGINS,
      notAfter: TIME_ENDS,
      signingAlgorithm: ALGORITHM,
      keys,
      extensions: [
        new x509.BasicConstraintsExtension(true, 0, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
      ],
    })
    const pkcs8 = await subtle.exportKey("pkcs8", keys.privateKey)
    const key = createPrivateKey({ key: Buffer.from(pkcs8), format: "der", type: "pkcs8" })
    return new Authority(new X509Certificate(certificate.toString("pem")), key)
  }

  /** Undefined when the texts are none, or don't belong together. */
  static parse(text: AuthorityText): Authority | undefined {
    try {
      const x509 = new X509Certificate(text.certificate)
      const key = createPrivateKey(text.key)
      return x509.ca && x509.checkPrivateKey(key) ? new Authority(x509, key) : undefined
    } catch {
      return undefined
    }
  }

  /** For the one file where it is kept. */
  toText(): AuthorityText {
    return { certificate: this.certificate, key: this.#key.export({ type: "pkcs8", format: "pem" }).toString() }
  }

  get x509(): X509Certificate {
    return this.#x509
  }

  sign(roster: Roster): SignedRoster | undefined {
    return signRoster(roster, this.#key)
  }

  /** A certificate over somebody else's public key (PEM): the private half never leaves its machine. */
  async mint(identity: Identity, publicKey: string): Promise<Result<string, MintError>> {
    const uri = formatIdentity(identity)
    if (uri === undefined) {
      return err("bad_identity")
    }
    const subjectKey = parsePublicKey(publicKey)
    if (subjectKey === undefined) {
      return err("bad_key")
    }
    const { x509, subtle } = await loadLibrary()
    const pkcs8 = this.#key.export({ type: "pkcs8", format: "der" })
    const signingKey = await subtle.importKey("pkcs8", pkcs8, ALGORITHM, false, ["sign"])
    const isForever = identity.kind === "machine"
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber: serialNumber(),
      subject: `CN=${nameOf(identity)}`,
      issuer: new x509.X509Certificate(this.certificate).subjectName,
      notBefore: TIME_BEGINS,
      notAfter: isForever ? TIME_ENDS : new Date(Date.now() + OPERATOR_DAYS * DAY_MS),
      signingAlgorithm: ALGORITHM,
      publicKey: new x509.PublicKey(subjectKey.export({ type: "spki", format: "der" })),
      signingKey,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension(usagesOf(identity)),
        new x509.SubjectAlternativeNameExtension([{ type: "url", value: uri }]),
      ],
    })
    const pem = certificate.toString("pem")
    assert(pem.length <= PEM_BYTES_MAX, "authority: a certificate is bounded")
    return ok(`${pem}\n`)
  }

  /** A new key with its certificate, for whoever this process gives it to: an operator, or its own API. */
  async mintPair(identity: Identity): Promise<Result<KeyPair, MintError>> {
    const { publicKey, privateKey } = await makeKey()
    const minted = await this.mint(identity, publicKey)
    return minted.ok ? ok({ certificate: minted.value, key: privateKey }) : minted
  }
}

function parsePublicKey(pem: string): KeyObject | undefined {
  if (pem.length > PEM_BYTES_MAX) {
    return undefined
  }
  try {
    const key = createPublicKey(pem)
    const isOurs = key.asymmetricKeyType === "ec" && key.asymmetricKeyDetails?.namedCurve === "prime256v1"
    // A private key parses as its public half too: nobody should ever send us one.
    return isOurs && pem.startsWith("-----BEGIN PUBLIC KEY-----") ? key : undefined
  } catch {
    return undefined
  }
}

function nameOf(identity: Identity): string {
  return identity.kind === "machine" ? identity.machine.replaceAll(":", "-") : identity.name
}

function usagesOf(identity: Identity): string[] {
  switch (identity.kind) {
    case "machine":
      return [SERVER_AUTHENTICATION, CLIENT_AUTHENTICATION]
    case "operator":
      return [CLIENT_AUTHENTICATION]
    case "server":
      return [SERVER_AUTHENTICATION]
  }
}

/** 127 random bits, positive as X.509 wants it. */
function serialNumber(): string {
  const bytes = randomBytes(SERIAL_BYTES)
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x01
  return bytes.toString("hex")
}

async function loadLibrary() {
  // The library's own needs this one, and says so only when it is missing.
  await import("reflect-metadata")
  const x509 = await import("@peculiar/x509")
  return { x509, subtle: webcrypto.subtle }
}
