/**
 * What the boot server told this machine (node.json) and what /init found out about the network (network.json), each
 * validated by hand. Unknown keys are ignored: an older image must boot from a newer server. Plane: control.
 */
import { readFileSync, statSync } from "node:fs"
import { networkInterfaces } from "node:os"
import { CLUSTER_SIZES, type ClusterSize } from "../types/cluster_sizes.ts"
import { CLUSTER_LIMITS, VOTERS_MAX } from "../types/limits.ts"
import { err, ok, type Result } from "../types/result.ts"
import { ipv4Bytes } from "./hello.ts"
import { type FieldError, FieldReader, parseObject } from "./json_fields.ts"
import { ORCHESTRATION_LIMITS } from "./limits.ts"
import { ADDRESS_PATTERN, MACHINE_PATTERN, type Member, parseMember } from "./member.ts"

export type NodeConfig = {
  /** 32 hexadecimal digits. */
  readonly cluster_id: string
  readonly generation: number
  readonly epoch: number
  readonly machine: string
  readonly boot_id: string
  /** How often the boot server has seen this machine boot. */
  readonly boot_count: number
  readonly firmware: "unknown" | "bios" | "uefi"
  /** Null: a spare, which announces itself and waits. */
  readonly slot: number | null
  readonly voters: number
  /** The cluster's limits, chosen when it was founded; small where the file says nothing. */
  readonly size: ClusterSize
  /** The larger size that this machine has room for, when its cluster grows; null for none. */
  readonly grow_to: ClusterSize | null
  /** 32 hexadecimal digits while the cluster is to be founded; "" afterwards. */
  readonly formation_token: string
  /** http://address:port, or "" where there is none. */
  readonly boot_server: string
  /** Members that are known beforehand; otherwise the boot server's answers name them. */
  readonly members: readonly Member[]
}

export type ConfigError =
  | { readonly kind: "config_missing"; readonly path: string }
  | { readonly kind: "config_unreadable"; readonly path: string; readonly detail: string }
  | { readonly kind: "config_too_large"; readonly path: string; readonly bytes_max: number }
  | { readonly kind: "config_not_json"; readonly path: string }
  | { readonly kind: "config_bad_field"; readonly path: string; readonly field: string }
  | { readonly kind: "no_address" }

export function describeConfigError(error: ConfigError): string {
  switch (error.kind) {
    case "config_missing":
      return `${error.path} does not exist: the boot server writes it; elsewhere give --node or MANDALA_NODE_JSON`
    case "config_unreadable":
      return `${error.path} cannot be read: ${error.detail}`
    case "config_too_large":
      return `${error.path} is longer than ${error.bytes_max} bytes`
    case "config_not_json":
      return `${error.path} is not a JSON object`
    case "config_bad_field":
      return `${error.path} has no usable "${error.field}"`
    case "no_address":
      return "this machine has no IPv4 address: give one with --advertise"
  }
}

const HEX_128 = /^[0-9a-f]{32}$/
const HEX_128_OR_EMPTY = /^([0-9a-f]{32})?$/
const BOOT_ID_PATTERN = /^[A-Za-z0-9_-]{0,64}$/
const BOOT_SERVER_PATTERN = /^(http:\/\/[0-9a-zA-Z.-]{1,253}:[0-9]{1,5})?$/
const U32_MAX = 0xffff_ffff
const VOTERS = [1, 3, 5, 7]

export function readNodeConfig(path: string): Result<NodeConfig, ConfigError> {
  const text = readBounded(path, ORCHESTRATION_LIMITS.node_json_bytes_max)
  if (!text.ok) {
    return text
  }
  const config = parseNodeConfig(text.value)
  return config.ok ? config : err(withPath(config.error, path))
}

