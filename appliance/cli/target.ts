/** Whom a command asks, and as whom: flag before environment before the context's file. Plane: control. */
import { err, ok, type Result } from "../types/result.ts"
import { chooseEndpoint, type EndpointError } from "./api_client.ts"
import { chooseContext, type ConfigStoreError, type Credentials, type Environment } from "./config_store.ts"

export type Target = { readonly endpoint: URL; readonly credentials: Credentials | undefined }

export type TargetOptions = {
  readonly endpoint?: string
  readonly context?: string
  /** Machines of the cluster, or the boot server. */
  readonly place?: "cluster" | "boot"
}

export function chooseTarget(
  options: TargetOptions,
  environment: Environment,
): Result<Target, EndpointError | ConfigStoreError> {
  const chosen = chooseContext(options.context, environment)
  if (!chosen.ok) {
    return chosen
  }
  const context = chosen.value
  const isBoot = options.place === "boot"
  const variable = isBoot ? "MANDALA_BOOT_ENDPOINT" : "MANDALA_ENDPOINT"
  const kept = isBoot ? context?.boot_endpoint : context?.endpoint
  const endpoint = chooseEndpoint({
    flag: options.endpoint,
    environment: environment[variable],
    variable,
    kept: kept === "" ? undefined : kept,
    isSecured: context !== undefined,
  })
  if (!endpoint.ok) {
    return endpoint
  }
  if (endpoint.value.protocol === "https:" && context === undefined) {
    return err({ kind: "endpoint", text: `${endpoint.value.origin} needs a key: there is no context (mandala config)` })
  }
  const credentials = endpoint.value.protocol === "https:" ? context : undefined
  return ok({ endpoint: endpoint.value, credentials })
}
