/** `sbom.json`: every component of an image with its version, hash and licence, as CycloneDX 1.5. Plane: control. */
import { assert } from "../appliance/types/assert.ts"
import { sha256 } from "./files.ts"
import type { Flavour, ImageInput } from "./manifest.ts"

/** An npm package of which something is in the bundle. */
export type BundledPackage = { readonly name: string; readonly version: string; readonly license: string }

type Component = {
  readonly type: "operating-system" | "library" | "application"
  readonly name: string
  readonly version: string
  readonly purl?: string
  readonly hashes?: readonly [{ readonly alg: "SHA-256"; readonly content: string }]
  readonly licenses: readonly [{ readonly expression: string }]
}

/** Debian's copyright files say these in prose; which one holds was read there once. */
const LICENCE_OF_PACKAGE: readonly (readonly [RegExp, string])[] = [
  [/^linux-(image|modules|source)-/, "GPL-2.0-only WITH Linux-syscall-note"],
  [/^libc6$/, "LGPL-2.1-or-later"],
  [/^(libstdc\+\+6|libgcc-s1|libatomic1)$/, "GPL-3.0-or-later WITH GCC-exception-3.1"],
  [/^musl/, "MIT"],
  [/^systemd-boot-efi$/, "LGPL-2.1-or-later"],
]
const OWN_LICENCE = "MIT"

export type SBOMContent = {
  readonly flavour: Flavour
  /** The image's key: two builds of one key have the same list. */
  readonly key: string
  readonly inputs: readonly ImageInput[]
  readonly bundled: readonly BundledPackage[]
}

/** The licence of a Debian package that an image takes files of; undefined for one that nobody has looked at. */
export function licenceOf(packageName: string): string | undefined {
  return LICENCE_OF_PACKAGE.find(([pattern]) => pattern.test(packageName))?.[1]
}

/** Without a date: the same image has the same list. */
export function encodeSBOM(content: SBOMContent): string {
  assert(/^[0-9a-f]{64}$/.test(content.key), "sbom: the key of an image is a SHA-256")
  const components = [...debianComponents(content.inputs), ...npmComponents(content), ...ownComponents(content.inputs)]
  const document = {
    bomFormat: "CycloneDX",
    specVersion: "1.5",
    serialNumber: uuidOf(`sbom ${content.key}`),
    version: 1,
    metadata: {
      component: { type: "firmware", name: `mandala-${content.flavour}`, version: content.key.slice(0, 16) },
    },
    components: components.sort((a, b) => (a.name < b.name ? -1 : 1)),
  }
  return `${JSON.stringify(document, undefined, 2)}\n`
}

/** In the form of a name-based UUID. */
function uuidOf(text: string): string {
  const digits = sha256(text)
  const third = `5${digits.slice(13, 16)}`
  const fourth = `a${digits.slice(17, 20)}`
  return `urn:uuid:${digits.slice(0, 8)}-${digits.slice(8, 12)}-${third}-${fourth}-${digits.slice(20, 32)}`
}

/** One for each package, however many of its files are in the image; the hash is that of the first. */
function debianComponents(inputs: readonly ImageInput[]): Component[] {
  const components = new Map<string, Component>()
  for (const input of inputs) {
    // Linked into /init, so it is inside, though only a tool brought it.
    const isLinked = input.kind === "tool" && input.name === "musl-gcc"
    if ((input.kind !== "debian_package" && !isLinked) || components.has(input.name)) {
      continue
    }
    const name = isLinked ? "musl" : input.name
    const version = isLinked ? (/^\S+ (\S+),/.exec(input.version)?.[1] ?? "unknown") : input.version
    components.set(input.name, {
      type: name.startsWith("linux-") ? "operating-system" : "library",
      name,
      version,
      purl: `pkg:deb/debian/${encodeURIComponent(name)}@${encodeURIComponent(version)}?arch=amd64`,
      ...(isLinked ? {} : { hashes: [{ alg: "SHA-256", content: input.sha256 }] as const }),
      licenses: [{ expression: licenceOf(name) ?? "LicenseRef-see-debian-copyright" }],
    })
  }
  return [...components.values()]
}

function npmComponents(content: SBOMContent): Component[] {
  const node = content.inputs
    .filter((input) => input.kind === "npm_package")
    .map((input): Component => {
      return {
        type: "application",
        name: "node",
        version: input.version,
        purl: `pkg:npm/${input.name}@${input.version}`,
        hashes: [{ alg: "SHA-256", content: input.sha256 }],
        licenses: [{ expression: "MIT" }],
      }
    })
  const bundled = content.bundled.map((one): Component => {
    return {
      type: "library",
      name: one.name,
      version: one.version,
      purl: `pkg:npm/${one.name.replace("@", "%40")}@${one.version}`,
      licenses: [{ expression: one.license }],
    }
  })
  return [...node, ...bundled]
}

function ownComponents(inputs: readonly ImageInput[]): Component[] {
  return inputs
    .filter((input) => input.kind === "bundle" || (input.kind === "source" && input.file === "init"))
    .map((input) => ({
      type: "application",
      name: `mandala ${input.name}`,
      version: input.sha256.slice(0, 16),
      hashes: [{ alg: "SHA-256", content: input.sha256 }],
      licenses: [{ expression: OWN_LICENCE }],
    }))
}
