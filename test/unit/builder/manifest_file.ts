/** A manifest for tests, and an image of three short files that it describes. Plane: control. */
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { describeFile } from "../../../builder/archives.ts"
import { encodeManifest, type ImageManifest, MANIFEST_SCHEMA, OUTPUT_NAMES } from "../../../builder/manifest.ts"

export const OUTPUTS = { kernel: "a kernel", "init.img": "an init", "base.img": "a base" } as const

export const MANIFEST: ImageManifest = {
  schema: MANIFEST_SCHEMA,
  key: "01".repeat(32),
  image_id: "23".repeat(32),
  flavour: "hardware",
  compression: "fast",
  kernel_release: "6.1.0-56-amd64",
  ram_need_bytes: 486_128_128,
  unpacked_bytes: 117_028_864,
  inputs: [
    { kind: "debian_package", name: "libc6", version: "2.36-9", file: "lib/libc.so.6", sha256: "45".repeat(32) },
  ],
  unlocked: ["libc6: 2.36-9, not 2.36-8"],
  sbom: { path: "sbom.json", bytes: 3, sha256: "89".repeat(32) },
  outputs: OUTPUT_NAMES.map((name) => describeFile(name, Buffer.from(OUTPUTS[name]))),
  programs: [],
  base_files: [{ path: "bin/node", bytes: 3, sha256: "67".repeat(32) }],
  modules: { loadable: ["e1000"], builtin: ["virtio_net"], absent: ["tg3"] },
}

export function writeImageFiles(directory: string): void {
  mkdirSync(directory, { recursive: true })
  for (const name of OUTPUT_NAMES) {
    writeFileSync(join(directory, name), OUTPUTS[name])
  }
  writeFileSync(join(directory, "manifest.json"), encodeManifest(MANIFEST))
}
