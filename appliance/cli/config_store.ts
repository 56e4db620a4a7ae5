/**
 * What an operator keeps: contexts (where a site answers, and a key to be somebody there) in one file, and on the
 * machine of a boot server the authority beside it. Both are their owner's alone. Plane: control.
 */
import { mkdirSync } from "node:fs"
import { dirname, join } from "node:path"
import { isName } from "../keys/identity.ts"
import { describeKeyFileError, readKeyFile, writeKeyFile } from "../keys/key_file.ts"
import { PEM_BYTES_MAX } from "../keys/limits.ts"
import { err, ok, type Result } from "../types/result.ts"
import { CONFIG_BYTES_MAX, CONTEXTS_MAX } from "./limits.ts"

export type Environment = Readonly<Record<string, string | undefined>>

/** An operator's key and certificate, and the authority that answers are judged by; all PEM. */
export type Credentials = { readonly authority: string; readonly certificate: string; readonly key: string }

export type Context = Credentials & {
  readonly name: string
  /** Any machine of the cluster, as `--endpoint` takes it; "" until it is set. */
  readonly endpoint: string
  /** The boot server's operator API. */
  readonly boot_endpoint: string
}

export type Config = { readonly current: string; readonly contexts: readonly Context[] }

export type ConfigStoreError = { readonly kind: "config"; readonly text: string }

const EMPTY: Config = { current: "", contexts: [] }
const SCHEMA = 1

/** MANDALA_CONFIG, else the place that the desktop's rules name; undefined where there is no home. */
export function configPath(environment: Environment): string | undefined {
  const { MANDALA_CONFIG: file, XDG_CONFIG_HOME: config, HOME: home } = environment
  if (file !== undefined && file !== "") {
    return file
  }
  if (config !== undefined && config !== "") {
    return join(config, "mandala/config.json")
  }
  return home === undefined || home === "" ? undefined : join(home, ".config/mandala/config.json")
}

/** The authority's file, beside the contexts. */
export function authorityPath(environment: Environment): string | undefined {
  const path = configPath(environment)
  return path === undefined ? undefined : join(dirname(path), "authority.json")
}

/** No file is no context; a file that others can read, or that makes no sense, is an error. */
export function readConfig(path: string): Result<Config, ConfigStoreError> {
  const file = readKeyFile(path, CONFIG_BYTES_MAX)
  if (!file.ok) {
    return file.error.kind === "file_missing"
      ? ok(EMPTY)
      : err({ kind: "config", text: describeKeyFileError(file.error) })
  }
  const { current, contexts } = file.value
  const malformed = { kind: "config", text: `${path} is no file of contexts of this version` } as const
  if (typeof current !== "string" || !Array.isArray(contexts) || contexts.length > CONTEXTS_MAX) {
    return err(malformed)
  }
  const read: Context[] = []
  for (const value of contexts) {
    const context = parseContext(value)
    if (context === undefined) {
      return err(malformed)
    }
    read.push(context)
  }
  return ok({ current, contexts: read })
}

function parseContext(value: unknown): Context | undefined {
  const fields = new Map<string, unknown>(typeof value === "object" && value !== null ? Object.entries(value) : [])
  const text = (field: string): string | undefined => {
    const one = fields.get(field)
    return typeof one === "string" && one.length <= PEM_BYTES_MAX ? one : undefined
  }
  const name = text("name")
  const endpoint = text("endpoint")
  const bootEndpoint = text("boot_endpoint")
  const authority = text("authority")
  const certificate = text("certificate")
  const key = text("key")
  if (name === undefined || !isName(name) || endpoint === undefined || bootEndpoint === undefined) {
    return undefined
  }
  if (authority === undefined || certificate === undefined || key === undefined) {
    return undefined
  }
  return { name, endpoint, boot_endpoint: bootEndpoint, authority, certificate, key }
}

export function writeConfig(path: string, config: Config): Result<void, ConfigStoreError> {
  if (config.contexts.length > CONTEXTS_MAX) {
    return err({ kind: "config", text: `contexts_max is ${CONTEXTS_MAX}: remove one first` })
  }
  const made = makeDirectory(dirname(path))
  if (!made.ok) {
    return made
  }
  const written = writeKeyFile(path, { schema: SCHEMA, ...config })
  return written.ok ? ok(undefined) : err({ kind: "config", text: describeKeyFileError(written.error) })
}

/** Only its owner may look into the directory. */
export function makeDirectory(directory: string): Result<void, ConfigStoreError> {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    return ok(undefined)
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    return err({ kind: "config", text: `${directory} cannot be made: ${why}` })
  }
}

/** The config with `context` in it, in the place of the one of its name; the first is the current one. */
export function withContext(config: Config, context: Context): Config {
  const others = config.contexts.filter(({ name }) => name !== context.name)
  return { current: config.current === "" ? context.name : config.current, contexts: [...others, context] }
}

/** The context that counts: named by flag, else by MANDALA_CONTEXT, else the current one. None is no error. */
export function chooseContext(
  name: string | undefined,
  environment: Environment,
): Result<Context | undefined, ConfigStoreError> {
  const path = configPath(environment)
  const config = path === undefined ? ok(EMPTY) : readConfig(path)
  if (!config.ok) {
    return config
  }
  const named = environment["MANDALA_CONTEXT"]
  const wanted = name ?? (named === undefined || named === "" ? config.value.current : named)
  const found = config.value.contexts.find((context) => context.name === wanted)
  if (found === undefined && wanted !== "") {
    const names = config.value.contexts.map((context) => context.name).join(", ") || "none"
    return err({ kind: "config", text: `there is no context '${wanted}'; there are: ${names}` })
  }
  return ok(found)
}
