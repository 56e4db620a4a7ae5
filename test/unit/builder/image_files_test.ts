/** An image is read whole and as its manifest says, or not at all. Plane: control. */
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterEach, beforeEach, expect, test } from "vitest"
import { describeReadImageError, readImage } from "../../../builder/image_files.ts"
import { MANIFEST, OUTPUTS, writeImageFiles } from "./manifest_file.ts"

let directory = ""

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "mandala-image-"))
  writeImageFiles(directory)
})

afterEach(() => {
  rmSync(directory, { recursive: true })
})

test("the three files and the manifest", async () => {
  const image = await readImage(directory)
  expect(image).toEqual({
    ok: true,
    value: {
      kernel: Buffer.from(OUTPUTS.kernel),
      init: Buffer.from(OUTPUTS["init.img"]),
      base: Buffer.from(OUTPUTS["base.img"]),
      manifest: MANIFEST,
    },
  })
})

test.each(["kernel", "init.img", "base.img"])("%s that arrived short is refused", async (name) => {
  truncateSync(join(directory, name), 3)
  const path = join(directory, name)
  expect(await readImage(directory)).toEqual({ ok: false, error: { kind: "image_changed", path } })
})

test("a byte that changed is refused though the size is right", async () => {
  writeFileSync(join(directory, "base.img"), "a bare")
  expect(await readImage(directory)).toMatchObject({ ok: false, error: { kind: "image_changed" } })
})

test.each(["manifest.json", "kernel"])("without %s the advice is to build", async (name) => {
  rmSync(join(directory, name))
  const image = await readImage(directory)
  expect(!image.ok && describeReadImageError(image.error)).toContain('run "mandala build"')
})

test("a damaged manifest is refused", async () => {
  truncateSync(join(directory, "manifest.json"), 100)
  expect(await readImage(directory)).toEqual({ ok: false, error: { kind: "manifest_not_json" } })
})
