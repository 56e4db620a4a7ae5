/** Rules about files as such: where they are, what they are called, what no line of them may hold. Plane: control. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { ROOT, type Violation } from "./source.ts"

/** Columns of a line of source. */
const COLUMNS_MAX = 120
const SOURCE = /\.(ts|mjs|c|h|sh|json)$/
const BINARY = /\.(png|jpg|gz|zst|bin|rom|efi|pcap)$/
/** npm writes it, with hashes longer than a line. */
const GENERATED = ["package-lock.json"]

/** What lies at the top: anything else needs a reason, and its place here. */
export const TOP_LEVEL = [
  ".ci",
  ".gitignore",
  ".npmrc",
  "LICENSE",
  "README.md",
  "appliance",
  "builder",
  "images",
  "package-lock.json",
  "package.json",
  "pxe",
  "test",
  "tsconfig.json",
]

/** The parts of the program; each says in one screen what it is for. */
export const TOP_FOLDERS = ["appliance", "builder", "images", "pxe", "test"]

/** Names that others gave: tools, and people's habits. */
const NAMED_BY_OTHERS = ["README.md", "LICENSE", "package-lock.json", "vitest.config.ts"]

export function checkName(path: string): Violation[] {
  const names = path.split("/")
  const bad = names.find((name, index) => {
    const isFile = index === names.length - 1
    if (isFile && NAMED_BY_OTHERS.includes(name)) {
      return false
    }
    // One dot at most, so that test_x.spec.ts and x.test.ts don't creep in.
    return !/^\.?[a-z0-9]+(_[a-z0-9]+)*(\.[a-z0-9]+)?$/.test(name)
  })
  if (bad !== undefined) {
    return [{ rule: "names", path, line: 1, what: `${bad} is not snake_case` }]
  }
  const isTest = path.endsWith("_test.ts")
  if (isTest && !path.startsWith("test/")) {
    return [{ rule: "names", path, line: 1, what: "a test outside of test/" }]
  }
  if (/\/(utils?|helpers?|misc|index)\.(ts|mjs)$/.test(path)) {
    return [{ rule: "names", path, line: 1, what: "a name that says nothing of what is in it" }]
  }
  return []
}

/** A pattern that no line of a tracked file may match. Written in pieces, or it would match here. */
export type Forbidden = { readonly what: string; readonly pattern: RegExp; readonly except?: RegExp }

/** Hosts that hand out packages: which one is used is the machine's configuration, never the repository's. */
const REGISTRY_HOSTS = [
  ["registry", "npmjs", "org"],
  ["registry", "yarnpkg", "com"],
  ["npm", "pkg", "github", "com"],
  ["deb", "debian", "org"],
  ["ftp", "debian", "org"],
  ["snapshot", "debian", "org"],
  ["security", "debian", "org"],
  ["archive", "ubuntu", "com"],
  ["security", "ubuntu", "com"],
]

const FORBIDDEN: readonly Forbidden[] = [
  { what: "unfinished work", pattern: new RegExp(`\\b(${["TO", "DO"].join("")}|${["FIX", "ME"].join("")})\\b`) },
  {
    what: "the host of a package registry",
    pattern: new RegExp(REGISTRY_HOSTS.map((labels) => labels.join("\\.")).join("|"), "i"),
  },
  { what: "an address that npm resolved", pattern: new RegExp(`"${"resolved"}": *"`), except: /\.ts$/ },
  { what: "a path of one machine", pattern: new RegExp(`(^|[^\\w./-])/(${["wo", "rk"].join("")}|home|Users)/`) },
]

export function checkText(path: string, text: string, forbidden: readonly Forbidden[] = FORBIDDEN): Violation[] {
  const violations: Violation[] = []
  for (const [index, line] of text.split("\n").entries()) {
    for (const { what, pattern, except } of forbidden) {
      if (pattern.test(line) && except?.test(path) !== true) {
        violations.push({ rule: "text", path, line: index + 1, what })
      }
    }
  }
  return violations
}

export function checkColumns(path: string, text: string): Violation[] {
  const violations: Violation[] = []
  for (const [index, line] of text.split("\n").entries()) {
    if (line.length > COLUMNS_MAX) {
      violations.push({
        rule: "columns",
        path,
        line: index + 1,
        what: `${line.length}, and ${COLUMNS_MAX} is the most`,
      })
    }
  }
  return violations
}

export function isSource(path: string): boolean {
  return SOURCE.test(path) && !GENERATED.includes(path)
}

export function isText(path: string): boolean {
  return !BINARY.test(path)
}

export function readText(path: string): string {
  return readFileSync(join(ROOT, path), "utf8")
}
