/** manifest.json: written, read, and refused field by field. Plane: control. */
import { expect, test } from "vitest"
import { encodeManifest, parseManifest } from "../../../builder/manifest.ts"
import { MANIFEST } from "./manifest_file.ts"

test("what was written is read back", () => {
  expect(parseManifest(encodeManifest(MANIFEST))).toEqual({ ok: true, value: MANIFEST })
})

test("the same manifest has the same bytes and nothing of the clock", () => {
  expect(encodeManifest(MANIFEST)).toBe(encodeManifest(structuredClone(MANIFEST)))
  expect(encodeManifest(MANIFEST)).not.toMatch(/20[0-9]{2}-[0-9]{2}-[0-9]{2}/)
})

test.each(Object.keys(MANIFEST).filter((field) => field !== "schema"))("without a usable %s it is refused", (field) => {
  for (const wrong of [undefined, null, -1, [{}], { loadable: [1] }]) {
    const parsed = parseManifest(JSON.stringify({ ...MANIFEST, [field]: wrong }))
    expect(parsed).toEqual({ ok: false, error: { kind: "manifest_field", field } })
  }
})

test("outputs in another order are refused: who reads them goes by place", () => {
  const parsed = parseManifest(JSON.stringify({ ...MANIFEST, outputs: MANIFEST.outputs.toReversed() }))
  expect(parsed).toEqual({ ok: false, error: { kind: "manifest_field", field: "outputs" } })
})

test("another schema is named", () => {
  const parsed = parseManifest(JSON.stringify({ ...MANIFEST, schema: 3 }))
  expect(parsed).toEqual({ ok: false, error: { kind: "manifest_schema", found: "3" } })
})

test.each(["", "{", "null", "[]", "7"])("%j is no manifest", (text) => {
  expect(parseManifest(text)).toEqual({ ok: false, error: { kind: "manifest_not_json" } })
})
