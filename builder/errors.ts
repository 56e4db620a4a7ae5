/** The closed catalogue of what can fail in a build, each with the line that says what to do. Plane: control. */
import { unreachable } from "../appliance/types/assert.ts"

export type BuildError =
  | { readonly kind: "package_unavailable"; readonly package: string }
  | { readonly kind: "apt_refused"; readonly package: string; readonly detail: string }
  | { readonly kind: "tool_missing"; readonly tool: string }
  | { readonly kind: "tool_failed"; readonly tool: string; readonly detail: string }
  | { readonly kind: "disk_full"; readonly path: string }
  | { readonly kind: "file_failed"; readonly path: string; readonly detail: string }
  | { readonly kind: "hash_changed"; readonly name: string; readonly expected: string; readonly found: string }
  | { readonly kind: "input_missing"; readonly path: string; readonly advice: string }
  | { readonly kind: "input_invalid"; readonly path: string; readonly detail: string }
  | { readonly kind: "library_missing"; readonly library: string }
  | { readonly kind: "module_missing"; readonly module: string; readonly package: string }
  | { readonly kind: "bundle_failed"; readonly detail: string }
  | { readonly kind: "limit_exceeded"; readonly limit: string; readonly maximum: number; readonly found: number }
  | { readonly kind: "lock_differs"; readonly name: string; readonly locked: string; readonly found: string }
  | { readonly kind: "interrupted" }

/** Which Debian package brings a tool that the build runs. */
const PACKAGE_OF_TOOL: ReadonlyMap<string, string> = new Map([
  ["musl-gcc", "musl-tools"],
  ["gcc", "gcc"],
  ["strip", "binutils"],
  ["ld", "binutils"],
  ["make", "make"],
  ["flex", "flex"],
  ["bison", "bison"],
  ["bc", "bc"],
  ["tar", "tar"],
  ["nice", "coreutils"],
  ["xz", "xz-utils"],
  ["dpkg-deb", "dpkg"],
  ["apt-get", "apt"],
  ["apt-cache", "apt"],
])

/** One line for a person: what happened and what to do about it. */
export function describeBuildError(error: BuildError): string {
  switch (error.kind) {
    case "package_unavailable":
      return `the package ${error.package} is not known to apt: run "sudo apt-get update" and try again`
    case "apt_refused":
      return `apt did not give ${error.package}: ${error.detail}; check the network, run "sudo apt-get update"`
    case "tool_missing": {
      const name = PACKAGE_OF_TOOL.get(error.tool) ?? error.tool
      return `${error.tool} is not installed: run "sudo apt-get install ${name}"`
    }
    case "tool_failed":
      return `${error.tool} failed: ${error.detail}`
    case "disk_full":
      return `no space left for ${error.path}: free some, or give another directory`
    case "file_failed":
      return `${error.path} cannot be read or written (${error.detail}): look at who may, and try again`
    case "hash_changed":
      return (
        `${error.name} is not what was promised (sha256 ${error.found}, expected ${error.expected}): ` +
        "do not use it; remove it and build again"
      )
    case "input_missing":
      return `${error.path} is missing: ${error.advice}`
    case "input_invalid":
      return `${error.path} is not usable: ${error.detail}`
    case "library_missing":
      return `the library ${error.library}, which Node needs, was not found on this machine`
    case "module_missing":
      return `${error.package} has no module ${error.module}, which the image requires (images/FLAVOUR/kernel.json)`
    case "bundle_failed":
      return `the program could not be bundled: ${error.detail}`
    case "limit_exceeded":
      return `${error.limit} is ${error.maximum}, and this build needs ${error.found}`
    case "lock_differs":
      return (
        `${error.name} is ${error.found}, and images/lock.json has ${error.locked}: ` +
        "install what is locked, or move the lock with --update"
      )
    case "interrupted":
      return "interrupted; nothing was written"
    default:
      return unreachable(error)
  }
}
