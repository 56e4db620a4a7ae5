/** The phases of the suite: what each runs, how long it may take, and how to read what it did. Plane: control. */
import { existsSync, readFileSync } from "node:fs"
import { BAD_BOOT_CASES, PHASE_SECONDS_MAX, SCENE_WRITES_MIN } from "../limits.ts"
import type { CommandEnd } from "./command.ts"

/** `visited` counts what the phase looked at; a phase that visited nothing has failed, whatever its exit code. */
export type Count = {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
  readonly visited: number
  readonly unit: string
}

export type Phase = {
  readonly name: keyof typeof PHASE_SECONDS_MAX
  readonly what: string
  /** Reads the source only, so it may run beside another such phase. */
  readonly isCheck: boolean
  readonly secondsMax: number
  /** Arguments of Node; `report` is a fresh path for the phases that write one. */
  readonly args: (report: string) => readonly string[]
  readonly count: (end: CommandEnd, report: string) => Count
}

const SOURCE_FOLDERS = ["appliance", "builder", "pxe", "test"]
const BIOME = "node_modules/@biomejs/biome/bin/biome"
const BIOME_CONFIG = "test/tidy/format_config.json"
const TSC_ARGS = ["node_modules/typescript/bin/tsc", "--noEmit", "--pretty", "false", "--listFiles", "-p", "."]

export const PHASES: readonly Phase[] = [
  check("types", "the compiler, every strict flag", TSC_ARGS, (output) => {
    return output.split("\n").filter((line) => line.endsWith(".ts") && !line.includes("/node_modules/")).length
  }),
  check(
    "format",
    "layout and names (biome)",
    [BIOME, "check", `--config-path=${BIOME_CONFIG}`, "--colors=off", "--max-diagnostics=100", "."],
    (output) => numberIn(output, /^Checked (\d+) files?/m),
  ),
  check(
    "lint",
    "promises, exhaustive switches, any (oxlint with types)",
    [
      "node_modules/oxlint/bin/oxlint",
      "--type-aware",
      "--config=test/tidy/lint_config.json",
      "--report-unused-disable-directives",
      ...SOURCE_FOLDERS,
    ],
    (output) => numberIn(output, /^Finished in .* on (\d+) files? /m),
  ),
  check(
    "dead_code",
    "files, exports and dependencies that nothing uses (knip)",
    ["node_modules/knip/bin/knip.js", "--config=test/tidy/dead_code_config.json", "--no-config-hints", "--performance"],
    // The row of its table that counts the files it parsed; knip says nothing else when all is well.
    (output) => numberIn(output, /^parseFile +(\d+)/m),
  ),
  vitest("tidy", "the house rules, each with its bait", "tidy", true),
  vitest("unit", "one module at a time", "unit", false),
  vitest("property", "random and mutated input", "property", false),
  vitest("interaction", "scripted schedules of the protocol, with golden output", "interaction", false),
  {
    name: "mutation",
    what: "one defence after the other taken out of the protocol: who notices (npm run mutate -- --quick)",
    isCheck: false,
    secondsMax: PHASE_SECONDS_MAX.mutation,
    args: () => ["test/mutation/main.ts", "--quick", "-o", "json"],
    count: countMutants,
  },
  vitest("exhaustive", "every schedule of a small cluster, on the production replica", "exhaustive", false),
  vitest("simulation", "a whole cluster under one seed", "simulation", false),
  vitest("processes", "real processes and sockets", "system", false),
  vitest("chaos", "real processes under faults, every answer checked", "chaos", false),
  {
    name: "scene",
    what: "three machines boot, join, fail and recover (npm start -- --once)",
    isCheck: false,
    secondsMax: PHASE_SECONDS_MAX.scene,
    args: (report) => ["test/lab/start.ts", "--once", "--report", report],
    count: countScene,
  },
  {
    name: "bad_boots",
    what: "too little memory, a damaged image: machines that halt and say why (npm start -- --bad-boots)",
    isCheck: false,
    secondsMax: PHASE_SECONDS_MAX.bad_boots,
    args: (report) => ["test/lab/start.ts", "--bad-boots", "--image", "build/image", "--report", report],
    count: countBadBoots,
  },
]

/** Where the scene leaves its report for a person to read; the others' are temporary. */
export const SCENE_REPORT = "build/report.json"

