/** What the language offers and this code doesn't use. Plane: control. */
import { expect, test } from "vitest"
import { checkLanguage } from "./language.ts"
import { checkAll, describe, parseSource, repositorySources } from "./source.ts"

const sources = repositorySources()

test("no any, no unproved cast, no default export, no checker switched off", () => {
  expect(describe(checkAll(sources, checkLanguage))).toEqual([])
})

const BAITS = [
  "export const x: any = 1",
  "export const x = (y as any).z // proved",
  "export const x = y!.z",
  "export const x = y as Foo",
  "export const x = <Foo>y",
  "export default function f(): void {}",
  "enum A { b }",
  `// @ts-${"ignore"}\nexport const x = 1`,
  `// @ts-${"expect-error"} because\nexport const x = 1`,
  `// biome-${"ignore"} lint/style/useConst\nlet x = 1`,
  `// oxlint-${"disable"}-next-line no-floating-promises\nf()`,
]

test.each(BAITS)("the bait is caught: %j", (text) => {
  expect(checkLanguage(parseSource("builder/bait.ts", text))).toHaveLength(1)
})

test("a proved cast and a const are not caught", () => {
  const text = 'export const x = ["a"] as const\n// The sender checked it one line above.\nexport const y = z as Foo\n'
  expect(checkLanguage(parseSource("builder/good.ts", text))).toEqual([])
})
