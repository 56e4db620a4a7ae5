/** What apt says of a package. Plane: control. */
import { expect, test } from "vitest"
import { parseStanza } from "../../../builder/debian.ts"

const STANZA = `Package: linux-image-amd64
Version: 6.1.192-2
Depends: linux-image-6.1.0-56-amd64 (= 6.1.192-2), initramfs-tools (>= 0.120) | linux-initramfs-tool
Description: Linux for 64-bit PCs
 Depends: not a field
SHA256: ${"ab".repeat(32)}
`

test("name, version, hash and the names it depends on", () => {
  expect(parseStanza(STANZA, "linux-image-amd64")).toEqual({
    name: "linux-image-amd64",
    version: "6.1.192-2",
    sha256: "ab".repeat(32),
    depends: ["linux-image-6.1.0-56-amd64", "initramfs-tools", "linux-initramfs-tool"],
  })
})

test("only the first stanza counts", () => {
  const two = `${STANZA}\nPackage: linux-image-amd64\nVersion: 5\nSHA256: ${"cd".repeat(32)}\n`
  expect(parseStanza(two, "linux-image-amd64")?.version).toBe("6.1.192-2")
})

test.each([
  ["another package", STANZA.replace("Package: linux-image-amd64", "Package: linux-image-arm64")],
  ["no version", STANZA.replace("Version:", "Edition:")],
  ["a hash that is none", STANZA.replace("abab", "")],
  ["nothing", ""],
])("%s is no answer", (_, text) => {
  expect(parseStanza(text, "linux-image-amd64")).toBeUndefined()
})
