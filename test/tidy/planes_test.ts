/** Each file says its plane, and the data plane allocates nothing per operation. Plane: control. */
import { expect, test } from "vitest"
import { checkDataPlane, checkHeader, type Exemption, findDataViolations, hasPlane, planeOf } from "./planes.ts"
import { checkAll, describe, parseSource, repositorySources } from "./source.ts"

const sources = repositorySources()

/** Functions of the data plane that may allocate, each with the reason. */
const EXEMPTIONS: readonly Exemption[] = [
  { path: "appliance/types/checksum.ts", function: "makeTable", why: "runs once, at load" },
  {
    path: "appliance/state_machine/arena.ts",
    function: "arenaTables",
    why: "describes the layout to people and tests",
  },
  { path: "appliance/state_machine/batch_reader.ts", function: "begin", why: "one view a buffer, and buffers are few" },
  { path: "appliance/state_machine/sessions.ts", function: "register", why: "once for each session of a gateway" },
  { path: "appliance/state_machine/state_machine.ts", function: "createStateMachine", why: "runs once, at start" },
  {
    path: "appliance/state_machine/state_machine.ts",
    function: "beginReply",
    why: "one view a buffer, and they are few",
  },
]

test("every file opens with what it is and its plane", () => {
  expect(describe(checkAll(sources, checkHeader, hasPlane))).toEqual([])
})

test("a program's first line is its interpreter's", () => {
  const text = "#!/usr/bin/env node\n/** A program. Plane: control. */\n"
  expect(checkHeader(parseSource("appliance/cli/good.mjs", text))).toEqual([])
})

const HEADERS = [
  'import { x } from "./x.ts"\n',
  "// A ring. Plane: data.\n",
  "/** A ring. */\n",
  "/** A ring. Plane: some. */\n",
  "export const x = 1\n/** A ring. Plane: data. */\n",
]

test.each(HEADERS)("the bait is caught: %j", (text) => {
  expect(checkHeader(parseSource("appliance/types/bait.ts", text))).toHaveLength(1)
})

test("the data plane allocates nothing per operation", () => {
  expect(sources.filter((source) => planeOf(source) === "data").length).toBeGreaterThan(0)
  const { violations, unused } = checkDataPlane(sources, EXEMPTIONS)
  expect(describe(violations)).toEqual([])
  expect(unused).toEqual([])
})

const BAITS = [
  ["export async function f(): Promise<void> {}", "an async function"],
  ["export const x = await y", "await"],
  ["export function f(a: number[]): number[] { return [...a] }", "a spread"],
  ["export function f(a: object): object { return { ...a } }", "a spread"],
  ["export function f(a: Uint8Array): Uint8Array { return a.subarray(1) }", "subarray()"],
  ["export function f(a: string): unknown { return JSON.parse(a) }", "JSON"],
  ["export function f(a: string): string { return `x${a}` }", "a template string"],
  ["export function f(): Uint8Array { return new Uint8Array(1) }", "new"],
  ["export function f(a: number[]): number[] { return a.map((x) => x + 1) }", "a closure"],
  ["class A { f(): object { return new Map() } }", "new"],
] as const

test.each(BAITS)("the bait is caught: %s", (text, what) => {
  const source = parseSource("appliance/types/bait.ts", `/** A bait. Plane: data. */\n${text}\n`)
  expect(findDataViolations(source).map((one) => one.what)).toEqual([what])
})

test("what runs once may allocate, and so may the control plane", () => {
  const once = "const table = new Map()\nclass A {\n  #a = new Map()\n  constructor() { this.#a = new Map() }\n}\n"
  expect(findDataViolations(parseSource("appliance/types/good.ts", `/** A. Plane: data. */\n${once}`))).toEqual([])
  const control = "export function f(a: number[]): number[] { return [...a] }\n"
  expect(findDataViolations(parseSource("appliance/types/good.ts", `/** A. Plane: control. */\n${control}`))).toEqual(
    [],
  )
})

test("an exemption that excuses nothing is found", () => {
  const exemption = { path: "appliance/types/gone.ts", function: "f", why: "was there once" }
  expect(checkDataPlane(sources, [exemption]).unused).toEqual([exemption])
})
