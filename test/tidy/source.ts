/** The repository's own files as the house rules see them: text, syntax tree, and where things are. Plane: control. */
import { spawnSync } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { type Comment, parseSync } from "oxc-parser"
import { assert } from "../../appliance/types/assert.ts"

export type Program = ReturnType<typeof parseSync>["program"]

/** One file of TypeScript or JavaScript. `path` is relative to the repository, with `/`. */
export type Source = {
  readonly path: string
  readonly text: string
  readonly program: Program
  readonly comments: readonly Comment[]
}

export type Violation = { readonly rule: string; readonly path: string; readonly line: number; readonly what: string }

export const ROOT = resolve(import.meta.dirname, "../..")

/** Every file that git tracks or would track, relative to the repository. */
export function repositoryFiles(): string[] {
  const args = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"]
  const list = spawnSync("git", args, { cwd: ROOT, encoding: "utf8" })
  assert(list.status === 0, "tidy: git lists the repository's files")
  const paths = list.stdout.split("\0").filter((path) => path !== "" && existsSync(join(ROOT, path)))
  assert(paths.length > 0, "tidy: the repository has files")
  return [...new Set(paths)].sort()
}

export function repositorySources(): Source[] {
  return repositoryFiles()
    .filter((path) => path.endsWith(".ts") || path.endsWith(".mjs"))
    .map((path) => parseSource(path, readFileSync(join(ROOT, path), "utf8")))
}

/** Also makes the baits: `path` decides which rules a text is judged by. */
export function parseSource(path: string, text: string): Source {
  const { program, comments, errors } = parseSync(path, text)
  assert(errors.length === 0, "tidy: a source parses")
  return { path, text, program, comments }
}

export function violation(rule: string, source: Source, offset: number, what: string): Violation {
  return { rule, path: source.path, line: source.text.slice(0, offset).split("\n").length, what }
}

/** As a person and their editor read it. */
export function describe(violations: readonly Violation[]): string[] {
  return violations.map(({ rule, path, line, what }) => `${path}:${line} ${rule}: ${what}`)
}

/** Runs a rule over all sources and asserts that it had something to look at. */
export function checkAll(
  sources: readonly Source[],
  check: (source: Source) => readonly Violation[],
  isInScope: (path: string) => boolean = () => true,
): Violation[] {
  const visited = sources.filter((source) => isInScope(source.path))
  assert(visited.length > 0, "tidy: a rule visits at least one file")
  return visited.flatMap(check)
}
