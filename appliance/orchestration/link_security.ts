/**
 * What makes a link private and its ends known: TLS 1.3 with a certificate at both ends, and nothing older or plainer.
 * No session is ever resumed and nothing is said before the handshake is over, so there is nothing to replay.
 * Plane: control.
 */
import { constants, type X509Certificate } from "node:crypto"
import { connect, type ConnectionOptions, createServer, type Server, type TLSSocket } from "node:tls"
import type { MachineIdentity } from "../keys/identity.ts"
import { type Distrust, parseCertificate, Trust } from "../keys/trust.ts"
import { err, ok, type Result } from "../types/result.ts"

/** Why there was no handshake, or none that counts. */
export type HandshakeError =
  | Distrust
  /** Something else than TLS was said: a plain hello, HTTP, or noise. */
  | "not_tls"
  /** An older TLS than 1.3, or ciphers that are not in it. */
  | "old_tls"
  /** It did not end in time. */
  | "handshake_slow"
  | "handshake_failed"

/** This machine's own key and certificate, and the authority's certificate; all PEM. */
export type MachineKeys = { readonly authority: string; readonly certificate: string; readonly key: string }

/** How a link is read: into whose buffer, and whom to tell. */
export type OnRead = {
  readonly buffer: () => Uint8Array
  readonly callback: (bytes: number, buffer: Uint8Array) => boolean
}

const TLS_ONLY = {
  minVersion: "TLSv1.3",
  maxVersion: "TLSv1.3",
  requestCert: true,
  // Without tickets a session could only be resumed from a store, and there is none.
  secureOptions: constants.SSL_OP_NO_TICKET,
} as const

export class LinkSecurity {
  readonly identity: MachineIdentity
  readonly trust: Trust
  readonly #keys: MachineKeys

  private constructor(identity: MachineIdentity, trust: Trust, keys: MachineKeys) {
    this.identity = identity
    this.trust = trust
    this.#keys = keys
  }

  /** An error when the keys are not those of a machine of this cluster. */
  static create(
    keys: MachineKeys,
    own: { readonly cluster_id: string; readonly now: () => number },
  ): Result<LinkSecurity, Distrust | "unusable"> {
    const authority = parseCertificate(keys.authority)
    const certificate = parseCertificate(keys.certificate)
    if (authority === undefined || certificate === undefined) {
      return err("unusable")
    }
    const trust = new Trust({ authority, cluster_id: own.cluster_id, now: own.now })
    const identified = trust.identify(certificate)
    if (!identified.ok) {
      return err(identified.error)
    }
    const identity = identified.value
    if (identity.kind !== "machine" || identity.cluster_id !== own.cluster_id) {
      return err("wrong_identity")
    }
    return ok(new LinkSecurity(identity, trust, keys))
  }

  get keys(): MachineKeys {
    return this.#keys
  }

  /**
   * Who brings no certificate is let through the handshake and refused behind it, so that it can be said why; `judge`
   * must be asked about every socket.
   */
  createServer(options: { readonly handshakeMs: number }, onSocket: (socket: TLSSocket) => void): Server {
    const { authority: ca, certificate: cert, key } = this.#keys
    return createServer(
      { ...TLS_ONLY, ca, cert, key, rejectUnauthorized: false, noDelay: true, handshakeTimeout: options.handshakeMs },
      onSocket,
    )
  }

  dial(place: { readonly address: string; readonly port: number }, onread: OnRead): TLSSocket {
    const { authority: ca, certificate: cert, key } = this.#keys
    // Node hands `onread` on to the socket as net.connect does; its types don't say so.
    const options: ConnectionOptions & { readonly onread: OnRead } = {
      ...TLS_ONLY,
      ca,
      cert,
      key,
      host: place.address,
      port: place.port,
      rejectUnauthorized: true,
      // Machines have no names here: `judge` compares who they are.
      checkServerIdentity: () => undefined,
      onread,
    }
    const socket = connect(options)
    socket.setNoDelay(true)
    return socket
  }

  /** Whether the other end is of our authority at all; before it has said a word. */
  identify(socket: TLSSocket): HandshakeError | "ok" {
    const identified = this.trust.identify(peerOf(socket))
    if (!identified.ok) {
      return identified.error
    }
    // Both must agree: OpenSSL, which also knows that the other has the key, and we.
    return socket.authorized && socket.getProtocol() === "TLSv1.3" ? "ok" : "handshake_failed"
  }

  /** Whether the other end is the machine that may be in `slot` now. */
  judge(socket: TLSSocket, slot: number): HandshakeError | "ok" {
    const identified = this.identify(socket)
    return identified === "ok" ? this.trust.judgePeer(peerOf(socket), slot) : identified
  }
}

/**
 * At a client's end Node 24 takes the certificate out of OpenSSL's chain as it hands it out, and knows none when it is
 * asked again: so it is asked once a socket.
 */
const peers = new WeakMap<TLSSocket, X509Certificate>()

function peerOf(socket: TLSSocket): X509Certificate | undefined {
  const known = peers.get(socket) ?? socket.getPeerX509Certificate()
  if (known !== undefined) {
    peers.set(socket, known)
  }
  return known
}

/** What an error of a handshake says, by the name under which it is counted; undefined for none of TLS. */
export function handshakeErrorOf(error: Error): HandshakeError | undefined {
  const code = "code" in error && typeof error.code === "string" ? error.code : ""
  switch (code) {
    case "ERR_TLS_HANDSHAKE_TIMEOUT":
      return "handshake_slow"
    case "ERR_SSL_WRONG_VERSION_NUMBER":
    case "ERR_SSL_HTTP_REQUEST":
    case "ERR_SSL_HTTPS_PROXY_REQUEST":
    case "ERR_SSL_PACKET_LENGTH_TOO_LONG":
    case "ERR_SSL_BAD_RECORD_TYPE":
    case "ERR_SSL_UNKNOWN_PROTOCOL":
      return "not_tls"
    case "ERR_SSL_UNSUPPORTED_PROTOCOL":
    case "ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION":
    case "ERR_SSL_NO_SHARED_CIPHER":
      return "old_tls"
    case "CERT_HAS_EXPIRED":
    case "CERT_NOT_YET_VALID":
      return "expired"
    case "SELF_SIGNED_CERT_IN_CHAIN":
    case "DEPTH_ZERO_SELF_SIGNED_CERT":
    case "UNABLE_TO_VERIFY_LEAF_SIGNATURE":
    case "UNABLE_TO_GET_ISSUER_CERT":
    case "UNABLE_TO_GET_ISSUER_CERT_LOCALLY":
    case "CERT_SIGNATURE_FAILURE":
      return "wrong_authority"
    default:
      return code.startsWith("ERR_SSL") || code.startsWith("ERR_TLS") || code === "EPROTO"
        ? "handshake_failed"
        : undefined
  }
}
