/** Keys as this process makes and keeps them. Plane: control. */
import { createPrivateKey, createPublicKey, webcrypto } from "node:crypto"

/** A certificate and the key it speaks of, as PEM. */
export type KeyPair = { readonly certificate: string; readonly key: string }

/** A fresh key of the one kind that we use, both halves as PEM. */
export async function makeKey(): Promise<{ readonly publicKey: string; readonly privateKey: string }> {
  const { subtle } = webcrypto
  const keys = await subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"])
  const pkcs8 = Buffer.from(await subtle.exportKey("pkcs8", keys.privateKey))
  const privateKey = createPrivateKey({ key: pkcs8, format: "der", type: "pkcs8" })
  return {
    publicKey: createPublicKey(privateKey).export({ type: "spki", format: "pem" }).toString(),
    privateKey: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
  }
}