function check(
  name: Phase["name"],
  what: string,
  args: readonly string[],
  visitedIn: (output: string) => number,
): Phase {
  return {
    name,
    what,
    isCheck: true,
    secondsMax: PHASE_SECONDS_MAX[name],
    args: () => args,
    count: (end) => {
      const visited = visitedIn(end.output)
      const isPassed = end.end === "exited" && end.code === 0 && visited > 0
      return { passed: isPassed ? 1 : 0, failed: isPassed ? 0 : 1, skipped: 0, visited, unit: "files" }
    },
  }
}

function vitest(name: Phase["name"], what: string, folder: string, isCheck: boolean): Phase {
  return {
    name,
    what,
    isCheck,
    secondsMax: PHASE_SECONDS_MAX[name],
    args: (report) => [
      "node_modules/vitest/vitest.mjs",
      "run",
      "--config=test/vitest.config.ts",
      "--reporter=default",
      "--reporter=json",
      `--outputFile.json=${report}`,
      // A snapshot that is missing is a failure, not one to write.
      "--update=none",
      // With its slash it is a folder, not a word that may occur in any path.
      `test/${folder}/`,
    ],
    count: countTests,
  }
}

/** Each test counts. What breaks outside a test (a file that can't be loaded, a stray rejection) is one failure. */
export function countTests(end: CommandEnd, report: string): Count {
  const tests = readNumbers(report, ["numPassedTests", "numFailedTests", "numPendingTests", "numTodoTests"])
  const [passed = 0, failedTests = 0, pending = 0, todo = 0] = tests ?? []
  const isEnded = tests !== undefined && end.end === "exited" && end.code === 0
  const failed = failedTests === 0 && (!isEnded || passed === 0) ? 1 : failedTests
  return { passed, failed, skipped: pending + todo, visited: passed + failedTests, unit: "tests" }
}

/** The scene judges itself by its exit code; its report must bear that out. */
export function countScene(end: CommandEnd, report: string): Count {
  const numbers = readNumbers(report, ["writes_acknowledged", "reads_verified", "reads_failed", "wrong_answers"])
  const [writes = 0, reads = 0, readsFailed = 0, wrong = 0] = numbers ?? []
  const isKept = writes >= SCENE_WRITES_MIN && reads >= writes && readsFailed === 0 && wrong === 0
  const isPassed = end.end === "exited" && end.code === 0 && isKept
  return { passed: isPassed ? 1 : 0, failed: isPassed ? 0 : 1, skipped: 0, visited: reads, unit: "reads" }
}

/** Each mutant counts, and so does each fault of the gate beyond the mutants that nobody caught. */
function countMutants(end: CommandEnd): Count {
  const mutants = numberIn(end.output, /"mutants": (\d+)/)
  const caught = numberIn(end.output, /"mutants_caught": (\d+)/)
  const isHeld = end.end === "exited" && end.code === 0 && mutants > 0 && caught === mutants
  const failed = Math.max(mutants - caught, isHeld ? 0 : 1)
  return { passed: caught, failed, skipped: 0, visited: mutants, unit: "mutants" }
}

/** Both machines halted for their reason, and said so in both places. */
export function countBadBoots(end: CommandEnd, report: string): Count {
  const [cases = 0] = readNumbers(report, ["cases_passed"]) ?? []
  const isPassed = end.end === "exited" && end.code === 0 && cases === BAD_BOOT_CASES
  return { passed: isPassed ? 1 : 0, failed: isPassed ? 0 : 1, skipped: 0, visited: cases, unit: "machines" }
}

/** The named numbers of a JSON file; undefined when there is no such file or one of them is missing. */
function readNumbers(path: string, names: readonly string[]): number[] | undefined {
  if (!existsSync(path)) {
    return undefined
  }
  const report = parseJSON(readFileSync(path, "utf8"))
  if (typeof report !== "object" || report === null) {
    return undefined
  }
  const fields = new Map<string, unknown>(Object.entries(report))
  const numbers = names.map((name) => fields.get(name)).filter((value) => typeof value === "number")
  return numbers.length === names.length ? numbers : undefined
}

function parseJSON(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    // A phase that was killed leaves half a report: the same as none.
    return undefined
  }
}

function numberIn(output: string, pattern: RegExp): number {
  return Number(pattern.exec(output)?.[1] ?? 0)
}
