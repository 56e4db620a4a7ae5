/**
 * `npm run bench:image`: what is in the image of each flavour, byte by byte, and what its part of a boot costs, all
 * flavours in turn in one run. Plane: control.
 */
import { spawnSync } from "node:child_process"
import { readFileSync, writeFileSync } from "node:fs"
import { cpus } from "node:os"
import { join, resolve } from "node:path"
import { parseArgs } from "node:util"
import { assert } from "../../../appliance/types/assert.ts"
import { type BootTimes, bootDirectly, readBootTimes } from "../../lab/direct_boot.ts"
import { median } from "../statistics.ts"
import { type Parts, takeApart } from "./components.ts"
import { BUILD_MS, MEMORY_MIB, ROUNDS_DEFAULT, ROUNDS_MAX } from "./limits.ts"

const USAGE = `usage: npm run bench:image -- [--rounds N] [--write] [-o table|json]

Builds the image with each kernel, takes it apart, and boots each in turn: kernel and archives handed to QEMU, 1024 MiB,
one processor. --write puts the tables into builder/README.md. Compiles the diskless kernel the first time.

  npm run bench:image
  npm run bench:image -- --rounds 5 --write`

const ROOT = resolve(import.meta.dirname, "../../..")
const README = join(ROOT, "builder/README.md")
const MARKS = ["<!-- bench:image -->", "<!-- /bench:image -->"] as const
const FLAVOURS = ["stock", "hardware", "diskless"] as const
type Flavour = (typeof FLAVOURS)[number]
const STAGES = ["init", "checked", "address", "program"] as const

type Report = {
  readonly machine: string
  readonly date: string
  readonly rounds: number
  readonly parts: Record<Flavour, Parts>
  readonly times: Record<Flavour, BootTimes[]>
}

type Options = { readonly rounds: number; readonly write: boolean; readonly isJSON: boolean }

async function main(): Promise<number> {
  const options = readOptions()
  if (typeof options === "number") {
    return options
  }
  for (const flavour of FLAVOURS) {
    process.stderr.write(`building ${flavour}\n`)
    if (!build(flavour)) {
      return 1
    }
  }
  const report: Report = {
    machine: `${cpus().length} cores, QEMU emulated`,
    date: new Date().toISOString().slice(0, 10),
    rounds: options.rounds,
    parts: { stock: apart("stock"), hardware: apart("hardware"), diskless: apart("diskless") },
    times: { stock: [], hardware: [], diskless: [] },
  }
  for (let round = 1; round <= options.rounds; round += 1) {
    for (const flavour of FLAVOURS) {
      process.stderr.write(`round ${round} of ${options.rounds}: ${flavour}\n`)
      const boot = { way: "bios", image: imageOf(flavour), memoryMib: MEMORY_MIB, processor: "EPYC" } as const
      const text = await bootDirectly(boot)
      const times = readBootTimes(text)
      if (times.program === undefined) {
        process.stderr.write(`bench:image: ${flavour} did not come to its program:\n${text.slice(-1000)}\n`)
        return 1
      }
      report.times[flavour].push(times)
    }
  }
  const tables = describe(report)
  process.stdout.write(options.isJSON ? `${JSON.stringify(report, undefined, 2)}\n` : tables)
  return options.write ? writeTables(tables) : 0
}

function readOptions(): Options | number {
  try {
    const { values } = parseArgs({
      options: {
        rounds: { type: "string", default: String(ROUNDS_DEFAULT) },
        write: { type: "boolean", default: false },
        output: { type: "string", short: "o", default: "table" },
        help: { type: "boolean", default: false },
      },
    })
    const rounds = Number(values.rounds)
    if (values.help) {
      process.stdout.write(`${USAGE}\n`)
      return 0
    }
    if (!Number.isInteger(rounds) || rounds < 1 || rounds > ROUNDS_MAX || !["table", "json"].includes(values.output)) {
      process.stderr.write(`--rounds is 1 to ${ROUNDS_MAX}, -o is table or json\n${USAGE}\n`)
      return 2
    }
    return { rounds, write: values.write, isJSON: values.output === "json" }
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n${USAGE}\n`)
    return 2
  }
}

function imageOf(flavour: Flavour): string {
  return join(ROOT, `build/bench_${flavour}`)
}

function build(flavour: Flavour): boolean {
  const words = ["build", "--kernel", flavour, "--compression", "small", "--out", imageOf(flavour)]
  const done = spawnSync(process.execPath, [join(ROOT, "appliance/main.ts"), ...words], {
    stdio: ["ignore", "ignore", "inherit"],
    timeout: BUILD_MS,
  })
  return done.status === 0
}

function apart(flavour: Flavour): Parts {
  const parts = takeApart(imageOf(flavour))
  assert(parts.nodeAlone > 0, "bench: an image holds Node")
  return parts
}

function describe(report: Report): string {
  const row = (name: string, cell: (flavour: Flavour) => string): string =>
    `| ${[name, ...FLAVOURS.map(cell)].join(" | ")} |`
  const names = report.parts.stock.components.map((component) => component.name)
  return [
    `Measured ${report.date} on ${report.machine}, zstd -19, medians of ${report.rounds} boots.`,
    "",
    row("bytes (compressed alone)", (flavour) => flavour),
    "|---|---|---|---|",
    row("kernel", (flavour) => number(report.parts[flavour].kernel)),
    ...names.map((name, index) =>
      row(name, (flavour) => {
        const part = report.parts[flavour].components[index]
        return part === undefined ? "" : `${number(part.bytes)} (${number(part.compressed)})`
      }),
    ),
    row("initramfs, both archives", (flavour) => number(report.parts[flavour].initramfs)),
    row("× Node and libraries alone", (flavour) => {
      const { initramfs, nodeAlone } = report.parts[flavour]
      return (initramfs / nodeAlone).toFixed(3)
    }),
    "",
    row("seconds since the kernel began", (flavour) => flavour),
    "|---|---|---|---|",
    ...STAGES.map((stage) =>
      row(STAGE_NAMES[stage], (flavour) =>
        median(report.times[flavour].map((times) => times[stage] ?? Number.NaN)).toFixed(2),
      ),
    ),
    "",
  ].join("\n")
}

const STAGE_NAMES: { readonly [Stage in (typeof STAGES)[number]]: string } = {
  init: "archives unpacked, /init runs",
  checked: "every file hashed",
  address: "link and address",
  program: "Node ran our program",
}

function number(value: number): string {
  return value.toLocaleString("en-US")
}

function writeTables(tables: string): number {
  const text = readFileSync(README, "utf8")
  const [start, end] = MARKS.map((mark) => text.indexOf(mark))
  if (start === undefined || end === undefined || start < 0 || end < start) {
    process.stderr.write(`bench:image: ${README} has no place for the tables\n`)
    return 1
  }
  const after = text.slice(end)
  writeFileSync(README, `${text.slice(0, start)}${MARKS[0]}\n${tables}${after}`)
  return 0
}

process.exitCode = await main()