export function parseNodeConfig(text: string): Result<NodeConfig, FieldError> {
  const object = parseObject(text)
  if (!object.ok) {
    return object
  }
  const fields = new FieldReader(object.value)
  fields.optionalInteger("schema", { min: 1, max: 1, otherwise: 1 })
  const slot =
    object.value["slot"] === null ? null : fields.integer("slot", { min: 0, max: CLUSTER_LIMITS.slots_max - 1 })
  const voters = fields.integer("voters", { min: 1, max: VOTERS_MAX })
  if (!VOTERS.includes(voters)) {
    fields.fail("voters")
  }
  const members: Member[] = []
  for (const value of fields.list("members", CLUSTER_LIMITS.slots_max)) {
    const member = parseMember(value)
    if (member === undefined) {
      fields.fail("members")
    } else {
      members.push(member)
    }
  }
  const config: NodeConfig = {
    cluster_id: fields.text("cluster_id", HEX_128),
    generation: fields.integer("generation", { min: 0, max: U32_MAX }),
    epoch: fields.optionalInteger("epoch", { min: 0, max: U32_MAX, otherwise: 0 }),
    machine: fields.text("machine", MACHINE_PATTERN),
    boot_id: fields.optionalText("boot_id", BOOT_ID_PATTERN, ""),
    boot_count: fields.optionalInteger("boot_count", { min: 0, max: U32_MAX, otherwise: 0 }),
    firmware: firmwareOf(fields.optionalText("firmware", /^(unknown|bios|uefi)$/, "unknown")),
    slot,
    voters,
    size: readSize(fields, "size") ?? "small",
    grow_to: object.value["grow_to"] === null ? null : (readSize(fields, "grow_to") ?? null),
    formation_token: fields.optionalText("formation_token", HEX_128_OR_EMPTY, ""),
    boot_server: fields.optionalText("boot_server", BOOT_SERVER_PATTERN, ""),
    members,
  }
  return fields.error === undefined ? ok(config) : err(fields.error)
}

/** Undefined where nothing is said. */
function readSize(fields: FieldReader, name: "size" | "grow_to"): ClusterSize | undefined {
  const text = fields.optionalText(name, /^[a-z]+$/, "")
  const size = CLUSTER_SIZES.find((one) => one === text)
  if (size === undefined && text !== "") {
    fields.fail(name)
  }
  return size
}

function firmwareOf(text: string): NodeConfig["firmware"] {
  return text === "bios" || text === "uefi" ? text : "unknown"
}

export type NetworkFacts = { readonly interface: string; readonly address: string; readonly mac: string }

/** What /init wrote; without the file, the first address of the machine that is not loopback. */
export function readNetworkFacts(path: string): Result<NetworkFacts, ConfigError> {
  const text = readBounded(path, ORCHESTRATION_LIMITS.network_json_bytes_max)
  if (!text.ok) {
    return text.error.kind === "config_missing" ? factsFromSystem() : text
  }
  const object = parseObject(text.value)
  if (!object.ok) {
    return err(withPath(object.error, path))
  }
  const fields = new FieldReader(object.value)
  const facts = {
    interface: fields.text("interface", /^[A-Za-z0-9_.@-]{1,15}$/),
    address: fields.text("address", ADDRESS_PATTERN),
    mac: fields.text("mac", /^[0-9a-f]{2}([:-][0-9a-f]{2}){5}$/),
  }
  if (ipv4Bytes(facts.address) === undefined) {
    fields.fail("address")
  }
  return fields.error === undefined ? ok(facts) : err(withPath(fields.error, path))
}

function factsFromSystem(): Result<NetworkFacts, ConfigError> {
  for (const [name, addresses] of Object.entries(networkInterfaces())) {
    for (const address of addresses ?? []) {
      if (address.family === "IPv4" && !address.internal) {
        return ok({ interface: name, address: address.address, mac: address.mac })
      }
    }
  }
  return err({ kind: "no_address" })
}

function readBounded(path: string, bytesMax: number): Result<string, ConfigError> {
  try {
    if (statSync(path).size > bytesMax) {
      return err({ kind: "config_too_large", path, bytes_max: bytesMax })
    }
    return ok(readFileSync(path, "utf8"))
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause)
    return code === "ENOENT"
      ? err({ kind: "config_missing", path })
      : err({ kind: "config_unreadable", path, detail: code })
  }
}

function withPath(error: FieldError, path: string): ConfigError {
  return error.kind === "not_json"
    ? { kind: "config_not_json", path }
    : { kind: "config_bad_field", path, field: error.field }
}
