/** What the language offers and this code doesn't use. Plane: control. */
import { expect, test } from "vitest"
import { checkLanguage, checkResults, resultFunctions } from "./language.ts"
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

test("no Result is dropped", () => {
  const results = resultFunctions(sources)
  expect(results.functions.size + results.methods.size).toBeGreaterThan(0)
  expect(describe(checkAll(sources, (source) => checkResults(source, results)))).toEqual([])
})

const DECLARED = [
  "export function save(): Result<void, string> { return ok(undefined) }",
  "export async function saveLater(): Promise<Result<void, string>> { return save() }",
  "export const store = (): Result<void, string> => save()",
  "export class Disk { write(): Result<void, string> { return save() } }",
].join("\n")

test.each(["save()", "await saveLater()", "void saveLater()", "store()", "disk.write()"])(
  "the bait is caught: %s",
  (call) => {
    const declared = parseSource("builder/declared.ts", DECLARED)
    const imports = 'import { save, saveLater, store } from "./declared.ts"\n'
    const bait = parseSource("builder/bait.ts", `${imports}${call}\n`)
    expect(checkResults(bait, resultFunctions([declared]))).toHaveLength(1)
  },
)

test("a Result that is looked at is not caught", () => {
  const declared = parseSource("builder/declared.ts", DECLARED)
  const imports = 'import { save } from "./declared.ts"\n'
  const good = "const saved = save()\nif (!saved.ok) { stop() }\n// It may be gone already.\nvoid save()\n"
  expect(checkResults(parseSource("builder/good.ts", imports + good), resultFunctions([declared]))).toEqual([])
  const other = "function save(): void {}\nsave()\n"
  expect(checkResults(parseSource("builder/good.ts", other), resultFunctions([declared]))).toEqual([])
})
