/**
 * Encrypted exports: a random key of each file, wrapped for whoever may open it, and blocks that are sealed one by one
 * (ChaCha20-Poly1305; the nonce is the block's number, and whether it is the last, so that none can be left out, moved
 * or put at the end). All that stands before the blocks is what every block is bound to. Plane: control.
 */
import {
  argon2Sync,
  createCipheriv,
  createDecipheriv,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
  randomBytes,
} from "node:crypto"
import { assert } from "../types/assert.ts"
import { err, ok, type Result } from "../types/result.ts"
import type { ArchiveError } from "./errors.ts"
import type { Encryption, Recipient } from "./header.ts"
import { ARGON2_MEMORY_KIB, ARGON2_PASSES } from "./limits.ts"

const CIPHER = "chacha20-poly1305"
const KEY_BYTES = 32
const NONCE_BYTES = 12
const TAG_BYTES = 16
const WRAP_INFO = "mandala export x25519"
/** SubjectPublicKeyInfo of a raw X25519 key. */
const SPKI_PREFIX = Buffer.from("302a300506032b656e032100", "hex")

/** Whom a file is for, or as whom it is opened. */
export type SealFor = { readonly passphrase?: string; readonly recipients?: readonly KeyObject[] }
export type OpenWith = { readonly passphrase?: string; readonly identity?: KeyObject }

export function readKey(pem: string, kind: "public" | "private"): Result<KeyObject, ArchiveError> {
  try {
    const key = kind === "public" ? createPublicKey(pem) : createPrivateKey(pem)
    return key.asymmetricKeyType === "x25519"
      ? ok(key)
      : err({ kind: "wrong_key", text: "the key is none of X25519: openssl genpkey -algorithm X25519" })
  } catch {
    return err({ kind: "wrong_key", text: `this is no ${kind} key in PEM` })
  }
}

export function makeKey(to: SealFor): { readonly key: Buffer; readonly encryption: Encryption } {
  const key = randomBytes(KEY_BYTES)
  const recipients: Recipient[] = (to.recipients ?? []).map((recipient) => wrapForKey(recipient, key))
  if (to.passphrase !== undefined) {
    const salt = randomBytes(16)
    const [memoryKib, passes] = [ARGON2_MEMORY_KIB, ARGON2_PASSES]
    const wrapped = seal(
      stretch(to.passphrase, { salt, memory_kib: memoryKib, passes }),
      Buffer.alloc(NONCE_BYTES),
      key,
      salt,
    )
    const hex = { salt: salt.toString("hex"), wrapped: wrapped.toString("hex") }
    recipients.push({ kind: "passphrase", kdf: "argon2id", memory_kib: memoryKib, passes, ...hex })
  }
  assert(recipients.length > 0, "seal: a key is for somebody")
  return { key, encryption: { cipher: CIPHER, recipients } }
}

export function findKey({ recipients }: Encryption, who: OpenWith): Result<Buffer, ArchiveError> {
  const { passphrase, identity } = who
  for (const recipient of recipients) {
    const wrapped = Buffer.from(recipient.wrapped, "hex")
    let key: Buffer | undefined
    if (recipient.kind === "passphrase" && passphrase !== undefined) {
      const salt = Buffer.from(recipient.salt, "hex")
      key = open(stretch(passphrase, { ...recipient, salt }), Buffer.alloc(NONCE_BYTES), wrapped, salt)
    } else if (recipient.kind === "x25519" && identity !== undefined) {
      const ephemeral = Buffer.from(recipient.ephemeral, "hex")
      key = open(agree(identity, ephemeral, ephemeral), Buffer.alloc(NONCE_BYTES), wrapped, ephemeral)
    }
    if (key !== undefined) {
      return ok(key)
    }
  }
  if (passphrase === undefined && identity === undefined) {
    const kinds = recipients.map(({ kind }) => (kind === "passphrase" ? "its passphrase" : "a recipient's key"))
    return err({ kind: "key_needed", text: `it is encrypted: give ${kinds.join(" or ")}` })
  }
  return err({ kind: "wrong_key", text: "it is encrypted for another passphrase or key" })
}

export function sealBlock(
  key: Buffer,
  block: { number: number; isLast: boolean },
  plain: Buffer,
  bound: Buffer,
): Buffer {
  return seal(key, nonceOf(block), plain, bound)
}

export function openBlock(
  key: Buffer,
  block: { number: number; isLast: boolean },
  sealed: Buffer,
  bound: Buffer,
): Buffer | undefined {
  return open(key, nonceOf(block), sealed, bound)
}

function nonceOf({ number, isLast }: { number: number; isLast: boolean }): Buffer {
  const nonce = Buffer.alloc(NONCE_BYTES)
  nonce.writeUInt32LE(isLast ? 1 : 0, 0)
  nonce.writeUInt32LE(number, 4)
  return nonce
}

function seal(key: Buffer, nonce: Buffer, plain: Buffer, bound: Buffer): Buffer {
  const cipher = createCipheriv(CIPHER, key, nonce, { authTagLength: TAG_BYTES })
  cipher.setAAD(bound, { plaintextLength: plain.length })
  return Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()])
}

function open(key: Buffer, nonce: Buffer, sealed: Buffer, bound: Buffer): Buffer | undefined {
  if (sealed.length < TAG_BYTES) {
    return undefined
  }
  const text = sealed.subarray(0, sealed.length - TAG_BYTES)
  const decipher = createDecipheriv(CIPHER, key, nonce, { authTagLength: TAG_BYTES })
  decipher.setAAD(bound, { plaintextLength: text.length })
  decipher.setAuthTag(sealed.subarray(sealed.length - TAG_BYTES))
  try {
    return Buffer.concat([decipher.update(text), decipher.final()])
  } catch {
    // The tag is another: the key is, or what was sealed.
    return undefined
  }
}

function stretch(
  passphrase: string,
  { salt, memory_kib, passes }: { readonly salt: Buffer; readonly memory_kib: number; readonly passes: number },
): Buffer {
  // The same letters typed elsewhere may come composed otherwise.
  const message = passphrase.normalize("NFKC")
  return argon2Sync("argon2id", {
    message,
    nonce: salt,
    parallelism: 1,
    tagLength: KEY_BYTES,
    memory: memory_kib,
    passes,
  })
}

function wrapForKey(recipient: KeyObject, key: Buffer): Recipient {
  const pair = generateKeyPairSync("x25519")
  const ephemeral = rawOf(pair.publicKey)
  const wrapped = seal(agree(pair.privateKey, rawOf(recipient), ephemeral), Buffer.alloc(NONCE_BYTES), key, ephemeral)
  return { kind: "x25519", ephemeral: ephemeral.toString("hex"), wrapped: wrapped.toString("hex") }
}

function agree(privateKey: KeyObject, rawPublic: Buffer, salt: Buffer): Buffer {
  const publicKey = createPublicKey({ key: Buffer.concat([SPKI_PREFIX, rawPublic]), format: "der", type: "spki" })
  const shared = diffieHellman({ privateKey, publicKey })
  return Buffer.from(hkdfSync("sha256", shared, salt, WRAP_INFO, KEY_BYTES))
}

function rawOf(key: KeyObject): Buffer {
  const { x } = key.export({ format: "jwk" })
  return Buffer.from(x ?? "", "base64url")
}
