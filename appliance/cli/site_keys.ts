/**
 * The keys of a site on the machine of its boot server: the authority, made when there is none, and a context with an
 * admin's key for whoever started it. Who has the authority's file can mint; a boot server that is lost is replaced by
 * another that is given it. Plane: control.
 */
import { dirname } from "node:path"
import { Authority } from "../keys/authority.ts"
import type { MachineIdentity } from "../keys/identity.ts"
import { describeKeyFileError, readKeyFile, writeKeyFile } from "../keys/key_file.ts"
import type { KeyPair } from "../keys/key_pair.ts"
import { parseSignedRoster, type Roster, verifyRoster } from "../keys/roster.ts"
import { err, ok, type Result } from "../types/result.ts"
import {
  authorityPath,
  configPath,
  type ConfigStoreError,
  type Environment,
  makeDirectory,
  readConfig,
  withContext,
  writeConfig,
} from "./config_store.ts"

export type Site = {
  readonly authority: Authority
  /** For the boot server's own API. */
  readonly server: KeyPair
  /** What was made just now, for the person who started this; one line each. */
  readonly made: readonly string[]
}

const CONTEXT = "default"
const OPERATOR = "admin"
const SERVER = "boot-server"
const SCHEMA = 1

export async function openSite(options: {
  readonly environment: Environment
  /** The authority's file; undefined for the usual place. */
  readonly file: string | undefined
  /** Where the boot server's API answers. */
  readonly bootEndpoint: string
}): Promise<Result<Site, ConfigStoreError>> {
  const { environment } = options
  const path = options.file ?? authorityPath(environment)
  if (path === undefined) {
    return err({ kind: "config", text: "there is no home directory to keep the authority in: give --authority FILE" })
  }
  const opened = await openAuthority(path)
  if (!opened.ok) {
    return opened
  }
  const { authority, isNew } = opened.value
  const server = await authority.mintPair({ kind: "server", name: SERVER })
  if (!server.ok) {
    return err({ kind: "config", text: `the authority in ${path} makes no certificates: ${server.error}` })
  }
  const made = isNew
    ? [`made the site's authority, ${path}: who has it can let machines join; keep a copy elsewhere`]
    : []
  const context = await keepContext(authority, options)
  return context.ok ? ok({ authority, server: server.value, made: [...made, ...context.value] }) : context
}

/** The authority as a boot server may use it (pxe/keys_port.ts): it signs and mints, and its key stays here. */
export function keysPort(authority: Authority) {
  const { publicKey } = authority.x509
  return {
    certificate: authority.certificate,
    mint: (identity: Omit<MachineIdentity, "kind">, key: string) =>
      authority.mint({ ...identity, kind: "machine" }, key),
    sign: (roster: Roster) => authority.sign(roster),
    read: (value: unknown): Roster | undefined => {
      const signed = parseSignedRoster(value)
      const roster = signed === undefined ? undefined : verifyRoster(signed, publicKey)
      return roster?.ok === true ? roster.value : undefined
    },
  }
}

async function openAuthority(
  path: string,
): Promise<Result<{ readonly authority: Authority; readonly isNew: boolean }, ConfigStoreError>> {
  const kept = readKeyFile(path)
  if (kept.ok) {
    const { certificate, key } = kept.value
    const isText = typeof certificate === "string" && typeof key === "string"
    const authority = isText ? Authority.parse({ certificate, key }) : undefined
    return authority === undefined
      ? err({ kind: "config", text: `${path} is no authority of a site` })
      : ok({ authority, isNew: false })
  }
  if (kept.error.kind !== "file_missing") {
    return err({ kind: "config", text: describeKeyFileError(kept.error) })
  }
  const directory = makeDirectory(dirname(path))
  if (!directory.ok) {
    return directory
  }
  const authority = await Authority.create()
  const written = writeKeyFile(path, { schema: SCHEMA, ...authority.toText() })
  return written.ok
    ? ok({ authority, isNew: true })
    : err({ kind: "config", text: describeKeyFileError(written.error) })
}

/** A context of this authority stays as it is, but for where the boot server is now. */
async function keepContext(
  authority: Authority,
  { environment, bootEndpoint }: { readonly environment: Environment; readonly bootEndpoint: string },
): Promise<Result<readonly string[], ConfigStoreError>> {
  const path = configPath(environment)
  if (path === undefined) {
    return ok([])
  }
  const config = readConfig(path)
  if (!config.ok) {
    return config
  }
  const known = config.value.contexts.find((context) => context.authority === authority.certificate)
  if (known !== undefined) {
    const written = writeConfig(path, withContext(config.value, { ...known, boot_endpoint: bootEndpoint }))
    return written.ok ? ok([]) : written
  }
  const pair = await authority.mintPair({ kind: "operator", name: OPERATOR, role: "admin" })
  if (!pair.ok) {
    return err({ kind: "config", text: `the authority makes no certificates: ${pair.error}` })
  }
  const isTaken = config.value.contexts.some(({ name }) => name === CONTEXT)
  const name = isTaken ? `site-${config.value.contexts.length + 1}` : CONTEXT
  const context = { name, endpoint: "", boot_endpoint: bootEndpoint, authority: authority.certificate, ...pair.value }
  const written = writeConfig(path, withContext(config.value, context))
  return written.ok ? ok([`made a context with an admin's key: '${name}' in ${path}`]) : written
}
